"""What the engine writes for Fusion, editors and Resolve's import script, read by a real Lua and by OpenTimelineIO."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import opentimelineio as otio
import pytest

from fakes.clips import make_footage, make_plate, take_apart
from fakes.resolve import _lua, _pixels
from penumbra.layer_graph import LayerGraph, OrderSpan, PlateFiles
from penumbra.pipeline import rewrite_composites
from penumbra.write import write_composites
from penumbra.write.fusion_setting import setting_text

FIRST, LAST = 1001, 1004
CHANGES = (OrderSpan(1001, 1002, ("car", "person")), OrderSpan(1003, 1004, ("person", "car")))
CONSTANT = (OrderSpan(FIRST, LAST, ("car", "person")),)
GRAPH = LayerGraph(
    names=("car", "person"),
    first=FIRST,
    last=LAST,
    padding=4,
    spans=CONSTANT,
    size=(61, 37),
    pixel_aspect=1.0,
    fps="24000/1001",
    space="lin_rec709",
    plate=PlateFiles("../plate.%04d.exr", "lin_rec709"),
    timecode="01:00:00;00",
)


def write_layers(folder: Path, spans=CONSTANT):
    """Layers that recompose by construction, in the order of each frame, and the plate beside the folder."""
    footage = make_footage(count=LAST - FIRST + 1)
    for number in footage.frames:
        order = next(span.objects for span in spans if span.first <= number <= span.last)
        plate = make_plate(footage, number)
        stack = take_apart(plate, order, seed=number)
        _pixels.write(folder / f"background/background.{number}.exr", stack.background, ("R", "G", "B"))
        for layer in stack.layers:
            _pixels.write(folder / layer.name / f"{layer.name}.{number}.exr", layer.pixels)
        _pixels.write(folder.parent / f"plate.{number}.exr", plate.pixels, ("R", "G", "B"))
    return folder


def assert_is_the_plate(pixels, folder, number):
    plate = _pixels.read(folder.parent / f"plate.{number}.exr")[..., :3]
    assert (np.abs(pixels[..., :3] - plate) <= 2**-10 * np.abs(plate) + 2**-12).all()


@pytest.mark.parametrize("spans", [CONSTANT, CHANGES], ids=["one order", "an order that changes"])
def test_the_setting_gives_the_plate_at_every_frame(tmp_path, spans):
    folder = write_layers(tmp_path / "a 'shöt' \"1\"" / "läyers", spans)
    graph, active = _lua.read_setting(setting_text(replace(GRAPH, spans=spans), folder))
    for number in range(FIRST, LAST + 1):
        assert_is_the_plate(_pixels.image(graph, active, number), folder, number)
        assert_is_the_plate(_pixels.image(graph, "Penumbra_from_frame_0", number - FIRST), folder, number)
        # The check shows a whole part in 1024 as 1, and there is less.
        assert _pixels.image(graph, "Penumbra_check", number)[..., :3].max() <= 1.25


def test_the_check_shows_what_is_wrong(tmp_path):
    folder = write_layers(tmp_path / "layers")
    graph, _ = _lua.read_setting(setting_text(GRAPH, folder))
    broken = folder / f"car/car.{FIRST}.exr"
    pixels = _pixels.read(broken)
    pixels[5:9, 5:9, :3] += 0.25
    pixels[5:9, 5:9, 3] = 1
    _pixels.write(broken, pixels)
    assert _pixels.image(graph, "Penumbra_check", FIRST)[5:9, 5:9, :3].max() > 16


def test_an_8_bit_plate_is_made_linear_in_the_check(tmp_path):
    folder = write_layers(tmp_path / "layers")
    for number in range(FIRST, LAST + 1):
        plate = _pixels.read(tmp_path / f"plate.{number}.exr")[..., :3]
        coded = np.where(plate <= 0.0031308, plate * 12.92, 1.055 * np.maximum(plate, 0) ** (1 / 2.4) - 0.055)
        _pixels.write(tmp_path / f"coded.{number}.png", coded, ("R", "G", "B"), "uint16")
    plate = PlateFiles("../coded.%04d.png", "srgb_tx")
    graph, _ = _lua.read_setting(setting_text(replace(GRAPH, plate=plate), folder))
    assert graph["Penumbra_plate"].clip["FormatID"] == "PNGFormat"
    assert _pixels.image(graph, "Penumbra_check", FIRST)[..., :3].max() < 1.25


@pytest.mark.parametrize("plate", [None, PlateFiles("p.%04d.dpx", "ADX10")], ids=["a movie", "a log plate"])
def test_without_a_plate_fusion_can_read_there_is_no_check(tmp_path, plate):
    graph, active = _lua.read_setting(setting_text(replace(GRAPH, plate=plate), tmp_path))
    assert {node.kind for node in graph.values()} == {"Loader", "Merge", "TimeSpeed"}
    assert active == "Penumbra_over_person"


def test_nothing_of_a_name_is_taken_for_lua(tmp_path):
    folder = tmp_path / 'x" } os.exit() --[[' / "a\\b"
    graph, _ = _lua.read_setting(setting_text(replace(GRAPH, plate=None), folder))
    assert graph["Penumbra_car"].clip["Filename"] == str(folder / "car/car.1001.exr")


def test_the_timeline_points_to_files_that_are_there(tmp_path):
    folder = write_layers(tmp_path / "läyers 1", CHANGES)
    write_composites(folder, replace(GRAPH, spans=CHANGES))
    timeline = otio.adapters.read_from_file(str(folder / "layers.otio"))
    assert [track.name for track in timeline.tracks] == ["background", "place 1", "place 2"]
    assert timeline.global_start_time.rate == pytest.approx(24000 / 1001)
    assert timeline.global_start_time.value == 24 * 3600
    assert [[clip.name for clip in track] for track in timeline.tracks] == [
        ["background", "background"],
        ["car", "person"],
        ["person", "car"],
    ]
    for track in timeline.tracks:
        assert sum(clip.duration().value for clip in track) == LAST - FIRST + 1
        for clip, offset in zip(track, (0, 2), strict=True):
            assert clip.source_range.start_time.value == 24 * 3600 + offset
            assert clip.available_range().duration.value == LAST - FIRST + 1
            assert (folder / otio.url_utils.filepath_from_url(clip.media_reference.target_url)).is_file()
            sequence = clip.media_references()["image_sequence"]
            assert sequence.number_of_images_in_sequence() == LAST - FIRST + 1
            for image in range(LAST - FIRST + 1):
                url = sequence.target_url_for_image_number(image)
                assert (folder / otio.url_utils.filepath_from_url(url)).is_file()
                # The number of the frame that a time of the cut names.
                time = clip.available_range().start_time + otio.opentime.RationalTime(image, 24000 / 1001)
                assert sequence.frame_for_time(time) == FIRST + image


@pytest.mark.parametrize(
    ("fps", "timecode", "first"),
    [
        ("30000/1001", "01:00:00;00", 107892),
        ("60000/1001", "00:10:00;00", 35964),
        ("30000/1001", "01:00:00:00", 108000),
        # Of 23.976 nothing is dropped, whatever the plate's header says.
        ("24000/1001", "01:00:00;00", 86400),
        ("25", "10:00:00:01", 900001),
    ],
)
def test_times_of_the_timeline_count_as_timecode_does(tmp_path, fps, timecode, first):
    folder = write_layers(tmp_path / "layers")
    write_composites(folder, replace(GRAPH, fps=fps, timecode=timecode))
    timeline = otio.adapters.read_from_file(str(folder / "layers.otio"))
    start = timeline.global_start_time
    assert (round(start.value), start.rate) == (first, pytest.approx(float(Fraction(fps))))
    assert all(clip.source_range.start_time == start for track in timeline.tracks for clip in track)


def test_without_timecode_times_are_frame_numbers(tmp_path):
    write_composites(tmp_path, replace(GRAPH, timecode=None, fps=None))
    timeline = otio.adapters.read_from_file(str(tmp_path / "layers.otio"))
    assert timeline.global_start_time is None
    assert timeline.tracks[0][0].source_range.start_time == otio.opentime.RationalTime(FIRST, 24)


def test_the_import_table_is_numbers_and_names(tmp_path):
    write_composites(tmp_path, replace(GRAPH, spans=CHANGES))
    assert _lua.load_table(tmp_path / "layers.lua") == {
        "penumbra_layers": 1,
        "first": 1001,
        "last": 1004,
        "fps": "24000/1001",
        "background": "background/background.%04d.exr",
        "layers": {"car": "car/car.%04d.exr", "person": "person/person.%04d.exr"},
        "order": [
            {"first": 1001, "last": 1002, "objects": ["car", "person"]},
            {"first": 1003, "last": 1004, "objects": ["person", "car"]},
        ],
    }


def test_a_folder_that_was_moved_is_written_anew(tmp_path):
    folder = write_layers(tmp_path / "before" / "layers")
    plate = {"frames": f"{FIRST}-{LAST}", "padding": 4, "size": [61, 37], "space": "lin_rec709", "fps": "24"}
    manifest = {
        "penumbra_manifest": 1,
        "plate": {**plate, "source_space": "lin_rec709"},
        "objects": [{"name": "car"}, {"name": "person"}],
        "order": {str(number): ["car", "person"] for number in range(FIRST, LAST + 1)},
        "frames": {},
        "job": {"plate": {"path": str(tmp_path / "before" / "plate.%04d.exr")}},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    shutil.copytree(folder, tmp_path / "after")
    rewrite_composites(tmp_path / "after")
    graph, active = _lua.read_setting((tmp_path / "after" / "layers.setting").read_text(encoding="utf-8"))
    assert graph["Penumbra_car"].clip["Filename"] == str(tmp_path / "after" / "car" / "car.1001.exr")
    assert graph["Penumbra_plate"].clip["Filename"] == str(tmp_path / "before" / "plate.1001.exr")
    assert_is_the_plate(_pixels.image(graph, active, FIRST), folder, FIRST)
    shutil.rmtree(tmp_path / "before")
    rewrite_composites(tmp_path / "after")
    graph, _ = _lua.read_setting((tmp_path / "after" / "layers.setting").read_text(encoding="utf-8"))
    assert "Penumbra_check" not in graph
