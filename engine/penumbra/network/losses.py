"""The losses of the coordination game (paper, section 3.3, as published), in [-1, 1] display-encoded space.

Shapes: B samples, K objects back to front (index 0 is farthest: callers order them), D frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

LAMBDA_REGULARISE = 0.05
OVERLAP_WEIGHT = 0.1  # of reconstruction where masks overlap: the order there may be wrong
L0_STEEPNESS = 5.0


@dataclass(frozen=True)
class LossTerms:
    """Unweighted scalar terms: reconstruction, the alpha regulariser's two parts, and the distance to the masks."""

    recon: Tensor
    alpha_l0: Tensor
    alpha_l1: Tensor
    mask: Tensor


def composite(rgba: Tensor, background: Tensor) -> Tensor:
    """Straight RGBA (B, 4, K, D, H, W) over background (B, 3, D, H, W), index 0 first; all in [-1, 1]."""
    unit = rgba * 0.5 + 0.5
    result = background * 0.5 + 0.5
    for layer in unit.unbind(2):
        result = result * (1 - layer[:, 3:]) + layer[:, 3:] * layer[:, :3]
    return result * 2 - 1


def layer_losses(
    rgba: Tensor,
    frames: Tensor,
    masks: Tensor,
    background: Tensor,
    hidden: Tensor,
    valid: Tensor | None = None,
    window: int | None = None,
    mix_samples: bool = False,
) -> LossTerms:
    """The four terms of the published loss.

    ``rgba`` (B, 4, K, D, H, W); ``frames`` and ``background`` (B, 3, D, H, W); ``masks`` (B, K, D, H, W), +1 inside;
    ``hidden`` (B, D), 1 where the frame was hidden from the network and counts, 0 where not. ``valid``
    (B, 1, D, H, W) in [0, 1] weighs reconstruction only, by how far the background can be trusted. ``window``: T, given
    when only the hidden frames were decoded: the published means of the alpha and mask terms run over all T frames, the
    shown ones contributing nothing. ``mix_samples`` reproduces the published regulariser, in which the weights of every
    sample meet the alphas of every sample of the batch; by default each sample keeps to itself (the same at B = 1).
    """
    hidden_pixels = hidden.to(rgba.dtype)[:, None, :, None, None]
    share = 1.0 if window is None else rgba.shape[3] / window
    alpha_l0, alpha_l1 = _alpha_terms(rgba[:, 3], masks, hidden_pixels, mix_samples)
    return LossTerms(
        recon=_reconstruction_term(composite(rgba, background), frames, reconstruction_weight(masks, hidden, valid)),
        alpha_l0=alpha_l0 * share,
        alpha_l1=alpha_l1 * share,
        mask=_mask_term(rgba[:, 3], masks, hidden_pixels) * share,
    )


def total_loss(terms: LossTerms, lambda_mask: float, lambda_regularise: float = LAMBDA_REGULARISE) -> Tensor:
    """The weighted sum that training minimises."""
    return terms.recon + lambda_regularise * (terms.alpha_l0 + terms.alpha_l1) + lambda_mask * terms.mask


def mask_weight_schedule(step: int, total_steps: int, kind: Literal["pretrain", "refine"]) -> float:
    """Lambda_mask at ``step`` of ``total_steps``.

    Pretraining: 1, a tenth from 5 % (at most 1000) of the steps on, a hundredth from 10 % (at most 2000) on. Refinement
    (test-time training): 0.1, a tenth of it from 10 % on, a hundredth from 20 % on.
    """
    if kind == "pretrain":
        start, first, second = 1.0, min(total_steps * 0.05, 1000), min(total_steps * 0.1, 2000)
    else:
        start, first, second = 0.1, total_steps * 0.1, total_steps * 0.2
    return start * (0.1 if step >= first else 1.0) * (0.1 if step >= second else 1.0)


def reconstruction_weight(masks: Tensor, hidden: Tensor, valid: Tensor | None = None) -> Tensor:
    """What each pixel counts in reconstruction (B, 1, D, H, W), for the arguments of :func:`layer_losses`.

    The term is one ratio over the whole batch, divided by this weight's sum: parts of a batch in several processes are
    to be weighed by it.
    """
    overlap = ((masks * 0.5 + 0.5).sum(1, keepdim=True) > 1).to(masks.dtype)
    weight = hidden.to(masks.dtype)[:, None, :, None, None] * (1 - (1 - OVERLAP_WEIGHT) * overlap)
    return weight if valid is None else weight * valid


def _reconstruction_term(recon: Tensor, frames: Tensor, weight: Tensor) -> Tensor:
    """One ratio over the whole batch; the numerator sums three channels and the weight has one, as published."""
    # The floor only matters when no pixel counts at all.
    return (weight * (recon - frames).abs()).sum() / weight.sum().clamp_min(1e-6)


def _alpha_terms(alphas: Tensor, masks: Tensor, hidden: Tensor, mix_samples: bool) -> tuple[Tensor, Tensor]:
    """Approximate L0 and L1 of the composited alpha, per layer where no nearer mask covers it."""
    unit = alphas * 0.5 + 0.5
    covered = torch.zeros_like(unit[:, 0])
    for alpha in unit.unbind(1):
        covered = covered * (1 - alpha) + alpha * alpha
    inside = masks * 0.5 + 0.5
    nearer = inside.flip(1).cumsum(1).flip(1) - inside
    # The coverage is one for all layers, so the layers' weights are averaged first.
    weight = ((1 - nearer) * hidden).mean(1)
    l0, l1 = 2 * torch.sigmoid(L0_STEEPNESS * covered) - 1, covered
    if mix_samples:
        weight = weight.mean(0, keepdim=True)
    return (weight * l0).mean(), (weight * l1).mean()


def _mask_term(alphas: Tensor, masks: Tensor, hidden: Tensor) -> Tensor:
    """Distance of alpha to the mask, with the inside and the outside of each mask weighing the same."""
    inside = masks * 0.5 + 0.5
    outside = 1 - inside
    pixels = masks.shape[-1] * masks.shape[-2]
    balance = inside / (inside.sum((-2, -1), keepdim=True) + 1) + outside / (outside.sum((-2, -1), keepdim=True) + 1)
    return (hidden * (0.5 * pixels) * balance * (alphas - masks).abs()).mean()
