"""What lies inside the node, as text: inputs, one Read per layer, and the choice of what comes out.

As text because Nuke Non-commercial and Indie let Python touch ten nodes of a script, and read any script.
"""

from __future__ import annotations

from typing import Sequence, Tuple

from penumbra.layer_graph import LayerGraph
from penumbra.nuke_script import COLUMN, ROW, ScriptNode, chain, evaluates, expression, quoted, script_text

RECOMPOSITION, ONE_LAYER, WITHOUT, CLEAN, DIFFERENCE = (
    "recomposition",
    "one layer",
    "plate without one object",
    "clean plate",
    "difference to the plate",
)
SHOWN = (RECOMPOSITION, ONE_LAYER, WITHOUT, CLEAN, DIFFERENCE)
"""What may come out of the node, in the order of its knob and of the Switch behind it."""
LAYERS = "Layers"
# From inside the inner group the node itself is two steps up.
_NODE = "parent.parent"


def empty_inside(masks: Sequence[str]) -> str:
    """A new node's inside: what comes in at 0 goes out; masks lead nowhere."""
    plate = ScriptNode("Input", "plate", (("number", "0"),))
    out = ScriptNode("Output", "Output1", (), (plate,), (0, 2 * ROW))
    return script_text([*(_mask(name, index + 1) for index, name in enumerate(masks)), out])


def mask_input(name: str, number: int) -> str:
    """One more mask input."""
    return script_text([_mask(name, number)])


def layers_inside(graph: LayerGraph) -> str:
    """The inner group: its input 0 is the plate, its output what the node shows."""
    plate = ScriptNode("Input", "plate", (("number", "0"),), (), (-2 * COLUMN, 0))
    composite = chain(graph, f"[value {_NODE}.output]", "", (0, 0), _dressed)
    row = composite.bottom
    reads = tuple(composite.layers[name] for name in graph.names)
    one = ScriptNode("Switch", "one_layer", (("which", expression(f"{_NODE}.object")),), reads, (COLUMN, row))
    apart = ScriptNode(
        "Merge2",
        "difference",
        (("operation", "difference"), ("output", "rgb")),
        (plate, composite.result),
        (-2 * COLUMN, row),
    )
    # Beside the chain, whose wires would hide this one.
    clean = ScriptNode("Dot", "clean_plate", (), (composite.background,), (-COLUMN, row))
    gained = ScriptNode(
        "Multiply",
        "gained",
        (("channels", "rgb"), ("value", expression(f"{_NODE}.gain"))),
        (apart,),
        (-2 * COLUMN, row + ROW),
    )
    shown = ScriptNode(
        "Switch",
        "show",
        (("which", expression(f"{_NODE}.show")),),
        (composite.result, one, composite.result, clean, gained),
        (0, row + 2 * ROW),
    )
    out = ScriptNode("Output", "Output1", (), (shown,), (0, row + 3 * ROW))
    label = f"{graph.first}-{graph.last}, {_space(graph)}"
    group = ScriptNode("Group", LAYERS, (("label", quoted(label)),), (None,), (0, ROW), (out,))
    return script_text([group])


def fingerprint(graph: LayerGraph) -> str:
    """Changes whenever the inner group would be another one."""
    orders = ";".join(f"{span.first}:{','.join(span.objects)}" for span in graph.spans)
    width, height = graph.size
    picture = f"{width}x{height}|{graph.pixel_aspect:g}|{_space(graph)}"
    return f"2|{','.join(graph.names)}|{graph.first}-{graph.last}|{graph.padding}|{picture}|{orders}"


def _space(graph: LayerGraph) -> str:
    """What a label says of the space: a manifest may come from anywhere, and Nuke runs what it finds in a label."""
    return "" if evaluates(graph.space) else graph.space


def _mask(name: str, number: int) -> ScriptNode:
    return ScriptNode("Input", name, (("number", str(number)),), (), (number * COLUMN, 0))


def _dressed(index: int, read: ScriptNode) -> ScriptNode:
    """A layer that vanishes while the plate is shown without its object: nothing times nothing is exact."""
    without = SHOWN.index(WITHOUT)
    which = expression(f"{_NODE}.show=={without}&&{_NODE}.object=={index}?0:1")
    at: Tuple[int, int] = (read.at[0], read.at[1] + ROW)
    return ScriptNode("Multiply", f"keep_{index + 1}", (("channels", "rgba"), ("value", which)), (read,), at)
