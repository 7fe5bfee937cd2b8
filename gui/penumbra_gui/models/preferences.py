"""What the panel remembers from one day to the next."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from penumbra.job import COMPRESSIONS, PRECISIONS, RefineSettings
from penumbra.storage import read_text
from penumbra_gui.models.job_queue import save_text
from penumbra_gui.models.project import Project

MOST_RECENT = 10
LEAST_CACHE_MIB, MOST_CACHE_MIB = 256, 65536


@dataclass(frozen=True)
class Preferences:
    """``engine``: the Python the engine is installed in, empty to find it; ``geometry``, ``layout``: Qt's, base64;
    ``directory``: where files were chosen last; ``minutes`` of refinement, and how layers are written, for a new clip.
    """

    engine: str = ""
    cache_mib: int = 1024
    language: str = ""
    started_before: bool = False
    recent: tuple[str, ...] = ()
    geometry: str = ""
    layout: str = ""
    directory: str = ""
    log: bool = False
    loop: bool = True
    minutes: float = 5.0
    precision: str = "half"
    compression: str = "zips"
    previews: bool = True
    splits: bool = False

    def new_project(self) -> Project:
        """What a clip begins with."""
        refine = RefineSettings(minutes=self.minutes) if 0 < self.minutes < math.inf else RefineSettings()
        return Project(
            refine=refine,
            precision=self.precision if self.precision in PRECISIONS else "half",
            compression=self.compression if self.compression in COMPRESSIONS else "zips",
            previews=self.previews,
            splits=self.splits,
        )

    def with_usual(self, project: Project) -> Preferences:
        """The settings of ``project`` for the next one; a count of steps is a matter of one shot."""
        minutes = 0.0 if project.refine.off else project.refine.minutes or self.minutes
        return replace(
            self, minutes=minutes, precision=project.precision, compression=project.compression,
            previews=project.previews, splits=project.splits,
        )  # fmt: skip

    def with_recent(self, path: str) -> Preferences:
        """``path`` as the one last used."""
        others = tuple(known for known in self.recent if known != path)
        return replace(self, recent=(path, *others)[:MOST_RECENT])


def load_preferences(path: Path) -> Preferences:
    """What was saved; usual values in place of what is missing or makes no sense."""
    try:
        data: Any = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return Preferences()
    usual = Preferences()
    if not isinstance(data, dict):
        return usual
    known = {field.name: getattr(usual, field.name) for field in fields(Preferences)}
    known.pop("recent")
    kept = {name: data[name] for name, value in known.items() if type(data.get(name)) is type(value)}
    recent = data.get("recent")
    texts = tuple(text for text in recent if isinstance(text, str)) if isinstance(recent, list) else ()
    cache = min(max(int(kept.get("cache_mib", usual.cache_mib)), LEAST_CACHE_MIB), MOST_CACHE_MIB)
    return replace(usual, **{**kept, "cache_mib": cache, "recent": texts[:MOST_RECENT]})


def save_preferences(preferences: Preferences, path: Path) -> None:
    """Saves them; a disk that takes nothing costs no more than the preferences."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_text(path, json.dumps(asdict(preferences), indent=1) + "\n")
