"""Where Resolve looks for scripts and for Python, per system (HOSTS 2.2). Asks the file system, touches nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

_VENDOR = "Blackmagic Design"
_MAC_PYTHON = Path("/usr/local/bin/python3")


def fusion_folder(home: Path, environment: Mapping[str, str], platform: str = sys.platform) -> Path:
    """The user's own ``Fusion`` folder of Resolve, in which ``Scripts`` lies; it may not exist yet."""
    if platform == "win32":
        # Support stands in the user's tree only; the folder for all users has none.
        roaming = environment.get("APPDATA")
        base = Path(roaming) if roaming else home / "AppData" / "Roaming"
        return base / _VENDOR / "DaVinci Resolve" / "Support" / "Fusion"
    if platform == "darwin":
        return home / "Library" / "Application Support" / _VENDOR / "DaVinci Resolve" / "Fusion"
    shared = environment.get("XDG_DATA_HOME")
    return (Path(shared) if shared else home / ".local" / "share") / "DaVinciResolve" / "Fusion"


def python_trap(
    environment: Mapping[str, str], platform: str = sys.platform, installed: Path = _MAC_PYTHON
) -> str | None:
    """What keeps Resolve from finding a Python here, or None.

    On macOS it looks at ``$PYTHON3HOME`` and ``/usr/local/bin/python3`` and nowhere else, and a script it has no Python
    for is left out of its menu without a word. Python of Homebrew on Apple's processors, pyenv, conda and uv lie
    elsewhere.
    """
    if platform != "darwin":
        return None
    home = environment.get("PYTHON3HOME")
    if home:
        return None if Path(home).is_dir() else f"PYTHON3HOME names {home}, which is no folder."
    if installed.exists():
        return None
    return f"Resolve finds no Python: there is no {installed}. Install Python from python.org, or set PYTHON3HOME."
