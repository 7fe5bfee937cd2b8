"""Where the engine is on this machine, and one run of it, watched. Knows nothing of Resolve."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple

from penumbra.errors import PenumbraError, Stopped
from penumbra.events import Event
from penumbra.launch import ENGINE_VARIABLE, Engine, installed_engine

# Written by `penumbra install resolve` beside the plug-in.
REMEMBERED = Path(__file__).resolve().parent / "engine.txt"
# Resolve is asked whether it is still there this often: its answer takes milliseconds, its death need not be noticed
# sooner.
WATCH_SECONDS = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a run ended. ``exit_code`` as in :mod:`penumbra.errors`; ``sentence`` for people, empty if all is well."""

    exit_code: int
    sentence: str = ""


def locate_engine() -> Optional[str]:
    """As :func:`penumbra.launch.installed_engine`."""
    fix = f"Run penumbra install resolve again, or name the engine's Python in {ENGINE_VARIABLE}."
    return installed_engine(REMEMBERED, fix)


def run_with_window(
    job_file: Path, python: Optional[str], resume: bool, on_event: Callable[[Event], None], stop: Callable[[], bool]
) -> Optional[Outcome]:
    """Lets the panel's compact window finish the job and run it; None where there is no such window.

    The window's process prints the events of the run it watches, so it is watched as the engine itself is.
    """
    heard: List[Event] = []

    def hear(event: Event) -> None:
        heard.append(event)
        on_event(event)

    options = ["--resume"] if resume else []
    outcome = run_engine(["panel", "--compact", str(job_file), *options], python, hear, stop)
    if any(event.event != "error" for event in heard):
        return outcome
    if outcome.exit_code in (0, Stopped.exit_code):
        return Outcome(Stopped.exit_code, "The window was closed before anything was run.")
    # Not installed, too old to know the option, or no display: whatever is wrong with it, the work can be done without.
    return None


def run_engine(
    arguments: Sequence[str], python: Optional[str], on_event: Callable[[Event], None], stop: Callable[[], bool]
) -> Outcome:
    """Runs the engine to its end, or until ``stop`` says so; then no process of it is left. Never raises.

    ``stop`` and ``on_event`` are called on the caller's own thread: Resolve's API is for one thread.
    """
    try:
        with Engine(arguments, python) as engine:
            return _watched(engine, on_event, stop)
    except PenumbraError as error:
        return Outcome(error.exit_code, str(error))
    except OSError as error:
        return Outcome(1, f"The engine could not be started: {error}.")


class ProgressPrinter:
    """Events as lines of the console: one per stage, and one for every tenth of it."""

    def __init__(self) -> None:
        self._told: Tuple[str, int] = ("", -1)

    def __call__(self, event: Event) -> None:
        """Prints the event if it is news."""
        tenth = 10 * event.done // event.total if event.event == "progress" and event.total else -1
        line = event.message or (f"{event.stage}: {event.done} of {event.total}" if tenth >= 0 else "")
        # A stage's warnings are told apart by their words, its progress by its tenths.
        news = (f"{event.stage} {event.event} {line if tenth < 0 else ''}", tenth)
        if event.event in ("stage", "progress", "warning") and line and news != self._told:
            self._told = news
            left = "" if event.eta is None else f", {_spoken(event.eta)} left"
            print(f"Penumbra: {line}{left}", flush=True)


def _watched(engine: Engine, on_event: Callable[[Event], None], stop: Callable[[], bool]) -> Outcome:
    events: queue.Queue[Optional[Event]] = queue.Queue()
    reader = threading.Thread(target=_read, args=(engine, events), daemon=True)
    reader.start()
    error: Optional[Event] = None
    stopped, asked = False, time.monotonic()
    while True:
        event: Optional[Event] = Event("")
        with contextlib.suppress(queue.Empty):
            event = events.get(timeout=WATCH_SECONDS)
        if event is None:
            break
        if event.event == "error":
            error = event
        if event.event:
            on_event(event)
        if not stopped and time.monotonic() - asked >= WATCH_SECONDS:
            stopped, asked = stop(), time.monotonic()
            if stopped:
                engine.stop()
    reader.join()
    return _outcome(engine, error, stopped)


def _read(engine: Engine, events: queue.Queue[Optional[Event]]) -> None:
    try:
        for event in engine.events():
            events.put(event)
    finally:
        events.put(None)


def _outcome(engine: Engine, error: Optional[Event], stopped: bool) -> Outcome:
    code = engine.exit_code or 0
    if code and stopped:
        return Outcome(Stopped.exit_code, "Stopped. What is finished is kept: run the script again to go on.")
    if error is not None:
        return Outcome(code or 1, f"{error.message} {error.fix}".strip())
    if code:
        last = (engine.log.strip().splitlines() or ["it said nothing"])[-1]
        return Outcome(code, f"The engine ended with code {code}: {last}")
    return Outcome(0)


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
