"""Floats as the halves that files hold, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.compiled import compiled

# Bits of a float and of a half (IEEE 754): a half's exponent is 112 less than a float's of the same number, and its
# mantissa has ten bits for twenty-three.
_SIGN, _SIZE, _LEFT, _REBIAS = np.uint32(0x8000), np.uint32(0x7FFFFFFF), np.uint32(13), np.uint32(112 << 23)
_SMALLEST_NORMAL, _BEYOND, _INFINITE = np.uint32(0x38800000), np.uint32(0x47800000), np.uint32(0x7F800000)
_INFINITE_HALF, _NO_HALF, _HALF_SIZE = np.uint32(0x7C00), np.uint32(0x7E00), np.uint32(0x7FFF)
_ROUND, _ONE, _SIXTEEN = np.uint32(0xFFF), np.uint32(1), np.uint32(16)
_LOOK = 4096  # values compared before it is asked whether they differ
_SCALE = np.float32(2.0**112)
_HALF_OF_ONE, _HALF_OF_ONES_BITS = np.float32(0.5), np.uint32(0x3F000000)


def nearest_halves(values: NDArray[np.float16] | FloatArray) -> NDArray[np.float16]:
    """The nearest half of each value, of two the even one; infinite beyond their range. Any shape.

    Compiled: numpy and OpenImageIO take six and ten times as long.
    """
    if values.dtype == np.float16:
        return np.asarray(values, np.float16)
    halves = np.empty(values.shape, np.float16)
    _to_halves(np.ascontiguousarray(values, np.float32).reshape(-1), halves.reshape(-1).view(np.uint16))
    return halves


def exact_halves(values: FloatArray) -> NDArray[np.float16] | None:
    """Values as halves, of any shape; None where those would give back other bits."""
    halves = nearest_halves(values)
    flat = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint32)
    return halves if _are(halves.reshape(-1).view(np.uint16), flat) else None


def floats_of(halves: NDArray[np.float16] | FloatArray) -> FloatArray:
    """The very values as floats, the very array if it holds floats. Any shape."""
    if halves.dtype == np.float32:
        return np.asarray(halves, np.float32)
    values = np.empty(halves.shape, np.float32)
    _to_floats(np.ascontiguousarray(halves).reshape(-1).view(np.uint16), values.reshape(-1).view(np.uint32))
    return values


@compiled
def _to_halves(values: FloatArray, halves: NDArray[np.uint16]) -> None:
    for i in range(len(values)):
        bits = np.float32(values[i]).view(np.uint32)
        size = np.uint32(bits & _SIZE)
        # Rounded by its bits, or by adding a number whose unit in the last place is the smallest half.
        normal = np.uint32(size - _REBIAS + _ROUND + ((size >> _LEFT) & _ONE)) >> _LEFT
        small = np.float32(np.float32(abs(values[i])) + _HALF_OF_ONE).view(np.uint32) - _HALF_OF_ONES_BITS
        half = small if size < _SMALLEST_NORMAL else normal
        half = _INFINITE_HALF if size >= _BEYOND else half
        half = _NO_HALF if size > _INFINITE else half
        halves[i] = half | ((bits >> _SIXTEEN) & _SIGN)


@compiled
def _bits(half: np.uint32) -> np.uint32:
    """The bits of the float that is the same as a half of these bits."""
    size = np.uint32((half & _HALF_SIZE) << _LEFT)
    bits = np.float32(size.view(np.float32) * _SCALE).view(np.uint32)
    if size >= _INFINITE_HALF << _LEFT:
        bits |= _INFINITE
    return np.uint32(bits | ((half & _SIGN) << _SIXTEEN))


@compiled
def _to_floats(halves: NDArray[np.uint16], values: NDArray[np.uint32]) -> None:
    for i in range(len(halves)):
        values[i] = _bits(np.uint32(halves[i]))


@compiled
def _are(halves: NDArray[np.uint16], values: NDArray[np.uint32]) -> bool:
    for first in range(0, len(values), _LOOK):
        different = np.uint32(0)
        for i in range(first, min(first + _LOOK, len(values))):
            different |= np.uint32(_bits(np.uint32(halves[i])) ^ values[i])
        if different != 0:
            return False
    return True
