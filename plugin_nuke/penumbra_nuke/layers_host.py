"""Finished layers as nodes: inside the Penumbra node, and beside it in the script. Main thread only."""

from __future__ import annotations

from pathlib import Path
from typing import List, Tuple

import nuke

from penumbra.layer_graph import BACKGROUND, LayerGraph, load_layer_graph
from penumbra.nuke_script import COLUMN, ROW, layers_script, read_name
from penumbra_nuke.group_script import LAYERS, fingerprint, layers_inside
from penumbra_nuke.script_host import beside, evaluated, one_undo, read_script


def reload(node: nuke.Group) -> LayerGraph:
    """Shows what is in the output folder now; raises :class:`OutputError` where nothing finished is there."""
    graph = load_layer_graph(Path(evaluated(node, "output")))
    if node["built"].value() != fingerprint(graph):
        _rebuild(node, graph)
    inside = f"{node.fullName()}.{LAYERS}"
    for name in (BACKGROUND, *graph.names):
        read = nuke.toNode(f"{inside}.{read_name(name)}")
        # The artist may have taken it out.
        if read is not None:
            button = read["reload"]
            assert isinstance(button, nuke.Script_Knob)
            button.execute()
    return graph


def send(node: nuke.Group) -> List[str]:
    """Lays Reads, Merges and a check against the plate into the script, as one step to undo; their prefix and count."""
    graph = load_layer_graph(Path(evaluated(node, "output")))
    prefix = _free_prefix(node)
    # The knob's own text, not what it comes to today: it may be an expression, and the script may move.
    folder = str(node["output"].value())
    plate = node.input(0)
    with one_undo(f"Layers of {node.name()}"):
        read_script(node.parent(), layers_script(graph, prefix, folder, place_beside(node, graph), plate_given=True))
        check = nuke.toNode(beside(node, f"{prefix}difference"))
        if plate is not None and check is not None:
            check.setInput(0, plate)
    return [prefix, *graph.names]


def place_beside(node: nuke.Group, graph: LayerGraph) -> Tuple[int, int]:
    """Where the clean plate goes so that nothing of the chain lies on the node or on masks laid out beside it."""
    return node.xpos() + COLUMN * (len(graph.names) + 4), node.ypos() - ROW


def _rebuild(node: nuke.Group, graph: LayerGraph) -> None:
    before = nuke.toNode(f"{node.fullName()}.{LAYERS}")
    if before is not None:
        nuke.delete(before)
    read_script(node, layers_inside(graph))
    made, out = (nuke.toNode(f"{node.fullName()}.{name}") for name in (LAYERS, "Output1"))
    assert made is not None
    assert out is not None
    made.setInput(0, nuke.toNode(f"{node.fullName()}.plate"))
    out.setInput(0, made)
    chosen = node["object"]
    assert isinstance(chosen, nuke.Enumeration_Knob)
    chosen.setValues(list(graph.names))
    node["built"].setValue(fingerprint(graph))


def _free_prefix(node: nuke.Group) -> str:
    prefix, number = f"{node.name()}_", 1
    while nuke.exists(beside(node, f"{prefix}layers")):
        number += 1
        prefix = f"{node.name()}_v{number}_"
    return prefix
