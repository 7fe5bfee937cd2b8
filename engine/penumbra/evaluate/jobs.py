"""The jobs that take clips with ground truth apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from penumbra.evaluate.truth import Truth
from penumbra.job import Job, MaskSettings, ModelSettings, OrderSettings, OutputSettings, PlateSettings, RefineSettings
from penumbra.storage import atomic_path


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
