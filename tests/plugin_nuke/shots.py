"""Small shots on disk, and nodes set up for them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import OpenImageIO as oiio

import fakes.nuke

FIRST, FRAMES, SIZE = 1001, 5, (48, 64)


def write_image(path, pixels, kind=oiio.HALF, channels=("R", "G", "B", "A")):
    pixels = np.ascontiguousarray(np.atleast_3d(pixels), np.float32)
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], kind)
    spec.channelnames = channels[: pixels.shape[2]] if pixels.shape[2] > 1 else ("Y",)
    output = oiio.ImageOutput.create(str(path))
    assert output
    assert output.open(str(path), spec), output.geterror()
    assert output.write_image(pixels)
    assert output.close()


def picture(index, size=SIZE):
    """A linear plate with two boxes and their shadows, and their masks."""
    height, width = size
    plate = (0.3 + 0.1 * np.random.default_rng(7).random((height, width, 3))).astype(np.float32)
    masks = []
    for left, top, color in (
        (4 + 6 * index, height // 4, (0.7, 0.2, 0.1)),
        (40 - 5 * index, height // 2, (0.1, 0.3, 0.8)),
    ):
        mask = np.zeros(size, np.float32)
        mask[top : top + 10, left : left + 9] = 1
        plate[top + 10 : top + 13, left : left + 9] *= 0.5
        plate[mask > 0] = color
        masks.append(mask)
    return plate, masks


def write_shot(folder: Path, first=FIRST, frames=FRAMES):
    """plate.1001.exr, car.1001.png, person.1001.png ..., and both masks in one EXR."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(frames):
        plate, (car, person) = picture(index)
        write_image(folder / f"plate.{first + index:04d}.exr", plate)
        write_image(folder / f"car.{first + index:04d}.png", car, oiio.UINT8)
        write_image(folder / f"person.{first + index:04d}.png", person, oiio.UINT8)
        write_image(
            folder / f"roto.{first + index:04d}.exr", np.dstack([car, person]), channels=("roto.car", "roto.person")
        )


def read_node(path, first=FIRST, last=FIRST + FRAMES - 1, **knobs):
    return fakes.nuke.nodes.Read(file=str(path), first=first, last=last, **knobs)


def penumbra_node(folder: Path, objects=("car", "person"), script: str | None = "comp.nk"):
    """A node with the shot plugged in, refinement off, in a script saved beside the shot."""
    from penumbra_nuke import node_host

    if script:
        fakes.nuke.scriptSaveAs((folder / script).as_posix())
    node = node_host.create()
    fakes.nuke.change(node, "objects", " ".join(objects))
    node.setInput(0, read_node(folder / "plate.%04d.exr"))
    for index, name in enumerate(objects):
        node.setInput(index + 1, read_node(folder / f"{name}.%04d.png"))
    node["refine"].setValue("off")
    return node


def python_for_the_engine(monkeypatch):
    monkeypatch.setenv("PENUMBRA_PYTHON", sys.executable)


def busy(node):
    from penumbra_nuke import run_host

    return run_host._run_of(node) is not None


def wait_for(node):
    fakes.nuke.pump(lambda: not busy(node))


def status(node):
    """The first line of the node's state; what a run warned of stands below."""
    return node["status"].value().partition("\n")[0]


def shown(node, frame, show=None, **knobs):
    """What comes out of the node at a frame: H x W x 4."""
    from fakes.nuke import _render

    for knob, value in {**({"show": show} if show else {}), **knobs}.items():
        node[knob].setValue(value)
    return _render.pixels(node, frame)
