"""Where the plate differs from the clean plate by more than the plate's own noise: there alone is an effect to own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from penumbra.color import DisplayEncoding, FloatArray

# Least difference, in display units, ever taken for an effect: one and a half 8-bit levels over three channels.
SMALLEST_EFFECT = 2.5 / 255
# The grain of neighbouring pixels averages out over this Gaussian; an effect's edge does not move by it.
SMOOTHING_SIGMA = 1.0


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


def difference(plate: FloatArray, clean: FloatArray, encoding: DisplayEncoding) -> FloatArray:
    """H x W size of the smoothed difference between two linear H x W x 3 images, in display units."""
    signed = encoding.encode(plate) - encoding.encode(clean)
    smooth = cv2.GaussianBlur(signed, (0, 0), SMOOTHING_SIGMA)
    size: FloatArray = np.sqrt(np.einsum("hwc,hwc->hw", smooth, smooth)).astype(np.float32)
    return size


def measure_noise(
    samples: Iterable[tuple[FloatArray, FloatArray, FloatArray]],
    encoding: DisplayEncoding,
    coverage_limit: float = 0.02,
) -> Noise:
    """The noise of a clip from (plate, clean plate, coverage) samples, linear H x W x 3 and H x W.

    The median over pixels without coverage: effects that the masks and the network miss are a minority of pixels.
    """
    levels = []
    for plate, clean, coverage in samples:
        quiet = coverage < coverage_limit
        if quiet.mean() > 0.02:
            levels.append(float(np.median(difference(plate, clean, encoding)[quiet])))
    return Noise(float(np.median(levels)) if levels else 0.0)


def belief(size: FloatArray, noise: Noise) -> FloatArray:
    """How far a difference (display units) counts as an effect, 0 to 1: smoothstep from one to two thresholds."""
    return smoothstep(size, noise.threshold, 2 * noise.threshold)


def smoothstep(value: FloatArray, low: float, high: float) -> FloatArray:
    """0 below ``low``, 1 above ``high``, 3t^2 - 2t^3 between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    step: FloatArray = (t * t * (3 - 2 * t)).astype(np.float32)
    return step
