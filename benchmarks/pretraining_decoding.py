"""Pretraining samples per second: only hidden frames decoded, against the authors' scheme of decoding every frame.

    python benchmarks/pretraining_decoding.py [--size 64x64] [--windows 8] [--rounds 3]

The same network, optimiser and windows of two objects and five frames; forward, loss, backward, clipping and step. The
schemes take turns within every round, so that a busy machine slows all of them alike. Measured figures are kept in
benchmarks/README.md.
"""

import argparse
import statistics
import time

import torch

from penumbra.network import LayerNetwork, NetworkSize, layer_losses, total_loss

SCHEMES = {
    "every frame decoded (authors)": (3, None),
    "three hidden frames decoded": (3, 3),
    "two of the hidden frames decoded": (3, 2),
}


def step(network, optimiser, windows, height, width, hidden, decoded):
    """Seconds of one training step."""
    frames = torch.rand(windows, 3, 5, height, width) * 2 - 1
    masks = torch.rand(windows, 2, 5, height, width).round() * 2 - 1
    visible = torch.ones(windows, 5)
    visible[:, :hidden] = 0
    kept = 5 if decoded is None else decoded
    targets = None if decoded is None else torch.arange(decoded).expand(windows, -1)
    weight = 1 - visible[:, :kept]
    began = time.perf_counter()
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16):
        rgba = network(frames, masks, visible, targets)
    terms = layer_losses(rgba.float(), frames[:, :, :kept], masks[:, :, :kept], frames[:, :, :kept] * 0, weight)
    total_loss(terms, 0.01).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="64x64")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    network = LayerNetwork(NetworkSize(height // 16, width // 16)).train()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-4)
    seconds = {name: [] for name in SCHEMES}
    for turn in range(options.rounds + 1):
        for name, (hidden, decoded) in SCHEMES.items():
            taken = step(network, optimiser, options.windows, height, width, hidden, decoded)
            # The first round warms up.
            seconds[name] += [taken] * (turn > 0)
    slowest = statistics.median(seconds["every frame decoded (authors)"])
    print(f"{options.size}, {options.windows} windows of 2 objects, bfloat16, {torch.get_num_threads()} thread(s)")
    print(f"{'scheme':<36}{'windows/s':>12}{'ratio':>8}")
    for name, all_taken in seconds.items():
        taken = statistics.median(all_taken)
        print(f"{name:<36}{options.windows / taken:>12.2f}{slowest / taken:>8.2f}")


if __name__ == "__main__":
    main()
