"""The guarantees of the lift as properties: whatever comes in, the layers recompose to the plate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penumbra.compositing import recompose
from penumbra.frames import Layer, LayerStack
from penumbra.lift.solve import FLOOR, Precision, solve


def _case(seed, objects, peak, hard):
    rng = np.random.default_rng(seed)
    shape = (8, 9)
    plate = (rng.random((*shape, 3)) ** 4 * peak).astype(np.float32)
    clean = (rng.random((*shape, 3)) ** 2 * peak * rng.choice([0.01, 1, 3])).astype(np.float32)
    alphas = [rng.random(shape).astype(np.float32) for _ in range(objects)]
    if hard:
        alphas = [
            np.select([rng.random(shape) < 0.3, rng.random(shape) < 0.3], [0, 1], a).astype(np.float32) for a in alphas
        ]
        plate[rng.random(shape) < 0.1] = 0
        clean[rng.random(shape) < 0.1] = 0
        # Half floats, so that the written background can hold the plate exactly where nothing is owned.
    plate = plate.astype(np.float16).astype(np.float32)
    colours = [(rng.random((*shape, 3)) * a[..., None] * peak).astype(np.float32) for a in alphas]
    return plate, clean, alphas, colours


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    objects=st.integers(1, 4),
    peak=st.sampled_from([0.01, 1.0, 50.0, 3000.0]),
    hard=st.booleans(),
    precision=st.sampled_from(list(Precision)),
)
def test_layers_recompose_within_the_bound_with_sound_values(seed, objects, peak, hard, precision):
    plate, clean, alphas, colours = _case(seed, objects, peak, hard)
    background, layers = solve(plate, clean, alphas, colours, precision)
    stack = LayerStack(1, background, tuple(Layer(f"o{i}", x.astype(np.float32)) for i, x in enumerate(layers)))
    excess = np.abs(recompose(stack) - plate) - (2.0**-10 * np.abs(plate) + 2.0**-12)
    assert excess.max() <= 0
    for layer in layers:
        assert np.isfinite(layer).all()
        assert layer.min() >= 0
        assert layer[..., 3].max() <= 1
        if precision is Precision.HALF:
            assert np.array_equal(layer, layer.astype(np.float16).astype(np.float32))


def test_where_nothing_is_owned_the_background_is_the_plate():
    plate, clean, alphas, colours = _case(3, 2, 1.0, hard=False)
    alphas = [a * (FLOOR / 4) for a in alphas]
    background, layers = solve(plate, clean, alphas, colours, Precision.HALF)
    assert np.array_equal(background, plate)
    assert all(not layer.any() for layer in layers)


def test_a_shadow_is_raised_to_what_the_plate_needs_and_keeps_the_shares():
    clean = np.full((1, 1, 3), 0.5, np.float32)
    plate = np.full((1, 1, 3), 0.1, np.float32)
    alphas = [np.full((1, 1), 0.1, np.float32), np.full((1, 1), 0.3, np.float32)]
    colours = [np.zeros((1, 1, 3), np.float32)] * 2
    background, layers = solve(plate, clean, alphas, colours, Precision.FLOAT)
    through = [1 - layer[0, 0, 3] for layer in layers]
    assert through[0] * through[1] * background[0, 0, 0] == pytest.approx(0.1, abs=1e-4)
    assert np.log(through[1]) / np.log(through[0]) == pytest.approx(np.log(0.7) / np.log(0.9), rel=1e-3)


def test_a_hidden_layer_keeps_its_own_colour():
    plate = np.full((1, 1, 3), 0.8, np.float32)
    front, back = np.ones((1, 1), np.float32), np.full((1, 1), 0.9, np.float32)
    colours = [np.full((1, 1, 3), 0.3, np.float32), np.full((1, 1, 3), 1e-4, np.float32)]
    _, layers = solve(plate, plate * 0.5, [back, front], colours, Precision.FLOAT)
    assert layers[0][0, 0, :3] == pytest.approx([0.3] * 3)
    assert layers[1][0, 0, :3] == pytest.approx([0.8] * 3)
