"""Quality against minutes of refinement, from the shipped and from random weights.

    OMP_NUM_THREADS=1 python benchmarks/quality_minutes.py [CLIPS] [--refine 50 ...] [--random 200 ...] [--work FOLDER]

The paper's claim is that pretraining cuts the time a shot needs. CLIPS defaults to ../shared/data/bench/dev. Every
point is a run of its own with its own schedule, as `--refine N` makes it; its minutes are processor minutes of the
refine stage, the mean over the clips: on one thread what a clock shows where nothing else runs, and the same where
something does. Zero minutes is no refinement at all. Writes the figures (JSON) and docs/images/quality_minutes.png.
With --work the layers stay, and the same call goes on where it was stopped.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from penumbra.evaluate import evaluate, table_lines
from penumbra.evaluate.table import means
from penumbra.events import Event
from penumbra.job import ModelSettings, RefineSettings
from penumbra.training.datasets import find_clips

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
PANELS = (
    ("effect_iou", "effect IoU"),
    ("outside_iou", "outside the masks"),
    ("misplaced", "misplaced (less is better)"),
)
COLOURS = {"shipped": (40, 110, 190), "random": (205, 95, 40)}
GREY, INK, PAPER = (150, 150, 150), (50, 50, 50), 255
SIZE, LEFT, RIGHT, TOP, BOTTOM = (430, 420), 62, 18, 52, 56  # a panel's height and width, and what surrounds its axes
FONT = cv2.FONT_HERSHEY_DUPLEX
SMOOTH = 4  # drawn so many times larger


class Pace:
    """Hears a run's events and notes the processor seconds of its refine stage, by output folder, in a JSON file."""

    def __init__(self, path):
        self.path = path
        self.seconds = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        self.since, self.spent = None, 0.0

    def __call__(self, event: Event):
        if self.since is not None and event.event in ("stage", "done"):
            self.spent += time.process_time() - self.since
            self.since = None
        if event.event == "stage" and event.stage == "refine":
            self.since = time.process_time()
        elif event.event == "done":
            # A run that had nothing left to do keeps what it took.
            self.seconds.setdefault(Path(event.path).parent.name, round(self.spent, 1))
            self.path.write_text(json.dumps(self.seconds, indent=1) + "\n", "utf-8")
            self.spent = 0.0


def curves(rows):
    """{method: [(minutes, row of means)]} in the order of minutes."""
    found = {}
    for mean in means(rows):
        if mean["method"] in COLOURS:
            minutes = 0.0 if mean["refine"] == "off" else mean["refine_seconds"] / 60
            found.setdefault(mean["method"], []).append((minutes, mean))
    return {method: sorted(points, key=lambda point: point[0]) for method, points in found.items()}


class Panel:
    """Axes from (0, 0) to (minutes, highest) and what is drawn in them, enlarged for smooth lines."""

    def __init__(self, title, minutes, highest):
        height, width = SIZE
        self.image = np.full((height * SMOOTH, width * SMOOTH, 3), PAPER, np.uint8)
        self.minutes, self.highest = minutes, highest
        self.text(title, LEFT, 28, 0.5)
        for value in np.arange(0, highest + 1e-6, 0.2 if highest > 0.5 else 0.05):
            self.line([(0, value), (minutes, value)], (228, 228, 228), 1)
            self.text(f"{value:.2f}", 10, self.at(0, value)[1] + 5, 0.4)
        for value in np.linspace(0, minutes, 5):
            self.text(f"{value:.1f}", self.at(value, 0)[0] - 10, height - BOTTOM + 20, 0.4)
        self.text("processor minutes of refinement", width // 2 - 105, height - 14, 0.42)

    def at(self, minutes, value):
        """(x, y) in the panel's pixels."""
        height, width = SIZE
        x = LEFT + minutes / self.minutes * (width - LEFT - RIGHT)
        return x, height - BOTTOM - value / self.highest * (height - BOTTOM - TOP)

    def line(self, points, colour, thickness):
        places = np.array([self.at(*point) for point in points]) * SMOOTH
        cv2.polylines(self.image, [np.round(places).astype(np.int32)], False, colour, thickness * SMOOTH, cv2.LINE_AA)

    def dot(self, point, colour):
        x, y = (round(v * SMOOTH) for v in self.at(*point))
        cv2.circle(self.image, (x, y), 4 * SMOOTH, colour, -1, cv2.LINE_AA)

    def text(self, words, x, y, scale, colour=INK):
        place = round(x * SMOOTH), round(y * SMOOTH)
        cv2.putText(self.image, words, place, FONT, scale * SMOOTH, colour, SMOOTH, cv2.LINE_AA)

    def drawn(self):
        return cv2.resize(self.image, SIZE[::-1], interpolation=cv2.INTER_AREA)


def panel(rows, name, title):
    """One figure of all methods: the means as lines with dots, each clip's own as faint lines, the baselines across."""
    found = curves(rows)
    minutes = max([point[0] for points in found.values() for point in points] + [0.1])
    values = [row[name] for row in rows if row[name] is not None]
    result = Panel(title, minutes, 1.0 if max(values) > 0.5 else 0.05 * np.ceil(max(values) / 0.05 + 1))
    for mean in means(rows):
        if mean["refine"] == "-" and mean[name] is not None:
            result.line([(0, mean[name]), (minutes, mean[name])], GREY, 2)
            x, y = result.at(minutes, mean[name])
            result.text(mean["method"], x - 105, y - 5, 0.4, (110, 110, 110))
    for method, points in found.items():
        at = {mean["refine"]: when for when, mean in points}
        faint = tuple((c + 3 * 255) // 4 for c in COLOURS[method])
        for clip in {row["clip"] for row in rows}:
            own = [row for row in rows if row["clip"] == clip and row["method"] == method and row[name] is not None]
            result.line(sorted((at[row["refine"]], row[name]) for row in own), faint, 1)
    for place, (method, points) in enumerate(found.items()):
        known = [(when, mean[name]) for when, mean in points if mean[name] is not None]
        result.line(known, COLOURS[method], 2)
        for point in known:
            result.dot(point, COLOURS[method])
        result.text(f"{method} weights", LEFT + place * 140, 46, 0.42, COLOURS[method])
    return result.drawn()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="?", type=Path, default=SHARED / "data" / "bench" / "dev")
    parser.add_argument("--refine", action="append", help="Steps or minutes, several times; off is always measured.")
    parser.add_argument("--random", action="append", help="The same from random weights; default as --refine.")
    parser.add_argument("--size", help="Working size HEIGHTxWIDTH, for both; default the shipped weights' own.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="Where layers are kept, to go on from.")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "quality_minutes.json")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "images" / "quality_minutes.png")
    options = parser.parse_args()
    if not options.clips.is_dir():
        print(f"There is no folder {options.clips}: nothing to measure.")
        return
    shipped = ["off", *(options.refine or ["50", "100", "200", "400"])]
    random = ["off", *(options.random or shipped[1:])]
    size = tuple(int(part) for part in options.size.split("x")) if options.size else None
    model = ModelSettings("auto", size, options.seed)
    clips = find_clips(options.clips.resolve())
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work.resolve() if options.work else Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        pace = Pace(work / "processor_seconds.json")
        rows = []
        for settings, refinements in ((replace(model, weights="random"), random), (model, shipped)):
            asked = [RefineSettings.parse(text) for text in refinements]
            rows += evaluate(clips, work, asked, settings, pace, with_baselines=not rows, resume=True)
    for row in rows:
        row["refine_seconds"] = pace.seconds.get(row["folder"], 0.0)
    print("\n".join(table_lines(rows)))
    about = {"threads": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())), "seed": options.seed}
    options.json.write_text(json.dumps({**about, "rows": rows, "means": means(rows)}, indent=1) + "\n", "utf-8")
    plot = np.hstack([panel(rows, name, title) for name, title in PANELS])
    cv2.imwrite(str(options.plot), np.ascontiguousarray(plot[..., ::-1]))
    print(f"{options.json}\n{options.plot}")


if __name__ == "__main__":
    main()
