"""The authors' effect metric for layers predicted at working size, before any lift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from penumbra.compositing import CHANGE_THRESHOLD
from penumbra.errors import FootageError
from penumbra.network import LayerNetwork
from penumbra.training.datasets import DiskClip


@dataclass(frozen=True)
class TruthClip:
    """A clip with its truth: N frames, K objects; display-encoded [0, 1].

    ``frames`` (N, 3, H, W), ``masks`` (N, K, H, W), ``background`` (N, 3, H, W), ``solo`` (N, K, 3, H, W).
    """

    name: str
    frames: Tensor
    masks: Tensor
    background: Tensor
    solo: Tensor


def truth_at(clip: DiskClip, height: int, width: int) -> TruthClip:
    """A clip from disk with its truth, at working size; raises :class:`FootageError` when it has no truth."""
    if clip.background is None or clip.solo is None:
        raise FootageError(f"{clip.name} has no true background or solo renders.", "Score a clip that has both.")
    count, objects = clip.masks.shape[:2]

    def sized(images: Tensor) -> Tensor:
        return interpolate(images, size=(height, width), mode="area")

    frames, background = (torch.from_numpy(a.copy()).permute(0, 3, 1, 2) for a in (clip.frames, clip.background))
    solo = torch.from_numpy(clip.solo.copy()).flatten(0, 1).permute(0, 3, 1, 2)
    return TruthClip(
        name=clip.name,
        frames=sized(frames),
        masks=sized(torch.from_numpy(clip.masks)),
        background=sized(background),
        solo=sized(solo).view(count, objects, 3, height, width),
    )


@dataclass(frozen=True)
class EffectScore:
    """Means over frames and objects: intersection over union of the changed regions, and the same of the mask alone;
    ``outside`` counts only pixels outside every mask.
    """

    effect_iou: float
    mask_iou: float
    outside_iou: float


def changed(image: Tensor, background: Tensor) -> Tensor:
    """Where (..., 3, H, W) differs from the background by more than the published threshold: (..., H, W)."""
    return ((image - background) * 255).square().sum(-3) > CHANGE_THRESHOLD


@torch.no_grad()
def predict_layers(network: LayerNetwork, clip: TruthClip, stride: int = 3, window: int = 5) -> Tensor:
    """Straight RGBA (N, K, 4, H, W) in [0, 1] of every frame, each hidden in turn amid frames ``stride`` apart."""
    count = len(clip.frames)
    stride = max(1, min(stride, (count - 1) // (window - 1)))
    layers = []
    network.eval()
    for target in range(count):
        # The target stands in the middle of its window where the clip allows, else nearer to an end.
        first = max(target - stride * (window // 2), target % stride)
        while first + stride * (window - 1) >= count:
            first -= stride
        first = max(first, 0)
        index = torch.arange(window) * stride + first
        position = int((index == target).nonzero()[0]) if bool((index == target).any()) else -1
        if position < 0:
            raise ValueError(f"no window of stride {stride} holds frame {target}")
        visible = torch.ones(1, window, device=clip.frames.device)
        visible[0, position] = 0
        frames = clip.frames[index].transpose(0, 1)[None] * 2 - 1
        masks = clip.masks[index].transpose(0, 1)[None] * 2 - 1
        rgba = network(frames, masks, visible, torch.tensor([[position]], device=visible.device))
        layers.append(rgba[0, :, :, 0].transpose(0, 1) * 0.5 + 0.5)
    return torch.stack(layers)


def score_layers(layers: Tensor, clip: TruthClip) -> EffectScore:
    """Scores straight layers (N, K, 4, H, W) over the true background."""
    background = clip.background[:, None]
    over = layers[:, :, :3] * layers[:, :, 3:] + background * (1 - layers[:, :, 3:])
    got, truth, mask = changed(over, background), changed(clip.solo, background), clip.masks > 0.5
    outside = ~mask.any(1, keepdim=True)
    return EffectScore(
        effect_iou=float(_iou(got, truth).mean()),
        mask_iou=float(_iou(mask, truth).mean()),
        outside_iou=float(
            _iou(got & outside, truth & outside)[(truth & outside).sum((-2, -1)) >= 4].mean().nan_to_num()
        ),
    )


def mean_score(scores: list[EffectScore]) -> EffectScore:
    """The mean over clips."""
    rows = np.array([[s.effect_iou, s.mask_iou, s.outside_iou] for s in scores])
    return EffectScore(*(float(value) for value in rows.mean(0)))


def _iou(a: Tensor, b: Tensor) -> Tensor:
    union = (a | b).sum((-2, -1))
    return torch.where(union > 0, (a & b).sum((-2, -1)) / union.clamp_min(1), 1.0)
