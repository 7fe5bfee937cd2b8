"""A rendered clip on disk whose answer is known: the Kubric layout with ground truth."""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import asdict, dataclass
from dataclasses import replace as changed_settings
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from penumbra.errors import OutputError
from penumbra.training.scenes import (
    EffectKind,
    RenderedClips,
    Scenes,
    SceneSettings,
    render,
    render_solo,
    sample_scenes,
)
from penumbra.training.scoring import changed

_MADE_BY = "penumbra synth"
_CANDIDATES = 8
_PREVIEW_LINES = 48
_PREVIEW_FRAMES = 5


@dataclass(frozen=True)
class _Truth:
    """Renders of each object alone (K, T, 3, H, W), its silhouettes (K, T, H, W) and effect regions (K, T, H, W)."""

    solo: torch.Tensor
    amodal: torch.Tensor
    effects: torch.Tensor


def write_sample(
    folder: Path,
    seed: int,
    frames: int = 20,
    height: int = 128,
    width: int = 128,
    objects: int = 2,
    version: int = 1,
    kind: EffectKind = "shadows",
    pan: bool = False,
    water: bool = False,
    replace: bool = False,
) -> None:
    """Writes a clip of ``objects`` moving objects with shadows and reflections, and the truth behind it.

    Version 1 is a clean render; version 2 has grain, drifting exposure, a patch of background that moves by itself and
    imperfect masks (written as grey levels). ``water`` runs up a shore and back. The files: ``rgba_00000.png`` (sRGB),
    ``mask0_00000.png``, ``bg.png`` (or ``bg_00000.png`` per frame where the background changes), ``bg_est.png`` (median
    over frames of pixels outside the masks), ``order.txt``, ``gt/mask0_*.png`` (effect regions by the authors'
    threshold), ``solo/obj0_*.png``, ``amodal/obj0_*.png``, ``meta.json``. The folder is whole or not there; raises
    :class:`OutputError` when it holds anything, unless ``replace`` is given and what it holds is an earlier sample.
    """
    _check_free(folder, replace)
    rough = version == 2
    settings = SceneSettings(
        height, width, frames, objects, kind, version,
        pan=pan, grain=rough, drift=rough, patch=rough, rough_masks=rough, water=water,
    )  # fmt: skip
    scenes = _telling_scene(settings, seed)
    clips = render(scenes, height, width)
    temporary = folder.absolute().with_name(f".penumbra-tmp-{uuid.uuid4().hex[:12]}")
    try:
        _write_all(temporary, scenes, clips, _truth(scenes, clips), {"seed": seed, **asdict(settings)})
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}.", "Choose another folder.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_free(folder: Path, replace: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file.", "Choose a folder.")
    if not any(folder.iterdir()):
        return
    if not replace:
        raise OutputError(f"The folder {folder} is not empty.", "Choose another folder, or use --replace.")
    meta = folder / "meta.json"
    if not (meta.is_file() and _MADE_BY in meta.read_text(encoding="utf-8", errors="replace")):
        raise OutputError(f"The folder {folder} holds something else than a sample.", "Choose another folder.")


def _telling_scene(settings: SceneSettings, seed: int) -> Scenes:
    """Of a seed's first scenes the one that shows most.

    Every object is in view, with effects beyond its mask, and moves far enough for the median to find the background.
    """
    preview = changed_settings(settings, frames=min(settings.frames, _PREVIEW_FRAMES), grain=False, rough_masks=False)
    worths = [_worth(sample_scenes(preview, seed, 1, index), settings) for index in range(_CANDIDATES)]
    return sample_scenes(settings, seed, 1, int(np.argmax(worths)))


def _worth(scenes: Scenes, settings: SceneSettings) -> float:
    width = max(16, round(_PREVIEW_LINES * settings.width / settings.height))
    clips = render(scenes, _PREVIEW_LINES, width)
    masks = clips.masks[0].transpose(0, 1) > 0.5
    seen = masks.float().mean((1, 2, 3))
    beyond = (_truth(scenes, clips).effects & ~masks).float().mean((1, 2, 3))
    estimate = masked_median(clips.frames[0], clips.masks[0])
    # Water and a flickering patch are not the median's fault.
    wrong = changed(estimate, clips.background[0].median(0).values).float().mean()
    return float((seen.clamp_max(0.03) + beyond.clamp_max(0.03)).min() - 2 * wrong)


def _truth(scenes: Scenes, clips: RenderedClips) -> _Truth:
    height, width = clips.frames.shape[-2:]
    each = [render_solo(scenes, k, height, width) for k in range(clips.masks.shape[2])]
    solo = torch.stack([frames[0] for frames, _ in each])
    amodal = torch.stack([silhouettes[0] for _, silhouettes in each])
    return _Truth(solo, amodal, changed(solo, clips.background[0]))


def _write_all(folder: Path, scenes: Scenes, clips: RenderedClips, truth: _Truth, about: dict[str, object]) -> None:
    for name in ("gt", "solo", "amodal"):
        (folder / name).mkdir(parents=True)
    frames, masks, background = clips.frames[0], clips.masks[0], clips.background[0]
    steady = bool((background == background[:1]).all())
    for t in range(len(frames)):
        _write(folder / f"rgba_{t:05d}.png", frames[t])
        if not steady:
            _write(folder / f"bg_{t:05d}.png", background[t])
        for k in range(masks.shape[1]):
            _write(folder / f"mask{k}_{t:05d}.png", masks[t, k])
            _write(folder / "gt" / f"mask{k}_{t:05d}.png", truth.effects[k, t].float())
            _write(folder / "solo" / f"obj{k}_{t:05d}.png", truth.solo[k, t])
            _write(folder / "amodal" / f"obj{k}_{t:05d}.png", truth.amodal[k, t])
    if steady:
        _write(folder / "bg.png", background[0])
    _write(folder / "bg_est.png", masked_median(frames, masks))
    lines = [" ".join(str(k) for k in row) for row in clips.order[0].tolist()]
    (folder / "order.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    meta = {"made_by": _MADE_BY, **about, **_camera(scenes, frames.shape[-2], frames.shape[-1])}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def masked_median(frames: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """The median over frames (T, 3, H, W) of pixels outside all masks (T, K, H, W): (3, H, W).

    Pixels that are never outside get the median of all frames.
    """
    outside = ~(masks > 0).any(1, keepdim=True)
    median = torch.where(outside, frames, torch.nan).nanmedian(0).values
    return torch.where(median.isnan(), frames.median(0).values, median)


def _camera(scenes: Scenes, height: int, width: int) -> dict[str, object]:
    focal = float(scenes.focal[0]) * height
    return {
        "camera_K": [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]],
        "camera_position": scenes.eye[0].tolist(),
        "camera_R_cam_to_world": scenes.view[0].tolist(),
        "camera_note": "R columns: right, down, forward; K in pixels, y down, pixel centres at +0.5",
        "direction_to_sun": scenes.sun[0].tolist(),
    }


def _write(path: Path, image: torch.Tensor) -> None:
    """(3, H, W) or (H, W) in [0, 1] as an 8-bit PNG."""
    levels: NDArray[np.uint8] = (image.clamp(0, 1) * 255).round().byte().numpy()
    shown = levels if levels.ndim == 2 else np.ascontiguousarray(levels.transpose(1, 2, 0)[..., ::-1])
    if not cv2.imwrite(str(path), shown):
        raise OSError(5, "an image could not be encoded or stored", str(path))
