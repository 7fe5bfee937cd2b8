"""Whether what is written beside the layers, splits and combined files, agrees with them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from penumbra.color import FloatArray
from penumbra.frames import Footage, Plate
from penumbra.job import SPLITS
from penumbra.write.combined import COMBINED, combined_channels
from penumbra.write.exr import RGBA, ExrRows
from penumbra.write.files import frame_path
from penumbra.write.frame_writer import BACKGROUND
from penumbra.write.read_back import Band

# Splits are rounded one after the other: a unit in the last place of half, and half's smallest steps near black.
STEP, NEAR_BLACK = 2.0**-10, 2.0**-22


class Copies:
    """The further files of a frame, compared with its layers band by band; for a ``with`` block.

    ``splits_ok``, ``combined_ok`` as :class:`~penumbra.write.verify.FrameVerdict` has them. Raises
    :class:`OutputError` naming the file that is missing, damaged, or not of this plate.
    """

    def __init__(
        self, folder: Path, footage: Footage, names: Sequence[str], plate: Plate, splits: bool, combined: str
    ) -> None:
        self.splits_ok = self.combined_ok = True
        self._open = ExitStack()
        self._splits: dict[str, list[ExrRows]] = {}
        self._parts: list[tuple[tuple[str, ...], ExrRows]] = []

        def rows(name: str, channels: tuple[str, ...], part: int = 0) -> ExrRows:
            path = frame_path(folder, name, plate.number, footage.padding)
            return self._open.enter_context(ExrRows(path, channels, plate.data, part))

        with ExitStack() as until_whole:
            until_whole.enter_context(self._open)
            if splits:
                self._splits = {name: [rows(f"{name}_{split}", RGBA) for split in SPLITS] for name in names}
            for part, (held, channels) in enumerate(combined_channels(names, combined)):
                self._parts.append((held, rows(COMBINED, channels, part)))
            self._open = until_whole.pop_all()

    def compare(self, band: Band) -> None:
        """Takes a band of all further files into account."""
        for name, images in self._splits.items():
            self.splits_ok &= _join_to(band.layers[name], *(image.read(band.rows) for image in images))
        for held, image in self._parts:
            single = [band.background if name == BACKGROUND else band.layers[name] for name in held]
            self.combined_ok &= np.array_equal(image.read(band.rows), np.concatenate(single, axis=-1))

    def __enter__(self) -> Copies:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def _join_to(layer: FloatArray, solid: FloatArray, shadow: FloatArray, light: FloatArray) -> bool:
    """Whether object over shadow, plus light, is the layer; a comparison with NaN fails."""
    joined = solid + (1 - solid[..., 3:]) * shadow + light
    return bool((np.abs(joined - layer) <= STEP * np.maximum(np.abs(layer), NEAR_BLACK / STEP)).all())
