"""Effects go to the object that they move with."""

import numpy as np
import pytest

from penumbra.color import DisplayEncoding
from penumbra.frames import WorkingClip
from penumbra.lift import by_common_fate

COUNT, HEIGHT, WIDTH = 7, 48, 64
MIDDLE = COUNT // 2
GROUND = 0.6


def textured(rng, height, width):
    return (0.2 + 0.1 * rng.random((height, width, 1))).astype(np.float32)


def clip_of(ways, shadows_of, *, noise=0.0, gone=()):
    """Objects on two lines, each ``ways`` pixels a frame to the right; two shadows between them, beside each other at
    the middle frame, that go with the objects ``shadows_of``. Objects ``gone`` have no mask at any frame.
    """
    rng = np.random.default_rng(5)
    frames = np.full((COUNT, HEIGHT, WIDTH, 3), GROUND, np.float32)
    masks = np.zeros((COUNT, len(ways), HEIGHT, WIDTH), np.float32)
    patches = [textured(rng, 6, 8) for _ in shadows_of]
    for t in range(COUNT):
        for k, way in enumerate(ways):
            left = 28 + way * (t - MIDDLE)
            rows = np.s_[4 + 34 * k : 10 + 34 * k, left : left + 8]
            frames[(t, *rows)] = 0.1 + 0.3 * k
            masks[(t, k, *rows)] = 0 if k in gone else 1
        for k, (patch, owner) in enumerate(zip(patches, shadows_of, strict=True)):
            left = 20 + 14 * k + ways[owner] * (t - MIDDLE)
            frames[t, 20:26, left : left + 8] -= patch
    frames += rng.normal(0, noise, frames.shape).astype(np.float32)
    flat = np.full_like(frames, GROUND)
    order = np.tile(np.arange(len(ways)), (COUNT, 1))
    ones = np.ones((COUNT, HEIGHT, WIDTH), np.float32)
    names = tuple(f"object{k}" for k in range(len(ways)))
    return WorkingClip(tuple(range(COUNT)), names, frames, masks, flat, ones, ones, order, DisplayEncoding())


FIRST, SECOND = np.s_[21:25, 21:27], np.s_[21:25, 35:41]  # inside the shadows at the middle frame


def predicted(clip, alpha):
    """Layers that give every object ``alpha`` of everything, as the network gives what it is unsure of."""
    layers = np.full((len(clip.names), HEIGHT, WIDTH, 4), 0.5, np.float32)
    layers[..., 3] = np.maximum(clip.masks[MIDDLE], alpha)
    return layers


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("owners", [(0, 1), (1, 0)])
def test_each_shadow_goes_to_the_object_that_it_moves_with(owners, noise):
    clip = clip_of((2, -2), owners, noise=noise)
    alpha = by_common_fate(clip, MIDDLE, predicted(clip, 0.1))[..., 3]
    for shadow, owner in zip((FIRST, SECOND), owners, strict=True):
        mine, others = alpha[owner][shadow], alpha[1 - owner][shadow]
        assert np.median(others) < 0.25 * np.median(mine)


def test_what_all_layers_cover_together_stays():
    clip = clip_of((2, -2), (0, 1))
    before = predicted(clip, 0.1)
    after = by_common_fate(clip, MIDDLE, before)
    through_before, through_after = (np.prod(1 - layers[..., 3], axis=0)[FIRST] for layers in (before, after))
    np.testing.assert_allclose(through_after, through_before, atol=2e-3)
    np.testing.assert_array_equal(after[..., :3], before[..., :3])


def test_objects_that_go_the_same_way_are_not_told_apart():
    clip = clip_of((2, 2), (0, 1))
    before = predicted(clip, 0.1)
    np.testing.assert_allclose(by_common_fate(clip, MIDDLE, before), before, atol=1e-3)


def test_what_the_network_is_certain_of_stays():
    clip = clip_of((2, -2), (0, 1))
    before = predicted(clip, 0.6)
    np.testing.assert_allclose(by_common_fate(clip, MIDDLE, before), before, atol=1e-5)


def test_grain_alone_says_little():
    clip = clip_of((2, -2), (), noise=0.003)
    before = predicted(clip, 0.1)
    after = by_common_fate(clip, MIDDLE, before)
    np.testing.assert_allclose(after[..., 3], before[..., 3], atol=0.05)


def test_of_an_object_without_a_mask_nothing_is_known():
    clip = clip_of((2, -2), (0, 1), gone=(1,))
    before = predicted(clip, 0.1)
    after = by_common_fate(clip, MIDDLE, before)
    np.testing.assert_array_equal(after[1, ..., 3][SECOND] > 0.05, True)


def test_traces_do_not_add_up():
    clip = clip_of((2, -2), (0, 1))
    before = predicted(clip, 0.006)
    assert by_common_fate(clip, MIDDLE, before)[..., 3][:, 20:26].max() < 0.0065


def test_a_single_object_owns_what_it_owned():
    clip = clip_of((2,), (0, 0))
    before = predicted(clip, 0.1)
    assert by_common_fate(clip, MIDDLE, before) is before


def test_masks_are_kept_at_every_frame_of_a_clip():
    clip = clip_of((3, -3), (0, 1))
    for index in range(COUNT):
        layers = np.full((2, HEIGHT, WIDTH, 4), 0.5, np.float32)
        layers[..., 3] = np.maximum(clip.masks[index], 0.05)
        alpha = by_common_fate(clip, index, layers)[..., 3]
        assert (alpha >= clip.masks[index] - 1e-6).all()
        assert (alpha <= 1).all()
        assert np.isfinite(alpha).all()
