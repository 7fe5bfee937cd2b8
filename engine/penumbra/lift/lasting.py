"""Whose a shadow is by whose it was and will be: for as long as it lasts a shadow has one maker.

What a single frame leaves open, the frames before and after it tell: while one object stands behind another, or has
jumped off the ground, its shadow is the same dark part that lay beside it alone a few frames ago. So parts that are
darker than what lies around them are followed from frame to frame, both ways, and one that is surely an object's lends
its owner to what it was and to what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.belief import smoothstep
from penumbra.color import FloatArray, srgb_decode
from penumbra.frames import BoolArray, WorkingClip
from penumbra.lift.common_fate import CERTAIN, UNMASKED
from penumbra.lift.ownership import LEAST_ALPHA, scaled
from penumbra.lift.shade import BESIDE, RIM, TOUCH, fine_size, repeated
from penumbra.resizing import shrink

# Of the light around, between which a place is dark. Paler than what the lift calls much darker: a shadow's middle is
# followed, be it faint.
DARK = (0.6, 0.9)
LEAST_AREA = 12  # fine pixels of a part that can be told again
# Display units by which a part differs from the clean plate on the mean: with less it is a dark mark on the ground.
DIFFERS = 12 / 255
EDGE = 2  # fine pixels around a part that are its edge
FARTHEST = 0.02  # of the width: how far a shadow goes from one frame to the next
# How much more of itself a part must cover, if it goes that far, to be found there: shadows lie side by side.
STRAYING = 0.5
# Of a part, that what it came from covers at least; of what covers it, that is one object's; and of what it came from,
# that it covers at least: a small part at a large one's end may have come out from behind something.
SAME, ALONE, FRAGMENT = 0.6, 0.9, 0.3
APART = 3  # small pixels of 64 lines between objects: nearer to each other one may hide where the other stands
# Mean optical depth of the network's layers in a part from which it is claimed; and the owner's share of all claims,
# where the part touches the owner alone, and where it touches nobody.
CLAIMED, SHARE = 0.02, (0.5, 0.9)
MEMORY = 24  # frames for which a shadow is followed at most, and never for more than it was surely known for
# Optical depth that what has an owner is claimed with at least: more than the lift asks of any effect, be it where the
# background is astir (an alpha of 0.15).
GIVEN = np.float32(0.2)
# Standard deviation, in small pixels, with which the network spills an object into what lies beside its mask; the alpha
# that another layer claims there, from none to enough for the spilt to count for nothing; and how far from what is
# known of a shadow it may go on, in small pixels of 64 lines.
SPILL, RIVAL, ONWARD = 0.7, (0.0, 0.01), 6
_LINEAR = srgb_decode(np.linspace(0, 1, 256, dtype=np.float32))  # light of every value of 8 bits


class _Parts(NamedTuple):
    """The dark parts of a frame: ``numbers`` (H', W') tells which of N they are, 0 where there is none; ``sure``
    (K, N): surely an object's; ``settled`` (K, N): an object's by the network, or the network is certain.
    """

    numbers: NDArray[np.int32]
    sure: BoolArray
    settled: BoolArray


class _Links(NamedTuple):
    """Which parts of a frame are which of the next, L of them: their numbers ``here`` and ``there``; and the share of
    the part there that the one here covers, displaced, and the other way round.
    """

    here: NDArray[np.int64]
    there: NDArray[np.int64]
    ahead: FloatArray
    back: FloatArray


def by_lasting_shadows(
    clip: WorkingClip,
    luma: NDArray[np.generic],
    occupied: NDArray[np.generic],
    layers: FloatArray,
    check_stop: Callable[[], None] = lambda: None,
) -> None:
    """Gives shadows of a whole shot, in place, to whose they are at the frames around.

    A part that the network gives to somebody else, or divides, without being certain, becomes its owner's; one that it
    gives to nobody is claimed. Nothing is held for all frames but whose the parts are.

    Args:
        clip: the clip as the network sees it.
        luma: uint8 (N, ph, pw) the plate's brightness, sRGB.
        occupied: bool (N, ph, pw) where any mask is.
        layers: (N, K, h, w, 4) straight RGBA as :func:`by_common_fate` gives them, writable.
        check_stop: called at every frame, may raise; the layers are then part old, part new.
    """
    count = len(layers)
    if layers.shape[1] < 2:
        return

    def parts_at(index: int) -> _Parts:
        check_stop()
        apart = np.sqrt(np.square(clip.frames[index] - clip.background[index]).sum(axis=-1))
        return _parts(clip.masks[index], apart, luma[index], occupied[index], layers[index, ..., 3])

    here = parts_at(0)
    sure, links = [here.sure], []
    for index in range(1, count):
        before, here = here, parts_at(index)
        sure.append(here.sure)
        links.append(_links(before, here))
    forward = _followed(sure, links)
    turned = (_Links(link.there, link.here, link.back, link.ahead) for link in reversed(links))
    backward = _followed(sure[::-1], turned)[::-1]
    for index in range(count):
        owners = _owners(sure[index], forward[index], backward[index])
        if owners.any():
            # Layers of this frame alone have been looked at, and they are as they were.
            alphas, masks = layers[index, ..., 3], clip.masks[index]
            layers[index, ..., 3] = _given(alphas, masks, parts_at(index), owners)


def _parts(
    masks: FloatArray, apart: FloatArray, luma: NDArray[np.generic], occupied: NDArray[np.generic], alphas: FloatArray
) -> _Parts:
    """A frame's parts: (K, h, w) masks and alphas, (h, w) how far it is from its clean plate, the rest (ph, pw)."""
    fine = fine_size(luma.shape, (alphas.shape[1], alphas.shape[2]))
    light = shrink(_LINEAR[luma], fine)
    free = shrink(occupied.astype(np.float32), fine) < UNMASKED
    dark = (_darkness(light, free.astype(np.float32)) > 0.5).astype(np.uint8)
    dark = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    count, numbers, facts, _ = cv2.connectedComponentsWithStats(dark)
    area = facts[:, cv2.CC_STAT_AREA]
    told = (area >= LEAST_AREA) & (_sums(numbers, repeated(apart, fine), count) > DIFFERS * area)
    told[0] = False
    numbers = np.asarray((np.cumsum(told) * told)[numbers], np.int32)
    return _Parts(numbers, *_claims(numbers, int(told.sum()) + 1, masks, free, alphas))


def _darkness(light: FloatArray, free: FloatArray) -> FloatArray:
    """(H', W') in [0, 1]: how far a place is darker than what lies around it and is free of masks; 0 beside them."""
    side = 2 * round(BESIDE * light.shape[1]) + 1
    around = cv2.blur(light * free, (side, side)) / np.maximum(cv2.blur(free, (side, side)), np.float32(1e-3))
    ratio = np.asarray(cv2.blur(light, (3, 3)) / np.maximum(around, np.float32(1e-4)), np.float32)
    # An object's own rim, which its mask leaves over, is no shadow of it.
    clear = np.asarray(cv2.erode(free, np.ones((RIM, RIM), np.uint8)), np.float32)
    return (1 - smoothstep(ratio, *DARK)) * clear


def _claims(
    numbers: NDArray[np.int32], count: int, masks: FloatArray, free: BoolArray, alphas: FloatArray
) -> tuple[BoolArray, BoolArray]:
    """``sure`` and ``settled`` of :class:`_Parts`."""
    depth = _beyond(alphas, masks)[1]
    area = np.bincount(numbers.ravel(), minlength=count)
    claims = np.stack([_sums(numbers, repeated(one, numbers.shape), count) for one in depth]) / np.maximum(area, 1)
    total = claims.sum(axis=0)
    claims[:, 0] = 0
    share = claims / np.maximum(total, 1e-9)
    touched = np.stack([_touched(numbers, count, mask, free) for mask in masks])
    by_one = touched & (touched.sum(axis=0) == 1)
    open_to = _alone(masks)[:, None] & (by_one | ~touched.any(axis=0))
    claimed = claims > CLAIMED
    sure = open_to & claimed & (share > np.where(by_one, *SHARE))
    return sure, (claimed & (share > SHARE[1])) | (total > CERTAIN)


def _beyond(alphas: FloatArray, masks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Each (K, h, w): what layers claim beyond their own masks and above the least, as alpha and as optical depth."""
    beyond = np.maximum(alphas - masks - LEAST_ALPHA, 0)
    return beyond, -np.log1p(-np.minimum(beyond, np.float32(0.999)))


def _sums(numbers: NDArray[np.int32], values: FloatArray, count: int) -> NDArray[np.float64]:
    """(N,) the sums of values (H', W') over what has each of ``count`` numbers."""
    return np.asarray(np.bincount(numbers.ravel(), values.ravel(), count), np.float64)


def _alone(masks: FloatArray) -> BoolArray:
    """(K,) which objects (K, h, w) are in the picture and have no other near them."""
    reach = 2 * scaled(APART, masks.shape[1]) + 1
    present = masks > UNMASKED
    near = [cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0 for mask in present]
    others = [np.delete(present, index, axis=0).any(axis=0) for index in range(len(masks))]
    return np.array(
        [bool(mask.any()) and not (wide & other).any() for mask, wide, other in zip(present, near, others, strict=True)]
    )


def _touched(numbers: NDArray[np.int32], count: int, mask: FloatArray, free: BoolArray) -> BoolArray:
    """(N,) which parts an object's mask (h, w) touches; ``free`` (H', W') tells where its edge is."""
    inside = (repeated(mask, numbers.shape) > UNMASKED) & ~free
    # Parts begin where the rim ends.
    near = cv2.dilate(inside.astype(np.uint8), np.ones((TOUCH + RIM, TOUCH + RIM), np.uint8)) > 0
    touched = np.zeros(count, bool)
    touched[np.unique(numbers[near])] = True
    touched[0] = False
    return touched


def _links(before: _Parts, after: _Parts) -> _Links:
    ahead, back = _covered(before, after), _covered(after, before).T
    here, there = np.nonzero((ahead > 0) & (back > 0))
    return _Links(here, there, ahead[here, there], back[here, there])


def _covered(here: _Parts, there: _Parts) -> FloatArray:
    """(N, M) the share of each part ``there`` that each of those ``here`` covers, displaced to where it covers most."""
    reach, others = round(FARTHEST * here.numbers.shape[1]), there.sure.shape[1]
    straying, margin = _straying(reach), np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)
    wide = np.pad(there.numbers, reach + EDGE)
    area = np.maximum(np.bincount(wide.ravel(), minlength=others), 1)
    covered = np.zeros((here.sure.shape[1], others), np.float32)
    places = np.argwhere(here.numbers > 0)
    whose = here.numbers[tuple(places.T)]
    for number in range(1, len(covered)):
        spots = places[whose == number]
        (top, left), (bottom, right) = spots.min(axis=0), spots.max(axis=0)
        high, broad = bottom - top + 1 + 2 * EDGE, right - left + 1 + 2 * EDGE
        part = np.zeros((high, broad), np.uint8)
        part[tuple((spots - (top, left) + EDGE).T)] = 1
        window = wide[top : top + high + 2 * reach, left : left + broad + 2 * reach]
        if not window.any():
            continue
        shared = cv2.matchTemplate((window > 0).astype(np.float32), part.astype(np.float32), cv2.TM_CCORR)
        down, across = np.unravel_index(int((shared - part.sum() * straying).argmax()), shared.shape)
        # A shadow few pixels thin would hardly cover itself without its edge.
        under = window[down : down + high, across : across + broad][cv2.dilate(part, margin) > 0]
        covered[number] = np.bincount(under, minlength=others) / area
    covered[:, 0] = 0
    return covered


def _straying(reach: int) -> FloatArray:
    """(2 reach + 1, 2 reach + 1) what a displacement costs, as a share of the part displaced."""
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(STRAYING * np.hypot(down, right) / max(reach, 1), np.float32)


def _followed(sure: list[BoolArray], links: Iterable[_Links]) -> list[FloatArray]:
    """For every frame (K, N): at how many frames up to it each part was surely each object's, less those since.

    ``sure``: the frames', in the order they are gone through; ``links``: between each and the next.
    """
    followed = [sure[0].astype(np.float32)]
    for now, link in zip(sure[1:], links, strict=True):
        whole = link.back > FRAGMENT
        here, there, ahead = link.here[whole], link.there[whole], link.ahead[whole]
        before = followed[-1][:, here]
        covers, came = np.zeros(now.shape, np.float32), np.zeros(now.shape, np.float32)
        for index, known in enumerate(before):
            np.add.at(covers[index], there, ahead * (known > 0))
            np.maximum.at(came[index], there, known)
        came *= (covers > SAME) & (covers > ALONE * covers.sum(axis=0))
        known = np.where(now, np.minimum(came + 1, MEMORY), np.maximum(came - 1, 0))
        # Who is sure of a part need not hear whose it was.
        followed.append(np.where(now.any(axis=0), known * now, known).astype(np.float32))
    return followed


def _owners(sure: BoolArray, before: FloatArray, after: FloatArray) -> BoolArray:
    """(K, N) whose a frame's parts are by the frames before and after it, where those do not disagree."""
    # Of what is sure, the frame itself is one that says so.
    told = np.maximum(before, after) > sure
    owners: BoolArray = told & (told.sum(axis=0) == 1)
    return owners


def _given(alphas: FloatArray, masks: FloatArray, parts: _Parts, owners: BoolArray) -> FloatArray:
    """Alphas (K, h, w) with parts given to their ``owners`` (K, N): all that layers claim of those that are not
    settled, and what is claimed at least of each.
    """
    beyond, depth = _beyond(alphas, masks)
    open_ = owners & ~parts.sure & ~parts.settled
    covers = np.stack([_cover(parts, mine, masks.shape[1:]) for mine in open_])
    given = depth * (1 - np.minimum(covers.sum(axis=0), 1)) + depth.sum(axis=0) * covers
    led = np.stack([_cover(parts, mine, masks.shape[1:]) for mine in owners])
    claimed = -np.expm1(-np.maximum(given, GIVEN * led)) - _spilt(beyond, masks, led)
    return np.asarray(np.clip(alphas - beyond + np.maximum(claimed, 0), 0, 1), np.float32)


def _spilt(beyond: FloatArray, masks: FloatArray, led: FloatArray) -> FloatArray:
    """(K, h, w) what layers claim ``beyond`` their masks that is but spilt from these, where another layer claims what
    its object's shadow goes on to: of which ``led`` (K, h, w) is known to be its.

    Between two legs a small pixel is mostly leg to the network, whatever shadow lies there.
    """
    spilt = np.stack([np.maximum(cv2.GaussianBlur(mask, (3, 3), SPILL) - mask, 0) for mask in masks])
    side = 2 * scaled(ONWARD, masks.shape[1]) + 1
    near = np.stack([cv2.dilate(one, np.ones((side, side), np.uint8)) > 0 for one in led])
    claims = np.maximum(beyond - spilt, 0) * near
    others = np.stack([np.delete(claims, index, axis=0).max(axis=0) for index in range(len(masks))])
    return np.asarray(np.minimum(spilt, beyond) * smoothstep(others, *RIVAL), np.float32)


def _cover(parts: _Parts, mine: BoolArray, size: tuple[int, ...]) -> FloatArray:
    """(h, w) the share of every small pixel that an object's parts (N,) cover, their edges too."""
    inside = mine[parts.numbers]
    wide = cv2.dilate(inside.astype(np.uint8), np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)) > 0
    # An edge ends where another part begins.
    return shrink((wide & (inside | (parts.numbers == 0))).astype(np.float32), (size[0], size[1]))
