"""What a run has finished, in the output folder's ``.penumbra`` work folder: what ``--resume`` goes by."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penumbra import __version__
from penumbra.errors import OutputError, OutputOfAnotherJobError, StageOrderError
from penumbra.job import Job
from penumbra.lock import LOCK_FOLDER
from penumbra.storage import atomic_path, sweep_temporaries

WORK_FOLDER = ".penumbra"
JOURNAL_VERSION = 1
NANOSECONDS = 10**9
FRAMES_APART = "frames"


@dataclass(frozen=True)
class JobIdentity:
    """What tells one job from another: digests of everything that decides the pixels.

    ``exact``: settings, and path, size and time of every input file. ``portable``: the same, but files by name and to
    the second, which is what machines agree on that reach the same storage in different ways.
    """

    exact: str
    portable: str


class Journal:
    """Facts by name in ``journal.json`` and one line per finished frame in ``frames.jsonl``.

    A fact is written only once what it speaks of is whole on disk; a torn last line is dropped. Tasks that finish
    frames beside others, on whatever machine, leave the facts alone and write a file ``frames/1001.json`` for each.
    """

    def __init__(self, output: Path) -> None:
        self.output, self.work = output, output / WORK_FOLDER
        self._facts_file, self._frames_file = self.work / "journal.json", self.work / "frames.jsonl"
        self._apart, self._beside_others = self.work / FRAMES_APART, False
        self._lock = threading.Lock()
        self._facts: dict[str, Any] = {}
        self.frames: dict[int, dict[str, Any]] = {}
        self.recalled: dict[int, dict[str, Any]] = {}

    def open(self, identity: JobIdentity, folders: Iterable[str], resume: bool, replace: bool) -> None:
        """Takes the output folder for a job.

        Raises :class:`OutputOfAnotherJobError` where it holds something else's result, and :class:`OutputError` where
        it cannot be written. Nothing is removed unless ``replace`` says so.
        """
        self._load()
        known = self._facts.get("digest")
        if known == identity.exact and resume:
            sweep_temporaries(self.output)
            return
        if not replace:
            self._refuse(known, identity.exact, folders, resume)
        self._start(identity, folders)

    def begin_task(self, identity: JobIdentity, folders: Iterable[str], replace: bool) -> None:
        """Takes the output folder for the first task of a job, or goes on with what an earlier try has done of it.

        ``replace`` gives up the result of another job, never this one's. Raises as :meth:`open`.
        """
        self._load()
        known = self._facts.get("portable")
        if known == identity.portable:
            self._join(alone=True)
            return
        if not replace:
            self._refuse(known, identity.portable, folders, resume=True)
        self._start(identity, folders)

    def join_task(self, identity: JobIdentity, alone: bool) -> None:
        """Takes the output folder for a later task. ``alone``: no other task works there at the same time.

        Raises :class:`StageOrderError` where the first task has not begun, and :class:`OutputOfAnotherJobError`.
        """
        self._load()
        known = self._facts.get("portable")
        if known is None:
            raise StageOrderError(f"Nothing is prepared in {self.output}.", "Run --stage prepare first.")
        if known != identity.portable:
            self._refuse(known, identity.portable, (), resume=True)
        self._join(alone)

    def recall_frames(self, numbers: Iterable[int]) -> None:
        """Looks which of these frames were finished by tasks beside each other, and what was ``noted`` of them."""
        for number in numbers if self._apart.is_dir() else ():
            found = self._read_apart(number)
            if found is not None and number not in self.frames:
                self.frames[number], self.recalled[number] = found

    def get(self, name: str) -> Any:
        """A fact, or None."""
        return self._facts.get(name)

    def put(self, name: str, value: Any) -> None:
        """Writes a fact."""
        with self._lock:
            self._facts[name] = value
            self._write_facts()

    def seconds(self, more: Mapping[str, float]) -> dict[str, float]:
        """Seconds by stage of all finished tasks, and ``more``."""
        apart = ({"lift": noted["seconds"]} for noted in self.recalled.values())
        return _sum(self._facts.get("seconds", {}), *apart, more)

    def book(self, more: Mapping[str, float]) -> None:
        """Adds a finished task's seconds by stage; tasks beside others have written theirs frame by frame."""
        if not self._beside_others:
            self.put("seconds", _sum(self._facts.get("seconds", {}), more))

    def finish_frame(self, number: int, entry: dict[str, Any], noted: dict[str, Any] | None = None) -> None:
        """Writes that all files of a frame are whole and verified; ``noted``: what the task that gathers wants to know
        of it, ``seconds`` at least.
        """
        with self._lock:
            self.frames[number] = entry
            if self._beside_others:
                self._write_apart(number, {"entry": entry, "noted": noted})
                return
            with self._frames_file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"frame": number, **entry}) + "\n")

    def withdraw_frame(self, number: int) -> None:
        """Takes back what a task wrote of a frame, so that the next try makes it again."""
        with self._lock:
            self.frames.pop(number, None)
            (self._apart / f"{number}.json").unlink(missing_ok=True)

    def drop(self, *names: str) -> None:
        """Removes facts whose files are gone."""
        with self._lock:
            self._facts = {name: value for name, value in self._facts.items() if name not in names}
            self._write_facts()

    def forget_frames(self, numbers: Iterable[int]) -> None:
        """Takes frames back whose files are not there any more."""
        with self._lock:
            for number in numbers:
                self.frames.pop(number, None)

    def discard(self, names: Iterable[str]) -> None:
        """Removes files and folders of the work folder that are not needed any more."""
        for name in names:
            path = self.work / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _join(self, alone: bool) -> None:
        engine = self._facts.get("engine")
        if engine != __version__:
            raise OutputError(
                f"The job in {self.output} was begun by Penumbra {engine}, and this is {__version__}.",
                "Use one version on all machines, or begin anew in another folder.",
            )
        self._beside_others = not alone
        if alone:
            sweep_temporaries(self.output)

    def _write_apart(self, number: int, body: dict[str, Any]) -> None:
        self._apart.mkdir(exist_ok=True)
        with atomic_path(self._apart / f"{number}.json") as temporary:
            temporary.write_text(json.dumps(body), encoding="utf-8")

    def _read_apart(self, number: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
        try:
            body = json.loads((self._apart / f"{number}.json").read_text(encoding="utf-8"))
            return dict(body["entry"]), dict(body["noted"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _load(self) -> None:
        try:
            self._facts = json.loads(self._facts_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise OutputError(
                f"The journal {self._facts_file} cannot be read: {error}.", "Use --replace to start again."
            ) from error
        self.frames = dict(self._read_frames())

    def _read_frames(self) -> Iterable[tuple[int, dict[str, Any]]]:
        if not self._frames_file.exists():
            return
        for line in self._frames_file.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                number = int(entry.pop("frame"))
            except (ValueError, KeyError, TypeError):
                continue
            yield number, entry

    def _refuse(self, known: str | None, digest: str, folders: Iterable[str], resume: bool) -> None:
        if known is None:
            taken = [name for name in folders if (self.output / name).is_dir() and any((self.output / name).iterdir())]
            if taken or (self.output / "manifest.json").exists():
                raise OutputOfAnotherJobError(
                    f"The output folder {self.output} already holds {', '.join(taken) or 'a manifest'}.",
                    "Choose another folder, or use --replace to overwrite.",
                )
        elif known != digest:
            raise OutputOfAnotherJobError(
                f"The output folder {self.output} belongs to another job (its settings or footage differ).",
                "Choose another folder, or use --replace to overwrite.",
            )
        elif not resume:
            state = "the finished result" if self._facts.get("finished") else f"{len(self.frames)} finished frames"
            raise OutputOfAnotherJobError(
                f"The output folder {self.output} already holds {state} of this very job.",
                "Use --resume to go on from there, or --replace to start again.",
            )

    def _start(self, identity: JobIdentity, folders: Iterable[str]) -> None:
        for name in [*folders, WORK_FOLDER]:
            folder = self.output / name
            if folder.is_symlink():
                raise OutputError(f"{folder} is a symbolic link.", "Remove it, or choose another output folder.")
        try:
            for name in folders:
                _remove_sequence(self.output / name)
            self._empty_work()
            (self.output / "manifest.json").unlink(missing_ok=True)
            self.work.mkdir(parents=True, exist_ok=True)
            facts = {"digest": identity.exact, "portable": identity.portable, "engine": __version__}
            self._facts, self.frames = {"version": JOURNAL_VERSION, **facts}, {}
            self._write_facts()
        except OSError as error:
            raise OutputError(f"The output folder {self.output} cannot be written: {error}.") from error

    def _empty_work(self) -> None:
        """Removes everything in the work folder but the claim on it."""
        if self.work.is_dir():
            self.discard(path.name for path in self.work.iterdir() if path.name != LOCK_FOLDER)

    def _write_facts(self) -> None:
        with atomic_path(self._facts_file) as temporary:
            temporary.write_text(json.dumps(self._facts, indent=1), encoding="utf-8")


def _sum(*parts: Mapping[str, float]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for stage, spent in part.items():
            total[stage] = round(total.get(stage, 0.0) + spent, 3)
    return total


def _remove_sequence(folder: Path) -> None:
    """Removes the layers of an earlier run, and nothing else that may lie in a folder of that name."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if re.fullmatch(re.escape(folder.name) + r"\.-?\d+\.exr", path.name):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def job_identity(job: Job, inputs: Iterable[Path]) -> JobIdentity:
    """The digests of everything that decides the pixels: settings, and the size and time of every input file."""
    files = [(path, facts) for path in sorted(set(inputs)) if (facts := _facts_of(path)) is not None]
    exact = [f"{path}|{facts.st_size}|{facts.st_mtime_ns}" for path, facts in files]
    # Whole seconds are what NFS, SMB and copies keep of a file's time alike.
    portable = [f"{path.name}|{facts.st_size}|{facts.st_mtime_ns // NANOSECONDS}" for path, facts in files]
    return JobIdentity(_digest(job, exact), _digest(job.anywhere(), sorted(portable)))


def _facts_of(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _digest(job: Job, files: Iterable[str]) -> str:
    body = job.to_dict()
    body["output"] = {"precision": job.output.precision, "compression": job.output.compression}
    state = hashlib.sha256(json.dumps(body, sort_keys=True).encode())
    for line in files:
        state.update(line.encode())
    return state.hexdigest()
