"""Images made smaller."""

from __future__ import annotations

import cv2
import numpy as np

from penumbra.color import FloatArray


def shrink(image: FloatArray, size: tuple[int, int]) -> FloatArray:
    """An image (H, W) or (H, W, C) at ``size`` (h, w), each pixel the mean of what it covers."""
    height, width = size
    how = cv2.INTER_AREA if image.shape[0] >= height and image.shape[1] >= width else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.float32).reshape(
        height, width, *image.shape[2:]
    )
