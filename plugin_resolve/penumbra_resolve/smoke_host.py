"""What the scripts rely on, tried in a real Resolve: run from its console, in a project of its own (docs/resolve.md).

It needs nothing but Resolve: frames are written here as small uncompressed EXR files.
"""

from __future__ import annotations

import re
import struct
import sys
import tempfile
import time
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
        self._comp: Any = None
        self._loader: Any = None

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
            ("left offset, length and right offset make up its Frames", self._adds_up),
            ("items have a unique id", lambda: bool(self._item.GetUniqueId())),
            ("a clip can be switched off", lambda: bool(self._item.SetClipEnabled(False))),
            ("and tells so", lambda: self._item.GetClipEnabled() is False),
            ("a clip's Resolution has the form 1920x1080", self._shows_size),
            ("the timeline tells its resolution", lambda: self._side("Width") > 0 and self._side("Height") > 0),
            ("timeline or project tell their colour science", self._tells_colour),
            ("a clip's framing is told, and taken", self._frames),
            ("render codecs of exr are told", lambda: bool(self._project.GetRenderCodecs("exr"))),
            ("a render preset can be kept and loaded", self._keeps_preset),
            ("a render job writes the frames asked for as NAME_########.exr", self._renders),
            ("and at the size asked for", lambda: self._rendered_size() == (self._side("Width"), self._side("Height"))),
            ("a clip gets a composition", self._composes),
            ("a Loader is added under Lock, and named", self._adds_loader),
            ("it takes a file, and tells of its sequence", self._loads),
            ("its channels are told as the file's own", self._tells_channels),
            ("a tool has a place in the node graph", self._has_place),
            ("an input takes an expression", self._takes_expression),
            ("a Saver renders its input", self._saves),
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

    def _adds_up(self) -> bool:
        told = (self._item.GetLeftOffset(), self._item.GetDuration(), self._item.GetRightOffset())
        return bool(sum(int(number) for number in told) == COUNT)

    def _tells_colour(self) -> bool:
        name = "colorScienceMode"
        return bool(self._timeline.GetSetting(name) or self._project.GetSetting(name))

    def _shows_size(self) -> bool:
        return bool(re.match(r"\d+x\d+\Z", str(self._clip.GetClipProperty("Resolution"))))

    def _side(self, name: str) -> int:
        return int(self._timeline.GetSetting(f"timelineResolution{name}"))

    def _frames(self) -> bool:
        told = self._item.GetProperty()
        taken = self._item.SetProperty("ZoomX", 1.5) and self._item.GetProperty("ZoomX") == 1.5
        return bool(told["ZoomX"] == 1.0 and taken and self._item.SetProperty("ZoomX", 1.0))

    def _renders(self) -> bool:
        self._item.SetClipEnabled(True)
        first = int(self._item.GetStart())
        codecs = [codec for codec in self._project.GetRenderCodecs("exr").values() if "RGB" in codec]
        settings = {
            "SelectAllFrames": False, "MarkIn": first, "MarkOut": first + 2, "TargetDir": str(self._folder),
            "CustomName": "render_", "ExportVideo": True, "ExportAudio": False, "ExportAlpha": False,
            "FormatWidth": self._side("Width"), "FormatHeight": self._side("Height"),
        }  # fmt: skip
        taken = (
            self._project.SetCurrentRenderFormatAndCodec("exr", codecs[0]),
            self._project.SetCurrentRenderMode(1),
            self._project.SetRenderSettings(settings),
        )
        job = self._project.AddRenderJob()
        if not all(taken) or not self._project.StartRendering([job]):
            return False
        while self._project.GetRenderJobStatus(job).get("JobStatus") not in ("Complete", "Failed", "Cancelled"):
            time.sleep(0.5)
        return [path.name for path in self._files("render")] == [f"render_{first + n:08d}.exr" for n in range(3)]

    def _files(self, stem: str) -> List[Path]:
        return sorted(self._folder.glob(f"{stem}*.exr"))

    def _rendered_size(self) -> Tuple[int, int]:
        head = self._files("render")[0].read_bytes()[:65536]
        mark = b"displayWindow\0box2i\0" + struct.pack("<i", 16)
        left, top, right, bottom = struct.unpack_from("<4i", head, head.index(mark) + len(mark))
        return right - left + 1, bottom - top + 1

    def _composes(self) -> bool:
        self._comp = self._item.AddFusionComp()
        return bool(self._comp)

    def _add(self, kind: str, name: str) -> Any:
        self._comp.Lock()
        tool = self._comp.AddTool(kind, 3, 5)
        self._comp.Unlock()
        tool.SetAttrs({"TOOLS_Name": name, "TOOLB_NameSet": True})
        return tool

    def _adds_loader(self) -> bool:
        self._loader = self._add("Loader", "Penumbra_smoke")
        return self._comp.FindTool("Penumbra_smoke") is not None

    def _loads(self) -> bool:
        self._loader.SetInput("Clip", str(self._folder / f"layer.{FIRST}.exr"))
        told = self._loader.GetAttrs()
        keys = ("TOOLST_Clip_Name", "TOOLIT_Clip_StartFrame", "TOOLIT_Clip_Length", "TOOLNT_Clip_Start")
        name, *numbers = (next(iter(told[key].values())) for key in keys)
        return str(name).endswith(f"layer.{FIRST}.exr") and [int(n) for n in numbers] == [FIRST, COUNT, 0]

    def _tells_channels(self) -> bool:
        own = {"RedName": "R", "GreenName": "G", "BlueName": "B", "AlphaName": "A", "Part": ""}
        told = {name: self._loader.GetInput(f"Clip1.OpenEXRFormat.{name}") for name in own}
        return all(told[name] in (None, "", channel) for name, channel in own.items())

    def _has_place(self) -> bool:
        return len(self._comp.CurrentFrame.FlowView.GetPosTable(self._loader)) >= 2

    def _takes_expression(self) -> bool:
        merge = self._add("Merge", "Penumbra_smoke_merge")
        merge.Blend.SetExpression("iif(time >= 3 and time <= 4, 1, 0)")
        return "time" in str(merge.Blend.GetExpression())

    def _saves(self) -> bool:
        saver = self._add("Saver", "Penumbra_smoke_saver")
        saver.ConnectInput("Input", self._loader)
        saver.SetInput("Clip", str(self._folder / "saved.0000.exr"))
        saver.SetInput("OutputFormat", "OpenEXRFormat")
        self._comp.Render({"Start": 0, "End": 2, "Tool": saver, "Wait": True})
        return [path.name for path in self._files("saved")] == [f"saved.{n:04d}.exr" for n in range(3)]

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
