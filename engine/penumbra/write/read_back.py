"""A frame's files read back from disk in bands of lines: however large the plate, little of it is held at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import within
from penumbra.color import FloatArray
from penumbra.compiled import compiled
from penumbra.compositing import lay_over
from penumbra.frames import BoolArray, Footage, Plate
from penumbra.write.chunks import ChunkFile
from penumbra.write.exr import RGB, RGBA, ExrRows
from penumbra.write.files import frame_path
from penumbra.write.frame_writer import BACKGROUND

# A multiple of the lines that every compression packs together, so that none is unpacked twice.
LINES = 64
_NOTHING, _INFINITE = np.float32(0), np.float32(np.inf)


@dataclass(frozen=True)
class Band:
    """Some lines of a frame: ``rows`` of its data window, W wide, scene-linear float32.

    ``plate`` (h, W, 3), ``unresolved`` (h, W): which pixels no layers with colours in [0, largest] give back; or None.
    ``background`` (h, W, 3) and ``layers`` (h, W, 4) by name, back to front, as the files hold them; ``empty``: names
    of layers that hold nothing but zeros here; ``touched``: columns outside of which all do. ``error`` (h, W, 3):
    |recomposition - plate|, the layers over each other as a host would lay them; infinite where a file holds no number,
    0 at unresolved pixels; ``wrong``: columns outside of which it is 0.
    """

    rows: slice
    plate: FloatArray
    unresolved: BoolArray | None
    background: FloatArray
    layers: dict[str, FloatArray]
    empty: frozenset[str]
    touched: slice
    error: FloatArray
    wrong: slice

    @property
    def exact(self) -> bool:
        """Whether the plate is given back to the bit."""
        return bool(self.wrong.start == self.wrong.stop)


def allowed_error(plate: FloatArray) -> FloatArray:
    """The bound on |recomposition - plate|, element by element: one step of half precision, and 2^-12 near black."""
    bound: FloatArray = np.abs(plate)
    bound *= np.float32(2.0**-10)
    bound += np.float32(2.0**-12)
    return bound


def read_back(
    folder: Path, footage: Footage, names_back_to_front: Sequence[str], plate: Plate, largest: float = np.inf
) -> Iterator[Band]:
    """The bands of a frame, top to bottom, over its data window; ``largest`` is what the files' precision can hold.

    Raises :class:`OutputError` naming the file that is missing, damaged, or not of this plate.
    """
    rows, columns = plate.data.slices_in(plate.canvas)
    pixels = plate.pixels[rows, columns]
    broken = None if plate.unresolved is None else plate.unresolved[rows, columns]
    with ExitStack() as stack:
        images = {
            name: stack.enter_context(ExrRows(_path(folder, footage, name, plate), channels, plate.data))
            for name, channels in ((BACKGROUND, RGB), *((name, RGBA) for name in names_back_to_front))
        }
        written, lender = images[BACKGROUND].chunks, None
        if plate.stored is not None and written is not None and plate.stored.unchanged:
            lender = ChunkFile.open(plate.stored.path)
        if lender is not None:
            stack.callback(lender.close)
        for top in range(0, plate.data.height, LINES):
            lines = slice(top, min(top + LINES, plate.data.height))
            # The plate's own bytes were unpacked when the plate was read.
            same = written is not None and lender is not None and written.shares(lines, lender)
            here = pixels[lines]
            behind = here if same else images[BACKGROUND].read(lines)
            layers = {name: images[name].read_unless_empty(lines) for name in names_back_to_front}
            yield _band(lines, here, None if broken is None else broken[lines], behind, layers, largest)


def _path(folder: Path, footage: Footage, name: str, plate: Plate) -> Path:
    return frame_path(folder, name, plate.number, footage.padding)


def _band(
    rows: slice,
    plate: FloatArray,
    broken: BoolArray | None,
    background: FloatArray,
    held: dict[str, FloatArray | None],
    largest: float,
) -> Band:
    # Of a large plate most bands and layers are empty: what they need not go through is half of the work.
    empty = frozenset(name for name, layer in held.items() if layer is None)
    nothing = np.broadcast_to(np.float32(0), (*background.shape[:2], 4))
    layers = {name: nothing if layer is None else layer for name, layer in held.items()}
    unresolved: BoolArray | None = None
    if not within(plate, largest):
        unresolved = np.asarray(((plate < 0) | (plate > largest)).any(axis=-1))
    if broken is not None and broken.any():
        unresolved = broken if unresolved is None else unresolved | broken
    over = [layer for layer in held.values() if layer is not None]
    touched = columns_with_anything(over)
    error, wrong = _error(plate, background, over, touched, unresolved)
    return Band(rows, plate, unresolved, background, layers, empty, touched, error, wrong)


def _error(
    plate: FloatArray, background: FloatArray, layers: list[FloatArray], touched: slice, unresolved: BoolArray | None
) -> tuple[FloatArray, slice]:
    """(h, w, 3) |recomposition - plate| as :class:`Band` has it, and the columns outside of which it is 0; columns that
    no layer has ``touched`` are background alone.
    """
    if background is plate and not layers:
        return np.broadcast_to(_NOTHING, plate.shape), slice(0, 0)
    recomposed = background
    if layers:
        recomposed = background.copy()
        for layer in layers:
            lay_over(layer, touched.start, touched.stop, recomposed)
    error = np.empty(plate.shape, np.float32)
    flat = [np.ascontiguousarray(image).reshape(len(image), -1) for image in (plate, recomposed, error)]
    first, last = _differ(*flat)
    if unresolved is not None:
        error[unresolved] = 0
    return error, slice(first // 3, last // 3 + 1) if last >= 0 else slice(0, 0)


@compiled
def _differ(plate: FloatArray, recomposed: FloatArray, error: FloatArray) -> tuple[int, int]:
    """Writes how far lines (h, n) differ, infinite where that is no number; the first and the last place where they do.

    The last is -1 where they are the same.
    """
    first, last = plate.shape[1], -1
    for y in range(len(plate)):
        different = False
        for i in range(plate.shape[1]):
            size = abs(recomposed[y, i] - plate[y, i])
            error[y, i] = size if size >= _NOTHING else _INFINITE
            different |= error[y, i] != _NOTHING
        if not different:
            continue
        for i in range(first):
            if error[y, i] != _NOTHING:
                first = i
                break
        for i in range(plate.shape[1] - 1, last, -1):
            if error[y, i] != _NOTHING:
                last = i
                break
    return first, last


def columns_with_anything(images: Sequence[FloatArray]) -> slice:
    """The columns, as one slice, outside of which all (h, W, C) float32 images are zero; empty where they all are."""
    first, last = np.iinfo(np.int64).max, -1
    for image in images:
        lines = np.ascontiguousarray(image).view(np.uint32).reshape(len(image), -1)
        found = _span(lines)
        if found[1] >= 0:
            first = min(first, found[0] // image.shape[2])
            last = max(last, found[1] // image.shape[2])
    return slice(first, last + 1) if last >= 0 else slice(0, 0)


@compiled
def _span(lines: NDArray[np.uint32]) -> tuple[int, int]:
    """The first and the last place of lines (h, n) at which any bit is set; the last is -1 where none is."""
    first, last = lines.shape[1], -1
    for y in range(len(lines)):
        any_bit = np.uint32(0)
        for i in range(lines.shape[1]):
            any_bit |= lines[y, i]
        if any_bit == 0:
            continue
        for i in range(first):
            if lines[y, i] != 0:
                first = i
                break
        for i in range(lines.shape[1] - 1, last, -1):
            if lines[y, i] != 0:
                last = i
                break
    return first, last
