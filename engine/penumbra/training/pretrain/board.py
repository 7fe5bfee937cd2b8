"""What a run tells: lines of JSON, and TensorBoard's figures and pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from penumbra.network import LayerNetwork, composite
from penumbra.training.scoring import TruthClip, predict_layers

_log = logging.getLogger(__name__)
_LOSSES = ("loss", "recon", "alpha_l0", "alpha_l1", "mask")
_EVALUATION = ("effect_iou", "mask_iou", "outside_iou")


class Board:
    """Writes ``log.jsonl`` and, where TensorBoard is installed and wanted, its files below ``run/board``."""

    def __init__(
        self, run: Path, step: int, pictures: bool, on_log: Callable[[dict[str, float]], None] | None = None
    ) -> None:
        self._log_file, self._on_log = run / "log.jsonl", on_log
        self._writer = _writer(run / "board", step) if pictures else None

    def record(self, step: int, figures: dict[str, float]) -> None:
        """Tells the figures of a step."""
        rounded = {"step": step, **{name: round(value, 6) for name, value in figures.items()}}
        with self._log_file.open("a", encoding="utf-8") as log:
            log.write(json.dumps(rounded) + "\n")
        _log.info("%s", rounded)
        if self._on_log:
            self._on_log(rounded)
        if self._writer:
            for name, value in figures.items():
                self._writer.add_scalar(_tag(name), value, step)

    def show(self, step: int, network: LayerNetwork, clips: list[TruthClip]) -> None:
        """A row for each clip's middle frame: frame, masks, every layer over a checkerboard, recomposed, truth."""
        if self._writer:
            for clip in clips:
                self._writer.add_image(f"layers/{clip.name}", layers_row(network, clip), step)
            self._writer.flush()

    def close(self) -> None:
        """Writes out what is pending."""
        if self._writer:
            self._writer.close()


def layers_row(network: LayerNetwork, clip: TruthClip) -> Tensor:
    """(3, H, (3 + 2 K) W) in [0, 1]: frame, masks, K layers over a checkerboard, recomposed, K true solo renders."""
    middle = len(clip.frames) // 2
    layers = predict_layers(network, clip)[middle]
    board = _checkerboard(*clip.frames.shape[-2:]).to(layers.device)
    masks = torch.einsum("khw,kc->chw", clip.masks[middle], _tints(len(layers)).to(layers.device))
    over = [layer[:3] * layer[3:] + board * (1 - layer[3:]) for layer in layers]
    rgba = layers.transpose(0, 1)[None, :, :, None] * 2 - 1
    recomposed = composite(rgba, clip.background[middle][None, :, None] * 2 - 1)[0, :, 0] * 0.5 + 0.5
    row = [clip.frames[middle], masks, *over, recomposed, *clip.solo[middle]]
    return torch.cat(row, -1).clamp(0, 1).cpu()


def _tag(name: str) -> str:
    if name in _LOSSES:
        return f"loss/{name}"
    return f"evaluation/{name}" if name in _EVALUATION else f"run/{name}"


def _checkerboard(height: int, width: int) -> Tensor:
    rows, columns = torch.arange(height)[:, None] // 8, torch.arange(width)[None] // 8
    return torch.where((rows + columns) % 2 == 0, 0.55, 0.35).expand(3, -1, -1)


def _tints(count: int) -> Tensor:
    return torch.tensor([[1, 0.3, 0.2], [0.2, 0.6, 1], [0.3, 0.9, 0.3], [1, 0.9, 0.2]])[torch.arange(count) % 4]


def _writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        _log.warning("TensorBoard is not installed: figures go to log.jsonl alone.")
        return None
    # What a killed run told after its last checkpoint is told again.
    return SummaryWriter(str(folder), purge_step=step or None)
