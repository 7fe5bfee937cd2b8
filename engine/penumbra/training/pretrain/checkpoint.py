"""A run's files: checkpoint, weights to ship, settings, log."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch

from penumbra.contract import ModelContract
from penumbra.errors import JobError, OutputError, WeightsError
from penumbra.network import save_weights
from penumbra.storage import atomic_path, read_text
from penumbra.training.pretrain.settings import FREE, PretrainSettings, settings_from_json
from penumbra.training.pretrain.trainer import Trainer
from penumbra.training.saved import save_state

CHECKPOINT, WEIGHTS, BEST, SETTINGS, LOG = (
    "checkpoint.pt",
    "ema.safetensors",
    "best.safetensors",
    "settings.json",
    "log.jsonl",
)


def save(trainer: Trainer, run: Path) -> None:
    """Writes the checkpoint and the weights to ship, each whole or not at all; raises :class:`OutputError`."""
    try:
        save_state(trainer.state(), run / CHECKPOINT)
    except OSError as error:
        raise OutputError(
            f"{run / CHECKPOINT} cannot be written: {error.strerror}.", "Free space; the last checkpoint is whole."
        ) from error
    save_mean(trainer, run / WEIGHTS)


def save_mean(trainer: Trainer, path: Path) -> None:
    """Writes the running mean of the weights in float16, with the settings they come from."""
    size = trainer.size
    about = {"steps": str(trainer.step), "settings": json.dumps(asdict(trainer.settings))}
    save_weights(trainer.mean, path, ModelContract(height=size.height, width=size.width), about, half=True)


def restore(trainer: Trainer, run: Path) -> None:
    """Goes on from the run's checkpoint, if it has one; raises :class:`WeightsError` when it does not fit."""
    path = run / CHECKPOINT
    if not path.exists():
        return
    try:
        state = torch.load(path, map_location=trainer.device, weights_only=True)
    except Exception as error:  # a file that is no checkpoint can fail in any way
        raise WeightsError(
            f"The checkpoint {path} is damaged.",
            f"Start another run from the last weights, --start {run / WEIGHTS}, or delete it to begin this one anew.",
        ) from error
    try:
        trainer.restore(state)
    except Exception as error:  # nor does one of another network say so in one way
        raise WeightsError(
            f"The checkpoint {path} does not fit this run: {error}.", "Start the run in another folder."
        ) from error


def settle(run: Path, asked: PretrainSettings | None, write: bool = True) -> PretrainSettings:
    """The settings of the run's first start, with what is asked for now where that is free; written down."""
    path = run / SETTINGS
    if path.exists():
        first = read_settings(path)
        asked = first if asked is None else replace(first, **{name: getattr(asked, name) for name in FREE})
    settings = asked or PretrainSettings()
    if not write:
        return settings
    try:
        run.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text(settings.to_json(), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.", "Choose another folder.") from error
    return settings


def kept_settings(first: PretrainSettings, asked: PretrainSettings) -> list[str]:
    """The settings that a run's first start fixed and that are asked for otherwise, by name."""
    known, wanted = asdict(first), asdict(asked)
    return [name for name in known if name not in FREE and known[name] != wanted[name]]


def read_settings(path: Path) -> PretrainSettings:
    """A settings file; raises :class:`JobError` when it cannot be read or understood."""
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise JobError(f"The settings {path} cannot be read: {error}.", "Name a JSON file.") from error
    return settings_from_json(text)
