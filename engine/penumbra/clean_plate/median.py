"""What a place shows when nothing stands on it, from what it showed at some frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import largest_of_channels
from penumbra.belief import DARKER as A_SHADOWS
from penumbra.belief import darkened_alike
from penumbra.clean_plate.centre import centred
from penumbra.clean_plate.kept import ALONE
from penumbra.color import DisplayEncoding, FloatArray
from penumbra.compiled import compiled
from penumbra.frames import BoolArray
from penumbra.threads import for_each, share_of_threads

LINES = 16  # of a tile, that are one piece of work
DOUBT = 4 / 255  # display units between the outer sixths of what a place shows, below which nothing passed over it
SMOOTHING_SIGMA = 2.5  # pixels: grain of few samples must not decide
DIFFERENT = 2.5 / 255  # display units, root of the sum of squares over RGB
FEWEST = 3
FAR_SHARE = 1 / 8  # of the samples, that the farthest ones may be
# Calm is what varies by less than twice DOUBT, or half more than most places do; how many of the pixels around must be.
CALM, CALM_SHARE = (2.0, 1.5), 0.15
# How much darker than the calm ground around, in its standard deviations but no fewer display units, is a shadow's; at
# the edge of one a quarter of it.
DARKER, EDGE = (2.0, 0.03), 0.25
LIT_SHARE, TOLD_SHARE = 1 / 15, 0.8  # of the samples, that must be as lit as around; that must be so or dark
NEAR, MOSTLY = 2, 0.95  # farness up to which an object is near, and how much of the darkness must be then
GROWN = 6  # pixels from a place that is certainly a shadow's to its edge
# How much darker in display units, and in standard deviations of the grain, than at its brightest a place is that a
# shadow lies on for most of the time; and in a shadow's edge. Of the way up from there, what a sample stays below to be
# dark, what it is above to be lit, and above which it shows something else.
SHADED, SHADED_EDGE = (0.03, 3.0), (0.0075, 2.0)
DARK_BELOW, LIT_ABOVE, ELSE_ABOVE = 0.4, 0.6, 1.6
NOTHING_ELSE = 0.97  # of the samples, that must show nothing but the place, dark or lit
TURNS = 0.3  # of the samples, at which it may turn from one to the other: at edges it does with the camera's errors
# Of the samples, that see a place seldom; of a dark part, that must lie beside where a shadow passes.
SELDOM, BESIDE = 1 / 3, 0.5
TEXTURE, TEXTURES = 7, (0.92, 1.08)  # pixels across, over which ground is smooth; how far it may be from that
RESTING = 0.5  # of the pixels around, that must be calm: in surf too much is possible


def median_background(
    stack: FloatArray, farness: NDArray[np.uint8], encoding: DisplayEncoding, around: int, grainless: bool = False
) -> tuple[FloatArray, BoolArray]:
    """The background (H, W, 3) of a tile, and where anything is known (H, W).

    ``stack`` (H, W, 3, S): samples, linear, NaN where one does not see the place; ``farness`` (H, W, S): 0 there, else
    the more the farther the nearest mask was; ``grainless``: whether what is shown is shown exactly. The median over
    all samples, as the paper has it, moved to the centre of the samples around it, since a shadow that passes draws the
    median to its side; where the farthest samples clearly agree on something else, their median: a shadow or reflection
    that lies on a place for most of the clip does so while its maker is near. Where a place is dark only while an
    object is near, and otherwise like the calm ground within ``around`` pixels, the ground; and where it is dark for
    most of the time as by a shadow, and at its brightest like the ground around, what it is then.
    """
    ordered = _ordered(stack)
    count = (farness > 0).sum(-1)
    known: BoolArray = count > 0
    median = _middle(ordered, count)
    spread = _spread(ordered, count, encoding)
    doubtful = known & (spread > DOUBT)
    middle, bright = median, _bright(ordered, count)
    seldom = known & (count <= SELDOM * stack.shape[-1])
    dim = _share_of(ordered, count, 1 / 6) if seldom.any() else None
    del ordered
    median = centred(median, stack, farness, encoding, grainless)
    calm = known & (spread < max(CALM[0] * DOUBT, CALM[1] * float(np.median(spread[known]) if known.any() else 0)))
    if doubtful.any():
        resting = _windowed(calm.astype(np.float32), 2 * around + 1) > RESTING
        _prefer_far(median, stack, farness, count, doubtful, resting, encoding)
    # No light shadow takes less of every channel.
    stays = bool((known & (middle < (1 - A_SHADOWS[0]) * bright).all(-1)).any())
    if stays or (doubtful.any() and dim is not None):
        samples = _Samples(stack, farness, *_ground(encoding.encode(median), calm, around), encoding)
        grain = float(np.median(spread[calm])) / 2 if calm.any() else 0.0
        _prefer_bright(median, middle, bright, samples, known, grain)
        _prefer_lit(median, samples, doubtful)
        if dim is not None:
            _prefer_around(median, dim, samples, seldom)
    return median, known


def _ordered(stack: FloatArray) -> FloatArray:
    """Samples (H, W, 3, S), sorted."""
    ordered = stack.copy()
    for_each(lambda line: ordered[line : line + LINES].sort(axis=-1), range(0, len(stack), LINES), share_of_threads())
    return ordered


def _sample_at(ordered: FloatArray, rank: NDArray[np.intp]) -> FloatArray:
    """The ``rank``-th (...) of sorted samples (..., C, S), every channel by itself: (..., C)."""
    picked = np.empty(ordered.shape[:-1], np.float32)
    samples = np.ascontiguousarray(ordered).reshape(-1, *ordered.shape[-2:])
    _pick(samples, np.ascontiguousarray(rank).reshape(-1), picked.reshape(-1, ordered.shape[-2]))
    return picked


@compiled
def _pick(ordered: FloatArray, rank: NDArray[np.intp], picked: FloatArray) -> None:
    for place in range(len(rank)):
        for c in range(ordered.shape[1]):
            picked[place, c] = ordered[place, c, rank[place]]


def _share_of(ordered: FloatArray, count: NDArray[np.intp], share: float) -> FloatArray:
    """What a share of ``count`` sorted samples (..., 3, S) is darker than: (..., 3)."""
    return _sample_at(ordered, np.rint(np.maximum(count - 1, 0) * share).astype(np.intp))


def _middle(ordered: FloatArray, count: NDArray[np.intp]) -> FloatArray:
    """Median of the first ``count`` (...) of sorted values (..., 3, S); 0 where there are none."""
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, ordered.shape[-1] - 1)
    first, second = _sample_at(ordered, low), _sample_at(ordered, high)
    return np.where((count > 0)[..., None], first + (second - first) / 2, 0).astype(np.float32)


def _bright(ordered: FloatArray, count: NDArray[np.intp]) -> FloatArray:
    """What only so few of ``count`` sorted samples (..., 3, S) exceed that it might be chance: (..., 3)."""
    bright = _sample_at(ordered, np.maximum(count - _fewest(count), 0))
    return np.where((count > 0)[..., None], bright, 0).astype(np.float32)


def _spread(ordered: FloatArray, count: NDArray[np.intp], encoding: DisplayEncoding) -> FloatArray:
    low, high = (_share_of(ordered, count, share) for share in (1 / 6, 5 / 6))
    return largest_of_channels(encoding.encode(high) - encoding.encode(low))


def _prefer_far(
    median: FloatArray, stack: FloatArray, farness: NDArray[np.uint8], count: NDArray[np.intp], doubtful: BoolArray,
    resting: BoolArray, encoding: DisplayEncoding,
) -> None:  # fmt: skip
    """Blends, in place, to the farthest samples' median where it differs by more than they do among themselves.

    Not on ``resting`` ground (H, W) where they are dark as by a shadow, and not a few others that no object is near
    are lit like most: the end of a long shadow lies on a place just while its maker is far.
    """
    samples, distances = stack[doubtful], farness[doubtful]
    used = distances >= _threshold(distances, count[doubtful])[:, None]
    far = np.where(used[:, None], samples, np.nan)
    far.sort(axis=-1)
    many = used.sum(-1)
    other, among = median.copy(), np.zeros(doubtful.shape, np.float32)
    chosen, most = _middle(far, many), median[doubtful]
    shaded = (darkened_alike(chosen[None], most[None])[0] > 0.5) & resting[doubtful]
    if shaded.any():
        shown, lit, dark = (encoding.encode(image[shaded]) for image in (samples, most, chosen))
        nearer = np.abs(shown - lit[..., None]).sum(1) < np.abs(shown - dark[..., None]).sum(1)
        told = (nearer & (distances[shaded] > NEAR)).sum(-1) >= _fewest(count[doubtful][shaded])
        chosen[shaded] = np.where(told[:, None], most[shaded], chosen[shaded])
    other[doubtful], among[doubtful] = chosen, _spread(far, many, encoding)
    apart = _smooth(encoding.encode(other) - encoding.encode(median))
    size = np.sqrt((apart**2).sum(-1))
    share = np.clip(size / np.maximum(DIFFERENT, _smooth(among)) - 1, 0, 1)[..., None].astype(np.float32)
    median += share * (other - median)


def _ground(shown: FloatArray, calm: BoolArray, around: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The calm ground around every pixel of a display-encoded picture (H, W, 3): its share (H, W) of what is around,
    its mean (H, W, 3), and how much darker (H, W) is darker than it; infinitely much where there is too little of it.
    """
    side = 2 * around + 1
    weight = calm.astype(np.float32)
    many = _windowed(weight, side)
    divisor = np.maximum(many, np.float32(1e-6))[..., None]
    mean = np.asarray(_windowed(shown * weight[..., None], side) / divisor, np.float32)
    variance = _windowed(np.square(shown) * weight[..., None], side) / divisor - mean * mean
    less = np.maximum(DARKER[0] * np.sqrt(np.maximum(variance, 0)).max(-1), DARKER[1])
    return many, mean, np.where(many > CALM_SHARE, less, np.inf).astype(np.float32)


def _windowed(values: FloatArray, side: int) -> FloatArray:
    return np.asarray(cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_CONSTANT), np.float32)


def _prefer_lit(median: FloatArray, samples: _Samples, doubtful: BoolArray) -> None:
    """Gives, in place, a place that lies in shadow for most of the clip the median of the samples lit as around it.

    Far samples alone do not tell where somebody stands still: his shadow falls to one side of him, and when he has left
    it to the other he is as near to where it lay.
    """
    darker = samples.mean - samples.encoding.encode(median)
    seeds = samples.shadowed(doubtful & (darker.min(-1) > samples.less))
    reached = _grown(seeds)
    if reached.any():
        samples.light(median, doubtful & reached & (darker.mean(-1) > EDGE * samples.less))


def _prefer_around(median: FloatArray, dim: FloatArray, samples: _Samples, seldom: BoolArray) -> None:
    """Gives, in place, a place that is ``seldom`` seen (H, W), always in shadow, the light of the ground around.

    Where a camera turns away, the end of a shadow may lie on the border of what it ever saw. What is dark there is a
    shadow if beside it one passes (``dim`` (H, W, 3): what a sixth of the samples is darker than) over ground that
    other frames show lit.
    """
    shown = samples.encoding.encode(median)
    darker = samples.mean - shown
    able = seldom & (samples.calm > RESTING)
    if not able.any():
        return
    passes = (shown - samples.encoding.encode(dim)).mean(-1) > SHADED[0]
    passes &= darkened_alike(dim, median) > 0.5
    seeds = able & (darker.min(-1) > samples.less)
    seeds &= darkened_alike(median, samples.encoding.decode(samples.mean)) > 0.5
    near = _grown(passes)
    labels = cv2.connectedComponents(_opened(seeds))[1]
    beside = np.bincount(labels[near], minlength=int(labels.max()) + 1) >= BESIDE * np.bincount(labels.ravel())
    beside[0] = False
    reached = _grown(beside[labels])
    if reached.any():
        samples.light(median, able & reached & (darker.mean(-1) > EDGE * samples.less))


def _prefer_bright(
    median: FloatArray, middle: FloatArray, bright: FloatArray, samples: _Samples, known: BoolArray, grain: float
) -> None:
    """Gives, in place, a place that lies in shadow for most of the clip the median of its lit samples.

    The far end of a long shadow lies on one line whoever casts it walks up or down, far from him. ``middle``,
    ``bright`` (H, W, 3): the median of all samples, and what few of them exceed; ``grain``: its standard deviation in
    display units. That the ground became darker by itself is possible, as sand does under a wave: then other samples
    show the wave.
    """
    dark, lit = (samples.encoding.encode(image) for image in (middle, bright))
    depth = (lit - dark).mean(-1)
    able = (
        known
        & (samples.calm > RESTING)
        & (np.abs(lit - samples.mean).max(-1) < samples.less)
        & (darkened_alike(middle, bright) > 0.5)
    )
    # Where the ground itself has an edge, a camera a pixel off its track shows both of its sides.
    able &= depth > _steps(lit.mean(-1))
    shaded = able & (depth > max(SHADED[0], SHADED[1] * grain))
    shaded[shaded] = samples.two_states(shaded, dark.mean(-1), depth)[0]
    edge = np.asarray(able & _grown(shaded) & (depth > max(SHADED_EDGE[0], SHADED_EDGE[1] * grain)))
    if edge.any():
        two, upper = samples.two_states(edge, dark.mean(-1), depth)
        edge[edge] = two
        median[edge] = samples.median_of(edge, upper[two])


@dataclass(frozen=True)
class _Samples:
    """The samples of a tile, as :func:`median_background` has them, and the ground around as :func:`_ground` has it."""

    stack: FloatArray
    farness: NDArray[np.uint8]
    calm: FloatArray
    mean: FloatArray
    less: FloatArray
    encoding: DisplayEncoding

    def shadowed(self, where: BoolArray) -> BoolArray:
        """Which of these places (H, W) are as lit as around at some frames, and dark at the others, an object near."""
        lit, dark = self._told(where)
        farness = self.farness[where]
        result = np.zeros_like(where)
        result[where] = _lit_at_times(lit, dark, (farness > 0).sum(-1)) & _mostly(dark, farness <= NEAR)
        return result

    def light(self, median: FloatArray, where: BoolArray) -> None:
        """Writes the median of the lit samples of these places, be it one, or what lies around them: beside certain
        shadow dark is no ground.
        """
        lit, half_dark = self._told(where, EDGE)
        lit &= ~half_dark
        # The ground's own texture stays.
        weight = where.astype(np.float32)
        share = np.maximum(_windowed(weight, TEXTURE)[where], np.float32(1e-6))[..., None]
        smooth = np.maximum(_windowed(median * weight[..., None], TEXTURE)[where] / share, np.float32(1e-6))
        around = self.encoding.decode(self.mean[where]) * np.clip(median[where] / smooth, *TEXTURES)
        median[where] = np.where(lit.any(-1, keepdims=True), self.median_of(where, lit), around)

    def two_states(self, where: BoolArray, dark: FloatArray, depth: FloatArray) -> tuple[BoolArray, BoolArray]:
        """(P,) which of these places (H, W) are ``dark`` or lit, by ``depth`` (both H x W, display units, the mean of
        the channels), hardly ever show anything else, and are not dark when there is no object; (P, S) where lit.
        """
        samples = self.stack[where]
        up = (self.encoding.encode(samples).mean(1) - dark[where][:, None]) / depth[where][:, None]
        count, lit, below = (~np.isnan(up)).sum(-1), up > LIT_ABOVE, up < DARK_BELOW
        two = _lit_at_times(lit, below, count) & ((up <= ELSE_ABOVE).sum(-1) >= NOTHING_ELSE * count)
        two &= _turns(lit.astype(np.int8) - below) <= np.maximum(2, TURNS * count)
        return two & _mostly(below, self.farness[where] < ALONE), lit

    def median_of(self, where: BoolArray, chosen: BoolArray) -> FloatArray:
        """(P, 3) the median of the ``chosen`` (P, S) samples of P places; 0 where there are none."""
        values = np.where(chosen[:, None], self.stack[where], np.nan)
        values.sort(axis=-1)
        return _middle(values, chosen.sum(-1))

    def _told(self, where: BoolArray, share: float = 1.0) -> tuple[BoolArray, BoolArray]:
        """(P, S) which samples are as lit as the ground around P places, and which are darker by ``share`` of less."""
        shown = self.encoding.encode(self.stack[where]) - self.mean[where][..., None]
        less = self.less[where][:, None]
        return np.abs(shown).max(1) < less, shown.max(1) < -share * less


def _fewest(count: NDArray[np.intp]) -> NDArray[np.intp]:
    """How many of ``count`` samples (...) must be lit, that it is not chance: (...)."""
    fewest: NDArray[np.intp] = np.maximum(FEWEST, np.ceil(LIT_SHARE * count)).astype(np.intp)
    return fewest


def _lit_at_times(lit: BoolArray, dark: BoolArray, count: NDArray[np.intp]) -> BoolArray:
    """(P,) whether enough of ``count`` samples (P, S) are lit, and nearly all are told to be lit or dark."""
    result: BoolArray = (lit.sum(-1) >= _fewest(count)) & ((lit | dark).sum(-1) >= TOLD_SHARE * count)
    return result


def _mostly(those: BoolArray, such: BoolArray) -> BoolArray:
    """(P,) whether nearly all of those samples (P, S) are such."""
    result: BoolArray = (those & such).sum(-1) >= MOSTLY * those.sum(-1)
    return result


def _turns(states: NDArray[np.int8]) -> NDArray[np.intp]:
    """(P,) how often states (P, S) of -1 and 1, 0 where none is told, go from one to the other."""
    # What is not told counts as what was told last.
    last = np.maximum.accumulate(np.where(states != 0, np.arange(states.shape[-1]), 0), axis=-1)
    held = np.take_along_axis(states, last, -1)
    result: NDArray[np.intp] = (held[:, 1:] * held[:, :-1] < 0).sum(-1)
    return result


def _steps(image: FloatArray) -> FloatArray:
    """(H, W) by how much an image differs from pixel to pixel."""
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(image, kernel) - cv2.erode(image, kernel), np.float32)


def _opened(seeds: BoolArray) -> NDArray[np.uint8]:
    """Seeds (H, W) without single ones, which are chance."""
    return np.asarray(cv2.morphologyEx(seeds.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)), np.uint8)


def _grown(seeds: BoolArray) -> BoolArray:
    """All that is near seeds (H, W), of which single ones are chance."""
    grown: BoolArray = np.asarray(cv2.dilate(_opened(seeds), np.ones((2 * GROWN + 1, 2 * GROWN + 1), np.uint8)) > 0)
    return grown


def _smooth(values: FloatArray) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), SMOOTHING_SIGMA), np.float32)


def _threshold(distances: NDArray[np.uint8], count: NDArray[np.intp]) -> NDArray[np.uint8]:
    """The greatest farness (P,) that enough of the samples (P, S) reach."""
    enough = np.maximum(FEWEST, np.ceil(count * FAR_SHARE))
    chosen = np.ones(len(distances), np.uint8)
    for step in range(2, int(distances.max(initial=1)) + 1):
        chosen[(distances >= step).sum(-1) >= enough] = step
    return chosen
