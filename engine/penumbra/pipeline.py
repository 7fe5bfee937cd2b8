"""The order of things: read -> track -> clean plate -> [refine] -> decompose -> lift -> write -> verify.

The only module that knows it. Every stage leaves what it found in the work folder, so that a run stopped or killed
anywhere goes on from there and ends in the same bytes; and so that a farm's tasks, each of which does some of the
stages, go on from each other.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
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
from penumbra.arrays import create_array
from penumbra.clean_plate import CleanPlate, build_clean_plate, load_clean_plate
from penumbra.color import DisplayEncoding, FloatArray
from penumbra.compositing import over_all, premultiply
from penumbra.contract import CONTRACT_KEY, GRAPH_NAMES, ModelContract
from penumbra.decompose import CPU, LayerModels, decompose
from penumbra.errors import (
    EmptyMaskError,
    FootageError,
    JobError,
    OutOfMemoryError,
    OutputError,
    PenumbraError,
    RecompositionError,
    StageOrderError,
    TooShortError,
    ran_out_of_memory,
)
from penumbra.events import Event, OnEvent
from penumbra.frames import Footage, Mask, WorkingClip
from penumbra.job import Job
from penumbra.journal import FRAMES_APART, NANOSECONDS, WORK_FOLDER, Journal, job_identity
from penumbra.layer_graph import layer_graph, portable_path
from penumbra.lift import Noise, follow_frame, lift_frame, measure_noise, split_layer
from penumbra.lift.solve import HALF_MAX, Precision
from penumbra.lock import EVERYTHING, STALE_SECONDS, hold
from penumbra.read import (
    CleanPlateReader,
    MaskReader,
    PlateReader,
    compact_ranges,
    open_clean_plate,
    open_mask,
    open_plate,
    sequence_pattern,
)
from penumbra.reporting import Reporter
from penumbra.storage import flush_files
from penumbra.tasks import TASK_STAGES, Task
from penumbra.track import CameraTrack, locked_camera, read_homographies, track_camera
from penumbra.unrest import own_motion
from penumbra.working import SmallClip, load_working_clip, measure_peak, working_clip, working_size
from penumbra.write import (
    FrameWriter,
    frame_entry,
    frame_path,
    keep_pictures,
    load_manifest,
    prepare_output,
    preview_paths,
    refuse_links,
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
# How long a task waits for another's claim: a farm sends a dead machine's task to the next one at once.
TASK_PATIENCE = STALE_SECONDS + 30
CHECKPOINT = "refine.pt"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PICTURES = "pictures"
# What each fact of the journal speaks of, in the work folder.
MADE = {
    "read": ("frames.npy", "masks.npy", "luma.npy", "occupied.npy"),
    "clean_plate": ("clean_plate/clean_plate.json",),
    "prepared": ("encoded.npy", "background.npy", "valid.npy"),
    "weights": tuple(f"graphs/{name}.onnx" for name in GRAPH_NAMES),
    "low": ("low.npy",),
}
# What the work folder need not keep once all layers are written.
SCRATCH_FACTS = ("read", "clean_plate", "prepared", "low")
SCRATCH = (
    *(name for fact in SCRATCH_FACTS for name in MADE[fact] if "/" not in name),
    *("clean_plate", CHECKPOINT, FRAMES_APART, PICTURES),
)


@dataclass(frozen=True)
class Shot:
    """A job resolved against its footage: what every stage after `read` acts on.

    ``task``: which of the stages are this run's, None for all. ``named``: the job with the paths its author knows.
    """

    job: Job
    named: Job
    task: Task | None
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
    def output(self) -> Path:
        """The output folder."""
        return Path(self.job.output.folder)

    @property
    def wanted(self) -> tuple[int, ...]:
        """The frames this run makes."""
        chunk = None if self.task is None else self.task.frames
        return self.footage.frames if chunk is None else chunk

    def enter(self, stage: str, message: str, fact: str) -> Any:
        """Tells that a stage begins (``message`` empty: it need not) and gives what was found there before, or None.

        Raises :class:`StageOrderError` where it is another task's and not done.
        """
        known, ours = self.journal.get(fact), self.task is None or stage in self.task.stages
        if ours and message:
            self.report.stage(stage, message)
        if known is None and not ours:
            needed = next(name for name, stages in TASK_STAGES.items() if stage in stages)
            raise StageOrderError(
                f"The stage {needed!r} of the job in {self.output} has not finished.", f"Run --stage {needed} first."
            )
        return known

    def ends_with(self, task: str) -> bool:
        """Whether nothing after this task is this run's."""
        return self.task is not None and self.task.name == task

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

    def misregistration(self, index: int) -> FloatArray | None:
        """H x W, how much edges differ that the camera's homography misses, in display units; None where unknown."""
        return None if self._built is None else self._built.misregistration(index)


def run(
    job: Job,
    on_event: OnEvent,
    resume: bool = False,
    report: Reporter | None = None,
    task: Task | None = None,
    named: Job | None = None,
) -> Path:
    """Takes a shot apart; returns the manifest's path.

    ``job``'s paths are absolute (:meth:`Job.resolved`). Raises a :class:`PenumbraError`; then every file under its own
    name is whole, and the same call with ``resume`` goes on.

    ``task``: do this part alone, and return the output folder unless it is the last. Tasks always go on from where
    an earlier try stopped; machines need nothing in common but the output folder and the footage. ``named``: the job
    with the paths the manifest shall name, where this machine reaches them under others.
    """
    report = report or Reporter(on_event)
    try:
        with _open(job, named or job, report, resume, task) as shot:
            if shot.journal.get("finished") and _all_there(shot):
                if not shot.ends_with("frames"):
                    _tidy(shot.journal)
                return _tell_done(shot)
            _read(shot)
            camera = _track(shot)
            clean = _clean_plate(shot, camera)
            clip = _make_small(shot, clean)
            if shot.ends_with("prepare"):
                return _tell_task_done(shot)
            graphs, weights = _refine(shot, clip)
            low = _decompose(shot, clip, graphs)
            if shot.ends_with("refine"):
                return _tell_task_done(shot)
            if shot.ends_with("finish"):
                _gather(shot)
            else:
                _lift_write_verify(shot, clip, clean, low)
            if shot.ends_with("frames"):
                return _tell_task_done(shot)
            return _finish(shot, camera, weights)
    except PenumbraError:
        raise
    except Exception as error:
        if ran_out_of_memory(error):
            raise OutOfMemoryError(
                f"There is not enough memory for this plate; it ran out in the stage {report.stage_now}.",
                "Close other programs or use a larger machine, then run with --resume.",
            ) from error
        if isinstance(error, OSError):
            raise _output_error(job.output.folder, error) from error
        raise


def _output_error(folder: str, error: OSError) -> OutputError:
    """Storage that fails, as a sentence. Footage that fails has told so itself, as an error of the read stage."""
    reason = error.strerror or str(error)
    if error.errno in DISK_FULL:
        return OutputError(f"The disk of {folder} takes no more: {reason}.", "Make room, then run with --resume.")
    place = error.filename or f"The output folder {folder}"
    return OutputError(
        f"{place} cannot be read or written any more: {reason}.",
        "See to the storage and its permissions, then run with --resume.",
    )


@contextmanager
def _open(job: Job, named: Job, report: Reporter, resume: bool, task: Task | None) -> Iterator[Shot]:
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
        refuse_links(Path(job.output.folder), (*job.sequences, "preview", WORK_FOLDER))
        journal = Journal(Path(job.output.folder))
        claim, patience = (EVERYTHING, 0.0) if task is None else (task.claim, TASK_PATIENCE)
        journal.check = stack.enter_context(hold(journal.work, claim, patience, report.should_stop)).check
        _take(journal, job, resume, task)
        journal.drop(*(fact for fact, made in MADE.items() if not all((journal.work / name).exists() for name in made)))
        size = _working_size(journal, job, footage)
        small = SmallClip(journal.work, len(footage.frames), len(masks), footage.canvas, size)
        shot = Shot(job, named, task, plate, masks, clean, journal, report, small)
        _check_chunk(shot)
        journal.recall_frames(shot.wanted)
        yield shot


def _take(journal: Journal, job: Job, resume: bool, task: Task | None) -> None:
    """The output folder, for the whole job or for one task of it."""
    identity = job_identity(job, _inputs(job), _weights_digest(job))
    if task is None:
        journal.open(identity, job.sequences, resume, job.output.replace)
    elif task.name == "prepare":
        journal.begin_task(identity, job.sequences, job.output.replace)
    else:
        journal.join_task(identity, alone=task.name != "frames")


def _working_size(journal: Journal, job: Job, footage: Footage) -> tuple[int, int]:
    """As the clip was read, wherever the weights that decided it lie."""
    known = journal.get("read")
    if known is not None:
        height, width = known["working_size"]
        return height, width
    return job.model.working_size or working_size(footage.canvas, *trained_short_side(_weights_file(job)))


def _check_chunk(shot: Shot) -> None:
    unknown = sorted(set(shot.wanted) - set(shot.footage.frames))
    if unknown:
        frames = shot.footage.frames
        raise JobError(
            f"The job has no frame {compact_ranges(unknown)}: its plate runs from {frames[0]} to {frames[-1]}.",
            "Give frames of the plate with --frames.",
        )


def trained_short_side(path: Path) -> tuple[int, ...]:
    """The short side the weights in a .safetensors file were trained at; empty where there is no such file."""
    if not path.is_file():
        return ()
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(CONTRACT_KEY, "")
    except (SafetensorError, OSError):
        return ()  # whoever loads the weights says what is wrong with them
    contract = ModelContract.from_json(text)
    return (min(contract.height, contract.width),)


def _weights_digest(job: Job) -> str:
    """Of the weights' bytes: shipped ones change with an update, and others may be trained on under their name."""
    name = job.model.weights
    files = sorted(SHIPPED_WEIGHTS.glob("*")) if name == "auto" else [] if name == "random" else [Path(name)]
    state = hashlib.sha256()
    for path in files:
        if path.is_file():
            state.update(path.read_bytes())
    return state.hexdigest()


def _weights_file(job: Job) -> Path:
    """Of random weights there is none."""
    return SHIPPED_WEIGHTS / "weights.safetensors" if job.model.weights == "auto" else Path(job.model.weights)


def _read(shot: Shot) -> None:
    """Every frame once: small versions to disk; refuses masks that are empty throughout."""
    facts = shot.enter("read", "", "read")
    if facts is None:
        shot.small.create()
        frames = shot.footage.frames

        def shrink_frame(index: int) -> tuple[list[bool], bool, bool]:
            plate, masks = shot.plate.read(frames[index]), shot.masks_at(frames[index])
            shot.small.add(index, plate, masks)
            present = [bool(mask.coverage.max() > 0) for mask in masks]
            return present, plate.unresolved is not None, bool(plate.pixels.max() > _largest(shot.job))

        results = list(_in_order(shot, shrink_frame, len(frames)))
        present = np.array([row for row, _, _ in results])
        shot.small.flush()
        facts = {
            "present": present.any(axis=0).tolist(),
            "not_finite": [frames[i] for i, (_, bad, _) in enumerate(results) if bad],
            "too_bright": [frames[i] for i, (_, _, over) in enumerate(results) if over],
            "working_size": shot.small.size,
        }
        shot.journal.put("read", facts)
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
    if facts["too_bright"]:
        shot.report.warn(
            f"{len(facts['too_bright'])} frames of the plate, the first {facts['too_bright'][0]}, hold values above"
            f" {HALF_MAX:.0f}, the largest of half files: those pixels are written as that and listed as unresolved."
            " Precision float keeps them."
        )


def _largest(job: Job) -> float:
    """The largest value the job's files can hold."""
    return float(HALF_MAX) if job.output.precision == "half" else float("inf")


def _track(shot: Shot) -> CameraTrack:
    """One homography per frame to a reference frame."""
    known = shot.enter("track", "Tracking the camera", "camera")
    numbers, camera = shot.footage.frames, shot.job.camera
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
    # The user's own is there from the start.
    fact = "clean_plate" if shot.clean is None else "camera"
    known = shot.enter("clean plate", "Making the clean plate", fact)
    for warning in camera.warnings:
        shot.report.warn(warning)
    if shot.clean is not None:
        return CleanSource(shot, None)
    folder, numbers = shot.journal.work / "clean_plate", shot.footage.frames
    if known is None:
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
        flush_files(path for path in folder.iterdir() if path.is_file())
    built = load_clean_plate(folder, camera.homographies, numbers)
    for warning in built.warnings:
        shot.report.warn(warning)
    if known is None:
        shot.journal.put("never_seen_share", built.never_seen_share)
        pixels = zip(numbers, built.misfit.tolist(), strict=True)
        shot.journal.put("misfit", {str(number): round(away, 3) for number, away in pixels if np.isfinite(away)})
        shot.journal.put("clean_plate", True)
    return CleanSource(shot, built)


def _make_small(shot: Shot, clean: CleanSource) -> WorkingClip:
    """The clip as the network sees it, and the plate's noise as it sees that."""
    known = shot.enter("prepare", "Preparing the working clip", "prepared")
    small, numbers, names, order = shot.small, shot.footage.frames, shot.job.names, shot.order
    if known is not None:
        return load_working_clip(small, numbers, names, order, DisplayEncoding(peak=known["peak"]))
    encoding = DisplayEncoding(peak=measure_peak(small))
    clip = working_clip(
        small, numbers, names, order, clean, encoding, shot.report.step, clean.restlessness, clean.misregistration
    )
    shot.journal.put("prepared", {"peak": encoding.peak, "noise": _measure_noise(shot, clip, clean).level})
    return clip


def _measure_noise(shot: Shot, clip: WorkingClip, clean: CleanSource) -> Noise:
    """The plate's noise, measured on frames spread over the clip where no mask covers anything."""
    count = len(clip.numbers)
    chosen = sorted({round(i * (count - 1) / max(1, NOISE_SAMPLES - 1)) for i in range(NOISE_SAMPLES)})

    def samples() -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
        for index in chosen:
            number = clip.numbers[index]
            yield shot.plate.read(number).pixels, clean(index)[0], shot.occupied_at(number)

    return measure_noise(samples(), clip.encoding)


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
    known = shot.enter("refine", "Learning the shot" if not settings.off else "Preparing the weights", "weights")
    graphs = shot.journal.work / "graphs"
    if known is None:
        # The only door to torch: a run without refinement never imports it.
        from penumbra.training.tune import tune

        source = "random" if model.weights == "auto" and not shipped else model.weights
        weights = SHIPPED_WEIGHTS / "weights.safetensors" if source == "auto" else Path(source)
        steps = tune(clip, None if source == "random" else weights, shot.job, shot.journal.work, graphs, shot.report)
        shot.journal.put("weights", _weights_facts(source, graphs, steps))
    shot.journal.discard([CHECKPOINT])
    return graphs, shot.journal.get("weights")


def _weights_facts(source: str, graphs: Path, steps: int) -> dict[str, Any]:
    state = hashlib.sha256()
    for path in sorted(graphs.glob("*.onnx")):
        state.update(path.read_bytes())
    return {"name": source, "sha256": state.hexdigest(), "refine_steps": steps}


def _decompose(shot: Shot, clip: WorkingClip, graphs: Path) -> NDArray[np.float32]:
    """Every object's low-resolution layer at every frame: (N, K, h, w, 4) straight RGBA, display-encoded."""
    known = shot.enter("decompose", "Predicting the layers", "low")
    path = shot.journal.work / "low.npy"
    if known is None:
        models = LayerModels.load(graphs, shot.job.model.device)
        try:
            errors = _predict(shot, clip, models, path)
        except OutOfMemoryError:
            if models.provider == CPU or shot.job.model.device != "auto":
                raise
            # All frames anew: layers of one clip come from one device.
            models = LayerModels.load(graphs, "auto", failed={models.provider: "it has not enough memory"})
            errors = _predict(shot, clip, models, path)
        flush_files([path])
        facts = {"provider": models.provider, "provider_line": models.line}
        shot.journal.put("low", {**facts, "reconstruction": round(float(np.mean(errors)), 6)})
    return cast("NDArray[np.float32]", np.lib.format.open_memmap(path, mode="r"))


def _predict(shot: Shot, clip: WorkingClip, models: LayerModels, path: Path) -> list[float]:
    """Writes all frames' layers to ``path``; what each leaves unexplained."""
    shot.report.emit(Event("progress", "decompose", total=len(clip.numbers), message=models.line))
    layers = create_array(path, np.float32, (*clip.masks.shape, 4))
    errors = []
    for index, rgba in decompose(clip, models, on_progress=shot.report.step, should_stop=shot.report.should_stop):
        layers[index] = rgba
        errors.append(_unexplained(clip, index, rgba))
    return errors


def _unexplained(clip: WorkingClip, index: int, rgba: FloatArray) -> float:
    """Mean difference of a frame from its predicted layers over the small clean plate, display-encoded."""
    result = over_all((premultiply(rgba[layer]) for layer in clip.order[index]), clip.background[index])
    return float(np.abs(result - clip.frames[index]).mean())


def _lift_write_verify(shot: Shot, clip: WorkingClip, clean: CleanSource, low: NDArray[np.float32]) -> None:
    """Plate-resolution layers, written and read back, frame by frame."""
    report, journal, footage, output = shot.report, shot.journal, shot.footage, shot.output
    todo = _unfinished(shot)
    report.stage("lift", "Writing the layers")
    noise = Noise(journal.get("prepared")["noise"])
    writer = FrameWriter(output, footage, shot.job.output, SOFTWARE)
    order, precision, largest = shot.order, Precision(shot.job.output.precision), _largest(shot.job)

    def finish_frame(index: int) -> None:
        began, number = time.monotonic(), footage.frames[index]
        plate, masks = shot.plate.read(number), [mask.coverage for mask in shot.masks_at(number)]
        behind, seen = clean(index)
        if shot.job.output.clean:
            write_clean_frame(output, footage, shot.job.output, SOFTWARE, number, behind, seen, plate.data)
        restless = clean.restlessness(index)
        if shot.clean is None:
            alphas = low[index, ..., 3]
            moved = follow_frame(plate.pixels, behind, masks, alphas, clip.encoding, noise, restless)
        else:
            # The user's own is what the user wants to see there.
            moved = own_motion(plate.pixels, behind, masks, clip.encoding, restless)
        missed = clean.misregistration(index)
        if missed is not None:
            np.maximum(moved, missed, out=moved)
        stack = lift_frame(
            plate, behind, masks, low[index], shot.job.names, order[index], clip.encoding, noise, precision, moved
        )
        writer.write(stack, plate.data, plate)
        if shot.job.output.splits:
            covers = dict(zip(shot.job.names, masks, strict=True))
            for layer in stack.layers:
                writer.write_layers(split_layer(layer, covers[layer.name], precision), number, plate.data)
        if shot.job.output.combined != "off":
            write_combined(output, footage, shot.job.output, SOFTWARE, stack, plate.data)
        sketch = sketch_pictures(footage, shot.job.names, plate.data) if shot.job.output.previews else None
        verdict = verify_frame(
            output, footage, [layer.name for layer in stack.layers], plate, shot.job.output.splits,
            shot.job.output.combined, sketch.add if sketch else lambda band: None, largest,
        )  # fmt: skip
        if sketch:
            keep_pictures(journal.work / PICTURES, number, shot.job.names, sketch)
        noted = {"seconds": round(time.monotonic() - began, 3), "files": _files_as_they_are(shot, number)}
        journal.finish_frame(number, frame_entry(verdict), noted)

    already = len(shot.wanted) - len(todo)
    report.already(already)
    for _ in _in_order(shot, lambda i: finish_frame(todo[i]), len(todo), offset=already):
        pass


def _unfinished(shot: Shot) -> list[int]:
    """Indices of the frames that this run has yet to make."""
    _all_there(shot)
    place = {number: index for index, number in enumerate(shot.footage.frames)}
    return [place[number] for number in shot.wanted if number not in shot.journal.frames]


def _gather(shot: Shot) -> None:
    """Takes the frames that tasks have written and read back into the journal, if their files are still the same.

    Where size or time say otherwise, they are read back here. Raises :class:`StageOrderError` where frames are missing,
    and :class:`OutputError` where files are not what their task has read; the next try makes those frames again.
    """
    journal, frames = shot.journal, shot.footage.frames
    missing = [frames[index] for index in _unfinished(shot)]
    if missing:
        raise StageOrderError(f"{_frames(missing)} not finished.", _again(missing))
    shot.report.stage("verify", "Gathering the layers")
    todo = sorted(journal.recalled)

    def agrees(index: int) -> bool:
        number = todo[index]
        good = journal.recalled[number].get("files") == _files_as_they_are(shot, number) or _reads_as_said(shot, number)
        if good:
            journal.finish_frame(number, journal.frames[number])
        return good

    altered = [number for number, good in zip(todo, _in_order(shot, agrees, len(todo)), strict=True) if not good]
    for number in altered:
        journal.withdraw_frame(number)
    if altered:
        raise OutputError(f"{_frames(altered)} not as written: files were changed or damaged.", _again(altered))


def _files_as_they_are(shot: Shot, number: int) -> list[list[int]]:
    """Size and time of each file of a frame; to the second, which every file system and copy keeps."""
    paths = [frame_path(shot.output, name, number, shot.footage.padding) for name in shot.job.sequences]
    return [[facts.st_size, facts.st_mtime_ns // NANOSECONDS] for facts in (path.stat() for path in paths)]


def _reads_as_said(shot: Shot, number: int) -> bool:
    """Whether a frame's files give what their task noted when it read them back."""
    try:
        plate, names = shot.plate.read(number), shot.job.order_at(number)
        made = shot.job.output
        verdict = verify_frame(
            shot.output, shot.footage, names, plate, made.splits, made.combined, largest=_largest(shot.job)
        )
    except OutputError:
        return False
    return frame_entry(verdict) == shot.journal.frames[number]


def _frames(numbers: list[int]) -> str:
    return f"Frame {numbers[0]} is" if len(numbers) == 1 else f"Frames {compact_ranges(numbers)} are"


def _again(numbers: list[int]) -> str:
    return f"Run --stage frames --frames {compact_ranges(numbers).replace(' ', '')}, then this again."


def _finish(shot: Shot, camera: CameraTrack, weights: dict[str, Any]) -> Path:
    """Previews, the manifest, and the end of the work folder's large files."""
    report, journal, job, output = shot.report, shot.journal, shot.job, shot.output
    if job.output.previews:
        report.stage("previews", "Drawing the previews")
        if not (journal.get("previews") and all(path.is_file() for path in preview_paths(output))):
            write_previews(
                output, shot.footage, job.names, job.order_at, shot.plate.read, report.step, report.should_stop,
                journal.work / PICTURES,
            )  # fmt: skip
            journal.put("previews", True)
    report.close_stage()
    manifest = _manifest(shot, camera, weights)
    # Paths of another system mean nothing to this one: `penumbra composites` puts them right where they do.
    author = shot.named if Path(shot.named.output.folder).is_absolute() else job
    pattern = _plate_pattern(job.plate.path, author.plate.path, Path(author.output.folder))
    write_composites(output, layer_graph(manifest, pattern), Path(author.output.folder))
    write_manifest(output, manifest)
    outside = [number for number, entry in sorted(journal.frames.items()) if not entry["within_bound"]]
    journal.put("finished", not outside)
    if outside:
        raise RecompositionError(
            f"{len(outside)} frames, the first {outside[0]}, do not recompose to the plate within the bound.",
            "See manifest.json for the errors, and report this with the job file.",
        )
    _tidy(journal)
    return _tell_done(shot)


def _tidy(journal: Journal) -> None:
    """Removes what only the work needed; facts first, lest a killed run leaves facts about nothing.

    Were a layer to be lost later, a resumed run makes these again.
    """
    journal.drop(*SCRATCH_FACTS)
    journal.discard(SCRATCH)


def rewrite_composites(folder: Path) -> None:
    """Makes what hosts open fit for where a finished folder lies now; raises :class:`OutputError`.

    A plate that is not where it was is left out.
    """
    manifest = load_manifest(folder)
    try:
        path = str(manifest["job"]["plate"]["path"])
        plate = _plate_pattern(path, path, folder)
    except (FootageError, KeyError, TypeError):
        plate = None
    with hold(folder / WORK_FOLDER):
        write_composites(folder, layer_graph(manifest, plate))


def _plate_pattern(plate: str, named: str, output: Path) -> str | None:
    """The plate's files as hosts name them, where it is called ``named`` and the folder of the layers ``output``.

    None for a movie, which hosts decode in their own ways.
    """
    pattern = sequence_pattern(plate)
    if pattern is None:
        return None
    folder = Path(named) if Path(plate).is_dir() else Path(named).parent
    return portable_path(str(folder / Path(pattern).name), output)


def _all_there(shot: Shot) -> bool:
    """Whether every file of a finished run still lies where it was written; forgets the frames that miss one."""
    output, padding = shot.output, shot.footage.padding
    names = shot.job.sequences
    lost = [
        number
        for number in shot.wanted
        if not all(frame_path(output, name, number, padding).is_file() for name in names)
    ]
    shot.journal.forget_frames(lost)
    return not lost and (output / "manifest.json").is_file()


def _tell_task_done(shot: Shot) -> Path:
    assert shot.task is not None
    shot.report.close_stage()
    shot.journal.book(shot.report.seconds)
    count = len(shot.wanted)
    shot.report.emit(Event("done", shot.task.stages[-1], count, count, path=str(shot.output)))
    return shot.output


def _tell_done(shot: Shot) -> Path:
    path, count = shot.output / "manifest.json", len(shot.journal.frames)
    shot.report.emit(Event("done", done=count, total=count, path=str(path)))
    return path


def _manifest(shot: Shot, camera: CameraTrack, weights: dict[str, Any]) -> dict[str, Any]:
    """What was made, from what, with what, and how well it recomposes; paths as the job's author knows them."""
    job, footage, entries = shot.named, shot.footage, shot.journal.frames
    return {
        "engine": __version__,
        "job": job.to_dict(),
        "plate": {**footage_facts(footage), "path": job.plate.path},
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
