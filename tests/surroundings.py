"""What a host's process may find around it: an old Python, a wrapper's variables, strange names of folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STRANGE = 'it\'s "här" & 影'


def oldest_python():
    """A Python 3.9, as Nuke 14 brings it: $PENUMBRA_PYTHON39, the PATH, or one of pyenv's."""
    named = [os.environ.get("PENUMBRA_PYTHON39"), shutil.which("python3.9")]
    for python in [*filter(None, named), *sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python"))]:
        # A name on the PATH may be a stand-in that only says it is not there.
        answer = subprocess.run(
            [python, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True, check=False
        )
        if answer.stdout.strip() == "(3, 9)":
            return str(python)
    pytest.skip("there is no Python 3.9 here: name one in PENUMBRA_PYTHON39")


def hostile_surroundings(folder):
    """What a studio's wrapper may have exported for Nuke's own Python."""
    poison = folder / "poison"
    poison.mkdir()
    for name in ("numpy", "penumbra", "sitecustomize", "usercustomize", "typer"):
        (poison / f"{name}.py").write_text(f"raise SystemExit('{name} of another Python was imported')\n")
    library = Path(oldest_python()).resolve().parents[1] / "lib"
    return {
        "PYTHONPATH": str(poison),
        "PYTHONHOME": str(folder / "nowhere"),
        "PYTHONSTARTUP": str(poison / "numpy.py"),
        "PYTHONPLATLIBDIR": "nowhere",
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "2",
        "QT_PLUGIN_PATH": str(folder / "nowhere"),
        "QT_QPA_PLATFORM_PLUGIN_PATH": str(folder / "nowhere"),
        "LD_LIBRARY_PATH": str(library),
    }


def strange_engine(plugin, folder):
    """Has an installed plug-in remember this very environment by way of a strangely named folder."""
    environment = folder / "venv"
    environment.symlink_to(sys.prefix, target_is_directory=True)
    engine = environment / "bin" / "python"
    record = plugin.folder / "python" / plugin.package / "engine.txt"
    record.write_text(f"{engine}\n", encoding="utf-8")
    return engine
