"""The node's knobs: how they are made, and what they say. They hold all of its state, which saves with the script."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

import nuke

from penumbra.errors import JobError
from penumbra.job import COMPRESSIONS, DEVICES, PRECISIONS, FrameRange
from penumbra_nuke.group_script import DIFFERENCE, ONE_LAYER, SHOWN, WITHOUT
from penumbra_nuke.script_host import beside, evaluated, script_folder
from penumbra_nuke.settings import (
    CHANNELS_OF_ONE,
    ONE_INPUT_EACH,
    REPLACE,
    NodeSettings,
    parse_objects,
    parse_order,
    parse_refine,
)

BESIDE_THE_SCRIPT = "[file dirname [value root.name]]/penumbra"
# A studio's place for all output folders, put into new nodes as it stands: expressions are kept.
FOLDER_VARIABLE = "PENUMBRA_NUKE_FOLDER"
PLATE_RANGE, OWN_RANGE = "the plate's", "as below"
REFUSE = "keep them and say so"
FROM_FILE = "file"
# Nuke would take these for a frame number, or evaluate them, in the name of a file.
_UNFIT = "%#[]{}$"
# Buttons carry Python of their own, so that a script opened without the plug-in says why nothing happens.
_PRESSED = """try:
    from penumbra_nuke import node_host
except ImportError:
    nuke.message("Penumbra is not installed in this Nuke. Run: penumbra install nuke")
else:
    node_host.press(nuke.thisNode(), "{action}")
"""
_CHANGED = """try:
    from penumbra_nuke import node_host
except ImportError:
    pass
else:
    node_host.changed(nuke.thisNode(), nuke.thisKnob())
"""


class _Entry(NamedTuple):
    """One knob: what makes it, its name, label and tooltip, and what it holds at first."""

    make: Callable[..., nuke.Knob]
    name: str
    label: str
    tooltip: str = ""
    first: object = None
    values: Tuple[str, ...] = ()


def _button(name: str, label: str, tooltip: str) -> _Entry:
    return _Entry(nuke.PyScript_Knob, name, label, tooltip, _PRESSED.format(action=name))


def _choice(name: str, label: str, values: Sequence[str], tooltip: str) -> _Entry:
    return _Entry(nuke.Enumeration_Knob, name, label, tooltip, None, tuple(values))


def _layout() -> List[_Entry]:
    """Every knob, in the order of the panel."""
    return [
        _Entry(nuke.Tab_Knob, "penumbra", "Penumbra"),
        _Entry(
            nuke.String_Knob,
            "objects",
            "objects",
            "One name per object, back to front: car person. NAME=CHANNEL takes another channel than alpha.",
            "object1",
        ),
        _choice("masks", "masks", (ONE_INPUT_EACH, CHANNELS_OF_ONE), "Where the masks come in."),
        _Entry(
            nuke.String_Knob,
            "order",
            "order changes",
            "Where objects pass each other: 1050: person car; 1080: car person. From those frames on, back to front.",
            "",
        ),
        _choice("frames", "frames", (PLATE_RANGE, OWN_RANGE), "Which frames are taken apart."),
        _Entry(nuke.Int_Knob, "first", "first", "First frame.", 1001),
        _Entry(nuke.Int_Knob, "last", "last", "Last frame.", 1100),
        _choice(
            "refine",
            "refine",
            ("minutes", "steps", "off"),
            "Learning the shot makes layers good; steps repeat to the bit.",
        ),
        _Entry(nuke.Double_Knob, "amount", "amount", "Minutes, or steps.", 5),
        _Entry(nuke.File_Knob, "output", "output folder", "Where layers are written. Expressions are kept.", ""),
        _choice("existing", "if layers exist", (REFUSE, REPLACE), "What Decompose does with a folder that has layers."),
        _button("decompose", "Decompose", "Takes the plate apart; Nuke stays free meanwhile."),
        _button("cancel", "Cancel", "Stops; what is finished is kept."),
        _button("resume", "Resume", "Goes on with the job as it was started."),
        _button("reload", "Reload", "Shows what is in the output folder now."),
        _button("send", "Send layers to script", "Reads, Merges and a check beside this node; one step to undo."),
        _button("open_folder", "Open folder", "The output folder in the system's file browser."),
        _Entry(nuke.Text_Knob, "status", "state", "", "not run yet"),
        _Entry(nuke.Tab_Knob, "view_tab", "View"),
        _choice("show", "show", SHOWN, "What comes out of the node."),
        _choice("object", "object", ("none yet",), "Of one layer, and of the plate without it."),
        _Entry(nuke.Double_Knob, "gain", "difference gain", "1024 shows the bound of recomposition as 1.", 1),
        _Entry(nuke.Tab_Knob, "files_tab", "Files"),
        _choice("precision", "precision", PRECISIONS, "Of the layers, and of inputs rendered for the engine."),
        _choice("compression", "compression", COMPRESSIONS, "Of the layers; all of these are lossless."),
        _Entry(
            nuke.Boolean_Knob,
            "splits",
            "splits",
            "Each layer also as NAME_object, NAME_shadow and NAME_light, to be graded apart.",
            False,
        ),
        _Entry(nuke.Tab_Knob, "engine_tab", "Engine"),
        _Entry(nuke.File_Knob, "engine", "engine", "Its Python or virtual environment; empty finds it.", ""),
        _choice("device", "device", DEVICES, "Where the network runs."),
        _choice(
            "camera", "camera", ("auto", "locked", FROM_FILE), "Locked: it does not move. File: homographies are given."
        ),
        _Entry(nuke.File_Knob, "homographies", "homographies", "As penumbra camera writes them: JSON or text.", ""),
        _Entry(
            nuke.String_Knob,
            "color",
            "plate is in",
            "auto: the script's working space. Else a name OpenColorIO knows.",
            "auto",
        ),
        _Entry(nuke.String_Knob, "view", "view", "Of a stereo script; empty takes the first.", ""),
        _button("doctor", "Check the engine", "What of the set-up works."),
        _button("export", "Export job", "Renders the inputs and writes the job for the command line or a farm."),
        _button("about", "About", "Version, licence, where help is."),
        _Entry(nuke.String_Knob, "wired", "", "", ""),
        _Entry(nuke.String_Knob, "built", "", "", ""),
    ]


def add_knobs(node: nuke.Group) -> None:
    """Gives a new node its knobs."""
    for entry in _layout():
        made = entry.make(entry.name, entry.label, list(entry.values)) if entry.values else _made(entry)
        if entry.tooltip:
            made.setTooltip(entry.tooltip)
        if not entry.label:
            made.setFlag(nuke.INVISIBLE)
        if isinstance(made, nuke.Boolean_Knob):
            # A check box would stand behind the knob before it.
            made.setFlag(nuke.STARTLINE)
        node.addKnob(made)
        if entry.first is not None and not isinstance(made, (nuke.PyScript_Knob, nuke.Text_Knob)):
            made.setValue(entry.first)
    node["output"].setValue(_folder_of(node.name()))
    node["knobChanged"].setValue(_CHANGED)
    dim(node)


def leave_the_original(node: nuke.Group) -> None:
    """Gives a copy of a node a folder of its own, where it has that of the one it was copied from still."""
    named = str(node["output"].value()).rpartition("/")[2]
    copied = str(node["output"].value()) == _folder_of(named) and nuke.exists(beside(node, named))
    if copied and named != node.name():
        node["output"].setValue(_folder_of(node.name()))


DECIDING = ("frames", "refine", "show", "camera")
"""Knobs on whose value it depends which others count."""


def dim(node: nuke.Group) -> None:
    """Only knobs that count as things are set can be turned."""
    own_range, shown = node["frames"].value() == OWN_RANGE, node["show"].value()
    for name, counts in (
        ("first", own_range),
        ("last", own_range),
        ("amount", node["refine"].value() != "off"),
        ("object", shown in (ONE_LAYER, WITHOUT)),
        ("gain", shown == DIFFERENCE),
        ("homographies", node["camera"].value() == FROM_FILE),
    ):
        node[name].setEnabled(counts)


def read_settings(node: nuke.Group) -> NodeSettings:
    """What the knobs say now; :class:`JobError` names the one that cannot be used."""
    shared = node["masks"].value() == CHANNELS_OF_ONE
    own_range = node["frames"].value() == OWN_RANGE
    first, last = (int(node[name].value()) for name in ("first", "last"))
    return NodeSettings(
        objects=parse_objects(_text(node, "objects"), shared),
        shared_input=shared,
        folder=_output_folder(node),
        frames=FrameRange.parse(f"{first}-{last}") if own_range else None,
        order=parse_order(_text(node, "order")),
        color=_text(node, "color") or "auto",
        refine=parse_refine(_text(node, "refine"), float(node["amount"].value())),
        camera=_text(node, "camera"),
        homographies=_homographies(node),
        device=_text(node, "device"),
        precision=_text(node, "precision"),
        compression=_text(node, "compression"),
        splits=bool(node["splits"].value()),
        replace=node["existing"].value() == REPLACE,
        engine=evaluated(node, "engine"),
        view=_view(node),
    )


def output_folder(node: nuke.Group) -> Path:
    """The output folder as it stands, without settling it for an unsaved script."""
    return Path(evaluated(node, "output"))


def _folder_of(name: str) -> str:
    base = os.environ.get(FOLDER_VARIABLE, "").replace("\\", "/").rstrip("/")
    return f"{base or BESIDE_THE_SCRIPT}/{name}"


def _made(entry: _Entry) -> nuke.Knob:
    if entry.make in (nuke.PyScript_Knob, nuke.Text_Knob):
        return entry.make(entry.name, entry.label, entry.first)
    return entry.make(entry.name, entry.label)


def _text(node: nuke.Group, knob: str) -> str:
    return str(node[knob].value() or "").strip()


def _output_folder(node: nuke.Group) -> Path:
    """Where layers go. "Beside the script" is nowhere before it is saved: then a folder of the user's, for good."""
    if "root.name" in str(node["output"].value()) and not script_folder():
        stamp = time.strftime("%Y%m%d_%H%M%S")
        unsaved = Path.home() / "penumbra" / f"{re.sub(r'[^A-Za-z0-9_]', '_', node.name())}_{stamp}"
        node["output"].setValue(unsaved.as_posix())
    folder = Path(evaluated(node, "output"))
    if not folder.is_absolute():
        raise JobError(
            f"{node.name()}: the output folder {str(folder)!r} is no full path.",
            f"Begin it with / or a drive, or with {BESIDE_THE_SCRIPT}.",
        )
    unfit = [letter for letter in _UNFIT if letter in str(folder)]
    if unfit:
        raise JobError(
            f"{node.name()}: Nuke would evaluate the {unfit[0]} in the name of the output folder {str(folder)!r}.",
            "Choose another folder.",
        )
    return folder


def _homographies(node: nuke.Group) -> str:
    named = evaluated(node, "homographies")
    if _text(node, "camera") == FROM_FILE and not Path(named).is_file():
        raise JobError(f"{node.name()}: there is no file of homographies at {named!r}.", "Name one, or track: auto.")
    return named


def _view(node: nuke.Group) -> str:
    views: Dict[str, None] = dict.fromkeys(nuke.views())
    chosen = _text(node, "view") or next(iter(views))
    if chosen not in views:
        raise JobError(f"{node.name()}: the script has no view {chosen!r}.", "It has " + ", ".join(views) + ".")
    return chosen
