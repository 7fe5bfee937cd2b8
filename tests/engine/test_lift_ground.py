"""The ground under an effect keeps the plate's own grain and texture, and nothing of the effect."""

import numpy as np
import pytest

from penumbra.belief import Noise
from penumbra.color import DisplayEncoding
from penumbra.compositing import recompose
from penumbra.frames import Plate, Region
from penumbra.lift import lift_frame
from penumbra.lift.ground import halo_of, lit_again
from penumbra.lift.precision import Precision

ENCODING = DisplayEncoding()
SIZE = (96, 160)
GRAIN = 0.02  # of the light


def scene(*, steep=False, scale=1):
    """Clean plate, ground as a frame has it, with grain, and what a shadow leaves of its light, (H, W, 1)."""
    rng = np.random.default_rng(3)
    size = (SIZE[0] * scale, SIZE[1] * scale)
    clean = np.full((*size, 3), 0.3, np.float32)
    ground = clean * (1 + GRAIN * rng.standard_normal(clean.shape, np.float32))
    across = np.abs(np.arange(size[1], dtype=np.float32) / scale - 80)
    left = np.where(across < 40, 0.4, 1) if steep else 0.4 + 0.6 * np.clip(across / 70, 0, 1) ** 2
    return clean, ground, np.broadcast_to(left.astype(np.float32)[None, :, None], (*size, 1))


def lit(plate, clean, *, free=None, lines=108, noise=None):
    """What is found, with the noise of this grain, smoothed as it is measured."""
    level = float(ENCODING.slope(np.float32([0.3]))[0] * 0.3 * GRAIN * 3**0.5 * 0.3) if noise is None else noise
    free = np.ones(plate.shape[:2], np.float32) if free is None else free
    return lit_again(plate, clean, free, ENCODING, Noise(level), lines)


def rms(image):
    return float(np.sqrt(np.square(image).mean()))


@pytest.mark.parametrize(("lines", "scale"), [(108, 1), (1080, 2), (2160, 4), (2000, 4)])
def test_grain_under_a_soft_shadow_stays_on_the_ground(lines, scale):
    clean, ground, left = scene(scale=scale)
    found, halo = lit(ground * left, clean, lines=lines), halo_of(lines)
    inner = np.s_[halo:-halo, halo:-halo]
    assert rms((clean - ground)[inner]) > 0.0055
    assert rms((found - ground)[inner]) < 0.5 * rms((clean - ground)[inner])
    assert abs(float((found / ground)[inner].mean()) - 1) < 2e-3


def test_nothing_of_a_shadows_edge_is_left_in_the_ground():
    clean, ground, left = scene(steep=True)
    found = lit(ground * left, clean)
    edge = np.s_[:, 38:43]
    assert abs(float((found / clean)[edge].mean(axis=(0, 2)).max()) - 1) < 0.01
    assert float(np.abs(found / clean - 1)[edge].max()) < 5 * GRAIN


def test_without_grain_the_clean_plate_stays_as_it_is():
    clean, ground, left = scene()
    np.testing.assert_allclose(lit(ground * left, clean, noise=0.0), clean, rtol=1e-5)


def test_where_an_object_hides_the_ground_or_it_is_black_the_clean_plate_stays():
    clean, ground, left = scene()
    plate, free = ground * left, np.ones(SIZE, np.float32)
    free[20:40, 20:60] = 0
    plate[60:80, 100:140] = 1e-4
    found = lit(plate, clean, free=free)
    np.testing.assert_allclose(found[20:40, 20:60], clean[20:40, 20:60], rtol=1e-6)
    np.testing.assert_allclose(found[65:75, 105:135], clean[65:75, 105:135], rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.5, 3e4, 1e20, -1e20, 9e29])
@pytest.mark.parametrize("behind", [0.3, 0.0, 1e20])
def test_a_pixel_that_is_no_light_spoils_nothing(value, behind):
    clean, ground, left = scene()
    plate = ground * left
    plain = lit(plate, clean)
    clean[50, 50, 1] = behind
    plate[50, 50, 1] = value
    found = lit(plate, clean)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    away = np.ones(SIZE, bool)
    away[45:56, 45:56] = False
    np.testing.assert_allclose(found[away], plain[away], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("relit", [True, False])
def test_a_lifted_background_has_the_plates_texture_if_asked(relit):
    clean, ground, left = scene()
    ground *= 1 + 0.05 * np.sin(np.arange(SIZE[0], dtype=np.float32) * 2)[:, None, None]
    plate, mask = ground * left, np.zeros(SIZE, np.float32)
    mask[10:30, 70:90] = 1
    plate[mask > 0] = (0.7, 0.1, 0.1)
    low = np.zeros((1, 24, 40, 4), np.float32)
    low[..., 3] = 0.6
    canvas = Region(0, 0, SIZE[1], SIZE[0])
    stack = lift_frame(
        Plate(1, plate, canvas, canvas), clean, [mask], low, ["o"], np.array([0]), ENCODING, Noise(0.012),
        Precision.HALF, relit=relit,
    )  # fmt: skip
    under = np.s_[45:85, 60:100]
    assert (rms((stack.background - ground)[under]) < 0.6 * rms((clean - ground)[under])) is relit
    assert np.abs(recompose(stack) - plate).max() < 2**-10


def test_under_a_masks_soft_edge_ground_keeps_its_grain_and_an_object_leaves_nothing():
    clean, ground, _ = scene()
    plate, mask = ground.copy(), np.zeros(SIZE, np.float32)
    mask[20:70, 40:120] = 1
    # A mask that is soft, and too wide at its left side; at its right side the object fades out with it.
    mask[20:70, 20:40] = 0.7
    mask[20:70, 120:124] = 0.5
    plate[20:70, 40:120] = (0.9, 0.1, 0.1)
    plate[20:70, 120:124] = 0.5 * (np.float32([0.9, 0.1, 0.1]) + clean[20:70, 120:124])
    low = np.zeros((1, 24, 40, 4), np.float32)
    low[0, 5:18, 5:31, 3] = 0.9
    canvas = Region(0, 0, SIZE[1], SIZE[0])
    stack = lift_frame(
        Plate(1, plate, canvas, canvas),
        clean,
        [mask],
        low,
        ["o"],
        np.array([0]),
        ENCODING,
        Noise(0.012),
        Precision.HALF,
    )
    soft, edge = np.s_[24:66, 22:34], np.s_[20:70, 120:124]
    assert rms((stack.background - ground)[soft]) < 0.7 * rms((clean - ground)[soft])
    np.testing.assert_allclose(stack.background[edge], clean[edge], rtol=2e-3)
    assert np.abs(recompose(stack) - plate).max() < 2**-10
