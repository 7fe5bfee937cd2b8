"""How far the background itself is from the clean plate, where objects are in the way."""

import numpy as np
import pytest

from penumbra.unrest import LEVELS
from penumbra.unrest import unrest as unrest_of

SAND, WATER = (0.8, 0.7, 0.5), (0.2, 0.6, 0.7)


def unrest(difference, covered, behind=SAND, restless=None):
    """Of a frame that is so far from its clean plate, all in the green channel."""
    clean = np.broadcast_to(np.float32(behind), (*covered.shape, 3)).copy()
    return unrest_of(clean + difference[..., None] * np.float32([0, 1, 0]), clean, covered, restless)


def masked(*, height=72, width=128):
    covered = np.zeros((height, width), np.float32)
    covered[30:50, 60:70] = 1
    return covered


def test_where_nothing_differs_there_is_none():
    assert not unrest(np.full((72, 128), 1e-3, np.float32), masked()).any()


def test_what_moves_all_around_moves_behind_the_object_too():
    level = unrest(np.full((72, 128), 0.1, np.float32), masked())
    step = LEVELS[1] / LEVELS[0]
    assert (level >= 0.1 * 0.999).all()
    assert (level <= 0.1 * step).all()


def test_the_object_and_what_lies_near_it_do_not_count():
    difference = np.zeros((72, 128), np.float32)
    difference[25:55, 50:80] = 0.9
    assert not unrest(difference, masked()).any()


def test_a_long_thin_shadow_does_not_count_as_the_backgrounds():
    difference = np.zeros((72, 128), np.float32)
    difference[48:54] = 0.4
    assert not unrest(difference, masked()).any()


def test_water_moves_behind_the_object_and_the_sand_beside_it_does_not():
    difference, behind = np.zeros((72, 128), np.float32), np.empty((72, 128, 3), np.float32)
    difference[:36], behind[:36], behind[36:] = 0.1, WATER, SAND
    level = unrest(difference, masked(), behind)
    assert level[32, 65] == pytest.approx(0.1, rel=0.25)
    assert level[48, 65] == 0


def test_sparse_foam_counts_where_the_background_is_restless_and_a_shadow_elsewhere_does_not():
    difference, behind = np.zeros((72, 128), np.float32), np.empty((72, 128, 3), np.float32)
    behind[:32], behind[32:] = WATER, SAND
    difference[4:9], difference[60:66] = 0.3, 0.3  # a sixth of the water, a sixth of the sand
    restless = np.full((72, 128), 0.003, np.float32)
    restless[:32] = 0.02
    assert not unrest(difference, masked(), behind).any()
    level = unrest(difference, masked(), behind, restless)
    assert level[28, 65] > 0.1
    assert level[55, 65] == 0


def test_masks_that_cover_everything_leave_nothing_to_judge_by():
    assert not unrest(np.full((72, 128), 0.3, np.float32), np.ones((72, 128), np.float32)).any()
