"""Frames and mosaics made small, display-encoded, and what a small frame sees of a small mosaic."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import mean_of_channels
from penumbra.clean_plate.mosaic import Matrices, Mosaic
from penumbra.color import DisplayEncoding, FloatArray

LONGEST = 640  # of a small frame's sides
UNMASKED = 0.999  # share of a small pixel's own pixels, from which it counts as free of masks


def small_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the small frames of a plate: itself where it is not larger than LONGEST."""
    factor = max(1.0, max(size) / LONGEST)
    return max(1, round(size[0] / factor)), max(1, round(size[1] / factor))


def shrunk(plate: FloatArray, free: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
    """A frame (H, W, 3) made small: the mean of its channels (h, w), and how much is free of masks, 0 to 1."""
    height, width = small_size(plate.shape[:2])
    light, share = (
        np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.float32).reshape(height, width)
        for image in (mean_of_channels(plate), (free > 0).astype(np.float32))
    )
    return light, share


def small_picture(
    plate: FloatArray, free: NDArray[np.uint8], encoding: DisplayEncoding
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """A frame (H, W, 3), linear, made small: display-encoded mean (h, w), and where it is free of masks (h, w)."""
    light, share = shrunk(plate, free)
    return encoding.encode(light), share > UNMASKED


def small_mosaic(picture: FloatArray, block: tuple[float, float], encoding: DisplayEncoding) -> FloatArray:
    """A mosaic (rows, columns, 3), linear, perhaps a memory map, made small by ``block``: display-encoded mean."""
    return encoding.encode(_shrunk_by(block, mean_of_channels(picture)))


def small_channels(picture: FloatArray, block: tuple[float, float]) -> Iterator[FloatArray]:
    """The channels of a mosaic as :func:`small_mosaic` takes it, linear, made small one at a time."""
    return (_shrunk_by(block, np.ascontiguousarray(picture[..., k])) for k in range(picture.shape[-1]))


def _shrunk_by(block: tuple[float, float], plane: FloatArray) -> FloatArray:
    width, height = max(1, round(plane.shape[1] / block[1])), max(1, round(plane.shape[0] / block[0]))
    small = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32).reshape(height, width)


def small_view(
    small: FloatArray, mosaic: Mosaic, index: int, block: tuple[float, float], shape: tuple[int, ...]
) -> FloatArray:
    """What a small frame (h, w) sees of a mosaic's small picture."""
    exact = (mosaic.height / small.shape[0], mosaic.width / small.shape[1])
    backward = np.linalg.inv(_enlarge(exact)) @ mosaic.homographies[index] @ _enlarge(block)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    view = cv2.warpPerspective(small, backward, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(view, np.float32)


def _enlarge(block: tuple[float, float]) -> Matrices:
    return np.array([[block[1], 0, (block[1] - 1) / 2], [0, block[0], (block[0] - 1) / 2], [0, 0, 1]], np.float64)
