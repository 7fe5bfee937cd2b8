"""A Nuke in a process of its own: ``python drive_node.py PLUGIN_FOLDER SHOT window|farm|smoke``.

Runs under the oldest Python a host brings, without third-party packages: the installed plug-in, the fake Nuke, and the
engine as another process. Prints what the test looks at, as JSON.
"""

import json
import os
import runpy
import sys
from pathlib import Path

HOSTILE = json.loads(os.environ.pop("DRIVE_ENVIRONMENT", "{}"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fakes"))

import nuke  # noqa: E402


def say(facts):
    """A line of JSON."""
    sys.stdout.write(json.dumps(facts) + "\n")


def start(folder):
    """Nuke's start: init.py, and with a window menu.py, of a folder of plug-ins."""
    for name in ("init.py", "menu.py") if nuke.GUI else ("init.py",):
        exec(compile((folder / name).read_text(encoding="utf-8"), name, "exec"), {})
    sys.path[1:1] = [str(folder / path) for path in nuke.SCRIPT.plugin_path]


def build(shot, names=("car", "person"), last=1005):
    """A node with the shot plugged in, saved."""
    from penumbra_nuke import node_host

    nuke.scriptSaveAs((shot / "comp.nk").as_posix())
    node = node_host.create()
    nuke.change(node, "objects", " ".join(names))
    for index, file in enumerate(("plate.%04d.exr", *(name + ".%04d.png" for name in names))):
        read = nuke.nodes.Read(file=(shot / file).as_posix(), first=1001, last=last)
        node.setInput(index, read)
    node["refine"].setValue("off")
    node["camera"].setValue("locked")
    return node


def window(shot):
    """The artist's way."""
    node = build(shot)
    nuke.press(node, "decompose")
    nuke.pump(lambda: node._knobs["status"]._text not in ("working", "not run yet"), 280)
    nuke.press(node, "send")
    return node


def farm(shot):
    """The farm's: a saved script, opened by another Nuke without a window."""
    import penumbra_nuke

    build(shot)
    nuke.scriptSaveAs((shot / "comp.nk").as_posix())
    farm_host = Path(penumbra_nuke.__file__).with_name("farm_host.py")
    sys.argv = [str(farm_host), str(shot / "comp.nk"), "Penumbra1"]
    try:
        runpy.run_path(str(farm_host), run_name="__main__")
    except SystemExit as left:
        say({"exit": left.code})
    return nuke.find("Penumbra1")


def smoke(shot):
    """The script that is shipped for a real Nuke."""
    import penumbra_nuke

    smoke_host = Path(penumbra_nuke.__file__).with_name("smoke_host.py")
    sys.argv = [str(smoke_host), str(shot)]
    try:
        runpy.run_path(str(smoke_host), run_name="__main__")
    except SystemExit as left:
        say({"exit": left.code})
    return nuke.find("Penumbra1")


def main():
    """Runs one of them; the last line is JSON."""
    plugin, shot, way = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    nuke.reset(gui=way == "window")
    start(plugin)
    # What a wrapper exported before it started Nuke: it is in the environment, and did not hurt Nuke itself.
    os.environ.update(HOSTILE)
    node = {"window": window, "farm": farm, "smoke": smoke}[way](shot)
    said = {
        "python": list(sys.version_info[:2]),
        "status": None if node is None else node._knobs["status"]._text.partition("\n")[0],
        "messages": nuke.SCRIPT.messages,
        "printed": nuke.SCRIPT.printed,
        "nodes": [child._name() for child in nuke.SCRIPT.root._children],
        "foreign": sorted(set(sys.modules) & {"numpy", "OpenImageIO", "torch", "onnxruntime", "cv2", "typer"}),
    }
    say(said)


main()
