"""What the first start shows: three steps, and a sample to try them on."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

from penumbra_gui.views.parts import faint
from penumbra_gui.views.theme import ACCENT


class WelcomeView(QWidget):
    """Shown while no clip is open."""

    open_asked = Signal()
    sample_asked = Signal()
    recent_asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        title = QLabel(self.tr("One layer per object, shadows included"))
        title.setObjectName("title")
        title.setWordWrap(True)
        steps = (
            (self.tr("Drop a clip here"), self.tr("an EXR, DPX or PNG sequence, a folder, or a movie")),
            (self.tr("Add one mask per object"), self.tr("roto mattes, front to back; then check the outlines")),
            (self.tr("Press Start"), self.tr("the engine learns the shot; stop whenever it looks right")),
        )
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        for place, (what, how) in enumerate(steps):
            number = QLabel(str(place + 1))
            number.setStyleSheet(f"font-size: 20pt; color: {ACCENT};")
            grid.addWidget(number, 2 * place, 0, 2, 1)
            grid.addWidget(QLabel(what), 2 * place, 1)
            grid.addWidget(faint(how), 2 * place + 1, 1)
        self._open = QPushButton(self.tr("Open a clip..."))
        self._open.setObjectName("primary")
        self._open.clicked.connect(lambda: self.open_asked.emit())
        self._sample = QPushButton(self.tr("Try it on a sample"))
        self._sample.clicked.connect(lambda: self.sample_asked.emit())
        buttons = QHBoxLayout()
        buttons.addWidget(self._open)
        buttons.addWidget(self._sample)
        buttons.addStretch(1)
        self._note = faint()
        self._note.hide()
        self._recent = QVBoxLayout()
        self._recent.setSpacing(2)
        inner = QFrame()
        inner.setObjectName("dropzone")
        inner.setMaximumWidth(600)
        column = QVBoxLayout(inner)
        column.setContentsMargins(28, 26, 28, 24)
        column.setSpacing(14)
        column.addWidget(title)
        column.addLayout(grid)
        column.addLayout(buttons)
        column.addWidget(self._note)
        column.addLayout(self._recent)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(inner, 16)
        row.addStretch(1)
        whole = QVBoxLayout(self)
        whole.addStretch(2)
        whole.addLayout(row)
        whole.addStretch(3)

    def show_recent(self, paths: tuple[str, ...]) -> None:
        """What was used last."""
        while (item := self._recent.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        if paths:
            self._recent.addWidget(faint(self.tr("Recent")))
        for path in paths[:5]:
            button = QToolButton()
            button.setObjectName("flat")
            shown = button.fontMetrics().elidedText(path, Qt.TextElideMode.ElideMiddle, 460)
            button.setText(shown)
            button.setToolTip(path)
            button.clicked.connect(lambda _checked=False, path=path: self.recent_asked.emit(path))
            self._recent.addWidget(button)

    def show_busy(self, text: str) -> None:
        """What is being done; empty when nothing is."""
        self._note.setText(text)
        self._note.setVisible(bool(text))
        self._sample.setEnabled(not text)
