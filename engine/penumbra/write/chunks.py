"""Chunks of scan lines that need not be packed, or unpacked, again: empty ones, and what the plate's own file holds.

Most of a large layer is empty, yet packing its zeros costs half of what packing a picture does, and unpacking them as
much; and most of a background is the plate. A chunk of one file (:mod:`penumbra.scanlines`) is one of any other of the
same channels, and all empty ones are the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from penumbra.scanlines import FRONT, Layout, Samples
from penumbra.threads import share_of_threads


def lent_chunks(path: Path, like: Layout, wanted: Iterable[int]) -> dict[int, bytes]:
    """The packed bytes of the ``wanted`` chunks of another file; none where they would mean something else in one
    ``like`` this, or it cannot be read.

    What they unpack to is for the caller to see.
    """
    try:
        with path.open("rb") as file:
            layout = Layout.of(file)
            if layout is None or layout.alike != like.alike:
                return {}
            found = ((chunk, layout.chunks(file, chunk, chunk + 1)) for chunk in wanted)
            return {
                chunk: held[FRONT.size :]
                for chunk, held in found
                if held[: FRONT.size] == FRONT.pack(layout.line_of(chunk), len(held) - FRONT.size)
            }
    except OSError:
        return {}


def assemble(path: Path, layout: Layout, chunks: Sequence[bytes]) -> None:
    """Writes a file of that header, of the bytes of its chunks."""
    sizes = [FRONT.size + len(chunk) for chunk in chunks]
    offsets = len(layout.header) + 8 * len(chunks) + np.cumsum([0, *sizes[:-1]])
    with path.open("wb") as file:
        file.write(layout.header)
        file.write(offsets.astype("<u8").tobytes())
        for index, chunk in enumerate(chunks):
            file.write(FRONT.pack(layout.line_of(index), len(chunk)))
            file.write(chunk)


class ChunkFile:
    """A file whose chunks can be looked at; to be closed.

    It tells lines that hold nothing by their bytes, once such a chunk has been unpacked, and lines that are the very
    bytes of another file's.
    """

    def __init__(self, file: BinaryIO, layout: Layout) -> None:
        self.layout = layout
        self._file = file
        self._empty = b""

    @classmethod
    def open(cls, path: Path) -> ChunkFile | None:
        """None where the file is of another kind or cannot be read."""
        with suppress(OSError), ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            layout = Layout.of(file)
            if layout is not None:
                stack.pop_all()
                return cls(file, layout)
        return None

    def read(self, rows: slice, names: Sequence[str]) -> Samples:
        """As :meth:`Layout.read`."""
        return self.layout.read(self._file, rows, names, share_of_threads())

    def holds_nothing(self, rows: slice) -> bool:
        """Whether rows of the data window are nothing but chunks like the one that was :meth:`learn`-ed."""
        if not self._empty:
            return False
        layout, (first, last) = self.layout, self.layout.reach(rows)
        size = (FRONT.size + len(self._empty)) * (last - first)
        if last >= len(layout.offsets) or size != layout.offsets[last] - layout.offsets[first]:
            return False
        fronts = (FRONT.pack(layout.line_of(chunk), len(self._empty)) for chunk in range(first, last))
        return self._chunks(first, last) == b"".join(front + self._empty for front in fronts)

    def learn(self, rows: slice) -> None:
        """Takes note that rows were unpacked and held only zeros."""
        lines = self.layout.lines
        if not self._empty and rows.start % lines == 0 and rows.stop - rows.start >= lines:
            first = rows.start // lines
            self._empty = self._chunks(first, first + 1)[FRONT.size :]

    def shares(self, rows: slice, other: ChunkFile) -> bool:
        """Whether rows of the data window, which begin a chunk, are the same bytes in another file."""
        if self.layout.alike != other.layout.alike:
            return False
        reach = self.layout.reach(rows)
        ours = self._chunks(*reach)
        return ours != b"" and ours == other._chunks(*reach)

    def close(self) -> None:
        """Frees the file."""
        self._file.close()

    def _chunks(self, first: int, last: int) -> bytes:
        """Their bytes; none where they cannot be read."""
        with suppress(OSError):
            return self.layout.chunks(self._file, first, last)
        return b""
