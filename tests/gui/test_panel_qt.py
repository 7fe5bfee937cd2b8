"""What the panel relies on in Qt's binding; decision 0013."""

import sys

import pytest

pytest.importorskip("PySide6.QtCore", reason="the panel needs PySide6 and Qt's libraries", exc_type=ImportError)

from PySide6.QtCore import QObject, QTimer, Signal


class Speaker(QObject):
    said = Signal(int)


def test_signals_and_timers_keep_true_and_none_alive(app):
    """PySide6 6.12.0 drops a reference each time, which ends the process after some thousand signals."""
    speaker, heard = Speaker(), []
    speaker.said.connect(heard.append)
    before = [sys.getrefcount(value) for value in (None, True, False)]
    for number in range(300):
        speaker.said.emit(number)
        QTimer.singleShot(0, speaker, lambda: None)
        app.processEvents()
    after = [sys.getrefcount(value) for value in (None, True, False)]
    assert len(heard) == 300
    assert all(now > then - 50 for now, then in zip(after, before, strict=True))
