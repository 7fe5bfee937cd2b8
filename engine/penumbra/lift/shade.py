"""Shadows followed to their ends: what darkens as a shadow does is looked at finer than the network sees.

The network's small pixels are wider than a shadow is at its far end, so that none of them shows it wholly; but the
plate shows a thin line that nothing parts from the owned shadow beside the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import largest_of, mean_of_channels
from penumbra.belief import DARKEST, darkened_alike, smoothstep
from penumbra.color import FloatArray
from penumbra.frames import BoolArray
from penumbra.unrest import OUTSIDE

_Value = TypeVar("_Value", bound=np.generic)

# What the background does by itself, display units, from which on a difference alone says nothing of an owner, unless
# it is a shadow's kind.
RESTLESS = (2.5 / 255, 4 / 255)
FINE = 4  # times the network's size, at most
# How many thresholds the difference is where a shadow is certain, and where it goes on between certain parts.
CERTAIN, FAINT = 1.5, 0.5
# The same of something that is no shadow; and how far from its mask, in its heights, an object may hold it.
OVERWHELMING, ARM = 2.5, 0.35
# Widest hole in a shadow's kind, which is told by colour and so by grain, and longest gap between certain parts: in
# fine pixels.
HOLE, GAP = 5, 21
DIRECTIONS = 8
# What the layers own of a small pixel, from nothing to enough; and the share that is carried on.
OWNED, CARRIED = (0.004, 0.008), np.float32(0.03)
BESIDE = 0.04  # of the width: what lies around
DARKER = (0.6, 0.8)  # of the light around, between which a place is much darker
# How dark a shadow is at least where the background is astir, and how wide its edge there, in fine pixels.
DARKISH, PENUMBRA = 0.1, 4
# Fine pixels of a shadow, at least, under which the clean plate is replaced by what lies beside; and how far around it,
# as the network's small pixels are no finer.
LEAST_REPLACED, AROUND = 12, 8
# By how much the lit ground around must differ from the clean plate there, as a share of its light in any channel.
UNKNOWN = (0.05, 0.1)
CLAIMS = 0.1  # mean of the network's alpha in such a shadow, at least
# Of what lies around, that must be lit and outside all masks to tell of the ground; and what the farther of it weighs.
SEEN, WIDE_SHARE = 0.1, 1e-2
RIM = 5  # fine pixels across, at the middle of which a mask's edge is
TOUCH = 9  # pixels across, at the middle of which a mask touches what is in it
MINE = 0.5  # of the largest share, from which an object is an owner
# Of a shadow's certain part, that its owner has before it is followed: where it touches him, and elsewhere.
LEAST_OWNED = (0.02, 0.1)
# Of the certain part of what darkens where the background moves by itself: how much must be much darker than around, or
# else claimed by the network, by any alpha above the first, for it to be a shadow; be it dark, where it is astir and
# touches somebody, the last of these or one small pixel.
LEAST_DARK, CLAIMED, LEAST_CLAIMED, LEAST_CLAIMED_DARK = 0.25, 0.02, 0.3, 0.1


@dataclass(frozen=True)
class Shade:
    """Shadows at a fine size, each (H', W'): where they are ``certain``; the same and what lies between certain parts,
    by number, 0 where there is none; and how surely it ``darkens`` as a shadow does, in [0, 1]. ``touched`` (K, N):
    which objects' masks each of the N numbers touches. ``held`` (K, H', W'): what differs overwhelmingly, of whatever
    kind, and lies wholly at an object's hand: a racket that its mask leaves out. ``doubtful`` (N,): which numbers may
    be wet sand or a wave, that is as dark where nobody is, unless so much of them is claimed; 0 where they may not.
    """

    certain: BoolArray
    numbers: NDArray[np.int32]
    darkens: FloatArray
    touched: BoolArray
    held: BoolArray
    doubtful: NDArray[np.float64]

    def told(self, alphas: FloatArray) -> tuple[Shade, FloatArray]:
        """The same without what is doubtful and of which the network's alphas (K, h, w) claim little; and where that is
        (h, w), 0 or 1.
        """
        if not self.doubtful.any():
            return self, np.zeros(alphas.shape[1:], np.float32)
        claimed = repeated(alphas.max(axis=0) > CLAIMED, self.certain.shape)[self.certain]
        share = _shares(self.numbers[self.certain], claimed, len(self.doubtful))
        nobodys = (share < self.doubtful)[self.numbers]
        shade = replace(self, certain=self.certain & ~nobodys, numbers=np.where(nobodys, 0, self.numbers))
        return shade, _small(nobodys.astype(np.float32), alphas.shape[1:])

    @property
    def somebodys(self) -> BoolArray:
        """(H', W') what may be somebody's however the background moves: shadows, and what lies between their parts, and
        what is held.
        """
        may: BoolArray = (self.numbers > 0) | self.held.any(axis=0)
        return may

    def beside(self, size: tuple[int, int]) -> FloatArray:
        """(K, h, w) 1 where a shadow touches the object's mask, be it far away."""
        return np.stack([_small(one[self.numbers].astype(np.float32), size) for one in self.touched])

    def at_hand(self, size: tuple[int, int]) -> FloatArray:
        """(K, h, w) 1 where something is held."""
        return np.stack([_small(one.astype(np.float32), size) for one in self.held])


def fine_size(plate: tuple[int, ...], small: tuple[int, int]) -> tuple[int, int]:
    """The size shadows are looked at for a plate (H, W, ...) and the network's: a multiple of the latter."""
    times = int(np.clip(plate[0] // small[0], 1, FINE))
    return times * small[0], times * small[1]


def find_shade(
    plate: FloatArray, clean: FloatArray, masks: Sequence[FloatArray], many: FloatArray, moving: BoolArray,
    dark: FloatArray, shady: BoolArray, alike: BoolArray, stirring: BoolArray,
) -> Shade:  # fmt: skip
    """The shadows of a fine picture: (H', W', 3) plate and clean plate, linear; per object (H', W') coverage; how many
    times the threshold they differ; where the background moves by itself or may; where the plate is much darker than
    around, in [0, 1]; where shadows may be at all; where one is, by what lies around; where the background is astir.
    """
    outside = largest_of(masks) < OUTSIDE
    # Water beside somebody differs overwhelmingly as well.
    held = _held(outside & (many > OVERWHELMING) & ~moving, masks)
    able = outside & (many > FAINT)
    if not (able & (many > CERTAIN)).any():
        nothing = np.zeros(outside.shape, np.int32)
        touched, none = np.zeros((len(masks), 1), bool), np.zeros(1)
        return Shade(nothing > 0, nothing, np.zeros(outside.shape, np.float32), touched, held, none)
    darkens = darkened_alike(cv2.blur(plate, (3, 3)), cv2.blur(clean, (3, 3)))
    darkens = np.asarray(cv2.morphologyEx(darkens, cv2.MORPH_CLOSE, np.ones((HOLE, HOLE), np.uint8)), np.float32)
    darkens = np.maximum(darkens, alike)
    able &= darkens > 0.5
    certain = cv2.morphologyEx(
        (able & shady & (many > CERTAIN)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)
    )
    chained = certain | (_bridged(certain) & able)
    count, numbers = cv2.connectedComponents(chained)
    where = certain > 0
    touched = np.stack([_touching(np.where(where, numbers, 0), count, mask) for mask in masks])
    parts = numbers[where]
    moves, darkness, stirs = (_shares(parts, image[where], count) for image in (moving, dark, stirring))
    # The hollow of a wave beside somebody is dark, too.
    waves = (stirs > 0.5) & touched.any(axis=0)
    # Of a long shadow the network may see but the beginning.
    few = np.minimum(LEAST_CLAIMED_DARK, FINE**2 / np.maximum(np.bincount(parts, minlength=count), 1))
    needed = np.where(darkness <= LEAST_DARK, LEAST_CLAIMED, np.where(waves, few, 0.0))
    doubtful = np.where(moves > 0.5, needed, 0.0)
    return Shade(where, np.asarray(numbers), darkens, touched, held, doubtful)


def _held(different: BoolArray, masks: Sequence[FloatArray]) -> BoolArray:
    """(K, H', W') the parts of what is different that touch each object and go no farther from it than arms do."""
    count, numbers = cv2.connectedComponents(different.astype(np.uint8))
    held = []
    for mask in masks:
        rows = np.flatnonzero((mask > OUTSIDE).any(axis=1))
        reach = int(ARM * (rows[-1] + 1 - rows[0])) if len(rows) else 0
        far = numbers[cv2.dilate(mask, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) <= OUTSIDE]
        parts = _touching(numbers, count, mask)
        parts[np.unique(far)] = False
        held.append(parts[numbers])
    return np.stack(held)


def _touching(numbers: NDArray[np.integer], count: int, mask: FloatArray) -> BoolArray:
    """(N,) which of ``count`` numbered parts (H', W') a mask touches; never what has the number 0."""
    near = cv2.dilate((mask > OUTSIDE).astype(np.uint8), np.ones((TOUCH, TOUCH), np.uint8)) > 0
    touched = np.zeros(count, bool)
    touched[np.unique(numbers[near])] = True
    touched[0] = False
    return touched


def darker_than_around(plate: FloatArray, outside: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Each (H', W') in [0, 1]: how far a fine picture, linear, is darker than what lies around and is outside all
    masks, and how far it is so as shadows are. 0 beside masks.

    A shadow on foam that has run over sand is no shadow of the sand; but the foam beside it is brighter.
    """
    side = 2 * round(BESIDE * plate.shape[1]) + 1
    weight = outside.astype(np.float32)
    smooth = np.maximum(cv2.blur(plate, (3, 3)), 0)
    total = np.maximum(cv2.blur(weight, (side, side)), np.float32(1e-3))
    around = cv2.blur(smooth * weight[..., None], (side, side)) / total[..., None]
    light, lit = mean_of_channels(smooth), mean_of_channels(around)
    dark = 1 - smoothstep(np.asarray(light / np.maximum(lit, np.float32(1e-6)), np.float32), *DARKER)
    # An object's own rim, which its mask leaves over, is no shadow of it.
    clear = np.asarray(cv2.erode(weight, np.ones((RIM, RIM), np.uint8)), np.float32)
    dark = dark * clear
    return dark, dark * darkened_alike(smooth, np.asarray(around, np.float32))


def ground_beside(
    plate: FloatArray, clean: FloatArray, many: FloatArray, outside: BoolArray, dark: FloatArray, told: BoolArray,
    claimed: FloatArray,
) -> FloatArray | None:  # fmt: skip
    """A fine clean plate (H', W', 3), linear, with the lit ground around in place of its own under shadows that are
    ``told`` by it, ``claimed`` by the network, and none of the clean plate; None where there is no such shadow.

    Foam runs over sand, a shadow falls on it, and nothing of what the plate shows there is the sand's: the layer would
    be foam, and sand stand in the middle of the sea. ``plate`` (H', W', 3), linear; the others (H', W'), ``many`` how
    many times the threshold the two differ.
    """
    # Ground beside a bright streak is darker than around, too, but as the clean plate has it.
    foreign = told & (many > CERTAIN)
    foreign &= darkened_alike(cv2.blur(plate, (3, 3)), cv2.blur(clean, (3, 3))) < 0.5
    count, numbers, facts, _ = cv2.connectedComponentsWithStats(foreign.astype(np.uint8))
    # Dark water amid foam is nobody's.
    large = (facts[:, cv2.CC_STAT_AREA] >= LEAST_REPLACED) & (_shares(numbers.ravel(), claimed.ravel(), count) > CLAIMS)
    large[0] = False
    if not large.any():
        return None
    lit = (outside & ~near_dark(dark)).astype(np.float32)
    seen = _nearby(lit)
    around, known = (
        _nearby(np.maximum(image, 0) * lit[..., None]) / np.maximum(seen, np.float32(1e-6))[..., None]
        for image in (plate, clean)
    )
    # What lies around must be unknown to the clean plate as well.
    apart = np.abs(around / np.maximum(known, DARKEST) - 1).max(axis=-1)
    share = smoothstep(np.asarray(apart, np.float32), *UNKNOWN)
    share *= np.minimum(seen / np.float32(WIDE_SHARE * SEEN), 1) * outside
    share *= cv2.dilate(large[numbers].astype(np.float32), np.ones((2 * AROUND + 1, 2 * AROUND + 1), np.uint8))
    share = cv2.blur(share, (RIM, RIM)) * outside
    return np.asarray(clean + share[..., None] * (around - clean), np.float32)


def _nearby(values: FloatArray) -> FloatArray:
    """Means of what lies around, and a little of what lies farther around: a wide shadow hides all that is near."""
    near, far = 2 * AROUND + 1, 2 * round(BESIDE * values.shape[1]) + 1
    return np.asarray(
        cv2.blur(values, (near, near)) + np.float32(WIDE_SHARE) * cv2.blur(values, (far, far)), np.float32
    )


def near_dark(dark: FloatArray) -> BoolArray:
    """(H', W') where the plate is ``dark`` (:func:`darker_than_around`), be it a little, or a shadow's edge is near."""
    side = 2 * PENUMBRA + 1
    return np.asarray(cv2.dilate((dark > DARKISH).astype(np.uint8), np.ones((side, side), np.uint8))) > 0


def within_reach(shade: Shade, reach: FloatArray) -> FloatArray:
    """(h, w) what layers can own at most, as ``reach`` has it, also wherever shadows lead to from there."""
    if not shade.certain.any():
        return reach
    near = repeated(reach, shade.certain.shape)
    most = np.zeros(shade.touched.shape[1], np.float32)
    np.maximum.at(most, shade.numbers.ravel(), near.ravel())
    most[0] = 0
    return np.maximum(reach, _small(most[shade.numbers], reach.shape))


def follow(shares: FloatArray, shade: Shade) -> tuple[FloatArray, BoolArray]:
    """Shares (K, h, w) of effects, given along shadows to who owns their beginning; and (H', W') where they were.

    What anybody owns already is left. A shadow of which the layers own next to nothing is nobody's: it may be anything.
    A part that several could be given goes to the owner it is nearest to, along the shadow. Said to have been followed
    is only what touches its owner.
    """
    reached = np.zeros(shade.certain.shape, bool)
    if not shade.certain.any():
        return shares, reached
    begun, enough = _begun(shares, shade)
    contested = (enough.sum(axis=0) > 1)[shade.numbers]
    away = [_steps(mine, contested) for mine in begun] if contested.any() else []
    vacant = 1 - smoothstep(shares.sum(axis=0), *OWNED)
    followed = []
    for index, share in enumerate(shares):
        led = enough[index][shade.numbers]
        if away:
            led &= ~contested | (away[index] <= np.min(away, axis=0))
        reached |= led & shade.touched[index][shade.numbers]
        carried = _small(CARRIED * led.astype(np.float32), share.shape)
        followed.append(np.maximum(share, carried * vacant))
    return np.stack(followed), reached


def _begun(shares: FloatArray, shade: Shade) -> tuple[BoolArray, BoolArray]:
    """(K, H', W') where each object owns a shadow's beginning, and (K, N) of which shadows it owns enough for that."""
    count, top = shade.touched.shape[1], shares.max(axis=0)
    area = np.bincount(shade.numbers[shade.certain], minlength=count)
    begun, enough = [], []
    for share, beside in zip(shares, shade.touched, strict=True):
        mine = repeated((share >= MINE * top) & (share > OWNED[0]), shade.certain.shape)
        mine &= shade.certain
        least = np.where(beside, *LEAST_OWNED) * area
        enough.append(np.bincount(shade.numbers[mine], minlength=count) >= np.maximum(least, 1))
        enough[-1][0] = False
        begun.append(mine & enough[-1][shade.numbers])
    return np.stack(begun), np.stack(enough)


def _steps(begun: BoolArray, open_: BoolArray) -> FloatArray:
    """(H', W') how many steps from where it has begun a pixel is, along what is open; infinitely many elsewhere."""
    rows, columns = (np.flatnonzero(open_.any(axis=axis)) for axis in (1, 0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    passing, front = (image[window].astype(np.uint8) for image in (open_, begun & open_))
    count = np.where(front > 0, np.float32(0), np.float32(np.inf))
    for step in range(1, passing.size):
        further = np.asarray(cv2.dilate(front, np.ones((3, 3), np.uint8)) & passing, np.uint8)
        new = further > front
        if not new.any():
            break
        count[new], front = step, further
    steps = np.full(begun.shape, np.inf, np.float32)
    steps[window] = count
    return steps


def _bridged(certain: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What lies on a straight line of at most GAP pixels between certain ones, in any of DIRECTIONS."""
    reach, middle = GAP // 2, (GAP // 2, GAP // 2)
    bridged = certain.copy()
    for turn in range(DIRECTIONS):
        angle = np.pi * turn / DIRECTIONS
        across, down = round(reach * np.cos(angle)), round(reach * np.sin(angle))
        line = np.zeros((GAP, GAP), np.uint8)
        cv2.line(line, (middle[0] - across, middle[1] - down), (middle[0] + across, middle[1] + down), 1)
        bridged |= np.asarray(cv2.morphologyEx(certain, cv2.MORPH_CLOSE, line), np.uint8)
    return bridged


def repeated(small: NDArray[_Value], size: tuple[int, ...]) -> NDArray[_Value]:
    """A small picture (h, w) at a fine ``size`` (H', W'), every pixel repeated."""
    times = size[0] // small.shape[0]
    return np.repeat(np.repeat(small, times, axis=0), times, axis=1)


def _shares(numbers: NDArray[np.integer], values: NDArray[np.generic], count: int) -> NDArray[np.float64]:
    """(N,) the mean of the values (P,) that have each of ``count`` numbers (P,); 0 where none has."""
    many = np.maximum(np.bincount(numbers, minlength=count), 1)
    mean: NDArray[np.float64] = np.bincount(numbers, values, count) / many
    return mean


def _small(fine: FloatArray, size: tuple[int, ...]) -> FloatArray:
    """(h, w) the largest of what every small pixel covers."""
    times = fine.shape[0] // size[0]
    largest: FloatArray = fine.reshape(size[0], times, size[1], times).max(axis=(1, 3))
    return largest
