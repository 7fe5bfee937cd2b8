"""The tasks a farm takes a job apart into: what each does, and the frames of one. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from penumbra.errors import JobError
from penumbra.lock import EVERYTHING

# What each task does of the pipeline's stages, in the order tasks need each other.
TASK_STAGES = {
    "prepare": ("read", "track", "clean plate", "prepare"),
    "refine": ("refine", "decompose"),
    "frames": ("lift",),
    "finish": ("verify", "previews"),
}
_PIECE = re.compile(r"(-?\d+)(?:-(-?\d+)(?:[:x](\d+))?)?\Z")
_MOST_FRAMES = 1_000_000


@dataclass(frozen=True)
class Task:
    """One task of a job. ``name``: prepare, refine, frames or finish; ``frames``: those of a chunk, None for all."""

    name: str
    frames: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.name not in TASK_STAGES:
            raise JobError(f"Stage {self.name!r} is not known.", "Use one of: " + ", ".join(TASK_STAGES) + ".")
        if self.frames is not None and self.name != "frames":
            raise JobError(
                f"--frames with --stage {self.name} means nothing: that task is about the whole clip.",
                "Leave --frames out; a job file (--save-job) holds the plate's own range.",
            )

    @property
    def claim(self) -> str:
        """What of the output folder it works on: a chunk of frames, beside other chunks, or everything, alone."""
        if self.name != "frames":
            return EVERYTHING
        return f"frames-{self.frames[0]}-{self.frames[-1]}-{len(self.frames)}" if self.frames else "frames-all"

    @property
    def stages(self) -> tuple[str, ...]:
        """The pipeline's stages it does."""
        return TASK_STAGES[self.name]


def parse_frames(text: str) -> tuple[int, ...]:
    """Frame numbers, ascending, each once: ``1-7``, every second ``1-7:2``, several ``1-7,12,20-30:5``, ``-5--1``.

    The notation of Open Job Description's ranges, and OpenCue's, which writes ``1-7x2``. Raises :class:`JobError`.
    """
    numbers: set[int] = set()
    for piece in text.split(","):
        numbers.update(_piece(piece.strip(), text))
    return tuple(sorted(numbers))


def _piece(piece: str, text: str) -> range:
    match = _PIECE.match(piece)
    if not match:
        raise JobError(f"Frames {text!r} are not understood.", "Write them as 1-7, 1-7:2 or 1-7,12.")
    first = int(match.group(1))
    last = int(match.group(2) if match.group(2) is not None else first)
    step = int(match.group(3) or 1)
    if last < first or step < 1:
        raise JobError(f"Frames {text!r} run backwards or stand still.", "Write the lower number first.")
    if last - first >= _MOST_FRAMES:
        raise JobError(f"Frames {text!r} are more than a million.", "Give the frames of one chunk.")
    return range(first, last + 1, step)
