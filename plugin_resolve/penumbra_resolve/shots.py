"""A shot's folder, its job, and the run of the engine on it; knows nothing of Resolve's objects."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from penumbra.errors import JobError, OutputError
from penumbra.events import Event
from penumbra.job import (
    CleanPlateSettings,
    FrameRange,
    Job,
    MaskSettings,
    OutputSettings,
    PlateSettings,
    RefineSettings,
    load_job,
)
from penumbra_resolve.engine import Outcome, run_engine, run_with_window
from penumbra_resolve.sources import Footage

# A folder no object can be called, since their names have no hyphen.
INPUTS_FOLDER = "from-resolve"
FOLDER_VARIABLE = "PENUMBRA_RESOLVE_FOLDER"
REFINE_VARIABLE = "PENUMBRA_RESOLVE_REFINE"
WINDOW_VARIABLE = "PENUMBRA_RESOLVE_WINDOW"
DEFAULT_REFINE = "5min"
_STOP, _RENDERED = "stop", "rendered.json"


@dataclass(frozen=True)
class MaskClip:
    """An object's mask as the engine reads it."""

    name: str
    footage: Footage
    channel: str = "auto"


def shots_folder(project: str) -> Path:
    """Where a project's shots go: never beside the media, which may be read-only."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    base = Path(chosen) if chosen else Path.home() / "Penumbra"
    kept = "".join(letter if letter.isalnum() or letter in "-_ " else "_" for letter in project).strip(" .")
    return base / (kept or "project")


def make_job(
    plate: Footage, color: str, masks: Tuple[MaskClip, ...], clean: Optional[Footage] = None
) -> Dict[str, Any]:
    """The job as JSON values; without masks it is no whole job yet, and the compact window asks for them. ``color``: of
    the plate and of the user's own clean plate.
    """
    settings = PlateSettings(plate.path, FrameRange(plate.first, plate.last), color)
    parts = tuple(
        MaskSettings(mask.name, mask.footage.path, mask.channel, offset=mask.footage.offset_to(plate)) for mask in masks
    )
    stand_in = parts or (MaskSettings("object", "none"),)
    refine = RefineSettings.parse(os.environ.get(REFINE_VARIABLE, DEFAULT_REFINE))
    own = None if clean is None else CleanPlateSettings(clean.path, color, clean.offset_to(plate))
    job = Job(settings, stand_in, OutputSettings(".."), clean_plate=own, refine=refine).to_dict()
    return job if parts else {**job, "masks": []}


def free_folder(base: Path, ours: Callable[[Path], bool]) -> Path:
    """``base``, or ``base_v2`` and so on: the first that is new, or of which ``ours`` says that it goes on there."""
    number = 1
    while True:
        folder = base if number == 1 else base.with_name(f"{base.name}_v{number}")
        if not folder.exists() or ours(folder):
            return folder
        number += 1


def holds_job(folder: Path, job: Dict[str, Any]) -> bool:
    """Whether the folder is this very job's, begun or finished."""
    try:
        kept = json.loads(_asked_file(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(kept == json.loads(json.dumps(job)))


def write_job(folder: Path, job: Dict[str, Any]) -> Path:
    """Writes the job, whole, unless it is there from an earlier run; its path. Raises :class:`OutputError`."""
    path = folder / INPUTS_FOLDER / "job.json"
    if path.is_file() and holds_job(folder, job):
        return path
    for target in (path, _asked_file(folder)):
        _write_json(target, job)
    return path


def remember_plate(folder: Path, facts: Any, plate: Footage) -> None:
    """Keeps what Resolve rendered, and for which clips, for a run that is stopped to go on with."""
    _write_json(folder / INPUTS_FOLDER / _RENDERED, {"clips": facts, "plate": asdict(plate)})


def recall_plate(folder: Path, facts: Any) -> Optional[Footage]:
    """The plate rendered for these very clips, where the run on it was stopped before its end."""
    if (folder / "manifest.json").exists():
        return None
    try:
        kept = json.loads((folder / INPUTS_FOLDER / _RENDERED).read_text(encoding="utf-8"))
        return Footage(**kept["plate"]) if kept["clips"] == json.loads(json.dumps(facts)) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def run_job(
    job_file: Path, python: Optional[str], on_event: Callable[[Event], None], host_lives: Callable[[], bool]
) -> Tuple[Outcome, Optional[Path]]:
    """Runs the job in the compact window, or, without one, by itself; the outcome, and where the layers are.

    It is stopped when the host goes away or a file called ``stop`` appears beside the job.
    """
    asked_to_stop = job_file.parent / _STOP
    asked_to_stop.unlink(missing_ok=True)

    def stop() -> bool:
        return asked_to_stop.exists() or not host_lives()

    resume = (job_file.parent.parent / ".penumbra").is_dir()
    outcome = None
    if os.environ.get(WINDOW_VARIABLE) != "off":
        outcome = run_with_window(job_file, python, resume, on_event, stop)
    if outcome is None:
        _refuse_without_masks(job_file)
        arguments = ["decompose", "--job", str(job_file), "--json", *(["--resume"] if resume else [])]
        outcome = run_engine(arguments, python, on_event, stop)
    asked_to_stop.unlink(missing_ok=True)
    return outcome, Path(load_job(job_file).output.folder).resolve() if outcome.exit_code == 0 else None


def ask_to_stop(base: Path) -> List[Path]:
    """Asks every run below a folder of projects to stop; the jobs' files."""
    asked = list(_running_jobs(base))
    for job_file in asked:
        (job_file.parent / _STOP).touch()
    return asked


def _running_jobs(base: Path) -> Iterator[Path]:
    for job_file in base.glob(f"*/*/{INPUTS_FOLDER}/job.json"):
        if (job_file.parent.parent / ".penumbra").is_dir() and not (job_file.parent.parent / "manifest.json").is_file():
            yield job_file


def _refuse_without_masks(job_file: Path) -> None:
    job = json.loads(job_file.read_text(encoding="utf-8"))
    if not job.get("masks"):
        raise JobError(
            "No mask was found for this clip.",
            "Call a track 'Mask car' and put the car's mask on it, above the clip; or install the panel, which asks.",
        )


def _write_json(path: Path, body: Any) -> None:
    temporary = path.with_name("." + path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"The file {path} cannot be written: {error.strerror}.", f"Name another folder in {FOLDER_VARIABLE}."
        ) from error


def _asked_file(folder: Path) -> Path:
    """The job as the host asked for it; the window may change ``job.json`` beside it."""
    return folder / INPUTS_FOLDER / "asked.json"
