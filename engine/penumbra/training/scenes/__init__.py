"""Procedural scenes: objects with shadows and reflections whose truth is known, rendered in batches by torch.

:class:`SceneSettings` say what kind of scenes, :func:`sample_scenes` draws them, :func:`render` makes the clips and
:func:`render_solo` the truth behind them.
"""

from penumbra.training.scenes.rendering import RenderedClips, render, render_solo
from penumbra.training.scenes.sampling import Scenes, sample_arrays, sample_scenes
from penumbra.training.scenes.settings import KINDS, EffectKind, SceneSettings
from penumbra.training.scenes.sheet import sheet_row, write_sheet

__all__ = [
    "KINDS",
    "EffectKind",
    "RenderedClips",
    "SceneSettings",
    "Scenes",
    "render",
    "render_solo",
    "sample_arrays",
    "sample_scenes",
    "sheet_row",
    "write_sheet",
]
