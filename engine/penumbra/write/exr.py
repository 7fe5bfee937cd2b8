"""One OpenEXR file: its header, written whole, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
import OpenImageIO as oiio
from numpy.typing import NDArray

from penumbra.arrays import holds_anything
from penumbra.color import CHROMATICITIES, FloatArray
from penumbra.compiled import compiled
from penumbra.errors import OutputError
from penumbra.frames import Footage, Region
from penumbra.halves import floats_of, nearest_halves
from penumbra.job import OutputSettings
from penumbra.scanlines import LINES, Layout, Samples, pack
from penumbra.threads import for_each, share_of_threads
from penumbra.write.chunks import ChunkFile, assemble, lent_chunks
from penumbra.write.files import WRITE_FIX, written_whole
from penumbra.write.timecode import advance, packed

RGB = ("R", "G", "B")
RGBA = ("R", "G", "B", "A")
AGAIN = "Remove it and run again with --resume."
# Lines converted and handed on at once: a multiple of what every compression packs together, and no more than a
# processor's cache holds.
_BAND = 64
_LOOK = 4096  # values compared before it is asked whether they differ
# Timecode needs a rate to count with; footage that has the one without the other is nearly always film.
_RATE_OF_UNKNOWN = Fraction(24)


def exr_spec(footage: Footage, data: Region, channels: tuple[str, ...], output: OutputSettings) -> oiio.ImageSpec:
    """The part of a header that all layers share: windows, precision, compression, colour space, rate, pixel aspect."""
    spec = oiio.ImageSpec(
        data.width, data.height, len(channels), oiio.HALF if output.precision == "half" else oiio.FLOAT
    )
    spec.channelnames = channels
    spec.x, spec.y = data.x, data.y
    spec.full_x, spec.full_y = footage.display.x, footage.display.y
    spec.full_width, spec.full_height = footage.display.width, footage.display.height
    spec.attribute("compression", output.compression)
    spec.attribute("PixelAspectRatio", float(footage.pixel_aspect))
    spec.attribute("oiio:ColorSpace", footage.space.name)
    if footage.space.name in CHROMATICITIES:
        # Camera gamuts have no interop id that OpenImageIO would write: without these they would pass for Rec.709.
        spec.attribute("chromaticities", oiio.TypeDesc("float[8]"), CHROMATICITIES[footage.space.name])
    # Left alone OpenImageIO writes the time of day, and the same input would give other bytes on every run.
    spec.attribute("DateTime", "")
    if footage.fps is not None:
        # The lower-case name is OpenEXR's own; a capital F would be a custom attribute no host looks at.
        rate = (footage.fps.numerator, footage.fps.denominator)
        spec.attribute("framesPerSecond", oiio.TypeDesc("rational"), rate)
    return spec


def tag_frame(spec: oiio.ImageSpec, footage: Footage, layer: str, number: int, software: str) -> None:
    """Adds what is particular to one layer at one frame, the frame's own timecode included."""
    spec.attribute("Software", software)
    spec.attribute("penumbra/layer", layer)
    spec.attribute("penumbra/frame", number)
    spec.attribute("penumbra/space", footage.space.name)
    spec.attribute("penumbra/plate", Path(footage.path).name)
    fps = footage.fps or _RATE_OF_UNKNOWN
    timecode = advance(footage.timecode, number - footage.frames[0], fps) if footage.timecode else None
    if timecode is not None:
        # As a string OpenImageIO drops it silently.
        spec.attribute("smpte:TimeCode", oiio.TypeTimeCode, (packed(timecode, fps), 0))


@dataclass(frozen=True)
class Pixels:
    """What an image holds: ``held`` (h, w, C) in ``window``, rows and columns of the image, and zero around it.

    Without a window it is the whole. None of it beyond the range of the precision it is written in. ``like``: an
    OpenEXR file and the whole image that it holds, (H, W, C) float32: what is the same in both need not be packed anew.
    """

    held: Samples
    window: tuple[slice, slice] | None = None
    like: tuple[Path, FloatArray] | None = None

    @property
    def top(self) -> int:
        """The first line that may hold anything."""
        return 0 if self.window is None else self.window[0].start

    def lines(self, first: int, last: int, spec: oiio.ImageSpec) -> Samples:
        """Lines ``first`` to ``last`` - 1 of the image (h, W, C), in the file's precision if that is half."""
        part = self.held[max(0, first - self.top) : max(0, last - self.top)]
        held = nearest_halves(part) if spec.format == oiio.HALF else floats_of(part)
        if self.window is None:
            return cast("Samples", np.ascontiguousarray(held))
        band: Samples = np.zeros((last - first, spec.width, spec.nchannels), held.dtype)
        start = max(0, self.top - first)
        band[start : start + len(held), self.window[1]] = held
        return band


def write_exr(path: Path, pixels: Samples, spec: oiio.ImageSpec) -> None:
    """Writes H x W x C pixels, none beyond the range of ``spec``'s precision; the file appears whole or not at all.

    Raises :class:`OutputError` when anything of it could not be written.
    """
    write_parts(path, [Pixels(pixels)], [spec])


def write_parts(path: Path, parts: Sequence[Pixels], specs: Sequence[oiio.ImageSpec]) -> None:
    """As :func:`write_exr`, a file of one or more parts, each with its own pixels and header."""
    with written_whole(path) as temporary:
        if len(parts) == 1 and specs[0].get_string_attribute("compression") in LINES:
            problem = _write_packed(temporary, parts[0], specs[0])
        else:
            problem = _write_images(temporary, parts, specs)
        if problem is not None or not _ends_well(temporary, len(parts) - 1):
            raise OutputError(f"The file {path} could not be written: {_sentence(problem or '')}.", WRITE_FIX)


def _lent(pixels: Pixels, layout: Layout) -> dict[int, bytes]:
    """The packed chunks of a file of that layout that another file has already."""
    if pixels.like is None or pixels.window is not None or pixels.held.dtype != np.float32:
        return {}
    path, other = pixels.like
    lines = layout.lines
    # As integers: a negative zero is other bytes.
    ours, theirs = (np.ascontiguousarray(image).view(np.uint32) for image in (pixels.held, other))
    same = [
        chunk
        for chunk, top in enumerate(range(0, layout.height, lines))
        if _equal(ours[top : top + lines].reshape(-1), theirs[top : top + lines].reshape(-1))
    ]
    return lent_chunks(path, layout, same)


@compiled
def _equal(ours: NDArray[np.uint32], theirs: NDArray[np.uint32]) -> bool:
    """Whether (N,) are the same; most of what differs does so early."""
    for first in range(0, len(ours), _LOOK):
        different = np.uint32(0)
        for i in range(first, min(first + _LOOK, len(ours))):
            different |= ours[i] ^ theirs[i]
        if different != 0:
            return False
    return True


def _write_images(path: Path, parts: Sequence[Pixels], specs: Sequence[oiio.ImageSpec]) -> str | None:
    """Writes a file of one or more parts; what went wrong, None if nothing."""
    image = oiio.ImageOutput.create(str(path))
    if image is None:
        return str(oiio.geterror())
    done = image.open(str(path), specs[0] if len(specs) == 1 else tuple(specs))
    for index, (pixels, spec) in enumerate(zip(parts, specs, strict=True)):
        done = done and (index == 0 or image.open(str(path), spec, "AppendSubimage"))
        done = done and _write_lines(image, pixels, spec)
    reason = "" if done else image.geterror()
    return None if image.close() and done else str(reason)


def _write_packed(path: Path, pixels: Pixels, spec: oiio.ImageSpec) -> str | None:
    """As :func:`_write_images`, one part whose lines we pack ourselves: the same bytes, for less work."""
    one = spec.copy()
    one.height = 1
    nothing = np.zeros((1, spec.width, spec.nchannels), np.float32)
    problem = _write_images(path, [Pixels(nothing)], [one])
    if problem is not None:
        return problem
    with path.open("rb") as file:
        header = Layout.of(file)
    if header is None:
        return _write_images(path, [pixels], [spec])
    layout = header.as_high_as(spec.height)
    lines, height = layout.lines, layout.height
    order = np.array([spec.channelnames.index(name) for name in layout.channels], np.intp)
    empty = pack(np.zeros((lines, spec.width, spec.nchannels), layout.kind), order)
    lent = _lent(pixels, layout)
    chunks = [lent.get(chunk, empty) for chunk in range(-(-height // lines))]

    def pack_one(chunk: int) -> None:
        first, last = chunk * lines, min((chunk + 1) * lines, height)
        held = pixels.held[max(0, first - pixels.top) : max(0, last - pixels.top)]
        if last - first < lines or holds_anything(held):
            chunks[chunk] = pack(pixels.lines(first, last, spec), order)

    for_each(pack_one, [chunk for chunk in range(len(chunks)) if chunk not in lent], share_of_threads())
    assemble(path, layout, chunks)
    return None


def _write_lines(image: Any, pixels: Pixels, spec: oiio.ImageSpec) -> bool:
    """Writes all lines, some at a time."""
    done = True
    for top in range(0, spec.height, _BAND):
        band = pixels.lines(top, min(top + _BAND, spec.height), spec)
        done = done and image.write_scanlines(spec.y + top, spec.y + top + len(band), 0, band)
    return bool(done)


class ExrRows:
    """Lines of one part of a file that :func:`write_parts` wrote, as they are asked for; for a ``with`` block.

    Raises :class:`OutputError` when the file is missing, damaged, or of other channels or another data window.
    """

    def __init__(self, path: Path, channels: tuple[str, ...], data: Region, part: int = 0) -> None:
        self._path, self._data, self._part = path, data, part
        self._image: Any = oiio.ImageInput.open(str(path))
        if self._image is None:
            reason = oiio.geterror()
            if path.exists():
                raise self._damaged(reason)
            raise OutputError(f"The layer file {path} is missing.", AGAIN)
        try:
            self._check(channels)
        except OutputError:
            self._image.close()
            raise
        self.chunks = None if part else ChunkFile.open(path)
        """The file's chunks, where they can be looked at."""

    def read(self, rows: slice) -> FloatArray:
        """(rows, W, C) float32, scene-linear; ``rows`` within the data window."""
        return floats_of(self._stored(rows))

    def read_unless_empty(self, rows: slice) -> FloatArray | None:
        """As :meth:`read`; None where all is zero.

        Packed bytes that were once unpacked to nothing else are not unpacked again.
        """
        if self.chunks is not None and self.chunks.holds_nothing(rows):
            return None
        pixels = self._stored(rows)
        if holds_anything(pixels):
            return floats_of(pixels)
        if self.chunks is not None:
            self.chunks.learn(rows)
        return None

    def _stored(self, rows: slice) -> Samples:
        """(rows, W, C) as the file holds them."""
        if self.chunks is not None:
            try:
                return self.chunks.read(rows, self._channels)
            except (ValueError, OSError) as error:
                raise self._damaged(str(error)) from error
        top, bottom, count = rows.start + self._data.y, rows.stop + self._data.y, len(self._channels)
        pixels = self._image.read_scanlines(self._part, 0, top, bottom, 0, 0, count, self._kind)
        if pixels is None:
            raise self._damaged(self._image.geterror())
        stored = pixels.reshape(bottom - top, self._data.width, count)
        # OpenEXR files hold channels by name; in which order many of them are given back is the library's choice.
        return cast("Samples", stored if self._order is None else np.ascontiguousarray(stored[..., self._order]))

    def _damaged(self, reason: str) -> OutputError:
        return OutputError(f"The layer file {self._path} is damaged ({_sentence(reason)}).", AGAIN)

    def __enter__(self) -> ExrRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._image.close()
        if self.chunks is not None:
            self.chunks.close()

    def _check(self, channels: tuple[str, ...]) -> None:
        if not self._image.seek_subimage(self._part, 0):
            raise _changed(self._path, f"it has no part {self._part + 1}")
        spec, data = self._image.spec(), self._data
        if (spec.x, spec.y, spec.width, spec.height) != (data.x, data.y, data.width, data.height):
            raise _changed(self._path, f"its data window is {spec.width}x{spec.height} at {spec.x},{spec.y}")
        stored = tuple(spec.channelnames)
        if sorted(stored) != sorted(channels):
            raise _changed(self._path, "its channels are " + ", ".join(stored))
        self._channels = channels
        self._kind = "half" if spec.format == oiio.HALF else "float"
        self._order = None if stored == channels else [stored.index(name) for name in channels]


def read_exr(path: Path, channels: tuple[str, ...], data: Region) -> FloatArray:
    """The pixels of a file that :func:`write_exr` wrote: H x W x C over ``data``, raising as :class:`ExrRows` does."""
    with ExrRows(path, channels, data) as image:
        return image.read(slice(0, data.height))


def _ends_well(path: Path, part: int) -> bool:
    """Whether the last line of the last part can be read: OpenEXR hides a failed last flush, as on a full disk."""
    image = oiio.ImageInput.open(str(path))
    if image is None:
        oiio.geterror()
        return False
    image.seek_subimage(part, 0)
    spec = image.spec()
    end = spec.y + spec.height
    line = image.read_scanlines(end - 1, end, 0, 0, spec.nchannels, "half")
    image.geterror()
    image.close()
    return line is not None


def _changed(path: Path, how: str) -> OutputError:
    return OutputError(f"The layer file {path} is not the one written for this plate: {how}.", AGAIN)


def _sentence(reason: str) -> str:
    """The first line of a library's message, which may hold several."""
    return (reason.strip().splitlines() or ["the disk took only a part of it"])[0].rstrip(". ")
