"""Jobs run one after another."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from penumbra.errors import PenumbraError
from penumbra.job import Job, load_job
from penumbra_gui.models.run_state import RunState

_MOST_KEPT = 50


@dataclass
class QueuedJob:
    """A job, where its file is kept, and how far it is."""

    number: int
    job: Job
    file: Path
    state: RunState = field(default_factory=RunState)
    resume: bool = False

    @property
    def title(self) -> str:
        """What it is called in the list."""
        return f"{Path(self.job.plate.path).name}: {', '.join(self.job.names)}"


class JobQueue:
    """In the order they were added. Job files are written into ``folder``, made when needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = 0
        self.jobs: list[QueuedJob] = []

    def add(self, job: Job, resume: bool = False) -> QueuedJob:
        """At the end; its file is whole before this returns, and the only one kept of its output folder that is no
        job of this list. May raise OSError.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        # Above all that are kept: a number that is free again would make the new job the oldest.
        self._last = max(self._last, *(_number_of(path) for path in self._files()), 0) + 1
        path = self._folder / f"job_{self._last:04d}.json"
        save_text(path, job.to_json())
        self._forget_older(job, path)
        entry = QueuedJob(self._last, job, path, resume=resume)
        self.jobs.append(entry)
        return entry

    def _forget_older(self, job: Job, path: Path) -> None:
        ours = {path, *(entry.file for entry in self.jobs)}
        for kept in self._files():
            if kept not in ours and _folder_of(kept) == Path(job.output.folder):
                kept.unlink(missing_ok=True)

    def remove(self, number: int) -> None:
        """Takes a job that is not running from the list; its file goes, what it made stays."""
        for entry in [entry for entry in self.jobs if entry.number == number and not entry.state.active]:
            self.jobs.remove(entry)
            entry.file.unlink(missing_ok=True)

    def next_waiting(self) -> QueuedJob | None:
        """The first that waits, unless one runs."""
        if any(entry.state.active for entry in self.jobs):
            return None
        return next((entry for entry in self.jobs if entry.state.status == "waiting"), None)

    def put_first(self, number: int) -> None:
        """Moves a job ahead of those that wait."""
        entry = self.find(number)
        if entry is not None:
            self.jobs.remove(entry)
            waiting = (place for place, other in enumerate(self.jobs) if other.state.status == "waiting")
            self.jobs.insert(next(waiting, len(self.jobs)), entry)

    def find(self, number: int) -> QueuedJob | None:
        """The job of a number."""
        return next((entry for entry in self.jobs if entry.number == number), None)

    def file_of(self, folder: Path) -> Path | None:
        """The newest job kept that writes to ``folder``: a run that was interrupted, maybe days ago."""
        return next((path for path in self._files() if _folder_of(path) == folder), None)

    def forget_files(self) -> None:
        """Removes the files of jobs that are done and of all but the newest others, which :meth:`file_of` finds."""
        for entry in self.jobs:
            if entry.state.status == "done":
                entry.file.unlink(missing_ok=True)
        for path in self._files()[_MOST_KEPT:]:
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """The newest first."""
        return sorted(self._folder.glob("job_*.json"), key=_number_of, reverse=True)


def _number_of(path: Path) -> int:
    digits = path.stem.removeprefix("job_")
    return int(digits) if digits.isdecimal() else 0


def _folder_of(path: Path) -> Path | None:
    """Where the job of a file writes to; None for a file that is no job."""
    with contextlib.suppress(PenumbraError):
        return Path(load_job(path).output.folder)
    return None


def save_text(path: Path, text: str) -> None:
    """The file appears whole or not at all. May raise OSError."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
