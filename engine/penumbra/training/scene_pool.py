"""A pool of rendered clips that training draws from, renewed a little with every step.

Rendering a batch costs about as much as a training step does on a CPU, so a clip serves a few times, each time with
other frames hidden, mirrored, recoloured. What a step sees depends on the seed and the step alone, so that a run
resumes exactly.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context

import cv2
import numpy as np
import torch

from penumbra.errors import JobError
from penumbra.training.scenes import (
    KINDS,
    RenderedClips,
    Scenes,
    SceneSettings,
    render,
    sample_arrays,
    sample_scenes,
)
from penumbra.training.window_batches import WINDOW, packed

OBJECT_COUNTS = (2, 3, 4)
_GOLDEN = 0.6180339887498949
# Groups drawn and rendered beside training before they are due: a GPU must never wait for one.
_AHEAD = {"cpu": 1, "cuda": 8}


@dataclass(frozen=True)
class PoolSettings:
    """``group`` clips share their scene settings; the pool holds the newest ``groups``; ``steps_per_group`` training
    steps pass between one group and the next, and ``start`` groups are there before the first.

    ``clean`` is the share of groups without grain, drift and so on; ``pan`` of groups with a turning camera;
    ``estimated`` of windows with an estimated background. ``objects`` weighs clips of 2, 3 and 4 objects.
    ``samplers``: processes that draw scenes, which a GPU that renders them needs several of; 0 draws them in the thread
    that renders.
    """

    height: int = 64
    width: int = 64
    group: int = 8
    groups: int = 64
    steps_per_group: int = 4
    start: int = 16
    clean: float = 0.6
    pan: float = 0.1
    estimated: float = 0.25
    objects: tuple[float, float, float] = (0.6, 0.4, 0.0)
    samplers: int = 0

    def __post_init__(self) -> None:
        if min(self.group, self.groups, self.steps_per_group, self.start) < 1:
            raise JobError("A pool's group, groups, steps_per_group and start must be 1 or more.", "Raise them.")
        if len(self.objects) != len(OBJECT_COUNTS) or min(self.objects) < 0 or sum(self.objects) <= 0:
            raise JobError(
                f"A pool's objects {list(self.objects)} do not weigh clips of 2, 3 and 4 objects.",
                "Give three numbers, such as [0.5, 0.3, 0.2].",
            )


class ScenePool:
    """Windows of rendered scenes on ``device``; ``first``: the training step at which the pool starts from nothing."""

    def __init__(self, settings: PoolSettings, seed: int, device: str = "cpu", first: int = 0) -> None:
        self.settings, self.seed, self.device, self.first = settings, seed, device, first
        self._groups: dict[int, Future[RenderedClips]] = {}
        self._renderer = ThreadPoolExecutor(1, thread_name_prefix="scenes")
        self._samplers: Executor | None = _sampling_processes(settings.samplers) if settings.samplers else None
        self._stream = torch.cuda.Stream() if device == "cuda" else None  # type: ignore[no-untyped-call] # untyped in torch

    def shares(self, step: int) -> dict[int, float]:
        """How often a window drawn at ``step`` has so many objects; they add up to 1."""
        held = {group_scenes(self.settings, self.seed, group).objects for group in self._available(step)}
        weights = {count: w for count, w in zip(OBJECT_COUNTS, self.settings.objects, strict=True) if count in held}
        total = sum(weights.values())
        return {count: weight / total for count, weight in weights.items()}

    def draw(self, random: np.random.Generator, step: int, objects: int, count: int) -> list[tuple[int, int]]:
        """``count`` windows of so many objects at random: each a group and a place in it."""
        fitting = [g for g in self._available(step) if group_scenes(self.settings, self.seed, g).objects == objects]
        groups = random.choice(fitting, count).tolist() if count else []
        return [(group, int(random.integers(self.settings.group))) for group in groups]

    def prepare(self, step: int) -> None:
        """Lets go of groups that are out of date at ``step`` and starts rendering those that are missing."""
        available = self._available(step)
        for stale in [g for g in self._groups if g not in available]:
            del self._groups[stale]
        for group in range(available.start, available.stop + _AHEAD.get(self.device, 1)):
            if group not in self._groups:
                self._groups[group] = self._submit(group)

    def window(self, group: int, index: int) -> tuple[torch.Tensor, ...]:
        """Frames, masks, background (bytes) and order of one window; waits for its group if it must."""
        held = self._groups[group].result()
        return held.frames[index], held.masks[index], held.background[index], held.order[index]

    def close(self) -> None:
        """Stops rendering; what is under way is finished, what is queued is not begun."""
        self._renderer.shutdown(wait=True, cancel_futures=True)
        if self._samplers:
            self._samplers.shutdown(wait=True, cancel_futures=True)

    def _available(self, step: int) -> range:
        newest = max(self.settings.start, 2) + (step - self.first) // self.settings.steps_per_group
        return range(max(0, newest - self.settings.groups), newest)

    def _submit(self, group: int) -> Future[RenderedClips]:
        if self._samplers is None:
            return self._renderer.submit(self._render, group, None)
        scenes = group_scenes(self.settings, self.seed, group)
        count = self.settings.group
        drawn = self._samplers.submit(sample_arrays, scenes, self.seed, count, group * count)
        return self._renderer.submit(self._render, group, drawn)

    def _render(self, group: int, drawn: Future[dict[str, np.ndarray]] | None) -> RenderedClips:
        scenes = group_scenes(self.settings, self.seed, group)
        if drawn is None:
            sampled = sample_scenes(scenes, self.seed, self.settings.group, group * self.settings.group)
        else:
            sampled = Scenes.from_arrays(drawn.result())
        if self._stream is None:
            return packed(render(sampled.to(self.device), scenes.height, scenes.width))
        training = torch.cuda.default_stream(self._stream.device)
        with torch.cuda.stream(self._stream):
            clips = packed(render(sampled.to(self.device), scenes.height, scenes.width))
            for part in (clips.frames, clips.masks, clips.background, clips.order):
                # Training reads it on its own stream: its memory must not be used again before that is through.
                part.record_stream(training)
        self._stream.synchronize()
        return clips


def _sampling_processes(count: int) -> ProcessPoolExecutor:
    spare = max(1, (os.cpu_count() or 1) - 1)
    # Forking a process that holds a CUDA context or threads is not safe.
    return ProcessPoolExecutor(min(count, spare), mp_context=get_context("spawn"), initializer=_sampling_process)


def _sampling_process() -> None:
    # Ctrl-C reaches every process of a terminal; training ends them itself once it has saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@lru_cache(maxsize=65536)
def group_scenes(settings: PoolSettings, seed: int, group: int) -> SceneSettings:
    """The scene settings of a group: kinds, versions, object counts and imperfections in turn and at random."""
    random = np.random.default_rng([seed, 2, group])
    clean = random.random() < settings.clean
    flaws = random.random(4) < (0.0 if clean else 0.7)
    return SceneSettings(
        height=settings.height,
        width=settings.width,
        frames=WINDOW,
        objects=_object_count(settings.objects, group),
        kind=KINDS[group % 3],
        version=int(random.integers(1, 3)),
        # A window of five frames, one to three apart, of a clip of some twenty.
        span=float(random.uniform(0.25, 0.8)),
        pan=bool(random.random() < settings.pan),
        grain=bool(flaws[0]),
        drift=bool(flaws[1]),
        patch=bool(flaws[2]),
        rough_masks=bool(flaws[3]),
    )


def _object_count(weights: Sequence[float], group: int) -> int:
    """Steps of the golden ratio keep any run of groups close to the weights, so that a small pool has every count."""
    bounds = np.cumsum(weights) / sum(weights)
    return OBJECT_COUNTS[int(np.searchsorted(bounds, (0.5 + group * _GOLDEN) % 1.0, side="right"))]
