"""The plate: one frame at a time, scene-linear, over a canvas that holds every frame's data window."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.errors import MissingFramesError
from penumbra.frames import BoolArray, Footage, Plate, Region, StoredAs
from penumbra.job import FrameRange, PlateSettings
from penumbra.read.clips import Clip, ImageClip, open_clip
from penumbra.read.encodings import Decoding, find_decoding
from penumbra.read.images import is_alpha
from penumbra.read.numbering import FRAMES_ON_DISK, KIND
from penumbra.read.sequences import find_clip, missing_ranges, spoken_ranges


class PlateReader:
    """Reads plate frames by number, from any thread. Use it as a context manager, or close it."""

    def __init__(self, footage: Footage, clip: Clip, decoding: Decoding, warnings: tuple[str, ...]):
        self.footage = footage
        self.warnings = warnings
        self._clip, self._decoding = clip, decoding

    def read(self, number: int) -> Plate:
        """One frame in ``footage.space``, zero outside its own data window and where the file is not finite.

        Raises:
            MissingFramesError: not one of ``footage.frames``.
            UnreadableError: the file is corrupt or cut short, naming file and frame.
        """
        if number not in self.footage.frames:
            raise MissingFramesError(f"{self.footage.path} has no frame {number}.", "Choose another frame.")
        names = self._clip.color
        # As it is before it is read: what changes from here on is seen.
        path = self._clip.stored_at(number, names) if self._decoding.keeps_values else None
        stored = None if path is None else StoredAs.now(path)
        pixels, bad = linear_pixels(self._clip.values(number, names), self._decoding)
        data, canvas = self._clip.data(number, names), self.footage.canvas
        placed, unresolved = on_canvas(pixels, data, canvas), None
        if bad is not None:
            unresolved = on_canvas(bad[..., None], data, canvas)[..., 0]
        return Plate(number, placed, data, canvas, unresolved, stored if bad is None else None)

    def data(self, number: int) -> Region:
        """A frame's own data window."""
        return self._clip.data(number, self._clip.color)

    def close(self) -> None:
        """Frees the file."""
        self._clip.close()

    def __enter__(self) -> PlateReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_plate(settings: PlateSettings) -> PlateReader:
    """Finds the plate's files, reads their headers and decides on the colour; no pixel of a sequence is read.

    Movies, 8 and 16-bit images without a tag: the sRGB curve to linear Rec.709; movies tagged BT.709 too, since that
    curve is the camera's and what is seen on a display is nearer to sRGB (``Camera Rec.709`` names the other one).
    OpenEXR: scene-linear as stored, whatever its primaries. Named camera spaces: the linear space of their own gamut.

    Raises:
        FootageNotFoundError, FootageError: nothing, or more than one clip, at the path.
        MissingFramesError: holes, or a range beyond what exists.
        UnreadableError, SizeMismatchError: files that cannot be read or change size.
        ColorSpaceError: an unknown colour space, or a header that leaves it open.
    """
    files = find_clip(settings.path)
    numbers = None if files.movie is not None else _chosen(tuple(files.files), settings.frames, settings.path)
    clip = open_clip(files, numbers)
    whole = tuple(files.files) or clip.numbers
    on_disk = {KIND: "movie" if clip.is_movie else "sequence", FRAMES_ON_DISK: f"{whole[0]}:{whole[-1]}"}
    try:
        return _reader(clip, settings, on_disk)
    except BaseException:
        clip.close()
        raise


def linear_pixels(stored: NDArray[Any], decoding: Decoding) -> tuple[FloatArray, BoolArray | None]:
    """Stored values (one channel or three) to linear RGB, and where a value is not finite (None: nowhere)."""
    if stored.shape[2] == 1:
        stored = np.repeat(stored, 3, axis=2)
    before = _not_finite(stored) if stored.dtype.kind == "f" else None
    if before is not None:
        stored = np.where(before[..., None], 0, stored)
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = decoding.decode(stored)
    after = _not_finite(pixels) if stored.dtype.kind == "f" and pixels is not stored else None
    found = [bad for bad in (before, after) if bad is not None]
    if not found:
        return pixels, None
    unresolved: BoolArray = np.logical_or.reduce(found)
    return np.where(unresolved[..., None], np.float32(0), pixels), unresolved


def on_canvas(values: NDArray[Any], data: Region, canvas: Region) -> NDArray[Any]:
    """Values over ``data`` put into an array over ``canvas``: cut where they reach outside, zero where they end."""
    if data == canvas:
        return values
    placed = np.zeros((*canvas.shape, values.shape[2]), values.dtype)
    left, top = max(data.x, canvas.x), max(data.y, canvas.y)
    right = min(data.x + data.width, canvas.x + canvas.width)
    bottom = min(data.y + data.height, canvas.y + canvas.height)
    if right > left and bottom > top:
        shared = Region(left, top, right - left, bottom - top)
        placed[shared.slices_in(canvas)] = values[shared.slices_in(data)]
    return placed


def check_color(name: str, working_space: str, clip: Clip) -> tuple[Decoding, tuple[str, ...]]:
    """How to decode a clip: the name given, or for ``auto`` what its header says."""
    tagged, warnings = clip.encoding() if name == "auto" else (name, ())
    decoding = find_decoding(tagged, working_space)
    return decoding, warnings + decoding.warnings


def _reader(clip: Clip, settings: PlateSettings, on_disk: dict[str, str]) -> PlateReader:
    numbers = _chosen(clip.numbers, settings.frames, settings.path)
    names = clip.color
    decoding, warnings = check_color(settings.color_space, settings.working_space, clip)
    footage = Footage(
        path=settings.path,
        frames=numbers,
        canvas=clip.canvas_of(names),
        display=clip.display,
        space=decoding.space,
        source_space=decoding.source,
        pixel_aspect=clip.pixel_aspect,
        fps=clip.fps,
        timecode=clip.timecode,
        padding=max(4, clip.padding),
        channels=clip.channels,
        metadata={**clip.metadata, **on_disk},
    )
    if len(names) == 1:
        warnings += (f"The plate has one channel ({names[0]}); it is used for red, green and blue.",)
    if isinstance(clip, ImageClip) and clip.first.main.orientation != 1:
        warnings += (f"{settings.path} is stored turned or mirrored; it is read upright, as its header says.",)
    if any(is_alpha(name) for name in clip.channels):
        warnings += ("The plate's alpha is ignored; its RGB is used as it is.",)
    return PlateReader(footage, clip, decoding, warnings)


def _chosen(numbers: tuple[int, ...], frames: FrameRange | None, path: str) -> tuple[int, ...]:
    """The frames asked for, without holes."""
    first, last = (numbers[0], numbers[-1]) if frames is None else (frames.first, frames.last)
    if first < numbers[0] or last > numbers[-1]:
        raise MissingFramesError(
            f"{path} has frames {numbers[0]}-{numbers[-1]}; the range asked for, {frames}, goes beyond.",
            "Ask for a range inside, or leave it out.",
        )
    # Two files may be numbered 1 and 2000000000: what lies between is never counted one by one.
    missing = missing_ranges(numbers, first, last)
    if missing:
        raise MissingFramesError(
            f"{path} lacks frames {spoken_ranges(missing)} of {first}-{last}.",
            "Render them, or ask for a frame range without holes.",
        )
    return tuple(range(first, last + 1))


def _not_finite(values: NDArray[Any]) -> BoolArray | None:
    """H x W, True where any channel is not finite; None if all are (the sum tells at once)."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return None
    bad: BoolArray = ~np.isfinite(values).all(axis=-1)
    return bad if bad.any() else None
