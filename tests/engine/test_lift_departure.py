"""The clean plate follows what the frame around the objects has become, and takes no effect for the ground."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penumbra.clean_plate import build_clean_plate
from penumbra.color import DisplayEncoding
from penumbra.compositing import recompose
from penumbra.frames import Plate, Region
from penumbra.lift import Noise, follow_frame, lift_frame
from penumbra.lift.precision import Precision
from penumbra.unrest import own_motion

SIZE = (96, 160)
ENCODING = DisplayEncoding()
NOISE = Noise(0.002)
LATE = 11  # the first of 15 frames at which the lower sand is wet
SHORE = 56  # rows of water above the sand
WET = np.float32([0.6, 0.5, 0.45])


def sand(grain=0.0):
    rng = np.random.default_rng(3)
    fine = cv2.GaussianBlur(rng.standard_normal((*SIZE, 1)).astype(np.float32), (0, 0), 2)[..., None]
    colour = np.where(
        np.arange(SIZE[0])[:, None, None] < SHORE, np.float32([0.3, 0.5, 0.6]), np.float32([0.6, 0.5, 0.4])
    )
    return np.clip(colour * (1 + 0.2 * fine + grain * rng.standard_normal((*SIZE, 3))), 0, None).astype(np.float32)


def wetness():
    """(H, W, 3) what the picture is of what it was: the water stays as it is, the sand darkens."""
    wet = (np.arange(SIZE[0]) >= SHORE)[:, None, None]
    return np.where(wet, WET, np.float32(1)).repeat(SIZE[1], 1).astype(np.float32)


def crouching():
    mask = np.zeros(SIZE, np.float32)
    mask[60:84, 70:90] = 1
    return mask


def wet_frame(shadow=0.0):
    """Plate, clean plate, mask and truth of a frame whose sand has become wet beneath and around an object.

    ``shadow``: how much it darkens the ground beside it.
    """
    clean, mask = sand(), crouching()
    truth = clean * wetness()
    plate = truth.copy()
    plate[78:84, 90:112] *= 1 - shadow
    plate[mask > 0] = (0.1, 0.1, 0.3)
    return plate.astype(np.float32), clean.astype(np.float32), mask, truth


def network(mask, *effects):
    small = [cv2.resize(np.float32(r), (112, 64), interpolation=cv2.INTER_AREA) for r in (mask, *effects)]
    return np.clip(cv2.GaussianBlur(np.maximum.reduce(small), (0, 0), 0.8), 0.0025, 0.9975)[None].astype(np.float32)


def beside():
    region = np.zeros(SIZE, np.float32)
    region[78:84, 90:112] = 0.3
    return region


def test_under_an_object_the_sand_is_as_wet_as_around_it():
    plate, clean, mask, truth = wet_frame()
    dry = clean.copy()
    follow_frame(plate, clean, [mask], network(mask), ENCODING, NOISE, None)
    error = np.abs(clean - truth)[mask > 0].mean()
    assert error < 0.15 * np.abs(dry - truth)[mask > 0].mean()


def test_a_shadow_is_not_taken_for_the_ground():
    plate, clean, mask, truth = wet_frame(shadow=0.5)
    follow_frame(plate, clean, [mask], network(mask, beside()), ENCODING, NOISE, None)
    inside = np.s_[79:83, 94:110]
    absorbed = 1 - clean[inside].mean() / truth[inside].mean()
    assert absorbed < 0.1


def test_an_effect_on_what_has_changed_is_found_beside_what_it_has_become():
    plate, clean, mask, _ = wet_frame(shadow=0.3)
    before = own_motion(plate, clean, [mask], ENCODING, None)
    after = follow_frame(plate, clean, [mask], network(mask, beside()), ENCODING, NOISE, None)
    assert after[81, 100] < 0.3 * before[81, 100]


def test_where_the_frame_agrees_with_the_clean_plate_nothing_changes():
    clean, mask = sand().astype(np.float32), crouching()
    plate = clean.copy()
    plate[78:92, 90:130] *= 0.5
    plate[mask > 0] = (0.1, 0.1, 0.3)
    kept = clean.copy()
    moved = follow_frame(plate, clean, [mask], network(mask), ENCODING, NOISE, None)
    assert np.array_equal(clean, kept)
    assert np.array_equal(moved, own_motion(plate, clean, [mask], ENCODING, None))


def test_grain_does_not_enter_the_background():
    plate, clean, mask, truth = wet_frame()
    grainy = plate * (1 + 0.05 * np.random.default_rng(5).standard_normal(plate.shape).astype(np.float32))
    first, second = clean.copy(), clean.copy()
    follow_frame(plate, first, [mask], network(mask), ENCODING, Noise(0.01), None)
    follow_frame(grainy, second, [mask], network(mask), ENCODING, Noise(0.01), None)
    leak, grain = second - first, 0.05 * truth[mask > 0].mean()
    # Nearer to the shore no model tells sand from water, and the frame itself is cloned, grain and all.
    told = (mask > 0) & (np.arange(SIZE[0]) > SHORE + 16)[:, None]
    assert leak[told].std() < 0.25 * grain
    assert (leak - cv2.GaussianBlur(leak, (0, 0), 2))[told].std() < 0.05 * grain


def test_a_patch_that_moves_by_itself_is_no_departure():
    clean, mask = sand().astype(np.float32), crouching()
    plate, restless = clean.copy(), np.full(SIZE, 0.002, np.float32)
    rng = np.random.default_rng(2)
    waves = cv2.GaussianBlur(rng.standard_normal((40, 60)).astype(np.float32), (0, 0), 1.5)[..., None]
    plate[:40, :60] *= 1 + waves
    restless[:40, :60] = 0.05
    plate[mask > 0] = (0.1, 0.1, 0.3)
    kept = clean.copy()
    follow_frame(plate, clean, [mask], network(mask), ENCODING, NOISE, restless)
    assert np.abs(clean - kept)[mask > 0].max() < 0.01


def test_masks_that_leave_nothing_to_judge_by_change_nothing():
    plate, clean, _, _ = wet_frame()
    kept = clean.copy()
    follow_frame(plate, clean, [np.ones(SIZE, np.float32)], network(crouching()), ENCODING, NOISE, None)
    assert np.array_equal(clean, kept)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([(24, 40), (70, 50), (97, 331)]),
    peak=st.sampled_from([0.01, 1.0, 300.0]),
    level=st.sampled_from([0.0, 0.002, 0.05]),
)
def test_whatever_comes_in_the_layers_recompose(seed, size, peak, level):
    rng = np.random.default_rng(seed)
    rough = [np.float32(rng.random((5, 7, 3)) ** 2 * peak * rng.choice([0.1, 1, 3])) for _ in range(2)]
    plate, clean = (cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR) for image in rough)
    plate = plate.astype(np.float16).astype(np.float32)
    mask = np.zeros(size, np.float32)
    mask[size[0] // 3 : size[0] // 2, size[1] // 3 : size[1] // 2] = 1
    low = rng.random((1, 32, 32, 4)).astype(np.float32)
    low[..., 3] *= low[..., 3] ** 6
    encoding, canvas = DisplayEncoding(peak=max(1.0, peak)), Region(0, 0, size[1], size[0])
    moved = follow_frame(plate, clean, [mask], low[..., 3], encoding, Noise(level), None)
    assert np.isfinite(clean).all()
    assert clean.min() >= 0
    stack = lift_frame(
        Plate(1, plate, canvas, canvas), clean, [mask], low, ("a",), np.array([0]), encoding, Noise(level),
        Precision.HALF, moved,
    )  # fmt: skip
    assert (np.abs(recompose(stack) - plate) - (2.0**-10 * np.abs(plate) + 2.0**-12)).max() <= 0


@pytest.mark.parametrize("size", [SIZE, (540, 900)])
def test_what_is_followed_is_the_same_at_any_size(size):
    plate, clean, mask, truth = (cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR) for image in wet_frame())
    follow_frame(plate, clean, [mask], network(mask), ENCODING, NOISE, None)
    inside = cv2.erode(mask, np.ones((5, 5), np.uint8)) >= 1
    assert np.abs(clean - truth)[inside].mean() < 0.15 * np.abs(truth)[inside].mean()


def test_a_clip_whose_ground_grows_wet_under_an_object_shows_no_outline(tmp_path):
    """From the clip's own median on: most frames are dry, so that the clean plate is."""
    ground, masks, plates, truths = sand(), [], [], []
    for index in range(15):
        mask = np.roll(crouching(), min(index, LATE) * 7 - 70, axis=1)
        truth = (ground * (wetness() if index >= LATE else 1)).astype(np.float32)
        plate = truth.copy()
        plate[mask > 0] = (0.1, 0.1, 0.3)
        masks.append(mask)
        plates.append(plate)
        truths.append(truth)
    made = build_clean_plate(
        range(15), plates.__getitem__, masks.__getitem__, np.tile(np.eye(3), (15, 1, 1)), tmp_path,
        lambda *_: None, lambda: False,
    )  # fmt: skip
    canvas = Region(0, 0, SIZE[1], SIZE[0])
    low = np.zeros((1, 64, 112, 4), np.float32)
    before = None
    for index in range(LATE, 15):
        clean, mask = made.at(index)[0], masks[index]
        dry = clean.copy()
        low[..., 3] = network(mask)
        moved = follow_frame(plates[index], clean, [mask], low[..., 3], ENCODING, NOISE, made.restlessness(index))
        stack = lift_frame(
            Plate(index, plates[index], canvas, canvas), clean, [mask], low, ("boy",), np.array([0]), ENCODING, NOISE,
            Precision.HALF, moved,
        )  # fmt: skip
        inside = mask > 0
        assert (
            np.abs(stack.background - truths[index])[inside].mean() < 0.2 * np.abs(dry - truths[index])[inside].mean()
        )
        assert before is None or np.abs(stack.background - before)[inside].max() < 0.01
        before = stack.background
