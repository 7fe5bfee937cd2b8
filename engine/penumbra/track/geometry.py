"""Homographies as numbers: mapping points, sizes, overlap, and what no camera does."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrices: TypeAlias = NDArray[np.float64]
Points: TypeAlias = NDArray[np.float64]
Size: TypeAlias = tuple[int, int]  # (height, width)


def normalised(homographies: Matrices) -> Matrices:
    """The same homographies (..., 3, 3) with H[2, 2] = 1; ValueError where that or the inverse does not exist."""
    corner = homographies[..., 2:, 2:]
    if not np.isfinite(homographies).all() or (np.abs(corner) < 1e-12).any():
        raise ValueError("a homography that is not finite or maps the origin to infinity")
    scaled: Matrices = homographies / corner
    if (np.abs(np.linalg.det(scaled)) < 1e-12).any():
        raise ValueError("a singular homography")
    return scaled


def mapped(homographies: Matrices, points: Points) -> Points:
    """Points (P, 2) through homographies (..., 3, 3): (..., P, 2); what falls behind the camera becomes infinite."""
    lifted = points @ np.swapaxes(homographies[..., :, :2], -1, -2) + homographies[..., None, :, 2]
    depth = lifted[..., 2:]
    safe = np.where(depth > 1e-9, depth, 1.0)
    result: Points = np.where(depth > 1e-9, lifted[..., :2] / safe, np.inf)
    return result


def grid(size: Size, columns: int = 9, rows: int = 7) -> Points:
    """Points (rows * columns, 2) spread over a frame from corner pixel to corner pixel."""
    x, y = np.meshgrid(np.linspace(0, size[1] - 1, columns), np.linspace(0, size[0] - 1, rows))
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def corners(size: Size) -> Points:
    """The outer corners of a frame (4, 2), half a pixel outside the corner pixels' centres, in ring order."""
    right, bottom = size[1] - 0.5, size[0] - 0.5
    return np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])


def displacement(homographies: Matrices, size: Size) -> NDArray[np.float64]:
    """Root mean square distance in pixels that homographies (..., 3, 3) move the points of a frame."""
    points = grid(size)
    squared: NDArray[np.float64] = ((mapped(homographies, points) - points) ** 2).sum(-1).mean(-1)
    return np.sqrt(squared)


def overlap(homographies: Matrices, size: Size) -> NDArray[np.float64]:
    """Share in [0, 1] of a frame that homographies (..., 3, 3) map into a frame of the same size."""
    points = mapped(homographies, grid(size))
    limit = np.array([size[1] - 1, size[0] - 1])
    inside = ((points >= -0.5) & (points <= limit + 0.5)).all(-1)
    return np.asarray(inside.mean(-1))


def plausible(homography: Matrices, size: Size) -> bool:
    """Whether a camera could have moved so between frames it can be followed on.

    The frame stays in front of the camera, convex, not mirrored, and between a quarter and four times its area.
    """
    ring = mapped(homography, corners(size))
    if not np.isfinite(ring).all():
        return False
    sides = np.roll(ring, -1, axis=0) - ring
    following = np.roll(sides, -1, axis=0)
    turns = sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0]
    area = _area(ring) / (size[0] * size[1])
    return bool((turns > 0).all() and 0.25 < area < 4 and overlap(homography, size) > 0.1)


def proxy_to_plate(homographies: Matrices, scale: tuple[float, float]) -> Matrices:
    """Homographies between proxy pixels as homographies between plate pixels.

    A proxy pixel's centre is the centre of the block of plate pixels it averages:
    x_plate = (x_proxy + 0.5) * scale_x - 0.5.
    """
    enlarge = np.array(
        [[scale[0], 0, (scale[0] - 1) / 2], [0, scale[1], (scale[1] - 1) / 2], [0, 0, 1]], dtype=np.float64
    )
    return normalised(enlarge @ homographies @ np.linalg.inv(enlarge))


def best_reference(homographies: Matrices, size: Size) -> int:
    """The index of the frame in whose coordinates all frames together cover the smallest rectangle."""
    candidates = np.unique(np.linspace(0, len(homographies) - 1, min(len(homographies), 41)).astype(int))
    areas = [_bounds_area(np.linalg.inv(homographies[index]) @ homographies, size) for index in candidates]
    return int(candidates[int(np.argmin(areas))])


def rebased(homographies: Matrices, reference: int) -> Matrices:
    """The same camera with the frame at index ``reference`` at exactly the identity."""
    moved = normalised(np.linalg.inv(homographies[reference]) @ homographies)
    moved[reference] = np.eye(3)
    return moved


def _bounds_area(homographies: Matrices, size: Size) -> float:
    points = mapped(homographies, corners(size)).reshape(-1, 2)
    if not np.isfinite(points).all():
        return float("inf")
    return float(np.prod(points.max(0) - points.min(0)))


def _area(ring: Points) -> float:
    following: Any = np.roll(ring, -1, axis=0)
    return float(np.sum(ring[:, 0] * following[:, 1] - ring[:, 1] * following[:, 0]) / 2)
