"""Pretraining: the coordination game on rendered scenes, resumable to the step.

A run is a folder: ``settings.json``, ``checkpoint.pt`` (weights, their running mean, optimiser, step),
``ema.safetensors`` (the running mean in float16, ready to ship) and ``log.jsonl``. Every random choice of a step
depends on the seed and the step's number alone, so a run that was killed goes on as if it had not been.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from penumbra.contract import ModelContract
from penumbra.errors import JobError, PenumbraError, WeightsError
from penumbra.network import (
    LayerNetwork,
    NetworkSize,
    layer_losses,
    load_weights,
    mask_weight_schedule,
    save_weights,
    seeded_network,
    total_loss,
)
from penumbra.storage import atomic_path
from penumbra.training.scene_pool import WINDOW, PoolSettings, ScenePool, TrainingBatch
from penumbra.training.scenes import KINDS, SceneSettings, render, render_solo, sample_scenes
from penumbra.training.scoring import EffectScore, TruthClip, mean_score, predict_layers, score_layers

_log = logging.getLogger(__name__)

# The published means run over all five frames, of which three are hidden; ours over the decoded frames only.
_HIDDEN_SHARE = 0.6
_HELD_OUT_SEED = 900_001


@dataclass(frozen=True)
class PretrainSettings:
    """One run. ``steps`` and ``minutes`` may be changed on resuming; everything else is fixed by the first start.

    With ``minutes`` set the learning rate falls with the time spent training, which a busy machine needs, and the run
    ends with them; without, it depends on the step alone and a resumed run equals an uninterrupted one.

    ``warm_up`` steps of rising and then a cosine of falling learning rate; ``ema`` is the decay of the running mean of
    the weights; ``precision`` bfloat16 or float32 for the network's arithmetic. ``start``: a .safetensors file to go on
    from, with a fresh optimiser and without the early phase in which the mask term rules; None for random weights.
    """

    seed: int = 1
    steps: int = 4000
    minutes: float | None = None
    batch: int = 30
    learning_rate: float = 1e-3
    final_rate: float = 0.02
    warm_up: int = 200
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    ema: float = 0.998
    precision: str = "bfloat16"
    start: str | None = None
    checkpoint_minutes: float = 5.0
    evaluate_every: int = 250
    log_every: int = 20
    pool: PoolSettings = field(default_factory=PoolSettings)

    def to_json(self) -> str:
        """What :func:`settings_from_json` reads."""
        return json.dumps(asdict(self), indent=1) + "\n"


def settings_from_json(text: str) -> PretrainSettings:
    """Raises :class:`JobError` naming an unknown key."""
    try:
        data: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise JobError(
            f"The pretraining settings are not valid JSON: {error}.", "Mend the file at that place."
        ) from error
    pool = data.pop("pool", {})
    for known, given in ((PretrainSettings, data), (PoolSettings, pool)):
        unknown = set(given) - {f.name for f in fields(known)}
        if unknown:
            raise JobError(f"The pretraining settings have an unknown key {min(unknown)!r}.", "Remove it.")
    return PretrainSettings(**data, pool=PoolSettings(**pool))


class DivergedError(PenumbraError):
    """The loss is no longer a number; the last checkpoint is good."""

    code = "diverged"


def learning_rate(settings: PretrainSettings, step: int, minutes: float = 0.0) -> float:
    """Linear warm-up, then half a cosine down to ``final_rate`` of the peak, over steps or, if set, minutes."""
    if step < settings.warm_up:
        return settings.learning_rate * (step + 1) / settings.warm_up
    if settings.minutes is None:
        done = (step - settings.warm_up) / max(settings.steps - settings.warm_up, 1)
    else:
        done = minutes / settings.minutes
    fall = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * fall)


class Trainer:
    """The state of a run: network, running mean, optimiser, step."""

    def __init__(self, settings: PretrainSettings) -> None:
        self.settings = settings
        size = NetworkSize(settings.pool.height // 16, settings.pool.width // 16)
        if settings.start is None:
            self.network = seeded_network(settings.seed, size)
        else:
            self.network = load_weights(Path(settings.start))[0]
        self.mean = copy.deepcopy(self.network)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.pool = ScenePool(settings.pool, settings.seed)
        self.step = 0
        self.minutes = 0.0

    @property
    def rate(self) -> float:
        """The next step's learning rate."""
        return learning_rate(self.settings, self.step, self.minutes)

    @property
    def finished(self) -> bool:
        """Whether the last step, or minute, is over."""
        late = self.settings.minutes is not None and self.minutes >= self.settings.minutes
        return late or self.step >= self.settings.steps

    def train_step(self) -> dict[str, float]:
        """One step; returns its figures. Raises :class:`DivergedError` before anything is spoilt."""
        started = time.monotonic()
        settings = self.settings
        batch = self.pool.batch(self.step, settings.batch)
        # Dropout's random numbers too depend on the step alone.
        torch.manual_seed(settings.seed * 1_000_003 + self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        figures, loss = self._loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip_norm)
        if not bool(torch.isfinite(norm) and torch.isfinite(loss.detach())):
            raise DivergedError(
                f"Pretraining diverged at step {self.step}.",
                "Resume from its last checkpoint with a lower learning rate.",
            )
        self.optimiser.step()
        self.step += 1
        self._follow()
        self.minutes += (time.monotonic() - started) / 60
        return {**figures, "norm": float(norm)}

    def _loss(self, batch: TrainingBatch) -> tuple[dict[str, float], torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            rgba = self.network(batch.frames, batch.masks, batch.visible, batch.targets)
        terms = layer_losses(
            rgba.float(), batch.target_frames, batch.target_masks, batch.background, torch.ones(batch.targets.shape)
        )
        # Trained weights know their masks: another bootstrap would only make them forget the effects.
        early = self.step if self.settings.start is None else self.settings.steps
        weight = _HIDDEN_SHARE * mask_weight_schedule(early, self.settings.steps, "pretrain")
        loss = total_loss(terms, weight, _HIDDEN_SHARE * 0.05)
        names = ("recon", "alpha_l0", "alpha_l1", "mask")
        return {"loss": float(loss.detach()), **{name: float(getattr(terms, name).detach()) for name in names}}, loss

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for mean, current in zip(self.mean.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(current, 1 - decay)

    def save(self, run: Path) -> None:
        """Writes the checkpoint and the weights to ship, each whole or not at all."""
        state = {
            "step": self.step,
            "minutes": self.minutes,
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        with atomic_path(run / "checkpoint.pt") as temporary:
            torch.save(state, temporary)
        contract = ModelContract(height=self.settings.pool.height, width=self.settings.pool.width)
        about = {"steps": str(self.step), "settings": json.dumps(asdict(self.settings))}
        save_weights(self.mean, run / "ema.safetensors", contract, about, half=True)

    def restore(self, run: Path) -> None:
        """Goes on from the run's checkpoint, if it has one."""
        path = run / "checkpoint.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.network.load_state_dict(state["network"])
            self.mean.load_state_dict(state["mean"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = int(state["step"])
            self.minutes = float(state.get("minutes", 0.0))
        except (RuntimeError, KeyError, ValueError, EOFError, UnpicklingError) as error:
            raise WeightsError(
                f"The checkpoint {path} does not fit this run: {error}.", "Start the run in another folder."
            ) from error


def held_out_clips(height: int = 64, width: int = 64, clips: int = 3) -> list[TruthClip]:
    """A fixed set of scenes that no run trains on: every kind and version, ``clips`` of each."""
    found = []
    for version in (1, 2):
        for kind in KINDS:
            settings = SceneSettings(height, width, WINDOW, 2 if version == 1 else 3, kind, version, span=0.6)
            scenes = sample_scenes(settings, _HELD_OUT_SEED, clips)
            rendered = render(scenes, height, width)
            solos = [render_solo(scenes, k, height, width)[0] for k in range(settings.objects)]
            solo = torch.stack(solos, 2)
            found += [
                TruthClip(
                    f"{kind}{version}_{i}", rendered.frames[i], rendered.masks[i], rendered.background[i], solo[i]
                )
                for i in range(clips)
            ]
    return found


def evaluate(network: LayerNetwork, clips: list[TruthClip]) -> EffectScore:
    """The mean score, every frame hidden in turn."""
    return mean_score([score_layers(predict_layers(network, clip), clip) for clip in clips])


def pretrain(
    run: Path, settings: PretrainSettings | None = None, on_log: Callable[[dict[str, float]], None] | None = None
) -> Trainer:
    """Starts or resumes the run in ``run`` and brings it to its last step.

    A resumed run keeps its own settings except for the number of steps and minutes. Raises :class:`DivergedError` with
    the last good checkpoint in place.
    """
    settings = _settle(run, settings)
    trainer = Trainer(settings)
    trainer.restore(run)
    clips = held_out_clips(settings.pool.height, settings.pool.width) if settings.evaluate_every else []
    started = saved = time.monotonic()
    first = trainer.step
    while not trainer.finished:
        figures = trainer.train_step()
        if trainer.step % settings.log_every == 0:
            figures["seconds_per_step"] = (time.monotonic() - started) / (trainer.step - first)
            _record(run, {"step": trainer.step, "rate": trainer.rate, "minutes": trainer.minutes, **figures}, on_log)
        if clips and trainer.step % settings.evaluate_every == 0:
            score = asdict(evaluate(trainer.mean, clips))
            _record(run, {"step": trainer.step, **score}, on_log)
        if time.monotonic() - saved > settings.checkpoint_minutes * 60:
            trainer.save(run)
            saved = time.monotonic()
    trainer.save(run)
    return trainer


def _settle(run: Path, settings: PretrainSettings | None) -> PretrainSettings:
    """The settings of the run's first start, with the steps and minutes asked for now; written down."""
    path = run / "settings.json"
    if path.exists():
        first = settings_from_json(path.read_text(encoding="utf-8"))
        settings = first if settings is None else replace(first, steps=settings.steps, minutes=settings.minutes)
    settings = settings or PretrainSettings()
    run.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(settings.to_json(), encoding="utf-8")
    return settings


def _record(run: Path, figures: dict[str, float], on_log: Callable[[dict[str, float]], None] | None) -> None:
    rounded = {name: round(value, 6) for name, value in figures.items()}
    with (run / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(rounded) + "\n")
    _log.info("%s", rounded)
    if on_log:
        on_log(rounded)


def main() -> None:
    """``python -m penumbra.training.pretrain RUN [--settings FILE] [--steps N] [--minutes M] [--threads N]``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--settings", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    given = options.settings or options.run / "settings.json"
    settings = settings_from_json(given.read_text(encoding="utf-8")) if given.exists() else PretrainSettings()
    if options.steps:
        settings = replace(settings, steps=options.steps)
    if options.minutes:
        settings = replace(settings, minutes=options.minutes)
    pretrain(options.run, settings)


if __name__ == "__main__":
    main()
