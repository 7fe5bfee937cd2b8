"""A plate in tiles, so that the temporaries of one stay in a core's cache."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from penumbra.resizing import footprint

# Not smaller: at each of a tile's hundreds of steps threads wait for Python's lock, however few pixels it has.
ROWS, COLUMNS = 96, 512
Tile: TypeAlias = tuple[slice, slice]


@lru_cache(maxsize=8)
def tiles_of(shape: tuple[int, ...]) -> tuple[Tile, ...]:
    """All tiles of a plate (H, W, ...), top to bottom."""
    height, width = shape[:2]
    return tuple(
        (slice(top, min(top + ROWS, height)), slice(left, min(left + COLUMNS, width)))
        for top, left in product(range(0, height, ROWS), range(0, width, COLUMNS))
    )


def widened(tile: Tile, shape: tuple[int, ...], pixels: int) -> tuple[Tile, Tile]:
    """A tile with so many pixels around it, as far as a plate (H, W, ...) goes, and the tile's place in that."""
    starts = [max(span.start - pixels, 0) for span in tile]
    stops = [min(span.stop + pixels, size) for span, size in zip(tile, shape, strict=False)]
    rows, columns = (slice(start, stop) for start, stop in zip(starts, stops, strict=True))
    down, across = (slice(span.start - start, span.stop - start) for span, start in zip(tile, starts, strict=True))
    return (rows, columns), (down, across)


def reached(small: NDArray[np.bool_], shape: tuple[int, ...]) -> Iterator[Tile]:
    """The tiles of a plate (H, W, ...) whose bilinear enlargement any of ``small`` (h, w) takes part in."""
    for tile in tiles_of(shape):
        if small[tuple(footprint(small.shape[k], shape[k], tile[k]) for k in (0, 1))].any():
            yield tile
