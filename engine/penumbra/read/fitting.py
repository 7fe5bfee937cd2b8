"""Laying a mask or clean plate on the plate's canvas, resized where it is the same picture at another size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from penumbra.color import FloatArray
from penumbra.errors import SizeMismatchError
from penumbra.frames import Footage, Region
from penumbra.read.plates import on_canvas

_ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True)
class Fit:
    """From a clip of display window ``source`` to the plate's ``display`` and ``canvas``."""

    source: Region
    display: Region
    canvas: Region
    warnings: tuple[str, ...] = ()

    def covers(self, data: Region) -> bool:
        """Whether a data window of the source reaches all of the canvas."""
        ones = np.ones((*data.shape, 1), np.float32)
        return bool(self.place(ones, data).min() > 0)

    def place(self, values: FloatArray, data: Region) -> FloatArray:
        """H x W x C over a data window of the source -> over the canvas; zero where the source has nothing.

        Area averages when shrinking, linear interpolation when enlarging.
        """
        if self.source.shape == self.display.shape:
            across, down = self.display.x - self.source.x, self.display.y - self.source.y
            moved = Region(data.x + across, data.y + down, data.width, data.height)
            return on_canvas(values, moved, self.canvas)
        whole = on_canvas(values, data, self.source)
        shrinks = self.source.width > self.display.width
        resized = cv2.resize(
            whole,
            (self.display.width, self.display.height),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
        pixels = np.asarray(resized, np.float32).reshape(*self.display.shape, values.shape[2])
        return on_canvas(pixels, self.display, self.canvas)


def find_fit(source: Region, plate: Footage, what: str) -> Fit:
    """How to lay a clip on the plate; display windows of one size are laid on each other.

    Raises:
        SizeMismatchError: another size whose aspect differs by more than 1 %.
    """
    display = plate.display
    if source.shape == display.shape:
        return Fit(source, display, plate.canvas)
    sizes = f"{what} is {source.width}x{source.height}, the plate {display.width}x{display.height}"
    if abs(source.width * display.height / (source.height * display.width) - 1) > _ASPECT_TOLERANCE:
        raise SizeMismatchError(f"{sizes}.", "Render it at the plate's size.")
    return Fit(source, display, plate.canvas, (f"{sizes}: it is resized.",))
