"""Masks: roto mattes in every form they come in, as coverage over the plate's canvas."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import within
from penumbra.color import FloatArray
from penumbra.errors import FootageError
from penumbra.frames import Footage, Mask
from penumbra.job import MaskSettings
from penumbra.read.clips import Clip, open_clip
from penumbra.read.fitting import Fit, find_fit
from penumbra.read.images import is_alpha
from penumbra.read.numbering import Numbering, match_frames
from penumbra.read.sequences import find_clip

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # BT.709, on stored values: mattes carry no colour
_SAMPLES = 9
_LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)

# Channels to read and what makes coverage of them: H x W x C as stored -> H x W.
Form = tuple[tuple[str, ...], Callable[[NDArray[Any]], FloatArray]]


class MaskReader:
    """Reads one object's mask by plate frame number, from any thread. Use it as a context manager, or close it."""

    def __init__(self, settings: MaskSettings, clip: Clip, form: Form, numbering: Numbering, fit: Fit):
        self.name = settings.name
        self.missing = numbering.missing
        self.warnings = numbering.warnings + fit.warnings
        self._invert, self._clip, self._form, self._source, self._fit = (
            settings.invert,
            clip,
            form,
            numbering.source,
            fit,
        )

    def read(self, number: int) -> Mask:
        """Coverage at a plate frame, all zero where the mask has no frame; ``invert`` acts on what the file covers.

        Raises:
            UnreadableError: the file is corrupt or cut short, naming file and frame.
        """
        own = self._source.get(number)
        if own is None:
            return Mask(number, np.zeros(self._fit.canvas.shape, np.float32))
        names, coverage_of = self._form
        stored = self._clip.values(own, names)
        coverage = coverage_of(stored)
        # Integers over their maximum are coverage already.
        if stored.dtype.kind != "u":
            coverage = np.clip(np.nan_to_num(coverage, nan=0.0), 0, 1)
        if self._invert:
            coverage = self._inverted(coverage, own)
        else:
            coverage = self._fit.place(coverage[..., None], self._clip.data(own, names))[..., 0]
        if not within(coverage, 1):  # after enlarging, by a rounding
            coverage = np.clip(coverage, 0, 1)
        return Mask(number, coverage.astype(np.float32, copy=False))

    def close(self) -> None:
        """Frees the file."""
        self._clip.close()

    def __enter__(self) -> MaskReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _inverted(self, coverage: FloatArray, own: int) -> FloatArray:
        """Outside its data window a mask is 0 as a matte and so 1 inverted."""
        return 1 - self._fit.place(coverage[..., None], self._clip.data(own, self._form[0]))[..., 0]


def open_mask(settings: MaskSettings, plate: Footage) -> MaskReader:
    """Finds a mask's files, its form and which of its frames are whose; see :func:`numbering.match_frames`.

    Masks are data: no colour conversion; integers over their maximum, movies as luma with its range expanded, clipped
    to [0, 1]. ``auto`` takes alpha if some sampled frame's alpha is not all 1, and not all
    of it is 0 where the colour is not, else luminance. ``id:VALUE`` compares
    the first channel as stored (movies: 8-bit), ``color:RRGGBB`` the colours as 8-bit.

    Raises:
        FootageNotFoundError, FootageError: nothing at the path, or the channel is not there.
        UnreadableError, SizeMismatchError: a file that cannot be read, or of another aspect than the plate.
    """
    files, what = find_clip(settings.path), f"Mask {settings.name} ({settings.path})"
    movie = open_clip(files) if files.movie is not None else None
    own = movie.numbers if movie is not None else tuple(files.files)
    numbering = match_frames(files, own, plate, settings.offset, what)
    # Headers of frames that no plate frame uses are of no interest; one tells the size where none is used.
    used = tuple(dict.fromkeys(numbering.source.values())) or own[:1]
    clip = movie or open_clip(files, sorted(used))
    try:
        return MaskReader(
            settings, clip, _form(settings, clip, used, what), numbering, find_fit(clip.display, plate, what)
        )
    except BaseException:
        clip.close()
        raise


def _form(settings: MaskSettings, clip: Clip, used: tuple[int, ...], what: str) -> Form:
    kind, _, value = settings.channel.partition(":")
    alpha = next(((name,) for name in clip.channels if is_alpha(name)), ())
    if kind == "auto":
        kind = "alpha" if alpha and _tells(clip, alpha, used) else "luminance"
    if kind == "alpha":
        if not alpha:
            raise _no_channel(clip, "alpha", what)
        return alpha, _first
    if kind == "luminance":
        return _or_choose(clip, "luma", what), _luminance
    if kind == "channel":
        return _named(clip, value, what), _first
    if kind == "id":
        return _or_choose(clip, "color", what)[:1], _is_id(float(value), coded=clip.is_movie)
    return _or_choose(clip, "color", what), _is_color(value)


def _tells(clip: Clip, alpha: tuple[str, ...], used: tuple[int, ...]) -> bool:
    """Of a few frames spread over the clip some alpha is not all 1, and not all of it 0 where the colour is not."""
    steps = np.unique(np.linspace(0, len(used) - 1, _SAMPLES).round().astype(int))
    chosen = [used[step] for step in steps]
    differs = shows = False
    for number in chosen:
        values = _first(clip.values(number, alpha))
        differs, shows = differs or bool((values != 1).any()), shows or bool(values.any())
        if differs and shows:
            return True
    if shows:
        return False
    try:
        return not any(bool(_luminance(clip.values(number, clip.luma)).any()) for number in chosen)
    except FootageError:  # several channels, or none, could be meant
        return True


def _named(clip: Clip, value: str, what: str) -> tuple[str, ...]:
    """The channel as it is spelled, else in another case, else a layer's only channel."""
    folded = [name for name in clip.channels if name.lower() == value.lower()]
    within = [name for name in clip.channels if name.lower().startswith(value.lower() + ".")]
    for found in ([value] if value in clip.channels else [], folded, within):
        if len(found) == 1:
            return (found[0],)
    raise _no_channel(clip, value, what)


def _or_choose(clip: Clip, kind: Literal["color", "luma"], what: str) -> tuple[str, ...]:
    """The clip's own channels of that kind, or a sentence that lists what can be chosen instead."""
    try:
        return clip.luma if kind == "luma" else clip.color
    except FootageError as error:
        raise FootageError(
            f"{what} holds several channels and none is the obvious one: {', '.join(clip.channels)}.",
            f"Choose one, for example channel:{clip.channels[0]}.",
        ) from error


def _no_channel(clip: Clip, name: str, what: str) -> FootageError:
    return FootageError(f"{what} has no channel {name}; it holds {', '.join(clip.channels)}.", "Choose one of those.")


def _first(stored: NDArray[Any]) -> FloatArray:
    return _normalised(stored[..., 0])


def _luminance(stored: NDArray[Any]) -> FloatArray:
    if stored.shape[2] == 1:
        return _first(stored)
    # An equal-channel pixel must come out as stored: the weights do not sum to 1 in float32.
    grey = (stored == stored[..., :1]).all(axis=-1)
    values = _normalised(stored)
    luma: FloatArray = np.where(grey, values[..., 0], values @ _LUMA)
    return luma


def _is_id(value: float, coded: bool) -> Callable[[NDArray[Any]], FloatArray]:
    """``coded``: values are code values over white, meant as 8-bit numbers."""

    def coverage(stored: NDArray[Any]) -> FloatArray:
        first = as_8_bit(stored[..., 0]) if coded else stored[..., 0]
        if first.dtype.kind == "u":
            return np.asarray(first == value, np.float32)
        # A value written to half floats comes back as the nearest half.
        with np.errstate(over="ignore"):
            same = (first == np.float32(value)) | (first == np.float32(np.float16(value)))
        return np.asarray(same, np.float32)

    return coverage


def _is_color(value: str) -> Callable[[NDArray[Any]], FloatArray]:
    wanted = np.array([int(value[i : i + 2], 16) for i in (0, 2, 4)], np.uint8)

    def coverage(stored: NDArray[Any]) -> FloatArray:
        if stored.shape[2] == 1:
            stored = np.repeat(stored, 3, axis=2)
        return np.asarray((as_8_bit(stored) == wanted).all(axis=-1), np.float32)

    return coverage


def as_8_bit(stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Stored values as 8-bit code values, the nearest."""
    if stored.dtype == np.uint8:
        return stored
    clipped = np.clip(np.nan_to_num(_normalised(stored), nan=0.0), 0, 1)
    return np.rint(clipped * 255).astype(np.uint8)


def _normalised(stored: NDArray[Any]) -> FloatArray:
    if stored.dtype.kind != "u":
        return stored.astype(np.float32, copy=False)
    top = np.iinfo(stored.dtype).max
    if stored.dtype == np.uint8:
        return np.asarray(cv2.LUT(stored, _LEVELS), np.float32).reshape(stored.shape)
    scaled = (
        stored.astype(np.float64) / top if stored.dtype.itemsize > 2 else stored.astype(np.float32) / np.float32(top)
    )
    return scaled.astype(np.float32, copy=False)
