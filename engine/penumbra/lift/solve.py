"""The exact solution (DESIGN 4, steps 3 and 4): closed form, per pixel, nothing iterative.

Planes first: plate and background are (3, H, W), alphas (K, H, W), colours (K, 3, H, W), layers back to front.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from penumbra.belief import smoothstep
from penumbra.color import FloatArray
from penumbra.compositing import transmittances

# Coverage below which the clean plate keeps the plate's own pixel, so that grain survives where nothing is owned.
FLOOR = 0.02
# Largest opacity a shadow is raised to: the plate's black over a bright clean plate still lets the logarithm exist.
DEEPEST = 1 - 2.0**-22
# A layer that only darkens is as opaque as it must be to darken so much; where the network claims this much more, it
# means a thing that hides the ground, and is believed.
MUCH_MORE = (0.25, 0.5)
BRIGHTER = (1.0, 1.1)
HALF_MAX = np.float32(65504.0)


class Precision(Enum):
    """The precision layers are written in."""

    HALF = "half"
    FLOAT = "float"

    def nearest(self, values: FloatArray) -> FloatArray:
        """Values as a file of this precision gives them back; half never overflows to infinity."""
        if self is Precision.FLOAT:
            return values.astype(np.float32, copy=False)
        # In float32, several times faster than by way of float16: eleven bits by Veltkamp's splitting (1968)...
        rounded = np.clip(values, -HALF_MAX, HALF_MAX)
        spread = rounded * np.float32(2**13 + 1)
        rounded -= spread
        rounded += spread
        # ...and to whole multiples of the smallest half, by one whose unit in the last place that is.
        rounded += np.float32(0.75)
        rounded -= np.float32(0.75)
        return rounded

    def upward(self, values: FloatArray) -> FloatArray:
        """Alphas in [0, 1] to representable ones not below: one rounded down could no longer darken enough."""
        if self is Precision.FLOAT:
            # 1 - alpha carries the rounding of alpha itself, half a unit in the last place below 1.
            return np.asarray(np.minimum(values + np.float32(2.0**-22), 1) * (values > 0), np.float32)
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32) + np.uint32(0x1FFF)
        up = (bits & np.uint32(0xFFFFE000)).view(np.float32)
        least = (up + np.float32(0.75)) - np.float32(0.75)
        least += (least < up) * np.float32(2.0**-24)
        return least


def solve(
    plate: FloatArray, clean: FloatArray, alphas: FloatArray, colours: FloatArray, presence: FloatArray,
    precision: Precision, outside: NDArray[np.bool_] | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray]:  # fmt: skip
    """Background, alphas and premultiplied colours whose ``over`` is the plate.

    ``plate``, ``clean``: (3, H, W) scene-linear. ``alphas``: (K, H, W) in [0, 1] and ``colours``: (K, 3, H, W)
    premultiplied, linear, >= 0: what the network wants, back to front. ``presence``: H x W in [0, 1], how surely the
    layers own the pixel: below ``FLOOR`` the background keeps it. ``outside``: H x W, True where no mask is, so that a
    darker plate is a shadow. The colours returned are the closest to those that recompose, the alphas the given ones,
    raised where the plate is darker than they allow and lowered where a shadow needs less.
    """
    present = presence * (alphas.max(axis=0) > 0)
    owned = smoothstep(present, FLOOR, 3 * FLOOR)
    # Not clean + (1 - owned) * (plate - clean): beside a bright clean plate a dark plate would be lost to cancellation.
    background = precision.nearest(owned * clean + (1 - owned) * plate)
    covered = present > FLOOR
    raised = precision.upward(_settle(plate, background, alphas * covered, covered, outside))
    seen, through = transmittances(list(raised))
    rest = plate - through * background
    leaks = (rest + plate * np.float32(2.0**-11)).min(axis=0) < -(2.0**-13)
    if leaks.any():
        # Even the deepest shadow lets too much of a very bright clean plate through.
        raised = np.where(leaks & (raised > 0), np.float32(1), raised)
        seen, through = transmittances(list(raised))
        rest = plate - through * background
    solved = _distribute(np.maximum(rest, 0), np.stack(seen), raised, colours)
    return background, raised, precision.nearest(solved * covered)


def _settle(
    plate: FloatArray,
    background: FloatArray,
    alphas: FloatArray,
    covered: NDArray[np.bool_],
    outside: NDArray[np.bool_] | None,
) -> FloatArray:
    """Alphas as the darkness of the plate asks for, keeping each layer's share.

    All transmittances go to the same power k = log(1 - wanted) / log(1 - coverage); nothing is owned below the floor.
    """
    ratios = plate / np.maximum(background, np.float32(1e-6))
    need = np.clip(1 - ratios.min(axis=0), 0, np.float32(DEEPEST))
    coverage = 1 - np.prod(1 - alphas, axis=0)
    wrong = covered & (need > coverage)
    wanted = need
    if outside is not None:
        more = coverage - need
        shadow = (1 - smoothstep(ratios.max(axis=0), *BRIGHTER)) * (1 - smoothstep(more, *MUCH_MORE))
        wanted = need + np.maximum(more, 0) * (1 - shadow)
        wrong |= covered & outside & (wanted < coverage)
    return _to_coverage(alphas, wanted, wrong)


def _to_coverage(alphas: FloatArray, wanted: FloatArray, wrong: NDArray[np.bool_]) -> FloatArray:
    """Alphas (K, H, W) that together cover ``wanted`` (H, W) where they are ``wrong``."""
    if not wrong.any():
        return alphas
    # In double precision and by logarithms: a faint alpha raised to a high power would lose its digits otherwise.
    faint = alphas[:, wrong].astype(np.float64)
    opaque = faint >= 1
    logs = np.log1p(-np.where(opaque, 0, faint))
    depth = np.log1p(-np.minimum(faint, 1 - 1e-7)).sum(axis=0)
    power = np.log1p(-wanted[wrong].astype(np.float64)) / np.minimum(depth, -1e-12)
    settled = alphas.copy()
    settled[:, wrong] = np.where(opaque, 1, np.clip(-np.expm1(power * logs), 0, 1))
    return settled


def _distribute(rest: FloatArray, seen: FloatArray, alphas: FloatArray, colours: FloatArray) -> FloatArray:
    """Premultiplied colours >= 0 near ``colours`` with sum of seen * colour = rest, per channel.

    Too bright together: all are scaled down. Too dark: the excess goes to the layers that cover and are seen, so
    that a layer hidden behind another is not pushed to absurd values by a front layer's error.
    """
    total = (seen[:, None] * colours).sum(axis=0)
    scale = np.minimum(rest / np.maximum(total, np.float32(1e-12)), 1)
    weights = seen * alphas
    norm = np.maximum((seen * weights).sum(axis=0), np.float32(1e-12))
    excess = np.maximum(rest - total, 0) / norm
    solved: FloatArray = colours * scale + weights[:, None] * excess
    return solved
