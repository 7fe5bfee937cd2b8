"""Small effects apart from everything that is an object's."""

import numpy as np
import pytest

from penumbra.lift.specks import NEARBY, SMALL, SMALL_IN_PICTURE, SURE, find_specks

SIZE = (200, 300)
BODY = (slice(50, 150), slice(40, 80))
FAR = (slice(160, 166), slice(200, 206))


def found(*, effects, claimed=0.1, body=BODY):
    """Where specks are, of effects at places (rows, columns) of which the network claims so much."""
    shown, mask = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)
    mask[body] = 1
    for place in effects:
        shown[place] = 1
    return find_specks(shown, np.float32(claimed) * (shown > 0), [mask, np.zeros_like(mask)])


def test_a_small_part_far_from_everything_is_a_speck_and_nothing_else_is():
    shadow = (slice(146, 152), slice(80, 180))
    specks = found(effects=[FAR, shadow])
    assert specks[FAR].all()
    assert not specks[shadow].any()
    assert not specks[BODY].any()
    assert not specks[:100].any()


def test_what_the_network_is_sure_of_is_none():
    assert not found(effects=[FAR], claimed=SURE + 0.01).any()


@pytest.mark.parametrize(("share", "speck"), [(0.9, True), (1.1, False)])
def test_what_is_large_beside_the_object_is_none(share, speck):
    body = (slice(50, 90), slice(40, 80))
    assert SMALL * 40 * 40 < SMALL_IN_PICTURE * 200 * 300
    width = round(share * SMALL * 40 * 40 / 2)
    assert found(effects=[(slice(20, 22), slice(200, 200 + width))], body=body).any() == speck


@pytest.mark.parametrize(("share", "speck"), [(0.9, True), (1.1, False)])
def test_what_is_large_in_the_picture_is_none(share, speck):
    assert SMALL * 100 * 40 > SMALL_IN_PICTURE * 200 * 300
    width = round(share * SMALL_IN_PICTURE * 200 * 300 / 4)
    assert found(effects=[(slice(20, 24), slice(200, 200 + width))]).any() == speck


@pytest.mark.parametrize(("gap", "speck"), [(0.8, False), (1.5, True)])
def test_a_part_beside_the_object_or_its_shadow_is_none(gap, speck):
    first = 80 + round(gap * NEARBY * SIZE[0])
    assert found(effects=[(slice(100, 104), slice(first, first + 4))]).any() == speck


def test_where_no_object_is_nothing_is_taken_away():
    assert not found(effects=[FAR], body=(slice(0, 0), slice(0, 0))).any()
