"""How good written layers are, against a clip whose truth is known."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from penumbra.color import FloatArray, srgb_decode, srgb_encode
from penumbra.compositing import CHANGE_THRESHOLD, over, over_all
from penumbra.errors import JobError, OutputError
from penumbra.evaluate.truth import Truth
from penumbra.frames import BoolArray, Region
from penumbra.write import load_manifest
from penumbra.write.exr import RGB, RGBA, read_exr

LEAST_PIXELS = 8
CLAIMED_COVERAGE = 0.1
STATIC_DIFFERENCE = 1.5 / 255


@dataclass
class _Tally:
    """Figures gathered over frames and objects."""

    rows: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    largest: float = 0.0

    def mean(self, name: str, digits: int = 4) -> float | None:
        return round(float(np.mean(self.rows[name])), digits) if self.rows[name] else None


def score(folder: Path, output: Path) -> dict[str, Any]:
    """Figures of the layers in ``output`` against the clip in ``folder``; objects are called obj0, obj1, ...

    ``effect_iou``: the authors' metric, intersection over union of the changed regions, over all objects and
    ``per_object``; ``mask_iou`` the same of the input mask alone; ``outside_iou`` outside all masks; ``misplaced``:
    share of other objects' effect-only pixels with coverage above 0.1; ``solo_psnr`` and ``removal_psnr`` in dB, the
    layer over the true background against the object alone, and the plate without the object against the truth without
    it where two objects make that known; ``reconstruction_error``: what the network's own layers leave unexplained, as
    the manifest says, None where no network made them; ``recomposition_max`` and ``recomposition_mean``: the written
    layers over the written clean plate against the plate, scene-linear; ``flicker``: mean change of alpha where plate
    and truth stand still.
    """
    truth, manifest = Truth.open(folder), load_manifest(output)
    written, tally, before = manifest.get("order", {}), _Tally(), None
    unknown = sorted({name for names in written.values() for name in names} - set(truth.names))
    missing = [name for name in truth.names if not (output / name).is_dir()]
    if missing:
        raise JobError(
            f"{output} has no layer {missing[0]}, which {folder} has an object for.",
            "Decompose the clip with a mask for each of its objects, obj0, obj1, ...",
        )
    if unknown:
        raise JobError(
            f"{output} has a layer {unknown[0]}, and the objects of {folder} are called {', '.join(truth.names)}.",
            "Decompose the clip with the masks named like that.",
        )
    for index, number in enumerate(truth.numbers):
        order = [truth.names.index(name) for name in written.get(str(number), ())] or list(truth.order[index])
        before = _score_frame(truth, output, number, order, tally, before)
    names = ("effect_iou", "mask_iou", "outside_iou", "misplaced", "solo_psnr", "removal_psnr")
    return {
        **{name: tally.mean(name) for name in names},
        "effect_iou_per_object": [tally.mean(f"effect_iou {i}") for i in range(len(truth.names))],
        "reconstruction_error": manifest.get("reconstruction_error"),
        "recomposition_max": round(tally.largest, 6),
        "recomposition_mean": tally.mean("recomposition", 7),
        "flicker": tally.mean("flicker", 6),
        "frames": len(truth.numbers),
    }


@dataclass(frozen=True)
class _Frame:
    plate: FloatArray
    layers: list[FloatArray]
    effects: list[BoolArray]


def _score_frame(
    truth: Truth, output: Path, number: int, order: list[int], tally: _Tally, before: _Frame | None
) -> _Frame:
    plate, background = truth.image(f"rgba_{number:05d}.png"), truth.background(number)
    count = len(truth.names)
    masks = [truth.matte(f"mask{i}_{number:05d}.png") for i in range(count)]
    effects = [truth.matte(f"gt/mask{i}_{number:05d}.png") for i in range(count)]
    region = Region(0, 0, plate.shape[1], plate.shape[0])
    layers = [read_exr(layer_path(output, name, number), RGBA, region) for name in truth.names]
    clean = read_exr(layer_path(output, "background", number), RGB, region)
    outside = ~np.any(masks, axis=0)
    for i, layer in enumerate(layers):
        _score_layer(truth, number, i, layer, background, masks[i], effects, outside, tally)
    difference = np.abs(over_all((layers[j] for j in order), clean) - srgb_decode(plate))
    tally.largest = max(tally.largest, float(difference.max()))
    tally.rows["recomposition"].append(float(difference.mean()))
    if count == 2:
        for i in range(count):
            rest = over_all((layers[j] for j in order if j != i), clean)
            tally.rows["removal_psnr"].append(_psnr(_shown(rest), truth.image(f"solo/obj{1 - i}_{number:05d}.png")))
    frame = _Frame(plate, layers, effects)
    if before is not None:
        _score_steadiness(before, frame, tally)
    return frame


def _score_layer(
    truth: Truth,
    number: int,
    index: int,
    layer: FloatArray,
    background: FloatArray,
    mask: BoolArray,
    effects: list[BoolArray],
    outside: BoolArray,
    tally: _Tally,
) -> None:
    shown = _shown(over(layer, srgb_decode(background)))
    got, own = changed(shown, background), effects[index]
    for name in ("effect_iou", f"effect_iou {index}"):
        tally.rows[name].append(_iou(got, own))
    tally.rows["mask_iou"].append(_iou(mask, own))
    if (own & outside).sum() >= LEAST_PIXELS:
        tally.rows["outside_iou"].append(_iou(got & outside, own & outside))
    others = [effect for i, effect in enumerate(effects) if i != index]
    foreign = np.any(others, axis=0) & ~own & outside if others else np.zeros_like(own)
    if foreign.sum() >= LEAST_PIXELS:
        tally.rows["misplaced"].append(float((layer[..., 3] > CLAIMED_COVERAGE)[foreign].mean()))
    tally.rows["solo_psnr"].append(_psnr(shown, truth.image(f"solo/obj{index}_{number:05d}.png")))


def _score_steadiness(before: _Frame, now: _Frame, tally: _Tally) -> None:
    still = np.abs(now.plate - before.plate).max(axis=-1) < STATIC_DIFFERENCE
    for i, layer in enumerate(now.layers):
        steady = still & ~(now.effects[i] ^ before.effects[i])
        if steady.any():
            tally.rows["flicker"].append(float(np.abs(layer[..., 3] - before.layers[i][..., 3])[steady].mean()))


def changed(image: FloatArray, background: FloatArray) -> BoolArray:
    """Where two sRGB images in [0, 1] differ by more than the authors' threshold: H x W."""
    difference: BoolArray = (((image - background) * 255) ** 2).sum(axis=-1) > CHANGE_THRESHOLD
    return difference


def _shown(linear: FloatArray) -> FloatArray:
    return srgb_encode(np.clip(linear, 0, 1))


def _iou(left: BoolArray, right: BoolArray) -> float:
    union = int((left | right).sum())
    return float((left & right).sum() / union) if union else 1.0


def _psnr(left: FloatArray, right: FloatArray) -> float:
    return float(10 * np.log10(1 / max(float(((left - right) ** 2).mean()), 1e-10)))


def layer_path(output: Path, name: str, number: int) -> Path:
    """The file of a layer, or of the background, at a frame, however many digits its number has."""
    for path in (output / name).glob(f"{name}.*.exr"):
        if re.fullmatch(r"-?\d+", path.stem.rpartition(".")[2]) and int(path.stem.rpartition(".")[2]) == number:
            return path
    raise OutputError(f"{output / name} has no layer of frame {number}.", "Run decompose again with --resume.")
