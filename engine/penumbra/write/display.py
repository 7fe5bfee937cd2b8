"""Scene-linear pixels to 8-bit sRGB for previews."""

from __future__ import annotations

import os

import cv2
import numpy as np
import OpenImageIO as oiio
from numpy.typing import NDArray

from penumbra.color import FloatArray, LinearSpace
from penumbra.errors import ColorSpaceError

_REC709 = frozenset({"lin_rec709", "lin_rec709_scene", "Linear Rec.709 (sRGB)"})
_BUILT_IN_CONFIG = "ocio://studio-config-latest"


def to_display(linear: FloatArray, space: LinearSpace) -> NDArray[np.uint8]:
    """H x W x 3 scene-linear in ``space`` to H x W x 3 sRGB in [0, 255].

    Linear Rec.709 is encoded by the sRGB curve and clipped, so a picture looks as it came in. Other spaces go through
    the default display and view of ``$OCIO``, else of OpenColorIO's built-in configuration, which roll off highlights.
    Raises :class:`ColorSpaceError` for a space the configuration does not know.
    """
    display = _srgb(np.clip(linear, 0, 1)) if space.name in _REC709 else _through_view(linear, space)
    return np.asarray(np.clip(display, 0, 1) * 255 + 0.5, np.uint8)


def _srgb(linear: FloatArray) -> FloatArray:
    """The sRGB curve of values in [0, 1], to a float's rounding, at a quarter of the cost of numpy's."""
    power = np.asarray(cv2.pow(linear, 1 / 2.4), np.float32).reshape(linear.shape)
    return np.where(linear <= 0.0031308, linear * np.float32(12.92), power * np.float32(1.055) - np.float32(0.055))


def _through_view(linear: FloatArray, space: LinearSpace) -> FloatArray:
    # Converting to the colour space "sRGB - Display" instead would skip the view's tone curve.
    config = "" if os.environ.get("OCIO") else _BUILT_IN_CONFIG
    source = oiio.ImageBuf(np.ascontiguousarray(linear))
    shown = oiio.ImageBufAlgo.ociodisplay(source, "", "", space.name, colorconfig=config)
    pixels = None if shown.has_error else shown.get_pixels(oiio.FLOAT)
    if pixels is None:
        raise ColorSpaceError(
            f"No preview could be drawn from colour space {space.name!r}: {shown.geterror()}.",
            "Name a space of the OpenColorIO configuration, or write without previews.",
        )
    return np.asarray(pixels, np.float32).reshape(linear.shape)
