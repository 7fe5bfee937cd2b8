"""Layers at plate resolution: lifted, written, read back; and those that a farm's tasks have made, gathered."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penumbra import __version__
from penumbra.errors import OutputError, StageOrderError
from penumbra.frames import WorkingClip
from penumbra.journal import NANOSECONDS
from penumbra.lift import Noise, follow_frame, lift_frame, split_layer, whereabouts
from penumbra.lift.precision import Precision
from penumbra.pipeline.scratch import PICTURES
from penumbra.pipeline.shot import CleanSource, Shot, in_order
from penumbra.read import compact_ranges
from penumbra.unrest import own_motion
from penumbra.write import (
    FrameWriter,
    frame_entry,
    frame_path,
    keep_pictures,
    sketch_pictures,
    verify_frame,
    write_clean_frame,
    write_combined,
)

SOFTWARE = f"Penumbra {__version__}"


def lift_write_verify(shot: Shot, clip: WorkingClip, clean: CleanSource, low: NDArray[np.float32]) -> None:
    """Plate-resolution layers, written and read back, frame by frame; ``low`` as :func:`predict_layers` gives it.

    Frames that the journal holds already are left alone; after a stop or a failure it holds those that are whole.
    """
    report, journal, footage, output = shot.report, shot.journal, shot.footage, shot.output
    todo = _unfinished(shot)
    report.stage("lift", "Writing the layers")
    noise = Noise(journal.get("prepared")["noise"])
    writer = FrameWriter(output, footage, shot.job.output, SOFTWARE)
    order, precision, largest = shot.order, Precision(shot.job.output.precision), shot.largest

    def finish_frame(index: int) -> None:
        began, number = time.monotonic(), footage.frames[index]
        plate, masks = shot.plate.read(number), [mask.coverage for mask in shot.masks_at(number)]
        # What nobody owns is the plate's own, unless the clean plate is asked for as well.
        shape = plate.canvas.shape
        everything = np.s_[0 : shape[0], 0 : shape[1]] if shot.job.output.clean else None
        behind, seen = clean(index, everything or whereabouts(low[index, ..., 3], clip.masks[index], shape))
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
            plate, behind, masks, low[index], shot.job.names, order[index], clip.encoding, noise, precision, moved,
            relit=shot.clean is None,
        )  # fmt: skip
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
        journal.finish_frame(number, frame_entry(verdict), _sizes(shot, number), noted)

    already = len(shot.wanted) - len(todo)
    report.already(already)
    for _ in in_order(shot, lambda i: finish_frame(todo[i]), len(todo), offset=already):
        pass


def _unfinished(shot: Shot) -> list[int]:
    """Indices of the frames that this run has yet to make."""
    all_there(shot)
    place = {number: index for index, number in enumerate(shot.footage.frames)}
    return [place[number] for number in shot.wanted if number not in shot.journal.frames]


def all_there(shot: Shot) -> bool:
    """Whether every file of a finished run lies whole where it was written; forgets the frames of those that do not."""
    lost = [number for number in shot.wanted if not _is_there(shot, number)]
    shot.journal.forget_frames(lost)
    return not lost and (shot.output / "manifest.json").is_file()


def _is_there(shot: Shot, number: int) -> bool:
    """Whether every file of a frame is there, and as large as it was written: copies may have another time."""
    try:
        sizes = _sizes(shot, number)
    except OSError:
        return False
    return shot.journal.sizes.get(number, {}).items() <= sizes.items()


def gather(shot: Shot) -> None:
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
            journal.finish_frame(number, journal.frames[number], _sizes(shot, number))
        return good

    altered = [number for number, good in zip(todo, in_order(shot, agrees, len(todo)), strict=True) if not good]
    for number in altered:
        journal.withdraw_frame(number)
    if altered:
        raise OutputError(f"{_frames(altered)} not as written: files were changed or damaged.", _again(altered))


def _files_as_they_are(shot: Shot, number: int) -> list[list[int]]:
    """Size and time of each file of a frame; to the second, which every file system and copy keeps."""
    facts = [path.stat() for path in _files(shot, number).values()]
    return [[fact.st_size, fact.st_mtime_ns // NANOSECONDS] for fact in facts]


def _sizes(shot: Shot, number: int) -> dict[str, int]:
    """The size of a frame's file of each sequence."""
    return {name: path.stat().st_size for name, path in _files(shot, number).items()}


def _files(shot: Shot, number: int) -> dict[str, Path]:
    """A frame's file of each sequence."""
    return {name: frame_path(shot.output, name, number, shot.footage.padding) for name in shot.job.sequences}


def _reads_as_said(shot: Shot, number: int) -> bool:
    """Whether a frame's files give what their task noted when it read them back."""
    try:
        plate, names = shot.plate.read(number), shot.job.order_at(number)
        made = shot.job.output
        verdict = verify_frame(
            shot.output, shot.footage, names, plate, made.splits, made.combined, largest=shot.largest
        )
    except OutputError:
        return False
    return frame_entry(verdict) == shot.journal.frames[number]


def _frames(numbers: list[int]) -> str:
    return f"Frame {numbers[0]} is" if len(numbers) == 1 else f"Frames {compact_ranges(numbers)} are"


def _again(numbers: list[int]) -> str:
    return f"Run --stage frames --frames {compact_ranges(numbers).replace(' ', '')}, then this again."
