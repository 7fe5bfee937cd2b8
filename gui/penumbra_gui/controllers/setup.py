"""The engine found and examined, and the sample for a first try."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from penumbra_gui.models.engine_setup import EngineReport, examine_engine, make_sample
from penumbra_gui.models.workers import Workers
from penumbra_gui.views.parts import MessageBar
from penumbra_gui.views.welcome import WelcomeView
from penumbra_gui.views.words import translate


class SetupController:
    """``open_job`` opens the sample once it is rendered; ``show_version`` names the engine in the status line."""

    def __init__(
        self,
        workers: Workers,
        welcome: WelcomeView,
        messages: MessageBar,
        show_version: Callable[[str], None],
        add_log: Callable[[str], None],
        open_job: Callable[[str], None],
        sample_folder: Path,
        examine: Callable[[str | None], EngineReport] = examine_engine,
    ) -> None:
        self._workers, self._welcome, self._messages = workers, welcome, messages
        self._show_version, self._add_log, self._open_job = show_version, add_log, open_job
        self._folder, self._examine = sample_folder, examine
        self._python: str | None = None
        self._told = ""
        self.report = EngineReport("", (), None)
        welcome.sample_asked.connect(self.open_sample)

    def examine(self, python: str | None) -> None:
        """Asks the engine how it is."""
        self._python = python
        self._show_version(translate("Setup", "engine: looking"))
        self._workers.run(lambda: self._examine(python), self._take, lambda error: self._add_log(str(error)))

    def open_sample(self) -> None:
        """Renders the sample if it is not there yet, and opens it."""
        self._welcome.show_busy(translate("Setup", "Rendering the sample: this takes a few seconds."))
        python = self._python

        def ready(job_file: Path) -> None:
            self._welcome.show_busy("")
            self._open_job(str(job_file))

        def failed(error: Exception) -> None:
            self._welcome.show_busy("")
            self._messages.show_message("error", str(error))

        self._workers.run(lambda: make_sample(python, self._folder), ready, failed)

    def _take(self, report: EngineReport) -> None:
        self.report = report
        self._add_log("\n".join(report.lines))
        found = translate("Setup", "engine {0}").format(report.version)
        self._show_version(found if report.version else translate("Setup", "no engine"))
        if report.problem is not None:
            problem = report.problem
            self._messages.show_message(problem.severity, problem.text, problem.fix, "\n".join(report.lines))
            self._told = self._messages.text
        elif self._messages.text == self._told:
            # Mended, as by another engine chosen.
            self._messages.hide()
