"""Plausible colour where nothing was ever seen: smooth from around, then its texture from beside."""

from __future__ import annotations

import cv2
import numpy as np

from penumbra.clean_plate.small import small_channels
from penumbra.color import DisplayEncoding, FloatArray, finite
from penumbra.frames import BoolArray
from penumbra.patches import clone, find_patches
from penumbra.resizing import shrink

WHOLLY_SEEN = 0.99
LEVELS = 3  # halvings before the whole picture is held in memory at once
SIDE = 320  # longest side of the picture on which it is told where a texture is cloned from
BAND = 32  # rows of the once-halved-LEVELS-times picture worked on at full size together


def fill_unseen(image: FloatArray, seen: BoolArray) -> None:
    """Fills, in place, what is not ``seen`` (H, W) of a picture (H, W, C), smoothly from around.

    Push-pull: known pixels are averaged into ever smaller pictures until none is missing, and the holes take the
    values of the next smaller picture, interpolated (Gortler et al., The Lumigraph, 1996, section 4.3), in the light
    the picture is given in. Seen pixels are unchanged; where nothing is seen at all the result is 0. Both arrays may
    be memory maps: they are read and written by bands of rows, and only a 64th of them is held at once.
    """
    if seen.all():
        return
    block = 2**LEVELS
    small = _push(*_shrunk(image, seen, block), levels=None, bottom=None)
    height = image.shape[0]
    for top in range(0, height, BAND * block):
        # Interpolation reaches two small rows beyond the band.
        start, stop = max(0, top - 2 * block), min(height, top + (BAND + 2) * block)
        colour, known = np.asarray(image[start:stop]), np.asarray(seen[start:stop])
        weight = known.astype(np.float32)
        bottom = small[start // block : -(-stop // block)]
        weighted = np.asarray(np.where(known[..., None], colour, 0), np.float32)
        filled = _push(weighted, weight, LEVELS, bottom)
        own = slice(top - start, min(top + BAND * block, height) - start)
        image[top : top + BAND * block] = np.where(known[own][..., None], colour[own], filled[own])


def patch_unseen(image: FloatArray, seen: BoolArray, encoding: DisplayEncoding) -> None:
    """Clones texture, in place, into what is not ``seen`` (H, W) of a filled mosaic (H, W, 3), scene-linear.

    A smooth place in the grass is seen at once, more grass is not. Where nothing beside fits, it stays smooth. Seen
    pixels are unchanged; both arrays may be memory maps.
    """
    if seen.all() or not seen.any():
        return
    block = max(1.0, max(seen.shape) / SIDE)
    shown = encoding.encode(finite(np.stack(list(small_channels(image, (block, block))), axis=-1)))
    share = shrink(np.asarray(seen, np.float32), (shown.shape[0], shown.shape[1]))
    hole = share < WHOLLY_SEEN
    patches = find_patches(shown, None, hole, share, ~hole)
    clone(patches, np.ones_like(share), image, image, shown, encoding, kept=seen)


def _shrunk(image: FloatArray, seen: BoolArray, block: int) -> tuple[FloatArray, FloatArray]:
    """Weighted colour and weight, halved LEVELS times, band by band."""
    bands = []
    for top in range(0, image.shape[0], BAND * block):
        weight = np.asarray(seen[top : top + BAND * block]).astype(np.float32)
        weighted = np.asarray(np.where(weight[..., None] > 0, image[top : top + BAND * block], 0), np.float32)
        for _ in range(LEVELS):
            weighted, weight = _halved(weighted, weight)
        bands.append((weighted, weight))
    return np.concatenate([band[0] for band in bands]), np.concatenate([band[1] for band in bands])


def _push(weighted: FloatArray, weight: FloatArray, levels: int | None, bottom: FloatArray | None) -> FloatArray:
    """Colour without holes from ``weighted`` (colour times weight); ``bottom`` is the picture ``levels`` halvings
    down where it is known already, else everything is halved until nothing is missing.
    """
    height, width = weight.shape
    if levels == 0 and bottom is not None:
        return bottom
    colour = np.asarray(weighted / np.maximum(weight, np.float32(1e-6))[..., None], np.float32)
    if weight.min() >= 1 or max(height, width) == 1:
        return colour
    smaller = _push(*_halved(weighted, weight), None if levels is None else levels - 1, bottom)
    # Enlarged by exactly two, then cut: odd sizes must not shift the blocks.
    twice = (2 * smaller.shape[1], 2 * smaller.shape[0])
    raised = cv2.resize(smaller, twice, interpolation=cv2.INTER_LINEAR)[:height, :width]
    share = np.minimum(weight, np.float32(1))[..., None]
    filled = share * colour + (1 - share) * np.asarray(raised, np.float32).reshape(weighted.shape)
    return np.asarray(filled, np.float32)


def _halved(weighted: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sums over 2x2 blocks, the weight cut at 1: a block counts as known once one pixel's worth in it is."""
    rows, columns = weight.shape[0] % 2, weight.shape[1] % 2
    weighted = np.pad(weighted, ((0, rows), (0, columns), (0, 0)))
    weight = np.pad(weight, ((0, rows), (0, columns)))
    colour_sum = weighted[::2, ::2] + weighted[1::2, ::2] + weighted[::2, 1::2] + weighted[1::2, 1::2]
    weight_sum = weight[::2, ::2] + weight[1::2, ::2] + weight[::2, 1::2] + weight[1::2, 1::2]
    cut = np.minimum(weight_sum, np.float32(1)) / np.maximum(weight_sum, np.float32(1e-6))
    return colour_sum * cut[..., None], weight_sum * cut
