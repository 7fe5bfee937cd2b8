"""The compact window's process, watched as the engine is; and what happens where there is no such window."""

from __future__ import annotations

import json
import stat
import sys

import pytest

from penumbra.events import Event
from penumbra_resolve.engine import Outcome, ProgressPrinter, run_with_window
from penumbra_resolve.shots import run_job

WINDOW = """#!{python}
import json, pathlib, sys
from pathlib import Path
arguments = sys.argv[1:]
assert arguments[:2] == ["-I", "-m"], arguments
print("a library's own words")
job = pathlib.Path(arguments[arguments.index("--compact") + 1])
{body}
"""


@pytest.fixture
def window(tmp_path):
    """Makes a stand-in for the panel's process, of which only the words matter."""

    def make(body):
        path = tmp_path / "window"
        path.write_text(WINDOW.format(python=sys.executable, body=body), encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


@pytest.fixture
def job_file(tmp_path):
    folder = tmp_path / "shot" / "from-resolve"
    folder.mkdir(parents=True)
    job = {"penumbra_job": 1, "plate": {"path": "p.%04d.exr"}, "masks": [], "output": {"folder": ".."}}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    return folder / "job.json"


SAYS = (
    'print(json.dumps({"penumbra_event": 1, "event": "%s", "stage": "read", "message": "x", "fix": "y"}), flush=True)'
)


def run(python, job_file, stop=lambda: False):
    return run_with_window(job_file, python, False, ProgressPrinter(), stop)


def test_a_run_in_the_window_is_a_run(window, job_file):
    assert run(window(SAYS % "stage"), job_file) == Outcome(0)
    assert run(window(SAYS % "stage" + "\n" + SAYS % "error" + "\nsys.exit(3)"), job_file) == Outcome(3, "x y")


def test_a_window_that_was_closed_is_no_run(window, job_file):
    assert run(window(""), job_file).exit_code == 130
    assert run(window("sys.exit(130)"), job_file).exit_code == 130


@pytest.mark.parametrize(
    "body", ["sys.exit(2)", "sys.exit(5)", SAYS % "error" + "\nsys.exit(5)", "import os; os.abort()"]
)
def test_no_window_is_none(window, job_file, body):
    assert run(window(body), job_file) is None


def test_what_the_window_changed_counts(window, job_file, monkeypatch):
    """Masks given in the window, and another folder."""
    monkeypatch.delenv("PENUMBRA_RESOLVE_WINDOW")
    body = """
text = json.loads(job.read_text())
text["masks"] = [{"name": "car", "path": "car.%04d.png"}]
text["output"]["folder"] = "../../elsewhere"
job.write_text(json.dumps(text))
"""
    outcome, layers = run_job(job_file, window(body + SAYS % "stage"), ProgressPrinter(), lambda: True)
    assert (outcome.exit_code, layers) == (0, (job_file.parents[2] / "elsewhere").resolve())


def test_the_window_is_stopped_when_resolve_goes_away(window, job_file):
    """It hears that its stdin was closed."""
    body = SAYS % "stage" + "\nsys.stdin.read()\nsys.exit(130)"
    assert run(window(body), job_file, stop=lambda: True).exit_code == 130


def test_progress_is_a_line_for_every_tenth(capsys):
    printer = ProgressPrinter()
    printer(Event("stage", "lift", message="Writing the layers"))
    for done in range(101):
        printer(Event("progress", "lift", done=done, total=100, eta=300.0))
    printer(Event("warning", "lift", message="one"))
    printer(Event("warning", "lift", message="two"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 14
    assert lines[:2] == ["Penumbra: Writing the layers", "Penumbra: lift: 0 of 100, 5 min left"]
    assert lines[-2:] == ["Penumbra: one", "Penumbra: two"]
