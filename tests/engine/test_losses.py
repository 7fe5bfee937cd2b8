from __future__ import annotations

import numpy as np
import pytest
import torch

from penumbra.compositing import over, premultiply
from penumbra.network import composite, layer_losses, mask_weight_schedule, total_loss

SHAPE = (1, 2, 2, 8, 8)  # B, K, D, H, W


def scene() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    batch, objects, frames, *size = SHAPE
    return {
        "rgba": torch.rand(batch, 4, objects, frames, *size, generator=generator) * 2 - 1,
        "frames": torch.rand(batch, 3, frames, *size, generator=generator) * 2 - 1,
        "masks": (torch.rand(SHAPE, generator=generator) > 0.5).float() * 2 - 1,
        "background": torch.rand(batch, 3, frames, *size, generator=generator) * 2 - 1,
        "hidden": torch.ones(batch, frames),
    }


def test_composite_is_the_engines_over_in_index_order() -> None:
    parts = scene()
    result = composite(parts["rgba"], parts["background"])[0].permute(1, 2, 3, 0).numpy() * 0.5 + 0.5
    expected = parts["background"][0].permute(1, 2, 3, 0).numpy() * 0.5 + 0.5
    for layer in parts["rgba"][0].permute(1, 2, 3, 4, 0).numpy() * 0.5 + 0.5:
        expected = over(premultiply(layer), expected)
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_perfect_layers_cost_only_their_coverage() -> None:
    parts = scene()
    parts["rgba"][:, 3] = parts["masks"]
    parts["frames"] = composite(parts["rgba"], parts["background"])
    terms = layer_losses(**parts)
    assert terms.recon.item() == pytest.approx(0, abs=1e-6)
    assert terms.mask.item() == 0
    assert terms.alpha_l1.item() > 0
    parts["rgba"][:, 3] = -1
    empty = layer_losses(**parts)
    assert empty.alpha_l0.item() == empty.alpha_l1.item() == 0
    assert empty.mask.item() > 0.5


def test_frames_that_were_shown_do_not_count() -> None:
    parts = scene()
    parts["hidden"] = torch.tensor([[1.0, 0.0]])
    before = layer_losses(**parts)
    parts["rgba"][:, :, :, 1], parts["frames"][:, :, 1] = 0.3, -0.7
    after = layer_losses(**parts)
    assert before == after


def test_untrusted_background_weighs_less_in_reconstruction_only() -> None:
    parts = scene()
    full = layer_losses(**parts)
    valid = torch.ones(1, 1, *SHAPE[2:])
    assert layer_losses(**parts, valid=valid) == full
    valid[..., :4] = 0
    half = layer_losses(**parts, valid=valid)
    assert half.recon != full.recon
    assert (half.alpha_l0, half.alpha_l1, half.mask) == (full.alpha_l0, full.alpha_l1, full.mask)
    parts["frames"][..., :4] = 0.1
    assert layer_losses(**parts, valid=valid).recon == half.recon
    nothing = layer_losses(**parts, valid=valid * 0)
    assert nothing.recon.item() == 0


def test_overlapping_masks_count_a_tenth() -> None:
    parts = scene()
    parts["masks"][:] = -1
    parts["masks"][..., :4] = 1  # both objects on the left half
    parts["rgba"][:, 3] = -1
    parts["frames"] = parts["background"].clone()
    parts["frames"][..., :4] += 1
    # Error 3 (three channels, one weight) on 0.1 of the weight of half the pixels.
    assert layer_losses(**parts).recon.item() == pytest.approx(3 * 0.1 / 1.1, rel=1e-4)


def test_total_is_the_weighted_sum_and_has_gradients() -> None:
    parts = scene()
    parts["rgba"].requires_grad_()
    terms = layer_losses(**parts)
    total = total_loss(terms, lambda_mask=0.5, lambda_regularise=0.2)
    by_hand = terms.recon + 0.2 * terms.alpha_l0 + 0.2 * terms.alpha_l1 + 0.5 * terms.mask
    assert total.item() == pytest.approx(by_hand.item())
    total.backward()
    gradient = parts["rgba"].grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert (gradient != 0).any()


@pytest.mark.parametrize(
    ("step", "total", "kind", "expected"),
    [
        (0, 100_000, "pretrain", 1),
        (999, 100_000, "pretrain", 1),
        (1000, 100_000, "pretrain", 0.1),
        (2000, 100_000, "pretrain", 0.01),
        (50, 1000, "pretrain", 0.1),
        (100, 1000, "pretrain", 0.01),
        (0, 200, "refine", 0.1),
        (19, 200, "refine", 0.1),
        (20, 200, "refine", 0.01),
        (40, 200, "refine", 0.001),
    ],
)
def test_mask_weight_falls_in_two_steps(step: int, total: int, kind: str, expected: float) -> None:
    assert mask_weight_schedule(step, total, kind) == pytest.approx(expected)  # type: ignore[arg-type]
