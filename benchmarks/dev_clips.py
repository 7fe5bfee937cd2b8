"""Quality on clips with ground truth, beside knowing nothing: the mask alone and the no-learning baseline.

    python benchmarks/dev_clips.py [--refine off --refine 200] [--weights auto|random|FILE] [CLIPS]

CLIPS defaults to ../shared/data/bench/dev. The baseline is ../shared/tools/baseline_nearest.py: whatever differs from
the median background belongs to the nearest mask. Figures are those of `penumbra score`. Measured figures are kept in
benchmarks/README.md.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from penumbra.evaluate import evaluate, score
from penumbra.job import ModelSettings, RefineSettings
from penumbra.training.datasets import find_clips
from penumbra.write import write_manifest

SHARED = Path(__file__).resolve().parents[2] / "shared"
COLUMNS = ("effect_iou", "outside_iou", "misplaced", "mask_iou")


def baseline(clip, folder):
    """The baseline's layers, written and scored by the same code as ours."""
    subprocess.run([sys.executable, SHARED / "tools" / "baseline_nearest.py", clip, folder], check=True)
    write_manifest(folder, {"order": {}, "frames": {}, "objects": []})
    return {"clip": clip.name, "refine": "baseline", **score(clip, folder)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="?", type=Path, default=SHARED / "data" / "bench" / "dev")
    parser.add_argument("--refine", action="append")
    parser.add_argument("--weights", default="auto")
    options = parser.parse_args()
    if not options.clips.is_dir():
        print(f"There is no folder {options.clips}: nothing to measure.")
        return
    refinements = [RefineSettings.parse(text) for text in options.refine or ["off"]]
    clips = find_clips(options.clips.resolve())
    with tempfile.TemporaryDirectory() as folder:
        rows = [baseline(clip, Path(folder) / f"{clip.name}_baseline") for clip in clips]
        rows += evaluate(clips, Path(folder), refinements, ModelSettings(options.weights), lambda event: None)
    print(f"{'clip':<32}{'refine':>10}" + "".join(f"{name:>14}" for name in COLUMNS))
    for row in sorted(rows, key=lambda row: row["clip"]):
        print(f"{row['clip']:<32}{row['refine']:>10}" + "".join(f"{row[name] or 0:>14.4f}" for name in COLUMNS))


if __name__ == "__main__":
    main()
