"""Draws the pictures of docs/nuke.md from the node itself: ``python docs/images/draw_nuke_node.py``.

The node is made in the tests' stand-in for Nuke, whose nodes have the places, names, wires and knobs that a Nuke would
be given; only how Nuke paints them is imitated.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))

import fakes.nuke as nuke  # noqa: E402

sys.modules["nuke"] = nuke

from fakes.nuke import _script  # noqa: E402
from penumbra.layer_graph import LayerGraph, OrderSpan  # noqa: E402
from penumbra.nuke_script import layers_script  # noqa: E402
from penumbra_nuke import node_host  # noqa: E402
from penumbra_nuke.group_script import layers_inside  # noqa: E402
from penumbra_nuke.layers_host import place_beside  # noqa: E402

SCALE, FONT = 2, cv2.FONT_HERSHEY_SIMPLEX
PAPER, WIRE, INK = (50, 50, 50), (20, 20, 20), (10, 10, 10)
# Blue, green, red, near what Nuke paints these classes with.
COLORS = {
    "Read": (190, 190, 190),
    "Merge2": (220, 135, 80),
    "Switch": (150, 180, 200),
    "Input": (160, 160, 160),
    "Output": (160, 160, 160),
    "Multiply": (200, 170, 130),
    "Group": (90, 170, 110),
    "Dot": (120, 120, 120),
    "NoOp": (130, 200, 215),
}
WIDTH, HEIGHT = 122, 34
GRAPH = LayerGraph(
    names=("car", "person"), first=1001, last=1100, padding=4, size=(1920, 1080), pixel_aspect=1.0, fps="24",
    space="lin_rec709", spans=(OrderSpan(1001, 1049, ("car", "person")), OrderSpan(1050, 1100, ("person", "car"))),
)  # fmt: skip


def text(sheet, words, left, baseline, ink=INK, size=0.42):
    """ASCII, as OpenCV's letters are."""
    at = (round(left * SCALE), round(baseline * SCALE))
    cv2.putText(sheet, words.encode("ascii", "replace").decode(), at, FONT, size * SCALE, ink, SCALE, cv2.LINE_AA)


def fitted(words, size, width):
    """The size at which words are no wider than ``width``."""
    return size * min(1.0, width * SCALE / max(1, cv2.getTextSize(words, FONT, size * SCALE, SCALE)[0][0]))


def middle(node):
    """Where wires end."""
    return node.xpos() + WIDTH / 2, node.ypos() + HEIGHT / 2


def draw_graph(nodes, path):
    """Boxes at their places, wires by their inputs; input 0 is named where there are several."""
    left, top = (min(node.xpos() for node in nodes) - 20, min(node.ypos() for node in nodes) - 20)
    right, bottom = (max(node.xpos() for node in nodes) + WIDTH + 20, max(node.ypos() for node in nodes) + HEIGHT + 20)
    sheet = np.full((round((bottom - top) * SCALE), round((right - left) * SCALE), 3), PAPER, np.uint8)

    def place(x, y):
        return round((x - left) * SCALE), round((y - top) * SCALE)

    for node in nodes:
        for index, source in enumerate(node._sources):
            if source in nodes:
                cv2.line(sheet, place(*middle(source)), place(*middle(node)), WIRE, SCALE, cv2.LINE_AA)
                (x0, y0), (x1, y1) = middle(node), middle(source)
                share = 0.42 + 0.06 * (index % 2)
                if len(node._sources) > 1 and node._kind in ("Merge2", "Switch"):
                    label = ("B", "A")[index] if node._kind == "Merge2" else str(index)
                    at = (x0 + (x1 - x0) * share - left + 4, y0 + (y1 - y0) * share - top)
                    text(sheet, label, *at, ink=(200, 200, 200), size=0.36)
    for node in nodes:
        x, y = node.xpos(), node.ypos()
        if node._kind == "Dot":
            cv2.circle(sheet, place(*middle(node)), 6 * SCALE, COLORS["Dot"], -1, cv2.LINE_AA)
            continue
        color = COLORS.get(node._kind, (170, 170, 170))
        cv2.rectangle(sheet, place(x, y), place(x + WIDTH, y + HEIGHT), color, -1)
        cv2.rectangle(sheet, place(x, y), place(x + WIDTH, y + HEIGHT), WIRE, 1)
        lines = [node._name(), *[line for line in [detail(node)] if line]]
        for row, line in enumerate(lines):
            size = fitted(line, 0.38 if row == 0 else 0.3, WIDTH - 10)
            height = (21 if len(lines) == 1 else 14) + 13 * row
            text(sheet, line, x - left + 5, y - top + height, size=size)
    cv2.imwrite(str(path), sheet)


def detail(node):
    """What a node does, in a few words."""
    if node._kind == "Read":
        return Path(node._knobs["file"]._text).name
    if node._kind in ("Switch", "Multiply"):
        knob = node._knobs["which" if node._kind == "Switch" else "value"]
        return (knob._formula or knob._text).replace("parent.parent.", "node.")
    return node._knobs["operation"]._text if node._kind == "Merge2" else ""


def draw_panel(node, path):
    """The knobs of every tab, side by side."""
    tabs = []
    for knob in node._user:
        if knob._type == 20:
            tabs.append((knob._label, []))
        elif knob._label:
            tabs[-1][1].append(knob)
    row, wide = 27, 430
    sheet = np.full(
        (SCALE * (row * (1 + max(len(knobs) for _, knobs in tabs)) + 20), SCALE * wide * len(tabs), 3), PAPER, np.uint8
    )
    for number, (title, knobs) in enumerate(tabs):
        left = number * wide
        cv2.rectangle(
            sheet, ((left + 6) * SCALE, 6 * SCALE), ((left + wide - 6) * SCALE, (row + 2) * SCALE), (75, 75, 75), -1
        )
        text(sheet, title, left + 16, 24, (235, 235, 235), 0.5)
        for index, knob in enumerate(knobs, 1):
            draw_knob(sheet, knob, left, row * index + 12, wide)
    cv2.imwrite(str(path), sheet)


def draw_knob(sheet, knob, left, top, wide):
    """A label and a field, or a button."""
    button = knob._type == 22
    box = (left + 132, top + 3), (left + (300 if button else wide - 14), top + 24)
    color = (110, 110, 110) if button else (35, 35, 35)
    cv2.rectangle(sheet, *[(x * SCALE, y * SCALE) for x, y in box], color, -1)
    if button:
        text(sheet, knob._label, box[0][0] + 10, top + 18, (240, 240, 240), 0.42)
        return
    needed = cv2.getTextSize(knob._label, FONT, 0.42 * SCALE, SCALE)[0][0] / SCALE
    label = (205, 205, 205) if knob._enabled else (120, 120, 120)
    text(sheet, knob._label, left + 124 - needed, top + 18, label, 0.42)
    shown = knob._text + ("   v" if knob._type == 4 else "")
    size = fitted(shown, 0.4, wide - 164)
    text(sheet, shown, box[0][0] + 6, top + 18, (225, 225, 225) if knob._enabled else (105, 105, 105), size)


def main(folder):
    """Makes the node, and draws it into ``folder``."""
    nuke.reset()
    with tempfile.TemporaryDirectory() as shot:
        nuke.scriptSaveAs(f"{shot}/comp.nk")
        node = node_host.create()
    nuke.change(node, "objects", "car person")
    node["order"].setValue("1050: person car")
    node["object"].setValues(["car", "person"])
    draw_panel(node, folder / "nuke_panel.png")
    for index, name in enumerate(("plate", "car_roto", "person_roto", "painted_clean")):
        read = nuke.nodes.Read(name=name, file=f"{name}.%04d.exr")
        read.setXYpos(index * 150, 0)
        node.setInput(index, read)
    node.setXYpos(150, 110)
    text_of_layers = layers_script(GRAPH, "Penumbra1_", at=place_beside(node, GRAPH), plate_given=True)
    made = _script.read(text_of_layers, nuke.SCRIPT.root)
    nuke.find("Penumbra1_difference").setInput(0, nuke.find("plate"))
    draw_graph(list(nuke.SCRIPT.root._children), folder / "nuke_script.png")
    assert made
    inside = _script.read(layers_inside(GRAPH), node)
    draw_graph([child for child in inside if child._parent is not node], folder / "nuke_inside.png")


if __name__ == "__main__":
    main(Path(__file__).parent)
