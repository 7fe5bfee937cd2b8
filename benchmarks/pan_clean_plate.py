"""Camera and clean plate on a clip whose exact homographies and backgrounds are known.

    python benchmarks/pan_clean_plate.py [CLIP [RUN]]

The clip is of the layout of ``bench/pan``: a camera rotating about its centre, intrinsics and rotations in
``meta.json``, the true background of every frame in ``bg_00000.png``. Two figures: the distance in pixels by which
frame corners land wrong in the reference frame, and the share of background pixels, where really seen, within two
8-bit levels of the true ones. With the folder of a finished run, the same of its ``background/``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio

from penumbra.clean_plate import CleanPlate, build_clean_plate
from penumbra.color import srgb_decode, srgb_encode
from penumbra.track import CameraTrack, track_camera

CLIP = Path(__file__).parents[1].parent / "shared" / "data" / "bench" / "pan" / "shadows_2obj_s3001"
WITHIN = 2.0  # 8-bit levels
ROUNDED = 0.25  # 8-bit levels more for what is stored as half and compared with whole ones
EFFECT = 8.0  # 8-bit levels, all channels together, from which on a scene with objects differs from one without


@dataclass(frozen=True)
class Figures:
    """``corners`` (N, 4) pixels; ``errors`` (N, H, W) 8-bit levels, largest channel; ``seen`` (N, H, W) bool."""

    corners: np.ndarray
    errors: np.ndarray
    seen: np.ndarray

    @property
    def share(self) -> float:
        """Of seen background pixels, those within two levels of the truth."""
        return float((self.errors[self.seen] <= WITHIN).mean())


def load(clip: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Plates and backgrounds (N, H, W, 3) uint8 RGB, and (N, H, W) bool inside any mask."""
    plates = np.stack([cv2.imread(str(p))[..., ::-1] for p in sorted(clip.glob("rgba_*.png"))])
    backgrounds = np.stack([cv2.imread(str(p))[..., ::-1] for p in sorted(clip.glob("bg_0*.png"))])
    masks = [
        np.max([cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) for p in clip.glob(f"mask*_{n:05d}.png")], axis=0) > 0
        for n in range(len(plates))
    ]
    return plates, backgrounds, np.stack(masks)


def true_homographies(clip: Path, reference: int) -> np.ndarray:
    """Every frame to frame ``reference``, pixel centres at integers, from the clip's intrinsics and rotations."""
    meta = json.loads((clip / "meta.json").read_text())
    lens, turns = np.array(meta["camera_K"]), np.array(meta["camera_R_cam_to_world"])
    axes, half = np.diag([1.0, -1.0, -1.0]), np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    rays = axes @ np.linalg.inv(lens) @ half
    to_reference = np.linalg.inv(rays) @ turns[reference].T @ turns @ rays
    return to_reference / to_reference[:, 2:, 2:]


def corner_errors(track: CameraTrack, truth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels (N, 4) by which corners land wrong in the reference frame."""
    ring = np.float64([[0, 0], [size[1] - 1, 0], [size[1] - 1, size[0] - 1], [0, size[0] - 1]])[:, None]
    ours, true = (
        np.stack([cv2.perspectiveTransform(ring, matrix)[:, 0] for matrix in matrices])
        for matrices in (track.homographies, truth)
    )
    return np.linalg.norm(ours - true, axis=-1)


def background_errors(made: CleanPlate, backgrounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest channel's error in 8-bit levels and where the pixel was really seen, (N, H, W) both."""
    errors, seen = [], []
    for index, truth in enumerate(backgrounds):
        background, share = made.at(index)
        levels = 255 * srgb_encode(background)
        errors.append(np.abs(levels - truth).max(-1))
        seen.append(share > 0.99)
    return np.stack(errors), np.stack(seen)


def measure(clip: Path, folder: Path) -> Figures:
    """Tracks the clip and builds its clean plate in ``folder``."""
    plates, backgrounds, occupied = load(clip)
    luma = np.stack([cv2.cvtColor(plate, cv2.COLOR_RGB2GRAY) for plate in plates])
    numbers, linear = range(len(plates)), srgb_decode(np.float32(plates) / 255)
    track = track_camera(numbers, luma, occupied, (1, 1), lambda *_: None, lambda: False)
    made = build_clean_plate(
        numbers, lambda n: linear[n], lambda n: occupied[n].astype(np.float32), track.homographies, folder,
        lambda *_: None, lambda: False,
    )  # fmt: skip
    corners = corner_errors(track, true_homographies(clip, track.reference), luma.shape[1:])
    return Figures(corners, *background_errors(made, backgrounds))


def background_shares(run: Path, clip: Path) -> dict[str, float]:
    """Shares of a run's ``background/`` that lie within two levels of the truth, by what the frame shows there."""
    plates, backgrounds, masked = load(clip)
    paths = sorted((run / "background").glob("*.exr"))
    made = np.stack([oiio.ImageBuf(str(path)).get_pixels(oiio.FLOAT)[..., :3] for path in paths])
    plates, backgrounds = plates.astype(np.float32), backgrounds.astype(np.float32)
    right = np.abs(255 * srgb_encode(made) - backgrounds).max(axis=-1) <= WITHIN + ROUNDED
    apart = plates - backgrounds
    shown = np.abs(apart).max(axis=-1) <= WITHIN
    free = ~masked & (np.sqrt(np.square(apart).sum(axis=-1)) <= EFFECT)
    return {
        "where the frame shows the true background within two levels": right[shown].mean(),
        "outside masks and effects": right[free].mean(),
        "outside masks": right[~masked].mean(),
        "under effects": right[~masked & ~free].mean(),
        "everywhere": right.mean(),
    }


def main() -> None:
    clip = Path(sys.argv[1]) if len(sys.argv) > 1 else CLIP
    if not clip.exists():
        raise SystemExit(f"The clip is not at {clip}.")
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(clip, Path(folder))
    print(f"corners: mean {figures.corners.mean():.3f}, largest {figures.corners.max():.3f} pixels")
    print(f"background: {figures.share:.4%} of seen pixels within {WITHIN:g} levels; seen {figures.seen.mean():.2%}")
    print("levels at 50, 90, 95, 99 %:", np.quantile(figures.errors[figures.seen], (0.5, 0.9, 0.95, 0.99)).round(2))
    if len(sys.argv) > 2:
        for where, share in background_shares(Path(sys.argv[2]), clip).items():
            print(f"background/ within {WITHIN:g} levels {where}: {share:.2%}")


if __name__ == "__main__":
    main()
