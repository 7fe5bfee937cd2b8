"""The panel put together: the only place that knows all parts."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QLibraryInfo, QLocale, QStandardPaths, QTranslator
from PySide6.QtWidgets import QApplication

from penumbra.errors import PenumbraError
from penumbra.events import Event
from penumbra.job import load_job
from penumbra_gui.controllers.compact import CompactController
from penumbra_gui.controllers.output import OutputController
from penumbra_gui.controllers.project import ProjectController
from penumbra_gui.controllers.run import RunController
from penumbra_gui.controllers.setup import SetupController
from penumbra_gui.controllers.viewer import ViewerController
from penumbra_gui.models.begun_job import read_begun_job
from penumbra_gui.models.checks import Sentence
from penumbra_gui.models.display import color_spaces
from penumbra_gui.models.engine_setup import abandon
from penumbra_gui.models.frame_store import FrameStore
from penumbra_gui.models.host_pipe import EventRelay, watch_stdin, write_stdout
from penumbra_gui.models.job_queue import JobQueue
from penumbra_gui.models.preferences import Preferences, load_preferences, save_preferences
from penumbra_gui.models.project import Project
from penumbra_gui.models.runner import Runner
from penumbra_gui.models.service import FootageService
from penumbra_gui.models.session import Session
from penumbra_gui.models.workers import Workers
from penumbra_gui.views.compact_window import CompactWindow
from penumbra_gui.views.dialogs import Dialogs
from penumbra_gui.views.loop import QtLoop
from penumbra_gui.views.main_window import MainWindow
from penumbra_gui.views.theme import apply_theme
from penumbra_gui.views.words import translate

_MIB = 1 << 20
_MEMORY_MILLISECONDS = 500
_EXAMINE_MILLISECONDS = 1500
# An engine asked to stop finishes the frame in hand; one that does not is ended by penumbra.launch.
_STOP_SECONDS = 30.0
TRANSLATIONS = Path(__file__).parent / "translations"


class Panel:
    """One window and everything behind it.

    ``folder``: where preferences, job files and the sample are kept; ``examine``: ask the engine's doctor at the start;
    ``on_closed`` is called once, when all is stopped.
    """

    def __init__(
        self,
        folder: Path,
        dialogs: Dialogs | None = None,
        examine: bool = True,
        on_closed: Callable[[], object] = lambda: None,
    ) -> None:
        self.folder, self._on_closed = folder, on_closed
        self.preferences = load_preferences(folder / "preferences.json")
        self.window = MainWindow()
        self.loop = QtLoop()
        self.workers, self.helpers = Workers(self.loop), Workers(self.loop)
        self.session = Session()
        self.session.project = self.preferences.new_project()
        self.service = FootageService(self.preferences.engine or None)
        self.store = FrameStore(self.service, self.preferences.cache_mib * _MIB)
        self.dialogs = dialogs or Dialogs(self.window)
        self.dialogs.directory = self.preferences.directory
        self.queue = JobQueue(folder / "jobs")
        self._closed, self._examines = False, examine
        self._make_controllers()
        self._connect()
        self._begin()

    def _make_controllers(self) -> None:
        window = self.window
        self.project = ProjectController(
            self.session, self.service, self.loop, self.helpers, window.form, window.masks, window.messages,
            self.dialogs, self._remember, self.queue.file_of,
        )  # fmt: skip
        self.viewer = ViewerController(
            self.session, self.store, self.loop, self.workers, window.viewer, window.bar, window.timeline,
            window.layers, self.dialogs, window.show_readout, self.project.check,
        )  # fmt: skip
        self.run = RunController(
            self.session, self.queue, self._make_runner, self.loop, self.helpers, window.run, window.messages,
            self.dialogs, window.add_log, lambda: self.viewer.line.current, self._take_finished,
        )  # fmt: skip
        self.output = OutputController(
            self.session, self.helpers, window.run, window.messages, self.dialogs, self._take_project
        )
        self.setup = SetupController(
            self.helpers, window.welcome, window.messages, window.show_engine, window.add_log, self.project.open_job,
            self.folder / "sample",
        )  # fmt: skip

    def _connect(self) -> None:
        window = self.window
        window.action.connect(self.act)
        window.recent_asked.connect(self.open_recent)
        window.recent_cleared.connect(self._forget_recent)
        window.close_asked.connect(self.ask_to_close)
        window.run.live_changed.connect(window.viewer.show_strip)
        window.run.job_opened.connect(self._open_queued)
        window.dropping.dropped.connect(self.open)
        window.welcome.open_asked.connect(self.project.ask_plate)
        window.welcome.recent_asked.connect(self.open_recent)
        self.session.listen(self._show_clip)

    def _begin(self) -> None:
        window = self.window
        window.remember(self.preferences)
        window.show_recent(self.preferences.recent)
        window.show_log(self.preferences.log)
        self.viewer.set_loop(self.preferences.loop)
        self.helpers.run(color_spaces, window.form.show_color_spaces, lambda error: window.add_log(str(error)))
        # The doctor imports every library: it must not compete with the first picture.
        if self._examines:
            self.loop.later(_EXAMINE_MILLISECONDS, lambda: self.setup.examine(self.preferences.engine or None))
        self._show_memory()

    def open(self, paths: list[str]) -> None:
        """Clips, masks, job files, output folders."""
        # The engine works in a folder of its own: a path as it was typed in a shell would lead elsewhere from there.
        self.project.open_paths([str(Path(path).absolute()) for path in paths])

    def open_recent(self, path: str) -> None:
        """What was used before, in place of what is open."""
        self.project.open_paths([path], anew=True)

    def act(self, name: str) -> None:
        """What a menu or a key asks for."""
        actions: dict[str, Callable[[], object]] = {
            "open_clip": self.project.ask_plate,
            "open_folder": self._ask_clip_folder,
            "open_job": lambda: self._ask_file(translate("Panel", "Open a job"), self.project.open_job),
            "open_output": self._ask_output,
            "add_masks": self.project.ask_masks,
            "add_mask_folder": self._ask_mask_folder,
            "save_job": lambda: self.output.act("job"),
            "preferences": self.ask_preferences,
            "engine": self.ask_preferences,
            "start": self.run.start,
            "stop": self.run.stop,
            "log": self.window.toggle_log,
            "shortcuts": self.dialogs.shortcuts,
            "sample": self.setup.open_sample,
            "quit": self.ask_to_close,
        }
        if name in actions:
            actions[name]()
        else:
            self.viewer.act(name)

    def ask_preferences(self) -> None:
        """The preferences' dialog; a changed engine is examined at once."""
        changed = self.dialogs.preferences(self.preferences, "\n".join(self.setup.report.lines))
        if changed is None:
            return
        engine = changed.engine != self.preferences.engine
        if changed.cache_mib != self.preferences.cache_mib:
            self.store.set_limit(changed.cache_mib * _MIB)
        self._keep(changed)
        if engine:
            self.service.close()
            self.service = FootageService(changed.engine or None)
            self.store.service = self.service
            self.project.use_service(self.service)
            self.setup.examine(changed.engine or None)

    def ask_to_close(self) -> None:
        """Asks while an engine works; stops it and closes the window."""
        question = translate(
            "Panel", "The engine is at work. Stop it and quit? What is finished is kept and can be resumed."
        )
        if self.run.active and not self.dialogs.confirm(question, translate("Panel", "Stop and quit")):
            return
        self.close()

    def close(self) -> None:
        """Stops everything this panel has started."""
        if self._closed:
            return
        self._closed = True
        geometry, layout = self.window.remembered()
        kept = replace(
            self.preferences.with_usual(self.session.project), geometry=geometry, layout=layout, started_before=True,
            log=not self.window.log.isHidden(), loop=self.viewer.line.loop, directory=self.dialogs.directory,
        )  # fmt: skip
        self._keep(kept)
        self.window.hide()
        self.run.stop_and_wait(_STOP_SECONDS)
        self.loop.close()
        self.service.close()
        abandon()
        self.workers.close()
        self.helpers.close()
        self.window.close_now()
        self._on_closed()

    def _make_runner(
        self,
        job_file: Path,
        resume: bool,
        on_event: Callable[[Event], None],
        on_end: Callable[[int, Sentence | None], None],
    ) -> Runner:
        # By its output folder a run is found again, finished or not.
        with contextlib.suppress(PenumbraError):
            self._remember(load_job(job_file).output.folder)
        return Runner(job_file, self.preferences.engine or None, resume, on_event, on_end)

    def _take_finished(self) -> None:
        self.viewer.show_layers()
        self.project.look_at_folder()
        # Whoever went to do something else sees it in the task bar.
        QApplication.alert(self.window)

    def _show_clip(self) -> None:
        plate = self.session.project.plate
        self.window.show_clip("" if plate is None else Path(plate.path).name)

    def _take_project(self, project: Project) -> None:
        self.project.take_project(project)

    def _remember(self, path: str) -> None:
        self._keep(self.preferences.with_recent(path))
        self.window.show_recent(self.preferences.recent)

    def _open_queued(self, number: int) -> None:
        entry = self.queue.find(number)
        if entry is not None:
            self.project.take_project(Project.of_job(entry.job))

    def _forget_recent(self) -> None:
        self._keep(replace(self.preferences, recent=()))
        self.window.show_recent(())

    def _keep(self, preferences: Preferences) -> None:
        self.preferences = preferences
        save_preferences(preferences, self.folder / "preferences.json")

    def _show_memory(self) -> None:
        text = translate("Panel", "frames {0} of {1} MiB").format(self.store.used // _MIB, self.preferences.cache_mib)
        self.window.show_memory(text)
        self.loop.later(_MEMORY_MILLISECONDS, self._show_memory)

    def _ask_file(self, title: str, then: Callable[[str], None]) -> None:
        for path in self.dialogs.open_files(title, several=False):
            then(path)

    def _ask_clip_folder(self) -> None:
        folder = self.dialogs.open_folder(translate("Panel", "Open the folder of a clip"))
        if folder:
            self.project.open_plate(folder)

    def _ask_mask_folder(self) -> None:
        folder = self.dialogs.open_folder(translate("Panel", "A folder of masks"))
        if folder:
            self.project.add_masks([folder])

    def _ask_output(self) -> None:
        folder = self.dialogs.open_folder(translate("Panel", "Open an output folder"))
        if folder:
            self.project.open_output(folder)


def main(path: str | None = None) -> int:
    """Runs the panel until its window is closed; returns the exit code."""
    app, folder, translators = _make_application()
    # A window hidden before it is closed is none whose closing Qt would end the program for.
    panel = Panel(folder, on_closed=app.quit)
    # The window's own timers give Python a turn twice a second, so that a signal is heard.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: app.quit())
    panel.window.show()
    if path is not None:
        panel.open([path])
    code = app.exec()
    panel.close()
    del translators
    return code


def main_compact(job_file: Path, resume: bool = False) -> int:
    """Lets the artist finish a host's job file and runs it, in a small window; returns the engine's exit code.

    The engine's events go to stdout; a closed stdin stops it. Raises :class:`JobError` before any window is shown.
    """
    job, whole = read_begun_job(job_file)
    app, _folder, translators = _make_application()
    app.setQuitOnLastWindowClosed(False)
    controller = CompactController(job_file, job, whole, resume, EventRelay(write_stdout), CompactWindow(), app.quit)
    watch_stdin(controller.ask_to_close)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: controller.ask_to_close())
    controller.window.show()
    controller.begin()
    app.exec()
    controller.close()
    del translators
    return controller.exit_code


def _make_application() -> tuple[QApplication, Path, list[QTranslator]]:
    """Qt, named and dressed; the folder for preferences; translators, to be kept."""
    app = QApplication(sys.argv[:1])
    app.setApplicationName("penumbra")
    app.setApplicationDisplayName("Penumbra")
    app.setDesktopFileName("penumbra")
    folder = Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppDataLocation))
    translators = load_translations(app, load_preferences(folder / "preferences.json").language)
    apply_theme(app)
    return app, folder, translators


def load_translations(app: QApplication, language: str) -> list[QTranslator]:
    """Installs Qt's own and the panel's ``penumbra_LANGUAGE.qm`` where there is one; keep what is returned."""
    locale = QLocale(language) if language else QLocale()
    installed = []
    for name, folder in (
        ("qtbase", QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)),
        ("penumbra", str(TRANSLATIONS)),
    ):
        translator = QTranslator()
        if translator.load(locale, name, "_", folder):
            app.installTranslator(translator)
            installed.append(translator)
    return installed
