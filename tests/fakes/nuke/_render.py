"""What nodes of the fake give at a frame, read and written with OpenImageIO: {channel: H x W float32}."""

from pathlib import Path

import numpy as np
import OpenImageIO as oiio

from . import _tcl
from ._graph import SCRIPT

STANDARD = {"R": "red", "G": "green", "B": "blue", "A": "alpha", "Y": "red"}
RGBA = ("red", "green", "blue", "alpha")
SETS = {"rgba": RGBA, "rgb": RGBA[:3], "alpha": ("alpha",)}


def image(node, frame):
    """The channels a node gives; {} where nothing is connected."""
    if node is None:
        return {}
    maker = globals().get("_" + node._kind.lower())
    if maker is None:
        raise NotImplementedError(f"the fake cannot render {node._kind}")
    if node._knobs["disable"]._number(frame):
        return image(node._input(0), frame)
    return maker(node, frame)


def pixels(node, frame, channels=RGBA):
    """H x W x len(channels); a channel that is not there is 0."""
    found = image(node, frame)
    black = np.zeros_like(next(iter(found.values())))
    return np.dstack([found.get(name, black) for name in channels])


def _value(node, knob, frame):
    return node._knobs[knob]._number(frame)


def _text(node, knob):
    return node._knobs[knob]._text


def _read(node, frame):
    span = int(_value(node, "first", frame)), int(_value(node, "last", frame))
    path = expand(_file(node), min(max(frame, span[0]), span[1]))
    source = oiio.ImageInput.open(path)
    if source is None:
        raise RuntimeError(f"{node._full_name()}: {path}: no such file ({oiio.geterror()})")
    spec = source.spec()
    stored = np.asarray(source.read_image("float"), np.float32).reshape(spec.height, spec.width, -1)
    source.close()
    left, top, right, bottom = _extent(spec)
    full = np.zeros((bottom - top, right - left, stored.shape[2]), np.float32)
    full[spec.y - top : spec.y - top + spec.height, spec.x - left : spec.x - left + spec.width] = stored
    found = {STANDARD.get(name, name): full[..., index] for index, name in enumerate(spec.channelnames)}
    if spec.channelnames == ("Y",):
        found.update(green=found["red"], blue=found["red"])
    if path.endswith(".png") and not _value(node, "raw", frame):
        found = {name: _linear(values) if name in RGBA[:3] else values for name, values in found.items()}
    return found


def _file(node):
    """A relative name counts from the project directory."""
    folder = Path(SCRIPT.root._knobs["project_directory"]._evaluated())
    return (folder / node._knobs["file"]._evaluated()).as_posix()


def _extent(spec):
    """Left, top, right, bottom of everything a file has, overscan included: all images of a test share theirs."""
    return (
        min(spec.x, spec.full_x),
        min(spec.y, spec.full_y),
        max(spec.x + spec.width, spec.full_x + spec.full_width),
        max(spec.y + spec.height, spec.full_y + spec.full_height),
    )


def _header(node, frame):
    """The spec of the file whose format a node has: that of the first Read above it."""
    while node is not None and node._kind != "Read":
        inside = node._parent._input(int(_value(node, "number", frame))) if node._kind == "Input" else None
        node = inside or node._input(0)
    if node is None:
        return None
    span = int(_value(node, "first", frame)), int(_value(node, "last", frame))
    return oiio.ImageBuf(expand(_file(node), min(max(frame, span[0]), span[1]))).spec()


def _linear(values):
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _merge2(node, frame):
    behind, front = image(node._input(0), frame), image(node._input(1), frame)
    shape = next(iter({**behind, **front}.values()))
    a, b = ({name: side.get(name, np.zeros_like(shape)) for name in RGBA} for side in (front, behind))
    if _text(node, "operation") == "over":
        made = {name: a[name] + b[name] * (1 - a["alpha"]) for name in RGBA}
    elif _text(node, "operation") == "difference":
        made = {name: np.abs(a[name] - b[name]) for name in RGBA}
    else:
        raise NotImplementedError(_text(node, "operation"))
    return {**behind, **{name: made[name] for name in SETS.get(_text(node, "output"), RGBA)}}


def _switch(node, frame):
    return image(node._input(int(_value(node, "which", frame))), frame)


def _multiply(node, frame):
    found, factor = image(node._input(0), frame), np.float32(_value(node, "value", frame))
    wanted = SETS.get(_text(node, "channels"), RGBA)
    return {name: values * factor if name in wanted else values for name, values in found.items()}


def _grade(node, frame):
    found, factor = image(node._input(0), frame), np.float32(_value(node, "multiply", frame))
    return {name: values * factor if name in RGBA[:3] else values for name, values in found.items()}


def _colorspace(node, frame):
    assert (_text(node, "colorspace_in"), _text(node, "colorspace_out")) == ("sRGB", "Linear")
    return {n: _linear(v) if n in RGBA[:3] else v for n, v in image(node._input(0), frame).items()}


def _expression(node, frame):
    found = dict(image(node._input(0), frame)) or {name: np.zeros((48, 64), np.float32) for name in RGBA}
    before = dict(found)
    for index in range(4):
        into, formula = _text(node, f"channel{index}"), _text(node, f"expr{index}")
        if formula and into != "none":
            found[into] = before[formula] if formula in before else _formula(formula, before, frame)
    return found


def _formula(text, channels, frame):
    """Arithmetic on pixels, with one ``?:``; y grows upwards."""
    height, width = next(iter(channels.values())).shape
    rows, columns = np.indices((height, width), dtype=np.float32)
    letters = {name[0]: values for name, values in channels.items() if name in RGBA}
    names = {**letters, "x": columns, "y": height - 1 - rows, "frame": frame, "sin": np.sin, "cos": np.cos}

    def value(part):
        return eval(part, {"__builtins__": {}}, names)

    condition, _, rest = text.partition("?")
    if not rest:
        return np.broadcast_to(np.float32(value(condition)), (height, width)).astype(np.float32)
    yes, _, no = rest.partition(":")
    return np.where(value(condition), value(yes), value(no)).astype(np.float32)


def _noop(node, frame):
    return image(node._input(0), frame)


_dot = _output = _noop


def _timeoffset(node, frame):
    return image(node._input(0), frame - int(_value(node, "time_offset", frame)))


def _input(node, frame):
    return image(node._parent._input(int(_value(node, "number", frame))), frame)


def _group(node, frame):
    output = next(child for child in node._children if child._kind == "Output")
    return image(output, frame)


def expand(pattern, frame):
    return pattern % frame if "%" in pattern else pattern


def write(node, frame):
    """One frame of a Write, to disk; half size under proxy, as Nuke does."""
    channels = SETS.get(_text(node, "channels"), ())
    if not channels:
        raise RuntimeError(f"{node._full_name()}: no channels {_text(node, 'channels')}")
    values = pixels(node._input(0), frame, channels)
    if SCRIPT.root._knobs["proxy"]._number(frame):
        values = values[::2, ::2]
    path = expand(_tcl.substitute(_text(node, "file"), node), frame)
    if _value(node, "create_directories", frame):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    half = _text(node, "datatype") == "16 bit half"
    spec = oiio.ImageSpec(values.shape[1], values.shape[0], len(channels), oiio.HALF if half else oiio.FLOAT)
    spec.channelnames = tuple({"red": "R", "green": "G", "blue": "B", "alpha": "A"}[name] for name in channels)
    header = _header(node._input(0), frame)
    if header is not None and values.shape[:2] != (header.full_height, header.full_width):
        spec.x, spec.y = _extent(header)[:2]
    if header is not None and not SCRIPT.root._knobs["proxy"]._number(frame):
        spec.full_x, spec.full_y, spec.full_width, spec.full_height = (
            header.full_x, header.full_y, header.full_width, header.full_height
        )  # fmt: skip
        spec.attribute("PixelAspectRatio", header.get_float_attribute("PixelAspectRatio", 1.0))
    output = oiio.ImageOutput.create(path)
    if output is None or not output.open(path, spec) or not output.write_image(np.ascontiguousarray(values)):
        raise RuntimeError(f"Write: cannot write {path}")
    output.close()
