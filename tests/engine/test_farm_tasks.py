"""A job's tasks, run apart: in any order a farm may choose, again, side by side, where the storage has another name."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from engine.test_pipeline import digests, left_behind
from engine.tiny_clip import FIRST, FRAMES, tiny_job, write_clip
from penumbra import errors
from penumbra.events import parse_event
from penumbra.farm.path_mapping import load_path_mapping
from penumbra.job import CleanPlateSettings, ModelSettings
from penumbra.launch import child_environment
from penumbra.pipeline import run
from penumbra.storage import TEMPORARY_PREFIX
from penumbra.tasks import Task
from penumbra.write import load_manifest

LAST = FIRST + FRAMES - 1
EVERY_FRAME = range(FIRST, LAST + 1)


def farm_job(folder, **output):
    """The tiny clip with the shipped weights, which need no torch."""
    return replace(tiny_job(folder, **output), model=ModelSettings(working_size=(32, 32)))


def work(job, name, frames=None, **options):
    """One task; what it said."""
    said = []
    run(job, said.append, task=Task(name, None if frames is None else tuple(frames)), **options)
    return said


def everything(job, chunk=3, **options):
    work(job, "prepare", **options)
    work(job, "refine", **options)
    for start in range(FIRST, LAST + 1, chunk):
        work(job, "frames", range(start, min(start + chunk, LAST + 1)), **options)
    work(job, "finish", **options)


def result(folder):
    """Every file of a finished folder but the manifest, which is given without its times."""
    manifest = load_manifest(folder)
    assert {"read", "lift"} <= manifest.pop("seconds").keys()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and ".penumbra" not in path.parts]
    rest = {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != "manifest.json"}
    return manifest, rest


def written(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.exr")}


@pytest.fixture
def clip(tmp_path):
    """A clip whose job has been done by one run; the run's result has been moved aside to ``single``."""
    shot = tmp_path / "shot"
    shot.mkdir()
    write_clip(shot)
    job = farm_job(shot, previews=True)
    run(job, lambda event: None)
    (shot / "out").rename(tmp_path / "single")
    return shot


@pytest.fixture
def job(clip):
    return farm_job(clip, previews=True)


def test_tasks_end_in_the_bytes_of_one_run_whatever_the_chunks_and_their_order(clip, job, tmp_path):
    work(job, "prepare")
    work(job, "refine")
    work(job, "frames", [LAST - 1, LAST])
    work(job, "frames", range(FIRST, LAST + 1, 2))
    work(job, "frames", range(FIRST, FIRST + 4))
    said = work(job, "finish")
    assert said[-1].event == "done"
    assert result(clip / "out") == result(tmp_path / "single")
    assert not left_behind(clip)
    assert not (clip / "out" / ".penumbra" / "frames").exists()


def test_a_task_that_is_done_does_nothing_when_asked_again(clip, job, tmp_path):
    everything(job)
    before = written(clip / "out")
    everything(job, chunk=4)
    assert written(clip / "out") == before
    run(job, lambda event: None, resume=True)
    assert written(clip / "out") == before
    assert result(clip / "out") == result(tmp_path / "single")


def test_a_whole_run_goes_on_from_what_tasks_have_done(clip, job, tmp_path):
    work(job, "prepare")
    work(job, "refine")
    work(job, "frames", [FIRST + 1, FIRST + 4])
    before = written(clip / "out")
    stages = []
    run(job, lambda event: stages.append(event.stage), resume=True)
    assert {path: time for path, time in written(clip / "out").items() if path in before} == before
    assert result(clip / "out") == result(tmp_path / "single")


@pytest.mark.parametrize(
    ("done", "task", "words"),
    [
        ([], "refine", r"Nothing is prepared.*--stage prepare"),
        ([], "frames", r"Nothing is prepared.*--stage prepare"),
        (["prepare"], "frames", r"'refine' .* not finished.*--stage refine"),
        (["prepare"], "finish", r"'refine' .* not finished.*--stage refine"),
        (["prepare", "refine"], "finish", rf"Frames {FIRST}-{LAST} are not finished.*--frames {FIRST}-{LAST}"),
    ],
)
def test_a_task_before_its_forerunners_is_refused_with_what_to_run_first(tmp_path, done, task, words):
    write_clip(tmp_path)
    job = farm_job(tmp_path)
    for name in done:
        work(job, name)
    with pytest.raises(errors.StageOrderError, match=words) as caught:
        work(job, task)
    assert caught.value.exit_code == 4
    assert not list(tmp_path.rglob("*.exr.*"))


def test_finish_names_the_frames_it_waits_for(tmp_path):
    write_clip(tmp_path)
    job = farm_job(tmp_path)
    work(job, "prepare")
    work(job, "refine")
    work(job, "frames", [FIRST, FIRST + 3, FIRST + 4])
    missing = rf"Frames {FIRST + 1}-{FIRST + 2}, {LAST} are not finished.*--frames {FIRST + 1}-{FIRST + 2},{LAST}"
    with pytest.raises(errors.StageOrderError, match=missing):
        work(job, "finish")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_frames_that_the_plate_does_not_have_are_refused(tmp_path):
    write_clip(tmp_path)
    job = farm_job(tmp_path)
    work(job, "prepare")
    with pytest.raises(errors.JobError, match=rf"no frame {LAST + 1}-{LAST + 2}.* from {FIRST} to {LAST}"):
        work(job, "frames", [LAST, LAST + 1, LAST + 2])
    with pytest.raises(errors.JobError, match="--stage prepare means nothing"):
        work(job, "prepare", [FIRST])
    with pytest.raises(errors.JobError, match=r"'render' is not known.*prepare, refine, frames, finish"):
        Task("render")


def test_a_failed_chunk_keeps_what_it_finished_and_its_retry_makes_only_the_rest(clip, job, tmp_path):
    work(job, "prepare")
    work(job, "refine")
    in_the_way = clip / "out" / "box" / f"box.{FIRST + 3}.exr"
    in_the_way.mkdir(parents=True)
    with pytest.raises(errors.OutputError, match=in_the_way.name):
        work(job, "frames", EVERY_FRAME)
    finished = [path.stem for path in (clip / "out" / ".penumbra" / "frames").iterdir()]
    assert str(FIRST) in finished
    assert str(FIRST + 3) not in finished
    kept = {path: time for path, time in written(clip / "out").items() if path.stem.split(".")[1] in finished}
    in_the_way.rmdir()
    work(job, "frames", EVERY_FRAME)
    assert {path: time for path, time in written(clip / "out").items() if path in kept} == kept
    work(job, "finish")
    assert result(clip / "out") == result(tmp_path / "single")


def test_a_file_altered_after_its_task_is_found_by_finish_and_made_again(clip, job, tmp_path):
    work(job, "prepare")
    work(job, "refine")
    work(job, "frames", EVERY_FRAME)
    box = clip / "out" / "box"
    shutil.copy(box / f"box.{FIRST}.exr", box / f"box.{FIRST + 2}.exr")
    (box / f"box.{LAST}.exr").write_bytes(b"not an image")
    for number in (FIRST + 1, FIRST + 2):
        os.utime(box / f"box.{number}.exr", (1, 1))
    with pytest.raises(errors.OutputError, match=rf"Frames {FIRST + 2}, {LAST} are not as written"):
        work(job, "finish")
    before = written(clip / "out")
    work(job, "frames", EVERY_FRAME)
    changed = {path.name for path, time in written(clip / "out").items() if before[path] != time}
    assert changed == {f"{name}.{number}.exr" for name in ("box", "background") for number in (FIRST + 2, LAST)}
    work(job, "finish")
    assert result(clip / "out") == result(tmp_path / "single")


def test_a_lost_file_is_missed_by_finish_and_made_again_by_its_chunk(clip, job, tmp_path):
    work(job, "prepare")
    work(job, "refine")
    work(job, "frames", EVERY_FRAME)
    (clip / "out" / "background" / f"background.{FIRST + 1}.exr").unlink()
    with pytest.raises(errors.StageOrderError, match=f"Frame {FIRST + 1} is not finished"):
        work(job, "finish")
    work(job, "frames", EVERY_FRAME)
    work(job, "finish")
    assert result(clip / "out") == result(tmp_path / "single")


def test_chunks_run_at_the_same_time_by_processes_end_in_the_bytes_of_one_run(clip, job, tmp_path):
    file = clip / "job.json"
    file.write_text(job.to_json())
    work(job, "prepare")
    work(job, "refine")
    chunks = [f"{FIRST}-{FIRST + 3}", f"{FIRST + 2}-{LAST}", f"{FIRST}-{LAST}:2", f"{FIRST + 1},{LAST}"]
    command = [sys.executable, "-m", "penumbra", "decompose", "--job", str(file), "--stage", "frames", "--frames"]
    processes = [
        subprocess.Popen([*command, chunk], env=child_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for chunk in chunks
    ]
    for process in processes:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
    work(job, "finish")
    assert result(clip / "out") == result(tmp_path / "single")


def test_a_killed_chunk_is_taken_up_at_once_and_ends_in_the_same_bytes(tmp_path):
    write_clip(tmp_path, frames=24)
    job = farm_job(tmp_path)
    run(job, lambda event: None)
    (tmp_path / "out").rename(tmp_path / "single")
    (tmp_path / "job.json").write_text(job.to_json())
    work(job, "prepare")
    work(job, "refine")
    command = [sys.executable, "-m", "penumbra", "decompose", "--job", str(tmp_path / "job.json"), "--stage", "frames"]
    with subprocess.Popen([*command, "--json"], env=child_environment(), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            event = parse_event(line)
            if (event.event, event.stage) == ("progress", "lift"):
                break
        process.kill()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / ".penumbra" / "frames").iterdir()}
    assert 0 < len(kept) < 24
    work(job, "frames", range(FIRST, FIRST + 24))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    work(job, "finish")
    assert result(tmp_path / "out") == result(tmp_path / "single")
    assert not left_behind(tmp_path)


def test_storage_that_has_another_name_on_another_machine_is_the_same_job(clip, job, tmp_path):
    """Prepared where the job was written; then the storage moves, as it does in the eyes of a machine that mounts it
    elsewhere, and a path mapping says where to.
    """
    work(job, "prepare")
    elsewhere = tmp_path / "mounts" / "a"
    elsewhere.parent.mkdir()
    clip.rename(elsewhere)
    rule = {"source_path_format": "POSIX", "source_path": str(clip), "destination_path": str(elsewhere)}
    (tmp_path / "rules.json").write_text(json.dumps({"version": "pathmapping-1.0", "path_mapping_rules": [rule]}))
    here = job.with_paths(load_path_mapping(tmp_path / "rules.json"))
    for name in ("refine", "frames", "finish"):
        work(here, name, named=job)
    assert result(elsewhere / "out") == result(tmp_path / "single")


def test_paths_of_windows_are_found_where_a_rule_says(tmp_path):
    write_clip(tmp_path)
    job = farm_job(tmp_path)
    run(job, lambda event: None)
    before = digests(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    named = job.with_paths(lambda path: "S:\\shots\\a\\" + Path(path).name)
    rule = {"source_path_format": "WINDOWS", "source_path": "s:/shots/A", "destination_path": str(tmp_path)}
    (tmp_path / "rules.json").write_text(json.dumps({"version": "pathmapping-1.0", "path_mapping_rules": [rule]}))
    (tmp_path / "shot.json").write_text(named.to_json())
    command = [sys.executable, "-m", "penumbra", "decompose", "--job", str(tmp_path / "shot.json"), "--path-mapping"]
    done = subprocess.run(
        [*command, str(tmp_path / "rules.json")], env=child_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "out") == before
    manifest = load_manifest(tmp_path / "out")
    assert manifest["plate"]["path"] == "S:\\shots\\a\\plate.####.exr"
    assert manifest["objects"][0]["mask"] == "S:\\shots\\a\\mask.####.png"


def test_a_copy_that_keeps_times_to_the_second_is_the_same_job_and_a_changed_plate_is_not(tmp_path):
    write_clip(tmp_path)
    job = farm_job(tmp_path)
    work(job, "prepare")
    for path in tmp_path.glob("*.exr"):
        os.utime(path, (path.stat().st_mtime // 1, path.stat().st_mtime // 1))
    work(job, "refine")
    plate = tmp_path / f"plate.{FIRST}.exr"
    os.utime(plate, (1, 1))
    with pytest.raises(errors.OutputOfAnotherJobError, match="another job"):
        work(job, "frames")


def test_prepare_takes_over_another_jobs_folder_only_when_told_and_never_throws_its_own_work_away(tmp_path):
    write_clip(tmp_path)
    everything(farm_job(tmp_path))
    other = farm_job(tmp_path, precision="float")
    for name in ("prepare", "refine", "frames", "finish"):
        with pytest.raises(errors.OutputOfAnotherJobError, match="another job"):
            work(other, name)
    other = replace(other, output=replace(other.output, replace=True))
    work(other, "prepare")
    work(other, "refine")
    work(other, "frames", [FIRST])
    before = written(tmp_path / "out")
    assert {path.name for path in before} == {f"box.{FIRST}.exr", f"background.{FIRST}.exr"}
    work(other, "prepare")
    assert written(tmp_path / "out") == before


def test_a_task_that_asks_for_outputs_the_job_was_not_prepared_for_is_refused(tmp_path):
    write_clip(tmp_path)
    job = farm_job(tmp_path)
    work(job, "prepare")
    work(job, "refine")
    more = replace(job, output=replace(job.output, splits=True))
    with pytest.raises(errors.OutputOfAnotherJobError, match="prepared without the sequences box_light, box_object"):
        work(more, "frames", EVERY_FRAME)
    assert not written(tmp_path / "out")
    work(more, "prepare")
    work(more, "refine")
    work(more, "frames", EVERY_FRAME)
    work(more, "finish")
    assert len(list((tmp_path / "out" / "box_light").iterdir())) == FRAMES


def test_machines_with_different_versions_do_not_share_a_job(tmp_path, monkeypatch):
    write_clip(tmp_path)
    job = farm_job(tmp_path)
    work(job, "prepare")
    monkeypatch.setattr("penumbra.journal.__version__", "9.9.9")
    with pytest.raises(errors.OutputOfAnotherJobError, match="another version of Penumbra"):
        work(job, "refine")


def test_tasks_with_the_users_own_clean_plate_splits_and_combined_files(tmp_path):
    write_clip(tmp_path)
    shutil.copy(tmp_path / f"plate.{FIRST}.exr", tmp_path / "clean.exr")
    job = farm_job(tmp_path, splits=True, combined="multilayer", clean=True)
    job = replace(job, clean_plate=CleanPlateSettings(str(tmp_path / "clean.exr")))
    run(job, lambda event: None)
    (tmp_path / "out").rename(tmp_path / "single")
    everything(job, chunk=4)
    assert result(tmp_path / "out") == result(tmp_path / "single")


def test_a_chunk_waits_for_nobody_but_the_whole_folder_is_for_one_alone(tmp_path, monkeypatch):
    write_clip(tmp_path)
    job = farm_job(tmp_path)
    work(job, "prepare")
    work(job, "refine")
    monkeypatch.setattr("penumbra.pipeline.opening.TASK_PATIENCE", 0.0)
    anothers = tmp_path / "out" / f"{TEMPORARY_PREFIX}of-another-chunk.exr"
    anothers.touch()
    refused, beside = [], []

    def while_a_chunk_runs(event):
        if event.stage == "lift" and event.event == "progress" and not beside:
            beside.append(work(job, "frames", [LAST])[-1].event)
            for name in ("prepare", "refine", "finish"):
                with pytest.raises(errors.OutputInUseError) as caught:
                    work(job, name)
                refused.append(caught.value.code)

    run(job, while_a_chunk_runs, task=Task("frames", (FIRST, FIRST + 1)))
    assert beside == ["done"]
    assert refused == ["output_in_use"] * 3
    assert anothers.exists()
    with pytest.raises(errors.StageOrderError):
        work(job, "finish")
    assert not anothers.exists()
