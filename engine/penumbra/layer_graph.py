"""What is written, as a composite: which layers lie over the clean plate, in which order, in which files.

The writers for hosts (:mod:`penumbra.nuke_script`) draw their graphs from this and nothing else. Standard library only,
in Python 3.9 syntax: the hosts' plug-ins read finished folders with this module.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Mapping, Optional, Tuple

from penumbra.errors import OutputError

MANIFEST_VERSION = 1
BACKGROUND = "background"
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
    """The composite a manifest describes. ``plate_pattern``: the plate's files, already relative or absolute."""
    plate = manifest["plate"]
    first, last = _ends(plate["frames"])
    known = None if plate_pattern is None else PlateFiles(plate_pattern, plate.get("source_space", ""))
    return LayerGraph(
        names=tuple(entry["name"] for entry in manifest["objects"]),
        first=first,
        last=last,
        padding=plate.get("padding", 4),
        spans=_spans(manifest["order"]),
        size=(plate["size"][0], plate["size"][1]),
        pixel_aspect=plate.get("pixel_aspect", 1.0),
        fps=plate.get("fps"),
        space=plate["space"],
        plate=known,
        timecode=plate.get("timecode"),
    )


def load_layer_graph(folder: Path) -> LayerGraph:
    """The composite of a finished output folder; :class:`OutputError` where there is none or it is damaged."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
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
    middle = text.index("-", 1)
    return int(text[:middle]), int(text[middle + 1 :])


def _spans(order: Mapping[str, Any]) -> Tuple[OrderSpan, ...]:
    spans: List[OrderSpan] = []
    for number, names in sorted((int(number), tuple(names)) for number, names in order.items()):
        if spans and spans[-1].objects == names:
            spans[-1] = OrderSpan(spans[-1].first, number, names)
        else:
            spans.append(OrderSpan(number, number, names))
    return tuple(spans)
