"""Timecode arithmetic, drop-frame included."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penumbra.write.timecode import advance, packed

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("timecode", "frames", "fps", "expected"),
    [
        ("01:02:03:04", 0, Fraction(24), "01:02:03:04"),
        ("01:02:03:23", 1, Fraction(24), "01:02:04:00"),
        ("01:02:03:23", 1, Fraction(24000, 1001), "01:02:04:00"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        ("00:00:00:00", -1, Fraction(25), "23:59:59:24"),
        # SMPTE ST 12-1: numbers 0 and 1 are dropped at every minute but each tenth.
        ("00:00:59;29", 1, NTSC, "00:01:00;02"),
        ("00:09:59;29", 1, NTSC, "00:10:00;00"),
        ("00:01:00;02", -1, NTSC, "00:00:59;29"),
        ("00:00:00;00", 17982, NTSC, "00:10:00;00"),
        ("00:00:00;00", 107892, NTSC, "01:00:00;00"),
        ("23:59:59;29", 1, NTSC, "00:00:00;00"),
        ("00:00:59;59", 1, Fraction(60000, 1001), "00:01:00;04"),
        # The colon means that nothing is dropped, at the same rate.
        ("00:00:59:29", 1, NTSC, "00:01:00:00"),
        # There is no drop-frame counting at 25.
        ("00:00:59;24", 1, Fraction(25), "00:01:00:00"),
    ],
)
def test_counting(timecode: str, frames: int, fps: Fraction, expected: str) -> None:
    assert advance(timecode, frames, fps) == expected


@given(st.integers(0, 2_589_407), st.integers(0, 2_589_407))
def test_drop_frame_counting_adds_up_and_never_names_a_dropped_frame(first: int, second: int) -> None:
    there = advance("00:00:00;00", first, NTSC)
    assert there is not None
    assert advance(there, second, NTSC) == advance("00:00:00;00", first + second, NTSC)
    minute, seconds, frame = int(there[3:5]), there[6:8], there[9:11]
    assert minute % 10 == 0 or seconds != "00" or frame not in ("00", "01")


@pytest.mark.parametrize("text", ["", "nonsense", "1:2:3", "01:02:03:04:05", "01-02-03-04"])
def test_what_is_no_timecode_gives_none(text: str) -> None:
    assert advance(text, 1, Fraction(24)) is None


def test_packing_is_binary_coded_decimal_with_flags() -> None:
    assert packed("12:34:56:23", Fraction(24)) == 0x12345623
    assert packed("12:34:56;23", NTSC) == 0x12345623 | 0x40
    assert packed("00:00:00:47", Fraction(48)) == 0x00000023 | 0x8000
