"""One training step after another: batch, loss, gradient, guard, update."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from penumbra.errors import PenumbraError
from penumbra.network import (
    LAMBDA_REGULARISE,
    LayerNetwork,
    LossTerms,
    NetworkSize,
    layer_losses,
    load_weights,
    mask_weight_schedule,
    reconstruction_weight,
    seeded_network,
    total_loss,
)
from penumbra.training.batch_source import BatchSource
from penumbra.training.devices import network_arithmetic, training_device
from penumbra.training.muon import Muon
from penumbra.training.pretrain.resizing import resized_network, resized_optimiser_state
from penumbra.training.pretrain.schedule import learning_rate, progress, stage_at
from penumbra.training.pretrain.settings import PretrainSettings, Stage
from penumbra.training.pretrain.workers import Workers
from penumbra.training.scene_pool import sampling_processes
from penumbra.training.shared_steps import effect_weights, follow
from penumbra.training.window_batches import TrainingBatch

# The published means run over all five frames, of which three are hidden; ours over the decoded frames only.
_HIDDEN_SHARE = 0.6
_FIGURES = ("loss", "recon", "alpha_l0", "alpha_l1", "mask", "norm")
_COMPILED_PARTS = ("frame_encoder", "mask_encoder", "transformer", "decoder")


class DivergedError(PenumbraError):
    """The loss is no longer a number; the last checkpoint is good."""

    code = "diverged"


class Trainer:
    """The state of a run: network, running mean, optimiser, step, and the stage they are in.

    ``best`` is the highest evaluation of the stage so far. With several ``workers`` each trains on its part of the
    batch and all hold the same weights.
    """

    def __init__(self, settings: PretrainSettings, workers: Workers | None = None) -> None:
        self.settings, self.workers = settings, workers or Workers()
        self.device = training_device(settings.device)
        # A stage's sizes come again and again: the fastest way of each is looked for once.
        torch.backends.cudnn.benchmark = self.device == "cuda"
        self.step, self.minutes, self.best = 0, 0.0, 0.0
        self.stage, self.stage_start = 0, 0
        self._unread: _Copied | None = None
        samplers = settings.pool.samplers if settings.clips is None or settings.clips.share < 1 else 0
        # They outlive stages: each takes seconds to begin.
        self._samplers = sampling_processes(samplers) if samplers else None
        network = self._first_network()
        self._adopt(network, copy.deepcopy(network))

    @property
    def size(self) -> Stage:
        """The stage the run is in, with its working size."""
        return self.settings.all_stages[self.stage]

    @property
    def rate(self) -> float:
        """The next step's learning rate."""
        return learning_rate(self.settings, self.step, self.minutes, self.stage, self.stage_start)

    @property
    def finished(self) -> bool:
        """Whether the last step, or minute, is over."""
        return progress(self.settings, self.step, self.minutes) >= 1

    def train_step(self) -> dict[str, float]:
        """One step; returns its figures, on a GPU those of the step before: waiting for its own would leave it idle.

        Raises :class:`DivergedError` before the weights are spoilt, on a GPU before they are told or kept.
        """
        self._enter_due_stage()
        settings = self.settings
        asked = time.monotonic()
        batch = self.source.batch(self.step, self.size.batch or settings.batch, self.workers.rank, self.workers.count)
        waited = time.monotonic() - asked
        # Dropout's random numbers too depend on the step alone, and differ between processes.
        torch.manual_seed(settings.seed * 1_000_003 + self.step + self.workers.rank * 7_919_000_003)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        terms, loss = self._loss(batch)
        loss.backward()  # type: ignore[no-untyped-call] # torch's own annotation is missing
        limit = float("inf") if settings.clip_norm is None else settings.clip_norm
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        figures = self._figures(terms, loss, norm)
        self.optimiser.step()
        self.step += 1
        follow(self.mean, self.network, self.settings.ema, self.step)
        return {**figures, "waited": waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over a checkpoint's state; raises KeyError, ValueError or RuntimeError where it does not fit."""
        # Runs of before there were stages are in their first.
        stage, start = int(state.get("stage", 0)), int(state.get("stage_start", 0))
        if stage != self.stage or start != self.stage_start:
            self.stage, self.stage_start = stage, start
            self.source.close()
            self._adopt(*(resized_network(n, self.size.height, self.size.width) for n in (self.network, self.mean)))
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["mean"])
        self._load_optimiser(state["optimiser"])
        self.step, self.minutes = int(state["step"]), float(state.get("minutes", 0.0))
        self.best = float(state.get("best", 0.0))

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` takes; raises :class:`DivergedError` where the last step spoilt it."""
        if self._unread:
            self._guard(self._unread.read())
        return {
            "step": self.step,
            "minutes": self.minutes,
            "best": self.best,
            "stage": self.stage,
            "stage_start": self.stage_start,
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def close(self) -> None:
        """Stops what makes batches."""
        self.source.close()
        if self._samplers:
            self._samplers.shutdown(wait=True, cancel_futures=True)

    def _first_network(self) -> LayerNetwork:
        settings = self.settings
        if settings.start is None:
            return seeded_network(settings.seed, NetworkSize(self.size.height // 16, self.size.width // 16))
        return resized_network(load_weights(Path(settings.start))[0], self.size.height, self.size.width)

    def _adopt(self, network: LayerNetwork, mean: LayerNetwork) -> None:
        """Trains this network, and follows it with this mean, from now on and at the stage's size."""
        settings = self.settings
        layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.network = network.to(self.device).to(memory_format=layout)  # type: ignore[call-overload] # untyped in torch
        self.mean = mean.to(self.device).requires_grad_(False)
        self.optimiser = self._new_optimiser()
        if settings.compile:
            # In place, part by part: the names in checkpoints stay as they are (why not in one piece: decision 0009).
            # What was compiled for an earlier stage counts against a limit, past which nothing more would be.
            torch.compiler.reset()
            for name in _COMPILED_PARTS:
                getattr(self.network, name).compile()
        self.model = self.workers.together(self.network, self.device)
        pool = replace(settings.pool, height=self.size.height, width=self.size.width)
        self.source = BatchSource(
            pool, settings.seed, self.device, settings.clips, settings.hiding, self.stage_start, self._samplers
        )

    def _new_optimiser(self) -> torch.optim.Optimizer:
        settings = self.settings
        if settings.optimiser == "muon":
            return Muon(self.network, settings.learning_rate, settings.weight_decay)
        return torch.optim.AdamW(
            self.network.parameters(),
            settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=self.device == "cuda",
        )

    def _enter_due_stage(self) -> None:
        due = stage_at(self.settings, progress(self.settings, self.step, self.minutes))
        # A run made longer does not go back to a stage that it has left.
        if due <= self.stage:
            return
        before, state = self.optimiser.param_groups, self.optimiser.state_dict()
        self.stage, self.stage_start, self.best = due, self.step, 0.0
        self.source.close()
        self._adopt(*(resized_network(n, self.size.height, self.size.width) for n in (self.network, self.mean)))
        self._load_optimiser(resized_optimiser_state(state, before, self.optimiser.param_groups))

    def _load_optimiser(self, state: dict[str, Any]) -> None:
        # How the optimiser runs is this device's matter, what it remembers the checkpoint's.
        own = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state["state"], "param_groups": own})

    def _loss(self, batch: TrainingBatch) -> tuple[LossTerms, Tensor]:
        with network_arithmetic(self.device, self.settings.precision == "bfloat16"):
            layers = self.model(batch.frames, batch.masks, batch.visible, batch.targets)
        hidden = torch.ones(batch.targets.shape, device=batch.targets.device)
        valid = batch_weights(batch, self.settings.effect_weight) if self.settings.effect_weight else None
        terms = layer_losses(
            batch.ordered(layers.float()), batch.target_frames, batch.target_masks, batch.background, hidden, valid
        )
        weight = reconstruction_weight(batch.target_masks, hidden, valid)
        terms = self._shared(terms, weight.sum(), len(batch.targets))
        # Trained weights know their masks: another bootstrap would only make them forget the effects.
        early = self.step if self.settings.start is None else self.settings.steps
        lambda_mask = _HIDDEN_SHARE * mask_weight_schedule(early, self.settings.steps, "pretrain")
        return terms, total_loss(terms, lambda_mask, _HIDDEN_SHARE * LAMBDA_REGULARISE)

    def _shared(self, terms: LossTerms, weight: Tensor, windows: int) -> LossTerms:
        """Terms whose mean over the processes is that of the whole batch: parts count by what they are divided by."""
        if self.workers.count == 1:
            return terms
        own = torch.stack([weight, weight.new_tensor(float(windows))])
        recon, others = (own / self.workers.total(own.clone()) * self.workers.count).unbind()
        scale = {f.name: others for f in fields(LossTerms)} | {"recon": recon}
        return LossTerms(**{name: getattr(terms, name) * factor for name, factor in scale.items()})

    def _figures(self, terms: LossTerms, loss: Tensor, norm: Tensor) -> dict[str, float]:
        """The last figures that have come from the device, guarded."""
        values = [loss, terms.recon, terms.alpha_l0, terms.alpha_l1, terms.mask, norm]
        # One copy from the device, not six: each waits for it.
        together = torch.stack([value.detach().float() for value in values])
        mean = self.workers.total(together) / self.workers.count
        if self.device != "cuda":
            return self._guard(mean.tolist())
        before, self._unread = self._unread, _Copied(mean)
        return self._guard((before or self._unread).read())

    def _guard(self, values: list[float]) -> dict[str, float]:
        figures = dict(zip(_FIGURES, values, strict=True))
        if not all(map(math.isfinite, (figures["loss"], figures["norm"]))):
            raise DivergedError(
                f"Pretraining diverged at step {self.step}.",
                "Start another run from its last weights, --start RUN/ema.safetensors, with a lower learning rate.",
            )
        return figures


class _Copied:
    """A GPU's tensor on its way to the CPU, behind what the GPU was told before it."""

    def __init__(self, values: Tensor) -> None:
        self._values = torch.empty(values.shape, pin_memory=True).copy_(values, non_blocking=True)
        self._there = torch.cuda.Event()  # type: ignore[no-untyped-call] # untyped in torch
        self._there.record()

    def read(self) -> list[float]:
        self._there.synchronize()
        found: list[float] = self._values.tolist()
        return found


def batch_weights(batch: TrainingBatch, extra: float) -> Tensor:
    """What each pixel counts (B, 1, D, H, W): ``1 + extra`` on effects, none in windows that may move by themselves."""
    credible = ~batch.restless[:, None, None, None]
    return effect_weights(batch.target_frames, batch.background, batch.target_masks, credible, extra)
