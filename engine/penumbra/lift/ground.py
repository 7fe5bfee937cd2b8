"""The ground under an effect as the plate shows it: the plate lit again.

A clean plate is made of other frames: its grain is theirs, averaged away, and a camera that moves has blurred its
texture. Divided by it, a shadow would take on the plate's grain, and the ground under it would lose its own. What an
effect leaves of the light is smooth but at its edges; what is not smooth is the ground's.
"""

from __future__ import annotations

import cv2
import numpy as np

from penumbra.belief import Noise, smoothstep
from penumbra.color import DisplayEncoding, FloatArray
from penumbra.lift.kernels import light_again, light_left
from penumbra.tiling import Tile, widened

# A pixel's own grain, as a multiple of the clip's noise, which is measured of smoothed differences, and twice as much
# as that: an effect that varies by no more is smoothed, the less the more it does.
GRAIN = 4.6
# The clip's noise, display units, between which grain begins: what rounding to 8 bits makes is none, and what it hides
# would be smoothed with it.
GRAINY = (0.25 / 255, 0.5 / 255)
LINES = 270  # of the plate, for each pixel to either side that an effect is smoothed over
LEAST = 2  # pixels


def halo_of(lines: int) -> int:
    """Pixels around a part of a plate of so many lines that :func:`lit_again` looks at."""
    return 2 * _radius(lines)


def grain_of(noise: Noise) -> float:
    """By how much an effect may vary, display units, that is to be smoothed; 0 where a clip has no grain."""
    return GRAIN * float(smoothstep(np.array(noise.level, np.float32), *GRAINY)) * noise.level


def lit_again(
    plate: FloatArray, clean: FloatArray, free: FloatArray, encoding: DisplayEncoding, noise: Noise, lines: int,
    place: Tile | None = None,
) -> FloatArray:  # fmt: skip
    """The clean plate, linear, >= 0, with the grain and texture that the plate has there; or a rectangle of it.

    What is left of the light, the plate over the clean plate, is smoothed where it varies by no more than grain does
    (a guided filter guided by itself: He, Sun and Tang, Guided Image Filtering, 2010; all channels alike, so that it
    takes on no hue); the plate divided by it is the ground. Where an effect has edges or texture of its own, where an
    object hides the ground, and in black, the clean plate stays as it is.

    Args:
        plate: (H, W, 3) scene-linear, of a plate of so many ``lines``; pixels that are no numbers count as black.
        clean: (H, W, 3) scene-linear.
        free: (h, w) 1 where ground is to be seen, else 0.
        encoding: in whose units ``noise`` is told.
        noise: the clip's own noise.
        lines: height of the whole plate.
        place: the rows and columns of the rectangle, in whole steps where the plate goes on (:func:`halo_of`); all.

    Returns:
        (h, w, 3).
    """
    whole = (slice(0, plate.shape[0]), slice(0, plate.shape[1]))
    rows, columns = place or whole
    wide, _ = widened((rows, columns), plate.shape, halo_of(lines))
    shown, behind = (np.ascontiguousarray(image).reshape(len(image), -1) for image in (plate, clean))
    planes = _smoothing(shown, behind, wide, encoding, noise, lines)
    ground = np.empty((*free.shape, 3), np.float32)
    origin = rows.start - wide[0].start, columns.start - wide[1].start
    light_again(
        shown, behind, free, planes, _radius(lines) // LEAST, rows.start, columns.start, *origin, ground
    )  # fmt: skip
    return ground


def _smoothing(
    shown: FloatArray, behind: FloatArray, wide: Tile, encoding: DisplayEncoding, noise: Noise, lines: int
) -> FloatArray:
    """(h, w, 4) what is to be added, in each channel, to so much of what is left of the light, that it be smooth where
    it varies by no more than grain: a small one, of a rectangle of images (H, 3 W).

    Means and variances change slowly enough to be told steps apart (He and Sun, Fast Guided Filter, 2015).
    """
    step, side = _radius(lines) // LEAST, 2 * LEAST + 1
    rows, columns = wide
    size = (-(-(rows.stop - rows.start) // step), -(-(columns.stop - columns.start) // step))
    mean, here, light = (np.empty((*size, 3), np.float32) for _ in range(3))
    square = np.empty(size, np.float32)
    light_left(shown, behind, rows.start, rows.stop, columns.start, columns.stop, step, mean, square, here, light)
    # As much light as noise is in display units.
    grain = np.float32(grain_of(noise)) / (encoding.slope(here) * light)
    many, allowed = (_box(image, side) for image in (square, _sum(grain * grain)))
    middle = _box(mean, side)
    varies = many - _sum(middle * middle)
    like = 1 - smoothstep(np.asarray(varies / np.maximum(allowed, np.float32(1e-12)), np.float32), 0, 1)
    return np.dstack([_box(like[..., None] * middle, side), 1 - _box(like, side)])


def _radius(lines: int) -> int:
    """Pixels to either side that an effect is smoothed over."""
    return max(LEAST, round(lines / LINES))


def _sum(image: FloatArray) -> FloatArray:
    """(H, W) the sum over the channels of (H, W, 3)."""
    return np.asarray(cv2.transform(image, np.ones((1, 3), np.float32)), np.float32).reshape(image.shape[:2])


def _box(values: FloatArray, side: int) -> FloatArray:
    return np.asarray(cv2.blur(values, (side, side)), np.float32)
