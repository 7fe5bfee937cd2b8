"""What each part of the network costs, and the share of this CPU's matrix-multiply rate it reaches.

    python benchmarks/pretraining_flops.py [--windows 2] [--rounds 3]

Floating point operations of one window (five frames, two objects, one target decoded), counted by torch; then the
forward pass of each part timed beside a plain matrix product of the same precision, in turns. Measured figures are kept
in benchmarks/README.md.
"""

import argparse
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from penumbra.network import LayerNetwork, NetworkSize

SIZES = ((64, 64), (128, 128), (128, 224))
PRECISIONS = ("float32", "bfloat16")
PRODUCT = 1024


def parts_of(network, windows, height, width):
    """Calls of the four parts on inputs of one size."""
    frames, masks = torch.rand(windows, 3, 5, height, width), torch.rand(windows, 2, 5, height, width)
    visible, targets = torch.ones(windows, 5), torch.full((windows, 1), 2)
    features, skips = network.encode_frames(frames)
    mask_features = network.encode_masks(masks)
    tokens = network.transform(features, mask_features, visible, targets)
    return {
        "frame encoder": lambda: network.encode_frames(frames),
        "mask encoder": lambda: network.encode_masks(masks),
        "transformer": lambda: network.transform(features, mask_features, visible, targets),
        "decoder": lambda: network.decode(tokens, skips[:, 2:3]),
    }


def counted(call):
    """Floating point operations of a call."""
    # Torch counts nothing for the CPU's fused attention; written out it counts the products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def timed(call, precision):
    """Seconds of a call."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        began = time.perf_counter()
        call()
        return time.perf_counter() - began


def measure(calls, precision, rounds):
    """Shortest seconds of each call and of a matrix product, in turns."""
    a, b = torch.rand(PRODUCT, PRODUCT), torch.rand(PRODUCT, PRODUCT)
    if precision == "bfloat16":
        a, b = a.bfloat16(), b.bfloat16()
    calls = {**calls, "product": lambda: a @ b}
    taken = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            taken[name] += [timed(call, precision)] * (turn > 0)
    # The shortest: whatever else runs on the machine only ever adds.
    return {name: min(values) for name, values in taken.items()}


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} thread(s)")
    best = dict.fromkeys(PRECISIONS, 0.0)
    measured = []
    for height, width in SIZES:
        network = LayerNetwork(NetworkSize(height // 16, width // 16)).eval()
        calls = parts_of(network, options.windows, height, width)
        flops = {name: counted(call) for name, call in calls.items()}
        seconds = {}
        for precision in PRECISIONS:
            seconds[precision] = measure(calls, precision, options.rounds)
            best[precision] = max(best[precision], 2 * PRODUCT**3 / seconds[precision]["product"])
        measured.append((height, width, flops, seconds))
    for precision in PRECISIONS:
        print(f"{precision}: matrix product {best[precision] / 1e9:.0f} GFLOP/s")
    for height, width, flops, seconds in measured:
        report(height, width, options.windows, flops, seconds, best)


def report(height, width, windows, flops, seconds, best):
    """A table of one size: operations, and the shares of the best rate seen in the whole run."""
    whole = {"whole": sum(flops.values())}
    for taken in seconds.values():
        taken["whole"] = sum(taken[name] for name in flops)
    print(f"\n{height}x{width}: {whole['whole'] / windows / 2e9:.2f} GMAC a window")
    print(f"  {'part':<16}{'GMAC':>8}{'of it':>8}" + "".join(f"{precision:>10}" for precision in PRECISIONS))
    for name, count in {**flops, **whole}.items():
        shares = "".join(f"{count / seconds[p][name] / best[p]:>10.0%}" for p in PRECISIONS)
        print(f"  {name:<16}{count / windows / 2e9:>8.2f}{count / whole['whole']:>8.0%}{shares}")


if __name__ == "__main__":
    main()
