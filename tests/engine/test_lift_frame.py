"""A frame lifted: ownership from the network, edges from the masks, no ghost where nothing happens."""

import cv2
import numpy as np
import pytest

from penumbra.color import DisplayEncoding
from penumbra.compositing import recompose
from penumbra.frames import Plate, Region
from penumbra.lift import Noise, lift_frame, measure_noise
from penumbra.lift.kernels import sharpen
from penumbra.lift.precision import Precision
from penumbra.resizing import enlarge

SIZE = (40, 60)
ENCODING = DisplayEncoding()


def lifted(plate, clean, masks, low, noise=0.001, order=(0, 1), size=SIZE):
    canvas = Region(0, 0, size[1], size[0])
    names = tuple(f"o{i}" for i in range(len(masks)))
    stack = lift_frame(
        Plate(1, plate, canvas, canvas), clean, masks, low, names, np.array(order[: len(masks)]), ENCODING,
        Noise(noise), Precision.HALF,
    )  # fmt: skip
    return stack, {layer.name: layer.pixels for layer in stack.layers}


def scene(grain=0.0):
    """A grey ground, a box in a mask, its shadow beside it, and a second object elsewhere."""
    rng = np.random.default_rng(1)
    clean = np.full((*SIZE, 3), 0.4, np.float32)
    plate = clean * (1 + grain * rng.standard_normal((*SIZE, 3))).astype(np.float32)
    masks = [np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)]
    masks[0][10:20, 10:20], masks[1][10:20, 40:50] = 1, 1
    plate[10:20, 10:20], plate[10:20, 40:50] = (0.8, 0.1, 0.1), (0.1, 0.1, 0.8)
    plate[20:28, 10:20] *= 0.4
    low = np.zeros((2, 10, 15, 4), np.float32)
    low[0, 2:8, 1:6, 3] = 0.6
    return plate, clean, masks, low


def test_the_shadow_goes_to_the_layer_the_network_names_at_the_plates_own_depth():
    plate, clean, masks, low = scene()
    stack, layers = lifted(plate, clean, masks, low)
    assert layers["o0"][24, 15, 3] == pytest.approx(0.6, abs=0.01)
    assert layers["o1"][24, 15].max() == 0
    assert np.abs(recompose(stack) - plate).max() < 2**-10


def test_where_the_plate_is_clean_there_is_no_ghost():
    plate, clean, masks, low = scene()
    low[0, :, :, 3] = 0.5
    _, layers = lifted(plate, clean, masks, low)
    assert layers["o0"][32:, 25:35].max() == 0


def test_grain_is_no_effect():
    plate, clean, masks, low = scene(grain=0.05)
    low[0, :, :, 3] = 0.5
    noise = measure_noise([(plate, clean, np.maximum(*masks))], ENCODING)
    _, layers = lifted(plate, clean, masks, low, noise.level)
    assert (layers["o0"][32:, 25:35, 3] > 0).mean() < 0.1
    assert layers["o0"][22:26, 12:18, 3].min() > 0.4


def test_soft_mask_edges_survive():
    plate, clean, masks, low = scene()
    masks[0][9, 10:20] = 0.3
    plate[9, 10:20] = 0.3 * plate[15, 15] + 0.7 * clean[0, 0]
    low[0, 1:3, 1:6, 3] = 0
    _, layers = lifted(plate, clean, masks, low)
    assert layers["o0"][9, 15, 3] == pytest.approx(0.3, abs=0.12)
    assert layers["o0"][9, 15, 3] >= 0.3


def test_a_leak_is_taken_back_and_a_crossing_is_shared():
    strong, weak = np.full(SIZE, 0.5, np.float32), np.full(SIZE, 0.05, np.float32)
    first, second = sharpened(strong, weak)
    assert second.max() < 0.001
    assert 1 - (1 - first) * (1 - second) == pytest.approx(1 - 0.5 * 0.95, abs=1e-5)
    first, second = sharpened(strong, strong)
    assert first == pytest.approx(strong, abs=1e-5)
    assert second == pytest.approx(strong, abs=1e-5)


def sharpened(*shares):
    flat = np.stack(shares).reshape(len(shares), -1)
    sharpen(flat)
    return flat.reshape(len(shares), *SIZE)


def test_a_shadow_falling_on_another_object_stays_with_who_casts_it():
    plate, clean, masks, low = scene()
    plate[14:18, 40:50] *= 0.5
    low[0, 3:5, 9:13, 3] = 0.4
    _, layers = lifted(plate, clean, masks, low, order=(1, 0))
    assert layers["o0"][16, 45, 3] > 0.2
    assert layers["o1"][16, 45, 3] == 1


def test_enlarging_keeps_pixel_centres_where_they_are():
    ramp = (np.tile(np.arange(8, dtype=np.float32)[None, None], (1, 4, 1)) + 0.5) / 8
    tiles = [enlarge(ramp, (16, 80), slice(top, top + 4), slice(0, 80)) for top in range(0, 16, 4)]
    centres = (np.arange(80) + 0.5) / 80
    assert np.concatenate(tiles, axis=1)[0, 7, 5:-5] == pytest.approx(centres[5:-5], abs=1e-5)


def test_enlarging_is_opencvs_whatever_the_tile():
    small = np.random.default_rng(0).random((7, 5), np.float32)
    large = cv2.resize(small, (93, 61), interpolation=cv2.INTER_LINEAR)
    tile = enlarge(small[None], (61, 93), slice(13, 40), slice(50, 93))[0]
    assert tile == pytest.approx(large[13:40, 50:93], abs=1e-4)


@pytest.mark.parametrize(("sure", "kept"), [(0.1, False), (0.6, True)])
def test_a_scuff_apart_is_in_no_layer_unless_the_network_is_sure(sure, kept):
    plate, clean, masks, low = (np.repeat(np.repeat(image, 4, -3), 4, -2) for image in (*scene()[:2], *masks_and_low()))
    scuff = np.s_[136:138, 120:123]
    plate[scuff] *= 0.3
    low[0, ..., 3] = np.maximum(low[0, ..., 3], sure)
    stack, layers = lifted(plate, clean, list(masks[..., 0]), low, size=plate.shape[:2])
    assert bool(layers["o0"][scuff][..., 3].min() > 0.2) is kept
    assert layers["o0"][96, 60, 3] > 0.4
    assert np.abs(recompose(stack) - plate).max() < 2**-10


def masks_and_low():
    """Masks (K, H, W, 1) and the network's layers (K, h, w, 4) of :func:`scene`."""
    _, _, masks, low = scene()
    return np.stack(masks)[..., None], low


@pytest.mark.parametrize("relit", [True, False])
def test_a_shadow_on_foam_over_sand_leaves_foam_behind_unless_the_clean_plate_is_the_users(relit):
    sand, foam = np.float32([0.75, 0.6, 0.45]), np.float32([0.7, 0.75, 0.8])
    clean = np.empty((128, 224, 3), np.float32)
    clean[:] = sand
    plate, mask = clean.copy(), np.zeros((128, 224), np.float32)
    plate[40:90, 20:200] = foam
    mask[20:60, 50:60] = 1
    plate[mask > 0] = (0.1, 0.1, 0.3)
    plate[60:66, 56:130] = foam * np.float32([0.4, 0.5, 0.6])
    low = np.zeros((1, 32, 56, 4), np.float32)
    low[0, 5:15, 12:15, 3], low[0, 15:17, 14:32, 3] = 0.98, 0.3
    canvas = Region(0, 0, 224, 128)
    stack = lift_frame(
        Plate(1, plate, canvas, canvas), clean, [mask], low, ("o",), np.array([0]), ENCODING, Noise(0.002),
        Precision.HALF, np.full((128, 224), 0.02, np.float32), relit=relit,
    )  # fmt: skip
    under = stack.background[61:65, 70:120].mean(axis=(0, 1))
    assert bool(np.abs(under - foam).max() < 0.05) is relit
    assert bool(np.abs(under - sand).max() < 0.05) is not relit
    assert stack.layers[0].pixels[61:65, 70:120, 3].min() > 0.2
    assert np.abs(recompose(stack) - plate).max() < 2**-10
    assert clean[63, 100] == pytest.approx(sand)
