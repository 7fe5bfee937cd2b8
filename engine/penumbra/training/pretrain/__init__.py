"""Pretraining: the coordination game on rendered scenes and clips on disk, resumable to the step.

A run is a folder: ``settings.json``, ``checkpoint.pt`` (weights, their running mean, optimiser, step),
``ema.safetensors`` (the running mean in float16, ready to ship), ``best.safetensors`` (the same where it evaluated best
in the last stage), ``log.jsonl`` and TensorBoard's ``board``. Every random choice of a step depends on the seed and the
step's number alone, so a run that was killed goes on as if it had not been.
"""

from penumbra.training.pretrain.checkpoint import kept_settings, read_settings
from penumbra.training.pretrain.presets import PRESET_NAMES, preset
from penumbra.training.pretrain.run import pretrain
from penumbra.training.pretrain.settings import PretrainSettings, Stage, settings_from_json
from penumbra.training.pretrain.trainer import DivergedError, Trainer

__all__ = [
    "PRESET_NAMES",
    "DivergedError",
    "PretrainSettings",
    "Stage",
    "Trainer",
    "kept_settings",
    "preset",
    "pretrain",
    "read_settings",
    "settings_from_json",
]
