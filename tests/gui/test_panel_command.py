import os
import signal
import subprocess
import sys

import pytest


def test_without_pyside_the_command_says_how_to_get_it():
    code = "import sys; sys.modules['PySide6'] = None; from penumbra.cli import app; app(['panel'])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 5
    assert "The desktop panel cannot start here" in told.stderr
    assert "pip install 'penumbra-layers[panel]'" in told.stderr
    assert "Traceback" not in told.stderr


# The command itself; the window says on stdout that its loop runs, and then does what the test is about.
COMMAND = """
import sys
from PySide6.QtCore import QTimer
from penumbra.cli import app as command
from penumbra_gui import app

class Watched(app.Panel):
    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, examine=False, **settings)
        QTimer.singleShot(0, lambda: print("up", flush=True))
        QTimer.singleShot(100, self.window.close if {closed} else lambda: None)

app.Panel = Watched
command(["panel"])
"""


def open_panel(tmp_path, closed):
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", COMMAND.replace("{closed}", str(closed))]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_the_program_ends_when_its_window_is_closed(app, tmp_path):
    with open_panel(tmp_path, closed=True) as process:
        assert process.stdout.readline() == "up\n"
        assert process.wait(60) == 0


@pytest.mark.skipif(os.name == "nt", reason="signals as Unix has them")
def test_the_command_opens_the_window_and_leaves_cleanly_when_told_to(app, tmp_path):
    with open_panel(tmp_path, closed=False) as process:
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert list(tmp_path.rglob("preferences.json"))
