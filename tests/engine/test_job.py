"""Jobs: what is accepted, what is refused with which sentence, and that JSON holds all of it."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, validate

from penumbra.errors import JobError, ObjectNameError
from penumbra.job import (
    CameraSettings,
    CleanPlateSettings,
    FrameRange,
    Job,
    MaskSettings,
    ModelSettings,
    OrderSettings,
    OutputSettings,
    PlateSettings,
    RefineSettings,
    check_object_name,
    job_from_dict,
    json_schema,
    load_job,
)

JOB = Job(
    plate=PlateSettings("plate.%04d.exr", FrameRange(-5, 1100), "ACEScg", "auto"),
    masks=(MaskSettings("car", "car.mov", "id:3", True, -7), MaskSettings("Person_2", "p.####.exr", "channel:roto.p")),
    output=OutputSettings("out", "float", "piz", False, True),
    order=(OrderSettings(("car", "Person_2")), OrderSettings(("Person_2", "car"), 1050)),
    clean_plate=CleanPlateSettings("clean.exr"),
    camera=CameraSettings("file", "h.txt"),
    refine=RefineSettings(minutes=2.5),
    model=ModelSettings("own.safetensors", (128, 224), 7, "cuda"),
)


def test_json_holds_all_of_a_job_and_fits_its_schema():
    data = json.loads(JOB.to_json())
    assert job_from_dict(data) == JOB
    Draft202012Validator.check_schema(json_schema())
    validate(data, json_schema())


def test_relative_paths_resolve_against_the_job_file(tmp_path):
    (tmp_path / "shot.json").write_text(JOB.to_json())
    job = load_job(tmp_path / "shot.json")
    assert job.plate.path == str(tmp_path / "plate.%04d.exr")
    assert job.output.folder == str(tmp_path / "out")
    assert job.camera.path == str(tmp_path / "h.txt")
    assert job.model.weights == str(tmp_path / "own.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"plates": {}}, "unknown key 'plates'"),
        ({"penumbra_job": 2}, "version is 2"),
        ({"plate": {"path": 3}}, "job.plate.path must be of type string"),
        ({"plate": {}}, "lacks 'path'"),
        ({"masks": []}, r"job.masks has 0 entries"),
        ({"masks": [{"name": "a", "path": "m", "invert": 1}]}, r"job.masks\[0\].invert must be of type boolean"),
        ({"refine": {"steps": 5, "minutes": 5}}, "both in steps and in minutes"),
        ({"refine": {"steps": True}}, "must be of type integer"),
        ({"output": {"folder": "o", "precision": "double"}}, "job.output.precision is 'double'"),
        ({"model": {"working_size": [100, 128]}}, "multiples of 16"),
        ({"order": [{"objects": ["car"]}]}, "does not list every object"),
        ({"camera": {"mode": "file"}}, "Camera mode"),
    ],
)
def test_what_is_wrong_is_named(change, words):
    with pytest.raises(JobError, match=words):
        job_from_dict({**JOB.to_dict(), **change})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    ),
    st.sampled_from(sorted(JOB.to_dict())),
)
def test_any_json_is_either_a_job_or_a_sentence(junk, key):
    for data in (junk, {**JOB.to_dict(), key: junk}):
        with contextlib.suppress(JobError):
            assert isinstance(job_from_dict(data), Job)


@pytest.mark.parametrize("name", ["01", "2.Y", "rgba", "Background", "a b", "é", "", "x" * 32, "a/../b", "con"])
def test_names_a_host_cannot_take_are_refused_with_one_it_can(name):
    with pytest.raises(ObjectNameError) as caught:
        check_object_name(name)
    suggestion = caught.value.fix.split("'")[1]
    assert check_object_name(suggestion) == suggestion


def test_two_names_that_differ_in_case_are_one_folder_on_some_systems():
    with pytest.raises(JobError, match="Two masks"):
        Job(PlateSettings("p"), (MaskSettings("Car", "a"), MaskSettings("car", "b")), OutputSettings("o"))


def test_order_changes_from_a_frame_on():
    assert JOB.order_at(0) == ("car", "Person_2")
    assert JOB.order_at(1049) == ("car", "Person_2")
    assert JOB.order_at(1050) == ("Person_2", "car")


@pytest.mark.parametrize(
    ("text", "frames"), [("1001-1100", (1001, 1100)), ("7", (7, 7)), ("-5--2", (-5, -2)), ("-5-3", (-5, 3))]
)
def test_frame_ranges(text, frames):
    assert FrameRange.parse(text) == FrameRange(*frames)


@pytest.mark.parametrize("text", ["", "a", "1-", "9-3", "1001-1100x2", "1.5"])
def test_frame_ranges_that_are_none(text):
    with pytest.raises(JobError, match="Frame range"):
        FrameRange.parse(text)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("off", RefineSettings()),
        ("200", RefineSettings(200)),
        ("5min", RefineSettings(minutes=5)),
        ("0.5 MIN", RefineSettings(minutes=0.5)),
    ],
)
def test_refinement(text, settings):
    assert RefineSettings.parse(text) == settings


@pytest.mark.parametrize("text", ["on", "-5", "0", "0min", "5h", "inf"])
def test_refinement_that_is_none(text):
    with pytest.raises(JobError, match="Refinement"):
        RefineSettings.parse(text)
