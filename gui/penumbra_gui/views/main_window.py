"""The window: three columns, menus, the log drawer and the status line."""

from __future__ import annotations

import base64
from typing import cast

from PySide6.QtCore import QByteArray, QEvent, QSize, Qt, Signal
from PySide6.QtGui import QAction, QCloseEvent, QGuiApplication, QKeyEvent, QKeySequence, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QApplication,
    QComboBox,
    QGridLayout,
    QLabel,
    QMainWindow,
    QMenu,
    QPlainTextEdit,
    QScrollArea,
    QSplitter,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from penumbra_gui.models.preferences import Preferences
from penumbra_gui.models.shortcuts import SHORTCUTS, keys_of
from penumbra_gui.views.dropping import Dropping
from penumbra_gui.views.job_form import JobFormView
from penumbra_gui.views.layers import LayersView
from penumbra_gui.views.masks import MasksView
from penumbra_gui.views.parts import ElidedLabel, MessageBar, faint, section
from penumbra_gui.views.run_panel import RunView
from penumbra_gui.views.theme import MONOSPACE
from penumbra_gui.views.timeline import TimelineView
from penumbra_gui.views.view_bar import ViewBar
from penumbra_gui.views.viewer import ViewerView
from penumbra_gui.views.welcome import WelcomeView
from penumbra_gui.views.words import translate

_MOST_LOG_LINES = 5000
_FIRST_KEYS = ("play_pause", "step_on", "fit", "swap", "wipe", "difference", "outlines", "shortcuts")
_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
_UP_AND_DOWN = (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Home, Qt.Key.Key_End)
_ALONG = (Qt.Key.Key_Left, Qt.Key.Key_Right, *_UP_AND_DOWN)
# What works a control that has the focus; the other keys play and show, whatever has it.
_KEYS_OF_CONTROLS: tuple[tuple[type[QWidget], tuple[Qt.Key, ...]], ...] = (
    (QAbstractButton, (Qt.Key.Key_Space, *_ENTER)),
    (QComboBox, (Qt.Key.Key_Space, *_UP_AND_DOWN, *_ENTER)),
    (QAbstractSlider, _ALONG),
    (QAbstractItemView, (*_UP_AND_DOWN, *_ENTER)),
    (QPlainTextEdit, _ALONG),
)


class _Column(QWidget):
    """Parts under each other; the last one, ``spare``, gives way where there is no room for all."""

    def __init__(self, *parts: QWidget, spare: QWidget | None = None) -> None:
        super().__init__()
        self._parts, self._spare, self._room = parts, spare, 0
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        for part in (*parts, *((spare,) if spare is not None else ())):
            layout.addWidget(part)
        layout.addStretch(1)

    def fit(self, room: int) -> None:
        """``room``: the height that can be seen, pixels."""
        self._room = room
        if self._spare is not None:
            needed = sum(_height(part, self.width()) for part in (*self._parts, self._spare) if not part.isHidden())
            needed += _height(self._spare, self.width()) if self._spare.isHidden() else 0
            self._spare.setVisible(needed <= room)

    def event(self, event: QEvent) -> bool:
        """Fits anew when a part has grown."""
        taken = super().event(event)
        if event.type() == QEvent.Type.LayoutRequest:
            self.fit(self._room)
        return taken


class _ColumnArea(QScrollArea):
    """Scrolls a column up and down."""

    def __init__(self, column: _Column, width: int) -> None:
        super().__init__()
        self._column = column
        self.setWidgetResizable(True)
        self.setWidget(column)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(width)
        self.setMaximumWidth(460)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 # Qt's name
        """Another height has room for other parts."""
        super().resizeEvent(event)
        self._column.fit(self.viewport().height())


class MainWindow(QMainWindow):
    """``action`` carries the name of what a menu or key asks for; ``close_asked`` comes in place of closing."""

    action = Signal(str)
    recent_asked = Signal(str)
    recent_cleared = Signal()
    close_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.dropping = Dropping(self)
        self.form, self.masks, self.layers = JobFormView(), MasksView(), LayersView()
        self.viewer, self.bar, self.timeline, self.run = ViewerView(), ViewBar(), TimelineView(), RunView()
        self.welcome, self.messages, self.log = WelcomeView(), MessageBar(), QPlainTextEdit()
        self._closing = False
        self._actions: dict[str, QAction] = {}
        self._centre = self._make_centre()
        self._columns = QSplitter(Qt.Orientation.Horizontal)
        self._columns.addWidget(_ColumnArea(_Column(self.form.plate_section, self.masks, self.form), 300))
        self._columns.addWidget(self._centre)
        self._columns.addWidget(_ColumnArea(_Column(self.layers, self.run, spare=self._make_keys()), 290))
        self._columns.setStretchFactor(1, 1)
        self._columns.setSizes([332, 644, 304])
        self._columns.setChildrenCollapsible(False)
        self._rows = QSplitter(Qt.Orientation.Vertical)
        self._rows.addWidget(self._columns)
        self._rows.addWidget(self._make_log())
        self._rows.setStretchFactor(0, 1)
        self.setCentralWidget(self._rows)
        self._make_menus()
        self._make_status()
        self.resize(_usual_size())
        self.show_clip("")

    def _make_keys(self) -> QWidget:
        """The keys one needs first."""
        grid = QGridLayout()
        grid.setVerticalSpacing(2)
        grid.setHorizontalSpacing(12)
        grid.setColumnStretch(1, 1)
        known = [shortcut for group in SHORTCUTS.values() for shortcut in group if shortcut.name in _FIRST_KEYS]
        for place, shortcut in enumerate(known):
            grid.addWidget(QLabel(shortcut.keys[0]), place, 0)
            grid.addWidget(faint(translate("Shortcuts", shortcut.sentence), wrap=False), place, 1)
        return section(self.tr("Keys"), grid)

    def _make_centre(self) -> QWidget:
        looking = QWidget()
        column = QVBoxLayout(looking)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.bar)
        column.addWidget(self.viewer, 1)
        column.addWidget(self.timeline)
        self._pages = QStackedWidget()
        self._pages.addWidget(self.welcome)
        self._pages.addWidget(looking)
        centre = QWidget()
        whole = QVBoxLayout(centre)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(self.messages)
        whole.addWidget(self._pages, 1)
        centre.setMinimumWidth(440)
        return centre

    def _make_log(self) -> QWidget:
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(_MOST_LOG_LINES)
        self.log.setAccessibleName(self.tr("Log"))
        self.log.setStyleSheet(MONOSPACE)
        self.log.hide()
        return self.log

    def _make_menus(self) -> None:
        file = self._menu(self.tr("&File"))
        self._add(file, "open_clip", self.tr("Open clip..."))
        self._add(file, "open_folder", self.tr("Open folder..."))
        self._add(file, "open_job", self.tr("Open job..."))
        self._add(file, "open_output", self.tr("Open finished output..."))
        self._recent = QMenu(self.tr("Recent"), self)
        file.addMenu(self._recent)
        file.addSeparator()
        self._add(file, "add_masks", self.tr("Add masks..."))
        self._add(file, "add_mask_folder", self.tr("Add mask folder..."))
        file.addSeparator()
        self._add(file, "save_job", self.tr("Save job..."))
        file.addSeparator()
        self._add(file, "quit", self.tr("Quit"))
        edit = self._menu(self.tr("&Edit"))
        self._add(edit, "preferences", self.tr("Preferences..."))
        see = self._menu(self.tr("&View"))
        play = self._menu(self.tr("&Playback"))
        work = self._menu(self.tr("&Run"))
        for name, label in (("start", self.tr("Start or resume")), ("stop", self.tr("Stop"))):
            self._add(work, name, label)
        for shortcut in SHORTCUTS["Playing"]:
            self._add(play, shortcut.name, translate("Shortcuts", shortcut.sentence))
        for shortcut in SHORTCUTS["Seeing"]:
            self._add(see, shortcut.name, translate("Shortcuts", shortcut.sentence))
        see.addSeparator()
        self._add(see, "log", self.tr("Log"))
        helps = self._menu(self.tr("&Help"))
        self._add(helps, "shortcuts", self.tr("Keyboard shortcuts"))
        self._add(helps, "sample", self.tr("Open the sample"))
        self._add(helps, "engine", self.tr("About the engine..."))

    def _menu(self, title: str) -> QMenu:
        menu = QMenu(title, self)
        self.menuBar().addMenu(menu)
        return menu

    def _add(self, menu: QMenu, name: str, label: str) -> None:
        action = QAction(label, self)
        action.setShortcuts([QKeySequence(keys) for keys in keys_of(name)])
        action.triggered.connect(lambda _checked=False: self.action.emit(name))
        menu.addAction(action)
        self._actions[name] = action

    def _make_status(self) -> None:
        self._readout, self._memory, self._engine = ElidedLabel(), QLabel(), QLabel()
        self.statusBar().setSizeGripEnabled(False)
        self.statusBar().addWidget(self._readout, 1)
        self.statusBar().addPermanentWidget(self._memory)
        self.statusBar().addPermanentWidget(self._engine)
        self._log_button = QToolButton()
        self._log_button.setText(self.tr("Log"))
        self._log_button.setObjectName("flat")
        self._log_button.setCheckable(True)
        self._log_button.setToolTip(self.tr("Show or hide the log (Ctrl+L)"))
        self._log_button.clicked.connect(lambda: self.action.emit("log"))
        self.statusBar().addPermanentWidget(self._log_button)

    def show_clip(self, name: str) -> None:
        """The viewer under the clip's name, or how to begin while there is none."""
        self._pages.setCurrentIndex(1 if name else 0)
        # Qt adds the program's own name.
        self.setWindowTitle(name or "Penumbra")
        begin, further = self.tr("Drop a clip, its masks, a job or a finished folder"), self.tr("Drop masks, or a job")
        self.dropping.set_sentence(further if name else begin)

    def show_recent(self, paths: tuple[str, ...]) -> None:
        """The menu of what was used last."""
        self._recent.clear()
        for path in paths:
            self._recent.addAction(path).triggered.connect(lambda _on=False, path=path: self.recent_asked.emit(path))
        self._recent.addSeparator()
        self._recent.addAction(self.tr("Forget these")).triggered.connect(lambda _on=False: self.recent_cleared.emit())
        self._recent.setEnabled(bool(paths))
        self.welcome.show_recent(paths)

    def show_readout(self, text: str) -> None:
        """The pixel under the pointer."""
        self._readout.show_text(text)

    def show_memory(self, text: str) -> None:
        """How full the cache is."""
        self._memory.setText(text)

    def show_engine(self, text: str) -> None:
        """The engine's version."""
        self._engine.setText(text)

    def add_log(self, text: str) -> None:
        """More lines for the log."""
        self.log.appendPlainText(text.rstrip("\n"))

    def toggle_log(self) -> None:
        """Shows or hides the log."""
        self.show_log(self.log.isHidden())

    def show_log(self, shown: bool) -> None:
        """Shows or hides it as said."""
        self.log.setVisible(shown)
        self._log_button.setChecked(shown)
        if shown:
            self._rows.setSizes([max(1, self.height() - 200), 160])

    def remember(self, preferences: Preferences) -> None:
        """Window and columns as they were."""
        if preferences.geometry:
            self.restoreGeometry(_bytes(preferences.geometry))
        if preferences.layout:
            self._columns.restoreState(_bytes(preferences.layout))

    def remembered(self) -> tuple[str, str]:
        """Geometry and layout, for the preferences."""
        return _text(self.saveGeometry()), _text(self._columns.saveState())

    def close_now(self) -> None:
        """Closes without asking."""
        self._closing = True
        self.close()

    def event(self, event: QEvent) -> bool:
        """Leaves the keys that work the focused control to it, before the window's own shortcuts have them."""
        # Comes here from the control, which has not taken it for itself as one that is typed in does.
        if event.type() == QEvent.Type.ShortcutOverride and _works_control(cast("QKeyEvent", event)):
            event.accept()
            return True
        return super().event(event)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 # Qt's name
        """Asks first."""
        if self._closing:
            event.accept()
        else:
            event.ignore()
            self.close_asked.emit()


def _works_control(event: QKeyEvent) -> bool:
    """Whether a key pressed by itself is one of the focused control's."""
    plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
    focused = QApplication.focusWidget()
    return plain and any(isinstance(focused, kind) and event.key() in keys for kind, keys in _KEYS_OF_CONTROLS)


def _usual_size() -> QSize:
    """1280x800, or what a screen of that size leaves beside the window's own frame."""
    room = QGuiApplication.primaryScreen().availableGeometry()
    return QSize(1280 if room.width() < 1040 else min(1280, room.width()), min(800, room.height() - 32))


def _height(widget: QWidget, width: int) -> int:
    return widget.heightForWidth(width) if widget.hasHeightForWidth() else widget.sizeHint().height()


def _bytes(text: str) -> QByteArray:
    try:
        return QByteArray(base64.b64decode(text, validate=True))
    except ValueError:
        return QByteArray()


def _text(data: QByteArray) -> str:
    return base64.b64encode(data.data()).decode()
