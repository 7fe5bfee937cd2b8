"""The same window on a real X server: what offscreen cannot tell of focus, keys and drawing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
TESTS = Path(__file__).with_name("test_panel_window.py")
CHOSEN = "from_a_clip_to_layers or keys_reach or nothing_is_cut_off or asks_before or dropped"


@pytest.fixture
def display():
    """A screen of 1280x800 nobody looks at."""
    if shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb (docs/panel.md)")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    with os.fdopen(reading) as told:
        number = told.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait(20)


def test_a_clip_becomes_layers_on_a_real_screen(app, display):
    environment = {**os.environ, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb"}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-q", str(TESTS), "-k", CHOSEN]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "skipped" not in told.stdout
