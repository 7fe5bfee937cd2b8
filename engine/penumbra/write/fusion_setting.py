"""Composites as text Fusion reads: pasted or dropped into its node graph, in any edition, without a script.

The text is a Lua table of tools. File names are absolute, for pasted text has no place of its own that a relative name
could start from (decision 0015); ``penumbra composites`` writes it anew where the folder was moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penumbra.layer_graph import BACKGROUND, LayerGraph

# One part in 1024 is the bound of recomposition (DESIGN 4): at this gain it shows as 1.
CHECK_GAIN = 1024
# The node graph's own grid.
COLUMN, ROW = 110, 66
# Fusion's own number for float32: half as the tools' depth would round once per layer.
_FLOAT32 = 5
_FORMATS = {
    ".exr": "OpenEXRFormat",
    ".png": "PNGFormat",
    ".tif": "TiffFormat",
    ".tiff": "TiffFormat",
    ".jpg": "JpegFormat",
    ".jpeg": "JpegFormat",
    ".dpx": "DPXFormat",
}
_LINEAR_FROM_SRGB = "if({0}2<=0.04045,{0}2/12.92,((max({0}2,0)+0.055)/1.055)^2.4)"


@dataclass(frozen=True)
class Link:
    """An input fed by another tool's output."""

    tool: str


@dataclass(frozen=True)
class Symbol:
    """A choice of Fusion's, which it spells ``FuID { "..." }``."""

    name: str


@dataclass(frozen=True)
class Expression:
    """A number that an expression gives at every frame."""

    text: str


Value = Link | Symbol | Expression | str | int | float


@dataclass(frozen=True)
class Tool:
    """One tool: its kind as Fusion registers it, its inputs, and, for a Loader, its one clip."""

    kind: str
    name: str
    at: tuple[int, int]
    inputs: Mapping[str, Value] = field(default_factory=dict)
    clip: Mapping[str, str | int | bool] | None = None


def setting_text(graph: LayerGraph, folder: Path, prefix: str = "Penumbra_") -> str:
    """The composite: Loaders and Merges back to front, the same from frame 0, and a check against the plate.

    ``folder``: the output folder, absolute. The check shows |recomposition - plate| times 1024; it is left out where
    Fusion could not read the plate to the pixels the engine saw.
    """
    tools = [*_composite(graph, folder, prefix)]
    result = tools[-1]
    tools.append(_from_zero(graph, result, prefix))
    tools.extend(_check(graph, folder, result, prefix))
    body = "\n".join(_tool_text(tool) for tool in tools)
    return f"{{\n\tTools = ordered() {{\n{body}\n\t}},\n\tActiveTool = {quoted(result.name)},\n}}\n"


def import_table(graph: LayerGraph) -> str:
    """What the import script of Resolve's free edition reads: a Lua table of numbers and names, and no code."""
    spans = ", ".join(
        f"{{ first = {span.first}, last = {span.last}, objects = {{ {', '.join(map(quoted, span.objects))} }} }}"
        for span in graph.spans
    )
    rows = {
        "penumbra_layers": "1",
        "first": str(graph.first),
        "last": str(graph.last),
        "fps": quoted(graph.fps or ""),
        "background": quoted(graph.pattern(BACKGROUND)),
        "layers": "{ " + ", ".join(f"[{quoted(n)}] = {quoted(graph.pattern(n))}" for n in graph.names) + " }",
        "order": f"{{ {spans} }}",
    }
    return "return {\n" + "".join(f"\t{key} = {value},\n" for key, value in rows.items()) + "}\n"


def quoted(text: str) -> str:
    """A string as Lua spells it. Bytes beyond ASCII stay as they are: Fusion reads UTF-8."""
    for character, spelled in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, spelled)
    return f'"{text}"'


def _composite(graph: LayerGraph, folder: Path, prefix: str) -> Iterator[Tool]:
    """A Loader for each sequence, then one Merge for each stretch a layer lies at its place."""
    for column, name in enumerate((BACKGROUND, *graph.names)):
        pattern = str(folder / graph.pattern(name))
        yield _loader(graph, f"{prefix}{name}", pattern, (column * COLUMN, 0))
    below, row = f"{prefix}{BACKGROUND}", 2 * ROW
    for place, occupants in enumerate(graph.slots):
        for stretch, (name, first, last) in enumerate(_stretches(graph, occupants)):
            always = first == graph.first and last == graph.last
            shown: Mapping[str, Value] = {} if always else {"Blend": Expression(_between(first, last))}
            suffix = name if always else f"{place + 1}_{stretch + 1}_{name}"
            inputs = {"Background": Link(below), "Foreground": Link(f"{prefix}{name}"), **_OVER, **shown}
            merge = Tool("Merge", f"{prefix}over_{suffix}", (0, row), inputs)
            yield merge
            below, row = merge.name, row + ROW


# Premultiplied foregrounds, added; nothing of it left to the user's defaults.
_OVER: Mapping[str, Value] = {
    "Operator": Symbol("Over"),
    "SubtractiveAdditive": 1,
    "PerformDepthMerge": 0,
    "FlattenTransform": 0,
}


def _stretches(graph: LayerGraph, occupants: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Who lies at a place from which frame to which."""
    name, first = occupants[0], graph.spans[0].first
    for span, occupant in zip(graph.spans, occupants, strict=True):
        if occupant != name:
            yield name, first, span.first - 1
            name, first = occupant, span.first
    yield name, first, graph.spans[-1].last


def _between(first: int, last: int) -> str:
    return f"iif(time >= {first} and time <= {last}, 1, 0)"


def _loader(graph: LayerGraph, name: str, pattern: str, at: tuple[int, int]) -> Tool:
    """A Loader of files as they are: premultiplied already, in float32."""
    count = graph.last - graph.first + 1
    clip: dict[str, str | int | bool] = {
        "ID": "Clip1",
        "Filename": _numbered(pattern, graph.first),
        "FormatID": _FORMATS.get(Path(pattern).suffix.lower(), ""),
        "StartFrame": graph.first,
        "Length": count,
        "LengthSetManually": True,
        "TrimIn": 0,
        "TrimOut": count - 1,
        "ExtendFirst": 0,
        "ExtendLast": 0,
        "Loop": 0,
        "AspectMode": 0,
        "Depth": _FLOAT32,
        "TimeCode": 0,
        "GlobalStart": graph.first,
        "GlobalEnd": graph.last,
    }
    inputs: dict[str, Value] = {
        "GlobalIn": graph.first,
        "GlobalOut": graph.last,
        "Depth": _FLOAT32,
        "PostMultiplyByAlpha": 0,
    }
    return Tool("Loader", name, at, inputs, {key: value for key, value in clip.items() if value != ""})


def _numbered(pattern: str, number: int) -> str:
    """The file of one frame; only the part that counts is a pattern, whatever the folders are called."""
    head, mark, tail = pattern.rpartition("%0")
    digits, _, suffix = tail.partition("d")
    return f"{head}{number:0{int(digits)}d}{suffix}" if mark and digits.isdecimal() else pattern


def _from_zero(graph: LayerGraph, result: Tool, prefix: str) -> Tool:
    """The same a clip's composition in Resolve can use, whose frames count from 0."""
    inputs: dict[str, Value] = {"Input": Link(result.name), "Speed": 1, "Delay": -graph.first}
    return Tool("TimeSpeed", f"{prefix}from_frame_0", (COLUMN, result.at[1]), inputs)


def _check(graph: LayerGraph, folder: Path, result: Tool, prefix: str) -> Iterator[Tool]:
    """The plate's Loader and the difference, times :data:`CHECK_GAIN`."""
    linear = _linear_plate(graph)
    if graph.plate is None or linear is None:
        return
    pattern = folder / graph.plate.pattern
    files = _loader(graph, f"{prefix}plate", str(pattern.parent.resolve() / pattern.name), (-COLUMN, 0))
    yield files
    shown = {
        f"{channel}Expression": f"abs({letter}1-{linear.format(letter)})*{CHECK_GAIN}"
        for channel, letter in (("Red", "r"), ("Green", "g"), ("Blue", "b"))
    }
    images = {"Image1": Link(result.name), "Image2": Link(files.name)}
    inputs: dict[str, Value] = {**images, **shown, "AlphaExpression": "1"}
    yield Tool("Custom", f"{prefix}check", (-COLUMN, result.at[1] + ROW), inputs)


def _linear_plate(graph: LayerGraph) -> str | None:
    """How a channel of the check's second image becomes linear; None where Fusion has no such curve."""
    if graph.plate is None:
        return None
    if graph.plate.space == graph.space:
        return "{0}2"
    known = (graph.plate.space, graph.space) == ("srgb_tx", "lin_rec709")
    return _LINEAR_FROM_SRGB if known else None


def _tool_text(tool: Tool) -> str:
    lines = [f"\t\t{tool.name} = {tool.kind} {{"]
    if tool.clip is not None:
        lines += ["\t\t\tClips = {", "\t\t\t\tClip {"]
        lines += [f"\t\t\t\t\t{key} = {_plain(value)}," for key, value in tool.clip.items()]
        lines += ["\t\t\t\t},", "\t\t\t},"]
    lines += ["\t\t\tNameSet = true,", "\t\t\tInputs = {"]
    lines += [f"\t\t\t\t{key} = Input {{ {_input_text(value)} }}," for key, value in tool.inputs.items()]
    lines += ["\t\t\t},", f"\t\t\tViewInfo = OperatorInfo {{ Pos = {{ {tool.at[0]}, {tool.at[1]} }} }},", "\t\t},"]
    return "\n".join(lines)


def _input_text(value: Value) -> str:
    if isinstance(value, Link):
        return f'SourceOp = {quoted(value.tool)}, Source = "Output"'
    if isinstance(value, Symbol):
        return f"Value = FuID {{ {quoted(value.name)} }}"
    if isinstance(value, Expression):
        return f"Value = 1, Expression = {quoted(value.text)}"
    return f"Value = {_plain(value)}"


def _plain(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else str(value)
