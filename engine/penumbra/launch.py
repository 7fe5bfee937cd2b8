"""Start the engine as a subprocess, read its events, stop it: what every host and the panel use.

Standard library only, in Python 3.9 syntax. The child runs in the engine's own Python, isolated from the host's: no
shell, no inherited PYTHON* or Qt plug-in variables, no console window on Windows.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence

from penumbra.errors import PenumbraError
from penumbra.events import Event, parse_event

# A host's own Python and Qt must not leak into the engine's (HOSTS: OpenPype 2493, griptape 116, RimSort 1244): nothing
# that begins with PYTHON, and none of these; by the first of them macOS passes a framework's interpreter on.
# PATH and library paths stay, for wrapper environments supply drivers through them; but for those of the host's own
# folder, whose Qt would be loaded in place of the panel's.
HOST_VARIABLES = (
    "__PYVENV_LAUNCHER__",
    "QT_PLUGIN_PATH",
    "QT_QPA_PLATFORM_PLUGIN_PATH",
    "QML_IMPORT_PATH",
    "QML2_IMPORT_PATH",
)
LIBRARY_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
ENGINE_VARIABLE = "PENUMBRA_PYTHON"
# How long a child may take to finish its file and leave after a polite stop.
PATIENCE_SECONDS = 20.0


class EngineNotFoundError(PenumbraError):
    """No Python with Penumbra in it could be found."""

    code = "engine_not_found"
    exit_code = 5


def child_environment(environment: Optional[Dict[str, str]] = None) -> Dict[str, str]:
    """The environment for the engine: the host's, less what would break another Python."""
    source = dict(os.environ if environment is None else environment)
    kept = {
        key: value
        for key, value in source.items()
        if not key.upper().startswith("PYTHON") and key.upper() not in HOST_VARIABLES
    }
    for key in LIBRARY_VARIABLES:
        if key in kept:
            kept[key] = _without_host(kept[key])
    kept["PYTHONNOUSERSITE"] = "1"
    kept["PYTHONUNBUFFERED"] = "1"
    kept["PYTHONIOENCODING"] = "utf-8"
    return kept


def _without_host(search_path: str) -> str:
    """A search path less the folders that hold, or lie in, the one the running program was started from."""
    programs = [
        Path(path).resolve().parent for path in (sys.executable, "/proc/self/exe") if path and Path(path).exists()
    ]

    def is_host(folder: str) -> bool:
        place = Path(folder).resolve()
        return any(place in (home, *home.parents) or home in place.parents for home in programs)

    return os.pathsep.join(folder for folder in search_path.split(os.pathsep) if folder and not is_host(folder))


def find_engine(python: Optional[str] = None) -> List[str]:
    """The command that starts the engine.

    Tried in order: ``python`` given, $PENUMBRA_PYTHON, the ``penumbra`` command on PATH, and the running interpreter
    if it is not a host's.
    """
    chosen = python or os.environ.get(ENGINE_VARIABLE)
    if chosen:
        if not Path(chosen).is_file():
            raise EngineNotFoundError(f"There is no Python at {chosen}.", f"Correct the path or {ENGINE_VARIABLE}.")
        return [chosen, "-I", "-m", "penumbra"]
    command = shutil.which("penumbra")
    if command:
        return [command]
    if (Path(sys.executable).name or "").lower().startswith("python"):
        return [sys.executable, "-I", "-m", "penumbra"]
    raise EngineNotFoundError(
        "The Penumbra engine was not found.", f"Install it, or set {ENGINE_VARIABLE} to the Python it is installed in."
    )


def installed_engine(record: Path, fix: str, chosen: str = "") -> Optional[str]:
    """The engine's Python for a host's plug-in: ``chosen`` if it is there, else $PENUMBRA_PYTHON, else the installer's.

    ``record``: the file in which ``penumbra install`` has named it. None: the ``penumbra`` command of the PATH. What is
    not there counts for nothing, because scripts travel between machines; a host's own Python is never taken. Raises
    :class:`EngineNotFoundError` with ``fix``.
    """
    recorded = ""
    with contextlib.suppress(OSError):
        recorded = record.read_text(encoding="utf-8").strip()
    for candidate in (chosen, os.environ.get(ENGINE_VARIABLE), recorded):
        if candidate and Path(candidate).is_file():
            return candidate
    if shutil.which("penumbra"):
        return None
    raise EngineNotFoundError("The Penumbra engine was not found on this machine.", fix)


class Engine:
    """A running engine. Iterate :meth:`events` to its end, then read :attr:`exit_code`.

    Safe to stop from another thread; leaving the ``with`` block stops a child that still runs.
    """

    def __init__(self, arguments: Sequence[str], python: Optional[str] = None) -> None:
        self._lines: List[str] = []
        windows = os.name == "nt"
        self._process = subprocess.Popen(
            [*find_engine(python), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment(),
            encoding="utf-8",
            errors="replace",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)
            | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            start_new_session=not windows,
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()

    def events(self) -> Iterator[Event]:
        """The engine's events in order; lines that are no events are kept for :attr:`log`."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = parse_event(line)
            if event is None:
                self._lines.append(line)
            else:
                yield event
        self._process.wait()

    def show_frame(self, number: int) -> None:
        """Asks refinement to draw its previews of this frame from now on; an engine that has gone hears nothing."""
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.write(f"preview {number}\n")
            self._process.stdin.flush()

    @property
    def exit_code(self) -> Optional[int]:
        """The child's exit code (see :mod:`penumbra.errors`), None while it runs."""
        return self._process.poll()

    @property
    def log(self) -> str:
        """What the child printed beside its events."""
        return "".join(self._lines)

    def stop(self, patience: float = PATIENCE_SECONDS) -> int:
        """Ask the engine to stop, wait, then end its whole process tree. Returns the exit code."""
        if self._process.poll() is None:
            # A closed stdin is the request every system understands; finished frames stay.
            with contextlib.suppress(OSError):
                assert self._process.stdin is not None
                self._process.stdin.close()
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._end_tree()
        return self._process.wait()

    def _end_tree(self) -> None:
        if os.name == "nt":
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(self._process.pid)], capture_output=True, check=False)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.append(line)


def run_job(job_file: Path, python: Optional[str] = None, resume: bool = False) -> Engine:
    """Starts ``penumbra decompose --job FILE --json``."""
    arguments = ["decompose", "--job", str(job_file), "--json"] + (["--resume"] if resume else [])
    return Engine(arguments, python)
