"""A clip whose truth is known, on disk in the Kubric layout, as ``penumbra synth`` writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from penumbra.color import FloatArray
from penumbra.errors import FootageNotFoundError, UnreadableError
from penumbra.frames import BoolArray


@dataclass(frozen=True)
class Truth:
    """A clip with ground truth on disk: frame numbers, object names, and the order back to front per frame."""

    folder: Path
    numbers: tuple[int, ...]
    names: tuple[str, ...]
    order: tuple[tuple[int, ...], ...]

    @classmethod
    def open(cls, folder: Path) -> Truth:
        """Raises :class:`FootageNotFoundError` where the folder holds no such clip."""
        found = sorted(int(path.stem.split("_")[1]) for path in folder.glob("rgba_*.png"))
        objects = len(list(folder.glob(f"mask*_{found[0]:05d}.png"))) if found else 0
        if not objects or not (folder / "gt").is_dir() or not (folder / "order.txt").is_file():
            raise FootageNotFoundError(
                f"{folder} is no clip with ground truth.", "It needs rgba_*, mask*_*, order.txt and gt/."
            )
        lines = [line for line in (folder / "order.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
        order = tuple(tuple(int(word) for word in line.split()) for line in lines)
        return cls(folder, tuple(found), tuple(f"obj{i}" for i in range(objects)), order)

    def image(self, name: str) -> FloatArray:
        """An RGB image of the clip, H x W x 3 in [0, 1] as stored."""
        path = self.folder / name
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise UnreadableError(f"{path} cannot be read.")
        return np.asarray(pixels[..., ::-1], np.float32) / np.float32(255)

    def matte(self, name: str) -> BoolArray:
        """A mask of the clip, H x W."""
        inside: BoolArray = self.image(name)[..., 0] > 0.5
        return inside

    def background(self, number: int) -> FloatArray:
        """The true clean plate, one for all frames or one per frame."""
        still = (self.folder / "bg.png").exists()
        return self.image("bg.png" if still else f"bg_{number:05d}.png")
