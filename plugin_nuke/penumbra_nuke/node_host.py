"""The Penumbra node: how it is made, and what its buttons do. Main thread only."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

import nuke

from penumbra import __version__
from penumbra.errors import JobError, OutputOfAnotherJobError, PenumbraError, Stopped
from penumbra.job import load_job
from penumbra.nuke_script import ROW
from penumbra_nuke import layers_host, run_host
from penumbra_nuke.engine import examine, locate_engine
from penumbra_nuke.group_script import empty_inside, mask_input
from penumbra_nuke.inputs_host import gather
from penumbra_nuke.knobs_host import DECIDING, add_knobs, dim, leave_the_original, output_folder, read_settings
from penumbra_nuke.running import Outcome
from penumbra_nuke.script_host import evaluated, limit_explained, read_script, tell
from penumbra_nuke.settings import CHANNELS_OF_ONE, CLEAN_INPUT, NodeSettings, make_job, mask_inputs, parse_objects

STOPPED = "Stopped; what is finished is kept. Resume goes on."
WORKING, STOPPING = "working", "stopping"
LEFT_OFF = "Was working when the script was saved. Resume goes on, Reload shows what has been finished since."
# The state of the panel is no place for more; the manifest has all of them.
MOST_WARNINGS = 5
ABOUT = f"""Penumbra {__version__}
One RGBA layer per object, with its shadows and reflections in the layer, plus a clean plate.
After Lu et al., Associating Objects and Their Effects in Video through Coordination Games, NeurIPS 2022.
Licence: Apache-2.0. Help: docs/nuke.md of the project."""


def create() -> nuke.Group:
    """A new node in the script; with a window, below the selected node, and plugged into it."""
    selected = _selected() if nuke.GUI else None
    made = nuke.createNode("Group", inpanel=False) if nuke.GUI else nuke.nodes.Group()
    assert isinstance(made, nuke.Group)
    made.setName("Penumbra1")
    add_knobs(made)
    names = ["object1", CLEAN_INPUT]
    read_script(made, empty_inside(names))
    made["wired"].setValue(" ".join(names))
    if selected is not None:
        # The group had no input yet when Nuke would have connected it.
        made.setInput(0, selected)
        made.setXYpos(selected.xpos(), selected.ypos() + ROW)
    if nuke.GUI:
        made.showControlPanel()
    return made


def _selected() -> Optional[nuke.Node]:
    # The list of all of them would cost an edition of ten nodes all ten.
    try:
        return nuke.selectedNode()
    except ValueError:
        return None


def press(node: nuke.Group, action: str) -> None:
    """Does what a button says; every failure is a sentence, with a window in one."""
    try:
        with limit_explained():
            _ACTIONS[action](node)
    except Stopped as stopped:
        _say(node, stopped.sentence)
    except PenumbraError as error:
        _say(node, error.sentence)
        if not nuke.GUI:
            raise
        tell(str(error))
    except Exception as error:
        nuke.tprint(traceback.format_exc())
        if not nuke.GUI:
            raise
        tell(f"An unexpected fault: {type(error).__name__}: {error}. Please report it with the lines in the terminal.")


def changed(node: nuke.Group, knob: nuke.Knob) -> None:
    """Keeps the node's inputs those of its objects, and its panel honest."""
    if knob.name() == "showPanel" and node["status"].value() in (WORKING, STOPPING) and not run_host.is_running(node):
        _say(node, LEFT_OFF)
    if knob.name() in ("showPanel", *DECIDING):
        dim(node)
    if knob.name() in ("objects", "masks"):
        shared = node["masks"].value() == CHANNELS_OF_ONE
        try:
            choices = parse_objects(str(node["objects"].value()), shared)
        except JobError as error:
            _say(node, str(error))
            return
        with limit_explained():
            _wire(node, [*mask_inputs(choices, shared), CLEAN_INPUT])


def decompose(node: nuke.Group) -> Optional[Outcome]:
    """Renders what must be, and starts the engine; without a window returns its outcome."""
    settings = _prepared(node)
    python = locate_engine(settings.engine)
    _write_job(node, settings)
    _say(node, WORKING)
    return run_host.start(node, settings.job_file, python, False, _ended)


def resume(node: nuke.Group) -> Optional[Outcome]:
    """Goes on with the job as it was started; knobs changed since do not count."""
    run_host.refuse_while_running(node)
    settings = read_settings(node)
    if not settings.job_file.is_file():
        raise JobError(f"{node.name()}: there is nothing to resume in {settings.folder}.", "Press Decompose.")
    load_job(settings.job_file)
    python = locate_engine(settings.engine)
    _say(node, WORKING)
    return run_host.start(node, settings.job_file, python, True, _ended)


def export(node: nuke.Group) -> Path:
    """Writes the job, and the inputs it needs, for the command line."""
    settings = _prepared(node)
    _write_job(node, settings)
    tell(f"Written. Run it with:\n{_command_line(settings.job_file)}")
    return settings.job_file


def _command_line(job_file: Path) -> str:
    words = ["penumbra", "decompose", "--job", str(job_file)]
    return subprocess.list2cmdline(words) if os.name == "nt" else " ".join(map(shlex.quote, words))


def _cancel(node: nuke.Group) -> None:
    if not run_host.cancel(node):
        raise JobError(f"{node.name()} is not working.", "There is nothing to cancel.")
    _say(node, STOPPING)


def _reload(node: nuke.Group) -> None:
    graph = layers_host.reload(node)
    _say(node, f"{graph.first}-{graph.last}: {', '.join(graph.names)}")


def _send(node: nuke.Group) -> None:
    layers_host.send(node)


def _open_folder(node: nuke.Group) -> None:
    folder = output_folder(node)
    if not folder.is_dir():
        raise JobError(f"{node.name()}: there is no folder {folder} yet.", "Press Decompose.")
    if sys.platform == "win32":
        os.startfile(str(folder))
    else:
        subprocess.Popen(["open" if sys.platform == "darwin" else "xdg-open", str(folder)])


def _doctor(node: nuke.Group) -> None:
    tell(examine(evaluated(node, "engine")))


def _about(node: nuke.Group) -> None:
    tell(ABOUT)


_ACTIONS: Dict[str, Callable[[nuke.Group], object]] = {
    "decompose": decompose,
    "cancel": _cancel,
    "resume": resume,
    "reload": _reload,
    "send": _send,
    "open_folder": _open_folder,
    "doctor": _doctor,
    "export": export,
    "about": _about,
}


def _ended(node: nuke.Group, outcome: Outcome) -> None:
    """A run is over."""
    if outcome.exit_code == 0:
        with limit_explained():
            _reload(node)
        _say(node, "\n".join([str(node["status"].value()), *_told(outcome.warnings)]))
        return
    if outcome.stopped:
        _say(node, STOPPED)
        return
    _say(node, outcome.sentence)
    tell(outcome.sentence)


def _told(warnings: Sequence[str]) -> List[str]:
    more = len(warnings) - MOST_WARNINGS
    return [*warnings[:MOST_WARNINGS], *([f"{more} more warnings are in manifest.json"] if more > 0 else [])]


def _prepared(node: nuke.Group) -> NodeSettings:
    """The knobs, where nothing stands in the way of rendering inputs anew."""
    run_host.refuse_while_running(node)
    leave_the_original(node)
    settings = read_settings(node)
    made = [name for name in ("manifest.json", ".penumbra") if (settings.folder / name).exists()]
    if made and not settings.replace:
        # Rendering first and being refused by the engine afterwards would cost the earlier run its inputs.
        raise OutputOfAnotherJobError(
            f"{node.name()}: the output folder {settings.folder} holds layers or the beginnings of them.",
            "Press Resume or Reload, choose another folder, or replace them.",
        )
    return settings


def _write_job(node: nuke.Group, settings: NodeSettings) -> None:
    job = make_job(settings, *gather(node, settings))
    folder = settings.inputs_folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / ".job.json"
        temporary.write_text(json.dumps(job.to_dict(), indent=2) + "\n", encoding="utf-8")
        temporary.replace(settings.job_file)
    except OSError as error:
        raise JobError(
            f"The job {settings.job_file} cannot be written: {error.strerror}.", "Choose another output folder."
        ) from error


def _wire(node: nuke.Group, names: List[str]) -> None:
    """Makes the inputs behind the plate those of ``names``. What is plugged in stays with its name, renamed ones
    included.
    """
    before = str(node["wired"].value()).split()
    if names == before:
        return
    plugged = {name: node.input(index + 1) for index, name in enumerate(before)}
    gone = [name for name in before if name not in names]
    for name in names:
        if name not in before and gone:
            plugged[name] = plugged[gone.pop(0)]
    inside = [nuke.toNode(f"{node.fullName()}.{name}") for name in before]
    for index, found in enumerate(inside):
        if found is not None:
            # By way of a name no object has: two of them may be changing places.
            found.setName(f"mask{index}_") if index < len(names) else nuke.delete(found)
    for found, name in zip(inside, names):
        if found is not None:
            found.setName(name)
    # Only now are all names free that new ones may have.
    for number in range(len(before), len(names)):
        read_script(node, mask_input(names[number], number + 1))
    for index, name in enumerate(names):
        node.setInput(index + 1, plugged.get(name))
    node["wired"].setValue(" ".join(names))


def _say(node: nuke.Group, text: str) -> None:
    node["status"].setValue(text)
