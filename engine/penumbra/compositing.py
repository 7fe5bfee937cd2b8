"""The only ``over``, premultiply and recompose of the engine (Porter and Duff, 1984).

numpy, H x W x C float32; whatever light the inputs are in, the outputs are in the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from penumbra.color import FloatArray
from penumbra.frames import LayerStack

# The sum over RGB of squared 8-bit differences to the background beyond which the authors count a pixel as changed.
CHANGE_THRESHOLD = 63.75


def over(foreground: FloatArray, background: FloatArray) -> FloatArray:
    """Premultiplied RGBA (..., 4) over opaque RGB (..., 3)."""
    if foreground.ndim != 3 or not foreground.size or {foreground.dtype, background.dtype} != {np.dtype(np.float32)}:
        return foreground[..., :3] + (1 - foreground[..., 3:4]) * background
    # The same arithmetic. numpy takes twice as long where what it goes along is three channels long.
    rgba = np.ascontiguousarray(foreground)
    through = np.subtract(np.float32(1), cv2.extractChannel(rgba, 3))
    result = np.asarray(cv2.merge([through, through, through]), np.float32)
    result *= background
    result += cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
    return result


def premultiply(straight: FloatArray) -> FloatArray:
    """Straight RGBA (..., 4) to premultiplied."""
    return np.concatenate([straight[..., :3] * straight[..., 3:4], straight[..., 3:4]], axis=-1)


def over_all(layers: Iterable[FloatArray], background: FloatArray) -> FloatArray:
    """Premultiplied RGBA (..., 4), back to front, over opaque RGB (..., 3)."""
    for layer in layers:
        background = over(layer, background)
    return background


def recompose(stack: LayerStack) -> FloatArray:
    """All layers over the clean plate, back to front: H x W x 3."""
    return over_all((layer.pixels for layer in stack.layers), stack.background)


def transmittances(alphas: Sequence[FloatArray]) -> tuple[list[FloatArray], FloatArray]:
    """What of each layer is seen through the layers in front of it, and what of the background through all.

    ``alphas`` back to front, any common shape; T_i = prod over j in front of i of (1 - a_j).
    """
    through = np.ones_like(alphas[0]) if len(alphas) else np.ones((), np.float32)
    seen: list[FloatArray] = []
    for alpha in reversed(alphas):
        seen.append(through)
        through = through * (1 - alpha)
    return seen[::-1], through
