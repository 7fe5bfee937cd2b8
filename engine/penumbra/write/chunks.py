"""Chunks of scan lines that need not be packed, or unpacked, again: empty ones, and what the plate's own file holds.

Most of a large layer is empty, yet packing its zeros costs half of what packing a picture does, and unpacking them as
much; and most of a background is the plate. An OpenEXR file is a header, a table of offsets, and chunks of lines, each
packed by itself behind the number of its first line and its size ("OpenEXR File Layout"): a chunk of one file is one
of any other of the same channels, and all empty ones are the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import holds_anything

# Lines that a chunk holds, by compression; files of others are the library's alone.
LINES = {"zips": 1, "zip": 16}
_MAGIC, _VERSION = 20000630, 2
_LONG_NAMES = 0x400
_FRONT = struct.Struct("<ii")  # of a chunk: its first line and how many bytes follow
_CORNERS = struct.Struct("<4i")  # x and y of a window's first and last pixel
_CHANNEL = struct.Struct("<iB3xii")  # type, perceptually linear, distances of samples across and down
_TYPES: dict[type[np.floating], int] = {np.float16: 1, np.float32: 2}
_COMPRESSIONS = {"zips": 2, "zip": 3}
_INCREASING = b"\0"  # order of lines
_OF_CHUNKS = (b"channels", b"compression", b"dataWindow", b"lineOrder")
_LARGEST_HEADER = 1 << 20
_NONE: Mapping[int, bytes] = MappingProxyType({})


@dataclass(frozen=True)
class Layout:
    """Where things stand in a file with one part of scan lines.

    ``header``: the bytes before the table of offsets, ``corners_at`` where in them the data window stands; ``top``: its
    first line; ``lines``: of a chunk; ``offsets``: where each chunk begins, and behind them where the last one ends;
    ``alike``: what two files must have in common for a chunk of one to mean the same in the other.
    """

    header: bytes
    corners_at: int
    top: int
    lines: int
    offsets: tuple[int, ...]
    alike: tuple[bytes, ...]

    @classmethod
    def of(cls, file: BinaryIO, lines: int) -> Layout | None:
        """The layout of an open file; None where it is of another kind, or its chunks do not stand in order."""
        file.seek(0)
        start = file.read(_LARGEST_HEADER)
        try:
            attributes, end = _attributes(start)
            corners_at = attributes[b"dataWindow"][0]
            _, top, _, bottom = _CORNERS.unpack_from(start, corners_at)
        except (ValueError, KeyError, struct.error):
            return None
        count = max(0, -(-(bottom + 1 - top) // lines))
        file.seek(end)
        table = file.read(8 * count)
        offsets = (*np.frombuffer(table[: len(table) // 8 * 8], "<u8").tolist(), file.seek(0, 2))
        if len(offsets) != count + 1 or any(b - a < _FRONT.size for a, b in pairwise(offsets)):
            return None
        alike = tuple(start[slice(*attributes.get(name, (0, 0)))] for name in _OF_CHUNKS)
        return cls(start[:end], corners_at, top, lines, offsets, alike)

    def chunks(self, file: BinaryIO, first: int, last: int) -> bytes:
        """The bytes of the chunks ``first`` to ``last`` - 1, each with its front."""
        file.seek(self.offsets[first])
        return file.read(self.offsets[last] - self.offsets[first])

    def reach(self, rows: slice) -> tuple[int, int]:
        """The first of the chunks that hold rows of the data window, and the one after the last."""
        return rows.start // self.lines, -(-rows.stop // self.lines)

    def line_of(self, chunk: int) -> int:
        """The number of a chunk's first line."""
        return self.top + chunk * self.lines


@dataclass(frozen=True)
class Packing:
    """Which chunks of an image are packed: all that hold anything, the first that does not, and a last one cut short;
    but none that is lent, packed, by another file.

    ``runs``: slices of the image's lines, which come to lie below each other in the packed image; ``places``: for each
    chunk of the image, which chunk of the packed one it is, -1 where it is ``lent``; ``lines``: of a chunk; ``height``:
    of the packed image.
    """

    runs: tuple[slice, ...]
    places: tuple[int, ...]
    lines: int
    height: int
    lent: dict[int, bytes]

    @classmethod
    def of(
        cls, pixels: NDArray[np.floating], lines: int, top: int, height: int, lent: Mapping[int, bytes] = _NONE
    ) -> Packing | None:
        """How to pack an image ``height`` lines high; None where nothing is lent and at most one whole chunk is empty.

        ``pixels`` (h, w, C): what it holds from line ``top`` on; all else is zero.
        """
        starts = (max(0, first - top) for first in range(0, height, lines))
        ends = (max(0, first + lines - top) for first in range(0, height, lines))
        filled = [holds_anything(pixels[start:end]) for start, end in zip(starts, ends, strict=True)]
        whole = height // lines
        # A packed image has at least one chunk.
        lent = {chunk: held for chunk, held in lent.items() if chunk > 0}
        empty = [chunk for chunk in range(whole) if not filled[chunk] and chunk not in lent]
        if len(empty) < 2 and not lent:
            return None
        skipped = {*empty[1:], *lent}
        packed = [chunk for chunk in range(len(filled)) if chunk not in skipped]
        place = {chunk: index for index, chunk in enumerate(packed)}
        place.update((chunk, -1 if chunk in lent else place[empty[0]]) for chunk in skipped)
        places = tuple(place[chunk] for chunk in range(len(filled)))
        runs = tuple(slice(a * lines, min((b + 1) * lines, height)) for a, b in _runs(packed))
        return cls(runs, places, lines, sum(run.stop - run.start for run in runs), lent)


@dataclass(frozen=True)
class Kind:
    """What two files must have in common for a chunk of one to mean the same in the other.

    ``compression`` by name; ``channels`` by name; ``kind``: their type; ``corners``: x and y of the data window's first
    and last pixel.
    """

    compression: str
    channels: tuple[str, ...]
    kind: type[np.floating]
    corners: tuple[int, int, int, int]

    @property
    def attributes(self) -> tuple[bytes, ...]:
        """The values of ``_OF_CHUNKS`` in a header."""
        described = (_CHANNEL.pack(_TYPES[self.kind], 0, 1, 1) for _ in self.channels)
        names = (name.encode() + b"\0" for name in sorted(self.channels))
        channels = b"".join(name + what for name, what in zip(names, described, strict=True)) + b"\0"
        return channels, bytes([_COMPRESSIONS[self.compression]]), _CORNERS.pack(*self.corners), _INCREASING


def lent_chunks(path: Path, kind: Kind, wanted: Sequence[int]) -> dict[int, bytes]:
    """The packed bytes of the ``wanted`` chunks of another file; none where it is not of this kind, or not to be read.

    What they unpack to is for the caller to see.
    """
    try:
        with path.open("rb") as file:
            layout = Layout.of(file, LINES[kind.compression])
            if layout is None or layout.alike != kind.attributes:
                return {}
            found = ((chunk, layout.chunks(file, chunk, chunk + 1)) for chunk in wanted)
            return {
                chunk: held[_FRONT.size :]
                for chunk, held in found
                if held[: _FRONT.size] == _FRONT.pack(layout.line_of(chunk), len(held) - _FRONT.size)
            }
    except OSError:
        return {}


def unfold(path: Path, packing: Packing, height: int) -> bool:
    """Makes of a packed image's file that of the whole, ``height`` lines high: the bytes a library would have written.

    False, and the file untouched, where it is not of the kind expected.
    """
    with path.open("rb") as file:
        layout, places = Layout.of(file, packing.lines), packing.places
        if layout is None or len(layout.offsets) != max(places) + 2:
            return False
        held = [layout.chunks(file, chunk, chunk + 1)[_FRONT.size :] for chunk in range(max(places) + 1)]
    header = bytearray(layout.header)
    left, top, right, _ = _CORNERS.unpack_from(header, layout.corners_at)
    _CORNERS.pack_into(header, layout.corners_at, left, top, right, top + height - 1)
    chunks = [packing.lent[chunk] if place < 0 else held[place] for chunk, place in enumerate(places)]
    sizes = [_FRONT.size + len(chunk) for chunk in chunks]
    offsets = len(header) + 8 * len(places) + np.cumsum([0, *sizes[:-1]])
    with path.open("wb") as file:
        file.write(header)
        file.write(offsets.astype("<u8").tobytes())
        for index, chunk in enumerate(chunks):
            file.write(_FRONT.pack(layout.line_of(index), len(chunk)))
            file.write(chunk)
    return True


class EmptyChunks:
    """Tells lines of a file that hold nothing by their bytes, once such a chunk has been unpacked; to be closed.

    ``lines``: of a chunk. Of a file that cannot be read it tells nothing.
    """

    def __init__(self, path: Path, lines: int) -> None:
        self._file: BinaryIO | None = None
        self._layout: Layout | None = None
        self._empty = b""
        with suppress(OSError):
            self._file = path.open("rb")
            self._layout = Layout.of(self._file, lines)

    def hold(self, rows: slice) -> bool:
        """Whether rows of the data window are nothing but chunks like the one that was :meth:`learn`-ed."""
        if not self._empty or self._layout is None:
            return False
        first, last = self._layout.reach(rows)
        expected = b"".join(
            _FRONT.pack(self._layout.line_of(chunk), len(self._empty)) + self._empty for chunk in range(first, last)
        )
        return last < len(self._layout.offsets) and self._chunks(first, last, len(expected)) == expected

    def learn(self, rows: slice) -> None:
        """Takes note that rows were unpacked and held only zeros."""
        if self._empty or self._layout is None or rows.start % self._layout.lines:
            return
        first = rows.start // self._layout.lines
        if rows.stop - rows.start >= self._layout.lines:
            self._empty = self._chunks(first, first + 1)[_FRONT.size :]

    def close(self) -> None:
        """Frees the file."""
        if self._file is not None:
            self._file.close()

    def _chunks(self, first: int, last: int, size: int | None = None) -> bytes:
        """Their bytes; none where they cannot be read, or are not of that size."""
        if self._file is None or self._layout is None:
            return b""
        if size not in (None, self._layout.offsets[last] - self._layout.offsets[first]):
            return b""
        try:
            return self._layout.chunks(self._file, first, last)
        except OSError:
            return b""


class SharedChunks:
    """Tells lines of a file that are, packed, the very bytes of another file's; to be closed.

    ``lines``: of a chunk. Of files that differ in kind, or cannot be read, it tells nothing.
    """

    def __init__(self, path: Path, other: Path, lines: int) -> None:
        self._stack = ExitStack()
        self._both: Sequence[tuple[BinaryIO, Layout]] = []
        with suppress(OSError):
            files = [self._stack.enter_context(each.open("rb")) for each in (path, other)]
            layouts = [Layout.of(file, lines) for file in files]
            found = [(file, layout) for file, layout in zip(files, layouts, strict=True) if layout is not None]
            if len(found) == len(files) and found[0][1].alike == found[1][1].alike:
                self._both = found

    def hold(self, rows: slice) -> bool:
        """Whether rows of the data window, which begin a chunk, are the same in both files."""
        if not self._both:
            return False
        with suppress(OSError):
            ours, theirs = (layout.chunks(file, *layout.reach(rows)) for file, layout in self._both)
            return ours == theirs
        return False

    def close(self) -> None:
        """Frees the files."""
        self._stack.close()


def _attributes(start: bytes) -> tuple[dict[bytes, tuple[int, int]], int]:
    """Where the values of a header's attributes begin and end, and where the header does; ValueError if it is none."""
    magic, version = _FRONT.unpack_from(start)
    if magic != _MAGIC or version & ~_LONG_NAMES != _VERSION:
        raise ValueError("no file of one part of scan lines")
    at, found = _FRONT.size, {}
    while start[at : at + 1] != b"\0":
        name_end = start.index(b"\0", at)
        kind_end = start.index(b"\0", name_end + 1)
        (size,) = struct.unpack_from("<i", start, kind_end + 1)
        value = kind_end + 5
        if size < 0 or value + size >= len(start):
            raise ValueError("an attribute that ends nowhere")
        found[start[at:name_end]] = (value, value + size)
        at = value + size
    return found, at + 1


def _runs(chunks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of neighbours."""
    first = chunks[0]
    for before, after in pairwise(chunks):
        if after != before + 1:
            yield first, before
            first = after
    yield first, chunks[-1]
