"""Images made smaller, and floats made halves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from penumbra import halves
from penumbra.halves import nearest_halves
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


@pytest.mark.parametrize("in_opencv", [True, False])
def test_nearest_halves_are_numpys(monkeypatch: pytest.MonkeyPatch, in_opencv: bool) -> None:
    if in_opencv and not halves._IN_OPENCV:
        pytest.skip("an OpenCV that makes no halves")
    monkeypatch.setattr(halves, "_IN_OPENCV", in_opencv)
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].astype(np.float32)
    between = np.sort(finite)
    values = np.concatenate([finite, (between[1:] + between[:-1]) / 2, np.float32([65519, 65520, -7e4, 1e-9, -1e-9])])
    for shape in ((-1,), (-1, 1, 1)):
        made = nearest_halves(values.reshape(shape))
        with np.errstate(over="ignore"):
            expected = values.astype(np.float16).reshape(shape)
        np.testing.assert_array_equal(made.view(np.uint16), expected.view(np.uint16))
    pixels = values[: len(values) // 12 * 12].reshape(4, -1, 3)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(nearest_halves(pixels).view(np.uint16), pixels.astype(np.float16).view(np.uint16))
