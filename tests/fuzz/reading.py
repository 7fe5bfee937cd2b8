"""Reads files that may be damaged, each in a process of its own with limits; says what came of each.

    python -m fuzz.reading FILE...        (with ``tests`` on the path) one JSON line per file on stdout
    python -m fuzz.reading < LIST

A child is forked per file, after the libraries are loaded, so that a crash, a hang or a bomb ends only itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import cv2  # noqa: F401 # loaded before the fork, not once per file
import numpy as np

from penumbra.arrays import farthest, within
from penumbra.errors import PenumbraError
from penumbra.halves import floats_of
from penumbra.job import CleanPlateSettings, MaskSettings, PlateSettings
from penumbra.read import inspect_footage, open_clean_plate, open_mask, open_plate
from penumbra.scanlines import pack, unpack

CPU_SECONDS = 10
WALL_SECONDS = 120
ADDRESS_SPACE = 12 * 2**30
FRAMES = 3


def read_all(path: str) -> str:
    """What a run and the panel would do with a file; the sentence it ends in, empty where all of it can be read."""
    sentences = []
    for work in (inspect_footage, _as_footage):
        try:
            work(path)
        except PenumbraError as error:
            if not error.sentence.strip():
                raise AssertionError("an error without a sentence") from error
            sentences.append(str(error))
    return " | ".join(sentences)


def _as_footage(path: str) -> None:
    with open_plate(PlateSettings(path)) as plate:
        numbers = plate.footage.frames[:FRAMES]
        for number in numbers:
            assert np.isfinite(plate.read(number).pixels).all()
        for channel in ("auto", "luminance", "id:1", "color:ff0000"):
            with open_mask(MaskSettings("object", path, channel), plate.footage) as mask:
                mask.read(numbers[0])
        # The plate itself is no clean plate.
        with tempfile.TemporaryDirectory(dir=Path(path).parent) as beside:
            (Path(beside) / Path(path).name).hardlink_to(path)
            settings = CleanPlateSettings(str(Path(beside) / Path(path).name))
            with open_clean_plate(settings, plate.footage) as clean:
                clean.read(numbers[-1])


def judge(path: str) -> dict[str, object]:
    """The outcome of one file: ``kind`` is read, refused, fault, crash or hang; ``mib`` the child's peak memory."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(path, writing)
    os.close(writing)
    waited, started = (0, 0), time.monotonic()
    told = b""
    with os.fdopen(reading, "rb") as pipe:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
        signal.alarm(WALL_SECONDS)
        told = pipe.read()
        waited = os.wait4(child, 0)[1:]
        signal.alarm(0)
    status, usage = waited
    seconds = usage.ru_utime + usage.ru_stime
    facts = {"file": path, "mib": usage.ru_maxrss // 1024, "cpu": round(seconds, 2)}
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hung = number == signal.SIGXCPU or (number == signal.SIGKILL and time.monotonic() - started >= WALL_SECONDS)
        return {**facts, "kind": "hang" if hung else "crash", "told": f"signal {number}"}
    return {**facts, **json.loads(told or b'{"kind": "crash", "told": "no answer"}')}


def _child(path: str, writing: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 2))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What decoders print is of no interest.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        sentence = read_all(path)
        answer = {"kind": "refused" if sentence else "read", "told": sentence}
    except BaseException:  # noqa: BLE001 # whatever it is, it is told
        answer = {"kind": "fault", "told": traceback.format_exc()}
    with contextlib.suppress(OSError):
        os.write(writing, json.dumps(answer).encode()[:60_000] if len(answer["told"]) < 50_000 else b"{}")
    os._exit(0)


def _compile() -> None:
    """Loads what is compiled, once and not in every child; nothing that starts threads, which a fork would lose."""
    for kind in (np.float16, np.float32):
        samples, channels = np.zeros((1, 8, 1), kind), np.zeros(1, np.intp)
        unpack(pack(samples, channels), channels, samples)
        within(floats_of(samples), 1)
        farthest(samples)


def main() -> None:
    """Judges the files named as arguments, or one per line on stdin."""
    _compile()
    for line in sys.argv[1:] or sys.stdin:
        print(json.dumps(judge(str(Path(line.rstrip("\n"))))), flush=True)  # noqa: T201 # what it is for


if __name__ == "__main__":
    main()
