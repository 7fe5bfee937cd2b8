"""Windows of clips on disk, in the Kubric or the Omnimatte layout, cropped at random as the published training does.

Decoding goes on beside training, a step ahead; decoded images are kept as bytes while they fit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from penumbra.errors import FootageError, JobError
from penumbra.training.datasets import ClipFiles, find_clips, list_clip, read_colour, read_grey
from penumbra.training.window_batches import WINDOW
from penumbra.windows import fitting_stride

_UNCROPPED = 0.2  # of the windows; the others lose up to a twentieth at the top and a tenth at the other sides
_CROPS = (0.05, 0.1, 0.1, 0.1)  # at most, top, bottom, left, right (published implementation)
_READERS = 4


@dataclass(frozen=True)
class ClipSettings:
    """Clips to train on: ``folders`` of clips, or single ones. ``share`` of the windows come from them, the others are
    rendered.

    ``stride`` frames lie between a window's frames (less where a clip is too short). ``estimated`` is the share of
    windows with the estimated background where a clip has both. ``cache_gigabytes`` of decoded images are kept.
    """

    folders: tuple[str, ...]
    share: float = 1.0
    stride: int = 3
    estimated: float = 1.0
    cache_gigabytes: float = 4.0

    def __post_init__(self) -> None:
        if not self.folders:
            raise JobError("The clips to train on name no folder.", "Name one, or leave clips out.")
        if not 0 < self.share <= 1:
            raise JobError(f"A share of {self.share} clips is impossible.", "Choose more than 0 and up to 1.")
        if self.stride < 1:
            raise JobError(f"A stride of {self.stride} frames is impossible.", "Choose 1 or more.")


@dataclass(frozen=True)
class ClipPlace:
    """A window of a clip on disk: its clip and frames as indices, the part that is kept (top, bottom, left, right, as
    shares of the sides), and which background.
    """

    clip: int
    frames: tuple[int, ...]
    kept: tuple[float, float, float, float]
    estimated: bool


class ClipPool:
    """Windows of the clips at ``height`` x ``width``, to which the cropped frames are stretched."""

    def __init__(self, settings: ClipSettings, height: int, width: int) -> None:
        self.settings, self.height, self.width = settings, height, width
        self.clips = [_usable(list_clip(path)) for folder in settings.folders for path in find_clips(Path(folder))]
        self._counts = np.array([len(clip.masks) for clip in self.clips])
        self._images = _Images(int(settings.cache_gigabytes * 2**30))
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="clips")
        self._ahead: dict[ClipPlace, Future[tuple[torch.Tensor, ...]]] = {}

    def shares(self) -> dict[int, float]:
        """How often a window has so many objects; they add up to 1."""
        counts, times = np.unique(self._counts, return_counts=True)
        return {int(count): float(n) / len(self.clips) for count, n in zip(counts, times, strict=True)}

    def draw(self, random: np.random.Generator, objects: int, count: int) -> list[ClipPlace]:
        """``count`` windows of clips with so many objects at random."""
        fitting = np.flatnonzero(self._counts == objects)
        return [self._place(random, int(random.choice(fitting))) for _ in range(count)]

    def prepare(self, places: Iterable[ClipPlace]) -> None:
        """Starts decoding windows that will be asked for next."""
        self._ahead = {place: self._readers.submit(self._read, place) for place in places}

    def window(self, place: ClipPlace) -> tuple[torch.Tensor, ...]:
        """Frames (T, 3, H, W), masks (T, K, H, W) and background (T, 3, H, W) as bytes, and order (T, K)."""
        ahead = self._ahead.pop(place, None)
        return ahead.result() if ahead is not None else self._read(place)

    def close(self) -> None:
        """Stops decoding."""
        self._readers.shutdown(wait=True, cancel_futures=True)

    def _place(self, random: np.random.Generator, index: int) -> ClipPlace:
        clip = self.clips[index]
        step = fitting_stride(len(clip.frames), WINDOW, self.settings.stride)
        first = int(random.integers(0, len(clip.frames) - step * (WINDOW - 1)))
        cut = random.uniform(0, _CROPS) * (random.random() >= _UNCROPPED)
        kept = (float(cut[0]), float(1 - cut[1]), float(cut[2]), float(1 - cut[3]))
        wanted = random.random() < self.settings.estimated
        estimated = clip.estimated is not None and (wanted or not clip.background)
        return ClipPlace(index, tuple(first + step * t for t in range(WINDOW)), kept, bool(estimated))

    def _read(self, place: ClipPlace) -> tuple[torch.Tensor, ...]:
        clip = self.clips[place.clip]
        fit = partial(_fitted, kept=place.kept, height=self.height, width=self.width)
        colour = [fit(self._images.colour(clip.frames[t])) for t in place.frames]
        grey = [[fit(self._images.grey(mask[t])) for mask in clip.masks] for t in place.frames]
        if place.estimated and clip.estimated is not None:
            behind = [fit(self._images.colour(clip.estimated))] * WINDOW
        else:
            behind = [fit(self._images.colour(clip.background[t])) for t in place.frames]
        order = clip.order[list(place.frames)]
        pictures = (torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) for images in (colour, behind))
        frames, background = pictures
        return frames, torch.from_numpy(np.array(grey)), background, torch.from_numpy(order)


class _Images:
    """Decoded images as bytes, the longest unused forgotten first. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size, self._lock = limit, 0, Lock()
        self._kept: OrderedDict[Path, NDArray[np.uint8]] = OrderedDict()

    def colour(self, path: Path) -> NDArray[np.uint8]:
        """The image at ``path`` as (H, W, 3)."""
        return self._get(path, read_colour)

    def grey(self, path: Path) -> NDArray[np.uint8]:
        """The image at ``path`` as (H, W)."""
        return self._get(path, read_grey)

    def _get(self, path: Path, read: Callable[[Path], NDArray[np.float32]]) -> NDArray[np.uint8]:
        with self._lock:
            image = self._kept.get(path)
            if image is not None:
                self._kept.move_to_end(path)
                return image
        return self._keep(path, np.asarray(np.round(read(path) * 255), np.uint8))

    def _keep(self, path: Path, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with self._lock:
            self._size += 0 if path in self._kept else image.nbytes
            self._kept[path] = image
            while self._size > self._limit and self._kept:
                self._size -= self._kept.popitem(last=False)[1].nbytes
        return image


def _fitted(
    image: NDArray[np.uint8], kept: tuple[float, float, float, float], height: int, width: int
) -> NDArray[np.uint8]:
    """The kept part of (H, W, 3) or (H, W), edges as shares of the sides, stretched to the working size."""
    rows, columns = image.shape[:2]
    top, bottom, left, right = kept
    part = image[int(top * rows) : int(bottom * rows), int(left * columns) : int(right * columns)]
    smaller = part.shape[0] >= height and part.shape[1] >= width
    fitted = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(fitted, np.uint8)


def _usable(clip: ClipFiles) -> ClipFiles:
    if len(clip.frames) < WINDOW:
        raise FootageError(f"{clip.folder} has {len(clip.frames)} frames; training needs {WINDOW}.", "Leave it out.")
    if not clip.background and clip.estimated is None:
        raise FootageError(f"{clip.folder} has no background.", "Add bg_est.png or bg.png, or leave the clip out.")
    return clip
