"""The small pictures of one frame that previews are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import read_arrays
from penumbra.color import FloatArray
from penumbra.compositing import over, over_all
from penumbra.frames import Footage, Plate, Region
from penumbra.resizing import shrink
from penumbra.write.display import to_display
from penumbra.write.files import written_whole
from penumbra.write.frame_writer import BACKGROUND
from penumbra.write.read_back import LINES, Band, allowed_error, read_back

Picture = NDArray[np.uint8]
_CHECKER_DARK, _CHECKER_LIGHT, _CHECKER_SIZE = 0.12, 0.24, 12
# No object can be called so.
_PLATE, _ERROR = "plate ", "error "
_RED = np.array([235, 64, 52], np.uint8)


@dataclass(frozen=True)
class FrameTiles:
    """One frame's pictures, H x W x 3 sRGB, in the order of :func:`tile_titles`; ``max_error`` as verify measures."""

    number: int
    pictures: tuple[Picture, ...]
    max_error: float


def tile_titles(names: Sequence[str]) -> tuple[str, ...]:
    """What the pictures of a frame show, one title each."""
    return ("plate", *names, *(f"without {name}" for name in names), "clean plate", "recomposition error")


def tile_size(footage: Footage, width: int) -> tuple[int, int]:
    """(height, width) of a picture of the display window, pixels made square; both even, as H.264 wants them."""
    width -= width % 2
    height = width * footage.display.height / (footage.display.width * footage.pixel_aspect)
    return max(2, round(height / 2) * 2), width


class FrameSketch:
    """A frame's pictures in the making: takes the bands that are read back, top to bottom.

    ``size``: (height, width) of the pictures, which show the display window, cut to or padded with black.
    """

    def __init__(self, footage: Footage, data: Region, size: tuple[int, int]) -> None:
        self._footage, self._data, self._size = footage, data, size
        self._together = _lines_together(data, footage.display, size[0])
        # Lines of the display window, so many of them to one, across already as narrow as the pictures.
        self._narrow: dict[str, FloatArray] = {}
        self._layers: tuple[str, ...] = ()
        self._max_error = 0.0

    def add(self, band: Band) -> None:
        """Takes a band into the pictures."""
        self._layers = tuple(band.layers)
        plate = self._narrowed(self._columns(band.plate))
        # A background that is the plate to the bit looks the same made small.
        plain = band.exact and band.unresolved is None and len(band.empty) == len(band.layers)
        background = plate if plain else self._narrowed(self._columns(band.background))
        layers = {
            name: None if name in band.empty else self._narrowed(self._columns(pixels))
            for name, pixels in band.layers.items()
        }
        for name, small in {_PLATE: plate, BACKGROUND: background, **layers}.items():
            lines = self._lines(name, 3 if name in (_PLATE, BACKGROUND) else 4)
            if small is not None:
                self._put(lines, band.rows.start, small, self._together)
        share = self._lines(_ERROR, 1)
        if not band.exact:
            self._max_error = max(self._max_error, float(band.error.max()))
            each = band.error[:, band.wrong] / allowed_error(band.plate[:, band.wrong])
            every = np.zeros(band.error.shape[:2], np.float32)
            every[:, band.wrong] = np.maximum(np.maximum(each[..., 0], each[..., 1]), each[..., 2])
            self._put(share, band.rows.start, _largest_across(self._columns(every), self._size[1])[..., None])

    def tiles(self, number: int, names: Sequence[str]) -> FrameTiles:
        """All pictures, once every band was given; ``names`` in the order of the pictures.

        Raises :class:`ColorSpaceError` for a space that cannot be shown.
        """
        small = {name: self._lowered(lines) for name, lines in self._narrow.items() if name != _ERROR}
        clean, checker = small[BACKGROUND], _checkerboard(self._size)
        linear = [small[_PLATE], *(over(small[name], checker) for name in names)]
        for name in names:
            linear.append(over_all((small[other] for other in self._layers if other != name), clean))
        pictures = [to_display(picture, self._footage.space) for picture in (*linear, clean)]
        lines = self._narrow[_ERROR]
        share = np.maximum.reduceat(lines, _starts(self._size[0], len(lines)), axis=0)[..., 0]
        return FrameTiles(number, (*pictures, _error_picture(share)), self._max_error)

    def _columns(self, pixels: FloatArray) -> FloatArray:
        """The display window's columns of lines over the data window."""
        data, display = self._data, self._footage.display
        if (data.x, data.width) == (display.x, display.width):
            return pixels
        shown = np.zeros((pixels.shape[0], display.width, *pixels.shape[2:]), np.float32)
        left, right = max(data.x, display.x), min(data.x + data.width, display.x + display.width)
        if right > left:
            shown[:, left - display.x : right - display.x] = pixels[:, left - data.x : right - data.x]
        return shown

    def _narrowed(self, pixels: FloatArray) -> FloatArray:
        """Averaged in linear light: premultiplied layers may be averaged, straight ones could not."""
        return shrink(pixels, (len(pixels) // self._together, self._size[1]))

    def _lowered(self, lines: FloatArray) -> FloatArray:
        how = cv2.INTER_AREA if self._size[0] <= len(lines) else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(lines, self._size[::-1], interpolation=how), np.float32)

    def _lines(self, name: str, channels: int) -> FloatArray:
        """An image's lines of the display window, black at first."""
        if name not in self._narrow:
            together = 1 if name == _ERROR else self._together
            shape = (self._footage.display.height // together, self._size[1], channels)
            self._narrow[name] = np.zeros(shape, np.float32)
        return self._narrow[name]

    def _put(self, whole: FloatArray, row: int, narrow: FloatArray, together: int = 1) -> None:
        """Writes lines from ``row`` of the data window on, so many ``together``, to where they stand in the display
        window, as far as they do.
        """
        top = (row + self._data.y - self._footage.display.y) // together
        first, last = max(top, 0), min(top + len(narrow), len(whole))
        if last > first:
            whole[first:last] = narrow[first - top : last - top]


def _lines_together(data: Region, display: Region, height: int) -> int:
    """How many lines may be averaged to one before pictures ``height`` lines high are made of them.

    Sums of whole lines are several times as fast as what makes them narrower. A power of two, as the bands' height is,
    and 1 unless data and display window have the same lines, of which so many times as many make one of a picture.
    """
    together = 1
    if (data.y, data.height) == (display.y, display.height):
        while data.height % (2 * together * height) == 0 and LINES % (2 * together) == 0:
            together *= 2
    return together


def frame_tiles(
    folder: Path, footage: Footage, names: Sequence[str], order: Sequence[str], plate: Plate, size: tuple[int, int]
) -> FrameTiles:
    """Reads a frame's files and draws its pictures.

    ``names`` in the order of the pictures, ``order`` the same names back to front, ``size`` (height, width).
    """
    sketch = FrameSketch(footage, plate.data, size)
    for band in read_back(folder, footage, order, plate):
        sketch.add(band)
    return sketch.tiles(plate.number, names)


def keep_tiles(path: Path, tiles: FrameTiles) -> None:
    """Keeps a frame's pictures in a file that appears whole; :func:`kept_tiles` gives them back to the bit."""
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, pictures=np.stack(tiles.pictures), max_error=np.float64(tiles.max_error))


def kept_tiles(path: Path, number: int) -> FrameTiles | None:
    """What :func:`keep_tiles` kept; None where there is no such file."""
    if not path.is_file():
        return None
    held = read_arrays(path)
    return FrameTiles(number, tuple(held["pictures"]), float(held["max_error"]))


def _largest_across(values: FloatArray, count: int) -> FloatArray:
    """(H, count) the largest under each of ``count`` pixels of lines (H, W)."""
    if values.shape[1] % count == 0:
        # A fifth of the time.
        parts = values.reshape(len(values), count, -1)
        return np.asarray(np.maximum.reduce([parts[..., index] for index in range(parts.shape[2])]), np.float32)
    return np.asarray(np.maximum.reduceat(values, _starts(count, values.shape[1]), axis=1), np.float32)


def _starts(count: int, have: int) -> NDArray[np.int64]:
    """Where each of ``count`` pixels begins among ``have``, for the largest value under each to be found."""
    starts: NDArray[np.int64] = np.arange(count) * have // count
    return starts


def _checkerboard(size: tuple[int, int]) -> FloatArray:
    """Grey squares in linear light, H x W x 3."""
    rows, columns = np.indices(size) // _CHECKER_SIZE
    grey = np.where((rows + columns) % 2, _CHECKER_DARK, _CHECKER_LIGHT)
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.float32)


def _error_picture(share: NDArray[Any]) -> Picture:
    """Error as a share of the bound: black is exact, white the bound itself, red beyond it."""
    grey = np.asarray(np.clip(share, 0, 1) * 255, np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=-1)
    picture[share > 1] = _RED
    return picture
