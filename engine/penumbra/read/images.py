"""Still images through OpenImageIO: headers cheaply, channels by name, no pixel read that is not asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
from numpy.typing import NDArray

from penumbra.errors import FootageError, UnreadableError
from penumbra.frames import MOST_PIXELS, Region
from penumbra.halves import floats_of
from penumbra.layer_graph import TIMECODE
from penumbra.read.storage_faults import patiently
from penumbra.scanlines import Layout, Samples
from penumbra.threads import share_of_threads

RESTORE = "Restore the file, then run with --resume."
_INTEGERS = {"uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint": np.uint32}
_AS_STORED = {*_INTEGERS, "half"}
_FLOATS = {"half", "float"}
_RGBA = ("R", "G", "B", "A")
_DROP_FRAME, _SECOND_OF_PAIR = 1 << 6, 1 << 15  # of a timecode's first word (SMPTE ST 12-1)
_TURNED_FORMATS = ("jpeg", "png", "tiff")  # whose files cameras and telephones store on their side
_ON_ITS_SIDE = (5, 6, 7, 8)
_HIDDEN_METADATA = ("oiio:", "openexr:", "png:", "tiff:", "dpx:", "jpeg:", "targa:", "smpte:", "ICCProfile")


@dataclass(frozen=True)
class ImagePart:
    """One part of a file (only OpenEXR and TIFF have several): its windows and its channels as users name them.

    ``formats``: one of ``half``, ``float``, ``uint8``, ``uint16``, ``uint``... for each channel. ``orientation``: how
    the stored picture lies, as EXIF numbers it (1: upright); windows and pixels are given upright.
    """

    index: int
    data: Region
    display: Region
    channels: tuple[str, ...]
    formats: tuple[str, ...]
    orientation: int = 1


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of itself. ``tags`` are header entries by OpenImageIO's names."""

    file_format: str
    parts: tuple[ImagePart, ...]
    tags: dict[str, Any] = field(default_factory=dict)

    @property
    def main(self) -> ImagePart:
        """The first part."""
        return self.parts[0]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of all channels of all parts, each once."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.channels))

    def part_with(self, names: Sequence[str]) -> ImagePart | None:
        """The first part that has all these channels."""
        return next((part for part in self.parts if set(names) <= set(part.channels)), None)

    @property
    def pixel_aspect(self) -> float:
        """Width of a pixel over its height, 1.0 where the file says nothing sensible."""
        aspect = self.tags.get("PixelAspectRatio", 1.0)
        aspect = float(aspect) if isinstance(aspect, float | int) and 0.05 < aspect < 20 else 1.0
        return 1 / aspect if self.main.orientation in _ON_ITS_SIDE else aspect

    @property
    def fps(self) -> Fraction | None:
        """Frames per second, where the file says so."""
        rate = self.tags.get("framesPerSecond", self.tags.get("FramesPerSecond", self.tags.get("dpx:FrameRate")))
        if isinstance(rate, tuple) and len(rate) == 2 and rate[0] > 0 and rate[1] > 0:
            return Fraction(int(rate[0]), int(rate[1]))
        if isinstance(rate, float | int) and 0 < rate < 1e5:
            return Fraction(rate).limit_denominator(1001)
        return None

    @property
    def timecode(self) -> str | None:
        """SMPTE hh:mm:ss:ff, ``;`` before the frames where they are counted drop-frame."""
        text = str(self.tags.get("timecode_text") or "")
        flags = self.tags.get("smpte:TimeCode")
        if not TIMECODE.match(text):
            return None
        if not isinstance(flags, tuple):
            return text
        frames = int(text[-2:])
        if self.fps is not None and round(self.fps) > 30:
            # Frames are counted in pairs there, the second of each flagged (SMPTE ST 12-1).
            frames = 2 * frames + bool(int(flags[0]) & _SECOND_OF_PAIR)
        return f"{text[:8]}{';' if int(flags[0]) & _DROP_FRAME else ':'}{frames:02d}"

    @property
    def metadata(self) -> dict[str, str]:
        """Entries that are plain text and not the file format's own."""
        return {
            name: value
            for name, value in self.tags.items()
            if isinstance(value, str) and value and name != "timecode_text" and not name.startswith(_HIDDEN_METADATA)
        }


def read_header(file: Path, frame: int) -> ImageHeader:
    """The header of one file; raises :class:`UnreadableError` naming file and frame."""
    return patiently(lambda: _read_header(file, frame), file, _called(file, frame))


def _read_header(file: Path, frame: int) -> ImageHeader:
    image = _open(file, frame)
    try:
        first = image.spec()
        count = max(int(first.get_int_attribute("oiio:subimages", 1)), 1)
        parts = [_part(image, index) for index in range(count) if image.seek_subimage(index, 0)]
        return ImageHeader(str(image.format_name()), tuple(parts), _tags(first))
    except ValueError as error:  # no size, or names in it that are no text
        raise _unreadable(file, frame, _short(str(error))) from error
    finally:
        image.close()


def read_headers(files: dict[int, Path], threads: int = 4) -> dict[int, ImageHeader]:
    """Headers of a whole sequence, a few files at a time; the first bad file in frame order raises."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return dict(zip(files, pool.map(read_header, files.values(), files), strict=True))


def read_channels(file: Path, frame: int, part: ImagePart, names: Sequence[str]) -> NDArray[Any]:
    """The named channels of one part over its data window, H x W x len(names), as stored.

    8, 16 and 32-bit integers come as they are, everything else as float32; colour is never multiplied by alpha here.

    Raises:
        UnreadableError: the file is corrupt or truncated, or out of reach.
    """
    return patiently(lambda: _read_channels(file, frame, part, names), file, _called(file, frame))


def _read_channels(file: Path, frame: int, part: ImagePart, names: Sequence[str]) -> NDArray[Any]:
    unpacked = _unpacked(file, part, names)
    if unpacked is not None:
        return floats_of(unpacked)
    indices = [part.channels.index(name) for name in names]
    first, end = min(indices), max(indices) + 1
    formats = {part.formats[index] for index in indices}
    kind = formats.pop() if len(formats) == 1 else "float"
    image = _open(file, frame)
    try:
        if not _is_still(image, part):
            raise UnreadableError(
                f"{_called(file, frame)} has another size or other channels than when the job began: it was replaced.",
                "Start the job again when its footage is final.",
            )
        pixels = image.read_image(part.index, 0, first, end, kind if kind in _AS_STORED else "float")
        problem = _told_by(image)
    finally:
        image.close()
    # OpenImageIO pads a truncated JPEG and only mentions it.
    if pixels is None or problem:
        raise _unreadable(file, frame, problem)
    height, width = part.data.shape[::-1] if part.orientation in _ON_ITS_SIDE else part.data.shape
    # OpenImageIO takes ten times as long for it.
    values = floats_of(pixels) if pixels.dtype == np.float16 else np.asarray(pixels)
    stored = values.reshape(height, width, end - first)
    chosen = [index - first for index in indices]
    if chosen != list(range(end - first)) or part.orientation != 1:
        return np.ascontiguousarray(_upright(stored[..., chosen], part.orientation))
    return stored


def _unpacked(file: Path, part: ImagePart, names: Sequence[str]) -> Samples | None:
    """The channels of an OpenEXR file whose lines zlib packs, in half of the time that the library takes.

    None where it is any other file, or something is wrong with it: then the library says what.
    """
    if (
        part.index
        or part.orientation != 1
        or not {part.formats[part.channels.index(name)] for name in names} <= _FLOATS
    ):
        return None
    with contextlib.suppress(OSError, ValueError), file.open("rb") as opened:
        layout = Layout.of(opened)
        if layout is None or set(layout.channels) != set(part.channels) or len(set(names)) < len(names):
            return None
        if part.data == Region(layout.left, layout.top, layout.width, layout.height):
            return layout.read(opened, slice(0, layout.height), names, share_of_threads())
    return None


def rgb_channels(channels: Sequence[str], what: str) -> tuple[str, ...]:
    """The three channels that are the picture's colour, or the one of a picture without colour.

    R, G and B by name, else those of the only layer that has them, else the only channel beside alpha.

    Raises:
        FootageError: several layers, or none, could be meant.
    """
    named = _layers(channels)
    if "" in named:
        return named[""]
    if len(named) == 1:
        return next(iter(named.values()))
    if named:
        raise FootageError(
            f"{what} has no main RGB channels but several layers: {', '.join(sorted(named))}.",
            "Write the layer you mean as R, G, B.",
        )
    others = [name for name in channels if not is_alpha(name)]
    for name in ("Y", "L", "I"):
        if name in others and not {"RY", "BY"} & set(others):
            return (name,)
    if len(others) == 1:
        return (others[0],)
    raise FootageError(
        f"{what} has no RGB channels; it holds {', '.join(channels) or 'nothing'}.", "Write the plate as R, G, B."
    )


def is_alpha(name: str) -> bool:
    """The main alpha channel."""
    return name.lower() in ("a", "alpha")


def _layers(channels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Layers that have all of R, G and B: layer name ('' is the main one) -> its three channels."""
    spelled: dict[str, dict[str, str]] = {}
    for name in channels:
        layer, _, last = name.rpartition(".")
        letter = {"red": "r", "green": "g", "blue": "b"}.get(last.lower(), last.lower())
        spelled.setdefault(layer, {}).setdefault(letter, name)
    return {layer: (c["r"], c["g"], c["b"]) for layer, c in spelled.items() if {"r", "g", "b"} <= set(c)}


def _open(file: Path, frame: int) -> Any:
    # Without this PNG and TIFF would come multiplied by their alpha, which changes the colour.
    config = oiio.ImageSpec()
    config.attribute("oiio:UnassociatedAlpha", 1)
    try:
        file.stat()  # tells the reason, which OpenImageIO does not
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnreadableError(f"{_called(file, frame)} is not there any more.", RESTORE) from error
    image = oiio.ImageInput.open(str(file), config)
    if image is None:
        problem = _told_by(oiio)
        if "format reader" in problem:
            raise UnreadableError(
                f"{_called(file, frame)} is no picture in a format that can be read.",
                "Check the path, or save it as EXR, DPX, TIFF or PNG.",
            )
        raise _unreadable(file, frame, problem)
    return image


def _part(image: Any, index: int) -> ImagePart:
    spec = image.spec()
    names, part_name = tuple(map(_plain, spec.channelnames)), _plain(spec.get_string_attribute("oiio:subimagename"))
    if index > 0 and part_name:
        names = tuple(name if name.startswith(part_name + ".") else f"{part_name}.{name}" for name in names)
    formats = tuple(str(f) for f in spec.channelformats) or (str(spec.format),) * len(names)
    data = Region(spec.x, spec.y, spec.width, spec.height)
    display = Region(spec.full_x, spec.full_y, spec.full_width, spec.full_height)
    for window in (data, display):
        if window.width * window.height > MOST_PIXELS:
            raise ValueError(f"it claims {window.width}x{window.height} pixels, more than can be meant")
    orientation = int(spec.get_int_attribute("Orientation", 1)) if image.format_name() in _TURNED_FORMATS else 1
    if orientation not in range(2, 9) or data != display:
        orientation = 1
    if orientation in _ON_ITS_SIDE:
        data = display = Region(data.x, data.y, data.height, data.width)
    return ImagePart(index, data, display, names, formats, orientation)


def _is_still(image: Any, part: ImagePart) -> bool:
    """Whether an open file has a part as it was found there: shots are rendered again while jobs run."""
    with contextlib.suppress(ValueError):
        return bool(image.seek_subimage(part.index, 0)) and _part(image, part.index) == part
    return False


def _upright(stored: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A picture (H, W, C) as it shall be seen (EXIF 2.3, tag 274: where row 0 and column 0 lie)."""
    if orientation in _ON_ITS_SIDE:
        stored = stored.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        stored = stored[::-1]
    return stored[:, ::-1] if orientation in (2, 3, 6, 7) else stored


def _tags(spec: Any) -> dict[str, Any]:
    tags: dict[str, Any] = {}
    for entry in spec.extra_attribs:
        # Headers hold texts in any encoding, and damage; one that cannot be told is left out.
        with contextlib.suppress(UnicodeDecodeError):
            tags[entry.name] = _plain(entry.value) if isinstance(entry.value, str) else entry.value
    timecode = ""
    with contextlib.suppress(UnicodeDecodeError):
        timecode = spec.get_string_attribute("smpte:TimeCode") or spec.get_string_attribute("dpx:TimeCode")
    return {**tags, "timecode_text": timecode} if timecode else tags


def _plain(text: str) -> str:
    """Bytes that are no UTF-8, which OpenImageIO hands through, as replacement characters."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _told_by(source: Any) -> str:
    """What OpenImageIO says went wrong; it may quote what stands in the file."""
    try:
        return _short(source.geterror())
    except UnicodeDecodeError:
        return "a text in its header is damaged"


def _short(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:160].rstrip(".") if lines else ""


def _called(file: Path, frame: int) -> str:
    return f"{file} (frame {frame})"


def _unreadable(file: Path, frame: int, problem: str) -> UnreadableError:
    reason = f": {problem}" if problem else ""
    return UnreadableError(
        f"{_called(file, frame)} cannot be read, it is corrupt or cut short{reason}.", "Render or copy that file again."
    )
