"""A composition: tools made and wired while it is locked are there; values set then are read back and not rendered."""

import re
from pathlib import Path

from . import _pixels
from ._base import HostObject

KINDS = ("Loader", "Saver", "Merge", "Dissolve", "Custom", "MediaIn", "MediaOut", "Blur")
ASKING = ("Loader", "Saver")


class Input(HostObject):
    def __init__(self, tool, name):
        self._tool, self._name = tool, name

    def SetExpression(self, text):
        self._tool._put(self._name, _pixels.Expression(text))

    def GetExpression(self):
        return self._tool._node.inputs[self._name].text


class Tool(HostObject):
    def __init__(self, comp, kind, name, at):
        self._comp, self._kind, self._name, self._at = comp, kind, name, at
        self._node, self._shown, self._alive, self._passed = _pixels.Node(kind), {}, True, False

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return Input(self, name)

    def GetAttrs(self):
        told = {"TOOLS_Name": self._name, "TOOLS_RegID": self._kind, "TOOLB_PassThrough": self._passed}
        if self._kind == "Loader" and self._node.clip:
            clip = self._node.clip
            told.update(
                TOOLST_Clip_Name={1.0: clip["Filename"]},
                TOOLIT_Clip_StartFrame={1.0: clip["StartFrame"]},
                TOOLIT_Clip_Length={1.0: clip["Length"]},
                TOOLIT_Clip_TrimIn={1.0: clip["TrimIn"]},
                TOOLNT_Clip_Start={1.0: float(clip["GlobalStart"])},
                TOOLBT_Clip_Loop={1.0: False},
            )
        return told

    def SetAttrs(self, attributes):
        wanted = attributes["TOOLS_Name"]
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", wanted), wanted
        name, number = wanted, 0
        while self._comp._tool(name) not in (None, self):
            number += 1
            name = f"{wanted}_{number}"
        self._comp._rename(self, name)

    def GetInput(self, name, time=None):
        return self._shown.get(name)

    def SetInput(self, name, value):
        self._put(name, value)

    def _put(self, name, value):
        self._shown[name] = value
        if self._comp._locked:
            return
        self._node.inputs[name] = value
        if name == "Clip" and self._kind == "Loader":
            self._load(str(value))
        if name in ("GlobalIn", "GlobalOut") and self._node.clip:
            self._node.clip["Global" + {"GlobalIn": "Start", "GlobalOut": "End"}[name]] = value

    def _load(self, path):
        """A Loader given a file finds its sequence, and sets its range by it."""
        first = int(re.search(r"(\d+)\.\w+\Z", path).group(1))
        count = 0
        while Path(_pixels.numbered(path, first + count)).is_file():
            count += 1
        assert count, path
        self._node.clip = {"Filename": path, "StartFrame": first, "Length": count, "TrimIn": 0}
        self._node.clip.update(GlobalStart=0, GlobalEnd=count - 1)
        self._node.inputs.update(GlobalIn=0, GlobalOut=count - 1)

    def ConnectInput(self, name, tool):
        assert tool._alive
        self._node.inputs[name] = _pixels.Link(tool._name)
        return True

    def Delete(self):
        self._alive = False
        self._comp._tools.remove(self)


class FlowView(HostObject):
    def GetPosTable(self, tool):
        return {1.0: float(tool._at[0]), 2.0: float(tool._at[1])}


class CurrentFrame(HostObject):
    def __init__(self):
        self.FlowView = FlowView()


class Composition(HostObject):
    def __init__(self, first=0, last=9):
        self._tools, self._selected, self._locked, self._undo = [], [], 0, []
        self._span, self._name, self._renders = (first, last), "Composition1", 0
        self.CurrentFrame = CurrentFrame()

    def GetAttrs(self):
        first, last = self._span
        told = {"COMPN_GlobalStart": first - 10, "COMPN_GlobalEnd": last + 10, "COMPS_Name": self._name}
        return {**told, "COMPN_RenderStart": float(first), "COMPN_RenderEnd": float(last)}

    def GetToolList(self, selected):
        tools = self._selected if selected else self._tools
        return {float(index + 1): tool for index, tool in enumerate(tools)}

    def FindTool(self, name):
        return self._tool(name)

    def AddTool(self, name, x, y):
        assert name in KINDS, name
        assert name not in ASKING or self._locked, f"adding a {name} has opened a file dialog"
        number = 1
        while self._tool(f"{name}{number}") is not None:
            number += 1
        tool = Tool(self, name, f"{name}{number}", (x, y))
        self._tools.append(tool)
        return tool

    def Lock(self):
        self._locked += 1

    def Unlock(self):
        assert self._locked > 0
        self._locked -= 1

    def StartUndo(self, name):
        self._undo.append([name, None])

    def EndUndo(self, keep):
        self._undo[-1][1] = keep

    def Render(self, settings):
        assert not self._locked
        assert settings["Wait"], "what is not waited for is not there yet"
        saver = settings["Tool"]
        path = saver._node.inputs["Clip"]
        self._renders += 1
        for time in range(int(settings["Start"]), int(settings["End"]) + 1):
            link = saver._node.inputs["Input"]
            _pixels.write(_pixels.numbered(path, time), _pixels.image(self._graph(), link.tool, time))
        return True

    def _tool(self, name):
        return next((tool for tool in self._tools if tool._name == name), None)

    def _rename(self, tool, name):
        for other in self._tools:
            for value in other._node.inputs.values():
                if isinstance(value, _pixels.Link) and value.tool == tool._name:
                    value.tool = name
        tool._name = name

    def _graph(self):
        return {tool._name: tool._node for tool in self._tools}

    def _rooted(self, name):
        """Whether what a tool shows comes from the clip's MediaIn or a plate that was there before."""
        node = self._graph()[name]
        if node.kind == "MediaIn" or node.image is not None:
            return True
        return any(isinstance(v, _pixels.Link) and self._rooted(v.tool) for v in node.inputs.values())
