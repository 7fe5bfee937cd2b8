"""The few things every other part asks Nuke for. Main thread only, but for :func:`later`."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import nuke

from penumbra.errors import PenumbraError

LIMITED = "This edition of Nuke lets Python see ten nodes of a script, and they are used up."


class NodeLimitError(PenumbraError):
    """Nuke Non-commercial and Indie let Python touch ten nodes."""

    code = "node_limit"
    exit_code = 2


def read_script(group: nuke.Group, text: str) -> None:
    """Makes the nodes of a script's text inside ``group``, as one call whatever their number."""
    with tempfile.TemporaryDirectory(prefix="penumbra-") as folder:
        path = Path(folder) / "nodes.nk"
        # newline= of write_text is newer than Python 3.9.
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        with group:
            nuke.scriptReadFile(path.as_posix())


def tell(text: str) -> None:
    """A sentence for whoever is there: a window, or the terminal's log."""
    if nuke.GUI:
        nuke.message(text)
    else:
        nuke.tprint(text)


def later(call: Callable[..., None], *arguments: Any) -> None:
    """From another thread: has the main thread call this when it gets to it. Only with a window is there a loop."""
    nuke.executeInMainThread(call, args=arguments)


def is_alive(node: nuke.Node) -> bool:
    """Whether the node is still in the script."""
    try:
        node.name()
    except ValueError:
        return False
    return True


def value_of(node: nuke.Node, knob: str) -> Any:
    """A knob's value, None where the node has no such knob."""
    found = node.knob(knob)
    return None if found is None else found.value()


def evaluated(node: nuke.Node, knob: str) -> str:
    """A file knob's text after all substitution, with forward slashes."""
    found = node[knob]
    assert isinstance(found, nuke.EvalString_Knob)
    return str(found.evaluate() or "").replace("\\", "/")


def beside(node: nuke.Node, name: str) -> str:
    """The full name of a node in the same group as this one."""
    above = node.fullName().rpartition(".")[0]
    return f"{above}.{name}" if above else name


def script_folder() -> str:
    """Where the script is saved; empty as long as it is not."""
    return str(nuke.script_directory() or "")


@contextmanager
def full_resolution() -> Iterator[None]:
    """Proxy off meanwhile: a Write renders at the scale that is on."""
    root = nuke.root()
    before = bool(root.proxy())
    root.setProxy(False)
    try:
        yield
    finally:
        root.setProxy(before)


@contextmanager
def one_undo(name: str) -> Iterator[None]:
    """Everything within is one step back."""
    nuke.Undo.begin(name)
    try:
        yield
    finally:
        nuke.Undo.end()


@contextmanager
def limit_explained() -> Iterator[None]:
    """Nuke's own words about its ten nodes say nothing of what to do."""
    try:
        yield
    except RuntimeError as error:
        if not (nuke.env.get("nc") or nuke.env.get("indie")):
            raise
        raise NodeLimitError(
            f"{LIMITED} ({error})", "Open layers.nk of the output folder instead: it needs no Python."
        ) from error


def input_of(node: nuke.Node, index: int) -> Optional[nuke.Node]:
    """What is plugged in, dots left out."""
    found = node.input(index)
    while found is not None and found.Class() == "Dot":
        found = found.input(0)
    return found
