"""First placing of every frame: followed from keyframe to keyframe, then the keyframes adjusted together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.track.features import Motion, find_corners, follow, match
from penumbra.track.geometry import Matrices, corners, mapped, normalised, overlap
from penumbra.track.graph import Link, adjust
from penumbra.track.refine import Sequence

FEWEST_SHARED = 0.72  # of a frame still seen by its keyframe
FEWEST_KEPT = 0.4  # of a keyframe's corners still followed
MOST_LINKS = 6  # backwards from one keyframe


@dataclass(frozen=True)
class Placement:
    """Homographies (N, 3, 3) to the first frame, and which ``scene`` (N,) each frame belongs to: -1 where the camera
    was not found, else a number that changes where the picture cannot be joined to what came before.
    """

    homographies: Matrices
    scene: NDArray[np.int64]


@dataclass
class _Walk:
    """The state of following: which keyframe placed each frame, and in which scene."""

    sequence: Sequence
    homographies: Matrices
    scene: NDArray[np.int64]
    key_of: dict[int, int] = field(default_factory=dict)
    key: int = 0
    corners: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 1, 2), np.float32))

    def start_key(self, index: int, scene: int) -> None:
        self.scene[index] = scene
        self.take_key(index)
        self.key_of[index] = index

    def take_key(self, index: int) -> None:
        self.key, self.corners = index, find_corners(self.sequence.picture(index))

    def keys(self) -> list[int]:
        return sorted(set(self.key_of.values()))

    def last_keys(self) -> list[int]:
        """The latest keyframe of every scene but the present one, latest first."""
        latest = {int(self.scene[key]): key for key in self.keys()}
        return sorted((key for key in latest.values() if key != self.key), reverse=True)[:4]

    def relate(self, index: int) -> Motion | None:
        """From the present keyframe to a frame, whose own homography is where to look first."""
        source, target = self.sequence.picture(self.key), self.sequence.picture(index)
        guess = np.linalg.inv(self.homographies[index]) @ self.homographies[self.key]
        return follow(source, target, self.corners, guess)

    def accept(self, index: int, motion: Motion) -> None:
        self.homographies[index] = normalised(self.homographies[self.key] @ np.linalg.inv(motion.homography))
        self.scene[index], self.key_of[index] = self.scene[self.key], self.key
        shared = overlap(motion.homography, self.sequence.size)
        if shared < FEWEST_SHARED or len(motion.first) < FEWEST_KEPT * len(self.corners):
            self.start_key(index, int(self.scene[index]))


def chain(sequence: Sequence, tick: Callable[[], None]) -> Placement:
    """Places every frame relative to the first; a frame that cannot be placed is interpolated or held."""
    count = len(sequence)
    walk = _Walk(sequence, np.tile(np.eye(3), (count, 1, 1)), np.full(count, -1, np.int64))
    walk.start_key(0, 0)
    tick()
    for index in range(1, count):
        _follow_one(walk, index)
        tick()
    _adjust_keys(walk)
    return Placement(_interpolated(walk.homographies, walk.scene, sequence.size), walk.scene)


def _follow_one(walk: _Walk, index: int) -> None:
    previous = index - 1
    walk.homographies[index] = walk.homographies[previous]
    motion = walk.relate(index)
    if motion is None and walk.scene[previous] >= 0 and walk.key != previous:
        walk.start_key(previous, int(walk.scene[previous]))
        motion = walk.relate(index)
    motion = motion or match(walk.sequence.picture(walk.key), walk.sequence.picture(index))
    motion = motion or _return(walk, index)
    if motion is None and walk.scene[previous] < 0:
        motion = _resume(walk, previous, index)
    if motion is not None:
        walk.accept(index, motion)


def _return(walk: _Walk, index: int) -> Motion | None:
    """After a flash, or cutting back: one of the earlier scenes again."""
    present = walk.key
    for key in walk.last_keys():
        walk.take_key(key)
        motion = walk.relate(index) or match(walk.sequence.picture(key), walk.sequence.picture(index))
        if motion is not None:
            return motion
    if walk.key != present:
        walk.take_key(present)
    return None


def _resume(walk: _Walk, previous: int, index: int) -> Motion | None:
    """After a cut: two lost frames that agree with each other begin a new scene where the camera was last seen."""
    before = find_corners(walk.sequence.picture(previous))
    motion = follow(walk.sequence.picture(previous), walk.sequence.picture(index), before, np.eye(3))
    if motion is not None:
        walk.start_key(previous, int(walk.scene.max()) + 1)
    return motion


def _adjust_keys(walk: _Walk) -> None:
    keys = walk.keys()
    if len(keys) < 3:
        return
    links = [link for second in range(1, len(keys)) for link in _links_back(walk, keys, second)]
    before = walk.homographies[keys]
    after = adjust(before, links, walk.sequence.size)
    position = {key: at for at, key in enumerate(keys)}
    for index, key in walk.key_of.items():
        relative = np.linalg.inv(before[position[key]]) @ walk.homographies[index]
        walk.homographies[index] = normalised(after[position[key]] @ relative)


def _links_back(walk: _Walk, keys: list[int], second: int) -> list[Link]:
    """Matches from earlier keyframes that see the same place, the neighbour always, the others spread in time."""
    at = walk.homographies[keys]
    relative = np.linalg.inv(at[second]) @ at[:second]
    others = np.flatnonzero(overlap(relative[:-1], walk.sequence.size) > 0.35)
    if len(others) >= MOST_LINKS:
        others = others[np.linspace(0, len(others) - 1, MOST_LINKS - 1).astype(int)]
    links = []
    for first in [*others.tolist(), second - 1]:
        source, target = (walk.sequence.picture(keys[k]) for k in (first, second))
        motion = follow(source, target, find_corners(source), relative[first])
        if motion is not None:
            links.append(Link(first, second, motion))
    return links


def _interpolated(homographies: Matrices, scene: NDArray[np.int64], size: tuple[int, int]) -> Matrices:
    """Frames not found get corners between those of the found neighbours; at the ends of a scene the nearest holds."""
    good = np.flatnonzero(scene >= 0)
    result = homographies.copy()
    ring = corners(size)
    for index in np.flatnonzero(scene < 0):
        after = int(np.searchsorted(good, index))
        left, right = good[max(after - 1, 0)], good[min(after, len(good) - 1)]
        if scene[left] != scene[right] or left == right:
            result[index] = homographies[left]
            continue
        share = (index - left) / (right - left)
        target = (1 - share) * mapped(homographies[left], ring) + share * mapped(homographies[right], ring)
        between = cv2.getPerspectiveTransform(ring.astype(np.float32), target.astype(np.float32))
        result[index] = normalised(np.asarray(between, np.float64))
    return result
