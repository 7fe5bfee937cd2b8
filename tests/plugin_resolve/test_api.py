"""Our account of Resolve's API against the one its makers' documentation was made into."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path

import pytest

import fakes.resolve
from fakes.resolve import _fusion
from penumbra_resolve import api

DOCUMENTED = (
    "Resolve",
    "ProjectManager",
    "Project",
    "MediaPool",
    "Folder",
    "MediaPoolItem",
    "Timeline",
    "TimelineItem",
)
# The stubs know no method of Fusion's.
FUSION = {"Tool": _fusion.Tool, "FlowView": _fusion.FlowView, "Composition": _fusion.Composition}


def documented():
    found = importlib.util.find_spec("fusionscript-stubs")
    if found is None or not found.submodule_search_locations:
        pytest.skip("fusionscript-stubs are not installed: pip install fusionscript-stubs")
    path = Path(found.submodule_search_locations[0]) / "fusionscript.pyi"
    classes = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    names = tuple(argument.arg for argument in item.args.args[1:])
                    classes.setdefault(node.name, {}).setdefault(item.name, []).append(names)
    return classes


def methods(kind):
    return {name: item for name, item in vars(kind).items() if inspect.isfunction(item) and not name.startswith("_")}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_method_we_use_is_documented_with_these_arguments(name):
    known = documented()[name]
    for method, item in methods(getattr(api, name)).items():
        assert method in known, f"{name}.{method}"
        arguments = tuple(inspect.signature(item).parameters)[1:]
        # Of arguments that may be left out we leave some out; no other order, no other number.
        assert any(len(arguments) <= len(written) for written in known[method]), f"{name}.{method}{arguments}"
        if arguments and not any(written[: len(arguments)] == arguments for written in known[method]):
            assert {len(written) for written in known[method]} >= {len(arguments)}, f"{name}.{method}{arguments}"


@pytest.mark.parametrize("name", [*DOCUMENTED, *FUSION])
def test_the_fake_has_what_the_protocol_has(name):
    fake = FUSION.get(name) or getattr(fakes.resolve, name)
    for method, item in methods(getattr(api, name)).items():
        real = inspect.signature(getattr(fake, method))
        assert method in vars(fake), f"{name}.{method} would be fabricated"
        assert list(real.parameters)[: len(inspect.signature(item).parameters)] == list(
            inspect.signature(item).parameters
        ), f"{name}.{method}"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_fake_has_no_method_that_resolve_has_not(name):
    assert set(methods(getattr(fakes.resolve, name))) - set(documented()[name]) == set()


def test_studio_s_own_is_loud_on_the_free_edition():
    with pytest.raises(fakes.resolve.StudioOnly):
        _ = fakes.resolve.Resolve("DaVinci Resolve").Fusion().UIManager


def test_no_script_asks_for_what_only_studio_has_or_probes_by_attribute():
    for path in Path(api.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "hasattr" not in called, path
        assert not used & {"UIManager", "UIDispatcher", "CreateMagicMask", "SmartReframe", "Stabilize"}, path
