"""The documentation's pictures show the node as it is."""

from __future__ import annotations

import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest

IMAGES = Path(__file__).parents[2] / "docs" / "images"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PENUMBRA_NUKE_FOLDER", raising=False)
        runpy.run_path(str(IMAGES / "draw_nuke_node.py"))["main"](folder)
    return folder


@pytest.mark.parametrize("name", ["nuke_panel.png", "nuke_script.png", "nuke_inside.png"])
def test_a_picture_is_what_would_be_drawn_today(drawn, name):
    """Draw them again after a change of the node: python docs/images/draw_nuke_node.py."""
    now, kept = cv2.imread(str(drawn / name)), cv2.imread(str(IMAGES / name))
    assert now.shape == kept.shape
    # Edges of letters may differ from one OpenCV to the next; a word does not hide in that.
    away = np.abs(now.astype(int) - kept).max(axis=2) > 40
    assert away.mean() < 0.0003
