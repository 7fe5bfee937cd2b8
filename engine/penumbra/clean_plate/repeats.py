"""Whether a clip has no grain: rendered, or drawn, so that what does not move shows the same value to the bit."""

from __future__ import annotations

import numpy as np

from penumbra.color import FloatArray

LINES = 8  # every so many lines of a frame are looked at
# Of a frame's brightest value, between which values are told from black and from highlights that are cut off, which
# repeat in any clip.
TELLING = (0.01, 0.95)
# Share of such values that repeat from a frame to the next, from which a clip has no grain: rendered clips, objects and
# shadows passing, 0.55 to 0.93; with grain of half a step of 8 bits 0.23, footage and moving cameras 0.06 to 0.24.
REPEATED = 0.4


class Repeats:
    """Counts what repeats, from a clip's frames one after the other."""

    def __init__(self) -> None:
        self._before: FloatArray | None = None
        self._same = self._seen = 0

    def add(self, plate: FloatArray) -> None:
        """Looks at a frame (H, W, 3)."""
        lines = plate[::LINES].copy()
        if self._before is not None:
            most = float(np.nanmax(lines, initial=0))
            telling = (lines > TELLING[0] * most) & (lines < TELLING[1] * most)
            self._same += int(np.count_nonzero(telling & (lines == self._before)))
            self._seen += int(np.count_nonzero(telling))
        self._before = lines

    @property
    def grainless(self) -> bool:
        """Whether the clip has no grain."""
        return self._same > REPEATED * max(self._seen, 1)
