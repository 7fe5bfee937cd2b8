"""Reading and writing of scripts by the rules of HOSTS 1.6, on a stack; knows nothing of what our writer does."""

import re

from . import _tcl
from ._graph import CLASSES, SCRIPT, USER_KNOBS, make


def read(text, parent):
    """Makes the nodes of a script inside ``parent``; returns them in order."""
    stack, groups, variables, made = [], [parent], {}, []
    stacks = [stack]
    for words in _tcl.commands(text):
        name = words[0][1]
        if name == "push":
            word = words[1][1]
            stacks[-1].append(None if word == "0" else variables[word[1:]])
        elif name == "set":
            match = re.fullmatch(r"\[stack (\d+)\]", words[2][1])
            variables[words[1][1]] = stacks[-1][-1 - int(match.group(1))]
        elif name == "end_group":
            groups.pop()
            stacks.pop()
        elif name == "Root":
            _set_knobs(SCRIPT.root, words[1][1])
        elif name != "version":
            node = make(name, groups[-1])
            count = _set_knobs(node, words[1][1])
            _connect(node, stacks[-1], count)
            stacks[-1].append(node)
            made.append(node)
            if name == "Group":
                groups.append(node)
                stacks.append([])
    if len(groups) != 1:
        raise RuntimeError("missing end_group")
    return made


def _connect(node, stack, count):
    if count is None:
        count = 0 if CLASSES[node._kind][0] == 0 else 1
    for index in range(count):
        node._connect(index, stack.pop() if stack else None)


def _set_knobs(node, body):
    """Sets what the body says; the number of inputs, if it says one."""
    inputs = None
    for words in _tcl.commands(body):
        knob, (kind, word) = words[0][1], words[1]
        if knob == "inputs":
            inputs = int(word.split("+")[0])
        elif knob == "addUserKnob":
            _add_user_knob(node, word)
        elif knob == "name":
            others = {child._name() for child in node._parent._children if child is not node}
            node._knobs["name"]._text = node._parent._free_name(word) if word in others else word
        elif knob in node._knobs:
            node._knobs[knob]._read(kind, word)
        else:
            raise RuntimeError(f"{node._kind} has no knob {knob!r}")
    return inputs


def _add_user_knob(node, body):
    words = [word for command in _tcl.commands(body) for _, word in command]
    kind, name, label, values = int(words[0]), words[1], words[1], []
    text = None
    options = iter(words[2:])
    for option in options:
        if option == "l":
            label = next(options)
        elif option == "M":
            values = [word for command in _tcl.commands(next(options)) for _, word in command]
        elif option == "T":
            text = next(options)
        elif option == "t":
            next(options)
        elif option.startswith(("+", "-")):
            pass
        else:
            raise RuntimeError(f"addUserKnob option {option!r}")
    made = USER_KNOBS[kind](name, label, values) if kind == 4 else USER_KNOBS[kind](name, label)
    if text is not None:
        made._text = text
    node._attach(made)
    node._user.append(made)


def write(root):
    """The whole script as text."""
    return "version 15.1 v2\n" + _body("Root", root, None) + _nodes(root)


def _nodes(group):
    lines, names = [], {}
    remaining = list(group._children)
    while remaining:
        ready = [n for n in remaining if all(s is None or s in names for s in n._sources)]
        for node in ready:
            for source in reversed(node._sources):
                lines.append("push 0\n" if source is None else f"push ${names[source]}\n")
            names[node] = f"N{id(node):x}"
            lines.append(_body(node._kind, node, len(node._sources)))
            if node._kind == "Group":
                lines += [_nodes(node), "end_group\n"]
            lines.append(f"set {names[node]} [stack 0]\n")
            remaining.remove(node)
    return "".join(lines)


def _body(kind, node, inputs):
    lines = [f"{kind} {{"] + ([] if inputs is None else [f" inputs {inputs}"])
    for knob in node._user:
        values = " M {" + " ".join(f'"{v}"' for v in knob._values) + "}" if knob._type == 4 else ""
        # Nuke writes a button's Python and a text's words with the definition itself.
        text = f" T {knob._written()}" if knob._type in (22, 26) else ""
        lines.append(
            f" addUserKnob {{{knob._type} {knob._name} l {knob.__dict__['_label']!r}".replace("'", '"')
            + f"{values}{text}}}"
        )
    for name, knob in node._knobs.items():
        if name == "name" and kind != "Root":
            lines.append(f" name {knob._text}")
        elif knob._type not in (20, 22, 26) and (knob._text or knob._formula) and name != "name":
            lines.append(f" {name} {knob._written()}")
    return "\n".join([*lines, "}\n"])
