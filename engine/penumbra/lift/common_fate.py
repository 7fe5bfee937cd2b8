"""Whose an effect is by what it moves with: a shadow or a reflection goes where its maker goes.

The network predicts a frame it has not seen, so that its layers are blurred where effects of several objects are near
each other. What the frame shows there is known, and what the frames around it show, too: an effect of one object is
found again beside that object and not beside another that goes elsewhere (common fate; Wertheimer, 1923).
"""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.belief import smoothstep
from penumbra.color import FloatArray
from penumbra.frames import WorkingClip
from penumbra.lift.ownership import LEAST_ALPHA

AROUND = (-2, -1, 1, 2)  # frames from the one looked at
UNMASKED = 0.05  # coverage below which a small pixel shows no object
WINDOW = 5  # small pixels: what is found again is a patch
ENOUGH = 0.2  # of a patch must be outside all masks at both frames
# Small pixels by which an effect may go another way than its maker does: shadows lie in perspective, reflections are
# turned over.
ASTRAY = 1
QUIET = 2 / 255  # display units: grain is found nowhere again, which says nothing
FOUND = 0.7  # unlikeness of the patch most alike, from which it is none of the objects'
DECIDED = 12.0  # how much a patch as unlike as two different ones speaks against an object
TRACE = (0.01, 0.03)  # optical depth that is nothing yet, and something
LENT = 0.1  # of what all layers own, that any of them may own where the frames around decide
CERTAIN = 0.3  # alpha from which the network needs no advice


def by_common_fate(clip: WorkingClip, index: int, layers: FloatArray) -> FloatArray:
    """A frame's layers (K, h, w, 4), straight RGBA as :func:`decompose` gives them, effects divided anew among them.

    What all layers together cover beyond their masks stays, as optical depth; each layer's part of it counts the less
    the worse the frames around show it to move as its object does. Neighbouring frames are read from the clip.
    """
    if len(layers) < 2:
        return layers
    alpha, masks = layers[..., 3], clip.masks[index]
    beyond = np.maximum(alpha - masks - LEAST_ALPHA, 0)
    depth = -np.log1p(-np.minimum(beyond, 0.999))
    whole = depth.sum(0)
    against = _speaking_against(clip, index) * np.maximum(1 - beyond / CERTAIN, 0)
    lent = LENT / len(layers) * whole * (1 - np.exp(-against.max(0))) * (1 - masks)
    parts = (depth + lent) * np.exp(-against)
    all_of_it = whole / np.maximum(parts.sum(0), 1e-9)
    # Traces of what the background does by itself must not add up to one that counts.
    no_more = np.minimum(all_of_it, depth.max(0) / np.maximum(parts.max(0), 1e-9))
    parts *= no_more + smoothstep(whole, *TRACE) * (all_of_it - no_more)
    result = layers.copy()
    result[..., 3] = np.clip(alpha - beyond - np.expm1(-parts), 0, 1)
    return result


def _speaking_against(clip: WorkingClip, index: int) -> FloatArray:
    """(K, h, w) how much speaks against every object as the cause of what a frame shows; 0 for the likeliest."""
    around = [index + step for step in AROUND if 0 <= index + step < len(clip.numbers)]
    shown = {frame: _effects(clip, frame) for frame in (index, *around)}
    unlike = np.stack([_unlikeness(shown, clip.masks[:, which], index) for which in range(len(clip.names))])
    best = np.where(np.isnan(unlike), 1, unlike).min(0)
    # Where nothing is known of an object nothing speaks against it.
    worse = np.where(np.isnan(unlike), 0, unlike - best)
    return np.asarray(DECIDED * np.maximum(1 - best / FOUND, 0) * worse, np.float32)


def _unlikeness(shown: dict[int, tuple[FloatArray, FloatArray]], masks: FloatArray, index: int) -> FloatArray:
    """(h, w) how unlike the patches around every pixel of frame ``index`` are to those that the other frames ``shown``
    have where they would be if they moved with an object of these masks (N, h, w): 0 if they are the same, 1 if they
    have nothing in common, NaN where that is not known.
    """
    here, free = shown[index]
    total, known = np.zeros_like(free), np.zeros_like(free)
    for other, effects in shown.items():
        way = None if other == index else _way(masks[index], masks[other])
        if way is not None:
            unlike = _patches_apart(here, free, *_moved(*effects, way))
            known += ~np.isnan(unlike)
            total += np.nan_to_num(unlike)
    return np.where(known > 0, total / np.maximum(known, 1), np.nan).astype(np.float32)


def _effects(clip: WorkingClip, index: int) -> tuple[FloatArray, FloatArray]:
    """(h, w, 3) the difference from the clean plate, display units, 0 in objects; (h, w) 0 in objects, else 1."""
    free = (clip.masks[index].max(axis=0) < UNMASKED).astype(np.float32)
    return (clip.frames[index] - clip.background[index]) * free[..., None], free


def _way(here: FloatArray, there: FloatArray) -> tuple[float, float] | None:
    """By how many pixels, right and down, a mask (h, w) has moved, where both agree most; None if one is empty."""
    if here.max() < UNMASKED or there.max() < UNMASKED:
        return None
    height, width = here.shape
    room = (2 * height, 2 * width)
    agreement = np.fft.irfft2(np.conj(np.fft.rfft2(here, room)) * np.fft.rfft2(there, room), room)
    y, x = np.unravel_index(int(agreement.argmax()), room)
    down = int(y) + _peak(agreement[:, x], int(y))
    right = int(x) + _peak(agreement[y], int(x))
    return (right - room[1] if x >= width else right), (down - room[0] if y >= height else down)


def _peak(values: NDArray[np.float64], at: int) -> float:
    """How far beside ``at`` a parabola through it and its neighbours is greatest."""
    before, here, after = values[at - 1], values[at], values[(at + 1) % len(values)]
    bent = before - 2 * here + after
    return float(np.clip((before - after) / (2 * bent), -0.5, 0.5)) if bent < 0 else 0.0


def _moved(effects: FloatArray, free: FloatArray, way: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """Effects and where they are free (h, w), with that way undone, and ``ASTRAY`` pixels wider all around."""
    height, width = free.shape
    back = np.array([[1, 0, way[0] - ASTRAY], [0, 1, way[1] - ASTRAY]], np.float64)
    size = (width + 2 * ASTRAY, height + 2 * ASTRAY)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shifted, seen = (np.asarray(cv2.warpAffine(image, back, size, flags=how), np.float32) for image in (effects, free))
    return shifted, seen


def _patches_apart(here: FloatArray, free: FloatArray, there: FloatArray, seen: FloatArray) -> FloatArray:
    """(h, w) how unlike patches of one frame are to those most alike of the other, which is wider; NaN if unknown."""
    height, width = free.shape
    least = np.full(free.shape, np.nan, np.float32)
    square_here, square_there = np.square(here), np.square(there)
    for down, right in product(range(2 * ASTRAY + 1), repeat=2):
        at = np.s_[down : down + height, right : right + width]
        both = free * seen[at]
        apart = _patch(np.square(here - there[at]).mean(-1) * both)
        power = _patch((square_here + square_there[at]).mean(-1) * both)
        share = _patch(both)
        unlike = (apart + QUIET**2 * share) / (power + QUIET**2 * share + np.float32(1e-9))
        least = np.fmin(least, np.where(share > ENOUGH, unlike, np.nan))
    return np.asarray(least, np.float32)


def _patch(values: FloatArray) -> FloatArray:
    return np.asarray(cv2.blur(np.ascontiguousarray(values, np.float32), (WINDOW, WINDOW)), np.float32)
