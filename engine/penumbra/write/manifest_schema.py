"""The manifest's shape as JSON Schema; docs/manifest.md says the same in words."""

from __future__ import annotations

from typing import Any

MANIFEST_VERSION = 1
FRAME_KEYED = frozenset({"order", "frames"})
"""Keys of the manifest whose values are objects by frame number."""

_ANY: dict[str, Any] = {}
_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 0}
_STRING = {"type": "string"}
_BOOLEAN = {"type": "boolean"}
_STRINGS = {"type": "array", "items": _STRING}
_WINDOW = {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4}
_PAIR = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}


def _or_null(shape: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [shape, {"type": "null"}]}


def _record(properties: dict[str, Any], required: tuple[str, ...] = (), more: bool = False) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": more,
    }


def _by_frame(shape: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "patternProperties": {r"^-?\d+$": shape}, "additionalProperties": False}


_FIGURES = {
    "recomposition_max": _or_null(_NUMBER),
    "recomposition_mean": _or_null(_NUMBER),
    "unresolved": _COUNT,
    "within_bound": _BOOLEAN,
}
_FRAME = {
    **_FIGURES,
    "max_excess": _or_null(_NUMBER),
    "worst_pixel": _or_null(_PAIR),
    "alpha_ok": _BOOLEAN,
    "colour_ok": _BOOLEAN,
    "splits_ok": _BOOLEAN,
    "combined_ok": _BOOLEAN,
}
_PLATE = {
    "path": _STRING,
    "frames": {"type": "string", "pattern": r"^-?\d+--?\d+$"},
    "padding": _COUNT,
    "size": _PAIR,
    "display_window": _WINDOW,
    "canvas": _WINDOW,
    "pixel_aspect": _NUMBER,
    "fps": _or_null({"type": "string", "pattern": r"^\d+(/\d+)?$"}),
    "timecode": _or_null(_STRING),
    "source_space": _STRING,
    "space": _STRING,
}
_OBJECT = {
    "name": _STRING,
    "color": {"type": "string", "pattern": "^#[0-9a-f]{6}$"},
    "mask": _STRING,
    "missing_frames": {"type": "array", "items": {"type": "integer"}},
}
TOP_LEVEL: dict[str, dict[str, Any]] = {
    "penumbra_manifest": {"const": MANIFEST_VERSION},
    "engine": _STRING,
    "plate": _record(_PLATE, ("frames", "size", "space")),
    "objects": {"type": "array", "items": _record(_OBJECT, ("name",))},
    "totals": _record({"frames": _COUNT, "complete": _BOOLEAN, **_FIGURES}, ("frames", "complete", *_FIGURES)),
    "warnings": _STRINGS,
    "weights": _record({"name": _STRING, "sha256": _or_null(_STRING)}, ("name",), more=True),
    "provider": _or_null(_STRING),
    "provider_line": _or_null(_STRING),
    "reconstruction_error": _or_null(_NUMBER),
    "working_size": _PAIR,
    "noise": _or_null(_ANY),
    "camera": _record({"mode": _STRING, "locked": _BOOLEAN, "quality": _ANY, "homographies": _ANY}, ("locked",)),
    "clean_plate": _record({"own": _or_null(_STRING), "never_seen_share": _or_null(_NUMBER), "misfit": _ANY}),
    "seconds": {"type": "object", "additionalProperties": _or_null(_NUMBER)},
    "job": {"type": "object"},
    "order": _by_frame(_STRINGS),
    "frames": _by_frame(_record(_FRAME, tuple(_FIGURES))),
}
"""The manifest's keys in the order they are written: what a reader looks for first stands first."""


def manifest_schema() -> dict[str, Any]:
    """The manifest's JSON Schema (draft 2020-12)."""
    required = ("penumbra_manifest", "engine", "plate", "objects", "totals", "job", "order", "frames")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Penumbra manifest",
        **_record(TOP_LEVEL, required),
    }
