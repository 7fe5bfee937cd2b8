"""Words go the whole way: from the sources through Qt's own tools to the window."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from unittest.mock import MagicMock

import pytest

pytest.importorskip("PySide6.QtWidgets", reason="the panel needs PySide6 and Qt's libraries", exc_type=ImportError)

import PySide6
from PySide6.QtCore import QLocale
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLabel, QWidget

import penumbra_gui
from penumbra_gui import app as panel_app
from penumbra_gui.controllers.setup import SetupController
from penumbra_gui.models.engine_setup import EngineReport
from penumbra_gui.models.shortcuts import SHORTCUTS
from penumbra_gui.views.dialogs import PreferencesDialog, ShortcutsDialog
from penumbra_gui.views.main_window import MainWindow

TOOLS = Path(PySide6.__file__).parent
# What is the same in every language, and what Qt translates itself.
NAMES = {"", "Penumbra", "half", "float", "OK", "Cancel", "Close"}


def run_tool(name, *arguments):
    tool = TOOLS / (f"{name}.exe" if sys.platform == "win32" else name)
    if not tool.exists():
        pytest.skip(f"this PySide6 brings no {name}")
    subprocess.run([str(tool), *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def loud(tmp_path_factory):
    """A folder with a language that is only louder, made as translators make theirs."""
    folder = tmp_path_factory.mktemp("translations")
    words, sources = folder / "penumbra_eo.ts", Path(penumbra_gui.__file__).parent.rglob("*.py")
    run_tool("lupdate", *map(str, sources), "-ts", str(words))
    tree = ElementTree.parse(words)
    for message in tree.iter("message"):
        told = message.find("translation")
        told.text = message.find("source").text.upper()
        del told.attrib["type"]
    tree.write(words, encoding="utf-8", xml_declaration=True)
    run_tool("lrelease", str(words), "-qm", str(folder / "penumbra_eo.qm"))
    return folder


@pytest.fixture
def shouting(app, loud, monkeypatch):
    monkeypatch.setattr(panel_app, "TRANSLATIONS", loud)
    translators = panel_app.load_translations(app, "eo")
    assert [translator for translator in translators if "penumbra" in translator.filePath()]
    yield
    for translator in translators:
        app.removeTranslator(translator)


def texts_of(*windows):
    for window in windows:
        for widget in window.findChildren(QWidget):
            if isinstance(widget, QLabel | QAbstractButton):
                yield widget.text()
            if isinstance(widget, QComboBox):
                yield from (widget.itemText(place) for place in range(widget.count()))
            yield from (widget.toolTip(), widget.accessibleName(), widget.statusTip())
        yield from (action.text() for action in window.findChildren(QAction))


def test_everything_a_window_says_can_be_translated(shouting, spin):
    window = MainWindow()
    dialogs = PreferencesDialog(panel_app.Preferences(), ""), ShortcutsDialog()
    known = [shortcut.keys for group in SHORTCUTS.values() for shortcut in group]
    keys = {key for keys in known for key in (*keys, "  ".join(keys))}
    try:
        texts = list(texts_of(window, *dialogs))
        assert [text for text in texts if text != text.upper() and text not in keys | NAMES] == []
        assert len(set(texts)) > 150
    finally:
        for each in (window, *dialogs):
            each.deleteLater()
        spin(seconds=0.05, must=False)


def test_what_controllers_say_is_translated_too(shouting, workers):
    shown = []
    controller = SetupController(
        workers, MagicMock(), MagicMock(), shown.append, lambda _: None, lambda _: None, Path("/x"),
        lambda _: EngineReport("1.2", (), None),
    )  # fmt: skip
    controller.examine(None)
    assert shown == ["ENGINE: LOOKING", "ENGINE 1.2"]


def test_a_language_nobody_has_translated_is_english(app):
    assert QLocale("eo").language() == QLocale.Language.Esperanto
    assert panel_app.load_translations(app, "eo") == []
