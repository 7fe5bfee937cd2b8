"""Who works in an output folder: a second engine is refused, and what a dead one left behind is swept.

Standard library only. A claim is a file of its own name with its owner in it, whose time the owner renews: that works
alike on local disks, NFS and SMB, where advisory locks are missing, silent, or outlive their process.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import random
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from penumbra.errors import OutputError, OutputInUseError, Stopped
from penumbra.processes import process_place, process_stamp
from penumbra.storage import TEMPORARY_PREFIX

LOCK_FOLDER = "locks"
EVERYTHING = "everything"
HEARTBEAT_SECONDS = 10.0
# An owner elsewhere counts as dead after this long without a heartbeat. NFS clients may show a time a minute late.
STALE_SECONDS = 150.0
# Those that ask at the same moment see each other, and step back for up to the first; after the second they give up.
_BACK_OFF_SECONDS, _CROWDED_SECONDS = 0.3, 3.0
_NAME = re.compile(r"[A-Za-z0-9_-]+\Z")
_SUFFIX = ".lock"


@dataclass(frozen=True)
class Owner:
    """Who made a claim: ``place`` tells machines, boots and containers apart, ``stamp`` processes of one number."""

    host: str
    pid: int
    since: str
    place: str
    stamp: str

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        return cls(platform.node(), os.getpid(), since, process_place(), process_stamp(os.getpid()) or "")

    @classmethod
    def from_json(cls, text: str) -> Owner | None:
        """The owner written in a claim; None for text that is not one."""
        try:
            body = json.loads(text)
            return cls(str(body["host"]), int(body["pid"]), str(body["since"]), str(body["place"]), str(body["stamp"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


class Lock:
    """A claim that is held; :meth:`check` tells whether it still is."""

    def __init__(self, claim: Path, output: Path) -> None:
        self._claim, self._output = claim, output
        self._released, self._lost = threading.Event(), False
        self._beaten = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name="lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises :class:`OutputInUseError` where the claim is gone: others took this process for dead.

        That happens to a process that stood still, or could not reach its storage, for minutes. Cheap: the claim is
        looked at only when its heartbeat is late.
        """
        if not self._lost and time.monotonic() - self._beaten > 3 * HEARTBEAT_SECONDS:
            self._renew()
        if self._lost:
            raise OutputInUseError(
                f"The claim of this run on the output folder {self._output} is gone: another run took it for dead, or"
                " somebody removed it.",
                "See that nothing else works there, then use --resume.",
            )

    def release(self) -> None:
        """Gives the claim back; once is enough."""
        self._released.set()
        self._thread.join()
        _remove(self._claim)
        # Only where nothing else is in them.
        with contextlib.suppress(OSError):
            self._claim.parent.rmdir()
            self._claim.parent.parent.rmdir()

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS):
            self._renew()

    def _renew(self) -> None:
        try:
            os.utime(self._claim)
            self._beaten = time.monotonic()
        except FileNotFoundError:
            self._lost = True
        except OSError:
            pass  # storage that does not answer now may do so at the next beat


@contextmanager
def hold(
    work: Path, name: str = EVERYTHING, patience: float = 0.0, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Lock]:
    """Claims ``work``, the work folder inside an output folder, which is made where it is missing.

    ``name``: what of it. Claims of different names stand beside each other; ``EVERYTHING``, the default, stands beside
    none. ``patience``: for how many seconds to wait for others before giving up. The claim is given back at the end of
    the block. Claims of dead owners are removed: of a process of this machine that is gone, of one elsewhere that has
    not renewed its claim for ``STALE_SECONDS`` (by the clock of the storage, not of the machines).

    Raises :class:`OutputInUseError` naming the owner, :class:`OutputError` where nothing can be written, and
    :class:`Stopped` when ``should_stop`` while it waits.
    """
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is no name for a claim")
    for folder in (work, work / LOCK_FOLDER):
        if folder.is_symlink():
            raise OutputError(f"{folder} is a symbolic link.", "Remove it, or choose another output folder.")
    lock = Lock(_acquire(work / LOCK_FOLDER, name, patience, should_stop), work.parent)
    try:
        yield lock
    finally:
        lock.release()


def _acquire(folder: Path, name: str, patience: float, should_stop: Callable[[], bool]) -> Path:
    """The claim's file. Every claim is written first and compared with the others then: two never miss each other."""
    deadline, seen = time.monotonic() + max(patience, _CROWDED_SECONDS), set[Path]()
    while True:
        claim = _write_claim(folder, name)
        try:
            others = [path for path in _conflicting(folder, claim, name) if not _swept(path, claim)]
        except BaseException:
            _remove(claim)
            raise
        if not others:
            return claim
        _remove(claim)
        # One that asks as we do is gone the next time; one that stays holds what it claims.
        settled = [path for path in others if path in seen]
        if (settled and patience <= 0) or time.monotonic() > deadline:
            raise _in_use(folder, (settled or others)[0])
        if should_stop():
            raise Stopped("Stopped while waiting for the output folder.", "The same command waits again.")
        seen = set(others)
        time.sleep(random.uniform(0.2, 1.0) * _BACK_OFF_SECONDS)


def _write_claim(folder: Path, name: str) -> Path:
    token = uuid.uuid4().hex
    claim, temporary = folder / f"{name}.{token}{_SUFFIX}", folder / f"{TEMPORARY_PREFIX}{token[:12]}{_SUFFIX}"
    text = json.dumps(vars(Owner.here()))
    # Whoever releases a claim removes the empty folder, and whoever holds one sweeps temporary files: both may hit us.
    for _ in range(20):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(claim)
            return claim
        except FileNotFoundError:
            continue
        except OSError as error:
            _remove(temporary)
            raise OutputError(
                f"The output folder {folder.parent.parent} cannot be written: {error.strerror or error}.",
                "Change its permissions, or choose another folder.",
            ) from error
    raise OutputError(f"The folder {folder} vanishes as soon as it is made.", "See what removes it.")


def _conflicting(folder: Path, claim: Path, name: str) -> list[Path]:
    found = [path for path in sorted(folder.iterdir()) if path.suffix == _SUFFIX and path != claim]
    named = [(path, path.name.split(".")[0]) for path in found if not path.name.startswith(".")]
    return [path for path, other in named if EVERYTHING in (name, other) or other == name]


def _swept(path: Path, own: Path) -> bool:
    """Whether the claim ``path`` is gone, by itself or because its owner is dead and it was removed here."""
    try:
        with path.open(encoding="utf-8") as file:
            # Opening, rather than asking for its time, makes an NFS client look at the server.
            owner, beaten = Owner.from_json(file.read()), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return True
    except OSError:
        return False
    os.utime(own)
    age = own.stat().st_mtime - beaten
    if not _dead(owner, age):
        return False
    # No two claims share a name, so this can never be somebody's fresh claim.
    _remove(path)
    return True


def _dead(owner: Owner | None, age: float) -> bool:
    if owner is None or owner.place != process_place():
        return age > STALE_SECONDS
    stamp = process_stamp(owner.pid)
    if stamp is None or stamp != owner.stamp:
        return True
    # Where the system tells no stamp, the number may be another process's by now.
    return stamp == "" and age > STALE_SECONDS


def _in_use(folder: Path, claim: Path) -> OutputInUseError:
    try:
        owner = Owner.from_json(claim.read_text(encoding="utf-8"))
    except OSError:
        owner = None
    return OutputInUseError(
        f"The output folder {folder.parent.parent} is being written by {owner or 'another run'}.",
        "Wait for it or stop it, or choose another folder.",
    )


def _remove(path: Path) -> None:
    for _ in range(5):
        try:
            path.unlink(missing_ok=True)
            return
        except PermissionError:
            if sys.platform != "win32":
                return
            time.sleep(0.05)  # somebody reads it just now
        except OSError:
            return
