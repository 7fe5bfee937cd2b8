"""``manifest.json``: what was made, from what, with what, and how well it recomposes. Keys: docs/manifest.md."""

from __future__ import annotations

import colorsys
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from penumbra.errors import OutputError
from penumbra.storage import read_text
from penumbra.write.files import written_whole
from penumbra.write.manifest_schema import FRAME_KEYED, MANIFEST_VERSION, TOP_LEVEL
from penumbra.write.verify import FrameVerdict

MANIFEST_NAME = "manifest.json"
_RUN_AGAIN = "Run penumbra decompose into this folder again."


def frame_entry(verdict: FrameVerdict) -> dict[str, Any]:
    """A frame's line in the manifest: plain JSON values, None for errors that are not finite."""
    return {
        "recomposition_max": _figure(verdict.max_error),
        "recomposition_mean": _figure(verdict.mean_error),
        "max_excess": _figure(verdict.max_excess),
        "worst_pixel": None if verdict.worst is None else list(verdict.worst),
        "unresolved": verdict.unresolved,
        "alpha_ok": verdict.alpha_ok,
        "colour_ok": verdict.colour_ok,
        "splits_ok": verdict.splits_ok,
        "combined_ok": verdict.combined_ok,
        "within_bound": verdict.within_bound,
    }


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> Path:
    """Writes ``folder/manifest.json`` whole, in UTF-8 and documented order, and returns its path.

    The version and ``totals`` (from ``frames``, so a resumed run's are those of all its frames) are set here, and a
    ``color`` for every object that has none. Keys by
    frame may be numbers or text and are sorted by number. Values that are :class:`~pathlib.Path` are written relative
    to ``folder`` where they lie inside it. Raises :class:`OutputError` when it cannot be written.
    """
    body = {**manifest, "penumbra_manifest": MANIFEST_VERSION, "totals": _totals(manifest)}
    body["objects"] = _with_colours(manifest.get("objects", ()))
    for key in FRAME_KEYED & body.keys():
        body[key] = dict(sorted(((str(number), entry) for number, entry in body[key].items()), key=_by_number))
    known = [key for key in TOP_LEVEL if key in body]
    ordered = {key: body[key] for key in [*known, *sorted(body.keys() - set(known))]}
    text = json.dumps(_plain(ordered, folder.absolute()), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    path = folder / MANIFEST_NAME
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def load_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an output folder.

    Raises :class:`OutputError` when there is none, or it is damaged, or of a version this engine does not read.
    """
    path = folder / MANIFEST_NAME
    try:
        body = json.loads(read_text(path))
    except FileNotFoundError as error:
        raise OutputError(
            f"There is no {MANIFEST_NAME} in {folder}.", "Name a folder Penumbra has finished."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(f"The manifest {path} cannot be read: {error}.", _RUN_AGAIN) from error
    version = body.get("penumbra_manifest") if isinstance(body, dict) else None
    if version != MANIFEST_VERSION:
        raise OutputError(
            f"The manifest {path} is of version {version!r}; this engine reads version {MANIFEST_VERSION}.", _RUN_AGAIN
        )
    for key in FRAME_KEYED:
        if not _is_by_frame(body.get(key), list if key == "order" else dict):
            raise OutputError(f"The manifest {path} has no valid {key!r}.", _RUN_AGAIN)
    assert isinstance(body, dict)
    return body


def _totals(manifest: Mapping[str, Any]) -> dict[str, Any]:
    entries = list(manifest.get("frames", {}).values())
    worst = [entry["recomposition_max"] for entry in entries]
    means = [entry["recomposition_mean"] for entry in entries]
    return {
        "frames": len(entries),
        "complete": len(entries) == len(manifest.get("order", {})),
        "recomposition_max": None if None in worst else max(worst, default=0.0),
        "recomposition_mean": None if None in means else math.fsum(means) / max(1, len(means)),
        "unresolved": sum(entry["unresolved"] for entry in entries),
        "within_bound": all(entry["within_bound"] for entry in entries),
    }


def _figure(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _by_number(item: tuple[str, Any]) -> int:
    return int(item[0])


def _is_by_frame(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and all(
        re.fullmatch(r"-?[0-9]{1,18}", key) and isinstance(entry, kind) for key, entry in value.items()
    )


def _with_colours(objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": entry["name"], "color": _swatch(i), **entry} for i, entry in enumerate(objects)]


def _swatch(index: int) -> str:
    """A colour apart from its neighbours': hues a golden angle from each other never come to lie together."""
    red, green, blue = colorsys.hls_to_rgb((0.02 + index * 0.381966) % 1, 0.58, 0.65)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _plain(value: Any, folder: Path) -> Any:
    """The same value with paths as text; numbers that are not finite become null, which JSON has instead."""
    if isinstance(value, Path):
        inside = value.absolute()
        return inside.relative_to(folder).as_posix() if inside.is_relative_to(folder) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, folder) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, folder) for item in value]
    return _figure(value) if isinstance(value, float) else value
