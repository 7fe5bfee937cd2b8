"""Refinement: the paper's test-time training on the windows of the clip itself (supplement, section 3).

Stoppable at any moment with the best weights so far kept, resumable to the step, and, when asked for in steps on one
machine, repeatable to the bit: every random choice of a step depends on the seed and the step's number alone.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from penumbra.contract import ModelContract
from penumbra.errors import OutOfMemoryError, WeightsError
from penumbra.frames import WorkingClip
from penumbra.job import RefineSettings
from penumbra.network import LayerNetwork, layer_losses, mask_weight_schedule, total_loss
from penumbra.training.devices import network_arithmetic
from penumbra.training.muon import Muon
from penumbra.training.saved import save_state
from penumbra.training.shared_steps import effect_weights, follow
from penumbra.windows import fitting_stride

# The published rate finds a shot's layers from nothing; trained weights it would first make forget (decision 0016).
LEARNING_RATE = 5e-4
TRAINED_RATE = 4e-4
# In fewer steps trained weights must go faster to get as far: in inverse proportion to them, up to so many times.
UNHURRIED_STEPS, MOST_HURRIED = 100, 3.0
# Trained weights have found by then what they find; from there on they claim what moves by itself (decision 0055).
MOST_STEPS = 150
FINAL_RATE = 0.1  # of the learning rate, reached at the end: the last steps settle instead of wandering
AVERAGE_DECAY = 0.9  # of the running mean of the weights, which is what is evaluated and kept
EFFECT_WEIGHT = 3.0  # how much more a pixel counts where the plate shows an effect outside all masks, as in pretraining
CREDIBLE = 0.8  # of ``valid``: below it a difference may be the background's own, and counts no more than others
WARM_UP_STEPS = 10
WEIGHT_DECAY = 1e-4
CLIP_NORM = 1.0
HIDDEN_FRAMES = 2
EVALUATION_WINDOWS = 12
EVALUATIONS = 8
CHECKPOINT_SECONDS = 30.0
CHECKPOINT_NAME = "refine.pt"
# Pixels decoded in one step: on a CPU many small steps learn a shot sooner than few large ones, and a step takes a
# second or two; a GPU takes the paper's 32 windows of 128 x 224 at once.
STEP_PIXELS = {"cpu": 2**17, "cuda": 2**22, "mps": 2**20}
SMALLEST_BATCH, LARGEST_BATCH = 4, 32


@dataclass(frozen=True)
class RefineProgress:
    """Where refinement stands: steps done of an (estimated) total, and the last loss and evaluation."""

    step: int
    total: int
    loss: float
    evaluation: float | None
    improved: bool


@dataclass(frozen=True)
class RefineResult:
    """The best network found, the steps made, and the evaluations (step, value) that chose it."""

    network: LayerNetwork
    steps: int
    evaluations: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Batch:
    """Windows of the clip as the network takes them, objects back to front (B samples, K objects, T, D frames).

    ``explained`` (B, 3, D, H, W) is what the layers over ``background`` shall come to: the target frames, but for what
    the background does by itself.
    """

    frames: Tensor
    masks: Tensor
    visible: Tensor
    targets: Tensor
    background: Tensor
    explained: Tensor
    valid: Tensor

    def at_targets(self, array: Tensor) -> Tensor:
        """(B, C, T, H, W) at the target frames: (B, C, D, H, W)."""
        index = self.targets[:, None, :, None, None].expand(-1, array.shape[1], -1, *array.shape[3:])
        return array.gather(2, index)

    def parts(self, count: int) -> Iterator[tuple[Batch, float]]:
        """The samples in at most ``count`` parts, each with its share of them."""
        total = len(self.frames)
        pieces = [torch.split(getattr(self, field.name), -(-total // count)) for field in fields(self)]
        for piece in zip(*pieces, strict=True):
            yield Batch(*piece), len(piece[0]) / total


def refine(
    clip: WorkingClip,
    network: LayerNetwork,
    contract: ModelContract,
    settings: RefineSettings,
    seed: int,
    folder: Path,
    device: str = "cpu",
    on_progress: Callable[[RefineProgress, LayerNetwork], None] = lambda progress, network: None,
    should_stop: Callable[[], bool] = lambda: False,
    trained: bool = True,
) -> RefineResult:
    """Trains ``network`` in place on ``clip`` and returns it with the best weights found.

    ``trained``: whether its weights know the task; random ones are first led by the masks, and learn faster. Where
    minutes are given trained weights end before them if they have made ``MOST_STEPS``.

    Where a step does not fit into memory, its windows are taken in parts whose gradients are summed. Raises
    :class:`OutOfMemoryError` where a single window, or the network with its optimiser, does not fit.

    A run that ``should_stop`` ends early leaves a checkpoint in ``folder`` from which the same call goes on; the result
    then returned has the best weights so far. The checkpoint is the caller's to remove, once the result is kept.
    """
    with _scarce_memory_said(device):
        trainer = _Trainer(clip, network.to(device), contract, settings, seed, device, trained)
        checkpoint = folder / CHECKPOINT_NAME
        trainer.restore(checkpoint)
        saved = time.monotonic()
        while not trainer.finished():
            if should_stop():
                break
            progress = trainer.advance()
            on_progress(progress, trainer.mean)
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                trainer.save(checkpoint)
                saved = time.monotonic()
        trainer.save(checkpoint)
        return trainer.result()


@contextmanager
def _scarce_memory_said(device: str) -> Iterator[None]:
    """Failures of torch for want of memory become :class:`OutOfMemoryError`."""
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"There is not enough memory on {device} to refine.", "Free some, or use --device cpu."
        ) from error


class _Trainer:
    """Optimiser, schedule and bookkeeping of one refinement."""

    def __init__(
        self,
        clip: WorkingClip,
        network: LayerNetwork,
        contract: ModelContract,
        settings: RefineSettings,
        seed: int,
        device: str,
        trained: bool,
    ) -> None:
        self.clip, self.network, self.settings, self.seed, self.device = clip, network, settings, seed, device
        self.trained, self.mean = trained, copy.deepcopy(network).requires_grad_(False)
        self.window = min(contract.window, len(clip.numbers))
        self.stride = contract.stride
        self.batch_size, self.parts = batch_size(clip, device), 1
        self.step, self.seconds = 0, 0.0
        self.optimiser = Muon(network, self._rate(), WEIGHT_DECAY)
        self.evaluations: list[tuple[int, float]] = []
        self.best: dict[str, Tensor] = _copy(network)
        self.fixed = list(self._evaluation_batches())

    def total(self) -> int:
        """Steps in all: given, or estimated from the clock."""
        if self.settings.steps is not None:
            return self.settings.steps
        if not self.step:
            return 100
        possible = max(self.step + 1, round(self.step * self._budget() / self.seconds))
        return min(possible, MOST_STEPS) if self.trained else possible

    def finished(self) -> bool:
        return self.share() >= 1

    def _budget(self) -> float:
        """Seconds given."""
        assert self.settings.minutes is not None
        return 60 * self.settings.minutes

    def _rate(self) -> float:
        """The learning rate before its schedule."""
        hurry = min(max(UNHURRIED_STEPS / self.total(), 1.0), MOST_HURRIED)
        return TRAINED_RATE * hurry if self.trained else LEARNING_RATE

    def share(self) -> float:
        """How much of the run is behind us, 0 to 1: what the schedules follow."""
        if self.settings.steps is not None:
            return self.step / self.settings.steps
        by_steps = self.step / MOST_STEPS if self.trained else 0.0
        return min(max(self.seconds / self._budget(), by_steps), 1.0)

    def advance(self) -> RefineProgress:
        """One step, and an evaluation where one is due."""
        before, began = self.seconds, time.monotonic()
        if self.step == 0:
            self._evaluate()
        loss = self._train_step()
        self.step += 1
        self.seconds = before + time.monotonic() - began
        due = self.finished() or self.share() * EVALUATIONS >= len(self.evaluations)
        improved = self._evaluate() if due else False
        self.seconds = before + time.monotonic() - began
        return RefineProgress(self.step, self.total(), loss, self.evaluations[-1][1] if due else None, improved)

    def result(self) -> RefineResult:
        self.network.load_state_dict(self.best)
        return RefineResult(self.network.eval(), self.step, tuple(self.evaluations))

    def _train_step(self) -> float:
        self.network.train()
        random = np.random.default_rng((self.seed, self.step))
        torch.manual_seed(int(random.integers(2**31)))  # dropout
        batch = sample_batch(self.clip, self.window, self.stride, self.batch_size, random, self.device)
        share = self.share()
        rate = self._rate() * learning_rate_factor(self.step, share)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        # Trained weights know their masks: another bootstrap would only make them forget the effects.
        early = 1.0 if self.trained else share
        weight = mask_weight_schedule(round(early * 1000), 1000, "refine")
        loss = self._fitting(lambda: self._gradients(batch, weight))
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        self.optimiser.step()
        follow(self.mean, self.network, AVERAGE_DECAY, self.step)
        return loss

    def _fitting(self, work: Callable[[], float]) -> float:
        """``work`` in as many parts as memory asks for, which doubles each time it does not suffice."""
        while True:
            try:
                return work()
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if self.parts >= self.batch_size:
                    raise OutOfMemoryError(
                        f"There is not enough memory on {self.device} to refine a single window.",
                        "Use a smaller working size, or --device cpu.",
                    ) from error
            # Outside of the handler, which would keep the failed step's tensors alive.
            self.parts *= 2
            if self.device == "cuda":
                torch.cuda.empty_cache()

    def _gradients(self, batch: Batch, mask_weight: float) -> float:
        """The loss of a step, its gradients in the parameters."""
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for part, share in batch.parts(self.parts):
            loss = self._loss(self.network, part, mask_weight) * share
            loss.backward()  # type: ignore[no-untyped-call] # torch's own annotation is missing
            total += float(loss.detach())
        return total

    def _value(self, batch: Batch) -> float:
        """The loss without the mask term of the weights that would be kept."""
        return sum(float(self._loss(self.mean, part, 0.0)) * share for part, share in batch.parts(self.parts))

    def _loss(self, network: LayerNetwork, batch: Batch, mask_weight: float) -> Tensor:
        with network_arithmetic(self.device):
            rgba = network(batch.frames, batch.masks, batch.visible, batch.targets)
        terms = layer_losses(
            rgba.float(),
            batch.explained,
            batch.at_targets(batch.masks),
            batch.background,
            torch.ones_like(batch.targets, dtype=torch.float32),
            batch.valid * batch_weights(batch),
            window=self.window,
        )
        return total_loss(terms, mask_weight)

    @torch.no_grad()
    def _evaluate(self) -> bool:
        """Loss without the mask term on fixed windows; keeps the weights when it is the lowest yet."""
        self.mean.eval()
        value = float(np.mean([self._fitting(partial(self._value, batch)) for batch in self.fixed]))
        first = not self.evaluations
        # The untrained state is never kept: it may score well by leaving every layer empty.
        improved = first or value < min((v for s, v in self.evaluations if s > 0), default=float("inf"))
        self.evaluations.append((self.step, value))
        if improved:
            self.best = _copy(self.mean)
        return improved and not first

    def _evaluation_batches(self) -> Iterator[Batch]:
        random = np.random.default_rng((self.seed, 2**31))
        for _ in range(max(1, EVALUATION_WINDOWS // self.batch_size)):
            yield sample_batch(self.clip, self.window, self.stride, self.batch_size, random, self.device, hidden=1)

    def save(self, path: Path) -> None:
        """Writes the whole state; a killed write leaves the previous one."""
        state = {
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "evaluations": self.evaluations,
        }
        save_state(state, path)

    def restore(self, path: Path) -> None:
        """Goes on from ``path`` where it exists."""
        if not path.exists():
            return
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.mean.load_state_dict(state["mean"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.best, self.step, self.seconds = state["best"], state["step"], state["seconds"]
            self.evaluations = [(int(step), float(value)) for step, value in state["evaluations"]]
        except Exception as error:  # a file that is no such state can fail in any way
            if isinstance(error, RuntimeError) and out_of_memory(error):
                raise
            raise WeightsError(
                f"The refinement state {path} cannot be read.", "Delete it to refine from the start."
            ) from error


def out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory: only CUDA's failure has a class of its own.

    That it cannot make or run a primitive is how its library for CPUs says so.
    """
    text = str(error).lower()
    words = ("out of memory", "can't allocate memory", "create a primitive", "execute a primitive", "memory object")
    return isinstance(error, torch.OutOfMemoryError) or any(word in text for word in words)


def batch_weights(batch: Batch) -> Tensor:
    """What each pixel counts in reconstruction (B, 1, D, H, W): more for effects outside all masks."""
    masks = batch.at_targets(batch.masks)
    return effect_weights(batch.explained, batch.background, masks, batch.valid[:, 0] > CREDIBLE, EFFECT_WEIGHT)


def batch_size(clip: WorkingClip, device: str = "cpu") -> int:
    """Windows per step for this clip's size and number of objects."""
    height, width = clip.frames.shape[1:3]
    window_pixels = HIDDEN_FRAMES * len(clip.names) * height * width
    return int(np.clip(STEP_PIXELS[device] // window_pixels, SMALLEST_BATCH, LARGEST_BATCH))


def learning_rate_factor(step: int, share: float) -> float:
    """Warm-up over the first steps, constant, then a cosine down to ``FINAL_RATE`` over the second half of the run."""
    late = max(0.0, share - 0.5) / 0.5
    decay = FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + float(np.cos(np.pi * late)))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * decay


def sample_batch(
    clip: WorkingClip,
    window: int,
    stride: int,
    count: int,
    random: np.random.Generator,
    device: str = "cpu",
    hidden: int = HIDDEN_FRAMES,
) -> Batch:
    """Random windows of the clip with random hidden frames, the first and the last position included.

    The temporal stride is drawn from 1 up to the one the clip's length allows, mostly the largest.
    """
    largest = fitting_stride(len(clip.numbers), window, stride)
    indices, targets = [], []
    for _ in range(count):
        step = largest if random.random() < 0.7 else int(random.integers(1, largest + 1))
        start = int(random.integers(0, len(clip.numbers) - step * (window - 1)))
        indices.append(start + step * np.arange(window))
        targets.append(np.sort(random.choice(window, size=min(hidden, window - 1), replace=False)))
    return gather_batch(clip, np.stack(indices), np.stack(targets), device)


def gather_batch(clip: WorkingClip, indices: np.ndarray[Any, Any], targets: np.ndarray[Any, Any], device: str) -> Batch:
    """The windows of frame ``indices`` (B, T) with hidden positions ``targets`` (B, D), [-1, 1], back to front.

    The stacking order is that of each window's first target.
    """
    rows = np.arange(len(indices))[:, None]
    target_frames = indices[rows, targets]
    order = clip.order[target_frames[:, 0]]
    masks = clip.masks[indices].transpose(0, 2, 1, 3, 4)[rows, order]
    visible = np.ones(indices.shape, np.float32)
    visible[rows, targets] = 0
    background, believed = clip.background[target_frames], clip.believed[target_frames][..., None]
    # Asked to explain water, layers claim a little of it everywhere; shown that it is nothing, they learn to leave it.
    explained = background + believed * (clip.frames[target_frames] - background)

    def tensor(array: np.ndarray[Any, Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return Batch(
        frames=tensor(clip.frames[indices].transpose(0, 4, 1, 2, 3)) * 2 - 1,
        masks=tensor(masks) * 2 - 1,
        visible=tensor(visible),
        targets=tensor(targets.astype(np.int64)),
        background=tensor(background.transpose(0, 4, 1, 2, 3)) * 2 - 1,
        explained=tensor(explained.transpose(0, 4, 1, 2, 3)) * 2 - 1,
        valid=tensor(clip.valid[target_frames][:, None]),
    )


def _copy(network: LayerNetwork) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
