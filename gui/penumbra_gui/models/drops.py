"""What a few dropped paths mean."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from penumbra_gui.models.clips import clip_of
from penumbra_gui.models.outputs import has_begun, is_output

# What stands beside a clip, and is none.
_NO_FOOTAGE = frozenset((".txt", ".json", ".xml", ".csv", ".log", ".md", ".nk", ".setting", ".otio", ".lua", ".db", ""))
_MASK_WORDS = re.compile(r"mask|matte|roto|alpha|holdout", re.IGNORECASE)


@dataclass(frozen=True)
class Dropped:
    """At most one job file, output folder and plate; the rest are masks."""

    job: str = ""
    output: str = ""
    plate: str = ""
    masks: tuple[str, ...] = ()


def sort_dropped(paths: Iterable[str], has_plate: bool) -> Dropped:
    """The files of one sequence count once, a folder of several clips as these. The first clip that is not named like
    a mask is the plate if there is none.

    With a plate already there a clip is a mask, and the plate is changed through the menu or its own field.
    """
    chosen = [Path(path) for path in _one_per_sequence(paths)]
    for path in chosen:
        if path.is_dir() and (is_output(path) or has_begun(path)):
            return Dropped(output=str(path))
        if path.name == "manifest.json":
            return Dropped(output=str(path.parent))
        if path.suffix.lower() == ".json":
            return Dropped(job=str(path))
        if path.is_dir() and (path / "job.json").is_file():
            return Dropped(job=str(path / "job.json"))
    clips = [clip for path in chosen for clip in _clips_in(path)]
    if has_plate:
        return Dropped(masks=tuple(clips))
    plate = next((clip for clip in clips if not _named_like_a_mask(clip)), clips[0] if clips else "")
    return Dropped(plate=plate, masks=tuple(clip for clip in clips if clip != plate))


def _named_like_a_mask(clip: str) -> bool:
    where = Path(clip)
    return bool(_MASK_WORDS.search(where.name) or (where.suffix and _MASK_WORDS.search(where.parent.name)))


def _clips_in(path: Path) -> list[str]:
    """The path itself, or what lies in a folder of several clips: files side by side, or a folder for each."""
    if not path.is_dir():
        return [str(path)]
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    footage = [entry for entry in entries if entry.suffix.lower() not in _NO_FOOTAGE and entry.is_file()]
    files = _one_per_sequence(str(entry) for entry in footage)
    folders = [str(entry) for entry in entries if entry.is_dir()]
    inside = files if len(files) > 1 else folders if not files and len(folders) > 1 else []
    return inside or [str(path)]


def _one_per_sequence(paths: Iterable[str]) -> list[str]:
    seen: dict[tuple[str, str], str] = {}
    for path in paths:
        seen.setdefault(clip_of(path), path)
    return list(seen.values())
