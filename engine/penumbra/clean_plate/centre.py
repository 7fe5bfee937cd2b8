"""The centre of what a place shows at most frames, which what passes over it at some does not draw to its side."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.clean_plate.kept import DISTANCES
from penumbra.color import DisplayEncoding, FloatArray
from penumbra.compiled import compiled
from penumbra.threads import for_each, share_of_threads

# Samples count by Tukey's biweight of their distance to the centre, 0 from so many times the distance that this share
# of them keep, here squared: of grain's samples 998 in 1,000 lie nearer. In display units it is no less than the first
# of REACH, half a step of 8 bits, and no more than the second; squared as well.
KEPT, NEAREST, REACH = np.float32(3.0**2), 1 / 3, (np.float32((0.5 / 255) ** 2), np.float32((16 / 255) ** 2))
# Steps to the centre, and how many times the way to the mean of those near each goes, by which alone it comes slowly.
STEPS, STRIDE = 4, np.float32(1.5)
# What a sample counts by its farness from 0 on, a quarter as much each time the distance to the nearest mask halves:
# objects take light from the ground far around them, less of it the farther it lies. Over so many pixels, as the few
# samples that are far know less of grain; and by no more than a step of 8 bits, in display units: more is a shadow.
FAR_COUNTS = np.array([0, *(0.25 ** (len(DISTANCES) - step) for step in range(len(DISTANCES) + 1)), 1], np.float32)
FAR_OVER, FAR_MOST = 9, 1 / 255
# Of the samples near the centre, by what they count, those of a clip without grain that are no brighter than the
# background: what is off by less than is seen is so to the dark side. By no more than two steps of 8 bits: more moves.
NO_BRIGHTER, BRIGHT_MOST = np.float32(0.75), 2 / 255
# Pixels around a place, even, that tell of it: two pairs of them, and what is averaged.
BORDER = 4 + FAR_OVER // 2

# Of the compiled loops: lines of pairs that are one piece of work; pairs of a line worked on beside each other; the
# most that light is apart; numbers.
LINES, LANES = 16, 16
HUGE, NEVER, ZERO, ONE = np.float32(1e30), np.float32(np.inf), np.float32(0), np.float32(1)


def centred(
    median: FloatArray, samples: FloatArray, farness: NDArray[np.uint8], encoding: DisplayEncoding, grainless: bool
) -> FloatArray:
    """Medians (H, W, 3) of linear samples (H, W, 3, S), NaN where there is none, moved to the centre of those near.

    A location that forgets what is far away (Tukey's biweight; Beaton and Tukey, 1974): of twelve samples three in the
    edge of a shadow still draw a median to their side, by the distance that half of the others are apart. Its scale is
    measured anew about each centre, as it shrinks where the centre leaves what drew it. Distances are in display units,
    over the three channels together, as a shadow darkens all of them, and of the mean over 6 x 6 pixels: grain is
    nobody's shadow, and what passes is wider than a pixel. Of those near, the farther from any mask (``farness``, of
    H, W, S) the more a sample counts. Where a clip is ``grainless``, not their mean is taken but one of them: there
    what is shown is shown exactly, and what differs by a step of 8 bits is somebody's faintest shadow. The same bits
    whatever the number of threads.
    """
    height, width, channels, many = samples.shape
    slope = encoding.slope(median)
    units = np.asarray(np.square(slope) / channels, np.float32).reshape(-1)
    medians = np.ascontiguousarray(median).reshape(-1)
    shown, far = np.ascontiguousarray(samples).reshape(-1, many), np.ascontiguousarray(farness).reshape(-1, many)
    centres, farther = np.empty_like(median), np.empty_like(median)

    def move(first: int) -> None:
        lines = first, min(first + LINES, -(-height // 2))
        _move(
            shown, medians, far, FAR_COUNTS, units, width, *lines, grainless, centres.reshape(-1), farther.reshape(-1)
        )

    for_each(move, range(0, -(-height // 2), LINES), share_of_threads())
    farther *= np.abs(farther) * slope < (BRIGHT_MOST if grainless else FAR_MOST)
    return centres + (farther if grainless else _smooth(farther))


def _smooth(values: FloatArray) -> FloatArray:
    return np.asarray(cv2.boxFilter(values, -1, (FAR_OVER, FAR_OVER), borderType=cv2.BORDER_REFLECT), np.float32)


@compiled
def _move(
    samples: FloatArray, median: FloatArray, farness: NDArray[np.uint8], counts: FloatArray, units: FloatArray,
    width: int, first: int, last: int, grainless: bool, centres: FloatArray, farther: FloatArray,
) -> None:  # fmt: skip
    """Writes centres, and how far from there those are of samples that count by their farness, of some lines of pairs.

    ``samples`` (3 N, S), ``farness`` (N, S) of the N pixels of an image; ``median``, ``units``, what squares of light
    count in the square of a distance, ``centres`` and ``farther`` (3 N,); ``counts``: what a sample counts by its
    farness; the lines are ``first`` to ``last`` - 1.
    """
    many, height = samples.shape[1], len(farness) // width
    high, wide = (height + 1) // 2, (width + 1) // 2
    sums, seen = np.empty((3, 3 * wide, many), np.float32), np.empty((3, wide, many), np.float32)
    column, columns = np.empty((3 * wide, many), np.float32), np.empty((wide, many), np.float32)
    around, there = np.zeros((3, many, LANES), np.float32), np.zeros((many, LANES), np.float32)
    unit, near = np.ones((3, LANES), np.float32), np.empty((many, LANES), np.float32)
    apart, weights = np.zeros((3, many, LANES), np.float32), np.zeros((2, many, LANES), np.float32)
    means, found = np.empty((2, 3, LANES), np.float32), np.empty((2, LANES), np.float32)
    values, by = np.empty(many, np.float32), np.empty(many, np.float32)
    for y in range(max(first - 1, 0), min(first + 1, high)):
        _add_pairs(samples, median, y, height, width, sums[y % 3], seen[y % 3])
    for y in range(first, last):
        if y + 1 < high:
            _add_pairs(samples, median, y + 1, height, width, sums[(y + 1) % 3], seen[(y + 1) % 3])
        _add_lines(sums[(y - 1) % 3], sums[y % 3], sums[(y + 1) % 3], y > 0, y + 1 < high, column)
        _add_lines(seen[(y - 1) % 3], seen[y % 3], seen[(y + 1) % 3], y > 0, y + 1 < high, columns)
        for start in range(0, wide, LANES):
            lanes = min(LANES, wide - start)
            _gather(column, columns, seen[y % 3], start, lanes, around, there)
            _average(units, y, height, width, start, lanes, unit)
            _weigh(around, there, unit, near)
            for line in range(2 * y, min(2 * y + 2, height)):
                for right in range(2):
                    begin, pixels = line * width + 2 * start + right, min(lanes, (width - right + 1) // 2 - start)
                    _show(samples, median, farness, counts, near, begin, pixels, apart, weights)
                    _mean(weights[0], apart, means[0], found[0])
                    _mean(weights[1], apart, means[1], found[1])
                    for j in range(pixels):
                        for c in range(3):
                            # Where no sample is within reach the median stays.
                            centre = means[0, c, j] if found[0, j] > ZERO else ZERO
                            other = centre
                            if found[1, j] > ZERO:
                                other = _bright(apart, weights, c, j, values, by) if grainless else means[1, c, j]
                            at = 3 * (begin + 2 * j) + c
                            centres[at], farther[at] = median[at] + centre, other - centre


@compiled
def _apart(sample: np.float32, median: np.float32) -> np.float32:
    """0 for what is no number."""
    away = sample - median
    return min(max(away, -HUGE), HUGE) if away == away else ZERO


@compiled
def _add_pairs(
    samples: FloatArray, median: FloatArray, y: int, height: int, width: int, sums: FloatArray, seen: FloatArray
) -> None:
    """Writes what the samples of 2 x 2 pixels are apart from their medians, added up, of a line of pairs, (3 W / 2, S),
    and how many of them there are, (W / 2, S); of what there is of them at the image's end.
    """
    many = samples.shape[1]
    for x in range(len(seen)):
        for c in range(3):
            for right in range(min(2, width - 2 * x)):
                at, to = 3 * (2 * (y * width + x) + right) + c, 3 * x + c
                upper, lower = median[at], median[at]
                if right == 0:
                    for s in range(many):
                        sums[to, s] = ZERO
                if 2 * y + 1 < height:
                    lower = median[at + 3 * width]
                    for s in range(many):
                        sums[to, s] += _apart(samples[at, s], upper) + _apart(samples[at + 3 * width, s], lower)
                else:
                    for s in range(many):
                        sums[to, s] += _apart(samples[at, s], upper)
        for s in range(many):
            seen[x, s] = ZERO
        for line in range(2 * y, min(2 * y + 2, height)):
            for right in range(min(2, width - 2 * x)):
                at = 3 * (line * width + 2 * x + right)
                for s in range(many):
                    seen[x, s] += ONE if samples[at, s] == samples[at, s] else ZERO


@compiled
def _add_lines(
    before: FloatArray, here: FloatArray, after: FloatArray, above: bool, below: bool, total: FloatArray
) -> None:
    """Writes the sum of three lines (N, S), of those there are."""
    for k in range(len(total)):
        for s in range(total.shape[1]):
            total[k, s] = here[k, s]
        if above:
            for s in range(total.shape[1]):
                total[k, s] += before[k, s]
        if below:
            for s in range(total.shape[1]):
                total[k, s] += after[k, s]


@compiled
def _gather(
    column: FloatArray, columns: FloatArray, seen: FloatArray, start: int, lanes: int,
    around: FloatArray, there: FloatArray,
) -> None:  # fmt: skip
    """Writes the means (3, S, L) of what samples are apart from medians in 3 x 3 pairs, around ``lanes`` of a line, and
    whether there are any in the middle one, (S, L).
    """
    wide, many = columns.shape
    for j in range(lanes):
        x = start + j
        for s in range(many):
            there[s, j] = seen[x, s]
            count = columns[x, s]
            if x > 0:
                count += columns[x - 1, s]
            if x + 1 < wide:
                count += columns[x + 1, s]
            for c in range(3):
                total = column[3 * x + c, s]
                if x > 0:
                    total += column[3 * x + c - 3, s]
                if x + 1 < wide:
                    total += column[3 * x + c + 3, s]
                around[c, s, j] = total / max(count, ONE)


@compiled
def _average(units: FloatArray, y: int, height: int, width: int, start: int, lanes: int, unit: FloatArray) -> None:
    """Writes the means (3, L) of units over 2 x 2 pixels."""
    for j in range(lanes):
        for c in range(3):
            total, count = ZERO, ZERO
            for line in range(2 * y, min(2 * y + 2, height)):
                for x in range(2 * (start + j), min(2 * (start + j) + 2, width)):
                    total += units[3 * (line * width + x) + c]
                    count += ONE
            unit[c, j] = total / count


@compiled
def _weigh(apart: FloatArray, there: FloatArray, units: FloatArray, weight: FloatArray) -> None:
    """Writes what samples (S, L) count, ``apart`` (3, S, L) from any value, about their centre: 0 where not ``there``
    (S, L). ``units`` (3, L): what squares of light count in the square of a distance.
    """
    many = len(there)
    centre, means, found = (
        np.zeros((3, LANES), np.float32),
        np.empty((3, LANES), np.float32),
        np.empty(LANES, np.float32),
    )
    squares, reach = np.empty((many, LANES), np.float32), np.empty(LANES, np.float32)
    ranked, order, rank = np.empty(many, np.float32), np.empty((LANES, many), np.int32), np.empty(LANES, np.int32)
    for j in range(LANES):
        count = 0
        for s in range(many):
            order[j, s] = s
            count += there[s, j] > ZERO
        rank[j] = int(NEAREST * max(count - 1, 0))
    for step in range(STEPS + 1):
        for s in range(many):
            for j in range(LANES):
                red, green, blue = (
                    apart[0, s, j] - centre[0, j], apart[1, s, j] - centre[1, j], apart[2, s, j] - centre[2, j],
                )  # fmt: skip
                away = red * red * units[0, j] + green * green * units[1, j] + blue * blue * units[2, j]
                squares[s, j] = away if there[s, j] > ZERO else NEVER
        for j in range(LANES):
            for s in range(many):
                ranked[s] = squares[order[j, s], j]
            reach[j] = min(max(KEPT * _at_rank(ranked, order, j, rank[j]), REACH[0]), REACH[1])
        for s in range(many):
            for j in range(LANES):
                share = max(ONE - squares[s, j] / reach[j], ZERO)
                weight[s, j] = share * share
        if step < STEPS:
            _mean(weight, apart, means, found)
            for c in range(3):
                for j in range(LANES):
                    if found[j] > ZERO:
                        centre[c, j] += STRIDE * (means[c, j] - centre[c, j])


@compiled
def _at_rank(values: FloatArray, order: NDArray[np.int32], lane: int, rank: int) -> np.float32:
    """The value (S,) that so many are no greater than (Hoare's quickselect). Values are moved, and one lane's ``order``
    (L, S) with them: in it next time's, which are much the same, are nearly in place.
    """
    first, last = 0, len(values) - 1
    while first < last:
        pivot, left, right = values[rank], first, last
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                order[lane, left], order[lane, right] = order[lane, right], order[lane, left]
                left += 1
                right -= 1
        if rank <= right:
            last = right
        elif rank >= left:
            first = left
        else:
            break
    at_rank: np.float32 = values[rank]
    return at_rank


@compiled
def _show(
    samples: FloatArray, median: FloatArray, farness: NDArray[np.uint8], counts: FloatArray, near: FloatArray,
    begin: int, pixels: int, apart: FloatArray, weights: FloatArray,
) -> None:  # fmt: skip
    """Writes what the samples of every second pixel are ``apart`` (3, S, L) from its median, and what they count,
    (2, S, L): as near ones (S, L), and by their farness as well.
    """
    many = samples.shape[1]
    for j in range(pixels):
        at = begin + 2 * j
        for c in range(3):
            for s in range(many):
                apart[c, s, j] = _apart(samples[3 * at + c, s], median[3 * at + c])
        for s in range(many):
            weight = near[s, j] if samples[3 * at, s] == samples[3 * at, s] else ZERO
            weights[0, s, j], weights[1, s, j] = weight, weight * counts[farness[at, s]]


@compiled
def _mean(weight: FloatArray, apart: FloatArray, mean: FloatArray, total: FloatArray) -> None:
    """Writes means (3, L) of samples (3, S, L) that count by a weight (S, L) >= 0, and their weights' sums (L,): no
    number where that is 0.
    """
    for j in range(LANES):
        total[j] = mean[0, j] = mean[1, j] = mean[2, j] = ZERO
    for s in range(len(weight)):
        for j in range(LANES):
            counts = weight[s, j]
            total[j] += counts
            mean[0, j] += counts * apart[0, s, j]
            mean[1, j] += counts * apart[1, s, j]
            mean[2, j] += counts * apart[2, s, j]
    for c in range(3):
        for j in range(LANES):
            mean[c, j] /= total[j]


@compiled
def _bright(apart: FloatArray, weights: FloatArray, c: int, j: int, values: FloatArray, by: FloatArray) -> np.float32:
    """The sample of those (3, S, L) that count by the second of weights (2, S, L) > 0, one channel and lane's, than
    which ``NO_BRIGHTER`` of them are no brighter. ``values``, ``by`` (S,): room to sort them in.
    """
    count, total = 0, ZERO
    for s in range(apart.shape[1]):
        weight = weights[1, s, j]
        if weight > ZERO:
            at = count
            while at > 0 and values[at - 1] > apart[c, s, j]:
                values[at], by[at] = values[at - 1], by[at - 1]
                at -= 1
            values[at], by[at] = apart[c, s, j], weight
            count += 1
            total += weight
    least, total, at = NO_BRIGHTER * total, by[0], 0
    # Rounding must not ask for more than all of them.
    while total < least and at + 1 < count:
        at += 1
        total += by[at]
    bright: np.float32 = values[at]
    return bright
