"""The clip under the playhead and its masks, as facts and as files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, List, Mapping, Optional, Tuple

from penumbra.errors import JobError, PenumbraError
from penumbra_resolve.api import Project, Resolve, Timeline, TimelineItem
from penumbra_resolve.sources import ClipFacts, framing_of, is_clean_plate, object_name, size_of

# What the names of the tracks that hold layers begin with.
LAYER_TRACK = "Penumbra "


class HostError(PenumbraError):
    """Resolve refused something, or lacks what is needed."""

    code = "host"
    exit_code = 2


@dataclass(frozen=True)
class Host:
    """An open project with its timeline."""

    resolve: Resolve
    project: Project
    timeline: Timeline

    def lives(self) -> bool:
        """Whether Resolve still answers: on Windows a script can outlive it (HOSTS 2.3)."""
        try:
            return bool(self.resolve.GetProductName())
        except Exception:  # noqa: BLE001 # whatever a connection that broke raises
            return False


@dataclass(frozen=True)
class OnTrack:
    """A clip, the track it lies on, and what Resolve tells of it."""

    item: TimelineItem
    track: int
    facts: ClipFacts


def connect(resolve: Optional[Resolve]) -> Host:
    """What is open in Resolve; raises :class:`HostError` where something is missing."""
    manager = resolve.GetProjectManager() if resolve is not None else None
    project = manager.GetCurrentProject() if manager is not None else None
    if resolve is None or project is None:
        raise HostError("No project is open in Resolve.", "Open one, and run the script from Workspace, Scripts.")
    timeline = project.GetCurrentTimeline()
    if timeline is None:
        raise HostError("No timeline is open.", "Open the timeline with the clip on the Edit page.")
    return Host(resolve, project, timeline)


def current_clip(host: Host) -> OnTrack:
    """The clip under the playhead; raises :class:`JobError` where there is none."""
    item = host.timeline.GetCurrentVideoItem()
    if item is None:
        raise JobError("There is no clip under the playhead.", "Put the playhead on the clip, on the Edit page.")
    wanted = item.GetUniqueId()
    track = next((track for track, other in _items(host) if other.GetUniqueId() == wanted), None)
    if track is None:
        raise HostError(f"{item.GetName()!r} lies on no video track.", "Put the playhead on the clip itself.")
    found = _on_track(host, track, item)
    if _is_layer(host, track):
        found = _under_layers(host, found)
    return _below(host, found) if _helps(host, found.track) else found


def _under_layers(host: Host, layer: OnTrack) -> OnTrack:
    """What would be under the playhead without the layers of an earlier run, one of which is."""
    first, end = layer.facts.start, layer.facts.end
    under = [
        (track, item)
        for track, item in _items(host)
        if not _is_layer(host, track)
        and host.timeline.GetIsTrackEnabled("video", track)
        and item.GetStart() <= first
        and item.GetEnd() >= end
    ]
    if not under:
        raise JobError(
            f"The playhead is on {layer.facts.name!r}, a layer of an earlier run, and no clip lies there.",
            "Put the playhead on the clip itself, and switch its track on.",
        )
    return _on_track(host, *under[-1])


def _below(host: Host, mask: OnTrack) -> OnTrack:
    """The one clip a mask, or a clean plate, lies over, where the playhead is on that."""
    below = [
        _on_track(host, track, item)
        for track, item in _items(host)
        if track < mask.track and not _helps(host, track) and not _is_layer(host, track) and _meet(item, mask)
    ]
    if len(below) != 1:
        raise JobError(
            f"The playhead is on {mask.facts.name!r}, a mask or a clean plate, which lies over {len(below)} clips.",
            "Switch its track off while the script starts.",
        )
    return below[0]


def _mask_of(host: Host, track: int) -> Optional[str]:
    return object_name(host.timeline.GetTrackName("video", track) or "")


def _helps(host: Host, track: int) -> bool:
    return bool(_mask_of(host, track)) or is_clean_plate(host.timeline.GetTrackName("video", track) or "")


def _is_layer(host: Host, track: int) -> bool:
    """Whether a track is one that the import made."""
    return (host.timeline.GetTrackName("video", track) or "").startswith(LAYER_TRACK)


def _meet(item: TimelineItem, clip: OnTrack) -> bool:
    return item.GetStart() < clip.facts.end and item.GetEnd() > clip.facts.start


def mask_clips(host: Host, plate: OnTrack) -> List[Tuple[str, OnTrack]]:
    """Object and clip for every track called ``Mask NAME`` with a clip over the plate's time, lowest track first."""
    found = []
    for track, item in _items(host):
        name = _mask_of(host, track)
        if name and _meet(item, plate):
            found.append((name, _on_track(host, track, item)))
    names = [name for name, _ in found]
    for name in names:
        if names.count(name) > 1:
            raise JobError(f"The mask track of {name!r} has several clips over this one.", "Make one clip of them.")
    return found


def clean_clip(host: Host, plate: OnTrack) -> Optional[OnTrack]:
    """The clip on the track called ``Clean plate`` over the plate's time; None where there is none.

    Raises :class:`JobError` where there are several, or it does not reach over all of the plate.
    """
    found = [
        _on_track(host, track, item)
        for track, item in _items(host)
        if is_clean_plate(host.timeline.GetTrackName("video", track) or "") and _meet(item, plate)
    ]
    if not found:
        return None
    if len(found) > 1 or found[0].facts.start > plate.facts.start or found[0].facts.end < plate.facts.end:
        raise JobError("The clean plate is not one clip over all of this one.", "Make it as long as the clip.")
    return found[0]


def timeline_size(host: Host) -> Tuple[int, int]:
    """Width and height of the timeline's picture; (0, 0) where Resolve does not tell."""
    return size_of(f"{setting(host, 'timelineResolutionWidth')}x{setting(host, 'timelineResolutionHeight')}")


def setting(host: Host, name: str) -> str:
    """A setting of the timeline's own, or, where it has none, the project's."""
    return str(host.timeline.GetSetting(name) or host.project.GetSetting(name) or "")


def _items(host: Host) -> Iterator[Tuple[int, TimelineItem]]:
    """Every clip with its track. Of a long timeline no more is asked than must be: each question takes milliseconds."""
    for track in range(1, int(host.timeline.GetTrackCount("video")) + 1):
        for item in host.timeline.GetItemListInTrack("video", track) or []:
            yield track, item


def _on_track(host: Host, track: int, item: TimelineItem) -> OnTrack:
    rate = str(host.timeline.GetSetting("timelineFrameRate"))
    return OnTrack(item, track, _facts(item, rate, timeline_size(host)))


def _facts(item: TimelineItem, timeline_rate: str, whole: Tuple[int, int]) -> ClipFacts:
    media = item.GetMediaPoolItem()
    # Left offset is exact where Resolve's own source frames can be one off (HOSTS 2.4); the end is not included.
    return ClipFacts(
        name=item.GetName(),
        path=str((media.GetClipProperty("File Path") if media is not None else "") or ""),
        start=int(item.GetStart()),
        duration=int(item.GetEnd()) - int(item.GetStart()),
        left_offset=int(item.GetLeftOffset()),
        right_offset=int(item.GetRightOffset()),
        source_span=int(item.GetSourceEndFrame()) - int(item.GetSourceStartFrame()),
        media_frames=_whole(media.GetClipProperty("Frames") if media is not None else ""),
        rate=str(media.GetClipProperty("FPS") if media is not None else timeline_rate),
        timeline_rate=timeline_rate,
        effects=int(item.GetFusionCompCount()),
        size=size_of(media.GetClipProperty("Resolution") if media is not None else ""),
        timeline_size=whole,
        framing=framing_of(_properties(item)),
    )


def _whole(text: Any) -> int:
    return int(str(text)) if str(text).isdecimal() else 0


def _properties(item: TimelineItem) -> Mapping[str, Any]:
    told = item.GetProperty()
    return told if isinstance(told, dict) else {}
