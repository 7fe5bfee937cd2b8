"""Before any stage: the footage opened, the output folder claimed, and what cannot work refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from penumbra.errors import JobError, OutputError, TooShortError, TorchMissingError, WeightsError
from penumbra.frames import Footage
from penumbra.job import Job, MaskSettings
from penumbra.journal import WORK_FOLDER, JobIdentity, Journal, is_of_sequence, job_identity
from penumbra.lock import EVERYTHING, STALE_SECONDS, hold
from penumbra.pipeline.scratch import MADE
from penumbra.pipeline.shot import Shot
from penumbra.pipeline.weights import trained_short_side, weights_digest, weights_file
from penumbra.read import compact_ranges, files_of_clip, open_clean_plate, open_mask, open_plate
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
        clips = _clips(job)
        _refuse_one_sequence_for_two(job, clips)
        inputs = _inputs(job, clips)
        journal = Journal(Path(job.output.folder))
        _refuse_inputs_in_the_way(journal, job, inputs)
        _refuse_weights(journal, job, task)
        for warning in (
            *plate.warnings,
            *(w for mask in masks for w in mask.warnings),
            *(clean.warnings if clean else ()),
        ):
            report.warn(warning)
        prepare_output(Path(job.output.folder))
        refuse_links(Path(job.output.folder), (*job.sequences, "preview", WORK_FOLDER))
        claim, patience = (EVERYTHING, 0.0) if task is None else (task.claim, TASK_PATIENCE)
        journal.check = stack.enter_context(hold(journal.work, claim, patience, report.should_stop)).check
        _take(journal, job, job_identity(job, inputs, weights_digest(job)), resume, task)
        journal.drop(*(fact for fact, made in MADE.items() if not all((journal.work / name).exists() for name in made)))
        size = _working_size(journal, job, footage)
        small = SmallClip(journal.work, len(footage.frames), len(masks), footage.canvas, size)
        shot = Shot(job, named, task, plate, masks, clean, journal, report, small)
        _check_chunk(shot)
        journal.recall_frames(shot.wanted)
        yield shot


def _refuse_inputs_in_the_way(journal: Journal, job: Job, inputs: Sequence[Path]) -> None:
    """Raises :class:`OutputError` where a file that is read lies where one would be written, or removed first."""
    output = Path(job.output.folder).resolve()
    for name in dict.fromkeys((*job.sequences, *journal.written(job.output.replace))):
        folder = output / name
        for file in inputs:
            if is_of_sequence(file.name, name) and file.resolve().parent == folder:
                raise OutputError(
                    f"{file} is read by the job and lies where its sequence {name} is written, in {output}.",
                    "Choose another output folder.",
                )


def _refuse_weights(journal: Journal, job: Job, task: Task | None) -> None:
    """Raises :class:`WeightsError`, :class:`JobError` or :class:`TorchMissingError` where graphs could not be made."""
    name, off = job.model.weights, job.refine.off
    if name not in ("auto", "random") and not weights_file(job).is_file():
        raise WeightsError(f"There are no weights at {name}.", "Correct the path, or use auto.")
    if off and name == "random":
        raise JobError("Random weights know nothing without refinement.", "Use --refine 5min, or other weights.")
    made = (off and name == "auto") or journal.get("weights") is not None
    if not made and (task is None or "refine" in task.stages) and find_spec("torch") is None:
        raise TorchMissingError


def _refuse_one_sequence_for_two(job: Job, clips: Mapping[str, Sequence[Path]]) -> None:
    """Raises :class:`JobError` where two masks, named by different files, would be the same sequence."""
    seen: dict[tuple[object, ...], MaskSettings] = {}
    for mask in job.masks:
        if not Path(mask.path).is_file():
            continue
        same = (tuple(clips[mask.path]), mask.channel, mask.invert, mask.offset)
        other = seen.setdefault(same, mask)
        if Path(other.path) != Path(mask.path):
            raise JobError(
                f"Masks {other.name} ({other.path}) and {mask.name} ({mask.path}) are files of one and the same"
                " sequence, so that both would be the same mask.",
                "Give sequences by their pattern, such as mask1.%04d.png, and each still a folder of its own.",
            )


def _take(journal: Journal, job: Job, identity: JobIdentity, resume: bool, task: Task | None) -> None:
    """The output folder, for the whole job or for one task of it."""
    if task is None:
        journal.open(identity, job.sequences, resume, job.output.replace)
    elif task.name == "prepare":
        journal.begin_task(identity, job.sequences, job.output.replace)
    else:
        journal.join_task(identity, job.sequences, alone=task.name != "frames")


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


def _clips(job: Job) -> dict[str, list[Path]]:
    """The files of every clip that a job reads, by its path: listing a folder of thousands takes a while."""
    own = [] if job.clean_plate is None else [job.clean_plate.path]
    return {path: files_of_clip(path) for path in (job.plate.path, *(mask.path for mask in job.masks), *own)}


def _inputs(job: Job, clips: Mapping[str, Sequence[Path]]) -> list[Path]:
    """Every input file of a job: for the digest that tells one job's folder from another's."""
    files = [file for clip in clips.values() for file in clip]
    files += [Path(job.camera.path)] if job.camera.path else []
    return files + ([] if job.model.weights in ("auto", "random") else [Path(job.model.weights)])
