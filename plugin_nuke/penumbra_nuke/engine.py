"""Where the engine is on this machine, and whether it works."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Optional

from penumbra.launch import ENGINE_VARIABLE, EngineNotFoundError, child_environment, find_engine, installed_engine

# Written by `penumbra install nuke` beside the plug-in.
REMEMBERED = Path(__file__).resolve().parent / "engine.txt"


def locate_engine(chosen: str = "") -> Optional[str]:
    """As :func:`penumbra.launch.installed_engine`; ``chosen`` is what the knob names."""
    fix = f"Run penumbra install nuke, or name the engine's Python in the node's Engine tab or in {ENGINE_VARIABLE}."
    return installed_engine(REMEMBERED, fix, python_in(chosen))


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
