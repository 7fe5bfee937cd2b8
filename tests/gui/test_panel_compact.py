"""The small window a host opens: a real engine on a rendered clip, and the very process the host starts."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from penumbra.events import Event, parse_event
from penumbra.job import load_job
from penumbra_gui.models.begun_job import BegunJob, read_begun_job
from penumbra_gui.models.host_pipe import EventRelay

REFINED = {"steps": 100000, "minutes": None}
OFF = {"steps": None, "minutes": None}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A clip of two objects, with its job."""
    folder = tmp_path_factory.mktemp("rendered") / "clip"
    arguments = ["synth", str(folder), "--frames", "4", "--size", "64x96", "--seed", "4711"]
    subprocess.run([sys.executable, "-m", "penumbra", *arguments], check=True, capture_output=True)
    return folder


@pytest.fixture
def clip(rendered, tmp_path):
    """The clip, and a way to write its job with other parts."""
    shutil.copytree(rendered, tmp_path / "clip")
    path = tmp_path / "clip" / "job.json"
    whole = json.loads(path.read_text(encoding="utf-8"))

    def write(**changes):
        path.write_text(json.dumps({**whole, "refine": OFF, **changes}), encoding="utf-8")
        return path

    write.masks = whole["masks"]
    write.output = {**whole["output"], "previews": False}
    return write


@pytest.fixture
def compact(app, spin):
    """Makes compact windows, and ends them so that nothing is left."""
    from penumbra_gui.controllers.compact import CompactController
    from penumbra_gui.views.compact_window import CompactWindow

    made = []

    def make(path, resume=False):
        lines, closed = [], []
        job, whole = read_begun_job(path)
        relay = EventRelay(lines.append)
        controller = CompactController(path, job, whole, resume, relay, CompactWindow(), lambda: closed.append(1))
        controller.window.show()
        controller.begin()
        made.append(controller)
        return controller, lines, closed

    yield make
    for controller in made:
        controller.close()
        controller.window.deleteLater()
        controller.loop.deleteLater()
    spin(seconds=0.05, must=False)


def kinds(lines):
    return [parse_event(line).event for line in lines]


def test_a_job_without_masks_is_finished_saved_and_run(clip, compact, spin):
    masks, output = clip.masks, {**clip.output, "splits": True}
    path = clip(masks=[], output=output)
    controller, lines, closed = compact(path)
    window = controller.window
    spin(lambda: controller.session.verdict is not None)
    assert not window.run.start.isEnabled()
    assert not controller.run.active
    window.masks.dropped.emit([str(path.parent / mask["path"]) for mask in masks])
    spin(lambda: window.run.start.isEnabled())
    window.masks.renamed.emit(0, "ball")
    spin(lambda: controller.session.verdict.usable and controller.session.project.names[0] == "ball")
    window.run.start.click()
    assert not window.masks.isVisible()
    spin(lambda: closed, 120)
    saved = load_job(path)
    assert controller.exit_code == 0
    assert saved.names[0] == "ball"
    assert len(saved.masks) == len(masks)
    assert saved.output.splits, "what the window does not show is kept"
    assert kinds(lines)[-1] == "done"
    assert "stage" in kinds(lines)
    assert "error" not in kinds(lines)
    assert (path.parent / saved.output.folder / "manifest.json").is_file()


def test_a_whole_job_starts_at_once_and_its_file_is_left_alone(clip, compact, spin):
    path = clip(output=clip.output)
    before = path.read_text(encoding="utf-8")
    controller, lines, closed = compact(path)
    assert controller.run.active
    assert controller.window.isVisible()
    assert (controller.window.width(), controller.window.height()) == (520, 640)
    spin(lambda: closed, 120)
    assert controller.exit_code == 0
    assert path.read_text(encoding="utf-8") == before
    assert kinds(lines)[-1] == "done"


@pytest.mark.slow
def test_a_run_that_was_stopped_can_be_gone_on_with(clip, compact, spin):
    path = clip(refine=REFINED, output=clip.output)
    controller, lines, closed = compact(path)
    spin(lambda: controller.run.state.stage == "refine" and controller.run.state.done > 0, 120)
    controller.window.run.stop.click()
    spin(lambda: not controller.run.active)
    assert controller.exit_code == 130
    assert not closed
    assert controller.window.run.start.text() == "Resume"
    assert "error" not in kinds(lines), "it may still end well"
    controller.window.run.start.click()
    spin(lambda: controller.run.state.stage == "refine")
    controller.window.close()
    assert closed
    assert controller.exit_code == 130
    assert kinds(lines).count("error") == 1


def test_what_is_wrong_stays_to_be_read_and_is_told_at_the_end(clip, compact, spin):
    path = clip(masks=[{"name": "car", "path": "nowhere.####.png"}], order=[])
    controller, lines, closed = compact(path)
    spin(lambda: not controller.run.active and not controller.window.messages.isHidden(), 60)
    assert "nowhere" in controller.window.messages.text
    assert controller.window.masks.isEnabled()
    assert not closed
    controller.window.close()
    assert closed
    assert controller.exit_code not in (0, 130)
    assert kinds(lines)[-1] == "error"


def test_the_queue_of_one_asks_to_resume_and_keeps_its_file(clip):
    path = clip()
    job, whole = read_begun_job(path)
    queue = BegunJob(path, job, resume=True)
    entry = queue.add(job)
    assert whole
    assert entry.resume
    assert entry.file == path
    queue.remove(entry.number)
    queue.forget_files()
    assert queue.jobs == []
    assert path.is_file()


def test_a_reader_that_has_gone_does_not_hurt_the_run():
    def gone(_line):
        raise BrokenPipeError

    EventRelay(gone).tell(Event("stage", "read"))


def start(path, *options):
    command = [sys.executable, "-m", "penumbra", "panel", "--compact", str(path), *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env={**os.environ})


def test_the_process_ends_130_when_its_stdin_closes_unrun(app, clip):
    path = clip(masks=[])
    before = path.read_text(encoding="utf-8")
    process = start(path)
    time.sleep(0.5)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert path.read_text(encoding="utf-8") == before


def test_the_process_stops_the_engine_when_its_stdin_closes(app, clip):
    process = start(clip(refine=REFINED, output=clip.output))
    lines = [process.stdout.readline()]
    while parse_event(lines[-1]) and parse_event(lines[-1]).stage != "refine":
        lines.append(process.stdout.readline())
    out, err = process.communicate(timeout=90)
    events = [parse_event(line) for line in (*lines, *out.splitlines())]
    assert process.returncode == 130, err
    assert None not in events
    assert events[-1].code == "stopped"


def test_a_job_that_cannot_be_read_is_a_sentence(app, tmp_path):
    process = start(tmp_path / "nowhere.json")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "cannot be read" in err
    assert "Traceback" not in err
