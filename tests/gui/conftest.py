"""Qt without a screen; tests of widgets are skipped where Qt's libraries are not there."""

import contextlib
import os
import sys
import time
from pathlib import Path

import pytest

if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture(scope="session")
def app():
    """The one application of this process."""
    try:
        from PySide6.QtWidgets import QApplication

        from penumbra_gui.views.theme import apply_theme
    except ImportError as error:
        pytest.skip(f"the panel needs PySide6 and Qt's system libraries (docs/panel.md): {error}")
    made = QApplication.instance() or QApplication(["test"])
    apply_theme(made)
    return made


@pytest.fixture
def spin(app):
    """Runs the event loop until a condition holds; fails when it never does."""
    from PySide6.QtCore import QCoreApplication, QEvent, QEventLoop

    def run(until=lambda: False, seconds=60.0, must=True):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
            QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
            if until():
                return True
            time.sleep(0.002)
        assert not must, "what was waited for never came"
        return False

    return run


def children():
    """Processes this one has started and that have not been waited for; none where the system has no /proc."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold anything.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


def windows():
    """Top-level widgets there are, shown or not, once Qt has deleted what waits for it."""
    widgets = sys.modules.get("PySide6.QtWidgets")
    if widgets is None or widgets.QApplication.instance() is None:
        return []
    core = sys.modules["PySide6.QtCore"]
    core.QCoreApplication.sendPostedEvents(None, core.QEvent.Type.DeferredDelete)
    return widgets.QApplication.topLevelWidgets()


@pytest.fixture(autouse=True)
def _nothing_is_left():
    """No test leaves a process or a widget behind; what a wider fixture has made was there before."""
    before = children()
    yield
    end = time.monotonic() + 5
    while children() - before and time.monotonic() < end:
        time.sleep(0.02)
    assert children() - before == set()
    assert windows() == []


class Loop:
    """An event loop that runs when a test says so."""

    def __init__(self):
        self.posted = []
        self.waiting = []

    def post(self, work):
        self.posted.append(work)

    def later(self, milliseconds, work):
        self.waiting.append((milliseconds, work))

    def run(self, rounds=50):
        for _ in range(rounds):
            work, self.posted = self.posted, []
            timed, self.waiting = self.waiting, []
            if not work and not timed:
                return
            for each in [*work, *(each for _, each in timed)]:
                each()


class NowWorkers:
    """Workers that work at once, on the spot."""

    def run(self, work, then, failed):
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 # as Workers does
            failed(error)
            return
        then(result)

    def close(self):
        """Nothing to end."""


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def workers():
    return NowWorkers()


@pytest.fixture
def answers():
    """What an artist answers the panel's questions."""
    from gui.panel_parts import Answers

    return Answers()


@pytest.fixture
def clip(tmp_path):
    """A folder with a clip and the masks of two objects."""
    from gui.panel_parts import write_two_objects

    folder = tmp_path / "clip"
    folder.mkdir()
    write_two_objects(folder)
    return folder
