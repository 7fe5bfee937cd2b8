"""A job file that a host has begun and the artist finishes: read without masks, run from the same file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from penumbra.errors import JobError
from penumbra.job import Job, job_from_dict
from penumbra.storage import read_text
from penumbra_gui.models.job_queue import JobQueue, QueuedJob, save_text
from penumbra_gui.models.project import Project

_STAND_IN = {"name": "object", "path": "none"}


def read_begun_job(path: Path) -> tuple[Job, bool]:
    """The job with absolute paths, and whether it has masks; one without has a stand-in, so that the rest is checked.

    Raises :class:`JobError`.
    """
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise JobError(f"The job file {path} cannot be read: {error}.", "Check the path.") from error
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JobError(f"The job file {path} is not valid JSON: {error}.", "Mend it at that place.") from error
    whole = not isinstance(data, dict) or bool(data.get("masks"))
    if not whole:
        # An order of objects that are not there means nothing.
        data = {**data, "masks": [_STAND_IN], "order": []}
    return job_from_dict(data).resolved(path.resolve().parent), whole


def project_of(job: Job, whole: bool) -> Project:
    """What the window shows of it; a stand-in is no mask."""
    project = Project.of_job(job)
    return project if whole else replace(project, masks=())


class BegunJob(JobQueue):
    """The one job of a file: every start saves it there, and the file is never removed.

    ``begun``: the job as it was read, which keeps what the window does not show; ``resume``: the host asks to go on.
    """

    def __init__(self, file: Path, begun: Job, resume: bool) -> None:
        super().__init__(file.parent)
        self._file, self._begun, self._resume = file, begun, resume
        self._starts = 0

    def add(self, job: Job, resume: bool = False) -> QueuedJob:
        """In place of the last; the file is whole before this returns. May raise OSError."""
        shown = job.output
        kept = replace(
            self._begun.output, folder=shown.folder, precision=shown.precision, compression=shown.compression,
            previews=shown.previews, splits=shown.splits, replace=self._begun.output.replace or shown.replace,
        )  # fmt: skip
        job = replace(job, output=kept)
        if job != self._saved():
            save_text(self._file, job.to_json())
        self._starts += 1
        again = self._resume and not shown.replace
        self.jobs = [QueuedJob(self._starts, job, self._file, resume=resume or again)]
        return self.jobs[0]

    def remove(self, number: int) -> None:
        """Forgets it; the file is the host's."""
        self.jobs = [entry for entry in self.jobs if entry.number != number or entry.state.active]

    def forget_files(self) -> None:
        """Leaves the file: the host goes on with it."""

    def _saved(self) -> Job | None:
        try:
            job, whole = read_begun_job(self._file)
        except JobError:
            return None
        return job if whole else None
