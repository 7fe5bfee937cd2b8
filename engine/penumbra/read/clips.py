"""A clip as the readers see it: frame numbers, windows and stored values, whether its frames are files or a movie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from penumbra.errors import FootageError, SizeMismatchError
from penumbra.frames import MOST_PIXELS, Region
from penumbra.read.images import ImageHeader, ImagePart, is_alpha, read_channels, read_headers, rgb_channels
from penumbra.read.movie_pixels import display_matrix, movie_alpha, movie_color, movie_luma, movie_rgb
from penumbra.read.movies import Movie
from penumbra.read.sequences import FileClip
from penumbra.read.tags import tagged_encoding


class ImageClip:
    """A sequence of files, or one still. All headers are read at once, pixels never before they are asked for.

    Raises:
        UnreadableError: a file is not an image.
        SizeMismatchError: the display window changes within the sequence.
    """

    is_movie = False

    def __init__(self, clip: FileClip, numbers: Iterable[int]) -> None:
        self.path, self.still, self.padding = clip.path, clip.still, clip.padding
        self._files = {number: clip.files[number] for number in numbers}
        self.headers = read_headers(self._files)
        self.numbers = tuple(self._files)
        first = self.headers[self.numbers[0]]
        self.display, self.channels = first.main.display, first.channels
        self.pixel_aspect, self.fps, self.timecode = first.pixel_aspect, first.fps, first.timecode
        self.metadata = first.metadata
        self._check_same_size()

    @property
    def first(self) -> ImageHeader:
        """The header of the first frame."""
        return self.headers[self.numbers[0]]

    @property
    def color(self) -> tuple[str, ...]:
        """Names of the picture's channels, three or one; raises :class:`FootageError` where that is ambiguous."""
        return rgb_channels(self.channels, self.path)

    @property
    def luma(self) -> tuple[str, ...]:
        """Names of the channels a matte's luminance is made of."""
        beside_alpha = [name for name in self.channels if not is_alpha(name)]
        return self.color if beside_alpha else self.channels[:1]

    def encoding(self) -> tuple[str, tuple[str, ...]]:
        """The encoding the clip is tagged with, or the default of its kind, and warnings."""
        return tagged_encoding(self.first, self.color, self.path)

    def canvas_of(self, names: Sequence[str]) -> Region:
        """The union over all frames of the data windows of these channels."""
        windows = [self.data(number, names) for number in self.numbers]
        canvas = reduce(Region.union, windows)
        if canvas.width * canvas.height > MOST_PIXELS:
            raise FootageError(
                f"The data windows of {self.path} span {canvas.width}x{canvas.height} pixels, more than can be meant.",
                "Look for a file with a broken header.",
            )
        return canvas

    def data(self, number: int, names: Sequence[str]) -> Region:
        """The data window of these channels at a frame."""
        return self.part(number, names).data

    def values(self, number: int, names: Sequence[str]) -> NDArray[Any]:
        """H x W x len(names) over the data window: integers as stored, else float32. Thread-safe."""
        return read_channels(self._files[number], number, self.part(number, names), names)

    def stored_at(self, number: int, names: Sequence[str]) -> Path | None:
        """The OpenEXR file that holds a frame's channels R, G and B; None where it is another kind or others."""
        plain = tuple(names) == ("R", "G", "B") and self.headers[number].file_format == "openexr"
        return self._files[number] if plain else None

    def part(self, number: int, names: Sequence[str]) -> ImagePart:
        """The part of a frame's file that has these channels; raises where this frame lacks them."""
        part = self.headers[number].part_with(names)
        if part is None:
            held = ", ".join(self.headers[number].channels)
            raise FootageError(
                f"{self._files[number]} (frame {number}) has no channels {', '.join(names)}; it holds {held}.",
                "Give all frames the same channels.",
            )
        return part

    def close(self) -> None:
        """Nothing is kept open."""

    def _check_same_size(self) -> None:
        start = self.numbers[0]
        for number, header in self.headers.items():
            size = header.main.display
            if size != self.display:
                raise SizeMismatchError(
                    f"Frame {number} of {self.path} is {_size(size, self.display)}, frame {start} is"
                    f" {_size(self.display, size)}.",
                    "Render all frames at one size.",
                )


class MovieClip:
    """Channels R, G, B (and A where there is one), code values over white; Y is luma with its range expanded."""

    is_movie = True
    still = False
    padding = 0

    def __init__(self, clip: FileClip) -> None:
        assert clip.movie is not None
        self.path, self.movie = clip.path, Movie(clip.movie)
        first = self.movie.first
        matrix = display_matrix(first)
        width, height = first.width, first.height
        turned = matrix is not None and matrix[0][0] == 0
        self.numbers = tuple(range(1, self.movie.count + 1))
        self.display = Region(0, 0, *((height, width) if turned else (width, height)))
        has_alpha = any(component.is_alpha for component in first.format.components)
        self.channels: tuple[str, ...] = ("R", "G", "B", "A") if has_alpha else ("R", "G", "B")
        aspect = self.movie.pixel_aspect
        self.pixel_aspect = 1 / aspect if turned else aspect
        self.fps, self.timecode = self.movie.fps, self.movie.timecode
        self.metadata = self.movie.metadata

    @property
    def color(self) -> tuple[str, ...]:
        """As :class:`ImageClip` has it."""
        return ("R", "G", "B")

    @property
    def luma(self) -> tuple[str, ...]:
        """As :class:`ImageClip` has it."""
        return ("Y",)

    def encoding(self) -> tuple[str, tuple[str, ...]]:
        """As :class:`ImageClip` has it."""
        color = movie_color(self.movie.first)
        return color.encoding, color.warnings

    def canvas_of(self, names: Sequence[str]) -> Region:
        """As :class:`ImageClip` has it."""
        return self.display

    def data(self, number: int, names: Sequence[str]) -> Region:
        """As :class:`ImageClip` has it."""
        return self.display

    def values(self, number: int, names: Sequence[str]) -> NDArray[Any]:
        """As :class:`ImageClip` has it."""
        frame = self.movie.frame(number)
        if tuple(names) == ("Y",):
            pixels = movie_luma(frame)[..., None]
        elif tuple(names) == ("A",):
            alpha = movie_alpha(frame)
            pixels = np.ones((*self.display.shape, 1), np.float32) if alpha is None else alpha[..., None]
        else:
            pixels = movie_rgb(frame)
            if tuple(names) != self.color:
                pixels = pixels[..., ["RGB".index(name) for name in names]]
        if pixels.shape[:2] != self.display.shape:
            raise SizeMismatchError(
                f"Frame {number} of {self.path} is {pixels.shape[1]}x{pixels.shape[0]}, frame 1 is"
                f" {self.display.width}x{self.display.height}.",
                "Export the movie at one size.",
            )
        return pixels

    def stored_at(self, number: int, names: Sequence[str]) -> Path | None:
        """As :class:`ImageClip` has it."""
        return None

    def close(self) -> None:
        """Closes the movie."""
        self.movie.close()


Clip: TypeAlias = ImageClip | MovieClip


def open_clip(clip: FileClip, numbers: Iterable[int] | None = None) -> Clip:
    """The clip of some files; of a sequence only the frames in ``numbers`` (None: all)."""
    if clip.movie is not None:
        return MovieClip(clip)
    return ImageClip(clip, clip.files if numbers is None else numbers)


def _size(region: Region, other: Region) -> str:
    """The size, with its origin where the sizes alone would look the same."""
    text = f"{region.width}x{region.height}"
    return text if region.shape != other.shape else f"{text} at ({region.x}, {region.y})"
