"""What a run has left in its output folder."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from penumbra.errors import JobError, OutputError, PenumbraError
from penumbra.job import Job, RefineSettings, job_from_dict
from penumbra.storage import read_text
from penumbra_gui.models.checks import Sentence
from penumbra_gui.models.clips import clip_of
from penumbra_gui.models.project import name_of, next_folder, usual_folder

NODE_FILES = {"Nuke": "layers.nk", "Fusion": "layers.setting"}
_MANIFEST = "manifest.json"
_MANIFEST_VERSION = 1
_REFINED = Path(".penumbra") / "refined.safetensors"
_JOURNAL = Path(".penumbra") / "journal.json"


@dataclass(frozen=True)
class FinishedOutput:
    """A finished output folder. ``worst``: the largest recomposition error of any frame."""

    folder: Path
    job: Job
    frames: tuple[int, ...]
    order: dict[int, tuple[str, ...]]
    colors: dict[str, str]
    worst: float | None
    warnings: tuple[str, ...]


def open_output(folder: Path) -> FinishedOutput:
    """Reads a folder's manifest; raises :class:`OutputError` or :class:`JobError` for what cannot be understood."""
    path = folder / _MANIFEST
    try:
        data: Any = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(f"{path} cannot be read: {error}.", "Choose a folder that a run has finished.") from error
    if not isinstance(data, dict) or data.get("penumbra_manifest") != _MANIFEST_VERSION:
        raise OutputError(f"{path} is of another version of Penumbra.", "Open it with the version that wrote it.")
    try:
        order = {int(number): tuple(names) for number, names in data["order"].items()}
        colors = {entry["name"]: str(entry.get("color", "")) for entry in data["objects"]}
        job = job_from_dict(data["job"])
        worst = _figure(data.get("totals", {}).get("recomposition_max"))
        warnings = tuple(str(text) for text in data.get("warnings", []))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise OutputError(f"{path} is not whole: {error}.", "Run the job again.") from error
    # A folder that was moved still is this job's output.
    job = replace(job, output=replace(job.output, folder=str(folder), replace=False))
    return FinishedOutput(folder, job, tuple(order), order, colors, worst, warnings)


def _figure(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < sys.maxsize else None


def is_output(folder: Path) -> bool:
    """Whether a folder holds a finished run; raises :class:`OutputError` where that cannot be told."""
    return _is_there(folder, _MANIFEST)


def has_begun(folder: Path) -> bool:
    """Whether a run has begun in a folder: resuming is worth trying. Raises as :func:`is_output`."""
    return _is_there(folder, _JOURNAL)


def _is_there(folder: Path, name: str | Path) -> bool:
    try:
        return (folder / name).is_file()
    except OSError as error:
        # A name too long for the disk, or a folder that may not be looked into.
        reason = error.strerror or error
        raise OutputError(f"The output folder {folder} cannot be used: {reason}.", "Choose another one.") from error


def finished_frames(folder: Path, names: tuple[str, ...]) -> frozenset[int]:
    """Frames of which the clean plate and every layer are there."""
    found = [_frame_numbers(folder / name, name) for name in ("background", *names)]
    return frozenset.intersection(*found)


@dataclass(frozen=True)
class FolderState:
    """What an output folder holds for a job. ``output``: its finished result; ``frames``: those that are there;
    ``begun``: a run can be gone on with; ``note``: what the artist should know of it.
    """

    folder: str
    output: FinishedOutput | None = None
    frames: frozenset[int] = frozenset()
    begun: bool = False
    note: Sentence | None = None


def look_at_folder(folder: str, plate: str, names: tuple[str, ...], known: FinishedOutput | None) -> FolderState:
    """What is there of a clip and its objects; ``known`` is a result already read. Folders may lie on a slow server:
    call it off the loop.
    """
    where, output = Path(folder), known
    try:
        begun = has_begun(where)
        if output is None and is_output(where):
            with contextlib.suppress(PenumbraError):
                output = open_output(where)
    except OutputError as error:
        return FolderState(folder, note=Sentence("error", error.sentence, error.fix))
    # Another clip's layers are none of this one's, nor are those of other objects.
    if output is not None and not _same_clip(output.job.plate.path, plate):
        return FolderState(folder, note=Sentence("note", "Holds the layers of another clip."))
    if output is not None and set(output.job.names) != set(names):
        return FolderState(folder, note=_folder_note(where))
    if output is not None and output.job.names != names:
        output = None
    frames = finished_frames(where, names) if begun or output is not None else frozenset[int]()
    return FolderState(folder, output, frames, begun and output is None, _folder_note(where))


def free_folder(plate: str) -> str:
    """Where a clip's layers go unless the artist says otherwise: ``layers`` beside it, or ``layers_CLIP`` where these
    are another clip's.
    """
    usual = usual_folder(plate)
    own = f"{usual}_{name_of(plate, ())}"
    return next((folder for folder in (usual, own) if not _is_taken(Path(folder), plate)), "") or next_folder(own)


def _is_taken(folder: Path, plate: str) -> bool:
    """Whether a folder holds another clip's result."""
    try:
        return is_output(folder) and not _same_clip(open_output(folder).job.plate.path, plate)
    except PenumbraError:
        return False


def _same_clip(theirs: str, ours: str) -> bool:
    """Whether two paths name one clip, however its frames are spelled, by its folder or wherever it was moved to."""
    first, second = Path(theirs).absolute(), Path(ours).absolute()
    their, our = clip_of(str(first)), clip_of(str(second))
    moved = their[1] == our[1] and not first.parent.exists()
    return their == our or moved or first == second.parent or second == first.parent


def _folder_note(where: Path) -> Sentence | None:
    if is_output(where):
        return Sentence("note", "Holds a finished result.")
    if has_begun(where):
        return Sentence("note", "Holds a run that can be resumed.")
    nearest = next((path for path in (where, *where.parents) if path.exists()), where)
    if not nearest.is_dir():
        return Sentence("error", f"{nearest} is a file, not a folder.")
    if not os.access(nearest, os.W_OK):
        return Sentence("error", f"{nearest} cannot be written to.")
    return None


def nodes_text(folder: Path, host: str) -> str:
    """What to paste into ``Nuke`` or ``Fusion``; raises :class:`OutputError` where the run wrote none."""
    path = folder / NODE_FILES[host]
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise OutputError(f"There are no {host} nodes at {path}.", "Run the job again with this version.") from error


def export_preview(folder: Path, target: Path) -> None:
    """Copies the preview movie; the target appears whole or not at all. Raises :class:`OutputError`."""
    source = folder / "preview" / "preview.mp4"
    if not source.is_file():
        raise OutputError(f"There is no preview movie at {source}.", "Run the job again with previews on.")
    temporary = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(source, temporary)
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}.", "Choose another place.") from error
    finally:
        temporary.unlink(missing_ok=True)


def refine_more(job: Job, refine: RefineSettings) -> Job:
    """The job that goes on learning from where ``job`` ended, into the next folder: what is done stays as it is.

    Raises :class:`JobError` where ``refine`` is off.
    """
    if refine.off:
        raise JobError("More refinement needs minutes or steps.", "Choose how long under Quality.")
    learnt = Path(job.output.folder) / _REFINED
    model = replace(job.model, weights=str(learnt)) if learnt.is_file() else job.model
    output = replace(job.output, folder=next_folder(job.output.folder), replace=False)
    return replace(job, refine=refine, model=model, output=output)


def _frame_numbers(folder: Path, name: str) -> frozenset[int]:
    pattern = re.compile(re.escape(name) + r"\.(-?\d+)\.exr\Z")
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return frozenset()
    return frozenset(int(match.group(1)) for text in names if (match := pattern.match(text)))
