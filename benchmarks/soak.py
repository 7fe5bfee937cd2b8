"""A long job watched: memory, threads, descriptors, and whether the last frames cost what the first did.

    python benchmarks/soak.py [FRAMES [HEIGHT WIDTH [OBJECTS [FOLDER]]]]

500 frames of 1920x1080 with three objects is the test; 60 the default, to be done in minutes. Only 24 frames are
rendered, the clip goes back and forth through them. What is told is of the lift stage (lift, write, verify), frame by
frame: the slope of resident memory by least squares after the first tenth, and the processor time of the last fifth of
the frames (at most 100) over that of the first, the start left out. Private memory is what the process itself holds;
resident counts mapped pages of files too, which the system takes back when it likes. FOLDER keeps plate and layers.
Figures: benchmarks/README.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from support.plates import make_plate
from support.watch import watched


def processor_at(samples, done):
    """Processor seconds when so many frames were done, between the two samples around."""
    return float(np.interp(done, [sample.done for sample in samples], [sample.processor for sample in samples]))


def report(run, frames):
    samples = [sample for sample in run.samples if sample.stage == "lift"]
    settled = [sample for sample in samples if sample.done >= frames * 0.1]
    print(f"peak memory {run.peak:.0f} MiB")
    done = [sample.done for sample in settled]
    for what in ("private", "resident"):
        slope = np.polyfit(done, [getattr(sample, what) for sample in settled], 1)[0]
        print(f"{what} memory: slope {slope:+.3f} MiB a frame")
    for what in ("private", "resident", "threads", "descriptors"):
        values = [getattr(sample, what) for sample in settled]
        tenth = max(1, len(values) // 10)
        print(f"{what}: {np.mean(values[:tenth]):.1f} at first, {np.mean(values[-tenth:]):.1f} at last")
    part = min(100, frames // 5)
    start = max(2, frames // 50)
    first = processor_at(samples, start + part) - processor_at(samples, start)
    last = processor_at(samples, frames - 2) - processor_at(samples, frames - 2 - part)
    print(f"processor seconds a frame: first {part} {first / part:.3f}, last {part} {last / part:.3f}")
    print(f"last over first: {last / first:.3f}")
    for stage, (wall, processor) in run.stages().items():
        print(f"{stage:12} {processor / frames:6.3f} s of processor a frame, {wall:7.1f} s of wall clock")


def main():
    words = [int(word) for word in sys.argv[1:5]]
    frames, height, width, objects = words + [60, 1080, 1920, 3][len(words) :]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[5] if len(sys.argv) > 5 else temporary)
        folder.mkdir(parents=True, exist_ok=True)
        job = make_plate(folder, frames, (height, width), objects)
        run = watched(["decompose", "--job", str(job), "--refine", "off", "--replace"])
        print(f"{width}x{height}, {frames} frames, {objects} objects: exit code {run.code}")
        report(run, frames)


if __name__ == "__main__":
    main()
