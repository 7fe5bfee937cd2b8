"""From the button to the layers, with the real engine as a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fakes.nuke
from fakes.nuke import _render
from penumbra.track import locked_camera, write_homographies
from penumbra_nuke import node_host, run_host
from penumbra_nuke.running import progress_of, run_engine
from plugin_nuke.shots import (
    FIRST,
    FRAMES,
    busy,
    penumbra_node,
    picture,
    read_node,
    shown,
    status,
    wait_for,
    write_image,
    write_shot,
)

OUT = Path("penumbra/Penumbra1")


@pytest.fixture(autouse=True)
def _engine(monkeypatch):
    monkeypatch.setenv("PENUMBRA_PYTHON", sys.executable)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A comp that was decomposed and saved, with an order that changes; copy it, do not change it."""
    folder = tmp_path_factory.mktemp("finished") / "a ünïcode 'comp'"
    write_shot(folder)
    fakes.nuke.reset()
    node = penumbra_node(folder)
    node["camera"].setValue("locked")
    node["order"].setValue(f"{FIRST + 3}: person car")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENUMBRA_PYTHON", sys.executable)
        fakes.nuke.press(node, "decompose")
    assert busy(node)
    wait_for(node)
    assert status(node) == f"{FIRST}-{FIRST + FRAMES - 1}: car, person", (status(node), fakes.nuke.SCRIPT.messages)
    task = fakes.nuke.SCRIPT.tasks[-1]
    assert task.task() is None
    assert task.progress[-1] == 100
    assert any("left" in line or "of 5" in line for line in task.message)
    assert fakes.nuke.SCRIPT.messages == []
    fakes.nuke.scriptSaveAs((folder / "comp.nk").as_posix())
    return folder


@pytest.fixture
def reopened(finished, tmp_path, nuke):
    """The same on another machine: the folder moved to another root, the script opened from there."""
    folder = tmp_path / "other root" / finished.name
    shutil.copytree(finished, folder)
    nuke.scriptOpen((folder / "comp.nk").as_posix())
    return folder


def linear_plate(index):
    return picture(index)[0].astype(np.float16).astype(np.float32)


def assert_is_the_plate(pixels, index):
    plate = linear_plate(index)
    assert (np.abs(pixels[..., :3] - plate) <= 2**-10 * plate + 2**-12).all()


def move_plates(folder):
    """The Reads outside are the artist's own; on another machine they are relinked."""
    for child in fakes.nuke.SCRIPT.root._children:
        if child._kind == "Read":
            child._knobs["file"]._text = str(folder / Path(child._knobs["file"]._text).name)


def test_everything_the_node_shows_is_right(reopened):
    move_plates(reopened)
    node = fakes.nuke.find("Penumbra1")
    for index in range(FRAMES):
        frame = FIRST + index
        assert_is_the_plate(shown(node, frame, "recomposition"), index)
        clean = shown(node, frame, "clean plate")[..., :3]
        layers = {name: shown(node, frame, "one layer", object=name) for name in ("car", "person")}
        order = ("car", "person") if index < 3 else ("person", "car")
        for without in order:
            expected = clean
            for name in order:
                if name != without:
                    expected = layers[name][..., :3] + expected * (1 - layers[name][..., 3:])
            removed = shown(node, frame, "plate without one object", object=without)[..., :3]
            np.testing.assert_allclose(removed, expected, atol=1e-6)
        difference = shown(node, frame, "difference to the plate", gain=16)[..., :3]
        recomposed = shown(node, frame, "recomposition")[..., :3]
        np.testing.assert_allclose(difference, 16 * np.abs(recomposed - linear_plate(index)), atol=1e-5)


def test_the_engines_layers_nk_gives_the_same(reopened, nuke):
    nuke.scriptReadFile((reopened / OUT / "layers.nk").as_posix())
    nuke.find("Penumbra_layers")._knobs["folder"]._text = (reopened / OUT).as_posix()
    for index in range(FRAMES):
        assert_is_the_plate(_render.pixels(nuke.find("Penumbra_difference")._input(1), FIRST + index), index)
        assert _render.pixels(nuke.find("Penumbra_check"), FIRST + index)[..., :3].max() <= 1.5


def test_layers_go_into_the_script_tidily_and_in_one_step(reopened, nuke):
    move_plates(reopened)
    node = nuke.find("Penumbra1")
    before = list(nuke.SCRIPT.root._children)
    nuke.press(node, "send")
    made = [child for child in nuke.SCRIPT.root._children if child not in before]
    assert nuke.find("Penumbra1_difference")._input(0) is node._input(0)
    for index in (0, 4):
        assert_is_the_plate(_render.pixels(nuke.find("Penumbra1_difference")._input(1), FIRST + index), index)
        assert _render.pixels(nuke.find("Penumbra1_check"), FIRST + index)[..., :3].max() <= 1.5
    places = [(child.xpos(), child.ypos()) for child in made]
    assert len(set(places)) == len(places)
    nuke.press(node, "send")
    assert nuke.find("Penumbra1_v2_difference") is not None
    assert nuke.find("Penumbra1_v2_layer_car")._knobs["file"]._text.startswith("[value Penumbra1_v2_layers.folder]")
    nuke.undo()
    assert nuke.find("Penumbra1_v2_difference") is None
    nuke.undo()
    assert nuke.SCRIPT.root._children == before


def test_sent_layers_follow_the_script_to_another_machine(reopened, nuke, tmp_path):
    nuke.press(nuke.find("Penumbra1"), "send")
    nuke.scriptSaveAs((reopened / "comp.nk").as_posix())
    third = tmp_path / "third"
    shutil.move(reopened, third)
    nuke.scriptOpen((third / "comp.nk").as_posix())
    assert_is_the_plate(_render.pixels(nuke.find("Penumbra1_difference")._input(1), FIRST), 0)


def test_reload_presses_every_read_and_builds_only_what_changed(reopened, nuke):
    node = nuke.find("Penumbra1")
    nuke.press(node, "reload")
    inside = nuke.find("Penumbra1.Layers")
    reads = [child for child in inside._children if child._kind == "Read"]
    assert [read._knobs["reload"]._pressed for read in reads] == [1, 1, 1]
    nuke.press(node, "reload")
    assert nuke.find("Penumbra1.Layers") is inside
    assert status(node) == f"{FIRST}-{FIRST + FRAMES - 1}: car, person"
    shutil.rmtree(reopened / OUT)
    nuke.press(node, "reload")
    assert "no finished layers" in nuke.SCRIPT.messages[-1]
    assert nuke.find("Penumbra1.Layers") is inside


def test_existing_layers_are_kept_unless_told_otherwise(reopened, nuke):
    node = nuke.find("Penumbra1")
    manifest = (reopened / OUT / "manifest.json").read_bytes()
    nuke.press(node, "decompose")
    assert "holds layers" in nuke.SCRIPT.messages[-1]
    assert (reopened / OUT / "manifest.json").read_bytes() == manifest
    assert not busy(node)


def test_two_nodes_at_once_one_cancelled_and_resumed(nuke, tmp_path):
    write_shot(tmp_path / "s", frames=12)
    first = penumbra_node(tmp_path / "s")
    second = node_host.create()
    nuke.change(second, "objects", "person")
    second["refine"].setValue("off")
    second.setInput(0, first._input(0))
    second.setInput(1, first._input(2))
    for node in (first, second):
        node["camera"].setValue("locked")
        for name in ("Read1", "Read2", "Read3"):
            nuke.find(name)._knobs["last"]._text = str(FIRST + 11)
        nuke.press(node, "decompose")
    nuke.press(first, "decompose")
    assert "working already" in nuke.SCRIPT.messages[-1]
    # The engine of the first has begun: there is something to resume.
    nuke.pump(lambda: any("read" in line for line in nuke.SCRIPT.tasks[0].message))
    nuke.press(first, "cancel")
    assert status(first) == "stopping"
    nuke.pump(lambda: not busy(first) and not busy(second), 300)
    assert "Stopped" in status(first), status(first)
    assert status(second) == f"{FIRST}-{FIRST + 11}: person"
    assert len(nuke.SCRIPT.messages) == 1
    nuke.press(first, "resume")
    wait_for(first)
    assert status(first) == f"{FIRST}-{FIRST + 11}: car, person"
    assert_is_the_plate(shown(first, FIRST + 9, "recomposition"), 9)


def test_a_run_that_was_stopped_is_resumed_on_another_machine(nuke, tmp_path):
    """Plate, masks and script under another root: the folder as a whole was moved."""
    here = tmp_path / "here"
    write_shot(here, frames=12)
    node = penumbra_node(here)
    node["camera"].setValue("locked")
    for name in ("Read1", "Read2", "Read3"):
        nuke.find(name)._knobs["last"]._text = str(FIRST + 11)
    nuke.press(node, "decompose")
    nuke.pump(lambda: any("lift" in line for line in nuke.SCRIPT.tasks[0].message))
    nuke.press(node, "cancel")
    wait_for(node)
    assert "Stopped" in status(node), status(node)
    nuke.scriptSaveAs((here / "comp.nk").as_posix())
    there = tmp_path / "anöther" / "root"
    there.parent.mkdir()
    here.rename(there)
    kept = {path: path.stat().st_mtime_ns for path in (there / OUT / "car").glob("*.exr")}
    nuke.scriptOpen((there / "comp.nk").as_posix())
    node = nuke.find("Penumbra1")
    nuke.press(node, "resume")
    wait_for(node)
    assert nuke.SCRIPT.messages == []
    assert status(node) == f"{FIRST}-{FIRST + 11}: car, person"
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert_is_the_plate(shown(node, FIRST + 9, "recomposition"), 9)


def test_the_artists_own_clean_plate_and_homographies_are_used(nuke, tmp_path):
    write_shot(tmp_path)
    for index in range(FRAMES):
        write_image(tmp_path / f"ground.{FIRST + index}.exr", ground())
    write_homographies(locked_camera(tuple(range(FIRST, FIRST + FRAMES))), tmp_path / "camera.json", (48, 64))
    node = penumbra_node(tmp_path)
    node.setInput(3, read_node(tmp_path / "ground.%04d.exr"))
    node["camera"].setValue("file")
    node["homographies"].setValue((tmp_path / "camera.json").as_posix())
    node["splits"].setValue(True)
    nuke.press(node, "decompose")
    wait_for(node)
    assert status(node) == f"{FIRST}-{FIRST + FRAMES - 1}: car, person", nuke.SCRIPT.messages
    manifest = json.loads((tmp_path / OUT / "manifest.json").read_text())
    assert Path(manifest["clean_plate"]["own"]).name == "ground.%04d.exr"
    assert manifest["camera"]["mode"] == "file"
    assert (tmp_path / OUT / "car_shadow" / f"car_shadow.{FIRST}.exr").is_file()
    for index in range(FRAMES):
        assert_is_the_plate(shown(node, FIRST + index, "recomposition"), index)
    # Behind the objects, where a median of five frames could not look, is what the artist gave.
    mask = picture(0)[1][0] > 0
    seen = shown(node, FIRST, "clean plate")[..., :3][mask]
    np.testing.assert_allclose(seen, ground()[mask], rtol=2**-9)


def ground():
    """The plate without its boxes, brighter than any median could find it."""
    grey = (0.3 + 0.1 * np.random.default_rng(7).random((48, 64, 3))).astype(np.float32)
    return np.where(picture(0)[1][0][..., None] > 0, grey + 0.5, grey)


def test_what_a_run_warned_of_stands_below_its_result(nuke, tmp_path):
    write_shot(tmp_path)
    node = penumbra_node(tmp_path)
    (tmp_path / f"car.{FIRST + 2}.png").unlink()
    nuke.press(node, "decompose")
    wait_for(node)
    first, *warnings = node["status"].value().splitlines()
    assert first == f"{FIRST}-{FIRST + FRAMES - 1}: car, person"
    assert any(f"has no frames {FIRST + 2}" in line for line in warnings)
    assert node_host._told([str(number) for number in range(9)])[-2:] == [
        "4", "4 more warnings are in manifest.json"
    ]  # fmt: skip


def test_the_engines_own_sentence_is_shown(nuke, tmp_path):
    write_shot(tmp_path)
    node = penumbra_node(tmp_path)
    (tmp_path / f"plate.{FIRST + 2}.exr").unlink()
    nuke.press(node, "decompose")
    wait_for(node)
    assert f"lacks frames {FIRST + 2}" in nuke.SCRIPT.messages[-1]
    assert "Render them" in nuke.SCRIPT.messages[-1]
    assert str(FIRST + 2) in status(node)


def test_a_node_deleted_meanwhile_hurts_nobody(nuke, tmp_path):
    write_shot(tmp_path)
    node = penumbra_node(tmp_path)
    nuke.press(node, "decompose")
    nuke.delete(node)
    nuke.pump(lambda: not run_host._RUNS)
    assert nuke.SCRIPT.messages == []
    assert not any("traceback" in line for line in nuke.SCRIPT.printed)


def test_the_progress_bars_own_cancel_leaves_no_process(nuke, tmp_path):
    write_shot(tmp_path)
    node = penumbra_node(tmp_path)
    nuke.press(node, "decompose")
    nuke.pump(lambda: nuke.SCRIPT.tasks and nuke.SCRIPT.tasks[0].message)
    nuke.SCRIPT.tasks[0].press_cancel()
    wait_for(node)
    assert "Stopped" in status(node), status(node)
    assert str(tmp_path) not in running_commands()


def running_commands():
    if not Path("/proc/self/cmdline").exists():
        return ""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(found)


@pytest.mark.skipif(os.name == "nt", reason="process groups of POSIX")
def test_an_engine_that_will_not_stop_is_ended_with_its_children(tmp_path, monkeypatch):
    from penumbra import launch

    stubborn = tmp_path / "python"
    stubborn.write_text(
        f"#!{sys.executable}\nimport subprocess, sys, time\n"
        f"subprocess.Popen(['sleep', '987'])\nprint('{{}}', flush=True)\nwhile True: time.sleep(1)\n"
    )
    stubborn.chmod(0o755)
    monkeypatch.setattr(launch.Engine.stop, "__defaults__", (0.5,))
    began = time.monotonic()
    outcome = run_engine(tmp_path / "job.json", str(stubborn), False, print, lambda: time.monotonic() > began + 1)
    assert outcome.stopped
    time.sleep(0.3)
    assert "sleep\x00987" not in running_commands()


def test_an_engine_that_dies_is_a_sentence(tmp_path):
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\necho 'libc.so.99: not found' >&2\nexit 127\n")
    dying.chmod(0o755)
    outcome = run_engine(tmp_path / "job.json", str(dying), False, print, lambda: False)
    assert outcome.exit_code == 127
    assert "libc.so.99" in outcome.sentence


def test_progress_is_a_percentage_and_a_line():
    from penumbra.events import Event

    assert progress_of(Event("progress", "lift", 3, 12, eta=200.0)) == (25, "lift: 3 of 12, 3 min left")
    assert progress_of(Event("stage", "read", message="Opening the footage")) == (0, "Opening the footage")
    assert progress_of(Event("warning", message="x"))[0] is None


@pytest.mark.slow
def test_the_doctor_says_what_works(nuke, tmp_path):
    node = node_host.create()
    nuke.press(node, "doctor")
    assert "onnxruntime" in nuke.SCRIPT.messages[-1]
    node["engine"].setValue(Path(sys.prefix).as_posix())
    nuke.press(node, "doctor")
    assert Path(sys.prefix).as_posix() in nuke.SCRIPT.messages[-1]


def test_ten_nodes_are_enough_to_see_two_layers(reopened, nuke):
    nuke.SCRIPT.limit, nuke.env["nc"] = 10, True
    node = nuke.find("Penumbra1")
    node["built"].setValue("")
    nuke.press(node, "reload")
    nuke.press(node, "send")
    assert nuke.SCRIPT.messages == []
    assert nuke.find("Penumbra1_difference") is not None
