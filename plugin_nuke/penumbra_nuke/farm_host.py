"""Runs a node's job without a window: ``nuke -t farm_host.py SCRIPT NODE [--resume | --export]``.

Ends with the engine's exit code (see :mod:`penumbra.errors`). Nuke takes a last argument that looks like a number or a
range for itself, which neither a node's name nor an option does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List

# A farm's Nuke may have no NUKE_PATH: this file lies in the package it needs.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nuke

from penumbra.errors import JobError, PenumbraError

USAGE = "nuke -t farm_host.py SCRIPT NODE [--resume | --export]"


def main(arguments: List[str]) -> int:
    """Runs the job of one node of one script; the exit code."""
    try:
        return _run(arguments)
    except PenumbraError as error:
        nuke.tprint(str(error))
        return error.exit_code


def _run(arguments: List[str]) -> int:
    from penumbra_nuke import node_host

    options = [word for word in arguments if word.startswith("--")]
    named = [word for word in arguments if not word.startswith("--")]
    if len(named) != 2 or len(options) > 1 or set(options) - {"--resume", "--export"}:
        raise JobError("The arguments are not understood.", f"Write: {USAGE}.")
    script, name = named
    if not Path(script).is_file():
        raise JobError(f"There is no script {script}.", "Check the path.")
    nuke.scriptOpen(script)
    node = nuke.toNode(name)
    if not isinstance(node, nuke.Group) or node.knob("decompose") is None:
        raise JobError(f"The script {script} has no Penumbra node {name!r}.", "Check the name.")
    if options == ["--export"]:
        node_host.export(node)
        return 0
    outcome = node_host.resume(node) if options else node_host.decompose(node)
    assert outcome is not None
    if outcome.sentence:
        nuke.tprint(outcome.sentence)
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
