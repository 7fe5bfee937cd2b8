"""What a run has finished, in the output folder's ``.penumbra`` work folder: what ``--resume`` goes by."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from penumbra import __version__
from penumbra.errors import OutputError, OutputOfAnotherJobError, StageOrderError
from penumbra.job import Job
from penumbra.layer_graph import portable_path
from penumbra.lock import LOCK_FOLDER
from penumbra.storage import TEMPORARY_PREFIX, atomic_path, read_text, sweep_temporaries

WORK_FOLDER = ".penumbra"
JOURNAL_VERSION = 1
FRAMES_APART = "frames"
NANOSECONDS = 10**9
# Written at the end of a run, and wrong as soon as another begins in the same folder.
RESULTS = (
    "manifest.json", "layers.nk", "layers.setting", "layers.otio", "layers.lua", "preview/contact_sheet.png",
    "preview/preview.mp4",
)  # fmt: skip
# The parts of a job's digest, as a sentence names them.
PARTS = ("other settings", "other footage", "other weights", "another version of Penumbra")


@dataclass(frozen=True)
class JobIdentity:
    """What tells one job from another: digests of everything that decides the pixels, in the parts of :data:`PARTS`.

    ``exact``: settings; path, size and time of every input file; weights; the version of the engine. ``portable``: the
    same, but files by name and to the second, which is what machines agree on that reach the storage in different ways.
    """

    exact: str
    portable: str


class Journal:
    """Facts by name in ``journal.json`` and one line per finished frame in ``frames.jsonl``.

    A fact is written only once what it speaks of is whole on disk and flushed; a torn last line is dropped. Tasks that
    finish frames beside others, on whatever machine, leave the facts alone and write a file ``frames/1001.json`` each.
    """

    def __init__(self, output: Path) -> None:
        self.output, self.work = output, output / WORK_FOLDER
        self._facts_file, self._frames_file = self.work / "journal.json", self.work / "frames.jsonl"
        self._apart, self._beside_others = self.work / FRAMES_APART, False
        self._lock = threading.Lock()
        # Asked before anything is written down: raises where the folder is not ours any more.
        self.check: Callable[[], None] = lambda: None
        self._facts: dict[str, Any] = {}
        self.frames: dict[int, dict[str, Any]] = {}
        # Of the files of finished frames, by sequence.
        self.sizes: dict[int, dict[str, int]] = {}
        self.recalled: dict[int, dict[str, Any]] = {}

    def open(self, identity: JobIdentity, folders: Iterable[str], resume: bool, replace: bool) -> None:
        """Takes the output folder for a job.

        Raises :class:`OutputOfAnotherJobError` where it holds something else's result, and :class:`OutputError` where
        it cannot be written. Nothing is removed unless ``replace`` says so.
        """
        self._load(replace)
        known = self._facts.get("digest")
        if known == identity.exact and resume:
            sweep_temporaries(self.output)
            if self._facts.get("clearing"):
                self._start(identity, folders)
            else:
                self._add_folders(folders)
            return
        if not replace:
            self._refuse(known, identity.exact, folders, resume)
        self._start(identity, folders)

    def begin_task(self, identity: JobIdentity, folders: Iterable[str], replace: bool) -> None:
        """Takes the output folder for the first task of a job, or goes on with what an earlier try has done of it.

        ``replace`` gives up the result of another job, never this one's. Raises as :meth:`open`.
        """
        self._load(replace)
        known = self._facts.get("portable")
        if known == identity.portable and not self._facts.get("clearing"):
            sweep_temporaries(self.output)
            self._add_folders(folders)
            return
        if not replace and known != identity.portable:
            self._refuse(known, identity.portable, folders, resume=True)
        self._start(identity, folders)

    def written(self, replace: bool) -> list[str]:
        """The sequences that were written here; raises :class:`OutputError` where that cannot be told, unless all of it
        is given up.
        """
        self._load(replace)
        return [str(name) for name in self._facts.get("sequences", ())]

    def join_task(self, identity: JobIdentity, folders: Iterable[str], alone: bool) -> None:
        """Takes the output folder for a later task, of a job prepared for ``folders``. ``alone``: no other task works
        there at the same time.

        Raises :class:`StageOrderError` where the first task has not begun, and :class:`OutputOfAnotherJobError`.
        """
        self._load()
        known = self._facts.get("portable")
        if known is None or self._facts.get("clearing"):
            raise StageOrderError(f"Nothing is prepared in {self.output}.", "Run --stage prepare first.")
        if known != identity.portable:
            self._refuse(known, identity.portable, (), resume=True)
        unknown = sorted(set(folders) - set(self._facts.get("sequences", ())))
        if unknown:
            raise OutputOfAnotherJobError(
                f"The job in {self.output} was prepared without the sequences {', '.join(unknown)}.",
                "Run --stage prepare with the same outputs first.",
            )
        self._beside_others = not alone
        if alone:
            sweep_temporaries(self.output)

    def recall_frames(self, numbers: Iterable[int]) -> None:
        """Looks which of these frames were finished by tasks beside each other, and what was ``noted`` of them."""
        if not self._apart.is_dir():
            return
        # An NFS client may remember for a minute that a file was not there; one made here makes it look again.
        with TemporaryFile(dir=self._apart, prefix=TEMPORARY_PREFIX):
            pass
        for number in numbers:
            found = self._read_apart(number)
            if found is not None and number not in self.frames:
                self.frames[number], self.recalled[number] = found

    def get(self, name: str) -> Any:
        """A fact, or None."""
        return self._facts.get(name)

    def put(self, name: str, value: Any) -> None:
        """Writes a fact; what it speaks of must be flushed before."""
        self.check()
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

    def finish_frame(
        self, number: int, entry: dict[str, Any], sizes: dict[str, int], noted: dict[str, Any] | None = None
    ) -> None:
        """Writes that all files of a frame are whole and verified, and their ``sizes``; ``noted``: what the task that
        gathers wants to know of it, ``seconds`` at least.
        """
        self.check()
        with self._lock:
            self.frames[number] = entry
            if self._beside_others:
                self._write_apart(number, {"entry": entry, "noted": noted})
            else:
                self.sizes[number] = sizes
                _append_line(self._frames_file, json.dumps({"frame": number, **entry, "sizes": sizes}))

    def withdraw_frame(self, number: int) -> None:
        """Takes back what a task wrote of a frame, so that the next try makes it again."""
        with self._lock:
            self.frames.pop(number, None)
            (self._apart / f"{number}.json").unlink(missing_ok=True)

    def drop(self, *names: str) -> None:
        """Removes facts, where there are any of these names; beside others, it only does without them."""
        if not self._facts.keys() & set(names):
            return
        with self._lock:
            self._facts = {name: value for name, value in self._facts.items() if name not in names}
            if not self._beside_others:
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

    def _write_apart(self, number: int, body: dict[str, Any]) -> None:
        self._apart.mkdir(exist_ok=True)
        with atomic_path(self._apart / f"{number}.json") as temporary:
            temporary.write_text(json.dumps(body), encoding="utf-8")

    def _read_apart(self, number: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
        try:
            body = json.loads((self._apart / f"{number}.json").read_text(encoding="utf-8"))
            return dict(body["entry"]), {**body["noted"], "seconds": float(body["noted"]["seconds"])}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _load(self, given_up: bool = False) -> None:
        try:
            facts = json.loads(read_text(self._facts_file))
            if not isinstance(facts, dict):
                raise ValueError("it is no journal")
            self._facts = facts
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            if given_up and not isinstance(error, OSError):
                return
            raise OutputError(
                f"The journal {self._facts_file} cannot be read: {error}.", "Use --replace to start again."
            ) from error
        self.frames = dict(self._read_frames())

    def _read_frames(self) -> Iterable[tuple[int, dict[str, Any]]]:
        if not self._frames_file.exists():
            return
        for line in self._frames_file.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                number, sizes = int(entry.pop("frame")), dict(entry.pop("sizes", {}))
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
                continue
            self.sizes[number] = sizes
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
            differ = [part for part, a, b in zip(PARTS, known.split(":"), digest.split(":"), strict=False) if a != b]
            raise OutputOfAnotherJobError(
                f"The output folder {self.output} belongs to another job ({' and '.join(differ) or PARTS[0]}).",
                "Choose another folder, or use --replace to overwrite. (Footage in another place is other footage.)",
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
            self.work.mkdir(parents=True, exist_ok=True)
            earlier = [str(name) for name in self._facts.get("sequences", ())]
            digests = {"digest": identity.exact, "portable": identity.portable}
            self._facts, self.frames, self.sizes = {"version": JOURNAL_VERSION, **digests}, {}, {}
            self._facts["sequences"] = sorted({*folders, *earlier})
            # Killed on the way, this goes on where it is told to resume.
            self._facts["clearing"] = True
            self._write_facts()
            self._clear()
            self._facts["sequences"] = list(folders)
            del self._facts["clearing"]
            self._write_facts()
        except OSError as error:
            raise OutputError(f"The output folder {self.output} cannot be written: {error}.") from error

    def _add_folders(self, folders: Iterable[str]) -> None:
        """Resumed with more outputs than before, what is written is removed with the rest one day."""
        known = self._facts.get("sequences", [])
        if not set(folders) <= set(known):
            self.put("sequences", sorted({*known, *folders}))

    def _clear(self) -> None:
        """Removes what an earlier run wrote, and no file of anybody else's."""
        for name in self._facts["sequences"]:
            if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
                _remove_sequence(self.output / name)
        for result in (self.output / name for name in RESULTS):
            if not result.parent.is_symlink():
                result.unlink(missing_ok=True)
        with suppress(OSError):
            (self.output / "preview").rmdir()
        kept = (LOCK_FOLDER, self._facts_file.name)
        self.discard(path.name for path in self.work.iterdir() if path.name not in kept)

    def _write_facts(self) -> None:
        with atomic_path(self._facts_file) as temporary:
            temporary.write_text(json.dumps(self._facts, indent=1), encoding="utf-8")


def _sum(*parts: Mapping[str, float]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for stage, spent in part.items():
            total[stage] = round(total.get(stage, 0.0) + spent, 3)
    return total


def is_of_sequence(file: str, name: str) -> bool:
    """Whether a file's name is one of a sequence that is written."""
    return re.fullmatch(re.escape(name) + r"\.-?\d+\.exr", file) is not None


def _remove_sequence(folder: Path) -> None:
    """Removes the layers of an earlier run, and nothing else that may lie in a folder of that name."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in folder.iterdir():
        if is_of_sequence(path.name, folder.name):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _append_line(path: Path, line: str) -> None:
    """Appends a line, whole, and flushes it; raises OSError, and then the file is as it was."""
    data = (line + "\n").encode()
    with path.open("ab+") as file:
        end = file.tell()
        file.seek(max(0, end - 1))
        if end and file.read(1) != b"\n":
            # Killed in the middle of a line: what follows must not become part of it.
            data = b"\n" + data
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def job_identity(job: Job, inputs: Iterable[Path], weights: str) -> JobIdentity:
    """The digests of everything that decides the pixels; ``weights``: a digest of theirs."""
    output = os.path.normpath(job.output.folder)
    files = [(path, facts) for path in set(inputs) if (facts := _facts_of(path)) is not None]
    # By where files lie as seen from the output folder: a run goes on after both were moved together.
    exact = sorted(f"{_place(str(path), output)}|{facts.st_size}|{facts.st_mtime_ns}" for path, facts in files)
    # Whole seconds are what NFS, SMB and copies keep of a file's time alike.
    portable = [f"{path.name}|{facts.st_size}|{facts.st_mtime_ns // NANOSECONDS}" for path, facts in files]
    ends = [weights, __version__]
    return JobIdentity(
        ":".join([_settings_digest(job.with_paths(lambda path: _place(path, output))), _sha256("".join(exact)), *ends]),
        ":".join([_settings_digest(job.anywhere()), _sha256("".join(sorted(portable))), *ends]),
    )


def _place(path: str, output: str) -> str:
    # Jobs may spell paths with "..", which portable_path would take for a folder.
    return portable_path(os.path.normpath(path), Path(output))


def _facts_of(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _settings_digest(job: Job) -> str:
    body = job.to_dict()
    body["output"] = {"precision": job.output.precision, "compression": job.output.compression}
    return _sha256(json.dumps(body, sort_keys=True))


def _sha256(text: str) -> str:
    # A file's name need not be Unicode.
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
