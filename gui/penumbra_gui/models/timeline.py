"""The frame shown, the range played, and where playing goes next."""

from __future__ import annotations

from dataclasses import dataclass, replace

FASTEST = 8


@dataclass(frozen=True)
class Timeline:
    """Frame numbers of the clip; ``start`` and ``end`` are the in and out points, both included.

    ``speed``: frames per tick of the clip's rate, 0 standing, negative backwards.
    """

    first: int = 1
    last: int = 1
    current: int = 1
    start: int = 1
    end: int = 1
    fps: float = 24.0
    speed: int = 0
    loop: bool = True

    @classmethod
    def of_range(cls, first: int, last: int, fps: float | None, current: int | None = None) -> Timeline:
        """A clip just opened, standing at ``current`` where the clip has it, else at its first frame."""
        here = current if current is not None and first <= current <= last else first
        return cls(first, last, here, first, last, fps or 24.0)

    def over(self, first: int, last: int, fps: float | None, same: bool) -> Timeline:
        """The clip as it was read once more; ``same``: it is the one this is of, whose in and out points and playing
        stay while it has the same frames.
        """
        if same and (first, last) == (self.first, self.last):
            return replace(self, fps=fps or 24.0)
        return replace(Timeline.of_range(first, last, fps, self.current if same else None), loop=self.loop)

    @property
    def playing(self) -> bool:
        """Whether it moves by itself."""
        return self.speed != 0

    def at(self, frame: int) -> Timeline:
        """Standing or playing on from another frame, held within the clip."""
        return replace(self, current=min(max(frame, self.first), self.last))

    def step(self, count: int) -> Timeline:
        """Stopped, ``count`` frames on; round the ends of the clip."""
        length = self.last - self.first + 1
        return replace(self, current=self.first + (self.current - self.first + count) % length, speed=0)

    def following(self, ahead: int = 1) -> int:
        """The frame ``ahead`` ticks from now; the current one where playing ends."""
        speed = self.speed or 1
        low, high = (self.start, self.end) if self.start <= self.current <= self.end else (self.first, self.last)
        wanted = self.current + speed * ahead
        if low <= wanted <= high:
            return wanted
        if not self.loop:
            return high if speed > 0 else low
        return low + (wanted - low) % (high - low + 1)

    def play(self, direction: int) -> Timeline:
        """J and L: starts, or doubles the speed in that direction."""
        faster = min(abs(self.speed) * 2, FASTEST) if self.speed * direction > 0 else 1
        return replace(self, speed=faster * direction)

    def pause(self) -> Timeline:
        """Stands still."""
        return replace(self, speed=0)

    def with_start(self) -> Timeline:
        """The in point here."""
        return replace(self, start=self.current, end=max(self.end, self.current))

    def with_end(self) -> Timeline:
        """The out point here."""
        return replace(self, end=self.current, start=min(self.start, self.current))

    def whole(self) -> Timeline:
        """In and out points at the clip's ends."""
        return replace(self, start=self.first, end=self.last)
