"""layers.nk: read back by a reader that knows only Nuke's rules, and rendered, it gives the plate."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import OpenImageIO as oiio
import pytest

import fakes.nuke
from engine.tiny_clip import FIRST, FRAMES, SIZE, picture, tiny_job, write_clip, write_image
from fakes.nuke import _render, _script
from penumbra.errors import OutputError
from penumbra.job import MaskSettings, OrderSettings
from penumbra.layer_graph import LayerGraph, OrderSpan, PlateFiles, load_layer_graph, portable_path
from penumbra.nuke_script import ScriptNode, layers_script, quoted, script_text
from penumbra.pipeline import run
from penumbra.write import load_manifest

GRAPH = LayerGraph(
    names=("car", "dog", "person"),
    first=-3,
    last=9,
    padding=4,
    spans=(
        OrderSpan(-3, -1, ("car", "dog", "person")),
        OrderSpan(0, 4, ("dog", "car", "person")),
        OrderSpan(5, 9, ("car", "dog", "person")),
    ),
    size=(64, 48),
    pixel_aspect=2.0,
    fps="24000/1001",
    space="lin_rec709",
    plate=PlateFiles("../plate/plate.%04d.exr", "lin_rec709"),
)


@pytest.fixture
def nuke(monkeypatch):
    monkeypatch.setitem(sys.modules, "nuke", fakes.nuke)
    return fakes.nuke.reset()


def opened(nuke, text, path="/shots/a b/layers.nk"):
    """The script's nodes by name."""
    nuke.SCRIPT.root._knobs["name"]._text = path
    _script.read(text, nuke.SCRIPT.root)
    return {node._name(): node for node in nuke.SCRIPT.root._children}


def order_at(nodes, frame, names):
    """Back to front, the Reads the chain lays over the clean plate at a frame."""
    node, found = nodes["Penumbra_difference"]._input(1), []
    while node._kind == "Merge2":
        front = node._input(1)
        if front._kind == "Switch":
            front = front._input(int(front._knobs["which"]._number(frame)))
        found.append(front._name().removeprefix("Penumbra_layer_"))
        node = node._input(0)
    assert node._name() == "Penumbra_background"
    return tuple(reversed(found))


def test_the_order_of_every_frame_is_the_manifests(nuke):
    nodes = opened(nuke, layers_script(GRAPH))
    for span in GRAPH.spans:
        for frame in range(span.first, span.last + 1):
            assert order_at(nodes, frame, GRAPH.names) == span.objects
    # A place that never changes hands needs no Switch.
    assert {name for name, node in nodes.items() if node._kind == "Switch"} == {"Penumbra_order_1", "Penumbra_order_2"}


def test_file_names_are_relative_to_one_knob(nuke):
    text = layers_script(GRAPH)
    nodes = opened(nuke, text)
    assert nodes["Penumbra_layer_car"]._knobs["file"]._evaluated() == "/shots/a b/car/car.%04d.exr"
    assert nodes["Penumbra_plate"]._knobs["file"]._evaluated() == "/shots/a b/../plate/plate.%04d.exr"
    nodes["Penumbra_layers"]._knobs["folder"]._text = "/mnt/ünïcode"
    assert nodes["Penumbra_background"]._knobs["file"]._evaluated() == "/mnt/ünïcode/background/background.%04d.exr"
    assert "/shots" not in text


def test_reads_take_frames_and_format_from_the_plate(nuke):
    read = opened(nuke, layers_script(GRAPH))["Penumbra_layer_person"]
    assert [read._knobs[name]._text for name in ("first", "last", "origfirst", "origlast")] == ["-3", "9"] * 2
    assert read._knobs["format"]._text.split() == ["64", "48", "0", "0", "64", "48", "2"]
    assert read._knobs["raw"]._text == "true"


def test_nothing_of_the_users_script_is_changed(nuke):
    assert "Root" not in layers_script(GRAPH)


@pytest.mark.parametrize("plate", [None, PlateFiles("../plate.%04d.dpx", "ARRI LogC4")])
def test_a_plate_that_a_read_would_show_otherwise_is_left_to_be_plugged_in(nuke, plate):
    nodes = opened(nuke, layers_script(replace(GRAPH, plate=plate)))
    assert nodes["Penumbra_plate"]._kind == "NoOp"
    assert "lin_rec709" in nodes["Penumbra_plate"]._knobs["label"]._text
    assert nodes["Penumbra_difference"]._input(0) is nodes["Penumbra_plate"]


def test_an_srgb_plate_is_made_linear_by_a_node(nuke):
    nodes = opened(nuke, layers_script(replace(GRAPH, plate=PlateFiles("/else/plate.%04d.png", "srgb_tx"))))
    assert nodes["Penumbra_plate"]._knobs["file"]._evaluated() == "/else/plate.%04d.png"
    assert nodes["Penumbra_difference"]._input(0)._kind == "Colorspace"


@pytest.mark.parametrize("text", ['a "b"', "[exec rm]", "$x {y} \\z", "two\nlines", "ünïcode 影"])
def test_any_text_comes_back_as_it_was(nuke, text):
    node = ScriptNode("NoOp", "a", (("label", quoted(text)),), (None,))
    assert opened(nuke, script_text([node]))["a"]._knobs["label"]._text == text


def test_a_node_used_twice_is_written_once(nuke):
    read = ScriptNode("Read", "r")
    one, two = (ScriptNode("Dot", name, (), (read,)) for name in ("one", "two"))
    nodes = opened(nuke, script_text([ScriptNode("Merge2", "m", (), (one, two))]))
    assert nodes["m"]._input(0) is nodes["one"]
    assert nodes["m"]._input(1) is nodes["two"]
    assert nodes["one"]._input(0) is nodes["two"]._input(0) is nodes["r"]


def test_the_composite_of_a_run_is_the_plate_at_every_frame(nuke, tmp_path):
    write_clip(tmp_path)
    for index in range(FRAMES):
        mask = picture(index)[1]
        write_image(tmp_path / f"ball.{FIRST + index}.png", np.roll(mask, 12, axis=0), oiio.UINT8)
    job = tiny_job(tmp_path)
    other = MaskSettings("ball", str(tmp_path / "ball.####.png"))
    orders = (OrderSettings(("box", "ball")), OrderSettings(("ball", "box"), FIRST + 3))
    run(replace(job, masks=(*job.masks, other), order=orders), lambda event: None)
    nodes = opened(nuke, (tmp_path / "out" / "layers.nk").read_text("utf-8"), f"{tmp_path.as_posix()}/out/layers.nk")
    for number in range(FIRST, FIRST + FRAMES):
        expected = load_manifest(tmp_path / "out")["order"][str(number)]
        assert list(order_at(nodes, number, ("box", "ball"))) == expected
        plate = picture(number - FIRST)[0].astype(np.float16).astype(np.float32)
        result = _render.pixels(nodes["Penumbra_difference"]._input(1), number, _render.RGBA[:3])
        assert (np.abs(result - plate) <= 2**-10 * plate + 2**-12).all()
        check = _render.pixels(nodes["Penumbra_check"], number, _render.RGBA[:3])
        assert check.shape == (*SIZE, 3)
        np.testing.assert_allclose(check, 1024 * np.abs(result - plate), atol=1e-3)


def test_objects_may_be_called_as_our_own_nodes_are(nuke):
    names = ("plate", "difference", "over_check", "check")
    graph = replace(GRAPH, names=names, spans=(OrderSpan(-3, 9, names),))
    nodes = opened(nuke, layers_script(graph))
    assert order_at(nodes, 0, names) == names
    assert len(nodes) == 1 + 1 + 4 + 4 + 1 + 2


def test_a_manifest_is_read_without_the_engine(tmp_path):
    with pytest.raises(OutputError, match="no finished layers"):
        load_layer_graph(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(OutputError, match=r"manifest\.json cannot be read"):
        load_layer_graph(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"penumbra_manifest": 99}))
    with pytest.raises(OutputError, match="version 99"):
        load_layer_graph(tmp_path)


def test_paths_are_relative_only_where_both_can_move(tmp_path):
    assert portable_path(str(tmp_path / "plate.%04d.exr"), tmp_path / "a" / "b") == "../../plate.%04d.exr"
    assert portable_path("/elsewhere/x.exr", tmp_path) == "/elsewhere/x.exr"
