"""Frames of the clip kept on disk while the clean plate is built, so that each is decoded once and not once a tile."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Container
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.halves import exact_halves, floats_of

ReadFrame: TypeAlias = Callable[[int], FloatArray]
SHARE_OF_DISK = 0.4  # of the free space, that kept frames may take
DISTANCES = (0.03, 0.06, 0.12, 0.25, 0.5)  # from the nearest mask, in frame diagonals: where steps of farness lie
ALONE = len(DISTANCES) + 2  # farness where there is no mask in the frame
BLANK = np.float32(2)  # for coverage, where a frame's file says nothing: no background, and nobody's either


class KeptFrames:
    """Frames by index, whole or by rows, read from the clip the first time and from ``folder`` afterwards.

    Kept as half where that holds every value exactly, as float32 otherwise: what comes back is what was read, to the
    bit. Frames that are not ``wanted``, and those beyond ``most_bytes`` (None: a share of the free disk), are read from
    the clip every time. Files are called ``kept_*.part``, for the caller to remove. From any thread.
    """

    def __init__(
        self, read_plate: ReadFrame, read_occupied: ReadFrame, folder: Path, wanted: Container[int],
        most_bytes: int | None = None,
    ) -> None:  # fmt: skip
        self._read_plate, self._read_occupied, self._folder, self._wanted = read_plate, read_occupied, folder, wanted
        self._room = int(shutil.disk_usage(folder).free * SHARE_OF_DISK) if most_bytes is None else most_bytes
        self._kinds: dict[int, type[np.floating]] = {}
        self._free: set[int] = set()
        self._begun: set[tuple[str, int]] = set()
        self._size = (0, 0)
        self._one = threading.Lock()

    def plate(self, index: int, rows: slice | None = None) -> FloatArray:
        """Rows of a frame (H, W, 3), float32 scene-linear."""
        kind = self._kinds.get(index)
        if kind is None:
            whole = self._read_plate(index)
            self._keep(index, whole)
            return whole if rows is None else whole[rows]
        top, bottom, _ = (rows or slice(None)).indices(self._size[0])
        line = self._size[1] * 3
        stored = np.fromfile(
            self._path(index, "plate"), kind, (bottom - top) * line, offset=top * line * np.dtype(kind).itemsize
        )
        return floats_of(stored).reshape(bottom - top, self._size[1], 3)

    def free(self, index: int) -> NDArray[np.uint8]:
        """(H, W), 0 near a mask (soft edges reach a little farther than the coverage a roto artist draws), else 1 to 6,
        the farther from every mask the more: see ``DISTANCES``.
        """
        path = self._path(index, "free")
        if index in self._free:
            return np.fromfile(path, np.uint8).reshape(self._size)
        free = _farness(self._read_occupied(index))
        self._size = (free.shape[0], free.shape[1])
        if index in self._wanted and self._begins("free", index):
            _write(free, path)
            self._free.add(index)
        return free

    def _keep(self, index: int, pixels: FloatArray) -> None:
        if index not in self._wanted:
            return
        halves = exact_halves(pixels)
        kept = pixels if halves is None else halves
        if not self._begins("plate", index, kept.nbytes):
            return
        _write(kept, self._path(index, "plate"))
        self._size, self._kinds[index] = pixels.shape[:2], kept.dtype.type

    def _begins(self, what: str, index: int, size: int = 0) -> bool:
        """Whether there is room for a file that nobody has begun; nobody else begins it then."""
        with self._one:
            if (what, index) in self._begun or size > self._room:
                return False
            self._begun.add((what, index))
            self._room -= size
            return True

    def _path(self, index: int, what: str) -> Path:
        return self._folder / f"kept_{what}_{index:06d}.part"


def _farness(coverage: FloatArray) -> NDArray[np.uint8]:
    blank = coverage >= BLANK
    if blank.any():
        return np.where(blank, np.uint8(0), _farness(np.where(blank, np.float32(0), coverage)))
    reach = 2 + coverage.shape[1] // 960
    occupied = (coverage > 0).astype(np.uint8)
    if not occupied.any():
        return np.full(coverage.shape, ALONE, np.uint8)
    free = 1 - cv2.dilate(occupied, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    distance = cv2.distanceTransform(free, cv2.DIST_L2, 3)
    distance /= np.float32(np.hypot(*coverage.shape))
    farness: NDArray[np.uint8] = free.copy()
    for step in DISTANCES:
        # What is not free lies at no distance.
        farness += (distance >= np.float32(step)).view(np.uint8)
    return farness


def _write(array: NDArray[np.generic], path: Path) -> None:
    # NumPy's own tofile does not say why it wrote less than was asked.
    path.write_bytes(np.ascontiguousarray(array).data.cast("B"))
