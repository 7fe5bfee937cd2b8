"""Questions put to the artist. Tests put another object with these methods in its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPlainTextEdit,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from penumbra_gui.models.preferences import LEAST_CACHE_MIB, MOST_CACHE_MIB, Preferences
from penumbra_gui.models.shortcuts import SHORTCUTS
from penumbra_gui.views.parts import faint, heading, tool
from penumbra_gui.views.theme import MONOSPACE
from penumbra_gui.views.words import translate


class Dialogs:
    """File choosers, questions, preferences, sheets; each returns what was chosen, empty or None for nothing.

    ``directory``: where files are looked for, the one last chosen from.
    """

    def __init__(self, parent: QWidget) -> None:
        self._parent, self.directory = parent, ""

    def open_files(self, title: str, several: bool) -> list[str]:
        """Existing files."""
        if several:
            paths = QFileDialog.getOpenFileNames(self._parent, title, self.directory)[0]
        else:
            paths = [path for path in (QFileDialog.getOpenFileName(self._parent, title, self.directory)[0],) if path]
        self.directory = str(Path(paths[0]).parent) if paths else self.directory
        return paths

    def open_folder(self, title: str, start: str = "") -> str:
        """A folder."""
        folder = QFileDialog.getExistingDirectory(self._parent, title, start or self.directory)
        self.directory = str(Path(folder).parent) if folder else self.directory
        return folder

    def save_file(self, title: str, start: str) -> str:
        """A file to write."""
        return QFileDialog.getSaveFileName(self._parent, title, start)[0]

    def confirm(self, text: str, yes: str) -> bool:
        """Whether to go on."""
        box = QMessageBox(QMessageBox.Icon.Question, "Penumbra", text, parent=self._parent)
        accept = box.addButton(yes, QMessageBox.ButtonRole.AcceptRole)
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        box.exec()
        return box.clickedButton() is accept

    def preferences(self, current: Preferences, report: str) -> Preferences | None:
        """The preferences as changed; ``report``: what the engine's doctor said."""
        dialog = PreferencesDialog(current, report, self._parent)
        return dialog.preferences() if dialog.exec() else None

    def shortcuts(self) -> None:
        """The sheet of shortcuts."""
        ShortcutsDialog(self._parent).exec()

    def reveal(self, folder: str) -> None:
        """Opens a folder in the system's file browser."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(folder))

    def copy(self, text: str) -> None:
        """To the clipboard."""
        QGuiApplication.clipboard().setText(text)


class PreferencesDialog(QDialog):
    """The engine's Python, the bound of memory, the language."""

    def __init__(self, current: Preferences, report: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Preferences"))
        self._current = current
        self._engine = QLineEdit(current.engine)
        self._engine.setPlaceholderText(self.tr("found by itself"))
        self._engine.setAccessibleName(self.tr("Python of the engine"))
        self._cache = QSpinBox()
        self._cache.setRange(LEAST_CACHE_MIB, MOST_CACHE_MIB)
        self._cache.setSingleStep(256)
        self._cache.setSuffix(" MiB")
        self._cache.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._cache.setValue(current.cache_mib)
        self._cache.setAccessibleName(self.tr("Memory for frames"))
        self._language = QLineEdit(current.language)
        self._language.setPlaceholderText(self.tr("the system's"))
        self._language.setAccessibleName(self.tr("Language, such as de"))
        engine = QHBoxLayout()
        engine.addWidget(self._engine)
        engine.addWidget(tool("folder", self.tr("Choose the engine's Python"), self._browse))
        form = QFormLayout()
        form.addRow(self.tr("Engine's Python"), engine)
        form.addRow(self.tr("Memory for frames"), self._cache)
        form.addRow(self.tr("Language"), self._language)
        said = QPlainTextEdit(report)
        said.setReadOnly(True)
        said.setAccessibleName(self.tr("What the engine says of itself"))
        said.setMinimumHeight(180)
        said.setStyleSheet(MONOSPACE)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(heading(self.tr("The engine, as its doctor sees it")))
        column.addWidget(said, 1)
        column.addWidget(buttons)
        self.resize(620, 440)

    def preferences(self) -> Preferences:
        """As they stand in the dialog."""
        return replace(
            self._current,
            engine=self._engine.text().strip(),
            cache_mib=self._cache.value(),
            language=self._language.text().strip(),
        )

    def _browse(self) -> None:
        path = QFileDialog.getOpenFileName(self, self.tr("The engine's Python"), str(Path.home()))[0]
        if path:
            self._engine.setText(path)


class ShortcutsDialog(QDialog):
    """All keys on one sheet."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Keyboard shortcuts"))
        columns = QHBoxLayout()
        columns.setSpacing(28)
        for group, shortcuts in SHORTCUTS.items():
            grid = QGridLayout()
            grid.setVerticalSpacing(4)
            grid.setHorizontalSpacing(14)
            grid.addWidget(heading(translate("Shortcuts", group)), 0, 0, 1, 2)
            for place, shortcut in enumerate(shortcuts, start=1):
                keys = QLabel("  ".join(shortcut.keys))
                keys.setObjectName("heading")
                grid.addWidget(keys, place, 0)
                grid.addWidget(faint(translate("Shortcuts", shortcut.sentence), wrap=False), place, 1)
            grid.setRowStretch(len(shortcuts) + 1, 1)
            columns.addLayout(grid)
        inner = QWidget()
        inner.setLayout(columns)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(inner)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(area)
        column.addWidget(buttons)
        hint = inner.sizeHint()
        self.resize(min(hint.width() + 60, 1160), min(hint.height() + 72, 700))
