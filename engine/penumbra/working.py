"""The clip made small: proxies for tracking and the network's working clip, in files, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import create_array, open_array
from penumbra.belief import Noise, belief, darkened_alike, smoothstep
from penumbra.color import DisplayEncoding, FloatArray, srgb_encode
from penumbra.frames import Mask, Plate, Region, WorkingClip
from penumbra.resizing import shrink
from penumbra.storage import flush_files
from penumbra.threads import in_order
from penumbra.unrest import departure, unrest

PROXY_WIDTH = 960
# The short side the network works at where the weights do not say: what a CPU refines in minutes.
SHORT_SIDE = 64
MULTIPLE = 16
ARRAYS = ("frames", "masks", "luma", "occupied")
RESTLESS = 8 / 255  # display units of a background's own motion that halve what its reconstruction counts
OVERWHELMING = 2  # times what is certain elsewhere, that it must be where the background moves: as foam hardly is
RESTLESS_FROM = (0.8 / 255, 1.6 / 255)  # the same, from which on a difference needs to be certain, and must be
# Share of a frame that may be highlights; what the brightest of the rest becomes in luma proxies of clips that are
# brighter than white; every so many pixels of a frame tell.
HIGHLIGHTS, WHITE, EXPOSED = 0.1, 0.8, 4
OCCUPIED = 0.04  # mask coverage from which a pixel counts as inside

Progress: TypeAlias = Callable[[int, int], None]


def working_size(canvas: Region, short_side: int = SHORT_SIDE) -> tuple[int, int]:
    """(height, width) in multiples of 16 with about the canvas' aspect and a short side of ``short_side`` at most."""
    scale = min(1.0, short_side / min(canvas.width, canvas.height))
    height, width = (max(2 * MULTIPLE, MULTIPLE * round(v * scale / MULTIPLE)) for v in canvas.shape)
    # A very wide canvas would make the network slow for nothing: its long side is at most four short ones.
    return min(height, 4 * short_side), min(width, 4 * short_side)


class SmallClip:
    """Small versions of every plate and mask frame, as .npy files in a folder.

    ``frames`` (N, h, w, 3) scene-linear, ``masks`` (N, K, h, w) coverage, both at working size; ``luma`` uint8 and
    ``occupied`` bool (N, ph, pw) proxies for tracking, at most 960 pixels wide, display-encoded; ``occupied`` also
    where a frame's file says nothing.
    """

    def __init__(self, folder: Path, count: int, objects: int, canvas: Region, size: tuple[int, int]) -> None:
        self.folder, self.canvas, self.size = folder, canvas, size
        scale = min(1.0, PROXY_WIDTH / max(canvas.width, canvas.height))
        self.proxy_size = (max(16, round(canvas.height * scale)), max(16, round(canvas.width * scale)))
        self._shapes: dict[str, tuple[tuple[int, ...], type]] = {
            "frames": ((count, *size, 3), np.float32),
            "masks": ((count, objects, *size), np.float32),
            "luma": ((count, *self.proxy_size), np.uint8),
            "occupied": ((count, *self.proxy_size), np.bool_),
        }

    @property
    def proxy_scale(self) -> tuple[float, float]:
        """Canvas pixels per proxy pixel, (x, y)."""
        return self.canvas.width / self.proxy_size[1], self.canvas.height / self.proxy_size[0]

    def create(self) -> None:
        """Empty files of the right size; raises OSError where there is no room for them."""
        for name, (shape, kind) in self._shapes.items():
            create_array(self.folder / f"{name}.npy", kind, shape)

    def flush(self) -> None:
        """Everything added, to the disk: only then may a journal say that it is there."""
        flush_files(self.folder / f"{name}.npy" for name in self._shapes)

    def array(self, name: str, mode: str = "r") -> NDArray[np.generic]:
        """One of the arrays as a memory map."""
        return open_array(self.folder / f"{name}.npy", mode)

    def add(self, index: int, plate: Plate, masks: Sequence[Mask], exposure: float = 1.0) -> None:
        """Writes the small versions of one frame, the luma by ``exposure`` (:func:`tracking_exposure`). Different
        frames may be added from different threads.
        """
        height, width = self.size
        self._put("frames", index, shrink(plate.pixels, (height, width)))
        covered = np.zeros(plate.pixels.shape[:2], np.float32)
        small = []
        for mask in masks:
            small.append(shrink(mask.coverage, (height, width)))
            np.maximum(covered, mask.coverage, out=covered)
        self._put("masks", index, np.clip(np.stack(small), 0, 1))
        blank = plate.blank()
        if blank is not None:
            covered[blank] = 1
        luma = _luma(shrink(plate.pixels, self.proxy_size)) * np.float32(exposure)
        encoded = srgb_encode(np.clip(luma, 0, 1).astype(np.float32))
        self._put("luma", index, np.round(encoded * 255).astype(np.uint8))
        self._put("occupied", index, shrink(covered, self.proxy_size) > OCCUPIED)

    def _put(self, name: str, index: int, value: NDArray[np.generic]) -> None:
        self.array(name, "r+")[index] = value


def tracking_exposure(plates: Iterable[Plate]) -> float:
    """What linear light of a clip is multiplied by for its luma proxies, from some of its frames: 1, but where more
    than a few highlights lie above white, which would leave nothing there to be tracked.
    """
    bright = []
    for plate in plates:
        blank, luma = plate.blank(), _luma(plate.pixels[::EXPOSED, ::EXPOSED])
        told = luma if blank is None else luma[~blank[::EXPOSED, ::EXPOSED]]
        if told.size:
            bright.append(float(np.quantile(told, 1 - HIGHLIGHTS)))
    usual = float(np.median(bright)) if bright else 0.0
    return 1.0 if usual <= 1 else WHITE / usual


def _luma(pixels: FloatArray) -> FloatArray:
    return np.asarray(pixels @ np.array([0.2126, 0.7152, 0.0722], np.float32), np.float32)


def measure_peak(small: SmallClip) -> float:
    """The brightest linear value of the small frames, at least 1: what the display encoding must have room for."""
    frames = small.array("frames")
    return max(1.0, *(float(frames[index].max()) for index in range(len(frames))))


def working_clip(
    small: SmallClip,
    numbers: Sequence[int],
    names: Sequence[str],
    order: NDArray[np.int64],
    clean_at: Callable[[int], tuple[FloatArray, FloatArray]],
    encoding: DisplayEncoding,
    on_progress: Progress,
    restless_at: Callable[[int], FloatArray | None] = lambda index: None,
    missed_at: Callable[[int], FloatArray | None] = lambda index: None,
    threads: int = 1,
) -> WorkingClip:
    """The network's clip: small frames and the small clean plate, display-encoded, as files beside the small ones.

    ``clean_at(index)`` gives the clean plate (linear H x W x 3) and where it was seen (H x W); ``restless_at(index)``
    how much it moves by itself, ``missed_at(index)`` how much its edges differ that lie beside their place (H x W,
    display units). Outside the masks ``valid`` fades where either is much, or where the frame is far from its clean
    plate around (:mod:`penumbra.unrest`): nobody shall be asked to explain water. ``believed`` is how far a difference
    there is larger than that. All three are called from so many ``threads``. The files are flushed; raises OSError
    where there is no room for them.
    """
    count, size = len(numbers), small.size
    source, masks = small.array("frames"), cast("FloatArray", small.array("masks"))
    colours = dict.fromkeys(("encoded", "background"), (count, *size, 3))
    shapes: dict[str, tuple[int, ...]] = {**colours, **dict.fromkeys(("valid", "believed"), (count, *size))}
    arrays = {name: create_array(small.folder / f"{name}.npy", np.float32, shape) for name, shape in shapes.items()}

    def prepare(index: int) -> None:
        clean, seen = clean_at(index)
        plate, clean = np.asarray(source[index], np.float32), shrink(clean, size)
        arrays["encoded"][index], arrays["background"][index] = encoding.encode(plate), encoding.encode(clean)
        shown, behind, covered = arrays["encoded"][index], arrays["background"][index], masks[index].max(0)
        moved = _moved(restless_at(index), shown, behind, covered)
        missed = missed_at(index)
        moved = moved if missed is None else np.maximum(moved, shrink(missed, size))
        arrays["valid"][index] = shrink(seen, size) * _credible(moved, covered)
        believed = (_believed(shown, behind, moved), darkened_alike(plate, clean), covered)
        arrays["believed"][index] = np.maximum.reduce(believed)

    with closing(in_order(prepare, count, threads)) as prepared:
        for done, _ in enumerate(prepared, 1):
            on_progress(done, count)
    flush_files(small.folder / f"{name}.npy" for name in shapes)
    return load_working_clip(small, numbers, names, order, encoding)


def load_working_clip(
    small: SmallClip,
    numbers: Sequence[int],
    names: Sequence[str],
    order: NDArray[np.int64],
    encoding: DisplayEncoding,
) -> WorkingClip:
    """The clip that :func:`working_clip` left in its files."""
    encoded, masks, background, valid, believed = (
        cast("FloatArray", small.array(name)) for name in ("encoded", "masks", "background", "valid", "believed")
    )
    return WorkingClip(tuple(numbers), tuple(names), encoded, masks, background, valid, believed, order, encoding)


def _moved(restless: FloatArray | None, shown: FloatArray, behind: FloatArray, covered: FloatArray) -> FloatArray:
    """(h, w) how far the background may be from the clean plate by itself, display units: over time, or at this frame.

    ``shown`` and ``behind`` (h, w, 3): the small frame and clean plate; ``covered`` (h, w): the masks together.
    """
    if restless is None:
        return unrest(shown, behind, covered)
    over_time = shrink(restless, covered.shape)
    return np.maximum(unrest(shown, behind, covered, over_time), over_time)


def _credible(moved: FloatArray, covered: FloatArray) -> FloatArray:
    """Weights (h, w) in [0, 1]: 1 where the background rests and where masks cover, 1/2 at ``RESTLESS``."""
    calm = 1 / (1 + (moved / np.float32(RESTLESS)) ** 2)
    return np.asarray(np.maximum(calm, covered), np.float32)


def _believed(shown: FloatArray, behind: FloatArray, moved: FloatArray) -> FloatArray:
    """(h, w) in [0, 1]: how far a difference of small pictures is none that the background makes by itself.

    The plate's grain averages out of them: only what the background does by itself is between them and an effect.
    """
    certain = belief(departure(shown, behind) / np.float32(OVERWHELMING), Noise(), moved)
    # The faint ends of an effect, of which nobody could be certain, teach where it goes where the background rests.
    return np.asarray(np.maximum(certain, 1 - smoothstep(moved, *RESTLESS_FROM)), np.float32)
