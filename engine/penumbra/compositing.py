"""The only ``over``, premultiply and recompose of the engine (Porter and Duff, 1984).

numpy, H x W x C float32; whatever light the inputs are in, the outputs are in the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from penumbra.color import FloatArray
from penumbra.compiled import compiled
from penumbra.frames import LayerStack

# The sum over RGB of squared 8-bit differences to the background beyond which the authors count a pixel as changed.
CHANGE_THRESHOLD = 63.75
_ONE = np.float32(1)


def over(foreground: FloatArray, background: FloatArray) -> FloatArray:
    """Premultiplied RGBA (..., 4) over opaque RGB (..., 3)."""
    result = np.array(np.broadcast_to(background, (*foreground.shape[:-1], 3)), np.float32, order="C")
    rgba = np.ascontiguousarray(foreground, np.float32).reshape(1, -1, 4)
    lay_over(rgba, 0, rgba.shape[1], result.reshape(1, -1, 3))
    return result


@compiled
def lay_over(foreground: FloatArray, left: int, right: int, background: FloatArray) -> None:
    """As :func:`over`, columns ``left`` to ``right`` - 1 of (H, W, 4) over (H, W, 3), in place."""
    for y in range(len(foreground)):
        for x in range(left, right):
            through = _ONE - foreground[y, x, 3]
            for c in range(3):
                background[y, x, c] = through * background[y, x, c] + foreground[y, x, c]


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
