"""Whether the files on disk give the plate back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from penumbra.color import FloatArray
from penumbra.compiled import compiled
from penumbra.frames import Footage, Plate
from penumbra.write.copies import Copies
from penumbra.write.read_back import Band, allowed_error, read_back

HUGEST = np.finfo(np.float32).max


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
        if -allowed_error(band.plate.min()) > self.max_excess or band.unresolved is not None:
            self._compare(band, slice(0, band.plate.shape[1]))
        elif not band.exact:
            self._compare(band, band.wrong)
        if not band.exact:
            error = band.error[:, band.wrong]
            self.total += float(error.sum(dtype=np.float64))
            self.max_error = max(self.max_error, float(error.max()))

    def _compare(self, band: Band, columns: slice) -> None:
        """Takes note of where some columns of a band are nearest to the bound, or farthest beyond it."""
        excess = band.error[:, columns] - allowed_error(band.plate[:, columns])
        if band.unresolved is not None:
            excess[band.unresolved[:, columns]] = -np.inf
        if excess.max() > self.max_excess:
            row, column, _ = np.unravel_index(int(excess.argmax()), excess.shape)
            self.max_excess = float(excess.max())
            self.worst = (band.rows.start + int(row), columns.start + int(column))


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
