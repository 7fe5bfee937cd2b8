"""What knobs say, without Nuke."""

from pathlib import Path

import pytest

from penumbra.errors import JobError, ObjectNameError
from penumbra.job import FrameRange, OrderSettings, job_from_dict
from penumbra_nuke.reads import ReadFacts, ScriptColor, mask_clip, plate_clip, space_name
from penumbra_nuke.settings import Clip, NodeSettings, ObjectChoice, make_job, parse_objects, parse_order, parse_refine

OCIO = ScriptColor("OCIO", "aces_1.2", "ACES - ACEScg")


def test_objects_are_words_with_or_without_a_channel():
    assert parse_objects(" car, person ", False) == (ObjectChoice("car"), ObjectChoice("person"))
    assert parse_objects("car=roto.car", True) == (ObjectChoice("car", "roto.car"),)


@pytest.mark.parametrize(
    ("text", "shared", "says"),
    [
        ("", False, "no objects"),
        ("car Car", False, "Two objects"),
        ("plate", False, "cannot be called 'plate'"),
        ("car person=roto.p", True, "Object car does not say which channel"),
        ("car=roto.c[exec]", True, "does not name a channel"),
    ],
)
def test_objects_that_cannot_be_are_said(text, shared, says):
    with pytest.raises(JobError, match=says.replace("[", r"\[")):
        parse_objects(text, shared)


def test_reserved_names_are_refused_with_a_suggestion():
    with pytest.raises(ObjectNameError, match="obj_1"):
        parse_objects("1", False)


def test_order_changes_are_frames_and_names():
    assert parse_order("1050: b a; 1080: a,b") == (OrderSettings(("b", "a"), 1050), OrderSettings(("a", "b"), 1080))
    assert parse_order("  ") == ()
    with pytest.raises(JobError, match="Write it as 1050"):
        parse_order("b a")


def test_refinement_is_off_steps_or_minutes():
    assert parse_refine("off", 5).off
    assert parse_refine("steps", 200.0).steps == 200
    assert parse_refine("minutes", 2.5).minutes == 2.5


def test_a_job_is_whole_and_moves_with_its_folder():
    settings = NodeSettings(
        objects=parse_objects("car person", False), shared_input=False, folder=Path("/job/comp/out"),
        order=parse_order("5: person car"),
    )  # fmt: skip
    job = make_job(
        settings, Clip("/job/plates/p.%04d.exr", "ACEScg"), (Clip("/x/c.png"), Clip("/x/p.png")), FrameRange(1, 9)
    )
    assert job.plate.path == "../../../plates/p.%04d.exr"
    assert job.masks[0].path == "/x/c.png"
    assert (job.masks[0].offset, str(job.plate.frames)) == (0, "1-9")
    assert job.order_at(4) == ("car", "person")
    assert job.order_at(5) == ("person", "car")
    moved = job.resolved(Path("/elsewhere/comp/out/from-nuke"))
    assert Path(moved.plate.path).resolve() == Path("/elsewhere/plates/p.%04d.exr")
    assert job_from_dict(job.to_dict()) == job


@pytest.mark.parametrize(
    ("read", "script", "color"),
    [
        (ReadFacts("/a/p.%04d.exr", "default (linear)"), ScriptColor(), "auto"),
        (ReadFacts("/a/p.####.exr", "anything", raw=True), OCIO, "auto"),
        (ReadFacts("/a/p.%04d.exr", "ACES - ACEScg"), OCIO, "auto"),
        (ReadFacts("/a/p.%04d.exr", "default (ACES - ACEScg)"), OCIO, "auto"),
        (ReadFacts("/a/p.%04d.exr", "AlexaV3LogC"), ScriptColor(), None),
        (ReadFacts("/a/p.%04d.png", "default (sRGB)"), ScriptColor(), "srgb_tx"),
        (ReadFacts("/a/p.%04d.png", "sRGB"), OCIO, None),
        (ReadFacts("/a/p.%04d.png", "sRGB", raw=True), ScriptColor(), None),
        (ReadFacts("/a/p.%04d.dpx", "Cineon"), ScriptColor(), None),
        (ReadFacts("/a/p.mov", "sRGB"), ScriptColor(), None),
        (ReadFacts("/a/p.%04d.exr", "linear", premultiplied=True), ScriptColor(), None),
        (ReadFacts("/a/p.%04d.exr", "linear", shifted=True), ScriptColor(), None),
        (ReadFacts("/a/p.%04d.exr", "linear", disabled=True), ScriptColor(), None),
        (ReadFacts("/a/p.%V.%04d.exr", "linear"), ScriptColor(), None),
        (ReadFacts("/a/still.exr", "linear"), ScriptColor(), None),
        (ReadFacts("a/p.%04d.exr", "linear"), ScriptColor(), None),
        (ReadFacts("C:/a/p.%04d.exr", "linear"), ScriptColor(), "auto"),
        (ReadFacts("//server/a/p.%04d.exr", "linear"), ScriptColor(), "auto"),
        (ReadFacts("/a/p.%04d.exr", "linear", stereo=True), ScriptColor(), None),
    ],
)
def test_only_a_read_whose_pixels_are_those_of_its_files_is_passed_by_path(read, script, color):
    found = plate_clip(read, script)
    assert (None if found is None else found.color) == color


def test_masks_are_data_whatever_their_colour_space():
    read = ReadFacts("/a/m.%04d.png", "sRGB")
    assert mask_clip(read, None) == Clip(read.file)
    assert mask_clip(read, "roto.car") is None
    assert mask_clip(ReadFacts("/a/m.mov"), None) is None
    assert mask_clip(ReadFacts("a/m.%04d.png"), None) is None
    assert mask_clip(ReadFacts("/a/m.%04d.exr", stereo=True), None) is None


@pytest.mark.parametrize(
    ("script", "name"),
    [
        (ScriptColor(), "lin_rec709"),
        (OCIO, "ACEScg"),
        (ScriptColor("OCIO", "fn-nuke_cg-config-v1.0.0", "scene_linear"), "ACEScg"),
        (ScriptColor("OCIO", "nuke-default", "scene_linear"), "lin_rec709"),
        (ScriptColor("OCIO", "custom", "Show Linear"), "Show Linear"),
    ],
)
def test_the_working_space_has_a_name_the_engine_knows(script, name):
    from penumbra.read import check_color_space

    assert space_name(script) == name
    if name != "Show Linear":
        check_color_space(name)
