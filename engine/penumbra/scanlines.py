"""Scan lines of OpenEXR files that pack them by zlib: where they stand in a file, unpacked, and packed.

Such a file is a header, a table of offsets, and chunks of lines, each behind the number of its first line and its size
("OpenEXR File Layout"). A chunk holds line after line, of each the channels by name, of each its samples. Their bytes
are parted, all even ones before all odd ones, and each is told by what it is more than the one before it and 128 more;
that is what zlib packs. A chunk that would not become smaller is stored as it is.

Both loops through the bytes are OpenEXR's own predictor, which as a library does it takes twice as long as zlib.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import BinaryIO, cast

import deflate
import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.compiled import compiled
from penumbra.threads import for_each

Samples = NDArray[np.float16] | FloatArray

# Lines that a chunk holds, by compression; files of others are the library's alone.
LINES: Mapping[str, int] = MappingProxyType({"zips": 1, "zip": 16})
FRONT = struct.Struct("<ii")  # of a chunk: its first line and how many bytes follow
CORNERS = struct.Struct("<4i")  # x and y of a window's first and last pixel
_MAGIC, _VERSION = 20000630, 2
_LONG_NAMES = 0x400
_CHANNEL = struct.Struct("<iB3xii")  # type, perceptually linear, distances of samples across and down
_KINDS: Mapping[int, type[np.floating]] = MappingProxyType({1: np.float16, 2: np.float32})
_COMPRESSIONS: Mapping[int, str] = MappingProxyType({2: "zips", 3: "zip"})
_OF_CHUNKS = (b"channels", b"compression", b"dataWindow", b"lineOrder")
_LARGEST_HEADER = 1 << 20
_NONE, _MORE, _EIGHT, _AT_FIRST, _BYTE = np.uint16(0), np.uint16(128), np.uint16(8), np.uint16(0x8080), np.uint32(255)
_MOST = 1100  # times as large as it is packed is what zlib gives back at most
_AT_ONCE = 1 << 24  # bytes read at once
_LEVEL = 4  # OpenEXR's own: what it would have written, to the byte


@dataclass(frozen=True)
class Layout:
    """Where things stand in a file with one part of scan lines that zlib packs.

    ``header``: the bytes before the table of offsets, ``corners_at`` where in them the data window stands; ``left``,
    ``top``, ``width``, ``height``: that window; ``lines``: of a chunk; ``offsets``: where each chunk begins, and behind
    them where the last one ends; ``channels``: in the file's order, all of ``kind``; ``alike``: what two files must
    have in common for a chunk of one to mean the same in the other.
    """

    header: bytes
    corners_at: int
    left: int
    top: int
    width: int
    height: int
    lines: int
    offsets: tuple[int, ...]
    channels: tuple[str, ...]
    kind: type[np.floating]
    alike: tuple[bytes, ...]

    @classmethod
    def of(cls, file: BinaryIO) -> Layout | None:
        """The layout of an open file; None where it is of another kind, or its chunks do not stand in order."""
        file.seek(0)
        start = file.read(_LARGEST_HEADER)
        try:
            attributes, end = _attributes(start)
            corners_at = attributes[b"dataWindow"][0]
            left, top, right, bottom = CORNERS.unpack_from(start, corners_at)
            lines = LINES[_COMPRESSIONS[start[attributes[b"compression"][0]]]]
            channels, kind = _channels(start[slice(*attributes[b"channels"])])
        except (ValueError, KeyError, struct.error):
            return None
        count = max(0, -(-(bottom + 1 - top) // lines))
        file.seek(end)
        table = file.read(8 * count)
        offsets = (*np.frombuffer(table[: len(table) // 8 * 8], "<u8").tolist(), file.seek(0, 2))
        if right < left or len(offsets) != count + 1 or any(b - a < FRONT.size for a, b in pairwise(offsets)):
            return None
        alike = tuple(start[slice(*attributes.get(name, (0, 0)))] for name in _OF_CHUNKS)
        window = left, top, right + 1 - left, bottom + 1 - top
        return cls(start[:end], corners_at, *window, lines, offsets, channels, kind, alike)

    def as_high_as(self, height: int) -> Layout:
        """That of a file like this one, but so many lines high, of which no chunk stands anywhere yet."""
        window = CORNERS.pack(self.left, self.top, self.left + self.width - 1, self.top + height - 1)
        header = self.header[: self.corners_at] + window + self.header[self.corners_at + CORNERS.size :]
        alike = tuple(
            window if name == b"dataWindow" else value for name, value in zip(_OF_CHUNKS, self.alike, strict=True)
        )
        return replace(self, header=header, height=height, offsets=(), alike=alike)

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

    def read(self, file: BinaryIO, rows: slice, names: Sequence[str], threads: int = 1) -> Samples:
        """Rows of the data window of the channels named, (rows, W, C), as stored.

        Raises ValueError where what stands there is not what should, and OSError.
        """
        first, last = self.reach(rows)
        start, stop = first * self.lines, min(last * self.lines, self.height)
        size = (stop - start) * self.width * len(self.channels) * np.dtype(self.kind).itemsize
        # As much as a damaged header claims need not be had.
        if size > _MOST * (self.offsets[last] - self.offsets[first]):
            raise ValueError("lines end too early")
        pixels = np.empty((stop - start, self.width, len(names)), self.kind)
        places = np.array([names.index(name) if name in names else -1 for name in self.channels], np.intp)
        # A render's other layers are packed with the picture, and may be many times as large.
        for begin, end in self._bands(first, last):
            held = memoryview(self.chunks(file, begin, end))
            if len(held) < self.offsets[end] - self.offsets[begin]:
                raise ValueError("lines end too early")
            unpack_one = partial(self._unpack, held, begin, places, pixels[begin * self.lines - start :])
            for_each(unpack_one, range(begin, end), threads)
        return cast("Samples", pixels[rows.start - start : rows.stop - start])

    def _bands(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Chunks ``first`` to ``last`` - 1 in runs, each not much more than ``_AT_ONCE`` bytes."""
        begin = first
        for chunk in range(first + 1, last + 1):
            if chunk == last or self.offsets[chunk] - self.offsets[begin] >= _AT_ONCE:
                yield begin, chunk
                begin = chunk

    def _unpack(self, held: memoryview, begin: int, places: NDArray[np.intp], pixels: Samples, chunk: int) -> None:
        """Writes the lines of one of the chunks that are ``held`` from ``begin`` on to pixels from there on."""
        at, end = (self.offsets[index] - self.offsets[begin] for index in (chunk, chunk + 1))
        line, size = FRONT.unpack_from(held, at)
        if line != self.line_of(chunk) or size != end - at - FRONT.size:
            raise ValueError(f"where line {self.line_of(chunk)} should stand is something else")
        place = (chunk - begin) * self.lines
        unpack(held[at + FRONT.size : end], places, pixels[place : place + self.lines])


def pack(pixels: Samples, order: NDArray[np.intp]) -> bytes:
    """The chunk, without its front, of lines (h, W, C), which hold a file's channels ``order`` (C,) by name."""
    units = _units(pixels)
    parted = np.empty(pixels.nbytes, np.uint8)
    _part(units, order, parted)
    packed = bytes(deflate.zlib_compress(parted, _LEVEL))
    if len(packed) < pixels.nbytes:
        return packed
    return np.ascontiguousarray(units[:, :, order].swapaxes(1, 2)).tobytes()


def unpack(held: bytes | memoryview, places: NDArray[np.intp], pixels: Samples) -> None:
    """Writes the samples of a chunk, without its front, to lines (h, W, C); ValueError where it does not hold them.

    ``places`` (F,): which of the C each of the file's F channels is; -1 where it is none of them.
    """
    units = _units(pixels)
    height, width, _, many = units.shape
    size = 2 * height * width * many * len(places)
    if len(held) == size:
        whole = np.frombuffer(held, "<u2").reshape(height, len(places), width, many)
        for channel, place in enumerate(places):
            if place >= 0:
                units[:, :, place] = whole[:, channel]
        return
    try:
        parted = deflate.zlib_decompress(held, size)
    except deflate.DeflateError as error:
        raise ValueError("packed bytes are damaged") from error
    # Zlib does not mind what stands behind its stream, which ends with its sum; other readers do.
    if len(held) > size or len(parted) != size or bytes(held[-4:]) != deflate.adler32(parted).to_bytes(4, "big"):
        raise ValueError("lines end too early, or too late")
    _join(np.frombuffer(parted, np.uint8), places, units)


def _units(pixels: Samples) -> NDArray[np.uint16]:
    """Samples (h, W, C) as (h, W, C, U) pairs of bytes: one of a half, two of a float."""
    return pixels.view(np.uint16).reshape(*pixels.shape, -1)


@compiled
def _part(units: NDArray[np.uint16], order: NDArray[np.intp], parted: NDArray[np.uint8]) -> None:
    """Writes samples (h, W, C, U) as zlib is given them."""
    height, width, _, many = units.shape
    count, half, at, first = width * many, len(parted) // 2, 0, _NONE
    line = np.empty(count + 1, np.uint16)
    before, here = line[:count], line[1:]
    # Of the first byte nothing but itself is told.
    line[count] = _AT_FIRST
    for y in range(height):
        for c in range(len(order)):
            line[0] = line[count]
            # Channels one by one are slow, and indices that may be negative: so these views.
            if many == 1:
                source = units[y, :, order[c], 0]
                for x in range(width):
                    here[x] = source[x]
            else:
                for x in range(width):
                    for k in range(many):
                        here[x * many + k] = units[y, x, order[c], k]
            if at == 0:
                first = here[0]
            evens, odds = parted[at : at + count], parted[half + at : half + at + count]
            for i in range(count):
                evens[i] = np.uint8(np.uint16(here[i] - before[i]) + _MORE)
                odds[i] = np.uint8(np.uint16((here[i] >> _EIGHT) - (before[i] >> _EIGHT)) + _MORE)
            at += count
    # The first odd byte stands behind the last even one.
    parted[half] = np.uint8(np.uint16((first >> _EIGHT) - line[count]) + _MORE)


@compiled
def _join(parted: NDArray[np.uint8], places: NDArray[np.intp], units: NDArray[np.uint16]) -> None:
    """Writes what zlib gave back as samples (h, W, C, U)."""
    height, width, _, many = units.shape
    count, half, at = width * many, len(parted) // 2, 0
    even, odd = np.uint32(_MORE), np.uint32(_MORE)
    for i in range(half):
        odd = np.uint32(odd + np.uint32(parted[i]))
    odd = np.uint32(odd + np.uint32(half) * np.uint32(_MORE))
    line = np.empty(count, np.uint16)
    for y in range(height):
        for place in places:
            evens, odds = parted[at : at + count], parted[half + at : half + at + count]
            # Of what is summed up the lowest byte counts.
            for i in range(count):
                even = np.uint32(even + np.uint32(evens[i]) + np.uint32(_MORE))
                odd = np.uint32(odd + np.uint32(odds[i]) + np.uint32(_MORE))
                line[i] = (even & _BYTE) | ((odd & _BYTE) << np.uint32(_EIGHT))
            at += count
            if place < 0:
                continue
            if many == 1:
                target = units[y, :, place, 0]
                for x in range(width):
                    target[x] = line[x]
            else:
                for x in range(width):
                    for k in range(many):
                        units[y, x, place, k] = line[x * many + k]


def _attributes(start: bytes) -> tuple[dict[bytes, tuple[int, int]], int]:
    """Where the values of a header's attributes begin and end, and where the header does; ValueError if it is none."""
    magic, version = FRONT.unpack_from(start)
    if magic != _MAGIC or version & ~_LONG_NAMES != _VERSION:
        raise ValueError("no file of one part of scan lines")
    at, found = FRONT.size, {}
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


def _channels(value: bytes) -> tuple[tuple[str, ...], type[np.floating]]:
    """Names and type of an attribute's channels; ValueError or KeyError where they are not all of one, whole."""
    at, names, kinds = 0, [], set()
    while value[at : at + 1] != b"\0":
        end = value.index(b"\0", at)
        kind, _, across, down = _CHANNEL.unpack_from(value, end + 1)
        names.append(value[at:end].decode())
        kinds.add((kind, across, down))
        at = end + 1 + _CHANNEL.size
    ((kind, across, down),) = kinds
    if (across, down) != (1, 1) or len(set(names)) < len(names):
        raise ValueError("channels that are not whole")
    return tuple(names), _KINDS[kind]
