"""Runs of the engine, one per node and several at once: started, shown and ended from Nuke.

A run works in a thread of its own, which touches nothing of Nuke but its ProgressTask; whatever it has to say to the
script it says through the main thread. Without a window it works on the main thread instead: nothing would serve it.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Callable, List, Optional

import nuke

from penumbra.errors import JobError, PenumbraError
from penumbra.events import Event
from penumbra_nuke.running import Outcome, progress_of, run_engine
from penumbra_nuke.script_host import is_alive, later, tell

OnDone = Callable[[nuke.Group, Outcome], None]


class _Run:
    """``node`` is looked at on the main thread only; ``cancelled`` from anywhere."""

    def __init__(self, node: nuke.Group, on_done: OnDone) -> None:
        self.node, self.name, self.on_done = node, node.name(), on_done
        self.cancelled = threading.Event()


_RUNS: List[_Run] = []


def start(node: nuke.Group, job_file: Path, python: Optional[str], resume: bool, on_done: OnDone) -> Optional[Outcome]:
    """Starts a run; ``on_done`` is called on the main thread when it ends, if the node is still there.

    Without a window it returns when all is done, with the outcome. Raises :class:`JobError` while the node has one
    running already.
    """
    refuse_while_running(node)
    run = _Run(node, on_done)
    _RUNS.append(run)
    if nuke.GUI:
        threading.Thread(target=_in_background, args=(run, job_file, python, resume), daemon=True).start()
        return None
    outcome = run_engine(job_file, python, resume, _Printed(run.name), run.cancelled.is_set)
    _finish(run, outcome)
    return outcome


def is_running(node: nuke.Group) -> bool:
    """Whether the node has a run."""
    return _run_of(node) is not None


def refuse_while_running(node: nuke.Group) -> None:
    """Raises :class:`JobError` while the node has a run."""
    if is_running(node):
        raise JobError(f"{node.name()} is working already.", "Wait for it, or press Cancel.")


def cancel(node: nuke.Group) -> bool:
    """Asks the node's run to stop; False where there is none."""
    run = _run_of(node)
    if run is not None:
        run.cancelled.set()
    return run is not None


def _run_of(node: nuke.Group) -> Optional[_Run]:
    return next((run for run in _RUNS if is_alive(run.node) and run.node == node), None)


def _in_background(run: _Run, job_file: Path, python: Optional[str], resume: bool) -> None:
    try:
        shown = _Shown(run.name)
        try:
            outcome = run_engine(job_file, python, resume, shown, lambda: run.cancelled.is_set() or shown.cancelled())
        finally:
            shown.close()
    except Exception as error:  # noqa: BLE001 # a thread's exception would vanish, and the node be busy for ever
        outcome = Outcome(1, f"An unexpected fault: {type(error).__name__}: {error}.")
    later(_finish, run, outcome)


def _finish(run: _Run, outcome: Outcome) -> None:
    """On the main thread."""
    _RUNS.remove(run)
    for warning in outcome.warnings:
        nuke.tprint(f"{run.name}: {warning}")
    if is_alive(run.node):
        try:
            run.on_done(run.node, outcome)
        except PenumbraError as error:
            tell(str(error))


class _Shown:
    """Events in a ProgressTask, which closes with its last reference."""

    def __init__(self, name: str) -> None:
        self._task: Optional[nuke.ProgressTask] = nuke.ProgressTask(f"Penumbra: {name}")

    def __call__(self, event: Event) -> None:
        percent, line = progress_of(event)
        if self._task is not None and line:
            self._task.setMessage(line)
        if self._task is not None and percent is not None:
            self._task.setProgress(percent)

    def cancelled(self) -> bool:
        return self._task is not None and bool(self._task.isCancelled())

    def close(self) -> None:
        self._task = None


class _Printed:
    """Events as lines of a farm's log: a line per stage, and one for every tenth of it."""

    def __init__(self, name: str) -> None:
        self._name, self._told = name, ("", -1)

    def __call__(self, event: Event) -> None:
        percent, line = progress_of(event)
        tenth = (event.stage, -1 if percent is None else percent // 10)
        if line and tenth != self._told:
            self._told = tenth
            nuke.tprint(f"{self._name}: {line}")
