"""Whether the files on disk give the plate back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.compositing import over
from penumbra.frames import BoolArray, Footage, Plate
from penumbra.write.exr import RGB, RGBA, read_exr
from penumbra.write.files import frame_path
from penumbra.write.frame_writer import BACKGROUND

_BAND = 256


@dataclass(frozen=True)
class FrameVerdict:
    """How the written files of a frame recompose to the plate, over its data window, unresolved pixels left out.

    ``max_error``, ``mean_error``: |recomposition - plate|, scene-linear, over pixels and channels. ``max_excess``:
    the largest of |recomposition - plate| - (2^-10 |plate| + 2^-12): the bound is kept where it is not above 0.
    ``unresolved``: pixels that were not finite, are negative in the plate, or too bright for the files.
    ``alpha_ok``: every coverage is in [0, 1];
    ``colour_ok``: every layer's colour is finite and not negative. ``worst``: x, y of ``max_excess`` in the image
    plane, None where every pixel is unresolved. A file with values that are not finite has infinite errors.
    """

    number: int
    max_error: float
    mean_error: float
    max_excess: float
    unresolved: int
    alpha_ok: bool
    colour_ok: bool
    worst: tuple[int, int] | None = None

    @property
    def within_bound(self) -> bool:
        """Whether everything promised of a frame's files holds."""
        return self.max_excess <= 0 and self.alpha_ok and self.colour_ok


def verify_frame(
    folder: Path, footage: Footage, names_back_to_front: Sequence[str], plate: Plate, largest: float = np.inf
) -> FrameVerdict:
    """Reads a frame's files back from disk and lays them over each other as a host would, in float32.

    ``largest``: what the files' precision can hold; brighter pixels of the plate are unresolved.
    Raises :class:`OutputError` naming the file that is missing, damaged, or not of this plate.
    """
    recomposed = read_exr(frame_path(folder, BACKGROUND, plate.number, footage.padding), RGB, plate.data)
    alpha_ok = colour_ok = True
    for name in names_back_to_front:
        layer = read_exr(frame_path(folder, name, plate.number, footage.padding), RGBA, plate.data)
        alpha, colour = layer[..., 3], layer[..., :3]
        alpha_ok &= bool(((alpha >= 0) & (alpha <= 1)).all())
        colour_ok &= bool(((colour >= 0) & (colour < np.inf)).all())
        with np.errstate(invalid="ignore", over="ignore"):
            recomposed = over(layer, recomposed)
    pixels, unresolved = seen_plate(plate, largest)
    max_error, mean_error, max_excess, worst = _measure(recomposed, pixels, unresolved)
    place = None if worst is None else (worst[1] + plate.data.x, worst[0] + plate.data.y)
    count = int(np.count_nonzero(unresolved))
    return FrameVerdict(plate.number, max_error, mean_error, max_excess, count, alpha_ok, colour_ok, place)


def seen_plate(plate: Plate, largest: float = np.inf) -> tuple[FloatArray, BoolArray]:
    """The plate's pixels inside its data window, and which of them no layers with colours in [0, largest] give back."""
    rows, columns = plate.data.slices_in(plate.canvas)
    pixels = plate.pixels[rows, columns]
    unresolved: BoolArray = np.any((pixels < 0) | (pixels > largest), axis=-1)
    if plate.unresolved is not None:
        unresolved = unresolved | plate.unresolved[rows, columns]
    return pixels, unresolved


def allowed_error(plate: NDArray[np.float64]) -> NDArray[np.float64]:
    """The bound on |recomposition - plate|, element by element: one step of half precision, and 2^-12 near black."""
    return np.abs(plate) * 2.0**-10 + 2.0**-12


def _measure(
    recomposed: FloatArray, plate: FloatArray, unresolved: BoolArray
) -> tuple[float, float, float, tuple[int, int] | None]:
    """Largest and mean error, largest excess and its row and column; band by band to keep memory small."""
    total, count, max_error, max_excess = 0.0, 0, 0.0, -np.inf
    worst: tuple[int, int] | None = None
    for top in range(0, plate.shape[0], _BAND):
        truth, seen = plate[top : top + _BAND].astype(np.float64), ~unresolved[top : top + _BAND]
        error = np.abs(recomposed[top : top + _BAND] - truth)
        # Values that are not finite must fail the comparison, not slip through it.
        error[np.isnan(error)] = np.inf
        excess = np.where(seen, (error - allowed_error(truth)).max(axis=-1), -np.inf)
        total, count = total + float(error[seen].sum()), count + 3 * int(np.count_nonzero(seen))
        max_error = max(max_error, float(error[seen].max(initial=0.0)))
        if excess.max() > max_excess:
            row, column = np.unravel_index(int(excess.argmax()), excess.shape)
            max_excess, worst = float(excess.max()), (top + int(row), int(column))
    return max_error, total / max(1, count), max_excess if count else 0.0, worst
