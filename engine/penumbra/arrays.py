"""Arrays in files, as large as a clip: mapped, so that memory stays flat."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

_CHUNK = 1 << 20
_HEAD = 4096  # holds the header of a .npy file


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
