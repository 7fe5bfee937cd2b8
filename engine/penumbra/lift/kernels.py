"""The lift's loops over the plate's own pixels, compiled; what they mean is told where they are called from.

All that they use stands in this module (see :func:`penumbra.compiled.compiled`). Images are C-contiguous float32, a
rectangle of the plate is its rows ``top`` to ``bottom`` - 1 and columns ``left`` to ``right`` - 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.compiled import compiled

ZERO, ONE, TWO, THREE = np.float32(0), np.float32(1), np.float32(2), np.float32(3)
NEXT_TO_NOTHING = np.float32(1e-12)
FLOAT_MAX, MUCH_LESS = np.float32(3.4028235e38), np.float32(2.0**-40)
# The upper 19 bits of a float, rounded, number all floats of ten bits behind the point.
HALF_STEP, BITS_LEFT, UPPER_BITS = 0x1000, 13, 0x7FFFF
HALO = 2  # pixels around a pixel that its smoothed difference is told from

HALF_MAX, HALF_SPLITTER, HALF_LEAST_STEP = np.float32(65504), np.float32(2**13 + 1), np.float32(0.75)
HALF_NORMAL, HALF_REBIAS = 0x38800000, 0x38000000
DROPPED_BITS, KEPT_BITS = 0x1FFF, 0xFFFFE000
SMALLEST_HALF, SMALLEST_HALVES = np.float32(2.0**-24), np.float32(2.0**24)

# Beyond this a curve's own arithmetic would overflow; no light is as bright.
HUGE = np.float32(1e30)
BLACK = np.float32(2.0**-16)  # linear; added to both plate and clean plate, lest black be divided by black
# Linear, and how many times the light: more is told apart from nothing.
BRIGHTEST, MOST_LEFT = np.float32(65504.0), np.float32(16)
# Of the light, that an effect leaves: between these the ground begins to be hidden, whose grain would be multiplied.
SEEN = (np.float32(0.04), np.float32(0.1))
MIDDLE = np.float32(0.5)

# Coverage below which the clean plate keeps the plate's own pixel, so that grain survives where nothing is owned.
FLOOR = np.float32(0.02)
# How many times a layer's optical depth counts where the question is whether it owns what the plate shows.
GAIN_DOUBLINGS = 3
# Largest opacity a shadow is raised to: the plate's black over a bright clean plate still lets the logarithm exist.
DEEPEST = np.float32(1 - 2.0**-22)
LEAST_OPACITY = np.float32(2.0**-22)  # of float files: 1 - alpha carries the rounding of alpha itself
# A layer that only darkens is as opaque as it must be to darken so much; where the network claims so much more, from
# .. to, it means a thing that hides the ground, and is believed; so it is where a channel is so many times as bright.
MUCH_MORE, BRIGHTER = (np.float32(0.25), np.float32(0.5)), (np.float32(1.0), np.float32(1.1))
DARKEST = np.float32(1e-6)
NEARLY_OPAQUE = 1 - 1e-7
STEP, LEAST_LEAK = np.float32(2.0**-11), np.float32(-(2.0**-13))  # relative, and linear: what recomposition may miss by
SHARPENINGS = 3  # shares of an effect are raised to the power 2^3
NEARLY_ALL = np.float32(0.9999)
LEAST_SHARE = np.float32(0.03)  # of the largest one, below which its eighth power is nothing
OUTSIDE = np.float32(0.02)  # coverage below which a pixel is outside a mask


@compiled
def _smoothstep(value: np.float32, low: np.float32, high: np.float32) -> np.float32:
    t = min(max((value - low) / (high - low), ZERO), ONE)
    return t * t * (THREE - TWO * t)


@compiled
def _mirrored(index: int, count: int) -> int:
    """The pixel that stands for one beyond the border, which itself is not repeated."""
    if count == 1:
        return 0
    while not 0 <= index < count:
        index = -index if index < 0 else 2 * (count - 1) - index
    return index


@compiled
def differences(
    shown: NDArray[np.uint32], behind: NDArray[np.uint32], table: FloatArray, weights: FloatArray,
    top: int, bottom: int, left: int, right: int, size: FloatArray,
) -> None:  # fmt: skip
    """Writes how far two images (H, 3 W) of floats' bits differ in a rectangle, smoothed, to ``size`` (h, w).

    ``table`` (2^19,): what counts, by a float's upper bits; ``weights``: outer, inner and middle one of the smoothing.
    """
    height, width, across = len(shown), shown.shape[1] // 3, right - left
    first, last = max(left - HALO, 0), min(right + HALO, width)
    signed = np.empty(3 * (across + 2 * HALO), np.float32)
    lines = np.empty((2 * HALO + 1, 3 * across), np.float32)
    squares = np.empty(3 * across, np.float32)
    outer, inner, middle = weights[0], weights[1], weights[2]
    for y in range(top - HALO, bottom + HALO):
        line, start = _mirrored(y, height), 3 * (first - left + HALO)
        for i in range(3 * (last - first)):
            one = table[(shown[line, 3 * first + i] + HALF_STEP) >> BITS_LEFT & UPPER_BITS]
            other = table[(behind[line, 3 * first + i] + HALF_STEP) >> BITS_LEFT & UPPER_BITS]
            signed[start + i] = one - other
        for beyond in range(2 * HALO):
            x = left - HALO + beyond if beyond < HALO else right + beyond - HALO
            if not 0 <= x < width:
                at, source = 3 * (x - left + HALO), 3 * (_mirrored(x, width) - left + HALO)
                for channel in range(3):
                    signed[at + channel] = signed[source + channel]
        new = (y - top + HALO) % 5
        for i in range(3 * across):
            lines[new, i] = (
                outer * (signed[i] + signed[i + 12]) + inner * (signed[i + 3] + signed[i + 9]) + middle * signed[i + 6]
            )
        if y < top + HALO:
            continue
        a, b, c, d = (new + 1) % 5, (new + 2) % 5, (new + 3) % 5, (new + 4) % 5
        for i in range(3 * across):
            mean = outer * (lines[a, i] + lines[new, i]) + inner * (lines[b, i] + lines[d, i]) + middle * lines[c, i]
            squares[i] = mean * mean
        for x in range(across):
            size[y - top - HALO, x] = np.sqrt(squares[3 * x] + squares[3 * x + 1] + squares[3 * x + 2])


@compiled
def _light(value: np.float32, least: np.float32) -> np.float32:
    """Light from ``least`` to the brightest; 0 for what is no number, or none that light has."""
    return min(max(value, least), BRIGHTEST) if abs(value) < HUGE else ZERO


@compiled
def _left(shown: np.float32, behind: np.float32) -> np.float32:
    """What is left of the light."""
    # Sums over windows would keep what is lost beside a larger value.
    ratio = (_light(shown, -BRIGHTEST) + BLACK) / min(_light(behind, ZERO) + BLACK, BRIGHTEST)
    return min(max(ratio, -MOST_LEFT), MOST_LEFT)


@compiled
def light_left(
    shown: FloatArray, behind: FloatArray, top: int, bottom: int, left: int, right: int, step: int,
    mean: FloatArray, square: FloatArray, here: FloatArray, light: FloatArray,
) -> None:  # fmt: skip
    """Writes means over squares of ``step`` pixels of a rectangle of two images (H, 3 W), or what of them lies in it.

    ``mean`` (h, w, 3): what is left of the light; ``square`` (h, w): the sum over channels of its squares; ``here`` and
    ``light`` (h, w, 3): what is shown, and what is behind.
    """
    across = 3 * (right - left)
    sums = np.empty((4, across), np.float32)
    for y in range(len(mean)):
        first, last = top + y * step, min(top + (y + 1) * step, bottom)
        sums[:] = ZERO
        for line in range(first, last):
            for i in range(across):
                one, other = shown[line, 3 * left + i], behind[line, 3 * left + i]
                ratio = _left(one, other)
                sums[0, i] += ratio
                sums[1, i] += ratio * ratio
                sums[2, i] += _light(one, ZERO)
                sums[3, i] += min(_light(other, ZERO) + BLACK, BRIGHTEST)
        for x in range(mean.shape[1]):
            start, stop = 3 * x * step, min(3 * (x + 1) * step, across)
            share = ONE / np.float32((last - first) * (stop - start) // 3)
            square[y, x] = ZERO
            for c in range(3):
                totals = ZERO, ZERO, ZERO
                for i in range(start + c, stop, 3):
                    totals = totals[0] + sums[0, i], totals[1] + sums[2, i], totals[2] + sums[3, i]
                    square[y, x] += sums[1, i]
                mean[y, x, c], here[y, x, c], light[y, x, c] = totals[0] * share, totals[1] * share, totals[2] * share
            square[y, x] *= share


@compiled
def light_again(
    shown: FloatArray, behind: FloatArray, free: FloatArray, planes: FloatArray, step: int,
    top: int, left: int, down: int, across: int, ground: FloatArray,
) -> None:  # fmt: skip
    """Writes a rectangle's ``ground`` (h, w, 3), of images (H, 3 W), where it is ``free`` (h, w); behind elsewhere.

    ``planes`` (h', w', 4): what is added to what is left of the light to smooth it, and the share of that which stays,
    of squares of ``step`` pixels; the rectangle begins ``down`` and ``across`` pixels from where they do.
    """
    over_rows, over_columns, size = planes.shape[0] - 1, planes.shape[1] - 1, np.float32(step)
    smooth = np.empty(3, np.float32)
    for y in range(len(free)):
        place = min(max((np.float32(down + y) + MIDDLE) / size - MIDDLE, ZERO), np.float32(over_rows))
        row = int(place)
        low, below = place - np.float32(row), min(row + 1, over_rows)
        for x in range(free.shape[1]):
            at = 3 * (left + x)
            if not free[y, x] > ZERO:
                for c in range(3):
                    value = behind[top + y, at + c]
                    ground[y, x, c] = max(value, ZERO) if abs(value) < HUGE else ZERO
                continue
            place = min(max((np.float32(across + x) + MIDDLE) / size - MIDDLE, ZERO), np.float32(over_columns))
            column = int(place)
            far, beside = place - np.float32(column), min(column + 1, over_columns)
            near = (ONE - low) * (ONE - far), (ONE - low) * far, low * (ONE - far), low * far
            kept = (
                near[0] * planes[row, column, 3] + near[1] * planes[row, beside, 3]
                + near[2] * planes[below, column, 3] + near[3] * planes[below, beside, 3]
            )  # fmt: skip
            least = MOST_LEFT
            for c in range(3):
                added = (
                    near[0] * planes[row, column, c] + near[1] * planes[row, beside, c]
                    + near[2] * planes[below, column, c] + near[3] * planes[below, beside, c]
                )  # fmt: skip
                smooth[c] = kept * _left(shown[top + y, at + c], behind[top + y, at + c]) + added
                least = min(least, smooth[c])
            share = free[y, x] * _smoothstep(least, SEEN[0], SEEN[1])
            for c in range(3):
                one, other = shown[top + y, at + c], behind[top + y, at + c]
                ground[y, x, c] = max(other, ZERO) if abs(other) < HUGE else ZERO
                if not one < ZERO or not one > -HUGE:
                    lit = _left(one, other) / max(smooth[c], SEEN[0]) - ONE
                    lit = lit * (ground[y, x, c] + BLACK) * share + ground[y, x, c]
                    ground[y, x, c] = max(lit, ZERO)


@compiled
def _nearest(value: np.float32, half: bool) -> np.float32:
    if not half:
        return value
    # Eleven bits by Veltkamp's splitting (1968), and whole multiples of the smallest half, by adding a number whose
    # unit in the last place that is.
    rounded = min(max(value, -HALF_MAX), HALF_MAX)
    spread = rounded * HALF_SPLITTER
    rounded = (rounded - spread) + spread
    return (rounded + HALF_LEAST_STEP) - HALF_LEAST_STEP


@compiled
def _upward(alpha: np.float32, half: bool) -> np.float32:
    """A representable alpha not below: one rounded down could no longer darken enough."""
    if not half:
        return min(alpha + LEAST_OPACITY, ONE) if alpha > ZERO else ZERO
    bits = np.float32(alpha).view(np.uint32)
    up = np.uint32((bits + DROPPED_BITS) & KEPT_BITS).view(np.float32)
    least = (up + HALF_LEAST_STEP) - HALF_LEAST_STEP
    return least + SMALLEST_HALF if least < up else least


@compiled
def nearest(values: FloatArray, half: bool, rounded: FloatArray) -> None:
    """Writes values (N,) as a file of this precision gives them back."""
    for i in range(len(values)):
        rounded[i] = _nearest(values[i], half)


@compiled
def keep(plate: FloatArray, half: bool, top: int, bottom: int, left: int, right: int, background: FloatArray) -> None:
    """Writes a rectangle of the plate (H, W, 3), as files of this precision hold it, to the background (H, W, 3)."""
    for y in range(top, bottom):
        # Along flat lines: channels are too few to go along.
        shown, kept = plate[y].reshape(-1), background[y].reshape(-1)
        for i in range(3 * left, 3 * right):
            kept[i] = _nearest(shown[i], half)


@compiled
def upward(alphas: FloatArray, half: bool, raised: FloatArray) -> None:
    """Writes alphas (N,) in [0, 1], or the next larger ones that a file of this precision can hold."""
    for i in range(len(alphas)):
        raised[i] = _upward(alphas[i], half)


@compiled
def _half_bits(value: np.float32) -> int:
    """The bits of a half, of a float that is one and not below 0, nor beyond its range."""
    bits = int(np.float32(value).view(np.uint32))
    return (bits - HALF_REBIAS) >> BITS_LEFT if bits >= HALF_NORMAL else int(value * SMALLEST_HALVES)


@compiled
def solve_pixels(
    plate: FloatArray, clean: FloatArray, alphas: FloatArray, colours: FloatArray, presence: FloatArray,
    outside: NDArray[np.bool_], half: bool, background: FloatArray,
) -> None:  # fmt: skip
    """The exact solution of N pixels (DESIGN 4, steps 3 and 4): closed form, nothing iterative, ``over`` is the plate.

    The background keeps the plate where the layers own nothing, and is the clean plate where they do. Alphas are raised
    where the plate is darker than they allow and lowered where a shadow needs less; colours become the closest to those
    given that recompose. Layers are back to front.

    Args:
        plate: (3, N) scene-linear.
        clean: (3, N) scene-linear, >= 0.
        alphas: (K, N) in [0, 1], what the network wants; become the solved ones.
        colours: (K, 3, N) premultiplied, linear, >= 0, likewise.
        presence: (N,) in [0, 1], how surely the layers own the pixel.
        outside: (N,) where no mask is, so that a darker plate is a shadow.
        half: whether files will hold halves, to which all is rounded.
        background: (3, N), written.
    """
    count, many = alphas.shape
    present, through = np.empty(many, np.float32), np.empty(many, np.float32)
    weight, total = np.empty(many, np.float32), np.empty(many, np.float32)
    scale, excess = np.empty(many, np.float32), np.empty(many, np.float32)
    seen = np.empty((count, many), np.float32)
    present[:] = ZERO
    for k in range(count):
        for n in range(many):
            present[n] = presence[n] if alphas[k, n] > ZERO else present[n]
    for c in range(3):
        for n in range(many):
            owned = _smoothstep(present[n], FLOOR, THREE * FLOOR)
            # Not clean + owned * (plate - clean): beside a bright clean plate a dark plate would be lost.
            background[c, n] = _nearest(owned * clean[c, n] + (ONE - owned) * plate[c, n], half)
    for k in range(count):
        for n in range(many):
            alphas[k, n] = alphas[k, n] if present[n] > FLOOR else ZERO
    _settle(plate, background, alphas, outside)
    for k in range(count):
        for n in range(many):
            alphas[k, n] = _upward(alphas[k, n], half)
    _look_through(alphas, seen, through)
    if _allow_more(plate, background, through, alphas):
        _look_through(alphas, seen, through)
    weight[:] = ZERO
    for k in range(count):
        for n in range(many):
            weight[n] += seen[k, n] * (seen[k, n] * alphas[k, n])
    for c in range(3):
        total[:] = ZERO
        for k in range(count):
            for n in range(many):
                total[n] += seen[k, n] * colours[k, c, n]
        # Too bright together: all are scaled down. Too dark: the excess goes to the layers that cover and are seen, so
        # that a layer hidden behind another is not pushed to absurd values by a front layer's error.
        for n in range(many):
            # A float near the largest is divided by a small weight before a small share is taken of it.
            rest = max(plate[c, n] - through[n] * background[c, n], ZERO)
            scale[n] = min(rest / max(total[n], NEXT_TO_NOTHING), ONE)
            excess[n] = max(rest - total[n], ZERO) * MUCH_LESS / max(weight[n], NEXT_TO_NOTHING)
        for k in range(count):
            for n in range(many):
                solved = colours[k, c, n] * scale[n] + seen[k, n] * alphas[k, n] * excess[n] / MUCH_LESS
                colours[k, c, n] = _nearest(min(solved, FLOAT_MAX), half) if present[n] > FLOOR else ZERO


@compiled
def _look_through(alphas: FloatArray, seen: FloatArray, through: FloatArray) -> None:
    """Writes what is ``seen`` (K, N) of each layer through those in front of it, and of the background (N,)."""
    through[:] = ONE
    for k in range(len(alphas) - 1, -1, -1):
        for n in range(len(through)):
            seen[k, n] = through[n]
            through[n] *= ONE - alphas[k, n]


@compiled
def _allow_more(plate: FloatArray, background: FloatArray, through: FloatArray, alphas: FloatArray) -> bool:
    """Makes layers opaque where even the deepest shadow lets too much of a very bright clean plate through; if any."""
    leaks = False
    for c in range(3):
        for n in range(len(through)):
            leaks |= plate[c, n] - through[n] * background[c, n] + plate[c, n] * STEP < LEAST_LEAK
    if not leaks:
        return False
    for n in range(len(through)):
        for c in range(3):
            if plate[c, n] - through[n] * background[c, n] + plate[c, n] * STEP < LEAST_LEAK:
                for k in range(len(alphas)):
                    alphas[k, n] = ONE if alphas[k, n] > ZERO else ZERO
    return True


@compiled
def _settle(plate: FloatArray, background: FloatArray, alphas: FloatArray, outside: NDArray[np.bool_]) -> None:
    """Alphas as the darkness of the plate asks for, keeping each layer's share.

    All transmittances go to the same power k = log(1 - wanted) / log(1 - coverage).
    """
    count, many = alphas.shape
    needs, shadows, coverages = (
        np.empty(many, np.float32), np.empty(many, np.float32), np.empty(many, np.float32)
    )  # fmt: skip
    for n in range(many):
        red = plate[0, n] / max(background[0, n], DARKEST)
        green = plate[1, n] / max(background[1, n], DARKEST)
        blue = plate[2, n] / max(background[2, n], DARKEST)
        needs[n] = min(max(ONE - min(red, green, blue), ZERO), DEEPEST)
        shadows[n] = ONE - _smoothstep(max(red, green, blue), BRIGHTER[0], BRIGHTER[1])
    coverages[:] = ONE
    for k in range(count):
        for n in range(many):
            coverages[n] *= ONE - alphas[k, n]
    for n in range(many):
        coverage, wanted = ONE - coverages[n], needs[n]
        if not coverage > ZERO:
            continue
        if not wanted > coverage:
            more = coverage - wanted
            wanted += more * (ONE - shadows[n] * (ONE - _smoothstep(more, MUCH_MORE[0], MUCH_MORE[1])))
            if not (outside[n] and wanted < coverage):
                continue
        owners, depth = 0, 0.0
        for k in range(count):
            owners += alphas[k, n] > ZERO
        if owners == 1:
            for k in range(count):
                if ZERO < alphas[k, n] < ONE:
                    alphas[k, n] = wanted
            continue
        # In double precision and by logarithms: a faint alpha raised to a high power would lose its digits otherwise.
        for k in range(count):
            depth += math.log1p(-min(float(alphas[k, n]), NEARLY_OPAQUE))
        power = math.log1p(-float(wanted)) / min(depth, -1e-12)
        for k in range(count):
            if ZERO < alphas[k, n] < ONE:
                alphas[k, n] = min(max(-math.expm1(power * math.log1p(-float(alphas[k, n]))), 0.0), 1.0)


@compiled
def sharpen(shares: FloatArray) -> None:
    """The same coverage, divided more decidedly: a layer with a tenth of an effect is a leak, one with half is not.

    (K, N) in [0, 1], in place. Shares are those of optical depth -log(1 - a), which add up where layers overlap; each
    is raised to the power 2^3 and the sum restored, so that two crossing shadows of equal strength stay equal.
    """
    count, many = shares.shape
    for n in range(many):
        most, through, owner, alone = ZERO, ONE, 0, True
        for k in range(count):
            through *= ONE - min(shares[k, n], NEARLY_ALL)
            if shares[k, n] > most:
                most, owner = shares[k, n], k
        for k in range(count):
            # Optical depths are no nearer to each other.
            alone &= k == owner or shares[k, n] < LEAST_SHARE * most
        if alone:
            for k in range(count):
                shares[k, n] = ONE - through if k == owner else ZERO
            continue
        total, powers = ZERO, ZERO
        for k in range(count):
            shares[k, n] = -np.log1p(-min(shares[k, n], NEARLY_ALL))
            total += shares[k, n]
        for k in range(count):
            weight = shares[k, n] / max(total, DARKEST)
            for _ in range(SHARPENINGS):
                weight *= weight
            shares[k, n] = weight
            powers += weight
        for k in range(count):
            shares[k, n] = -np.expm1(-(shares[k, n] * (total / max(powers, DARKEST))))


@compiled
def _claim(
    inside: FloatArray, covered: FloatArray, effects: FloatArray, planes: FloatArray,
    alphas: FloatArray, colours: FloatArray, presence: FloatArray,
) -> None:  # fmt: skip
    """Writes alphas (K, N), premultiplied colours (K, 3, N) and how surely they own (N,) of pixels.

    Masks cover them by ``inside`` (K, N), the most by ``covered`` (N,), and they show ``effects`` (N,); ``planes``: for
    each layer its share of effects, of the others' masks, and R, G, B; then how much is shown around, each (N,).
    """
    count, many = inside.shape
    shown, others = np.empty(many, np.float32), np.empty(many, np.float32)
    for n in range(many):
        # Under a soft edge the object itself makes the difference: what lies beneath shows what its surroundings do.
        beneath = (ONE - covered[n]) * min(planes[5 * count, n], ONE)
        shown[n] = effects[n] + beneath if covered[n] >= OUTSIDE else effects[n]
    for k in range(count):
        for n in range(many):
            alphas[k, n] = min(max(planes[5 * k, n], ZERO), ONE) * shown[n]
    if count > 1:
        sharpen(alphas)
    presence[:] = ONE
    for k in range(count):
        others[:] = ZERO
        for j in range(count):
            if j != k:
                for n in range(many):
                    others[n] = max(others[n], inside[j, n])
        for n in range(many):
            falling = min(max(planes[5 * k + 1, n], ZERO), ONE) * (others[n] * (ONE - inside[k, n]))
            alpha = ONE - (ONE - inside[k, n]) * (ONE - min(alphas[k, n] + falling, ONE))
            alphas[k, n] = min(max(alpha, inside[k, n]), ONE)
            presence[n] *= ONE - alphas[k, n]
        for c in range(3):
            for n in range(many):
                colours[k, c, n] = max(planes[5 * k + 2 + c, n], ZERO) * alphas[k, n]
    for n in range(many):
        rest = presence[n]
        for _ in range(GAIN_DOUBLINGS):
            rest *= rest
        presence[n] = ONE - rest


@compiled
def lift_pixels(
    plate: FloatArray, ground: FloatArray, masks: FloatArray, effects: FloatArray, planes: FloatArray, half: bool,
    top: int, left: int, background: FloatArray, held_top: int, held_left: int,
    halves: NDArray[np.uint16], floats: FloatArray,
) -> None:  # fmt: skip
    """Solves the pixels of a rectangle that show an effect or lie in a mask, and keeps the plate at all others.

    Args:
        plate: (H, W, 3).
        ground: (h, w, 3) the rectangle's background, where anything is owned.
        masks: (K, h, w) the rectangle's coverages, layers back to front.
        effects: (H, W) belief outside all masks.
        planes: (5 K + 1, h', w') small ones, whose bilinear enlargement to H x W tells who owns what.
        half: whether files will hold halves.
        top: the rectangle's first row.
        left: its first column.
        background: (H, W, 3), written.
        held_top: the first row that the layers hold.
        held_left: their first column.
        halves: (K, ., ., 4) bits of the layers' halves, written where files will hold halves; else of no size.
        floats: the same as floats, where they will not.
    """
    count, height, width = masks.shape
    covered, owned = np.empty(width, np.float32), np.empty(width, np.intp)
    keep(plate, half, top, top + height, left, left + width, background)
    for y in range(height):
        # Not one array assigned to another, whose shapes are compared: that takes 5 s to compile.
        covered[:] = ZERO
        for k in range(count):
            for x in range(width):
                covered[x] = max(covered[x], masks[k, y, x])
        many = 0
        for x in range(width):
            owned[many] = x
            many += effects[top + y, left + x] > ZERO or covered[x] > ZERO
        if not many:
            continue
        shown, behind, found = (
            np.empty((3, many), np.float32), np.empty((3, many), np.float32), np.empty((3, many), np.float32)
        )  # fmt: skip
        inside, most, effect = (
            np.empty((count, many), np.float32), np.empty(many, np.float32), np.empty(many, np.float32)
        )  # fmt: skip
        outside, presence = np.empty(many, np.bool_), np.empty(many, np.float32)
        alphas, colours = np.empty((count, many), np.float32), np.empty((count, 3, many), np.float32)
        for n in range(many):
            x = owned[n]
            most[n], effect[n], outside[n] = covered[x], effects[top + y, left + x], covered[x] < OUTSIDE
            for k in range(count):
                inside[k, n] = masks[k, y, x]
            for c in range(3):
                shown[c, n], behind[c, n] = plate[top + y, left + x, c], ground[y, x, c]
        here = _enlarged(planes, top + y, left, owned[:many], plate.shape[0], plate.shape[1])
        _claim(inside, most, effect, here, alphas, colours, presence)
        solve_pixels(shown, behind, alphas, colours, presence, outside, half, found)
        down = top + y - held_top
        for n in range(many):
            x = owned[n]
            for c in range(3):
                background[top + y, left + x, c] = found[c, n]
            across = left + x - held_left
            for k in range(count):
                if not alphas[k, n] > ZERO:
                    continue
                if half:
                    for c in range(3):
                        halves[k, down, across, c] = _half_bits(colours[k, c, n])
                    halves[k, down, across, 3] = _half_bits(alphas[k, n])
                else:
                    for c in range(3):
                        floats[k, down, across, c] = colours[k, c, n]
                    floats[k, down, across, 3] = alphas[k, n]


@compiled
def _enlarged(
    planes: FloatArray, row: int, left: int, columns: NDArray[np.intp], height: int, width: int
) -> FloatArray:  # fmt: skip
    """(C, N) the bilinear enlargement of planes (C, h, w) to H x W at some columns, counted from ``left``, of a row."""
    count, rows, across = planes.shape
    place = min(max((row + 0.5) * rows / height - 0.5, 0.0), float(rows - 1))
    upper = int(place)
    share, lower = np.float32(place - upper), min(upper + 1, rows - 1)
    many = len(columns)
    first, beyond, fractions = np.empty(many, np.intp), np.empty(many, np.intp), np.empty(many, np.float32)
    for n in range(many):
        place = min(max((left + columns[n] + 0.5) * across / width - 0.5, 0.0), float(across - 1))
        first[n] = int(place)
        beyond[n], fractions[n] = min(first[n] + 1, across - 1), np.float32(place - first[n])
    line, large = np.empty(across, np.float32), np.empty((count, many), np.float32)
    for p in range(count):
        for x in range(first[0], beyond[many - 1] + 1):
            line[x] = (ONE - share) * planes[p, upper, x] + share * planes[p, lower, x]
        for n in range(many):
            large[p, n] = (ONE - fractions[n]) * line[first[n]] + fractions[n] * line[beyond[n]]
    return large
