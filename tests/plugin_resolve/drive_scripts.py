"""Resolve's script process: ``python drive_scripts.py FUSION_FOLDER MEDIA edit|fusion``.

Runs the installed scripts under the oldest Python a host brings, without third-party packages, as Resolve's menu does:
with ``resolve`` and ``comp`` as globals. Prints what the test looks at, as JSON.
"""

import json
import os
import runpy
import sys
from pathlib import Path

HOSTILE = json.loads(os.environ.pop("DRIVE_ENVIRONMENT", "{}"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fakes"))

import resolve as fake  # noqa: E402

FIRST, COUNT = 1001, 5


def clip(media, name):
    """A sequence in the Media Pool."""
    shown = f"{name}.[{FIRST}-{FIRST + COUNT - 1}].exr"
    return fake.MediaPoolItem(shown, str(media / shown), COUNT, "23.976")


def edit(scripts, media):
    """A clip and its masks on a timeline, and the Edit page's script."""
    app = fake.Resolve()
    timeline = app._project._timeline
    for track, name in enumerate(("plate", "car", "person"), 1):
        timeline._put(clip(media, name), track, timeline._start + 7, COUNT)
        timeline.SetTrackName("video", track, "Video" if name == "plate" else f"Mask {name}")
    timeline._playhead = timeline._start + 9
    os.environ.update(HOSTILE)
    runpy.run_path(str(scripts / "Utility" / "Penumbra Layers.py"), {"resolve": app})
    return {"tracks": [[track.name, [item._start for item in track.items]] for track in timeline._tracks]}


def fusion(scripts, media):
    """Loaders in a composition, and the Fusion page's script."""
    comp = fake.Composition(0, COUNT - 1)
    for column, name in enumerate(("plate", "car", "person")):
        comp.Lock()
        loader = comp.AddTool("Loader", 2 * column, 0)
        comp.Unlock()
        loader.SetInput("Clip", str(media / f"{name}.{FIRST}.exr"))
        if name != "plate":
            loader.SetAttrs({"TOOLS_Name": f"mask_{name}"})
    comp._selected = list(comp._tools)
    os.environ.update(HOSTILE)
    runpy.run_path(str(scripts / "Comp" / "Penumbra Layers.py"), {"resolve": fake.Resolve(), "comp": comp})
    return {"tools": [tool._name for tool in comp._tools]}


def main():
    """Runs one of them; the last line is JSON."""
    scripts, media, page = Path(sys.argv[1]) / "Scripts", Path(sys.argv[2]), sys.argv[3]
    said = {"edit": edit, "fusion": fusion}[page](scripts, media)
    foreign = {"numpy", "OpenImageIO", "torch", "onnxruntime", "cv2", "typer"}
    said.update(python=list(sys.version_info[:2]), foreign=sorted(set(sys.modules) & foreign))
    sys.stdout.write("\n" + json.dumps(said) + "\n")


main()
