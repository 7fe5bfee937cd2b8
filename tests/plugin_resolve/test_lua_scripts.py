"""The scripts of the free edition, in a real Lua as bare as that edition's own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from engine.test_fusion_setting import CHANGES, FIRST, GRAPH, write_layers
from fakes.resolve import MediaPoolItem, Resolve, _lua
from penumbra.write import write_composites
from plugin_resolve.clips import bin_at, bin_names, media

SCRIPTS = Path(__file__).parents[2] / "plugin_resolve" / "penumbra_resolve" / "startup" / "Utility"
FREE = {"product": "DaVinci Resolve", "version": (21, 1, 0, 17, "")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = write_layers(tmp_path_factory.mktemp("läyers of") / "shot 1", CHANGES)
    write_composites(made, replace(GRAPH, spans=CHANGES))
    return made


def free_edition(folder, offset=1, duration=3, first=FIRST - 1):
    """The clip the layers came from on a timeline, and one of the layers dragged into the Media Pool and selected."""
    resolve = Resolve(**FREE)
    timeline = resolve._project._timeline
    clip = timeline._put(media(folder, "plate", first, 20), 1, timeline._start + 7, duration, offset)
    timeline._playhead = clip._start
    path = str(folder / "car" / f"car.[{FIRST}-{FIRST + 3}].exr")
    resolve._project._pool._selected = [MediaPoolItem("car", path, 4, "24")]
    return resolve, clip


def placed(resolve):
    return [
        (track.name, [(item.GetName(), item._start, item._duration, item._offset) for item in track.items])
        for track in resolve._project._timeline._tracks[1:]
    ]


def test_a_finished_folder_is_imported_and_placed(folder):
    resolve, clip = free_edition(folder)
    clip._inspector.update(FlipX=True, ZoomX=1.5, Opacity=50.0)
    _lua.run_script(SCRIPTS / "Penumbra Import.lua", resolve)
    start = clip._start
    for track in resolve._project._timeline._tracks[1:]:
        assert all(item._inspector == {**clip._inspector, "Opacity": 100.0} for item in track.items)
    # The clip shows frames 1001 to 1003 of layers that go to 1004; from 1003 on the order is another.
    assert placed(resolve) == [
        ("Penumbra place 2", [("background", start, 2, 0), ("background", start + 2, 1, 2)]),
        ("Penumbra place 3", [("car", start, 2, 0), ("person", start + 2, 1, 2)]),
        ("Penumbra place 4", [("person", start, 2, 0), ("car", start + 2, 1, 2)]),
    ]
    assert not clip.GetClipEnabled()
    clips = bin_at(resolve, "Penumbra", "shot 1").GetClipList()
    assert sorted(item.GetName() for item in clips) == ["background", "car", "person"]
    assert {item._properties["FPS"] for item in clips} == {"23.976"}
    assert {item.GetName(): item._properties["Alpha mode"] for item in clips}["car"] == "Premultiplied"
    assert resolve._project._pool._current is resolve._project._pool._root


def test_it_is_found_where_it_was_moved_to(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere")
    resolve, _ = free_edition(tmp_path / "elsewhere")
    resolve._project._pool._selected = []
    path = str(tmp_path / "elsewhere" / "person" / f"person.[{FIRST}-{FIRST + 3}].exr")
    resolve._project._pool._root._clips = [MediaPoolItem("person", path, 4, "24")]
    _lua.run_script(SCRIPTS / "Penumbra Import.lua", resolve)
    assert list(bin_names(bin_at(resolve, "Penumbra"))) == ["elsewhere"]
    assert len(placed(resolve)) == 3


def test_twice_makes_a_second_bin_and_changes_nothing_in_the_first(folder):
    resolve, _ = free_edition(folder)
    for _ in range(2):
        _lua.run_script(SCRIPTS / "Penumbra Import.lua", resolve)
    assert list(bin_names(bin_at(resolve, "Penumbra"))) == ["shot 1", "shot 1 2"]
    assert len(placed(resolve)) == 6


def test_without_a_clip_under_the_playhead_layers_are_imported_only(folder):
    resolve, _ = free_edition(folder)
    resolve._project._timeline._playhead = 0
    printed = _lua.run_script(SCRIPTS / "Penumbra Import.lua", resolve)
    assert placed(resolve) == []
    assert "nothing was placed" in printed[0]
    assert len(bin_at(resolve, "Penumbra", "shot 1").GetClipList()) == 3


@pytest.mark.parametrize("spoil", ["nothing selected", "no table", "another table", "a table that acts"])
def test_what_goes_wrong_is_the_name_of_a_bin(folder, tmp_path, spoil):
    shutil.copytree(folder, tmp_path / "x")
    resolve, _ = free_edition(tmp_path / "x")
    table = tmp_path / "x" / "layers.lua"
    if spoil == "nothing selected":
        resolve._project._pool._selected = []
    elif spoil == "no table":
        table.unlink()
    elif spoil == "another table":
        table.write_text("return { penumbra_layers = 2 }")
    else:
        table.write_text("print('acted') return { penumbra_layers = 1 }")
    printed = _lua.run_script(SCRIPTS / "Penumbra Import.lua", resolve)
    (name,) = bin_names(resolve._project._pool._root)
    assert name.startswith("Penumbra: select a layer of a finished folder")
    assert "acted" not in printed
    assert placed(resolve) == []


def test_a_layer_that_is_gone_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "x")
    shutil.rmtree(tmp_path / "x" / "person")
    resolve, clip = free_edition(tmp_path / "x")
    _lua.run_script(SCRIPTS / "Penumbra Import.lua", resolve)
    assert any("could not import person" in name for name in bin_names(resolve._project._pool._root))
    assert clip.GetClipEnabled()


def test_a_clip_of_other_frames_gets_no_tracks(folder):
    resolve, clip = free_edition(folder, offset=12)
    _lua.run_script(SCRIPTS / "Penumbra Import.lua", resolve)
    assert any("none of the layers' frames" in name for name in bin_names(resolve._project._pool._root))
    assert placed(resolve) == []
    assert clip.GetClipEnabled()


def test_layers_that_are_not_placed_leave_the_timeline_as_it_was(folder, monkeypatch):
    resolve, clip = free_edition(folder)
    pool = resolve._project._pool
    real = pool.AppendToTimeline
    monkeypatch.setattr(pool, "AppendToTimeline", lambda clips: real(clips) if clips[0]["trackIndex"] < 4 else [])
    _lua.run_script(SCRIPTS / "Penumbra Import.lua", resolve)
    assert any("did not place all" in name for name in bin_names(pool._root))
    assert placed(resolve) == []
    assert clip.GetClipEnabled()


@pytest.mark.parametrize(
    ("product", "version", "runs"),
    [
        ("DaVinci Resolve Studio", (21, 1, 0, 17, ""), True),
        ("DaVinci Resolve Studio", (18, 5, 0, 1, ""), True),
        ("DaVinci Resolve", (21, 0, 3, 7, ""), True),
        ("DaVinci Resolve", (21, 1, 0, 17, ""), False),
        ("DaVinci Resolve", (22, 0, 0, 1, ""), False),
    ],
)
def test_the_check_tells_which_editions_run_python(product, version, runs):
    resolve = Resolve(product=product, version=version)
    for _ in range(2):
        (line,) = _lua.run_script(SCRIPTS / "Penumbra Check.lua", resolve)
    assert ("runs no Python" not in line) == runs
    assert list(bin_names(resolve._project._pool._root)) == [line]


def test_the_check_works_without_a_project():
    (line,) = _lua.run_script(SCRIPTS / "Penumbra Check.lua", Resolve(project=None))
    assert "runs Python scripts" in line


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.lua")), ids=lambda path: path.name)
def test_nothing_is_used_that_the_free_edition_lacks(path):
    text = path.read_text(encoding="utf-8")
    for name in ("io.", "os.", "require", "package.", "debug.", "UIManager", "bmd."):
        assert name not in text
    assert len(text.splitlines()) < 180
