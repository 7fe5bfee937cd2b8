"""SMPTE timecode: counted from the first frame, packed as OpenEXR stores it (SMPTE ST 12-1)."""

from __future__ import annotations

import re
from fractions import Fraction

_TIMECODE = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})([:;.,])(\d{2})\Z")
_DROP_FRAME = 1 << 6
_SECOND_OF_PAIR = 1 << 15


def advance(timecode: str, frames: int, fps: Fraction) -> str | None:
    """The timecode ``frames`` after (or before) ``timecode``, around midnight too; None where it is malformed.

    A separator ``;`` (also ``.`` or ``,``) before the frames means drop-frame counting, which skips frame numbers 0 and
    1 (at 59.94: 0 to 3) at the start of every minute not divisible by ten, and is kept only at rates that have it.
    """
    match = _TIMECODE.match(timecode)
    if match is None:
        return None
    hours, minutes, seconds, frame = (int(match.group(i)) for i in (1, 2, 3, 5))
    rate = max(1, round(fps))
    dropped = rate // 15 if match.group(4) != ":" and rate % 30 == 0 and fps.denominator != 1 else 0
    total_minutes = hours * 60 + minutes
    count = (total_minutes * 60 + seconds) * rate + frame - dropped * (total_minutes - total_minutes // 10)
    return _format(count + frames, rate, dropped)


def packed(timecode: str, fps: Fraction) -> int:
    """The 32 bits of OpenEXR's ``timeAndFlags``: binary-coded decimals hh mm ss ff, and the drop-frame flag.

    The frame field counts to 39 at most, so rates above 30 count pairs of frames and flag the second of each.
    """
    match = _TIMECODE.match(timecode)
    if match is None:
        raise ValueError(f"{timecode!r} is no timecode")
    hours, minutes, seconds, frame = (int(match.group(i)) for i in (1, 2, 3, 5))
    flags = 0 if match.group(4) == ":" else _DROP_FRAME
    if round(fps) > 30:
        flags |= _SECOND_OF_PAIR if frame % 2 else 0
        frame //= 2
    return _decimal(hours) << 24 | _decimal(minutes) << 16 | _decimal(seconds) << 8 | _decimal(frame) | flags


def _format(count: int, rate: int, dropped: int) -> str:
    minute, ten = rate * 60 - dropped, rate * 600 - dropped * 9
    count %= ten * 144
    tens, rest = divmod(count, ten)
    # The first minute of every ten drops nothing, so it is longer than the others by ``dropped``.
    count += dropped * (tens * 9 + (0 if rest < minute + dropped else (rest - dropped) // minute))
    seconds, frame = divmod(count, rate)
    mark = ";" if dropped else ":"
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{mark}{frame:02d}"


def _decimal(value: int) -> int:
    return value // 10 << 4 | value % 10
