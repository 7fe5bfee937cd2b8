"""What the scripts rely on, tried in a real Resolve: run from its console, in a project of its own (docs/resolve.md).

It needs nothing but Resolve: frames are written here as small uncompressed EXR files.
"""

from __future__ import annotations

import struct
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, List, Tuple

PROJECT = "penumbra smoke"
FIRST, COUNT = 1001, 12
_WIDTH, _HEIGHT = 64, 36

Check = Tuple[str, Callable[[], bool]]


def main(resolve: Any) -> List[str]:
    """Prints and returns a line per thing tried; the project stays open, to be looked at and deleted by hand."""
    lines = [f"Python {sys.version.split()[0]}, {resolve.GetProductName()} {resolve.GetVersion()}"]
    manager = resolve.GetProjectManager()
    project = manager.CreateProject(PROJECT) or manager.LoadProject(PROJECT)
    if not project:
        return _told([*lines, f"FAILED: no project {PROJECT!r} could be made or opened"])
    folder = Path(tempfile.mkdtemp(prefix="penumbra smöke "))
    for number in range(FIRST, FIRST + COUNT):
        (folder / f"layer.{number}.exr").write_bytes(exr_bytes((number - FIRST) / COUNT))
    trial = _Trial(project, folder)
    for name, check in trial.checks():
        try:
            lines.append(f"{'ok' if check() else 'FAILED'}: {name}")
        except Exception as error:  # noqa: BLE001 # whatever a real Resolve does is what we want to hear of
            lines.append(f"FAILED: {name}: {type(error).__name__}: {error}")
    return _told(lines)


class _Trial:
    """The checks in order; each builds on those before it."""

    def __init__(self, project: Any, folder: Path) -> None:
        self._project, self._folder = project, folder
        self._pool = project.GetMediaPool()
        self._clip: Any = None
        self._timeline: Any = None
        self._item: Any = None

    def checks(self) -> List[Check]:
        return [
            ("a numbered sequence is imported as one clip", self._imports),
            ("its File Path has the form name.[first-last].exr", self._shows_range),
            ("its Frames are all of them", lambda: self._clip.GetClipProperty("Frames") == str(COUNT)),
            ("its FPS can be set", lambda: self._sets("FPS", "23.976")),
            ("its Alpha mode can be set", lambda: self._sets("Alpha mode", "Premultiplied")),
            ("a timeline is made", self._makes_timeline),
            ("endFrame is not included", self._places),
            ("a clip over another is not placed", self._refuses_overlap),
            ("GetLeftOffset is the first frame used", lambda: int(self._item.GetLeftOffset()) == 2),
            ("GetEnd is not included", lambda: self._item.GetEnd() - self._item.GetStart() == 5),
            ("items have a unique id", lambda: bool(self._item.GetUniqueId())),
            ("a clip can be switched off", lambda: bool(self._item.SetClipEnabled(False))),
            ("render codecs of exr are told", lambda: bool(self._project.GetRenderCodecs("exr"))),
            ("a render preset can be kept and loaded", self._keeps_preset),
        ]

    def _imports(self) -> bool:
        pattern = str(self._folder / "layer.%04d.exr")
        made = self._pool.ImportMedia([{"FilePath": pattern, "StartIndex": FIRST, "EndIndex": FIRST + COUNT - 1}])
        self._clip = made[0]
        return len(made) == 1

    def _shows_range(self) -> bool:
        return str(self._clip.GetClipProperty("File Path")).endswith(f"layer.[{FIRST}-{FIRST + COUNT - 1}].exr")

    def _sets(self, name: str, value: str) -> bool:
        self._clip.SetClipProperty(name, value)
        return bool(str(self._clip.GetClipProperty(name)) == value)

    def _makes_timeline(self) -> bool:
        self._timeline = self._pool.CreateEmptyTimeline("penumbra")
        self._project.SetCurrentTimeline(self._timeline)
        return bool(self._timeline)

    def _append(self) -> List[Any]:
        start = self._timeline.GetStartFrame() + 10
        entry = {"mediaPoolItem": self._clip, "startFrame": 2, "endFrame": 7, "mediaType": 1}
        return list(self._pool.AppendToTimeline([{**entry, "trackIndex": 1, "recordFrame": start}]) or [])

    def _places(self) -> bool:
        (self._item,) = self._append()
        return int(self._item.GetDuration()) == 5

    def _refuses_overlap(self) -> bool:
        self._append()
        return len(self._timeline.GetItemListInTrack("video", 1)) == 1

    def _keeps_preset(self) -> bool:
        name = "penumbra smoke"
        kept = self._project.SaveAsNewRenderPreset(name) and self._project.LoadRenderPreset(name)
        return bool(self._project.DeleteRenderPreset(name) and kept)


def exr_bytes(value: float) -> bytes:
    """A small scan-line OpenEXR file of one grey, RGBA float, uncompressed, alpha one half."""

    def attribute(name: str, kind: str, body: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(body)) + body

    channels = b"".join(name + b"\0" + struct.pack("<iBxxxii", 2, 0, 1, 1) for name in (b"A", b"B", b"G", b"R")) + b"\0"
    box = struct.pack("<4i", 0, 0, _WIDTH - 1, _HEIGHT - 1)
    header = struct.pack("<ii", 20000630, 2) + b"".join(
        (
            attribute("channels", "chlist", channels),
            attribute("compression", "compression", b"\0"),
            attribute("dataWindow", "box2i", box),
            attribute("displayWindow", "box2i", box),
            attribute("lineOrder", "lineOrder", b"\0"),
            attribute("pixelAspectRatio", "float", struct.pack("<f", 1)),
            attribute("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
            attribute("screenWindowWidth", "float", struct.pack("<f", 1)),
            b"\0",
        )
    )
    row = struct.pack("<f", 0.5) * _WIDTH + struct.pack("<f", value * 0.5) * (3 * _WIDTH)
    first = len(header) + 8 * _HEIGHT
    offsets = b"".join(struct.pack("<Q", first + y * (8 + len(row))) for y in range(_HEIGHT))
    return header + offsets + b"".join(struct.pack("<ii", y, len(row)) + row for y in range(_HEIGHT))


def _told(lines: List[str]) -> List[str]:
    for line in lines:
        print(f"Penumbra smoke: {line}")
    return lines


# In the console there is no module to import: Resolve hands over its object by this name.
if "resolve" in globals():
    main(globals()["resolve"])
