"""Small clips on disk, and timelines and compositions that hold them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import OpenImageIO as oiio

from fakes.resolve import Composition, Resolve, Timeline, _pixels
from penumbra_resolve.shots import ask_to_stop

SIZE = (48, 64)
MEDIA_FIRST, MEDIA_COUNT = 1001, 60
HANDLE, COUNT = 10, 40


def picture(index, size=SIZE):
    """A linear plate with two boxes and their shadows, and their masks."""
    height, width = size
    plate = (0.3 + 0.1 * np.random.default_rng(7).random((height, width, 3))).astype(np.float32)
    masks = []
    step = index * 0.7
    for left, top, color in (
        (int(4 + step), height // 4, (0.7, 0.2, 0.1)),
        (int(50 - step), height // 2, (0.1, 0.3, 0.8)),
    ):
        mask = np.zeros(size, np.float32)
        mask[top : top + 10, left : left + 9] = 1
        plate[top + 10 : top + 13, left : left + 9] *= 0.5
        plate[mask > 0] = color
        masks.append(mask)
    return plate.astype(np.float16).astype(np.float32), masks


def rgba(index, mask=None):
    """A frame as Resolve holds it: the plate, opaque, or a mask's matte as alpha."""
    plate, masks = picture(index)
    if mask is None:
        return np.dstack([plate, np.ones(SIZE, np.float32)])
    return np.dstack([masks[mask]] * 4)


def write_media(folder: Path, count=MEDIA_COUNT, first=MEDIA_FIRST):
    """plate.1001.exr ..., car.0001.png ..., person.0001.png ...: masks numbered in their own way."""
    for index in range(count):
        plate, masks = picture(index)
        _pixels.write(folder / f"plate.{first + index:04d}.exr", plate, ("R", "G", "B"), oiio.HALF)
        for name, mask in zip(("car", "person"), masks, strict=True):
            _pixels.write(folder / f"{name}.{1 + index:04d}.png", np.dstack([mask] * 3), ("R", "G", "B"), oiio.UINT8)


def media(folder: Path, name, first, count, rate="23.976"):
    from fakes.resolve import MediaPoolItem

    suffix = "exr" if name == "plate" else "png"
    shown = f"{name}.[{first:04d}-{first + count - 1:04d}].{suffix}"
    return MediaPoolItem(shown, str(folder / shown), count, rate)


def edit(folder: Path, count=COUNT, handle=HANDLE, media_count=MEDIA_COUNT, rate="23.976", **given):
    """A timeline with the clip in its middle, its masks on named tracks, another clip before it; and the clip."""
    resolve = Resolve(**given)
    timeline = resolve._project._timeline = Timeline("01:00:00;00", rate)
    start, plain = timeline._start + 100, rate.split()[0]
    other = media(folder, "plate", MEDIA_FIRST, media_count, plain)
    timeline._put(other, 1, timeline._start, 50)
    clip = timeline._put(media(folder, "plate", MEDIA_FIRST, media_count, plain), 1, start, count, handle)
    for track, name in ((2, "car"), (3, "person")):
        timeline._put(media(folder, name, 1, media_count, plain), track, start, count, handle)
        timeline.SetTrackName("video", track, f"Mask {name}")
    timeline._playhead = start + count // 2
    return resolve, clip


def bin_names(folder):
    return {child.GetName(): bin_names(child) for child in folder.GetSubFolderList()}


def bin_at(resolve, *names):
    folder = resolve._project._pool._root
    for name in names:
        folder = next(child for child in folder.GetSubFolderList() if child.GetName() == name)
    return folder


def composition(first=0, count=6):
    """A clip's composition: MediaIn, two mattes, and what else is there; the plate and the masks are selected."""
    comp = Composition(first, first + count - 1)
    plate, car, person = (comp.AddTool(kind, x, 0) for kind, x in (("MediaIn", 0), ("Blur", 2), ("Blur", 4)))
    car.SetAttrs({"TOOLS_Name": "mask_car"})
    person.SetAttrs({"TOOLS_Name": "mask_person"})
    plate._node.image = lambda time: rgba(time - first)
    car._node.image = lambda time: rgba(time - first, 0)
    person._node.image = lambda time: rgba(time - first, 1)
    comp._selected = [person, car, plate]
    return comp


def stop_in_refinement(base):
    """Stops the run below a folder of shots, from another thread, once it refines."""
    while not list(base.glob("*/*/.penumbra/refine*")):
        time.sleep(0.1)
    assert ask_to_stop(base)
