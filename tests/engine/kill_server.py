"""Runs the engine in processes of their own, and kills them: started as a program by ``kills.py``.

The engine's libraries take seconds to import and a tiny job takes less: they are imported once here, and every run is a
fork. A request is one JSON line on stdin, its answer one on stdout.
"""

import ctypes
import faulthandler
import json
import os
import resource
import select
import signal
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import cv2  # noqa: F401 # imported before any fork, as is all below
import onnxruntime  # noqa: F401
import torch._dynamo  # noqa: F401 # which the first optimiser imports

import penumbra.pipeline
import penumbra.training.tune  # noqa: F401
from penumbra import cli
from penumbra.reporting import Reporter
from penumbra.training import refine

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.utime", "shutil.rmtree")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Watch:
    """Counts, stage by stage, what changes files below a folder; before the change asked for the process kills itself.

    ``stage`` with ``at``: the ``at``-th change of that stage. Without ``at``, ``report`` gets a byte when it begins,
    and files are given the ``modes`` asked for.
    """

    def __init__(self, folder, report, stage=None, at=None, modes=()):
        self.counts, self.began = {"": 0}, {"": time.monotonic()}
        self._folder, self._report, self._stage, self._at, self._modes = folder, report, stage, at, modes
        self._now, self._lock = "", threading.Lock()

    def begin(self, stage):
        with self._lock:
            self._now = stage
            self.counts.setdefault(stage, 0)
            self.began[stage] = time.monotonic()
        if stage == self._stage and self._at is None:
            os.write(self._report, b".")
            for path, mode in self._modes:
                Path(path).chmod(mode)

    def hook(self, name, arguments):
        if name == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & WRITING:
                return
        elif name not in CHANGES:
            return
        if not str(arguments[0]).startswith(self._folder):
            return
        with self._lock:
            self.counts[self._now] += 1
            if self._now == self._stage and self.counts[self._now] == self._at:
                os.kill(os.getpid(), signal.SIGKILL)

    def install(self):
        sys.addaudithook(self.hook)
        told, closed = Reporter.stage, Reporter.close_stage

        def stage(reporter, name, message=""):
            told(reporter, name, message)
            self.begin(name)

        def close_stage(reporter):
            ending = reporter._stage == "previews"
            closed(reporter)
            if ending:
                self.begin("finish")

        Reporter.stage, Reporter.close_stage = stage, close_stage


def limit(request):
    """Takes from this process the powers of root over permissions, and memory."""
    if request.get("modes"):
        header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None, use_errno=True).capset(header, nothing) == 0
    if request.get("megabytes") is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + request["megabytes"] * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def engine(request, report):
    """In the child: the command, its output to files, at the end what was counted to ``report``."""
    for stream, name in ((1, request["log"]), (2, request["log"] + ".err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    faulthandler.enable()
    refine.CHECKPOINT_SECONDS = request["checkpoint_seconds"]
    # One window a step: what is killed matters here, not what is learnt.
    refine.SMALLEST_BATCH = refine.LARGEST_BATCH = refine.EVALUATION_WINDOWS = 1
    refine.EVALUATIONS = 2
    watch = Watch(request["folder"], report, request.get("stage"), request.get("at"), request.get("modes", ()))
    watch.install()
    limit(request)
    sys.argv = ["penumbra", *request["arguments"]]
    code = 1
    try:
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        starts = [*watch.began.values(), time.monotonic()]
        spent = dict(zip(watch.began, (b - a for a, b in pairwise(starts)), strict=True))
        os.write(report, json.dumps({"changes": watch.counts, "seconds": spent}).encode())
        os._exit(code)


def kill_after(reading, child, delay):
    """Kills the child so long after the byte that says that its stage begins; not where it ends without.

    Returns the first byte it said.
    """
    select.select([reading], [], [])
    first = os.read(reading, 1)
    if first == b".":
        select.select([reading], [], [], delay)
        os.kill(child, signal.SIGKILL)
    return first


def serve(request):
    """Forks, waits or kills, and answers."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        engine(request, writing)
    os.close(writing)
    first = b"" if request.get("after") is None else kill_after(reading, child, request["after"])
    status = os.waitpid(child, 0)[1]
    counted = (first + os.read(reading, 10_000)).lstrip(b".")
    os.close(reading)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    told = json.loads(counted) if counted and not killed else None
    return {"killed": killed, "code": None if killed else os.waitstatus_to_exitcode(status), "told": told}


def answer(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main():
    answer("ready")
    for line in sys.stdin:
        answer(json.dumps(serve(json.loads(line))))


if __name__ == "__main__":
    main()
