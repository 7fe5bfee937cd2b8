"""Which frames the network sees together: windows of frames around the target frame to predict."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Ascending frame indices of a clip, counted from 0, and the target's position among them."""

    frames: tuple[int, ...]
    target: int

    @property
    def target_frame(self) -> int:
        """The index in the clip of the frame to predict."""
        return self.frames[self.target]


def windows_for(index: int, count: int, window: int, stride: int) -> tuple[Window, ...]:
    """The windows frame ``index`` of a clip of ``count`` frames is predicted from: one or two, the earlier one first.

    The target stands last in the first window and first in the second, so that it is seen from both sides in time.
    Where a side has too few frames the window is moved into the clip and the target stands elsewhere in it; two windows
    that become the same are given once. Windows hold ``window`` frames ``stride`` apart; clips too short for that get a
    smaller stride, and clips shorter than ``window`` one window of all frames.

    Raises ValueError for an index outside the clip or sizes below 1.
    """
    if not 0 <= index < count or window < 1 or stride < 1:
        raise ValueError(f"no window of {window} frames, {stride} apart, for frame {index} of {count}")
    length = min(window, count)
    step = fitting_stride(count, length, stride)
    before = _clamped(index, index - (length - 1) * step, count, length, step)
    after = _clamped(index, index, count, length, step)
    return (before,) if before == after else (before, after)


def central_window(index: int, count: int, window: int, stride: int) -> Window:
    """The one window with frame ``index`` nearest its middle: half the cost of both sides, and a little less sure.

    Sizes and errors as :func:`windows_for`.
    """
    if not 0 <= index < count or window < 1 or stride < 1:
        raise ValueError(f"no window of {window} frames, {stride} apart, for frame {index} of {count}")
    length = min(window, count)
    step = fitting_stride(count, length, stride)
    return _clamped(index, index - length // 2 * step, count, length, step)


def fitting_stride(count: int, window: int, stride: int) -> int:
    """The largest stride up to ``stride`` at which every frame of the clip stands in some window, and at least 1."""
    return max(1, min(stride, count // window))


def _clamped(index: int, first: int, count: int, length: int, step: int) -> Window:
    """The window starting nearest to ``first`` that lies in the clip and keeps ``index`` on its grid of frames."""
    span = (length - 1) * step
    lowest, highest = index % step, count - 1 - span
    first = max(first, lowest)
    while first > highest:
        first -= step
    frames = tuple(range(first, first + span + 1, step))
    return Window(frames, (index - first) // step)
