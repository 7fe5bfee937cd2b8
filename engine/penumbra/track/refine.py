"""Sub-pixel placing of a frame on the intensities of the other frames, as one group.

The template of a frame is, at each of its pixels, the median over other frames of what they show there; a homography
increment plus exposure (gain and offset) is fitted to it by iteratively reweighted Gauss-Newton with Tukey's biweight,
so that shadows, water and leaves, which move by themselves, count as outliers. Aligning every frame to the median of
all in turn is what keeps a long clip from drifting.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.frames import BoolArray
from penumbra.track.features import Picture, picture
from penumbra.track.geometry import Matrices, Points, Size, displacement, normalised, overlap, plausible

MOST_SOURCES = 10
MOST_PIXELS = 7200
ITERATIONS = 6
CONVERGED = 0.01  # pixels
FARTHEST = 5.0  # pixels from where the features placed the frame
TUKEY = 4.685
STRONG = 3.0  # 8-bit levels a pixel, from which on an edge says where it is
IN_PLACE = 0.25  # of a pixel
KEPT = 64  # prepared frames held in memory


class Sequence:
    """The proxy frames of a clip, prepared on demand: luma (N, h, w) uint8 and occupied (N, h, w) bool."""

    def __init__(self, luma: NDArray[np.uint8], occupied: BoolArray) -> None:
        if luma.ndim != 3 or luma.shape != occupied.shape:
            raise ValueError(f"luma {luma.shape} and masks {occupied.shape} must be alike, (frames, height, width)")
        self._luma, self._occupied = luma, occupied
        self._held: OrderedDict[int, tuple[Picture, NDArray[np.float32]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._luma)

    @property
    def size(self) -> Size:
        """(height, width) of the proxy."""
        return int(self._luma.shape[1]), int(self._luma.shape[2])

    def picture(self, index: int) -> Picture:
        """The frame and where it is free of masks."""
        return self._prepared(index)[0]

    def smooth(self, index: int) -> NDArray[np.float32]:
        """The frame blurred by about a pixel, so that grain and aliasing do not steer the fit."""
        return self._prepared(index)[1]

    def _prepared(self, index: int) -> tuple[Picture, NDArray[np.float32]]:
        if index in self._held:
            self._held.move_to_end(index)
            return self._held[index]
        frame = picture(np.asarray(self._luma[index]), np.asarray(self._occupied[index]))
        self._held[index] = frame, cv2.GaussianBlur(frame.luma.astype(np.float32), (0, 0), 0.9)
        if len(self._held) > KEPT:
            self._held.popitem(last=False)
        return self._held[index]


@dataclass(frozen=True)
class Fit:
    """``homography`` to the reference; ``before`` and ``after``: robust residual in 8-bit levels at textured pixels."""

    homography: Matrices
    before: float
    after: float


@dataclass(frozen=True)
class _Pixels:
    """Chosen pixels of a frame: positions (P, 2), values (P,), slopes (P, 8) by the increment's parameters."""

    points: Points
    values: NDArray[np.float64]
    slopes: NDArray[np.float64]


def sources_of(homographies: Matrices, index: int, scenes: NDArray[np.int64], size: Size) -> NDArray[np.int64]:
    """Frames for the template of frame ``index``: its neighbours, and others spread in time that see the same place.

    ``scenes`` (N,): frames of unlike numbers have nothing in common. The spread ones come from a fixed set of about
    fifty, so that consecutive frames share most of them.
    """
    anchors = np.flatnonzero(scenes == scenes[index])
    anchors = anchors[:: max(1, len(anchors) // 48)]
    near = [n for n in (index - 1, index + 1) if 0 <= n < len(scenes) and scenes[n] == scenes[index]]
    shared = overlap(np.linalg.inv(homographies[anchors]) @ homographies[index], size)
    far = anchors[(shared > 0.3) & (anchors != index)]
    if len(far) > MOST_SOURCES:
        far = far[np.linspace(0, len(far) - 1, MOST_SOURCES).astype(int)]
    return np.unique(np.concatenate([far, np.array(near, np.int64)])).astype(np.int64)


def place(sequence: Sequence, homographies: Matrices, index: int, sources: NDArray[np.int64]) -> Fit | None:
    """Frame ``index`` fitted to the median of ``sources``, starting at its present homography; None when in doubt."""
    pixels = _textured(sequence, index)
    if len(pixels.values) < 200 or not len(sources):
        return None
    centre = _centred(sequence.size)
    current = start = homographies[index]
    gain, offset, first, after = 1.0, 0.0, np.nan, np.inf
    for iteration in range(ITERATIONS):
        template, known = _template(sequence, homographies, current, sources, pixels.points)
        if known.sum() < 200:
            return None
        values, wanted = pixels.values[known], template[known]
        if iteration == 0:
            offset = float(np.median(wanted - values))
        residual = wanted - gain * values - offset
        after = float(np.median(np.abs(residual)))
        first = after if iteration == 0 else first
        increment, gain, offset = _step(values, pixels.slopes[known], wanted, residual)
        moved = normalised(current @ np.linalg.inv(centre) @ (np.eye(3) + increment) @ centre)
        current, distance = moved, _distance(current, moved, sequence.size)
        if distance < CONVERGED:
            break
    relative = normalised(np.linalg.inv(start) @ current)
    if _distance(start, current, sequence.size) > FARTHEST or not plausible(relative, sequence.size):
        return None
    return Fit(current, first, after) if after <= first * 1.001 + 0.01 else None


def measure(sequence: Sequence, homographies: Matrices, index: int, sources: NDArray[np.int64]) -> tuple[float, float]:
    """How well a frame lies on the others: (median absolute residual in 8-bit levels, share of inliers).

    Over pixels spread evenly outside the masks, exposure matched by a gain and an offset; NaN, 0 where none is seen.
    """
    free = sequence.picture(index).free
    stride = max(1, int(np.sqrt(free.size / MOST_PIXELS)))
    y, x = np.nonzero(free[::stride, ::stride])
    points = np.stack([x, y], axis=-1).astype(np.float64) * stride
    if not len(sources) or not len(points):
        return float("nan"), 0.0
    luma = sequence.picture(index).luma
    values = luma[y * stride, x * stride].astype(np.float64)
    template, known = _template(sequence, homographies, homographies[index], sources, points, smooth=False)
    if known.sum() < 50:
        return float("nan"), 0.0
    wanted, values = template[known], values[known]
    residual = wanted - values
    for _ in range(3):
        weights = _tukey(residual - np.median(residual))
        gain, offset = np.polyfit(values, wanted, 1, w=np.sqrt(weights)) if np.ptp(values) > 1 else (1.0, 0.0)
        residual = wanted - gain * values - offset
    spread = max(1.4826 * float(np.median(np.abs(residual))), 0.5)
    return float(np.median(np.abs(residual))), float((np.abs(residual) < TUKEY * spread).mean())


def edges_held(sequence: Sequence, index: int, other: int, candidates: Matrices) -> NDArray[np.int64]:
    """How many of a frame's strong edges are where each candidate (C, 3, 3) maps them to in another frame: (C,).

    In place is what differs by less than the edge's slope over ``IN_PLACE`` of a pixel, exposure matched by an offset.
    Counted are edges that every candidate lets both frames see.
    """
    pixels = _textured(sequence, index)
    half = sequence.size[1] / 2
    slope = np.hypot(pixels.slopes[:, 2], pixels.slopes[:, 5]) / half
    strong = slope > STRONG
    slope, values = slope[strong], pixels.values[strong]
    x, y = np.ascontiguousarray(pixels.points[strong].T)
    free, image = sequence.picture(other).free, sequence.smooth(other)
    shown = np.full((len(candidates), len(values)), np.nan)
    for row, candidate in zip(shown, candidates, strict=True):
        at_x, at_y, seen = _visible(candidate, x, y, free)
        row[seen] = _sampled(image, at_x, at_y)
    both = np.isfinite(shown).all(0)
    if not both.any():
        return np.zeros(len(candidates), np.int64)
    away = shown[:, both] - values[both]
    away -= np.median(away, axis=1, keepdims=True)
    return np.asarray((np.abs(away) < IN_PLACE * slope[both]).sum(1), np.int64)


def _textured(sequence: Sequence, index: int) -> _Pixels:
    """The strongest edges of every cell of a grid, outside the masks."""
    image, free = sequence.smooth(index), sequence.picture(index).free
    across = cv2.Scharr(image, cv2.CV_32F, 1, 0, scale=1 / 32)
    down = cv2.Scharr(image, cv2.CV_32F, 0, 1, scale=1 / 32)
    strength = np.where(free > 0, across**2 + down**2, -1)
    strength[[0, 1, -2, -1]], strength[:, [0, 1, -2, -1]] = -1, -1
    y, x = _strongest(strength)
    points = np.stack([x, y], axis=-1).astype(np.float64)
    slopes = _slopes(points, across[y, x], down[y, x], sequence.size)
    return _Pixels(points, image[y, x].astype(np.float64), slopes)


def _strongest(strength: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    height, width = strength.shape
    rows, columns = np.linspace(0, height, 10).astype(int), np.linspace(0, width, 17).astype(int)
    share = max(4, min(MOST_PIXELS, strength.size // 3) // 144)
    found_y, found_x = [], []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            cell = strength[top:bottom, left:right].ravel()
            flat = _largest(cell, share)
            down, across = np.divmod(flat[cell[flat] > 0], right - left)
            found_y.append(down + top)
            found_x.append(across + left)
    return np.concatenate(found_y), np.concatenate(found_x)


def _largest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Where the ``count`` largest values (N,) are, largest first, of equal ones the first: a stable sort's beginning.

    Sorting all of them took a third of tracking.
    """
    if count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
        above = np.flatnonzero(values > least)
        chosen = np.sort(np.concatenate([above, np.flatnonzero(values == least)[: count - len(above)]]))
    else:
        chosen = np.arange(len(values))
    order: NDArray[np.int64] = chosen[np.argsort(-values[chosen], kind="stable")]
    return order


def _slopes(points: Points, across: NDArray[np.float32], down: NDArray[np.float32], size: Size) -> NDArray[np.float64]:
    half = size[1] / 2
    x, y = (points - ((size[1] - 1) / 2, (size[0] - 1) / 2)).T / half
    gx, gy = across.astype(np.float64) * half, down.astype(np.float64) * half
    radial = -(gx * x + gy * y)
    return np.stack([gx * x, gx * y, gx, gy * x, gy * y, gy, radial * x, radial * y], axis=-1)


def _template(
    sequence: Sequence, homographies: Matrices, current: Matrices, sources: NDArray[np.int64], points: Points,
    smooth: bool = True,
) -> tuple[NDArray[np.float64], BoolArray]:  # fmt: skip
    """The median (P,) over source frames of what they show at a frame's points, and where any shows something."""
    stack = np.full((len(sources), len(points)), np.nan, np.float32)
    x, y = np.ascontiguousarray(points.T)
    for row, source in zip(stack, sources.tolist(), strict=True):
        held = sequence.picture(source)
        image = sequence.smooth(source) if smooth else held.luma.astype(np.float32)
        at_x, at_y, seen = _visible(np.linalg.inv(homographies[source]) @ current, x, y, held.free)
        row[seen] = _sampled(image, at_x, at_y)
    return _median(stack)


def _visible(
    homography: Matrices, x: NDArray[np.float64], y: NDArray[np.float64], free: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32], BoolArray]:
    """Which points a source frame sees free of masks, and where those lie in it.

    One coordinate at a time: this is where tracking spends its time, and numpy is quickest on plain rows.
    """
    (a, b, c), (d, e, f), (g, h, i) = homography.tolist()
    depth = g * x + h * y + i
    depth[depth <= 1e-9] = np.nan
    at_x, at_y = (a * x + b * y + c) / depth, (d * x + e * y + f) / depth
    height, width = free.shape
    seen: BoolArray = (at_x >= 1) & (at_x <= width - 2) & (at_y >= 1) & (at_y <= height - 2)
    at_x, at_y = at_x[seen], at_y[seen]
    unmasked = free[np.rint(at_y).astype(np.intp), np.rint(at_x).astype(np.intp)] > 0
    seen[seen] = unmasked
    return at_x[unmasked].astype(np.float32), at_y[unmasked].astype(np.float32), seen


def _sampled(image: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bicubic values (P,); the points are laid out as a picture because OpenCV is slow on a single column."""
    rows = -(-len(x) // 64)
    if not rows:
        return x
    across, down = (np.pad(axis, (0, rows * 64 - len(x))).reshape(rows, 64) for axis in (x, y))
    values = cv2.remap(image, across, down, cv2.INTER_CUBIC)
    return np.asarray(values, np.float32).ravel()[: len(x)]


def _median(stack: NDArray[np.float32]) -> tuple[NDArray[np.float64], BoolArray]:
    """NaN counts as absent; sorting puts it last."""
    ordered = np.sort(stack, axis=0)
    count = (~np.isnan(stack)).sum(0)
    known = count > 0
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None] // 2, 0)[0]
    high = np.take_along_axis(ordered, np.minimum(count // 2, len(stack) - 1)[None], 0)[0]
    return np.where(known, (low.astype(np.float64) + high) / 2, 0), known


def _step(
    values: NDArray[np.float64], slopes: NDArray[np.float64], wanted: NDArray[np.float64], residual: NDArray[np.float64]
) -> tuple[Matrices, float, float]:
    """One weighted least squares: the increment D of H <- H (I + D), centred units, and the exposure."""
    weights = _tukey(residual)[:, None]
    columns = np.column_stack([-slopes, values, np.ones(len(values))])
    normal = columns.T @ (columns * weights)
    # Flat pictures leave some directions free: a hair of damping keeps them where they are.
    ridge = np.zeros(10)
    ridge[:8] = 1e-6 * np.trace(normal[:8, :8]) + 1e-9
    try:
        solution = np.linalg.solve(normal + np.diag(ridge), columns.T @ (wanted * weights[:, 0]))
    except np.linalg.LinAlgError:
        solution = np.zeros(10)
        solution[8] = 1.0
    return np.append(solution[:8], 0).reshape(3, 3), float(solution[8]), float(solution[9])


def _tukey(residual: NDArray[np.float64]) -> NDArray[np.float64]:
    limit = TUKEY * max(1.4826 * float(np.median(np.abs(residual))), 0.4)
    weights: NDArray[np.float64] = np.maximum(1 - (residual / limit) ** 2, 0) ** 2
    return weights


def _distance(first: Matrices, second: Matrices, size: Size) -> float:
    return float(displacement(np.linalg.inv(first) @ second, size))


def _centred(size: Size) -> Matrices:
    half = size[1] / 2
    return np.array([[1 / half, 0, -(size[1] - 1) / 2 / half], [0, 1 / half, -(size[0] - 1) / 2 / half], [0, 0, 1]])
