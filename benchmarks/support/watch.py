"""A command of the engine run as a user runs it, and what it takes meanwhile (Linux: read from /proc)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
INTERVAL = 0.5


@dataclass
class Sample:
    """What the process holds and has used: MiB resident and private, threads, descriptors, processor seconds."""

    stage: str
    done: int
    seconds: float
    processor: float
    resident: float
    private: float
    threads: int
    descriptors: int


@dataclass
class Run:
    """Samples in order, the most memory ever resident (MiB), and the exit code."""

    samples: list[Sample] = field(default_factory=list)
    peak: float = 0.0
    code: int = 0

    def stages(self) -> dict[str, tuple[float, float]]:
        """Wall clock and processor seconds of every stage, from the samples at its borders."""
        spent: dict[str, tuple[float, float]] = {}
        for before, after in zip(self.samples, self.samples[1:], strict=False):
            wall, processor = spent.get(before.stage, (0.0, 0.0))
            spent[before.stage] = wall + after.seconds - before.seconds, processor + after.processor - before.processor
        return spent


def watched(arguments: Sequence[str]) -> Run:
    """Runs `penumbra ARGUMENTS --json`; one sample per event and twice a second."""
    command = [sys.executable, "-m", "penumbra", *arguments, "--json"]
    run, state, began = Run(), {"stage": "start", "done": 0}, time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        lock = threading.Lock()

        def look() -> None:
            with lock:
                sample = _sample(process.pid, state, began)
                if sample is not None:
                    run.samples.append(sample)
                    run.peak = max(run.peak, _status(process.pid).get("VmHWM", 0) / 1024)

        def look_often() -> None:
            while process.poll() is None:
                look()
                time.sleep(INTERVAL)

        sampler = threading.Thread(target=look_often, daemon=True)
        sampler.start()
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "error":
                print(event, file=sys.stderr)
            if event.get("stage"):
                state.update(stage=event["stage"], done=event.get("done") or 0)
            look()
        sampler.join()
        run.code = process.wait()
    return run


def _sample(pid: int, state: dict[str, object], began: float) -> Sample | None:
    try:
        status, stat = _status(pid), Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - /proc
    except (OSError, IndexError):
        return None
    if "VmRSS" not in status:
        return None
    processor = (int(stat[11]) + int(stat[12])) / TICK
    resident, private = (status.get(key, 0) / 1024 for key in ("VmRSS", "RssAnon"))
    return Sample(
        str(state["stage"]), int(state["done"]), time.monotonic() - began, processor, resident, private,
        status.get("Threads", 0), descriptors,
    )  # fmt: skip


def _status(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name: int(value.split()[0]) for name, value in pairs if value.split()[:1] and value.split()[0].isdigit()}
