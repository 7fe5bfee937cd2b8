"""Edges that lie beside their place are expected to differ, and are no effect."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from penumbra.clean_plate import build_clean_plate
from penumbra.clean_plate.edges import NINTH_DECILE, displacement, edge_slopes
from penumbra.color import DisplayEncoding, srgb_decode
from penumbra.frames import Plate, Region
from penumbra.lift import Noise, lift_frame
from penumbra.lift.precision import Precision

ENCODING = DisplayEncoding()
SIZE = (96, 160)


def letters():
    """A banner with bars and boxes, linear."""
    shown = np.full((*SIZE, 3), 0.3, np.float32)
    for left in range(10, 150, 14):
        cv2.rectangle(shown, (left, 12), (left + 4, 40), (0.8, 0.8, 0.8), -1)
    cv2.line(shown, (0, 60), (159, 80), (0.7, 0.6, 0.2), 2)
    return srgb_decode(cv2.GaussianBlur(shown, (0, 0), 0.7))


def shifted(image, pixels):
    return cv2.warpAffine(
        image, np.float32([[1, 0, pixels], [0, 1, 0]]), SIZE[::-1], flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip


def test_the_slope_of_a_ramp_is_its_rise_per_pixel_of_the_plate():
    shown = (np.arange(160, dtype=np.float32) * 0.004)[None, :, None].repeat(96, 0).repeat(3, 2)
    for block in ((1.0, 1.0), (4.0, 4.0)):
        slopes = edge_slopes(srgb_decode(shown), block, ENCODING)
        middle = slopes[2:-2, 4:-4]
        assert middle == pytest.approx(np.full_like(middle, 0.004 * np.sqrt(3)), rel=0.05)


def test_a_misfit_is_told_in_standard_deviations_and_waters_is_not_the_cameras():
    assert displacement(1.0) == pytest.approx(1 / NINTH_DECILE)
    assert displacement(5.0) == 0
    rng = np.random.default_rng(0)
    length = np.hypot(*rng.standard_normal((2, 10**5)))
    assert np.quantile(length, 0.9) == pytest.approx(NINTH_DECILE, rel=0.01)


@pytest.mark.parametrize("expected", [False, True])
def test_an_edge_beside_its_place_is_no_effect_but_a_shadow_is(expected):
    clean = letters()
    plate = shifted(clean, 0.8)
    plate[46:56, 60:90] *= 0.5
    mask = np.zeros(SIZE, np.float32)
    mask[84:94, 60:90] = 1
    low = np.zeros((1, 24, 40, 4), np.float32)
    low[..., 3] = 0.2
    moved = edge_slopes(clean, (1.0, 1.0), ENCODING) * displacement(1.0) if expected else None
    canvas = Region(0, 0, SIZE[1], SIZE[0])
    stack = lift_frame(
        Plate(1, plate, canvas, canvas), clean, [mask], low, ("a",), np.array([0]), ENCODING, Noise(0.002),
        Precision.HALF, moved,
    )  # fmt: skip
    alpha = stack.layers[0].pixels[..., 3]
    assert alpha[48:54, 64:86].min() > 0.3
    if expected:
        assert (alpha[8:42] > 0).mean() < 0.01
    else:
        assert (alpha[8:42] > 0).mean() > 0.1


def build(folder: Path, swing: float):
    """The clean plate of a pan whose rows swing to and fro by so many pixels, as a homography cannot."""
    wide = cv2.resize(np.concatenate([letters()] * 3, 1), (420, 120), interpolation=cv2.INTER_AREA)
    plates, homographies = [], []
    y, x = np.indices(SIZE, np.float32)
    for n in range(13):
        moved = x + 20 + 6 * n + swing * np.sin(2 * np.pi * y / SIZE[0] + 1.7 * n)
        plates.append(cv2.remap(wide, moved, y + 4, cv2.INTER_CUBIC))
        homographies.append(np.array([[1, 0, 6.0 * n], [0, 1, 0], [0, 0, 1]]))
    return build_clean_plate(
        range(13), plates.__getitem__, lambda n: np.zeros(SIZE, np.float32), np.stack(homographies), folder,
        lambda *_: None, lambda: False,
    )  # fmt: skip


def test_a_clean_plate_tells_where_a_frames_edges_are_missed(tmp_path):
    made = build(tmp_path, 1.2)
    missed = next(missed for missed in map(made.misregistration, range(13)) if missed is not None)
    assert missed.shape == SIZE
    assert missed[8:34].mean() > 5 * missed[56:64].mean()
    assert missed[8:34].max() > 0.02


def test_frames_that_fit_expect_nothing_of_their_edges(tmp_path):
    assert not any(build(tmp_path, 0).misregistration(n) is not None for n in range(13))


def test_a_locked_camera_misses_no_edges(tmp_path):
    made = build_clean_plate(
        range(5), lambda n: letters(), lambda n: np.zeros(SIZE, np.float32), np.tile(np.eye(3), (5, 1, 1)), tmp_path,
        lambda *_: None, lambda: False,
    )  # fmt: skip
    assert made.misregistration(2) is None
