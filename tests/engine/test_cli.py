"""The command line as programs and people meet it: real processes, exit codes, one sentence, clean stops."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from engine.test_pipeline import digests
from engine.tiny_clip import tiny_weights, write_clip
from penumbra import cli, launch
from penumbra.color import LinearSpace
from penumbra.events import Event, parse_event
from penumbra.frames import Footage, Region
from penumbra.job import load_job
from penumbra.launch import Engine, child_environment, find_engine
from penumbra.track import CameraTrack, read_homographies

LONG = 24


def arguments(folder, out="out", *more):
    mask = folder / "mask.####.png"
    return [
        "decompose", str(folder / "plate.####.exr"), "--mask", f"box={mask}", "-o", str(folder / out),
        "--weights", tiny_weights(), "--refine", "off", "--size", "32x32", "--no-previews", "--camera", "locked", *more,
    ]  # fmt: skip


def start(args, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "penumbra", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=child_environment(), **options,
    )  # fmt: skip


def events_until(process, stage):
    for line in process.stdout:
        event = parse_event(line)
        assert event is not None, f"not an event on stdout: {line!r}"
        if event.event == "progress" and event.stage == stage:
            return
    pytest.fail(f"the stage {stage} was never reached: {process.stderr.read()}")


def test_json_speaks_only_events_and_ends_with_done(tmp_path):
    write_clip(tmp_path)
    result = subprocess.run(
        [sys.executable, "-m", "penumbra", *arguments(tmp_path, "out", "--json")],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    events = [parse_event(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0, result.stderr
    assert None not in events
    assert events[-1].event == "done"
    assert Path(events[-1].path).is_file()
    stages = [event.stage for event in events if event.event == "stage"]
    assert stages == ["read", "track", "clean plate", "prepare", "refine", "decompose", "lift"]


@pytest.mark.parametrize("how", ["sigint", "sigterm", "stdin"])
def test_a_stop_leaves_whole_files_and_resume_ends_in_the_same_bytes(tmp_path, how):
    write_clip(tmp_path, LONG)
    undisturbed = CliRunner().invoke(cli.app, arguments(tmp_path, "undisturbed"))
    assert undisturbed.exit_code == 0, undisturbed.output
    with start(arguments(tmp_path, "out", "--json"), stdin=subprocess.PIPE) as process:
        events_until(process, "lift")
        if how == "stdin":
            process.stdin.close()
        else:
            process.send_signal(signal.SIGINT if how == "sigint" else signal.SIGTERM)
        last = [parse_event(line) for line in process.stdout][-1]
        assert process.wait(60) == 130
    assert (last.event, last.code) == ("error", "stopped")
    done = digests(tmp_path / "out")
    whole = digests(tmp_path / "undisturbed")
    assert 0 < len(done) < len(whole)
    assert all(whole[name] == digest for name, digest in done.items())
    resumed = CliRunner().invoke(cli.app, [*arguments(tmp_path), "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert digests(tmp_path / "out") == whole


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        (["--frames", "5-1"], 2, "ends before it begins"),
        (["--mask", "01=x.png"], 2, "cannot be used"),
        (["--refine", "soon"], 2, "Refinement 'soon'"),
        (["--channel", "nobody=alpha"], 2, "no mask called 'nobody'"),
        (["--offset", "nobody=5"], 2, "no mask called 'nobody'"),
        (["--offset", "clean_plate=5"], 2, "no mask called 'clean_plate'"),
        (["--offset", "box=five"], 2, "--offset 'box=five' is not understood"),
        (["--save-job", "nowhere/shot.json"], 4, "cannot be saved as nowhere/shot.json"),
        (["--size", "100x100"], 2, "multiples of 16"),
        (["--frames", "1-4"], 3, "1-4"),
        (["--colorspace", "Rec709Typo"], 2, "Rec709Typo"),
        (["--weights", "nowhere.safetensors"], 5, "nowhere.safetensors"),
        (["--camera", "nowhere.txt"], 3, "nowhere.txt"),
        (["-o", "/dev/null/out"], 4, "/dev/null"),
    ],
)
def test_bad_input_is_one_sentence_and_its_exit_code(tmp_path, extra, code, words):
    write_clip(tmp_path)
    result = CliRunner().invoke(cli.app, [*arguments(tmp_path), *extra])
    assert result.exit_code == code, result.output
    assert words in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.rglob("*.####.exr"))


def test_masks_and_the_clean_plate_may_be_offset(tmp_path):
    line = ["decompose", "plate.####.exr", "--mask", "box=m.####.png", "--mask", "car=c.####.png", "-o", "out"]
    line += ["--clean-plate", "clean.####.exr", "--offset", "car=-1000", "--offset", "clean_plate=+7"]
    assert CliRunner().invoke(cli.app, [*line, "--save-job", str(tmp_path / "shot.json")]).exit_code == 0
    job = load_job(tmp_path / "shot.json")
    assert [mask.offset for mask in job.masks] == [None, -1000]
    assert job.clean_plate.offset == 7
    again = ["decompose", "--job", str(tmp_path / "shot.json"), "--offset", "box=3", "--save-job"]
    assert CliRunner().invoke(cli.app, [*again, str(tmp_path / "next.json")]).exit_code == 0
    job = load_job(tmp_path / "next.json")
    assert ([mask.offset for mask in job.masks], job.clean_plate.offset) == ([3, -1000], 7)


@pytest.mark.parametrize(
    "command",
    [
        ["synth", "clip"],
        ["scenes", "sheet.png"],
        ["pretrain", "run", "--preset", "tiny"],
        ["export", "weights.safetensors", "graphs"],
        ["import-weights", "checkpoint", "weights.safetensors"],
    ],
)
def test_without_torch_commands_that_need_it_say_so(tmp_path, command):
    # As where it is not installed: no module of that name is found.
    code = "import sys; sys.modules['torch'] = None; from penumbra.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=child_environment(),
    )  # fmt: skip
    assert result.returncode == 5, result.stderr
    assert "PyTorch is not installed here" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_torch_and_a_word_layers_are_not_refined_and_it_is_said(tmp_path, monkeypatch):
    write_clip(tmp_path)
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    mask = tmp_path / "mask.####.png"
    line = ["decompose", str(tmp_path / "plate.####.exr"), "--mask", f"box={mask}", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(cli.app, [*line, "--size", "32x32", "--no-previews", "--camera", "locked", "--json"])
    assert result.exit_code == 0, result.output
    warnings = [event.message for event in map(parse_event, result.stdout.splitlines()) if event.event == "warning"]
    assert any("PyTorch is not installed here, so the layers are not refined" in warning for warning in warnings)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["weights"]["refine_steps"] == 0


def test_a_fault_of_ours_says_so(tmp_path, monkeypatch):
    write_clip(tmp_path)
    monkeypatch.setattr("penumbra.pipeline.run", lambda *_: 1 / 0)
    result = CliRunner().invoke(cli.app, [*arguments(tmp_path), "--json"])
    assert result.exit_code == 1
    assert parse_event(result.stdout.splitlines()[-1]).code == "fault"


def test_a_job_file_is_saved_and_used_and_options_win(tmp_path):
    write_clip(tmp_path)
    saved = tmp_path / "shot.json"
    runner = CliRunner()
    assert runner.invoke(cli.app, [*arguments(tmp_path), "--save-job", str(saved)]).exit_code == 0
    assert not (tmp_path / "out").exists()
    result = runner.invoke(
        cli.app, ["decompose", "--job", str(saved), "-o", str(tmp_path / "elsewhere"), "--frames", "1002-1004"]
    )
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "elsewhere" / "box").iterdir())) == 3
    shown = runner.invoke(cli.app, ["inspect", str(tmp_path / "elsewhere")])
    assert json.loads(shown.stdout)["totals"]["frames"] == 3


@pytest.mark.parametrize(
    ("asked", "torch", "minutes"), [([], True, 3), ([], False, 3), (["--refine", "best"], True, 15)]
)
def test_without_a_word_a_job_is_one_that_is_refined(tmp_path, monkeypatch, asked, torch, minutes):
    monkeypatch.setattr(cli, "find_spec", lambda name: torch or None)
    line = ["decompose", "plate.####.exr", "--mask", "box=mask.####.png", "-o", "out", *asked]
    assert CliRunner().invoke(cli.app, [*line, "--save-job", str(tmp_path / "shot.json")]).exit_code == 0
    assert load_job(tmp_path / "shot.json").refine.minutes == minutes


def test_schema_doctor_and_version():
    runner = CliRunner()
    Draft202012Validator.check_schema(json.loads(runner.invoke(cli.app, ["schema"]).stdout))
    doctor = runner.invoke(cli.app, ["doctor"])
    assert doctor.exit_code == 0
    assert "OpenImageIO" in doctor.stdout
    assert "Nuke plug-in" in doctor.stdout
    assert "Resolve plug-in" in doctor.stdout
    assert runner.invoke(cli.app, ["--version"]).stdout.startswith("penumbra ")


def test_launch_runs_a_job_as_hosts_do(tmp_path):
    write_clip(tmp_path)
    with Engine([*arguments(tmp_path), "--json"], sys.executable) as engine:
        events = list(engine.events())
    assert engine.exit_code == 0, engine.log
    assert events[-1].event == "done"


def test_launch_stops_the_engine_cleanly(tmp_path):
    write_clip(tmp_path, LONG)
    with Engine([*arguments(tmp_path), "--json"], sys.executable) as engine:
        for event in engine.events():
            if event.stage == "lift" and event.event == "progress":
                break
        assert engine.stop() == 130
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".penumbra-tmp")]


def test_the_hosts_python_does_not_leak_into_the_engine():
    host = dict.fromkeys(
        ("PYTHONPATH", "PYTHONHOME", "PythonPlatLibDir", "__PYVENV_LAUNCHER__", "QT_PLUGIN_PATH", "QML2_IMPORT_PATH"),
        "/host",
    )
    kept = child_environment({**host, "PATH": "/bin"})
    assert kept == {"PATH": "/bin", "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def test_libraries_of_the_hosts_own_folder_do_not_leak_and_others_do(tmp_path, monkeypatch):
    host = tmp_path / "opt" / "resolve" / "libs" / "Fusion"
    host.mkdir(parents=True)
    (host / "fuscript").touch()
    monkeypatch.setattr(sys, "executable", str(host / "fuscript"))
    drivers = str(tmp_path / "drivers" / "lib")
    searched = [drivers, str(host.parent), str(host), str(host / "plugins"), ""]
    kept = child_environment({"LD_LIBRARY_PATH": os.pathsep.join(searched), "PATH": str(host)})
    assert (kept["LD_LIBRARY_PATH"], kept["PATH"]) == (drivers, str(host))


def test_an_engine_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv(launch.ENGINE_VARIABLE, os.path.join("nowhere", "python"))  # noqa: PTH118 # as a host sets it
    with pytest.raises(launch.EngineNotFoundError, match="nowhere"):
        find_engine()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{}",
        "not json",
        '{"penumbra_event": 99, "event": "done"}',
        "[" * 5000,
        '{"penumbra_event": 1, "event": "x"}',
    ],
)
def test_lines_that_are_no_events_are_told_apart(line):
    assert parse_event(line) is None


def test_events_survive_the_line():
    event = Event("progress", "refine", 3, 10, 1.5, None, values={"loss": float("nan")})
    back = parse_event(event.to_line())
    assert (back.stage, back.done, back.values) == ("refine", 3, {"loss": None})


def test_the_camera_of_a_finished_folder_is_written_as_a_file_that_is_read_again(tmp_path):
    size, homographies = (1280, 720), [[1, 0, 3.5 * n, 0, 1, 0.25 * n, 1e-6 * n, 0, 1] for n in range(3)]
    track = CameraTrack((7, 8, 9), np.reshape(homographies, (3, 3, 3)), 0, False, np.ones(3, "f4"), np.ones(3, "f4"))
    facts = {"order": {}, "frames": {}, "plate": {"canvas": [0, 0, *size]}, "camera": {"homographies": track.to_dict()}}
    (tmp_path / "manifest.json").write_text(json.dumps({"penumbra_manifest": 1, **facts}))
    region = Region(0, 0, *size)
    footage = Footage("p", (7, 8, 9), region, region, LinearSpace("lin_rec709"), "srgb_tx")
    for name in ("camera.json", "camera.txt"):
        result = CliRunner().invoke(cli.app, ["camera", str(tmp_path), str(tmp_path / name)])
        assert result.exit_code == 0, result.output
        again = read_homographies(tmp_path / name, footage)
        moved = np.linalg.inv(track.homographies[again.reference]) @ track.homographies
        assert again.homographies == pytest.approx(moved / moved[:, 2:, 2:], abs=1e-9)
    assert CliRunner().invoke(cli.app, ["camera", str(tmp_path / "none"), "c.json"]).exit_code == 4
    nowhere, unknown = tmp_path / "nowhere" / "camera.json", tmp_path / "camera.foo"
    assert CliRunner().invoke(cli.app, ["camera", str(tmp_path), str(nowhere)]).exit_code == 4
    assert CliRunner().invoke(cli.app, ["camera", str(tmp_path), str(unknown)]).exit_code == 2
    assert not unknown.exists()
