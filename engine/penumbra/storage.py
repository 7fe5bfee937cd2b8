"""Files appear whole or not at all: written under a temporary name, flushed, then renamed into place.

What is called flushed here survives a power cut: the file's bytes, and the folder's entry that leads to them.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
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
    """A temporary path beside ``path`` with the same suffix; renamed to ``path`` on success, removed on failure.

    When the block has ended well the file is flushed.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}{path.suffix}")
    try:
        yield temporary
        # Before the rename: a power cut must not leave a whole name on an empty file.
        _flush(temporary)
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        # Storage that fails now has failed the block already, and in words of its own.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def flush_files(paths: Iterable[Path]) -> None:
    """Flushes files that were written in place. Raises OSError, also for what only writing back brings to light."""
    paths = list(paths)
    for path in paths:
        _flush(path)
    for folder in sorted({path.parent for path in paths}):
        _flush_folder(folder)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(path: Path) -> None:
    """Writes a folder's entries, where the system has such a thing: Windows and some network storage have not."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_temporaries(folder: Path) -> int:
    """Removes what a killed run left half-written below ``folder``; returns how many files."""
    leftovers = [path for path in folder.rglob(f"{TEMPORARY_PREFIX}*") if path.is_file() and not path.is_symlink()]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)
