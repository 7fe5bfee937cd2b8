"""From a selection in the node graph to Loaders and Merges beside it."""

from __future__ import annotations

import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.test_fusion_setting import CHANGES, CONSTANT, FIRST, GRAPH, LAST, write_layers
from fakes.resolve import Composition, Resolve, _pixels
from penumbra.errors import JobError
from penumbra_resolve import fusion_host
from penumbra_resolve.shots import INPUTS_FOLDER
from penumbra_resolve.sources import Footage
from plugin_resolve.clips import composition, picture, rgba, stop_in_refinement, write_media

COUNT = LAST - FIRST + 1


def over_layers(folder, start=0):
    """A composition whose plate is that of finished layers, from ``start`` on."""
    comp = composition(start, COUNT)
    plate = next(tool for tool in comp._tools if tool._kind == "MediaIn")
    plate._node.image = lambda time: _pixels.read(folder.parent / f"plate.{FIRST + time - start}.exr")
    return comp, plate


def built(folder, spans, start=0):
    comp, plate = over_layers(folder, start)
    footage = Footage(str(folder.parent / "plate.%04d.exr"), FIRST, start, COUNT)
    return comp, fusion_host.build(comp, plate, replace(GRAPH, spans=spans), folder, footage)


def assert_shows_the_plate(comp, name, folder, start):
    for time in range(start, start + COUNT):
        plate = _pixels.read(folder.parent / f"plate.{FIRST + time - start}.exr")[..., :3]
        seen = _pixels.image(comp._graph(), name, time)[..., :3]
        assert (np.abs(seen - plate) <= 2**-10 * np.abs(plate) + 2**-12).all()


@pytest.mark.parametrize("start", [0, 57])
@pytest.mark.parametrize("spans", [CONSTANT, CHANGES], ids=["one order", "an order that changes"])
def test_the_graph_gives_the_plate_at_the_composition_s_own_frames(tmp_path, spans, start):
    folder = write_layers(tmp_path / "a shöt" / "layers", spans)
    comp, result = built(folder, spans, start)
    assert_shows_the_plate(comp, result, folder, start)
    for time in range(start, start + COUNT):
        assert _pixels.image(comp._graph(), "Penumbra_check", time)[..., :3].max() < 1.25
    assert comp._undo == [["Penumbra layers", True]]
    assert comp._locked == 0


def test_what_is_set_under_lock_would_be_lost(tmp_path):
    """The fake's trap: the very same build with values set while locked shows nothing of the layers."""
    comp = composition()
    comp.Lock()
    loader = comp.AddTool("Loader", 0, 0)
    loader.SetInput("PostMultiplyByAlpha", 0)
    comp.Unlock()
    assert (loader._shown, loader._node.inputs) == ({"PostMultiplyByAlpha": 0}, {})


def test_every_merge_descends_from_the_clip(tmp_path):
    comp, _ = built(write_layers(tmp_path / "layers", CHANGES), CHANGES)
    assert all(comp._rooted(tool._name) for tool in comp._tools if tool._kind in ("Merge", "Dissolve", "Custom"))


def test_names_never_clash_and_what_was_there_stays(tmp_path):
    folder = write_layers(tmp_path / "layers")
    comp, plate = over_layers(folder)
    footage = Footage("", FIRST, 0, COUNT)
    first = fusion_host.build(comp, plate, GRAPH, folder, footage)
    before = {tool._name: dict(tool._node.inputs) for tool in comp._tools}
    second = fusion_host.build(comp, plate, GRAPH, folder, footage)
    assert (first, second) == ("Penumbra_over_person", "Penumbra2_over_person")
    assert {name: comp._tool(name)._node.inputs for name in before} == before
    names = [tool._name for tool in comp._tools]
    assert len(set(names)) == len(names)


def test_a_graph_that_is_not_finished_is_taken_back(tmp_path, monkeypatch, capsys):
    folder = write_layers(tmp_path / "layers")
    comp, plate = over_layers(folder)
    before = list(comp._tools)
    real = comp.AddTool
    monkeypatch.setattr(comp, "AddTool", lambda kind, x, y: None if kind == "Custom" else real(kind, x, y))
    with pytest.raises(fusion_host.HostError, match="adds no Custom"):
        fusion_host.build(comp, plate, GRAPH, folder, Footage("", FIRST, 0, COUNT))
    assert comp._tools == before
    assert comp._undo == [["Penumbra layers", False]]
    assert comp._locked == 0


def test_masks_are_those_called_so_left_to_right():
    comp = composition()
    chosen = fusion_host.selection(comp)
    assert chosen.plate._kind == "MediaIn"
    assert [name for name, _ in chosen.masks] == ["car", "person"]
    comp._tools[1]._at, comp._tools[2]._at = (9, 0), (3, 0)
    assert [name for name, _ in fusion_host.selection(comp).masks] == ["person", "car"]


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_selection_that_is_not_enough_is_a_sentence(capsys, kept):
    comp = composition()
    comp._selected = comp._tools[:1] * kept
    assert fusion_host.main(Resolve(), comp) == 2
    assert f"{kept} plates and 0 masks are selected" in capsys.readouterr().out
    assert fusion_host.main(Resolve(), None) == 2


def loaded(folder):
    """The plate as a Loader of plain EXR files, at frame 20 of the composition."""
    comp = composition(20, 4)
    comp.Lock()
    plate = comp.AddTool("Loader", 0, 5)
    comp.Unlock()
    plate.SetInput("Clip", str(folder / "plate.1001.exr"))
    plate.SetInput("GlobalIn", 20)
    plate.SetInput("GlobalOut", 29)
    comp._selected = [plate, *comp._tools[1:3]]
    return comp, plate


def test_a_plain_loader_s_files_are_used_as_they_are(tmp_path):
    write_media(tmp_path, count=10)
    _comp, plate = loaded(tmp_path)
    footage = fusion_host._own_files(plate, 22, 25)
    assert footage == Footage(str(tmp_path / "plate.%04d.exr"), 1003, 22, 4)


@pytest.mark.parametrize(
    "change", [{"TrimIn": 2}, {"Length": 3}, {"Filename": "plate.1001.png"}, {"GlobalStart": 21}, None]
)
def test_a_loader_that_does_more_is_rendered(tmp_path, change):
    write_media(tmp_path, count=10)
    _, plate = loaded(tmp_path)
    if change is None:
        plate._passed = True
    else:
        plate._node.clip.update(change)
    assert fusion_host._own_files(plate, 20, 23) is None


def test_the_inputs_are_rendered_over_the_composition_s_range(tmp_path):
    comp = composition(5, 4)
    chosen = fusion_host.selection(comp)
    base = tmp_path / "comp"
    folder, job_file, plate = fusion_host._prepare(comp, chosen, base, 5, 8)
    assert (plate.first, plate.count) == (5, 4)
    for index in range(4):
        stored = _pixels.read(folder / INPUTS_FOLDER / f"plate.{5 + index:04d}.exr")
        np.testing.assert_array_equal(stored, rgba(index))
        matte = _pixels.read(folder / INPUTS_FOLDER / f"mask-person.{5 + index:04d}.exr")
        np.testing.assert_array_equal(matte[..., 3], picture(index)[1][1])
    job = json.loads(job_file.read_text(encoding="utf-8"))
    assert (job["plate"]["frames"], [mask["offset"] for mask in job["masks"]]) == ("5-8", [0, 0])
    # No Saver is left.
    assert {tool._kind for tool in comp._tools} == {"MediaIn", "Blur"}


def test_another_clip_of_the_same_names_is_rendered_anew(tmp_path, capsys):
    """Every clip's composition begins with a MediaIn1, and is called Composition1."""
    base = tmp_path / "comp"
    one, other = composition(0, 4), composition(0, 4)
    other._tools[0]._node.image = lambda time: rgba(time) * 0.25
    folders = [fusion_host._prepare(comp, fusion_host.selection(comp), base, 0, 3)[0] for comp in (one, other)]
    assert (folders, other._renders) == ([base, tmp_path / "comp_v2"], 3)
    assert "begins anew" in capsys.readouterr().out
    np.testing.assert_array_equal(_pixels.read(folders[1] / INPUTS_FOLDER / "plate.0002.exr"), rgba(2) * 0.25)


def all_loaded(folder, count=4):
    """A composition from 0 of Loaders alone: a plate that is read as it is, masks that must be rendered."""
    write_media(folder, count=count)
    comp = Composition(0, count - 1)
    for column, (name, file) in enumerate(
        (("Plate", "plate.1001.exr"), ("mask_car", "car.0001.png"), ("mask_person", "person.0001.png"))
    ):
        comp.Lock()
        tool = comp.AddTool("Loader", column, 0)
        comp.Unlock()
        tool.SetAttrs({"TOOLS_Name": name})
        tool.SetInput("Clip", str(folder / file))
        comp._selected.append(tool)
    return comp


def test_of_loaders_a_run_that_was_stopped_renders_nothing_twice(tmp_path):
    comp = all_loaded(tmp_path / "media")
    chosen = fusion_host.selection(comp)
    prepared = fusion_host._prepare(comp, chosen, tmp_path / "comp", 0, 3)
    assert fusion_host._prepare(comp, chosen, tmp_path / "comp", 0, 3) == prepared
    assert comp._renders == 2


def test_a_loader_of_other_channels_is_rendered(tmp_path):
    """Mattes in one EXR beside the picture, of which each Loader's Format tab picks one."""
    comp = all_loaded(tmp_path)
    for index in range(4):
        plate, masks = picture(index)
        names = ("R", "G", "B", "roto.car", "roto.person")
        _pixels.write(tmp_path / f"all.{index:04d}.exr", np.dstack([plate, *masks]), names)
    for tool in comp._selected:
        tool.SetInput("Clip", str(tmp_path / "all.0000.exr"))
    for tool, channel in zip(comp._selected, ("R", "roto.car", "roto.person"), strict=True):
        tool.SetInput("Clip1.OpenEXRFormat.RedName", channel)
        tool.SetInput("Clip1.OpenEXRFormat.AlphaName", "" if channel == "R" else channel)
    base = tmp_path / "comp"
    folder, job_file, plate = fusion_host._prepare(comp, fusion_host.selection(comp), base, 0, 3)
    assert plate == Footage(str(tmp_path / "all.%04d.exr"), 0, 0, 4)
    job = json.loads(job_file.read_text(encoding="utf-8"))
    assert [Path(mask["path"]).parent.name for mask in job["masks"]] == [INPUTS_FOLDER] * 2
    for name, mask in zip(("car", "person"), picture(3)[1], strict=True):
        stored = _pixels.read(folder / INPUTS_FOLDER / f"mask-{name}.0003.exr")
        np.testing.assert_array_equal(stored[..., 3], mask)


@pytest.mark.parametrize(("name", "value"), [("BlueName", "R"), ("AlphaName", "Z"), ("Part", "beauty")])
def test_only_a_file_s_own_channels_are_read_as_they_are(tmp_path, name, value):
    plate = all_loaded(tmp_path)._selected[0]
    assert fusion_host._own_files(plate, 0, 3) is not None
    plate.SetInput(f"Clip1.OpenEXRFormat.{name}", value)
    assert fusion_host._own_files(plate, 0, 3) is None


def test_a_tool_called_clean_plate_is_that(tmp_path):
    comp = composition(5, 4)
    clean = comp.AddTool("Blur", 6, 0)
    clean.SetAttrs({"TOOLS_Name": "clean_plate"})
    clean._node.image = lambda time: rgba(9)
    comp._selected = [clean, *comp._selected]
    chosen = fusion_host.selection(comp)
    assert (chosen.clean, [name for name, _ in chosen.masks]) == (clean, ["car", "person"])
    _, job_file, _ = fusion_host._prepare(comp, chosen, tmp_path / "comp", 5, 8)
    job = json.loads(job_file.read_text(encoding="utf-8"))
    assert (job["clean_plate"]["color_space"], job["clean_plate"]["offset"]) == ("auto", 0)
    np.testing.assert_array_equal(_pixels.read(job["clean_plate"]["path"] % 6), rgba(9))
    assert comp._renders == 4
    comp._selected = [clean, *comp._selected]
    with pytest.raises(JobError, match="2 clean plates"):
        fusion_host.selection(comp)


def test_plate_and_clean_plate_are_both_files_or_both_saved(tmp_path):
    write_media(tmp_path, count=10)
    comp, plate = loaded(tmp_path)
    comp.Lock()
    clean = comp.AddTool("Loader", 0, 7)
    comp.Unlock()
    clean.SetAttrs({"TOOLS_Name": "CleanPlate"})
    clean.SetInput("Clip", str(tmp_path / "plate.1001.exr"))
    clean.SetInput("GlobalIn", 18)
    clean.SetInput("GlobalOut", 27)
    comp._selected = [clean, *comp._selected]
    chosen = fusion_host.selection(comp)
    job = json.loads(fusion_host._prepare(comp, chosen, tmp_path / "a", 20, 23)[1].read_text(encoding="utf-8"))
    # Both are the very same files; the clean plate's stand two frames earlier.
    assert (job["plate"]["frames"], job["clean_plate"]["offset"], comp._renders) == ("1001-1004", -2, 2)
    clean._passed = True
    clean._node.image = lambda time: rgba(9)
    job = json.loads(fusion_host._prepare(comp, chosen, tmp_path / "b", 20, 23)[1].read_text(encoding="utf-8"))
    assert (job["plate"]["frames"], job["clean_plate"]["offset"], comp._renders) == ("20-23", 0, 6)
    assert plate._name == "Loader1"


def test_frames_fusion_did_not_render_are_a_sentence(monkeypatch, capsys):
    comp = composition(0, 4)
    monkeypatch.setattr(comp, "Render", lambda settings: True)
    assert fusion_host.main(Resolve(), comp) == 3
    assert "did not render frame 0 of plate" in capsys.readouterr().out
    assert {tool._kind for tool in comp._tools} == {"MediaIn", "Blur"}


def test_without_an_engine_nothing_is_touched(monkeypatch, capsys):
    monkeypatch.delenv("PENUMBRA_PYTHON")
    monkeypatch.setenv("PATH", "")
    comp = composition(0, 4)
    assert fusion_host.main(Resolve(), comp) == 5
    assert "penumbra install resolve" in capsys.readouterr().out
    assert ([tool._kind for tool in comp._tools], comp._renders) == (["MediaIn", "Blur", "Blur"], 0)
    assert not Path(os.environ["PENUMBRA_RESOLVE_FOLDER"]).exists()


@pytest.mark.slow
def test_forty_frames_between_handles(capsys):
    """The render range of a longer composition, at 40 frames, is what is taken apart and wired."""
    comp = composition(10, 40)
    assert fusion_host.main(Resolve(), comp) == 0, capsys.readouterr().out
    shot = Path(os.environ["PENUMBRA_RESOLVE_FOLDER"]) / "Fusion" / "Composition1_MediaIn1_10-49"
    assert len(list((shot / "car").glob("*.exr"))) == 40
    for time in (10, 29, 49):
        plate = picture(time - 10)[0]
        seen = _pixels.image(comp._graph(), "Penumbra_over_person", time)[..., :3]
        assert (np.abs(seen - plate) <= 2**-10 * plate + 2**-12).all()
        assert _pixels.image(comp._graph(), "Penumbra_check", time)[..., :3].max() < 1.25


@pytest.mark.slow
def test_stopped_and_gone_on_with(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PENUMBRA_RESOLVE_REFINE", "5")
    comp = all_loaded(tmp_path / "media")
    base = Path(os.environ["PENUMBRA_RESOLVE_FOLDER"])
    stopper = threading.Thread(target=stop_in_refinement, args=(base,))
    stopper.start()
    assert fusion_host.main(Resolve(), comp) == 130
    stopper.join()
    assert "run the script again" in capsys.readouterr().out
    # Nothing is left of the Savers, and nothing was wired yet.
    assert [tool._kind for tool in comp._tools] == ["Loader"] * 3
    rendered = comp._renders
    assert fusion_host.main(Resolve(), comp) == 0, capsys.readouterr().out
    assert comp._renders == rendered
    assert len(list((base / "Fusion").iterdir())) == 1
    seen = _pixels.image(comp._graph(), "Penumbra_over_person", 2)[..., :3]
    assert (np.abs(seen - picture(2)[0]) <= 2**-10 * picture(2)[0] + 2**-12).all()


@pytest.mark.slow
def test_from_the_selection_to_the_nodes(capsys):
    comp = composition(12, 5)
    assert fusion_host.main(Resolve(), comp) == 0, capsys.readouterr().out
    for time in range(12, 17):
        plate = picture(time - 12)[0]
        seen = _pixels.image(comp._graph(), "Penumbra_over_person", time)[..., :3]
        assert (np.abs(seen - plate) <= 2**-10 * plate + 2**-12).all()
    shots = Path(os.environ["PENUMBRA_RESOLVE_FOLDER"]) / "Fusion"
    assert [path.name for path in shots.iterdir()] == ["Composition1_MediaIn1_12-16"]
    shutil.rmtree(shots)
