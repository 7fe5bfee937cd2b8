"""One frame lifted, in two passes of tiles: what the plate shows, then who owns it and the exact solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import holds_anything, largest_of
from penumbra.belief import Noise, belief, darkened_alike, multiple, smoothstep
from penumbra.color import DisplayEncoding, FloatArray, finite
from penumbra.frames import BoolArray, Layer, LayerStack, Plate
from penumbra.lift.astir import APART, STIRS, astir, find_waves, led_to
from penumbra.lift.departure import apply_change
from penumbra.lift.evidence import certainty, difference
from penumbra.lift.ground import grain_of, halo_of, lit_again
from penumbra.lift.kernels import FLOOR, GAIN_DOUBLINGS, keep, lift_pixels
from penumbra.lift.ownership import LEAST_ALPHA, Ownership, fit_ownership, reach_of, scaled
from penumbra.lift.precision import Precision
from penumbra.lift.shade import (
    FAINT,
    RESTLESS,
    Shade,
    darker_than_around,
    find_shade,
    fine_size,
    ground_beside,
    near_dark,
    repeated,
    within_reach,
)
from penumbra.lift.specks import find_specks
from penumbra.resizing import enlarge, footprint, shrink
from penumbra.threads import for_each, share_of_threads
from penumbra.tiling import Tile, reached, tiles_of, widened
from penumbra.unrest import OUTSIDE

OPAQUE = 0.98  # coverage of a mask from which on nothing behind it shows
SURF = 4  # small pixels of 64 lines beyond where the background moves by itself, in which it still may
# A layer whose alpha stays below this has no presence above the floor. How surely alphas own what the plate shows is
# told by eight times their optical depth, 1 - (1 - a)^8: the network fades out long before a shadow's tip does. That
# something is there the plate itself says; whose it is the network tells by any alpha above its least. How opaque it
# is stays a matter of need.
FAINTEST = float(1 - (1 - FLOOR) ** (1 / 2**GAIN_DOUBLINGS))
KINDS = (np.float16, np.float32)  # of what layers hold
BESIDE = 1  # pixels around one that its difference from the clean plate is told from where the background moves


@dataclass(frozen=True)
class _Frame:
    """All that a tile is lifted from; arrays as :func:`lift_frame` takes them, masks in the layers' order.

    ``reach``, ``calm`` (h, w): what layers can own at and near small pixels, and where the background does nothing by
    itself that could be taken for an effect; ``masked``: where the tiles begin that a mask touches.
    """

    plate: FloatArray
    clean: FloatArray
    masks: tuple[FloatArray, ...]
    reach: FloatArray
    calm: FloatArray
    encoding: DisplayEncoding
    noise: Noise
    restless: FloatArray | None
    masked: frozenset[tuple[int, int]]
    relit: bool

    def silent(self, tile: Tile) -> bool:
        """Whether the network gives nothing of a tile to any layer, nor could by what lies around it."""
        return bool(self.reach[self._small(tile)].max() < FAINTEST)

    def near_unrest(self, tile: Tile) -> bool:
        """Whether the background moves by itself in a tile or beside it."""
        return bool(self.calm[self._small(tile)].min() < 1)

    def unmasked(self, tile: Tile) -> bool:
        """Whether no mask touches a tile."""
        return _begin(tile) not in self.masked

    @property
    def regrained(self) -> bool:
        """Whether the background keeps the plate's grain under effects."""
        return self.relit and grain_of(self.noise) > 0

    def _small(self, tile: Tile) -> tuple[slice, ...]:
        sizes = zip(self.reach.shape, self.plate.shape, tile, strict=False)
        return tuple(footprint(few, many, span) for few, many, span in sizes)


class _Shown(NamedTuple):
    """What the plate shows outside all masks (each H x W): belief in ``effects``; the same near restless background, in
    those of a shadow's kind, which are ``plain`` all the same; where it is ``outside``. ``ground``, by where they
    begin: of tiles under soft edges of masks, where they show ground.
    """

    effects: FloatArray
    plain: FloatArray
    outside: FloatArray
    ground: dict[tuple[int, int], BoolArray]


class _Few(NamedTuple):
    """A frame at the network's size: plate and clean plate (h, w, 3), masks (K, h, w), what the background does by
    itself (h, w); its shadows; and, each (h, w) in [0, 1], where the background is calm, where it is astir, where the
    plate is much darker than around, where it is dark enough for a shadow or the background is not astir, and where
    the plate is told to show a shadow by what lies around, as the background moves; and specks and waves (H', W'), at
    the size shadows are looked at, which are ``nobodys``. ``whole`` (H, W, 3): the clean plate with what lies beside
    shadows where it knows nothing of it.
    """

    plate: FloatArray
    clean: FloatArray
    masks: FloatArray
    restless: FloatArray
    shade: Shade
    calm: FloatArray
    astir: FloatArray
    dark: FloatArray
    shady: FloatArray
    told: FloatArray
    nobodys: BoolArray
    whole: FloatArray


def lift_frame(
    plate: Plate,
    clean: FloatArray,
    masks: Sequence[FloatArray],
    low: FloatArray,
    names: Sequence[str],
    order: NDArray[np.int64],
    encoding: DisplayEncoding,
    noise: Noise,
    precision: Precision,
    restless: FloatArray | None = None,
    lines: int | None = None,
    relit: bool = True,
) -> LayerStack:
    """The layers of one frame at plate resolution, exactly recomposing to the plate.

    Args:
        plate: H x W x 3 scene-linear.
        clean: the clean plate at this frame, H x W x 3 scene-linear.
        masks: per object H x W coverage in [0, 1].
        low: (K, h, w, 4) the network's straight RGBA in [0, 1], display-encoded, objects in ``names``' order.
        names: K object names.
        order: K indices into ``names``, back to front.
        encoding: the display encoding of ``low``.
        noise: the clip's own noise.
        precision: what the files will be written in; alphas and background are rounded to it before colours are solved.
        restless: H x W how far the background may be from the clean plate by itself, display units
            (:func:`penumbra.unrest.own_motion`).
        lines: height of the network's whole picture; None where ``low`` is all of it and not a crop.
        relit: whether the background keeps the plate's grain and texture under effects (:func:`lit_again`), and under
            a shadow what lies beside it where the clean plate knows nothing of that (:func:`ground_beside`).

    Returns:
        The stack, back to front, in DESIGN 4's guarantees: 0 <= alpha <= 1, colour >= 0 and finite, recomposition
        within 2^-10 relative plus 2^-12 wherever the plate is finite and not negative. The same bits whatever the
        number of threads, which OMP_NUM_THREADS limits.
    """
    sorted_low = low[np.asarray(order)]
    lines = low.shape[1] if lines is None else lines
    sorted_masks = tuple(masks[i] for i in order)
    few = _few(plate.pixels, clean, sorted_masks, restless, sorted_low[..., 3], lines, encoding, noise, relit)
    frame = _Frame(
        np.ascontiguousarray(plate.pixels),
        np.ascontiguousarray(few.whole),
        sorted_masks,
        within_reach(few.shade, reach_of(sorted_low[..., 3], lines)),
        few.calm,
        encoding,
        noise,
        restless,
        _masked(masks, plate.canvas.shape),
        relit,
    )
    height, width = plate.canvas.shape
    nothing, none, everywhere = (make((height, width), np.float32) for make in (np.zeros, np.zeros, np.ones))
    shown = _Shown(nothing, none, everywhere, {})
    threads = share_of_threads()
    for_each(lambda tile: _show(frame, tile, shown), tiles_of((height, width)), threads)
    ownership, effects = _fit(frame, few, sorted_low, shown, lines), shown.effects
    _complete(frame, few.shade, ownership.followed, shown)
    _forget(few.nobodys, effects)
    owned, plain = _divided(frame, ownership, effects)
    background = np.empty((height, width, 3), np.float32)
    for_each(lambda tile: _keep(frame, tile, precision, background), plain, threads)
    # Most of a large frame is nobody's: there is no room made for it in the layers.
    window = _around(owned)
    kind = np.float16 if precision is Precision.HALF else np.float32
    layers = np.zeros((len(order), *(span.stop - span.start for span in window), 4), kind)
    for_each(lambda tile: _lift(frame, ownership, tile, shown, precision, background, layers, window), owned, threads)
    stack = (
        Layer(names[index], held, window=window, size=(height, width))
        for index, held in zip(order, layers, strict=True)
    )
    return LayerStack(plate.number, background, tuple(stack))


def _around_wide(values: FloatArray, reach: int) -> FloatArray:
    """Small values (h, w), or the largest within ``reach`` pixels of those that fill a square as wide as that."""
    least = cv2.erode(values, np.ones((reach + 1, reach + 1), np.uint8))
    wide = cv2.dilate(least, np.ones((3 * reach + 1, 3 * reach + 1), np.uint8))
    return np.maximum(values, np.asarray(wide, np.float32))


def _masked(masks: Sequence[FloatArray], shape: tuple[int, int]) -> frozenset[tuple[int, int]]:
    """Where the tiles of a frame begin that any mask touches."""
    touched = (tile for tile in tiles_of(shape) if any(holds_anything(mask[tile]) for mask in masks))
    return frozenset(map(_begin, touched))


def _begin(tile: Tile) -> tuple[int, int]:
    """The row and column that a tile begins at."""
    return tile[0].start, tile[1].start


def _show(frame: _Frame, tile: Tile, shown: _Shown) -> None:
    """Writes a tile of what the plate shows."""
    if frame.silent(tile) and frame.unmasked(tile):
        return
    size = difference(frame.plate, frame.clean, frame.encoding, tile)
    shown.effects[tile] = belief(size, frame.noise, None if frame.restless is None else frame.restless[tile])
    if not frame.unmasked(tile):
        covered = largest_of([mask[tile] for mask in frame.masks])
        outside = covered < OUTSIDE
        shown.outside[tile] = outside
        shown.effects[tile] *= outside
        if frame.regrained:
            # Under soft edges, where nothing differs from the clean plate.
            soft = (covered < OPAQUE) & (size < frame.noise.threshold)
            shown.ground[_begin(tile)] = outside | soft
    if frame.near_unrest(tile) and holds_anything(shown.effects[tile]):
        wide, inner = widened(tile, shown.effects.shape, BESIDE)
        # One pixel that is no number would become a row of them.
        blurred = [cv2.blur(finite(image[wide]), (3, 3))[inner] for image in (frame.plate, frame.clean)]
        shown.plain[tile] = shown.effects[tile] * darkened_alike(*blurred)


def _many(frame: _Frame, size: FloatArray, tile: Tile) -> FloatArray:
    """How many times the threshold the differences of a tile are."""
    deviation = np.zeros(size.shape, np.float32) if frame.restless is None else frame.restless[tile]
    return multiple(size, frame.noise, deviation)


def _few(
    plate: FloatArray, clean: FloatArray, masks: Sequence[FloatArray], restless: FloatArray | None,
    alphas: FloatArray, lines: int, encoding: DisplayEncoding, noise: Noise, relit: bool,
) -> _Few:  # fmt: skip
    small = alphas.shape[1:]
    fine = fine_size(plate.shape, small)
    finer, behind = (finite(shrink(image, fine)) for image in (plate, clean))
    deviation = np.zeros(fine, np.float32) if restless is None else shrink(restless, fine)
    coverages = [shrink(mask, fine) for mask in masks]
    covered = np.stack([shrink(coverage, small) for coverage in coverages])
    outside = largest_of(coverages) < OUTSIDE
    many = multiple(difference(finer, behind, encoding), noise, deviation)
    few_restless = shrink(deviation, small)
    unrest = _around_wide(few_restless, scaled(SURF, lines))
    owned = np.maximum(alphas.max(axis=0) - LEAST_ALPHA, covered.max(axis=0))
    fine_shown = smoothstep(many, 1, 2) * outside
    dark, alike = darker_than_around(finer, outside)
    darkish = near_dark(dark)
    stir = astir(shrink(fine_shown * ~led_to(fine_shown, darkish, owned), small), owned, unrest, scaled(APART, lines))
    calm = (1 - smoothstep(unrest, *RESTLESS)) * (1 - stir)
    moving = repeated(calm, fine) < 0.5
    told = moving & (alike > 0.5)
    claimed = repeated(alphas.max(axis=0), fine)
    beside = ground_beside(finer, behind, many, outside, dark, told, claimed) if relit else None
    if beside is not None:
        clean = clean.copy()
        apply_change(clean, behind, beside)
        behind = beside
        many = multiple(difference(finer, behind, encoding), noise, deviation)
    stirring = repeated(stir, fine) > STIRS
    shady = darkish | ~stirring
    shade = find_shade(finer, behind, coverages, many, moving, dark, shady, told, stirring)
    beyond = np.maximum(alphas - LEAST_ALPHA - covered, 0).max(axis=0)
    return _Few(
        shrink(finer, small),
        shrink(behind, small),
        covered,
        few_restless,
        shade,
        calm,
        stir,
        shrink(dark, small),
        shrink(shady.astype(np.float32), small),
        shrink(told.astype(np.float32), small),
        find_specks(fine_shown, claimed, coverages)
        | find_waves(shady | shade.somebodys, coverages, repeated(beyond, fine)),
        clean,
    )


def _fit(frame: _Frame, few: _Few, low: FloatArray, shown: _Shown, lines: int) -> Ownership:
    size = low.shape[1:3]
    effects = shrink(shown.effects, size)
    plain = np.clip(shrink(shown.plain, size) / np.maximum(effects, np.float32(1e-3)), 0, 1).astype(np.float32)
    return fit_ownership(
        np.clip(low[..., 3], 0, 1),
        np.maximum(frame.encoding.decode(np.ascontiguousarray(low[..., :3])), 0),
        few.masks,
        effects,
        shrink(shown.outside, size),
        certainty(few.plate, few.clean, frame.encoding, frame.noise, few.restless),
        few.calm,
        few.astir,
        np.maximum(plain * few.shady, few.told),
        few.dark,
        few.shade,
        lines,
    )


def _complete(frame: _Frame, shade: Shade, followed: NDArray[np.bool_], shown: _Shown) -> None:
    """Believes, in place, in what is fainter than an effect where a shadow was followed across it."""
    gaps = followed & ~shade.certain
    if not gaps.any():
        return
    gate = (gaps * shade.darkens)[None]
    for tile in reached(gaps, shown.effects.shape):
        size = difference(frame.plate, frame.clean, frame.encoding, tile)
        many = _many(frame, size, tile)
        weight = enlarge(gate, shown.effects.shape, *tile)[0] * shown.outside[tile]
        np.maximum(shown.effects[tile], smoothstep(many, FAINT, 2 * FAINT) * weight, out=shown.effects[tile])


def _forget(nobodys: BoolArray, effects: FloatArray) -> None:
    """Takes what is nobody's out of the effects, in place."""
    if not nobodys.any():
        return
    gate = nobodys[None].astype(np.float32)
    for tile in reached(nobodys, effects.shape):
        effects[tile] *= 1 - enlarge(gate, effects.shape, *tile)[0]


def _divided(frame: _Frame, ownership: Ownership, effects: FloatArray) -> tuple[list[Tile], list[Tile]]:
    """The tiles that layers may own something of, and those whose background is the plate."""
    owned: list[Tile] = []
    plain: list[Tile] = []
    for tile in tiles_of(effects.shape):
        nothing = ownership.most(effects.shape, *tile) < FAINTEST or not holds_anything(effects[tile])
        (plain if nothing and frame.unmasked(tile) else owned).append(tile)
    return owned, plain


def _around(tiles: Sequence[Tile]) -> Tile:
    """The rows and columns that hold all tiles; a single pixel where there are none."""
    if not tiles:
        return slice(0, 1), slice(0, 1)
    rows, columns = zip(*tiles, strict=True)
    return slice(rows[0].start, rows[-1].stop), slice(min(c.start for c in columns), max(c.stop for c in columns))


def _keep(frame: _Frame, tile: Tile, precision: Precision, background: FloatArray) -> None:
    rows, columns = tile
    keep(frame.plate, precision is Precision.HALF, rows.start, rows.stop, columns.start, columns.stop, background)


def _lift(
    frame: _Frame, ownership: Ownership, tile: Tile, shown: _Shown, precision: Precision,
    background: FloatArray, layers: NDArray[np.float16] | FloatArray, window: Tile,
) -> None:  # fmt: skip
    """Writes a tile of the background (H x W x 3) and of every layer, of which ``window`` is held and black before.

    Only the pixels that show an effect or lie in a mask are solved, a third of such tiles: all others are the plate's.
    """
    masks = np.stack([mask[tile] for mask in frame.masks])
    owned = (shown.effects[tile] > 0) | (masks.max(axis=0) > 0)
    if not owned.any():
        _keep(frame, tile, precision, background)
        return
    ground = _ground(frame, tile, owned & shown.ground.get(_begin(tile), True))
    half = precision is Precision.HALF
    # One of them holds nothing.
    halves, floats = (layers if layers.dtype == kind else np.empty((1, 0, 0, 4), kind) for kind in KINDS)
    lift_pixels(
        frame.plate, ground, masks, shown.effects, ownership.planes, half, *_begin(tile),
        background, *_begin(window), halves.view(np.uint16), floats.view(np.float32),
    )  # fmt: skip


def _ground(frame: _Frame, tile: Tile, effects: BoolArray) -> FloatArray:
    """The background of a tile (H, W, 3), >= 0; ``effects`` (H, W): where something is owned and ground shows."""
    # Resampled beside a flare, a clean plate undershoots by thousands, which no half could cancel again.
    ground = np.maximum(frame.clean[tile], 0)
    if not frame.regrained or not effects.any():
        return ground
    lines = len(frame.plate)
    rows, columns = part = _extent(effects, halo_of(lines))
    there = (
        slice(tile[0].start + rows.start, tile[0].start + rows.stop),
        slice(tile[1].start + columns.start, tile[1].start + columns.stop),
    )
    free = effects[part].astype(np.float32)
    ground[part] = lit_again(frame.plate, frame.clean, free, frame.encoding, frame.noise, lines, there)
    return ground


def _extent(where: BoolArray, step: int) -> Tile:
    """The rows and columns of a tile that hold all True, in whole steps where the tile goes on."""
    spans = []
    for axis in (1, 0):
        found = np.flatnonzero(where.any(axis=axis))
        first, last = int(found[0]) // step * step, -(-(int(found[-1]) + 1) // step) * step
        spans.append(slice(first, min(last, where.shape[1 - axis])))
    return spans[0], spans[1]
