"""The small pictures of one frame that previews are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.compositing import over, over_all
from penumbra.frames import Footage, Plate, Region
from penumbra.write.display import to_display
from penumbra.write.exr import RGB, RGBA, read_exr
from penumbra.write.files import frame_path
from penumbra.write.frame_writer import BACKGROUND
from penumbra.write.verify import allowed_error, seen_plate

Picture = NDArray[np.uint8]
_CHECKER_DARK, _CHECKER_LIGHT, _CHECKER_SIZE = 0.12, 0.24, 12
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


def frame_tiles(
    folder: Path, footage: Footage, names: Sequence[str], order: Sequence[str], plate: Plate, size: tuple[int, int]
) -> FrameTiles:
    """Reads a frame's files and draws its pictures; only one layer at plate resolution is held at a time.

    ``names`` in the order of the pictures, ``order`` the same names back to front, ``size`` (height, width).
    """
    view = _View(plate.data, footage.display, size)
    recomposed = read_exr(frame_path(folder, BACKGROUND, plate.number, footage.padding), RGB, plate.data)
    clean, layers = view.shrink(recomposed), {}
    for name in order:
        layer = read_exr(frame_path(folder, name, plate.number, footage.padding), RGBA, plate.data)
        layers[name] = view.shrink(layer)
        recomposed = over(layer, recomposed)
    pixels, unresolved = seen_plate(plate)
    error = np.where(unresolved[..., None], 0, np.abs(recomposed - pixels))
    share = (error / allowed_error(pixels.astype(np.float64))).max(axis=-1)
    checker = _checkerboard(size)
    linear = [view.shrink(pixels), *(over(layers[name], checker) for name in names)]
    for name in names:
        linear.append(over_all((layers[other] for other in order if other != name), clean))
    pictures = [to_display(picture, footage.space) for picture in (*linear, clean)]
    return FrameTiles(plate.number, (*pictures, _error_picture(view.largest(share))), float(error.max()))


@dataclass(frozen=True)
class _View:
    """How a frame's data window is shown: cut to, or padded with black to, the display window, then resized."""

    data: Region
    display: Region
    size: tuple[int, int]

    def shrink(self, pixels: FloatArray) -> FloatArray:
        """Averages in linear light: premultiplied layers may be averaged, straight ones could not."""
        height, width = self.size
        smaller = width <= self.display.width and height <= self.display.height
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(self._shown(pixels), (width, height), interpolation=method), np.float32)

    def largest(self, values: NDArray[Any]) -> NDArray[Any]:
        """The largest value under every pixel of the picture, so that one bad pixel of the plate remains visible."""
        shown = self._shown(values)
        rows, columns = (np.arange(n) * have // n for n, have in zip(self.size, shown.shape[:2], strict=True))
        pooled: NDArray[Any] = np.maximum.reduceat(np.maximum.reduceat(shown, rows, axis=0), columns, axis=1)
        return pooled

    def _shown(self, pixels: NDArray[Any]) -> NDArray[Any]:
        if self.data == self.display:
            return pixels
        shown = np.zeros((*self.display.shape, *pixels.shape[2:]), pixels.dtype)
        left, top = max(self.data.x, self.display.x), max(self.data.y, self.display.y)
        right = min(self.data.x + self.data.width, self.display.x + self.display.width)
        bottom = min(self.data.y + self.data.height, self.display.y + self.display.height)
        if right > left and bottom > top:
            common = Region(left, top, right - left, bottom - top)
            shown[common.slices_in(self.display)] = pixels[common.slices_in(self.data)]
        return shown


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
