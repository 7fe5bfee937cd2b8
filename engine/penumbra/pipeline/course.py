"""The course of a run: which stage comes after which, where a task of it ends, and what its failures are called.

The only module that knows the order.
"""

from __future__ import annotations

import errno
from pathlib import Path

from penumbra.errors import OutOfMemoryError, OutputError, PenumbraError, ran_out_of_memory
from penumbra.events import Event, OnEvent
from penumbra.job import Job
from penumbra.pipeline.finish import finish, restore
from penumbra.pipeline.layers import all_there, gather, lift_write_verify
from penumbra.pipeline.opening import open_shot
from penumbra.pipeline.predict import make_graphs, predict_layers
from penumbra.pipeline.prepare import find_camera, make_clean_plate, make_working_clip, read_frames
from penumbra.pipeline.scratch import tidy
from penumbra.pipeline.shot import Shot
from penumbra.reporting import Reporter
from penumbra.tasks import Task

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run(
    job: Job,
    on_event: OnEvent,
    resume: bool = False,
    report: Reporter | None = None,
    task: Task | None = None,
    named: Job | None = None,
) -> Path:
    """Takes a shot apart; returns the manifest's path.

    ``job``'s paths are absolute (:meth:`Job.resolved`). Raises a :class:`PenumbraError`; then every file under its own
    name is whole, and the same call with ``resume`` goes on.

    ``task``: do this part alone, and return the output folder unless it is the last. Tasks always go on from where
    an earlier try stopped; machines need nothing in common but the output folder and the footage. ``named``: the job
    with the paths the manifest shall name, where this machine reaches them under others.
    """
    report = report or Reporter(on_event)
    try:
        with open_shot(job, named or job, report, resume, task) as shot:
            if shot.journal.get("finished") and all_there(shot):
                if not shot.ends_with("frames"):
                    restore(shot)
                    tidy(shot.journal)
                return _tell_done(shot)
            read_frames(shot)
            camera = find_camera(shot)
            clean = make_clean_plate(shot, camera)
            clip = make_working_clip(shot, clean)
            if shot.ends_with("prepare"):
                return _tell_task_done(shot)
            graphs, weights = make_graphs(shot, clip)
            low = predict_layers(shot, clip, graphs)
            if shot.ends_with("refine"):
                return _tell_task_done(shot)
            if shot.ends_with("finish"):
                gather(shot)
            else:
                lift_write_verify(shot, clip, clean, low)
            if shot.ends_with("frames"):
                return _tell_task_done(shot)
            finish(shot, camera, weights)
            return _tell_done(shot)
    except PenumbraError:
        raise
    except Exception as error:
        if ran_out_of_memory(error):
            raise OutOfMemoryError(
                f"There is not enough memory for this plate; it ran out in the stage {report.stage_now}.",
                "Close other programs or use a larger machine, then run with --resume.",
            ) from error
        if isinstance(error, OSError):
            raise _output_error(job.output.folder, error) from error
        raise


def _output_error(folder: str, error: OSError) -> OutputError:
    """Storage that fails, as a sentence. Footage that fails has told so itself, as an error of the read stage."""
    reason = error.strerror or str(error)
    if error.errno in DISK_FULL:
        return OutputError(f"The disk of {folder} takes no more: {reason}.", "Make room, then run with --resume.")
    place = error.filename or f"The output folder {folder}"
    return OutputError(
        f"{place} cannot be read or written any more: {reason}.",
        "See to the storage and its permissions, then run with --resume.",
    )


def _tell_task_done(shot: Shot) -> Path:
    assert shot.task is not None
    shot.report.close_stage()
    shot.journal.book(shot.report.seconds)
    count = len(shot.wanted)
    shot.report.emit(Event("done", shot.task.stages[-1], count, count, path=str(shot.output)))
    return shot.output


def _tell_done(shot: Shot) -> Path:
    path, count = shot.output / "manifest.json", len(shot.journal.frames)
    shot.report.emit(Event("done", done=count, total=count, path=str(path)))
    return path
