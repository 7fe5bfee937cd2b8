"""One frame lifted, in two passes of tiles: what the plate shows, then who owns it and the exact solution."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from penumbra.color import DisplayEncoding, FloatArray
from penumbra.frames import Layer, LayerStack, Plate
from penumbra.lift.enlarge import footprint
from penumbra.lift.evidence import HALO, Noise, belief, certainty, difference
from penumbra.lift.ownership import OUTSIDE, Ownership, alphas_of, fit_ownership, reach_of
from penumbra.lift.solve import FLOOR, Precision, solve
from penumbra.resizing import shrink

# Rows and columns solved at once: the temporaries of a tile stay in a core's cache.
TILE = (64, 256)
GAIN = 8
# A layer whose alpha stays below this has no presence above the floor: 1 - (1 - a)^GAIN.
FAINTEST = 1 - (1 - FLOOR) ** (1 / GAIN)

Tile: TypeAlias = tuple[slice, slice]


@dataclass(frozen=True)
class _Frame:
    """All that a tile is lifted from; arrays as :func:`lift_frame` takes them, masks in the layers' order."""

    plate: FloatArray
    clean: FloatArray
    masks: tuple[FloatArray, ...]
    reach: FloatArray
    encoding: DisplayEncoding
    noise: Noise
    restless: FloatArray | None

    def silent(self, tile: Tile) -> bool:
        """Whether the network gives nothing of a tile to any layer, nor could by what lies around it."""
        small = tuple(
            footprint(n, large, span) for n, large, span in zip(self.reach.shape, self.plate.shape, tile, strict=False)
        )
        return bool(self.reach[small].max() < FAINTEST)

    def unmasked(self, tile: Tile) -> bool:
        """Whether no mask touches a tile."""
        return not any(mask[tile].any() for mask in self.masks)


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

    Returns:
        The stack, back to front, in DESIGN 4's guarantees: 0 <= alpha <= 1, colour >= 0 and finite, recomposition
        within 2^-10 relative plus 2^-12 wherever the plate is finite and not negative. The same bits whatever the
        number of threads, which OMP_NUM_THREADS limits.
    """
    sorted_low = low[np.asarray(order)]
    lines = low.shape[1] if lines is None else lines
    frame = _Frame(
        plate.pixels, clean, tuple(masks[i] for i in order), reach_of(sorted_low[..., 3], lines), encoding, noise,
        restless,
    )  # fmt: skip
    height, width = plate.canvas.shape
    effects, outside = np.zeros((height, width), np.float32), np.ones((height, width), np.float32)
    _for_tiles((height, width), lambda tile: _show(frame, tile, effects, outside))
    ownership = _fit(frame, sorted_low, effects, outside, lines)
    background = np.empty((height, width, 3), np.float32)
    layers = [np.zeros((height, width, 4), np.float32) for _ in order]
    _for_tiles((height, width), lambda tile: _lift(frame, ownership, tile, effects, precision, background, layers))
    stack = tuple(Layer(names[index], pixels) for index, pixels in zip(order, layers, strict=True))
    return LayerStack(plate.number, background, stack)


def _show(frame: _Frame, tile: Tile, effects: FloatArray, outside: FloatArray) -> None:
    """Writes a tile of belief in effects outside all masks, and of where that is (both H x W)."""
    if frame.silent(tile) and frame.unmasked(tile):
        return
    wide, inner = _widened(tile, effects.shape)
    size = difference(frame.plate[wide], frame.clean[wide], frame.encoding)[inner]
    covered = np.maximum.reduce([mask[tile] for mask in frame.masks])
    free = covered < OUTSIDE
    believed = belief(size, frame.noise, None if frame.restless is None else frame.restless[tile])
    effects[tile] = believed * free
    outside[tile] = free


def _fit(frame: _Frame, low: FloatArray, effects: FloatArray, outside: FloatArray, lines: int) -> Ownership:
    size = low.shape[1:3]
    return fit_ownership(
        np.clip(low[..., 3], 0, 1),
        np.maximum(frame.encoding.decode(np.ascontiguousarray(low[..., :3])), 0),
        np.stack([shrink(mask, size) for mask in frame.masks]),
        shrink(effects, size),
        shrink(outside, size),
        certainty(
            shrink(frame.plate, size), shrink(frame.clean, size), frame.encoding, frame.noise,
            None if frame.restless is None else shrink(frame.restless, size),
        ),
        lines,
    )  # fmt: skip


def _lift(
    frame: _Frame,
    ownership: Ownership,
    tile: Tile,
    effects: FloatArray,
    precision: Precision,
    background: FloatArray,
    layers: Sequence[FloatArray],
) -> None:
    """Writes a tile of the background (H x W x 3) and of every layer (H x W x 4), which are black before."""
    nothing = not effects[tile].any() or ownership.most(effects.shape, *tile) < FAINTEST
    if nothing and frame.unmasked(tile):
        background[tile] = precision.nearest(frame.plate[tile])
        return
    alphas, colours = alphas_of(ownership, frame.masks, effects, *tile)
    plate, clean = (_planes(image[tile]) for image in (frame.plate, frame.clean))
    # Resampled beside a flare, a clean plate undershoots by thousands, which no half could cancel again.
    clean = np.maximum(clean, 0)
    outside = np.maximum.reduce([mask[tile] for mask in frame.masks]) < OUTSIDE
    solved, raised, premultiplied = solve(plate, clean, alphas, colours, presence(alphas), precision, outside)
    background[tile] = solved.transpose(1, 2, 0)
    for layer, alpha, colour in zip(layers, raised, premultiplied, strict=True):
        layer[(*tile, slice(0, 3))] = colour.transpose(1, 2, 0)
        layer[(*tile, 3)] = alpha


def presence(alphas: FloatArray) -> FloatArray:
    """How surely any of (K, H, W) alphas owns what the plate shows, H x W in [0, 1]: ``GAIN`` times the optical depth.

    The network fades out long before a shadow's tip does. That something is there the plate itself says (the evidence
    in ``alphas``); whose it is the network tells by any alpha above its least. How opaque it is stays a matter of need.
    """
    through = np.prod(1 - alphas, axis=0)
    sure: FloatArray = 1 - through**GAIN
    return sure


def _planes(image: FloatArray) -> FloatArray:
    """H x W x C as (C, H, W), contiguous."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _widened(tile: Tile, shape: tuple[int, ...]) -> tuple[Tile, Tile]:
    """A tile with the pixels around it that smoothing needs, as far as the frame goes, and the tile's place in that."""
    starts = [max(span.start - HALO, 0) for span in tile]
    stops = [min(span.stop + HALO, size) for span, size in zip(tile, shape, strict=True)]
    rows, columns = (slice(start, stop) for start, stop in zip(starts, stops, strict=True))
    down, across = (slice(span.start - start, span.stop - start) for span, start in zip(tile, starts, strict=True))
    return (rows, columns), (down, across)


def _for_tiles(shape: tuple[int, int], work: Callable[[Tile], None]) -> None:
    """Runs ``work`` on every tile of a frame, in as many threads as there are cores to use."""
    threads = _threads()
    if threads == 1:
        for tile in _tiles(shape):
            work(tile)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, _tiles(shape)):
            pass


def _tiles(shape: tuple[int, int]) -> Iterator[Tile]:
    for top in range(0, shape[0], TILE[0]):
        for left in range(0, shape[1], TILE[1]):
            yield slice(top, min(top + TILE[0], shape[0])), slice(left, min(left + TILE[1], shape[1]))


def _threads() -> int:
    limit = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(int(limit), cores)) if limit.isdigit() else cores
