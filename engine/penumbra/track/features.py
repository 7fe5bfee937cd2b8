"""The motion between two frames from features outside the masks: corners followed by optical flow, or SIFT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.frames import BoolArray
from penumbra.track.geometry import Matrices, Points, mapped, plausible

MOST_CORNERS = 800
FEWEST_INLIERS = 16
ROUND_TRIP = 0.5  # pixels a corner may miss itself by when followed there and back
REPROJECTION = 1.0  # pixels, MAGSAC's upper bound of the noise


@dataclass(frozen=True)
class Picture:
    """One frame of the proxy: ``luma`` (h, w) uint8 and ``free`` (h, w) uint8, 255 where no object is near."""

    luma: NDArray[np.uint8]
    free: NDArray[np.uint8]


@dataclass(frozen=True)
class Motion:
    """``homography`` maps pixels of the first frame to the second's; ``first`` and ``second`` (P, 2) agree with it."""

    homography: Matrices
    first: Points
    second: Points


def picture(luma: NDArray[np.uint8], occupied: BoolArray) -> Picture:
    """A frame with its masks grown by about one percent of the width: soft edges, motion blur and near shadow."""
    reach = 2 + luma.shape[1] // 120
    grown = cv2.dilate(np.ascontiguousarray(occupied, np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return Picture(np.ascontiguousarray(luma, np.uint8), np.where(grown > 0, 0, 255).astype(np.uint8))


def find_corners(source: Picture) -> NDArray[np.float32]:
    """Up to MOST_CORNERS corners (P, 1, 2) outside the masks, spread by a minimum distance."""
    spacing = max(3, source.luma.shape[1] // 70)
    found: Any = cv2.goodFeaturesToTrack(source.luma, MOST_CORNERS, 0.003, spacing, mask=source.free, blockSize=5)
    return np.zeros((0, 1, 2), np.float32) if found is None else np.asarray(found, np.float32)


def follow(source: Picture, target: Picture, corners: NDArray[np.float32], guess: Matrices) -> Motion | None:
    """The motion from ``source`` to ``target`` by pyramidal Lucas-Kanade starting at ``guess``; None when in doubt."""
    if len(corners) < FEWEST_INLIERS:
        return None
    start = mapped(guess, corners[:, 0].astype(np.float64))
    usable = np.isfinite(start).all(-1)
    corners, start = corners[usable], start[usable]
    if len(corners) < FEWEST_INLIERS:
        return None
    there, found = _flow(source.luma, target.luma, corners, start[:, None].astype(np.float32))
    back, returned = _flow(target.luma, source.luma, there, corners)
    kept = found & returned & (np.abs(back - corners).max((1, 2)) < ROUND_TRIP) & _is_free(target, there[:, 0])
    return _robust(corners[kept, 0], there[kept, 0], target.luma.shape[:2])


def match(source: Picture, target: Picture) -> Motion | None:
    """The motion from ``source`` to ``target`` without any guess, by SIFT; None when in doubt."""
    sift: Any = cv2.SIFT_create(nfeatures=2000)  # type: ignore[attr-defined] # the stubs lack it
    (first, seen), (second, known) = (sift.detectAndCompute(p.luma, p.free) for p in (source, target))
    if seen is None or known is None or min(len(first), len(second)) < FEWEST_INLIERS:
        return None
    pairs = [
        p for p in cv2.BFMatcher().knnMatch(seen, known, k=2) if len(p) == 2 and p[0].distance < 0.75 * p[1].distance
    ]
    here = np.array([first[p[0].queryIdx].pt for p in pairs], np.float32).reshape(-1, 2)
    there = np.array([second[p[0].trainIdx].pt for p in pairs], np.float32).reshape(-1, 2)
    rough = _robust(here, there, target.luma.shape[:2])
    return rough and (follow(source, target, find_corners(source), rough.homography) or rough)


def _flow(first: Any, second: Any, points: Any, guess: Any) -> tuple[NDArray[np.float32], BoolArray]:
    window = 15 if first.shape[1] < 240 else 21
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 0.005)
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        first, second, points, guess.copy(), winSize=(window, window), maxLevel=4, criteria=stop,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )  # fmt: skip
    return moved, status[:, 0] > 0


def _is_free(target: Picture, points: NDArray[np.float32]) -> BoolArray:
    height, width = target.free.shape
    rounded = np.rint(np.nan_to_num(points, nan=-1, posinf=-1, neginf=-1)).astype(int)
    inside = (rounded >= 0).all(-1) & (rounded < (width, height)).all(-1)
    x, y = rounded[:, 0].clip(0, width - 1), rounded[:, 1].clip(0, height - 1)
    free: BoolArray = inside & (target.free[y, x] > 0)
    return free


def _robust(first: NDArray[np.float32], second: NDArray[np.float32], size: Any) -> Motion | None:
    if len(first) < FEWEST_INLIERS:
        return None
    found, agrees = cv2.findHomography(first, second, cv2.USAC_MAGSAC, REPROJECTION, maxIters=5000, confidence=0.9999)
    if found is None or not np.isfinite(found).all() or abs(found[2, 2]) < 1e-9:
        return None
    inliers = agrees[:, 0] > 0
    homography = np.asarray(found / found[2, 2], np.float64)
    enough = inliers.sum() >= max(FEWEST_INLIERS, 0.25 * len(first))
    if not enough or not plausible(homography, size):
        return None
    return Motion(homography, first[inliers].astype(np.float64), second[inliers].astype(np.float64))
