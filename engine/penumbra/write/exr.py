"""One OpenEXR file: its header, written whole, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import OpenImageIO as oiio
from numpy.typing import NDArray

from penumbra.color import CHROMATICITIES, FloatArray
from penumbra.errors import OutputError
from penumbra.frames import Footage, Region
from penumbra.job import OutputSettings
from penumbra.write.files import WRITE_FIX, written_whole
from penumbra.write.timecode import advance, packed

RGB = ("R", "G", "B")
RGBA = ("R", "G", "B", "A")
AGAIN = "Remove it and run again with --resume."
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


def write_exr(path: Path, pixels: NDArray[np.float16] | FloatArray, spec: oiio.ImageSpec) -> None:
    """Writes H x W x C pixels, none beyond the range of ``spec``'s precision; the file appears whole or not at all.

    Raises :class:`OutputError` when anything of it could not be written.
    """
    write_parts(path, [pixels], [spec])


def write_parts(path: Path, parts: Sequence[NDArray[np.float16] | FloatArray], specs: Sequence[oiio.ImageSpec]) -> None:
    """As :func:`write_exr`, a file of one or more parts, each with its own pixels and header."""
    with written_whole(path) as temporary:
        image = oiio.ImageOutput.create(str(temporary))
        if image is None:
            raise OutputError(f"The file {path} could not be written: {oiio.geterror()}.", WRITE_FIX)
        done = image.open(str(temporary), specs[0] if len(specs) == 1 else tuple(specs))
        for index, (pixels, spec) in enumerate(zip(parts, specs, strict=True)):
            done = done and (index == 0 or image.open(str(temporary), spec, "AppendSubimage"))
            done = done and image.write_image(np.ascontiguousarray(pixels))
        reason = "" if done else image.geterror()
        if not image.close() or not done or not _ends_well(temporary, len(parts) - 1):
            raise OutputError(f"The file {path} could not be written: {_sentence(reason)}.", WRITE_FIX)


class ExrRows:
    """Lines of one part of a file that :func:`write_parts` wrote, as they are asked for; for a ``with`` block.

    Raises :class:`OutputError` when the file is missing, damaged, or of other channels or another data window.
    """

    def __init__(self, path: Path, channels: tuple[str, ...], data: Region, part: int = 0) -> None:
        self._path, self._data, self._part = path, data, part
        self._image: Any = oiio.ImageInput.open(str(path))
        if self._image is None:
            reason = oiio.geterror()
            state = f"is damaged ({_sentence(reason)})" if path.exists() else "is missing"
            raise OutputError(f"The layer file {path} {state}.", AGAIN)
        try:
            self._check(channels)
        except OutputError:
            self._image.close()
            raise

    def read(self, rows: slice) -> FloatArray:
        """(rows, W, C) float32, scene-linear; ``rows`` within the data window."""
        top, bottom = rows.start + self._data.y, rows.stop + self._data.y
        pixels = self._image.read_scanlines(self._part, 0, top, bottom, 0, 0, self._channels, "float")
        if pixels is None:
            raise OutputError(f"The layer file {self._path} is damaged ({_sentence(self._image.geterror())}).", AGAIN)
        lines = np.asarray(pixels, np.float32).reshape(bottom - top, self._data.width, self._channels)
        return lines if self._order is None else np.ascontiguousarray(lines[..., self._order])

    def __enter__(self) -> ExrRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._image.close()

    def _check(self, channels: tuple[str, ...]) -> None:
        if not self._image.seek_subimage(self._part, 0):
            raise _changed(self._path, f"it has no part {self._part + 1}")
        spec, data = self._image.spec(), self._data
        if (spec.x, spec.y, spec.width, spec.height) != (data.x, data.y, data.width, data.height):
            raise _changed(self._path, f"its data window is {spec.width}x{spec.height} at {spec.x},{spec.y}")
        stored = tuple(spec.channelnames)
        if sorted(stored) != sorted(channels):
            raise _changed(self._path, "its channels are " + ", ".join(stored))
        # OpenEXR files hold channels by name; in which order many of them are given back is the library's choice.
        self._channels = len(channels)
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
