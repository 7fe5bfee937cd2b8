"""Large arrays: in files, mapped, so that memory stays flat; and whether they hold anything."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

from penumbra.compiled import compiled

_CHUNK = 1 << 20
_HEAD = 4096  # holds the header of a .npy file
# numpy reads headers by Python's own parser of literals, which on CPython 3.11 has failed ("AST constructor
# recursion depth mismatch") where two threads use it at once.
_ONE_HEADER = threading.Lock()


def open_array(path: Path, mode: str = "r") -> np.memmap[Any, Any]:
    """A .npy file as a memory map, ``mode`` r or r+. From any thread."""
    with _ONE_HEADER:
        return np.lib.format.open_memmap(path, mode=mode)


def read_array(path: Path) -> NDArray[Any]:
    """The array in a .npy file. From any thread."""
    with _ONE_HEADER:
        held: NDArray[Any] = np.load(path, allow_pickle=False)
    return held


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in a .npz file, by name. From any thread."""
    with _ONE_HEADER, np.load(path, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def holds_anything(values: NDArray[Any]) -> bool:
    """Whether any bit of an array (H, W) or contiguous (H, W, C) is set, so that a negative zero is something.

    At a tenth of the cost of numpy's ``any``, which makes a truth of every number first.
    """
    return values.size > 0 and bool(cv2.hasNonZero(values.reshape(len(values), -1).view(np.uint8)))


def within(values: NDArray[np.float32], most: float) -> bool:
    """Whether every value of an array of any shape lies in [0, ``most``]; none that is no number, or a negative zero.

    In one pass, by the bits: they grow with what they stand for, and the sign's is the uppermost.
    """
    return bool(_largest_bits(values, np.uint32(0xFFFFFFFF)) <= np.float32(most).view(np.uint32))


def farthest(values: NDArray[np.float16] | NDArray[np.float32]) -> float:
    """The size of the value farthest from 0 of an array of any shape; not finite where any is not. By the bits, too."""
    but_signs = np.uint16(0x7FFF) if values.dtype == np.float16 else np.uint32(0x7FFFFFFF)
    return float(_largest_bits(values, but_signs).view(values.dtype))


def _largest_bits(values: NDArray[np.floating], looked_at: np.unsignedinteger) -> np.unsignedinteger:
    """The largest bits of values of any shape, of those that are ``looked_at``."""
    most = np.zeros(1, looked_at.dtype)
    _find_largest(np.ascontiguousarray(values).view(looked_at.dtype).reshape(-1), looked_at, most)
    largest: np.unsignedinteger = most[0]
    return largest


@compiled
def _find_largest(
    bits: NDArray[np.unsignedinteger], looked_at: np.unsignedinteger, most: NDArray[np.unsignedinteger]
) -> None:
    found = most[0]
    for i in range(len(bits)):
        found = max(found, bits[i] & looked_at)
    most[0] = found


def largest_of(pictures: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The largest value of all pictures at every place, a new array of their shape.

    numpy's ``maximum.reduce`` brings them together first, which takes thirty times as long.
    """
    most = np.maximum(pictures[0], pictures[-1])
    for picture in pictures[1:-1]:
        np.maximum(most, picture, out=most)
    return most


def largest_of_channels(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """(...) the largest of the three channels of a picture (..., 3); numpy's ``max`` takes five times as long."""
    return np.maximum(np.maximum(picture[..., 0], picture[..., 1]), picture[..., 2])


def mean_of_channels(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) the mean over the three channels of a picture (H, W, 3).

    numpy's ``mean`` along so short an axis takes five times as long; the bits are the same.
    """
    total = cv2.transform(np.ascontiguousarray(picture), np.ones((1, 3), np.float32))
    return np.asarray(total.reshape(picture.shape[:2]) / np.float32(3), np.float32)


def create_array(path: Path, kind: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A .npy file of zeros, mapped for writing, with room on the disk for all of it.

    Raises OSError where there is none. Without the room a full disk would end the process by a signal at some later
    assignment: a mapped file has no other way to say so.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(kind), shape=shape)
    try:
        _reserve(path)
    except OSError:
        del array
        path.unlink(missing_ok=True)
        raise
    return array


def _reserve(path: Path) -> None:
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
            return
        # macOS has no such call, and room is only taken by what is written.
        head = file.read(_HEAD)
        file.seek(0)
        file.write(head)
        for start in range(len(head), size, _CHUNK):
            file.write(bytes(min(_CHUNK, size - start)))
