"""How steep the clean plate is at every place: an edge displaced by e pixels differs from itself by e times its slope.

A homography never holds every edge of a moving camera's frames to the pixel. What the frame differs by there is
expected, and no effect.
"""

from __future__ import annotations

import cv2
import numpy as np

from penumbra.clean_plate.small import small_channels
from penumbra.color import DisplayEncoding, FloatArray

# Small pixels: a line's middle has no slope of its own, but differs as its edges do.
SMOOTHING_SIGMA = 1.0
# The ninth decile of the length of a displacement in two dimensions, in standard deviations along one (Rayleigh).
NINTH_DECILE = float(np.sqrt(2 * np.log(10)))
# Pixels of the plate between which a misfit ceases to be the camera's: edges that lie so far from their place do not
# survive the median, so that a larger one is that of water or leaves and tells nothing of edges elsewhere.
THE_CAMERAS = (2.0, 3.0)


def edge_slopes(picture: FloatArray, block: tuple[float, float], encoding: DisplayEncoding) -> FloatArray:
    """(h, w) slopes of a mosaic made small: display units per pixel of the plate, root of the sum of squares over RGB.

    ``picture`` (rows, columns, 3) scene-linear, perhaps a memory map; ``block``: (height, width) of a small pixel in
    pixels of the plate. The root of the trace of the structure tensor (Foerstner and Guelch, 1987).
    """
    power: FloatArray | None = None
    for channel in small_channels(picture, block):
        shown = encoding.encode(channel)
        for axis, size in (((1, 0), block[1]), ((0, 1), block[0])):
            slope = np.asarray(cv2.Sobel(shown, cv2.CV_32F, *axis, scale=0.125 / size), np.float32)
            power = slope * slope if power is None else power + slope * slope
    assert power is not None
    return np.sqrt(np.asarray(cv2.GaussianBlur(power, (0, 0), SMOOTHING_SIGMA), np.float32))


def displacement(misfit: float) -> np.float32:
    """Pixels along one direction, one standard deviation, where nine tenths of a picture is at most ``misfit`` pixels
    from its place, as far as that is the camera's.
    """
    low, high = THE_CAMERAS
    return np.float32(misfit * min(max((high - misfit) / (high - low), 0), 1) / NINTH_DECILE)
