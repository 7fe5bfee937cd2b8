"""Windows of several frames made into what a training step takes: frames hidden, pictures changed at random."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from penumbra.training.scenes import RenderedClips

WINDOW = 5

Hiding: TypeAlias = Literal["random", "ends"]
HIDINGS: tuple[Hiding, ...] = ("random", "ends")


@dataclass(frozen=True)
class TrainingBatch:
    """Windows in [-1, 1] as the network takes them: B samples, K objects, T = 5 frames, D targets.

    ``frames`` (B, 3, T, H, W); ``masks`` (B, K, T, H, W), an object in the same place at every frame; ``visible``
    (B, T); ``targets`` (B, D) int64; ``target_frames``, ``background`` (B, 3, D, H, W); ``order`` (B, D, K) int64, the
    objects back to front at each target; ``target_masks`` (B, K, D, H, W) in that order; ``restless`` (B,) booleans,
    whether the background may move by itself.
    """

    frames: Tensor
    masks: Tensor
    visible: Tensor
    targets: Tensor
    order: Tensor
    target_frames: Tensor
    target_masks: Tensor
    background: Tensor
    restless: Tensor

    def ordered(self, layers: Tensor) -> Tensor:
        """Layers (B, C, K, D, H, W) of the objects as the masks list them, back to front at each target."""
        index = self.order.transpose(1, 2)[:, None, :, :, None, None]
        return layers.gather(2, index.expand(-1, layers.shape[1], -1, -1, *layers.shape[-2:]))


@dataclass(frozen=True)
class WindowChanges:
    """What is done at random to each of B windows, drawn before any pixel is touched.

    ``hidden`` (B, T) booleans; ``targets`` (B, D) the hidden frames to decode; ``mirrored`` (B,) booleans; ``swap``
    (B, 3) the order of the channels; ``power`` (B,) a gamma.
    """

    hidden: NDArray[np.bool_]
    targets: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    swap: NDArray[np.int64]
    power: NDArray[np.float32]

    def of(self, rows: slice) -> WindowChanges:
        """Those of some of the windows."""
        return WindowChanges(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def draw_changes(random: np.random.Generator, count: int, hiding: Hiding = "random") -> WindowChanges:
    """Changes for ``count`` windows.

    ``random`` hides two or three frames anywhere and decodes two of them: on few cores more windows teach more than
    more frames of the same. ``ends`` hides the first or the last three and decodes all, as the published training does.
    """
    targets = _anywhere(random, count) if hiding == "random" else _at_an_end(random, count)
    hidden = np.zeros((count, WINDOW), bool)
    np.put_along_axis(hidden, targets, True, 1)
    swap = [random.permutation(3) if random.random() < 0.5 else np.arange(3) for _ in range(count)]
    return WindowChanges(
        hidden=hidden,
        targets=np.sort(targets[:, : 2 if hiding == "random" else None], 1),
        mirrored=random.random(count) < 0.5,
        swap=np.stack(swap),
        power=np.exp(random.normal(0, 0.2, count)).astype(np.float32),
    )


def _anywhere(random: np.random.Generator, count: int) -> NDArray[np.int64]:
    hidden = int(random.choice([2, 3], p=[0.7, 0.3]))
    return np.stack([random.permutation(WINDOW)[:hidden] for _ in range(count)])


def _at_an_end(random: np.random.Generator, count: int) -> NDArray[np.int64]:
    first = np.where(random.random(count) < 0.5, 0, WINDOW - 3)
    return np.asarray(first[:, None] + np.arange(3), np.int64)


def make_batch(windows: RenderedClips, changes: WindowChanges, restless: NDArray[np.bool_]) -> TrainingBatch:
    """B windows of T frames, floats in [0, 1] or bytes, hidden, mirrored and recoloured; on the windows' device."""
    device = windows.frames.device

    def tensor(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(device, non_blocking=True)

    targets, mirrored = tensor(changes.targets), tensor(changes.mirrored)[:, None, None, None, None]
    images, masks, background = (_unpacked(part) for part in (windows.frames, windows.masks, windows.background))
    images, background = (_recoloured(p, tensor(changes.swap), tensor(changes.power)) for p in (images, background))
    images, masks, background = (torch.where(mirrored, p.flip(-1), p) for p in (images, masks, background))
    order = windows.order.gather(1, targets[..., None].expand(-1, -1, windows.order.shape[2]))
    target_masks = _at(masks, targets)
    sorted_masks = target_masks.gather(2, order[..., None, None].expand_as(target_masks))
    return TrainingBatch(
        frames=images.transpose(1, 2),
        masks=masks.transpose(1, 2),
        visible=tensor((~changes.hidden).astype(np.float32)),
        targets=targets,
        order=order,
        target_frames=_at(images, targets).transpose(1, 2),
        target_masks=sorted_masks.transpose(1, 2),
        background=_at(background, targets).transpose(1, 2),
        restless=tensor(restless),
    )


def packed(clips: RenderedClips) -> RenderedClips:
    """As bytes, a quarter of the memory; frames and masks are in 8-bit steps already."""
    frames, masks, background = ((part * 255).round().byte() for part in (clips.frames, clips.masks, clips.background))
    return RenderedClips(frames, masks, background, clips.order)


def _unpacked(values: Tensor) -> Tensor:
    unit = values.float() / 255 if values.dtype == torch.uint8 else values
    return unit * 2 - 1


def _at(part: Tensor, targets: Tensor) -> Tensor:
    """(B, T, C, H, W) at the targets (B, D): (B, D, C, H, W)."""
    return part.gather(1, targets[:, :, None, None, None].expand(-1, -1, *part.shape[2:]))


def _recoloured(images: Tensor, swap: Tensor, power: Tensor) -> Tensor:
    """Channels swapped and a change of gamma, the same for all frames of a window and its background."""
    swapped = images.gather(2, swap[:, None, :, None, None].expand_as(images))
    return (swapped * 0.5 + 0.5).clamp(0, 1).pow(power[:, None, None, None, None]) * 2 - 1
