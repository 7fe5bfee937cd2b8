"""Jobs run one after another."""

from __future__ import annotations

import contextlib
import itertools
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
        self._numbers = itertools.count(1)
        self.jobs: list[QueuedJob] = []

    def add(self, job: Job, resume: bool = False) -> QueuedJob:
        """At the end; its file is whole before this returns. May raise OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        number = next(self._numbers)
        path = self._folder / f"job_{number:04d}.json"
        while path.exists():
            number = next(self._numbers)
            path = self._folder / f"job_{number:04d}.json"
        save_text(path, job.to_json())
        entry = QueuedJob(number, job, path, resume=resume)
        self.jobs.append(entry)
        return entry

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

    def find(self, number: int) -> QueuedJob | None:
        """The job of a number."""
        return next((entry for entry in self.jobs if entry.number == number), None)

    def file_of(self, folder: Path) -> Path | None:
        """The newest job kept that writes to ``folder``: a run that was interrupted, maybe days ago."""
        for path in self._files():
            with contextlib.suppress(PenumbraError):
                if Path(load_job(path).output.folder) == folder:
                    return path
        return None

    def forget_files(self) -> None:
        """Removes the files of jobs that are done and of all but the newest others, which :meth:`file_of` finds."""
        for entry in self.jobs:
            if entry.state.status == "done":
                entry.file.unlink(missing_ok=True)
        for path in self._files()[_MOST_KEPT:]:
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("job_*.json"), reverse=True)


def save_text(path: Path, text: str) -> None:
    """The file appears whole or not at all. May raise OSError."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
