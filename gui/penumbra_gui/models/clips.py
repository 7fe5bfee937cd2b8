"""Which files are one clip, by their names."""

from __future__ import annotations

import re
from pathlib import Path

# One file is a whole clip, whatever number its name ends with: the engine's MOVIE_SUFFIXES.
MOVIES = frozenset(
    (
        ".mp4", ".mov", ".m4v", ".mkv", ".avi", ".mxf", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".wmv",
        ".flv", ".ogv", ".3gp", ".y4m", ".gif",
    )
)  # fmt: skip


def clip_of(path: str) -> tuple[str, str]:
    """The folder and the name that all files of a sequence share, and its pattern too; a movie's and a folder's own."""
    where = Path(path)
    if where.suffix.lower() in MOVIES or where.is_dir():
        return str(where.parent), where.name
    pattern, found = re.subn(r"%0?\d*d|#+|@+", "#", where.name)
    return str(where.parent), pattern if found else re.sub(r"\d+(?=\D*$)", "#", where.name)
