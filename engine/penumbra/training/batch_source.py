"""The batches of a pretraining run, from rendered scenes, from clips on disk, or from both."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from penumbra.errors import JobError
from penumbra.training.clip_pool import ClipPlace, ClipPool, ClipSettings
from penumbra.training.scene_pool import Form, PoolSettings, ScenePool, group_scenes
from penumbra.training.scenes import RenderedClips
from penumbra.training.window_batches import Hiding, TrainingBatch, WindowChanges, draw_changes, make_batch


@dataclass(frozen=True)
class _Plan:
    """Where the windows of a step come from, and what is done to them."""

    windows: list[tuple[int, int] | ClipPlace]
    estimated: NDArray[np.bool_]
    changes: WindowChanges


class BatchSource:
    """Makes batches; ``batch(step, size)`` is a function of settings, seed, step and size only.

    ``size`` counts objects of the pool's own width; of wider windows a batch holds fewer.

    ``first`` is the step at which the pool of scenes starts from nothing; ``samplers`` as :class:`ScenePool` takes
    them. Raises a subclass of :class:`FootageError`
    for clips that cannot be used.
    """

    def __init__(
        self,
        scenes: PoolSettings,
        seed: int,
        device: str = "cpu",
        clips: ClipSettings | None = None,
        hiding: Hiding = "random",
        first: int = 0,
        samplers: Executor | None = None,
    ) -> None:
        self.scenes, self.seed, self.device, self.hiding = scenes, seed, device, hiding
        self.share = clips.share if clips else 0.0
        self._clips = ClipPool(clips, scenes.height, scenes.width) if clips else None
        self._pool = ScenePool(scenes, seed, device, first, samplers) if self.share < 1 else None

    def batch(self, step: int, size: int, part: int = 0, parts: int = 1) -> TrainingBatch:
        """Windows that hold ``size`` objects together, or those of one of ``parts`` processes, on the device.

        Raises :class:`JobError` when there are fewer windows than processes.
        """
        plan = self._plan(step, size)
        if len(plan.windows) < parts:
            raise JobError(f"A batch of {size} objects does not reach {parts} processes.", "Raise the batch.")
        if self._pool:
            self._pool.prepare(step)
        rows = slice(part, None, parts)
        drawn = list(zip(plan.windows[rows], plan.estimated[rows].tolist(), strict=True))
        chosen = [self._window(place, estimated) for place, estimated in drawn]
        if self._clips:
            following = self._plan(step + 1, size).windows[rows]
            self._clips.prepare([place for place in following if isinstance(place, ClipPlace)])
        restless = np.array([self._restless(place, estimated) for place, estimated in drawn])
        stacked = [torch.stack(column) for column in zip(*chosen, strict=True)]
        return make_batch(RenderedClips(*stacked), plan.changes.of(rows), restless)

    def close(self) -> None:
        """Stops rendering and decoding."""
        if self._pool:
            self._pool.close()
        if self._clips:
            self._clips.close()

    def _plan(self, step: int, size: int) -> _Plan:
        random = np.random.default_rng([self.seed, 1, step])
        chances = self._chances(step)
        forms = sorted({form for _, form in chances})
        weight = {form: sum(w for (_, other), w in chances.items() if other == form) for form in forms}
        form = forms[int(random.choice(len(forms), p=[weight[form] for form in forms]))]
        total = max(1, size * self.scenes.width // form.width // form.objects)
        from_disk = int((random.random(total) < chances.get(("clips", form), 0.0) / weight[form]).sum())
        windows: list[tuple[int, int] | ClipPlace] = []
        if self._clips:
            windows += self._clips.draw(random, form.objects, from_disk)
        if self._pool:
            windows += self._pool.draw(random, step, form, total - from_disk)
        random.shuffle(windows)
        return _Plan(windows, random.random(total) < self.scenes.estimated, draw_changes(random, total, self.hiding))

    def _chances(self, step: int) -> dict[tuple[str, Form], float]:
        """How likely a window comes from where and has which form; all windows of a batch have the same."""
        chances: dict[tuple[str, Form], float] = {}
        if self._clips:
            width = self.scenes.width
            chances |= {("clips", Form(count, width)): self.share * w for count, w in self._clips.shares().items()}
        if self._pool:
            chances |= {("scenes", form): (1 - self.share) * w for form, w in self._pool.shares(step).items()}
        return chances

    def _restless(self, place: tuple[int, int] | ClipPlace, estimated: bool) -> bool:
        """Whether the window's background may move where the one it is composited over does not."""
        if isinstance(place, ClipPlace):
            assert self._clips is not None
            # Footage, of which nobody knows the background: water and leaves may move in it.
            return not self._clips.clips[place.clip].background
        scenes = group_scenes(self.scenes, self.seed, place[0])
        return estimated and (scenes.patch or scenes.water)

    def _window(self, place: tuple[int, int] | ClipPlace, estimated: bool) -> tuple[torch.Tensor, ...]:
        if isinstance(place, ClipPlace):
            assert self._clips is not None
            return tuple(part.to(self.device, non_blocking=True) for part in self._clips.window(place))
        assert self._pool is not None
        frames, masks, background, order = self._pool.window(*place)
        if estimated:
            # A camera that stands still has one clean plate: the median, which knows nothing of a frame's exposure.
            background = background.median(0, keepdim=True).values.expand_as(background)
        return frames, masks, background, order
