"""A contact sheet to look scenes over."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from penumbra.errors import OutputError
from penumbra.training.scenes.rendering import RenderedClips


def write_contact_sheet(clips: RenderedClips, path: Path, frames: int = 4) -> None:
    """One row a clip: some of its frames, their masks in colours, the background."""
    steps = np.linspace(0, clips.frames.shape[1] - 1, frames).astype(int).tolist()
    tints = torch.tensor([[1, 0.3, 0.2], [0.2, 0.6, 1], [0.3, 0.9, 0.3], [1, 0.9, 0.2]])
    objects = clips.masks.shape[2]
    coloured = torch.einsum("btkhw,kc->btchw", clips.masks, tints[:objects])
    cells = torch.cat([clips.frames[:, steps], coloured[:, steps[:1]], clips.background[:, :1]], 1)
    sheet = torch.cat(list(torch.cat(list(cells.permute(1, 0, 2, 3, 4)), -1)), -2)
    image = (sheet.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.ascontiguousarray(image)):
        raise OutputError(f"The contact sheet {path} cannot be written.", "Choose a writable folder and a .png name.")
