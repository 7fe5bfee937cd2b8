"""Every frame's layers, each predicted from windows on both sides of it in time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.decompose.models import LayerModels
from penumbra.decompose.providers import CPU
from penumbra.errors import OutOfMemoryError, Stopped, TooShortError
from penumbra.frames import WorkingClip
from penumbra.windows import Window, central_window, windows_for

# Frames are encoded in fixed groups, so that the bits do not depend on which frames a run starts from.
GROUP = 8
# Pixels decoded at once: more than this only leaves a CPU's caches, while a GPU starves on so few.
DECODED_PIXELS_CPU, DECODED_PIXELS_GPU = 2**15, 2**21


def decompose(
    clip: WorkingClip,
    models: LayerModels,
    stride: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    both_sides: bool = True,
    mirrored: bool = True,
) -> Iterator[tuple[int, FloatArray]]:
    """Yield (index, layers) for every frame of the clip, in order.

    ``layers`` (K, h, w, 4) float32: straight RGBA of each object in ``clip.names``' order, display-encoded as the clip,
    colour and alpha in [0, 1]. ``stride``: temporal stride, the contract's by default; short clips shrink it.
    ``on_progress`` gets (frames done, frames in all). Memory is flat in the number of frames.

    Each frame is hidden in turn and predicted from the windows :func:`penumbra.windows.windows_for` gives, the two
    predictions averaged premultiplied; or, not ``both_sides``, from one window around it at half the cost. With
    ``mirrored`` the clip's mirror image is predicted too and averaged in, at twice the cost: what the network is unsure
    of it is unsure of differently there. The next frames are predicted while the caller deals with those it got. Where
    memory does not suffice, fewer are predicted at once.

    Raises :class:`Stopped` when ``should_stop`` says so, after a whole frame, :class:`TooShortError` for a clip of one
    frame, which would be predicted from nothing, :class:`OutOfMemoryError` where one window is too much.
    """
    count = len(clip.numbers)
    if count < 2:
        raise TooShortError("A clip of a single frame cannot be decomposed.", "Give at least two frames.")
    windows = _windows(count, models.contract.window, stride or models.contract.stride, both_sides)
    # One worker: the graphs themselves spread over the cores.
    with ThreadPoolExecutor(1) as worker:
        views = [
            _Encodings(clip, models, _last_uses(windows), turned)
            for turned in ((False, True) if mirrored else (False,))
        ]
        groups = _groups(windows, clip, models)
        ahead = worker.submit(_layers, models, views, windows, groups[0])
        for position, group in enumerate(groups):
            finished = ahead.result()
            if position + 1 < len(groups):
                ahead = worker.submit(_layers, models, views, windows, groups[position + 1])
            for index, layers in zip(group, finished, strict=True):
                if should_stop is not None and should_stop():
                    raise Stopped(f"Stopped with {index} of {count} frames predicted.", "Add --resume to go on.")
                yield index, layers
                if on_progress is not None:
                    on_progress(index + 1, count)


def _windows(count: int, window: int, stride: int, both_sides: bool) -> list[tuple[Window, ...]]:
    """Each frame's windows."""
    if both_sides:
        return [windows_for(index, count, window, stride) for index in range(count)]
    return [(central_window(index, count, window, stride),) for index in range(count)]


def _groups(windows: list[tuple[Window, ...]], clip: WorkingClip, models: LayerModels) -> list[range]:
    """Frames whose windows are decoded together: as many as the device likes, and no more than are encoded together."""
    budget = DECODED_PIXELS_CPU if models.provider == CPU else DECODED_PIXELS_GPU
    pixels = clip.masks[0].size * max(len(pair) for pair in windows)
    size = min(max(1, budget // pixels), GROUP)
    return [range(start, min(start + size, len(windows))) for start in range(0, len(windows), size)]


class _Batches:
    """Runs a graph on as many samples at once as memory allows, which it learns by failing."""

    def __init__(self) -> None:
        self._most = sys.maxsize

    def __call__(self, run: Callable[..., FloatArray], *inputs: NDArray[Any]) -> FloatArray:
        """``run`` on inputs of equal first dimension, all at once or piece by piece."""
        count = len(inputs[0])
        while True:
            size = min(count, self._most)
            try:
                pieces = [run(*(array[at : at + size] for array in inputs)) for at in range(0, count, size)]
                return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            except OutOfMemoryError:
                if size == 1:
                    raise
                self._most = size // 2


class _Encodings:
    """Features of frames and masks, or of their mirror images, each computed once and kept while a window still to
    come needs it.
    """

    def __init__(self, clip: WorkingClip, models: LayerModels, last_uses: dict[int, int], mirrored: bool) -> None:
        self._clip, self._models, self._last_uses, self.mirrored = clip, models, last_uses, mirrored
        self._kept: dict[int, tuple[FloatArray, FloatArray]] = {}
        self.batches = _Batches()
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
        if self.mirrored:
            frames, masks = frames[..., ::-1], np.ascontiguousarray(masks[..., ::-1])
        features = self.batches(self._models.encode_frames, np.ascontiguousarray(frames))
        mask_features = self.batches(self._models.encode_masks, masks.reshape(-1, 1, *masks.shape[2:]))
        mask_features = mask_features.reshape(*masks.shape[:2], *mask_features.shape[1:])
        for offset in range(len(features)):
            # Copies: a view would keep its whole group in memory.
            self._kept[start + offset] = features[offset].copy(), mask_features[offset].copy()


def _layers(
    models: LayerModels, views: list[_Encodings], windows: list[tuple[Window, ...]], group: range
) -> list[FloatArray]:
    """The layers (K, H, W, 4) of each frame of a group."""
    asked = [window for index in group for window in windows[index]]
    predictions = [_predict(models, view, asked) for view in views]
    for view in views:
        view.forget_until(group[-1])
    ends = np.cumsum([len(windows[index]) for index in group])
    parts = [np.split(prediction, ends[:-1]) for prediction in predictions]
    return [_average(np.concatenate(same)) for same in zip(*parts, strict=True)]


def _predict(models: LayerModels, encodings: _Encodings, windows: list[Window]) -> FloatArray:
    """One prediction per window, the right way round: (B, K, H, W, 4) straight RGBA in [0, 1]."""
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
    rgba = encodings.batches(models.decode, np.stack(features), skips, np.stack(mask_features), visible, targets)
    unit = (rgba * 0.5 + 0.5).transpose(0, 1, 3, 4, 2)
    return unit[:, :, :, ::-1] if encodings.mirrored else unit


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
