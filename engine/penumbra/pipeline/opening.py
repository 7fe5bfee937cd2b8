"""Before any stage: the footage opened, the output folder claimed, and what cannot work refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from penumbra.errors import JobError, TooShortError
from penumbra.frames import Footage
from penumbra.job import Job
from penumbra.journal import WORK_FOLDER, Journal, job_identity
from penumbra.lock import EVERYTHING, STALE_SECONDS, hold
from penumbra.pipeline.scratch import MADE
from penumbra.pipeline.shot import Shot
from penumbra.pipeline.weights import trained_short_side, weights_digest, weights_file
from penumbra.read import compact_ranges, open_clean_plate, open_mask, open_plate
from penumbra.reporting import Reporter
from penumbra.tasks import Task
from penumbra.working import SmallClip, working_size
from penumbra.write import prepare_output, refuse_links

LEAST_FRAMES = 2
# How long a task waits for another's claim: a farm sends a dead machine's task to the next one at once.
TASK_PATIENCE = STALE_SECONDS + 30


@contextmanager
def open_shot(job: Job, named: Job, report: Reporter, resume: bool, task: Task | None) -> Iterator[Shot]:
    """Opens all footage, refusing what cannot work before anything is written; holds the output folder till the end."""
    report.stage("read", "Opening the footage")
    with ExitStack() as stack:
        plate = stack.enter_context(open_plate(job.plate))
        footage = plate.footage
        if len(footage.frames) < LEAST_FRAMES:
            raise TooShortError(
                f"{footage.path} has a single frame.", "Layers are found from motion: give a clip of several frames."
            )
        masks = tuple(stack.enter_context(open_mask(mask, footage)) for mask in job.masks)
        clean = stack.enter_context(open_clean_plate(job.clean_plate, footage)) if job.clean_plate else None
        for warning in (
            *plate.warnings,
            *(w for mask in masks for w in mask.warnings),
            *(clean.warnings if clean else ()),
        ):
            report.warn(warning)
        prepare_output(Path(job.output.folder))
        refuse_links(Path(job.output.folder), (*job.sequences, "preview", WORK_FOLDER))
        journal = Journal(Path(job.output.folder))
        claim, patience = (EVERYTHING, 0.0) if task is None else (task.claim, TASK_PATIENCE)
        journal.check = stack.enter_context(hold(journal.work, claim, patience, report.should_stop)).check
        _take(journal, job, resume, task)
        journal.drop(*(fact for fact, made in MADE.items() if not all((journal.work / name).exists() for name in made)))
        size = _working_size(journal, job, footage)
        small = SmallClip(journal.work, len(footage.frames), len(masks), footage.canvas, size)
        shot = Shot(job, named, task, plate, masks, clean, journal, report, small)
        _check_chunk(shot)
        journal.recall_frames(shot.wanted)
        yield shot


def _take(journal: Journal, job: Job, resume: bool, task: Task | None) -> None:
    """The output folder, for the whole job or for one task of it."""
    identity = job_identity(job, _inputs(job), weights_digest(job))
    if task is None:
        journal.open(identity, job.sequences, resume, job.output.replace)
    elif task.name == "prepare":
        journal.begin_task(identity, job.sequences, job.output.replace)
    else:
        journal.join_task(identity, alone=task.name != "frames")


def _working_size(journal: Journal, job: Job, footage: Footage) -> tuple[int, int]:
    """As the clip was read, wherever the weights that decided it lie."""
    known = journal.get("read")
    if known is not None:
        height, width = known["working_size"]
        return height, width
    return job.model.working_size or working_size(footage.canvas, *trained_short_side(weights_file(job)))


def _check_chunk(shot: Shot) -> None:
    unknown = sorted(set(shot.wanted) - set(shot.footage.frames))
    if unknown:
        frames = shot.footage.frames
        raise JobError(
            f"The job has no frame {compact_ranges(unknown)}: its plate runs from {frames[0]} to {frames[-1]}.",
            "Give frames of the plate with --frames.",
        )


def _inputs(job: Job) -> list[Path]:
    """Every input file of a job, found by name: for the digest that tells one job's folder from another's."""
    named = [job.plate.path, *(mask.path for mask in job.masks)]
    named += [job.clean_plate.path] if job.clean_plate else []
    named += [job.camera.path] if job.camera.path else []
    named += [] if job.model.weights in ("auto", "random") else [job.model.weights]
    return [file for name in named for file in _files_of(Path(name))]


def _files_of(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    folder, prefix = (path, "") if path.is_dir() else (path.parent, path.name)
    for mark in "%#@[":
        prefix = prefix.split(mark)[0]
    if folder.is_dir():
        yield from (entry for entry in folder.iterdir() if entry.name.startswith(prefix) and entry.is_file())
