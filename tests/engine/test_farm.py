"""What a farm is given and told: bundles, frames, mapped paths, progress; and the whole of it run by a real session."""

import json
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from openjd.model import IntRangeExpr, decode_job_template
from openjd.sessions import PathFormat, PathMappingRule
from packaging.requirements import Requirement
from typer.testing import CliRunner

from engine.test_farm_tasks import LAST, farm_job, result, work, written
from engine.tiny_clip import FIRST, FRAMES, SIZE, write_clip
from penumbra import cli, errors
from penumbra.events import Event
from penumbra.farm.bundle import BundleSettings, write_bundle
from penumbra.farm.path_mapping import load_path_mapping
from penumbra.farm.progress import OpenJobLines
from penumbra.job import CameraSettings, CleanPlateSettings, FrameRange, RefineSettings, job_from_dict
from penumbra.launch import child_environment
from penumbra.pipeline import run
from penumbra.tasks import parse_frames
from penumbra.track import locked_camera, write_homographies

REPOSITORY = Path(__file__).parents[2]
RANGES = st.tuples(st.integers(-50, 50), st.integers(0, 40), st.integers(1, 9))


@given(st.lists(RANGES, min_size=1, max_size=1) | st.just([(1001, 0, 1)]))
def test_frames_mean_what_open_job_description_means(ranges):
    text = ",".join(f"{first}-{first + length}:{step}" for first, length, step in ranges)
    assert list(parse_frames(text)) == sorted(IntRangeExpr.from_str(text))


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("7", [7]), ("1-7", [1, 2, 3, 4, 5, 6, 7]), ("1-7:2", [1, 3, 5, 7]), ("1-7x2", [1, 3, 5, 7]),
        ("-5--3", [-5, -4, -3]), ("-1-1", [-1, 0, 1]), ("9, 1-3, 2-4", [1, 2, 3, 4, 9]),
    ],
)  # fmt: skip
def test_frames_are_each_once_and_ascending(text, frames):
    assert list(parse_frames(text)) == frames


@pytest.mark.parametrize("text", ["", "1-", "a", "1,,2", "7-1", "1-7:0", "1-7:-1", "1-9999999", "1.5", "1 2"])
def test_frames_that_mean_nothing_are_refused_by_name(text):
    with pytest.raises(errors.JobError, match="Frames"):
        parse_frames(text)


def rules_file(folder, *rules):
    keys = ("source_path_format", "source_path", "destination_path")
    body = {"version": "pathmapping-1.0", "path_mapping_rules": [dict(zip(keys, rule, strict=True)) for rule in rules]}
    (folder / "rules.json").write_text(json.dumps(body))
    return folder / "rules.json"


@pytest.mark.parametrize(
    "rule",
    [
        ("POSIX", "/mnt/show", "/data/x"), ("POSIX", "/", "/data"), ("WINDOWS", "S:\\show", "/data/x"),
        ("WINDOWS", "\\\\server\\show", "/data/x"), ("POSIX", "/mnt/show/", "/data/x/"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "path",
    [
        "/mnt/show/a/plate.%04d.exr", "/mnt/show", "/mnt/shows/a.exr", "/mnt/Show/a.exr", "S:\\show\\a\\b.####.exr",
        "s:/SHOW/a.exr", "S:\\shows\\a.exr", "\\\\server\\show\\a.exr", "\\\\SERVER\\Show\\a\\b.exr", "/a.exr",
    ],
)  # fmt: skip
def test_paths_are_mapped_as_open_job_descriptions_own_library_maps_them(tmp_path, rule, path):
    kind, source, destination = rule
    rule_of_theirs = PathMappingRule.from_dict(
        {"source_path_format": kind, "source_path": source, "destination_path": destination}
    )
    assert rule_of_theirs.source_path_format in (PathFormat.POSIX, PathFormat.WINDOWS)
    assert load_path_mapping(rules_file(tmp_path, rule))(path) == rule_of_theirs.apply(path=path)[1]


def test_the_longest_rule_wins_and_no_rules_map_nothing(tmp_path):
    rules = [
        ("POSIX", "/mnt", "/a"),
        ("POSIX", "/mnt/show/x", "/c"),
        ("URI", "s3://mnt", "/d"),
        ("posix", "/mnt/show", "/b"),
    ]
    mapped = load_path_mapping(rules_file(tmp_path, *rules))
    assert [mapped(p) for p in ("/mnt/y", "/mnt/show/x/z", "/mnt/show/q")] == ["/a/y", "/c/z", "/b/q"]
    (tmp_path / "rules.json").write_text("{}")
    assert load_path_mapping(tmp_path / "rules.json")("/mnt/y") == "/mnt/y"


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"version": "2"}', '{"version": "pathmapping-1.0"}', "[" * 9999,
             '{"version": "pathmapping-1.0", "path_mapping_rules": [{"source_path_format": "POSIX"}]}'],
)  # fmt: skip
def test_a_file_that_is_no_path_mapping_is_refused_by_name(tmp_path, text):
    (tmp_path / "rules.json").write_text(text)
    with pytest.raises(errors.JobError, match=r"rules\.json"):
        load_path_mapping(tmp_path / "rules.json")


def test_progress_is_percents_of_the_task_that_only_grow():
    lines = []
    teller = OpenJobLines(("read", "track"), lines.append)
    for event in (
        Event("stage", "read", message="Opening the\nfootage"), Event("progress", "read", 1, 4),
        Event("progress", "read", 1, 400), Event("warning", "read", message="dark"), Event("progress", "lift", 9, 9),
        Event("progress", "track", 0, 0, message="On the CPU."), Event("progress", "track", 5, 10),
        Event("done", "track", 1, 1, path="/out"),
    ):  # fmt: skip
        teller.tell(event)
    teller.fail(errors.OutputError("No room\nleft.", "Make some."))
    assert lines == [
        "openjd_status: Opening the footage", "openjd_progress: 12", "warning: dark", "On the CPU.",
        "openjd_progress: 50", "openjd_progress: 75", "openjd_progress: 100", "done: /out",
        "openjd_fail: No room left. Make some.",
    ]  # fmt: skip


def bundle_of(job, folder, **settings):
    write_bundle(job, folder, BundleSettings("shot", **{"chunk": 2, **settings}))
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in folder.glob("*.yaml")}


def test_a_bundle_is_a_valid_template_that_carries_the_job_and_lists_its_files(tmp_path):
    write_clip(tmp_path)
    for name in ("clean.exr", "tuned.safetensors"):
        shutil.copy(tmp_path / f"plate.{FIRST}.exr", tmp_path / name)
    write_homographies(locked_camera(range(FIRST, LAST + 1)), tmp_path / "camera.json", SIZE)
    (tmp_path / "plate.1001.exr.bak").touch()
    job = farm_job(tmp_path)
    job = replace(
        job,
        clean_plate=CleanPlateSettings(str(tmp_path / "clean.exr")),
        camera=CameraSettings("file", str(tmp_path / "camera.json")),
        model=replace(job.model, weights=str(tmp_path / "tuned.safetensors")),
    )
    bundle = bundle_of(job, tmp_path / "bundle", gpu=True)
    template = decode_job_template(template=bundle["template"], supported_extensions=["TASK_CHUNKING"])
    assert [step.name for step in template.steps] == ["Prepare", "Refine", "Frames", "Finish"]
    before = [[d["dependsOn"] for d in step.get("dependencies", [])] for step in bundle["template"]["steps"]]
    assert before == [[], ["Prepare"], ["Prepare", "Refine"], ["Prepare", "Refine", "Frames"]]
    needs = {step["name"]: step.get("hostRequirements") for step in bundle["template"]["steps"]}
    assert needs.pop("Refine") == {"amounts": [{"name": "amount.worker.gpu", "min": 1}]}
    assert set(needs.values()) == {None}
    for step in bundle["template"]["steps"]:
        assert job_from_dict(json.loads(step["script"]["embeddedFiles"][0]["data"])) == job
    assert bundle["parameter_values"]["parameterValues"] == [{"name": "OutputFolder", "value": str(tmp_path / "out")}]
    references = bundle["asset_references"]["assetReferences"]
    numbers = range(FIRST, LAST + 1)
    expected = [f"plate.{n}.exr" for n in numbers] + [f"mask.{n}.png" for n in numbers]
    expected += ["clean.exr", "tuned.safetensors", "camera.json"]
    assert sorted(references["inputs"]["filenames"]) == sorted(str(tmp_path / name) for name in expected)
    assert references["outputs"]["directories"] == [str(tmp_path / "out")]


def test_a_path_may_hold_what_a_template_takes_for_an_expression(tmp_path):
    odd = tmp_path / "{{Param.Frames}} ü 'a' # b }}"
    odd.mkdir()
    write_clip(odd)
    bundle = bundle_of(farm_job(odd), tmp_path / "bundle")
    template = decode_job_template(template=bundle["template"], supported_extensions=["TASK_CHUNKING"])
    data = str(template.steps[0].script.embeddedFiles[0].data)
    assert "{{" not in data
    assert json.loads(data)["plate"]["path"] == str(odd / "plate.####.exr")


def test_a_job_that_its_tasks_would_refuse_is_refused_when_the_bundle_is_written(tmp_path):
    write_clip(tmp_path)
    job = farm_job(tmp_path)
    for spoilt, words, code in (
        (replace(job, model=replace(job.model, weights=str(tmp_path / "none.st"))), "no weights at", 5),
        (replace(job, camera=CameraSettings("file", str(tmp_path / "none.txt"))), "none.txt", 3),
        (replace(job, plate=replace(job.plate, frames=FrameRange(FIRST, LAST + 1))), str(LAST + 1), 3),
    ):
        (tmp_path / "job.json").write_text(spoilt.to_json())
        said = CliRunner().invoke(cli.app, ["farm", str(tmp_path / "job.json"), "-o", str(tmp_path / "bundle")])
        assert said.exit_code == code, said.output
        assert words in said.output
    assert not (tmp_path / "bundle").exists()


def test_the_command_says_what_is_wrong_in_open_job_descriptions_words(tmp_path):
    write_clip(tmp_path)
    (tmp_path / "job.json").write_text(farm_job(tmp_path).to_json())
    start = ["decompose", "--job", str(tmp_path / "job.json"), "--progress", "openjd"]
    for more, words, code in (
        (["--stage", "frames", "--frames", "1-3"], "openjd_fail: Nothing is prepared", 4),
        (["--stage", "frames", "--frames", "3-1"], "openjd_fail: Frames '3-1' run backwards", 2),
        (["--stage", "prepare", "--frames", "1-3"], "openjd_fail: --frames with --stage prepare", 2),
        (["--stage", "render"], "openjd_fail: Stage 'render' is not known", 2),
        (["--path-mapping", str(tmp_path / "none.json")], "openjd_fail: The path mapping", 2),
    ):
        said = CliRunner().invoke(cli.app, [*start, *more])
        assert said.exit_code == code, said.output
        assert words in said.stdout
    assert CliRunner().invoke(cli.app, [*start[:-1], "loud"]).exit_code == 2


def session(bundle, out, *more):
    """A job run by Open Job Description's own session on this machine."""
    script = Path(sys.executable).with_name("penumbra")
    command = [sys.executable, "-c", "import sys; from openjd.cli import main; sys.exit(main())"]
    arguments = ["run", str(bundle / "template.yaml"), "-p", f"OutputFolder={out}", "-p", f"Penumbra={script}", *more]
    return subprocess.run([*command, *arguments], env=child_environment(), capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_real_session_runs_the_bundle_to_the_bytes_of_one_run_a_failed_chunk_and_a_wrong_order_included(tmp_path):
    shot = tmp_path / "shot"
    shot.mkdir()
    write_clip(shot)
    job = farm_job(shot, previews=True)
    run(job, lambda event: None)
    (shot / "out").rename(tmp_path / "single")
    bundle, out = tmp_path / "bundle", shot / "out"
    write_bundle(job, bundle, BundleSettings("shot", chunk=2))

    early = session(bundle, out, "--step", "Frames")
    assert early.returncode != 0
    assert "openjd_fail: Nothing is prepared" in early.stdout

    ready = session(bundle, out, "--step", "Refine", "--run-dependencies")
    assert ready.returncode == 0, ready.stdout + ready.stderr
    assert "openjd_progress: 100" in ready.stdout

    in_the_way = out / "box" / f"box.{FIRST + 5}.exr"
    in_the_way.mkdir(parents=True)
    backwards = [{"Frame": f"{first}-{first + 1}"} for first in (FIRST + 4, FIRST + 2, FIRST)]
    failed = session(bundle, out, "--step", "Frames", "--tasks", json.dumps(backwards))
    assert failed.returncode != 0
    assert f"openjd_fail: The file {in_the_way} could not be written" in failed.stdout
    in_the_way.rmdir()
    before = {path: time for path, time in written(out).items() if path.stem.endswith(str(FIRST + 4))}
    assert before

    retried = session(bundle, out, "--step", "Frames", "--tasks", json.dumps(backwards))
    assert retried.returncode == 0, retried.stdout + retried.stderr
    assert {path: time for path, time in written(out).items() if path in before} == before
    finished = session(bundle, out, "--step", "Finish")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert result(out) == result(tmp_path / "single")


@pytest.mark.slow
def test_a_real_session_maps_the_paths_of_the_machine_that_submitted(tmp_path):
    shot, here = tmp_path / "shot", tmp_path / "farm" / "shot"
    shot.mkdir()
    write_clip(shot)
    job = farm_job(shot)
    run(job, lambda event: None)
    (shot / "out").rename(tmp_path / "single")
    write_bundle(job, tmp_path / "bundle", BundleSettings("shot", chunk=4))
    here.parent.mkdir()
    shot.rename(here)
    rules = rules_file(tmp_path, ("POSIX", str(shot), str(here)))
    done = session(tmp_path / "bundle", shot / "out", "--path-mapping-rules", f"file://{rules}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert result(here / "out") == result(tmp_path / "single")
    assert not shot.exists()


def base_distributions():
    """Every distribution that the package itself needs, without extras."""
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting, found = list(project["dependencies"]), {}
    while waiting:
        needed = Requirement(waiting.pop())
        if needed.name.lower() not in found and (needed.marker is None or needed.marker.evaluate({"extra": ""})):
            found[needed.name.lower()] = metadata.distribution(needed.name)
            waiting += metadata.requires(needed.name) or []
    return found.values()


@pytest.fixture(scope="module")
def farm_node(tmp_path_factory):
    """The Python of an environment with the package's own dependencies and nothing else: no torch, no onnx."""
    place = tmp_path_factory.mktemp("node")
    venv.create(place, symlinks=os.name != "nt", with_pip=False)
    python = place / ("Scripts" if os.name == "nt" else "bin") / Path(sys.executable).name
    site = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()
    )  # fmt: skip
    for distribution in base_distributions():
        names = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
        for name in names:
            if not (site / name).exists():
                (site / name).symlink_to(distribution.locate_file(name))
    (site / "penumbra.pth").write_text(str(REPOSITORY / "engine"))
    return python


@pytest.mark.slow
def test_a_machine_without_torch_does_every_task_but_refining(tmp_path, farm_node):
    missing = "import importlib.util as u; print([n for n in ('torch', 'onnx', 'tensorboard') if u.find_spec(n)])"
    assert subprocess.run([farm_node, "-c", missing], capture_output=True, text=True, check=True).stdout == "[]\n"
    shot = tmp_path / "shot"
    shot.mkdir()
    write_clip(shot)
    job = replace(farm_job(shot, previews=True), refine=RefineSettings(steps=2))
    (tmp_path / "job.json").write_text(job.to_json())
    run(job, lambda event: None)
    (shot / "out").rename(tmp_path / "single")

    def on_node(*arguments):
        command = [farm_node, "-I", "-m", "penumbra", "decompose", "--job", str(tmp_path / "job.json"), *arguments]
        done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    on_node("--stage", "prepare")
    work(job, "refine")
    on_node("--stage", "frames", "--frames", f"{FIRST + 2}-{LAST}")
    on_node("--stage", "frames", "--frames", f"{FIRST}-{FIRST + 1}")
    on_node("--stage", "finish")
    assert result(shot / "out") == result(tmp_path / "single")
    on_node("--refine", "off", "-o", str(tmp_path / "all"))
    assert len(list((tmp_path / "all" / "box").iterdir())) == FRAMES
