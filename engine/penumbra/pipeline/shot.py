"""A job resolved against its footage, the clean plate of its frames, and work on them done in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penumbra import threads
from penumbra.arrays import largest_of
from penumbra.clean_plate import BLANK, CleanPlate
from penumbra.color import FloatArray
from penumbra.errors import StageOrderError
from penumbra.frames import Footage, Mask
from penumbra.job import Job
from penumbra.journal import Journal
from penumbra.lift.precision import HALF_MAX
from penumbra.read import CleanPlateReader, MaskReader, PlateReader
from penumbra.reporting import Reporter
from penumbra.tasks import TASK_STAGES, Task
from penumbra.working import SmallClip


@dataclass(frozen=True)
class Shot:
    """A job resolved against its footage: what every stage after `read` acts on.

    ``task``: which of the stages are this run's, None for all. ``named``: the job with the paths its author knows.
    """

    job: Job
    named: Job
    task: Task | None
    plate: PlateReader
    masks: tuple[MaskReader, ...]
    clean: CleanPlateReader | None
    journal: Journal
    report: Reporter
    small: SmallClip

    @property
    def footage(self) -> Footage:
        """The plate's facts."""
        return self.plate.footage

    @property
    def at_once(self) -> int:
        """How many frames are worked on at once."""
        return threads.frames_at_once(self.footage.canvas.width * self.footage.canvas.height)

    @property
    def output(self) -> Path:
        """The output folder."""
        return Path(self.job.output.folder)

    @property
    def largest(self) -> float:
        """The largest value the job's files can hold."""
        return float(HALF_MAX) if self.job.output.precision == "half" else float("inf")

    @property
    def wanted(self) -> tuple[int, ...]:
        """The frames this run makes."""
        chunk = None if self.task is None else self.task.frames
        return self.footage.frames if chunk is None else chunk

    def enter(self, stage: str, message: str, fact: str) -> Any:
        """Tells that a stage begins (``message`` empty: it need not) and gives what was found there before, or None.

        Raises :class:`StageOrderError` where it is another task's and not done.
        """
        known, ours = self.journal.get(fact), self.task is None or stage in self.task.stages
        if ours and message:
            self.report.stage(stage, message)
        if known is None and not ours:
            needed = next(name for name, stages in TASK_STAGES.items() if stage in stages)
            raise StageOrderError(
                f"The stage {needed!r} of the job in {self.output} has not finished.", f"Run --stage {needed} first."
            )
        return known

    def ends_with(self, task: str) -> bool:
        """Whether nothing after this task is this run's."""
        return self.task is not None and self.task.name == task

    @property
    def order(self) -> NDArray[np.int64]:
        """(N, K) indices into the job's names, back to front."""
        names = self.job.names
        rows = [[names.index(name) for name in self.job.order_at(number)] for number in self.footage.frames]
        return np.array(rows, np.int64)

    def masks_at(self, number: int) -> list[Mask]:
        """Every object's mask at a frame."""
        return [mask.read(number) for mask in self.masks]

    def occupied_at(self, number: int) -> FloatArray:
        """The largest coverage of any mask at a frame, and :data:`BLANK` where its file says nothing."""
        covered = largest_of([mask.coverage for mask in self.masks_at(number)])
        data, canvas = self.plate.data(number), self.footage.canvas
        if data != canvas:
            covered[data.beyond(canvas)] = BLANK
        if number in self.journal.get("read")["not_finite"]:
            unresolved = self.plate.read(number).unresolved
            if unresolved is not None:
                covered[unresolved] = BLANK
        return covered


class CleanSource:
    """The clean plate of each frame: built from the clip, or the user's own."""

    def __init__(self, shot: Shot, built: CleanPlate | None) -> None:
        self._shot, self._built = shot, built

    def __call__(self, index: int, sharp: tuple[slice, slice] | None = None) -> tuple[FloatArray, FloatArray]:
        """Linear H x W x 3, and H x W where it was really seen, at frame ``index``; ``sharp`` as
        :meth:`CleanPlate.at` has it.
        """
        number, footage = self._shot.footage.frames[index], self._shot.footage
        if self._built is not None:
            pixels, seen = self._built.at(index, sharp)
        else:
            assert self._shot.clean is not None
            pixels = self._shot.clean.read(number)
            seen = np.ones(pixels.shape[:2], np.float32)
        data = self._shot.plate.data(number)
        if data != footage.canvas:
            # Black as the plate is there, or everything beside it would differ.
            pixels = np.where(data.beyond(footage.canvas)[..., None], np.float32(0), pixels)
        return pixels, seen

    def restlessness(self, index: int) -> FloatArray | None:
        """H x W, how much the background moves by itself, in display units; None for the user's own clean plate."""
        return None if self._built is None else self._built.restlessness(index)

    def misregistration(self, index: int) -> FloatArray | None:
        """H x W, how much edges differ that the camera's homography misses, in display units; None where unknown."""
        return None if self._built is None else self._built.misregistration(index)


def in_order(shot: Shot, work: Callable[[int], Any], count: int, offset: int = 0) -> Iterator[Any]:
    """Results of ``work`` on 0 .. count - 1, in order, a few at a time in threads.

    On a stop or a failure the units in flight are finished, not broken off, so that only whole frames remain.
    """
    at_once = shot.at_once
    with closing(threads.in_order(work, count, at_once)) as results:
        for done, result in enumerate(results, 1):
            yield result
            # Those in flight are finished all the same.
            tell = shot.report.step if done <= count - at_once else shot.report.progress
            tell(offset + done, offset + count)
    shot.report.check_stop()
