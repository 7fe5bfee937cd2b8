"""What the engine says while it works: one JSON object per line on stdout.

Standard library only, in Python 3.9 syntax: hosts read these lines with this module.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, Optional

EVENT_VERSION = 1
LARGEST_COUNT = 10**15
KINDS = ("stage", "progress", "preview", "warning", "error", "done")


@dataclass(frozen=True)
class Event:
    """``event``: stage, progress, preview, warning, error or done. ``stage`` is one of the pipeline's stages.

    ``done`` of ``total`` units (frames or steps); ``seconds`` since the stage began; ``eta`` seconds left or None.
    ``message`` a sentence for people; ``code`` and ``fix`` are stable parts of an error; ``path`` a file made;
    ``values`` figures such as a loss.
    """

    event: str
    stage: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    eta: Optional[float] = None
    message: str = ""
    code: str = ""
    fix: str = ""
    path: str = ""
    values: Optional[Dict[str, float]] = None

    def to_line(self) -> str:
        """One line of JSON without the newline; empty fields are left out, figures that are not finite become null."""
        body: Dict[str, Any] = {"penumbra_event": EVENT_VERSION}
        for key, value in asdict(self).items():
            if value not in ("", None) or key == "eta":
                body[key] = value
        return json.dumps(_finite(body))


OnEvent = Callable[[Event], None]


def parse_event(line: str) -> Optional[Event]:
    """The event of a line, or None for a line that is not one of ours (a library's print, a newer version).

    Every field of an event is of its type and every number finite, whatever the line holds.
    """
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or body.pop("penumbra_event", None) != EVENT_VERSION:
        return None
    if body.get("event") not in KINDS:
        return None
    known = {key: value for key, value in body.items() if key in Event.__dataclass_fields__}
    return Event(**known) if all(_fits(key, value) for key, value in known.items()) else None


def _fits(key: str, value: Any) -> bool:
    if key in ("done", "total"):
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_COUNT
    if key == "seconds" or (key == "eta" and value is not None):
        return _is_number(value)
    if key == "values" and value is not None:
        # A figure that was not finite is written as null.
        return isinstance(value, dict) and all(item is None or _is_number(item) for item in value.values())
    return value is None if key in ("eta", "values") else isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST_COUNT


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float):
        return round(value, 6) if value == value and abs(value) != float("inf") else None
    return value
