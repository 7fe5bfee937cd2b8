"""Files dropped anywhere on a window, with a mark that says what will become of them."""

from __future__ import annotations

from typing import cast

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QLabel, QWidget


class Dropping(QObject):
    """``dropped`` carries the paths. Widgets on the window that take drops themselves go before it."""

    dropped = Signal(list)

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window, self._mark = window, QLabel(window)
        self._mark.setObjectName("dropping")
        self._mark.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._mark.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._mark.hide()
        window.setAcceptDrops(True)
        window.installEventFilter(self)

    def set_sentence(self, text: str) -> None:
        """What a drop would do."""
        self._mark.setText(text)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 # Qt's name
        """Takes files, and nothing else."""
        kind = event.type()
        if kind in (QEvent.Type.DragLeave, QEvent.Type.Drop):
            self._mark.hide()
        if kind not in (QEvent.Type.DragEnter, QEvent.Type.Drop):
            return False
        drop = cast("QDropEvent", event)
        paths = dropped_files(drop)
        if not paths:
            return False
        drop.acceptProposedAction()
        if kind == QEvent.Type.Drop:
            self.dropped.emit(paths)
        else:
            self._mark.setGeometry(self._window.rect().adjusted(6, 6, -6, -6))
            self._mark.raise_()
            self._mark.show()
        return True


def dropped_files(event: QDropEvent) -> list[str]:
    """Paths of what is dragged, none for anything that is no file."""
    return [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
