"""What the panel remembers from one day to the next."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from penumbra.storage import read_text
from penumbra_gui.models.job_queue import save_text

MOST_RECENT = 10
LEAST_CACHE_MIB, MOST_CACHE_MIB = 256, 65536


@dataclass(frozen=True)
class Preferences:
    """``engine``: the Python the engine is installed in, empty to find it; ``geometry``, ``layout``: Qt's, base64."""

    engine: str = ""
    cache_mib: int = 1024
    language: str = ""
    started_before: bool = False
    recent: tuple[str, ...] = ()
    geometry: str = ""
    layout: str = ""

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
