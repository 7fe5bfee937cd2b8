import subprocess
import sys


def test_without_pyside_the_command_says_how_to_get_it():
    code = "import sys; sys.modules['PySide6'] = None; from penumbra.cli import app; app(['panel'])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 5
    assert "The desktop panel cannot start here" in told.stderr
    assert "pip install 'penumbra-layers[panel]'" in told.stderr
    assert "Traceback" not in told.stderr
