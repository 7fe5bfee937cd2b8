"""Qt's event loop as models and controllers see it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer, Signal


class QtLoop(QObject):
    """Posts work from any thread to the thread it lives on; after :meth:`close` nothing runs any more."""

    _posted = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._closed = False
        self._posted.connect(self._run)

    def post(self, work: Callable[[], None]) -> None:
        """Runs ``work`` soon."""
        if not self._closed:
            self._posted.emit(work)

    def later(self, milliseconds: int, work: Callable[[], None]) -> None:
        """Runs ``work`` after a while."""
        QTimer.singleShot(milliseconds, self, lambda: self._run(work))

    def close(self) -> None:
        """What waits is dropped."""
        self._closed = True

    def _run(self, work: Callable[[], None]) -> None:
        if not self._closed:
            work()
