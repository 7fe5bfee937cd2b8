import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from penumbra.clean_plate import build_clean_plate, exposure, load_clean_plate
from penumbra.clean_plate.exposure import Thumbnails, estimate_gains
from penumbra.clean_plate.fill import fill_unseen
from penumbra.clean_plate.kept import DISTANCES
from penumbra.clean_plate.median import median_background
from penumbra.clean_plate.mosaic import plan_mosaics
from penumbra.color import DisplayEncoding, srgb_decode, srgb_encode
from penumbra.errors import OutputError, Stopped

SIZE = (72, 128)
COUNT = 15


def texture(size: tuple[int, int], seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(*size, 3)).astype(np.float32)
    return (0.3 + 1.2 * cv2.GaussianBlur(noise, (0, 0), 3)).clip(0.01, 4).astype(np.float32)


class Clip:
    """A bright square crosses a picture; reads are counted."""

    def __init__(self, homographies: np.ndarray, side: int = 20, step: int = 7, gains: np.ndarray | None = None):
        self.homographies, self.reads = homographies, []
        self.gains = np.ones((len(homographies), 3), np.float32) if gains is None else gains
        big, shift = texture((160, 360)), np.array([[1, 0, 60], [0, 1, 40], [0, 0, 1.0]])
        self.truth, self.occupied = [], []
        for n, h in enumerate(homographies):
            flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            seen = cv2.warpPerspective(big, shift @ h, (SIZE[1], SIZE[0]), flags=flags)
            mask = np.zeros(SIZE, np.float32)
            mask[30 : 30 + side, 5 + step * n : 5 + step * n + side] = 1
            self.truth.append(seen * self.gains[n])
            self.occupied.append(mask)

    def plate(self, number: int) -> np.ndarray:
        self.reads.append(number)
        mask = self.occupied[number - 1001][..., None]
        return (self.truth[number - 1001] * (1 - mask) + 3 * mask).astype(np.float32)

    def mask(self, number: int) -> np.ndarray:
        return self.occupied[number - 1001]

    def numbers(self) -> tuple[int, ...]:
        return tuple(range(1001, 1001 + len(self.homographies)))

    def build(self, folder: Path, **options: object):
        return build_clean_plate(
            self.numbers(), self.plate, self.mask, self.homographies, folder,
            options.pop("on_progress", lambda done, total: None), options.pop("should_stop", lambda: False), **options,
        )  # fmt: skip


def still(count: int = COUNT) -> np.ndarray:
    return np.tile(np.eye(3), (count, 1, 1))


def panning(count: int = COUNT) -> np.ndarray:
    rows = [np.array([[1, 0.002 * n, 5.3 * n], [0, 1, 1.7 * np.sin(n)], [1e-5 * n, 0, 1]]) for n in range(count)]
    return np.stack(rows)


def test_locked_camera_gives_the_background_exactly_without_warping(tmp_path: Path):
    clip = Clip(still())
    made = clip.build(tmp_path)
    for index in range(COUNT):
        background, seen = made.at(index)
        assert background.dtype == seen.dtype == np.float32
        assert np.abs(background - clip.truth[index]).max() == 0
        assert (seen == 1).all()
    assert made.never_seen_share == 0
    assert made.warnings == ()
    assert (made.gains == 1).all()


def test_the_median_is_per_channel_over_unmasked_pixels_only(tmp_path: Path):
    # Far enough apart that no sample is near another, where the median would move to what lies around it; no blue, so
    # that no exposure is told from them.
    steps = np.array([0.02, 0.1, 0.35, 0.9, 1.8], np.float32)
    orders = np.random.default_rng(5).permuted(np.tile(steps, (3, 1)), axis=-1)
    values = np.tile(orders.T[:, None, None], (1, 16, 16, 1))
    values[..., 2] = 0
    occupied = np.zeros((5, 16, 16), np.float32)
    occupied[:2, :, 6:] = 0.3
    made = build_clean_plate(
        range(5), lambda n: values[n], lambda n: occupied[n], still(5), tmp_path, lambda *_: None, lambda: False
    )
    background, _ = made.at(0)
    assert background[:, :3] == pytest.approx(np.median(values, axis=0)[:, :3], abs=1e-6)
    assert background[:, 9:] == pytest.approx(np.median(values[2:], axis=0)[:, 9:], abs=1e-6)


@pytest.mark.parametrize("grain", [0.0, 2 / 255])
def test_a_shadow_that_passes_does_not_draw_the_background_to_its_side(tmp_path: Path, grain: float):
    # Its core and its soft edge lie on every place at four of thirteen frames; a median of all is off by more.
    random = np.random.default_rng(6)
    shown = 0.5 + random.normal(0, grain or 0.5 / 255, (13, 40, 40, 3))
    shown[2:6] *= np.array([0.98, 0.9, 0.93, 0.97])[:, None, None, None]
    shown = np.rint(255 * shown) / 255
    values = srgb_decode(shown.astype(np.float32))
    clean = _median_of(list(values), [np.zeros((40, 40), np.float32)] * 13, tmp_path)
    off = srgb_encode(clean).mean() - 0.5
    of_medians = np.median(shown, axis=0).mean() - 0.5
    assert of_medians < -0.3 * (grain or 0.5 / 255)
    assert abs(off) < 0.5 * abs(of_medians)


@pytest.mark.parametrize("grain", [0.0, 0.002])
def test_light_that_objects_take_from_all_around_them_is_not_the_grounds(grain: float):
    size, count = (120, 200), 16
    rng, encoding = np.random.default_rng(3), DisplayEncoding()
    ground = np.full((*size, 3), 0.4, np.float32)
    across, samples, steps = np.arange(size[1]), [], []
    for index in range(count):
        away = np.abs(across - 10 * index - 20) / np.hypot(*size)
        # A level of 8 bits where the object stands, a fifth of that at a tenth of the diagonal.
        taken = 0.009 / (1 + (away / 0.05) ** 2)
        plate = ground * (1 - taken[None, :, None]) + grain * rng.normal(size=ground.shape)
        free = away > 0.02
        samples.append(np.where(free[None, :, None], plate, np.nan))
        step = free * (1 + np.digitize(away, DISTANCES))
        steps.append(np.broadcast_to(step, size))
    stack, farness = (np.stack(held, -1) for held in (samples, steps))
    made, known = median_background(stack.astype(np.float32), farness.astype(np.uint8), encoding, 20)
    assert known.all()
    median = np.nanmedian(stack, axis=-1)
    bias, before = (float((ground - image).mean()) for image in (made, median))
    assert before > 1e-4
    assert 0 <= bias < 0.65 * before
    # Grain is averaged no less than before.
    assert (made - cv2.blur(made, (15, 15))).std() < 1.1 * (median - cv2.blur(median, (15, 15))).std() + 1e-5


def test_moving_camera_gives_every_frame_its_background(tmp_path: Path):
    clip = Clip(panning())
    made = clip.build(tmp_path)
    for index in range(COUNT):
        background, seen = made.at(index)
        error = np.abs(background - clip.truth[index])[seen > 0.99]
        assert error.mean() < 0.003
        assert np.quantile(error, 0.999) < 0.04
        assert (seen > 0.49).mean() > 0.99
    assert (made.gains == 1).all()


@pytest.mark.parametrize("homographies", [still(), panning()])
def test_tiny_memory_and_few_samples_change_nothing_much(tmp_path: Path, homographies: np.ndarray):
    clip = Clip(homographies)
    whole = clip.build(tmp_path / "whole")
    tiled = clip.build(tmp_path / "tiled", byte_budget=700_000)
    few = clip.build(tmp_path / "few", max_samples=3)
    for index in (0, 7, 14):
        assert tiled.at(index)[0] == pytest.approx(whole.at(index)[0], abs=1e-5)
        assert (few.at(index)[1] >= whole.at(index)[1] - 1e-6).all()
        error = np.abs(few.at(index)[0] - clip.truth[index])[few.at(index)[1] > 0.99]
        assert np.quantile(error, 0.99) < 0.05


def test_pixels_no_sample_sees_are_found_in_the_other_frames(tmp_path: Path):
    clip = Clip(still(), side=30, step=0)
    clip.occupied[4][:] = 0
    made = clip.build(tmp_path, max_samples=2)
    assert made.never_seen_share == 0
    assert np.abs(made.at(0)[0] - clip.truth[0]).max() == 0


def test_what_is_never_seen_is_filled_smoothly_marked_and_reported(tmp_path: Path):
    clip = Clip(still(), side=24, step=0)
    made = clip.build(tmp_path)
    background, seen = made.at(3)
    hidden = seen == 0
    assert hidden[32:50, 7:25].all()
    assert made.never_seen_share == pytest.approx(hidden.mean())
    assert "behind an object at every frame" in made.warnings[0]
    assert np.isfinite(background).all()
    around = background[26:60, 1:35][~hidden[26:60, 1:35]]
    assert (background[hidden] >= around.min(0) - 1e-4).all()
    assert (background[hidden] <= around.max(0) + 1e-4).all()
    assert np.abs(background[~hidden] - clip.truth[3][~hidden]).max() == 0


def test_what_is_never_seen_has_the_texture_of_what_is_beside_it(tmp_path: Path):
    y, x = np.indices(SIZE).astype(np.float32)
    gravel = 0.1 * np.sin(2 * np.pi * x / 9)[..., None] * np.sin(2 * np.pi * y / 6)[..., None]
    ground = (0.4 + gravel + 0.003 * x[..., None] * np.float32([1, 0.9, 0.6])).astype(np.float32)
    mask = np.zeros(SIZE, np.float32)
    mask[20:60, 50:70] = 1
    plate = np.where(mask[..., None] > 0, np.float32([0.1, 0.1, 0.4]), ground).astype(np.float32)
    made = build_clean_plate(
        range(3), lambda _: plate, lambda _: mask, still(3), tmp_path, lambda *_: None, lambda: False
    )
    background, seen = made.at(1)
    hidden = seen == 0
    assert np.abs(background - ground)[hidden].mean() < 0.02
    assert 0.85 < background[hidden].std() / ground[hidden].std() < 1.15
    assert np.abs(background - plate)[~hidden].max() == 0


def test_where_nothing_beside_fits_what_is_never_seen_stays_smooth(tmp_path: Path):
    ground = np.full((*SIZE, 3), 0.2, np.float32)
    # A hole at a corner that the picture has but once.
    ground[40:, 60:] = (0.8, 0.6, 0.1)
    mask = np.zeros(SIZE, np.float32)
    mask[30:50, 50:70] = 1
    plate = np.where(mask[..., None] > 0, np.float32(0), ground)
    made = build_clean_plate(
        range(3), lambda _: plate, lambda _: mask, still(3), tmp_path, lambda *_: None, lambda: False
    )
    background, seen = made.at(1)
    assert background.min() >= 0.09
    assert background.max() <= 0.81
    assert np.abs(background - ground)[seen == 0].mean() < 0.2


@pytest.mark.parametrize("homographies", [still(), panning()])
def test_exposure_drift_is_evened_out_and_given_back(tmp_path: Path, homographies: np.ndarray):
    random = np.random.default_rng(2)
    gains = (1 + random.uniform(-0.05, 0.05, (COUNT, 1)) + random.uniform(-0.01, 0.01, (COUNT, 3))).astype(np.float32)
    made = Clip(homographies, gains=gains).build(tmp_path)
    assert made.gains == pytest.approx(gains / np.median(gains, axis=0), abs=0.005)
    clip = Clip(homographies, gains=gains)
    for index in range(COUNT):
        background, seen = made.at(index)
        assert np.abs(background - clip.truth[index])[seen > 0.99].mean() < 0.006
    assert any("exposure drifts" in sentence for sentence in made.warnings)


def test_gains_from_files_are_those_from_memory_however_many_frames_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rng, count = np.random.default_rng(5), 23
    drift = (1 + 0.1 * np.sin(np.arange(count)))[:, None, None, None]
    colour = (rng.random((1, 12, 16, 3)) + 0.2) * drift * rng.normal(1, 0.001, (count, 12, 16, 3))
    free = (rng.random((count, 12, 16)) > 0.1).astype(np.float32)
    thumbnails = Thumbnails(colour.astype(np.float32), free, (1.0, 1.0))
    mosaics = plan_mosaics(np.tile(np.eye(3), (count, 1, 1)), (12, 16))
    together = estimate_gains(thumbnails, mosaics)
    assert together[:, 0] / together[0, 0] == pytest.approx(drift.ravel() / drift.ravel()[0], rel=0.002)
    monkeypatch.setattr(exposure, "AT_ONCE", 4)
    np.testing.assert_array_equal(estimate_gains(thumbnails, mosaics, tmp_path), together)
    assert not list(tmp_path.iterdir())


def test_drift_of_a_tenth_and_highlights_are_followed(tmp_path: Path):
    gains = (1 + 0.1 * np.sin(np.arange(COUNT)))[:, None] * np.ones((1, 3))
    clip = Clip(still(), gains=gains.astype(np.float32))
    for n, truth in enumerate(clip.truth):
        truth[5:9, 60:64] = 30 * gains[n]
    made = clip.build(tmp_path)
    for index in range(COUNT):
        background, _ = made.at(index)
        assert background == pytest.approx(clip.truth[index], rel=0.01)


def test_grain_and_a_moving_shadow_are_no_exposure_drift(tmp_path: Path):
    random, clip = np.random.default_rng(4), Clip(still())
    for n in range(COUNT):
        clip.truth[n] = clip.truth[n] * (1 + 0.03 * random.normal(size=(*SIZE, 3)))
        clip.truth[n][45:65, 7 * n : 7 * n + 40] *= 0.5
    assert (clip.build(tmp_path).gains == 1).all()


def test_highlights_do_not_ring(tmp_path: Path):
    clip = Clip(panning(), side=4)
    for truth in clip.truth:
        truth[:] = 0.1
        truth[10:14, 50:54] = 60.0
    made = clip.build(tmp_path)
    for index in range(COUNT):
        background, _ = made.at(index)
        assert background.min() >= 0.1 - 1e-4
        assert background.max() <= 60 + 1e-3


def test_a_clean_plate_is_loaded_again_and_only_for_its_own_camera(tmp_path: Path):
    clip = Clip(panning())
    made = clip.build(tmp_path)
    again = load_clean_plate(tmp_path, clip.homographies, clip.numbers())
    for index in (0, 9):
        for ours, theirs in zip(made.at(index), again.at(index), strict=True):
            assert ours.tobytes() == theirs.tobytes()
    assert (again.never_seen_share, again.warnings) == (made.never_seen_share, made.warnings)
    with pytest.raises(OutputError, match="another camera"):
        load_clean_plate(tmp_path, panning() + 1e-9, clip.numbers())
    with pytest.raises(OutputError, match="another camera"):
        load_clean_plate(tmp_path, clip.homographies, tuple(range(COUNT)))
    with pytest.raises(OutputError, match="no whole clean plate"):
        load_clean_plate(tmp_path / "none", clip.homographies, clip.numbers())
    next(tmp_path.glob("mosaic*.npy")).write_bytes(b"cut short")
    with pytest.raises(OutputError, match="no whole clean plate"):
        load_clean_plate(tmp_path, clip.homographies, clip.numbers())


def test_stopping_anywhere_leaves_no_clean_plate_and_no_half_files(tmp_path: Path):
    clip, calls = Clip(panning(6)), []
    clip.build(tmp_path / "whole", on_progress=lambda *units: calls.append(units))
    assert calls[-1][0] <= calls[-1][1]
    for moment in range(0, len(calls), 3):
        asked = iter(range(10_000))
        folder = tmp_path / f"stopped{moment}"
        with pytest.raises(Stopped):
            clip.build(folder, should_stop=lambda asked=asked, moment=moment: next(asked) >= moment)
        assert not list(folder.glob("*.part*"))
        with pytest.raises(OutputError):
            load_clean_plate(folder, clip.homographies, clip.numbers())


def test_a_folder_that_cannot_be_written_gets_a_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(OutputError, match="cannot be written"):
        Clip(still(4)).build(tmp_path / "file" / "inside")


def test_every_thread_sees_the_same(tmp_path: Path):
    made = Clip(panning()).build(tmp_path)
    expected, wrong = [made.at(n)[0].tobytes() for n in range(COUNT)], []

    def look() -> None:
        wrong.extend(n for n in range(COUNT) if made.at(n)[0].tobytes() != expected[n])

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("homographies", [still(), panning()], ids=["still", "panning"])
@pytest.mark.parametrize("most_kept", [None, 0])
def test_the_bits_are_the_same_whatever_the_number_of_threads(
    tmp_path: Path, homographies: np.ndarray, most_kept: int | None, monkeypatch: pytest.MonkeyPatch
):
    # Frames that differ in exposure and in where highlights are cut off, which is told of them in order.
    gains = np.linspace(0.9, 1.1, COUNT, dtype=np.float32)[:, None].repeat(3, 1)
    made = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        told: list[int] = []
        plate = Clip(homographies, gains=gains).build(
            tmp_path / threads, byte_budget=200_000, most_kept=most_kept,
            on_progress=lambda done, total, told=told: told.append(done),
        )  # fmt: skip
        assert told == sorted(told)
        made.append([array for index in range(COUNT) for array in plate.at(index)])
    assert all(np.array_equal(one, three) for one, three in zip(*made, strict=True))


def test_a_camera_that_turns_too_far_gets_several_clean_plates(tmp_path: Path):
    homographies = np.stack([np.array([[1, 0, 5.0 * n], [0, 1, 0], [4e-4 * n, 0, 1]]) for n in range(COUNT)])
    assert len(plan_mosaics(homographies, SIZE)) == 1
    turning = np.stack([_turned(np.deg2rad(12 * n)) for n in range(16)])
    mosaics = plan_mosaics(turning, SIZE)
    assert len(mosaics) > 1
    assert [m.first for m in mosaics[1:]] == [m.last + 1 for m in mosaics[:-1]]
    assert (mosaics[0].first, mosaics[-1].last) == (0, 15)
    assert all(m.width * m.height <= 8 * SIZE[0] * SIZE[1] for m in mosaics)
    plates = [np.full((*SIZE, 3), 0.5, np.float32)] * 16
    made = build_clean_plate(
        range(16), lambda n: plates[n], lambda n: np.zeros(SIZE, np.float32), turning, tmp_path,
        lambda *_: None, lambda: False,
    )  # fmt: skip
    assert "clean plate" in made.warnings[-1]
    for index in range(16):
        background, seen = made.at(index)
        assert background == pytest.approx(0.5, abs=1e-4)
        assert seen.mean() > 0.95


def _turned(angle: float) -> np.ndarray:
    """Rotation about the vertical, 60 degrees across the picture, to the first frame's pixels."""
    lens = np.array([[110.0, 0, 63.5], [0, 110.0, 35.5], [0, 0, 1]])
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return lens @ turn @ np.linalg.inv(lens)


def test_filling_by_bands_is_filling_at_once_and_keeps_what_is_known():
    picture, known = texture((300, 50)), np.ones((300, 50), bool)
    known[120:290, 5:45] = False
    known[:, 20] = False
    filled = picture.copy()
    fill_unseen(filled, known)
    assert (filled[known] == picture[known]).all()
    assert np.isfinite(filled).all()
    jumps = np.abs(np.diff(filled[130:280, 8:42], axis=0)).max()
    assert jumps < 0.1
    nothing = picture.copy()
    fill_unseen(nothing, np.zeros_like(known))
    assert (nothing == 0).all()


def test_every_frame_is_decoded_once_and_again_only_without_room(tmp_path: Path):
    clip = Clip(panning())
    whole = clip.build(tmp_path / "kept", byte_budget=700_000)
    assert sorted(clip.reads) == list(clip.numbers())
    again = clip.build(tmp_path / "cramped", byte_budget=700_000, most_kept=0)
    assert len(clip.reads) > 2 * COUNT
    for index in (0, 8):
        assert again.at(index)[0].tobytes() == whole.at(index)[0].tobytes()
    assert not list(tmp_path.rglob("*.part*"))


def lapping(count: int = 20) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Grainy ground with water at the top, a still figure, and a shadow that lies at the right for half the clip."""
    random, ground = np.random.default_rng(8), texture((90, 160))
    plates, masks = [], []
    for n in range(count):
        plate = ground * (1 + 0.01 * random.normal(size=ground.shape))
        plate[:20] += 0.5 * cv2.GaussianBlur(random.normal(size=(20, 160, 1)).astype(np.float32), (0, 0), 2)[..., None]
        if n < count // 2:
            plate[60:75, 120:140] *= 0.5
        mask = np.zeros((90, 160), np.float32)
        mask[40:50, 20:26] = 1
        plates.append(plate.astype(np.float32))
        masks.append(mask)
    return plates, masks


@pytest.mark.parametrize(
    "homographies", [still(20), np.stack([np.array([[1, 0, 0.01 * n], [0, 1, 0], [0, 0, 1]]) for n in range(20)])]
)
def test_water_is_restless_and_neither_grain_nor_a_shadow_is(tmp_path: Path, homographies: np.ndarray):
    plates, masks = lapping()
    made = build_clean_plate(
        range(20), plates.__getitem__, masks.__getitem__, homographies, tmp_path, lambda *_: None, lambda: False
    )
    restless = made.restlessness(7)
    assert restless.shape == (90, 160)
    assert restless.dtype == np.float32
    assert np.median(restless[3:14]) > 0.05
    assert restless[60:75, 120:140].max() < 0.01
    assert np.median(restless[30:]) < 0.01
    assert (
        made.restlessness(7).tobytes() == load_clean_plate(tmp_path, homographies, range(20)).restlessness(7).tobytes()
    )


def test_a_shadow_that_stays_is_seen_through_where_its_maker_was_far(tmp_path: Path):
    ground = texture((90, 160))
    plates, masks = [], []
    for n in range(20):
        left = 70 + n // 2 if n < 16 else 5
        plate, mask = ground.copy(), np.zeros((90, 160), np.float32)
        plate[50:60, left : left + 40] *= 0.4
        mask[20:50, left : left + 12] = 1
        plates.append(plate)
        masks.append(mask)
    background = _median_of(plates, masks, tmp_path)
    assert np.abs(background - ground)[53:57, 85:105].max() < 0.01
    assert np.abs(background - ground)[62:].max() == 0


def test_the_end_of_a_shadow_that_lies_far_from_its_maker_is_not_the_ground(tmp_path: Path):
    """Two frames in five, just while he is farthest; it is lit while he is at middling distance, before and after."""
    ground = texture((90, 260))
    plates, masks = [], []
    for n in range(30):
        far = 9 <= n < 21
        left = 20 if far else 110
        plate, mask = ground.copy(), np.zeros((90, 260), np.float32)
        if far:
            plate[50:60, left + 12 : 246] *= 0.5
        mask[20:50, left : left + 12] = 1
        plates.append(plate)
        masks.append(mask)
    background = _median_of(plates, masks, tmp_path)
    assert np.abs(background - ground)[52:58, 170:240].max() < 0.01


@pytest.mark.parametrize("passes", [True, False])
def test_the_end_of_a_shadow_on_the_border_of_what_was_seen_is_as_lit_as_around(passes: bool):
    """Eight of thirty samples see the right end, always in shadow; elsewhere the shadow leaves, or is a dark stripe."""
    rng = np.random.default_rng(2)
    grain = 1 + 0.02 * rng.standard_normal((90, 160, 1))
    ground = (0.5 * grain * np.float32([1, 0.8, 0.6])).astype(np.float32)
    ground[70:76, 130:150] *= 0.5
    stack = np.repeat(ground[..., None], 30, axis=-1) * (1 + 0.005 * rng.standard_normal((90, 160, 1, 30)))
    stack[41:44, 30:, :, : 8 if passes else 30] *= 0.5
    if passes:
        # It sways: beside where it always lies it is gone at times.
        stack[44:46, 30:, :, :3] *= 0.5
    farness = np.full((90, 160, 30), 5, np.uint8)
    stack[:, 120:, :, 8:], farness[:, 120:, 8:] = np.nan, 0
    clean, known = median_background(stack.astype(np.float32), farness, DisplayEncoding(), 20)
    assert known.all()
    streak = clean[41:44, 122:156].mean((0, 1)) / ground[41:44, 122:156].mean((0, 1))
    assert streak == pytest.approx(np.ones(3) if passes else np.full(3, 0.5), abs=0.12 if passes else 0.02)
    np.testing.assert_allclose(clean[71:75, 132:148], ground[71:75, 132:148], rtol=0.05)


def standing(dark_alone: bool = False) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Somebody comes to stand and leaves: plates, masks and the ground.

    His shadow falls to his right and he leaves to where it lay, so that he is as near to it afterwards. A stone lies
    beside. ``dark_alone``: the ground he shades is dark when he has left as well, wet or in a cloud's shadow.
    """
    rng = np.random.default_rng(4)
    ground = (0.5 + 0.015 * rng.standard_normal((*SIZE, 1))).astype(np.float32) * np.float32([1, 0.9, 0.7])
    ground[44:50, 30:38] *= 0.3
    shade = np.zeros(SIZE, np.float32)
    shade[47:53, 57:74] = 1
    plates, masks = [], []
    for n in range(40):
        away = 0 <= n < 5 or n >= 33
        mask = np.zeros(SIZE, np.float32)
        left = 76 if away else 48
        mask[30:53, left : left + 8] = 1
        plate = ground * (1 + 0.01 * rng.standard_normal((*SIZE, 1)).astype(np.float32))
        if not away or (dark_alone and n >= 33):
            plate = plate * (1 - 0.6 * shade)[..., None]
        plates.append(np.where(mask[..., None] > 0, np.float32([0.1, 0.1, 0.4]), plate).astype(np.float32))
        masks.append(mask)
    return plates, masks, ground


def _median_of(plates: list[np.ndarray], masks: list[np.ndarray], folder: Path) -> np.ndarray:
    made = build_clean_plate(
        range(len(plates)), plates.__getitem__, masks.__getitem__, still(len(plates)), folder,
        lambda done, total: None, lambda: False,
    )  # fmt: skip
    return made.at(0)[0]


def test_where_somebody_stood_for_long_the_ground_is_as_lit_as_around(tmp_path: Path):
    plates, masks, ground = standing()
    clean = _median_of(plates, masks, tmp_path)
    assert np.abs(clean - ground)[46:54, 57:75].mean() < 0.012
    # A stone is always dark: it is no shadow.
    assert np.abs(clean - ground)[42:52, 28:40].mean() < 0.012


def test_what_stays_dark_when_everybody_has_left_is_the_ground(tmp_path: Path):
    plates, masks, ground = standing(dark_alone=True)
    # Nobody near at the end, and dark still.
    for n in range(33, 40):
        plates[n] = np.where(masks[n][..., None] > 0, ground, plates[n])
        masks[n] = np.zeros(SIZE, np.float32)
    clean = _median_of(plates, masks, tmp_path)
    assert clean[48:52, 58:72].mean() < 0.6 * ground[48:52, 58:72].mean()


def lying_on(lit: list[int], white: list[int] = ()) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """A shadow far from what casts it, but at the ``lit`` frames: plates, masks and the ground.

    ``white``: frames at which a wave's foam covers the place.
    """
    rng = np.random.default_rng(8)
    ground = (0.5 + 0.01 * rng.standard_normal((*SIZE, 1))).astype(np.float32) * np.float32([1, 0.9, 0.7])
    plates, masks = [], []
    for n in range(40):
        plate = ground * (1 + 0.01 * rng.standard_normal((*SIZE, 1)).astype(np.float32))
        if n not in lit:
            plate[50:54, 90:120] *= 0.6
        if n in white:
            plate[46:60, 84:126] = 0.9
        mask = np.zeros(SIZE, np.float32)
        mask[20:50, 4 + n // 4 : 12 + n // 4] = 1
        plates.append(np.where(mask[..., None] > 0, np.float32([0.1, 0.1, 0.4]), plate).astype(np.float32))
        masks.append(mask)
    return plates, masks, ground


@pytest.mark.parametrize("lit", [[*range(6)], [*range(3), *range(36, 40)], [*range(14, 20)]])
def test_a_shadow_far_from_its_maker_is_seen_through_where_it_ever_leaves(tmp_path: Path, lit: list[int]):
    plates, masks, ground = lying_on(lit)
    clean = _median_of(plates, masks, tmp_path)
    assert np.abs(clean - ground)[49:55, 89:121].mean() < 0.012


def test_what_a_wave_has_wetted_is_the_ground(tmp_path: Path):
    plates, masks, ground = lying_on([*range(6)], white=[6, 7, 8])
    clean = _median_of(plates, masks, tmp_path)
    assert clean[51:53, 92:118].mean() == pytest.approx(0.6 * ground[51:53, 92:118].mean(), rel=0.05)


def test_what_is_dark_with_nobody_there_is_the_ground(tmp_path: Path):
    plates, masks, ground = lying_on([*range(6)])
    for n in range(30, 40):
        plates[n], masks[n] = plates[n] * (masks[n] == 0)[..., None], np.zeros(SIZE, np.float32)
    clean = _median_of(plates, masks, tmp_path)
    assert clean[51:53, 92:118].mean() == pytest.approx(0.6 * ground[51:53, 92:118].mean(), rel=0.05)


def test_an_edge_that_a_camera_off_its_track_moves_is_no_shadow(tmp_path: Path):
    plates, masks, ground = lying_on([*range(40)])
    for n, plate in enumerate(plates):
        plate[:, : 100 + (n < 8)] *= 0.5
    clean = _median_of(plates, masks, tmp_path)
    assert clean[4:16, 99].mean() == pytest.approx(clean[4:16, 90].mean(), rel=0.02)
    assert clean[4:16, 100].mean() == pytest.approx(ground[4:16, 100].mean(), rel=0.02)


def wobbling(count: int = 13, size: tuple[int, int] = (120, 200)) -> tuple[list[np.ndarray], np.ndarray]:
    """A pan whose rows swing to and fro as a rolling shutter's on a shaken camera do."""
    picture, plates, homographies = texture((200, 420), 3), [], []
    y, x = np.indices(size, np.float32)
    for n in range(count):
        swing = 2.5 * np.sin(2 * np.pi * y / size[0] + 1.7 * n)
        plates.append(cv2.remap(picture, x + swing + 20 + 6 * n, y + 30, cv2.INTER_CUBIC))
        homographies.append(np.array([[1, 0, 6.0 * n], [0, 1, 0], [0, 0, 1]]))
    return plates, np.stack(homographies)


def test_what_no_homography_explains_is_scored_said_and_bent_to(tmp_path: Path):
    plates, homographies = wobbling()
    nothing = np.zeros(plates[0].shape[:2], np.float32)
    made = build_clean_plate(
        range(13), plates.__getitem__, lambda n: nothing, homographies, tmp_path, lambda *_: None, lambda: False
    )
    assert any("departs by up to" in sentence for sentence in made.warnings)
    assert np.nanmedian(made.misfit) > 1
    errors = []
    for flows in (made.flows, (None,) * 13):
        view = replace(made, flows=flows)
        errors.append(np.mean([np.abs(view.at(n)[0] - plates[n])[4:-4, 8:-8].mean() for n in range(13)]))
    assert errors[0] < 0.7 * errors[1]


def test_a_camera_that_only_turns_is_not_bent(tmp_path: Path):
    made = Clip(panning()).build(tmp_path)
    assert made.flows == (None,) * COUNT
    assert np.nanmax(made.misfit) < 0.3
