"""The centre of what a place shows at most frames, which what passes over it at some does not draw to its side."""

from __future__ import annotations

import math
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.clean_plate.kept import DISTANCES
from penumbra.color import HUGE, DisplayEncoding, FloatArray
from penumbra.frames import BoolArray
from penumbra.tiling import widened

# Samples count by Tukey's biweight of their distance to the centre, 0 from so many times the distance that this share
# of them keep: of grain's samples 998 in 1,000 lie nearer. In display units no less than the first of REACH, half the
# step of 8 bits, and no more than the second.
KEPT, NEAREST, REACH = 3.0, 1 / 3, (0.5 / 255, 16 / 255)
# Steps to the centre, and how many times the way to the mean of those near each goes, by which alone it comes slowly.
STEPS, STRIDE = 4, np.float32(1.5)
# What a sample counts by its farness from 0 on, a quarter as much each time the distance to the nearest mask halves:
# objects take light from the ground far around them, less of it the farther it lies. Over so many pixels, as the few
# samples that are far know less of grain; and by no more than a step of 8 bits, in display units: more is a shadow.
FAR_COUNTS = np.array([0, *(0.25 ** (len(DISTANCES) - step) for step in range(len(DISTANCES) + 1)), 1], np.float32)
FAR_OVER, FAR_MOST = 9, 1 / 255
# Of the samples near the centre, by what they count, those of a clip without grain that are no brighter than the
# background: what is off by less than is seen is so to the dark side. By no more than two steps of 8 bits: more moves.
NO_BRIGHTER, BRIGHT_MOST = np.float32(0.75), 2 / 255
HALO = 4  # pixels around a block that its samples' distances are told from; even, as they are of pairs of pixels
BORDER = HALO + FAR_OVER // 2  # pixels around a place, even, that tell of it
AT_ONCE = 400_000  # values worked on together: they stay in the processor's cache


def centred(
    median: FloatArray, samples: FloatArray, farness: NDArray[np.uint8], encoding: DisplayEncoding, grainless: bool
) -> FloatArray:
    """Medians (H, W, 3) of linear samples (H, W, 3, S), NaN where there is none, moved to the centre of those near.

    A location that forgets what is far away (Tukey's biweight; Beaton and Tukey, 1974): of twelve samples three in the
    edge of a shadow still draw a median to their side, by the distance that half of the others are apart. Its scale is
    measured anew about each centre, as it shrinks where the centre leaves what drew it. Distances are in display units,
    over the three channels together, as a shadow darkens all of them, and of the mean over 6 x 6 pixels: grain is
    nobody's shadow, and what passes is wider than a pixel. Of those near, the farther from any mask (``farness``, of
    H, W, S) the more a sample counts. Where a clip is ``grainless``, not their mean is taken but one of them: there
    what is shown is shown exactly, and what differs by a step of 8 bits is somebody's faintest shadow.
    """
    channels, many = samples.shape[2:]
    side = max(HALO, 2 * (math.isqrt(AT_ONCE // (channels * many)) // 2))
    centres, farther = median.copy(), np.zeros_like(median)
    for top, left in product(*(range(0, size, side) for size in median.shape[:2])):
        block = np.s_[top : top + side, left : left + side]
        wide, inner = widened(block, median.shape, HALO)
        apart = samples[wide] - median[wide][..., None]
        units = np.asarray(np.square(encoding.slope(median[wide])) / channels, np.float32)
        move, further = _towards_centre(apart, FAR_COUNTS[farness[wide]], units, grainless)
        centres[block] += move[inner]
        farther[block] = further[inner]
    farther *= np.abs(farther) * encoding.slope(median) < (BRIGHT_MOST if grainless else FAR_MOST)
    return centres + (farther if grainless else _smooth(farther))


def _towards_centre(
    apart: FloatArray, counts: FloatArray, units: FloatArray, grainless: bool
) -> tuple[FloatArray, FloatArray]:
    """By how much (H, W, 3) medians move that samples are ``apart`` from (H, W, 3, S; 0 for NaN afterwards), and how
    much more where samples count (H, W, S).

    ``units`` (H, W, 3): what squares of light count in the square of a distance.
    """
    seen = (~np.isnan(apart[:, :, 0])).astype(np.float32)
    # As nan_to_num does, in half of the time.
    np.copyto(apart, 0, where=np.isnan(apart))
    np.clip(apart, -HUGE, HUGE, out=apart)
    many = _pairs(seen)
    around = _neighbours(_pairs(apart))
    around /= np.maximum(_neighbours(many), 1)[:, :, None]
    weight = _weights(around, many > 0, _pairs(units) / _pairs(np.ones_like(units)))
    weight = weight.repeat(2, 0)[: len(seen)].repeat(2, 1)[:, : seen.shape[1]] * seen
    # Where no sample is within reach the median stays.
    near = _mean(weight, apart, np.float32(0))
    if grainless:
        return near, _bright(weight * counts, apart, near) - near
    return near, _mean(weight * counts, apart, near) - near


def _weights(apart: FloatArray, seen: BoolArray, units: FloatArray) -> FloatArray:
    """(H, W, S) what samples, ``apart`` (H, W, 3, S) from any value, count about their centre: 0 if not ``seen``."""
    rank = (NEAREST * np.maximum(seen.sum(-1) - 1, 0)).astype(np.intp)[..., None]
    centre = np.zeros(apart.shape[:3], np.float32)
    for _ in range(STEPS):
        weight = _near(apart - centre[..., None], seen, units, rank)
        centre += STRIDE * (_mean(weight, apart, centre) - centre)
    return _near(apart - centre[..., None], seen, units, rank)


def _near(apart: FloatArray, seen: BoolArray, units: FloatArray, rank: NDArray[np.intp]) -> FloatArray:
    """(H, W, S) the biweight of samples so far ``apart`` (H, W, 3, S) from the centre; ``rank`` (H, W, 1): the place of
    the last of the nearest.
    """
    square = np.einsum("yxcs,yxc->yxs", np.square(apart), units)
    square[~seen] = np.inf
    square /= np.clip(KEPT**2 * np.take_along_axis(np.sort(square, -1), rank, -1), REACH[0] ** 2, REACH[1] ** 2)
    weight: FloatArray = np.square(np.maximum(np.subtract(1, square, out=square), 0, out=square), out=square)
    return weight


def _mean(weight: FloatArray, apart: FloatArray, otherwise: FloatArray | np.float32) -> FloatArray:
    """(H, W, 3) the mean of samples (H, W, 3, S) that count by a weight (H, W, S) >= 0; otherwise where none does."""
    total = weight.sum(-1)[..., None]
    found, total = total > 0, np.where(total > 0, total, 1)
    return np.where(found, np.einsum("yxs,yxcs->yxc", weight, apart) / total, otherwise).astype(np.float32, copy=False)


def _bright(weight: FloatArray, apart: FloatArray, otherwise: FloatArray) -> FloatArray:
    """(H, W, 3) the sample of (H, W, 3, S) than which ``NO_BRIGHTER`` of them are no brighter, by what they count
    (H, W, S); otherwise where none does.
    """
    counted = weight[:, :, None] > 0
    most = np.max(apart, axis=-1, where=counted, initial=-np.inf)
    least = np.min(apart, axis=-1, where=counted, initial=np.inf)
    bright = np.where(np.isfinite(most), most, otherwise)
    # Most of such a clip shows the same at all frames.
    differ = np.nonzero(least < most)
    values, counts = apart[differ], weight[differ[:2]]
    rank = np.argsort(values, axis=-1)
    total = np.cumsum(np.take_along_axis(counts, rank, -1), axis=-1)
    # Rounding must not ask for more than all of them.
    at = (total < NO_BRIGHTER * total[:, -1:]).sum(axis=-1, keepdims=True)
    bright[differ] = np.take_along_axis(values, np.take_along_axis(rank, at, -1), -1)[:, 0]
    return np.asarray(bright, np.float32)


def _smooth(values: FloatArray) -> FloatArray:
    return np.asarray(cv2.boxFilter(values, -1, (FAR_OVER, FAR_OVER), borderType=cv2.BORDER_REFLECT), np.float32)


def _pairs(values: FloatArray) -> FloatArray:
    """(ceil(H / 2), ceil(W / 2), ...) sums of 2 x 2, of what there is of them at the end."""
    rows = values[::2].copy()
    rows[: len(values) // 2] += values[1::2]
    sums = rows[:, ::2].copy()
    sums[:, : values.shape[1] // 2] += rows[:, 1::2]
    return sums


def _neighbours(values: FloatArray) -> FloatArray:
    """(H, W, ...) sums of 3 x 3, of what there is of them at borders."""
    rows = values.copy()
    rows[1:] += values[:-1]
    rows[:-1] += values[1:]
    sums = rows.copy()
    sums[:, 1:] += rows[:, :-1]
    sums[:, :-1] += rows[:, 1:]
    return sums
