"""The centre of a place's samples, against the same told plainly, sample by sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penumbra.clean_plate.centre import FAR_COUNTS, FAR_OVER, centred
from penumbra.color import DisplayEncoding, FloatArray

LINEAR = DisplayEncoding()
LEVEL = 1 / 255


def plainly(median: FloatArray, samples: FloatArray, farness: np.ndarray, grainless: bool) -> FloatArray:
    """What :func:`centred` says of itself, in double precision, pixel by pixel."""
    height, width = samples.shape[:2]
    apart = np.nan_to_num(samples.astype(float) - median[..., None])
    there = ~np.isnan(samples[:, :, 0])
    units = LINEAR.slope(median).astype(float) ** 2 / 3
    near, far = np.zeros((height, width, 3)), np.zeros((height, width, 3))
    for y in range(height):
        for x in range(width):
            top, left = y // 2 * 2, x // 2 * 2
            around = np.s_[max(top - 2, 0) : top + 4, max(left - 2, 0) : left + 4]
            pair = np.s_[top : top + 2, left : left + 2]
            seen = there[pair].any((0, 1))
            means = apart[around].sum((0, 1)) / np.maximum(there[around].sum((0, 1)), 1)
            unit = units[pair].mean((0, 1))
            centre = np.zeros(3)
            for step in range(5):
                squares = (((means - centre[:, None]) ** 2) * unit[:, None]).sum(0)
                ordered = np.sort(squares[seen])
                nearest = ordered[int((len(ordered) - 1) / 3)] if len(ordered) else 0.0
                reach = np.clip(9 * nearest, (LEVEL / 2) ** 2, (16 * LEVEL) ** 2)
                weight = np.where(seen, np.maximum(1 - squares / reach, 0) ** 2, 0)
                if step < 4 and weight.any():
                    centre += 1.5 * ((weight * means).sum(1) / weight.sum() - centre)
            one = weight * there[y, x]
            other = one * FAR_COUNTS[farness[y, x]]
            if one.any():
                near[y, x] = far[y, x] = (one * apart[y, x]).sum(1) / one.sum()
            if other.any():
                far[y, x] = (other * apart[y, x]).sum(1) / other.sum()
                for c in range(3 if grainless else 0):
                    rank = np.argsort(apart[y, x, c][other > 0], kind="stable")
                    counted = np.cumsum(other[other > 0][rank])
                    place = np.searchsorted(counted, 0.75 * counted[-1] * (1 - 1e-7))
                    far[y, x, c] = apart[y, x, c][other > 0][rank][place]
    further = far - near
    further[np.abs(further) * LINEAR.slope(median) >= (2 if grainless else 1) * LEVEL] = 0
    if not grainless:
        wide = np.pad(further, ((FAR_OVER // 2,) * 2, (FAR_OVER // 2,) * 2, (0, 0)), mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(wide, (FAR_OVER, FAR_OVER), axis=(0, 1))
        further = windows.mean((-1, -2))
    return np.asarray(median + near + further, np.float32)


def footage(seed: int, height: int, width: int, many: int, unseen: float) -> tuple[FloatArray, FloatArray, np.ndarray]:
    """Medians, samples and farness of ground in whose first half something dark lies at a third of the frames."""
    rng = np.random.default_rng(seed)
    ground = rng.uniform(0.05, 0.9, (height, width, 3)).astype(np.float32)
    samples = ground[..., None] + rng.normal(0, 0.002, (height, width, 3, many)).astype(np.float32)
    samples[: height // 2, ..., : many // 3] *= np.float32(0.98)
    farness = rng.integers(1, len(FAR_COUNTS), (height, width, many)).astype(np.uint8)
    gone = rng.random((height, width, many)) < unseen
    samples[np.broadcast_to(gone[:, :, None], samples.shape)] = np.nan
    farness[gone] = 0
    middle = np.where(gone.all(-1)[..., None], 0, np.nan_to_num(np.nanmedian(np.nan_to_num(samples, nan=0.5), -1)))
    return middle.astype(np.float32), samples, farness


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 999), st.integers(1, 11), st.integers(1, 40), st.integers(1, 13), st.sampled_from([0.0, 0.3, 1.0]),
    st.booleans(),
)  # fmt: skip
def test_it_is_what_is_told_plainly(
    seed: int, height: int, width: int, many: int, unseen: float, grainless: bool
) -> None:
    median, samples, farness = footage(seed, height, width, many, unseen)
    given_samples = samples.copy()
    result = centred(median, samples, farness, LINEAR, grainless)
    expected = plainly(median, samples, farness, grainless)
    np.testing.assert_array_equal(samples, given_samples)
    # A sample within rounding of a limit may fall on either side of it.
    assert (np.abs(result - expected) * LINEAR.slope(median) < 0.01 * LEVEL).mean() > 0.99


def test_what_passes_does_not_draw_it() -> None:
    median, samples, farness = footage(5, 24, 24, 12, 0.0)
    ground = np.median(samples[..., 4:], axis=-1)
    median = np.median(samples, axis=-1).astype(np.float32)
    result = centred(median, samples, farness, LINEAR, False)
    shaded = np.s_[2:10, 2:22]
    assert np.abs(result - ground)[shaded].mean() < 0.5 * np.abs(median - ground)[shaded].mean()


def test_infinities_do_not_spread() -> None:
    median, samples, farness = footage(7, 16, 16, 9, 0.0)
    samples[8, 8, :, 0] = np.inf
    samples[3, 3, 1, 1] = -np.inf
    assert np.isfinite(centred(median, samples, farness, LINEAR, False)).all()


@pytest.mark.parametrize("grainless", [False, True])
def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch, grainless: bool) -> None:
    median, samples, farness = footage(11, 131, 37, 9, 0.2)
    monkeypatch.setattr("penumbra.clean_plate.centre.share_of_threads", lambda: 1)
    alone = centred(median, samples, farness, LINEAR, grainless)
    monkeypatch.setattr("penumbra.clean_plate.centre.share_of_threads", lambda: 5)
    np.testing.assert_array_equal(centred(median, samples, farness, LINEAR, grainless), alone)
