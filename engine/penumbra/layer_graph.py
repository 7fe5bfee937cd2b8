"""What is written, as a composite: which layers lie over the clean plate, in which order, in which files.

The writers for hosts (:mod:`penumbra.nuke_script`) draw their graphs from this and nothing else. Standard library only,
in Python 3.9 syntax: the hosts' plug-ins read finished folders with this module.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Mapping, Optional, Tuple

from penumbra.errors import OutputError
from penumbra.storage import read_text

MANIFEST_VERSION = 1
BACKGROUND = "background"
MOST_FRAMES = 10_000_000
TIMECODE = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}[:;.,][0-9]{2}\Z")
# What an object may be called (job.py): a name leads to no other folder and is nothing a host would evaluate.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,40}\Z")
_RUN_AGAIN = "Run penumbra decompose into this folder again."


@dataclass(frozen=True)
class OrderSpan:
    """From frame ``first`` to ``last``, both included, ``objects`` lie back to front."""

    first: int
    last: int
    objects: Tuple[str, ...]


@dataclass(frozen=True)
class PlateFiles:
    """The plate's own files: ``pattern`` (``%04d``) relative to the output folder where that outlives a move of both,
    else absolute, with forward slashes; ``space`` what they hold.
    """

    pattern: str
    space: str


@dataclass(frozen=True)
class LayerGraph:
    """The composite that gives the plate back: every layer over the clean plate, back to front.

    ``names``: the objects in the job's order. ``spans``: their stacking order, without gaps from ``first`` to ``last``.
    ``size``: width and height of the display window in pixels; ``pixel_aspect`` width of a pixel over its height;
    ``fps`` a fraction as text, or None; ``space`` the scene-linear space of all layers. ``plate``: None where a host
    could not read the plate's files to the very pixels the engine saw (a movie). ``timecode``: of the first frame,
    with ``;`` before the frames where it is drop-frame.
    """

    names: Tuple[str, ...]
    first: int
    last: int
    padding: int
    spans: Tuple[OrderSpan, ...]
    size: Tuple[int, int]
    pixel_aspect: float
    fps: Optional[str]
    space: str
    plate: Optional[PlateFiles] = None
    timecode: Optional[str] = None

    def pattern(self, name: str) -> str:
        """A layer's files, or the clean plate's (``background``), relative to the output folder."""
        return f"{name}/{name}.%0{self.padding}d.exr"

    @property
    def slots(self) -> Tuple[Tuple[str, ...], ...]:
        """Back to front, the object that lies at each place, one entry per span."""
        return tuple(tuple(span.objects[place] for span in self.spans) for place in range(len(self.names)))


def layer_graph(manifest: Mapping[str, Any], plate_pattern: Optional[str] = None) -> LayerGraph:
    """The composite a manifest describes. ``plate_pattern``: the plate's files, already relative or absolute.

    Manifests travel, so nothing of one is taken on trust: raises :class:`OutputError` where a part is not what it
    should be, an object's name above all.
    """
    try:
        return _graph(manifest, plate_pattern)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise OutputError(f"The manifest describes no composite: {error!r}.", _RUN_AGAIN) from error


def _graph(manifest: Mapping[str, Any], plate_pattern: Optional[str]) -> LayerGraph:
    plate = manifest["plate"]
    first, last = _ends(plate["frames"])
    names = tuple(_name(entry["name"]) for entry in manifest["objects"])
    known = None if plate_pattern is None else PlateFiles(plate_pattern, _text(plate.get("source_space", "")))
    timecode = plate.get("timecode")
    return LayerGraph(
        names=names,
        first=first,
        last=last,
        padding=_whole(plate.get("padding", 4), 0, 20),
        spans=_spans(manifest["order"], names),
        size=(_whole(plate["size"][0], 1, 10**6), _whole(plate["size"][1], 1, 10**6)),
        pixel_aspect=_aspect(plate.get("pixel_aspect", 1.0)),
        fps=_rate(plate.get("fps")),
        space=_text(plate["space"]),
        plate=known,
        timecode=timecode if isinstance(timecode, str) and TIMECODE.match(timecode) else None,
    )


def load_layer_graph(folder: Path) -> LayerGraph:
    """The composite of a finished output folder; :class:`OutputError` where there is none or it is damaged."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(read_text(path))
        version = manifest["penumbra_manifest"]
        if version != MANIFEST_VERSION:
            raise OutputError(
                f"The manifest {path} is of version {version!r}; this plug-in reads version {MANIFEST_VERSION}.",
                "Install the plug-in that came with the engine: penumbra install.",
            )
        return layer_graph(manifest)
    except FileNotFoundError as error:
        raise OutputError(f"There are no finished layers in {folder}.", "Press Decompose, or Resume.") from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise OutputError(f"The manifest {path} cannot be read: {error!r}.", _RUN_AGAIN) from error


def portable_path(path: str, folder: Path) -> str:
    """``path`` relative to ``folder`` where the two share more than the root of the disk, so that both can move
    together; else as it is. Forward slashes either way: hosts take a backslash for an escape.
    """
    try:
        common = Path(os.path.commonpath([path, str(folder)]))
    except ValueError:  # two drives, or a relative path
        return path.replace("\\", "/") if os.name == "nt" else path
    portable = path if common == Path(common.anchor) else os.path.relpath(path, str(folder))
    return portable.replace("\\", "/") if os.name == "nt" else portable


def _ends(text: str) -> Tuple[int, int]:
    """``1001-1100`` or ``-5--2`` as two numbers."""
    match = re.match(r"(-?[0-9]{1,12})-(-?[0-9]{1,12})\Z", text)
    if match is None or not 0 <= int(match.group(2)) - int(match.group(1)) < MOST_FRAMES:
        raise ValueError(f"frames {text!r}")
    return int(match.group(1)), int(match.group(2))


def _name(value: Any) -> str:
    if not (isinstance(value, str) and _NAME.match(value)):
        raise ValueError(f"an object called {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or any(ord(character) < 32 for character in value):
        raise ValueError(f"the text {value!r}")
    return value.encode("utf-8").decode("utf-8")


def _whole(value: Any, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"the number {value!r}")
    return value


def _aspect(value: Any) -> float:
    if not isinstance(value, (int, float)) or not 1e-3 < value < 1e3 or not math.isfinite(value):
        raise ValueError(f"the pixel aspect {value!r}")
    return value


def _rate(value: Any) -> Optional[str]:
    # A fraction in other spellings, such as 1e999999999, would take for ever to work out.
    if value is None:
        return None
    if not (isinstance(value, str) and re.match(r"[1-9][0-9]{0,8}(/[1-9][0-9]{0,8})?\Z", value)):
        raise ValueError(f"the frame rate {value!r}")
    return value


def _spans(order: Mapping[str, Any], known: Tuple[str, ...]) -> Tuple[OrderSpan, ...]:
    spans: List[OrderSpan] = []
    if not order:
        raise ValueError("no order")
    for number, names in sorted((int(number), tuple(names)) for number, names in order.items()):
        if len(names) != len(known) or set(names) != set(known):
            raise ValueError(f"the order {names!r}")
        if spans and spans[-1].objects == names:
            spans[-1] = OrderSpan(spans[-1].first, number, names)
        else:
            spans.append(OrderSpan(number, number, names))
    return tuple(spans)
