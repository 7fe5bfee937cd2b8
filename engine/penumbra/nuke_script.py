r"""Composites as text Nuke reads: opened, imported or pasted, in any edition, without a plug-in.

The format is a stack machine (HOSTS 1.6): ``inputs N`` takes N nodes off the stack, the last one put there becoming
input 0, and every node is put on it; ``set`` and ``push`` use one twice. Standard library only, in Python 3.9 syntax:
the Nuke node builds its inside with this module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from penumbra.layer_graph import BACKGROUND, LayerGraph

# The node graph's own grid, as Nuke's default preferences have it, and a node's width.
COLUMN, ROW = 140, 110
_READ_HEIGHT = 80
# One part in 1024 is the bound of recomposition (DESIGN 4): at this gain it shows as 1.
CHECK_GAIN = 1024


@dataclass(frozen=True, eq=False)
class ScriptNode:
    """One node: ``knobs`` in order, values as the script spells them (:func:`quoted`); ``inside`` for a Group."""

    kind: str
    name: str
    knobs: Tuple[Tuple[str, str], ...] = ()
    inputs: Tuple[Optional[ScriptNode], ...] = ()
    at: Tuple[int, int] = (0, 0)
    inside: Tuple[ScriptNode, ...] = ()


@dataclass(frozen=True)
class Chain:
    """A composite's nodes: the clean plate's Read, each layer's, and the recomposition."""

    background: ScriptNode
    layers: Dict[str, ScriptNode]
    result: ScriptNode
    bottom: int


def quoted(text: str) -> str:
    """A string as a script spells it. Brackets, braces and ``$`` would otherwise be evaluated while it is read."""
    for special in '\\"[]{}$':
        text = text.replace(special, "\\" + special)
    return '"' + text.replace("\n", "\\n") + '"'


def evaluates(text: str) -> bool:
    """Whether a knob would take a part of the text for Tcl or an escape, even after the script itself is read."""
    return any(special in text for special in '\\"[]{}$\n')


def expression(text: str) -> str:
    """An expression as a script spells it; without blanks, which would make several of it."""
    return "{{" + text.replace(" ", "") + "}}"


def script_text(nodes: Sequence[ScriptNode]) -> str:
    """The script of ``nodes`` and everything that flows into them."""
    lines: List[str] = []
    _Writer(lines, nodes, "N").write_all()
    return "\n".join(lines) + "\n"


def chain(
    graph: LayerGraph,
    folder: str,
    prefix: str = "",
    at: Tuple[int, int] = (0, 0),
    dressed: Callable[[int, ScriptNode], ScriptNode] = lambda index, read: read,
) -> Chain:
    """The Reads, and the Merges that lay them over each other.

    ``folder``: a Tcl expression that gives the output folder. ``dressed`` may put nodes between a layer's Read and its
    Merge; it gets the object's index. Where the order changes along the clip, a Switch picks by frame what lies at a
    place.
    """
    left, top = at
    background = _read(graph, BACKGROUND, folder, prefix, (left, top))
    reads = {
        name: _read(graph, name, folder, prefix, (left + COLUMN * (i + 1), top)) for i, name in enumerate(graph.names)
    }
    fronts = {name: dressed(index, reads[name]) for index, name in enumerate(graph.names)}
    result, row = background, top + 2 * ROW
    for place, occupants in enumerate(graph.slots):
        column = left + COLUMN * (place + 1)
        front = _occupant(graph, occupants, fronts, f"{prefix}order_{place + 1}", (column, row))
        label = occupants[0] if len(set(occupants)) == 1 else f"place_{place + 1}"
        result = ScriptNode("Merge2", f"{prefix}over_{label}", (), (result, front), (left, row))
        row += ROW
    return Chain(background, reads, result, row)


def layers_script(
    graph: LayerGraph,
    prefix: str = "Penumbra_",
    folder: str = "[file dirname [value root.name]]",
    at: Tuple[int, int] = (0, 0),
    plate_given: bool = False,
) -> str:
    """The whole composite beside a check against the plate.

    Every file name goes through one knob of the node ``<prefix>layers``, ``folder`` to begin with: right where the
    script lies in the output folder, and the one thing to change where it does not. ``plate_given``: the check's input
    0 is left open, for the caller to connect.
    """
    left, top = at
    anchor = _anchor(graph, prefix, folder, (left - COLUMN * 2, top))
    composite = chain(graph, f"[value {anchor.name}.folder]", prefix, at)
    plate = None if plate_given else _plate(graph, anchor, prefix, (left - COLUMN, top))
    row = composite.bottom
    check = ScriptNode(
        "Merge2",
        f"{prefix}difference",
        (("operation", "difference"), ("output", "rgb"), ("label", quoted("recomposition against the plate"))),
        (plate, composite.result),
        (left - COLUMN, row),
    )
    gained = ScriptNode(
        "Multiply",
        f"{prefix}check",
        (("channels", "rgb"), ("value", str(CHECK_GAIN)), ("label", quoted("1 is one part in 1024"))),
        (check,),
        (left - COLUMN, row + ROW),
    )
    return script_text([anchor, gained])


def _read(graph: LayerGraph, name: str, folder: str, prefix: str, at: Tuple[int, int]) -> ScriptNode:
    return read_node(graph, f"{prefix}{read_name(name)}", f"{folder}/{graph.pattern(name)}", at)


def read_name(name: str) -> str:
    """A layer's Read: whatever an object is called, no other node of a chain is called so."""
    return name if name == BACKGROUND else f"layer_{name}"


def read_node(graph: LayerGraph, name: str, file: str, at: Tuple[int, int]) -> ScriptNode:
    """A Read of EXR files as they are: ``raw``, because they hold the script's working space already."""
    width, height = graph.size
    span = (("first", graph.first), ("last", graph.last), ("origfirst", graph.first), ("origlast", graph.last))
    knobs = (
        ("file_type", "exr"),
        ("file", quoted(file)),
        ("format", quoted(f"{width} {height} 0 0 {width} {height} {graph.pixel_aspect:g} ")),
        *((knob, str(number)) for knob, number in span),
        ("origset", "true"),
        ("before", "hold"),
        ("after", "hold"),
        ("raw", "true"),
    )
    return ScriptNode("Read", name, knobs, (), at)


def _occupant(
    graph: LayerGraph, occupants: Sequence[str], fronts: Dict[str, ScriptNode], name: str, at: Tuple[int, int]
) -> ScriptNode:
    """What lies at one place: a layer, or a Switch between those that lie there in turn."""
    choices = tuple(dict.fromkeys(occupants))
    if len(choices) == 1:
        return fronts[choices[0]]
    which = str(choices.index(occupants[-1]))
    for span, occupant in reversed(list(zip(graph.spans[:-1], occupants[:-1]))):
        rest = f"({which})" if "?" in which else which
        which = f"frame<={span.last}?{choices.index(occupant)}:{rest}"
    return ScriptNode("Switch", name, (("which", expression(which)),), tuple(fronts[c] for c in choices), at)


def _anchor(graph: LayerGraph, prefix: str, folder: str, at: Tuple[int, int]) -> ScriptNode:
    """The node whose knob says where the layers are."""
    space = "" if evaluates(graph.space) else graph.space
    label = f"{graph.first}-{graph.last}, {space}\nback to front: {', '.join(graph.spans[0].objects)}"
    knobs = (
        ("addUserKnob", "{20 Penumbra}"),
        ("addUserKnob", '{2 folder l "Layers folder"}'),
        ("folder", quoted(folder)),
        ("label", quoted(label)),
    )
    return ScriptNode("NoOp", f"{prefix}layers", knobs, (), at)


def _plate(graph: LayerGraph, anchor: ScriptNode, prefix: str, at: Tuple[int, int]) -> ScriptNode:
    """The plate as the engine saw it, or, where a Read would not give that, a place to plug it in."""
    plate = graph.plate
    exact = plate is not None and plate.space == graph.space
    readable = exact or (plate is not None and (plate.space, graph.space) == ("srgb_tx", "lin_rec709"))
    # A folder called [exec ...] must not be run by whoever opens the script.
    if plate is None or not readable or evaluates(plate.pattern):
        space = "" if evaluates(graph.space) else graph.space
        label = f"plug in the plate here,\nlinear: {space}"
        return ScriptNode("NoOp", f"{prefix}plate", (("label", quoted(label)),), (None,), at)
    absolute = plate.pattern.startswith("/") or plate.pattern[1:2] == ":"
    file = plate.pattern if absolute else f"[value {anchor.name}.folder]/{plate.pattern}"
    read = read_node(graph, f"{prefix}plate", file, at)
    # A Read finds out the type and the size of files that others wrote by itself.
    kept = tuple(knob for knob in read.knobs if knob[0] not in ("file_type", "format"))
    read = replace(read, knobs=kept)
    if exact:
        return read
    # The curve as a node: what a Read calls sRGB depends on the script's colour management.
    knobs = (("channels", "rgb"), ("colorspace_in", "sRGB"))
    return ScriptNode("Colorspace", f"{prefix}linear", knobs, (read,), (at[0], at[1] + ROW))


class _Writer:
    """Nodes in the order in which they go on the stack."""

    def __init__(self, lines: List[str], roots: Sequence[ScriptNode], scope: str) -> None:
        self._lines, self._roots, self._scope = lines, roots, scope
        self._uses: Dict[ScriptNode, int] = {}
        self._written: Dict[ScriptNode, str] = {}
        for root in roots:
            self._count(root)

    def write_all(self) -> None:
        for root in self._roots:
            if root not in self._written:
                self._put(root)

    def _count(self, node: ScriptNode) -> None:
        self._uses[node] = self._uses.get(node, 0) + 1
        if self._uses[node] == 1:
            for source in node.inputs:
                if source is not None:
                    self._count(source)

    def _put(self, node: Optional[ScriptNode]) -> None:
        """Leaves exactly this node on top of the stack."""
        if node is None:
            self._lines.append("push 0")
        elif node in self._written:
            self._lines.append(f"push ${self._written[node]}")
        else:
            # Input 0 is what was put there last.
            for source in reversed(node.inputs):
                self._put(source)
            self._write(node)

    def _write(self, node: ScriptNode) -> None:
        self._lines.append(f"{node.kind} {{")
        if len(node.inputs) != 1:
            self._lines.append(f" inputs {len(node.inputs)}")
        self._lines += [f" {knob} {value}" for knob, value in node.knobs]
        self._lines += [f" name {node.name}", f" xpos {node.at[0]}", f" ypos {node.at[1]}", "}"]
        if node.kind == "Group":
            _Writer(self._lines, node.inside, f"{self._scope}{len(self._written)}_").write_all()
            self._lines.append("end_group")
        # Variables are the whole script's, insides of groups included.
        self._written[node] = f"{self._scope}{len(self._written)}"
        if self._uses[node] > 1:
            self._lines.append(f"set {self._written[node]} [stack 0]")
