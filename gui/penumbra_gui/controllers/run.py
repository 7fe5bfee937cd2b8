"""The run: started, watched, stopped, resumed, and the next one in the queue after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PySide6.QtGui import QImage

from penumbra.errors import PenumbraError
from penumbra.events import Event
from penumbra.job import Job
from penumbra_gui.models.checks import Sentence
from penumbra_gui.models.job_queue import JobQueue, QueuedJob
from penumbra_gui.models.outputs import FolderState, finished_frames, has_begun, look_at_folder, open_output
from penumbra_gui.models.run_state import RunState, time_left
from penumbra_gui.models.runner import Runner
from penumbra_gui.models.session import Session
from penumbra_gui.models.words import QT_TRANSLATE_NOOP
from penumbra_gui.models.workers import Loop, Workers
from penumbra_gui.views.dialogs import Dialogs
from penumbra_gui.views.parts import MessageBar
from penumbra_gui.views.run_panel import QueueRow, RunView, read_strip
from penumbra_gui.views.words import translate

MakeRunner = Callable[[Path, bool, Callable[[Event], None], Callable[[int, Sentence | None], None]], Runner]
_LOOK_MILLISECONDS = 400
_STATES = {
    "waiting": QT_TRANSLATE_NOOP("Run", "waiting"),
    "running": QT_TRANSLATE_NOOP("Run", "running"),
    "stopping": QT_TRANSLATE_NOOP("Run", "stopping"),
    "stopped": QT_TRANSLATE_NOOP("Run", "stopped"),
    "failed": QT_TRANSLATE_NOOP("Run", "failed"),
    "done": QT_TRANSLATE_NOOP("Run", "finished"),
}


class RunController:
    """One engine at a time. ``on_finished`` is called when a run of the open clip has ended well."""

    def __init__(
        self,
        session: Session,
        queue: JobQueue,
        make_runner: MakeRunner,
        loop: Loop,
        workers: Workers,
        view: RunView,
        messages: MessageBar,
        dialogs: Dialogs,
        add_log: Callable[[str], None],
        current_frame: Callable[[], int],
        on_finished: Callable[[], None],
    ) -> None:
        self._session, self._queue, self._make_runner = session, queue, make_runner
        self._loop, self._workers, self._view, self._messages, self._dialogs = loop, workers, view, messages, dialogs
        self._add_log, self._current_frame, self._on_finished = add_log, current_frame, on_finished
        self._current: QueuedJob | None = None
        # The job whose error is in the message bar, and the words there.
        self._failed: QueuedJob | None = None
        self._told = ""
        self._runner: Runner | None = None
        self._logged = 0
        self._live_frame: int | None = None
        self._looking, self._idle = False, RunState()
        self._strip: QImage | None = None
        view.start_asked.connect(self.start)
        view.stop_asked.connect(self.stop)
        view.queue_asked.connect(self.enqueue)
        view.job_removed.connect(self._remove)
        view.job_started.connect(self.start_queued)
        view.live_frame_asked.connect(self._show_live_frame)
        messages.acted.connect(self._act)
        session.listen(self.show)
        self.show()

    @property
    def state(self) -> RunState:
        """The run shown: the one at work, else the open clip's last."""
        entry = self._current
        return entry.state if entry is not None and (entry.state.active or self._is_open(entry)) else self._idle

    @property
    def active(self) -> bool:
        """Whether an engine works."""
        return self._runner is not None

    def start(self, replace_output: bool = False, checked: bool = True) -> None:
        """Starts the open job, or resumes what its folder holds; ``checked``: only where the button can be pressed."""
        if not self.active and (self._hint()[1] or not checked):
            self._run(self._open_job(replace_output))

    def _run(self, job: Job | None) -> None:
        """Next, at once where no engine works."""
        entry = None if job is None else self._add(job)
        if entry is not None:
            self._forget_message()
            self._run_next(entry)

    def _run_next(self, entry: QueuedJob) -> None:
        if self.active:
            self._queue.put_first(entry.number)
            self.show()
        else:
            self._begin(entry)

    def enqueue(self) -> None:
        """The open job, after those that wait."""
        job = self._open_job(replace_output=False)
        if job is not None and self._add(job) is not None and not self.active:
            self._forget_message()
            self._begin_next()
        self.show()

    def _forget_message(self) -> None:
        """What was told last is done with, once the artist starts something else."""
        self._failed = None
        self._messages.hide()

    def stop(self) -> None:
        """Asks the engine to stop; what is finished stays."""
        if self._runner is not None and self.state.status == "running":
            self.state.status = "stopping"
            self._runner.stop()
            self.show()

    def stop_and_wait(self, seconds: float) -> bool:
        """For the end of the program: nothing that waits is begun any more."""
        for entry in list(self._queue.jobs):
            if entry.state.status == "waiting":
                self._queue.remove(entry.number)
        self.stop()
        done = self._runner is None or self._runner.wait(seconds)
        self._queue.forget_files()
        return done

    def _open_job(self, replace_output: bool) -> Job | None:
        try:
            return self._session.project.job(replace_output)
        except PenumbraError as error:
            self._messages.show_message("error", error.sentence, error.fix)
        return None

    def _add(self, job: Job) -> QueuedJob | None:
        try:
            resume = has_begun(Path(job.output.folder)) and not job.output.replace
            taken = [
                e for e in self._queue.jobs if e.state.status != "done" and e.job.output.folder == job.output.folder
            ]
            for entry in taken:
                self._queue.remove(entry.number)
            return self._queue.add(job, resume)
        except PenumbraError as error:
            self._messages.show_message("error", error.sentence, error.fix)
        except OSError as error:
            text = translate("Run", "The job file cannot be written: {0}.").format(error)
            self._messages.show_message("error", text, translate("Run", "Make room on the disk."))
        return None

    def _begin(self, entry: QueuedJob) -> None:
        self._current = entry
        entry.state.begin()
        if self._is_open(entry):
            self._session.layers_edition += 1
            if entry.job.output.replace and not entry.resume:
                # The engine removes the layers of before as soon as it has the folder.
                self._session.output, self._session.finished = None, frozenset()
                self._session.tell()
        number = entry.number
        runner = self._make_runner(
            entry.file,
            entry.resume,
            lambda event: self._loop.post(lambda: self._take(number, event)),
            lambda code, error: self._loop.post(lambda: self._end(number, code, error)),
        )
        self._runner, self._logged, self._live_frame, self._strip = runner, 0, None, None
        runner.start()
        self._loop.later(_LOOK_MILLISECONDS, self._look)
        self.show()

    def _begin_next(self) -> None:
        entry = None if self.active else self._queue.next_waiting()
        if entry is not None:
            self._begin(entry)

    def _take(self, number: int, event: Event) -> None:
        entry = self._queue.find(number)
        if entry is None:
            return
        before = entry.state.stage
        if not entry.state.take(event):
            self._add_log(f"A line that is no event was left out: {event}")
        elif event.event == "warning":
            self._add_log(f"warning: {event.message}")
        elif event.event == "stage" and before != event.stage:
            self._add_log(event.message or event.stage)
        elif event.event == "preview":
            path = event.path
            self._workers.run(lambda: read_strip(path), self._take_strip, lambda _error: None)
        self.show()

    def _take_strip(self, strip: QImage | None) -> None:
        self._strip = strip
        self._show_learning(self.state)

    def _end(self, number: int, exit_code: int, error: Sentence | None) -> None:
        entry = self._queue.find(number)
        self._pull_log()
        log = "" if self._runner is None else self._runner.log
        self._runner = None
        if entry is None:
            return
        if error is not None:
            entry.state.fail(error)
        else:
            entry.state.end(exit_code)
        entry.resume = True
        self._add_log(entry.state.message)
        self._tell_end(entry, log)
        if entry.state.status == "done" and self._is_open(entry):
            self._open_layers(entry)
        else:
            self._look_at_folder(entry)
        self.show()
        if entry.state.status != "stopped":
            self._begin_next()

    def _tell_end(self, entry: QueuedJob, log: str) -> None:
        state = entry.state
        if state.error is not None:
            self._add_log(f"error: {state.error}")
            self._messages.show_message(
                "error", state.error.text, state.error.fix, _tail(log, entry), _actions(state.error.code)
            )
            self._failed, self._told = entry, self._messages.text
        elif state.status == "done" and (self._failed is None or self._messages.text != self._told):
            # Why an earlier job of the queue has failed is worth more.
            count = len(state.warnings)
            warned = translate("Run", "Warnings: {0}, see the details.").format(count) if count else ""
            text = translate("Run", "Finished: {0}").format(entry.job.output.folder)
            self._messages.show_message("note", text, warned, "\n".join(state.warnings))

    def _open_layers(self, entry: QueuedJob) -> None:
        folder = Path(entry.job.output.folder)

        def opened(output: object) -> None:
            if self._is_open(entry):
                # What was read while the run went on may have been of before.
                self._session.layers_edition += 1
                self._session.output = output  # type: ignore[assignment] # what open_output returned
                self._session.finished = frozenset(getattr(output, "frames", ()))
                self._on_finished()
                self._session.tell()

        self._workers.run(lambda: open_output(folder), opened, lambda error: self._add_log(str(error)))

    def _look_at_folder(self, entry: QueuedJob) -> None:
        """What a run that did not finish has left; the result of before, where it was not begun at all."""
        folder, plate, names = entry.job.output.folder, entry.job.plate.path, self._session.project.names

        def found(state: FolderState) -> None:
            if self._is_open(entry) and not entry.state.active:
                self._session.output, self._session.finished = state.output, state.frames
                self._session.tell()

        if self._is_open(entry):
            self._workers.run(
                lambda: look_at_folder(folder, plate, names, None), found, lambda error: self._add_log(str(error))
            )

    def _look(self) -> None:
        """While a run goes on: new lines for the log, frames that have been finished."""
        if not self.active:
            return
        self._pull_log()
        if self.state.stage in ("lift", "previews"):
            self._look_for_frames()
        self._loop.later(_LOOK_MILLISECONDS, self._look)

    def _look_for_frames(self) -> None:
        entry = self._current
        if entry is None or self._looking or not self._is_open(entry):
            return
        folder, names = Path(entry.job.output.folder), entry.job.names
        self._looking = True

        def found(frames: frozenset[int]) -> None:
            self._looking = False
            if self._is_open(entry) and frames != self._session.finished:
                self._session.finished = frames
                self._session.tell()

        def lost(_error: Exception) -> None:
            self._looking = False

        self._workers.run(lambda: finished_frames(folder, names), found, lost)

    def _pull_log(self) -> None:
        if self._runner is not None:
            text = self._runner.log
            if len(text) > self._logged:
                self._add_log(text[self._logged :])
                self._logged = len(text)

    def _is_open(self, entry: QueuedJob) -> bool:
        project = self._session.project
        same_clip = project.plate is not None and project.plate.path == entry.job.plate.path
        return same_clip and entry.job.output.folder == project.folder

    def _act(self, name: str) -> None:
        """A button of the message: it is about the job that has failed, whatever is open by now."""
        entry = self._failed
        if entry is None:
            return
        replacing = name == "replace"
        question = translate("Run", "Overwrite the layers in {0}?").format(entry.job.output.folder)
        if replacing and not self._dialogs.confirm(question, translate("Run", "Overwrite")):
            return
        if self._is_open(entry):
            # As it has been mended since.
            self._run(self._open_job(replacing))
        else:
            self._run(replace(entry.job, output=replace(entry.job.output, replace=replacing)))

    def _remove(self, number: int) -> None:
        self._queue.remove(number)
        self.show()

    def _show_live_frame(self) -> None:
        if self._runner is not None:
            self._live_frame = self._current_frame()
            self._runner.show_frame(self._live_frame)
            self.show()

    def show(self) -> None:
        """Brings the view up to date."""
        state = self.state
        hint, usable = self._hint()
        begun = self._session.begun or self._has_begun()
        word = translate("Run", "Resume") if begun else translate("Run", "Start")
        self._view.show_possible(word, usable and not self.active, state.status == "running",
                                 usable and self.active, "" if self.active else hint)  # fmt: skip
        clock = time_left(state.eta)
        left = translate("Run", "{0} left").format(clock) if clock else ""
        self._view.show_progress(translate("Run", state.message), state.done, state.total, left, state.active)
        self._show_learning(state)
        self._view.show_queue(tuple(_queue_row(entry) for entry in self._queue.jobs))

    def _hint(self) -> tuple[str, bool]:
        """What is missing before a start, and whether one is possible; neither while the footage is being checked."""
        verdict = self._session.verdict
        try:
            self._session.project.job()
        except PenumbraError as error:
            return str(error), False
        return ("", False) if verdict is None else (verdict.first_error, verdict.usable)

    def _has_begun(self) -> bool:
        entry = self._current
        return entry is not None and self._is_open(entry) and entry.state.resumable

    def _show_learning(self, state: RunState) -> None:
        picture = self._strip if state.active else None
        names = self._current.job.names if self._current is not None else ()
        note = translate("Run", "Layers as they are learnt, at the middle frame")
        if self._live_frame is not None:
            note = translate("Run", "Layers as they are learnt, at frame {0}").format(self._live_frame)
        self._view.show_learning(state.losses, picture, (translate("Run", "plate"), *names), note)

    def start_queued(self, number: int) -> None:
        """A job of the queue that waits, or has stopped or failed: next, at once where no engine works."""
        entry = self._queue.find(number)
        if entry is None or entry.state.active or entry.state.status == "done":
            return
        entry.state = replace(RunState(), losses=entry.state.losses)
        if not self.active:
            self._forget_message()
        self._run_next(entry)


def _actions(code: str) -> tuple[tuple[str, str], ...]:
    if code == "output_of_another_job":
        return (("replace", translate("Run", "Overwrite...")),)
    return (("resume", translate("Run", "Resume")),)


def _queue_row(entry: QueuedJob) -> QueueRow:
    told = "" if entry.state.error is None else str(entry.state.error)
    return QueueRow(entry.number, entry.title, translate("Run", _STATES[entry.state.status]), told)


def _tail(log: str, entry: QueuedJob) -> str:
    """The end of what an engine has said beside its events, or else its warnings."""
    return "\n".join(log.splitlines()[-30:]) or "\n".join(entry.state.warnings)
