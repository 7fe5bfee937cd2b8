from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from penumbra.color import DisplayEncoding
from penumbra.errors import Stopped
from penumbra.frames import Mask, Plate, Region, WorkingClip
from penumbra.working import SmallClip, tracking_exposure, working_clip

SIZE, COUNT = (64, 96), 6
CANVAS = Region(0, 0, SIZE[1], SIZE[0])
WATER, OBJECT, SHADOW = np.s_[..., :24, :], np.s_[..., 30:44, 40:48], np.s_[..., 38:46, 48:60]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> WorkingClip:
    """Calm ground with an object and its shadow, and a strip that glitters in every frame."""
    random = np.random.default_rng(4)
    clean = np.full((*SIZE, 3), 0.4, np.float32)
    clean[:24] = (0.1, 0.2, 0.3)
    small = SmallClip(tmp_path_factory.mktemp("small"), COUNT, 1, CANVAS, SIZE)
    small.create()
    for index in range(COUNT):
        plate, mask = clean.copy(), np.zeros(SIZE, np.float32)
        plate[:24] += np.abs(random.normal(0, 0.08, (24, SIZE[1], 1))).astype(np.float32)
        plate[38:46, 48:60] *= 0.4
        plate[30:44, 40:48], mask[OBJECT] = (0.7, 0.1, 0.1), 1
        small.add(index, Plate(index, plate, CANVAS, CANVAS), [Mask(index, mask)])
    return working_clip(
        small, range(COUNT), ("figure",), np.zeros((COUNT, 1), np.int64),
        lambda index: (clean, np.ones(SIZE, np.float32)), DisplayEncoding(), lambda done, total: None,
    )  # fmt: skip


def test_refinement_is_asked_to_explain_objects_and_effects_and_not_what_glitters(clip: WorkingClip) -> None:
    believed = clip.believed
    assert (believed[OBJECT] == 1).all()
    assert believed[SHADOW].min() > 0.95
    assert believed[WATER].mean() < 0.03
    differing = np.abs(clip.frames - clip.background).max(-1) > 0.05
    assert differing[WATER].mean() > 0.3
    assert believed[:, 50:].min() == 1  # where the background rests every difference teaches, the faintest too


def test_what_moves_by_itself_counts_less(clip: WorkingClip) -> None:
    assert clip.valid[:, 50:].min() > 0.9
    assert clip.valid[:, :20].mean() < 0.6
    assert (clip.valid[OBJECT] == 1).all()


def test_a_stop_waits_for_the_frames_in_flight(tmp_path: Path) -> None:
    small = SmallClip(tmp_path, COUNT, 1, CANVAS, SIZE)
    small.create()
    begun, ended = [], []

    def clean_at(index: int) -> tuple[np.ndarray, np.ndarray]:
        begun.append(index)
        time.sleep(0.2 * (index > 0))
        ended.append(index)
        return np.zeros((*SIZE, 3), np.float32), np.ones(SIZE, np.float32)

    def stop(done: int, total: int) -> None:
        raise Stopped("stopped", "again")

    with pytest.raises(Stopped) as stopped:
        working_clip(
            small, range(COUNT), ("figure",), np.zeros((COUNT, 1), np.int64), clean_at, DisplayEncoding(), stop,
            threads=2,
        )  # fmt: skip
    # While the error is still held, and with it what it passed through.
    assert stopped.value
    assert len(begun) < COUNT
    assert sorted(ended) == sorted(begun)


def test_only_clips_brighter_than_white_are_tracked_by_less_light(tmp_path: Path) -> None:
    light = np.random.default_rng(5).uniform(0.05, 0.8, (*SIZE, 1)).astype(np.float32).repeat(3, 2)
    lamps = light.copy()
    lamps[:4] = 30
    window = Region(0, 0, SIZE[1], 8)
    blank = np.zeros((*SIZE, 3), np.float32)
    blank[:8] = light[:8] * 20

    def exposure(pixels: np.ndarray, data: Region = CANVAS) -> float:
        return tracking_exposure(Plate(k, pixels, data, CANVAS) for k in range(3))

    assert exposure(light) == exposure(lamps) == exposure(np.zeros_like(light)) == 1
    assert exposure(light * 20) == pytest.approx(0.8 / np.quantile(light * 20, 0.9), rel=0.05)
    assert exposure(blank, window) == pytest.approx(exposure(light * 20), rel=0.1)
    small = SmallClip(tmp_path, 2, 1, CANVAS, SIZE)
    small.create()
    mask = Mask(0, np.zeros(SIZE, np.float32))
    small.add(0, Plate(0, light, CANVAS, CANVAS), [mask], exposure(light))
    small.add(1, Plate(1, light * 20, CANVAS, CANVAS), [mask], exposure(light * 20))
    usual, bright = (np.asarray(small.array("luma")[k], np.float64) for k in range(2))
    assert np.corrcoef(usual.ravel(), bright.ravel())[0, 1] > 0.98
    assert bright.std() > 0.8 * usual.std()
