"""What a run has finished, in the output folder's ``.penumbra`` work folder: what ``--resume`` goes by."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from penumbra.errors import OutputError, OutputOfAnotherJobError
from penumbra.job import Job
from penumbra.storage import atomic_path, read_text, sweep_temporaries

WORK_FOLDER = ".penumbra"
JOURNAL_VERSION = 1


class Journal:
    """Facts by name in ``journal.json`` and one line per finished frame in ``frames.jsonl``.

    A fact is written only once what it speaks of is whole on disk; a torn last line is dropped.
    """

    def __init__(self, output: Path) -> None:
        self.output, self.work = output, output / WORK_FOLDER
        self._facts_file, self._frames_file = self.work / "journal.json", self.work / "frames.jsonl"
        self._lock = threading.Lock()
        self._facts: dict[str, Any] = {}
        self.frames: dict[int, dict[str, Any]] = {}

    def open(self, digest: str, folders: Iterable[str], resume: bool, replace: bool) -> None:
        """Takes the output folder for the job of ``digest``.

        Raises :class:`OutputOfAnotherJobError` where it holds something else's result, and :class:`OutputError` where
        it cannot be written. Nothing is removed unless ``replace`` says so.
        """
        self._load()
        known = self._facts.get("digest")
        if known == digest and resume:
            sweep_temporaries(self.output)
            return
        if not replace:
            self._refuse(known, digest, folders, resume)
        self._start(digest, folders)

    def get(self, name: str) -> Any:
        """A fact, or None."""
        return self._facts.get(name)

    def put(self, name: str, value: Any) -> None:
        """Writes a fact."""
        with self._lock:
            self._facts[name] = value
            self._write_facts()

    def finish_frame(self, number: int, entry: dict[str, Any]) -> None:
        """Writes that all files of a frame are whole and verified."""
        with self._lock:
            self.frames[number] = entry
            with self._frames_file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"frame": number, **entry}) + "\n")

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

    def _load(self) -> None:
        try:
            facts = json.loads(read_text(self._facts_file))
            if not isinstance(facts, dict):
                raise ValueError("it is no journal")
            self._facts = facts
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
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
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
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

    def _start(self, digest: str, folders: Iterable[str]) -> None:
        for name in [*folders, WORK_FOLDER]:
            folder = self.output / name
            if folder.is_symlink():
                raise OutputError(f"{folder} is a symbolic link.", "Remove it, or choose another output folder.")
        try:
            for name in folders:
                _remove_sequence(self.output / name)
            if self.work.exists():
                shutil.rmtree(self.work)
            (self.output / "manifest.json").unlink(missing_ok=True)
            self.work.mkdir(parents=True, exist_ok=True)
            self._facts, self.frames = {"version": JOURNAL_VERSION, "digest": digest}, {}
            self._write_facts()
        except OSError as error:
            raise OutputError(f"The output folder {self.output} cannot be written: {error}.") from error

    def _write_facts(self) -> None:
        with atomic_path(self._facts_file) as temporary:
            temporary.write_text(json.dumps(self._facts, indent=1), encoding="utf-8")


def _remove_sequence(folder: Path) -> None:
    """Removes the layers of an earlier run, and nothing else that may lie in a folder of that name."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if re.fullmatch(re.escape(folder.name) + r"\.-?\d+\.exr", path.name):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def job_digest(job: Job, inputs: Iterable[Path]) -> str:
    """A digest of everything that decides the pixels: settings, and the size and time of every input file."""
    body = job.to_dict()
    body["output"] = {"precision": job.output.precision, "compression": job.output.compression}
    state = hashlib.sha256(json.dumps(body, sort_keys=True).encode())
    for path in sorted(set(inputs)):
        try:
            facts = path.stat()
        except OSError:
            continue
        # A file's name need not be Unicode.
        state.update(f"{path}|{facts.st_size}|{facts.st_mtime_ns}".encode(errors="surrogateescape"))
    return state.hexdigest()
