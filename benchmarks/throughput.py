"""The rate at which layers are lifted, written and verified, beside a plain OpenImageIO program's.

    python benchmarks/throughput.py [HEIGHT WIDTH [FRAMES]] [--plate COMPRESSION] [--folder FOLDER]

The plain program reads the same plate and masks and writes as many images of the same size, precision and compression,
with as many threads, and does nothing else. Ours does what it does: reads, solves, writes, flushes to the disk, reads
back, compares, and draws what previews need. Both in turns in one run; wall clock and processor time, medians of three
rounds. Two objects. The plate is compressed as the layers are, by zip, or as ``--plate`` says: piz, dwaa, none.
Figures: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import OpenImageIO as oiio
from support.plates import make_plate

from penumbra.allocation import keep_freed_memory
from penumbra.job import load_job
from penumbra.pipeline import course
from penumbra.pipeline.layers import lift_write_verify

OBJECTS, ROUNDS = 2, 3
THREADS = len(os.sched_getaffinity(0))


def read(path):
    image = oiio.ImageInput.open(str(path))
    pixels = image.read_image("unknown")
    image.close()
    return pixels


def write(path, pixels):
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], oiio.HALF)
    spec.attribute("compression", "zip")
    image = oiio.ImageOutput.create(str(path))
    image.open(str(path), spec)
    image.write_image(pixels)
    image.close()


def plain(folder, layers, frames):
    """Reads plate and masks, writes what the layers' files hold, frame after frame, THREADS at a time."""
    stored = {name: read(next((layers / name).glob("*.exr"))) for name in ("background", "obj0", "obj1")}
    out = folder / "plain"
    out.mkdir(exist_ok=True)

    def copy(number):
        read(folder / f"plate.{number:04d}.exr")
        for k in range(OBJECTS):
            read(folder / f"mask{k}.{number:04d}.png")
        for name, pixels in stored.items():
            write(out / f"{name}.{number:04d}.exr", pixels)

    def work():
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(copy, range(1, frames + 1)))

    return work


def prepared(job, keep):
    """Runs a job up to the lift and gives ``keep`` what the lift is called with."""

    class Enough(Exception):
        pass

    def stop(*given):
        keep(given)
        raise Enough

    whole = course.lift_write_verify
    course.lift_write_verify = stop
    try:
        course.run(job, lambda event: None)
    except Enough:
        pass
    finally:
        course.lift_write_verify = whole


def timed(work):
    used, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    work()
    now = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic() - began, now.ru_utime - used.ru_utime + now.ru_stime - used.ru_stime


def main():
    parser = argparse.ArgumentParser()
    for name, default in (("height", 2160), ("width", 3840), ("frames", 6)):
        parser.add_argument(name, type=int, nargs="?", default=default)
    parser.add_argument("--plate", default="zip")
    parser.add_argument("--folder")
    options = parser.parse_args()
    height, width, frames = options.height, options.width, options.frames
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary) / options.plate
        folder.mkdir(parents=True, exist_ok=True)
        path = make_plate(folder, frames, (height, width), OBJECTS, compression=options.plate)
        job = load_job(path)
        layers = Path(job.output.folder)
        held = []
        prepared(job, held.append)
        shot = held[0][0]
        # Its claim on the output folder ended with the run.
        shot.journal.check = lambda: None

        def ours():
            shot.journal.forget_frames(list(shot.footage.frames))
            lift_write_verify(*held[0])

        ours()
        theirs, rows = plain(folder, layers, frames), []
        for _ in range(ROUNDS):
            rows.append((*timed(ours), *timed(theirs)))
        medians = [statistics.median(column) / frames for column in zip(*rows, strict=True)]
        wall, processor, plain_wall, plain_processor = medians
        print(f"{width}x{height}, {options.plate}, {OBJECTS} objects, {frames} frames, {THREADS} threads, per frame:")
        print(f"plain {plain_wall:.2f} s of wall clock, {plain_processor:.2f} s of processor")
        print(f"ours  {wall:.2f} s of wall clock, {processor:.2f} s of processor")
        print(f"our rate over the plain one: {plain_wall / wall:.2f} by wall clock")
        print(f"and {plain_processor / processor:.2f} by processor time")


if __name__ == "__main__":
    main()
