"""Images made smaller, and floats made halves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from penumbra.halves import exact_halves, floats_of, nearest_halves
from penumbra.resizing import shrink


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize("size", [(100, 37), (65, 65), (64, 64), (129, 128), (64, 300), (300, 64), (720, 1280)])
@pytest.mark.parametrize("wanted", [(64, 64), (64, 32), (30, 17)])
def test_shrinking_averages_what_a_pixel_covers(
    size: tuple[int, int], wanted: tuple[int, int], channels: tuple[int, ...]
) -> None:
    if wanted[1] > size[1]:
        pytest.skip("not a smaller image")
    image = np.random.default_rng(0).random((*size, *channels), np.float32)
    expected = np.asarray(cv2.resize(image, wanted[::-1], interpolation=cv2.INTER_AREA)).reshape(*wanted, *channels)
    np.testing.assert_allclose(shrink(image, wanted), expected, rtol=0, atol=1e-6)


EVERY_HALF = np.arange(2**16, dtype=np.uint16).view(np.float16)


def test_nearest_halves_are_numpys() -> None:
    finite = EVERY_HALF[np.isfinite(EVERY_HALF)].astype(np.float32)
    between = np.sort(finite)
    values = np.concatenate(
        [finite, (between[1:] + between[:-1]) / 2, np.float32([65519, 65520, -7e4, 1e-9, -1e-9, 3e38, np.inf, -np.inf])]
    )
    some = np.random.default_rng(0).integers(0, 2**32, 10**6, np.uint32).view(np.float32)
    for given in (values, some[~np.isnan(some)]):
        with np.errstate(over="ignore", under="ignore"):
            expected = given.astype(np.float16)
        np.testing.assert_array_equal(nearest_halves(given).view(np.uint16), expected.view(np.uint16))
    assert np.isnan(nearest_halves(np.float32([np.nan, -np.nan]))).all()


def test_floats_of_halves_are_numpys() -> None:
    np.testing.assert_array_equal(floats_of(EVERY_HALF).view(np.uint32), EVERY_HALF.astype(np.float32).view(np.uint32))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (4, 5, 3)])
def test_halves_keep_the_shape_of_what_they_are_made_of(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).random((*shape, 2), np.float32)[..., 0]
    np.testing.assert_array_equal(floats_of(nearest_halves(values)), values.astype(np.float16))


@pytest.mark.parametrize("place", [0, 5000, 2**16 - 1])
@pytest.mark.parametrize("other", [1 + 2**-11, 65520, 1e-9, np.pi])
def test_values_are_kept_as_halves_only_where_all_of_them_are(place: int, other: float) -> None:
    values = np.where(np.isnan(EVERY_HALF), np.float16(0), EVERY_HALF).astype(np.float32)
    halves = exact_halves(values)
    assert halves is not None
    np.testing.assert_array_equal(floats_of(halves).view(np.uint32), values.view(np.uint32))
    values[place] = other
    assert exact_halves(values) is None
