"""The order of things: read -> track -> clean plate -> [refine] -> decompose -> lift -> write -> verify.

The only module that knows it. Every stage leaves what it found in the work folder, so that a run stopped or killed
anywhere goes on from there and ends in the same bytes.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from penumbra import __version__
from penumbra.clean_plate import CleanPlate, build_clean_plate, load_clean_plate
from penumbra.color import DisplayEncoding, FloatArray
from penumbra.compositing import over_all, premultiply
from penumbra.contract import CONTRACT_KEY, ModelContract
from penumbra.decompose import LayerModels, decompose
from penumbra.errors import (
    EmptyMaskError,
    FootageError,
    JobError,
    OutOfMemoryError,
    OutputError,
    RecompositionError,
    TooShortError,
)
from penumbra.events import Event, OnEvent
from penumbra.frames import Footage, Mask, WorkingClip
from penumbra.job import Job
from penumbra.journal import Journal, job_digest
from penumbra.layer_graph import layer_graph, portable_path
from penumbra.lift import Noise, lift_frame, measure_noise, split_layer
from penumbra.lift.solve import Precision
from penumbra.read import (
    CleanPlateReader,
    MaskReader,
    PlateReader,
    open_clean_plate,
    open_mask,
    open_plate,
    sequence_pattern,
)
from penumbra.reporting import Reporter
from penumbra.track import CameraTrack, locked_camera, read_homographies, track_camera
from penumbra.working import SmallClip, measure_peak, working_clip, working_size
from penumbra.write import (
    FrameWriter,
    frame_entry,
    frame_path,
    keep_pictures,
    load_manifest,
    prepare_output,
    sketch_pictures,
    verify_frame,
    write_clean_frame,
    write_combined,
    write_composites,
    write_manifest,
    write_previews,
)

SHIPPED_WEIGHTS = Path(__file__).parent / "weights"
SOFTWARE = f"Penumbra {__version__}"
# Frames in flight: one is read while another is solved; each needs about 1.5 GB at 4K.
WORKERS = max(1, min(2, os.cpu_count() or 1))
NOISE_SAMPLES = 7
LEAST_FRAMES = 2
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PICTURES = "pictures"
# What the work folder need not keep once all layers are written.
SCRATCH = (
    "frames.npy", "masks.npy", "luma.npy", "occupied.npy", "encoded.npy", "background.npy", "valid.npy", "low.npy",
    "clean_plate", PICTURES,
)  # fmt: skip


@dataclass(frozen=True)
class Shot:
    """A job resolved against its footage: what every stage after `read` acts on."""

    job: Job
    plate: PlateReader
    masks: tuple[MaskReader, ...]
    clean: CleanPlateReader | None
    journal: Journal
    report: Reporter
    small: SmallClip

    @property
    def footage(self) -> Footage:
        """The plate's facts."""
        return self.plate.footage

    @property
    def order(self) -> NDArray[np.int64]:
        """(N, K) indices into the job's names, back to front."""
        names = self.job.names
        rows = [[names.index(name) for name in self.job.order_at(number)] for number in self.footage.frames]
        return np.array(rows, np.int64)

    def masks_at(self, number: int) -> list[Mask]:
        """Every object's mask at a frame."""
        return [mask.read(number) for mask in self.masks]

    def occupied_at(self, number: int) -> FloatArray:
        """The largest coverage of any mask at a frame."""
        return cast("FloatArray", np.maximum.reduce([mask.coverage for mask in self.masks_at(number)]))


class CleanSource:
    """The clean plate of each frame: built from the clip, or the user's own."""

    def __init__(self, shot: Shot, built: CleanPlate | None) -> None:
        self._shot, self._built = shot, built

    def __call__(self, index: int) -> tuple[FloatArray, FloatArray]:
        """Linear H x W x 3, and H x W where it was really seen, at frame ``index``."""
        if self._built is not None:
            return self._built.at(index)
        assert self._shot.clean is not None
        pixels = self._shot.clean.read(self._shot.footage.frames[index])
        return pixels, np.ones(pixels.shape[:2], np.float32)

    def restlessness(self, index: int) -> FloatArray | None:
        """H x W, how much the background moves by itself, in display units; None for the user's own clean plate."""
        return None if self._built is None else self._built.restlessness(index)


def run(job: Job, on_event: OnEvent, resume: bool = False, report: Reporter | None = None) -> Path:
    """Takes a shot apart; returns the manifest's path.

    ``job``'s paths are absolute (:meth:`Job.resolved`). Raises a :class:`PenumbraError`; then every file under its own
    name is whole, and the same call with ``resume`` goes on.
    """
    report = report or Reporter(on_event)
    try:
        with _open(job, report, resume) as shot:
            if shot.journal.get("finished") and _all_there(shot):
                return _tell_done(shot)
            _read(shot)
            camera = _track(shot)
            clean = _clean_plate(shot, camera)
            clip = _make_small(shot, clean)
            graphs, weights = _refine(shot, clip)
            low = _decompose(shot, clip, graphs)
            _lift_write_verify(shot, clip, clean, low)
            return _finish(shot, camera, weights)
    except MemoryError as error:
        raise OutOfMemoryError(
            "There is not enough memory for one frame of this plate.", "Close other programs, or use a larger machine."
        ) from error
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise OutputError(
            f"The disk of {job.output.folder} takes no more: {error.strerror}.", "Make room, then run with --resume."
        ) from error


@contextmanager
def _open(job: Job, report: Reporter, resume: bool) -> Iterator[Shot]:
    """Opens all footage, refusing what cannot work before anything is written."""
    report.stage("read", "Opening the footage")
    with ExitStack() as stack:
        plate = stack.enter_context(open_plate(job.plate))
        footage = plate.footage
        if len(footage.frames) < LEAST_FRAMES:
            raise TooShortError(
                f"{footage.path} has a single frame.", "Layers are found from motion: give a clip of several frames."
            )
        masks = tuple(stack.enter_context(open_mask(mask, footage)) for mask in job.masks)
        clean = stack.enter_context(open_clean_plate(job.clean_plate, footage)) if job.clean_plate else None
        for warning in (
            *plate.warnings,
            *(w for mask in masks for w in mask.warnings),
            *(clean.warnings if clean else ()),
        ):
            report.warn(warning)
        prepare_output(Path(job.output.folder))
        journal = Journal(Path(job.output.folder))
        folders = job.sequences
        journal.open(job_digest(job, _inputs(job)), folders, resume, job.output.replace)
        size = job.model.working_size or working_size(footage.canvas, *_trained_short_side(job))
        small = SmallClip(journal.work, len(footage.frames), len(masks), footage.canvas, size)
        yield Shot(job, plate, masks, clean, journal, report, small)


def _trained_short_side(job: Job) -> tuple[int, ...]:
    """The short side the job's weights were trained at; empty for random ones."""
    name = job.model.weights
    path = SHIPPED_WEIGHTS / "weights.safetensors" if name == "auto" else Path(name)
    if name == "random" or not path.is_file():
        return ()
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(CONTRACT_KEY, "")
    except SafetensorError:
        return ()  # whoever loads the weights says what is wrong with them
    contract = ModelContract.from_json(text)
    return (min(contract.height, contract.width),)


def _read(shot: Shot) -> None:
    """Every frame once: small versions to disk; refuses masks that are empty throughout."""
    if shot.journal.get("read") is None:
        shot.small.create()
        frames = shot.footage.frames

        def shrink_frame(index: int) -> tuple[list[bool], bool]:
            plate, masks = shot.plate.read(frames[index]), shot.masks_at(frames[index])
            shot.small.add(index, plate, masks)
            return [bool(mask.coverage.max() > 0) for mask in masks], plate.unresolved is not None

        results = list(_in_order(shot, shrink_frame, len(frames)))
        present = np.array([row for row, _ in results])
        broken = [frames[i] for i, (_, bad) in enumerate(results) if bad]
        shot.journal.put("read", {"present": present.any(axis=0).tolist(), "not_finite": broken})
    facts = shot.journal.get("read")
    for mask, present in zip(shot.job.masks, facts["present"], strict=True):
        if not present:
            raise EmptyMaskError(
                f"Mask {mask.name} ({mask.path}) is empty on every frame.",
                "Check its channel, and whether to invert it.",
            )
    if facts["not_finite"]:
        shot.report.warn(
            f"{len(facts['not_finite'])} frames of the plate, the first {facts['not_finite'][0]}, hold values that"
            " are not finite: those pixels are written black and listed as unresolved."
        )


def _track(shot: Shot) -> CameraTrack:
    """One homography per frame to a reference frame."""
    shot.report.stage("track", "Tracking the camera")
    numbers, camera = shot.footage.frames, shot.job.camera
    known = shot.journal.get("camera")
    if known is not None:
        return CameraTrack.from_dict(known)
    if camera.mode == "locked":
        track = locked_camera(numbers)
    elif camera.path is not None:
        track = read_homographies(Path(camera.path), shot.footage)
    else:
        luma = cast("NDArray[np.uint8]", shot.small.array("luma"))
        occupied = cast("NDArray[np.bool_]", shot.small.array("occupied"))
        track = track_camera(numbers, luma, occupied, shot.small.proxy_scale, shot.report.step, shot.report.should_stop)
    shot.journal.put("camera", track.to_dict())
    return track


def _clean_plate(shot: Shot, camera: CameraTrack) -> CleanSource:
    """The median of valid pixels, or the user's own clean plate."""
    shot.report.stage("clean plate", "Making the clean plate")
    for warning in camera.warnings:
        shot.report.warn(warning)
    if shot.clean is not None:
        return CleanSource(shot, None)
    folder, numbers = shot.journal.work / "clean_plate", shot.footage.frames
    if shot.journal.get("clean_plate") is None:
        folder.mkdir(exist_ok=True)
        build_clean_plate(
            numbers,
            lambda number: shot.plate.read(number).pixels,
            shot.occupied_at,
            camera.homographies,
            folder,
            shot.report.step,
            shot.report.should_stop,
            DisplayEncoding(peak=measure_peak(shot.small)),
        )
        shot.journal.put("clean_plate", True)
    built = load_clean_plate(folder, camera.homographies, numbers)
    for warning in built.warnings:
        shot.report.warn(warning)
    shot.journal.put("never_seen_share", built.never_seen_share)
    pixels = zip(numbers, built.misfit.tolist(), strict=True)
    shot.journal.put("misfit", {str(number): round(away, 3) for number, away in pixels if np.isfinite(away)})
    return CleanSource(shot, built)


def _make_small(shot: Shot, clean: CleanSource) -> WorkingClip:
    """The clip as the network sees it."""
    shot.report.stage("prepare", "Preparing the working clip")
    encoding = DisplayEncoding(peak=measure_peak(shot.small))
    return working_clip(
        shot.small, shot.footage.frames, shot.job.names, shot.order, clean, encoding, shot.report.step,
        clean.restlessness,
    )  # fmt: skip


def _refine(shot: Shot, clip: WorkingClip) -> tuple[Path, dict[str, Any]]:
    """The folder of graphs to decompose with, tuned to the shot where the job asks for it, and what they are."""
    settings, model = shot.job.refine, shot.job.model
    shipped = (SHIPPED_WEIGHTS / "layer_decoder.onnx").exists()
    if settings.off and model.weights == "auto":
        if not shipped:
            raise JobError("No weights are shipped with this build.", "Ask for refinement: --refine 5min.")
        return SHIPPED_WEIGHTS, _weights_facts("shipped", SHIPPED_WEIGHTS, 0)
    if settings.off and model.weights == "random":
        raise JobError("Random weights know nothing without refinement.", "Use --refine 5min, or other weights.")
    shot.report.stage("refine", "Learning the shot" if not settings.off else "Preparing the weights")
    graphs = shot.journal.work / "graphs"
    if shot.journal.get("weights") is None:
        # The only door to torch: a run without refinement never imports it.
        from penumbra.training.tune import tune

        source = "random" if model.weights == "auto" and not shipped else model.weights
        weights = SHIPPED_WEIGHTS / "weights.safetensors" if source == "auto" else Path(source)
        steps = tune(clip, None if source == "random" else weights, shot.job, shot.journal.work, graphs, shot.report)
        shot.journal.put("weights", _weights_facts(source, graphs, steps))
    return graphs, shot.journal.get("weights")


def _weights_facts(source: str, graphs: Path, steps: int) -> dict[str, Any]:
    state = hashlib.sha256()
    for path in sorted(graphs.glob("*.onnx")):
        state.update(path.read_bytes())
    return {"name": source, "sha256": state.hexdigest(), "refine_steps": steps}


def _decompose(shot: Shot, clip: WorkingClip, graphs: Path) -> NDArray[np.float32]:
    """Every object's low-resolution layer at every frame: (N, K, h, w, 4) straight RGBA, display-encoded."""
    shot.report.stage("decompose", "Predicting the layers")
    path = shot.journal.work / "low.npy"
    if shot.journal.get("low") is None:
        models = LayerModels.load(graphs, shot.job.model.device)
        shot.report.emit(Event("progress", "decompose", total=len(clip.numbers), message=models.line))
        shape = (*clip.masks.shape, 4)
        layers = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        errors = []
        for index, rgba in decompose(clip, models, on_progress=shot.report.step, should_stop=shot.report.should_stop):
            layers[index] = rgba
            errors.append(_unexplained(clip, index, rgba))
        layers.flush()
        facts = {"provider": models.provider, "provider_line": models.line}
        shot.journal.put("low", {**facts, "reconstruction": round(float(np.mean(errors)), 6)})
    return cast("NDArray[np.float32]", np.lib.format.open_memmap(path, mode="r"))


def _unexplained(clip: WorkingClip, index: int, rgba: FloatArray) -> float:
    """Mean difference of a frame from its predicted layers over the small clean plate, display-encoded."""
    result = over_all((premultiply(rgba[layer]) for layer in clip.order[index]), clip.background[index])
    return float(np.abs(result - clip.frames[index]).mean())


def _lift_write_verify(shot: Shot, clip: WorkingClip, clean: CleanSource, low: NDArray[np.float32]) -> None:
    """Plate-resolution layers, written and read back, frame by frame."""
    report, journal, footage = shot.report, shot.journal, shot.footage
    report.stage("lift", "Writing the layers")
    noise = _noise(shot, clip, clean, low)
    output = Path(shot.job.output.folder)
    writer = FrameWriter(output, footage, shot.job.output, SOFTWARE)
    order, precision = shot.order, Precision(shot.job.output.precision)

    def finish_frame(index: int) -> None:
        number = footage.frames[index]
        plate, masks = shot.plate.read(number), [mask.coverage for mask in shot.masks_at(number)]
        behind, seen = clean(index)
        stack = lift_frame(
            plate, behind, masks, low[index], shot.job.names, order[index], clip.encoding, noise, precision,
            clean.restlessness(index),
        )  # fmt: skip
        if shot.job.output.clean:
            write_clean_frame(output, footage, shot.job.output, SOFTWARE, number, behind, seen, plate.data)
        writer.write(stack, plate.data)
        if shot.job.output.splits:
            covers = dict(zip(shot.job.names, masks, strict=True))
            for layer in stack.layers:
                writer.write_layers(split_layer(layer, covers[layer.name], precision), number, plate.data)
        if shot.job.output.combined != "off":
            write_combined(output, footage, shot.job.output, SOFTWARE, stack, plate.data)
        sketch = sketch_pictures(footage, shot.job.names, plate.data) if shot.job.output.previews else None
        verdict = verify_frame(
            output, footage, [layer.name for layer in stack.layers], plate, shot.job.output.splits,
            shot.job.output.combined, *([sketch.add] if sketch else []),
        )  # fmt: skip
        if sketch:
            keep_pictures(journal.work / PICTURES, number, shot.job.names, sketch)
        journal.finish_frame(number, frame_entry(verdict))

    _all_there(shot)
    todo = [index for index, number in enumerate(footage.frames) if number not in journal.frames]
    report.already(len(footage.frames) - len(todo))
    for _ in _in_order(shot, lambda i: finish_frame(todo[i]), len(todo), offset=len(footage.frames) - len(todo)):
        pass


def _noise(shot: Shot, clip: WorkingClip, clean: CleanSource, low: NDArray[np.float32]) -> Noise:
    """The plate's noise, measured on frames spread over the clip where neither masks nor network cover anything."""
    known = shot.journal.get("noise")
    if known is None:
        count = len(clip.numbers)
        chosen = sorted({round(i * (count - 1) / max(1, NOISE_SAMPLES - 1)) for i in range(NOISE_SAMPLES)})

        def samples() -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
            for index in chosen:
                number = clip.numbers[index]
                yield shot.plate.read(number).pixels, clean(index)[0], shot.occupied_at(number)

        known = measure_noise(samples(), clip.encoding).level
        shot.journal.put("noise", known)
    return Noise(known)


def _finish(shot: Shot, camera: CameraTrack, weights: dict[str, Any]) -> Path:
    """Previews, the manifest, and the end of the work folder's large files."""
    report, journal, job = shot.report, shot.journal, shot.job
    output = Path(job.output.folder)
    if job.output.previews:
        report.stage("previews", "Drawing the previews")
        write_previews(
            output, shot.footage, job.names, job.order_at, shot.plate.read, report.step, report.should_stop,
            journal.work / PICTURES,
        )  # fmt: skip
    report.close_stage()
    manifest = _manifest(shot, camera, weights)
    write_composites(output, layer_graph(manifest, _plate_pattern(job.plate.path, output)))
    write_manifest(output, manifest)
    outside = [number for number, entry in sorted(journal.frames.items()) if not entry["within_bound"]]
    journal.put("finished", not outside)
    if outside:
        raise RecompositionError(
            f"{len(outside)} frames, the first {outside[0]}, do not recompose to the plate within the bound.",
            "See manifest.json for the errors, and report this with the job file.",
        )
    journal.discard(SCRATCH)
    # Were a layer to be lost later, a resumed run makes these again.
    journal.drop("read", "clean_plate", "low")
    return _tell_done(shot)


def rewrite_composites(folder: Path) -> None:
    """Makes what hosts open fit for where a finished folder lies now; raises :class:`OutputError`.

    A plate that is not where it was is left out.
    """
    manifest = load_manifest(folder)
    try:
        plate = _plate_pattern(manifest["job"]["plate"]["path"], folder)
    except FootageError:
        plate = None
    write_composites(folder, layer_graph(manifest, plate))


def _plate_pattern(plate: str, output: Path) -> str | None:
    """The plate's files as hosts name them; None for a movie, which hosts decode in their own ways."""
    pattern = sequence_pattern(plate)
    return None if pattern is None else portable_path(pattern, output)


def _all_there(shot: Shot) -> bool:
    """Whether every file of a finished run still lies where it was written; forgets the frames that miss one."""
    output, padding = Path(shot.job.output.folder), shot.footage.padding
    names = shot.job.sequences
    lost = [
        number
        for number in shot.footage.frames
        if not all(frame_path(output, name, number, padding).is_file() for name in names)
    ]
    shot.journal.forget_frames(lost)
    return not lost and (output / "manifest.json").is_file()


def _tell_done(shot: Shot) -> Path:
    path, count = Path(shot.job.output.folder) / "manifest.json", len(shot.journal.frames)
    shot.report.emit(Event("done", done=count, total=count, path=str(path)))
    return path


def _manifest(shot: Shot, camera: CameraTrack, weights: dict[str, Any]) -> dict[str, Any]:
    """What was made, from what, with what, and how well it recomposes."""
    job, footage, entries = shot.job, shot.footage, shot.journal.frames
    return {
        "engine": __version__,
        "job": job.to_dict(),
        "plate": footage_facts(footage),
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
        "noise": shot.journal.get("noise"),
        "provider": shot.journal.get("low")["provider"],
        "provider_line": shot.journal.get("low").get("provider_line"),
        "reconstruction_error": shot.journal.get("low").get("reconstruction"),
        "frames": {str(number): entry for number, entry in sorted(entries.items())},
        "warnings": list(shot.report.warnings),
        "seconds": dict(shot.report.seconds),
    }


def footage_facts(footage: Footage) -> dict[str, Any]:
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


def _in_order(shot: Shot, work: Callable[[int], Any], count: int, offset: int = 0) -> Iterator[Any]:
    """Results of ``work`` on 0 .. count - 1, in order, a few at a time in threads.

    On a stop or a failure the units in flight are finished, not broken off, so that only whole frames remain.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: list[Future[Any]] = []
        try:
            for index in range(count):
                waiting.append(pool.submit(work, index))
                if len(waiting) > WORKERS:
                    yield waiting.pop(0).result()
                    shot.report.step(offset + index + 1 - WORKERS, offset + count)
            while waiting:
                yield waiting.pop(0).result()
                shot.report.progress(offset + count - len(waiting), offset + count)
        finally:
            wait(waiting)
    shot.report.check_stop()


def _inputs(job: Job) -> list[Path]:
    """Every input file of a job, found by name: for the digest that tells one job's folder from another's."""
    named = [job.plate.path, *(mask.path for mask in job.masks)]
    named += [job.clean_plate.path] if job.clean_plate else []
    named += [job.camera.path] if job.camera.path else []
    named += [] if job.model.weights in ("auto", "random") else [job.model.weights]
    return [file for name in named for file in _files_of(Path(name))]


def _files_of(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    folder, prefix = (path, "") if path.is_dir() else (path.parent, path.name)
    for mark in "%#@[":
        prefix = prefix.split(mark)[0]
    if folder.is_dir():
        yield from (entry for entry in folder.iterdir() if entry.name.startswith(prefix) and entry.is_file())
