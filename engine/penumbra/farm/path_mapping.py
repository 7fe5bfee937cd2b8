"""Paths of the machine a job was written on, as the machine that works on it reaches them.

The rules are those of Open Job Description's sessions (``pathmapping-1.0``); its own implementation comes with the
session's library, which a farm's machines need not have in the engine's Python.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from penumbra.errors import JobError

VERSION = "pathmapping-1.0"
_FLAVOURS: dict[str, type[PurePath]] = {"POSIX": PurePosixPath, "WINDOWS": PureWindowsPath}


@dataclass(frozen=True)
class _Rule:
    source: PurePath
    destination: str

    def __call__(self, path: str) -> str | None:
        """The path below ``destination`` for one that is ``source`` or below it, else None."""
        given = type(self.source)(path)
        # Windows' own comparison ignores case, as its file systems do.
        if not given.is_relative_to(self.source):
            return None
        return str(Path(self.destination, *given.parts[len(self.source.parts) :]))


def load_path_mapping(file: Path) -> Callable[[str], str]:
    """What a path of a job is called here, by a rules file; the rule of the longest source wins.

    An empty object maps nothing. Raises :class:`JobError` for a file that is no path mapping.
    """
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
        rules = sorted(_rules(body), key=lambda rule: -len(rule.source.parts))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise JobError(
            f"The path mapping {file} cannot be read: {error}.", f"Give a rules file of version {VERSION}."
        ) from error

    def mapped(path: str) -> str:
        return next((found for rule in rules if (found := rule(path)) is not None), path)

    return mapped


def _rules(body: Any) -> list[_Rule]:
    if body == {}:
        return []
    if body["version"] != VERSION:
        raise ValueError(f"version {body['version']!r}")
    # Rules for URIs can match no path of a job.
    known = [rule for rule in body["path_mapping_rules"] if rule["source_path_format"].upper() in _FLAVOURS]
    return [
        _Rule(_FLAVOURS[rule["source_path_format"].upper()](rule["source_path"]), rule["destination_path"])
        for rule in known
    ]
