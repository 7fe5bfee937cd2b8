"""What is taken for a clip without grain, and what is gained by it."""

import numpy as np
import pytest

from penumbra.clean_plate.median import median_background
from penumbra.clean_plate.repeats import Repeats
from penumbra.color import DisplayEncoding, srgb_decode, srgb_encode

SIZE = (64, 96)


def frames(grain, *, level=120, moving=0):
    """Eight frames of 8 bits of textured ground with so much grain, in steps of 8 bits, over which a body passes."""
    random = np.random.default_rng(4)
    ground = random.integers(level // 2, level, (*SIZE, 3)).astype(np.float32) + random.uniform(-0.5, 0.5, (*SIZE, 3))
    for index in range(8):
        shown = np.roll(ground, moving * index, axis=1) + random.normal(0, grain or 1e-6, ground.shape)
        shown[20:50, 8 * index : 8 * index + 20] = 3 * index
        yield srgb_decode(np.clip(np.rint(shown), 0, 255).astype(np.float32) / 255)


@pytest.mark.parametrize(("grain", "moving", "found"), [(0, 0, True), (0.6, 0, False), (2, 0, False), (0, 3, False)])
def test_a_clip_whose_values_repeat_has_no_grain(grain, moving, found):
    repeats = Repeats()
    for plate in frames(grain, moving=moving):
        repeats.add(plate)
    assert repeats.grainless is found


def test_what_is_black_or_cut_off_repeats_in_any_clip_and_tells_nothing():
    repeats = Repeats()
    for plate in frames(2):
        plate[:30], plate[30:56] = 0, 1
        repeats.add(plate)
    assert not repeats.grainless


def test_one_frame_and_frames_that_are_no_numbers_tell_nothing():
    repeats = Repeats()
    repeats.add(next(frames(0)))
    assert not repeats.grainless
    repeats.add(np.full((*SIZE, 3), np.nan, np.float32))
    assert not repeats.grainless


def stack_of(steps):
    """Samples (4, 6, 3, S), all pixels alike, of so many steps of 8 bits, and their farness."""
    shown = np.broadcast_to(srgb_decode(np.array(steps, np.float32) / 255), (4, 6, 3, len(steps))).astype(np.float32)
    return shown.copy(), np.full((4, 6, len(steps)), 5, np.uint8)


def ground_and_stack(dim, *, near=5):
    """Ground (H, W, 3) in steps of 8 bits; its samples at ten frames, at so many of which an object, as far as ``near``
    says, takes a third of a step of the light, and their farness.
    """
    ground = np.random.default_rng(5).uniform(100, 140, (40, 60, 3))
    taken = np.where(np.arange(10) < dim, 0.33, 0)
    steps = np.rint(ground[..., None] - taken)
    farness = np.broadcast_to(np.where(taken > 0, near, 5), (40, 60, 10)).astype(np.uint8)
    return np.rint(ground), srgb_decode((steps / 255).astype(np.float32)), farness


def steps_off(made, ground):
    """By how many steps of 8 bits, in the mean."""
    return float(np.abs(255 * srgb_encode(made) - ground).mean())


@pytest.mark.parametrize(("dim", "near"), [(2, 5), (4, 5), (8, 2)])
def test_without_grain_the_background_is_what_was_shown_and_faintest_shadows_do_not_darken_it(dim, near):
    ground, stack, farness = ground_and_stack(dim, near=near)
    exact, known = median_background(stack, farness, DisplayEncoding(), 20, grainless=True)
    meant, _ = median_background(stack, farness, DisplayEncoding(), 20)
    assert known.all()
    assert steps_off(exact, ground) < 0.01
    assert steps_off(meant, ground) > 0.02


def test_a_single_bright_sample_of_ten_is_not_the_background():
    stack, farness = stack_of([120] * 9 + [121])
    exact, _ = median_background(stack, farness, DisplayEncoding(), 20, grainless=True)
    np.testing.assert_allclose(exact, stack[..., 0], rtol=1e-6)


def test_water_is_no_exact_value():
    """What goes to and fro by several steps keeps its mean."""
    stack, farness = stack_of([110, 113, 116, 119, 122, 125, 128, 131])
    exact, _ = median_background(stack, farness, DisplayEncoding(), 20, grainless=True)
    meant, _ = median_background(stack, farness, DisplayEncoding(), 20)
    np.testing.assert_allclose(exact, meant, rtol=0.01)


def test_where_nothing_is_seen_nothing_is_known():
    stack, farness = stack_of([119, 120, 121])
    stack[1:3], farness[1:3] = np.nan, 0
    exact, known = median_background(stack, farness, DisplayEncoding(), 20, grainless=True)
    assert not known[1:3].any()
    assert known[[0, 3]].all()
    assert np.isfinite(exact).all()
