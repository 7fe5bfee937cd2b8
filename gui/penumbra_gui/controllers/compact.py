"""The compact window put together: a host's job finished, run, and its end told to the host."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from penumbra.errors import Stopped
from penumbra.events import Event
from penumbra.job import Job
from penumbra_gui.controllers.project import ProjectController
from penumbra_gui.controllers.run import RunController
from penumbra_gui.models.begun_job import BegunJob, project_of
from penumbra_gui.models.checks import Sentence
from penumbra_gui.models.host_pipe import EventRelay
from penumbra_gui.models.runner import Runner
from penumbra_gui.models.service import FootageService
from penumbra_gui.models.session import Session
from penumbra_gui.models.workers import Workers
from penumbra_gui.views.compact_window import CompactWindow
from penumbra_gui.views.dialogs import Dialogs
from penumbra_gui.views.loop import QtLoop

# An engine asked to stop finishes the frame in hand; one that does not is ended by penumbra.launch.
_STOP_SECONDS = 30.0
_TURN_MILLISECONDS = 300


class CompactController:
    """``exit_code`` is the last run's, or 130 while there is none; ``on_closed`` is called once, when all is stopped.

    The engine is the one of this very Python: the host has chosen it.
    """

    def __init__(
        self,
        job_file: Path,
        job: Job,
        whole: bool,
        resume: bool,
        relay: EventRelay,
        window: CompactWindow,
        on_closed: Callable[[], None],
    ) -> None:
        self.window, self.exit_code = window, Stopped.exit_code
        self._relay, self._on_closed, self._whole = relay, on_closed, whole
        self._closed = self._asked = False
        self.loop = QtLoop()
        self._workers, self.session = Workers(self.loop), Session()
        self._service = FootageService(sys.executable)
        dialogs = Dialogs(window)
        self.project = ProjectController(
            self.session, self._service, self.loop, self._workers, window.form, window.masks, window.messages, dialogs,
            lambda _path: None, fixed=True,
        )  # fmt: skip
        self.run = RunController(
            self.session, BegunJob(job_file, job, resume), self._make_runner, self.loop, self._workers, window.run,
            window.messages, dialogs, lambda _text: None, lambda: 0, lambda: None,
        )  # fmt: skip
        window.close_asked.connect(self.close)
        window.show_clip(job.plate.path, str(Path(job.output.folder).resolve()))
        self.project.take_project(project_of(job, whole))

    def begin(self) -> None:
        """A job that lacks nothing is started at once."""
        # Never at once: a loop that is told to end before it has begun runs for ever.
        self.loop.later(_TURN_MILLISECONDS, self._take_turn)
        if self._whole:
            # The engine says itself what is wrong with it; the check of the footage is still under way.
            self.run.start(checked=False)

    def ask_to_close(self) -> None:
        """As :meth:`close`, soon. Safe from any thread and from a signal."""
        self._asked = True

    def close(self) -> None:
        """Stops the engine, if it works, and everything else."""
        if self._closed:
            return
        self._closed = True
        self.window.hide()
        self.run.stop_and_wait(_STOP_SECONDS)
        self._relay.end()
        self.loop.close()
        self._service.close()
        self._workers.close()
        self.window.close_now()
        self._on_closed()

    def _take_turn(self) -> None:
        # Python hears signals, and this hears other threads, only when the event loop lets it.
        if self._asked:
            self.close()
        else:
            self.loop.later(_TURN_MILLISECONDS, self._take_turn)

    def _make_runner(
        self,
        job_file: Path,
        resume: bool,
        on_event: Callable[[Event], None],
        on_end: Callable[[int, Sentence | None], None],
    ) -> Runner:
        def hear(event: Event) -> None:
            self._relay.tell(event)
            on_event(event)

        def end(code: int, error: Sentence | None) -> None:
            self._take_code(code, error)
            on_end(code, error)
            self.loop.post(self._take_end)

        self._relay.begin()
        self.window.show_editable(False)
        return Runner(job_file, sys.executable, resume, hear, end)

    def _take_code(self, code: int, error: Sentence | None) -> None:
        stopped = self.run.state.status == "stopping"
        # An engine that had to be ended has a signal's number, which no program can end with.
        self.exit_code = code if code >= 0 else Stopped.exit_code if stopped else 128 - code
        if error is not None:
            self._relay.tell(Event("error", message=error.text, fix=error.fix, code=error.code))

    def _take_end(self) -> None:
        self.window.show_editable(True)
        # What went wrong stays to be read, and can be mended and started again.
        if self.exit_code == 0:
            self.close()
