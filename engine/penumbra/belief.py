"""When a difference to the clean plate is an effect: where it is larger than what the background does by itself."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from penumbra.color import FloatArray
from penumbra.compiled import compiled

# Least difference, in display units, ever taken for an effect: one and a half 8-bit levels over three channels.
SMALLEST_EFFECT = 2.5 / 255
# By how much every channel must fall for a shadow, and how unlike the channels may fall, as a share of their mean fall.
DARKER, ALIKE = (0.05, 0.1), (0.9, 1.1)
_NONE, _ONE, _TWO, _THREE = (np.float32(number) for number in range(4))
DARKEST = np.float32(2.0**-8)  # linear; added to both, for in black nothing can be told


@dataclass(frozen=True)
class Noise:
    """The plate's own noise: the typical size of the smoothed difference to the clean plate where nothing happens.

    ``level``: display units (root of the sum of squares over RGB), about 0.002 for clean 8-bit footage.
    """

    level: float = 0.0

    @property
    def threshold(self) -> float:
        """The difference at which an effect begins to be believed."""
        return max(3.0 * self.level, SMALLEST_EFFECT)


def belief(size: FloatArray, noise: Noise, restless: FloatArray | None = None) -> FloatArray:
    """How far a difference (display units) counts as an effect, 0 to 1: smoothstep from one to two thresholds.

    ``restless``: H x W deviation, display units, of a background that moves by itself; noise of its own place.
    """
    found = np.empty(size.shape, np.float32)
    deviation = np.empty(0, np.float32) if restless is None else restless
    sizes, deviations = (np.ascontiguousarray(values, np.float32).reshape(-1) for values in (size, deviation))
    _believe(sizes, deviations, np.float32(noise.threshold), found.reshape(-1))
    return found


@compiled
def _believe(size: FloatArray, restless: FloatArray, threshold: np.float32, found: FloatArray) -> None:
    """Writes belief in differences (N,); ``restless`` (N,), or nothing."""
    for i in range(len(size)):
        # As :func:`multiple` and :func:`smoothstep` have it.
        least = max(_THREE * restless[i], threshold) if len(restless) else threshold
        t = min(max(size[i] / least - _ONE, _NONE), _ONE)
        found[i] = t * t * (_THREE - _TWO * t)


def multiple(size: FloatArray, noise: Noise, restless: FloatArray) -> FloatArray:
    """How many times the threshold a difference is, arguments as :func:`belief` has them."""
    return np.asarray(size / np.maximum(np.float32(3) * restless, np.float32(noise.threshold)), np.float32)


def darkened_alike(plate: FloatArray, clean: FloatArray) -> FloatArray:
    """How far the difference of two linear H x W x 3 images without grain is what a shadow does: H x W in [0, 1].

    A shadow takes a share of the light, of about the same size in every channel. Foam before water, sand where foam was
    and water where foam was change the hue at least as much as they darken, or do not darken.
    """
    # Plane by plane: numpy is slow across three channels.
    planes = zip(cv2.split(np.maximum(plate, 0) + DARKEST), cv2.split(np.maximum(clean, 0) + DARKEST), strict=True)
    red, green, blue = (np.minimum(cv2.divide(shown, behind), 2) for shown, behind in planes)
    most, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    fall = np.maximum(1 - (red + green + blue) / np.float32(3), np.float32(1e-3))
    return smoothstep(1 - most, *DARKER) * (1 - smoothstep((most - least) / fall, *ALIKE))


def smoothstep(value: FloatArray, low: float, high: float) -> FloatArray:
    """0 below ``low``, 1 above ``high``, 3t^2 - 2t^3 between."""
    t = np.clip((value - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    step: FloatArray = (t * t * (3 - 2 * t)).astype(np.float32, copy=False)
    return step
