"""The user's own clean plate, in the plate's linear space and on its canvas."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType

from penumbra.color import FloatArray
from penumbra.errors import ColorSpaceError, FootageError, FootageNotFoundError, MissingFramesError
from penumbra.frames import Footage
from penumbra.job import CleanPlateSettings
from penumbra.read.clips import Clip, open_clip
from penumbra.read.encodings import Decoding
from penumbra.read.fitting import Fit, find_fit
from penumbra.read.numbering import match_frames
from penumbra.read.plates import check_color, linear_pixels
from penumbra.read.sequences import FileClip, compact_ranges, find_clip


class CleanPlateReader:
    """Reads the clean plate by plate frame number, from any thread. Use it as a context manager, or close it."""

    def __init__(
        self,
        clip: Clip,
        source: dict[int, int],
        fit: Fit,
        decoding: Decoding,
        warnings: tuple[str, ...],
    ) -> None:
        self.warnings = warnings
        self._clip, self._source, self._fit, self._decoding = clip, source, fit, decoding

    def read(self, number: int) -> FloatArray:
        """H x W x 3 over the plate's canvas, linear in the plate's space, finite; zero where the file has no pixels.

        Raises:
            MissingFramesError: not a frame of the plate.
            UnreadableError: the file is corrupt or cut short, naming file and frame.
        """
        own = self._source.get(number)
        if own is None:
            raise MissingFramesError(f"The clean plate {self._clip.path} has no frame {number}.", "Render that frame.")
        names = self._clip.color
        pixels, _ = linear_pixels(self._clip.values(own, names), self._decoding)
        return self._fit.place(pixels, self._clip.data(own, names))

    def close(self) -> None:
        """Frees the file."""
        self._clip.close()

    def __enter__(self) -> CleanPlateReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_clean_plate(settings: CleanPlateSettings, plate: Footage) -> CleanPlateReader:
    """Finds the clean plate's files; frames are matched as a mask's are, one still serves every frame at any offset.

    One file named is a still, too, if it is a frame of the plate, or if fewer than half as many as the plate has frames
    are numbered like it.

    Raises:
        MissingFramesError: it lacks some of the plate's frames.
        FootageError and its other subclasses, ColorSpaceError: as for the plate and for masks.
    """
    files, what = find_clip(settings.path), f"The clean plate {settings.path}"
    files, told = _as_meant(files, settings.path, plate, what)
    movie = open_clip(files) if files.movie is not None else None
    own = movie.numbers if movie is not None else tuple(files.files)
    numbering = match_frames(files, own, plate, None if files.still else settings.offset, what)
    try:
        if numbering.missing:
            lacking = compact_ranges(numbering.missing)
            raise MissingFramesError(f"{what} lacks frames {lacking} of the plate.", "Render them, or give one still.")
        clip = movie or open_clip(files, sorted(set(numbering.source.values())))
        decoding, warnings = _decoding(settings, clip, plate)
        warnings = told + warnings
        fit = find_fit(clip.display, plate, what)
        first = next(iter(numbering.source.values()))
        if not fit.covers(clip.data(first, clip.color)):
            warnings += (f"{what} does not reach all of the plate's data window; it is black there.",)
    except BaseException:
        if movie is not None:
            movie.close()
        raise
    return CleanPlateReader(clip, numbering.source, fit, decoding, numbering.warnings + fit.warnings + warnings)


def _as_meant(files: FileClip, path: str, plate: Footage, what: str) -> tuple[FileClip, tuple[str, ...]]:
    """One file named that is a frame of the plate, or of a few that are numbered alike, is a still."""
    whole = FileClip(plate.path, plate.path)
    with suppress(FootageNotFoundError):  # which the plate's reader has to say
        whole = find_clip(plate.path)
    of_plate = bool(set(files.files.values()) & set(whole.files.values()))
    if files.movie is None and Path(path).is_file():
        if of_plate or 1 < 2 * len(files.files) < len(plate.frames):
            still = FileClip(path, Path(path).name, {1: Path(path)}, still=True)
            alike = len(files.files) > 1
            return still, (f"{what} serves every frame, and no file numbered like it does.",) if alike else ()
        return files, ()
    if of_plate or (files.movie is not None and files.movie == whole.movie):
        raise FootageError(
            f"{what} is the plate itself.", "Name one frame of it that shows the background alone, or leave it out."
        )
    return files, ()


def _decoding(settings: CleanPlateSettings, clip: Clip, plate: Footage) -> tuple[Decoding, tuple[str, ...]]:
    own, warnings = check_color(settings.color_space, "auto", clip)
    if own.space == plate.space:
        return own, warnings
    try:
        return check_color(own.source, plate.space.name, clip)
    except ColorSpaceError as error:
        raise ColorSpaceError(
            f"The clean plate {settings.path} is in {own.source}, which cannot be brought to {plate.space.name}.",
            "Give it in the plate's colour space.",
        ) from error
