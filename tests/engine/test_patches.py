"""What no clean plate knows is cloned from beside it: what fits, from where it may come, and nothing else."""

import cv2
import numpy as np
import pytest

from penumbra.color import DisplayEncoding
from penumbra.compositing import recompose
from penumbra.frames import Plate, Region
from penumbra.lift import Noise, follow_frame, lift_frame
from penumbra.lift.precision import Precision
from penumbra.patches import clone, find_patches

SIZE = (60, 120)
ENCODING = DisplayEncoding()
HOLE = np.s_[20:44, 50:68]


def stripes(size=SIZE, period=12):
    """A display-encoded picture that repeats along x and not along y."""
    y, x = np.indices(size).astype(np.float32)
    wave = 0.5 + 0.1 * np.sin(2 * np.pi * x * (SIZE[1] / size[1]) / period) + 0.3 * (y / size[0]) ** 2
    return np.stack([wave, 0.8 * wave, 0.6 * wave], -1).astype(np.float32)


def hole_in(size=SIZE):
    hole = np.zeros(SIZE, bool)
    hole[HOLE] = True
    return cv2.resize(hole.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0


def patched(shown, behind, source=None, trust=None, plate=None, clean=None):
    hole = hole_in()
    trust = np.where(hole, 0, 1).astype(np.float32) if trust is None else trust
    found = find_patches(shown, behind, hole, trust, ~hole if source is None else source)
    plate = ENCODING.decode(shown) if plate is None else plate
    clean = ENCODING.decode(behind) if clean is None else clean
    clone(found, hole.astype(np.float32), plate, clean, shown, ENCODING)
    return found, clean


def spoilt(truth):
    """The frame with an object in the hole, and a clean plate that is wrong all over."""
    shown = truth.copy()
    shown[HOLE] = (0.1, 0.1, 0.3)
    return shown, np.full_like(truth, 0.9)


def test_what_repeats_is_continued_exactly():
    truth = stripes()
    found, clean = patched(*spoilt(truth))
    assert len(found) == 1
    assert ENCODING.encode(clean)[HOLE] == pytest.approx(truth[HOLE], abs=0.004)


@pytest.mark.parametrize("size", [(60, 120), (270, 540), (331, 777)])
def test_plates_of_any_size_are_patched_alike(size):
    truth, (shown, behind) = stripes(size), spoilt(stripes())
    plate = ENCODING.decode(np.where(hole_in(size)[..., None], np.float32(0.1), truth))
    clean = np.full((*size, 3), 0.8, np.float32)
    patched(shown, behind, plate=plate, clean=clean)
    inside = cv2.erode(hole_in(size).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert np.abs(ENCODING.encode(clean) - truth)[inside].mean() < 0.012


def test_a_clean_plate_that_fits_the_rim_is_left_alone():
    truth = stripes()
    shown, _ = spoilt(truth)
    found, clean = patched(shown, truth)
    assert not found
    assert np.array_equal(clean, ENCODING.decode(truth))


def test_only_what_may_be_is_cloned():
    truth = stripes()
    shown, behind = spoilt(truth)
    left = ~hole_in() & (np.arange(SIZE[1]) < 46)[None]
    found, _ = patched(shown, behind, source=left)
    assert found
    assert all(patch.offset[1] < 0 for patch in found)
    assert not patched(shown, behind, source=np.zeros(SIZE, bool))[0]


def test_what_differs_at_the_rim_is_carried_inward():
    """It grows brighter to the right: what is cloned from one side does so too."""
    truth = stripes() + (np.arange(SIZE[1]) / SIZE[1] * 0.15).astype(np.float32)[None, :, None]
    _, clean = patched(*spoilt(truth))
    assert ENCODING.encode(clean)[HOLE] == pytest.approx(truth[HOLE], abs=0.02)


def test_what_is_no_number_is_not_cloned_and_nothing_becomes_negative():
    truth = stripes()
    shown, behind = spoilt(truth)
    plate = ENCODING.decode(shown)
    plate[:, ::7] = np.nan
    plate[:, 1::7] = np.inf
    plate[:, 2::7] = -3
    _, clean = patched(shown, behind, plate=plate)
    assert np.isfinite(clean).all()
    assert clean.min() >= 0
    assert (np.abs(clean[HOLE] - ENCODING.decode(behind)[HOLE]) < 1e-6).all(-1).any()


def shore(seed):
    """A beach: sand, and water whose foam is another at every frame. Display-encoded."""
    foam = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal((96, 160, 1)).astype(np.float32), (0, 0), 1.2)
    foam = 0.75 + 0.3 * foam[..., None] * np.float32([1, 1, 1])
    sand = np.broadcast_to(np.float32([0.75, 0.65, 0.5]), foam.shape)
    return np.where(np.arange(96)[:, None, None] < 60, foam, sand).astype(np.float32)


def test_beneath_an_object_in_the_foam_lies_foam_of_the_same_frame():
    frame = shore(1)
    # Darker by now, and with foam elsewhere: nothing in the clean plate tells of it.
    frame[:60] -= 0.3
    mask = np.zeros((96, 160), np.float32)
    mask[20:55, 60:90] = 1
    shown = np.where(mask[..., None] > 0, np.float32([0.1, 0.1, 0.3]), frame)
    plate, clean = ENCODING.decode(shown), ENCODING.decode(shore(2))
    before = clean.copy()
    low = np.zeros((1, 64, 112, 4), np.float32)
    low[0, ..., 3] = np.clip(cv2.GaussianBlur(cv2.resize(mask, (112, 64)), (0, 0), 0.8), 0.0025, 0.9975)
    moved = follow_frame(plate, clean, [mask], low[..., 3], ENCODING, Noise(0.005), None)
    inside, around = mask > 0, np.s_[2:55]
    result, was = ENCODING.encode(clean), ENCODING.encode(before)
    wanted = frame[around][~inside[around]]
    assert abs(result[inside].mean() - wanted.mean()) < 0.03 < abs(was[inside].mean() - wanted.mean())
    # Its texture is the foam's of this frame, neither a blur nor the sum of two.
    assert 0.8 < result[inside].std() / wanted.std() < 1.2
    canvas = Region(0, 0, 160, 96)
    stack = lift_frame(
        Plate(1, plate, canvas, canvas), clean, [mask], low, ("boy",), np.array([0]), ENCODING, Noise(0.005),
        Precision.HALF, moved,
    )  # fmt: skip
    assert (np.abs(recompose(stack) - plate) - (2.0**-10 * np.abs(plate) + 2.0**-12)).max() <= 0
