"""The display encoding: invertible, with headroom, and the sRGB curve where that is enough."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penumbra.color import DisplayEncoding, srgb_decode, srgb_encode


@given(st.floats(0.01, 60000), st.lists(st.floats(-100, 60000, width=32), min_size=1, max_size=20))
def test_the_encoding_inverts(peak, values):
    linear = np.array(values, np.float32)
    encoding = DisplayEncoding(peak)
    back = encoding.decode(encoding.encode(linear))
    # A logarithm in float32 code values: a relative error of about the code's own precision times the slope.
    assert back == pytest.approx(linear, rel=2e-3, abs=1e-6)


def test_without_headroom_it_is_the_srgb_curve():
    linear = np.linspace(0, 1, 256, dtype=np.float32)
    assert np.array_equal(DisplayEncoding(1.0).encode(linear), srgb_encode(linear))
    assert srgb_decode(srgb_encode(linear)) == pytest.approx(linear, abs=1e-6)


@pytest.mark.parametrize("peak", [1.5, 50.0, 60000.0])
def test_headroom_reaches_one_at_the_peak_and_never_clips(peak):
    encoding = DisplayEncoding(peak)
    ends = encoding.encode(np.array([0, peak, 2 * peak], np.float32))
    assert ends[:2] == pytest.approx([0, 1], abs=1e-4)
    assert ends[2] > 1
    ramp = encoding.encode(np.geomspace(1e-4, 2 * peak, 4000).astype(np.float32))
    assert (np.diff(ramp) >= 0).all()


def test_the_shoulder_meets_the_curve_without_a_kink():
    encoding = DisplayEncoding(50.0)
    knee = float(srgb_decode(np.array([encoding.knee], np.float32))[0])
    low, middle, high = encoding.encode(np.array([knee * 0.99, knee, knee * 1.01], np.float32)).astype(np.float64)
    assert (high - middle) == pytest.approx(middle - low, rel=0.1)


@pytest.mark.parametrize("peak", [1.0, 50.0])
def test_the_slope_is_the_derivative(peak):
    encoding = DisplayEncoding(peak)
    linear = np.concatenate([-np.geomspace(1e-4, 2, 40), np.geomspace(1e-4, peak, 60)])
    before, after = (
        encoding.encode((linear * factor).astype(np.float32)).astype(np.float64) for factor in (0.99, 1.01)
    )
    assert encoding.slope(linear.astype(np.float32)) == pytest.approx((after - before) / (0.02 * linear), rel=0.01)


@pytest.mark.parametrize("values", [{"peak": 0}, {"peak": float("nan")}, {"knee": 1.0}])
def test_encodings_that_are_none_are_refused(values):
    with pytest.raises(ValueError, match="peak"):
        DisplayEncoding(**values)
