"""A lens that darkens the corners: found while the camera turns, evened out, given back."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from penumbra.clean_plate import build_clean_plate, load_clean_plate
from penumbra.clean_plate.shading import Ceiling, Shading, shade

SIZE = (72, 128)
COUNT = 25
LENS = Shading(-0.25, 0.05)


def turning(step: float = 4.0) -> np.ndarray:
    return np.stack([np.array([[1, 0, step * n], [0, 1, 2 * np.sin(n)], [0, 0, 1]]) for n in range(COUNT)])


class Clip:
    """Ground with soft texture and a square with its shadow that cross a turning camera's picture."""

    def __init__(self, homographies: np.ndarray, lens: Shading, *, gains: np.ndarray | None = None, grain: float = 0):
        rng = np.random.default_rng(3)
        noise = rng.normal(size=(120, 300, 3)).astype(np.float32)
        big = (0.4 + 0.8 * cv2.GaussianBlur(noise, (0, 0), 3)).clip(0.05, 1).astype(np.float32)
        shift = np.array([[1, 0, 30], [0, 1, 20], [0, 0, 1.0]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        light = lens.at(SIZE)[..., None]
        self.homographies, self.grounds, self.plates, self.masks = homographies, [], [], []
        for n, homography in enumerate(homographies):
            gain = 1 if gains is None else gains[n]
            ground = cv2.warpPerspective(big, shift @ homography, (SIZE[1], SIZE[0]), flags=flags) * light * gain
            mask = np.zeros(SIZE, np.float32)
            mask[30:44, 4 + 4 * n : 18 + 4 * n] = 1
            plate = ground * (1 + grain * rng.normal(size=ground.shape))
            plate[44:50, 4 + 4 * n : 40 + 4 * n] *= 0.6
            self.grounds.append(ground.astype(np.float32))
            self.plates.append(np.where(mask[..., None] > 0, np.float32(0.1), plate).astype(np.float32))
            self.masks.append(mask)

    def build(self, folder: Path):
        return build_clean_plate(
            range(COUNT), self.plates.__getitem__, self.masks.__getitem__, self.homographies, folder,
            lambda done, total: None, lambda: False,
        )  # fmt: skip


@pytest.mark.parametrize("gains", [None, 1 + 0.05 * np.sin(np.arange(COUNT))])
def test_dark_corners_are_found_evened_out_and_given_back(tmp_path: Path, gains: np.ndarray | None):
    clip = Clip(turning(), LENS, gains=gains)
    made = clip.build(tmp_path)
    assert made.light == pytest.approx(LENS.at(SIZE), abs=0.015)
    assert any("corners by 18%" in sentence or "corners by 19%" in sentence for sentence in made.warnings)
    for index in range(0, COUNT, 4):
        background, seen = made.at(index)
        assert np.abs(background / clip.grounds[index] - 1)[seen > 0.99].mean() < 0.012
    again = load_clean_plate(tmp_path, clip.homographies, range(COUNT))
    np.testing.assert_array_equal(again.at(7)[0], made.at(7)[0])


@pytest.mark.parametrize("lens", [Shading(), Shading(0.2, 0.0)])
def test_no_shading_is_seen_where_corners_are_no_darker(tmp_path: Path, lens: Shading):
    assert Clip(turning(), lens, grain=0.03).build(tmp_path).light is None


def test_a_camera_that_stands_tells_nothing_of_its_lens(tmp_path: Path):
    clip = Clip(np.tile(np.eye(3), (COUNT, 1, 1)), LENS)
    made = clip.build(tmp_path)
    assert made.light is None
    assert np.abs(made.at(3)[0] - clip.grounds[3]).mean() < 0.01


def test_highlights_that_are_cut_off_are_so_at_the_border_too():
    light = Shading(-0.2).at((32, 48))
    evened = np.full((32, 48, 3), 1.0, np.float32)
    evened[:, :24] = 0.5
    result, free = evened.copy(), evened.copy()
    shade(result, light, 1.0)
    shade(free, light, np.inf)
    np.testing.assert_allclose(result[:, 24:], 1.0, atol=1e-6)
    np.testing.assert_allclose(result[:, :24], (0.5 * light[:, :24, None]).repeat(3, -1), atol=1e-6)
    np.testing.assert_allclose(free, evened * light[..., None], atol=1e-6)


def test_where_highlights_are_cut_off_is_where_many_pixels_are_brightest():
    rng = np.random.default_rng(1)
    frames = rng.uniform(0, 1.4, (4, 50, 60, 3)).astype(np.float32)
    cut, free = Ceiling(), Ceiling()
    for frame in frames:
        cut.add(np.minimum(frame, 1))
        free.add(frame * frame)
    assert cut.value == 1
    assert free.value == np.inf
    lamp = Ceiling()
    for frame in frames:
        frame[5, 5] = 30
        lamp.add(frame)
    assert lamp.value == np.inf


def test_light_falls_with_the_distance_from_the_middle():
    light = Shading(-0.3, 0.1).at((40, 61))
    assert light[19:21, 30] == pytest.approx(1, abs=0.001)
    assert light[0, 0] == pytest.approx(np.exp(-0.2), abs=0.01)
    np.testing.assert_allclose(light, light[::-1, ::-1], atol=1e-6)
    assert not Shading()
    assert (Shading().at((5, 5)) == 1).all()
