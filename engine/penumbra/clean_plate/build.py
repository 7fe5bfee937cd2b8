"""Building the clean plate: what pixels outside every mask show, at the centre of what they show over the frames.

After the paper's background estimate (section 4 of its supplement: their median), at plate resolution and in bounded
memory: the mosaic is made tile by tile, from frames kept on disk meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import create_array
from penumbra.clean_plate.centre import BORDER
from penumbra.clean_plate.edges import edge_slopes
from penumbra.clean_plate.exposure import (
    Thumbnails,
    estimate_gains,
    far_off,
    free_at,
    room_for,
    thumbnail,
    thumbnail_size,
)
from penumbra.clean_plate.fill import fill_unseen, patch_unseen
from penumbra.clean_plate.kept import KeptFrames
from penumbra.clean_plate.local import measure_bend
from penumbra.clean_plate.median import median_background
from penumbra.clean_plate.mosaic import (
    Matrices,
    Mosaic,
    Tile,
    farness_in_tile,
    frame_window,
    into_tile,
    mask_out_of_mosaic,
    plan_mosaics,
    tiles_of,
)
from penumbra.clean_plate.repeats import Repeats
from penumbra.clean_plate.restless import (
    SmallFrames,
    add_small_frame,
    empty_small_frames,
    restlessness,
)
from penumbra.clean_plate.shading import Ceiling, Shading, estimate_shading
from penumbra.clean_plate.small import small_mosaic, small_picture, small_view
from penumbra.clean_plate.store import (
    MARKER,
    CleanPlate,
    flow_path,
    load_clean_plate,
    picture_path,
    restless_path,
    seen_path,
    slopes_path,
    write_marker,
)
from penumbra.color import DisplayEncoding, FloatArray
from penumbra.compiled import compiled
from penumbra.errors import OutputError, Stopped
from penumbra.frames import BoolArray
from penumbra.threads import for_each, frames_at_once, in_order, share_of_threads, thread_count
from penumbra.tiling import widened

ReadArray: TypeAlias = Callable[[int], FloatArray]
WATCHED = 3  # times the samples: frames looked at for what moves by itself, which a moving camera sees in turn
AROUND = 0.05  # of the width: how far the calm ground lies that a shadow is told from
WORTH_SAYING = 1.0  # pixels by which the background departs from the camera's plane
TILES_AT_ONCE = 3  # where there are cores for them; each takes its memory
LINES = 16  # of a tile, that are one piece of work
REPORTED = 0.001  # share of pixels never seen that is worth a warning
_PLACES, _NO_SAMPLE = 64, np.float32(np.nan)  # turned at once: their samples stay in the processor's cache


@dataclass(frozen=True)
class _Source:
    """The clip as this stage reads it: by index, exposure and the lens's shading evened out, with masks turned into
    what is free of them.

    ``size``: a frame's height and width; ``light`` (H, W): the lens's, None where it is the same everywhere;
    ``grainless``: whether frames have no grain.
    """

    kept: KeptFrames
    gains: FloatArray
    size: tuple[int, int]
    light: FloatArray | None = None
    grainless: bool = False

    def plate(self, index: int, window: tuple[slice, slice] = np.s_[:, :]) -> FloatArray:
        """The part of a frame in a window of rows and columns."""
        pixels = np.ascontiguousarray(self.kept.plate(index, window[0])[:, window[1]])
        if (self.gains[index] != 1).any():
            pixels = pixels / self.gains[index]
        return pixels if self.light is None else pixels / self.light[window][..., None]

    def free(self, index: int) -> NDArray[np.uint8]:
        """(H, W), 1 where no mask is near."""
        return self.kept.free(index)


class _Progress:
    """Counts units of work, tells the caller, and stops when asked. From any thread."""

    def __init__(self, total: int, on_progress: Callable[[int, int], None], should_stop: Callable[[], bool]) -> None:
        self._done, self._total, self._tell, self._stop = 0, total, on_progress, should_stop
        self._one = threading.Lock()

    def check(self) -> None:
        if self._stop():
            raise Stopped("Building the clean plate was stopped.", "Start the job again to build it.")

    def __call__(self) -> None:
        with self._one:
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
    encoding: DisplayEncoding = DisplayEncoding(),  # noqa: B008 - frozen
    max_samples: int = 61,
    byte_budget: int = 600_000_000,
    most_kept: int | None = None,
) -> CleanPlate:
    """Makes the clean plate of a clip and keeps it in ``folder``, a work folder of this stage alone.

    ``numbers``: frame numbers. ``read_plate(number)``: (H, W, 3) float32 scene-linear; ``read_occupied(number)``:
    (H, W) float32, the largest coverage of any mask, and ``BLANK`` where the frame shows nothing.
    ``homographies``: (N, 3, 3), frame pixels to a common frame's.
    ``encoding``: in whose units restlessness is told.
    ``max_samples``: frames, spread in time, that a pixel's median is taken over; pixels none of them sees are looked
    for in the others. ``byte_budget``: memory for the samples of a tile, of which a few are made at once; memory
    is flat in the number of frames, and the bits are the same whatever the number of threads.
    ``most_kept``: bytes of disk for frames, so that each is decoded once;
    None takes a share of what is free, and what finds no room is decoded again for every tile. Exposure drift is
    measured, evened out, and given back by ``at``.
    Files are written under temporary names, a marker last: what is stopped or fails leaves no clean plate behind.
    Raises :class:`Stopped`, and :class:`OutputError` where the folder cannot be written.
    """
    if len(numbers) != len(homographies) or not len(numbers):
        raise ValueError(f"{len(homographies)} homographies for {len(numbers)} frames")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).unlink(missing_ok=True)
        kept = KeptFrames(
            lambda index: read_plate(numbers[index]),
            lambda index: read_occupied(numbers[index]),
            folder,
            _sampled(homographies, max_samples),
            most_kept,
        )
        limits = _Limits(max_samples, byte_budget, encoding)
        return _built(numbers, kept, homographies, folder, on_progress, should_stop, limits)
    except OSError as error:
        raise OutputError(
            f"The clean plate cannot be written to {folder}: {error}.", "Free space, then run with --resume."
        ) from error
    finally:
        for part in folder.glob("*.part*"):
            part.unlink(missing_ok=True)


def _sampled(homographies: Matrices, samples: int) -> frozenset[int]:
    """Frames that will be wanted tile after tile: where nothing moves a few serve the whole picture."""
    count = len(homographies)
    still = np.array_equal(homographies, np.broadcast_to(np.eye(3), homographies.shape))
    few = np.unique(np.linspace(0, count - 1, min(samples, count)).astype(int)).tolist()
    return frozenset(few if still else range(count))


@dataclass(frozen=True)
class _Limits:
    """How much is looked at, and in which units restlessness is told."""

    samples: int
    byte_budget: int
    encoding: DisplayEncoding


def _built(
    numbers: Sequence[int], kept: KeptFrames, homographies: Matrices, folder: Path,
    on_progress: Callable[[int, int], None], should_stop: Callable[[], bool], limits: _Limits,
) -> CleanPlate:  # fmt: skip
    count = len(numbers)
    size = kept.free(0).shape[:2]
    mosaics = plan_mosaics(homographies, size)
    samples = min(limits.samples, count)
    tiles = [tiles_of(mosaic, size, samples, limits.byte_budget) for mosaic in mosaics]
    tick = _Progress(count + sum(map(len, tiles)) * samples, on_progress, should_stop)
    source = _Source(kept, np.ones((count, 3), np.float32), size)
    # A lens is told by a camera that turns alone.
    ceiling = None if all(mosaic.still for mosaic in mosaics) else Ceiling()
    repeats = Repeats()
    lookers = [looker for looker in (repeats, ceiling) if looker is not None]
    thumbnails, small = _first_look(source, size, count, WATCHED * limits.samples, folder, tick, lookers)
    gains = estimate_gains(thumbnails, mosaics, folder)
    off = far_off(gains)
    # They follow the others' background, and are none of it.
    thumbnails.free[off] = 0
    small.far[off[list(small.indices)]] = False
    evened = np.where(off[:, None], np.float32(1), gains)
    shading = estimate_shading(thumbnails, mosaics, evened)
    if shading:
        _even_out(thumbnails.colour, shading.at(thumbnail_size(size))[..., None])
        _even_out(small.light, shading.at((small.light.shape[1], small.light.shape[2])))
        evened = estimate_gains(thumbnails, mosaics, folder)
        gains = np.where(off[:, None], gains, evened)
    light = shading.at(size) if shading else None
    source = replace(source, gains=evened, light=light, grainless=repeats.grainless)
    for which, mosaic in enumerate(mosaics):
        _write_mosaic(source, mosaic, tiles[which], thumbnails, folder, which, limits, tick)
        _write_small(restless_path(folder, which), restlessness(small, mosaic, evened, limits.encoding))
        picture = np.load(picture_path(folder, which), mmap_mode="r")
        _write_small(slopes_path(folder, which), edge_slopes(picture, small.block, limits.encoding))
    misfit = _bend(source, small, mosaics, folder, limits.encoding, tick)
    share = _never_seen_share(folder, mosaics, size)
    cut_off = float("inf") if ceiling is None else ceiling.value
    warnings = [
        *_warnings(mosaics, share, evened, shading),
        *_far_off_warnings(numbers, off),
        *_misfit_warnings(numbers, misfit),
    ]
    write_marker(folder, homographies, numbers, size, gains, shading, cut_off, share, misfit, warnings)
    return load_clean_plate(folder, homographies, numbers)


def _first_look(
    source: _Source, size: tuple[int, int], count: int, watched: int, folder: Path, tick: _Progress,
    lookers: Sequence[Repeats | Ceiling],
) -> tuple[Thumbnails, SmallFrames]:  # fmt: skip
    """Every frame once: thumbnails of all, and some small for what moves by itself; ``lookers`` see each, too."""
    height, width = thumbnail_size(size)
    colour, free = room_for((count, height, width, 3), folder), room_for((count, height, width), folder)
    spread = np.unique(np.linspace(0, count - 1, min(count, watched)).astype(int))
    small = empty_small_frames(tuple(spread.tolist()), size)

    def look(index: int) -> FloatArray:
        tick()
        plate, unmasked = source.plate(index), source.free(index)
        colour[index], free[index] = thumbnail(plate, unmasked)
        add_small_frame(small, index, plate, unmasked)
        return plate

    for plate in in_order(look, count, min(frames_at_once(size[0] * size[1]), thread_count())):
        for looker in lookers:
            looker.add(plate)
    return Thumbnails(colour, free, (size[0] / height, size[1] / width)), small


def _even_out(pictures: FloatArray, light: FloatArray) -> None:
    """Divides pictures, perhaps a mapped file, in place, one after the other."""
    for picture in pictures:
        picture /= light


def _write_small(path: Path, picture: NDArray[np.floating]) -> None:
    part = path.with_suffix(".part.npy")
    np.save(part, picture)
    part.replace(path)


def _write_mosaic(
    source: _Source, mosaic: Mosaic, tiles: list[Tile], thumbnails: Thumbnails, folder: Path, which: int,
    limits: _Limits, tick: _Progress,
) -> None:  # fmt: skip
    """Writes the colours and the matte of one mosaic."""
    picture_part, seen_part = folder / f"picture_{which:03d}.part.npy", folder / f"seen_{which:03d}.part.npy"
    room = (mosaic.height, mosaic.width)
    picture = create_array(picture_part, np.float32, (*room, 3))
    seen = create_array(seen_part, np.bool_, room)
    _make_tiles(source, mosaic, tiles, thumbnails, limits, tick, picture, seen)
    fill_unseen(picture, seen)
    patch_unseen(picture, seen, limits.encoding)
    picture.flush()
    seen.flush()
    del picture, seen
    picture_part.replace(picture_path(folder, which))
    seen_part.replace(seen_path(folder, which))


def _make_tiles(
    source: _Source, mosaic: Mosaic, tiles: list[Tile], thumbnails: Thumbnails, limits: _Limits, tick: _Progress,
    picture: FloatArray, seen: BoolArray,
) -> None:  # fmt: skip
    """Writes all tiles of a mosaic's ``picture`` (rows, columns, 3) and where anything is ``seen`` (rows, columns)."""

    def make(index: int) -> None:
        tile = tiles[index]
        at = np.s_[tile.top : tile.bottom, tile.left : tile.right]
        # What a pixel is taken for depends on its neighbours: without them tiles would have borders.
        (rows, columns), own = widened(at, seen.shape, BORDER)
        wide = Tile(rows.start, rows.stop, columns.start, columns.stop)
        picture[at], seen[at] = (made[own] for made in _tile_median(source, mosaic, wide, thumbnails, limits, tick))

    for _ in in_order(make, len(tiles), min(TILES_AT_ONCE, thread_count())):
        pass


def _tile_median(
    source: _Source, mosaic: Mosaic, tile: Tile, thumbnails: Thumbnails, limits: _Limits, tick: _Progress
) -> tuple[FloatArray, BoolArray]:
    probe = _probe(tile)
    able = [
        index
        for index in np.flatnonzero(mosaic.sees).tolist()
        if free_at(thumbnails, index, mosaic.homographies[index], probe).any()
    ]
    many = min(limits.samples, len(able))
    chosen = [able[k] for k in np.unique(np.linspace(0, len(able) - 1, many).astype(int))]
    stack, farness = _samples(source, mosaic, tile, chosen, tick)
    around = max(1, round(AROUND * source.size[1]))
    median, seen = median_background(stack, farness, limits.encoding, around, source.grainless)
    del stack
    rest = [index for index in able if index not in set(chosen)]
    _look_further(source, mosaic, tile, thumbnails, rest, median, seen, tick)
    return median, seen


def _samples(
    source: _Source, mosaic: Mosaic, tile: Tile, chosen: list[int], tick: _Progress
) -> tuple[FloatArray, NDArray[np.uint8]]:
    """What some frames show in a tile (h, w, 3, S), NaN where they do not see it, and their farness there (h, w, S)."""
    many, (height, width) = max(len(chosen), 1), tile.shape
    shown = np.empty((many, height, width, 3), np.float32)
    farness = np.zeros((many, height, width), np.uint8)

    def look(slot: int) -> None:
        tick()
        shown[slot], farness[slot] = _seen_in_tile(source, mosaic, tile, chosen[slot])

    for_each(look, range(len(chosen)), share_of_threads())
    # Samples innermost, as sorting runs along contiguous memory.
    stack = np.empty((height, width, 3, many), np.float32)
    distances = np.empty((height, width, many), np.uint8)
    arrays = (
        shown.reshape(many, -1, 3), farness.reshape(many, -1), stack.reshape(-1, 3, many), distances.reshape(-1, many)
    )  # fmt: skip
    for_each(
        lambda line: _turn(*arrays, line * width, min(line + LINES, height) * width),
        range(0, height, LINES),
        share_of_threads(),
    )
    return stack, distances


@compiled
def _turn(
    shown: FloatArray, farness: NDArray[np.uint8], stack: FloatArray, distances: NDArray[np.uint8], begin: int, end: int
) -> None:
    """Writes S samples of some of N places, (S, N, 3) and (S, N), as (N, 3, S), NaN where there is none, and (N, S)."""
    for first in range(begin, end, _PLACES):
        last = min(first + _PLACES, end)
        for slot in range(len(shown)):
            for place in range(first, last):
                far = farness[slot, place]
                distances[place, slot] = far
                for c in range(3):
                    stack[place, c, slot] = shown[slot, place, c] if far > 0 else _NO_SAMPLE


def _seen_in_tile(source: _Source, mosaic: Mosaic, tile: Tile, index: int) -> tuple[FloatArray, NDArray[np.uint8]]:
    """What a frame shows in a tile (h, w, 3), and how far from masks (h, w): 0 where it does not see the place."""
    if mosaic.still:
        at = np.s_[tile.top : tile.bottom, tile.left : tile.right]
        return source.plate(index, at), source.free(index)[at]
    free = source.free(index)
    window, homography = frame_window(mosaic.homographies[index], tile, free.shape)
    farness = farness_in_tile(np.ascontiguousarray(free[window]), homography, tile)
    return into_tile(source.plate(index, window), homography, tile), farness


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
        colour, far = _seen_in_tile(source, mosaic, tile, index)
        new = (far > 0) & ~seen
        median[new] = colour[new]
        seen |= new


def _bend(
    source: _Source, small: SmallFrames, mosaics: tuple[Mosaic, ...], folder: Path, encoding: DisplayEncoding,
    tick: _Progress,
) -> FloatArray:  # fmt: skip
    """Pixels (N,) by which each frame departs from the camera's plane; writes flows where bending helps."""
    misfit = np.full(len(source.gains), np.nan, np.float32)
    for which, mosaic in enumerate(mosaics):
        if mosaic.still:
            continue
        picture = small_mosaic(np.load(picture_path(folder, which), mmap_mode="r"), small.block, encoding)
        for index in range(mosaic.first, mosaic.last + 1):
            tick.check()
            frame, free = small_picture(source.plate(index), source.free(index), encoding)
            found = measure_bend(frame, small_view(picture, mosaic, index, small.block, frame.shape), free, small.block)
            misfit[index] = found.misfit
            path = flow_path(folder, index)
            path.unlink(missing_ok=True)
            if found.flow is not None:
                _write_small(path, found.flow)
    return misfit


def _far_off_warnings(numbers: Sequence[int], off: BoolArray) -> list[str]:
    far = [number for number, away in zip(numbers, off, strict=True) if away]
    if not far:
        return []
    frames = f"Frame {far[0]} is" if len(far) == 1 else f"{len(far)} frames, the first {far[0]}, are"
    return [f"{frames} over four times as dark or as bright as the others: the clean plate is made without."]


def _misfit_warnings(numbers: Sequence[int], misfit: FloatArray) -> list[str]:
    far = [number for number, pixels in zip(numbers, misfit, strict=True) if pixels > WORTH_SAYING]
    if not far:
        return []
    return [
        f"The background departs by up to {np.nanmax(misfit):.1f} pixels from a turning camera's (rolling shutter, a"
        f" camera that travels, or water and leaves) at {len(far)} frames, the first {far[0]}: look at the clean plate"
        " there."
    ]


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


def _warnings(mosaics: tuple[Mosaic, ...], share: float, gains: FloatArray, shading: Shading) -> list[str]:
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
    if shading:
        corners = 1 - np.exp(shading.square + shading.fourth)
        sentences.append(f"The lens darkens the picture's corners by {corners:.0%}: the clean plate follows it.")
    return sentences
