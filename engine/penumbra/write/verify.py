"""Whether the files on disk give the plate back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.compiled import compiled
from penumbra.frames import Footage, Plate
from penumbra.write.copies import Copies
from penumbra.write.read_back import Band, allowed_error, read_back

HUGEST = np.finfo(np.float32).max
# As :func:`penumbra.write.read_back.allowed_error` has it; and how near to the bound an exact pixel comes at most.
_RELATIVE, _ABSOLUTE = np.float32(2.0**-10), np.float32(2.0**-12)
NEAREST = -(2.0**-12)
_NONE, _NEVER = np.float32(0), np.float32(-np.inf)


@dataclass(frozen=True)
class FrameVerdict:
    """How the written files of a frame recompose to the plate, over its data window, unresolved pixels left out.

    ``max_error``, ``mean_error``: |recomposition - plate|, scene-linear, over pixels and channels. ``max_excess``:
    the largest of |recomposition - plate| - (2^-10 |plate| + 2^-12): the bound is kept where it is not above 0.
    ``unresolved``: pixels that were not finite, are negative in the plate, or too bright for the files.
    ``alpha_ok``: every coverage is in [0, 1];
    ``colour_ok``: every layer's colour is finite and not negative. ``worst``: x, y of ``max_excess`` in the image
    plane, None where every pixel is unresolved. A file with values that are not finite has infinite errors.
    ``splits_ok``: each layer's splits join to the layer; ``combined_ok``: the combined file holds what the single ones
    do, to the bit; both True where there are none.
    """

    number: int
    max_error: float
    mean_error: float
    max_excess: float
    unresolved: int
    alpha_ok: bool
    colour_ok: bool
    worst: tuple[int, int] | None = None
    splits_ok: bool = True
    combined_ok: bool = True

    @property
    def within_bound(self) -> bool:
        """Whether everything promised of a frame's files holds."""
        return self.max_excess <= 0 and self.alpha_ok and self.colour_ok and self.splits_ok and self.combined_ok


def verify_frame(
    folder: Path,
    footage: Footage,
    names_back_to_front: Sequence[str],
    plate: Plate,
    splits: bool = False,
    combined: str = "off",
    look: Callable[[Band], None] = lambda band: None,
    largest: float = np.inf,
) -> FrameVerdict:
    """Reads a frame's files back from disk and lays them over each other as a host would, in float32.

    ``splits``, ``combined``: what else the job wrote, and is to be compared with the layers. ``look`` is shown every
    band that is read, so that previews need not read the files again. ``largest``: what the files' precision can hold;
    brighter pixels of the plate are unresolved.
    Raises :class:`OutputError` naming the file that is missing, damaged, or not of this plate.
    """
    tally = _Tally()
    with Copies(folder, footage, names_back_to_front, plate, splits, combined) as copies:
        for band in read_back(folder, footage, names_back_to_front, plate, largest):
            tally.add(band)
            copies.compare(band)
            look(band)
    place = None if tally.worst is None else (tally.worst[1] + plate.data.x, tally.worst[0] + plate.data.y)
    return FrameVerdict(
        plate.number, tally.max_error, tally.total / max(1, tally.count), tally.max_excess if tally.count else 0.0,
        tally.unresolved, tally.alpha_ok, tally.colour_ok, place, copies.splits_ok, copies.combined_ok,
    )  # fmt: skip


class _Tally:
    """What is known of the bands so far."""

    def __init__(self) -> None:
        self.total, self.count, self.max_error, self.max_excess, self.unresolved = 0.0, 0, 0.0, -np.inf, 0
        self.alpha_ok = self.colour_ok = True
        self.worst: tuple[int, int] | None = None

    def add(self, band: Band) -> None:
        for name, whole in band.layers.items():
            if name in band.empty:
                continue
            alpha_ok, colour_ok = _sound(whole, band.touched.start, band.touched.stop)
            self.alpha_ok &= alpha_ok
            self.colour_ok &= colour_ok
        unresolved = 0 if band.unresolved is None else int(np.count_nonzero(band.unresolved))
        self.unresolved += unresolved
        self.count += band.error.size - 3 * unresolved
        # What is exact comes nearest to the bound where the plate is darkest.
        darker = self.max_excess < NEAREST and -allowed_error(band.plate.min()) > self.max_excess
        if darker or not band.exact or band.unresolved is not None:
            everywhere = darker or band.unresolved is not None
            self._weigh(band, slice(0, band.plate.shape[1]) if everywhere else band.wrong)

    def _weigh(self, band: Band, columns: slice) -> None:
        """Takes note of the errors of some columns of a band, outside of which all is exact."""
        broken = np.empty((0, 0), np.bool_) if band.unresolved is None else band.unresolved
        plate, error = (np.ascontiguousarray(image) for image in (band.plate, band.error))
        total, largest, excess, row, column = _weighed(error, plate, broken, columns.start, columns.stop)
        self.total += total
        self.max_error = max(self.max_error, largest)
        if excess > self.max_excess:
            self.max_excess, self.worst = excess, (band.rows.start + row, column)


@compiled
def _weighed(
    error: FloatArray, plate: FloatArray, broken: NDArray[np.bool_], left: int, right: int
) -> tuple[float, float, float, int, int]:
    """Of some columns of an error (h, w, 3): its sum, the largest, by how much it is most beyond what is allowed, and
    where: row and column. Where ``broken`` (h, w, or nothing) nothing is.
    """
    total, largest, most, row, column = 0.0, _NONE, _NEVER, 0, 0
    for y in range(len(error)):
        for x in range(left, right):
            if broken.size and broken[y, x]:
                continue
            for c in range(3):
                one = error[y, x, c]
                total += one
                largest = max(largest, one)
                excess = one - (abs(plate[y, x, c]) * _RELATIVE + _ABSOLUTE)
                if excess > most:
                    most, row, column = excess, y, x
    return total, float(largest), float(most), row, column


@compiled
def _sound(layer: FloatArray, left: int, right: int) -> tuple[bool, bool]:
    """Whether the alphas of some columns of (h, w, 4) are in [0, 1], and the colours finite and not negative."""
    alpha_ok = colour_ok = True
    for y in range(len(layer)):
        for x in range(left, right):
            # Comparisons with what is no number are False.
            alpha_ok &= layer[y, x, 3] >= 0 and layer[y, x, 3] <= 1
            for c in range(3):
                colour_ok &= layer[y, x, c] >= 0 and layer[y, x, c] <= HUGEST
    return alpha_ok, colour_ok
