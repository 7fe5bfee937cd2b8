"""What the frame around the objects says of the background beneath them: the clean plate follows it there.

Sand grows wet, foam runs out, a light is switched on: where a frame departs from its clean plate around an object it
does so behind the object too, and a layer taken away would leave the object's outline. Near every pixel the frame is
told from the clean plate by a local linear model (He, Sun and Tang, Guided Image Filtering, 2013), fitted by
normalised convolution (Knutsson and Westin, 1993) to pixels that neither the plate nor the network takes for an effect.
All of it at the size unrest is judged at, and only as far as unrest says that the background departs by itself: where
it does not, the clean plate stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.belief import Noise, belief, smoothstep
from penumbra.color import DisplayEncoding, FloatArray
from penumbra.patches import SHOWN, clone, find_patches, relation
from penumbra.resizing import enlarge
from penumbra.tiling import reached
from penumbra.unrest import OUTSIDE, QUIET, SmallFrame, departure, larger_of, small_frame

# Unrest, as a multiple of the clip's noise, from which on a frame departs, and departs for certain.
DEPARTS = (3.0, 5.0)
# How far it may be followed, as a multiple of unrest: beyond this the plate's difference begins to be an effect.
FARTHEST = 3.0
# Optical depth of the network's alphas is multiplied by this where they take trust away: a tenth leaves a thirtieth.
SUSPICION = 32
# The same where pixels are cloned or a hole's rim: refined weights claim a little of all water, and would leave none.
CLONED_SUSPICION = 8
WINDOW = 0.035  # of the small width: standard deviation of the window a model is fitted in
# What a window four times as wide weighs beside it, where the narrow one holds little to be told from.
WIDER, WIDE_SHARE = 4, 1e-2
# Variance of a contrast that is grain's or texture's, all channels: the clean plate keeps it.
TEXTURE = 3 * 0.02**2
CLAIMED = 0.1  # by the network, from which on what lies beneath may be seen
NEAR = 1.5  # windows from there to where nothing is followed any more
LEAST_TOLD = 1e-4  # trusted share of both windows below which a model fades
# Of the squared difference around, how much a model must explain to count, and to count alone: what moves to and fro
# is no departure, and one that is has this much in common with what is beside it.
EXPLAINED = (0.3, 0.6)
# From which on the followed clean plate is better than a patch, and alone: how much the model explains of the squared
# difference around, and how much it has of the frame's own contrast.
WELL_TOLD, TEXTURED = (0.85, 0.97), (0.4, 0.7)
FITS = 2  # the second doubts what is an effect beside the first one's background


def follow_frame(
    plate: FloatArray,
    clean: FloatArray,
    masks: Sequence[FloatArray],
    alphas: FloatArray,
    encoding: DisplayEncoding,
    noise: Noise,
    restless: FloatArray | None,
) -> FloatArray:
    """Lets ``clean`` follow the frame around the objects, in place, and returns what it departs by then.

    Args:
        plate: (H, W, 3) scene-linear.
        clean: (H, W, 3) the clean plate at this frame, scene-linear, writable; where it changes it becomes >= 0.
        masks: each (H, W) coverage in [0, 1].
        alphas: (K, h, w) the network's, in [0, 1], of any size.
        encoding: in whose units differences are told.
        noise: the clip's own noise.
        restless: (H, W) the background's deviation over time, display units, or None.

    Returns:
        (H, W) how far the background may be from the followed clean plate by itself, display units, as
        :func:`penumbra.unrest.own_motion` has it.
    """
    small = small_frame(plate, clean, masks, encoding, restless)
    here, least = small.unrest(), np.float32(max(noise.level, QUIET))
    broadly = _broad(smoothstep(here / least, *DEPARTS))
    through = _through(alphas, here.shape)
    held = (small.covered > 0) | (1 - through > CLAIMED)
    departs = broadly * _near(held)
    if departs.any():
        behind, left = small.behind, here
        for _ in range(FITS):
            told = _tell(small, _trust(small, behind, through, left, noise, SUSPICION))
            behind = small.behind + _bounded(told.departure, here) * departs[..., None]
            left = here * (1 - departs * (1 - told.remaining))
        apply_change(clean, encoding.decode(small.behind), encoding.decode(behind))
        # What no model tells of the background is beside the hole, in the frame itself.
        unknown = departs * smoothstep(left / least, *DEPARTS) * (1 - told.known)
        trust = _trust(small, behind, through, left, noise, CLONED_SUSPICION)
        hole = (unknown > 0) & _connected(trust < SHOWN, held)
        patches = find_patches(small.shown, behind, hole, trust, broadly > 0.5)
        clone(patches, unknown, plate, clean, small.shown, encoding)
        here = left
    return larger_of(here, restless, plate.shape)


def _through(alphas: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """(h, w) of ``shape``: what all of the network's layers (K, ., .) together let through."""
    through = np.prod(1 - np.clip(alphas, 0, 1), axis=0, dtype=np.float32)
    return np.asarray(cv2.resize(through, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _near(held: NDArray[np.bool_]) -> FloatArray:
    """(h, w) in [0, 1]: 1 where objects are or the network claims them, fading beside: nothing is seen elsewhere."""
    side = 2 * round(2 * NEAR * WINDOW * held.shape[1]) + 1
    widened = cv2.dilate(held.astype(np.float32), np.ones((side, side), np.uint8))
    return np.asarray(cv2.blur(widened, (side, side)), np.float32)


def _connected(where: NDArray[np.bool_], start: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected parts of ``where`` or ``start`` that hold any of ``start``."""
    _, labels = cv2.connectedComponents((where | start).astype(np.uint8), connectivity=8)
    return np.isin(labels, np.unique(labels[start]))


def _broad(departs: FloatArray) -> FloatArray:
    """What is narrower than a model's window is taken out: a restless spot in a shadow would take it for the ground."""
    side = 2 * max(1, round(WINDOW * departs.shape[1])) + 1
    return np.asarray(cv2.morphologyEx(departs, cv2.MORPH_OPEN, np.ones((side, side), np.uint8)), np.float32)


def _trust(
    small: SmallFrame, behind: FloatArray, through: FloatArray, here: FloatArray, noise: Noise, suspicion: int
) -> FloatArray:
    """(h, w) in [0, 1]: 1 where a small pixel shows the background, by masks, plate and network."""
    free = cv2.dilate(small.covered, np.ones((3, 3), np.uint8)) < OUTSIDE
    size = departure(small.shown, behind)
    deviation = here if small.restless is None else np.maximum(here, small.restless)
    return np.asarray(free * (1 - belief(size, noise, deviation)) * through**suspicion, np.float32)


class _Told(NamedTuple):
    """``departure`` (h, w, 3): what is to be added to the small clean plate, display units, carried on from where it is
    trusted; ``remaining`` (h, w): what share of the difference around is left when it has been added; ``known`` (h, w)
    in [0, 1]: how surely nothing is left to be patched, neither tone nor texture.
    """

    departure: FloatArray
    remaining: FloatArray
    known: FloatArray


def _tell(small: SmallFrame, trust: FloatArray) -> _Told:
    shown, behind, weight = small.shown, small.behind, trust[..., None]
    sigma = WINDOW * trust.shape[1]
    told = _spread(trust, sigma)[..., None]
    divisor = np.maximum(told, np.float32(1e-12))
    middle, target = (_spread(image * weight, sigma) / divisor for image in (behind, shown))
    variance, contrast = (
        (_spread(image * image * weight, sigma) / divisor - mean * mean).sum(-1, keepdims=True)
        for image, mean in ((behind, middle), (shown, target))
    )
    alike = (_spread(behind * shown * weight, sigma) / divisor - middle * target).sum(-1, keepdims=True)
    # One slope for all channels, so that what loses contrast takes on no hue of its own.
    slope = np.clip((alike + TEXTURE) / (np.maximum(variance, 0) + TEXTURE), 0, 1)
    model = target + slope * (behind - middle)
    before, after = (_spread((shown - image) ** 2 * weight, sigma).sum(-1, keepdims=True) for image in (behind, model))
    left = np.clip(after / np.maximum(before, np.float32(1e-12)), 0, 1)
    followed = smoothstep(1 - left, *EXPLAINED) * (told / (told + np.float32(LEAST_TOLD)))
    remaining = 1 - followed * (1 - np.sqrt(left))
    textured = 1 - after / divisor / (np.maximum(contrast, 0) + TEXTURE)
    known = smoothstep(1 - left, *WELL_TOLD) * smoothstep(textured, *TEXTURED)
    return _Told((model - behind) * followed, remaining[..., 0], known[..., 0])


def _spread(image: FloatArray, sigma: float) -> FloatArray:
    """A Gaussian mean, and a little of a much wider one."""
    side = 2 * max(1, round(np.sqrt(3) * WIDER * sigma)) + 1
    wide = cv2.boxFilter(image, -1, (side, side), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma, 0.5)) + np.float32(WIDE_SHARE) * wide, np.float32)


def _bounded(departure: FloatArray, here: FloatArray) -> FloatArray:
    """No larger than ``FARTHEST`` times unrest (h, w)."""
    size = np.sqrt(np.square(departure).sum(-1))
    limit = np.minimum(1, np.float32(FARTHEST) * here / np.maximum(size, np.float32(1e-6)))
    return np.asarray(departure * limit[..., None], np.float32)


def apply_change(clean: FloatArray, before: FloatArray, after: FloatArray) -> None:
    """Makes of a clean plate (H, W, 3) that is ``before`` (h, w, 3), made small, one that is ``after``; in place."""
    changed, planes = (after != before).any(-1), relation(before, after)
    for rows, columns in reached(changed, clean.shape):
        large = enlarge(planes, (clean.shape[0], clean.shape[1]), rows, columns)
        part = clean[rows, columns]
        # Interleaved first: arithmetic along strides costs five times as much.
        part *= cv2.merge(list(large[:3]))
        part += cv2.merge(list(large[3:]))
