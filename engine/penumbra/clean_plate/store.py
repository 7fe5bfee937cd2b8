"""The clean plate on disk, and its view from every frame."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import read_array
from penumbra.clean_plate.edges import displacement
from penumbra.clean_plate.local import NOTICED, bent, enlarged
from penumbra.clean_plate.mosaic import (
    Matrices,
    Mosaic,
    mask_out_of_mosaic,
    out_of_mosaic,
    plan_mosaics,
    small_out_of_mosaic,
)
from penumbra.clean_plate.shading import Shading, shade
from penumbra.color import FloatArray
from penumbra.errors import OutputError

STORE_VERSION = 4
MARKER = "clean_plate.json"


@dataclass(frozen=True, eq=False)
class CleanPlate:
    """What stands behind the objects.

    ``gains`` (N, 3): exposure of each frame relative to the clean plate kept, exactly 1 where it does not drift;
    ``light`` (H, W): what the lens lets through, None where that is the same everywhere; ``ceiling``: the plate's
    value at which highlights are cut off, or infinity.
    ``misfit`` (N,): pixels by which a frame's background departs from the camera's plane, NaN where that was not
    measured; ``flows``: files of what bends the clean plate to a frame, where that helps.
    ``never_seen_share``: share in [0, 1] of the frames' pixels that are behind an object at every frame and were
    filled from around. ``warnings``: sentences for the user. ``pictures`` and ``seen`` are memory maps, one per
    mosaic: (rows, columns, 3) float32 scene-linear and (rows, columns) bool; ``restless`` and ``slopes`` small float32
    pictures of one size.
    """

    size: tuple[int, int]
    mosaics: tuple[Mosaic, ...]
    pictures: tuple[FloatArray, ...]
    seen: tuple[NDArray[np.bool_], ...]
    restless: tuple[FloatArray, ...]
    slopes: tuple[FloatArray, ...]
    flows: tuple[Path | None, ...]
    gains: FloatArray
    light: FloatArray | None
    ceiling: float
    misfit: FloatArray
    never_seen_share: float
    warnings: tuple[str, ...]

    def at(self, index: int, sharp: tuple[slice, slice] | None = None) -> tuple[FloatArray, FloatArray]:
        """Frame ``index`` (from 0): background (H, W, 3) float32 scene-linear with that frame's exposure, and (H, W)
        float32 in [0, 1], 1 where the pixel was really seen at some frame. In ``sharp`` rows and columns a moving
        camera's is resampled by the better kernel. Safe to call from several threads.
        """
        which = self._which(index)
        mosaic, picture, seen = self.mosaics[which], self.pictures[which], self.seen[which]
        if mosaic.still:
            background, share = np.asarray(picture, np.float32), np.array(seen, np.float32)
        else:
            background, _ = out_of_mosaic(picture, mosaic.homographies[index], self.size, sharp)
            share = mask_out_of_mosaic(seen, mosaic.homographies[index], self.size)
            path = self.flows[index]
            if path is not None:
                flow = enlarged(read_array(path), self.size)
                background, share = bent(background, flow), np.clip(bent(share, flow), 0, 1)
        if (self.gains[index] != 1).any():
            # Line by line: numpy takes three times as long where what it goes along is three channels long.
            gains, lines = np.tile(self.gains[index], background.shape[1]), background.reshape(len(background), -1)
            evened = np.multiply(lines, gains, out=None if mosaic.still else lines)
            background = evened.reshape(background.shape)
        elif mosaic.still:
            background = background.copy()
        if self.light is not None:
            shade(background, self.light, self.ceiling)
        return background, share

    def restlessness(self, index: int) -> FloatArray:
        """(H, W) float32, how much the background of frame ``index`` moves by itself, in display units (root of the
        sum of squares over RGB, one standard deviation): water, leaves, edges that the camera's motion does not hold
        still. Grain is in it too, smoothed as the lift smooths it. Safe to call from several threads.
        """
        return self._seen_from(index, self.restless)

    def misregistration(self, index: int) -> FloatArray | None:
        """(H, W) float32, how much edges of the background differ at frame ``index`` because they lie ``misfit`` pixels
        from their place, in display units as :meth:`restlessness`; None where that is not known, too little to be told
        from none, or not the camera's. Safe to call from several threads.
        """
        misfit = float(self.misfit[index])
        pixels = displacement(misfit) if misfit > NOTICED else 0
        return self._seen_from(index, self.slopes) * np.float32(pixels) if pixels > 0 else None

    def _seen_from(self, index: int, pictures: tuple[FloatArray, ...]) -> FloatArray:
        """Small pictures of the mosaics, at a frame's own size: (H, W)."""
        which = self._which(index)
        mosaic, small = self.mosaics[which], pictures[which]
        block = (mosaic.height / small.shape[0], mosaic.width / small.shape[1])
        return small_out_of_mosaic(small, block, mosaic.homographies[index], self.size)

    def _which(self, index: int) -> int:
        return next(k for k, mosaic in enumerate(self.mosaics) if mosaic.first <= index <= mosaic.last)


def load_clean_plate(folder: Path, homographies: Matrices, numbers: Sequence[int]) -> CleanPlate:
    """The clean plate that ``build_clean_plate`` left in ``folder`` for the same frames and the same camera.

    Raises :class:`OutputError` where there is none, it is not whole, or it was made for another camera.
    """
    try:
        facts: Any = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        if facts["version"] != STORE_VERSION or facts["made_for"] != _digest(homographies, numbers):
            raise OutputError(f"The clean plate in {folder} was made for another camera or frames.", "Build it again.")
        return _opened(folder, homographies, facts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"There is no whole clean plate in {folder}.", "Build it again.") from error


def picture_path(folder: Path, which: int) -> Path:
    """Where the colours of a mosaic lie."""
    return folder / f"mosaic_{which:03d}.npy"


def seen_path(folder: Path, which: int) -> Path:
    """Where a mosaic's matte of seen pixels lies."""
    return folder / f"seen_{which:03d}.npy"


def restless_path(folder: Path, which: int) -> Path:
    """Where a mosaic's restlessness lies."""
    return folder / f"restless_{which:03d}.npy"


def slopes_path(folder: Path, which: int) -> Path:
    """Where the slopes of a mosaic's edges lie."""
    return folder / f"slopes_{which:03d}.npy"


def flow_path(folder: Path, index: int) -> Path:
    """Where the flow that bends the clean plate to a frame lies, if there is one."""
    return folder / f"flow_{index:06d}.npy"


def write_marker(
    folder: Path, homographies: Matrices, numbers: Sequence[int], size: tuple[int, int], gains: FloatArray,
    shading: Shading, ceiling: float, never_seen_share: float, misfit: FloatArray, warnings: Sequence[str],
) -> None:  # fmt: skip
    """The last file written: with it the clean plate is whole."""
    facts = {
        "version": STORE_VERSION,
        "made_for": _digest(homographies, numbers),
        "size": list(size),
        "gains": gains.astype(float).tolist(),
        "shading": [shading.square, shading.fourth],
        "ceiling": ceiling if np.isfinite(ceiling) else None,
        "never_seen_share": never_seen_share,
        "misfit": [None if np.isnan(pixels) else float(pixels) for pixels in misfit],
        "warnings": list(warnings),
    }
    part = folder / (MARKER + ".part")
    part.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    part.replace(folder / MARKER)


def _digest(homographies: Matrices, numbers: Sequence[int]) -> str:
    held = np.ascontiguousarray(homographies, np.float64).tobytes() + np.array(numbers, np.int64).tobytes()
    return hashlib.sha256(held).hexdigest()


def _opened(folder: Path, homographies: Matrices, facts: Any) -> CleanPlate:
    size = (int(facts["size"][0]), int(facts["size"][1]))
    mosaics = plan_mosaics(homographies, size)
    pictures = tuple(np.load(picture_path(folder, k), mmap_mode="r") for k in range(len(mosaics)))
    seen = tuple(np.load(seen_path(folder, k), mmap_mode="r") for k in range(len(mosaics)))
    restless = tuple(np.load(restless_path(folder, k)) for k in range(len(mosaics)))
    slopes = tuple(np.load(slopes_path(folder, k)) for k in range(len(mosaics)))
    gains = np.array(facts["gains"], np.float32)
    shading = Shading(*map(float, facts["shading"]))
    ceiling = float("inf") if facts["ceiling"] is None else float(facts["ceiling"])
    for mosaic, picture, matte in zip(mosaics, pictures, seen, strict=True):
        room = (mosaic.height, mosaic.width)
        if picture.shape != (*room, 3) or matte.shape != room or gains.shape != (len(homographies), 3):
            raise ValueError("a file of another size")
    share, warnings = float(facts["never_seen_share"]), tuple(str(sentence) for sentence in facts["warnings"])
    flows = tuple(path if path.exists() else None for path in (flow_path(folder, k) for k in range(len(gains))))
    misfit = np.array([np.nan if pixels is None else pixels for pixels in facts["misfit"]], np.float32)
    return CleanPlate(
        size, mosaics, pictures, seen, restless, slopes, flows, gains, shading.at(size) if shading else None, ceiling,
        misfit, share, warnings,
    )  # fmt: skip
