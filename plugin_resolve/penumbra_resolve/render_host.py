"""What the engine cannot read by itself, rendered by Resolve to EXR; whatever was set for that is set back."""

from __future__ import annotations

import re
import struct
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

from penumbra.errors import FootageError, JobError
from penumbra_resolve.api import Project, TimelineItem
from penumbra_resolve.sources import ClipFacts, Footage
from penumbra_resolve.timeline_host import Host, HostError, OnTrack, setting, timeline_size

POLL_SECONDS = 0.5
_PRESET = "Penumbra: what was set before"
# Lossless ones only; names as Resolve's list of codecs has them, by what they contain.
_CODECS = ("RGBHalfZIP", "RGBHalf", "RGBFloatZIP", "RGBFloat")
# What Resolve calls a timeline's output -> what OpenColorIO calls it. Of the others, nothing is guessed.
_OUTPUT_SPACES = {
    ("rec.709 gamma 2.4", ""): "g24_rec709",
    ("rec.709 (scene)", ""): "rec709_camera_rec709",
    ("srgb", ""): "srgb_tx",
    ("srgb gamma 2.2", ""): "srgb_tx",
    ("rec.709", "gamma 2.4"): "g24_rec709",
    ("rec.709", "gamma 2.2"): "g22_rec709",
    ("rec.709", "srgb"): "srgb_tx",
    ("rec.709", "linear"): "lin_rec709",
    ("aces ap1", "linear"): "ACEScg",
    ("acescg", ""): "ACEScg",
}


def render_clip(host: Host, clip: OnTrack, folder: Path, name: str, over: ClipFacts, alpha: bool) -> Footage:
    """One track alone, over the time ``over`` and ``clip`` share, as ``folder/name_########.exr``.

    Raises :class:`FootageError` where Resolve does not render all of it; half-made files are removed then.
    """
    first, end = max(clip.facts.start, over.start), min(clip.facts.end, over.end)
    size = timeline_size(host)
    _clear(folder, name)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "SelectAllFrames": False,
        "MarkIn": first,
        "MarkOut": end - 1,
        "TargetDir": str(folder),
        # Resolve puts the underscore there by itself only behind a digit.
        "CustomName": f"{name}_",
        "ExportVideo": True,
        "ExportAudio": False,
        "ExportAlpha": alpha,
        # Left out, it is what the Deliver page was last used for.
        **({"FormatWidth": size[0], "FormatHeight": size[1]} if all(size) else {}),
    }
    try:
        with _kept_settings(host.project), _alone(host, clip.track), _switched_on(clip.item):
            _render(host, {**settings, **({"AlphaMode": 0} if alpha else {})}, name)
        return _rendered(folder, name, first, end - first, size)
    except BaseException:
        _clear(folder, name)
        raise


def rendered_space(host: Host) -> str:
    """The colour space of what Resolve renders, as OpenColorIO names it; raises :class:`JobError` where unknown."""
    managed = setting(host, "colorScienceMode")
    # With ACES the output is the transform's: of that nothing is guessed, and the two others do not apply.
    aces = managed.lower().startswith("aces")
    space = setting(host, "colorAcesODT" if aces else "colorSpaceOutput").strip().lower()
    gamma = "" if aces else setting(host, "colorSpaceOutputGamma").strip().lower()
    apart = setting(host, "separateColorSpaceAndGamma") == "1"
    known = None if aces else _OUTPUT_SPACES.get((space, gamma if apart else ""))
    if known is None or managed == "":
        raise JobError(
            f"This clip must be rendered, and it cannot be told what the project's output {space!r} {gamma!r} is.",
            "Export the clip yourself as EXR with a colour space you know, and open it in the panel.",
        )
    return known


@contextmanager
def _kept_settings(project: Project) -> Iterator[None]:
    """The Deliver page as the user left it, by way of a preset of its own."""
    project.DeleteRenderPreset(_PRESET)
    kept = project.SaveAsNewRenderPreset(_PRESET)
    try:
        yield
    finally:
        if kept:
            project.LoadRenderPreset(_PRESET)
            project.DeleteRenderPreset(_PRESET)


@contextmanager
def _alone(host: Host, track: int) -> Iterator[None]:
    """Only this video track is on meanwhile."""
    tracks = range(1, int(host.timeline.GetTrackCount("video")) + 1)
    before: Dict[int, bool] = {index: bool(host.timeline.GetIsTrackEnabled("video", index)) for index in tracks}
    try:
        for index in tracks:
            host.timeline.SetTrackEnable("video", index, index == track)
        yield
    finally:
        for index, enabled in before.items():
            host.timeline.SetTrackEnable("video", index, enabled)


@contextmanager
def _switched_on(item: TimelineItem) -> Iterator[None]:
    """The clip is on meanwhile: one that is off, as an earlier run leaves it, renders as nothing."""
    off = _is_off(item)
    try:
        if off:
            item.SetClipEnabled(True)
        yield
    finally:
        if off:
            item.SetClipEnabled(False)


def _is_off(item: TimelineItem) -> bool:
    try:
        return item.GetClipEnabled() is False
    except TypeError:  # a version that has no such method; its objects answer to every name
        return False


def _render(host: Host, settings: Dict[str, object], name: str) -> None:
    project = host.project
    codec = _codec(project.GetRenderCodecs("exr") or {})
    accepted = (
        project.SetCurrentRenderFormatAndCodec("exr", codec),
        project.SetCurrentRenderMode(1),
        project.SetRenderSettings(dict(settings)),
    )
    job = project.AddRenderJob() if all(accepted) else ""
    if not job:
        raise HostError(f"Resolve does not take a render job for {name}.", "Open the Deliver page once, and try again.")
    try:
        if not project.StartRendering([job]):
            raise HostError(f"Resolve does not start rendering {name}.", "Wait for what it is rendering now.")
        _wait(lambda: project.GetRenderJobStatus(job), name)
    finally:
        project.DeleteRenderJob(job)


def _codec(codecs: Dict[str, str]) -> str:
    for wanted in _CODECS:
        for found in codecs.values():
            if wanted.lower() in found.lower():
                return found
    raise HostError("This Resolve offers no lossless EXR to render to.", "Export the clip yourself, for the panel.")


def _wait(status: Callable[[], Dict[str, object]], name: str) -> None:
    while True:
        told = status()
        state = str(told.get("JobStatus", ""))
        if state == "Complete":
            return
        if state in ("Failed", "Cancelled"):
            raise FootageError(
                f"Resolve could not render {name}: {told.get('Error') or state}.", "See its Deliver page."
            )
        time.sleep(POLL_SECONDS)


def _rendered(folder: Path, name: str, at: int, count: int, size: Tuple[int, int]) -> Footage:
    """Looks at the files and not at what the call said: Resolve has been known to say yes and write less."""
    files = _files(folder, name)
    numbers = sorted(int(re.sub(r".*_0*(\d+)\.exr\Z", r"\1", path.name)) for path in files)
    if len(files) != count or numbers != list(range(numbers[0], numbers[0] + count)):
        raise FootageError(
            f"Resolve rendered {len(files)} of {count} frames of {name} to {folder}.", "Check the disk, and try again."
        )
    made = display_size(files[0])
    if all(size) and made != size:
        raise FootageError(
            f"Resolve rendered {name} at {made[0]}x{made[1]}; the timeline has {size[0]}x{size[1]}.",
            "Choose the timeline's resolution on the Deliver page, and try again.",
        )
    digits = {len(path.stem) - len(name) - 1 for path in files}
    mark = f"%0{digits.pop()}d" if len(digits) == 1 else "%d"
    return Footage(str(folder / f"{name}_{mark}.exr"), numbers[0], at, count)


def display_size(path: Path) -> Tuple[int, int]:
    """Width and height of an EXR file's display window, read off its header; (0, 0) where there is none."""
    with path.open("rb") as file:
        head = file.read(65536)
    # An attribute is its name, its type and the length of its value.
    mark = b"displayWindow\0box2i\0" + struct.pack("<i", 16)
    at = head.find(mark)
    if at < 0 or len(head) < at + len(mark) + 16:
        return 0, 0
    left, top, right, bottom = struct.unpack_from("<4i", head, at + len(mark))
    return right - left + 1, bottom - top + 1


def _files(folder: Path, name: str) -> List[Path]:
    found = folder.iterdir() if folder.is_dir() else iter(())
    return [path for path in found if re.match(re.escape(name) + r"_\d+\.exr\Z", path.name)]


def _clear(folder: Path, name: str) -> None:
    """Removes the frames of an earlier render, and nothing else."""
    for path in _files(folder, name):
        path.unlink()
