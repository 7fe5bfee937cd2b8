"""Whose effect, at the plate's resolution: edges from plate and masks, sensible shares where layers overlap."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penumbra.belief import darkened_alike
from penumbra.color import DisplayEncoding
from penumbra.compositing import recompose
from penumbra.frames import Plate, Region
from penumbra.lift import Noise, lift_frame
from penumbra.lift.precision import Precision

FACTOR = 4
SIZE = (128, 192)
GROUND = 0.4


def lifted(plate, clean, masks, low, order=None, encoding=None, precision=Precision.HALF, lines=None, restless=None):
    region = Region(0, 0, plate.shape[1], plate.shape[0])
    names = [f"o{i}" for i in range(len(masks))]
    order = np.arange(len(masks)) if order is None else np.array(order)
    stack = lift_frame(
        Plate(1, plate, region, region), clean, masks, low, names, order, encoding or DisplayEncoding(),
        Noise(0.0005), precision, restless, lines,
    )  # fmt: skip
    return stack, {layer.name: layer.pixels for layer in stack.layers}


def excess(stack, plate):
    return (np.abs(recompose(stack) - plate) - (2.0**-10 * np.abs(plate) + 2.0**-12)).max()


def box(top, bottom, left, right, soft=0.0):
    region = np.zeros(SIZE, np.float32)
    region[top:bottom, left:right] = 1
    return cv2.GaussianBlur(region, (0, 0), soft) if soft else region


def network(regions, least=0.003, blur=0.8):
    """What a network says of regions (opacity, H x W each): small, blurred, never quite 0."""
    small = [cv2.resize(r, (SIZE[1] // FACTOR, SIZE[0] // FACTOR), interpolation=cv2.INTER_AREA) for r in regions]
    low = np.zeros((len(regions), *small[0].shape, 4), np.float32)
    low[..., 3] = np.clip(np.stack([cv2.GaussianBlur(s, (0, 0), blur) for s in small]), least, 1 - least)
    return low


def scene(objects, shadows, depth=0.5):
    """A ground, objects of their own colours in their masks, shadows of a depth beneath them."""
    clean = np.full((*SIZE, 3), GROUND, np.float32)
    plate = clean * (1 - depth * np.clip(sum(shadows, np.zeros(SIZE, np.float32)), 0, 1))[..., None]
    for mask, colour in zip(objects, np.eye(3) * 0.6 + 0.1, strict=False):
        plate = plate * (1 - mask[..., None]) + mask[..., None] * colour
    return plate.astype(np.float32), clean


OBJECTS = [box(16, 48, 32, 56), box(16, 48, 136, 160)]


def test_a_shadows_edge_lies_where_the_plate_has_it():
    shadow = box(60, 100, 37, 83, soft=1.0)
    plate, clean = scene(OBJECTS, [shadow])
    low = network([np.maximum(OBJECTS[0], 0.4 * shadow), OBJECTS[1]])
    stack, layers = lifted(plate, clean, OBJECTS, low)
    assert layers["o0"][..., 3][52:] == pytest.approx(0.5 * shadow[52:], abs=0.06)
    assert layers["o1"][52:].max() < 0.01
    assert excess(stack, plate) <= 0


def test_the_faint_end_of_a_shadow_goes_with_its_beginning():
    shadow = box(60, 70, 40, 120)
    plate, clean = scene(OBJECTS, [shadow])
    told = shadow * np.clip(1 - np.arange(SIZE[1]) / 100, 0, 1)[None].astype(np.float32)
    _, layers = lifted(plate, clean, OBJECTS, network([np.maximum(OBJECTS[0], 0.4 * told), OBJECTS[1]]))
    assert layers["o0"][65, 98, 3] == pytest.approx(0.5, abs=0.02)
    assert layers["o1"][65, 40:100, 3].max() < 0.01


def test_two_crossing_shadows_share_what_they_cover_together():
    across, down = box(70, 86, 16, 176), box(56, 120, 88, 104)
    plate, clean = scene(OBJECTS, [across, down])
    low = network([np.maximum(OBJECTS[0], 0.3 * across), np.maximum(OBJECTS[1], 0.3 * down)])
    stack, layers = lifted(plate, clean, OBJECTS, low)
    first, second = layers["o0"][..., 3], layers["o1"][..., 3]
    assert first[78, 24] == pytest.approx(0.5, abs=0.01)
    assert second[112, 96] == pytest.approx(0.5, abs=0.01)
    assert second[78, 24] < 0.02
    assert first[112, 96] < 0.02
    assert first[78, 96] == pytest.approx(second[78, 96], abs=0.15)
    assert (1 - first[78, 96]) * (1 - second[78, 96]) == pytest.approx(0.5, abs=0.01)
    assert excess(stack, plate) <= 0


def test_a_shadow_that_falls_on_another_object_stays_with_who_casts_it():
    shadow = box(32, 44, 56, 160)
    plate, clean = scene(OBJECTS, [shadow * (1 - OBJECTS[1])])
    plate = plate * (1 - 0.5 * shadow * OBJECTS[1])[..., None]
    low = network([np.maximum(OBJECTS[0], 0.4 * shadow), OBJECTS[1]])
    stack, layers = lifted(plate, clean, OBJECTS, low, order=(1, 0))
    assert 0.25 < layers["o0"][38, 148, 3] < 0.55
    # Where the shadow does not fall, the object's own pixels are nobody else's.
    assert layers["o0"][20:28, 140:156, 3].max() < 0.1
    assert layers["o1"][38, 148, 3] == 1
    assert excess(stack, plate) <= 0


def test_an_object_in_front_takes_nothing_of_its_opacity_beyond_its_mask():
    # Back to back: the front object's small alpha bleeds a small pixel far into the other's mask.
    objects = [box(16, 48, 32, 60), box(16, 48, 60, 88)]
    plate, clean = scene(objects, [])
    stack, layers = lifted(plate, clean, objects, network(objects), order=(0, 1))
    assert layers["o1"][20:44, 36:58, 3].max() < 0.2
    assert layers["o1"][20:44, 62:86, 3].min() == 1
    assert excess(stack, plate) <= 0


def test_a_reflection_behind_an_object_in_front_is_split_at_that_objects_mask():
    reflection = box(48, 80, 32, 56)
    front = box(64, 110, 20, 80)
    objects = [OBJECTS[0], front]
    plate, clean = scene([], [])
    plate = (plate + reflection[..., None] * np.array([0.3, 0.1, 0.1], np.float32)).astype(np.float32)
    for mask, colour in zip(objects, ([0.7, 0.1, 0.1], [0.1, 0.1, 0.7]), strict=True):
        plate = (plate * (1 - mask[..., None]) + mask[..., None] * np.array(colour)).astype(np.float32)
    low = network([np.maximum(OBJECTS[0], 0.3 * reflection), front])
    low[0, ..., :3] = (0.8, 0.4, 0.4)
    stack, layers = lifted(plate, clean, objects, low)
    assert layers["o1"][70:110, 20:80, 3].min() == 1
    assert layers["o1"][50:60, 34:54].max() < 0.05
    assert layers["o0"][50:63, 34:54, 0].min() > 0.25
    assert excess(stack, plate) <= 0


def test_hair_and_motion_blur_survive():
    streak = box(16, 48, 32, 96, soft=0)
    streak *= np.clip(1 - np.abs(np.arange(SIZE[1]) - 64) / 32, 0, 1)[None].astype(np.float32)
    plate, clean = scene([streak], [])
    stack, layers = lifted(plate, clean, [streak], network([streak]))
    alpha = layers["o0"][..., 3]
    assert (alpha >= streak - 1e-6).all()
    assert alpha[20:44] == pytest.approx(streak[20:44], abs=0.1)
    assert excess(stack, plate) <= 0


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    objects=st.integers(1, 4),
    peak=st.sampled_from([0.05, 1.0, 30.0]),
    precision=st.sampled_from(list(Precision)),
)
def test_whatever_plate_network_and_order_the_guarantees_hold(seed, objects, peak, precision):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(3, 90)), int(rng.integers(3, 300)))
    clean = (rng.random((*shape, 3)) * peak).astype(np.float32)
    plate = (np.where(rng.random((*shape, 1)) < 0.5, clean, rng.random((*shape, 3)) ** 3 * peak)).astype(np.float16)
    plate = plate.astype(np.float32)
    masks = [np.clip(rng.random(shape) * 3 - 2, 0, 1).astype(np.float32) for _ in range(objects)]
    low = rng.random((objects, 32, 48, 4)).astype(np.float32) ** 4
    order = rng.permutation(objects)
    stack, layers = lifted(plate, clean, masks, low, order, DisplayEncoding(peak=max(1.0, peak)), precision)
    assert excess(stack, plate) <= 0
    assert [layer.name for layer in stack.layers] == [f"o{i}" for i in order]
    for index, mask in enumerate(masks):
        pixels = layers[f"o{index}"]
        assert np.isfinite(pixels).all()
        assert pixels.min() >= 0
        assert pixels[..., 3].max() <= 1
        assert (pixels[..., 3] >= np.where(mask > 0.02, mask, 0)).all()


def test_negative_and_broken_looking_values_leave_the_rest_alone():
    plate, clean = scene(OBJECTS, [])
    plate[60:70, 60:70] = -0.1
    plate[80:90, 60:70] = 60000
    stack, _ = lifted(plate, clean, OBJECTS, network(OBJECTS))
    assert all(np.isfinite(layer.pixels).all() for layer in stack.layers)
    assert excess(stack, np.where(plate < 0, recompose(stack), plate)) <= 0


@pytest.mark.parametrize("restless", [None, 0.02])
@pytest.mark.parametrize("broken", [np.inf, -np.inf, np.nan, 3e38])
def test_a_pixel_that_is_no_number_leaves_the_rest_as_it_was(broken: float, restless: float | None):
    shadow = box(60, 100, 37, 83)
    plate, clean = scene(OBJECTS, [shadow])
    low = network([np.maximum(OBJECTS[0], 0.4 * shadow), OBJECTS[1]])
    moved = None if restless is None else np.full(SIZE, restless, np.float32)
    whole = lifted(plate, clean, OBJECTS, low, restless=moved)[1]
    plate[80:82, 100:102] = broken
    with np.errstate(all="ignore"):
        hurt = lifted(plate, clean, OBJECTS, low, restless=moved)[1]
    far = np.hypot(*(np.indices(SIZE) - np.array([80, 100])[:, None, None])) > 12
    for name, layer in whole.items():
        np.testing.assert_allclose(hurt[name][far], layer[far], atol=0.02)


def _random_scene(seed, size, objects=2):
    """Ground, plain effects and masks in blobs, and a network of noise: plate, clean plate, masks, small layers."""
    rng = np.random.default_rng(seed)
    height, width = size

    def blobs(coarse, least):
        field = cv2.resize(rng.random((height // coarse, width // coarse)).astype(np.float32), (width, height))
        return (field > least).astype(np.float32)

    clean = cv2.resize(rng.random((height // 8, width // 8, 3)).astype(np.float32), (width, height)) * 0.5 + 0.2
    plate = (clean * (1 - 0.4 * blobs(4, 0.6))[..., None]).astype(np.float32)
    masks = [blobs(16, 0.7) for _ in range(objects)]
    low = rng.random((objects, height // 8, width // 8, 4)).astype(np.float32) ** 2
    return plate, clean.astype(np.float32), masks, low, rng.permutation(objects)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), top=st.integers(1, 10), left=st.integers(1, 10), objects=st.integers(1, 3))
def test_crop_then_lift_is_lift_then_crop_away_from_borders(seed, top, left, objects):
    plate, clean, masks, low, order = _random_scene(seed, (384, 512), objects)
    window = np.s_[8 * top : 8 * top + 256, 8 * left : 8 * left + 256]
    small = low[:, top : top + 32, left : left + 32]
    whole, layers = lifted(plate, clean, masks, low, order)
    cropped, part = lifted(plate[window], clean[window], [mask[window] for mask in masks], small, order, lines=48)
    # Ownership is averaged over a few small pixels and fades over more: nearer than those a border shows.
    inner = np.s_[96:160, 96:160]
    for name in layers:
        assert part[name][inner] == pytest.approx(layers[name][window][inner], abs=2e-3)
    assert cropped.background[inner] == pytest.approx(whole.background[window][inner], abs=2e-3)


def _moved_by_scale(seed, scale, objects, claims):
    """(largest, mean) difference of the layers of a scaled plate from the scaled layers, where effects are plain.

    ``claims``: the least and the most opacity the network ever claims where it claims anything.
    """
    plate, clean, masks, low, order = _random_scene(seed, (64, 96), objects)
    low[..., :3], low[..., 3] = 0, np.where(low[..., 3] > claims[0], np.minimum(low[..., 3], claims[1]), 0)
    stack, layers = lifted(plate, clean, masks, low, order, precision=Precision.FLOAT)
    bright, scaled = lifted(plate * scale, clean * scale, masks, low, order, precision=Precision.FLOAT)
    # At an effect's very edge belief follows the display encoding, which no scale leaves alone.
    apart = np.abs(plate - clean).max(axis=-1)
    # What lies beyond the picture's border is not known to be plain.
    border = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
    inner = [
        cv2.erode(there.astype(np.uint8), np.ones((7, 7), np.uint8), **border) for there in (apart > 0.06, apart == 0)
    ]
    plain = np.maximum(*inner) > 0
    assert bright.background[plain] == pytest.approx(scale * stack.background[plain], abs=1e-5)
    apart = np.stack([np.abs(scaled[n][plain] - layers[n][plain] * [scale, scale, scale, 1]) for n in layers])
    return apart.max(), apart.mean()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.375, 2.5, width=32), objects=st.integers(1, 3))
@example(seed=5729, scale=2.0, objects=1)
def test_scaling_the_plate_scales_the_layers_where_effects_are_plain(seed, scale, objects):
    # The shadows here need 0.4: a claim of 0.6 is a shadow's, so that the plate alone says how opaque it is.
    largest, mean = _moved_by_scale(seed, scale, objects, (0.25, 0.6))
    # Where layers at random claim about as much, a little decides whose it is.
    assert largest < (0.25 if objects == 1 else 0.5)
    assert mean < (5e-4 if objects == 1 else 5e-3)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.375, 2.5, width=32), objects=st.integers(1, 3))
@example(seed=5729, scale=2.0, objects=1)
@example(seed=136, scale=2.114, objects=1)
@example(seed=3103, scale=2.5, objects=1)
def test_scaling_the_plate_hardly_moves_claims_between_a_shadow_and_a_thing(seed, scale, objects):
    # Claims of 0.65 to 0.9 lie between the shadow that is needed and a thing that hides the ground: how much is
    # claimed counts there, and a claim is fitted to how far belief reaches at edges, which follows the encoding.
    largest, mean = _moved_by_scale(seed, scale, objects, (0.25, 1.0))
    assert largest < (0.25 if objects == 1 else 0.5)
    assert mean < 0.01


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    shadow = box(60, 100, 37, 83, soft=1.0)
    plate, clean = scene(OBJECTS, [shadow])
    low = network([np.maximum(OBJECTS[0], 0.4 * shadow), OBJECTS[1]])
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
        results.append(lifted(plate, clean, OBJECTS, low)[1])
    assert all(np.array_equal(results[0][name], results[1][name]) for name in results[0])


def test_where_the_plate_moves_by_itself_little_is_believed():
    shadow = box(60, 100, 37, 83)
    plate, clean = scene(OBJECTS, [shadow], depth=0.05)
    low = network([np.maximum(OBJECTS[0], 0.4 * shadow), OBJECTS[1]])
    region = Region(0, 0, SIZE[1], SIZE[0])
    restless = np.where(np.arange(SIZE[1]) < 60, 0.05, 0).astype(np.float32)[None].repeat(SIZE[0], 0)
    stack = lift_frame(
        Plate(1, plate, region, region), clean, OBJECTS, low, ("a", "b"), np.array([0, 1]), DisplayEncoding(),
        Noise(0.0005), Precision.HALF, restless,
    )  # fmt: skip
    alpha = stack.layers[0].pixels[..., 3]
    assert alpha[80, 70] > 0.04
    assert alpha[80, 45] == 0
    assert excess(stack, plate) <= 0


@pytest.mark.parametrize(("restless", "most"), [(0.0, 1.0), (0.02, 0.02)])
def test_water_beside_a_body_is_not_the_bodys_because_nothing_parts_them(restless: float, most: float):
    """Twice as far from the clean plate as water goes by itself: certain, were the ground at rest."""
    plate, clean = scene(OBJECTS, [])
    plate[20:44, 56:100] *= (0.65, 0.8, 0.95)
    low = network(OBJECTS, least=0.004)
    alpha = lifted(plate, clean, OBJECTS, low, restless=np.full(SIZE, restless, np.float32))[1]["o0"][..., 3]
    beside = alpha[24:40, 62:90]
    assert beside.max() <= most
    assert beside.max() > 0.3 or restless


@pytest.mark.parametrize(("said", "least", "most"), [(0.04, 0.0, 0.02), (0.5, 0.25, 1.0)])
def test_on_moving_ground_what_is_no_shadow_is_owned_where_the_network_is_sure(said: float, least: float, most: float):
    """However far from the clean plate, as foam is; a white boat's reflection is told by the network alone."""
    plate, clean = scene(OBJECTS, [])
    foam = box(60, 76, 40, 100)
    plate += 0.5 * foam[..., None]
    low = network([np.maximum(OBJECTS[0], said * foam), OBJECTS[1]])
    restless = np.full(SIZE, 0.02, np.float32)
    # Nor at the border of what moves, where the front of a wave is seldom.
    restless[:, 70:] = 0.005
    alpha = lifted(plate, clean, OBJECTS, low, restless=restless)[1]["o0"][64:72, 46:64, 3]
    assert least <= alpha.min()
    assert alpha.max() <= most


def along(left: float, right: float) -> np.ndarray:
    """A line across the ground, thinner than a small pixel, that slopes from one to the next."""
    line = np.zeros(SIZE, np.float32)
    for x in range(int(left), int(right)):
        top = 70 + x // 24
        line[top : top + 3, x] = 1
    return line


def told(shadow: np.ndarray, end: int) -> np.ndarray:
    """What of it the network tells: nothing from a column on."""
    return shadow * (np.arange(SIZE[1]) < end).astype(np.float32)


@pytest.mark.parametrize("restless", [0.0, 0.01])
def test_a_thin_shadow_is_followed_to_its_end(restless: float):
    shadow = along(40, 176)
    foot = [box(16, 72, 32, 42), OBJECTS[1]]
    plate, clean = scene(foot, [shadow])
    low = network([np.maximum(foot[0], 0.4 * told(shadow, 80)), foot[1]])
    stack, layers = lifted(plate, clean, foot, low, restless=np.full(SIZE, restless, np.float32))
    held = layers["o0"][..., 3]
    assert min(held[71 + x // 24, x] for x in range(46, 174)) > 0.4
    assert layers["o1"][60:].max() < 0.01
    assert excess(stack, plate) <= 0


def test_a_shadow_is_followed_across_what_hides_it_a_little_and_not_to_another():
    shadow = along(40, 110) + along(120, 140)
    beyond = np.roll(along(40, 140), 36, axis=0)
    foot = [box(16, 72, 32, 42), OBJECTS[1]]
    plate, clean = scene(foot, [shadow, 0.3 * along(110, 120), beyond])
    low = network([np.maximum(foot[0], 0.4 * told(shadow, 80)), foot[1]])
    _, layers = lifted(plate, clean, foot, low, restless=np.full(SIZE, 0.02, np.float32))
    held = layers["o0"][..., 3]
    assert min(held[71 + x // 24, x] for x in [*range(46, 108), *range(122, 138)]) > 0.4
    assert min(held[71 + x // 24, x] for x in range(110, 120)) == pytest.approx(0.15, abs=0.02)
    assert held[100:].max() < 0.02


def test_a_shadow_that_two_have_begun_is_each_ones_to_its_middle():
    shadow = along(40, 160)
    feet = [box(16, 72, 32, 42), box(16, 80, 158, 168)]
    plate, clean = scene(feet, [shadow])
    near, far = told(shadow, 60), shadow - told(shadow, 140)
    low = network([np.maximum(feet[0], 0.4 * near), np.maximum(feet[1], 0.4 * far)])
    _, layers = lifted(plate, clean, feet, low)
    held = [np.array([layer[71 + x // 24, x, 3] for x in range(44, 156)]) for layer in (layers["o0"], layers["o1"])]
    assert held[0][:40].min() > 0.4
    assert held[1][-40:].min() > 0.4
    assert max(held[0][-40:].max(), held[1][:40].max()) < 0.05


def test_a_shadow_on_water_far_darker_than_water_goes_is_carried_on_to_its_end():
    shadow = box(60, 70, 40, 100)
    plate, clean = scene(OBJECTS, [shadow], depth=0.6)
    told = shadow * np.clip(1 - np.arange(SIZE[1]) / 80, 0, 1)[None].astype(np.float32)
    low = network([np.maximum(OBJECTS[0], 0.4 * told), OBJECTS[1]])
    alpha = lifted(plate, clean, OBJECTS, low, restless=np.full(SIZE, 0.02, np.float32))[1]["o0"][..., 3]
    assert alpha[62:68, 42:96].min() > 0.5
    assert alpha[80:].max() < 0.02


def test_a_shadow_takes_a_share_of_all_channels_and_other_differences_do_not():
    clean = np.full((8, 8, 3), (0.4, 0.5, 0.6), np.float32)
    for kept, expected in (
        ((0.5, 0.5, 0.5), 1.0), ((0.35, 0.45, 0.6), 1.0), ((0.9, 0.88, 0.88), 1.0),
        ((1.0, 0.8, 0.6), 0.0), ((0.4, 0.8, 0.9), 0.0), ((1.3, 1.3, 1.3), 0.0), ((1.0, 1.0, 1.0), 0.0),
    ):  # fmt: skip
        assert darkened_alike(clean * np.float32(kept), clean) == pytest.approx(expected, abs=0.01), kept
