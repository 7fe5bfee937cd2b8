"""A clip of a few small frames: a box with a shadow crossing a grey ground, written as files."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import OpenImageIO as oiio

from penumbra.contract import ModelContract
from penumbra.job import Job, MaskSettings, ModelSettings, OutputSettings, PlateSettings, RefineSettings
from penumbra.network import NetworkSize, save_weights, seeded_network

FRAMES = 6
FIRST = 1001
SIZE = (48, 64)


def write_image(path, pixels, kind=oiio.HALF, origin=(0, 0), display=None, channels=None):
    pixels = np.ascontiguousarray(np.atleast_3d(pixels), np.float32)
    height, width, count = pixels.shape
    spec = oiio.ImageSpec(width, height, count, kind)
    spec.channelnames = channels or ("R", "G", "B", "A")[:count] if count > 1 else ("Y",)
    spec.x, spec.y = origin
    spec.full_x, spec.full_y, spec.full_width, spec.full_height = display or (0, 0, width, height)
    image = oiio.ImageOutput.create(str(path))
    assert image
    assert image.open(str(path), spec), image.geterror()
    assert image.write_image(pixels)
    assert image.close()


def picture(index, size=SIZE):
    """The plate (linear) and the mask of frame ``index``."""
    height, width = size
    rng = np.random.default_rng(7)
    plate = (0.3 + 0.1 * rng.random((height, width, 3))).astype(np.float32)
    mask = np.zeros(size, np.float32)
    left, top = 4 + index * max(1, (width - 20) // FRAMES), height // 3
    mask[top : top + 10, left : left + 8] = 1
    plate[top + 10 : top + 14, left : left + 8] *= 0.5
    plate[mask > 0] = (0.7, 0.2, 0.1)
    return plate, mask


def write_clip(folder, frames=FRAMES, size=SIZE, change=lambda index, plate: plate):
    """plate.1001.exr ... and mask.1001.png ..."""
    for index in range(frames):
        plate, mask = picture(index, size)
        write_image(folder / f"plate.{FIRST + index}.exr", change(index, plate))
        write_image(folder / f"mask.{FIRST + index}.png", mask, oiio.UINT8)


@functools.cache
def tiny_weights():
    """Random weights in a file: layers that mean nothing, but are made, lifted and written as any others."""
    folder = tempfile.mkdtemp(prefix="penumbra-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "tiny.safetensors"
    save_weights(seeded_network(0, NetworkSize(2, 2)), path, ModelContract(height=32, width=32), {})
    return str(path)


def tiny_job(folder, steps=None, **output):
    """Absolute paths, the smallest working size, and, where ``steps`` says so, refinement from random weights."""
    return Job(
        plate=PlateSettings(str(Path(folder) / "plate.####.exr")),
        masks=(MaskSettings("box", str(Path(folder) / "mask.####.png")),),
        output=OutputSettings(str(Path(folder) / "out"), **{"previews": False, **output}),
        refine=RefineSettings(steps=steps),
        model=ModelSettings(weights="random" if steps else tiny_weights(), working_size=(32, 32)),
    )
