"""Finished layers in a bin, and on new tracks above the clip they came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from penumbra.layer_graph import BACKGROUND, LayerGraph
from penumbra_resolve.api import Folder, MediaPool, MediaPoolItem, TimelineItem
from penumbra_resolve.sources import Footage, Framing, rate_of
from penumbra_resolve.timeline_host import LAYER_TRACK, Host, HostError, OnTrack

BIN = "Penumbra"


@dataclass(frozen=True)
class Placed:
    """What was made: the tracks, lowest first; whether the clip was switched off, and its framing given to all."""

    tracks: Tuple[int, ...]
    clip_off: bool
    framed: bool


def import_layers(host: Host, graph: LayerGraph, folder: Path, shot: str) -> Tuple[str, Dict[str, MediaPoolItem]]:
    """Imports the clean plate and every layer into a new bin; its name, and the clips by name.

    Raises :class:`HostError` where Resolve takes one of them for something else; the bin stays, to be looked at.
    """
    pool = host.project.GetMediaPool()
    before = pool.GetCurrentFolder()
    bin_ = _new_bin(pool, shot)
    try:
        # Media goes to the current bin and nowhere else.
        pool.SetCurrentFolder(bin_)
        rate = rate_of(host.timeline.GetSetting("timelineFrameRate"))
        clips = {name: _imported(pool, graph, folder, name, rate) for name in (BACKGROUND, *graph.names)}
    finally:
        pool.SetCurrentFolder(before)
    return bin_.GetName(), clips


def place_layers(
    host: Host,
    graph: LayerGraph,
    clips: Dict[str, MediaPoolItem],
    clip: OnTrack,
    plate: Footage,
    framing: Framing = (),
) -> Placed:
    """Every layer on a new track, back to front above the clean plate, at the clip's own frames and with the
    ``framing`` given; the clip is switched off, not removed.

    Where the order changes along the clip, a track is a place in it. Raises :class:`HostError`, after taking the new
    tracks away again, where Resolve places less than all.
    """
    rows: List[Tuple[str, ...]] = [tuple(BACKGROUND for _ in graph.spans), *graph.slots]
    count = int(host.timeline.GetTrackCount("video"))
    tracks = tuple(range(count + 1, count + 1 + len(rows)))
    made: List[TimelineItem] = []
    try:
        for track, occupants in zip(tracks, rows):
            made += _fill_track(host, graph, clips, occupants, track, clip, plate)
    except HostError:
        for track in reversed(tracks):
            if track <= int(host.timeline.GetTrackCount("video")):
                host.timeline.DeleteTrack("video", track)
        raise
    framed = [bool(item.SetProperty(name, value)) for item in made for name, value in framing]
    return Placed(tracks, _switch_off(clip), all(framed))


def _fill_track(
    host: Host,
    graph: LayerGraph,
    clips: Dict[str, MediaPoolItem],
    occupants: Tuple[str, ...],
    track: int,
    clip: OnTrack,
    plate: Footage,
) -> List[TimelineItem]:
    if not host.timeline.AddTrack("video") or int(host.timeline.GetTrackCount("video")) != track:
        raise HostError("Resolve adds no video track.", "Unlock the timeline, and run the script again.")
    same = len(set(occupants)) == 1
    host.timeline.SetTrackName("video", track, f"{LAYER_TRACK}{occupants[0] if same else f'place {track}'}")
    spans = [(graph.first, graph.last, occupants[0])] if same else _spans(graph, occupants)
    items: List[TimelineItem] = []
    for first, last, name in spans:
        entry = {
            "mediaPoolItem": clips[name],
            "startFrame": first - graph.first,
            # Not included (HOSTS 2.4).
            "endFrame": last - graph.first + 1,
            "mediaType": 1,
            "trackIndex": track,
            "recordFrame": clip.facts.start + first - plate.first,
        }
        made = host.project.GetMediaPool().AppendToTimeline([entry]) or []
        if len(made) != 1 or made[0] is None or int(made[0].GetStart()) != entry["recordFrame"]:
            raise HostError(
                f"Resolve does not place {name} on video track {track}.",
                "The layers are in their bin: put them above the clip by hand, back to front.",
            )
        items += made
    return items


def _spans(graph: LayerGraph, occupants: Tuple[str, ...]) -> List[Tuple[int, int, str]]:
    return [(span.first, span.last, name) for span, name in zip(graph.spans, occupants)]


def _new_bin(pool: MediaPool, shot: str) -> Folder:
    """``Penumbra/SHOT``, or with a number where that is taken: what is in a bin already stays as it is."""
    root = pool.GetRootFolder()
    ours = _sub_folder(root, BIN) or pool.AddSubFolder(root, BIN)
    number, name = 1, shot
    while ours is not None and _sub_folder(ours, name) is not None:
        number += 1
        name = f"{shot} {number}"
    made = pool.AddSubFolder(ours, name) if ours is not None else None
    if made is None:
        raise HostError(f"Resolve makes no bin {name!r}.", "Check that the project can be changed.")
    return made


def _sub_folder(folder: Folder, name: str) -> Optional[Folder]:
    return next((found for found in folder.GetSubFolderList() or [] if found.GetName() == name), None)


def _imported(pool: MediaPool, graph: LayerGraph, folder: Path, name: str, rate: float) -> MediaPoolItem:
    pattern = str(folder / graph.pattern(name))
    made = pool.ImportMedia([{"FilePath": pattern, "StartIndex": graph.first, "EndIndex": graph.last}]) or []
    if len(made) != 1:
        raise HostError(
            f"Resolve imports {pattern} as {len(made)} clips.",
            "Switch off Show Individual Frames in the Media Pool's menu, and run the script again.",
        )
    clip = made[0]
    frames = str(clip.GetClipProperty("Frames"))
    if frames != str(graph.last - graph.first + 1):
        raise HostError(f"Resolve sees {frames} frames in {pattern}, not those from {graph.first} to {graph.last}.")
    clip.SetName(name)
    # A sequence's rate comes from the project as it is imported, whatever the files say (HOSTS 2.4); a layer's frames
    # are the timeline's, one for one.
    clip.SetClipProperty("FPS", f"{rate:g}")
    if name != BACKGROUND:
        clip.SetClipProperty("Alpha mode", "Premultiplied")
    return clip


def _switch_off(clip: OnTrack) -> bool:
    try:
        return bool(clip.item.SetClipEnabled(False))
    except TypeError:  # a version that has no such method; its objects answer to every name
        return False
