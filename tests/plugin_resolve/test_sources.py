from __future__ import annotations

from dataclasses import replace

import pytest

from penumbra_resolve.shots import shots_folder
from penumbra_resolve.sources import (
    ClipFacts,
    Footage,
    footage_of,
    mask_footage_of,
    object_name,
    parse_media_path,
    rate_of,
    shot_name,
)

CLIP = ClipFacts("a.mov", "/media/a.mov", 86500, 40, 10, 10, 40, 60, "23.976", "23.976")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/x/plate.[1001-1100].exr", ("/x/plate.%04d.exr", 1001)),
        ("C:\\x y\\plate_[00086400-00086500].dpx", ("C:\\x y\\plate_%08d.dpx", 86400)),
        ("/x/plate.[998-1003].exr", ("/x/plate.%d.exr", 998)),
        ("/x/[1-2]/a.MOV", ("/x/[1-2]/a.MOV", 1)),
        ("/x/[1-2]/plate.[5-9].exr", ("/x/[1-2]/plate.%01d.exr", 5)),
        ("/x/a.braw", None),
        ("/x/a.[1-9].ari", None),
        ("/x/still.exr", None),
    ],
)
def test_media_paths(path, expected):
    assert parse_media_path(path) == expected


def test_frames_are_exact():
    assert footage_of(CLIP) == (Footage("/media/a.mov", 11, 86500, 40), "")
    plate = replace(CLIP, path="/m/p.[1001-1060].exr")
    assert footage_of(plate)[0] == Footage("/m/p.%04d.exr", 1011, 86500, 40)
    assert footage_of(plate)[0].last == 1050


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"path": ""}, "no media file"),
        ({"path": "/m/a.r3d"}, "only Resolve reads"),
        ({"effects": 1}, "Fusion composition"),
        ({"rate": "25.0"}, "25.0 frames per second"),
        ({"source_span": 80}, "speed"),
        # What Resolve says of 110 % over 40 of 60 frames.
        ({"source_span": 42, "right_offset": 5}, "speed"),
        ({"media_frames": 0}, "speed"),
    ],
)
def test_why_a_clip_is_rendered(change, reason):
    footage, why = footage_of(replace(CLIP, **change))
    assert footage is None
    assert reason in why


def test_a_second_copy_of_the_plate_is_rendered_for_its_matte():
    assert mask_footage_of(replace(CLIP, path="/media/matte.mov"), CLIP)[0] is not None
    footage, why = mask_footage_of(CLIP, CLIP)
    assert footage is None
    assert "matte" in why


def test_resolve_s_own_source_frames_may_be_one_off():
    assert footage_of(replace(CLIP, source_span=39))[0] is not None


def test_a_mask_s_frames_fall_on_the_plate_s():
    plate, mask = Footage("p", 1011, 500, 40), Footage("m", 7, 490, 60)
    # At frame 500 of the timeline the mask shows its own 17 and the plate 1011.
    assert mask.offset_to(plate) == 1011 - 17


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Mask car", "car"),
        ("mask_red_car", "red_car"),
        ("MASK: red car", "red_car"),
        ("Mask", None),
        ("masks of car", None),
        ("Video 2", None),
        ("mask ü", "ü"),
    ],
)
def test_names_of_masks(name, expected):
    assert object_name(name) == expected


def test_names_of_shots_and_folders(monkeypatch, tmp_path):
    assert shot_name("plate.[1001-1060].exr", 10, 49) == "plate_10-49"
    assert shot_name("Größe 1.mov", 0, 5) == "Größe_1_0-5"
    assert shot_name("??.mov", 0, 5) == "clip_0-5"
    monkeypatch.setenv("PENUMBRA_RESOLVE_FOLDER", str(tmp_path))
    assert shots_folder("a/b: c") == tmp_path / "a_b_ c"
    assert shots_folder("..") == tmp_path / "__"


def test_rates():
    assert [rate_of(text) for text in ("23.976", "29.97 DF", "25", "")] == [23.976, 29.97, 25.0, 0.0]
