"""From a clip on a timeline to the files and frames the engine reads; knows nothing of Resolve's objects.

A sequence's frames have the numbers of its files; a movie's count from 1, as the engine counts them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Tuple

# What the engine reads by itself, to the pixels that are in the file; camera raw and the like Resolve must render.
SEQUENCE_SUFFIXES = (".exr", ".dpx", ".png", ".tif", ".tiff", ".jpg", ".jpeg")
MOVIE_SUFFIXES = (".mov", ".mp4", ".mxf", ".mkv", ".m4v", ".webm", ".avi")
# Resolve's own account of source frames is known to be one off at either end (HOSTS 2.4): it shows no small changes.
_SOURCE_SLACK = 2
_RATE_SLACK = 0.01
_ASPECT_SLACK = 0.01
# Where a clip's picture lies on the timeline, as the Inspector has it; at rest each is this.
FRAMING = {
    **dict.fromkeys(("ZoomX", "ZoomY"), 1.0),
    **dict.fromkeys(
        ("Pan", "Tilt", "RotationAngle", "AnchorPointX", "AnchorPointY", "Pitch", "Yaw", "Distortion"), 0.0
    ),
    **dict.fromkeys(("CropLeft", "CropRight", "CropTop", "CropBottom", "CropSoftness"), 0.0),
    **dict.fromkeys(("FlipX", "FlipY", "CropRetain", "Scaling"), 0.0),
}

Framing = Tuple[Tuple[str, Any], ...]


@dataclass(frozen=True)
class ClipFacts:
    """A clip on a timeline as Resolve tells of it.

    ``path``: ``File Path`` of its media, empty where there is none. ``start``: its first frame on the timeline;
    ``duration`` in frames, ``left_offset`` and ``right_offset``: by how many it could be longer; ``source_span`` frames
    of media between its ends; ``media_frames``: all there are, 0 where unknown; ``rate`` and ``timeline_rate`` as
    Resolve spells them; ``effects``: Fusion compositions on it. ``size`` and ``timeline_size``: width and height in
    pixels, (0, 0) where unknown; ``framing``: what of :data:`FRAMING` is not at rest.
    """

    name: str
    path: str
    start: int
    duration: int
    left_offset: int
    right_offset: int
    source_span: int
    media_frames: int
    rate: str
    timeline_rate: str
    effects: int = 0
    size: Tuple[int, int] = (0, 0)
    timeline_size: Tuple[int, int] = (0, 0)
    framing: Framing = ()

    @property
    def end(self) -> int:
        """The frame after its last."""
        return self.start + self.duration

    @property
    def whole_length(self) -> int:
        """Frames of the clip stretched to all of its media: at its own speed, and no other, as many as that has."""
        return self.left_offset + self.duration + self.right_offset


@dataclass(frozen=True)
class Footage:
    """Files for the engine. ``first``: the number of the frame that stands at timeline frame ``at``."""

    path: str
    first: int
    at: int
    count: int

    @property
    def last(self) -> int:
        """The number of the last frame."""
        return self.first + self.count - 1

    def offset_to(self, plate: Footage) -> int:
        """What a mask's frame numbers need added to be the plate's, both as they stand on the timeline."""
        return (plate.first - plate.at) - (self.first - self.at)


Found = Tuple[Optional[Footage], str]
"""A clip's own files, or None and why Resolve must render them."""


def footage_of(clip: ClipFacts) -> Found:
    """The clip's own files, or None and the reason why Resolve must render them."""
    if not clip.path:
        return None, "it has no media file"
    parsed = parse_media_path(clip.path)
    if parsed is None:
        return None, f"{clip.path} is of a kind only Resolve reads"
    if clip.effects:
        return None, "it has a Fusion composition"
    if abs(rate_of(clip.rate) - rate_of(clip.timeline_rate)) > _RATE_SLACK:
        return None, f"its media has {clip.rate} frames per second, the timeline {clip.timeline_rate}"
    if abs(clip.source_span - clip.duration) > _SOURCE_SLACK:
        return None, "its speed was changed"
    if clip.whole_length != clip.media_frames:
        return None, f"its speed was changed: all of it would be {clip.whole_length} frames, not {clip.media_frames}"
    pattern, first = parsed
    return Footage(pattern, first + clip.left_offset, clip.start, clip.duration), ""


def mask_footage_of(mask: ClipFacts, plate: ClipFacts) -> Found:
    """As :func:`footage_of`; a second copy of the plate is no mask as a file: its matte is of Resolve's making."""
    if mask.path and mask.path == plate.path:
        return None, "it is the plate's own file, with a matte that only Resolve knows"
    if mask.framing != plate.framing:
        return None, "it is framed otherwise than the clip"
    return footage_of(mask)


def all_footage_of(
    plate: ClipFacts, masks: Sequence[ClipFacts], clean: Optional[ClipFacts] = None
) -> Tuple[Found, Tuple[Found, ...], Optional[Found]]:
    """The files of the plate, of every mask and of a clean plate, or why Resolve must render them, so that all of them
    are one picture: what Resolve renders is the timeline's, a file's may be another; and it is graded, a file is not.
    """
    own, mattes = footage_of(plate), tuple(mask_footage_of(mask, plate) for mask in masks)
    ground = None if clean is None else _clean_footage_of(clean, plate)
    if ground is not None and (own[0] is None) != (ground[0] is None):
        own, ground = _rendered(own, _GRADED), _rendered(ground, _GRADED)
    found = (own, *mattes, *(() if ground is None else (ground,)))
    if all(footage is not None for footage, _ in found) or fills_timeline(plate):
        return own, mattes, ground
    mattes = tuple(_rendered(matte, _FRAMED) for matte in mattes)
    return _rendered(own, _FRAMED), mattes, None if ground is None else _rendered(ground, _FRAMED)


_GRADED = "so that plate and clean plate have one colour"
_FRAMED = "so that it is framed as what must be rendered"


def _clean_footage_of(clean: ClipFacts, plate: ClipFacts) -> Found:
    if clean.framing != plate.framing:
        return None, "it is framed otherwise than the clip"
    return footage_of(clean)


def _rendered(found: Found, why: str) -> Found:
    return None, found[1] or why


def fills_timeline(clip: ClipFacts) -> bool:
    """Whether the clip's own picture is the timeline's, but for its size; taken for so where sizes are unknown."""
    if clip.framing:
        return False
    (width, height), (whole_width, whole_height) = clip.size, clip.timeline_size
    if not (width and height and whole_width and whole_height):
        return True
    return abs(width * whole_height / (height * whole_width) - 1) <= _ASPECT_SLACK


def framing_of(properties: Mapping[str, Any]) -> Framing:
    """What of an item's properties is not at rest, with the values Resolve gave them."""
    told = ((name, properties.get(name), rest) for name, rest in FRAMING.items())
    return tuple((name, value) for name, value, rest in told if _number(value, rest) != rest)


def size_of(text: str) -> Tuple[int, int]:
    """``1920x1080`` as two numbers; (0, 0) where there are none."""
    found = re.match(r"\s*(\d+)\s*[xX]\s*(\d+)", str(text))
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def _number(value: Any, rest: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return rest


def parse_media_path(path: str) -> Optional[Tuple[str, int]]:
    """``plate.[1001-1100].exr`` as ``plate.%04d.exr`` and 1001; a movie as itself and 1; None for anything else."""
    suffix = path[path.rfind(".") :].lower() if "." in path else ""
    found = re.search(r"\[(\d+)-(\d+)\](?=[^\[\]/\\]*\Z)", path)
    if found and suffix in SEQUENCE_SUFFIXES:
        digits = found.group(1)
        # Of a range such as [998-1003] the shorter number was never padded.
        padded = len(digits) if len(digits) == len(found.group(2)) else 0
        mark = f"%0{padded}d" if padded else "%d"
        return path[: found.start()] + mark + path[found.end() :], int(digits)
    return (path, 1) if suffix in MOVIE_SUFFIXES else None


def rate_of(text: str) -> float:
    """``23.976``, ``29.97 DF``, ``25.0`` as a number; 0 where there is none."""
    found = re.match(r"\s*(\d+(?:\.\d+)?)", str(text))
    return float(found.group(1)) if found else 0.0


def object_name(track: str) -> Optional[str]:
    """The object whose mask a track, or a tool, holds: ``Mask: red car`` is ``red_car``; None where it is no mask."""
    found = re.match(r"\s*mask(?:[\s:_-]+(.*))?\Z", track, re.IGNORECASE)
    if not found or not found.group(1):
        return None
    # A name nothing is left of is kept, for the job to refuse with a suggestion.
    return re.sub(r"[^A-Za-z0-9_]+", "_", found.group(1)).strip("_") or found.group(1)


def is_clean_plate(name: str) -> bool:
    """Whether a track, or a tool, so called holds the user's own clean plate: ``Clean plate``, ``clean_plate``."""
    return bool(re.match(r"\s*clean[\s_-]*plate\d*\s*\Z", name, re.IGNORECASE))


def shot_name(clip: str, first: int, last: int) -> str:
    """A folder's name for a stretch of a clip, the same whenever it is asked for again."""
    plain = re.sub(r"\[\d+-\d+\]", "", clip.rsplit(".", 1)[0])
    # \w keeps letters of every alphabet; folders and bins take them.
    return f"{re.sub(r'[^' + chr(92) + 'w-]+', '_', plain).strip('_') or 'clip'}_{first}-{last}"
