"""The composite as a timeline of OpenTimelineIO: the clean plate and the layers as tracks, for editors."""

from __future__ import annotations

from fractions import Fraction
from urllib.parse import quote

import opentimelineio as otio

from penumbra.layer_graph import BACKGROUND, LayerGraph

# Where neither plate nor user says: film's.
DEFAULT_RATE = Fraction(24)
SEQUENCE = "image_sequence"


def timeline_text(graph: LayerGraph, name: str) -> str:
    """An ``.otio`` file's JSON. File names are relative to it.

    A clip's media is named by its first frame's file, which Resolve finds, and, under the key ``image_sequence``, as a
    sequence, which OpenTimelineIO itself prefers. Times count from the plate's timecode where it has one (so do the
    files, which carry it), else from the first frame's number.
    """
    timeline = otio.schema.Timeline(name)
    start = _media_start(graph)
    if graph.timecode:
        timeline.global_start_time = start
    rows = [tuple(BACKGROUND for _ in graph.spans), *graph.slots]
    for place, occupants in enumerate(rows):
        label = occupants[0] if len(set(occupants)) == 1 else f"place {place}"
        track = otio.schema.Track(label, kind=otio.schema.TrackKind.Video)
        for span, occupant in zip(graph.spans, occupants, strict=True):
            track.append(_clip(graph, occupant, span.first, span.last, start))
        timeline.tracks.append(track)
    timeline.metadata["penumbra"] = {"space": graph.space, "alpha": "premultiplied", "first_frame": graph.first}
    text: str = timeline.to_json_string(indent=1)
    return text + "\n"


def _clip(graph: LayerGraph, name: str, first: int, last: int, start: otio.opentime.RationalTime) -> otio.schema.Clip:
    rate = start.rate
    offset = otio.opentime.RationalTime(first - graph.first, rate)
    cut = otio.opentime.TimeRange(start + offset, otio.opentime.RationalTime(last - first + 1, rate))
    whole = otio.opentime.TimeRange(start, otio.opentime.RationalTime(graph.last - graph.first + 1, rate))
    clip = otio.schema.Clip(name, source_range=cut)
    media = {
        otio.schema.Clip.DEFAULT_MEDIA_KEY: otio.schema.ExternalReference(_first_file(graph, name), whole),
        SEQUENCE: otio.schema.ImageSequenceReference(
            target_url_base=f"{quote(name)}/",
            name_prefix=f"{name}.",
            name_suffix=".exr",
            start_frame=graph.first,
            frame_step=1,
            rate=rate,
            frame_zero_padding=graph.padding,
            available_range=whole,
        ),
    }
    clip.set_media_references(media, otio.schema.Clip.DEFAULT_MEDIA_KEY)
    return clip


def _first_file(graph: LayerGraph, name: str) -> str:
    return quote(graph.pattern(name) % graph.first)


def _media_start(graph: LayerGraph) -> otio.opentime.RationalTime:
    rate = float(Fraction(graph.fps) if graph.fps else DEFAULT_RATE)
    if graph.timecode:
        try:
            return otio.opentime.from_timecode(graph.timecode, rate)
        except ValueError:
            # Drop-frame at a rate that drops none, or a rate no timecode knows: its digits still count frames.
            return otio.opentime.RationalTime(_counted(graph.timecode, round(rate)), rate)
    return otio.opentime.RationalTime(graph.first, rate)


def _counted(timecode: str, rate: int) -> int:
    hours, minutes, seconds, frames = (int(part) for part in timecode.replace(";", ":").split(":"))
    return ((hours * 60 + minutes) * 60 + seconds) * rate + frames
