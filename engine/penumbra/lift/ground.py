"""The ground under an effect as the plate shows it: the plate lit again.

A clean plate is made of other frames: its grain is theirs, averaged away, and a camera that moves has blurred its
texture. Divided by it, a shadow would take on the plate's grain, and the ground under it would lose its own. What an
effect leaves of the light is smooth but at its edges; what is not smooth is the ground's.
"""

from __future__ import annotations

import cv2
import numpy as np

from penumbra.belief import Noise, smoothstep
from penumbra.color import DisplayEncoding, FloatArray, finite

# A pixel's own grain, as a multiple of the clip's noise, which is measured of smoothed differences, and twice as much
# as that: an effect that varies by no more is smoothed, the less the more it does.
GRAIN = 4.6
# The clip's noise, display units, between which grain begins: what rounding to 8 bits makes is none, and what it hides
# would be smoothed with it.
GRAINY = (0.25 / 255, 0.5 / 255)
LINES = 270  # of the plate, for each pixel to either side that an effect is smoothed over
LEAST = 2  # pixels
DARKEST = np.float32(2.0**-16)  # linear; added to both, lest black be divided by black
# Linear, and how many times the light: more is told apart from nothing.
BRIGHTEST, MOST_LEFT = np.float32(65504.0), np.float32(16)
# Of the light, that an effect leaves: between these the ground begins to be hidden, whose grain would be multiplied.
LEFT = (0.04, 0.1)


def halo_of(lines: int) -> int:
    """Pixels around a part of a plate of so many lines that :func:`lit_again` looks at."""
    return 2 * _radius(lines)


def grain_of(noise: Noise) -> float:
    """By how much an effect may vary, display units, that is to be smoothed; 0 where a clip has no grain."""
    return GRAIN * float(smoothstep(np.array(noise.level, np.float32), *GRAINY)) * noise.level


def lit_again(
    plate: FloatArray, clean: FloatArray, free: FloatArray, encoding: DisplayEncoding, noise: Noise, lines: int
) -> FloatArray:
    """The clean plate (H, W, 3), linear, >= 0, with the grain and texture that the plate has there.

    What is left of the light, the plate over the clean plate, is smoothed where it varies by no more than grain does
    (a guided filter guided by itself: He, Sun and Tang, Guided Image Filtering, 2010; all channels alike, so that it
    takes on no hue); the plate divided by it is the ground. Where an effect has edges or texture of its own, where an
    object hides the ground, and in black, the clean plate stays as it is.

    Args:
        plate: (H, W, 3) scene-linear, of a plate of so many ``lines``; pixels that are no numbers count as black.
        clean: (H, W, 3) scene-linear.
        free: (H, W) 1 where ground is to be seen, else 0.
        encoding: in whose units ``noise`` is told.
        noise: the clip's own noise.
        lines: height of the whole plate.
    """
    shown, behind = finite(plate), np.maximum(finite(clean), 0)
    divisor = behind + DARKEST
    limited = np.minimum(divisor, BRIGHTEST)
    left = cv2.divide(_limited(shown, -BRIGHTEST) + DARKEST, limited)
    # Sums over windows would keep what is lost beside so large a value.
    np.clip(left, -MOST_LEFT, MOST_LEFT, out=left)
    smooth = _smoothed(left, _limited(shown, 0), limited, encoding, noise, lines)
    share = free
    if smooth.min() < LEFT[1]:
        share = smoothstep(_least(smooth), *LEFT) * free
        np.maximum(smooth, np.float32(LEFT[0]), out=smooth)
    lit = cv2.divide(left, smooth, dst=left)
    lit -= 1
    lit *= divisor
    lit *= cv2.merge([share, share, share])
    if shown.min() < 0:
        lit *= shown >= 0
    lit += behind
    return np.asarray(np.maximum(lit, 0, out=lit), np.float32)


def _smoothed(
    left: FloatArray, shown: FloatArray, divisor: FloatArray, encoding: DisplayEncoding, noise: Noise, lines: int
) -> FloatArray:
    """(H, W, 3) what is ``left`` of the light, smooth where it varies by no more than grain.

    Means and variances change slowly enough to be told steps apart (He and Sun, Fast Guided Filter, 2015).
    """
    step, side = _radius(lines) // LEAST, 2 * LEAST + 1
    size = (-(-left.shape[0] // step), -(-left.shape[1] // step))
    mean, square, here, behind = (_fewer(image, size) for image in (left, left * left, shown, divisor))
    # As much light as noise is in display units.
    grain = np.float32(grain_of(noise)) / (encoding.slope(here) * behind)
    many, allowed = (_box(_sum(image), side) for image in (square, grain * grain))
    middle = _box(mean, side)
    varies = many - _sum(middle * middle)
    like = 1 - smoothstep(np.asarray(varies / np.maximum(allowed, np.float32(1e-12)), np.float32), 0, 1)
    planes = np.dstack([_box(like[..., None] * middle, side), 1 - _box(like, side)])
    if step > 1:
        planes = np.asarray(cv2.resize(planes, left.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    share = planes[..., 3]
    smooth = np.asarray(cv2.merge([share, share, share]), np.float32)
    smooth *= left
    smooth += cv2.cvtColor(planes, cv2.COLOR_RGBA2RGB)
    return smooth


def _radius(lines: int) -> int:
    """Pixels to either side that an effect is smoothed over."""
    return max(LEAST, round(lines / LINES))


def _fewer(image: FloatArray, size: tuple[int, int]) -> FloatArray:
    if image.shape[:2] == size:
        return image
    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.float32)


def _sum(image: FloatArray) -> FloatArray:
    """(H, W) the sum over the channels of (H, W, 3)."""
    return np.asarray(cv2.transform(image, np.ones((1, 3), np.float32)), np.float32).reshape(image.shape[:2])


def _limited(image: FloatArray, least: float | np.float32) -> FloatArray:
    """Light from ``least`` to the brightest; the very array where none is beyond, which is told in half the time."""
    if image.min() >= least and image.max() <= BRIGHTEST:
        return image
    return np.clip(image, np.float32(least), BRIGHTEST)


def _least(image: FloatArray) -> FloatArray:
    """(H, W) the least of the channels of (H, W, 3): numpy's own along so short an axis takes fifty times as long."""
    return np.asarray(np.minimum(np.minimum(image[..., 0], image[..., 1]), image[..., 2]), np.float32)


def _box(values: FloatArray, side: int) -> FloatArray:
    return np.asarray(cv2.blur(values, (side, side)), np.float32)
