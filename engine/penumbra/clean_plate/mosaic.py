"""Where frames lie on the pictures ("mosaics") the clean plate is kept in, and warping between them.

A mosaic is an array in the pixel coordinates of one frame of the clip, shifted by whole pixels. A locked-off camera
needs one of the plate's size and no warp. A camera that sees more than one picture plane can hold without bursting
gets several, each for a run of frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.frames import BoolArray

Matrices: TypeAlias = NDArray[np.float64]
MOST_AREA = 8.0  # of a mosaic, in plates
LONGEST_SIDE = 32_000  # OpenCV addresses pixels in 16 bits when it warps


@dataclass(frozen=True)
class Mosaic:
    """``first`` to ``last`` (inclusive): indices of the frames it serves; ``width`` x ``height`` pixels.

    ``homographies`` (N, 3, 3): every frame of the clip to the mosaic's pixels; ``sees`` (N,): whether a frame lands
    in front of and on this mosaic at all. ``still``: no frame needs warping.
    """

    first: int
    last: int
    width: int
    height: int
    homographies: Matrices
    sees: BoolArray
    still: bool


@dataclass(frozen=True)
class Tile:
    """A rectangle of a mosaic that is worked on at once: rows [top, bottom), columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left


def plan_mosaics(homographies: Matrices, size: tuple[int, int]) -> tuple[Mosaic, ...]:
    """The fewest mosaics, by halving, none larger than about eight plates. ``size``: (height, width) of the plate."""
    count = len(homographies)
    if np.array_equal(homographies, np.broadcast_to(np.eye(3), homographies.shape)):
        everyone = np.ones(count, np.bool_)
        return (Mosaic(0, count - 1, size[1], size[0], homographies.copy(), everyone, True),)
    return tuple(_split(homographies, size, 0, count - 1))


def tiles_of(mosaic: Mosaic, size: tuple[int, int], samples: int, byte_budget: int) -> list[Tile]:
    """Tiles about a plate wide, low enough that ``samples`` RGB float32 values a pixel, twice, fit the budget. They
    begin at even pixels.
    """
    columns = max(1, round(mosaic.width / size[1]))
    lefts = _even(mosaic.width, columns)
    widest = max(right - left for left, right in pairwise(lefts))
    rows = max(8, byte_budget // (samples * widest * 3 * 4 * 2))
    bands = max(1, -(-mosaic.height // rows))
    tops = _even(mosaic.height, bands)
    return [Tile(top, bottom, left, right) for left, right in pairwise(lefts) for top, bottom in pairwise(tops)]


def _even(size: int, parts: int) -> list[int]:
    """Where about equal parts of a size begin, all at even numbers, and its end."""
    return [*sorted({2 * (size * part // parts // 2) for part in range(parts)}), size]


def frame_window(homography: Matrices, tile: Tile, size: tuple[int, int]) -> tuple[tuple[slice, slice], Matrices]:
    """The part (rows, columns) of a frame that a tile can see, and that part's own homography to the mosaic."""
    shift = np.array([[1, 0, tile.left], [0, 1, tile.top], [0, 0, 1]], np.float64)
    backward = np.asarray(np.linalg.inv(homography) @ shift, np.float64)
    ring = mapped(backward, _ring(tile.shape))
    if not np.isfinite(ring).all():
        return (slice(0, size[0]), slice(0, size[1])), homography
    window, _ = _window(size, backward, tile.shape)
    back = np.array([[1, 0, window[1].start], [0, 1, window[0].start], [0, 0, 1]], np.float64)
    return window, homography @ back


def into_tile(image: FloatArray, homography: Matrices, tile: Tile, bounded: bool = True) -> FloatArray:
    """A frame's picture (H, W, C) as a mosaic tile shows it; outside the frame its border is repeated.

    By Lanczos' kernel; where ``bounded``, kept within what the 3x3 source pixels around hold, so that edges do not
    ring.
    """
    backward = np.asarray(np.linalg.inv(_to_tile(homography, tile)), np.float64)
    return _warp(image, backward, (tile.shape[1], tile.shape[0]), bounded, cv2.INTER_LANCZOS4)


def farness_in_tile(farness: NDArray[np.uint8], homography: Matrices, tile: Tile) -> NDArray[np.uint8]:
    """A frame's farness from masks (H, W), as a tile shows it: 0 unless every source pixel touched is free of masks.

    A frame reaches to the edges of its outer pixels, half a pixel beyond their centres: else the frame's own rim,
    between two pixels of the mosaic, would count as never seen.
    """
    backward = np.linalg.inv(_to_tile(homography, tile))
    flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (tile.shape[1], tile.shape[0])
    free = np.where(farness > 0, np.uint8(255), np.uint8(0))
    share = cv2.warpPerspective(free, backward, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    within = cv2.warpPerspective(np.full_like(free, 255), backward, size, flags=flags, borderMode=cv2.BORDER_CONSTANT)
    nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(farness, backward, size, flags=nearest, borderMode=cv2.BORDER_REPLICATE)
    covered: BoolArray = (np.asarray(share) >= 250) & (np.asarray(within) >= 126)
    return np.where(covered, np.maximum(moved, 1), 0).astype(np.uint8)


def out_of_mosaic(
    image: Any, homography: Matrices, size: tuple[int, int], sharp: tuple[slice, slice] | None = None
) -> tuple[FloatArray, Any]:
    """A mosaic (rows, columns, C), perhaps a memory map, seen from a frame: (H, W, C), and the part of it read.

    Only the rectangle under the frame is read. Bicubic, but in the frame's rows and columns that are ``sharp`` by
    Lanczos' kernel, which takes five times as long. Returns the warped picture and the window (rows, columns) read.
    """
    window, local = _window(image.shape, homography, size)
    part = np.ascontiguousarray(image[window])
    seen = _warp(part, local, (size[1], size[0]), True, cv2.INTER_CUBIC)
    if sharp is not None:
        rows, columns = sharp
        shift = np.array([[1, 0, columns.start], [0, 1, rows.start], [0, 0, 1]], np.float64)
        few = (columns.stop - columns.start, rows.stop - rows.start)
        seen[sharp] = _warp(part, local @ shift, few, True, cv2.INTER_LANCZOS4)
    return seen, window


def mask_out_of_mosaic(mask: Any, homography: Matrices, size: tuple[int, int]) -> FloatArray:
    """A mosaic of booleans (rows, columns) seen from a frame: (H, W) in [0, 1], linear; 0 outside the mosaic."""
    window, local = _window(mask.shape, homography, size)
    part = np.ascontiguousarray(mask[window]).astype(np.float32)
    warped = cv2.warpPerspective(part, local, (size[1], size[0]), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.clip(np.asarray(warped, np.float32), 0, 1)


def small_out_of_mosaic(
    small: FloatArray, block: tuple[float, float], homography: Matrices, size: tuple[int, int]
) -> FloatArray:
    """A mosaic's picture (rows, columns) in blocks of (height, width) ``block`` pixels, seen from a frame: (H, W)."""
    shrink = np.array([[1 / block[1], 0, 0.5 / block[1] - 0.5], [0, 1 / block[0], 0.5 / block[0] - 0.5], [0, 0, 1]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(
        small, shrink @ homography, (size[1], size[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, np.float32)


def mapped(homography: Matrices, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (P, 2) through a homography; what falls behind the camera becomes infinite."""
    lifted = np.column_stack([points, np.ones(len(points))]) @ homography.T
    depth = lifted[:, 2:]
    ahead = depth > 1e-9
    result: NDArray[np.float64] = np.where(ahead, lifted[:, :2] / np.where(ahead, depth, 1), np.inf)
    return result


def scaled(homography: Matrices, block: tuple[float, float]) -> Matrices:
    """A homography between pixels as one between blocks of ``block`` (height, width) pixels."""
    enlarge = np.array([[block[1], 0, (block[1] - 1) / 2], [0, block[0], (block[0] - 1) / 2], [0, 0, 1]], np.float64)
    return np.asarray(np.linalg.inv(enlarge) @ homography @ enlarge, np.float64)


def _to_tile(homography: Matrices, tile: Tile) -> Matrices:
    shift = np.array([[1, 0, -tile.left], [0, 1, -tile.top], [0, 0, 1]], np.float64)
    return shift @ homography


def _warp(image: FloatArray, backward: Matrices, size: tuple[int, int], bounded: bool, kernel: int) -> FloatArray:
    flags = kernel | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(image, backward, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    if bounded:
        linear = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        around = np.ones((3, 3), np.uint8)
        for pick, bound in ((cv2.erode, np.maximum), (cv2.dilate, np.minimum)):
            limit = cv2.warpPerspective(
                pick(image, around), backward, size, flags=linear, borderMode=cv2.BORDER_REPLICATE
            )
            bound(warped, limit, out=warped)
    return np.asarray(warped, np.float32).reshape(size[1], size[0], *image.shape[2:])


def _window(shape: Any, homography: Matrices, size: tuple[int, int]) -> tuple[Any, Matrices]:
    """The mosaic's rectangle under a frame, with room for the kernel, and the frame-to-rectangle homography."""
    ring = mapped(homography, _ring(size))
    low = np.clip(np.floor(ring.min(0)).astype(int) - 4, 0, (shape[1] - 1, shape[0] - 1))
    high = np.clip(np.ceil(ring.max(0)).astype(int) + 5, low + 1, (shape[1], shape[0]))
    local = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]], np.float64) @ homography
    return (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))), local


def _ring(size: tuple[int, int]) -> NDArray[np.float64]:
    return np.array([[0, 0], [size[1] - 1, 0], [size[1] - 1, size[0] - 1], [0, size[0] - 1]], np.float64)


def _split(homographies: Matrices, size: tuple[int, int], first: int, last: int) -> list[Mosaic]:
    reference, bounds = _smallest(homographies, size, first, last)
    if bounds is not None:
        return [_mosaic(homographies, size, (first, last), reference, bounds)]
    middle = (first + last) // 2
    return [*_split(homographies, size, first, middle), *_split(homographies, size, middle + 1, last)]


def _smallest(
    homographies: Matrices, size: tuple[int, int], first: int, last: int
) -> tuple[int, tuple[int, int, int, int] | None]:
    """The frame in whose coordinates the run takes the least room, and the room, or None where that is too much.

    The clip's own reference, where it serves, saves every frame but one from a needless change of coordinates.
    """
    best, room, smallest = first, None, np.inf
    for candidate in np.unique(np.linspace(first, last, min(last - first + 1, 21)).astype(int)):
        bounds = _bounds(np.linalg.inv(homographies[candidate]) @ homographies[first : last + 1], size)
        if bounds is None:
            continue
        width, height = bounds[2] - bounds[0] + 1, bounds[3] - bounds[1] + 1
        fits = width * height <= MOST_AREA * size[0] * size[1] and max(width, height) < LONGEST_SIDE
        if (fits or first == last) and width * height < smallest:
            best, room, smallest = int(candidate), bounds, width * height
    return best, room


def _bounds(homographies: Matrices, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    rings = np.stack([mapped(homography, _ring(size)) for homography in homographies]).reshape(-1, 2)
    if not np.isfinite(rings).all() or np.abs(rings).max() > 1e6:
        return None
    low, high = np.floor(rings.min(0) + 1e-6).astype(int), np.ceil(rings.max(0) - 1e-6).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _mosaic(
    homographies: Matrices, size: tuple[int, int], run: tuple[int, int], reference: int, bounds: tuple[int, ...]
) -> Mosaic:
    shift = np.array([[1, 0, -bounds[0]], [0, 1, -bounds[1]], [0, 0, 1]], np.float64)
    moved = shift @ np.linalg.inv(homographies[reference]) @ homographies
    moved /= moved[:, 2:, 2:]
    width, height = bounds[2] - bounds[0] + 1, bounds[3] - bounds[1] + 1
    sees = np.array([_lands_on(homography, size, (width, height)) for homography in moved])
    return Mosaic(run[0], run[1], width, height, moved, sees, False)


def _lands_on(homography: Matrices, size: tuple[int, int], room: tuple[int, int]) -> bool:
    """A frame stretched more than threefold has nothing sharp to give."""
    ring = mapped(homography, _ring(size))
    if not np.isfinite(ring).all() or (np.ptp(ring, axis=0) > 3 * np.array([size[1], size[0]])).any():
        return False
    return bool((ring.max(0) > 0).all() and (ring.min(0) < room).all())
