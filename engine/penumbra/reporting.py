"""Turns the stages' plain callbacks into events, with time spent and time left."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from penumbra.errors import PenumbraError, Stopped
from penumbra.events import Event, OnEvent

# Progress is told at most this often, and at the end: a 4K farm log is no place for a line per frame per millisecond.
INTERVAL_SECONDS = 0.2


class Reporter:
    """What the pipeline says, from any thread; ``should_stop`` is asked between units of work."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._stage, self._began, self._told, self._first = "", time.monotonic(), 0.0, 0
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []
        # The frame whose layers refinement shows while it learns; None leaves the choice to it.
        self.preview_frame: int | None = None

    def request_stop(self) -> None:
        """Asks the run to stop at the next unit of work. Safe in a signal handler."""
        self._stopping.set()

    def should_stop(self) -> bool:
        """Whether someone asked to stop."""
        return self._stopping.is_set()

    def check_stop(self) -> None:
        """Raises :class:`Stopped` when someone asked to stop."""
        if self.should_stop():
            raise Stopped("Stopped on request; everything finished so far is kept.", "Add --resume to go on.")

    def stage(self, name: str, message: str = "") -> None:
        """A stage begins."""
        self.close_stage()
        self.check_stop()
        self._stage, self._began, self._told, self._first = name, time.monotonic(), 0.0, 0
        self.emit(Event("stage", name, message=message))

    @property
    def stage_now(self) -> str:
        """The stage that runs, empty between stages."""
        return self._stage

    def close_stage(self) -> None:
        """Books the time of the stage that ends."""
        if self._stage:
            spent = time.monotonic() - self._began
            self.seconds[self._stage] = round(self.seconds.get(self._stage, 0.0) + spent, 3)
            self._stage = ""

    def already(self, done: int) -> None:
        """Units found finished by an earlier run: they do not count for the time left."""
        self._first = done

    def progress(self, done: int, total: int, values: dict[str, float] | None = None) -> None:
        """``done`` of ``total`` units of this stage."""
        now = time.monotonic()
        with self._lock:
            if done < total and now - self._told < INTERVAL_SECONDS and values is None:
                return
            self._told = now
        seconds = now - self._began
        fresh = done - self._first
        eta = seconds / fresh * (total - done) if fresh > 0 else None
        self.emit(Event("progress", self._stage, done, total, seconds, eta, values=values))

    def step(self, done: int, total: int) -> None:
        """Progress for the stages: also where a stop takes effect."""
        self.progress(done, total)
        self.check_stop()

    def warn(self, sentence: str) -> None:
        """A warning, once."""
        with self._lock:
            if sentence in self.warnings:
                return
            self.warnings.append(sentence)
        self.emit(Event("warning", self._stage, message=sentence))

    def emit(self, event: Event) -> None:
        """One event, whole, whichever thread speaks."""
        with self._lock:
            self._on_event(event)


def error_event(error: PenumbraError) -> Event:
    """The event that tells of ``error``."""
    return replace(Event("error"), message=error.sentence, code=error.code, fix=error.fix)
