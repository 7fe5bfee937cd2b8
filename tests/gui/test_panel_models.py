import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penumbra.errors import JobError, OutputError
from penumbra.events import Event
from penumbra.job import Job, MaskSettings, OutputSettings, PlateSettings, RefineSettings
from penumbra_gui.models.checks import MaskFacts, Verdict
from penumbra_gui.models.display import DisplayTransform, displays, usual_view
from penumbra_gui.models.drops import sort_dropped
from penumbra_gui.models.engine_setup import examine_engine
from penumbra_gui.models.frame_cache import FrameCache
from penumbra_gui.models.job_queue import JobQueue
from penumbra_gui.models.outputs import (
    export_preview,
    finished_frames,
    look_at_folder,
    nodes_text,
    open_output,
    refine_more,
)
from penumbra_gui.models.picture import Scene, ViewSettings, draw, sources_of
from penumbra_gui.models.preferences import Preferences, load_preferences, save_preferences
from penumbra_gui.models.project import Project, name_of, next_folder
from penumbra_gui.models.run_state import RunState, time_left
from penumbra_gui.models.timeline import Timeline

PLATE = PlateSettings("/shots/a/plate.%04d.exr")


def project(*names):
    return Project(PLATE, tuple(MaskSettings(name, f"/shots/a/{name}.mov") for name in names), "/shots/a/layers")


def job_of(folder, *names):
    return Job(PLATE, tuple(MaskSettings(name, f"/m/{name}.mov") for name in names), OutputSettings(str(folder)))


def test_models_import_neither_qt_nor_torch_nor_onnxruntime():
    models = Path(sys.modules["penumbra_gui.models.project"].__file__).parent
    names = [f"penumbra_gui.models.{path.stem}" for path in models.glob("*.py") if path.stem != "__init__"]
    code = (
        f"import sys, importlib; [importlib.import_module(n) for n in {names!r}];"
        "print([m for m in ('PySide6', 'torch', 'onnxruntime', 'penumbra.read', 'av') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_project_without_a_part_says_which():
    for missing, word in ((Project(), "plate"), (replace(project("car"), masks=()), "mask")):
        with pytest.raises(JobError, match=word):
            missing.job()
    with pytest.raises(JobError, match="output folder"):
        replace(project("car"), folder="").job()


def test_a_job_survives_the_project():
    job = replace(project("car", "person").job(), refine=RefineSettings(steps=30))
    assert Project.of_job(job).job() == job


def test_a_taken_name_is_refused_as_the_command_line_refuses_it():
    with pytest.raises(JobError, match="Two masks are called 'car'"):
        project("car", "person").with_changed_mask(1, name="car")


def test_renaming_and_reordering_keep_the_order_in_step():
    renamed = project("car", "person").with_changed_mask(0, name="truck")
    assert renamed.names == ("truck", "person")
    assert renamed.with_order(["person", "truck"]).order_at(1) == ("person", "truck")


@given(st.text(min_size=1, max_size=40).filter(lambda text: "/" not in text and "\0" not in text and text not in "..."))
@settings(max_examples=60, deadline=None)
def test_any_file_name_makes_a_name_hosts_take(text):
    MaskSettings(name_of(f"/roto/{text}.png", ["mask", "car"]), "x")


def test_names_come_from_files_without_numbers_and_versions():
    assert name_of("/r/car_v003.%04d.exr", ()) == "car"
    assert name_of("/r/person.1001.png", ("person",)) == "person_2"
    assert name_of("/roto/bike/0001.png", ()) == "bike"


def test_the_next_folder_is_free(tmp_path):
    first = str(tmp_path / "layers")
    assert next_folder(first) == first + "_v002"
    (tmp_path / "layers_v002").mkdir()
    assert next_folder(first) == first + "_v003"
    assert next_folder(first + "_v002") == first + "_v003"


def test_playing_loops_between_in_and_out():
    line = Timeline.of_range(1, 10, 24.0).at(4).with_start().at(7).with_end()
    seen = []
    line = line.at(6).play(1)
    for _ in range(4):
        line = line.at(line.following())
        seen.append(line.current)
    assert seen == [7, 4, 5, 6]
    assert replace(line.at(7), loop=False).following() == 7
    assert line.play(1).speed == 2
    assert line.play(-1).speed == -1


@given(st.integers(-50, 50), st.integers(0, 40), st.lists(st.sampled_from("IOJKLsb"), max_size=20))
@settings(max_examples=80, deadline=None)
def test_the_timeline_never_leaves_the_clip(first, length, keys):
    line = Timeline.of_range(first, first + length, None)
    for key in keys:
        step = {
            "I": line.with_start, "O": line.with_end, "J": lambda: line.play(-1), "K": line.pause,  # noqa: B023
            "L": lambda: line.play(1), "s": lambda: line.step(3), "b": lambda: line.at(line.following()),  # noqa: B023
        }  # fmt: skip
        line = step[key]()
        assert first <= line.start <= line.end <= first + length
        assert first <= line.current <= first + length
        assert first <= line.following(5) <= first + length


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 60)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_the_cache_never_holds_more_than_its_bound(puts):
    cache = FrameCache(100)
    for key, size in puts:
        cache.put(key, key, size)
        assert cache.used <= 100
    assert cache.used >= 0
    cache.clear()
    assert (cache.used, cache.keys()) == (0, [])


def test_the_least_recently_used_goes_first():
    cache = FrameCache(3)
    for key in "abc":
        cache.put(key, key, 1)
    cache.get("a")
    cache.put("d", "d", 1)
    assert cache.keys() == ["c", "a", "d"]


def test_a_run_told_by_events():
    state = RunState()
    state.begin()
    for event in (
        Event("stage", "refine", message="Learning the shot"),
        Event("progress", "refine", 10, 200, 3.0, 57.0, values={"loss": 0.5}),
        Event("preview", "refine", path="/x.png"),
        Event("warning", message="Odd."),
    ):
        assert state.take(event)
    assert (state.stage, state.done, state.total, state.eta) == ("refine", 10, 200, 57.0)
    assert (state.losses, state.preview, state.warnings) == ([(10, 0.5)], "/x.png", ["Odd."])
    state.end(0)
    assert state.status == "done"


@pytest.mark.parametrize(
    "broken",
    [
        Event("progress", done="x"),
        Event("progress", total=None),
        Event("progress", eta="soon"),
        Event("progress", values=[1]),
        Event("stage", stage=7),
        Event("preview", path=None),
    ],
)
def test_a_broken_event_changes_nothing(broken):
    state = RunState()
    state.begin()
    before = replace(state)
    assert not state.take(broken)
    assert state == before


def test_an_engine_that_dies_without_a_word_is_a_sentence_and_can_be_resumed():
    state = RunState()
    state.begin()
    state.take(Event("stage", "lift"))
    state.end(-9)
    assert state.resumable
    assert "ended unexpectedly in the stage lift, by signal 9" in state.error.text
    assert "Resume" in state.error.fix


def test_stopping_is_no_failure():
    state = RunState()
    state.begin()
    state.status = "stopping"
    state.take(Event("error", code="stopped", message="Stopped on request."))
    state.end(130)
    assert (state.status, state.error) == ("stopped", None)


def test_time_left_reads_like_a_clock():
    assert [time_left(x) for x in (None, 65, 7380, float("nan"))] == ["", "1:05", "2:03:00", ""]


def test_jobs_wait_for_each_other(tmp_path):
    queue = JobQueue(tmp_path / "jobs")
    first, second = queue.add(job_of("a", "car")), queue.add(job_of("b", "car"))
    assert json.loads(first.file.read_text())["output"]["folder"] == "a"
    first.state.begin()
    assert queue.next_waiting() is None
    queue.remove(first.number)
    assert queue.jobs == [first, second]
    first.state.end(0)
    assert queue.next_waiting() is second


def manifest(folder, **changes):
    body = {
        "penumbra_manifest": 1,
        "job": job_of("/elsewhere", "car").to_dict(),
        "order": {"1001": ["car"], "1002": ["car"]},
        "objects": [{"name": "car", "color": "#ff0000"}],
        "totals": {"recomposition_max": 0.0005},
        "warnings": [],
    }
    (folder / "manifest.json").write_text(json.dumps({**body, **changes}))


def test_a_finished_folder_is_its_own_output_wherever_it_was_moved(tmp_path):
    manifest(tmp_path)
    output = open_output(tmp_path)
    assert output.job.output.folder == str(tmp_path)
    assert output.frames == (1001, 1002)


@pytest.mark.parametrize("changes", [{"penumbra_manifest": 9}, {"order": None}, {"job": []}, {"objects": [3]}])
def test_a_manifest_that_is_not_whole_is_a_sentence(tmp_path, changes):
    manifest(tmp_path, **changes)
    with pytest.raises((OutputError, JobError)):
        open_output(tmp_path)


def test_a_frame_is_finished_when_all_its_files_are_there(tmp_path):
    for name, numbers in (("background", (-5, 7)), ("car", (-5, 8))):
        (tmp_path / name).mkdir()
        for number in numbers:
            (tmp_path / name / f"{name}.{number:04d}.exr").touch()
    (tmp_path / "car" / ".penumbra-tmp-x.exr").touch()
    assert finished_frames(tmp_path, ("car",)) == {-5}
    assert finished_frames(tmp_path / "none", ("car",)) == frozenset()


def test_what_is_not_there_cannot_be_taken_away(tmp_path):
    with pytest.raises(OutputError, match=r"layers\.nk"):
        nodes_text(tmp_path, "Nuke")
    with pytest.raises(OutputError, match="preview movie"):
        export_preview(tmp_path, tmp_path / "x.mp4")
    (tmp_path / "layers.setting").write_text("{ Tools = {} }")
    assert nodes_text(tmp_path, "Fusion") == "{ Tools = {} }"


def test_refining_more_goes_on_from_what_was_learnt_into_another_folder(tmp_path):
    folder = tmp_path / "layers"
    (folder / ".penumbra").mkdir(parents=True)
    learnt = folder / ".penumbra" / "refined.safetensors"
    learnt.touch()
    job = refine_more(job_of(folder, "car"), RefineSettings(minutes=5))
    assert (job.model.weights, job.output.folder) == (str(learnt), str(folder) + "_v002")
    with pytest.raises(JobError, match="More refinement needs"):
        refine_more(job_of(folder, "car"), RefineSettings())


def test_preferences_survive_and_nonsense_does_not(tmp_path):
    path = tmp_path / "deep" / "preferences.json"
    kept = Preferences(cache_mib=2048, recent=("/a",)).with_recent("/b").with_recent("/a")
    assert kept.recent == ("/a", "/b")
    save_preferences(kept, path)
    assert load_preferences(path) == kept
    path.write_text('{"cache_mib": "much", "recent": [1, "/c"], "engine": null, "other": 1}')
    assert load_preferences(path) == Preferences(recent=("/c",))
    path.write_text("{")
    assert load_preferences(path) == Preferences()


def test_dropped_files_of_a_sequence_count_once_and_masks_are_told_by_name(tmp_path):
    for number in range(3):
        (tmp_path / f"shot.{number}.exr").touch()
        (tmp_path / f"car_mask.{number}.exr").touch()
    dropped = sort_dropped([str(path) for path in sorted(tmp_path.iterdir())], has_plate=False)
    assert Path(dropped.plate).name == "shot.0.exr"
    assert [Path(mask).name for mask in dropped.masks] == ["car_mask.0.exr"]
    assert sort_dropped([dropped.plate], has_plate=True).masks == (dropped.plate,)
    manifest(tmp_path)
    assert sort_dropped([str(tmp_path)], has_plate=True).output == str(tmp_path)
    assert sort_dropped(["/x/shot.json"], has_plate=True).job == "/x/shot.json"


def test_a_folder_of_several_clips_counts_as_these(tmp_path):
    masks, plate = tmp_path / "masks", tmp_path / "plate"
    for folder, names in ((masks, ("car", "dog")), (plate, ("shot",))):
        folder.mkdir()
        (folder / "notes.txt").touch()
        for name in names:
            for number in range(2):
                (folder / f"{name}.{number}.png").touch()
    dropped = sort_dropped([str(masks), str(plate)], has_plate=False)
    assert dropped.plate == str(plate)
    assert [Path(mask).name for mask in dropped.masks] == ["car.0.png", "dog.0.png"]
    each = tmp_path / "each"
    for name in ("01", "02"):
        (each / name).mkdir(parents=True)
    assert [Path(mask).name for mask in sort_dropped([str(each)], has_plate=True).masks] == ["01", "02"]


def test_an_unfinished_folder_is_found_with_its_newest_job(tmp_path):
    queue, folder = JobQueue(tmp_path / "jobs"), tmp_path / "layers"
    (folder / ".penumbra").mkdir(parents=True)
    (folder / ".penumbra" / "journal.json").write_text("{}")
    assert sort_dropped([str(folder)], has_plate=True).output == str(folder)
    for name in ("car", "dog"):
        queue.add(job_of(folder, name))
    queue.add(job_of(tmp_path / "other", "cat"))
    (tmp_path / "jobs" / "job_9999.json").write_text("{")
    found = JobQueue(tmp_path / "jobs").file_of(folder)
    assert json.loads(found.read_text())["masks"][0]["name"] == "dog"
    assert queue.file_of(tmp_path / "nowhere") is None


def test_what_a_folder_holds_is_told(tmp_path):
    plate, folder = "/shots/a/plate.%04d.exr", tmp_path / "layers"
    assert look_at_folder(str(folder), plate, ("car",), None).note is None
    (folder / ".penumbra").mkdir(parents=True)
    (folder / ".penumbra" / "journal.json").write_text("{}")
    begun = look_at_folder(str(folder), plate, ("car",), None)
    assert begun.begun
    assert "can be resumed" in str(begun.note)
    manifest(folder)
    whole = look_at_folder(str(folder), plate, ("car",), None)
    assert (whole.begun, whole.output.frames) == (False, (1001, 1002))
    # Another clip's layers are none of this one's.
    assert look_at_folder(str(folder), "/other.mov", ("car",), None).output is None
    (tmp_path / "file").touch()
    assert look_at_folder(str(tmp_path / "file" / "x"), plate, (), None).note.severity == "error"


def test_a_mask_of_an_id_image_is_split_into_its_values():
    split = project("ids", "car").with_split_mask(0, ["id:64", "id:1.5", "color:FF0000"])
    assert split.names == ("ids_64", "ids_1_5", "ids_FF0000", "car")
    assert [mask.channel for mask in split.masks] == ["id:64", "id:1.5", "color:FF0000", "auto"]
    assert project("id", "id_64").with_split_mask(0, ["id:64"]).names == ("id_64_2", "id_64")


def test_what_the_window_does_not_show_of_a_job_is_kept():
    output = OutputSettings("/shots/a/layers", clean=True, splits=True, combined="multipart")
    job = replace(project("car").job(), output=output)
    assert Project.of_job(job).job() == job


def test_a_new_clip_begins_as_the_last_one_was_left():
    last = replace(project("car"), refine=RefineSettings(minutes=15), precision="float", splits=True)
    usual = Preferences().with_usual(last).new_project()
    assert (usual.refine, usual.precision, usual.splits, usual.masks) == (last.refine, "float", True, ())
    assert Preferences().with_usual(replace(last, refine=RefineSettings())).new_project().refine.off
    # Steps are a matter of one shot, and a file that someone has edited may hold anything.
    steps = Preferences(minutes=2.0).with_usual(replace(last, refine=RefineSettings(steps=9)))
    assert steps.new_project().refine.minutes == 2.0
    assert Preferences(precision="double", compression="", minutes=-1.0).new_project() == Project(
        refine=RefineSettings()
    )


def test_a_start_says_which_mask_has_to_be_mended():
    wrong = {"code": "x", "message": "It lacks frames.", "fix": ""}
    facts = {
        "first": 1, "last": 2, "width": 4, "height": 4, "canvas": [0, 0, 4, 4], "pixel_aspect": 1.0, "fps": None,
        "space": "lin_rec709", "source_space": "lin_rec709",
    }  # fmt: skip
    masks = [{"name": "car", "error": wrong}, {"name": "dog"}]
    verdict = Verdict.of_answer({"plate": {"facts": facts}, "masks": masks, "clean_plate": None})
    assert verdict.first_error == "To be mended first: mask car."
    assert not verdict.usable


def test_an_id_image_offers_its_values_and_a_matte_does_not():
    matte = {"name": "a", "channels": ["Y"], "id_values": [0, 255]}
    assert MaskFacts.of_answer(matte).choices() == ("auto", "luminance")
    ids = {
        "name": "a",
        "channels": ["R", "G", "B"],
        "id_values": [0, 1, 2],
        "id_colors": ["000000", "FF0000", "00FF00"],
    }
    assert MaskFacts.of_answer(ids).choices()[-4:] == ("id:1", "id:2", "color:FF0000", "color:00FF00")


def test_an_answer_that_is_an_error_is_a_verdict_too():
    verdict = Verdict.of_answer({"error": {"code": "x", "message": "No.", "fix": "Do."}})
    assert not verdict.usable
    assert str(verdict.sentences[0]) == "No. Do."


@pytest.fixture(scope="module")
def plain():
    return DisplayTransform("lin_rec709", *usual_view("lin_rec709"))


def test_every_view_is_what_opencolorio_says(plain):
    colors = np.random.default_rng(1).random((200, 3)).astype(np.float32) ** 3 * 4
    display = next(iter(displays()))
    for view in displays()[display]:
        transform = DisplayTransform("ACEScg", display, view)
        found, exact = transform(colors[None])[0], transform._exact(colors)
        # Much of this light lies far outside the display's gamut, where a lattice is at its worst.
        assert np.abs(found - exact).mean() < 4e-3, view
        assert np.quantile(np.abs(found - exact), 0.95) < 0.015, view
    srgb = np.where(colors < 0.0031308, 12.92 * colors, 1.055 * colors ** (1 / 2.4) - 0.055).clip(0, 1)
    np.testing.assert_allclose(plain(colors[None])[0], srgb, atol=2e-3)


def test_values_no_display_can_show_are_shown_as_black_or_white(plain):
    odd = np.array([[[-1.0, np.inf, np.nan], [1e9, 0.0, -np.inf]]], np.float32)
    np.testing.assert_array_equal(plain(odd), [[[0, 1, 0], [1, 0, 0]]])


def frames():
    half = np.float16
    layer = np.zeros((4, 6, 4), half)
    layer[1:3, 1:3] = (0.2, 0.1, 0.0, 0.5)
    front = np.zeros((4, 6, 4), half)
    front[:, 4:] = (0.0, 0.0, 0.0, 1.0)
    return {
        "layer:car": layer, "layer:dog": front, "background": np.full((4, 6, 3), 0.5, half),
        "plate": np.full((4, 6, 3), 0.25, half), "mask:car": (layer[..., 3:] * 2).astype(half),
    }  # fmt: skip


SCENE = Scene(("car", "dog"), ("car",), {"car": (255, 0, 0)})


def drawn(plain, **view):
    settings = ViewSettings(content="layers", outlines=False, **view)
    given = frames()
    kept = {name: given[name] for name in sources_of(settings, SCENE)}
    return draw(settings, SCENE, kept, plain, (0, 0, 6, 4), 1).linear.astype(np.float32)


def test_layers_are_laid_over_the_backdrop_back_to_front(plain):
    linear = drawn(plain)
    np.testing.assert_allclose(linear[1, 1], [0.45, 0.35, 0.25, 0.5], atol=1e-3)
    np.testing.assert_allclose(linear[0, 0], [0.5, 0.5, 0.5, 0], atol=1e-3)
    np.testing.assert_allclose(linear[0, 5], [0, 0, 0, 1], atol=1e-3)
    np.testing.assert_allclose(drawn(plain, hidden=frozenset({"dog"}))[0, 5], [0.5, 0.5, 0.5, 0], atol=1e-3)
    np.testing.assert_allclose(drawn(plain, solo="dog", backdrop="white")[1, 1], [1, 1, 1, 0], atol=1e-3)
    np.testing.assert_allclose(drawn(plain, opacity=(("dog", 0.5),))[0, 5], [0.25, 0.25, 0.25, 0.5], atol=1e-3)


def test_wipe_and_difference_compare_with_the_plate(plain):
    view, given = ViewSettings(content="layers", compare="wipe"), frames()
    wiped = draw(view, SCENE, given, plain, (0, 0, 6, 4), 1)
    np.testing.assert_allclose(wiped.linear[0, 0, 0], 0.5, atol=1e-3)
    np.testing.assert_allclose(wiped.other.linear[..., 0], 0.25, atol=1e-3)
    assert wiped.size == 2 * wiped.other.size
    np.testing.assert_allclose(drawn(plain, compare="difference", gain=4.0)[0, 0, :3], 1.0, atol=1e-2)


def test_channels_are_seen_alone(plain):
    view = ViewSettings(content="layers", channel="A", outlines=True)
    picture = draw(view, SCENE, frames(), plain, (0, 0, 6, 4), 1)
    assert picture.pixels[0, 5, :3].tolist() == [255, 255, 255]
    # The outline is red in Qt's order of blue, green, red.
    assert picture.pixels[0, 1, :3].tolist() == [0, 0, 255]
    red = draw(
        replace(view, channel="R", outlines=False, solo="car", backdrop="black"),
        SCENE,
        frames(),
        plain,
        (0, 0, 6, 4),
        1,
    )
    assert len(set(red.pixels[1, 1, :3].tolist())) == 1


def test_an_engine_that_is_none_is_told_of(tmp_path):
    nothing = examine_engine(str(tmp_path / "python"))
    assert "There is no Python at" in nothing.problem.text
    fake = tmp_path / "fake"
    fake.write_text("#!/bin/sh\necho nothing here >&2; exit 3\n")
    fake.chmod(0o755)
    assert "holds no Penumbra engine: nothing here" in examine_engine(str(fake)).problem.text
    for line, code, word in (
        ("Penumbra 9.9.0, Python 3.11", 0, "engine is version 9.9.0"),
        ("Penumbra 0.1.0, Python 3.11\ncv2 MISSING (no)", 1, "lacks cv2"),
        ("Penumbra 0.1.0, Python 3.11\ntorch MISSING (no)", 0, "Refinement is not available"),
    ):
        fake.write_text(f"#!/bin/sh\ncat <<'X'\n{line}\nX\nexit {code}\n")
        assert word in examine_engine(str(fake)).problem.text
