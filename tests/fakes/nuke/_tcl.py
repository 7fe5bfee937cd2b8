"""The little of Tcl and of Nuke's expressions that our scripts use: words, ``[value ...]``, ``frame<=3?0:1``."""

import posixpath
import re

ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def commands(text):
    """The commands of a script: lists of (kind, word), kind one of bare, quoted, braced."""
    position, words = 0, []
    while position < len(text):
        char = text[position]
        if char == "\n" or char == ";":
            if words:
                yield words
            words, position = [], position + 1
        elif char.isspace():
            position += 1
        elif char == "#" and not words:
            position = (text + "\n").index("\n", position)
        elif char == "{":
            end = _closing(text, position)
            words.append(("braced", text[position + 1 : end]))
            position = end + 1
        elif char == '"':
            word, position = _quoted(text, position + 1)
            words.append(("quoted", word))
        else:
            match = re.compile(r"(?:\[[^\]]*\]|\\.|[^\s\[])+").match(text, position)
            words.append(("bare", match.group()))
            position = match.end()
    if words:
        yield words


def _closing(text, position):
    depth, escaped = 0, False
    for index in range(position, len(text)):
        char = text[index]
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return index
    raise RuntimeError("missing close-brace")


def _quoted(text, position):
    out = []
    while position < len(text):
        char = text[position]
        if char == "\\":
            out.append(ESCAPES.get(text[position + 1], text[position + 1]))
            position += 2
        elif char == '"':
            return "".join(out), position + 1
        elif char in "[$":
            raise RuntimeError(f"{text[position : position + 30]!r} would be evaluated while the script is read")
        else:
            out.append(char)
            position += 1
    raise RuntimeError('missing "')


def eat_backslashes(text):
    """What is left of a Windows path in a string knob."""
    return re.sub(r"\\(.)", lambda match: ESCAPES.get(match.group(1), match.group(1)), text)


def substitute(text, node):
    """Evaluates every ``[...]`` of a knob's text, inside out, in the context of its node."""
    while True:
        inner = re.search(r"\[([^\[\]]*)\]", text)
        if inner is None:
            return text
        text = text[: inner.start()] + _call(inner.group(1), node) + text[inner.end() :]


def _call(command, node):
    name, _, rest = command.strip().partition(" ")
    if name == "value":
        return node._find_knob(rest)._evaluated()
    if (name, rest[:8]) == ("file", "dirname "):
        return posixpath.dirname(rest[8:]) or "."
    raise RuntimeError(f"invalid command name {name!r}")


TOKEN = re.compile(r"\s*(\d+\.?\d*|[A-Za-z_][\w.]*|<=|>=|==|!=|&&|\|\||[-+*/<>?:()!])")
LEVELS = (("||",), ("&&",), ("==", "!="), ("<", ">", "<=", ">="), ("+", "-"), ("*", "/"))


def evaluate(text, node, frame):
    """A number from an expression."""
    tokens = TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s", "", text):
        raise RuntimeError(f"nothing is known of {text!r}")
    value = _choice(tokens, node, frame)
    if tokens:
        raise RuntimeError(f"syntax error near {tokens[0]!r} in {text!r}")
    return value


def _choice(tokens, node, frame):
    condition = _level(0, tokens, node, frame)
    if tokens[:1] != ["?"]:
        return condition
    tokens.pop(0)
    yes = _choice(tokens, node, frame)
    assert tokens.pop(0) == ":"
    no = _choice(tokens, node, frame)
    return yes if condition else no


def _level(level, tokens, node, frame):
    if level == len(LEVELS):
        return _atom(tokens, node, frame)
    value = _level(level + 1, tokens, node, frame)
    while tokens and tokens[0] in LEVELS[level]:
        operator = tokens.pop(0)
        other = _level(level + 1, tokens, node, frame)
        value = {
            "||": lambda a, b: float(bool(a) or bool(b)), "&&": lambda a, b: float(bool(a) and bool(b)),
            "==": lambda a, b: float(a == b), "!=": lambda a, b: float(a != b), "<": lambda a, b: float(a < b),
            ">": lambda a, b: float(a > b), "<=": lambda a, b: float(a <= b), ">=": lambda a, b: float(a >= b),
            "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
        }[operator](value, other)  # fmt: skip
    return value


def _atom(tokens, node, frame):
    token = tokens.pop(0)
    if token == "(":
        value = _choice(tokens, node, frame)
        assert tokens.pop(0) == ")"
        return value
    if token == "-":
        return -_atom(tokens, node, frame)
    if token == "!":
        return float(not _atom(tokens, node, frame))
    if token == "frame":
        return float(frame)
    if token[0].isdigit():
        return float(token)
    return node._find_knob(token)._number(frame)
