"""The program that has started us: it reads the engine's events on our stdout, and closes our stdin to stop us."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
from collections.abc import Callable

from penumbra.events import Event


class EventRelay:
    """Passes events on, a line each. Safe from any thread.

    An error is held back until :meth:`end`: the artist may mend it and start again, and then the host's run is well.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._lock = write, threading.Lock()
        self._error: Event | None = None

    def tell(self, event: Event) -> None:
        """Writes the event at once, unless it is an error."""
        with self._lock:
            if event.event == "error":
                self._error = event
            else:
                self._send(event)

    def begin(self) -> None:
        """Another run: how the last one ended no longer counts."""
        with self._lock:
            self._error = None

    def end(self) -> None:
        """Nothing more is run."""
        with self._lock:
            if self._error is not None:
                self._send(self._error)
            self._error = None

    def _send(self, event: Event) -> None:
        # A host that has gone is noticed by its end of stdin; the engine's thread must live until then.
        with contextlib.suppress(OSError):
            self._write(event.to_line() + "\n")


def write_stdout(text: str) -> None:
    """Past Python's buffers, which would fail once more when the program ends."""
    data = text.encode()
    while data:
        data = data[os.write(1, data) :]


def watch_stdin(on_end: Callable[[], None]) -> None:
    """Calls ``on_end`` on a thread when stdin, if it is a pipe, is closed at its other end."""
    # Only a pipe says anything by closing: desktops start programs on /dev/null, which is always at its end.
    try:
        number = sys.stdin.fileno()
        pipe = stat.S_ISFIFO(os.fstat(number).st_mode) or stat.S_ISSOCK(os.fstat(number).st_mode)
    except (AttributeError, OSError, ValueError):
        return
    if pipe:
        threading.Thread(target=_wait_for_end, args=(number, on_end), daemon=True, name="host").start()


def _wait_for_end(number: int, on_end: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while os.read(number, 4096):
            pass
    on_end()
