"""The precision that layers are written in, to which all is rounded before it is solved exactly."""

from __future__ import annotations

from enum import Enum

import numpy as np

from penumbra.color import FloatArray
from penumbra.lift.kernels import HALF_MAX, nearest

__all__ = ["HALF_MAX", "Precision"]


class Precision(Enum):
    """The precision layers are written in."""

    HALF = "half"
    FLOAT = "float"

    def nearest(self, values: FloatArray) -> FloatArray:
        """Values as a file of this precision gives them back; half never overflows to infinity."""
        if self is Precision.FLOAT:
            return values.astype(np.float32, copy=False)
        rounded = np.empty(values.shape, np.float32)
        nearest(np.ascontiguousarray(values, np.float32).reshape(-1), True, rounded.reshape(-1))
        return rounded
