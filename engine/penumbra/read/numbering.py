"""Which frame of a mask or clean plate belongs to which frame of the plate."""

from __future__ import annotations

from dataclasses import dataclass

from penumbra.frames import Footage
from penumbra.read.sequences import FileClip, compact_ranges

# Entries of Footage.metadata that say what the plate is on disk.
FRAMES_ON_DISK = "penumbra/frames_on_disk"
KIND = "penumbra/kind"


@dataclass(frozen=True)
class Numbering:
    """``source``: plate frame -> the clip's own, for the plate's frames that have one; ``missing``: the others."""

    source: dict[int, int]
    missing: tuple[int, ...]
    warnings: tuple[str, ...] = ()


def match_frames(clip: FileClip, own: tuple[int, ...], plate: Footage, offset: int | None, what: str) -> Numbering:
    """Matches the clip's own frame numbers to the plate's.

    An ``offset`` given is added to the clip's numbers. A lone still serves every frame. Otherwise the same numbers mean
    the same frames if the two share any; else the clip's first frame goes on the plate's first on disk, whatever range
    of it is used. A movie has no numbers of its own: against a sequence it always goes first on first, and so does a
    sequence of as many frames against a movie.
    """
    if clip.still and offset is None:
        return Numbering(dict.fromkeys(plate.frames, own[0]), ())
    disk = _frames_on_disk(plate)
    shift, warnings = (offset, ()) if offset is not None else _find_shift(clip, own, disk, plate, what)
    there = set(own)
    source = {number: number - shift for number in plate.frames if number - shift in there}
    missing = tuple(number for number in plate.frames if number not in source)
    if missing and len(missing) < len(plate.frames):
        warnings += (f"{what} has no frames {compact_ranges(missing)}; they are treated as empty.",)
    elif missing:
        warnings += (f"{what} has none of the plate's frames {compact_ranges(plate.frames)}.",)
    return Numbering(source, missing, warnings)


def _find_shift(
    clip: FileClip, own: tuple[int, ...], disk: range, plate: Footage, what: str
) -> tuple[int, tuple[str, ...]]:
    plate_is_movie = plate.metadata.get(KIND) == "movie"
    movie_on_sequence = clip.movie is not None and not plate_is_movie
    as_many_on_movie = clip.movie is None and plate_is_movie and len(own) == len(disk)
    shift = disk[0] - own[0]
    shared = any(number in disk for number in own)
    if shift == 0 or not (movie_on_sequence or as_many_on_movie or not shared):
        return 0, ()
    sentence = f"{what} is numbered {own[0]}-{own[-1]} and the plate {disk[0]}-{disk[-1]}: first is put on first."
    return shift, (f"{sentence} Say otherwise with --offset, or offset in a job file.",)


def _frames_on_disk(plate: Footage) -> range:
    """The plate's whole range, which is more than ``frames`` when a part of it is asked for."""
    span = plate.metadata.get(FRAMES_ON_DISK, f"{plate.frames[0]}:{plate.frames[-1]}")
    first, last = (int(text) for text in span.split(":"))
    return range(first, last + 1)
