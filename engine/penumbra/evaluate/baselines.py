"""Layers without any learning: what every network must beat, written in the same files and scored by the same code.

They have their own plain solution (DESIGN 4, the closed form) and not the lift's: their figures must not move when the
lift does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from penumbra import __version__
from penumbra.arrays import largest_of
from penumbra.color import FloatArray, srgb_decode
from penumbra.compositing import transmittances
from penumbra.evaluate.truth import Truth
from penumbra.frames import Layer, LayerStack
from penumbra.job import OutputSettings, PlateSettings
from penumbra.read import open_plate
from penumbra.write import FrameWriter, prepare_output, write_manifest

# The figures of the shared no-learning baseline, so that the two agree: a difference from the median background of 6
# levels of 255 begins to count, one of 12 counts fully, and counts as half opaque.
FIRST_LEVEL, FULL_LEVELS, EFFECT_COVERAGE, BLUR = 6.0, 6.0, 0.5, 0.7
# A pixel with more mask than this says nothing about the background.
MASKED = 0.08
# An effect is mostly dark: how much of the plate's light it first claims.
EFFECT_LIGHT = 0.15
# Coverage below which the background keeps the plate's pixel.
FLOOR = 0.02

Ownership = Callable[[FloatArray, FloatArray, Sequence[FloatArray]], list[FloatArray]]


def mask_only(plate: FloatArray, background: FloatArray, masks: Sequence[FloatArray]) -> list[FloatArray]:
    """Every layer is its mask, and no effect is anyone's: coverages (H, W)."""
    return list(masks)


def nearest_mask(plate: FloatArray, background: FloatArray, masks: Sequence[FloatArray]) -> list[FloatArray]:
    """Whatever differs from the background belongs to the object whose mask is nearest: coverages (H, W).

    ``plate`` and ``background`` H x W x 3 sRGB in [0, 1], ``masks`` (H, W) in [0, 1].
    """
    levels = np.linalg.norm((plate - background) * 255, axis=-1).astype(np.float32)
    evidence = np.clip((cv2.GaussianBlur(levels, (0, 0), BLUR) - FIRST_LEVEL) / FULL_LEVELS, 0, 1) * EFFECT_COVERAGE
    owner = np.argmin([_distance(mask) for mask in masks], axis=0)
    return [np.maximum(mask, np.where(owner == i, evidence, 0)).astype(np.float32) for i, mask in enumerate(masks)]


def write_baseline(clip: Path, output: Path, ownership: Ownership) -> None:
    """Writes the layers that ``ownership`` gives, as decompose would: obj0, obj1, ... and the background.

    Raises a :class:`~penumbra.errors.PenumbraError` where the clip cannot be read or the layers not be written.
    """
    truth, settings = Truth.open(clip), OutputSettings(str(output), previews=False)
    background = median_background(truth)
    prepare_output(output)
    with open_plate(PlateSettings(str(clip / "rgba_%05d.png"))) as plate:
        writer = FrameWriter(output, plate.footage, settings, f"Penumbra {__version__}")
        for number, order in zip(truth.numbers, truth.order, strict=True):
            shown = truth.image(f"rgba_{number:05d}.png")
            masks = [truth.image(f"mask{i}_{number:05d}.png")[..., 0] for i in order]
            alphas = ownership(shown, background, masks)
            names = [truth.names[i] for i in order]
            writer.write(_lifted(number, names, shown, background, masks, alphas), plate.read(number).data)
    order_by_frame = {str(n): [truth.names[i] for i in row] for n, row in zip(truth.numbers, truth.order, strict=True)}
    write_manifest(output, {"order": order_by_frame, "frames": {}, "objects": [{"name": n} for n in truth.names]})


def median_background(truth: Truth) -> FloatArray:
    """The median over frames of pixels outside all masks, sRGB (H, W, 3); of all frames where there is none."""
    frames = np.stack([truth.image(f"rgba_{number:05d}.png") for number in truth.numbers])
    masks = np.stack([_occupied(truth, number) for number in truth.numbers])
    hidden = (masks >= MASKED)[..., None]
    # Nowhere are all values hidden, so that no median is missing.
    shown = np.where(hidden & ~hidden.all(axis=0), np.nan, frames)
    return np.asarray(np.nanmedian(shown, axis=0), np.float32)


def _occupied(truth: Truth, number: int) -> FloatArray:
    masks = [truth.image(f"mask{i}_{number:05d}.png")[..., 0] for i in range(len(truth.names))]
    return largest_of(masks)


def _distance(mask: FloatArray) -> FloatArray:
    """Pixels to the mask; far from everything where it is empty."""
    if not (mask > 0.5).any():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform((mask <= 0.5).astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _lifted(
    number: int,
    names: Sequence[str],
    shown: FloatArray,
    background: FloatArray,
    masks: Sequence[FloatArray],
    alphas: Sequence[FloatArray],
) -> LayerStack:
    """The exact layers of one frame; everything back to front."""
    plate = srgb_decode(shown)
    light = [np.where(mask > 0.5, 1, EFFECT_LIGHT)[..., None] * plate for mask in masks]
    colours = np.stack([a[..., None] * np.maximum(c, 1e-3) for a, c in zip(alphas, light, strict=True)])
    clean, layers = closed_form(plate, srgb_decode(background), np.stack(alphas), colours)
    return LayerStack(number, clean, tuple(Layer(name, pixels) for name, pixels in zip(names, layers, strict=True)))


def closed_form(
    plate: FloatArray, background: FloatArray, alphas: FloatArray, colours: FloatArray
) -> tuple[FloatArray, list[FloatArray]]:
    """DESIGN 4's closed form in half precision: the background and premultiplied layers whose ``over`` is the plate.

    ``plate`` and ``background`` H x W x 3 linear, ``alphas`` (K, H, W) and premultiplied ``colours`` (K, H, W, 3) as
    wished for, back to front.
    """
    coverage = 1 - np.prod(1 - alphas, axis=0)
    step = np.clip((coverage - FLOOR) / (2 * FLOOR), 0, 1)
    owned = (step * step * (3 - 2 * step))[..., None]
    clean = _half(owned * background + (1 - owned) * plate)
    need = np.clip(1 - (plate / np.maximum(clean, 1e-6)).min(axis=-1), 0, 1 - 2.0**-13)
    short = (coverage > FLOOR) & (need > coverage)
    power = np.where(short, np.log1p(-need) / np.log1p(-np.clip(coverage, FLOOR / 2, need.max() + 1e-6)), 1)
    raised = _half(np.where(coverage > FLOOR, 1 - (1 - alphas) ** power, 0))
    seen, through = transmittances(list(raised))
    rest = np.maximum(plate - through[..., None] * clean, 0)
    wished = np.where((raised > 0)[..., None], colours, 0)
    total = np.sum([t[..., None] * c for t, c in zip(seen, wished, strict=True)], axis=0)
    solved = _half(wished * (rest / np.maximum(total, 1e-9)))
    return clean, [np.concatenate([c, a[..., None]], axis=-1) for c, a in zip(solved, raised, strict=True)]


def _half(values: FloatArray) -> FloatArray:
    return values.astype(np.float16).astype(np.float32)
