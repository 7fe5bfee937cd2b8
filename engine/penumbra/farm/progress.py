"""Events as the lines that Open Job Description's sessions look for on a task's stdout."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penumbra.errors import PenumbraError
from penumbra.events import Event


class OpenJobLines:
    """``openjd_progress`` in percent of the task, ``openjd_status`` for each stage, ``openjd_fail`` with the reason.

    ``stages``: those of the task, in order, each an equal share of it; ``say`` gets one line at a time.
    """

    def __init__(self, stages: Sequence[str], say: Callable[[str], None]) -> None:
        self._stages, self._say, self._percent = tuple(stages), say, -1

    def tell(self, event: Event) -> None:
        """Says what there is to say of an event."""
        if event.event == "stage":
            self._say(f"openjd_status: {_one_line(event.message or event.stage)}")
        elif event.event == "progress" and event.stage in self._stages:
            if event.message:
                self._say(_one_line(event.message))
            share = event.done / event.total if event.total else 0.0
            self._reach((self._stages.index(event.stage) + min(1.0, share)) / len(self._stages))
        elif event.event == "warning":
            self._say(f"warning: {_one_line(event.message)}")
        elif event.event == "done":
            self._reach(1.0)
            self._say(f"done: {event.path}")

    def fail(self, error: PenumbraError) -> None:
        """Says why the task ends without its result."""
        self._say(f"openjd_fail: {_one_line(str(error))}")

    def _reach(self, share: float) -> None:
        """Whole percents, upwards: a farm's database wants no line per frame."""
        percent = int(100 * share)
        if percent > self._percent:
            self._percent = percent
            self._say(f"openjd_progress: {percent}")


def _one_line(text: str) -> str:
    return " ".join(text.split())
