"""Every frame's layers, each predicted from windows on both sides of it in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from penumbra.color import FloatArray
from penumbra.decompose.models import LayerModels
from penumbra.errors import Stopped, TooShortError
from penumbra.frames import WorkingClip
from penumbra.windows import Window, windows_for

# Frames are encoded in fixed groups, so that the bits do not depend on which frames a run starts from.
GROUP = 8


def decompose(
    clip: WorkingClip,
    models: LayerModels,
    stride: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, FloatArray]]:
    """Yield (index, layers) for every frame of the clip, in order.

    ``layers`` (K, h, w, 4) float32: straight RGBA of each object in ``clip.names``' order, display-encoded as the clip,
    colour and alpha in [0, 1]. ``stride``: temporal stride, the contract's by default; short clips shrink it.
    ``on_progress`` gets (frames done, frames in all). Memory is flat in the number of frames.

    Each frame is hidden in turn and predicted from the windows :func:`penumbra.windows.windows_for` gives; two
    predictions are averaged premultiplied. Raises :class:`Stopped` when ``should_stop`` says so, after a whole frame,
    and :class:`TooShortError` for a clip of one frame, which would be predicted from nothing.
    """
    count = len(clip.numbers)
    if count < 2:
        raise TooShortError("A clip of a single frame cannot be decomposed.", "Give at least two frames.")
    stride = models.contract.stride if stride is None else stride
    windows = [windows_for(index, count, models.contract.window, stride) for index in range(count)]
    encodings = _Encodings(clip, models, _last_uses(windows))
    for index in range(count):
        if should_stop is not None and should_stop():
            raise Stopped(f"Stopped with {index} of {count} frames predicted.", "Add --resume to go on.")
        layers = _average(_predict(models, encodings, windows[index]))
        encodings.forget_until(index)
        yield index, layers
        if on_progress is not None:
            on_progress(index + 1, count)


class _Encodings:
    """Features of frames and masks, each computed once and kept while a window still to come needs it."""

    def __init__(self, clip: WorkingClip, models: LayerModels, last_uses: dict[int, int]) -> None:
        self._clip, self._models, self._last_uses = clip, models, last_uses
        self._kept: dict[int, tuple[FloatArray, FloatArray]] = {}
        self.hidden, self.skip = models.encode_hidden(*clip.frames.shape[1:3])

    def __getitem__(self, index: int) -> tuple[FloatArray, FloatArray]:
        """A shown frame's features (256, h, w) and its masks' (K, 256, h, w)."""
        if index not in self._kept:
            self._encode(index - index % GROUP)
        return self._kept[index]

    def forget_until(self, target: int) -> None:
        """Drop what no target after this one needs."""
        self._kept = {index: kept for index, kept in self._kept.items() if self._last_uses.get(index, -1) > target}

    def _encode(self, start: int) -> None:
        frames = _network_range(self._clip.frames[start : start + GROUP]).transpose(0, 3, 1, 2)
        masks = _network_range(self._clip.masks[start : start + GROUP])
        features = self._models.encode_frames(np.ascontiguousarray(frames))
        mask_features = self._models.encode_masks(masks.reshape(-1, 1, *masks.shape[2:]))
        mask_features = mask_features.reshape(*masks.shape[:2], *mask_features.shape[1:])
        for offset in range(len(features)):
            # Copies: a view would keep its whole group in memory.
            self._kept[start + offset] = features[offset].copy(), mask_features[offset].copy()


def _predict(models: LayerModels, encodings: _Encodings, windows: tuple[Window, ...]) -> FloatArray:
    """One prediction per window: (B, K, H, W, 4) straight RGBA in [0, 1]."""
    features, mask_features = [], []
    for window in windows:
        pairs = [encodings[frame] for frame in window.frames]
        shown = [pair[0] for pair in pairs]
        shown[window.target] = encodings.hidden
        features.append(np.stack(shown))
        mask_features.append(np.stack([pair[1] for pair in pairs], axis=1))
    targets = np.array([window.target for window in windows], np.int64)
    visible = np.ones((len(windows), len(windows[0].frames)), np.float32)
    visible[np.arange(len(windows)), targets] = 0
    skips = np.repeat(encodings.skip[None], len(windows), axis=0)
    rgba = models.decode(np.stack(features), skips, np.stack(mask_features), visible, targets)
    return (rgba * 0.5 + 0.5).transpose(0, 1, 3, 4, 2)


def _average(predictions: FloatArray) -> FloatArray:
    """The mean of straight RGBA (B, ...), taken premultiplied."""
    if len(predictions) == 1:
        return np.ascontiguousarray(predictions[0])
    alpha = predictions[..., 3:]
    # The network's alpha stays above 0.002, but other weights might not.
    weight = alpha / np.maximum(alpha.sum(0), 1e-6)
    return np.concatenate([(predictions[..., :3] * weight).sum(0), alpha.mean(0)], axis=-1)


def _last_uses(windows: list[tuple[Window, ...]]) -> dict[int, int]:
    """For each frame the last target one of whose windows holds it."""
    return {frame: target for target, pair in enumerate(windows) for window in pair for frame in window.frames}


def _network_range(unit: FloatArray) -> FloatArray:
    """[0, 1] to the network's [-1, 1]."""
    return unit * np.float32(2) - np.float32(1)
