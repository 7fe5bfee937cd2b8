"""Placing keyframes together: all pairs that see each other pull at once, so that errors do not add up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from penumbra.track.features import Motion
from penumbra.track.geometry import Matrices, Points, Size, normalised

FREE = 8  # parameters of a homography
MOST_POINTS = 80  # a pair


@dataclass(frozen=True)
class Link:
    """Keyframe ``first`` seen from keyframe ``second``: indices into the list of keyframes, and matched points."""

    first: int
    second: int
    motion: Motion


def adjust(homographies: Matrices, links: list[Link], size: Size, rounds: int = 12) -> Matrices:
    """Keyframe homographies (K, 3, 3) that agree best with every link; the first keyframe stays.

    Bundle adjustment by Gauss-Newton with Levenberg damping and Huber weights; the residual of a link is measured in
    pixels of its second frame, so that far frames cannot gain by shrinking. Increments are H <- H (I + D), in
    coordinates centred on the frame and divided by half its width.
    """
    centre = _centred(size)
    inverse = np.linalg.inv(centre)
    placed: Matrices = centre @ homographies @ inverse
    prepared = [_centred_points(link, centre) for link in links]
    damping, cost = 1e-6, _cost(placed, links, prepared, size)
    for _ in range(rounds):
        step = _solve(placed, links, prepared, size, damping)
        tried = placed @ (np.eye(3) + step)
        tried_cost = _cost(tried, links, prepared, size)
        if tried_cost >= cost:
            damping *= 30
            continue
        done = cost - tried_cost < 1e-7 * cost
        placed, cost, damping = tried, tried_cost, max(damping / 10, 1e-9)
        if done:
            break
    return normalised(inverse @ placed @ centre)


def _centred(size: Size) -> Matrices:
    half = size[1] / 2
    return np.array([[1 / half, 0, -(size[1] - 1) / 2 / half], [0, 1 / half, -(size[0] - 1) / 2 / half], [0, 0, 1]])


def _centred_points(link: Link, centre: Matrices) -> tuple[Points, Points]:
    chosen = np.unique(np.linspace(0, len(link.motion.first) - 1, MOST_POINTS).astype(int))
    scale, shift = centre[0, 0], centre[:2, 2]
    return link.motion.first[chosen] * scale + shift, link.motion.second[chosen] * scale + shift


def _residuals(placed: Matrices, link: Link, points: tuple[Points, Points]) -> tuple[Points, Points, Matrices]:
    relative = np.linalg.inv(placed[link.second]) @ placed[link.first]
    lifted = np.column_stack([points[0], np.ones(len(points[0]))]) @ relative.T
    return lifted[:, :2] / lifted[:, 2:] - points[1], lifted, relative


def _huber(residual: Points, size: Size) -> Points:
    """Weights (P, 1): one pixel is where a match stops being trusted fully."""
    pixel = 2 / size[1]
    distance = np.maximum(np.linalg.norm(residual, axis=1, keepdims=True), 1e-12)
    weights: Points = np.minimum(1.0, pixel / distance)
    return weights


def _cost(placed: Matrices, links: list[Link], prepared: list[tuple[Points, Points]], size: Size) -> float:
    total = 0.0
    for link, points in zip(links, prepared, strict=True):
        residual, _, _ = _residuals(placed, link, points)
        distance = np.linalg.norm(residual, axis=1) * size[1] / 2
        total += float(np.where(distance < 1, distance**2, 2 * distance - 1).sum())
    return total if np.isfinite(total) else float("inf")


def _solve(
    placed: Matrices, links: list[Link], prepared: list[tuple[Points, Points]], size: Size, damping: float
) -> Matrices:
    count = len(placed)
    normal, right = np.zeros((count * FREE, count * FREE)), np.zeros(count * FREE)
    for link, points in zip(links, prepared, strict=True):
        residual, lifted, relative = _residuals(placed, link, points)
        slopes = np.concatenate(_slopes(points[0], lifted, relative), axis=-1)
        weights = np.repeat(_huber(residual, size), 2, axis=1).ravel()
        flat = slopes.reshape(-1, 2 * FREE)
        at = np.concatenate([np.arange(FREE) + FREE * link.first, np.arange(FREE) + FREE * link.second])
        normal[np.ix_(at, at)] += flat.T @ (flat * weights[:, None])
        right[at] -= flat.T @ (residual.ravel() * weights)
    normal[np.diag_indices_from(normal)] += damping * (np.trace(normal) / len(normal)) + 1e-12
    solution = np.zeros(count * FREE)
    solution[FREE:] = np.linalg.solve(normal[FREE:, FREE:], right[FREE:])
    return np.column_stack([solution.reshape(count, FREE), np.zeros(count)]).reshape(count, 3, 3)


def _slopes(points: Points, lifted: Points, relative: Matrices) -> tuple[Points, Points]:
    """Derivatives (P, 2, 8) of the projected point by the increments of the first and of the second frame."""
    depth = lifted[:, 2:]
    projected = lifted[:, :2] / depth
    project = np.zeros((len(points), 2, 3))
    project[:, 0, 0] = project[:, 1, 1] = 1 / depth[:, 0]
    project[:, :, 2] = -projected / depth
    homogeneous = np.column_stack([points, np.ones(len(points))])
    by_first = (project @ relative)[:, :, :, None] * homogeneous[:, None, None, :]
    by_second = -project[:, :, :, None] * lifted[:, None, None, :]
    return by_first.reshape(-1, 2, 9)[..., :FREE], by_second.reshape(-1, 2, 9)[..., :FREE]
