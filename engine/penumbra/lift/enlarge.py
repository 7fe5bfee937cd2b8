"""From the network's size to the plate's and back, tile by tile."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray


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
