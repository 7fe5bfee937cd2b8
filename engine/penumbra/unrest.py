"""How far a frame's background is from its clean plate, told from where no object can be the cause.

Foam, wet sand, leaves, a light that was switched on, an edge that no homography holds: what differs far from every
mask differs near the masks as well, and is no effect there either. What is alike in the clean plate is alike in this,
so that water tells of water and ground of ground: counts on a bilateral grid (Chen, Paris and Durand 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import largest_of
from penumbra.color import DisplayEncoding, FloatArray, finite
from penumbra.compiled import compiled
from penumbra.resizing import shrink

# Longest side of the pictures it is told from.
SIDE = 160
REACH = 0.12  # of the width: nearer to a mask a shadow is likelier than a background that moves
OUTSIDE = 0.02  # coverage below which a pixel is outside a mask
WINDOW = 1.0  # widths: wide, because a window that a shadow or a reflection fills would take it for the ground
SHADES = 5  # of brightness, and of warmth, that are told apart
ENOUGH = 0.2  # of the pixels alike in a window must be far from masks to be believed
# The typical difference is the median; where the background is restless over time it is the ninth decile, told as the
# median that grain of as much would have (a chi distribution of three degrees: 1.54 over 2.50), for foam is sparse and
# bright. Elsewhere a tenth of the ground may well be a shadow longer than ``REACH``.
MEDIAN, TAIL, OF_GRAIN = 0.5, 0.9, 0.6
# Restlessness, as a multiple of the picture's calm places', from which on the tail counts, and counts alone.
RESTLESS = (1.8, 3.0)
CALM = 50  # per cent of the places that are calm
QUIET = 0.003  # display units: less is nothing in 8 bits
# Differences in display units between which it is told; below the first nothing differs.
LEVELS = np.geomspace(0.004, 1.0, 24).astype(np.float32)
ROUNDING = np.sqrt(LEVELS[1] / LEVELS[0])  # what lies between two of them is told as their geometric mean
BRIGHTNESS = np.array([0.3, 0.6, 0.1], np.float32)


@dataclass(frozen=True)
class SmallFrame:
    """A frame made small, ``SIDE`` pixels at its longest, as its background is judged by.

    ``shown``, ``behind`` (h, w, 3): frame and clean plate, display-encoded; ``covered`` (h, w): the largest coverage of
    all masks; ``restless`` (h, w): deviation over time, display units, or None where it is not known.
    """

    shown: FloatArray
    behind: FloatArray
    covered: FloatArray
    restless: FloatArray | None

    def unrest(self) -> FloatArray:
        """(h, w) how far the background is from the clean plate by itself at this frame: :func:`unrest`."""
        return unrest(self.shown, self.behind, self.covered, self.restless)


def small_frame(
    plate: FloatArray,
    clean: FloatArray,
    masks: Sequence[FloatArray],
    encoding: DisplayEncoding,
    restless: FloatArray | None,
) -> SmallFrame:
    """``plate`` and ``clean`` (H, W, 3) scene-linear, ``masks`` and ``restless`` (H, W), made small."""
    scale = min(1.0, SIDE / max(plate.shape[:2]))
    size = (max(1, round(plate.shape[0] * scale)), max(1, round(plate.shape[1] * scale)))
    shown, behind = (encoding.encode(finite(shrink(image, size))) for image in (plate, clean))
    covered = largest_of([shrink(mask, size) for mask in masks])
    return SmallFrame(shown, behind, covered, None if restless is None else shrink(restless, size))


def own_motion(
    plate: FloatArray,
    clean: FloatArray,
    masks: Sequence[FloatArray],
    encoding: DisplayEncoding,
    restless: FloatArray | None,
) -> FloatArray:
    """(H, W) how far the background may be from the clean plate by itself, display units: over time, or at this frame.

    ``plate``, ``clean`` (H, W, 3) scene-linear; ``masks`` each (H, W); ``restless`` (H, W) its deviation over time.
    """
    small = small_frame(plate, clean, masks, encoding, restless)
    return larger_of(small.unrest(), restless, plate.shape)


def larger_of(here: FloatArray, restless: FloatArray | None, shape: tuple[int, ...]) -> FloatArray:
    """(H, W) the larger of a small deviation (h, w) at a frame, enlarged to ``shape``, and of that over time (H, W)."""
    large = np.asarray(cv2.resize(here, shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return large if restless is None else np.asarray(np.maximum(large, restless), np.float32)


def unrest(
    shown: FloatArray, behind: FloatArray, covered: FloatArray, restless: FloatArray | None = None
) -> FloatArray:
    """(h, w) the typical difference to the clean plate around every pixel, display units, root of the sum over RGB.

    ``shown``, ``behind`` (h, w, 3): a small frame and its clean plate, display-encoded; ``covered`` (h, w): the largest
    coverage of all masks; ``restless`` (h, w): deviation over time. A quantile over what is alike and far from masks,
    so that a shadow longer than ``REACH`` does not count as the background's: it is thin. 0 where the masks leave too
    little to judge by.
    """
    difference = departure(shown, behind)
    # By the first level that is not below; those near a mask apart.
    kind = np.where(_far(covered) > 0, np.searchsorted(LEVELS, difference), len(LEVELS) + 1)
    counts = np.zeros((*covered.shape, len(LEVELS) + 2))
    _count(kind, np.stack(_shades(behind)), max(1, round(WINDOW * covered.shape[1] / 2)), counts)
    upwards = np.cumsum(counts, axis=-1)
    below, seen, alike = upwards[..., : len(LEVELS)], upwards[..., -2], upwards[..., -1]
    middle = _quantile(below, MEDIAN * seen)
    if restless is not None:
        share = _restless_share(restless)
        middle += share * np.maximum(OF_GRAIN * _quantile(below, TAIL * seen) - middle, 0)
    values = np.where(seen > ENOUGH * alike, middle, 0).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(values, (0, 0), max(1.0, 0.01 * covered.shape[1])), np.float32)


def departure(shown: FloatArray, behind: FloatArray) -> FloatArray:
    """(h, w) how far two small pictures (h, w, 3) differ, display units, root of the sum over RGB.

    Smoothed as the lift smooths what it compares with unrest, so that grain weighs the same in both.
    """
    return np.asarray(np.sqrt(np.square(cv2.GaussianBlur(shown - behind, (5, 5), 1.0)).sum(-1)), np.float32)


def _quantile(below: NDArray[np.float64], wanted: NDArray[np.float64]) -> FloatArray:
    """Between which of ``LEVELS`` the count (h, w, .) reaches ``wanted`` (h, w); 0 where it does below the first."""
    place = np.sum(below < wanted[..., None], axis=-1)
    values = np.append(LEVELS, LEVELS[-1])[place] / ROUNDING
    return np.asarray(np.where(place > 0, values, 0), np.float32)


def _restless_share(restless: FloatArray) -> FloatArray:
    """0 where the background is as calm as in its calm places, 1 where it moves."""
    low, high = RESTLESS
    calm = max(float(np.percentile(restless, CALM)), QUIET)
    return np.asarray(np.clip((restless / np.float32(calm) - low) / (high - low), 0, 1), np.float32)


def _far(covered: FloatArray) -> FloatArray:
    """1 where no mask is near, else 0."""
    reach = 1 + round(REACH * covered.shape[1])
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    near = cv2.dilate((covered >= OUTSIDE).astype(np.uint8), kernel)
    return np.asarray(near == 0, np.float32)


def _shades(behind: FloatArray) -> list[FloatArray]:
    """How much each pixel of the clean plate is of each shade (h, w); all of them add up to 1."""
    planes = (_steps(behind @ BRIGHTNESS), _steps(behind[..., 0] - behind[..., 2]))
    return [bright * warm for bright in planes[0] for warm in planes[1] if (bright * warm).any()]


def _steps(plane: FloatArray) -> list[FloatArray]:
    """The plane divided softly among ``SHADES`` steps over its own range."""
    low, high = (float(edge) for edge in np.percentile(plane, (2, 98)))
    place = np.clip((plane - low) / max(high - low, 0.05), 0, 1) * (SHADES - 1)
    return [np.asarray(np.maximum(0, 1 - np.abs(place - step)), np.float32) for step in range(SHADES)]


@compiled
def _count(kind: NDArray[np.intp], shades: FloatArray, reach: int, counts: NDArray[np.float64]) -> None:
    """Adds to ``counts`` (h, w, kinds) how much there is of each ``kind`` (h, w) within so many pixels across and down,
    counting what is of the same shade as the pixel itself: ``shades`` (S, h, w).

    Windows are moved on by what enters and what leaves them.
    """
    height, width, kinds = counts.shape
    for s in range(len(shades)):
        columns, window = np.zeros((width, kinds)), np.zeros(kinds)
        for y in range(-reach, height):
            for x in range(width):
                if y + reach < height:
                    columns[x, kind[y + reach, x]] += shades[s, y + reach, x]
                if y - reach > 0:
                    columns[x, kind[y - reach - 1, x]] -= shades[s, y - reach - 1, x]
            if y < 0:
                continue
            window[:] = 0
            for x in range(-reach, width):
                enters, leaves, shade = x + reach < width, x - reach > 0, shades[s, y, x] if x >= 0 else 0
                for k in range(kinds):
                    if enters:
                        window[k] += columns[x + reach, k]
                    if leaves:
                        window[k] -= columns[x - reach - 1, k]
                    if shade > 0:
                        counts[y, x, k] += shade * window[k]
