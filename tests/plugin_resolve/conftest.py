"""The engine of this environment, without refinement, in a folder of the test's own."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _resolve_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PENUMBRA_PYTHON", sys.executable)
    monkeypatch.setenv("PENUMBRA_RESOLVE_FOLDER", str(tmp_path / "Shots ünïcode"))
    monkeypatch.setenv("PENUMBRA_RESOLVE_REFINE", "off")
    monkeypatch.setenv("PENUMBRA_RESOLVE_WINDOW", "off")
