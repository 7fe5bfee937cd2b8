"""Where the engine is on this machine, and whether it works."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Optional

from penumbra.launch import ENGINE_VARIABLE, EngineNotFoundError, child_environment, find_engine

# Written by `penumbra install nuke` beside the plug-in.
REMEMBERED = Path(__file__).resolve().parent / "engine.txt"


def locate_engine(chosen: str = "") -> Optional[str]:
    """The engine's Python: what the knob names if it is there, else the environment's, else the installer's.

    None: the ``penumbra`` command of the PATH. A knob's path that is not there counts for nothing, because scripts
    travel between machines. Nuke's own Python is never taken. Raises :class:`EngineNotFoundError`.
    """
    for candidate in (python_in(chosen), os.environ.get(ENGINE_VARIABLE), _remembered()):
        if candidate and Path(candidate).is_file():
            return candidate
    if shutil.which("penumbra"):
        return None
    raise EngineNotFoundError(
        "The Penumbra engine was not found on this machine.",
        f"Run penumbra install nuke, or name the engine's Python in the node's Engine tab or in {ENGINE_VARIABLE}.",
    )


def python_in(chosen: str) -> str:
    """A Python given as itself, or as the virtual environment it lies in."""
    if not chosen or not Path(chosen).is_dir():
        return chosen
    places = (Path(chosen) / "bin" / "python", Path(chosen) / "Scripts" / "python.exe")
    return next((str(place) for place in places if place.is_file()), "")


def examine(chosen: str = "") -> str:
    """What ``penumbra doctor`` says, or the sentence of what prevents it."""
    try:
        command = find_engine(locate_engine(chosen))
        answer = subprocess.run(
            [*command, "doctor"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=child_environment(),
            timeout=120,
            check=False,
            encoding="utf-8",
            errors="replace",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except EngineNotFoundError as error:
        return str(error)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"The engine does not start: {error}."
    return answer.stdout.strip() or f"The engine ended with code {answer.returncode} and said nothing."


def _remembered() -> str:
    try:
        return REMEMBERED.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
