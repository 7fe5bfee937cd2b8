"""The scenes training sees, to look at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from penumbra.errors import JobError
from penumbra.training.scene_pool import PoolSettings, group_scenes
from penumbra.training.scenes import render, render_solo, sample_scenes, sheet_row, write_sheet

_MOST = 200


def write_scene_sheet(path: Path, pool: PoolSettings, seed: int, count: int, fixed: dict[str, Any]) -> None:
    """A row for each of ``count`` scenes as the pool mixes them, except for what is ``fixed`` in their settings.

    Columns: three frames, masks, background, and each object's true effects. Raises :class:`JobError` for impossible
    settings and :class:`OutputError` when the file cannot be written.
    """
    if not 1 <= count <= _MOST:
        raise JobError(f"A sheet of {count} scenes is impossible.", f"Choose 1 to {_MOST}.")
    rows = []
    for index in range(count):
        settings = replace(group_scenes(pool, seed, index), **fixed)
        scenes = sample_scenes(settings, seed, 1, index)
        clips = render(scenes, settings.height, settings.width)
        solo = [render_solo(scenes, k, settings.height, settings.width)[0] for k in range(settings.objects)]
        rows.append(sheet_row(clips, solo=torch.stack(solo, 2)))
    write_sheet(rows, path)
