"""The clip under the playhead and its masks, as facts and as files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, List, Optional, Tuple

from penumbra.errors import JobError, PenumbraError
from penumbra_resolve.api import Project, Resolve, Timeline, TimelineItem
from penumbra_resolve.sources import ClipFacts, object_name


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
    clips = list(_clips(host))
    found = next((clip for clip in clips if clip.item.GetUniqueId() == wanted), None)
    if found is None:
        raise HostError(f"{item.GetName()!r} lies on no video track.", "Put the playhead on the clip itself.")
    return _below(host, clips, found) if _mask_of(host, found) else found


def _below(host: Host, clips: List[OnTrack], mask: OnTrack) -> OnTrack:
    """The one clip a mask lies over, where the playhead is on the mask."""
    below = [clip for clip in clips if clip.track < mask.track and not _mask_of(host, clip) and _meet(clip, mask)]
    if len(below) != 1:
        raise JobError(
            f"The playhead is on the mask {mask.facts.name!r}, which lies over {len(below)} clips.",
            "Switch the mask's track off while the script starts.",
        )
    return below[0]


def _mask_of(host: Host, clip: OnTrack) -> Optional[str]:
    return object_name(host.timeline.GetTrackName("video", clip.track) or "")


def _meet(one: OnTrack, other: OnTrack) -> bool:
    return one.facts.start < other.facts.end and one.facts.end > other.facts.start


def mask_clips(host: Host, plate: OnTrack) -> List[Tuple[str, OnTrack]]:
    """Object and clip for every track called ``Mask NAME`` with a clip over the plate's time, lowest track first."""
    found = []
    for clip in _clips(host):
        name = _mask_of(host, clip)
        if name and _meet(clip, plate):
            found.append((name, clip))
    names = [name for name, _ in found]
    for name in names:
        if names.count(name) > 1:
            raise JobError(f"The mask track of {name!r} has several clips over this one.", "Make one clip of them.")
    return found


def _clips(host: Host) -> Iterator[OnTrack]:
    rate = str(host.timeline.GetSetting("timelineFrameRate"))
    for track in range(1, int(host.timeline.GetTrackCount("video")) + 1):
        for item in host.timeline.GetItemListInTrack("video", track) or []:
            yield OnTrack(item, track, _facts(item, rate))


def _facts(item: TimelineItem, timeline_rate: str) -> ClipFacts:
    media = item.GetMediaPoolItem()
    # Left offset is exact where Resolve's own source frames can be one off (HOSTS 2.4); the end is not included.
    return ClipFacts(
        name=item.GetName(),
        path=str((media.GetClipProperty("File Path") if media is not None else "") or ""),
        start=int(item.GetStart()),
        duration=int(item.GetEnd()) - int(item.GetStart()),
        left_offset=int(item.GetLeftOffset()),
        source_span=int(item.GetSourceEndFrame()) - int(item.GetSourceStartFrame()),
        rate=str(media.GetClipProperty("FPS") if media is not None else timeline_rate),
        timeline_rate=timeline_rate,
        effects=int(item.GetFusionCompCount()),
    )
