"""A real shot, all the way: decompose, cancel midway, resume, reload, send, and open it on another machine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from fakes.nuke import _render
from penumbra_nuke import node_host
from plugin_nuke.shots import busy, read_node, shown, status, wait_for, write_image

TENNIS = Path(__file__).parents[3] / "shared" / "data" / "real" / "tennis"
FRAMES = 20


def copy_shot(folder):
    """The plate, its mask, and the mask of something that is not there: a box that crosses the court."""
    folder.mkdir(parents=True)
    for index, (plate, mask) in enumerate(
        zip(sorted((TENNIS / "rgb").rglob("*.png"))[:FRAMES], sorted((TENNIS / "mask/01").glob("*.png")), strict=False)
    ):
        shutil.copy(plate, folder / f"plate.{index + 1:04d}.png")
        shutil.copy(mask, folder / f"player.{index + 1:04d}.png")
        box = np.zeros((256, 448), np.float32)
        box[180:230, 20 + 4 * index : 60 + 4 * index] = 1
        write_image(folder / f"box.{index + 1:04d}.png", box, oiio.UINT8)


@pytest.mark.slow
@pytest.mark.skipif(not TENNIS.is_dir(), reason="../shared/data/real/tennis is not here")
def test_twenty_frames_of_tennis(nuke, tmp_path, monkeypatch):
    monkeypatch.setenv("PENUMBRA_PYTHON", sys.executable)
    here = tmp_path / "ünï machine" / "shot"
    copy_shot(here)
    nuke.scriptSaveAs((here / "comp.nk").as_posix())
    node = node_host.create()
    nuke.change(node, "objects", "box player")
    for index, name in enumerate(("plate", "box", "player")):
        node.setInput(index, read_node(here / f"{name}.%04d.png", 1, FRAMES, colorspace="sRGB"))
    node["refine"].setValue("off")
    nuke.press(node, "decompose")
    assert nuke.SCRIPT.messages == []
    nuke.pump(lambda: any("lift" in line for line in nuke.SCRIPT.tasks[0].message), 500)
    nuke.press(node, "cancel")
    wait_for(node)
    assert "Stopped" in status(node), status(node)
    out = here / "penumbra" / "Penumbra1"
    kept = {path: path.stat().st_mtime_ns for path in (out / "player").glob("*.exr")}
    assert 0 < len(kept) < FRAMES
    nuke.press(node, "resume")
    nuke.pump(lambda: not busy(node), 500)
    assert status(node) == f"1-{FRAMES}: box, player"
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    nuke.press(node, "reload")
    nuke.press(node, "send")
    nuke.scriptSaveAs((here / "comp.nk").as_posix())
    there = tmp_path / "other" / "root"
    shutil.move(str(here), there)
    nuke.scriptOpen((there / "comp.nk").as_posix())
    node = nuke.find("Penumbra1")
    for child in nuke.SCRIPT.root._children:
        if child._kind == "Read" and "plate" in child._knobs["file"]._text:
            child._knobs["file"]._text = str(there / "plate.%04d.png")
    for frame in (1, 11, FRAMES):
        plate = _render.pixels(node._input(0), frame)[..., :3]
        bound = 2**-10 * plate + 2**-12
        assert (np.abs(shown(node, frame, "recomposition")[..., :3] - plate) <= bound).all()
        assert (_render.pixels(nuke.find("Penumbra1_check"), frame)[..., :3] <= 1024 * bound + 1e-3).all()
        without = shown(node, frame, "plate without one object", object="player")[..., :3]
        assert np.abs(without - plate).max() > 0.1
    assert nuke.SCRIPT.messages == []
