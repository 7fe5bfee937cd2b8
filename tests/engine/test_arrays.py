import numpy as np
import pytest

from penumbra.arrays import holds_anything, largest_of, largest_of_channels, mean_of_channels, within


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("value", [1e-4, -0.0, np.nan, np.inf])
def test_any_bit_anywhere_is_something(kind, value):
    image = np.zeros((7, 9, 4), kind)
    assert not holds_anything(image)
    image[6, 8, 3] = value
    assert holds_anything(image)
    assert holds_anything(image[3:])
    assert not holds_anything(image[:6])


def test_a_part_of_an_image_is_all_that_is_looked_at():
    image = np.ones((40, 50), np.float32)
    image[10:20, 10:20] = 0
    assert not holds_anything(image[10:20, 10:20])
    assert holds_anything(image[10:21, 10:20])
    assert holds_anything(image[10:20, 9:20])
    assert not holds_anything(image[:0])


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 7, 3), (64, 33, 3)])
def test_the_mean_of_channels_is_numpys_to_the_bit(shape):
    rng = np.random.default_rng(0)
    picture = (rng.standard_normal(shape) * 10.0 ** rng.integers(-4, 4, shape)).astype(np.float32)
    assert np.array_equal(mean_of_channels(picture), picture.mean(-1))
    assert np.array_equal(mean_of_channels(picture[:, ::-1]), picture[:, ::-1].mean(-1))


@pytest.mark.parametrize("value", [-1e-6, -0.0, 1.0001, np.nan, -np.nan, np.inf, -np.inf])
def test_within_no_value_is_beyond(value):
    image = np.random.default_rng(0).random((7, 9, 3), np.float32)
    image[0, 0, 0], image[0, 0, 1] = 0, 1
    assert within(image, 1)
    assert not within(image, 0.999)
    image[6, 8, 2] = value
    assert not within(image, 1)
    assert within(image[:, :8], 1)
    assert within(image[:0], 1)
    assert within(np.abs(np.float32([value, 0])), np.inf) is not bool(np.isnan(value))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_largest_of_pictures_is_numpys_and_a_picture_of_its_own(count):
    pictures = list(np.random.default_rng(0).standard_normal((count, 7, 9)).astype(np.float32))
    most = largest_of(pictures)
    assert np.array_equal(most, np.max(pictures, axis=0))
    assert not any(np.shares_memory(most, picture) for picture in pictures)


def test_the_largest_of_channels_is_numpys():
    picture = np.random.default_rng(0).standard_normal((7, 9, 3)).astype(np.float32)
    picture[0, 0] = np.nan, 1, 2
    assert np.array_equal(largest_of_channels(picture), picture.max(-1), equal_nan=True)
