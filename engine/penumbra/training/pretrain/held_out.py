"""Scenes that no run trains on, to see how a network does."""

from __future__ import annotations

import torch

from penumbra.network import LayerNetwork
from penumbra.training.scenes import KINDS, SceneSettings, render, render_solo, sample_scenes
from penumbra.training.scoring import EffectScore, TruthClip, mean_score, predict_layers, score_layers
from penumbra.training.window_batches import WINDOW

_HELD_OUT_SEED = 900_001


def held_out_clips(height: int = 64, width: int = 64, clips: int = 3, device: str = "cpu") -> list[TruthClip]:
    """A fixed set of scenes that no run trains on: every kind and version, ``clips`` of each."""
    found = []
    for version in (1, 2):
        for kind in KINDS:
            settings = SceneSettings(height, width, WINDOW, 2 if version == 1 else 3, kind, version, span=0.6)
            scenes = sample_scenes(settings, _HELD_OUT_SEED, clips).to(device)
            rendered = render(scenes, height, width)
            solo = torch.stack([render_solo(scenes, k, height, width)[0] for k in range(settings.objects)], 2)
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
