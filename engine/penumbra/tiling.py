"""A plate in tiles, so that the temporaries of one stay in a core's cache."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from penumbra.resizing import footprint

ROWS, COLUMNS = 64, 256
Tile: TypeAlias = tuple[slice, slice]


def tiles_of(shape: tuple[int, ...]) -> list[Tile]:
    """All tiles of a plate (H, W, ...), top to bottom."""
    height, width = shape[:2]
    return [
        (slice(top, min(top + ROWS, height)), slice(left, min(left + COLUMNS, width)))
        for top, left in product(range(0, height, ROWS), range(0, width, COLUMNS))
    ]


def reached(small: NDArray[np.bool_], shape: tuple[int, ...]) -> Iterator[Tile]:
    """The tiles of a plate (H, W, ...) whose bilinear enlargement any of ``small`` (h, w) takes part in."""
    for tile in tiles_of(shape):
        if small[tuple(footprint(small.shape[k], shape[k], tile[k]) for k in (0, 1))].any():
            yield tile
