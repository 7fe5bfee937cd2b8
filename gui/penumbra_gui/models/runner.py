"""One engine at work on a job, its events handed over as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from penumbra.errors import PenumbraError
from penumbra.events import Event
from penumbra.launch import Engine, run_job
from penumbra_gui.models.checks import Sentence


class Runner:
    """Starts the engine on a thread. ``on_event`` and ``on_end`` are called on that thread; ``on_end`` once, last.

    ``on_end(exit_code, error)``: ``error`` where no engine could be started.
    """

    def __init__(
        self,
        job_file: Path,
        python: str | None,
        resume: bool,
        on_event: Callable[[Event], None],
        on_end: Callable[[int, Sentence | None], None],
    ) -> None:
        self._job_file, self._python, self._resume = job_file, python, resume
        self._on_event, self._on_end = on_event, on_end
        self._engine: Engine | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="engine")

    def start(self) -> None:
        """Returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Asks the engine to stop; returns at once. What is finished stays."""
        self._stopping.set()
        if self._engine is not None:
            # Waiting for a polite end takes a frame's time.
            threading.Thread(target=self._engine.stop, daemon=True).start()

    def show_frame(self, number: int) -> None:
        """Which frame refinement draws its previews of."""
        if self._engine is not None:
            self._engine.show_frame(number)

    @property
    def log(self) -> str:
        """What the engine printed beside its events."""
        return "" if self._engine is None else self._engine.log

    def wait(self, seconds: float | None = None) -> bool:
        """Waits for the end; False if it has not come by then."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            engine = run_job(self._job_file, self._python, self._resume)
        except PenumbraError as error:
            self._on_end(error.exit_code, Sentence("error", error.sentence, error.fix, error.code))
            return
        except OSError as error:
            self._on_end(5, Sentence("error", f"The engine could not be started: {error}.", "Check its Python."))
            return
        with engine:
            self._engine = engine
            if self._stopping.is_set():
                engine.stop()
            for event in engine.events():
                self._on_event(event)
        self._on_end(engine.exit_code or 0, None)
