"""Runs, their queue and what output folders hold: real views and controllers, an engine that the test speaks for."""

import json
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import pytest

pytest.importorskip("PySide6.QtWidgets", reason="the panel needs PySide6 and Qt's libraries", exc_type=ImportError)

from PySide6.QtWidgets import QListWidget, QPlainTextEdit, QProgressBar, QToolButton

from penumbra.events import Event
from penumbra.job import Job, MaskSettings, OutputSettings, PlateSettings, RefineSettings
from penumbra_gui.controllers.project import ProjectController
from penumbra_gui.controllers.run import RunController
from penumbra_gui.controllers.viewer import ViewerController
from penumbra_gui.models.checks import PlateFacts, Sentence, Verdict
from penumbra_gui.models.frame_store import FrameStore
from penumbra_gui.models.job_queue import JobQueue
from penumbra_gui.models.outputs import free_folder, look_at_folder
from penumbra_gui.models.picture import ViewSettings
from penumbra_gui.models.project import Project
from penumbra_gui.models.runner import Runner
from penumbra_gui.models.service import FootageService
from penumbra_gui.models.session import Session
from penumbra_gui.views.dialogs import Dialogs
from penumbra_gui.views.job_form import JobFormView
from penumbra_gui.views.layers import LayersView
from penumbra_gui.views.masks import MasksView
from penumbra_gui.views.parts import MessageBar
from penumbra_gui.views.run_panel import RunView
from penumbra_gui.views.timeline import TimelineView
from penumbra_gui.views.view_bar import ViewBar
from penumbra_gui.views.viewer import ViewerView

FACTS = {
    "first": 1, "last": 4, "width": 64, "height": 48, "canvas": [0, 0, 64, 48], "pixel_aspect": 1.0, "fps": 24.0,
    "space": "lin_rec709", "source_space": "lin_rec709", "on_disk": "1:4",
}  # fmt: skip
USABLE = Verdict(PlateFacts.of_answer(FACTS), (), ())
OF_ANOTHER = Event("error", message="It is another job's.", code="output_of_another_job", fix="Choose another.")


def job_of(folder, plate="/p.mov", *names):
    masks = tuple(MaskSettings(name, f"/{name}.mov") for name in names or ("car",))
    return Job(PlateSettings(str(plate)), masks, OutputSettings(str(folder)))


def write_result(folder, plate="/p.mov", *names):
    """What a run of four frames leaves."""
    names = names or ("car",)
    (folder / ".penumbra").mkdir(parents=True)
    (folder / ".penumbra" / "journal.json").write_text("{}")
    for name in ("background", *names):
        (folder / name).mkdir()
        for number in range(1, 5):
            (folder / name / f"{name}.{number:04d}.exr").touch()
    body = {
        "penumbra_manifest": 1,
        "job": job_of(folder, plate, *names).to_dict(),
        "order": {str(number): list(names) for number in range(1, 5)},
        "objects": [{"name": name} for name in names],
    }
    (folder / "manifest.json").write_text(json.dumps(body))


class Bench:
    """A run's controller with its views; ``runners``: the engines started, each with ``on_event`` and ``on_end``."""

    def __init__(self, loop, workers, folder):
        self.loop, self.folder, self.session, self.runners, self.log = loop, folder, Session(), [], []
        self.view, self.messages, self.dialogs = RunView(), MessageBar(), MagicMock(spec=Dialogs)
        self.queue = JobQueue(folder / "jobs")
        self.controller = RunController(
            self.session, self.queue, self._make, loop, workers, self.view, self.messages, self.dialogs,
            self.log.append, lambda: 1, lambda: None,
        )  # fmt: skip

    def _make(self, file, resume, on_event, on_end):
        runner = MagicMock(spec=Runner, log="")
        runner.job, runner.resume = json.loads(Path(file).read_text()), resume
        runner.on_event, runner.on_end = on_event, on_end
        self.runners.append(runner)
        return runner

    def open(self, name, **changes):
        """Another clip, called ``name``, is open."""
        job = job_of(self.folder / name, f"/{name}.mov")
        self.session.project = Project(job.plate, job.masks, job.output.folder, refine=RefineSettings(), **changes)
        self.session.verdict, self.session.output, self.session.finished = USABLE, None, frozenset()
        self.session.tell()

    def end(self, code=0, *events):
        """The engine started last ends."""
        for event in events:
            self.runners[-1].on_event(event)
        self.runners[-1].on_end(code, None)
        self.loop.run(3)

    def press(self, label):
        """A button of the message."""
        button = next(button for button in self.messages.findChildren(QToolButton) if label in button.text())
        button.click()

    @property
    def started(self):
        """The clips whose engines were started."""
        return [Path(runner.job["plate"]["path"]).stem for runner in self.runners]

    def rows(self):
        """What the queue's list shows: clip and state, and the tooltip."""
        jobs = self.view.findChildren(QListWidget)[0]
        items = [jobs.item(place) for place in range(jobs.count())]
        return [(item.text().partition(".")[0], item.text().splitlines()[1], item.toolTip()) for item in items]


@pytest.fixture
def bench(app, spin, loop, workers, tmp_path):
    made = Bench(loop, workers, tmp_path)
    yield made
    for widget in (made.view, made.messages):
        widget.deleteLater()
    spin(seconds=0.02, must=False)


def test_overwrite_is_of_the_job_that_failed_and_not_of_the_clip_open_by_then(bench):
    bench.open("a")
    bench.controller.start()
    bench.open("b")
    bench.end(4, OF_ANOTHER)
    bench.press("Overwrite")
    assert bench.dialogs.confirm.call_args.args[0] == f"Overwrite the layers in {bench.folder / 'a'}?"
    assert bench.started == ["a", "a"]
    assert bench.runners[1].job["output"]["replace"]
    bench.end(-9)
    bench.press("Resume")
    assert bench.started == ["a", "a", "a"]
    assert not bench.runners[2].job["output"]["replace"]


def test_an_error_has_what_the_engine_said_last_for_its_details(bench):
    bench.open("a")
    bench.controller.start()
    bench.runners[-1].log = "\n".join(f"line {number}" for number in range(50))
    bench.end(1, Event("error", message="A fault.", code="fault", fix="Report it."))
    details = bench.messages.findChildren(QPlainTextEdit)[0].toPlainText().splitlines()
    assert details == [f"line {number}" for number in range(20, 50)]


def test_a_failed_job_that_is_still_open_is_run_as_it_was_mended(bench):
    bench.open("a")
    bench.controller.start()
    bench.end(-9)
    bench.session.project = replace(bench.session.project, precision="float")
    bench.press("Resume")
    assert bench.runners[1].job["output"]["precision"] == "float"


def test_a_failed_job_resumed_while_another_runs_is_the_next(bench):
    bench.open("a")
    bench.controller.start()
    for name in "bc":
        bench.open(name)
        bench.controller.enqueue()
    bench.end(-9)
    assert bench.started == ["a", "b"]
    bench.press("Resume")
    assert bench.messages.text == ""
    bench.end()
    assert bench.started == ["a", "b", "a"]


def test_what_is_overwritten_is_unfinished_and_read_anew_at_the_end(bench):
    write_result(bench.folder / "a", "/a.mov")
    bench.open("a")
    bench.session.finished = frozenset(range(1, 5))
    bench.controller.start(replace_output=True)
    assert bench.session.finished == frozenset()
    during = bench.session.layers_edition
    bench.end()
    assert bench.session.finished == frozenset(range(1, 5))
    assert bench.session.output is not None
    assert bench.session.layers_edition > during


def test_a_result_that_was_not_overwritten_after_all_is_shown_again(bench):
    write_result(bench.folder / "a", "/a.mov")
    bench.open("a")
    bench.controller.start(replace_output=True)
    bench.end(5)
    assert bench.controller.state.status == "failed"
    assert bench.session.finished == frozenset(range(1, 5))
    assert bench.session.output is not None


def test_a_run_of_another_clip_in_the_same_folder_is_not_the_open_clip_s(bench):
    bench.open("a")
    bench.controller.start()
    write_result(bench.folder / "a", "/a.mov")
    bench.session.project = replace(bench.session.project, plate=PlateSettings("/b.mov"))
    bench.end()
    assert bench.session.output is None
    assert bench.session.finished == frozenset()


def test_the_next_job_leaves_what_is_said_of_a_failed_one(bench):
    bench.open("a")
    bench.controller.start()
    bench.open("b")
    bench.controller.enqueue()
    bench.end(4, OF_ANOTHER)
    assert bench.started == ["a", "b"]
    assert bench.messages.text == "It is another job's. Choose another."
    bench.end()
    assert bench.messages.text == "It is another job's. Choose another."
    assert [(clip, state) for clip, state, _ in bench.rows()] == [("a", "failed"), ("b", "finished")]
    assert "It is another job's. Choose another." in bench.rows()[0][2]
    bench.open("c")
    bench.controller.start()
    assert bench.messages.text == ""
    bench.end()
    assert "Finished" in bench.messages.text


def test_a_job_of_the_queue_is_run_next(bench):
    bench.open("a")
    bench.controller.start()
    for name in "bcd":
        bench.open(name)
        bench.controller.enqueue()
    bench.controller.start_queued(4)
    assert [clip for clip, *_ in bench.rows()] == ["a", "d", "b", "c"]
    bench.end()
    assert bench.started == ["a", "d"]


def test_an_impossible_folder_is_what_is_complained_of(bench):
    bench.open("a")
    bench.session.project = replace(bench.session.project, folder=str(bench.folder / ("x" * 300)))
    bench.controller.start()
    assert bench.runners == []
    assert "The output folder" in bench.messages.text
    assert "cannot be used" in bench.messages.text
    assert look_at_folder(bench.session.project.folder, "/a.mov", ("car",), None).note.severity == "error"


def test_no_key_starts_what_the_button_would_not(bench):
    bench.open("a")
    for verdict in (None, Verdict(PlateFacts.of_answer(FACTS), (), (Sentence("error", "It lacks frame 3."),))):
        bench.session.verdict = verdict
        bench.session.tell()
        assert not bench.view.start.isEnabled()
        bench.controller.start()
        assert bench.runners == []
    # A host's whole job is not kept waiting.
    bench.controller.start(checked=False)
    assert bench.started == ["a"]


def test_a_clip_just_opened_has_not_run(bench):
    bench.open("a")
    bench.controller.start()
    bench.end(0, Event("progress", "lift", 4, 4))
    bar = bench.view.findChildren(QProgressBar)[0]
    assert not bar.isHidden()
    bench.open("b")
    assert bar.isHidden()
    assert bench.controller.state.status == "waiting"
    bench.open("a")
    assert bench.controller.state.status == "done"


def test_neither_another_clip_s_layers_nor_those_of_other_objects_are_this_one_s(tmp_path):
    folder, plate = tmp_path / "layers", str(tmp_path / "plate.0001.exr")
    write_result(folder, tmp_path / "plate.%04d.exr", "car", "dog")
    ours = look_at_folder(str(folder), plate, ("car", "dog"), None)
    assert ours.output is not None
    assert ours.frames == set(range(1, 5))
    for other, names in ((str(tmp_path / "other.0001.exr"), ("car", "dog")), (plate, ("car",))):
        found = look_at_folder(str(folder), other, names, ours.output)
        assert (found.output, found.frames, found.begun) == (None, frozenset(), False)
    assert "another clip" in str(look_at_folder(str(folder), "/other.mov", (), None).note)


def test_a_clip_gets_a_folder_of_its_own_beside_another_s_result(loop, workers, tmp_path):
    usual = tmp_path / "layers"
    write_result(usual, tmp_path / "plate.%04d.exr")
    session, service = Session(), MagicMock(spec=FootageService)
    service.ask.return_value = Future()
    views = [MagicMock(spec=view) for view in (JobFormView, MasksView, MessageBar, Dialogs)]
    controller = ProjectController(session, service, loop, workers, *views, lambda _path: None)
    controller.open_plate(str(tmp_path / "second.0001.exr"))
    assert session.project.folder == str(tmp_path / "layers_second")
    write_result(tmp_path / "layers_second", tmp_path / "second.0001.exr")
    controller.open_plate(str(tmp_path / "second.####.exr"))
    assert session.project.folder == str(tmp_path / "layers_second")
    for plate in (tmp_path / "plate.0003.exr", tmp_path):
        controller.open_plate(str(plate))
        assert session.project.folder == str(usual)


def test_layers_moved_with_their_clip_are_still_its_own(tmp_path):
    usual = tmp_path / "layers"
    write_result(usual, "/gone/from/here/plate.%04d.exr")
    assert free_folder(str(tmp_path / "plate.0001.exr")) == str(usual)
    assert look_at_folder(str(usual), str(tmp_path / "plate.0001.exr"), ("car",), None).output is not None


def test_a_number_that_is_free_again_does_not_make_the_newest_job_the_oldest(tmp_path):
    first = JobQueue(tmp_path)
    done, _ = first.add(job_of("/b")), first.add(job_of("/a", "/old.mov"))
    done.state.end(0)
    first.forget_files()
    second = JobQueue(tmp_path)
    entry = second.add(job_of("/a", "/new.mov"))
    assert second.file_of(Path("/a")) == entry.file
    assert [json.loads(path.read_text())["plate"]["path"] for path in tmp_path.glob("*.json")] == ["/new.mov"]


def test_jobs_are_told_apart_by_age_beyond_four_digits(tmp_path):
    (tmp_path / "job_9999.json").write_text(job_of("/a", "/old.mov").to_json())
    queue = JobQueue(tmp_path)
    for name in ("/newer.mov", "/newest.mov"):
        queue.add(job_of("/a", name))
    assert json.loads(queue.file_of(Path("/a")).read_text())["plate"]["path"] == "/newest.mov"
    queue.remove(10001)
    assert queue.add(job_of("/c")).number == 10002


def test_what_was_chosen_of_a_layer_goes_with_it(app, spin, loop, workers):
    session, layers, store = Session(), LayersView(), MagicMock(spec=FrameStore)
    store.service = MagicMock(spec=FootageService, starts=1)
    store.frames_ready.return_value = set()
    viewer = MagicMock(spec=ViewerView, scale=1.0)
    controller = ViewerController(
        session, store, loop, workers, viewer, MagicMock(spec=ViewBar), MagicMock(spec=TimelineView), layers,
        MagicMock(spec=Dialogs), lambda _text: None, lambda: None,
    )  # fmt: skip
    job = job_of("/layers", "/p.mov", "car", "dog", "cat")
    session.project, session.verdict, session.finished = Project.of_job(job), USABLE, frozenset({1})
    session.edition = 1
    session.tell()
    layers.soloed.emit("car")
    layers.shown.emit("dog", False)
    layers.opacity_changed.emit("cat", 0.5)
    session.project = session.project.with_changed_mask(0, name="bike").with_changed_mask(2, name="cow")
    session.tell()
    kept = controller.view
    assert (kept.solo, kept.hidden, kept.opacity) == ("", {"dog"}, ())
    assert [row.name for row in layers._rows if kept.shows(row.name)] == ["cow", "bike"]
    assert kept.of_layers(()) == replace(ViewSettings(), content="layers", display=kept.display, view=kept.view)
    layers.deleteLater()
    spin(seconds=0.02, must=False)
