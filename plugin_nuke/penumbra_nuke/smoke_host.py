"""Tries the node in a real Nuke, without a window: ``nuke -t smoke_host.py FOLDER``.

FOLDER is empty or missing. A small moving picture is made of Nuke's own nodes, decomposed without refinement, shown,
and sent to the script; every step prints a line, and the exit code is 0 where all of it worked. What cannot be tried so
is what needs a window: the panel, the progress bar, the menu.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nuke

FIRST, LAST = 1001, 1006


def main(arguments: List[str]) -> int:
    """Runs every step; the exit code."""
    if len(arguments) != 1:
        nuke.tprint("nuke -t smoke_host.py FOLDER")
        return 2
    folder = Path(arguments[0]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    nuke.scriptSaveAs((folder / "smoke.nk").as_posix(), True)
    from penumbra_nuke import layers_host, node_host

    node = node_host.create()
    node["objects"].setValue("box")
    # Without a window nobody calls knobChanged.
    node_host.changed(node, node["objects"])
    plate, mask = _picture()
    checks = [("plate plugged in", node.setInput(0, plate)), ("mask plugged in", node.setInput(1, mask))]
    node["refine"].setValue("off")
    for knob, value in (("first", FIRST), ("last", LAST)):
        node[knob].setValue(value)
    node["frames"].setValue("as below")
    checks.append(("channels are told as rgba.alpha", "rgba.alpha" in mask.channels()))
    outcome = node_host.decompose(node)
    checks.append(("decomposed", outcome is not None and outcome.exit_code == 0))
    inside = nuke.toNode(f"{node.fullName()}.Layers.layer_box")
    checks.append(("layers inside the node", inside is not None))
    if inside is not None:
        checks.append(("a Read follows the node's folder", Path(str(nuke.filename(inside)) % FIRST).is_file()))
    node["show"].setValue("clean plate")
    switch = nuke.toNode(f"{node.fullName()}.Layers.show")
    checks.append(("a pull-down is its index in an expression", switch is not None and switch["which"].value() == 3))
    layers_host.send(node)
    checks.append(("layers sent to the script", nuke.exists(f"{node.name()}_difference")))
    nuke.scriptSaveAs((folder / "smoke.nk").as_posix(), True)
    nuke.scriptOpen((folder / "smoke.nk").as_posix())
    again = nuke.toNode("Penumbra1")
    checks.append(("saved and opened", again is not None and again["objects"].value() == "box"))
    for what, well in checks:
        nuke.tprint(f"{'ok  ' if well else 'FAIL'} {what}")
    return 0 if all(well for _, well in checks) else 1


def _picture() -> List[nuke.Node]:
    """A grey plate with a brighter box that moves, and the box's mask, of nodes every edition has."""
    ground = nuke.nodes.Expression(
        expr0="0.2+0.1*sin(x/7)*cos(y/5)", expr1="0.2+0.1*sin(x/5)*cos(y/7)", expr2="0.25", expr3="0"
    )
    left = f"(x-8*(frame-{FIRST}))"
    inside = f"(({left}>4)*({left}<20)*(y>15)*(y<32))"
    box = nuke.nodes.Expression(
        expr0=f"{inside}?0.8:r", expr1=f"{inside}?0.3:g", expr2=f"{inside}?0.1:b", expr3=inside, inputs=[ground]
    )
    for node in (ground, box):
        for index, channel in enumerate(("red", "green", "blue", "alpha")):
            node[f"channel{index}"].setValue(channel)
    return [box, box]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
