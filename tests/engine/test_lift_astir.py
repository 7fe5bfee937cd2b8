"""Where a frame shows much that is nobody's."""

import numpy as np
import pytest

from penumbra.lift.astir import APART, CLAIMED, RIM, astir, find_waves, led_to

SIZE = (64, 112)
WAVES = (slice(None, None, 6), slice(None, None, 6))


def astir_of(*, waves=None, owned=(), unrest=2 / 255):
    """What is astir where effects are shown at ``waves`` (rows, columns) and pixels are owned: (rows, columns) each."""
    shown, own = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)
    if waves:
        shown[waves] = 1
    for place in owned:
        own[place] = 0.1
        shown[place] = 1
    return astir(shown, own, np.full(SIZE, unrest, np.float32), APART)


BODY = (slice(20, 50), slice(50, 60))


def test_waves_that_are_nobodys_make_what_is_beside_an_object_doubtful():
    found = astir_of(waves=WAVES, owned=[BODY])
    assert found.shape == SIZE
    assert found.min() > 0.9
    assert found.max() <= 1


def test_effects_of_an_object_alone_are_no_waves():
    assert astir_of(owned=[BODY]).max() == 0


@pytest.mark.parametrize(("away", "stirs"), [(APART, False), (APART + 3, True)])
def test_the_faint_ends_of_an_objects_effects_are_no_waves(away, stirs):
    ends = (slice(20, 50), slice(60, 60 + away))
    assert bool(astir_of(waves=ends, owned=[BODY])[BODY].max() > 0) is stirs


@pytest.mark.parametrize(("unrest", "expected"), [(0.9 / 255, 0), (1.7 / 255, 1)])
def test_where_the_background_rests_they_are_somebody_elses_effects(unrest, expected):
    assert astir_of(waves=WAVES, owned=[BODY], unrest=unrest).max() == expected


def test_far_from_the_waves_nothing_is_astir():
    found = astir_of(waves=(slice(None), slice(0, 30)), owned=[(slice(20, 50), slice(90, 100))])
    assert found[:, 85:].max() == 0
    assert found[:, :30].min() > 0.9


def test_what_is_neither_dark_nor_claimed_nor_an_objects_rim_is_a_wave_where_it_is_astir():
    mask, shady, beyond = np.zeros(SIZE, np.float32), np.zeros(SIZE, bool), np.zeros(SIZE, np.float32)
    mask[20:40, 20:30] = 1
    shady[:, :10], beyond[50:55, 40:60] = True, CLAIMED
    waves = find_waves(shady, [mask, np.zeros_like(mask)], beyond)
    rim = RIM // 2
    expected = ~shady
    expected[20 - rim : 40 + rim, 20 - rim : 30 + rim] = False
    expected[50:55, 40:60] = False
    np.testing.assert_array_equal(waves, expected)


def test_the_end_of_a_shadow_that_begins_beside_its_owner_is_somebodys():
    shown, dark = np.zeros((256, 448), np.float32), np.zeros((256, 448), bool)
    own = np.zeros(SIZE, np.float32)
    own[20:40, 20:30] = 0.1
    mine, wave, bright = np.s_[150:156, 112:300], np.s_[200:206, 112:300], np.s_[80:156, 120:128]
    for place in (mine, wave):
        shown[place] = dark[place] = 1
    shown[bright] = 1
    led = led_to(shown, dark, own)
    assert led[mine].all()
    assert not led[wave].any()
    assert not led[bright][:60].any()
