"""A layer's object, shadow and light give the layer back, in the precision they are written in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penumbra.compositing import over
from penumbra.errors import JobError
from penumbra.frames import Layer
from penumbra.job import Job, MaskSettings, OutputSettings, PlateSettings
from penumbra.lift import split_layer
from penumbra.lift.precision import Precision


def joined(parts):
    """Object over shadow, plus light."""
    solid, shadow, light = (part.pixels for part in parts)
    alpha = over(np.repeat(solid[..., 3:], 4, axis=-1), shadow[..., 3:].repeat(3, axis=-1))[..., 0]
    colour = solid[..., :3] + (1 - solid[..., 3:]) * shadow[..., :3] + light[..., :3]
    return np.concatenate([colour, alpha[..., None]], axis=-1)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), peak=st.sampled_from([0.1, 1.0, 50.0]), precision=st.sampled_from(list(Precision)))
def test_the_parts_give_the_layer_back(seed, peak, precision):
    rng = np.random.default_rng(seed)
    mask = np.clip(rng.random((9, 11)) * 3 - 1, 0, 1).astype(np.float32)
    pixels = (rng.random((9, 11, 4)) * [peak, peak, peak, 1]).astype(np.float32)
    pixels[..., 3] = np.maximum(pixels[..., 3] * (rng.random((9, 11)) < 0.7), mask)
    layer = Layer("car", precision.nearest(pixels))
    parts = split_layer(layer, mask, precision)
    step = 2.0**-10 if precision is Precision.HALF else 2.0**-20
    assert joined(parts)[..., :3] == pytest.approx(layer.pixels[..., :3], rel=step, abs=2.0**-22)
    assert joined(parts)[..., 3] == pytest.approx(layer.pixels[..., 3], abs=step)
    solid, shadow, light = (part.pixels for part in parts)
    assert [part.name for part in parts] == ["car_object", "car_shadow", "car_light"]
    assert not shadow[..., :3].any()
    assert not light[..., 3].any()
    assert min(part.pixels.min() for part in parts) >= 0
    assert max(part.pixels[..., 3].max() for part in parts) <= 1
    assert solid[mask == 0].max(initial=0) == 0


def test_inside_the_mask_all_is_object_and_outside_all_is_effect():
    pixels = np.full((4, 6, 4), 0.4, np.float32)
    mask = np.zeros((4, 6), np.float32)
    mask[:, :3], pixels[:, :3, 3] = 1, 1
    solid, shadow, light = (part.pixels for part in split_layer(Layer("car", pixels), mask, Precision.FLOAT))
    assert np.array_equal(solid[:, :3], pixels[:, :3])
    assert not shadow[:, :3].any()
    assert not light[:, :3].any()
    assert shadow[:, 3:, 3] == pytest.approx(0.4)
    assert light[:, 3:, :3] == pytest.approx(0.4)


def test_splits_that_would_overwrite_another_object_are_refused():
    masks = (MaskSettings("car", "a.mov"), MaskSettings("Car_Shadow", "b.mov"))
    plate = PlateSettings("plate.mov")
    Job(plate, masks, OutputSettings("out"))
    with pytest.raises(JobError, match=r"splits of 'car' would overwrite the object 'car_shadow'"):
        Job(plate, masks, OutputSettings("out", splits=True))
