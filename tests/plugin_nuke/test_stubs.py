"""Nothing of Nuke is used that its stubs do not know, and the fake invents nothing either."""

from __future__ import annotations

import ast
import importlib.util
import types
from pathlib import Path

import pytest

import fakes.nuke
from fakes.nuke import _graph

PLUGIN = Path(__file__).parents[2] / "plugin_nuke" / "penumbra_nuke"
OURS = {"reset", "pump", "press", "change", "find", "open_panel"}


def stub_names():
    """Module-level names and, by class, methods."""
    found = importlib.util.find_spec("nuke-stubs")
    if found is None or not found.submodule_search_locations:
        pytest.skip("types-nuke is not installed: pip install types-nuke")
    names, classes = set(), {}
    for path in Path(found.submodule_search_locations[0]).glob("*.pyi"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            if isinstance(node, ast.ClassDef):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                classes[node.name] = ({item.name for item in node.body if isinstance(item, ast.FunctionDef)}, bases)
            if isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names, classes


def used_names():
    for path in sorted(PLUGIN.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nuke":
                yield path.name, node.attr


def test_every_name_of_nuke_that_is_used_is_in_the_stubs():
    known, used = stub_names()[0], list(used_names())
    assert len(used) > 60
    assert [entry for entry in used if entry[1] not in known] == []


def test_the_fake_has_no_function_that_nuke_has_not():
    known = stub_names()[0] | OURS
    public = {
        name
        for name, value in vars(fakes.nuke).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and name not in ("SCRIPT", "check_thread", "touch")
    }
    assert public - known == set()


@pytest.mark.parametrize("kind", ["Node", "Group", "Root", "Knob", "String_Knob", "EvalString_Knob", "File_Knob",
                                  "Enumeration_Knob", "Script_Knob", "Int_Knob", "Boolean_Knob"])  # fmt: skip
def test_the_fakes_classes_have_no_method_that_nukes_have_not(kind):
    classes = stub_names()[1]

    def methods(name):
        own, bases = classes.get(name, (set(), []))
        return own.union(*(methods(base) for base in bases))

    public = {name for name in dir(getattr(_graph, kind)) if not name.startswith("_")}
    assert public - methods(kind) == set()


def test_no_host_module_is_needed_outside_and_no_qt_anywhere():
    for path in sorted(PLUGIN.rglob("*.py")):
        imported = {
            (node.module or "").partition(".")[0] if isinstance(node, ast.ImportFrom) else alias.name.partition(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        assert not imported & {"PySide2", "PySide6", "shiboken2", "numpy", "OpenImageIO", "nukescripts"}, path
        assert "nuke" not in imported or path.name.endswith("_host.py") or path.parent.name == "startup", path
