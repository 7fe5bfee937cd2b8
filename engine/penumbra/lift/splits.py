"""A layer taken further apart: the object itself, what it darkens, and the light it adds."""

from __future__ import annotations

import numpy as np

from penumbra.color import FloatArray
from penumbra.frames import Layer
from penumbra.job import SPLITS
from penumbra.lift.precision import Precision


def split_layer(layer: Layer, mask: FloatArray, precision: Precision) -> tuple[Layer, Layer, Layer]:
    """``NAME_object``, ``NAME_shadow`` and ``NAME_light`` of a layer, H x W x 4 each, premultiplied, scene-linear.

    The object is what its mask (H x W coverage in [0, 1]) covers; the shadow is black with alpha; the light is colour
    without alpha, to be added. Object over shadow, plus light, is the layer: to a unit in the last place of the
    written ``precision``, since all three are rounded to it in turn.
    """
    whole = layer.pixels
    alpha, colour = whole[..., 3], whole[..., :3]
    inside = np.minimum(mask, alpha)
    share = inside / np.maximum(alpha, np.float32(1e-6))
    solid = np.empty_like(whole)
    solid[..., 3] = precision.nearest(inside)
    solid[..., :3] = precision.nearest(colour * np.minimum(share, 1)[..., None])
    shadow, light = np.zeros_like(solid), np.zeros_like(solid)
    left = np.maximum(1 - solid[..., 3], np.float32(2.0**-12))
    shadow[..., 3] = precision.nearest(np.clip((alpha - solid[..., 3]) / left, 0, 1))
    light[..., :3] = precision.nearest(np.maximum(colour - solid[..., :3], 0))
    parts = zip(SPLITS, (solid, shadow, light), strict=True)
    first, second, third = (Layer(f"{layer.name}_{split}", pixels) for split, pixels in parts)
    return first, second, third
