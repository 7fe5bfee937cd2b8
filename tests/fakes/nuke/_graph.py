"""Nodes and knobs of the fake, strict where the real ones are: threads, deleted nodes, unknown knobs, ten nodes."""

import threading

from . import _tcl


class Script:
    """What one Nuke holds: reset for every test."""

    def __init__(self):
        self.main = threading.main_thread()
        self.path = ""
        self.limit = None
        self.touched = []
        self.callback = []
        self.undo = []
        self.undo_depth = self.undo_off = 0
        self.messages = []
        self.printed = []
        self.tasks = []
        self.queue = []
        self.executed = []
        self.proxies_seen = []
        self.views = ["main"]
        self.menus = []
        self.plugin_path = []
        self.cancel_render = False
        self.frame = 1
        self.root = None
        self.context = []


SCRIPT = Script()


def check_thread(what):
    if threading.current_thread() is not SCRIPT.main:
        raise RuntimeError(f"{what} was called from a thread that is not the main one: Nuke would crash")


def touch(node):
    """Python got hold of a node: Non-commercial and Indie allow ten, the preferences among them. That deleted ones do
    not count, and that every button starts anew, is assumed.
    """
    if node is not None and node not in SCRIPT.touched:
        SCRIPT.touched[:] = [*(other for other in SCRIPT.touched if not other._deleted), node]
        if SCRIPT.limit is not None and len(SCRIPT.touched) + 1 > SCRIPT.limit:
            raise RuntimeError("You have exceeded the maximum number of nodes Python may access in this version")
    return node


class Guarded:
    """Public attributes are for the main thread, and for as long as the node is there."""

    def __getattribute__(self, name):
        if not name.startswith("_"):
            check_thread(f"{type(self).__name__}.{name}")
            node = object.__getattribute__(self, "_owner")
            if node is not None and node._deleted:
                raise ValueError("A PythonObject is not attached to a node")
        return object.__getattribute__(self, name)


class Knob(Guarded):
    """``_text`` is what the script holds, ``_formula`` an expression in its place."""

    _type = 1

    def __init__(self, name, label=None, *_):
        self._name, self._label = name, name if label is None else label
        self._owner, self._text, self._formula, self._changed = None, "", None, False
        self._flags, self._tooltip, self._enabled, self._visible = 0, "", True, True

    def _evaluated(self):
        return self._text

    def _number(self, frame):
        if self._formula is not None:
            return _tcl.evaluate(self._formula, self._owner, frame)
        text = {"true": "1", "false": "0", "": "0"}.get(self._text, self._text)
        return float(text)

    def _read(self, kind, word):
        """A word of a script."""
        if kind == "braced" and word.startswith("{") and word.endswith("}"):
            self._formula = word[1:-1].strip('"')
        else:
            self._text = word
        self._changed = True

    def _written(self):
        if self._formula is not None:
            return "{{" + self._formula + "}}"
        text = self._text
        for special in '\\"[]{}$':
            text = text.replace(special, "\\" + special)
        return '"' + text.replace("\n", "\\n") + '"'

    def name(self):
        return self._name

    def label(self):
        return self._label

    def node(self):
        return touch(self._owner)

    def setFlag(self, flag):  # noqa: N802
        self._flags |= flag

    def clearFlag(self, flag):  # noqa: N802
        self._flags &= ~flag

    def setTooltip(self, text):  # noqa: N802
        self._tooltip = text

    def tooltip(self):
        return self._tooltip

    def setEnabled(self, enabled):  # noqa: N802
        self._enabled = enabled

    def enabled(self):
        return self._enabled

    def setVisible(self, visible):  # noqa: N802
        self._visible = visible

    def visible(self):
        return self._visible

    def value(self, *_):
        return self._text

    def toScript(self, *_):  # noqa: N802
        return self._written()

    def setValue(self, value, *_):  # noqa: N802
        self._text, self._formula, self._changed = self._taken(value), None, True
        if self._owner is not None:
            self._owner._tell(self)
        return True

    def setExpression(self, formula, *_):  # noqa: N802
        self._formula, self._changed = formula, True
        return True

    def _taken(self, value):
        return str(value)


class String_Knob(Knob):  # noqa: N801
    _type = 1

    def __init__(self, name, label=None, value=""):
        super().__init__(name, label)
        self._text = value

    def _taken(self, value):
        return _tcl.eat_backslashes(value)


class EvalString_Knob(String_Knob):  # noqa: N801
    _type = 2

    def _evaluated(self):
        return _tcl.substitute(self._text, self._owner)

    def evaluate(self, *_):
        return self._evaluated()

    def getText(self, *_):  # noqa: N802
        return self._text


class File_Knob(EvalString_Knob):  # noqa: N801
    _type = 2

    def fromUserText(self, text):  # noqa: N802
        if "\\" in text:
            raise AssertionError("a path with backslashes reached a knob")
        self.setValue(text)

    def getEvaluatedValue(self, *_):  # noqa: N802
        return self._evaluated()


class Multiline_Eval_String_Knob(EvalString_Knob):  # noqa: N801
    _type = 43


class Text_Knob(Knob):  # noqa: N801
    _type = 26

    def __init__(self, name, label=None, value=""):
        super().__init__(name, label)
        self._text = value


class Tab_Knob(Knob):  # noqa: N801
    _type = 20


class Array_Knob(Knob):  # noqa: N801
    _type = 7

    def setRange(self, low, high):  # noqa: N802
        self._range = (low, high)

    def value(self, *_):
        return self._number(SCRIPT.frame)

    getValue = value  # noqa: N815


class Double_Knob(Array_Knob):  # noqa: N801
    _type = 7


class Int_Knob(Array_Knob):  # noqa: N801
    _type = 3

    def value(self, *_):
        return int(self._number(SCRIPT.frame))

    def _taken(self, value):
        return str(int(value))


class Boolean_Knob(Array_Knob):  # noqa: N801
    _type = 6

    def value(self, *_):
        return bool(self._number(SCRIPT.frame))

    def _taken(self, value):
        return "true" if value else "false"


class Enumeration_Knob(Knob):  # noqa: N801
    _type = 4

    def __init__(self, name, label, values):
        super().__init__(name, label)
        self._values = list(values)
        self._text = self._values[0] if self._values else ""

    def _number(self, frame):
        if self._formula is not None:
            return super()._number(frame)
        return float(self._values.index(self._text)) if self._text in self._values else 0.0

    def _taken(self, value):
        return self._values[value] if isinstance(value, int) else str(value)

    def values(self):
        return list(self._values)

    def setValues(self, values):  # noqa: N802
        index = int(self._number(SCRIPT.frame))
        self._values = list(values)
        if self._text not in self._values:
            self._text = self._values[min(index, len(values) - 1)] if values else ""
        self._changed = True


class Script_Knob(Knob):  # noqa: N801
    _type = 22

    def __init__(self, name, label=None, command=""):
        super().__init__(name, label)
        self._text, self._pressed = command, 0

    def command(self):
        return self._text

    def execute(self):
        self._pressed += 1
        run_callback(self._owner, self, self._text)


class PyScript_Knob(Script_Knob):  # noqa: N801
    pass


class Reload_Knob(Script_Knob):  # noqa: N801
    """A Read's own button: counts how often it was pressed."""

    def execute(self):
        self._pressed += 1


USER_KNOBS = {
    1: String_Knob, 2: File_Knob, 3: Int_Knob, 4: Enumeration_Knob, 6: Boolean_Knob, 7: Double_Knob, 20: Tab_Knob,
    22: PyScript_Knob, 26: Text_Knob, 43: Multiline_Eval_String_Knob,
}  # fmt: skip


def run_callback(node, knob, code):
    """Runs a knob's Python as Nuke does: only meanwhile there is a this-node."""
    import sys

    if not SCRIPT.callback:
        SCRIPT.touched.clear()
    SCRIPT.callback.append((node, knob))
    try:
        exec(code, {"nuke": sys.modules["nuke"], "__name__": "__main__"})
    finally:
        SCRIPT.callback.pop()


COMMON = (
    "name:s", "xpos:i", "ypos:i", "label:e", "note_font:s", "note_font_size:i", "tile_color:i", "selected:b",
    "hide_input:b", "disable:b",
    "knobChanged:s", "onCreate:s", "autolabel:s",
)  # fmt: skip
CLASSES = {
    "Root": (0, ("name:f", "project_directory:f", "first_frame:i", "last_frame:i", "format:s", "proxy:b",
                 "colorManagement:s", "OCIO_config:s", "workingSpaceLUT:s", "fps:d", "customOCIOConfigPath:f")),
    "Read": (0, ("file_type:s", "file:f", "format:s", "first:i", "last:i", "origfirst:i", "origlast:i", "origset:b",
                 "before:s", "after:s", "frame_mode:s", "frame:s", "on_error:s", "colorspace:s", "premultiplied:b",
                 "raw:b", "auto_alpha:b", "proxy:f", "localizationPolicy:s", "reload:r")),
    "Write": (1, ("file:f", "file_type:s", "channels:s", "datatype:s", "compression:s", "raw:b", "create_directories:b",
                  "autocrop:b", "metadata:s", "colorspace:s", "use_limit:b", "first:i", "last:i", "views:s")),
    "Merge2": (3, ("operation:s", "mix:d", "output:s", "bbox:s", "metainput:s", "also_merge:s")),
    "Switch": (1000, ("which:d",)),
    "Multiply": (2, ("channels:s", "value:d")),
    "Grade": (2, ("channels:s", "multiply:d", "gamma:d", "add:d")),
    "Expression": (1, tuple(f"{knob}{index}:s" for index in range(4) for knob in ("channel", "expr"))),
    "Colorspace": (2, ("channels:s", "colorspace_in:s", "colorspace_out:s")),
    "NoOp": (1, ()),
    "Dot": (1, ()),
    "Input": (0, ("number:i",)),
    "Output": (1, ()),
    "Group": (1000, ()),
    "TimeOffset": (1, ("time_offset:i",)),
    "StickyNote": (0, ()),
    "BackdropNode": (0, ("bdwidth:i", "bdheight:i", "z_order:i")),
    "Viewer": (10, ()),
}  # fmt: skip
KNOBS = {
    "s": String_Knob,
    "e": EvalString_Knob,
    "f": File_Knob,
    "i": Int_Knob,
    "d": Double_Knob,
    "b": Boolean_Knob,
    "r": Reload_Knob,
}
DEFAULTS = {
    "Multiply": {"value": "1", "channels": "rgb"}, "Merge2": {"operation": "over", "mix": "1", "output": "all"},
    "Read": {"colorspace": "default (linear)", "frame_mode": "expression", "before": "hold", "after": "hold"},
    "Write": {"channels": "rgb", "datatype": "16 bit half"},
    "Root": {"colorManagement": "Nuke", "workingSpaceLUT": "linear", "first_frame": "1", "last_frame": "100"},
    "Grade": {"multiply": "1", "gamma": "1"}, "Colorspace": {"colorspace_in": "Linear", "colorspace_out": "Linear"},
}  # fmt: skip


class Node(Guarded):
    def __init__(self, kind, parent):
        if kind not in CLASSES:
            raise RuntimeError(f"{kind}: Unknown command")
        self._owner, self._deleted = self, False
        self._kind, self._parent, self._knobs, self._sources, self._children = kind, parent, {}, [], []
        self._user = []
        for entry in (*COMMON, *CLASSES[kind][1]):
            name, _, letter = entry.partition(":")
            if name not in self._knobs or kind == "Root":
                self._attach(KNOBS[letter](name))
        for name, text in DEFAULTS.get(kind, {}).items():
            self._knobs[name]._text = text
        if parent is not None:
            self._knobs["name"]._text = parent._free_name(kind.rstrip("2"))
            parent._children.append(self)

    def _attach(self, knob):
        knob._owner = self
        self._knobs[knob._name] = knob

    def _tell(self, knob):
        code = self._knobs["knobChanged"]._text
        if code and not SCRIPT.callback:
            run_callback(self, knob, code)

    def _free_name(self, stem):
        taken, number = {child._name() for child in self._children}, 1
        if stem not in taken and not stem[-1:].isalpha():
            return stem
        base = stem.rstrip("0123456789")
        while f"{base}{number}" in taken:
            number += 1
        return f"{base}{number}"

    def _name(self):
        return self._knobs["name"]._text

    def _full_name(self):
        above = self._parent
        return self._name() if above is None or above._parent is None else f"{above._full_name()}.{self._name()}"

    def _find_knob(self, path):
        """``folder``, ``parent.output``, ``root.name`` or ``Sibling.knob``, as seen from this node."""
        *steps, knob = path.split(".")
        node = self
        for index, step in enumerate(steps):
            if step == "root":
                node = SCRIPT.root
            elif step == "parent":
                node = node._parent
            elif step == "this":
                pass
            else:
                within = node if index else node._parent
                node = next((child for child in within._children if child._name() == step), None)
            if node is None:
                raise RuntimeError(f"{path}: no such node as {step}")
        if knob not in node._knobs:
            raise RuntimeError(f"{path}: no such knob as {knob}")
        return node._knobs[knob]

    def _input(self, index):
        return self._sources[index] if index < len(self._sources) else None

    def _connect(self, index, node):
        while len(self._sources) <= index:
            self._sources.append(None)
        self._sources[index] = node

    def _inputs_inside(self):
        inside = [child for child in self._children if child._kind == "Input"]
        return sorted(inside, key=lambda child: child._knobs["number"]._number(0))

    def _delete(self):
        for child in list(self._children):
            child._delete()
        self._parent._children.remove(self)
        if self._kind == "Input":
            del self._parent._sources[len(self._parent._inputs_inside()) :]
        for other in self._parent._children:
            other._sources = [None if source is self else source for source in other._sources]
        self._deleted = True

    def __getitem__(self, name):
        check_thread("Node.__getitem__")
        if self._deleted:
            raise ValueError("A PythonObject is not attached to a node")
        if name not in self._knobs:
            raise NameError(f"knob {name} does not exist")
        return self._knobs[name]

    def knobs(self):
        return dict(self._knobs)

    def knob(self, name):
        return self._knobs.get(name)

    def addKnob(self, knob):  # noqa: N802
        if knob._name in self._knobs:
            raise ValueError(f"there is already a knob {knob._name}")
        self._attach(knob)
        self._user.append(knob)

    def Class(self):  # noqa: N802
        return self._kind

    def name(self):
        return self._name() if self._parent is not None else (SCRIPT.path or "Root")

    def fullName(self):  # noqa: N802
        return self._full_name()

    def setName(self, name, uncollide=True, **_):  # noqa: N802
        others = {child._name() for child in self._parent._children if child is not self}
        self._knobs["name"]._text = self._parent._free_name(name) if name in others else name

    def parent(self):
        return touch(self._parent)

    def input(self, index):
        return touch(self._input(index))

    def inputs(self):
        return len(self._inputs_inside()) if self._kind == "Group" else len(self._sources)

    def setInput(self, index, node):  # noqa: N802
        most = len(self._inputs_inside()) if self._kind == "Group" else CLASSES[self._kind][0]
        if index >= most:
            return False
        self._connect(index, node)
        return True

    def xpos(self):
        return int(self._knobs["xpos"]._number(0))

    def ypos(self):
        return int(self._knobs["ypos"]._number(0))

    def setXYpos(self, x, y):  # noqa: N802
        self._knobs["xpos"]._text, self._knobs["ypos"]._text = str(x), str(y)

    def firstFrame(self):  # noqa: N802
        return self._range()[0]

    def lastFrame(self):  # noqa: N802
        return self._range()[1]

    def _range(self):
        if self._kind == "Read":
            return tuple(int(self._knobs[name]._number(0)) for name in ("first", "last"))
        if self._kind == "TimeOffset":
            shift = int(self._knobs["time_offset"]._number(0))
            return tuple(end + shift for end in self._sources[0]._range())
        source = self._input(0)
        if self._kind == "Input":
            source = self._parent._input(int(self._knobs["number"]._number(0)))
        if source is not None:
            return source._range()
        return tuple(int(SCRIPT.root._knobs[name]._number(0)) for name in ("first_frame", "last_frame"))

    def channels(self):
        from . import _render

        found = _render.image(self, self._range()[0])
        return [f"rgba.{name}" if name in _render.RGBA else name for name in found]

    def showControlPanel(self, *_):  # noqa: N802
        pass

    def __repr__(self):
        return f"<{self._kind} {self._full_name() if self._parent else 'root'}>"


class Group(Node):
    def begin(self):
        SCRIPT.context.append(self)
        return self

    def end(self):
        SCRIPT.context.pop()

    def __enter__(self):
        return self.begin()

    def __exit__(self, *_):
        self.end()

    def nodes(self):
        return [touch(child) for child in self._children]

    def node(self, name):
        return touch(next((child for child in self._children if child._name() == name), None))


class Root(Group):
    def proxy(self):
        return bool(self._knobs["proxy"]._number(0))

    def setProxy(self, on):  # noqa: N802
        self._knobs["proxy"]._text = "true" if on else "false"

    def addView(self, name):  # noqa: N802
        SCRIPT.views.append(name)


def make(kind, parent):
    return {"Group": Group, "Root": Root}.get(kind, Node)(kind, parent)
