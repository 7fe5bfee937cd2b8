"""Whose effect: the network's small layers as coefficients of what is known at the plate's own resolution.

A fast guided filter (He and Sun 2015) of an unusual form. The network's small alpha of layer i is explained, near
every small pixel, as m_i + k_i b + q_i o_i: its own mask; a share k_i of b, what the plate shows of effects outside all
masks; a share q_i of o_i, the others' masks, which its effects fall on. m, b and o are known at full resolution, k and
q are smooth, so that edges come from the plate and the masks and nothing of an object's opacity leaks beyond its mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.belief import smoothstep
from penumbra.color import FloatArray
from penumbra.frames import BoolArray
from penumbra.lift.shade import Shade, follow
from penumbra.resizing import footprint

# Alpha of a pixel the network gives to nobody: its output is limited to tanh 3.
LEAST_ALPHA = np.float32((1 - np.tanh(3.0)) / 2)
# Added to it where the background moves by itself: there nobody owns by the network's faint alpha, and less still where
# it is astir. What darkens as a shadow does needs less, and nothing where it touches the object; nor does what the
# object holds.
RESTLESS_LEAST, ASTIR_LEAST = np.float32(0.05), np.float32(0.1)
DARK_LEAST, SHADOW_LEAST = np.float32(0.015), np.float32(0.006)
# At 64 small lines, how often what is known of one small pixel is averaged with its neighbours', never across places
# that show no effect; and how many pixels a share is carried on into effects that the network gives to nobody.
AVERAGINGS = 8
STEPS = 4
# The network's alpha above its least from which it is looked for what a layer owns, and how many small pixels around.
FAINT, NEARLY = np.float32(0.01), 2
# What is left of a share one small pixel further on.
FADING = np.float32(0.6)
# The same where a whole small pixel shows an effect for certain, by all of its pixels (mean belief from .. to)
# or by their mean: what nothing parts from an effect with an owner is its owner's, however little of it the network
# sees.
SURE = (0.9, 1.0)
SURE_STEPS = 32
WHOLLY_OUTSIDE = 0.99  # share of a small pixel outside all masks, from which its mean shows no object
OWNED = (0.0, 0.3)  # what all layers together own, from none to where nobody else's share is carried to
SURE_FADING = np.float32(0.95)
# Share of the network's own alpha that is ownership even where the fit finds none: a rim that a slightly small mask
# leaves over belongs to the object beside it, unless any effect's owner claims it.
BESIDE = np.float32(0.1)
# Mean square of the guide from which a fit is trusted more than the network's own value.
TRUST = np.float32(0.1)


@dataclass(frozen=True)
class Ownership:
    """Small coefficient planes (C, h, w): for each layer k, q and linear RGB, objects in their masks' order; then one
    plane with the share of places around that show an effect, for pixels under a mask's soft edge. ``followed``
    (H', W'): where shadows were followed, at :func:`penumbra.lift.shade.fine_size`.
    """

    planes: FloatArray
    count: int
    followed: BoolArray

    def most(self, shape: tuple[int, int], rows: slice, columns: slice) -> float:
        """The most that the layers together can own of effects in a tile, 0 to 1."""
        small = tuple(
            footprint(few, many, span)
            for few, many, span in zip(self.planes.shape[1:], shape, (rows, columns), strict=True)
        )
        shares = self.planes[: 5 * self.count : 5][(slice(None), *small)]
        return float(1 - np.prod(1 - np.clip(shares, 0, 1), axis=0).min())


def fit_ownership(
    alphas: FloatArray, colours: FloatArray, masks: FloatArray, effects: FloatArray, outside: FloatArray,
    certain: FloatArray, calm: FloatArray, astir: FloatArray, plain: FloatArray, dark: FloatArray,
    shade: Shade, lines: int,
) -> Ownership:  # fmt: skip
    """The coefficients that explain the network's layers.

    Args:
        alphas: (K, h, w) the network's, in [0, 1].
        colours: (K, h, w, 3) the network's, linear, straight, >= 0.
        masks: (K, h, w) mean coverage of every small pixel.
        effects: (h, w) mean belief in an effect, counted outside all masks only.
        outside: (h, w) share of pixels outside all masks.
        certain: (h, w) how certainly every small pixel, taken as a whole, differs from the clean plate.
        calm: (h, w) in [0, 1] where the background does nothing by itself that could be taken for an effect.
        astir: (h, w) in [0, 1] where it does much at this very frame.
        plain: (h, w) in [0, 1] where it may, but what is shown is a shadow's kind.
        dark: (h, w) in [0, 1] where the plate is much darker than around, be it of another hue.
        shade: the plate's shadows.
        lines: height of the whole frame in small pixels, which distances go by; h unless this is a part of it.
    """
    averagings = scaled(AVERAGINGS, lines)
    shade, wet = shade.told(alphas)
    plain = plain * (1 - wet)
    held = shade.at_hand(plain.shape)
    least = RESTLESS_LEAST + ASTIR_LEAST * astir
    least += (DARK_LEAST - least) * dark
    more = least * (1 - np.maximum(plain, held)) + SHADOW_LEAST * plain * (1 - shade.beside(plain.shape))
    own = np.clip(alphas - LEAST_ALPHA - (1 - calm) * more, 0, 1)
    calm = np.maximum(np.maximum(calm, plain), held.max(axis=0))
    beyond = np.maximum(own - masks, 0)
    shown = np.asarray(effects / np.maximum(outside, np.float32(0.25)), np.float32)
    opening = _opening(shown) * calm
    share = _fit(beyond * outside, effects * outside, opening, beyond, averagings)
    falling = _fit_falling(np.maximum(beyond - share * effects, 0), masks, scaled(1, lines))
    share = _spread(np.maximum(share, BESIDE * own), opening * FADING, scaled(STEPS, lines))
    vacant = 1 - smoothstep(np.asarray(1 - np.prod(1 - share, axis=0), np.float32), *OWNED)
    # Foam beside a body differs for certain, too, and is not the body's.
    sure = np.maximum(smoothstep(shown, *SURE), certain * (outside > WHOLLY_OUTSIDE)) * calm
    share = _spread(share, sure * vacant * SURE_FADING, scaled(SURE_STEPS, lines))
    share, followed = follow(share, shade)
    around = _average(effects, opening, averagings) / (_average(outside, opening, averagings) + np.float32(1e-3))
    each = np.concatenate([share[:, None], falling[:, None], colours.transpose(0, 3, 1, 2)], axis=1)
    planes = np.concatenate([each.reshape(-1, *around.shape), around[None]]).astype(np.float32)
    return Ownership(planes, len(own), followed)


def reach_of(alphas: FloatArray, lines: int) -> FloatArray:
    """(h, w) the most that any layer can own at and near each small pixel; where it is 0 nothing need be lifted.

    ``lines`` as :func:`fit_ownership` has it.
    """
    most = np.maximum(alphas.max(axis=0) - LEAST_ALPHA, 0).astype(np.float32)
    reach = 2 * sum(scaled(steps, lines) for steps in (AVERAGINGS, STEPS, SURE_STEPS)) + 1
    return np.asarray(cv2.dilate(most, np.ones((reach, reach), np.uint8)), np.float32)


def whereabouts(alphas: FloatArray, masks: FloatArray, shape: tuple[int, int]) -> tuple[slice, slice] | None:
    """The rows and columns of a plate (H, W) that hold nearly all that layers own of it; None where there is nothing.

    ``alphas``, ``masks``: (K, h, w) the network's, and mean coverages.
    """
    owned = np.maximum(alphas.max(axis=0) - LEAST_ALPHA, masks.max(axis=0)) > FAINT
    spans = []
    for axis, (few, many) in enumerate(zip(owned.shape, shape, strict=True)):
        found = np.flatnonzero(owned.any(axis=1 - axis))
        if not len(found):
            return None
        first, last = max(int(found[0]) - NEARLY, 0), min(int(found[-1]) + 1 + NEARLY, few)
        spans.append(slice(first * many // few, -(-last * many // few)))
    return spans[0], spans[1]


def _others(masks: FloatArray, index: int) -> FloatArray:
    """The largest coverage of all masks but one's, where its own lets it show."""
    rest = np.delete(masks, index, axis=0)
    if not len(rest):
        return np.zeros_like(masks[index])
    return np.asarray(rest.max(axis=0) * (1 - masks[index]), np.float32)


def _fit_falling(left: FloatArray, masks: FloatArray, averagings: int) -> FloatArray:
    """(K, h, w) the share q of each layer in the other objects' masks, from what the effects outside leave of it."""
    fitted = []
    for index, value in enumerate(left):
        others = _others(masks, index)
        none = np.zeros_like(value)[None]
        fitted.append(_fit(value[None] * others, others**2, _opening(others), none, averagings)[0])
    return np.stack(fitted)


def _fit(values: FloatArray, guide: FloatArray, opening: FloatArray, prior: FloatArray, times: int) -> FloatArray:
    """(K, h, w) of the locally best factors: values = factor * guide, by weighted least squares without intercept.

    Without one because nothing is owned where the guide shows nothing. Where it hardly shows, grain may be all it is:
    there the factor is ``prior`` (K, h, w), the value itself, not its ratio to next to nothing.
    """
    power = _average(guide * guide, opening, times) + TRUST
    fitted = [(_average(guide * v, opening, times) + TRUST * p) / power for v, p in zip(values, prior, strict=True)]
    return np.asarray(np.clip(np.stack(fitted), 0, 1), np.float32)


def _opening(shown: NDArray[np.floating]) -> FloatArray:
    """(h, w) how freely a small pixel exchanges with its neighbours: fully where a guide shows on half of it."""
    return np.asarray(np.clip(2 * shown, 0, 1), np.float32)


def _average(image: FloatArray, opening: FloatArray, times: int) -> FloatArray:
    """A Gaussian mean along what is open, as a walk: effects that touch share it, those that do not never do."""
    for _ in range(times):
        image = np.asarray(cv2.GaussianBlur(image, (3, 3), 0.85, borderType=cv2.BORDER_REPLICATE), np.float32) * opening
    return image


def _spread(shares: FloatArray, passing: FloatArray, steps: int) -> FloatArray:
    """(K, h, w) shares carried on into effects that nothing parts from those the network is sure of.

    ``passing`` (h, w): what of a share reaches a small pixel from the one beside it.
    """
    spread = []
    for share in shares:
        for _ in range(steps):
            further = np.asarray(cv2.dilate(share, np.ones((3, 3), np.uint8)), np.float32)
            share = np.maximum(share, further * passing)
        spread.append(share)
    return np.stack(spread)


def scaled(steps: int, lines: int) -> int:
    """A number of small pixels given for a picture of 64 lines, at so many lines; at least 1."""
    return max(1, steps * lines // 64)
