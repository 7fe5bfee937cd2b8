"""What a few dropped paths mean."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from penumbra_gui.models.outputs import is_output

_MASK_WORDS = re.compile(r"mask|matte|roto|alpha|holdout", re.IGNORECASE)


@dataclass(frozen=True)
class Dropped:
    """At most one job file, output folder and plate; the rest are masks."""

    job: str = ""
    output: str = ""
    plate: str = ""
    masks: tuple[str, ...] = ()


def sort_dropped(paths: Iterable[str], has_plate: bool) -> Dropped:
    """The files of one sequence count once. The first clip that is not named like a mask is the plate if there is none.

    With a plate already there a clip is a mask, and the plate is changed through the menu or its own field.
    """
    chosen = [Path(path) for path in _one_per_sequence(paths)]
    for path in chosen:
        if path.is_dir() and is_output(path):
            return Dropped(output=str(path))
        if path.name == "manifest.json":
            return Dropped(output=str(path.parent))
        if path.suffix.lower() == ".json":
            return Dropped(job=str(path))
        if path.is_dir() and (path / "job.json").is_file():
            return Dropped(job=str(path / "job.json"))
    clips = [str(path) for path in chosen]
    if has_plate:
        return Dropped(masks=tuple(clips))
    plate = next((clip for clip in clips if not _MASK_WORDS.search(Path(clip).name)), clips[0] if clips else "")
    return Dropped(plate=plate, masks=tuple(clip for clip in clips if clip != plate))


def _one_per_sequence(paths: Iterable[str]) -> list[str]:
    seen: dict[tuple[str, str], str] = {}
    for path in paths:
        where = Path(path)
        pattern = re.sub(r"\d+(?=\D*$)", "#", where.name) if where.is_file() else where.name
        seen.setdefault((str(where.parent), pattern), path)
    return list(seen.values())
