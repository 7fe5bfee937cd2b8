"""Building the clean plate: the per-channel median, over frames, of pixels outside every mask.

After the paper's background estimate (section 4 of its supplement), at plate resolution and in bounded memory: the
mosaic is made tile by tile, frames being read again for every tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.clean_plate.exposure import Thumbnails, estimate_gains, free_at, thumbnail, thumbnail_size
from penumbra.clean_plate.fill import fill_unseen
from penumbra.clean_plate.mosaic import (
    Matrices,
    Mosaic,
    Tile,
    coverage_in_tile,
    frame_window,
    into_tile,
    mask_out_of_mosaic,
    plan_mosaics,
    tiles_of,
)
from penumbra.clean_plate.store import (
    MARKER,
    CleanPlate,
    load_clean_plate,
    picture_path,
    seen_path,
    write_marker,
)
from penumbra.color import FloatArray
from penumbra.errors import OutputError, Stopped
from penumbra.frames import BoolArray

ReadArray: TypeAlias = Callable[[int], FloatArray]
REPORTED = 0.001  # share of pixels never seen that is worth a warning


@dataclass(frozen=True)
class _Source:
    """The clip as this stage reads it: by index, with masks grown and turned into what is free."""

    numbers: Sequence[int]
    read_plate: ReadArray
    read_occupied: ReadArray
    gains: FloatArray

    def plate(self, index: int, window: tuple[slice, slice] = np.s_[:, :]) -> FloatArray:
        """The part of a frame in a window of rows and columns, exposure evened out."""
        pixels = np.ascontiguousarray(self.read_plate(self.numbers[index])[window])
        return pixels if (self.gains[index] == 1).all() else pixels / self.gains[index]

    def free(self, index: int) -> NDArray[np.uint8]:
        """1 where no mask is near: soft edges reach a little farther than the coverage a roto artist draws."""
        occupied = self.read_occupied(self.numbers[index]) > 0
        reach = 2 + occupied.shape[1] // 960
        grown = cv2.dilate(occupied.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        return np.asarray(1 - grown, np.uint8)


class _Progress:
    """Counts units of work, tells the caller, and stops when asked."""

    def __init__(self, total: int, on_progress: Callable[[int, int], None], should_stop: Callable[[], bool]) -> None:
        self._done, self._total, self._tell, self._stop = 0, total, on_progress, should_stop

    def check(self) -> None:
        if self._stop():
            raise Stopped("Building the clean plate was stopped.", "Start the job again to build it.")

    def __call__(self) -> None:
        self.check()
        self._done = min(self._done + 1, self._total)
        self._tell(self._done, self._total)


def build_clean_plate(
    numbers: Sequence[int],
    read_plate: ReadArray,
    read_occupied: ReadArray,
    homographies: Matrices,
    folder: Path,
    on_progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
    max_samples: int = 61,
    byte_budget: int = 600_000_000,
) -> CleanPlate:
    """Makes the clean plate of a clip and keeps it in ``folder``, a work folder of this stage alone.

    ``numbers``: frame numbers. ``read_plate(number)``: (H, W, 3) float32 scene-linear; ``read_occupied(number)``:
    (H, W) float32, the largest coverage of any mask. ``homographies``: (N, 3, 3), frame pixels to a common frame's.
    ``max_samples``: frames, spread in time, that a pixel's median is taken over; pixels none of them sees are looked
    for in the others. ``byte_budget``: memory for the samples of a tile; all memory is flat in the number of frames
    but for thumbnails (about 100 kB a frame). Exposure drift is measured, evened out, and given back by ``at``.
    Files are written under temporary names, a marker last: what is stopped or fails leaves no clean plate behind.
    Raises :class:`Stopped`, and :class:`OutputError` where the folder cannot be written.
    """
    if len(numbers) != len(homographies) or not len(numbers):
        raise ValueError(f"{len(homographies)} homographies for {len(numbers)} frames")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).unlink(missing_ok=True)
        return _built(
            numbers, read_plate, read_occupied, homographies, folder, on_progress, should_stop, max_samples, byte_budget
        )
    except OSError as error:
        raise OutputError(
            f"The clean plate cannot be written to {folder}: {error}.", "Free space or choose another folder."
        ) from error
    finally:
        for part in folder.glob("*.part*"):
            part.unlink(missing_ok=True)


def _built(
    numbers: Sequence[int], read_plate: ReadArray, read_occupied: ReadArray, homographies: Matrices, folder: Path,
    on_progress: Callable[[int, int], None], should_stop: Callable[[], bool], max_samples: int, byte_budget: int,
) -> CleanPlate:  # fmt: skip
    source = _Source(numbers, read_plate, read_occupied, np.ones((len(numbers), 3), np.float32))
    size = source.read_occupied(numbers[0]).shape[:2]
    mosaics = plan_mosaics(homographies, size)
    tiles = [tiles_of(mosaic, size, min(max_samples, len(numbers)), byte_budget) for mosaic in mosaics]
    tick = _Progress(len(numbers) + sum(map(len, tiles)) * min(max_samples, len(numbers)), on_progress, should_stop)
    thumbnails = _thumbnails(source, size, tick)
    gains = estimate_gains(thumbnails, mosaics)
    source = _Source(numbers, read_plate, read_occupied, gains)
    for which, mosaic in enumerate(mosaics):
        _write_mosaic(source, mosaic, tiles[which], thumbnails, folder, which, max_samples, tick)
    share = _never_seen_share(folder, mosaics, size)
    write_marker(folder, homographies, numbers, size, gains, share, _warnings(mosaics, share, gains))
    return load_clean_plate(folder, homographies, numbers)


def _thumbnails(source: _Source, size: tuple[int, int], tick: _Progress) -> Thumbnails:
    height, width = thumbnail_size(size)
    colour = np.empty((len(source.numbers), height, width, 3), np.float32)
    free = np.empty((len(source.numbers), height, width), np.float32)
    for index in range(len(source.numbers)):
        tick()
        colour[index], free[index] = thumbnail(source.plate(index), source.free(index))
    return Thumbnails(colour, free, (size[0] / height, size[1] / width))


def _write_mosaic(
    source: _Source, mosaic: Mosaic, tiles: list[Tile], thumbnails: Thumbnails, folder: Path, which: int,
    max_samples: int, tick: _Progress,
) -> None:  # fmt: skip
    """Writes the colours and the matte of one mosaic."""
    picture_part, seen_part = folder / f"picture_{which:03d}.part.npy", folder / f"seen_{which:03d}.part.npy"
    room = (mosaic.height, mosaic.width)
    picture = np.lib.format.open_memmap(picture_part, "w+", np.float32, (*room, 3))
    seen = np.lib.format.open_memmap(seen_part, "w+", np.bool_, room)
    for tile in tiles:
        at = np.s_[tile.top : tile.bottom, tile.left : tile.right]
        picture[at], seen[at] = _tile_median(source, mosaic, tile, thumbnails, max_samples, tick)
    fill_unseen(picture, seen)
    picture.flush()
    seen.flush()
    del picture, seen
    picture_part.replace(picture_path(folder, which))
    seen_part.replace(seen_path(folder, which))


def _tile_median(
    source: _Source, mosaic: Mosaic, tile: Tile, thumbnails: Thumbnails, max_samples: int, tick: _Progress
) -> tuple[FloatArray, BoolArray]:
    probe = _probe(tile)
    able = [
        index
        for index in np.flatnonzero(mosaic.sees).tolist()
        if free_at(thumbnails, index, mosaic.homographies[index], probe).any()
    ]
    chosen = [able[k] for k in np.unique(np.linspace(0, len(able) - 1, min(max_samples, len(able))).astype(int))]
    # Pixels innermost: sorting runs along contiguous memory.
    stack = np.full((*tile.shape, 3, max(len(chosen), 1)), np.nan, np.float32)
    for slot, index in enumerate(chosen):
        tick()
        colour, covered = _seen_in_tile(source, mosaic, tile, index)
        stack[covered, :, slot] = colour[covered]
    median, seen = _median(stack)
    del stack
    rest = [index for index in able if index not in set(chosen)]
    _look_further(source, mosaic, tile, thumbnails, rest, median, seen, tick)
    return median, seen


def _seen_in_tile(source: _Source, mosaic: Mosaic, tile: Tile, index: int) -> tuple[FloatArray, BoolArray]:
    if mosaic.still:
        at = np.s_[tile.top : tile.bottom, tile.left : tile.right]
        return source.plate(index, at), source.free(index)[at] > 0
    free = source.free(index)
    window, homography = frame_window(mosaic.homographies[index], tile, free.shape)
    covered = coverage_in_tile(np.ascontiguousarray(free[window]), homography, tile)
    return into_tile(source.plate(index, window), homography, tile), covered


def _look_further(
    source: _Source, mosaic: Mosaic, tile: Tile, thumbnails: Thumbnails, rest: list[int], median: FloatArray,
    seen: BoolArray, tick: _Progress,
) -> None:  # fmt: skip
    """Fills pixels no sample saw, in place, from the first other frames that see them."""
    for index in rest:
        if seen.all():
            return
        y, x = np.nonzero(~seen)
        step = max(1, len(y) // 4000)
        points = np.stack([x[::step] + tile.left, y[::step] + tile.top], axis=-1).astype(np.float64)
        if not free_at(thumbnails, index, mosaic.homographies[index], points).any():
            continue
        tick.check()
        colour, covered = _seen_in_tile(source, mosaic, tile, index)
        new = covered & ~seen
        median[new] = colour[new]
        seen |= new


def _median(stack: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Median over the last axis, NaN being absent (sorts last): (H, W, 3) and where anything is known (H, W)."""
    count = (~np.isnan(stack[:, :, 0])).sum(-1)
    stack.sort(axis=-1)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, stack.shape[-1] - 1)
    middle = [np.take_along_axis(stack, at[:, :, None, None], -1)[..., 0] for at in (low, high)]
    known: BoolArray = count > 0
    median = np.where(known[..., None], middle[0] + (middle[1] - middle[0]) / 2, 0)
    return median.astype(np.float32), known


def _probe(tile: Tile) -> NDArray[np.float64]:
    x, y = np.meshgrid(np.linspace(tile.left, tile.right - 1, 24), np.linspace(tile.top, tile.bottom - 1, 16))
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def _never_seen_share(folder: Path, mosaics: tuple[Mosaic, ...], size: tuple[int, int]) -> float:
    """Over at most 50 frames spread in time, the share of their pixels that no frame saw."""
    shares = []
    for which, mosaic in enumerate(mosaics):
        seen = np.load(seen_path(folder, which), mmap_mode="r")
        if mosaic.still:
            return float(1 - seen.mean())
        served = np.unique(np.linspace(mosaic.first, mosaic.last, min(50, mosaic.last - mosaic.first + 1)).astype(int))
        for index in served.tolist():
            shares.append(float((mask_out_of_mosaic(seen, mosaic.homographies[index], size) < 0.5).mean()))
    return float(np.mean(shares))


def _warnings(mosaics: tuple[Mosaic, ...], share: float, gains: FloatArray) -> list[str]:
    sentences = []
    if share > REPORTED:
        sentences.append(
            f"{share:.1%} of the background is behind an object at every frame: it is filled in from around."
        )
    if len(mosaics) > 1:
        sentences.append(
            f"The camera turns too far for one clean plate: {len(mosaics)} are joined, look at the frames between them."
        )
    drift = float(np.abs(gains - 1).max())
    if drift > 0.02:
        sentences.append(f"The plate's exposure drifts by up to {drift:.0%}: the clean plate follows it.")
    return sentences
