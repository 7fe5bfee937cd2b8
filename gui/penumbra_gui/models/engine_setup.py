"""Whether an engine is there, which one, and whether it fits this panel."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from penumbra import __version__
from penumbra.errors import PenumbraError
from penumbra.launch import child_environment, find_engine
from penumbra_gui.models.checks import Sentence

# A machine that is busy refining takes minutes to import torch.
_PATIENCE_SECONDS = 600
_ASKED: set[subprocess.Popen[str]] = set()


@dataclass(frozen=True)
class EngineReport:
    """``lines``: what ``penumbra doctor`` says; ``problem``: what is wrong, None when all is well."""

    version: str
    lines: tuple[str, ...]
    problem: Sentence | None


def examine_engine(python: str | None) -> EngineReport:
    """Asks the engine's ``doctor``; takes seconds, so call it off the loop."""
    try:
        command = find_engine(python)
        told = _run([*command, "doctor"])
    except PenumbraError as error:
        return EngineReport("", (), Sentence("error", error.sentence, error.fix, error.code))
    except (OSError, subprocess.SubprocessError) as error:
        return _no_answer(f"The engine could not be asked how it is: {error}.", ())
    lines = tuple(told.stdout.splitlines())
    match = re.match(r"Penumbra (\S+?),", told.stdout)
    if match is None:
        last = (told.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return _no_answer(f"{command[0]} holds no Penumbra engine: {last.rstrip('.')}.", lines)
    return EngineReport(match.group(1), lines, _judge(match.group(1), told.returncode, lines))


def make_sample(python: str | None, folder: Path) -> Path:
    """Renders a small clip with ``penumbra synth``; returns its job file. Raises :class:`PenumbraError`."""
    job_file = folder / "job.json"
    if job_file.is_file():
        return job_file
    arguments = ["synth", str(folder), "--frames", "24", "--size", "192x336", "--seed", "7", "--replace"]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        told = _run([*find_engine(python), *arguments])
    except (OSError, subprocess.SubprocessError) as error:
        raise PenumbraError(f"The sample could not be rendered: {error}.", "Open a clip of your own.") from error
    if told.returncode != 0 or not job_file.is_file():
        said = " ".join((told.stderr.strip().splitlines() or ["the engine said nothing"])[-2:])
        raise PenumbraError(f"The sample could not be rendered: {said}", "Open a clip of your own.")
    return job_file


def abandon() -> None:
    """Ends whatever is being asked, for a panel that closes; the askers get an answer without words."""
    for process in list(_ASKED):
        process.kill()


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=child_environment(),
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    _ASKED.add(process)
    try:
        with process:
            told, said = process.communicate(timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    finally:
        _ASKED.discard(process)
    return subprocess.CompletedProcess(command, process.returncode, told, said)


def _no_answer(text: str, lines: tuple[str, ...]) -> EngineReport:
    fix = "Choose the Python that Penumbra is installed in under Edit > Preferences."
    return EngineReport("", lines, Sentence("error", text, fix, "engine_not_found"))


def _judge(version: str, exit_code: int, lines: tuple[str, ...]) -> Sentence | None:
    """A differing minor version may speak other events; a missing library is named by its line."""
    if version.split(".")[:2] != __version__.split(".")[:2]:
        text = f"The engine is version {version}, this panel version {__version__}."
        return Sentence("error", text, "Install the same version of both.", "engine_version")
    missing = [line.split()[0] for line in lines if "MISSING" in line]
    if exit_code != 0:
        text = f"The engine lacks {', '.join(missing) or 'something it needs'}."
        return Sentence("error", text, "Reinstall it: pip install penumbra-layers.", "engine_incomplete")
    if missing:
        text = f"Refinement is not available: the engine lacks {', '.join(missing)}."
        return Sentence("warning", text, "Install it with: pip install 'penumbra-layers[refine]'.", "no_refinement")
    return None
