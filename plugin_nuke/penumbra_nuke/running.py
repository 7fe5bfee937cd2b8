"""One run of the engine, watched: events out, a request to stop in. Knows nothing of Nuke."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, Tuple

from penumbra.errors import PenumbraError, Stopped
from penumbra.events import Event
from penumbra.launch import Engine, run_job

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Outcome:
    """How a run ended. ``exit_code`` as in :mod:`penumbra.errors`; ``sentence`` is for the artist, empty if all is
    well.
    """

    exit_code: int
    sentence: str = ""
    warnings: Tuple[str, ...] = ()

    @property
    def stopped(self) -> bool:
        """The artist asked for it."""
        return self.exit_code == Stopped.exit_code


def run_engine(
    job_file: Path,
    python: Optional[str],
    resume: bool,
    on_event: Callable[[Event], None],
    cancelled: Callable[[], bool],
) -> Outcome:
    """Runs a job to its end, or until ``cancelled`` says so; then no process of it is left. Never raises."""
    try:
        with run_job(job_file, python, resume) as engine:
            return _watched(engine, on_event, cancelled)
    except PenumbraError as error:
        return Outcome(error.exit_code, str(error))
    except OSError as error:
        return Outcome(1, f"The engine could not be started: {error}.")


def progress_of(event: Event) -> Tuple[Optional[int], str]:
    """Per cent of the stage (None: unknown) and a line for a progress bar."""
    if event.event == "stage":
        return 0, event.message or event.stage
    if event.event != "progress" or not event.total:
        return None, event.message
    left = "" if event.eta is None else f", {_spoken(event.eta)} left"
    return min(100, 100 * event.done // event.total), f"{event.stage}: {event.done} of {event.total}{left}"


def _watched(engine: Engine, on_event: Callable[[Event], None], cancelled: Callable[[], bool]) -> Outcome:
    over = threading.Event()
    watcher = threading.Thread(target=_stop_when, args=(engine, over, cancelled), daemon=True)
    watcher.start()
    error: Optional[Event] = None
    warnings: List[str] = []
    try:
        for event in engine.events():
            if event.event == "error":
                error = event
            elif event.event == "warning":
                warnings.append(event.message)
            on_event(event)
    finally:
        over.set()
        watcher.join()
    return _outcome(engine, error, tuple(warnings), cancelled())


def _outcome(engine: Engine, error: Optional[Event], warnings: Tuple[str, ...], asked: bool) -> Outcome:
    code = engine.exit_code or 0
    if error is not None:
        return Outcome(code or 1, f"{error.message} {error.fix}".strip(), warnings)
    if code and asked:
        return Outcome(Stopped.exit_code, "Stopped; everything finished so far is kept.", warnings)
    if code:
        last = (engine.log.strip().splitlines() or ["it said nothing"])[-1]
        return Outcome(code, f"The engine ended unexpectedly with code {code}: {last}", warnings)
    return Outcome(0, "", warnings)


def _stop_when(engine: Engine, over: threading.Event, cancelled: Callable[[], bool]) -> None:
    while not over.wait(POLL_SECONDS):
        if cancelled():
            engine.stop()
            return


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
