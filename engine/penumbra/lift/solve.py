"""The exact solution (DESIGN 4, steps 3 and 4): closed form, per pixel, nothing iterative."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.compositing import transmittances
from penumbra.lift.evidence import smoothstep

# Coverage below which the clean plate keeps the plate's own pixel, so that grain survives where nothing is owned.
FLOOR = 0.02
# Largest opacity a shadow is raised to: the plate's black over a bright clean plate still lets the logarithm exist.
DEEPEST = 1 - 2.0**-22
HALF_MAX = 65504.0


class Precision(Enum):
    """The precision layers are written in."""

    HALF = "half"
    FLOAT = "float"

    def nearest(self, values: FloatArray) -> FloatArray:
        """Values as a file of this precision gives them back; half never overflows to infinity."""
        if self is Precision.FLOAT:
            return values.astype(np.float32)
        return np.clip(values, -HALF_MAX, HALF_MAX).astype(np.float16).astype(np.float32)

    def upward(self, values: FloatArray) -> FloatArray:
        """Alphas in [0, 1] to representable ones not below: one rounded down could no longer darken enough."""
        if self is Precision.FLOAT:
            # 1 - alpha carries the rounding of alpha itself, half a unit in the last place below 1.
            return np.where(values > 0, np.minimum(values + 2.0**-22, 1), 0).astype(np.float32)
        near = values.astype(np.float16)
        above = np.nextafter(near, np.float16(np.inf))
        return np.where(near < values, above, near).astype(np.float32)


def solve(
    plate: FloatArray,
    clean: FloatArray,
    alphas: Sequence[FloatArray],
    colours: Sequence[FloatArray],
    precision: Precision,
    presence: FloatArray | None = None,
) -> tuple[FloatArray, list[FloatArray]]:
    """Background and premultiplied RGBA layers, back to front, whose ``over`` is the plate.

    ``plate``, ``clean``: H x W x 3 scene-linear. ``alphas``: H x W in [0, 1] and ``colours``: H x W x 3 premultiplied,
    linear, >= 0: what the network wants, back to front. ``presence``: H x W in [0, 1], how surely the layers own the
    pixel, their coverage where it is None: below ``FLOOR`` the background keeps it. The colours returned are the
    closest to those that recompose, the alphas the given ones, raised where the plate is darker than they allow.
    """
    plate = plate.astype(np.float32)
    coverage = -np.expm1(
        np.sum([np.log1p(-np.minimum(alpha, 1 - 1e-7).astype(np.float64)) for alpha in alphas], axis=0)
    )
    present = coverage if presence is None else np.where(coverage > 0, presence, 0)
    owned = smoothstep(present, FLOOR, 3 * FLOOR)[..., None]
    # Not clean + (1 - owned) * (plate - clean): beside a bright clean plate a dark plate would be lost to cancellation.
    background = precision.nearest(owned * clean + (1 - owned) * plate)
    raised = [precision.upward(alpha) for alpha in _raise(plate, background, alphas, coverage, present)]
    raised = _close(plate, background, raised)
    seen, through = transmittances(raised)
    rest = np.maximum(plate - through[..., None] * background, 0)
    covered = (present > FLOOR)[..., None]
    solved = _distribute(rest, seen, raised, colours)
    layers = [
        np.concatenate([np.where(covered, precision.nearest(colour), 0), alpha[..., None]], axis=-1)
        for colour, alpha in zip(solved, raised, strict=True)
    ]
    return background, layers


def _raise(
    plate: FloatArray,
    background: FloatArray,
    alphas: Sequence[FloatArray],
    coverage: FloatArray,
    present: FloatArray,
) -> list[FloatArray]:
    """Alphas raised where the layers must darken more than they do, keeping each layer's share.

    All transmittances go to the same power k = log(1 - need) / log(1 - coverage); nothing is owned below the floor.
    """
    ratio = np.min(plate / np.maximum(background, 1e-6), axis=-1)
    need = np.clip(1 - ratio, 0, DEEPEST)
    short = (present > FLOOR) & (need > coverage)
    # Where nothing is short the logarithms are not needed: 1/2 keeps them finite.
    power = np.where(short, np.log1p(-np.where(short, need, 0.5)) / np.log1p(-np.where(short, coverage, 0.5)), 1)
    return [
        # 1 - (1 - alpha)^k by its logarithm: a faint alpha raised to a high power would lose its digits otherwise.
        np.where(present > FLOOR, _opacity(alpha, power), 0).astype(np.float32)
        for alpha in alphas
    ]


def _opacity(alpha: FloatArray, power: NDArray[np.floating]) -> FloatArray:
    """1 - (1 - alpha)^power, in [0, 1]."""
    opaque = alpha >= 1
    result = -np.expm1(power * np.log1p(-np.where(opaque, 0, alpha).astype(np.float64)))
    return np.where(opaque, 1, np.clip(result, 0, 1)).astype(np.float32)


def _close(plate: FloatArray, background: FloatArray, alphas: list[FloatArray]) -> list[FloatArray]:
    """Layers made opaque where even the deepest shadow lets too much of a very bright clean plate through."""
    _, through = transmittances(alphas)
    leak = through[..., None] * background - plate * (1 + 2.0**-11)
    closed = leak.max(axis=-1) > 2.0**-13
    return [np.where(closed & (alpha > 0), 1, alpha).astype(np.float32) for alpha in alphas]


def _distribute(
    rest: FloatArray, seen: Sequence[FloatArray], alphas: Sequence[FloatArray], colours: Sequence[FloatArray]
) -> list[FloatArray]:
    """Premultiplied colours >= 0 near ``colours`` with sum of seen * colour = rest, per channel.

    Too bright together: all are scaled down. Too dark: the excess goes to the layers that cover and are seen, so
    that a layer hidden behind another is not pushed to absurd values by a front layer's error.
    """
    total = sum((t[..., None] * c for t, c in zip(seen, colours, strict=True)), np.zeros_like(rest))
    scale = np.where(total > rest, rest / np.maximum(total, 1e-12), 1)
    weights = [t * a for t, a in zip(seen, alphas, strict=True)]
    norm = sum((t * w for t, w in zip(seen, weights, strict=True)), np.zeros_like(weights[0]))[..., None]
    excess = np.maximum(rest - total, 0) / np.maximum(norm, 1e-12)
    return [(c * scale + w[..., None] * excess).astype(np.float32) for c, w in zip(colours, weights, strict=True)]
