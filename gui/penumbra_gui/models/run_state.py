"""What is known of a run: made of the engine's events, whatever they hold."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from penumbra.events import Event
from penumbra_gui.models.checks import Sentence
from penumbra_gui.models.words import QT_TRANSLATE_NOOP

Status: TypeAlias = Literal["waiting", "running", "stopping", "stopped", "failed", "done"]
STAGES = ("read", "track", "clean plate", "prepare", "refine", "decompose", "lift", "previews")
STOPPED_CODE = 130
# What a signal that nobody has sent by hand most often means; a mapped file on a full disk is SIGBUS.
_CAUSES = {
    getattr(signal, "SIGBUS", 7): ": most likely a disk is full",
    9: ": something has killed it, perhaps for want of memory",
}


@dataclass
class RunState:
    """One run. ``losses``: (step, loss) of the refinement; ``preview``: path of its last picture."""

    status: Status = "waiting"
    stage: str = ""
    message: str = ""
    done: int = 0
    total: int = 0
    eta: float | None = None
    losses: list[tuple[int, float]] = field(default_factory=list)
    preview: str = ""
    warnings: list[str] = field(default_factory=list)
    error: Sentence | None = None
    manifest: str = ""

    @property
    def active(self) -> bool:
        """Whether a process works on it."""
        return self.status in ("running", "stopping")

    @property
    def resumable(self) -> bool:
        """Whether going on makes sense."""
        return self.status in ("stopped", "failed")

    def begin(self) -> None:
        """A process has been started; what an earlier one said no longer holds, what was learnt is still shown."""
        self.status, self.stage, self.message = "running", "", QT_TRANSLATE_NOOP("Run", "Starting the engine")
        self.done, self.total, self.eta, self.error = 0, 0, None, None
        self.warnings.clear()

    def take(self, event: Event) -> bool:
        """An event's meaning; False for one whose fields are not what they should be, which changes nothing."""
        if not _sound(event):
            return False
        if event.event == "stage":
            self.stage, self.message = event.stage, event.message or event.stage
            self.done, self.total, self.eta = 0, 0, None
        elif event.event == "progress":
            self.done, self.total, self.eta = event.done, event.total, event.eta
            loss = (event.values or {}).get("loss")
            if isinstance(loss, int | float):
                self.losses.append((event.done, float(loss)))
        elif event.event == "preview":
            self.preview = event.path
        elif event.event == "warning":
            self.warnings.append(event.message)
        elif event.event == "error":
            self.error = Sentence("error", event.message, event.fix, event.code)
        elif event.event == "done":
            self.manifest = event.path
        return True

    def end(self, exit_code: int) -> None:
        """The process has ended."""
        asked = self.status == "stopping"
        if exit_code == 0:
            self.status, self.error = "done", None
            self.message = QT_TRANSLATE_NOOP("Run", "Finished")
        elif asked or exit_code == STOPPED_CODE or (self.error is not None and self.error.code == "stopped"):
            self.status, self.error = "stopped", None
            self.message = QT_TRANSLATE_NOOP("Run", "Stopped. What is finished is kept.")
        else:
            self.status, self.message = "failed", QT_TRANSLATE_NOOP("Run", "The run ended early")
            if self.error is None:
                self.error = _silent_end(exit_code, self.stage)
        self.eta = None

    def fail(self, error: Sentence) -> None:
        """No process could be started."""
        self.status, self.error = "failed", error
        self.message = QT_TRANSLATE_NOOP("Run", "The run did not start")


def time_left(seconds: float | None) -> str:
    """``1:05``, ``2:03:00``, or nothing where it is not known."""
    if seconds is None or not 0 <= seconds < 1e7:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _silent_end(exit_code: int, stage: str) -> Sentence:
    how = f"by signal {-exit_code}" if exit_code < 0 else f"with exit code {exit_code}"
    while_doing = f" in the stage {stage}" if stage else ""
    return Sentence(
        "error",
        f"The engine ended unexpectedly{while_doing}, {how}{_CAUSES.get(-exit_code, '')}.",
        "What is finished is kept: press Resume. The log tells more.",
        "engine_ended",
    )


def _sound(event: Event) -> bool:
    numbers = (event.done, event.total)
    texts = (event.stage, event.message, event.code, event.fix, event.path)
    return (
        all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
        and all(isinstance(text, str) for text in texts)
        and (event.eta is None or isinstance(event.eta, int | float))
        and (event.values is None or isinstance(event.values, dict))
    )
