"""The centre of what a place shows at most frames, which what passes over it at some does not draw to its side."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from penumbra.color import DisplayEncoding, FloatArray

# Samples count by Tukey's biweight of their distance to the centre, 0 from so many times the distance that half of
# them keep: of grain's samples 998 in 1,000 lie nearer. In display units no less than the first of REACH, the step of
# 8 bits, and no more than the second.
KEPT, REACH = 2.5, (1 / 255, 16 / 255)
ROUNDS = 3
AT_ONCE = 200_000  # values worked on together: they stay in the processor's cache


def centred(median: FloatArray, samples: FloatArray, count: NDArray[np.intp], encoding: DisplayEncoding) -> FloatArray:
    """Medians (H, W, 3) of ``count`` (H, W) linear samples (H, W, 3, S), the rest of them NaN, moved to the centre of
    those near.

    A location that forgets what is far away (Tukey's biweight; Beaton and Tukey, 1974): of twelve samples three in the
    edge of a shadow still draw a median to their side, by the distance that half of the others are apart. Its scale is
    measured anew about each centre, as it shrinks where the centre leaves what drew it. Distances are in display units,
    over the three channels together: a shadow darkens all of them.
    """
    centres, flat = median.copy(), samples.reshape(-1, *samples.shape[2:])
    half = np.maximum(count.ravel() - 1, 0) // 2
    step = max(1, AT_ONCE // math.prod(flat.shape[1:]))
    for first in range(0, len(flat), step):
        at = slice(first, first + step)
        some = centres.reshape(-1, 3)[at]
        units = np.asarray(np.square(encoding.slope(some)) / 3, np.float32)
        for _ in range(ROUNDS):
            some += _towards_centre(some, flat[at], half[at], units)
    return centres


def _towards_centre(centre: FloatArray, samples: FloatArray, half: NDArray[np.intp], units: FloatArray) -> FloatArray:
    """By how much (P, 3) centres (P, 3) of samples (P, 3, S) move. ``half`` (P,): the place of the nearer half's last;
    ``units`` (P, 3): what squares of light count in the square of a distance.
    """
    apart = samples - centre[..., None]
    square = np.einsum("pcs,pc->ps", np.square(apart), units)
    missing = np.isnan(square)
    if missing.any():
        square[missing] = np.inf
        np.nan_to_num(apart, copy=False)
    middle = np.take_along_axis(np.sort(square, -1), half[:, None], -1)
    square /= np.clip(KEPT**2 * middle, REACH[0] ** 2, REACH[1] ** 2)
    weight = np.square(np.maximum(np.subtract(1, square, out=square), 0, out=square), out=square)
    total = weight.sum(-1)[:, None]
    # Where no sample is within reach the median stays.
    return np.asarray(np.einsum("ps,pcs->pc", weight, apart) / np.where(total > 0, total, np.inf), np.float32)
