"""A pool of rendered clips that training draws from, renewed a little with every step.

Rendering a batch costs about as much as a training step does on a CPU, so a clip serves a few times, each time with
other frames hidden, mirrored, recoloured. What a step sees depends on the seed and the step alone, so that a run
resumes exactly.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from penumbra.training.scenes import KINDS, RenderedClips, SceneSettings, render, sample_scenes

WINDOW = 5


@dataclass(frozen=True)
class PoolSettings:
    """``group`` clips share their scene settings; the pool holds the newest ``groups``; ``steps_per_group`` training
    steps pass between one group and the next. ``clean`` is the share of groups without grain, drift and so on.
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


@dataclass(frozen=True)
class TrainingBatch:
    """Windows in [-1, 1] as the network takes them: B samples, K objects back to front, T = 5 frames, D targets.

    ``frames`` (B, 3, T, H, W); ``masks`` (B, K, T, H, W); ``visible`` (B, T); ``targets`` (B, D) int64;
    ``target_frames``, ``background`` (B, 3, D, H, W); ``target_masks`` (B, K, D, H, W).
    """

    frames: torch.Tensor
    masks: torch.Tensor
    visible: torch.Tensor
    targets: torch.Tensor
    target_frames: torch.Tensor
    target_masks: torch.Tensor
    background: torch.Tensor


class ScenePool:
    """Makes the batches of a run; ``batch(step, size)`` is a function of the seed, the step and the size only."""

    def __init__(self, settings: PoolSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self._groups: dict[int, Future[RenderedClips]] = {}
        self._renderer = ThreadPoolExecutor(1, thread_name_prefix="scenes")

    def batch(self, step: int, size: int) -> TrainingBatch:
        """Draws windows that hold ``size`` objects together; renders whatever groups the step needs first."""
        random = np.random.default_rng([self.seed, 1, step])
        newest = max(self.settings.start, 2) + step // self.settings.steps_per_group
        available = range(max(0, newest - self.settings.groups), newest)
        objects = 2 if random.random() < 0.6 else 3
        windows = max(1, size // objects)
        fitting = [g for g in available if group_scenes(self.settings, self.seed, g).objects == objects]
        self._keep(available)
        chosen = random.choice(fitting, windows)
        rows = [self._clip(int(group), int(random.integers(self.settings.group))) for group in chosen]
        frames, masks, background, order = (torch.stack(column) for column in zip(*rows, strict=True))
        clips = RenderedClips(frames, masks, background, order)
        return make_batch(clips, random, self.settings.estimated)

    def _keep(self, available: range) -> None:
        for stale in [g for g in self._groups if g not in available]:
            del self._groups[stale]
        # The group that joins next is rendered beside the training steps before it.
        for group in (*available, available.stop):
            if group not in self._groups:
                self._groups[group] = self._renderer.submit(_render_group, self.settings, self.seed, group)

    def _clip(self, group: int, index: int) -> tuple[torch.Tensor, ...]:
        held = self._groups[group].result()
        return held.frames[index], held.masks[index], held.background[index], held.order[index]


def _render_group(settings: PoolSettings, seed: int, group: int) -> RenderedClips:
    scenes = group_scenes(settings, seed, group)
    drawn = sample_scenes(scenes, seed, settings.group, group * settings.group)
    return _packed(render(drawn, scenes.height, scenes.width))


def group_scenes(settings: PoolSettings, seed: int, group: int) -> SceneSettings:
    """The scene settings of a group: kinds, versions, object counts and imperfections in turn and at random."""
    random = np.random.default_rng([seed, 2, group])
    clean = random.random() < settings.clean
    flaws = random.random(4) < (0.0 if clean else 0.7)
    return SceneSettings(
        height=settings.height,
        width=settings.width,
        frames=WINDOW,
        objects=2 if group % 5 in (0, 2, 3) else 3,
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


def make_batch(clips: RenderedClips, random: np.random.Generator, estimated: float = 0.0) -> TrainingBatch:
    """Hides frames, sorts objects back to front, mirrors, reverses and recolours clips of T frames at random."""
    count, frames = clips.frames.shape[:2]
    hidden = int(random.choice([2, 3], p=[0.7, 0.3]))
    targets = np.stack([random.permutation(frames)[:hidden] for _ in range(count)])
    visible = np.ones((count, frames), np.float32)
    np.put_along_axis(visible, targets, 0, 1)
    images, masks, background = (_unpacked(part) for part in (clips.frames, clips.masks, clips.background))
    known = torch.from_numpy(random.random(count) < estimated)[:, None, None, None, None]
    # A camera that stands still has one clean plate: the median, which knows nothing of a frame's exposure.
    background = torch.where(known, background.median(1, keepdim=True).values, background)
    images, background = _recoloured(images, background, random)
    order = clips.order[..., None, None].expand(-1, -1, -1, *masks.shape[-2:])
    masks = masks.gather(2, order)
    images, masks, background = _mirrored((images, masks, background), random)
    chosen = torch.from_numpy(targets[:, :2]).sort(-1).values

    def at(part: torch.Tensor) -> torch.Tensor:
        return torch.stack([one[index] for one, index in zip(part, chosen, strict=True)]).transpose(1, 2)

    return TrainingBatch(
        frames=images.transpose(1, 2),
        masks=masks.transpose(1, 2),
        visible=torch.from_numpy(visible),
        targets=chosen,
        target_frames=at(images),
        target_masks=at(masks),
        background=at(background),
    )


def _packed(clips: RenderedClips) -> RenderedClips:
    """As bytes, a quarter of the memory; frames and masks are in 8-bit steps already."""
    frames, masks, background = ((part * 255).round().byte() for part in (clips.frames, clips.masks, clips.background))
    return RenderedClips(frames, masks, background, clips.order)


def _unpacked(values: torch.Tensor) -> torch.Tensor:
    unit = values.float() / 255 if values.dtype == torch.uint8 else values
    return unit * 2 - 1


def _mirrored(parts: tuple[torch.Tensor, ...], random: np.random.Generator) -> list[torch.Tensor]:
    flip = torch.from_numpy(random.random(len(parts[0])) < 0.5)[:, None, None, None, None]
    return [torch.where(flip, part.flip(-1), part) for part in parts]


def _recoloured(
    images: torch.Tensor, background: torch.Tensor, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Channels swapped and a change of gamma, the same for a clip's frames and background."""
    count = len(images)
    swap = torch.from_numpy(
        np.stack([random.permutation(3) if random.random() < 0.5 else np.arange(3) for _ in range(count)])
    )
    power = torch.from_numpy(np.exp(random.normal(0, 0.2, count)).astype(np.float32))[:, None, None, None, None]

    def changed(part: torch.Tensor) -> torch.Tensor:
        index = swap[:, None, :, None, None].expand_as(part)
        return (part.gather(2, index) * 0.5 + 0.5).clamp(0, 1).pow(power) * 2 - 1

    return changed(images), changed(background)
