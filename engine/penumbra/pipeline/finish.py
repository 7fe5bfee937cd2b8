"""The end of a job: previews, composites for hosts, and the manifest."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from penumbra import __version__
from penumbra.errors import FootageError, RecompositionError
from penumbra.frames import Footage
from penumbra.journal import WORK_FOLDER
from penumbra.layer_graph import layer_graph, portable_path
from penumbra.lock import hold
from penumbra.pipeline.scratch import PICTURES, tidy
from penumbra.pipeline.shot import Shot
from penumbra.read import sequence_pattern
from penumbra.track import CameraTrack
from penumbra.write import COMPOSITES, load_manifest, preview_paths, write_composites, write_manifest, write_previews


def finish(shot: Shot, camera: CameraTrack, weights: dict[str, Any]) -> None:
    """Previews, the manifest, and the end of the work folder's large files.

    Raises :class:`RecompositionError` where frames are outside the bound; all files are there then.
    """
    report, journal, output = shot.report, shot.journal, shot.output
    _draw_previews(shot)
    report.close_stage()
    manifest = _manifest(shot, camera, weights)
    _tell_hosts(shot, manifest)
    write_manifest(output, manifest)
    outside = [number for number, entry in sorted(journal.frames.items()) if not entry["within_bound"]]
    journal.put("finished", not outside)
    if outside:
        raise RecompositionError(
            f"{len(outside)} frames, the first {outside[0]}, do not recompose to the plate within the bound.",
            "See manifest.json for the errors, and report this with the job file.",
        )
    tidy(journal)


def restore(shot: Shot) -> None:
    """Makes what a finished job's folder lacks beside its layers: lost since, or not asked for then."""
    _draw_previews(shot)
    shot.report.close_stage()
    if not all((shot.output / name).is_file() for name in COMPOSITES):
        _tell_hosts(shot, load_manifest(shot.output))


def _draw_previews(shot: Shot) -> None:
    if not shot.job.output.previews:
        return
    report, journal, job, output = shot.report, shot.journal, shot.job, shot.output
    there = journal.get("previews") and all(path.is_file() for path in preview_paths(output))
    if there and journal.get("finished"):
        return
    report.stage("previews", "Drawing the previews")
    if not there:
        write_previews(
            output, shot.footage, job.names, job.order_at, shot.plate.read, report.step, report.should_stop,
            journal.work / PICTURES,
        )  # fmt: skip
        journal.put("previews", True)


def _tell_hosts(shot: Shot, manifest: dict[str, Any]) -> None:
    """Writes what hosts open."""
    # Paths of another system mean nothing to this one: `penumbra composites` puts them right where they do.
    author = shot.named if Path(shot.named.output.folder).is_absolute() else shot.job
    pattern = _plate_pattern(shot.job.plate.path, author.plate.path, Path(author.output.folder))
    write_composites(shot.output, layer_graph(manifest, pattern), Path(author.output.folder))


def _manifest(shot: Shot, camera: CameraTrack, weights: dict[str, Any]) -> dict[str, Any]:
    """What was made, from what, with what, and how well it recomposes; paths as the job's author knows them."""
    job, footage, entries = shot.named, shot.footage, shot.journal.frames
    return {
        "engine": __version__,
        "job": job.to_dict(),
        "plate": {**_footage_facts(footage), "path": job.plate.path},
        "objects": [
            {"name": mask.name, "mask": mask.path, "missing_frames": list(reader.missing)}
            for mask, reader in zip(job.masks, shot.masks, strict=True)
        ],
        "order": {str(number): list(job.order_at(number)) for number in footage.frames},
        "weights": weights,
        "camera": {"mode": job.camera.mode, "locked": camera.locked, "homographies": camera.to_dict()},
        "clean_plate": {
            "own": job.clean_plate.path if job.clean_plate else None,
            "never_seen_share": shot.journal.get("never_seen_share"),
            "misfit": shot.journal.get("misfit"),
        },
        "working_size": list(shot.small.size),
        "noise": shot.journal.get("prepared")["noise"],
        "provider": shot.journal.get("low")["provider"],
        "provider_line": shot.journal.get("low").get("provider_line"),
        "reconstruction_error": shot.journal.get("low").get("reconstruction"),
        "frames": {str(number): entry for number, entry in sorted(entries.items())},
        "warnings": list(shot.report.warnings),
        "seconds": shot.journal.seconds(shot.report.seconds),
    }


def _footage_facts(footage: Footage) -> dict[str, Any]:
    """A plate's facts as plain JSON values."""
    display, canvas = footage.display, footage.canvas
    return {
        "path": footage.path,
        "frames": f"{footage.frames[0]}-{footage.frames[-1]}",
        "padding": footage.padding,
        "size": [display.width, display.height],
        "display_window": [display.x, display.y, display.width, display.height],
        "canvas": [canvas.x, canvas.y, canvas.width, canvas.height],
        "pixel_aspect": footage.pixel_aspect,
        "fps": None if footage.fps is None else str(footage.fps),
        "timecode": footage.timecode,
        "source_space": footage.source_space,
        "space": footage.space.name,
    }


def rewrite_composites(folder: Path) -> None:
    """Makes what hosts open fit for where a finished folder lies now; raises :class:`OutputError`.

    The plate is looked for where it lies as seen from the folder, then where it lay; else it is left out.
    """
    manifest, plate = load_manifest(folder), None
    for path in _places_of_plate(manifest, folder):
        with suppress(FootageError):
            plate = _plate_pattern(path, path, folder)
            break
    with hold(folder / WORK_FOLDER):
        write_composites(folder, layer_graph(manifest, plate))


def _places_of_plate(manifest: dict[str, Any], folder: Path) -> list[str]:
    try:
        path, before = str(manifest["job"]["plate"]["path"]), manifest["job"].get("output", {}).get("folder", "/")
    except (AttributeError, KeyError, TypeError):
        return []
    beside = portable_path(path, Path(str(before)))
    return [path] if Path(beside).is_absolute() else [os.path.normpath(folder / beside), path]


def _plate_pattern(plate: str, named: str, output: Path) -> str | None:
    """The plate's files as hosts name them, where it is called ``named`` and the folder of the layers ``output``.

    None for a movie, which hosts decode in their own ways.
    """
    pattern = sequence_pattern(plate)
    if pattern is None:
        return None
    folder = Path(named) if Path(plate).is_dir() else Path(named).parent
    return portable_path(str(folder / Path(pattern).name), output)
