"""The composite as files a host opens: for Nuke, Fusion, editors and Resolve's import script.

A host more is one more entry in ``WRITERS``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from penumbra.layer_graph import LayerGraph
from penumbra.nuke_script import layers_script
from penumbra.write.files import written_whole
from penumbra.write.fusion_setting import import_table, setting_text
from penumbra.write.timeline import timeline_text

WRITERS: dict[str, Callable[[LayerGraph, Path], str]] = {
    "layers.nk": lambda graph, folder: layers_script(graph),
    "layers.setting": setting_text,
    "layers.otio": lambda graph, folder: timeline_text(graph, folder.name),
    "layers.lua": lambda graph, folder: import_table(graph),
}
"""File name in the output folder -> what writes its text, given the folder's absolute path."""
COMPOSITES = tuple(WRITERS)


def write_composites(folder: Path, graph: LayerGraph, named: Path | None = None) -> None:
    """Writes every host's file into ``folder``, whole, in UTF-8; raises :class:`OutputError` when it cannot.

    ``named``: the folder as it is called where the hosts are, if it is called otherwise there.
    """
    for name, writer in WRITERS.items():
        with written_whole(folder / name) as temporary:
            temporary.write_text(writer(graph, (named or folder).absolute()), encoding="utf-8", newline="\n")
