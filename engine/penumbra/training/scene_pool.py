"""A pool of rendered clips that training draws from, renewed a little with every step.

Rendering a batch costs about as much as a training step does on a CPU, so a clip serves a few times, each time with
other frames hidden, mirrored, recoloured. What a step sees depends on the seed and the step alone, so that a run
resumes exactly.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

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
_ROOT_TWO = 1.4142135623730951


@dataclass(frozen=True)
class PoolSettings:
    """``group`` clips share their scene settings; the pool holds the newest ``groups``; ``steps_per_group`` training
    steps pass between one group and the next, and ``start`` groups are there before the first.

    ``clean`` is the share of groups without grain, drift and so on; ``pan`` of groups with a turning camera;
    ``estimated`` of windows with an estimated background. ``objects`` weighs clips of 2, 3 and 4 objects.
    ``water`` is the share of groups with water that runs up a shore and back.
    ``wide`` is the share of groups of 16:9, as high as the others: a batch holds fewer of them, for as many pixels.
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
    water: float = 0.0
    wide: float = 0.0
    samplers: int = 0

    def __post_init__(self) -> None:
        if min(self.group, self.groups, self.steps_per_group, self.start) < 1:
            raise JobError("A pool's group, groups, steps_per_group and start must be 1 or more.", "Raise them.")
        if len(self.objects) != len(OBJECT_COUNTS) or min(self.objects) < 0 or sum(self.objects) <= 0:
            raise JobError(
                f"A pool's objects {list(self.objects)} do not weigh clips of 2, 3 and 4 objects.",
                "Give three numbers, such as [0.5, 0.3, 0.2].",
            )
        if self.samplers < 0:
            raise JobError(f"A pool cannot have {self.samplers} samplers.", "Choose 0 or more.")
        shares = {
            "wide groups": self.wide, "groups with water": self.water, "clean groups": self.clean,
            "groups with a pan": self.pan, "estimated backgrounds": self.estimated,
        }  # fmt: skip
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise JobError(f"A share of {share} {name} is impossible.", "Choose 0 to 1.")

    @property
    def forms(self) -> dict[Form, float]:
        """How often a window should have which form; they add up to 1."""
        widths = {self.width: 1 - self.wide, _wide(self.height): self.wide} if self.wide else {self.width: 1.0}
        total = sum(self.objects)
        return {
            Form(count, width): weight / total * share
            for count, weight in zip(OBJECT_COUNTS, self.objects, strict=True)
            for width, share in widths.items()
        }


class Form(NamedTuple):
    """What the windows of a batch have in common: the number of objects and the width in pixels."""

    objects: int
    width: int


class ScenePool:
    """Windows of rendered scenes on ``device``.

    ``first``: the training step at which the pool starts from nothing. ``samplers``: the processes of
    :func:`sampling_processes`, which are left running.
    """

    def __init__(
        self,
        settings: PoolSettings,
        seed: int,
        device: str = "cpu",
        first: int = 0,
        samplers: Executor | None = None,
    ) -> None:
        self.settings, self.seed, self.device, self.first = settings, seed, device, first
        self._groups: dict[int, Future[RenderedClips]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scenes")
        self._samplers = samplers
        # Scenes go from process to process in files: a pipe brings some kilobytes at a time, and for each of them its
        # reader waits for the interpreter, which training and rendering keep busy (docs/decisions/0009).
        # One may be written while the folder is removed.
        self._folder = TemporaryDirectory(prefix="penumbra-scenes-", ignore_cleanup_errors=True) if samplers else None
        self._stream = torch.cuda.Stream() if device == "cuda" else None  # type: ignore[no-untyped-call] # untyped in torch

    def shares(self, step: int) -> dict[Form, float]:
        """How often a window drawn at ``step`` has which form; they add up to 1."""
        held = {self._form(group) for group in self._available(step)}
        weights = {form: weight for form, weight in self.settings.forms.items() if form in held}
        total = sum(weights.values())
        return {form: weight / total for form, weight in weights.items()}

    def draw(self, random: np.random.Generator, step: int, form: Form, count: int) -> list[tuple[int, int]]:
        """``count`` windows of that form at random: each a group and a place in it."""
        fitting = [group for group in self._available(step) if self._form(group) == form]
        groups = random.choice(fitting, count).tolist() if count else []
        return [(group, int(random.integers(self.settings.group))) for group in groups]

    def prepare(self, step: int) -> None:
        """Lets go of groups that are out of date at ``step`` and starts rendering those that are missing."""
        available = self._available(step)
        for stale in [g for g in self._groups if g not in available]:
            del self._groups[stale]
        # Every process has one under way and one waiting: a GPU must never wait for a group that is due.
        ahead = 2 * self.settings.samplers if self._samplers else 1
        for group in range(available.start, available.stop + ahead):
            if group not in self._groups:
                self._groups[group] = self._submit(group)

    def window(self, group: int, index: int) -> tuple[torch.Tensor, ...]:
        """Frames, masks, background (bytes) and order of one window; waits for its group if it must."""
        held = self._groups[group].result()
        return held.frames[index], held.masks[index], held.background[index], held.order[index]

    def close(self) -> None:
        """Stops rendering; what is under way is finished, what is queued is not begun."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._folder:
            self._folder.cleanup()

    def _form(self, group: int) -> Form:
        scenes = group_scenes(self.settings, self.seed, group)
        return Form(scenes.objects, scenes.width)

    def _available(self, step: int) -> range:
        newest = max(self.settings.start, 2) + (step - self.first) // self.settings.steps_per_group
        return range(max(0, newest - self.settings.groups), newest)

    def _submit(self, group: int) -> Future[RenderedClips]:
        scenes, first = group_scenes(self.settings, self.seed, group), group * self.settings.group
        if self._samplers is None or self._folder is None:
            return self._thread.submit(self._rendered, scenes, first, None)
        path = Path(self._folder.name) / f"{group}.npy"
        drawn = self._samplers.submit(_sample_to, path, scenes, self.seed, self.settings.group, first)
        return self._thread.submit(self._rendered, scenes, first, drawn)

    def _rendered(self, scenes: SceneSettings, first: int, drawn: Future[Path] | None) -> RenderedClips:
        """The clips of scenes from the ``first`` on, drawn by another process or here."""
        if drawn is None:
            sampled = sample_scenes(scenes, self.seed, self.settings.group, first)
        else:
            sampled = _sampled_in(drawn.result())
        with self._beside_training():
            clips = packed(render(sampled.to(self.device), scenes.height, scenes.width))
            if self._stream:
                for part in (clips.frames, clips.masks, clips.background, clips.order):
                    # Training reads it on its own stream: its memory must not be used again before that is through.
                    part.record_stream(torch.cuda.default_stream(self._stream.device))
            return clips

    @contextmanager
    def _beside_training(self) -> Iterator[None]:
        """On a GPU, work on a stream of its own, which is through when this is left."""
        if self._stream is None:
            yield
            return
        with torch.cuda.stream(self._stream):
            yield
        self._stream.synchronize()


def _sample_to(path: Path, settings: SceneSettings, seed: int, count: int, first: int) -> Path:
    """Draws scenes into a file: the arrays of :class:`Scenes` one after the other, in the order of their names."""
    with suppress(FileNotFoundError), path.open("wb") as file:  # the pool may be closed meanwhile, and its folder gone
        for _, array in sorted(sample_arrays(settings, seed, count, first).items()):
            np.save(file, array, allow_pickle=False)
    return path


def _sampled_in(path: Path) -> Scenes:
    with path.open("rb") as file:
        arrays = {name: np.load(file, allow_pickle=False) for name in sorted(f.name for f in fields(Scenes))}
    path.unlink()
    return Scenes.from_arrays(arrays)


def sampling_processes(count: int) -> ProcessPoolExecutor:
    """So many processes, but no more than cores to spare, that draw scenes; the caller's to end."""
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
        # Steps of an irrational number, as for the counts of objects and independent of them.
        width=_wide(settings.height) if (0.5 + group * _ROOT_TWO) % 1.0 < settings.wide else settings.width,
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
        water=bool(random.random() < settings.water),
    )


def _object_count(weights: Sequence[float], group: int) -> int:
    """Steps of the golden ratio keep any run of groups close to the weights, so that a small pool has every count."""
    bounds = np.cumsum(weights) / sum(weights)
    return OBJECT_COUNTS[int(np.searchsorted(bounds, (0.5 + group * _GOLDEN) % 1.0, side="right"))]


def _wide(height: int) -> int:
    return 16 * round(height / 9)
