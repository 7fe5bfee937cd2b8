"""Small invented clips whose layers recompose by construction."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from penumbra.color import FloatArray, LinearSpace
from penumbra.compositing import recompose
from penumbra.frames import Footage, Layer, LayerStack, Plate, Region


def make_footage(width: int = 61, height: int = 37, count: int = 3, **given: Any) -> Footage:
    window = Region(0, 0, width, height)
    facts: dict[str, Any] = {
        "path": "shot_%04d.exr",
        "frames": tuple(range(1001, 1001 + count)),
        "canvas": window,
        "display": window,
        "space": LinearSpace("lin_rec709"),
        "source_space": "lin_rec709",
        "fps": Fraction(24000, 1001),
        "timecode": "01:02:03:23",
    }
    return Footage(**{**facts, **given})


def make_plate(footage: Footage, number: int = 1001, data: Region | None = None, peak: float = 1.0) -> Plate:
    """Smooth light with grain, between 0 and ``peak``."""
    rows, columns = np.indices(footage.canvas.shape)
    smooth = 0.5 + 0.4 * np.sin(rows / 9 + number)[..., None] * np.cos(columns[..., None] / 7 + np.arange(3))
    grain = np.random.default_rng(number & 0xFFFF).normal(0, 0.01, smooth.shape)
    pixels = (np.clip(smooth + grain, 0, 1) * peak).astype(np.float32)
    return Plate(number, pixels, data or footage.canvas, footage.canvas)


def take_apart(plate: Plate, names: Sequence[str] = ("back", "front"), seed: int = 0, half: bool = True) -> LayerStack:
    """Layers with random coverage whose front one supplies what the others leave of the plate."""
    random = np.random.default_rng(seed)
    shape, light = plate.pixels.shape[:2], np.maximum(plate.pixels, 0)

    def stored(values: FloatArray) -> FloatArray:
        return values.astype(np.float16 if half else np.float32).astype(np.float32)

    background = stored(light * random.random((*shape, 1), np.float32))
    layers: list[Layer] = []
    for name in names:
        alpha = stored(random.choice(np.float32([0, 0.25, 1]), (*shape, 1)) * random.random((*shape, 1), np.float32))
        colour = alpha * light * random.random((*shape, 1), np.float32)
        if name == names[-1]:
            behind = recompose(LayerStack(plate.number, background, tuple(layers)))
            colour = np.maximum(light - (1 - alpha) * behind, 0)
        layers.append(Layer(name, np.concatenate([stored(colour), alpha], axis=-1)))
    return LayerStack(plate.number, background, tuple(layers))
