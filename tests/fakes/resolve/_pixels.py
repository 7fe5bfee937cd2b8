"""Images of files and of graphs of Fusion's tools, with OpenImageIO: H x W x 4 float32, alpha 1 where there is none.

A graph is {name: Node}; what a node's inputs mean is written down here anew, from Fusion's manual, and shares nothing
with the writers that are tested with it.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

try:
    import numpy as np
    import OpenImageIO as oiio
except ImportError:  # a host's own Python has neither: there nobody looks at pixels
    np = oiio = None


@dataclass
class Link:
    tool: str


@dataclass
class Expression:
    text: str


@dataclass
class Node:
    kind: str
    inputs: dict = field(default_factory=dict)
    clip: dict = field(default_factory=dict)
    image: object = None  # a function of time, for what comes from outside the graph


OWN_CHANNELS = {"R": [0], "G": [1], "B": [2], "A": [3], "Y": [0, 1, 2]}


def read(path, channels=None):
    """``channels``: which of the image each of the file's is, where they are not its own."""
    channels = channels or OWN_CHANNELS
    source = oiio.ImageInput.open(str(path))
    if source is None:
        raise RuntimeError(f"{path}: no such file ({oiio.geterror()})")
    spec = source.spec()
    stored = np.asarray(source.read_image("float"), np.float32).reshape(spec.height, spec.width, -1)
    source.close()
    full = np.zeros((spec.full_height, spec.full_width, 4), np.float32)
    full[..., 3] = 0 if any(3 in channels.get(name, []) for name in spec.channelnames) else 1
    top, left = spec.y - spec.full_y, spec.x - spec.full_x
    for index, name in enumerate(spec.channelnames):
        for channel in channels.get(name, []):
            full[top : top + spec.height, left : left + spec.width, channel] = stored[..., index]
    return full


def write(path, pixels, channels=("R", "G", "B", "A"), kind=None):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.ascontiguousarray(np.atleast_3d(pixels)[..., : len(channels)], np.float32)
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], kind or oiio.FLOAT)
    spec.channelnames = channels
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec), output.geterror()
    assert output.write_image(pixels)
    assert output.close()


def scaled(pixels, height, width):
    """The nearest pixels at another size; those of the same size are untouched."""
    rows = np.arange(height) * pixels.shape[0] // height
    return pixels[rows][:, np.arange(width) * pixels.shape[1] // width]


def numbered(path, number):
    """The file of another frame: Fusion takes the last digits of a name for its number."""
    found = re.match(r"(.*?)(\d+)(\.\w+)\Z", str(path))
    assert found, path
    return f"{found.group(1)}{number:0{len(found.group(2))}d}{found.group(3)}"


def image(graph, name, time):
    node = graph[name]
    if node.image is not None:
        return node.image(time)
    return globals()["_" + node.kind.lower()](graph, node, time)


def _value(graph, node, key, time, default):
    value = node.inputs.get(key, default)
    if isinstance(value, Expression):
        text = re.sub(r"\biif\(", "iif(", value.text)
        return eval(text, {"__builtins__": {}, "iif": lambda test, yes, no: yes if test else no, "time": time})
    return value


def _input(graph, node, key, time):
    link = node.inputs.get(key)
    assert isinstance(link, Link), f"{node.kind}: {key} is not connected"
    return image(graph, link.tool, time)


def _loader(graph, node, time):
    clip = node.clip
    first, last = (int(_value(graph, node, key, time, 0)) for key in ("GlobalIn", "GlobalOut"))
    assert first <= time <= last, f"the Loader of {clip['Filename']} has nothing at {time}, only {first}-{last}"
    assert clip["GlobalStart"] == first
    number = clip["StartFrame"] + clip["TrimIn"] + time - first
    found = read(numbered(clip["Filename"], number), _mapping(node))
    if _value(graph, node, "PostMultiplyByAlpha", time, 1):
        found[..., :3] *= found[..., 3:]
    # Depth 5 is float32; without it a half file is worked on in half.
    return found if _value(graph, node, "Depth", time, 0) == 5 else found.astype(np.float16)


def _mapping(node):
    """The channels of an EXR that a Loader takes for red, green, blue and alpha; None where they are the file's own."""
    colors = ("Red", "Green", "Blue", "Alpha")
    names = {color[0]: node.inputs.get(f"Clip1.OpenEXRFormat.{color}Name") for color in colors}
    if not any(names.values()):
        return None
    wanted = [name or own for own, name in names.items()]
    return {name: [index for index, other in enumerate(wanted) if other == name] for name in wanted}


def _merge(graph, node, time):
    below, above = _input(graph, node, "Background", time), _input(graph, node, "Foreground", time)
    assert _value(graph, node, "Operator", time, "Over") == "Over"
    additive = _value(graph, node, "SubtractiveAdditive", time, 0.5)
    alpha = above[..., 3:]
    laid = above * (additive + (1 - additive) * alpha) + below * (1 - alpha)
    blend = _value(graph, node, "Blend", time, 1)
    return (blend * laid + (1 - blend) * below).astype(below.dtype)


def _dissolve(graph, node, time):
    mix = _value(graph, node, "Mix", time, 0.5)
    below, above = _input(graph, node, "Background", time), _input(graph, node, "Foreground", time)
    return ((1 - mix) * below + mix * above).astype(above.dtype)


def _timespeed(graph, node, time):
    assert _value(graph, node, "Speed", time, 1) == 1
    return _input(graph, node, "Input", time - _value(graph, node, "Delay", time, 0))


def _custom(graph, node, time):
    images = {number: _input(graph, node, f"Image{number}", time) for number in (1, 2)}
    names = {f"{c}{n}": pixels[..., i].astype(np.float64) for n, pixels in images.items() for i, c in enumerate("rgba")}
    names.update(where=np.where, abs=np.abs, max=np.maximum)
    rows = [
        eval(
            node.inputs[f"{channel}Expression"].replace("^", "**").replace("if(", "where("), {"__builtins__": {}}, names
        )
        for channel in ("Red", "Green", "Blue", "Alpha")
    ]
    return np.dstack([np.broadcast_to(row, images[1].shape[:2]) for row in rows])
