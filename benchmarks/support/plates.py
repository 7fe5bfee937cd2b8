"""Large float plates made of small rendered clips: cheap to make, with what large plates have.

A clip of `penumbra synth` (270x480) is enlarged, brightened and darkened from frame to frame, given lamps far above
white and grain of its own size, and written as half float EXR with 8-bit PNG masks. The camera stands still.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio

from penumbra.color import srgb_decode
from penumbra.training.synth import write_sample

SMALL = (270, 480)
DRIFT = 0.1
HIGHLIGHT = 30.0
GRAIN = (0.0015, 0.01)  # of black, and per root of light: read noise and shot noise
LAMPS = ((0.1, 0.12), (0.42, 0.06), (0.63, 0.1), (0.9, 0.15), (0.06, 0.8), (0.94, 0.88))  # in shares of the frame


def make_plate(
    folder: Path,
    frames: int,
    size: tuple[int, int],
    objects: int,
    distinct: int = 24,
    seed: int = 401,
    compression: str = "zip",
) -> Path:
    """Writes plate, masks and job.json into ``folder``, beside the small clip with its truth; returns the job's path.

    Beyond ``distinct`` frames the clip goes back and forth through those there are, by links: reading, lifting and
    writing a frame costs the same, rendering it nothing. ``compression`` is the plate's; the layers' is zip.
    """
    small = folder / "small"
    if not (small / "meta.json").exists():
        write_sample(small, seed, min(frames, distinct), *SMALL, objects=objects, kind="shadows")
    count = min(frames, len(list(small.glob("rgba_*.png"))))
    job = folder / f"job_{frames}.json"
    if job.exists():
        return job
    lamps = _lamps(size)
    for number in range(1, count + 1):
        if (folder / f"plate.{number:04d}.exr").exists():
            continue
        _write_frame(folder, small, number, size, objects, lamps, compression)
    for number in range(count + 1, frames + 1):
        for name, suffix in (("plate", "exr"), *((f"mask{k}", "png") for k in range(objects))):
            link = folder / f"{name}.{number:04d}.{suffix}"
            link.unlink(missing_ok=True)
            link.hardlink_to(folder / f"{name}.{shown_at(number, count):04d}.{suffix}")
    masks = [{"name": f"obj{k}", "path": f"mask{k}.%04d.png"} for k in range(objects)]
    settings = {
        "penumbra_job": 1, "plate": {"path": "plate.%04d.exr", "frames": f"1-{frames}"}, "masks": masks,
        "output": {"folder": f"layers_{frames}", "compression": "zip", "replace": True},
    }  # fmt: skip
    job.write_text(json.dumps(settings, indent=1))
    return job


def shown_at(number: int, distinct: int) -> int:
    """Which of the distinct frames, from 1, a frame shows."""
    period = max(1, 2 * distinct - 2)
    index = (number - 1) % period
    return 1 + min(index, period - index)


def gain_at(number: int) -> np.float32:
    """The exposure of a frame, within DRIFT of 1."""
    return np.float32(1 + DRIFT * np.sin(number * 0.7))


def enlarged_levels(path: Path, size: tuple[int, int]) -> np.ndarray:
    """An 8-bit picture of the small clip, RGB or grey in [0, 1], at ``size``."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 255
    large = cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(large[..., 2::-1] if large.ndim == 3 else large, 0, 1)


def _write_frame(
    folder: Path, small: Path, number: int, size: tuple[int, int], objects: int, lamps: np.ndarray, compression: str
) -> None:
    rng = np.random.default_rng(number)
    light = srgb_decode(enlarged_levels(small / f"rgba_{number - 1:05d}.png", size))
    covered = np.zeros(size, np.float32)
    for k in range(objects):
        mask = enlarged_levels(small / f"mask{k}_{number - 1:05d}.png", size)
        cv2.imwrite(str(folder / f"mask{k}.{number:04d}.png"), np.round(mask * 255).astype(np.uint8))
        covered = np.maximum(covered, mask)
    light += (HIGHLIGHT * lamps * (1 - covered))[..., None]
    light *= gain_at(number)
    grain = rng.standard_normal(light.shape, np.float32)
    light += grain * np.float32(GRAIN[0]) + grain * np.sqrt(np.minimum(light, 1)) * np.float32(GRAIN[1])
    spec = oiio.ImageSpec(size[1], size[0], 3, oiio.HALF)
    spec.attribute("compression", compression)
    image = oiio.ImageOutput.create("plate.exr")
    image.open(str(folder / f"plate.{number:04d}.exr"), spec)
    image.write_image(np.maximum(light, 0).astype(np.float16))
    image.close()


def _lamps(size: tuple[int, int]) -> np.ndarray:
    """H x W in [0, 1]: small lamps with a glow."""
    rows, columns = np.indices(size, np.float32)
    light = np.zeros(size, np.float32)
    for x, y in LAMPS:
        distance = np.hypot(columns - x * size[1], rows - y * size[0]) / (0.006 * size[0])
        light += np.exp(-(distance**2) / 2)
    return np.minimum(light, 1)
