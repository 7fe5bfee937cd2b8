"""A real Lua, as bare as the one Resolve's free edition runs scripts in since 21.1 (HOSTS 2.1)."""

from __future__ import annotations

from lupa import lua51

from ._base import HostObject
from ._pixels import Expression, Link, Node

# Measured in that edition: these are not there, and print leads nowhere.
MISSING = ("io", "require", "package", "debug", "ffi", "module", "python")
_CONSTRUCTORS = """
return function(text)
    local function build(kind) return function(body) body.__kind = kind return body end end
    local env = setmetatable({ ordered = function() return function(body) return body end end },
                             { __index = function(_, kind) return build(kind) end })
    local chunk = assert(loadstring("return " .. text))
    return setfenv(chunk, env)()
end
"""
_PROXY = """
return function(call)
    local made = {}
    return function(object, id)
        if not made[id] then
            local proxy = { __object = object }
            made[id] = setmetatable(proxy, { __index = function(_, name)
                return function(self, ...)
                    assert(self == proxy, name .. " is called with a dot, not a colon")
                    return call(object, name, select("#", ...), ...)
                end
            end })
        end
        return made[id]
    end
end
"""


def read_setting(text):
    """The tools of a .setting as {name: Node}, and the name of the active one."""
    lua = lua51.LuaRuntime(unpack_returned_tuples=True, encoding="utf-8")
    table = lua.execute(_CONSTRUCTORS)(text)
    return {name: _node(tool) for name, tool in table.Tools.items()}, table.ActiveTool


def _node(tool):
    node = Node(tool.__kind, {key: _input(value) for key, value in tool.Inputs.items()})
    if tool.Clips is not None:
        clips = list(tool.Clips.values())
        assert len(clips) == 1
        node.clip = {key: value for key, value in clips[0].items() if key != "__kind"}
    return node


def _input(value):
    assert value["__kind"] == "Input"
    if value.SourceOp is not None:
        assert value.Source == "Output"
        return Link(value.SourceOp)
    if value.Expression is not None:
        return Expression(value.Expression)
    found = value.Value
    return found[1] if hasattr(found, "items") else found


def load_table(path):
    """What a Lua file of data returns, as dictionaries and lists."""
    lua = lua51.LuaRuntime(encoding="utf-8")
    return _plain(lua.execute(path.read_text(encoding="utf-8")))


def run_script(path, resolve):
    """Runs a script with this Resolve; what it printed, which there nobody would see."""
    lua = lua51.LuaRuntime(unpack_returned_tuples=True, encoding="utf-8", register_eval=False)
    printed = []
    globals_ = lua.globals()
    for name in MISSING:
        globals_[name] = None
    clock = globals_.os
    for name in ("execute", "remove", "rename", "exit"):
        clock[name] = None
    bridge = _Bridge(lua)
    globals_.print = lambda *words: printed.append(" ".join(str(word) for word in words))
    globals_.resolve = bridge.to_lua(resolve)
    lua.execute(path.read_text(encoding="utf-8"))
    return printed


class _Bridge:
    def __init__(self, lua):
        self._lua, self._proxy, self._kept = lua, lua.execute(_PROXY)(self._call), {}

    def _call(self, thing, name, count, *arguments):
        values = [self._from_lua(value) for value in arguments[:count]]
        return self.to_lua(getattr(thing, name)(*values))

    def to_lua(self, value):
        if isinstance(value, HostObject):
            self._kept[id(value)] = value
            return self._proxy(value, id(value))
        if isinstance(value, (list, tuple)):
            return self._lua.table(*[self.to_lua(item) for item in value])
        if isinstance(value, dict):
            return self._lua.table_from({key: self.to_lua(item) for key, item in value.items()})
        return value

    def _from_lua(self, value):
        if lua51.lua_type(value) != "table":
            return value
        if value["__object"] is not None:
            return value["__object"]
        return _plain(value, self._from_lua)


def _plain(value, convert=None):
    if lua51.lua_type(value) != "table":
        return value
    convert = convert or _plain
    keys = list(value.keys())
    if keys == list(range(1, len(keys) + 1)):
        return [convert(value[key]) for key in keys]
    return {key: convert(value[key]) for key in keys}
