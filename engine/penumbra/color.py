"""Colour as types: what a number means is carried beside it, never as a boolean.

Only known curves live here (numpy, no OpenColorIO): named OCIO spaces are resolved where files are read and written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]

# Beyond this a curve's own arithmetic would overflow; no light is as bright.
HUGE = np.float32(1e30)


def finite(values: FloatArray) -> FloatArray:
    """Values as they are, 0 where there is no number or one that no light has; the very array if there is none such."""
    # Comparisons with NaN are False.
    if values.size and values.min() > -HUGE and values.max() < HUGE:
        return values
    return np.where(np.abs(values) < HUGE, values, np.float32(0))


class Alpha(Enum):
    """How colour and alpha are associated."""

    PREMULTIPLIED = "premultiplied"
    STRAIGHT = "straight"


@dataclass(frozen=True)
class LinearSpace:
    """A scene-linear working space.

    ``name`` is an OpenColorIO colour space or a colour interop id such as ``lin_rec709``; values are linear in light
    with that space's primaries, unbounded above.
    """

    name: str


# Red, green, blue, white x and y, as the makers and standards publish them.
CHROMATICITIES: dict[str, tuple[float, ...]] = {
    "lin_rec709": (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290),
    "lin_rec2020": (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),
    "lin_p3d65": (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.3290),
    "lin_ap0": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767),
    "lin_ap1": (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767),
    "lin_adobergb": (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, 0.3127, 0.3290),
    "Linear ARRI Wide Gamut 3": (0.684, 0.313, 0.221, 0.848, 0.0861, -0.102, 0.3127, 0.3290),
    "Linear ARRI Wide Gamut 4": (0.7347, 0.2653, 0.1424, 0.8576, 0.0991, -0.0308, 0.3127, 0.3290),
    "Linear REDWideGamutRGB": (0.780308, 0.304253, 0.121595, 1.493994, 0.095612, -0.084589, 0.3127, 0.3290),
    "Linear S-Gamut3": (0.73, 0.28, 0.14, 0.855, 0.10, -0.05, 0.3127, 0.3290),
    "Linear S-Gamut3.Cine": (0.766, 0.275, 0.225, 0.8, 0.089, -0.087, 0.3127, 0.3290),
    "Linear V-Gamut": (0.73, 0.28, 0.165, 0.84, 0.10, -0.03, 0.3127, 0.3290),
    "Linear DaVinci WideGamut": (0.8, 0.313, 0.1682, 0.9877, 0.079, -0.1155, 0.3127, 0.3290),
}


def srgb_encode(linear: FloatArray) -> FloatArray:
    """Linear light to the sRGB curve (IEC 61966-2-1), extended above 1 and mirrored below 0 so that it inverts."""
    size = np.abs(linear)
    curve = np.where(size <= 0.0031308, size * 12.92, 1.055 * np.maximum(size, 0.0031308) ** (1 / 2.4) - 0.055)
    return np.copysign(curve, linear).astype(np.float32)


def srgb_decode(encoded: FloatArray) -> FloatArray:
    """Inverse of :func:`srgb_encode`."""
    size = np.abs(encoded)
    linear = np.where(size <= 0.04045, size / 12.92, ((np.maximum(size, 0.04045) + 0.055) / 1.055) ** 2.4)
    return np.copysign(linear, encoded).astype(np.float32)


@dataclass(frozen=True)
class DisplayEncoding:
    """The display encoding the network sees: a function of linear light that has headroom and an exact inverse.

    Up to ``knee`` it is the sRGB curve; above, a logarithmic shoulder of equal slope at the knee that reaches 1.0 at
    ``peak``, the brightest linear value of the clip. A clip whose peak is 1 or less needs no headroom and gets
    the plain sRGB curve, which is what published weights were trained on. Nothing is clipped: values beyond ``peak``
    map above 1 and negative values below 0, odd-symmetrically.
    """

    peak: float = 1.0
    knee: float = 0.8

    def __post_init__(self) -> None:
        if not (np.isfinite(self.peak) and self.peak > 0 and 0 < self.knee < 1):
            raise ValueError(f"peak {self.peak} and knee {self.knee} must be finite, positive, and the knee below 1")

    def encode(self, linear: FloatArray) -> FloatArray:
        """Linear light (any shape) to display code values; 0 -> 0, ``peak`` -> 1."""
        curve = srgb_encode(linear)
        if self.peak <= 1.0:
            return curve
        size, scale = np.abs(curve), self._shoulder_scale()
        shoulder = self.knee + scale * np.log1p(np.maximum(size - self.knee, 0) / scale)
        return np.copysign(np.where(size > self.knee, shoulder, size), curve).astype(np.float32)

    def decode(self, display: FloatArray) -> FloatArray:
        """Inverse of :meth:`encode`."""
        if self.peak <= 1.0:
            return srgb_decode(display)
        size, scale = np.abs(display), self._shoulder_scale()
        above = self.knee + scale * np.expm1(np.maximum(size - self.knee, 0) / scale)
        return srgb_decode(np.copysign(np.where(size > self.knee, above, size), display).astype(np.float32))

    def slope(self, linear: FloatArray) -> FloatArray:
        """Derivative of :meth:`encode` (any shape): code values for a little more light."""
        size = np.abs(linear)
        steep = np.maximum(size, 0.0031308) ** (1 / 2.4 - 1) * np.float32(1.055 / 2.4)
        slope = np.where(size <= 0.0031308, 12.92, steep).astype(np.float32)
        if self.peak <= 1.0:
            return slope
        scale = self._shoulder_scale()
        beyond = np.maximum(np.abs(srgb_encode(linear)) - self.knee, 0)
        return np.asarray(slope * (scale / (scale + beyond)), np.float32)

    def _shoulder_scale(self) -> float:
        return _shoulder_scale(self.peak, self.knee)


@lru_cache
def _shoulder_scale(peak: float, knee: float) -> float:
    """The s for which knee + s log(1 + (top - knee) / s) = 1, by bisection; top = srgb(peak) > 1."""
    top = float(srgb_encode(np.float32(peak).reshape(1))[0])
    room, span = 1.0 - knee, max(top, 1.0 + 1e-6) - knee
    low, high = 1e-9, 1e9
    for _ in range(200):
        middle = (low * high) ** 0.5
        if middle * np.log1p(span / middle) < room:
            low = middle
        else:
            high = middle
    return float((low * high) ** 0.5)
