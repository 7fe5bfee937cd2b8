"""One frame lifted: upsampled ownership, evidence, the masks' own edges, then the exact solution."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.color import DisplayEncoding, FloatArray
from penumbra.frames import Layer, LayerStack, Plate
from penumbra.lift.evidence import Noise, belief, difference
from penumbra.lift.solve import Precision, solve

# Rows solved at once: keeps the temporaries of a 4K frame in a few tens of megabytes and in the caches.
BAND_ROWS = 128
SHARPNESS = 3
# Alpha of a pixel the network gives to nobody: its output is limited to tanh 3.
LEAST_ALPHA = (1 - float(np.tanh(3.0))) / 2
GAIN = 8


def lift_frame(
    plate: Plate,
    clean: FloatArray,
    masks: Sequence[FloatArray],
    low: FloatArray,
    names: Sequence[str],
    order: NDArray[np.int64],
    encoding: DisplayEncoding,
    noise: Noise,
    precision: Precision,
) -> LayerStack:
    """The layers of one frame at plate resolution, exactly recomposing to the plate.

    Args:
        plate: H x W x 3 scene-linear.
        clean: the clean plate at this frame, H x W x 3 scene-linear.
        masks: per object H x W coverage in [0, 1].
        low: (K, h, w, 4) the network's straight RGBA in [0, 1], display-encoded, objects in ``names``' order.
        names: K object names.
        order: K indices into ``names``, back to front.
        encoding: the display encoding of ``low``.
        noise: the clip's own noise.
        precision: what the files will be written in; alphas and background are rounded to it before colours are solved.

    Returns:
        The stack, back to front, in DESIGN 4's guarantees: 0 <= alpha <= 1, colour >= 0 and finite, recomposition
        within 2^-10 relative plus 2^-12 wherever the plate is finite and not negative.
    """
    size = difference(plate.pixels, clean, encoding)
    count, (height, width) = len(names), plate.canvas.shape
    background = np.empty((height, width, 3), np.float32)
    layers = [np.empty((height, width, 4), np.float32) for _ in range(count)]
    for top in range(0, height, BAND_ROWS):
        rows = slice(top, min(top + BAND_ROWS, height))
        alphas, colours, presence = _ownership(low, order, masks, size, noise, encoding, rows, plate.canvas.shape)
        background[rows], band = solve(plate.pixels[rows], clean[rows], alphas, colours, precision, presence)
        for layer, pixels in zip(layers, band, strict=True):
            layer[rows] = pixels
    stack = tuple(Layer(names[index], pixels) for index, pixels in zip(order, layers, strict=True))
    return LayerStack(plate.number, background, stack)


def _ownership(
    low: FloatArray,
    order: NDArray[np.int64],
    masks: Sequence[FloatArray],
    size: FloatArray,
    noise: Noise,
    encoding: DisplayEncoding,
    rows: slice,
    shape: tuple[int, int],
) -> tuple[list[FloatArray], list[FloatArray], FloatArray]:
    """Alphas (H x W) and premultiplied linear colours (H x W x 3) of a band, back to front, and presence (H x W)."""
    believed = belief(size[rows], noise)
    inside = [masks[index][rows] for index in order]
    small = [upsample_rows(low[index], shape, rows) for index in order]
    effects = [
        np.clip(rgba[..., 3], 0, 1) * np.maximum(believed, mask) for rgba, mask in zip(small, inside, strict=True)
    ]
    sharp = sharpen_shares([_less_least(effect) for effect in effects])
    covered = np.maximum.reduce(inside)
    alphas = [
        # Inside a mask a second layer may be a shadow falling on that object: it is not weighed against the object.
        np.maximum(mask, covered * effect + (1 - covered) * own).astype(np.float32)
        for mask, effect, own in zip(inside, effects, sharp, strict=True)
    ]
    colours = [
        np.maximum(encoding.decode(rgba[..., :3]), 0) * alpha[..., None]
        for rgba, alpha in zip(small, alphas, strict=True)
    ]
    return alphas, colours, presence(alphas)


def presence(alphas: Sequence[FloatArray]) -> FloatArray:
    """How surely any layer owns what the plate shows, H x W in [0, 1]: coverage with ``GAIN`` times the optical depth.

    The network fades out long before a shadow's tip does. That something is there the plate itself says (the evidence
    in ``alphas``); whose it is the network tells by any alpha above its least. How opaque it is stays a matter of need.
    """
    depth = np.sum([-np.log1p(-np.minimum(alpha, 0.9999)) for alpha in alphas], axis=0)
    sure: FloatArray = (-np.expm1(-GAIN * depth)).astype(np.float32)
    return sure


def _less_least(alpha: FloatArray) -> FloatArray:
    rest: FloatArray = np.maximum(alpha - np.float32(LEAST_ALPHA), 0)
    return rest


def sharpen_shares(alphas: Sequence[FloatArray]) -> list[FloatArray]:
    """The same coverage, divided more decidedly: a layer with a tenth of an effect is a leak, one with half is not.

    Shares are those of optical depth -log(1 - a), which add up where layers overlap; each is raised to the power
    ``SHARPNESS`` and the sum restored, so that two crossing shadows of equal strength stay equal. H x W in [0, 1].
    """
    depths = [-np.log1p(-np.minimum(alpha, 0.9999)) for alpha in alphas]
    total = np.sum(depths, axis=0)
    weights = [(depth / np.maximum(total, 1e-6)) ** SHARPNESS for depth in depths]
    norm = np.maximum(np.sum(weights, axis=0), 1e-6)
    return [(-np.expm1(-total * weight / norm)).astype(np.float32) for weight in weights]


def upsample_rows(image: FloatArray, shape: tuple[int, int], rows: slice) -> FloatArray:
    """Rows of a bilinear enlargement of ``image`` (h, w, C) to ``shape``; pixel centres at half-integers."""
    height, width = shape
    # Half-integer centres: the output pixel y + 1/2 lies at the same relative height as the input's.
    y = ((np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) * (image.shape[0] / height) - 0.5)[:, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5) * (image.shape[1] / width) - 0.5)[None, :]
    grid_y, grid_x = np.broadcast_arrays(y, x)
    enlarged = cv2.remap(
        image,
        np.ascontiguousarray(grid_x),
        np.ascontiguousarray(grid_y),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(enlarged, np.float32).reshape(rows.stop - rows.start, width, image.shape[2])
