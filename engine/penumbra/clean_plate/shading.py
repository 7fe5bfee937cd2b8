"""How much darker a lens draws a picture's corners than its middle: seen by a camera that turns, and evened out.

A place that comes from the middle of the picture to its border becomes darker by as much as a faint shadow would make
it. A camera that stands shows every place at one distance from the middle, and there is nothing to even out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penumbra.belief import smoothstep
from penumbra.clean_plate.exposure import Thumbnails, placed
from penumbra.clean_plate.mosaic import Mosaic, mapped
from penumbra.color import FloatArray

MOST_FRAMES, MOST_PLACES = 64, 6000
FEWEST = 3  # frames that see a place
ALIKE = 1e8  # condition number from which two terms cannot be told apart
ROUNDS = 8
BAND = 64  # rows shaded at a time
TUKEY = 4.685  # standard deviations, from which a difference is something else
# How much darker the corners must be to be worth it, how dark they may be, and what is left of the differences at most.
FAINTEST, DARKEST, EXPLAINED = 0.01, 0.7, 0.98
# A ceiling, as a share of the brightest, that so many pixels reach is where the picture was cut off; from the first to
# the second share of it the lens no longer tells.
AT_CEILING, CUT_OFF, UNTOLD = 0.999, 1e-3, (0.93, 0.99)


@dataclass(frozen=True)
class Shading:
    """Light that reaches the picture, as a share of that in its middle: exp(square r^2 + fourth r^4), r the distance
    from the middle in half diagonals. An even polynomial is how falloff is usually given (Goldman, Vignette and
    exposure calibration and compensation, 2010); of its logarithm, so that least squares are linear. 1 by default.
    """

    square: float = 0.0
    fourth: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.square or self.fourth)

    def at(self, size: tuple[int, int]) -> FloatArray:
        """(H, W) at every pixel of a picture of that size."""
        height, width = size
        y, x = (np.arange(n, dtype=np.float32) + np.float32(0.5 - n / 2) for n in size)
        away = (y[:, None] ** 2 + x[None] ** 2) / np.float32((height**2 + width**2) / 4)
        return np.exp(away * (np.float32(self.square) + np.float32(self.fourth) * away))


class Ceiling:
    """Finds the value at which a clip's highlights are cut off, from its frames one after the other."""

    def __init__(self) -> None:
        self._most, self._reached, self._seen = 0.0, 0, 0

    def add(self, plate: FloatArray) -> None:
        """Looks at a frame (H, W, 3)."""
        most = float(plate.max())
        if not np.isfinite(most):
            return
        if most * AT_CEILING > self._most:
            self._reached = 0
        self._most = max(self._most, most)
        self._reached += int((plate >= AT_CEILING * self._most).sum())
        self._seen += plate.size

    @property
    def value(self) -> float:
        """Infinite where too few pixels are that bright."""
        return self._most if self._reached > CUT_OFF * max(self._seen, 1) else float("inf")


def shade(background: FloatArray, light: FloatArray, ceiling: float) -> None:
    """Makes an evened background (H, W, 3), in place, what the lens shows of it, ``light`` (H, W); what was cut off at
    ``ceiling`` is cut off at the border of the picture as it is in the middle.
    """
    for top in range(0, len(background), BAND):
        part, share = background[top : top + BAND], light[top : top + BAND, :, None]
        if np.isfinite(ceiling):
            share = share + smoothstep(part * np.float32(1 / ceiling), *UNTOLD) * (1 - share)
        part *= share
        np.minimum(part, np.float32(ceiling), out=part)


def estimate_shading(thumbnails: Thumbnails, mosaics: tuple[Mosaic, ...], gains: FloatArray) -> Shading:
    """The lens's, from how what a place shows changes with its distance from the middle of the picture.

    By least squares on logarithms, with a brightness of its own for every place and every frame, and Tukey's weights.
    None is found where the camera hardly moves, or where the corners would be brighter than the middle.
    """
    light, away = _samples(thumbnails, mosaics, gains)
    told = np.isfinite(light)
    if not told.any():
        return Shading()
    light, away = np.where(told, light, 0), np.where(told, away, 0)
    before = _fitted(light, np.empty((0, *light.shape)), told)[1]
    for powers in ((1, 2), (1,)):
        found, left = _fitted(light, np.stack([away**power for power in powers]), told)
        shading = Shading(*map(float, found))
        slopes = shading.square + 2 * shading.fourth * np.linspace(0, 1, 9)
        corner = 1 - float(np.exp(shading.square + shading.fourth))
        if (slopes <= 0).all() and FAINTEST < corner < DARKEST and left < EXPLAINED * before:
            return shading
    return Shading()


def _samples(
    thumbnails: Thumbnails, mosaics: tuple[Mosaic, ...], gains: FloatArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(frames, places) logarithms of what frames show, NaN where they do not, and squares of the distance from their
    middles in half diagonals; of places that several frames see.
    """
    light, away = [], []
    shape = thumbnails.colour.shape[1:3]
    half = np.array(shape[::-1]) * thumbnails.block[::-1] / 2
    served = [mosaic for mosaic in mosaics if not mosaic.still]
    for mosaic in served:
        most = min(MOST_FRAMES // len(served) + 1, mosaic.last + 1 - mosaic.first)
        frames = np.unique(np.linspace(mosaic.first, mosaic.last, most).astype(int)).tolist()
        shown = np.stack([placed(thumbnails, mosaic, index, gains[index]).mean(-1) for index in frames])
        sizes = zip(shown.shape[1:], (mosaic.height, mosaic.width), strict=True)
        y, x = ((np.arange(few) + 0.5) * many / few - 0.5 for few, many in sizes)
        points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        places = shown.reshape(len(frames), -1)
        least = 0.02 * np.nanmedian(places) if np.isfinite(places).any() else np.inf
        places = np.where(places > max(least, 1e-4), places, np.nan)
        known = np.flatnonzero(np.isfinite(places).sum(0) >= FEWEST)
        known = known[:: 1 + len(known) * len(served) // MOST_PLACES]
        if not len(known):
            continue
        seen_at = np.stack([mapped(np.linalg.inv(mosaic.homographies[index]), points[known]) for index in frames])
        light.append(np.log(places[:, known]))
        away.append(((seen_at + 0.5 - half) ** 2).sum(-1) / (half**2).sum())
    if not light:
        return np.zeros((0, 0)), np.zeros((0, 0))
    return _side_by_side(light), _side_by_side(away)


def _side_by_side(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(frames of all, places of all): NaN where the frames of one mosaic meet the places of another."""
    rows, columns = (sum(part.shape[axis] for part in parts) for axis in (0, 1))
    whole = np.full((rows, columns), np.nan)
    row = column = 0
    for part in parts:
        whole[row : row + part.shape[0], column : column + part.shape[1]] = part
        row, column = row + part.shape[0], column + part.shape[1]
    return whole


def _fitted(
    light: NDArray[np.float64], terms: NDArray[np.float64], told: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Factors (n,) of ``terms`` (n, frames, places) in ``light`` (frames, places), and the typical size of what they,
    frames and places leave.
    """
    weight = told.astype(np.float64)
    factors: NDArray[np.float64] = np.zeros(len(terms))
    apart = light
    for _ in range(ROUNDS):
        value, features = _without_means(light, weight), _without_means(terms, weight)
        weighted = weight * features
        normal = np.tensordot(weighted, features, ((1, 2), (1, 2)))
        target = np.tensordot(weighted, value, 2)
        if len(terms) and np.linalg.cond(normal) > ALIKE:
            return np.zeros(len(terms)), float("inf")
        factors = np.asarray(np.linalg.solve(normal, target), np.float64)
        apart = value - np.tensordot(factors, features, 1)
        far = apart / max(TUKEY * _scale(apart, told), 1e-9)
        weight = told * np.maximum(1 - far**2, 0) ** 2
    return factors, _scale(apart, told)


def _scale(values: NDArray[np.float64], told: NDArray[np.bool_]) -> float:
    """A standard deviation by the median of absolute values."""
    return float(1.4826 * np.median(np.abs(values[told])))


def _without_means(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (..., frames, places) less the means of every place and every frame, by turns."""
    for _ in range(6):
        for axis in (-2, -1):
            many = np.maximum(weight.sum(axis, keepdims=True), 1e-9)
            values = values - (weight * values).sum(axis, keepdims=True) / many
    return values
