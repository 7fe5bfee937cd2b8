"""A contact sheet to look scenes over: pictures, masks and the truth behind them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from penumbra.compositing import CHANGE_THRESHOLD
from penumbra.errors import OutputError
from penumbra.storage import atomic_path
from penumbra.training.scenes.rendering import RenderedClips

_GAP = 2
_LIGHT = 0.85


def write_sheet(rows: list[Tensor], path: Path) -> None:
    """Rows of pictures (N, 3, H, W) in [0, 1] as one PNG, shorter rows filled up; raises :class:`OutputError`."""
    longest = max(len(row) for row in rows)
    full = [functional.pad(row, (0, 0, 0, 0, 0, 0, 0, longest - len(row)), value=_LIGHT) for row in rows]
    framed = [functional.pad(row, (_GAP, _GAP, _GAP, _GAP), value=_LIGHT) for row in full]
    sheet = torch.cat([torch.cat(list(row), -1) for row in framed], -2)
    image = (sheet.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()[..., ::-1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            if not cv2.imwrite(str(temporary), np.ascontiguousarray(image)):
                raise OSError(5, "the image could not be encoded or stored")
    except (OSError, cv2.error) as error:
        raise OutputError(
            f"The contact sheet {path} cannot be written: {error}.", "Choose a writable folder and a .png name."
        ) from error


def sheet_row(clips: RenderedClips, index: int = 0, frames: int = 3, solo: Tensor | None = None) -> Tensor:
    """The row (N, 3, H, W) of one clip: ``frames`` of its frames, the masks in colours, the background, true effects.

    ``solo`` (B, T, K, 3, H, W): renders of each object alone. An effect is shown where such a render differs from the
    background, over the render dimmed; without ``solo`` those pictures are left out.
    """
    count = clips.frames.shape[1]
    shown = np.linspace(0, count - 1, frames).round().astype(int).tolist()
    middle = shown[len(shown) // 2]
    device = clips.frames.device
    tints = torch.tensor([[1, 0.3, 0.2], [0.2, 0.6, 1], [0.3, 0.9, 0.3], [1, 0.9, 0.2]], device=device)
    masks = torch.einsum("khw,kc->chw", clips.masks[index, middle], tints[: clips.masks.shape[2]])
    background = clips.background[index, middle]
    cells = [*clips.frames[index, shown], masks, background]
    for k, alone in enumerate([] if solo is None else solo[index, middle]):
        effect = (((alone - background) * 255).square().sum(0) > CHANGE_THRESHOLD).float()
        cells.append(alone * 0.5 + 0.5 * effect * tints[k][:, None, None])
    return torch.stack(cells)
