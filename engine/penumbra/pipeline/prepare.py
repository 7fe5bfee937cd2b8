"""The stages before the network: read, track, clean plate, prepare."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from penumbra.clean_plate import build_clean_plate, load_clean_plate
from penumbra.color import DisplayEncoding, FloatArray
from penumbra.errors import EmptyMaskError
from penumbra.frames import WorkingClip
from penumbra.lift import Noise, measure_noise
from penumbra.lift.precision import HALF_MAX
from penumbra.pipeline.shot import CleanSource, Shot, in_order
from penumbra.storage import flush_files
from penumbra.threads import thread_count
from penumbra.track import CameraTrack, locked_camera, read_homographies, track_camera
from penumbra.unrest import OUTSIDE
from penumbra.working import load_working_clip, measure_peak, tracking_exposure, working_clip

NOISE_SAMPLES = 7
# Linear light below which a value is not the noise around black, and the share of a frame's pixels worth a word.
NEGATIVE, MANY = -0.01, 0.01


def read_frames(shot: Shot) -> None:
    """Every frame once: small versions to disk; raises :class:`EmptyMaskError` for masks that are empty throughout."""
    facts = shot.enter("read", "", "read")
    if facts is None:
        shot.small.create()
        frames = shot.footage.frames
        chosen = sorted({frames[0], frames[len(frames) // 2], frames[-1]})
        exposure = tracking_exposure(shot.plate.read(number) for number in chosen)

        def shrink_frame(index: int) -> tuple[list[float], bool, bool, bool]:
            plate, masks = shot.plate.read(frames[index]), shot.masks_at(frames[index])
            shot.small.add(index, plate, masks, exposure)
            present = [float(mask.coverage.max()) for mask in masks]
            negative = bool((plate.pixels[::4, ::4].min(axis=-1) < NEGATIVE).mean() > MANY)
            return present, plate.unresolved is not None, bool(plate.pixels.max() > shot.largest), negative

        results = list(in_order(shot, shrink_frame, len(frames)))
        present, bad, over, negative = zip(*results, strict=True)
        shot.small.flush()
        facts = {
            "largest": np.array(present).max(axis=0).tolist(),
            "not_finite": [number for number, so in zip(frames, bad, strict=True) if so],
            "too_bright": [number for number, so in zip(frames, over, strict=True) if so],
            "negative": [number for number, so in zip(frames, negative, strict=True) if so],
            "working_size": shot.small.size,
        }
        shot.journal.put("read", facts)
    _refuse_empty(shot, facts)
    _warn_of_values(shot, facts)


def _refuse_empty(shot: Shot, facts: dict[str, Any]) -> None:
    for mask, largest in zip(shot.job.masks, facts.get("largest", ()), strict=False):
        if largest >= OUTSIDE:
            continue
        if largest > 0:
            raise EmptyMaskError(
                f"Mask {mask.name} ({mask.path}) covers no pixel by more than {largest:.2g}: it seems to hold numbers.",
                f"Name the object's number with --channel {mask.name}=id:1, or give a mask that reaches white.",
            )
        raise EmptyMaskError(
            f"Mask {mask.name} ({mask.path}) is empty on every frame.", "Check its channel, and whether to invert it."
        )


def _warn_of_values(shot: Shot, facts: dict[str, Any]) -> None:
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
    negative = facts.get("negative", ())
    if negative:
        shot.report.warn(
            f"{len(negative)} frames of the plate, the first {negative[0]}, hold many negative values, as a wrong"
            " colour space makes them: layers are never negative, so those pixels are listed as unresolved."
        )


def find_camera(shot: Shot) -> CameraTrack:
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


def make_clean_plate(shot: Shot, camera: CameraTrack) -> CleanSource:
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


def make_working_clip(shot: Shot, clean: CleanSource) -> WorkingClip:
    """The clip as the network sees it, and the plate's noise as it sees that."""
    known = shot.enter("prepare", "Preparing the working clip", "prepared")
    small, numbers, names, order = shot.small, shot.footage.frames, shot.job.names, shot.order
    if known is not None:
        return load_working_clip(small, numbers, names, order, DisplayEncoding(peak=known["peak"]))
    encoding = DisplayEncoding(peak=measure_peak(small))
    clip = working_clip(
        small, numbers, names, order, clean, encoding, shot.report.step, clean.restlessness, clean.misregistration,
        min(shot.at_once, thread_count()),
    )  # fmt: skip
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
