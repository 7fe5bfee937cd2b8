"""Files appear whole or not at all: written under a temporary name, flushed, then renamed into place."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Leftovers of a killed run are recognised, and swept, by this prefix alone.
TEMPORARY_PREFIX = ".penumbra-tmp-"


LARGEST_TEXT = 64 * 2**20  # bytes; a camera of a hundred thousand frames has a third of it


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """A text file in UTF-8; OSError where it is larger than any of its kind or no file at all, which could be endless.

    UnicodeDecodeError where it is no such text.
    """
    # A pipe without a writer would never even open.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(largest + 1)
    finally:
        os.close(descriptor)
    if len(data) > largest:
        raise OSError(errno.EFBIG, f"it is larger than {largest >> 20} MiB", str(path))
    return data.decode("utf-8")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` with the same suffix; renamed to ``path`` on success, removed on failure."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}{path.suffix}")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """To the disk before the rename: a power cut must not leave a whole name on an empty file."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_temporaries(folder: Path) -> int:
    """Removes what a killed run left half-written below ``folder``; returns how many files."""
    leftovers = [path for path in folder.rglob(f"{TEMPORARY_PREFIX}*") if path.is_file() and not path.is_symlink()]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)
