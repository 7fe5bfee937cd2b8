"""The guarantees of the solution as properties: whatever comes in, the layers recompose to the plate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penumbra.compositing import over
from penumbra.lift.kernels import FLOOR, solve_pixels, upward
from penumbra.lift.precision import Precision


def _case(seed, objects, peak, hard):
    rng = np.random.default_rng(seed)
    shape = (8, 9)
    plate = (rng.random((3, *shape)) ** 4 * peak).astype(np.float32)
    clean = (rng.random((3, *shape)) ** 2 * peak * rng.choice([0.01, 1, 3])).astype(np.float32)
    alphas = rng.random((objects, *shape)).astype(np.float32)
    if hard:
        alphas = np.select([rng.random(alphas.shape) < 0.3, rng.random(alphas.shape) < 0.3], [0, 1], alphas)
        alphas[:, rng.random(shape) < 0.2] *= 1e-5
        plate[:, rng.random(shape) < 0.1] = 0
        clean[:, rng.random(shape) < 0.1] = 0
    # Half floats, so that the written background can hold the plate exactly where nothing is owned.
    plate = plate.astype(np.float16).astype(np.float32)
    alphas = alphas.astype(np.float32)
    colours = (rng.random((objects, 3, *shape)) * alphas[:, None] * peak).astype(np.float32)
    presence = 1 - np.prod(1 - alphas, axis=0) ** rng.choice([1, 8])
    return plate, clean, alphas, colours, presence


def solve(plate, clean, alphas, colours, presence, precision, outside=False):
    """As :func:`solve_pixels`, of any shape and giving what it writes."""
    shape, count = plate.shape[1:], len(alphas)
    raised, solved = alphas.reshape(count, -1).copy(), colours.reshape(count, 3, -1).copy()
    background = np.empty((3, raised.shape[1]), np.float32)
    solve_pixels(
        plate.reshape(3, -1), clean.reshape(3, -1), raised, solved, presence.astype(np.float32).reshape(-1),
        np.full(raised.shape[1], outside), precision is Precision.HALF, background,
    )  # fmt: skip
    return background.reshape(3, *shape), raised.reshape(count, *shape), solved.reshape(count, 3, *shape)


def recomposed(background, alphas, colours):
    result = background.transpose(1, 2, 0)
    for alpha, colour in zip(alphas, colours, strict=True):
        result = over(np.concatenate([colour, alpha[None]]).transpose(1, 2, 0), result)
    return result.transpose(2, 0, 1)


@pytest.mark.parametrize("light", [1e30, 1e38, 3.4e38])
@pytest.mark.parametrize("alpha", [0.03, 0.5, 1.0])
def test_a_pixel_as_bright_as_floats_get_stays_finite(light, alpha):
    plate, clean = np.full((3, 1, 4), light, np.float32), np.full((3, 1, 4), 0.3, np.float32)
    alphas = np.full((2, 1, 4), alpha, np.float32)
    colours, presence = np.full((2, 3, 1, 4), 0.2, np.float32), np.ones((1, 4), np.float32)
    written = solve(plate, clean, alphas, colours, presence, Precision.FLOAT)
    assert all(np.isfinite(values).all() for values in written)
    np.testing.assert_allclose(recomposed(*written), plate, rtol=2.0**-10)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    objects=st.integers(1, 4),
    peak=st.sampled_from([0.01, 1.0, 50.0, 3000.0]),
    hard=st.booleans(),
    precision=st.sampled_from(list(Precision)),
    outside=st.booleans(),
)
def test_layers_recompose_within_the_bound_with_sound_values(seed, objects, peak, hard, precision, outside):
    plate, clean, alphas, colours, presence = _case(seed, objects, peak, hard)
    written = solve(plate, clean, alphas, colours, presence, precision, outside)
    excess = np.abs(recomposed(*written) - plate) - (2.0**-10 * np.abs(plate) + 2.0**-12)
    assert excess.max() <= 0
    for values in written:
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        if precision is Precision.HALF:
            assert np.array_equal(values, values.astype(np.float16).astype(np.float32))
    _, raised, solved = written
    assert raised.min() >= 0
    assert raised.max() <= 1
    assert solved.min() >= 0


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.25, 0.5, 2.0, 8.0]), hard=st.booleans())
def test_scaling_the_light_scales_the_layers(seed, scale, hard):
    plate, clean, alphas, colours, presence = _case(seed, 2, 1.0, hard)
    plate, clean, colours = (np.maximum(values, 2.0**-6) for values in (plate, clean, colours))
    background, raised, solved = solve(plate, clean, alphas, colours, presence, Precision.FLOAT)
    scaled = solve(plate * scale, clean * scale, alphas, colours * scale, presence, Precision.FLOAT)
    assert scaled[0] == pytest.approx(background * scale, rel=1e-5, abs=1e-6 * scale)
    assert scaled[1] == pytest.approx(raised, abs=1e-5)
    assert scaled[2] == pytest.approx(solved * scale, rel=1e-3, abs=1e-5 * scale)


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(
        st.floats(-7e4, 7e4, width=32) | st.floats(-(2.0**-13), 2.0**-13, width=32), min_size=1, max_size=40
    )
)
def test_rounding_to_half_is_to_the_nearest(values):
    given_values = np.array(values, np.float32)
    expected = np.clip(given_values, -65504, 65504).astype(np.float16).astype(np.float32)
    near = Precision.HALF.nearest(given_values)
    assert np.array_equal(near, near.astype(np.float16).astype(np.float32))
    # The smallest halves are rounded twice, by a half and a quarter of a step at most.
    step = np.maximum(np.abs(expected) * 2.0**-10, 2.0**-24)
    clipped = np.clip(given_values, -65504, 65504)
    assert (np.abs(near - clipped) <= 0.76 * step).all()
    alphas = np.clip(np.abs(given_values), 0, 1)
    up = np.empty_like(alphas)
    upward(alphas, True, up)
    assert np.array_equal(up, up.astype(np.float16).astype(np.float32))
    assert (up >= alphas).all()
    assert (up - alphas <= np.maximum(alphas * 2.0**-10, 2.0**-24)).all()


def test_where_nothing_is_owned_the_background_is_the_plate():
    plate, clean, alphas, colours, _ = _case(3, 2, 1.0, hard=False)
    alphas *= FLOOR / 4
    background, raised, solved = solve(plate, clean, alphas, colours, alphas.sum(0), Precision.HALF)
    assert np.array_equal(background, plate)
    assert not raised.any()
    assert not solved.any()


def test_a_shadow_is_raised_to_what_the_plate_needs_and_keeps_the_shares():
    clean, plate = np.full((3, 1, 1), 0.5, np.float32), np.full((3, 1, 1), 0.1, np.float32)
    alphas = np.array([0.1, 0.3], np.float32).reshape(2, 1, 1)
    background, raised, _ = solve(
        plate, clean, alphas, np.zeros((2, 3, 1, 1), np.float32), np.ones((1, 1), np.float32), Precision.FLOAT
    )
    through = 1 - raised[:, 0, 0]
    assert through.prod() * background[0, 0, 0] == pytest.approx(0.1, abs=1e-4)
    assert np.log(through[1]) / np.log(through[0]) == pytest.approx(np.log(0.7) / np.log(0.9), rel=1e-3)


def test_a_hidden_layer_keeps_its_own_colour():
    plate = np.full((3, 1, 1), 0.8, np.float32)
    alphas = np.array([0.9, 1], np.float32).reshape(2, 1, 1)
    colours = np.array([[0.3] * 3, [1e-4] * 3], np.float32).reshape(2, 3, 1, 1)
    _, _, solved = solve(plate, plate * 0.5, alphas, colours, np.ones((1, 1), np.float32), Precision.FLOAT)
    assert solved[0].ravel() == pytest.approx([0.3] * 3)
    assert solved[1].ravel() == pytest.approx([0.8] * 3)


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (0, 3), (64, 33)])
def test_over_is_the_same_whatever_it_is_worked_out_with(shape):
    rng = np.random.default_rng(5)
    layer, behind = (rng.random((*shape, 6))[:, :, 1 : 1 + n].astype(np.float32) for n in (4, 3))
    expected = layer[..., :3] + (1 - layer[..., 3:]) * behind
    np.testing.assert_array_equal(over(layer, behind), expected)
    np.testing.assert_array_equal(over(layer.reshape(-1, 4), behind.reshape(-1, 3)), expected.reshape(-1, 3))
    assert over(layer, behind).dtype == np.float32
