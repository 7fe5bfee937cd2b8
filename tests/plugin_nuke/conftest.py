"""Nuke's part is played by ``fakes.nuke``: it must be there before anything of the plug-in is imported."""

import sys

import pytest

import fakes.nuke

sys.modules["nuke"] = fakes.nuke


@pytest.fixture
def nuke():
    """A fresh Nuke with a window and an empty script."""
    fakes.nuke.reset()
    yield fakes.nuke
    fakes.nuke.reset()
