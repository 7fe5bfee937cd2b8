"""A job as an Open Job Description bundle: the template, its parameters' values, the files it reads and writes.

The job travels inside the template, so that a task needs nothing of the machine it was submitted from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from penumbra.errors import OutputError, WeightsError
from penumbra.job import Job
from penumbra.read import files_of_clip, open_clean_plate, open_mask, open_plate
from penumbra.storage import atomic_path
from penumbra.tasks import TASK_STAGES
from penumbra.track import read_homographies

TEMPLATE, VALUES, ASSETS = "template.yaml", "parameter_values.yaml", "asset_references.yaml"
# How long a task may take to finish the frames it has begun before it is killed.
NOTICE_SECONDS = 120
_DESCRIPTIONS = {
    "prepare": "Camera, clean plate, and the clip as the network sees it",
    "refine": "Weights tuned to the shot where the job asks for it; every object's small layer",
    "frames": "Layers at plate resolution, written and read back",
    "finish": "All frames gathered and checked, previews, manifest",
}


@dataclass(frozen=True)
class BundleSettings:
    """``name``: of the job on the farm. ``chunk``: frames per task. ``gpu``: refining wants a machine with one.
    ``command``: what starts Penumbra on the farm's machines.
    """

    name: str
    chunk: int = 10
    gpu: bool = False
    command: str = "penumbra"


def write_bundle(job: Job, folder: Path, settings: BundleSettings) -> tuple[int, int]:
    """Writes the three files of a bundle into ``folder``; returns the frames of the job and the chunks of them.

    ``job``'s paths are absolute. All footage is opened, so that what a task would refuse is refused here. Raises a
    :class:`PenumbraError`.
    """
    frames, files = _look_at(job)
    bodies = {
        TEMPLATE: _template(job, frames, settings),
        VALUES: {"parameterValues": [{"name": "OutputFolder", "value": job.output.folder}]},
        ASSETS: _assets(job, files),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, body in bodies.items():
            with atomic_path(folder / name) as temporary:
                temporary.write_text(_yaml(body), encoding="utf-8", newline="\n")
    except OSError as error:
        raise OutputError(
            f"The bundle {folder} cannot be written: {error.strerror or error}.", "Choose another folder."
        ) from error
    return len(frames), -(-len(frames) // settings.chunk)


def _look_at(job: Job) -> tuple[tuple[int, ...], list[Path]]:
    """The plate's frames and every file that the job reads."""
    with open_plate(job.plate) as plate:
        footage = plate.footage
    files = files_of_clip(job.plate.path, footage.frames)
    for mask in job.masks:
        open_mask(mask, footage).close()
        files += files_of_clip(mask.path)
    if job.clean_plate is not None:
        open_clean_plate(job.clean_plate, footage).close()
        files += files_of_clip(job.clean_plate.path)
    if job.camera.path is not None:
        read_homographies(Path(job.camera.path), footage)
        files.append(Path(job.camera.path))
    if job.model.weights not in ("auto", "random"):
        files.append(_weights(Path(job.model.weights)))
    return footage.frames, sorted(set(files))


def _weights(path: Path) -> Path:
    if not path.is_file():
        raise WeightsError(f"There are no weights at {path}.", "Correct the job, or use auto.")
    return path


def _template(job: Job, frames: tuple[int, ...], settings: BundleSettings) -> dict[str, Any]:
    """The job template: one step a task, each after all those before it."""
    return {
        "specificationVersion": "jobtemplate-2023-09",
        "extensions": ["TASK_CHUNKING"],
        "name": f"Penumbra {settings.name}".replace("{{", "{ {").replace("}}", "} }")[:128],
        "parameterDefinitions": _parameters(frames, settings),
        "steps": [_step(job, name, settings.gpu) for name in TASK_STAGES],
    }


def _parameters(frames: tuple[int, ...], settings: BundleSettings) -> list[dict[str, Any]]:
    return [
        {
            "name": "OutputFolder",
            "type": "PATH",
            "objectType": "DIRECTORY",
            "dataFlow": "OUT",
            "description": "Where the layers are written; tasks hand their results on in it",
        },
        {
            "name": "Frames",
            "type": "STRING",
            "default": f"{frames[0]}-{frames[-1]}",
            "description": "The job's frames; fewer only to render some of them first",
        },
        {
            "name": "ChunkSize",
            "type": "INT",
            "default": settings.chunk,
            "minValue": 1,
            "description": "Frames per task",
        },
        {
            "name": "Penumbra",
            "type": "STRING",
            "default": settings.command,
            "description": "The command that starts Penumbra on the farm's machines",
        },
    ]


def _step(job: Job, task: str, gpu: bool) -> dict[str, Any]:
    """A step of a task or, of frames, of one task a chunk. It depends on all before it, not on the last alone: where
    outputs are carried from machine to machine, they are carried along these lines.
    """
    earlier = list(TASK_STAGES)[: list(TASK_STAGES).index(task)]
    step: dict[str, Any] = {"name": task.capitalize(), "description": _DESCRIPTIONS[task]}
    if earlier:
        step["dependencies"] = [{"dependsOn": name.capitalize()} for name in earlier]
    if task == "refine" and gpu:
        step["hostRequirements"] = {"amounts": [{"name": "amount.worker.gpu", "min": 1}]}
    if task == "frames":
        chunks = {"defaultTaskCount": "{{Param.ChunkSize}}", "rangeConstraint": "CONTIGUOUS"}
        frame = {"name": "Frame", "type": "CHUNK[INT]", "range": "{{Param.Frames}}", "chunks": chunks}
        step["parameterSpace"] = {"taskParameterDefinitions": [frame]}
    return {**step, "script": _script(job, task)}


def _script(job: Job, task: str) -> dict[str, Any]:
    arguments = ["decompose", "--job", "{{Task.File.Job}}", "--output", "{{RawParam.OutputFolder}}"]
    arguments += ["--path-mapping", "{{Session.PathMappingRulesFile}}", "--progress", "openjd", "--stage", task]
    arguments += ["--frames", "{{Task.Param.Frame}}"] if task == "frames" else []
    cancelation = {"mode": "NOTIFY_THEN_TERMINATE", "notifyPeriodInSeconds": NOTICE_SECONDS}
    embedded = {"name": "Job", "type": "TEXT", "filename": "job.json", "data": _literal(job.to_json())}
    return {
        "embeddedFiles": [embedded],
        "actions": {"onRun": {"command": "{{Param.Penumbra}}", "args": arguments, "cancelation": cancelation}},
    }


def _assets(job: Job, files: list[Path]) -> dict[str, Any]:
    inputs = {"filenames": [str(path) for path in files], "directories": []}
    outputs = {"directories": [job.output.folder]}
    return {"assetReferences": {"inputs": inputs, "outputs": outputs, "referencedPaths": []}}


def _literal(text: str) -> str:
    """JSON none of whose strings is taken for an expression of the template: it can spell a brace in another way."""
    return text.replace("{{", "{\\u007b").replace("}}", "}\\u007d")


class _Dumper(yaml.SafeDumper):  # type: ignore[misc] # PyYAML comes without types
    """Blocks for texts of several lines; everything spelled out where it stands."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _yaml(body: dict[str, Any]) -> str:
    return str(yaml.dump(body, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
