"""Shadows that are followed along the plate."""

import numpy as np
import pytest

from penumbra.belief import Noise, multiple
from penumbra.color import DisplayEncoding
from penumbra.lift.evidence import difference
from penumbra.lift.shade import (
    CARRIED,
    Shade,
    darker_than_around,
    find_shade,
    fine_size,
    follow,
    ground_beside,
    near_dark,
    within_reach,
)

SIZE = (8, 24)


def shade_of(parts, touched):
    """Shadows, each from one column of small pixels to another in one row; ``touched``: by which of two objects."""
    numbers = np.zeros((4 * SIZE[0], 4 * SIZE[1]), np.int32)
    for number, (row, left, right) in enumerate(parts, 1):
        numbers[4 * row + 1 : 4 * row + 3, 4 * left : 4 * right] = number
    beside = np.zeros((2, len(parts) + 1), bool)
    for number, index in enumerate(touched, 1):
        if index is not None:
            beside[index, number] = True
    nothing = np.zeros((2, *numbers.shape), bool)
    doubtful = np.zeros(len(parts) + 1)
    return Shade(numbers > 0, numbers, (numbers > 0).astype(np.float32), beside, nothing, doubtful)


def shares_of(*owned):
    """Shares of two objects: (object, row, left, right, share) of small pixels."""
    shares = np.zeros((2, *SIZE), np.float32)
    for index, row, left, right, share in owned:
        shares[index, row, left:right] = share
    return shares


@pytest.mark.parametrize(("touched", "led"), [(0, True), (None, False)])
def test_where_a_shadow_touches_its_owner_less_of_it_tells(touched, led):
    """A twentieth of it is owned; nothing of another shadow."""
    shares, reached = follow(shares_of((0, 3, 2, 3, 0.1)), shade_of([(3, 2, 22), (6, 2, 22)], [touched, touched]))
    assert (shares[0, 3, 3:22] == (CARRIED if led else 0)).all()
    assert shares[0, 3, 2] == np.float32(0.1)
    assert reached[4 * 3 + 1, 4 * 20] == led
    assert not shares[1].any()
    assert not shares[0, 6].any()


def test_what_somebody_owns_already_is_left():
    given = shares_of((0, 3, 2, 8, 0.3), (1, 3, 14, 22, 0.02))
    shares, _ = follow(given, shade_of([(3, 2, 22)], [0]))
    np.testing.assert_array_equal(shares[:, 3, 2:8], given[:, 3, 2:8])
    np.testing.assert_array_equal(shares[:, 3, 14:22], given[:, 3, 14:22])
    # Between them each has the part that is nearer.
    assert (shares[0, 3, 8:11] == CARRIED).all()
    assert (shares[1, 3, 11:14] == CARRIED).all()
    assert not shares[1, 3, :10].any()


def test_without_shadows_nothing_changes():
    given = shares_of((0, 3, 2, 8, 0.3))
    shares, reached = follow(given, shade_of([], []))
    assert shares is given
    assert not reached.any()


def test_what_a_shadow_leads_to_is_within_reach():
    reach = np.zeros(SIZE, np.float32)
    reach[3, 4] = 0.5
    far = within_reach(shade_of([(3, 2, 22), (6, 2, 22)], [None, None]), reach)
    assert (far[3, 2:22] == np.float32(0.5)).all()
    assert not far[6].any()


@pytest.mark.parametrize(
    ("plate", "fine"), [((2160, 3840), (256, 448)), ((128, 224), (128, 224)), ((48, 84), (64, 112))]
)
def test_the_fine_size_is_a_multiple_of_the_networks_and_no_larger_than_the_plate(plate, fine):
    assert fine_size(plate, (64, 112)) == fine


def picture(*changes, restless=0.0, moving=False, astir=False):
    """A body and what is changed around it: shades of a plate of grey ground, by (rows, columns, factors).

    ``moving``: whether the ground moves by itself; ``astir``: whether it does so much at this very frame.
    """
    clean = np.full((64, 96, 3), 0.3, np.float32)
    plate, mask = clean.copy(), np.zeros((64, 96), np.float32)
    for rows, columns, factors in changes:
        plate[rows[0] : rows[1], columns[0] : columns[1]] *= np.float32(factors)
    mask[10:40, 20:30] = 1
    plate[mask > 0] = 0.05
    deviation, moves = np.full((64, 96), restless, np.float32), np.full((64, 96), moving)
    many = multiple(difference(plate, clean, DisplayEncoding()), Noise(0.0005), deviation)
    dark, alike = darker_than_around(plate, mask < 0.02)
    stirring = np.full(dark.shape, astir)
    shady = ~stirring | near_dark(dark)
    return find_shade(plate, clean, [mask], many, moves, dark, shady, moves & (alike > 0.5), stirring)


WHITE, DARK = (2.0, 2.2, 2.4), (0.5, 0.5, 0.5)


def test_what_an_object_holds_is_beside_it_and_no_farther_than_its_arms():
    assert picture(((16, 20), (30, 38), WHITE)).held[0, 17, 34]
    assert not picture(((16, 20), (30, 60), WHITE)).held.any()
    assert not picture(((16, 20), (40, 44), WHITE)).held[0, 17, 42]
    assert not picture(((16, 20), (30, 38), WHITE), moving=True).held.any()


def test_a_shadow_is_what_darkens_every_channel_alike_and_touches_what_it_touches():
    shade = picture(((38, 42), (30, 60), DARK), ((50, 54), (30, 60), DARK), ((20, 30), (60, 80), WHITE))
    assert shade.touched.sum() == 1
    assert shade.touched[0, shade.numbers[40, 50]]
    assert shade.certain[52, 50]
    assert not shade.touched[0, shade.numbers[52, 50]]
    assert not shade.numbers[25, 70]


# What lies at the body's feet: the width of the picture wet, or a shadow among much that is lit.
WET, SHADOW = ((40, 64), (0, 96), (0.8, 0.8, 0.8)), ((40, 44), (20, 60), (0.2, 0.2, 0.2))
APART = ((40, 44), (44, 60), (0.2, 0.2, 0.2))  # the same apart from the feet


@pytest.mark.parametrize(
    ("ground", "moving", "astir", "claimed", "stays"),
    [
        (WET, True, False, 5, False),
        (WET, True, False, 20, True),
        (WET, False, False, 0, True),
        (SHADOW, True, False, 0, True),
        (SHADOW, True, True, 5, False),
        (SHADOW, True, True, 8, True),
        (APART, True, True, 0, True),
    ],
)
def test_wet_sand_and_the_hollows_of_waves_are_nobodys_unless_the_network_claims_much(
    ground, moving, astir, claimed, stays
):
    shade = picture(ground, moving=moving, astir=astir)
    alphas = np.zeros((1, 16, 24), np.float32)
    alphas[0, 10:, :claimed] = 0.03
    told, wet = shade.told(alphas)
    row, column = 42, 50
    assert shade.certain[row, column]
    assert bool(told.certain[row, column]) is stays
    assert bool(told.numbers[row, column]) is stays
    assert bool(wet[row // 4, column // 4] == 0) is stays
    assert wet.shape == alphas.shape[1:]
    assert not wet[:9].any()


def test_shadows_and_what_is_held_may_be_somebodys_however_the_background_moves():
    shadow = picture(((40, 44), (20, 60), DARK)).somebodys
    held = picture(((16, 20), (30, 38), WHITE)).somebodys
    assert shadow[42, 50]
    assert held[17, 34]
    assert not shadow[50:].any()
    assert not held[50:].any()


def test_where_the_ground_is_astir_a_shadow_is_dark_and_wet_sand_that_touches_it_is_not_of_it():
    calm, astir = (picture(WET, SHADOW, moving=True, astir=astir) for astir in (False, True))
    shadow, edge, wet = (42, 50), (46, 50), (56, 50)
    assert calm.numbers[shadow] == calm.numbers[wet] > 0
    assert astir.certain[shadow]
    assert astir.certain[edge]
    assert not astir.numbers[wet]
    assert astir.touched[0, astir.numbers[shadow]]


@pytest.mark.parametrize(("gap", "one"), [(12, True), (30, False)])
def test_a_short_gap_that_is_faintly_dark_joins_a_shadow(gap, one):
    faint = ((42, 46), (40, 40 + gap), (0.92, 0.92, 0.92))
    shade = picture(((42, 46), (30, 40), DARK), faint, ((42, 46), (40 + gap, 90), DARK), restless=0.01)
    assert not shade.certain[42:46, 46 : 34 + gap].any()
    assert bool(shade.numbers[44, 35] == shade.numbers[44, 80]) is one
    assert shade.numbers[44, 35]
    assert shade.numbers[44, 80]


def test_a_blue_shadow_on_foam_is_darker_than_around_and_foam_is_not():
    plate = np.full((64, 96, 3), 0.7, np.float32)
    plate[30:34, 40:60] = (0.2, 0.33, 0.37)
    plate[40:44, 40:60] = 0.95
    outside = np.ones((64, 96), bool)
    # A black object does not make its surroundings bright or dark.
    plate[10:28, 40:60], outside[10:28, 40:60] = 0, False
    dark, alike = darker_than_around(plate, outside)
    assert dark[31:33, 42:58].min() > 0.9
    assert alike[31:33, 42:58].min() > 0.9
    assert dark[38:].max() == alike[38:].max() == 0
    assert dark[29, 5] == 0


def test_water_amid_foam_is_darker_than_around_and_no_shadow():
    plate, outside = np.full((64, 96, 3), 0.8, np.float32), np.ones((64, 96), bool)
    plate[30:34, 40:60] = (0.1, 0.5, 0.6)
    dark, alike = darker_than_around(plate, outside)
    assert dark[31:33, 42:58].min() > 0.5
    assert alike.max() < 0.1


FOAM, BLUE = ((30, 64), (0, 96), (2.6, 2.8, 3.0)), ((40, 44), (20, 60), (0.3, 0.5, 0.6))


@pytest.mark.parametrize(("moving", "found"), [(True, True), (False, False)])
def test_a_shadow_on_foam_before_sand_is_told_by_the_foam_around(moving, found):
    """Blue on white, of which the clean plate knows nothing: brighter than the sand in blue."""
    shade = picture(FOAM, BLUE, moving=moving)
    assert bool(shade.certain[42, 38:56].all()) is found
    assert bool(shade.certain[42, 38:56].any()) is found
    assert not shade.certain[50:60].any()


def test_what_a_mask_leaves_over_of_a_dark_object_is_not_darker_than_around():
    plate, outside = np.full((64, 96, 3), 0.7, np.float32), np.ones((64, 96), bool)
    plate[10:30, 40:60], outside[11:29, 41:59] = 0, False
    assert max(found.max() for found in darker_than_around(plate, outside)) == 0


OF_SAND, OF_FOAM, SKYLIT = np.float32([0.75, 0.6, 0.45]), np.float32([0.7, 0.75, 0.8]), np.float32([0.5, 0.6, 0.7])
WASHED, STREAK = np.s_[40:90, 20:200], np.s_[60:66, 60:130]


def beside(*, ground=OF_FOAM, claimed=0.2, shadow=STREAK):
    """The clean plate, sand, that :func:`ground_beside` makes of a frame where foam has run over sand and a shadow
    lies on it, claimed so much; None or (H', W', 3).
    """
    clean = np.empty((128, 224, 3), np.float32)
    clean[:] = OF_SAND
    plate, outside = clean.copy(), np.ones(clean.shape[:2], bool)
    plate[WASHED] = ground
    outside[20:58, 50:60] = False
    plate[~outside] = (0.1, 0.1, 0.3)
    plate[shadow] = ground * SKYLIT
    dark, alike = darker_than_around(plate, outside)
    claims = np.zeros(outside.shape, np.float32)
    claims[shadow] = claimed
    many = multiple(difference(plate, clean, DisplayEncoding()), Noise(0.002), np.zeros(outside.shape, np.float32))
    return ground_beside(plate, clean, many, outside, dark, alike > 0.5, claims)


def test_under_a_shadow_on_foam_the_background_is_foam():
    found = beside()
    np.testing.assert_allclose(found[STREAK], np.broadcast_to(OF_FOAM, (6, 70, 3)), atol=0.02)
    np.testing.assert_allclose(found[55:59, 70:120], np.broadcast_to(OF_FOAM, (4, 50, 3)), atol=0.05)
    np.testing.assert_array_equal(found[:35], np.broadcast_to(OF_SAND, (35, 224, 3)))
    np.testing.assert_array_equal(found[20:40, 50:60], np.broadcast_to(OF_SAND, (20, 10, 3)))


@pytest.mark.parametrize(
    "given",
    [{"ground": OF_SAND}, {"claimed": 0.05}, {"shadow": np.s_[60:62, 60:65]}],
    ids=["on sand", "nobody's", "small"],
)
def test_other_shadows_leave_the_clean_plate_as_it_is(given):
    assert beside(**given) is None
