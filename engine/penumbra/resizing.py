"""Images made smaller, whole, and larger, tile by tile."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray


def shrink(image: FloatArray, size: tuple[int, int]) -> FloatArray:
    """An image (H, W) or (H, W, C) at ``size`` (h, w), each pixel the mean of what it covers."""
    height, width = size
    small = image.shape[0] >= height and image.shape[1] >= width
    lines = _lowered(image, height) if small and image.shape[0] > height else image
    how = cv2.INTER_AREA if small else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(lines, (width, height), interpolation=how), np.float32).reshape(
        height, width, *image.shape[2:]
    )


def _lowered(image: FloatArray, height: int) -> FloatArray:
    """An image averaged to ``height`` lines, as wide as before.

    Line by line first, because sums of whole lines are several times as fast as OpenCV's of rectangles. The same to
    5e-7 of a value.
    """
    flat = np.ascontiguousarray(image).reshape(len(image), -1)
    lines = np.zeros((height, flat.shape[1]), np.float32)
    for row in range(height):
        line, start, stop = lines[row : row + 1], row * len(image), (row + 1) * len(image)
        # A line that a smaller one covers only a part of counts as much.
        first, last = -(-start // height), stop // height
        if last > first:
            cv2.reduce(flat[first:last], 0, cv2.REDUCE_SUM, dst=line)
        for index, share in ((first - 1, first - start / height), (last, stop / height - last)):
            if share > 0:
                cv2.scaleAdd(flat[index : index + 1], share, line, dst=line)
        line *= np.float32(height / len(image))
    return lines.reshape(height, *image.shape[1:])


def enlarge(small: FloatArray, shape: tuple[int, int], rows: slice, columns: slice) -> FloatArray:
    """A rectangle of the bilinear enlargement of ``small`` (C, h, w) to ``shape``: (C, rows, columns).

    Pixel centres lie at half-integers and borders repeat, as OpenCV's; as two small matrix products, so that a tile
    costs no more than its own pixels.
    """
    down, over_rows = _weights(small.shape[1], shape[0], rows)
    across, over_columns = _weights(small.shape[2], shape[1], columns)
    large: FloatArray = down @ (small[:, over_rows, over_columns] @ across.T)
    return large


def footprint(small: int, large: int, span: slice) -> slice:
    """Which of ``small`` pixels along an axis a span of ``large`` ones is interpolated from."""
    first = int(np.floor((span.start + 0.5) * small / large - 0.5))
    last = int(np.floor((span.stop - 0.5) * small / large - 0.5)) + 1
    return slice(max(first, 0), min(last, small - 1) + 1)


def _weights(small: int, large: int, span: slice) -> tuple[FloatArray, slice]:
    """(span, n) bilinear weights of the n small pixels of the footprint, and the footprint."""
    source = footprint(small, large, span)
    # Half-integer centres: the output pixel y + 1/2 lies at the same relative height as the input's.
    place = (np.arange(span.start, span.stop) + 0.5) * (small / large) - 0.5
    place = np.clip(place, 0, small - 1) - source.start
    distance: NDArray[np.float64] = np.abs(place[:, None] - np.arange(source.stop - source.start)[None])
    return np.maximum(1 - distance, 0).astype(np.float32), source
