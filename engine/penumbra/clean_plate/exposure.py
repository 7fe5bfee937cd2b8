"""How much brighter or darker each frame is than the clip: sensors, lamps and clouds drift.

Everything here works on thumbnails: means over blocks of pixels outside the masks, a few dozen blocks across.
"""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.clean_plate.mosaic import Matrices, Mosaic, mapped, scaled
from penumbra.color import FloatArray
from penumbra.frames import BoolArray
from penumbra.resizing import shrink

ACROSS = 96  # blocks in a thumbnail's longer side
NOISE = 0.003  # a gain closer to 1 than this is not told from noise
CERTAIN = 4.0  # standard errors a gain must differ from 1
AT_ONCE = 200  # frames compared at a time
MOST_GAIN = 4.0  # beyond this, or darker by as much, it is a flash, a fade or another scene
LEAST_GAIN = 1e-4  # that light is divided by


@dataclass(frozen=True)
class Thumbnails:
    """``colour`` (N, h, w, 3) float32 means of the free pixels of each block, linear light; ``free`` (N, h, w) float32
    share of each block that is free of masks; ``block``: (height, width) of a block in plate pixels. Arrays may be
    mapped files, so that a long clip needs no more memory than a short one.
    """

    colour: FloatArray
    free: FloatArray
    block: tuple[float, float]


def thumbnail_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the thumbnail of a plate."""
    factor = max(1.0, max(size) / ACROSS)
    return max(1, round(size[0] / factor)), max(1, round(size[1] / factor))


def thumbnail(plate: FloatArray, free: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
    """Mean colour (h, w, 3) of the free pixels of each block, and the free share (h, w)."""
    size = thumbnail_size(plate.shape[:2])
    weight = (free > 0).astype(np.float32)
    share = shrink(weight, size)
    # As many channels first: numpy takes twice as long along three of them.
    unmasked = np.asarray(cv2.merge([weight, weight, weight]), np.float32)
    unmasked *= plate
    colour = shrink(unmasked, size) / np.maximum(share, np.float32(1e-6))[..., None]
    return colour.astype(np.float32, copy=False), np.clip(share, 0, 1)


def estimate_gains(thumbnails: Thumbnails, mosaics: tuple[Mosaic, ...], folder: Path | None = None) -> FloatArray:
    """Gains (N, 3), frame over clip, exactly 1 where they cannot be told from noise; their median over frames is 1.

    Robust: each is the centre, over blocks, of the ratio of the frame to the median of all frames, repeated once with
    the frames evened out. ``folder``: where files of the thumbnails' size may lie meanwhile; None keeps all in memory.
    """
    gains = np.ones((len(thumbnails.colour), 3), np.float64)
    if len(gains) < 3:
        return gains.astype(np.float32)
    error = np.full_like(gains, np.inf)
    for _ in range(2):
        for mosaic in mosaics:
            served = slice(mosaic.first, mosaic.last + 1)
            centre, uncertain = _compared(_on_mosaic(thumbnails, mosaic, gains, folder))
            gains[served] *= centre
            error[served] = uncertain
    gains /= np.median(gains, axis=0)
    return _significant(gains, error)


def far_off(gains: FloatArray) -> BoolArray:
    """(N,) which frames' gains (N, 3) are such that the frame tells nothing of the others' background: black frames,
    flashes, the dark ends of fades.
    """
    return np.asarray(((gains > MOST_GAIN) | (gains < 1 / MOST_GAIN)).any(axis=1))


def room_for(shape: tuple[int, ...], folder: Path | None) -> FloatArray:
    """An array of float32 zeros in a nameless file in ``folder``, gone when it is no longer used; None: in memory."""
    if folder is None:
        return np.zeros(shape, np.float32)
    with tempfile.TemporaryFile(dir=folder) as file:
        # Written, not merely made longer: a disk without room says so here, and not by a signal later.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, 4 * math.prod(shape))
        return np.memmap(file, np.float32, "w+", shape=shape)


def _compared(stack: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The centres of the frames' ratios to their median, and their errors (frames, 3); a few frames at a time."""
    middle, told = _middle(stack)
    parts = [
        _centres(_ratios(np.asarray(stack[first : first + AT_ONCE]), middle, told))
        for first in range(0, len(stack), AT_ONCE)
    ]
    return np.concatenate([centre for centre, _ in parts]), np.concatenate([error for _, error in parts])


def _centres(ratios: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre of each frame's ratios (frames, blocks, 3) and its standard error: (frames, 3) each; 1 and infinity where
    fewer than a dozen blocks tell.

    Tukey's biweight, from the median on: moving shadows pull even a median to one side.
    """
    neutral = np.ones((len(ratios), 3)), np.full((len(ratios), 3), np.inf)
    if not ratios.shape[1]:
        return neutral
    centre = np.nanmedian(ratios, axis=1).astype(np.float64)
    for _ in range(10):
        apart = ratios - centre[:, None]
        spread = np.maximum(1.4826 * np.nanmedian(np.abs(apart), axis=1), 1e-5)
        weight = np.maximum(1 - (apart / (3 * spread[:, None])) ** 2, 0) ** 2
        weight[np.isnan(weight)] = 0
        centre = centre + (weight * np.nan_to_num(apart)).sum(1) / np.maximum(weight.sum(1), 1e-6)
    told = (~np.isnan(ratios)).sum(1)
    # Neighbouring blocks err together, so a sixteenth of them count.
    uncertain = spread / np.sqrt(np.maximum(told / 16, 1))
    return np.where(told >= 12, centre, neutral[0]), np.where(told >= 12, uncertain, neutral[1])


def _significant(gains: NDArray[np.float64], error: NDArray[np.float64]) -> FloatArray:
    """A frame keeps its gains, all channels or none, where any of them differs from 1 for certain."""
    certain = np.abs(gains - 1) > np.maximum(NOISE, CERTAIN * error)
    kept = certain.any(1, keepdims=True) & np.isfinite(error).all(1, keepdims=True)
    return np.where(kept, gains, 1).astype(np.float32)


def _on_mosaic(thumbnails: Thumbnails, mosaic: Mosaic, gains: NDArray[np.float64], folder: Path | None) -> FloatArray:
    """The evened thumbnails (frames served, h', w', 3) on a small picture of the mosaic, NaN where nothing is free."""
    served = range(mosaic.first, mosaic.last + 1)
    stack = room_for((len(served), *_small_shape(thumbnails, mosaic), 3), folder)
    for place, index in enumerate(served):
        stack[place] = placed(thumbnails, mosaic, index, gains[index])
    return stack


def placed(thumbnails: Thumbnails, mosaic: Mosaic, index: int, gains: NDArray[np.floating]) -> FloatArray:
    """A frame's evened thumbnail on the small picture of a mosaic (h', w', 3), NaN where nothing is free."""
    tall, wide = _small_shape(thumbnails, mosaic)
    colour = (thumbnails.colour[index] / np.maximum(gains, LEAST_GAIN)).astype(np.float32)
    whole = (thumbnails.free[index] > 0.95).astype(np.float32)
    if not mosaic.still:
        backward = scaled(np.asarray(np.linalg.inv(mosaic.homographies[index])), thumbnails.block)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        colour = np.asarray(cv2.warpPerspective(colour, backward, (wide, tall), flags=flags), np.float32)
        whole = np.asarray(cv2.warpPerspective(whole, backward, (wide, tall), flags=flags), np.float32)
    return np.where((whole > 0.99)[..., None], colour, np.float32(np.nan))


def _small_shape(thumbnails: Thumbnails, mosaic: Mosaic) -> tuple[int, int]:
    return max(1, round(mosaic.height / thumbnails.block[0])), max(1, round(mosaic.width / thumbnails.block[1]))


def _middle(stack: FloatArray) -> tuple[FloatArray, BoolArray]:
    """The median over frames of every block (h, w, 3), and which blocks three frames or more see, not black (h, w)."""
    middle: FloatArray = np.full(stack.shape[1:], np.nan, np.float32)
    for row, into in enumerate(middle):
        values = np.asarray(stack[:, row])
        often = (~np.isnan(values[..., 0])).sum(0) >= 3
        if often.any():
            into[often] = np.nanmedian(values[:, often], axis=0)
    told: BoolArray = np.asarray(~np.isnan(middle).any(-1))
    if told.any():
        with np.errstate(invalid="ignore"):
            least = max(0.02 * max(float(np.median(middle[told])), 1e-4), 1e-4)
            told &= np.asarray((middle > least).all(-1))
    return middle, told


def _ratios(stack: FloatArray, middle: FloatArray, told: BoolArray) -> FloatArray:
    """Ratios (frames, blocks, 3) to the median over the blocks that are told of."""
    ratios: FloatArray = stack[:, told] / middle[told]
    # A frame without any block in common has a column of NaN only; a neutral one keeps numpy from complaining.
    empty = np.isnan(ratios).all(axis=(1, 2))
    ratios[empty] = 1
    return ratios


def free_at(thumbnails: Thumbnails, index: int, homography: Matrices, points: NDArray[np.float64]) -> BoolArray:
    """Whether mosaic points (P, 2) may be seen free of masks at a frame, by its thumbnail: generous, never missing."""
    backward = np.asarray(np.linalg.inv(homography), np.float64)
    at = mapped(backward, points)
    height, width = thumbnails.free.shape[1:]
    cell = (at + 0.5) / (thumbnails.block[1], thumbnails.block[0])
    inside = np.isfinite(at).all(-1) & (cell > -0.5).all(-1) & (cell < (width + 0.5, height + 0.5)).all(-1)
    x, y = (np.where(inside, axis, 0).astype(int) for axis in cell.T)
    free: BoolArray = inside & (thumbnails.free[index][y.clip(0, height - 1), x.clip(0, width - 1)] > 0)
    return free
