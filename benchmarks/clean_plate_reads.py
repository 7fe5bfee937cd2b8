"""How often the clean plate decodes each frame of a plate, and what memory it takes, with and without kept frames.

A still camera, noise for a plate, one square crossing it; both ways in processes of their own, one after the other.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from penumbra.clean_plate import build_clean_plate


def build(frames: int, size: tuple[int, int], most_kept: int | None) -> dict[str, float]:
    """Decodings per frame, seconds, and peak resident memory in GiB of one build."""
    ground, reads = np.random.default_rng(1).random((*size, 3), np.float32).astype(np.float16), []

    def plate(number: int) -> np.ndarray:
        reads.append(number)
        return ground.astype(np.float32)

    def occupied(number: int) -> np.ndarray:
        mask = np.zeros(size, np.float32)
        left = number * size[1] // (frames + 1)
        mask[size[0] // 3 : size[0] // 2, left : left + size[1] // 8] = 1
        return mask

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        still = np.tile(np.eye(3), (frames, 1, 1))
        build_clean_plate(
            range(frames), plate, occupied, still, Path(folder), lambda *_: None, lambda: False, most_kept=most_kept
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"decodings": len(reads) / frames, "seconds": time.perf_counter() - started, "gibibytes": peak}


def main() -> None:
    frames, height, width = (int(word) for word in sys.argv[1:4] or (24, 1080, 1920))
    if len(sys.argv) > 4:
        print(json.dumps(build(frames, (height, width), None if sys.argv[4] == "kept" else 0)))
        return
    for how in ("kept", "read again"):
        command = [sys.executable, __file__, str(frames), str(height), str(width), how]
        figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{how:>10}: " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
