"""The Fusion page's script: a selected plate and its masks, taken apart, as Loaders and Merges beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from penumbra.errors import FootageError, JobError, PenumbraError
from penumbra.layer_graph import BACKGROUND, LayerGraph, load_layer_graph
from penumbra_resolve.api import Composition, Resolve, Tool
from penumbra_resolve.engine import ProgressPrinter, locate_engine
from penumbra_resolve.shots import (
    INPUTS_FOLDER,
    MaskClip,
    free_folder,
    make_job,
    recall_plate,
    remember_plate,
    run_job,
    shots_folder,
    write_job,
)
from penumbra_resolve.sources import Footage, is_clean_plate, object_name, shot_name
from penumbra_resolve.timeline_host import HostError

# One part in 1024 is the bound of recomposition (DESIGN 4): at this gain it shows as 1.
CHECK_GAIN = 1024
_SAVER_DEPTH_FLOAT32 = 2
_TOOL_DEPTH_FLOAT32 = 5


@dataclass(frozen=True)
class Selection:
    """What is selected: the plate, the masks by object, back to front as they stand from left to right, and the user's
    own clean plate, where there is one.
    """

    plate: Tool
    masks: Tuple[Tuple[str, Tool], ...]
    clean: Optional[Tool] = None


def main(resolve: Optional[Resolve], comp: Optional[Composition]) -> int:
    """From the selection to the nodes; the exit code, and everything there is to say on the console."""
    try:
        if comp is None:
            raise HostError("No composition is open.", "Open a clip on the Fusion page.")
        return _decompose(resolve, comp)
    except PenumbraError as error:
        _say(str(error))
        return error.exit_code


def _decompose(resolve: Optional[Resolve], comp: Composition) -> int:
    chosen = selection(comp)
    python = locate_engine()
    first, last = _range(comp)
    attributes = comp.GetAttrs()
    name = f"{attributes.get('COMPS_Name') or 'comp'}_{_name(chosen.plate)}"
    base = shots_folder("Fusion") / shot_name(name, first, last)
    folder, job_file, plate = _prepare(comp, chosen, base, first, last)

    def lives() -> bool:
        try:
            return bool(comp.GetAttrs()) and (resolve is None or bool(resolve.GetProductName()))
        except Exception:  # noqa: BLE001 # whatever a connection that broke raises
            return False

    outcome, layers = run_job(job_file, python, ProgressPrinter(), lives)
    if layers is None:
        _say(outcome.sentence or "The engine made no layers.")
        return outcome.exit_code
    made = build(comp, chosen.plate, load_layer_graph(layers), layers, plate)
    _say(f"Layers of {folder.name} are in the node graph, ending in {made}.")
    return 0


def selection(comp: Composition) -> Selection:
    """The selected tools; those called ``mask_NAME`` are masks, one called ``clean_plate`` is that. Raises
    :class:`JobError` where that is not enough, or too much.
    """
    tools = list((comp.GetToolList(True) or {}).values())
    masks = [(name, tool) for tool in tools for name in [object_name(_name(tool))] if name]
    cleans = [tool for tool in tools if is_clean_plate(_name(tool))]
    plates = [tool for tool in tools if not object_name(_name(tool)) and not is_clean_plate(_name(tool))]
    if len(cleans) > 1:
        raise JobError(f"{len(cleans)} clean plates are selected.", "Select one, or none.")
    if len(plates) != 1 or not masks:
        raise JobError(
            f"{len(plates)} plates and {len(masks)} masks are selected.",
            "Select one plate tool and its mask tools, and call those mask_car, mask_person (F2 renames).",
        )
    ordered = tuple(sorted(masks, key=lambda entry: _place(comp, entry[1])))
    return Selection(plates[0], ordered, cleans[0] if cleans else None)


def build(comp: Composition, plate: Tool, graph: LayerGraph, folder: Path, footage: Footage) -> str:
    """Loaders and a chain of Merges that descends from the plate's tool, as one step to undo; the last one's name.

    Tools are made and wired while the composition is locked, which keeps Loaders from asking for a file; their values
    are set when it is not, for what is set under Lock is read back but not rendered (HOSTS 2.5).
    """
    prefix = _free_prefix(comp)
    left, top = _place(comp, plate)
    made: List[Tuple[Tool, Dict[str, Any]]] = []
    comp.StartUndo("Penumbra layers")
    kept = False
    try:
        comp.Lock()
        try:
            result = _wired(comp, plate, graph, folder, footage, prefix, (left, top + 3), made)
        finally:
            comp.Unlock()
        for tool, values in made:
            for name, value in values.items():
                _set(tool, name, value)
        kept = True
        return _name(result)
    finally:
        if not kept:
            for tool, _ in reversed(made):
                tool.Delete()
        comp.EndUndo(kept)


class _Expression(str):
    """A number that an expression gives at every frame."""


def _set(tool: Tool, name: str, value: Any) -> None:
    if isinstance(value, _Expression):
        getattr(tool, name).SetExpression(str(value))
    else:
        tool.SetInput(name, value)


def _wired(
    comp: Composition,
    plate: Tool,
    graph: LayerGraph,
    folder: Path,
    footage: Footage,
    prefix: str,
    at: Tuple[int, int],
    made: List[Tuple[Tool, Dict[str, Any]]],
) -> Tool:
    """The tools, connected; what is to be set on each is left in ``made``."""
    left, top = at
    loaders = {}
    for column, name in enumerate((BACKGROUND, *graph.names)):
        loaders[name] = _add(comp, "Loader", f"{prefix}{name}", (left + column, top), made)
        made[-1][1].update(_loader_values(graph, folder, name, footage))
    # The clean plate in the plate's stead: a branch that does not descend from the clip's MediaIn fails a render job.
    chain = _add(comp, "Dissolve", f"{prefix}clean", (left, top + 2), made)
    made[-1][1].update({"Mix": 1})
    _connect(chain, Background=plate, Foreground=loaders[BACKGROUND])
    shift = footage.at - footage.first
    for place, span, name in _occupied(graph):
        suffix = name if span is None else f"{place + 1}_{span[0]}_{name}"
        merge = _add(comp, "Merge", f"{prefix}over_{suffix}", (left, top + 2 + len(made)), made)
        values: Dict[str, Any] = {"SubtractiveAdditive": 1, "PerformDepthMerge": 0}
        if span is not None:
            values["Blend"] = _Expression(f"iif(time >= {span[0] + shift} and time <= {span[1] + shift}, 1, 0)")
        made[-1][1].update(values)
        _connect(merge, Background=chain, Foreground=loaders[name])
        chain = merge
    check = _add(comp, "Custom", f"{prefix}check", (left - 1, top + 3 + len(made)), made)
    made[-1][1].update(
        {f"{c}Expression": f"abs({c[0].lower()}1-{c[0].lower()}2)*{CHECK_GAIN}" for c in ("Red", "Green", "Blue")},
        AlphaExpression="1",
    )
    _connect(check, Image1=chain, Image2=plate)
    return chain


def _occupied(graph: LayerGraph) -> Iterator[Tuple[int, Optional[Tuple[int, int]], str]]:
    """Place, frames (None: all) and layer, back to front."""
    for place, occupants in enumerate(graph.slots):
        if len(set(occupants)) == 1:
            yield place, None, occupants[0]
            continue
        for span, name in zip(graph.spans, occupants):
            yield place, (span.first, span.last), name


def _loader_values(graph: LayerGraph, folder: Path, name: str, footage: Footage) -> Dict[str, Any]:
    start = footage.at + graph.first - footage.first
    count = graph.last - graph.first + 1
    # The file comes first: Fusion sets a Loader's range anew whenever it is given one.
    return {
        "Clip": str(folder / (graph.pattern(name) % graph.first)),
        "GlobalIn": start,
        "GlobalOut": start + count - 1,
        "ClipTimeStart": 0,
        "ClipTimeEnd": count - 1,
        "HoldFirstFrame": 0,
        "HoldLastFrame": 0,
        "Loop": 0,
        "Depth": _TOOL_DEPTH_FLOAT32,
        "PostMultiplyByAlpha": 0,
    }


def _prepare(comp: Composition, chosen: Selection, base: Path, first: int, last: int) -> Tuple[Path, Path, Footage]:
    """All inputs as files: a Loader's own EXR as they are, everything else by a Saver."""
    tools = [("plate", chosen.plate), *((f"mask-{name}", tool) for name, tool in chosen.masks)]
    tools += [] if chosen.clean is None else [("clean", chosen.clean)]
    facts = _facts(tools, first, last)
    if facts is None:
        _say("Which clip these tools show cannot be told, so a run that is stopped begins anew.")

    def recall(there: Path) -> Optional[Footage]:
        return None if facts is None else recall_plate(there, facts)

    folder = free_folder(base, lambda there: recall(there) is not None)
    known = recall(folder)
    if known is not None:
        _say("Going on with what was rendered for the run that was stopped.")
        return folder, folder / INPUTS_FOLDER / "job.json", known
    # A header's tag on the plate or the clean plate alone would part the two: either both are files, or both are saved.
    files = {name: _own_files(tool, first, last) for name, tool in tools}
    paired = files["plate"] is not None and ("clean" not in files or files["clean"] is not None)
    found = {
        name: (files[name] if paired or name not in ("plate", "clean") else None)
        or _saved(comp, tool, folder / INPUTS_FOLDER, name, first, last)
        for name, tool in tools
    }
    masks = tuple(MaskClip(name, found[f"mask-{name}"]) for name, _ in chosen.masks)
    plate = found["plate"]
    # Values come back as they went, whatever the composition holds: the layers recompose in its own space.
    job_file = write_job(folder, make_job(plate, "auto", masks, found.get("clean")))
    if facts is not None:
        remember_plate(folder, facts, plate)
    return folder, job_file, plate


def _facts(tools: List[Tuple[str, Tool]], first: int, last: int) -> Optional[List[Any]]:
    """What tells these inputs from all others; None where nothing does: every clip's composition has a MediaIn1."""
    clips = [_loader_clip(tool) for _, tool in tools]
    if None in clips:
        return None
    return [*([name, _name(tool), str(clip)] for (name, tool), clip in zip(tools, clips)), [first, last]]


def _own_files(tool: Tool, first: int, last: int) -> Optional[Footage]:
    """The files of a Loader that does nothing but load EXR; None for every other tool."""
    clip = _loader_clip(tool)
    if clip is None:
        return None
    path, start, length, at = clip
    found = re.match(r"(.*?)(\d+)(\.exr)\Z", path, re.IGNORECASE)
    if not found or first < at or last >= at + length:
        return None
    digits = found.group(2)
    pattern = f"{found.group(1)}%0{len(digits)}d{found.group(3)}"
    return Footage(pattern, start + first - at, first, last - first + 1)


def _loader_clip(tool: Tool) -> Optional[Tuple[str, int, int, int]]:
    """Path, first number, count and the time it stands at, of a Loader with one untrimmed clip that is not looped, and
    whose channels are the file's own.
    """
    attributes = tool.GetAttrs()
    if attributes.get("TOOLS_RegID") != "Loader" or attributes.get("TOOLB_PassThrough"):
        return None

    def told(key: str) -> List[Any]:
        return list((attributes.get(key) or {}).values())

    paths = told("TOOLST_Clip_Name")
    plain = not any(any(told(f"TOOL{key}")) for key in _CHANGES)
    numbers = [told(key) for key in ("TOOLIT_Clip_StartFrame", "TOOLIT_Clip_Length", "TOOLNT_Clip_Start")]
    if len(paths) != 1 or not plain or any(len(values) != 1 for values in numbers) or _mapped(tool):
        return None
    start, length, at = (int(values[0]) for values in numbers)
    return str(paths[0]), start, length, at


def _mapped(tool: Tool) -> bool:
    """Whether a Loader takes other channels of an EXR than its R, G, B and A, or another part of it."""
    told = ((tool.GetInput(f"Clip1.OpenEXRFormat.{name}"), own) for name, own in _OWN_CHANNELS.items())
    return any(value not in (None, "", own) for value, own in told)


_OWN_CHANNELS = {"RedName": "R", "GreenName": "G", "BlueName": "B", "AlphaName": "A", "Part": ""}
_CHANGES = ("IT_Clip_TrimIn", "IT_Clip_ExtendFirst", "IT_Clip_ExtendLast", "BT_Clip_Loop", "BT_Clip_Reverse")


def _saved(comp: Composition, tool: Tool, folder: Path, name: str, first: int, last: int) -> Footage:
    """Renders a tool to EXR by a Saver that is taken away again; raises :class:`FootageError` for frames missing."""
    if first < 0:
        raise JobError(f"The composition's range begins at frame {first}.", "Let it begin at 0 or later.")
    _clear(folder, name)
    folder.mkdir(parents=True, exist_ok=True)
    _say(f"Fusion renders {name}.")
    made: List[Tuple[Tool, Dict[str, Any]]] = []
    comp.Lock()
    try:
        saver = _add(comp, "Saver", f"Penumbra_saves_{name.replace('-', '_')}", _place(comp, tool), made)
        _connect(saver, Input=tool)
    finally:
        comp.Unlock()
    try:
        saver.SetInput("Clip", str(folder / f"{name}.0000.exr"))
        saver.SetInput("OutputFormat", "OpenEXRFormat")
        saver.SetInput("OpenEXRFormat.Depth", _SAVER_DEPTH_FLOAT32)
        comp.Render({"Start": first, "End": last, "Tool": saver, "Wait": True})
    finally:
        saver.Delete()
    missing = [number for number in range(first, last + 1) if not (folder / f"{name}.{number:04d}.exr").is_file()]
    if missing:
        raise FootageError(f"Fusion did not render frame {missing[0]} of {name}.", "See its console, and try again.")
    return Footage(str(folder / f"{name}.%04d.exr"), first, first, last - first + 1)


def _clear(folder: Path, name: str) -> None:
    """Removes the frames of an earlier render, and nothing else."""
    for path in list(folder.glob("*.exr")):
        if re.match(re.escape(name) + r"\.\d+\.exr\Z", path.name):
            path.unlink()


def _add(comp: Composition, kind: str, name: str, at: Tuple[int, int], made: List[Tuple[Tool, Dict[str, Any]]]) -> Tool:
    tool = comp.AddTool(kind, at[0], at[1])
    if tool is None:
        raise HostError(f"Fusion adds no {kind}.", "Check that the composition can be changed.")
    made.append((tool, {}))
    tool.SetAttrs({"TOOLS_Name": name, "TOOLB_NameSet": True})
    return tool


def _connect(tool: Tool, **inputs: Tool) -> None:
    for name, source in inputs.items():
        if not tool.ConnectInput(name, source):
            raise HostError(f"Fusion does not connect {_name(source)} to {_name(tool)}.", "Connect it by hand.")


def _free_prefix(comp: Composition) -> str:
    number, prefix = 1, "Penumbra_"
    while comp.FindTool(f"{prefix}{BACKGROUND}") is not None:
        number += 1
        prefix = f"Penumbra{number}_"
    return prefix


def _range(comp: Composition) -> Tuple[int, int]:
    attributes = comp.GetAttrs()
    return int(attributes["COMPN_RenderStart"]), int(attributes["COMPN_RenderEnd"])


def _place(comp: Composition, tool: Tool) -> Tuple[int, int]:
    table = comp.CurrentFrame.FlowView.GetPosTable(tool)
    column, row = list(table.values())[:2] if table else (0, 0)
    return int(column), int(row)


def _name(tool: Tool) -> str:
    return str(tool.GetAttrs().get("TOOLS_Name") or "")


def _say(text: str) -> None:
    print(f"Penumbra: {text}", flush=True)
