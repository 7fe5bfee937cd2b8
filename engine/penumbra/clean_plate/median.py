"""What a place shows when nothing stands on it, from what it showed at some frames."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.color import DisplayEncoding, FloatArray
from penumbra.frames import BoolArray

DOUBT = 4 / 255  # display units between the outer sixths of what a place shows, below which nothing passed over it
SMOOTHING_SIGMA = 2.5  # pixels: grain of few samples must not decide
DIFFERENT = 2.5 / 255  # display units, root of the sum of squares over RGB
FEWEST = 3
FAR_SHARE = 1 / 8  # of the samples, that the farthest ones may be


def median_background(
    stack: FloatArray, farness: NDArray[np.uint8], encoding: DisplayEncoding
) -> tuple[FloatArray, BoolArray]:
    """The background (H, W, 3) of a tile, and where anything is known (H, W).

    ``stack`` (H, W, 3, S): samples, linear, NaN where one does not see the place; ``farness`` (H, W, S): 0 there, else
    the more the farther the nearest mask was. The median over all samples, as the paper has it; where the farthest
    samples clearly agree on something else, their median: a shadow or reflection that lies on a place for most of the
    clip does so while its maker is near.
    """
    ordered = np.sort(stack, axis=-1)
    count = (farness > 0).sum(-1)
    known: BoolArray = count > 0
    median = _middle(ordered, count)
    doubtful = known & (_spread(ordered, count, encoding) > DOUBT)
    del ordered
    if doubtful.any():
        _prefer_far(median, stack, farness, count, doubtful, encoding)
    return median, known


def _middle(ordered: FloatArray, count: NDArray[np.intp]) -> FloatArray:
    """Median of the first ``count`` (...) of sorted values (..., 3, S); 0 where there are none."""
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, ordered.shape[-1] - 1)
    first, second = (np.take_along_axis(ordered, at[..., None, None], -1)[..., 0] for at in (low, high))
    return np.where((count > 0)[..., None], first + (second - first) / 2, 0).astype(np.float32)


def _spread(ordered: FloatArray, count: NDArray[np.intp], encoding: DisplayEncoding) -> FloatArray:
    last = np.maximum(count - 1, 0)
    low, high = (
        np.take_along_axis(ordered, np.rint(last * share).astype(np.intp)[..., None, None], -1)[..., 0]
        for share in (1 / 6, 5 / 6)
    )
    spread: FloatArray = (encoding.encode(high) - encoding.encode(low)).max(-1)
    return spread


def _prefer_far(
    median: FloatArray, stack: FloatArray, farness: NDArray[np.uint8], count: NDArray[np.intp], doubtful: BoolArray,
    encoding: DisplayEncoding,
) -> None:  # fmt: skip
    """Blends, in place, to the farthest samples' median where it differs by more than they do among themselves."""
    distances = farness[doubtful]
    used = distances >= _threshold(distances, count[doubtful])[:, None]
    far = np.where(used[:, None], stack[doubtful], np.nan)
    far.sort(axis=-1)
    many = used.sum(-1)
    other, among = median.copy(), np.zeros(doubtful.shape, np.float32)
    other[doubtful], among[doubtful] = _middle(far, many), _spread(far, many, encoding)
    apart = _smooth(encoding.encode(other) - encoding.encode(median))
    size = np.sqrt((apart**2).sum(-1))
    share = np.clip(size / np.maximum(DIFFERENT, _smooth(among)) - 1, 0, 1)[..., None].astype(np.float32)
    median += share * (other - median)


def _smooth(values: FloatArray) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), SMOOTHING_SIGMA), np.float32)


def _threshold(distances: NDArray[np.uint8], count: NDArray[np.intp]) -> NDArray[np.uint8]:
    """The greatest farness (P,) that enough of the samples (P, S) reach."""
    enough = np.maximum(FEWEST, np.ceil(count * FAR_SHARE))
    chosen = np.ones(len(distances), np.uint8)
    for step in range(2, int(distances.max(initial=1)) + 1):
        chosen[(distances >= step).sum(-1) >= enough] = step
    return chosen
