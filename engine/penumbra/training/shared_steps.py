"""What a step of pretraining and a step of refinement have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from penumbra.training.scoring import changed


def effect_weights(frames: Tensor, background: Tensor, masks: Tensor, credible: Tensor, extra: float) -> Tensor:
    """What each pixel counts in reconstruction (B, 1, D, H, W): ``1 + extra`` on effects and 1 elsewhere.

    An effect is where ``frames`` differ from ``background`` (both (B, 3, D, H, W) in [-1, 1]) by the published
    threshold, outside all ``masks`` (B, K, D, H, W), where ``credible`` (bool, to (B, D, H, W)): elsewhere the
    background may have moved by itself.
    """
    differs = changed(frames.transpose(1, 2) * 0.5, background.transpose(1, 2) * 0.5)
    outside = ~(masks > 0).any(1)
    return 1 + extra * (differs & outside & credible)[:, None].float()


@torch.no_grad()
def follow(mean: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Moves the running mean of a network's weights on by one step; early on it forgets faster than ``decay``."""
    decay = min(decay, (1 + step) / (10 + step))
    for average, current in zip(mean.parameters(), network.parameters(), strict=True):
        average.lerp_(current, 1 - decay)
