"""Small widgets that several views are made of."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPlainTextEdit,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from penumbra_gui.views.theme import icon


def tool(name: str, sentence: str, work: Callable[[], object] | None = None, flat: bool = True) -> QToolButton:
    """A button with an icon; ``sentence`` is its tooltip and accessible name."""
    button = QToolButton()
    button.setIcon(icon(name))
    button.setIconSize(QSize(16, 16))
    button.setToolTip(sentence)
    button.setAccessibleName(sentence)
    if flat:
        button.setObjectName("flat")
    if work is not None:
        button.clicked.connect(lambda _checked=False: work())
    return button


def heading(text: str) -> QLabel:
    """The title of a section."""
    label = QLabel(text)
    label.setObjectName("heading")
    return label


def faint(text: str = "", wrap: bool = True) -> QLabel:
    """Text beside the point."""
    label = QLabel(text)
    label.setObjectName("faint")
    label.setWordWrap(wrap)
    return label


def section(title: str, *content: QWidget | QLayout, buttons: tuple[QWidget, ...] = ()) -> QFrame:
    """A titled part of a column."""
    frame = QFrame()
    frame.setObjectName("section")
    column = QVBoxLayout(frame)
    column.setContentsMargins(10, 8, 10, 10)
    column.setSpacing(6)
    top = QHBoxLayout()
    top.addWidget(heading(title))
    top.addStretch(1)
    for button in buttons:
        top.addWidget(button)
    column.addLayout(top)
    for item in content:
        if isinstance(item, QLayout):
            column.addLayout(item)
        else:
            column.addWidget(item)
    return frame


class ElidedLabel(QLabel):
    """One line with dots in the middle, or at the left, where it does not fit; the tooltip has all of it."""

    def __init__(self, text: str = "", left: bool = False) -> None:
        super().__init__()
        self._whole = ""
        self._mode = Qt.TextElideMode.ElideLeft if left else Qt.TextElideMode.ElideMiddle
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.show_text(text)

    def show_text(self, text: str) -> None:
        """Shows another text."""
        self._whole = text
        self.setToolTip(text)
        self._fit()

    def resizeEvent(self, event: object) -> None:  # noqa: N802 # Qt's name
        """Fits the text anew."""
        self._fit()

    def _fit(self) -> None:
        room = max(20, self.width() - 2)
        self.setText(self.fontMetrics().elidedText(self._whole, self._mode, room))


class MessageBar(QFrame):
    """One sentence with its fix, details on demand and buttons for what can be done at once."""

    dismissed = Signal()
    acted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("error")
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._fix = faint()
        self._details = QPlainTextEdit()
        self._details.setReadOnly(True)
        self._details.setMaximumHeight(120)
        self._details.setAccessibleName(self.tr("Details"))
        self._actions = QHBoxLayout()
        self._show = QToolButton()
        self._show.setText(self.tr("Show details"))
        self._show.setCheckable(True)
        self._show.toggled.connect(self._details.setVisible)
        self._close = tool("remove", self.tr("Close this message"), self._dismiss)
        words = QVBoxLayout()
        words.addWidget(self._text)
        words.addWidget(self._fix)
        row = QHBoxLayout()
        row.addLayout(words, 1)
        row.addLayout(self._actions)
        row.addWidget(self._show, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(self._close, 0, Qt.AlignmentFlag.AlignTop)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(10, 6, 6, 6)
        whole.addLayout(row)
        whole.addWidget(self._details)
        self.hide()

    def show_message(
        self, severity: str, text: str, fix: str = "", details: str = "", actions: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """``severity``: error, warning or note; ``actions``: (name, label), told through :attr:`acted`."""
        self.setObjectName(severity)
        self.style().unpolish(self)
        self.style().polish(self)
        self._text.setText(text)
        self._fix.setText(fix)
        self._fix.setVisible(bool(fix))
        self._details.setPlainText(details)
        self._show.setChecked(False)
        self._details.hide()
        self._show.setVisible(bool(details))
        self._set_actions(actions)
        self.setAccessibleName(f"{text} {fix}".strip())
        self.show()

    @property
    def text(self) -> str:
        """The sentence and the fix, empty while nothing is shown."""
        return "" if self.isHidden() else f"{self._text.text()} {self._fix.text()}".strip()

    def _set_actions(self, actions: tuple[tuple[str, str], ...]) -> None:
        while (item := self._actions.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        for name, label in actions:
            button = QToolButton()
            button.setText(label)
            button.clicked.connect(lambda _checked=False, name=name: self.acted.emit(name))
            self._actions.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)

    def _dismiss(self) -> None:
        self.hide()
        self.dismissed.emit()
