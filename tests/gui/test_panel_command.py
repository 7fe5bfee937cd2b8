import os
import signal
import subprocess
import sys
import time

import pytest


def test_without_pyside_the_command_says_how_to_get_it():
    code = "import sys; sys.modules['PySide6'] = None; from penumbra.cli import app; app(['panel'])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 5
    assert "The desktop panel cannot start here" in told.stderr
    assert "pip install 'penumbra-layers[panel]'" in told.stderr
    assert "Traceback" not in told.stderr


CLOSED_BY_ITS_BUTTON = """
import sys
from PySide6.QtCore import QTimer
from penumbra_gui import app

class Closed(app.Panel):
    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, examine=False, **settings)
        QTimer.singleShot(200, self.window.close)

app.Panel = Closed
sys.exit(app.main())
"""


def test_the_program_ends_when_its_window_is_closed(app, tmp_path):
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", CLOSED_BY_ITS_BUTTON]
    told = subprocess.run(command, env=environment, timeout=60, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals as Unix has them")
def test_the_command_opens_the_window_and_leaves_cleanly_when_told_to(app, tmp_path):
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-m", "penumbra", "panel"], env=environment)
    kept = tmp_path / "penumbra" / "preferences.json"
    time.sleep(10)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert kept.is_file()
