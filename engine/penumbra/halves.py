"""Floats as the halves that files hold."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray

_IN_OPENCV = int(cv2.__version__.split(".")[0]) >= 5


def nearest_halves(values: NDArray[np.float16] | FloatArray) -> NDArray[np.float16]:
    """The nearest half of each value, of two the even one; infinite beyond their range. Any shape.

    By way of OpenCV, which leaves it to the processor: numpy and OpenImageIO take several times as long.
    """
    if not _IN_OPENCV or not values.size or values.dtype == np.float16:
        with np.errstate(over="ignore"):
            return values.astype(np.float16, copy=False)
    # In one channel, lest the factor be taken for that of the first; one, which keeps negative zeros as adding none
    # would not.
    flat = cv2.multiply(np.ascontiguousarray(values).reshape(len(values), -1), 1.0, dtype=cv2.CV_16F)
    return np.asarray(flat, np.float16).reshape(values.shape)
