"""How good layers are, against clips whose truth is known (Kubric layout, as ``penumbra synth`` writes them)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from penumbra.color import FloatArray, srgb_decode, srgb_encode
from penumbra.compositing import over
from penumbra.errors import FootageNotFoundError, OutputError, UnreadableError
from penumbra.events import OnEvent
from penumbra.frames import BoolArray, Region
from penumbra.job import Job, MaskSettings, ModelSettings, OrderSettings, OutputSettings, PlateSettings, RefineSettings
from penumbra.pipeline import run
from penumbra.storage import atomic_path
from penumbra.write import load_manifest
from penumbra.write.exr import read_exr

# The authors' threshold: sum over RGB of squared differences in 8-bit units.
CHANGE_THRESHOLD = 63.75
LEAST_PIXELS = 8
CLAIMED_COVERAGE = 0.1
STATIC_DIFFERENCE = 1.5 / 255


@dataclass(frozen=True)
class Truth:
    """A clip with ground truth on disk: frame numbers, object names, and the order back to front per frame."""

    folder: Path
    numbers: tuple[int, ...]
    names: tuple[str, ...]
    order: tuple[tuple[int, ...], ...]

    @classmethod
    def open(cls, folder: Path) -> Truth:
        """Raises :class:`FootageNotFoundError` where the folder holds no such clip."""
        found = sorted(int(path.stem.split("_")[1]) for path in folder.glob("rgba_*.png"))
        objects = len(list(folder.glob(f"mask*_{found[0]:05d}.png"))) if found else 0
        if not objects or not (folder / "gt").is_dir() or not (folder / "order.txt").is_file():
            raise FootageNotFoundError(
                f"{folder} is no clip with ground truth.", "It needs rgba_*, mask*_*, order.txt and gt/."
            )
        lines = [line for line in (folder / "order.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
        order = tuple(tuple(int(word) for word in line.split()) for line in lines)
        return cls(folder, tuple(found), tuple(f"obj{i}" for i in range(objects)), order)

    def image(self, name: str) -> FloatArray:
        """An RGB image of the clip, H x W x 3 in [0, 1] as stored."""
        path = self.folder / name
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise UnreadableError(f"{path} cannot be read.")
        return np.asarray(pixels[..., ::-1], np.float32) / np.float32(255)

    def matte(self, name: str) -> BoolArray:
        """A mask of the clip, H x W."""
        inside: BoolArray = self.image(name)[..., 0] > 0.5
        return inside

    def background(self, number: int) -> FloatArray:
        """The true clean plate, one for all frames or one per frame."""
        still = (self.folder / "bg.png").exists()
        return self.image("bg.png" if still else f"bg_{number:05d}.png")


@dataclass
class _Tally:
    """Figures gathered over frames and objects."""

    rows: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    largest: float = 0.0

    def mean(self, name: str) -> float | None:
        return round(float(np.mean(self.rows[name])), 4) if self.rows[name] else None


def score(folder: Path, output: Path) -> dict[str, Any]:
    """Figures of the layers in ``output`` against the clip in ``folder``; objects are called obj0, obj1, ...

    ``effect_iou``: the authors' metric, intersection over union of the changed regions; ``mask_iou`` the same of the
    input mask alone; ``outside_iou`` outside all masks; ``misplaced``: share of other objects' effect-only pixels with
    coverage above 0.1; ``solo_psnr`` and ``removal_psnr`` in dB, the layer over the true background against the object
    alone, and the plate without the object against the truth without it where two objects make that known;
    ``recomposition_max``; ``flicker``: mean change of alpha where plate and truth stand still.
    """
    truth = Truth.open(folder)
    written = load_manifest(output).get("order", {})
    tally, before = _Tally(), None
    for index, number in enumerate(truth.numbers):
        order = [truth.names.index(name) for name in written.get(str(number), ())] or list(truth.order[index])
        before = _score_frame(truth, output, number, order, tally, before)
    names = ("effect_iou", "mask_iou", "outside_iou", "misplaced", "solo_psnr", "removal_psnr")
    flicker = float(np.mean(tally.rows["flicker"])) if tally.rows["flicker"] else None
    return {
        **{name: tally.mean(name) for name in names},
        "recomposition_max": round(tally.largest, 6),
        "flicker": None if flicker is None else round(flicker, 6),
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
    layers = [read_exr(_layer_path(output, name, number), ("R", "G", "B", "A"), region) for name in truth.names]
    clean = read_exr(_layer_path(output, "background", number), ("R", "G", "B"), region)
    outside = ~np.any(masks, axis=0)
    for i, layer in enumerate(layers):
        _score_layer(truth, number, i, layer, background, masks[i], effects, outside, tally)
    tally.largest = max(tally.largest, float(np.abs(_stacked(layers, order, clean) - srgb_decode(plate)).max()))
    if count == 2:
        for i in range(count):
            rest = _stacked(layers, [j for j in order if j != i], clean)
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
    tally.rows["effect_iou"].append(_iou(got, own))
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


def _stacked(layers: list[FloatArray], order: list[int], clean: FloatArray) -> FloatArray:
    result = clean
    for index in order:
        result = over(layers[index], result)
    return result


def _shown(linear: FloatArray) -> FloatArray:
    return srgb_encode(np.clip(linear, 0, 1))


def _iou(left: BoolArray, right: BoolArray) -> float:
    union = int((left | right).sum())
    return float((left & right).sum() / union) if union else 1.0


def _psnr(left: FloatArray, right: FloatArray) -> float:
    return float(10 * np.log10(1 / max(float(((left - right) ** 2).mean()), 1e-10)))


def _layer_path(output: Path, name: str, number: int) -> Path:
    for path in (output / name).glob(f"{name}.*.exr"):
        if re.fullmatch(r"-?\d+", path.stem.rpartition(".")[2]) and int(path.stem.rpartition(".")[2]) == number:
            return path
    raise OutputError(f"{output / name} has no layer of frame {number}.", "Run decompose again with --resume.")


def job_for(folder: Path, output: Path, refine: RefineSettings, model: ModelSettings, previews: bool = False) -> Job:
    """The job that takes a clip with ground truth apart, objects called obj0, obj1, ..., in its own order."""
    truth = Truth.open(folder)
    masks = tuple(MaskSettings(name, str(folder / f"mask{i}_%05d.png")) for i, name in enumerate(truth.names))
    order: list[OrderSettings] = []
    for number, row in zip(truth.numbers, truth.order, strict=True):
        names = tuple(truth.names[i] for i in row)
        if not order or order[-1].objects != names:
            order.append(OrderSettings(names, number))
    return Job(
        plate=PlateSettings(str(folder / "rgba_%05d.png")),
        masks=masks,
        output=OutputSettings(str(output), previews=previews, replace=True),
        order=tuple(order),
        refine=refine,
        model=model,
    )


def write_sample_job(folder: Path) -> Path:
    """Writes ``job.json`` into a clip with ground truth, everything relative to it, the layers going to ``layers``."""
    job = job_for(folder, Path("layers"), RefineSettings(), ModelSettings(), previews=True)
    masks = tuple(replace(mask, path=Path(mask.path).name) for mask in job.masks)
    plate = replace(job.plate, path=Path(job.plate.path).name)
    path = folder / "job.json"
    with atomic_path(path) as temporary:
        temporary.write_text(
            replace(job, plate=plate, masks=masks, output=replace(job.output, replace=False)).to_json(),
            encoding="utf-8",
        )
    return path


def evaluate(
    clips: Sequence[Path],
    output: Path,
    refinements: Sequence[RefineSettings],
    model: ModelSettings,
    on_event: OnEvent,
) -> list[dict[str, Any]]:
    """Decomposes every clip with every refinement into ``output`` and scores it: a row of figures each."""
    rows = []
    for clip in clips:
        for refine in refinements:
            folder = output / f"{clip.name}_{refine}"
            run(job_for(clip, folder, refine, model), on_event)
            rows.append({"clip": clip.name, "refine": str(refine), **score(clip, folder)})
    return rows
