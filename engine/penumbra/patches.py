"""Where the frame departs from its clean plate and no model tells how, its own surroundings are cloned in.

Sand that grew wet while someone stood on it was never seen without him: the clean plate there is foam of other frames,
and no factor makes foam wet sand. What lies beside it in the same frame is, and a compositor would clone it: here one
offset for each hole, the one at which the hole's rim fits best (Pritch, Kav-Venaki and Peleg, Shift-Map Image Editing,
2009, with a single label), and what still differs at the rim is carried inward (Perez, Gangnet and Blake, Poisson Image
Editing, 2003). Only from places that depart as well, so that water is patched with water.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.color import HUGE, DisplayEncoding, FloatArray
from penumbra.resizing import enlarge
from penumbra.tiling import Tile, reached

SHOWN, SURE = 0.3, 0.7  # trust from which a small pixel shows the background, and does so surely
RIM = 4  # small pixels around a hole by which an offset is judged
LEAST_HOLE, LEAST_RIM = 6, 8  # small pixels
MOST_HOLES = 12  # the largest: hundreds of specks would take seconds and be seen by nobody
ROUNDS = 3  # what the first offset has no source for is given others
# Of a hole, how much an offset must find at once; of its rim, how much must have a counterpart.
LEAST_FOUND, LEAST_FITTED = 0.25, 0.5
# Mean squares (display units, three channels) that weigh as much as finding nothing, and as one width of distance.
UNFOUND, APART = 0.02, 0.002
LEAST_TEXTURE = 3 * (2 / 255) ** 2  # of plain ground
RELAXATIONS = 60


@dataclass(frozen=True)
class Patch:
    """What is cloned into one hole: ``offset`` (rows, columns, small pixels) to its source, ``found`` (h, w) where, and
    ``change`` (h, w, 3), display units, that makes the source fit the rim.
    """

    offset: tuple[int, int]
    found: NDArray[np.bool_]
    change: FloatArray


def find_patches(
    shown: FloatArray, behind: FloatArray | None, hole: NDArray[np.bool_], trust: FloatArray, source: NDArray[np.bool_]
) -> list[Patch]:
    """Patches for a small frame's holes.

    Args:
        shown: (h, w, 3) the frame, display-encoded.
        behind: (h, w, 3) what the clean plate has there: where it fits the rim better, nothing is cloned. None where
            nothing is known: then what fits the rim as another piece of the same texture would.
        hole: (h, w) what is to be patched.
        trust: (h, w) in [0, 1], how surely a pixel shows the background.
        source: (h, w) what may be cloned; none of it in ``hole``.
    """
    seen, sure = (trust > SHOWN) & ~hole, (trust > SURE) & ~hole
    source = source & seen
    patches = []
    _, labels, facts, _ = cv2.connectedComponentsWithStats(hole.astype(np.uint8), connectivity=8)
    areas = facts[1:, cv2.CC_STAT_AREA]
    for label in (1 + np.argsort(-areas, kind="stable")[:MOST_HOLES]).tolist():
        rest = np.asarray(labels == label)
        for _ in range(ROUNDS):
            patch = _best(shown, behind, rest, seen, source, sure) if rest.sum() >= LEAST_HOLE else None
            if patch is None:
                break
            patches.append(patch)
            rest = rest & ~patch.found
    return patches


def _best(
    shown: FloatArray, behind: FloatArray | None, hole: NDArray[np.bool_], seen: NDArray[np.bool_],
    source: NDArray[np.bool_], sure: NDArray[np.bool_],
) -> Patch | None:  # fmt: skip
    """The offset at which a hole's rim fits best, or None where none fits well enough."""
    rim = (cv2.dilate(hole.astype(np.uint8), np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)) > 0) & seen
    if rim.sum() < LEAST_RIM or not source.any():
        return None
    found = _correlated(source, hole) / hole.sum()
    fitted = _correlated(seen, rim)
    misfit = _misfit(shown, seen, rim) / np.maximum(fitted, 1)
    rows, columns = (np.arange(size) - size // 2 for size in misfit.shape)
    apart = np.hypot(rows[:, None], columns[None]) / hole.shape[1]
    possible = (found >= LEAST_FOUND) & (fitted >= LEAST_FITTED * rim.sum())
    possible &= misfit < (
        _tolerance(shown, rim, hole) if behind is None else np.square(shown - behind)[rim].sum(-1).mean()
    )
    if not possible.any():
        return None
    cost = np.where(possible, misfit + UNFOUND * (1 - found) + APART * apart, np.inf)
    place = np.unravel_index(cost.argmin(), cost.shape)
    offset = int(rows[place[0]]), int(columns[place[1]])
    # What is carried inward colours the whole hole: no rim of an object may be in it.
    change = _carried(shown - _shifted(shown, offset), rim & sure & _shifted(sure, offset))
    return Patch(offset, hole & _shifted(source, offset), change)


def _tolerance(shown: FloatArray, rim: NDArray[np.bool_], hole: NDArray[np.bool_]) -> float:
    """How badly a rim may fit (mean square, three channels): as another piece of the same fine texture does (twice its
    mean square, and half again), or half as badly as any piece of what varies over a hole's own width would.
    """
    fine, coarse = (_variation(shown, rim, sigma) for sigma in (float(RIM), max(RIM, float(hole.sum()) ** 0.5 / 2)))
    return max(3 * fine, coarse, LEAST_TEXTURE)


def _variation(shown: FloatArray, rim: NDArray[np.bool_], sigma: float) -> float:
    """Mean square on a rim of what a Gaussian mean of it leaves."""
    weight = rim.astype(np.float32)
    told = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), np.float32(1e-6))[..., None]
    rest = shown - cv2.GaussianBlur(shown * weight[..., None], (0, 0), sigma) / told
    return float(np.square(rest)[rim].sum(-1).mean())


def _misfit(shown: FloatArray, seen: NDArray[np.bool_], rim: NDArray[np.bool_]) -> FloatArray:
    """For every offset the sum of squared differences between a rim and what is seen there, by expanding the square."""
    total = np.zeros((2 * rim.shape[0] - 1, 2 * rim.shape[1] - 1), np.float32)
    for channel in cv2.split(shown):
        total += _correlated(seen, rim * channel**2) + _correlated(seen * channel**2, rim)
        total -= 2 * _correlated(seen * channel, rim * channel)
    return np.maximum(total, 0)


def _correlated(image: NDArray[np.generic], template: NDArray[np.generic]) -> FloatArray:
    """(2h - 1, 2w - 1) sums of template(p) image(p + o) over p, for all offsets o around (h - 1, w - 1)."""
    height, width = template.shape
    around = cv2.copyMakeBorder(
        image.astype(np.float32), height - 1, height - 1, width - 1, width - 1, cv2.BORDER_CONSTANT
    )
    return np.asarray(cv2.matchTemplate(around, template.astype(np.float32), cv2.TM_CCORR), np.float32)


def _shifted(image: NDArray, offset: tuple[int, int]) -> NDArray:  # type: ignore[type-arg]
    """image(p + offset), where that is outside the picture 0 or False."""
    result = np.zeros_like(image)
    into, source = _overlap((slice(0, image.shape[0]), slice(0, image.shape[1])), image.shape, offset)
    result[into] = image[source]
    return result


def _overlap(tile: Tile, shape: tuple[int, ...], offset: tuple[int, int]) -> tuple[Tile, Tile]:
    """The places p of a tile for which p + offset lies in a picture of ``shape``, and those; empty where none does."""
    into, source = [], []
    for span, size, by in zip(tile, shape, offset, strict=False):
        start = max(span.start, -by)
        stop = max(start, min(span.stop, size - by))
        into.append(slice(start, stop))
        source.append(slice(start + by, stop + by))
    return (into[0], into[1]), (source[0], source[1])


def _carried(values: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """(h, w, 3) values at known pixels carried on smoothly, as a membrane fixed there."""
    weight, kept = known.astype(np.float32), known[..., None]
    sigma = max(1.0, 0.05 * known.shape[1])
    total, told = np.zeros_like(values), np.zeros_like(weight)
    for factor, share in ((1, 1.0), (4, 1e-3), (16, 1e-6)):
        total += np.float32(share) * cv2.GaussianBlur(values * weight[..., None], (0, 0), sigma * factor)
        told += np.float32(share) * cv2.GaussianBlur(weight, (0, 0), sigma * factor)
    carried = np.where(kept, values, total / np.maximum(told, np.float32(1e-12))[..., None])
    for _ in range(RELAXATIONS):
        carried = np.where(kept, values, cv2.blur(carried, (3, 3), borderType=cv2.BORDER_REPLICATE))
    return np.asarray(carried, np.float32)


def clone(
    patches: list[Patch], share: FloatArray, plate: FloatArray, clean: FloatArray, shown: FloatArray,
    encoding: DisplayEncoding, kept: NDArray[np.bool_] | None = None,
) -> None:  # fmt: skip
    """Clones patches from the plate into a clean plate (both H x W x 3, scene-linear), in place.

    ``share`` (h, w) in [0, 1]: how far the clean plate gives way; ``shown`` (h, w, 3) the small frame, display-encoded;
    ``kept`` (H, W): what stays as it is. What is not finite is not cloned, what is negative becomes 0.
    """
    for patch in patches:
        weight = cv2.GaussianBlur(cv2.dilate(np.float32(patch.found), np.ones((5, 5), np.uint8)), (0, 0), 0.7) * share
        before = _shifted(shown, patch.offset)
        after = encoding.decode(np.ascontiguousarray(before + patch.change))
        planes = np.concatenate([weight[None], relation(encoding.decode(before), after)])
        down, across = (
            round(by * large / small) for by, large, small in zip(patch.offset, plate.shape, share.shape, strict=False)
        )
        for tile in reached(weight > 0, clean.shape):
            _clone_tile(planes, (down, across), plate, clean, kept, tile)


def _clone_tile(
    planes: FloatArray, offset: tuple[int, int], plate: FloatArray, clean: FloatArray, kept: NDArray[np.bool_] | None,
    tile: Tile,
) -> None:  # fmt: skip
    into, source = _overlap(tile, plate.shape, offset)
    cloned, part = plate[source], clean[into]
    if not cloned.size:
        return
    large = enlarge(planes, (clean.shape[0], clean.shape[1]), *into)
    usable = np.asarray((np.abs(cloned) < HUGE).all(-1))
    if kept is not None:
        usable &= ~kept[into]
    weight = cv2.merge([large[0] * usable] * 3)
    cloned = np.where(usable[..., None], np.maximum(cloned, 0), 0) * cv2.merge(list(large[1:4]))
    cloned += cv2.merge(list(large[4:]))
    part += weight * (cloned - part)


def relation(before: FloatArray, after: FloatArray) -> FloatArray:
    """(6, h, w) what makes ``after`` of ``before`` (each (h, w, 3), linear): a factor <= 1, then light >= 0.

    What darkens multiplies and what brightens adds, so that nothing becomes negative and no texture is enhanced.
    """
    after = np.maximum(after, 0)
    factor = np.where(after < before, after / np.maximum(before, np.float32(1e-6)), 1).astype(np.float32)
    light = np.maximum(after - np.maximum(before, 0), 0)
    return np.ascontiguousarray(np.concatenate([factor, light], axis=-1).transpose(2, 0, 1))
