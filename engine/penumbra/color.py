"""Colour as types: what a number means is carried beside it, never as a boolean.

Only known curves live here (numpy, no OpenColorIO): named OCIO spaces are resolved where files are read and written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]


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

    def _shoulder_scale(self) -> float:
        """The s for which knee + s log(1 + (top - knee) / s) = 1, by bisection; top = srgb(peak) > 1."""
        top = float(srgb_encode(np.float32(self.peak).reshape(1))[0])
        room, span = 1.0 - self.knee, max(top, 1.0 + 1e-6) - self.knee
        low, high = 1e-9, 1e9
        for _ in range(200):
            middle = (low * high) ** 0.5
            if middle * np.log1p(span / middle) < room:
                low = middle
            else:
                high = middle
        return float((low * high) ** 0.5)
