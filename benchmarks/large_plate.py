"""A 4K float plate taken apart: processor time by stage, peak memory, and whether the pictures are right.

    python benchmarks/large_plate.py [FRAMES [HEIGHT WIDTH [OBJECTS [FOLDER]]]]

Grain, exposure drifting by +-10 %, lamps of 30, two objects with shadows; ten frames of 3840x2160 by default, and
120 are the test of flat memory. The shipped weights, no refinement. FOLDER keeps plate and layers. Figures:
benchmarks/README.md.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio
from support.plates import DRIFT, SMALL, enlarged_levels, gain_at, make_plate, shown_at
from support.watch import watched

from penumbra.color import srgb_decode, srgb_encode


def pixels_of(path):
    return oiio.ImageBuf(str(path)).get_pixels(oiio.FLOAT)


def shown(linear, gain=1.0):
    """Exposure evened out, as small as the truth, in display units."""
    small = cv2.resize(np.maximum(linear / gain, 0), SMALL[::-1], interpolation=cv2.INTER_AREA)
    return srgb_encode(np.clip(small, 0, 1))


def changed(one, other):
    return (((one - other) * 255) ** 2).sum(-1) > 63.75


def check_frame(folder, layers, number, distinct, objects, size):
    """Effect IoU per object, beside the mask's own, and the removal's difference from the truth in 8-bit levels."""
    small, own = folder / "small", shown_at(number, distinct)
    truth = srgb_encode(srgb_decode(enlarged_levels(small / "bg.png", SMALL)))
    gain, ious = gain_at(own), []
    clean = pixels_of(layers / f"background/background.{number:04d}.exr")
    lit = shown(clean, gain)
    dark = lit.max(-1) < 0.99  # lamps are not in the small clip
    for k in range(objects):
        layer = pixels_of(layers / f"obj{k}/obj{k}.{number:04d}.exr")
        solo = layer[..., :3] + (1 - layer[..., 3:]) * (srgb_decode(enlarged_levels(small / "bg.png", size)) * gain)
        ours = changed(shown(solo, gain), truth) & dark
        theirs = cv2.imread(str(small / f"gt/mask{k}_{own - 1:05d}.png"), 0) > 127
        mask = cv2.imread(str(small / f"mask{k}_{own - 1:05d}.png"), 0) > 127
        iou = [(r & theirs & dark).sum() / max(1, ((r | theirs) & dark).sum()) for r in (ours, mask)]
        ious.append(iou)
    off = np.abs(lit - truth)[dark].mean() * 255
    return np.array(ious), off


def main():
    words = [int(word) for word in sys.argv[1:5]]
    frames, height, width, objects = words + [10, 2160, 3840, 2][len(words) :]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[5] if len(sys.argv) > 5 else temporary)
        folder.mkdir(parents=True, exist_ok=True)
        began = time.process_time()
        job = make_plate(folder, frames, (height, width), objects)
        layers = folder / f"layers_{frames}"
        distinct = len(list((folder / "small").glob("rgba_*.png")))
        print(f"plate made in {time.process_time() - began:.0f} s of processor", flush=True)
        run = watched(["decompose", "--job", str(job), "--refine", "off", "--replace"])
        print(f"{width}x{height}, {frames} frames, {objects} objects, drift {DRIFT:.0%}: exit code {run.code}")
        for stage, (wall, processor) in run.stages().items():
            print(f"{stage:12} {processor / frames:6.2f} s of processor a frame, {wall:7.1f} s of wall clock")
        print(f"peak memory {run.peak / 1024:.2f} GiB")
        manifest = json.loads((layers / "manifest.json").read_text())
        entries = manifest["frames"].values()
        print(
            f"{sum(entry['within_bound'] for entry in entries)} of {frames} frames within the bound, largest error"
            f" {max(entry['recomposition_max'] for entry in entries):.2e}"
        )
        for number in sorted({1, (frames + 1) // 2, frames}):
            ious, off = check_frame(folder, layers, number, min(frames, distinct), objects, (height, width))
            text = ", ".join(f"{ours:.3f} (mask {mask:.3f})" for ours, mask in ious)
            print(f"frame {number}: effect_iou {text}; background {off:.2f} levels from the truth")


if __name__ == "__main__":
    main()
