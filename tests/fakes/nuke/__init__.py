"""A Nuke without Nuke, for tests: small, and as unforgiving as the real one where that hurts.

Calls off the main thread fail. ``executeInMainThread*`` from the main thread raises, where Nuke would hang, and waits
for :func:`pump` from others. There is a this-node only inside callbacks. Deleted nodes raise ValueError. String knobs
eat backslashes. ``execute`` of a Write writes files. Ten nodes may be the limit. ``GUI = False`` refuses whatever needs
a window. Scripts are read and saved as text. Names below are Nuke's own; what a test needs besides is in lower case
with underscores.
"""

import queue
import sys
import threading
import time

from . import _graph, _script
from ._graph import (  # noqa: F401
    SCRIPT,
    Boolean_Knob,
    Double_Knob,
    Enumeration_Knob,
    EvalString_Knob,
    File_Knob,
    Group,
    Int_Knob,
    Knob,
    Multiline_Eval_String_Knob,
    Node,
    PyScript_Knob,
    Root,
    Script_Knob,
    String_Knob,
    Tab_Knob,
    Text_Knob,
    check_thread,
    touch,
)

GUI = True
INVISIBLE, STARTLINE, NO_ANIMATION, DO_NOT_WRITE = 0x400, 0x1000, 0x100, 0x200
NUKE_VERSION_STRING = "15.1v2"
env = {"nc": False, "indie": False}


def reset(gui=True, limit=None):
    """An empty script in a fresh Nuke."""
    global GUI
    SCRIPT.__init__()
    SCRIPT.queue = queue.Queue()
    SCRIPT.root = _graph.make("Root", None)
    SCRIPT.limit = limit
    GUI, env["nc"] = gui, limit is not None
    return sys.modules[__name__]


def pump(until, seconds=120):
    """Nuke's event loop: runs what other threads ask for until something is true."""
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError("nothing happened in Nuke for too long")
        try:
            SCRIPT.queue.get(timeout=0.02)()
        except queue.Empty:
            continue


def press(node, knob):
    """The artist presses a button."""
    node._knobs[knob].execute()


def change(node, knob, value):
    """The artist changes a knob: unlike a setValue in a callback it always calls knobChanged."""
    node._knobs[knob].setValue(value)


def open_panel(node):
    """The artist opens the node's panel: knobChanged hears of it by a knob that is none."""
    knob = _graph.Knob("showPanel")
    knob._owner = node
    node._tell(knob)


def find(path):
    """A node by full name, without Python having touched it."""
    node = SCRIPT.root
    for step in path.split("."):
        node = next((child for child in node._children if child._name() == step), None)
        if node is None:
            return None
    return node


class CancelledError(Exception):
    """Known to the stubs; a cancelled render has been seen to raise RuntimeError instead."""


def _needs_window(what):
    check_thread(what)
    if not GUI:
        raise RuntimeError(f"{what}: Invalid function call in non-gui mode")


def _here():
    return SCRIPT.context[-1] if SCRIPT.context else SCRIPT.root


def root():
    check_thread("root")
    return touch(SCRIPT.root)


def toNode(name):  # noqa: N802
    check_thread("toNode")
    return touch(find(name))


def exists(name):
    check_thread("exists")
    return find(name) is not None


def thisNode():  # noqa: N802
    check_thread("thisNode")
    if not SCRIPT.callback:
        raise ValueError("thisNode: there is no current node outside of a callback")
    return touch(SCRIPT.callback[-1][0])


def thisKnob():  # noqa: N802
    check_thread("thisKnob")
    if not SCRIPT.callback:
        raise ValueError("thisKnob: there is no current knob outside of a callback")
    return SCRIPT.callback[-1][1]


class _Nodes:
    def __getattr__(self, kind):
        def make(**knobs):
            check_thread(f"nodes.{kind}")
            node = _graph.make(kind, _here())
            for index, source in enumerate(knobs.pop("inputs", ())):
                node._connect(index, source)
            for name, value in knobs.items():
                node[name].setValue(value)
            return touch(node)

        return make


nodes = _Nodes()


def selectedNode():  # noqa: N802
    check_thread("selectedNode")
    for child in reversed(_here()._children):
        if child._knobs["selected"]._number(0):
            return touch(child)
    raise ValueError("no node selected")


def createNode(kind, knobs="", inpanel=True):  # noqa: N802
    _needs_window("createNode")
    return getattr(nodes, kind)()


def delete(node):
    check_thread("delete")
    if node._deleted:
        raise ValueError("A PythonObject is not attached to a node")
    node._delete()


def execute(node, first, last, increment=1, views=None, continueOnError=False):  # noqa: N803
    check_thread("execute")
    from . import _render

    SCRIPT.executed.append((node._full_name(), first, last, increment, views))
    SCRIPT.proxies_seen.append(SCRIPT.root.proxy())
    for number, frame in enumerate(range(first, last + 1, increment)):
        if SCRIPT.cancel_render and number == 2:
            raise RuntimeError("Cancelled")
        _render.write(node, frame)


def filename(node, *_):
    check_thread("filename")
    return node._knobs["file"]._evaluated() if "file" in node._knobs else None


def script_directory():
    check_thread("script_directory")
    return SCRIPT.path.rpartition("/")[0]


def views():
    check_thread("views")
    return list(SCRIPT.views)


def usingOcio():  # noqa: N802
    check_thread("usingOcio")
    return SCRIPT.root._knobs["colorManagement"]._text == "OCIO"


def message(text):
    _needs_window("message")
    SCRIPT.messages.append(text)


def ask(text):
    _needs_window("ask")
    SCRIPT.messages.append(text)
    return True


def tprint(*values, **_):
    SCRIPT.printed.append(" ".join(str(value) for value in values))


def menu(name):
    _needs_window("menu")
    return _Menu(name)


class _Menu:
    def __init__(self, path):
        self._path = path

    def addMenu(self, name, **_):  # noqa: N802
        return _Menu(f"{self._path}/{name}")

    def addCommand(self, name, command, **_):  # noqa: N802
        SCRIPT.menus.append((f"{self._path}/{name}", command))


def pluginAddPath(path, addToSysPath=True):  # noqa: N802, N803
    check_thread("pluginAddPath")
    SCRIPT.plugin_path.append(path)


class Undo:
    @classmethod
    def begin(cls, name=""):
        SCRIPT.undo_depth += 1
        if SCRIPT.undo_depth == 1:
            SCRIPT.undo.append((name, {id(node) for node in SCRIPT.root._children}))

    @classmethod
    def end(cls):
        SCRIPT.undo_depth -= 1

    @classmethod
    def disable(cls):
        SCRIPT.undo_off += 1

    @classmethod
    def enable(cls):
        SCRIPT.undo_off -= 1


def undo():
    """Takes back one step: what was made since it began."""
    _, before = SCRIPT.undo.pop()
    for node in [child for child in SCRIPT.root._children if id(child) not in before]:
        node._delete()


class ProgressTask:
    """May be made and driven from any thread; needs a window."""

    def __init__(self, title):
        if not GUI:
            raise RuntimeError("ProgressTask: Invalid function call in non-gui mode")
        self.title, self.progress, self.message, self.cancelled, self.open = title, [], [], False, True
        SCRIPT.tasks.append(_Shown(self))

    def setProgress(self, percent):  # noqa: N802
        assert isinstance(percent, int)
        assert 0 <= percent <= 100
        self.progress.append(percent)

    def setMessage(self, text):  # noqa: N802
        self.message.append(text)

    def isCancelled(self):  # noqa: N802
        return self.cancelled

    def __del__(self):
        self.open = False


class _Shown:
    """The window of a task: does not keep it alive."""

    def __init__(self, task):
        import weakref

        self.task, self.progress, self.message = weakref.ref(task), task.progress, task.message

    def press_cancel(self):
        task = self.task()
        if task is not None:
            task.cancelled = True


def executeInMainThread(call, args=(), kwargs=None):  # noqa: N802
    _ask_main(call, args, kwargs, None)


def executeInMainThreadWithResult(call, args=(), kwargs=None):  # noqa: N802
    answer = queue.Queue()
    _ask_main(call, args, kwargs, answer)
    return answer.get()


def _ask_main(call, args, kwargs, answer):
    if threading.current_thread() is SCRIPT.main:
        raise AssertionError("executeInMainThread from the main thread: Nuke would hang")
    if not GUI:
        raise AssertionError("executeInMainThread without an event loop: nuke -t would hang")
    args = args if isinstance(args, tuple) else (args,)

    def run():
        result = None
        try:
            result = call(*args, **(kwargs or {}))
        except Exception as error:  # noqa: BLE001 # Nuke prints it and goes on with None
            SCRIPT.printed.append(f"traceback: {error!r}")
        if answer is not None:
            answer.put(result)

    SCRIPT.queue.put(run)


def scriptReadFile(path):  # noqa: N802
    check_thread("scriptReadFile")
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        _script.read(file.read(), _here())


def scriptSaveAs(path, overwrite=False):  # noqa: N802
    check_thread("scriptSaveAs")
    SCRIPT.path = str(path)
    SCRIPT.root._knobs["name"]._text = SCRIPT.path
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(_script.write(SCRIPT.root))


def scriptOpen(path):  # noqa: N802
    check_thread("scriptOpen")
    for child in list(SCRIPT.root._children):
        child._delete()
    SCRIPT.touched.clear()
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        text = file.read()
    _script.read(text, SCRIPT.root)
    SCRIPT.path = str(path)
    SCRIPT.root._knobs["name"]._text = SCRIPT.path


reset()
