"""Controllers without a window: every view is a mock of its class."""

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

pytest.importorskip("PySide6.QtWidgets", reason="the panel needs PySide6 and Qt's libraries", exc_type=ImportError)

from penumbra.errors import PenumbraError
from penumbra.events import Event
from penumbra.job import MaskSettings, PlateSettings, RefineSettings
from penumbra_gui.controllers.output import OutputController
from penumbra_gui.controllers.project import ProjectController
from penumbra_gui.controllers.run import RunController
from penumbra_gui.controllers.setup import SetupController
from penumbra_gui.controllers.viewer import ViewerController
from penumbra_gui.models.checks import PlateFacts, Sentence, Verdict
from penumbra_gui.models.engine_setup import EngineReport
from penumbra_gui.models.frame_store import FrameStore
from penumbra_gui.models.job_queue import JobQueue
from penumbra_gui.models.picture import Picture
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
from penumbra_gui.views.welcome import WelcomeView

FACTS = {
    "first": 1001, "last": 1010, "width": 64, "height": 48, "canvas": [0, 0, 64, 48], "pixel_aspect": 1.0, "fps": 24.0,
    "space": "lin_rec709", "source_space": "lin_rec709", "on_disk": "1001:1010",
}  # fmt: skip


def answered(plate, *masks):
    future = Future()
    future.set_result({"plate": plate, "masks": list(masks), "clean_plate": None})
    return future


@pytest.fixture
def parts(loop, workers):
    """Session, controller and views of what goes in."""
    session, service = Session(), MagicMock(spec=FootageService)
    service.ask.return_value = answered({"facts": FACTS, "warnings": []})
    form, masks = MagicMock(spec=JobFormView), MagicMock(spec=MasksView)
    messages, dialogs = MagicMock(spec=MessageBar), MagicMock(spec=Dialogs)
    remembered = []
    controller = ProjectController(session, service, loop, workers, form, masks, messages, dialogs, remembered.append)
    return session, service, controller, form, masks, messages, dialogs, remembered


@pytest.mark.parametrize("failed", [False, True])
def test_a_good_verdict_takes_away_what_a_verdict_has_told_and_not_why_a_run_failed_meanwhile(parts, loop, failed):
    _, service, controller, _, _, messages, _, _ = parts
    lacking = {"code": "missing_frames", "message": "It lacks frames 1004.", "fix": "Render them."}
    service.ask.return_value, messages.text = answered({"error": lacking}), "It lacks frames 1004. Render them."
    controller.open_paths(["/shots/plate.%04d.exr"])
    loop.run()
    messages.hide.reset_mock()
    if failed:
        messages.text = "There is no mask file at nowhere.0001.exr."
    service.ask.return_value = answered({"facts": FACTS, "warnings": []})
    controller.check()
    loop.run()
    assert messages.hide.called is not failed


def test_a_clip_is_checked_as_soon_as_it_is_chosen(parts, loop):
    session, service, controller, form, _, messages, _, remembered = parts
    controller.open_paths(["/shots/plate.%04d.exr"])
    loop.run()
    assert service.ask.call_args.kwargs["plate"]["path"] == "/shots/plate.%04d.exr"
    assert session.facts.last == 1010
    assert session.project.folder == "/shots/layers"
    assert remembered == ["/shots/plate.%04d.exr"]
    messages.show_message.assert_not_called()
    assert form.show_project.call_args.args[2] == (1001, 1010)


def test_ten_masks_dropped_are_one_check(parts, loop):
    session, service, controller, _, masks, *_ = parts
    controller.open_plate("/p.mov")
    controller.open_paths([f"/m{i}.mov" for i in "abcdefghij"])
    loop.run()
    assert service.ask.call_count == 1
    assert len(session.project.masks) == 10
    assert len(masks.show_rows.call_args.args[0]) == 10


def test_what_is_wrong_is_said_in_the_engine_s_words(parts, loop):
    session, service, controller, _, masks, messages, *_ = parts
    wrong = {"code": "missing_frames", "message": "It lacks frames 1004.", "fix": "Render them."}
    service.ask.return_value = answered({"error": wrong}, {"name": "m", "error": wrong})
    controller.open_plate("/p.mov")
    controller.open_paths(["/m.mov"])
    loop.run()
    messages.show_message.assert_called_with("error", "It lacks frames 1004.", "Render them.", "")
    row = masks.show_rows.call_args.args[0][0]
    assert (row.severity, row.note) == ("error", "It lacks frames 1004. Render them.")
    assert session.facts is None


def test_an_answer_to_an_older_question_is_dropped(parts, loop):
    session, service, controller, *_ = parts
    first, second = Future(), answered({"facts": {**FACTS, "last": 1002}, "warnings": []})
    service.ask.side_effect = [first, second]
    controller.open_plate("/a.mov")
    loop.run()
    controller.open_plate("/b.mov")
    loop.run()
    first.set_result({"plate": {"facts": FACTS, "warnings": []}, "masks": [], "clean_plate": None})
    loop.run()
    assert session.facts.last == 1002


def test_a_reader_that_cannot_start_is_a_sentence(parts, loop):
    _, service, controller, _, _, messages, *_ = parts
    lost = Future()
    lost.set_exception(PenumbraError("The engine was not found.", "Install it."))
    service.ask.return_value = lost
    controller.open_plate("/a.mov")
    loop.run()
    messages.show_message.assert_called_with("error", "The engine was not found.", "Install it.", "")


def test_a_bad_name_is_refused_and_the_old_one_shown_again(parts):
    session, _, controller, _, masks, messages, *_ = parts
    controller.open_plate("/a.mov")
    controller.open_paths(["/car.mov"])
    rename = masks.renamed.connect.call_args.args[0]
    rename(0, "über auto")
    assert "cannot be used" in messages.show_message.call_args.args[1]
    assert masks.show_rows.call_args.args[0][0].name == "car"
    rename(0, "auto_2")
    assert session.project.names == ("auto_2",)


def test_an_unfinished_folder_opens_with_the_job_kept_of_it(loop, workers, tmp_path):
    session, service = Session(), MagicMock(spec=FootageService)
    service.ask.return_value = answered({"facts": FACTS, "warnings": []}, {"name": "car"})
    job = Project(PlateSettings("/p.mov"), (MaskSettings("car", "/c.mov"),), str(tmp_path / "layers")).job()
    kept, remembered = tmp_path / "job_0001.json", []
    kept.write_text(job.to_json())
    (tmp_path / "layers" / ".penumbra").mkdir(parents=True)
    (tmp_path / "layers" / ".penumbra" / "journal.json").write_text("{}")
    controller = ProjectController(
        session, service, loop, workers, MagicMock(spec=JobFormView), MagicMock(spec=MasksView),
        MagicMock(spec=MessageBar), MagicMock(spec=Dialogs), remembered.append, lambda folder: kept,
    )  # fmt: skip
    controller.open_paths([str(tmp_path / "layers")])
    loop.run()
    assert session.project.job() == job
    assert session.begun
    assert remembered == [str(tmp_path / "layers")]


def test_one_mask_becomes_one_for_each_value(parts, loop):
    session, service, controller, _, masks, *_ = parts
    values = {"name": "ids", "channels": ["Y"], "id_values": [0, 1, 2]}
    service.ask.return_value = answered({"facts": FACTS, "warnings": []}, values)
    controller.open_plate("/p.mov")
    controller.open_paths(["/ids.mov"])
    loop.run()
    masks.split_asked.connect.call_args.args[0](0)
    assert session.project.names == ("ids_1", "ids_2")


def test_the_whole_range_means_all_frames(parts, loop):
    session, _, controller, form, *_ = parts
    controller.open_plate("/a.mov")
    loop.run()
    choose = form.frames_chosen.connect.call_args.args[0]
    choose(1002, 1005)
    assert str(session.project.plate.frames) == "1002-1005"
    choose(1001, 1010)
    assert session.project.plate.frames is None
    choose(9, 3)
    assert session.project.plate.frames is None


class FakeStore(FrameStore):
    """Pictures out of nothing, one per frame and look."""

    def __init__(self):
        super().__init__(MagicMock(spec=FootageService, starts=1), 1 << 24)
        self.made = []
        self.broken = set()

    def make(self, wanted):
        self.made.append(wanted)
        if wanted.frame in self.broken:
            raise PenumbraError(f"Frame {wanted.frame} is corrupt.", "Render it again.")
        pixels = np.zeros((4, 4, 4), np.uint8)
        picture = Picture(pixels, np.zeros((4, 4, 4), np.float16), (0, 0, 64, 48), wanted.step)
        self._pictures.put((wanted.frame, wanted.look), picture, picture.size)
        return picture


@pytest.fixture
def seeing(loop, workers):
    """A viewer's controller on a clip of ten frames, its views mocked."""
    session, store = Session(), FakeStore()
    viewer = MagicMock(spec=ViewerView, scale=0.5)
    viewer.visible.return_value = (0, 0, 64, 48)
    viewer.values_at.return_value = ([0.5, 0.25, 0.125, 1.0], [188, 137, 99])
    views = [viewer, MagicMock(spec=ViewBar), MagicMock(spec=TimelineView), MagicMock(spec=LayersView)]
    said, lost, now = [], [], [0.0]
    controller = ViewerController(
        session, store, loop, workers, *views, MagicMock(spec=Dialogs), said.append, lambda: lost.append(1),
        lambda: now[0],
    )  # fmt: skip
    session.project = Project(PlateSettings("/p.mov"), (MaskSettings("car", "/c.mov"), MaskSettings("dog", "/d.mov")))
    session.verdict = Verdict(PlateFacts.of_answer(FACTS), (), ())
    session.edition = 1
    session.tell()
    loop.run()
    return controller, session, store, views, said, lost, now


def test_a_clip_is_shown_coarse_at_once_and_fine_when_one_stops(seeing):
    controller, _, store, views, *_ = seeing
    assert controller.line.current == 1001
    steps = [wanted.step for wanted in store.made]
    assert steps[-1] <= steps[0]
    views[0].show_picture.assert_called()
    views[0].set_canvas.assert_called_with(64, 48, 1.0)


def test_keys_do_what_the_sheet_says(seeing, loop):
    controller, session, _, views, *_ = seeing
    session.finished = frozenset(range(1001, 1011))
    controller.act("step_on")
    controller.act("set_start")
    controller.act("to_end")
    assert (controller.line.current, controller.line.start) == (1010, 1002)
    controller.act("channel_a")
    assert controller.view.channel == "A"
    controller.act("channel_a")
    assert controller.view.channel == "RGB"
    controller.act("wipe")
    assert (controller.view.compare, controller.view.content) == ("wipe", "layers")
    controller.act("swap")
    assert controller.view.content == "plate"
    controller.act("fit")
    views[0].fit.assert_called()
    controller.act("no such action")


def test_moving_the_wipe_makes_no_other_picture(seeing, loop):
    controller, session, store, views, *_ = seeing
    session.finished = frozenset(range(1001, 1011))
    controller.act("wipe")
    loop.run()
    made = len(store.made)
    for share in (0.2, 0.4, 0.9):
        views[0].wiped.connect.call_args.args[0](share)
        loop.run()
    views[0].set_wipe.assert_called_with(0.9)
    assert len(store.made) == made


def test_without_layers_there_is_nothing_to_compare_with(seeing):
    controller, *_ = seeing
    controller.act("wipe")
    assert controller.view.compare == "off"


def test_layers_are_shown_hidden_and_taken_out(seeing):
    controller, session, _, views, *_ = seeing
    session.finished = frozenset({1001})
    layers = views[3]
    layers.shown.connect.call_args.args[0]("car", False)
    assert not controller.view.shows("car")
    layers.soloed.connect.call_args.args[0]("car")
    assert controller.view.shows("car")
    assert not controller.view.shows("dog")
    layers.without.connect.call_args.args[0]("dog")
    assert (controller.view.hidden, controller.view.solo) == ({"dog"}, "")
    layers.opacity_changed.connect.call_args.args[0]("car", 0.5)
    assert controller.view.opacity == (("car", 0.5),)


def test_a_frame_without_layers_shows_the_plate_and_says_so(seeing, loop):
    controller, session, store, views, *_ = seeing
    session.finished = frozenset({1002})
    controller.change("content", "layers")
    loop.run()
    assert store.made[-1].view.content == "plate"
    assert "has no layers yet" in views[0].show_message.call_args.args[0]


def test_playing_goes_on_at_the_clip_s_rate(seeing, loop):
    controller, _, _, _, _, _, now = seeing
    controller.act("play_pause")
    seen = set()
    for tick in range(40):
        now[0] = tick / 24
        loop.run(1)
        seen.add(controller.line.current)
    assert seen == set(range(1001, 1011))
    controller.act("pause")
    loop.run()
    assert not controller.line.playing


def test_a_corrupt_frame_is_a_sentence_over_the_viewer_and_the_next_is_shown(seeing, loop):
    controller, _, store, views, *_ = seeing
    store.broken.add(1005)
    controller.go_to(1005)
    loop.run()
    assert views[0].show_message.call_args.args[0] == "Frame 1005 is corrupt. Render it again."
    tried = len([wanted for wanted in store.made if wanted.frame == 1005])
    assert tried <= 3
    controller.go_to(1006)
    loop.run()
    assert views[0].show_picture.called


def test_a_reader_that_was_started_again_is_told_the_clip_again(seeing, loop):
    controller, _, store, _, _, lost, _ = seeing
    store.service.starts = 2
    store.broken.add(1007)
    controller.go_to(1007)
    loop.run()
    assert lost


def test_the_pixel_under_the_pointer_is_read_out(seeing):
    _, _, _, views, said, *_ = seeing
    views[0].pointed.connect.call_args.args[0](3, 4)
    assert "x 3  y 4" in said[-1]
    assert "R 0.50000" in said[-1]
    assert "188 137 99" in said[-1]


@pytest.fixture
def running(loop, workers, tmp_path):
    """A run's controller whose engine is a mock that the test speaks for."""
    session, view, messages = Session(), MagicMock(spec=RunView), MagicMock(spec=MessageBar)
    dialogs, runners, log, finished = MagicMock(spec=Dialogs), [], [], []

    def make(file, resume, on_event, on_end):
        runner = MagicMock(spec=Runner, log="")
        runner.file, runner.resume, runner.on_event, runner.on_end = file, resume, on_event, on_end
        runners.append(runner)
        return runner

    controller = RunController(
        session, JobQueue(tmp_path / "jobs"), make, loop, workers, view, messages, dialogs, log.append, lambda: 1003,
        lambda: finished.append(1),
    )  # fmt: skip
    session.project = Project(
        PlateSettings("/p.mov"), (MaskSettings("car", "/c.mov"),), str(tmp_path / "layers"), refine=RefineSettings()
    )
    session.verdict = Verdict(PlateFacts.of_answer(FACTS), (), ())
    return controller, session, view, messages, runners, log, dialogs


def test_a_run_is_started_watched_and_stopped(running, loop):
    controller, _, view, _, runners, _, _ = running
    controller.start()
    runners[0].start.assert_called_once()
    runners[0].on_event(Event("stage", "lift", message="Writing the layers"))
    runners[0].on_event(Event("progress", "lift", 3, 10, 1.0, 65.0))
    loop.run(1)
    view.show_progress.assert_called_with("Writing the layers", 3, 10, "1:05 left", True)
    controller.stop()
    runners[0].stop.assert_called_once()
    runners[0].on_end(130, None)
    loop.run(3)
    assert controller.state.status == "stopped"
    assert view.show_possible.call_args.args[0] == "Resume"


def test_an_error_is_a_sentence_with_its_fix_and_a_way_on(running, loop):
    controller, _, _, messages, runners, _, dialogs = running
    controller.start()
    runners[0].on_event(Event("error", message="It is another job's.", code="output_of_another_job", fix="Choose."))
    runners[0].on_end(4, None)
    loop.run(3)
    severity, text, fix, _, actions = messages.show_message.call_args.args
    assert (severity, text, fix) == ("error", "It is another job's.", "Choose.")
    assert actions[0][0] == "replace"
    dialogs.confirm.return_value = True
    messages.acted.connect.call_args.args[0]("replace")
    assert len(runners) == 2
    assert '"replace": true' in Path(runners[1].file).read_text()


def test_a_broken_line_goes_to_the_log_and_the_run_goes_on(running, loop):
    controller, _, _, _, runners, log, _ = running
    controller.start()
    runners[0].on_event(Event("progress", done="x"))
    loop.run(2)
    assert any("no event" in line for line in log)
    assert controller.state.status == "running"


def test_jobs_of_the_queue_follow_each_other(running, loop, tmp_path):
    controller, session, view, _, runners, _, _ = running
    controller.start()
    session.project = replace(session.project, folder=str(tmp_path / "second"))
    controller.enqueue()
    assert len(runners) == 1
    assert [row.state for row in view.show_queue.call_args.args[0]] == ["running", "waiting"]
    runners[0].on_end(0, None)
    loop.run(3)
    assert len(runners) == 2


def test_stopping_does_not_begin_what_waits(running, loop, tmp_path):
    controller, session, _, _, runners, _, _ = running
    controller.start()
    session.project = replace(session.project, folder=str(tmp_path / "second"))
    controller.enqueue()
    controller.stop()
    runners[0].on_end(130, None)
    loop.run(3)
    assert len(runners) == 1


def test_what_waits_or_has_stopped_is_run_when_chosen(running, loop, tmp_path):
    controller, session, view, _, runners, _, _ = running
    controller.start()
    session.project = replace(session.project, folder=str(tmp_path / "second"))
    controller.enqueue()
    controller.stop()
    runners[0].on_end(130, None)
    loop.run(3)
    start = view.job_started.connect.call_args.args[0]
    start(2)
    assert len(runners) == 2
    # One engine at a time: the first waits for its turn.
    start(1)
    assert len(runners) == 2
    runners[1].on_end(0, None)
    loop.run(3)
    assert len(runners) == 3
    assert runners[2].file == runners[0].file
    start(2)
    assert len(runners) == 3, "a finished job is not run again"


def test_an_engine_that_cannot_start_is_a_sentence(running, loop):
    controller, _, _, messages, runners, _, _ = running
    controller.start()
    runners[0].on_end(5, Sentence("error", "The engine was not found.", "Install it."))
    loop.run(3)
    assert messages.show_message.call_args.args[1] == "The engine was not found."


def test_what_is_missing_is_said_beside_the_button(running):
    controller, session, view, *_ = running
    session.project = replace(session.project, masks=())
    controller.show()
    assert not view.show_possible.call_args.args[1]
    assert "no mask" in view.show_possible.call_args.args[4]


def test_a_frame_is_chosen_for_the_refinement(running):
    controller, _, view, _, runners, _, _ = running
    controller.start()
    view.live_frame_asked.connect.call_args.args[0]()
    runners[0].show_frame.assert_called_with(1003)


def test_nodes_go_to_the_clipboard_or_a_sentence(workers, tmp_path):
    session, view = Session(), MagicMock(spec=RunView)
    messages, dialogs, taken = MagicMock(spec=MessageBar), MagicMock(spec=Dialogs), []
    session.project = Project(PlateSettings("/p.mov"), (MaskSettings("car", "/c.mov"),), str(tmp_path))
    controller = OutputController(session, workers, view, messages, dialogs, taken.append)
    controller.act("Nuke")
    assert messages.show_message.call_args.args[0] == "error"
    (tmp_path / "layers.nk").write_text("Read {}")
    controller.act("Nuke")
    dialogs.copy.assert_called_with("Read {}")
    dialogs.save_file.return_value = str(tmp_path / "shot.json")
    controller.act("job")
    assert '"penumbra_job": 1' in (tmp_path / "shot.json").read_text()
    controller.act("refine")
    assert taken[0].folder.endswith("_v002")


def test_a_missing_engine_is_said_at_the_start(workers):
    messages, welcome = MagicMock(spec=MessageBar), MagicMock(spec=WelcomeView)
    shown = []
    problem = Sentence("error", "The Penumbra engine was not found.", "Install it.")
    controller = SetupController(
        workers, welcome, messages, shown.append, lambda _: None, lambda _: None, Path("/x"),
        lambda _: EngineReport("", (), problem),
    )  # fmt: skip
    controller.examine(None)
    assert shown[-1] == "no engine"
    assert messages.show_message.call_args.args[1] == problem.text
