"""The real window on a real engine, without a screen."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("PySide6.QtWidgets", reason="the panel needs PySide6 and Qt's libraries", exc_type=ImportError)

from PySide6.QtCore import QCoreApplication, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QScrollArea,
    QSlider,
    QWidget,
)

from gui.panel_parts import FIRST, FRAMES, end_panel, make_panel, open_clip
from penumbra_gui.models.preferences import Preferences
from penumbra_gui.views.dialogs import PreferencesDialog, ShortcutsDialog
from penumbra_gui.views.parts import ElidedLabel


@pytest.fixture
def panel(app, spin, tmp_path, answers):
    made = make_panel(tmp_path / "home", answers)
    yield made
    end_panel(made, spin)


def engine_that(tmp_path, *lines):
    """A Python that does something before it becomes the real one (and leaves no half-written bytecode behind)."""
    path = tmp_path / "engine.sh"
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + f'\nexec "{sys.executable}" -B "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_from_a_clip_to_layers(panel, clip, spin, answers):
    window = panel.window
    open_clip(panel, clip, spin)
    assert window.messages.text == ""
    assert window.run.start.isEnabled()
    assert panel.session.project.names == ("dog", "car")
    spin(lambda: window.viewer._whole is not None)

    QTest.mouseClick(window.run.start, Qt.MouseButton.LeftButton)
    spin(lambda: panel.run.state.stage not in ("", "read"))
    QTest.mouseClick(window.run.stop, Qt.MouseButton.LeftButton)
    spin(lambda: not panel.run.active)
    assert panel.run.state.status == "stopped"
    assert window.run.start.text() == "Resume"

    QTest.mouseClick(window.run.start, Qt.MouseButton.LeftButton)
    stages = set()
    spin(lambda: stages.add(panel.run.state.stage) or not panel.run.active)
    assert panel.run.state.status == "done", panel.run.state.error
    spin(lambda: panel.session.output is not None)
    assert panel.session.finished == frozenset(range(FIRST, FIRST + FRAMES))
    assert panel.viewer.view.content == "layers"

    QTest.mouseClick(window.timeline.bar, Qt.MouseButton.LeftButton, pos=QPoint(window.timeline.bar.width() // 2, 24))
    assert FIRST < panel.viewer.line.current < FIRST + FRAMES - 1
    QTest.keyClick(window, Qt.Key.Key_Right)
    for eye in window.layers.findChildren(QAbstractButton):
        if eye.accessibleName() == "Show or hide car":
            QTest.mouseClick(eye, Qt.MouseButton.LeftButton)
    assert panel.viewer.view.hidden == {"car"}
    window.layers.without.emit("dog")
    frame = panel.viewer.line.current
    wanted = panel.viewer._wanted(frame, fine=True)
    spin(lambda: panel.store.ready(wanted) is not None)

    panel.act("play_pause")
    spin(lambda: panel.viewer.line.current != frame)
    panel.act("pause")

    (clip / "layers" / "layers.nk").write_text("Read {}")
    panel.output.act("Nuke")
    assert answers.copied == ["Read {}"]
    answers.target = str(clip / "shot.json")
    panel.output.act("job")
    panel.open([answers.target])
    assert panel.session.project.folder == str(clip / "layers")
    panel.output.act("folder")
    assert answers.revealed == [str(clip / "layers")]


def test_every_control_has_a_name_to_be_read_aloud(panel, clip, spin):
    open_clip(panel, clip, spin)
    controls = (QAbstractButton, QComboBox, QAbstractSpinBox, QLineEdit, QSlider)
    nameless = [
        widget
        for widget in panel.window.findChildren(QWidget)
        if isinstance(widget, controls)
        and not (widget.accessibleName() or getattr(widget, "text", lambda: "")())
        and not isinstance(widget.parent(), QComboBox | QAbstractSpinBox)
        and widget.objectName() != "qt_menubar_ext_button"
        and not widget.objectName().startswith("qt_")
    ]
    assert nameless == []


def clipped_texts(window):
    """Labels and buttons narrower or lower than what they say."""
    found = []
    for widget in window.findChildren(QWidget):
        if (
            not isinstance(widget, QLabel | QAbstractButton)
            or isinstance(widget, ElidedLabel)
            or not widget.isVisible()
        ):
            continue
        needed = widget.sizeHint()
        wraps = isinstance(widget, QLabel) and widget.wordWrap()
        if not widget.text() or needed.width() <= 0:
            continue
        height = widget.heightForWidth(widget.width()) if wraps else needed.height()
        if (not wraps and widget.width() < needed.width()) or widget.height() < height - 1:
            found.append((widget.text(), widget.size(), needed))
    return found


def test_nothing_is_cut_off_in_a_small_window(panel, clip, spin):
    panel.window.resize(1280, 800)
    spin(seconds=0.2, must=False)
    assert clipped_texts(panel.window) == []
    open_clip(panel, clip, spin)
    panel.window.messages.show_message("error", "A sentence. " * 20, "A fix. " * 10, "Details", (("resume", "Resume"),))
    spin(seconds=0.3, must=False)
    assert clipped_texts(panel.window) == []
    for area in panel.window.findChildren(QScrollArea):
        assert area.widget().width() <= area.viewport().width()


def drop(spin, widget, *paths):
    """Files let go over a widget, through the whole chain of its parents as Qt does it."""
    data, place = QMimeData(), QPoint(widget.width() // 2, widget.height() // 2)
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    window = widget.window().windowHandle()
    where = widget.mapTo(widget.window(), place)
    actions, buttons, keys = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    for event in (
        QDragEnterEvent(where, actions, data, buttons, keys),
        QDropEvent(QPointF(where), actions, data, buttons, keys),
    ):
        QCoreApplication.sendEvent(window, event)
        assert event.isAccepted()
    spin(seconds=0.02, must=False)


def test_what_is_dropped_is_told_apart_wherever_it_falls(panel, clip, spin):
    window, session = panel.window, panel.session
    drop(spin, window.welcome, clip / f"plate.{FIRST}.exr")
    spin(lambda: session.facts is not None)
    assert session.facts.last == FIRST + FRAMES - 1
    drop(spin, window.layers, *sorted(clip.glob("dog.*.png")))
    drop(spin, window.viewer, clip / f"car.{FIRST}.png")
    assert session.project.names == ("dog", "car")
    (clip / "shot.json").write_text(session.project.job().to_json())
    drop(spin, window.form, clip / "shot.json")
    spin(lambda: session.verdict is not None and session.verdict.usable)
    assert session.project.names == ("dog", "car")
    assert panel.preferences.recent[0] == str(clip / "shot.json")


def test_keys_reach_the_viewer_and_not_the_typing(panel, clip, spin):
    open_clip(panel, clip, spin)
    window = panel.window
    # Keys go to the active window, and without a window manager nobody else makes it that.
    window.activateWindow()
    spin(window.isActiveWindow, 20)
    window.viewer.setFocus()
    QTest.keyClick(window.viewer, Qt.Key.Key_R)
    assert panel.viewer.view.channel == "R"
    name = window.masks.findChildren(QLineEdit)[0]
    name.setFocus()
    name.selectAll()
    QTest.keyClicks(name, "bike")
    QTest.keyClick(name, Qt.Key.Key_Return)
    assert "bike" in panel.session.project.names
    assert panel.viewer.view.channel == "R"


def test_the_window_asks_before_it_stops_the_engine(panel, clip, spin, answers):
    open_clip(panel, clip, spin)
    panel.act("start")
    spin(lambda: panel.run.state.stage != "")
    answers.yes = False
    panel.window.close()
    assert panel.window.isVisible()
    assert "at work" in answers.asked[-1]
    answers.yes = True
    panel.window.close()
    assert not panel.window.isVisible()
    assert not panel.run._runner or panel.run._runner.wait(0)


def test_dialogs_open_and_remember(app, spin):
    dialog = PreferencesDialog(Preferences(engine="/py", cache_mib=2048), "all well")
    assert dialog.preferences() == Preferences(engine="/py", cache_mib=2048)
    sheet = ShortcutsDialog()
    assert len(sheet.findChildren(QLabel)) > 40
    for each in (dialog, sheet):
        each.deleteLater()
    spin(seconds=0.05, must=False)


def test_without_an_engine_the_window_says_so_and_goes_on(app, spin, tmp_path, clip):
    home = tmp_path / "other"
    home.mkdir()
    (home / "preferences.json").write_text('{"engine": "/nowhere/python"}')
    panel = make_panel(home)
    try:
        panel.open([str(clip / "plate.####.exr")])
        spin(lambda: "There is no Python at" in panel.window.messages.text)
        panel.dialogs.changed = replace(panel.preferences, engine=sys.executable)
        panel.ask_preferences()
        spin(lambda: panel.session.facts is not None)
    finally:
        end_panel(panel, spin)


def finish(panel, spin):
    """Resumes to the end."""
    panel.act("start")
    spin(lambda: panel.run.active)
    spin(lambda: not panel.run.active, 120)
    assert panel.run.state.status == "done", panel.run.state.error


@pytest.mark.slow
def test_a_killed_engine_is_a_sentence_and_the_job_resumes(panel, clip, spin):
    open_clip(panel, clip, spin)
    panel.act("start")
    spin(lambda: panel.run.state.stage in ("clean plate", "prepare", "decompose", "lift"))
    os.kill(panel.run._runner._engine._process.pid, signal.SIGKILL)
    spin(lambda: not panel.run.active)
    assert "ended unexpectedly" in panel.window.messages.text
    assert panel.window.isEnabled()
    finish(panel, spin)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="limits files as a shell does")
def test_a_full_disk_is_a_sentence_and_the_job_resumes(panel, clip, spin, tmp_path):
    open_clip(panel, clip, spin)
    # No file may grow beyond 8 blocks: what writing meets on a disk just full.
    panel.preferences = replace(panel.preferences, engine=engine_that(tmp_path, "ulimit -f 8"))
    panel.act("start")
    spin(lambda: not panel.run.active, 120)
    assert panel.run.state.status == "failed"
    assert "engine ended" not in panel.window.messages.text
    assert "fault" not in panel.window.messages.text.lower(), panel.window.messages.text
    panel.preferences = replace(panel.preferences, engine=sys.executable)
    finish(panel, spin)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own for the output; ``grow`` makes room on it."""
    where = tmp_path / "disk"
    where.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if shutil.which("mount") is None or not mount("size=160k"):
        pytest.skip("needs the right to mount a file system")
    yield where, lambda: mount("remount,size=64m")
    subprocess.run(["umount", "-l", str(where)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_is_a_sentence_and_the_job_resumes(panel, clip, spin, small_disk):
    disk, grow = small_disk
    open_clip(panel, clip, spin)
    panel.window.form.folder_typed.emit(str(disk / "layers"))
    panel.act("start")
    spin(lambda: panel.run.active)
    spin(lambda: not panel.run.active, 120)
    assert panel.run.state.status == "failed"
    said = panel.window.messages.text
    assert "disk is full" in said or "No space left" in said, said
    assert panel.window.run.start.isEnabled()
    assert grow()
    finish(panel, spin)


@pytest.mark.slow
def test_a_vanished_input_is_a_sentence_and_the_job_resumes(panel, clip, spin):
    open_clip(panel, clip, spin)
    lost = clip / f"plate.{FIRST + 3}.exr"
    content, times = lost.read_bytes(), lost.stat()
    lost.unlink()
    panel.act("start")
    spin(lambda: not panel.run.active)
    assert f"lacks frames {FIRST + 3}" in panel.window.messages.text
    lost.write_bytes(content)
    os.utime(lost, ns=(times.st_atime_ns, times.st_mtime_ns))
    finish(panel, spin)


@pytest.mark.slow
def test_a_corrupt_frame_is_a_sentence_and_the_job_resumes(panel, clip, spin):
    path = clip / f"plate.{FIRST + 3}.exr"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    open_clip(panel, clip, spin)
    panel.act("start")
    spin(lambda: not panel.run.active)
    assert str(FIRST + 3) in panel.window.messages.text
    path.write_bytes(content)
    panel.project.check()
    # The footage has changed, so this is another job to the engine: it asks before it overwrites.
    panel.act("start")
    spin(lambda: panel.run.active)
    spin(lambda: not panel.run.active, 120)
    if panel.run.state.status != "done":
        panel.window.messages.acted.emit("replace")
        spin(lambda: panel.run.active)
        spin(lambda: not panel.run.active, 120)
    assert panel.run.state.status == "done", panel.run.state.error


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="writes lines as a shell does")
def test_broken_event_lines_are_logged_and_the_run_goes_on(panel, clip, spin, tmp_path):
    open_clip(panel, clip, spin)
    lines = (
        """printf '{"penumbra_event": 1, "event": "progress", "done": "x", "total": null}\\n'""",
        """printf '{"penumbra_event": 1, "event": "progr\\n'""",
        """printf '\\377\\376 not text\\n[1, 2]\\n\\n'""",
    )
    panel.preferences = replace(panel.preferences, engine=engine_that(tmp_path, *lines))
    panel.act("start")
    spin(lambda: not panel.run.active, 120)
    assert panel.run.state.status == "done", panel.run.state.error
    log = panel.window.log.toPlainText()
    assert '"done": "x"' in log
    assert '"event": "progr\n' in log
    assert "[1, 2]" in log


@pytest.mark.slow
def test_refinement_is_seen_as_it_learns(panel, clip, spin):
    open_clip(panel, clip, spin, steps=6)
    panel.act("start")
    spin(lambda: panel.run.state.stage == "refine", 120)
    panel.viewer.go_to(FIRST + 1)
    panel.window.run.live_frame_asked.emit()
    spin(lambda: len(panel.run.state.losses) > 1 and Path(panel.run.state.preview).is_file(), 180)
    spin(lambda: not panel.run.active, 180)
    assert panel.run.state.status == "done", panel.run.state.error
    panel.output.act("refine")
    assert panel.session.project.model.weights.endswith("refined.safetensors")
    assert panel.session.project.folder.endswith("_v002")
