"""Feed-forward seconds per frame and object, against the authors' sliding scheme, in the same run.

    python benchmarks/feedforward.py [--frames 20] [--height 128] [--width 128] [--objects 2] [--rounds 3]

Theirs: for every target frame its window's five frames and the objects' masks are encoded, all five frames pass the
whole transformer and are decoded, and the target's layer is kept. Ours: every frame and mask is encoded once, only the
target's queries pass the last transformer layer, only the target is decoded. Same weights, same windows (one around
each target), same ONNX Runtime, same threads, the rounds interleaved; the two must give the same layers. Ours with the
two windows of the quality mode, from both sides in time, stands beside them.

Seconds are processor time where one thread runs (OMP_NUM_THREADS=1), which other programs disturb less than the clock.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from penumbra.color import DisplayEncoding
from penumbra.compositing import premultiply
from penumbra.decompose import LayerModels, decompose
from penumbra.decompose.providers import open_session
from penumbra.frames import WorkingClip
from penumbra.network import load_weights
from penumbra.pipeline import SHIPPED_WEIGHTS
from penumbra.windows import central_window


class WholeNetwork(torch.nn.Module):
    """The network as the authors run it: everything from pixels to the layers of all five frames."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, frames, masks, visible):
        return self.network(frames, masks, visible)


def whole_session(clip, window, provider):
    """Their scheme as one graph of the clip's size."""
    network, _, _ = load_weights(SHIPPED_WEIGHTS / "weights.safetensors")
    height, width = clip.frames.shape[1:3]
    objects = len(clip.names)
    example = (
        torch.zeros(1, 3, window, height, width),
        torch.zeros(1, objects, window, height, width),
        torch.ones(1, window),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whole.onnx"
        torch.onnx.export(
            WholeNetwork(network).eval(), example, path, dynamo=True, input_names=["frames", "masks", "visible"],
            output_names=["rgba"], verbose=False, external_data=False,
        )  # fmt: skip
        return open_session(path.read_bytes(), provider)


def clip_of(count, height, width, objects):
    """Smooth noise with moving boxes for masks: content does not matter for time, only for equality."""
    random = np.random.default_rng(0)
    frames = random.random((count, height, width, 3), dtype=np.float32)
    masks = np.zeros((count, objects, height, width), np.float32)
    for index in range(count):
        for k in range(objects):
            left = (index * 2 + k * width // 2) % (width - width // 6)
            masks[index, k, height // 3 : 2 * height // 3, left : left + width // 6] = 1
    ones = np.ones((count, height, width), np.float32)
    names = tuple(f"object{k}" for k in range(objects))
    order = np.tile(np.arange(objects), (count, 1))
    background = np.zeros_like(frames)
    return WorkingClip(tuple(range(count)), names, frames, masks, background, ones, ones, order, DisplayEncoding())


def sliding(clip, session, window, stride):
    """The authors' scheme: the layers of every target frame, (N, K, h, w, 4)."""
    result = []
    for target in range(len(clip.numbers)):
        seen = central_window(target, len(clip.numbers), window, stride)
        chosen = list(seen.frames)
        visible = np.ones((1, len(chosen)), np.float32)
        visible[0, seen.target] = 0
        frames = np.ascontiguousarray(clip.frames[chosen].transpose(3, 0, 1, 2)[None] * 2 - 1)
        masks = np.ascontiguousarray(clip.masks[chosen].transpose(1, 0, 2, 3)[None] * 2 - 1)
        (rgba,) = session.run(None, {"frames": frames, "masks": masks, "visible": visible})
        result.append((rgba[0, :, :, seen.target] * 0.5 + 0.5).transpose(1, 2, 3, 0))
    return np.stack(result)


def ours(clip, models, both_sides, mirrored=False):
    return np.stack([layers for _, layers in decompose(clip, models, both_sides=both_sides, mirrored=mirrored)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("frames", 20), ("height", 128), ("width", 128), ("objects", 2), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    clip = clip_of(options.frames, options.height, options.width, options.objects)
    models = LayerModels.load(SHIPPED_WEIGHTS, "cpu")
    window, stride = models.contract.window, models.contract.stride
    session = whole_session(clip, window, models.provider)
    clock = time.process_time if os.environ.get("OMP_NUM_THREADS") == "1" else time.perf_counter
    ways = {
        "authors' sliding scheme": lambda: sliding(clip, session, window, stride),
        "ours, one window": lambda: ours(clip, models, False),
        "ours, both sides": lambda: ours(clip, models, True),
    }
    seconds, layers = {name: [] for name in ways}, {}
    for _ in range(options.rounds):
        for name, way in ways.items():
            began = clock()
            layers[name] = way()
            seconds[name].append(clock() - began)
    theirs, mine = (layers[name] for name in list(ways)[:2])
    difference = float(np.abs(premultiply(theirs) - premultiply(mine)).max())
    best = {name: min(values) / options.frames / options.objects for name, values in seconds.items()}
    base = best["authors' sliding scheme"]
    print(
        f"{options.frames} frames {options.width}x{options.height}, {options.objects} objects, best of {options.rounds}"
    )
    for name, value in best.items():
        print(f"{name:<26}{value * 1e3:9.1f} ms per frame and object {base / value:6.2f} times as fast")
    print(f"largest difference of the layers, one window: {difference:.1e}")
    if options.json:
        report = {"seconds_per_frame_and_object": best, "difference": difference, "settings": vars(options)}
        options.json.write_text(json.dumps(report, default=str, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
