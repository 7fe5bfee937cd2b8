"""The types the stages hand to each other: arrays checked on construction, with what their numbers mean.

Arrays are H x W x C, row 0 at the top, float32. Regions are in pixel coordinates of the image plane with y down, as
OpenEXR's windows; (0, 0) is the first pixel of the display window of ordinary footage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import within
from penumbra.color import Alpha, DisplayEncoding, FloatArray, LinearSpace

# 16384 x 8192, a panorama's; no camera makes more, and a header that claims more must not take all memory.
MOST_PIXELS = 1 << 27

BoolArray: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """A rectangle of pixels: origin (may be negative) and size (positive)."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a region needs a positive size, not {self.width}x{self.height}")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width), as arrays have it."""
        return self.height, self.width

    def union(self, other: Region) -> Region:
        """The smallest region that holds both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        right = max(self.x + self.width, other.x + other.width)
        bottom = max(self.y + self.height, other.y + other.height)
        return Region(x, y, right - x, bottom - y)

    def slices_in(self, canvas: Region) -> tuple[slice, slice]:
        """Rows and columns of an array covering ``canvas`` that this region, which must lie inside, takes."""
        top, left = self.y - canvas.y, self.x - canvas.x
        if top < 0 or left < 0 or top + self.height > canvas.height or left + self.width > canvas.width:
            raise ValueError(f"{self} does not lie inside {canvas}")
        return slice(top, top + self.height), slice(left, left + self.width)

    def beyond(self, canvas: Region) -> BoolArray:
        """H x W of ``canvas``, True outside this region, which must lie inside."""
        beyond = np.ones(canvas.shape, np.bool_)
        beyond[self.slices_in(canvas)] = False
        return beyond


@dataclass(frozen=True)
class Footage:
    """What is known of a clip before any pixel is read.

    ``frames`` are the frame numbers, ascending and without holes; ``canvas`` is the region every frame's array covers
    (the union of all data windows); ``display`` the display window; ``space`` the scene-linear space pixels are given
    in; ``source_space`` what the files hold, as OCIO names it; ``timecode`` SMPTE hh:mm:ss:ff of the first frame.
    """

    path: str
    frames: tuple[int, ...]
    canvas: Region
    display: Region
    space: LinearSpace
    source_space: str
    pixel_aspect: float = 1.0
    fps: Fraction | None = None
    timecode: str | None = None
    padding: int = 4
    channels: tuple[str, ...] = ("R", "G", "B")
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredAs:
    """A file as it was when it was read: its size in bytes and the time, in nanoseconds, it was last changed at."""

    path: Path
    size: int
    changed: int

    @classmethod
    def now(cls, path: Path) -> StoredAs | None:
        """The file as it is; None where it is out of reach."""
        try:
            facts = path.stat()
        except OSError:
            return None
        return cls(path, facts.st_size, facts.st_mtime_ns)

    @property
    def unchanged(self) -> bool:
        """Whether it is still the same."""
        return StoredAs.now(self.path) == self


@dataclass(frozen=True)
class Plate:
    """One frame of the plate over the clip's canvas.

    ``pixels``: H x W x 3, scene-linear, finite, unbounded above, negative values as in the file. ``unresolved``: H x W,
    True where the file held a value that is not finite (``pixels`` is 0 there). ``data``: this frame's own data window.
    ``stored``: the OpenEXR file whose R, G and B are these very values over ``data``, where there is one.
    """

    number: int
    pixels: FloatArray
    data: Region
    canvas: Region
    unresolved: BoolArray | None = None
    stored: StoredAs | None = None

    def __post_init__(self) -> None:
        _check(self.pixels, (*self.canvas.shape, 3), f"plate frame {self.number}")

    def blank(self) -> BoolArray | None:
        """H x W, True where the file says nothing: outside its data window, or not finite; None where there is none."""
        if self.data == self.canvas:
            return self.unresolved
        beyond = self.data.beyond(self.canvas)
        return beyond if self.unresolved is None else beyond | self.unresolved


@dataclass(frozen=True)
class Mask:
    """One object's roto matte at one frame over the plate's canvas: H x W coverage in [0, 1]."""

    number: int
    coverage: FloatArray

    def __post_init__(self) -> None:
        _check(self.coverage, self.coverage.shape[:2], f"mask frame {self.number}")
        if not within(self.coverage, 1) and not (self.coverage.min() >= 0 and self.coverage.max() <= 1):
            raise ValueError(f"mask frame {self.number}: coverage outside [0, 1]")


@dataclass(frozen=True)
class Layer:
    """One object with its effects at one frame: H x W x 4, premultiplied, scene-linear.

    ``held``: h x w x 4, float32 or halves, what stands in ``window``, rows and columns of the frame's array of ``size``
    (H, W); around it all is zero. Without them it is the whole.
    """

    name: str
    held: FloatArray | NDArray[np.float16]
    alpha: Alpha = Alpha.PREMULTIPLIED
    window: tuple[slice, slice] | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        shape = self.held.shape[:2] if self.window is None else tuple(span.stop - span.start for span in self.window)
        _check(self.held, (*shape, 4), f"layer {self.name}", np.float16)
        if (self.window is None) != (self.size is None):
            raise ValueError(f"layer {self.name}: a window needs the frame's size, and the other way round")
        if self.alpha is not Alpha.PREMULTIPLIED:
            raise ValueError(f"layer {self.name}: only premultiplied layers are composited")

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the whole."""
        return self.size or (self.held.shape[0], self.held.shape[1])

    @property
    def pixels(self) -> FloatArray:
        """The whole, H x W x 4 float32; made anew each time where only a window, or halves, are held."""
        if self.window is None:
            return np.asarray(self.held, np.float32)
        whole = np.zeros((*self.shape, 4), np.float32)
        whole[self.window] = self.held
        return whole


@dataclass(frozen=True)
class LayerStack:
    """A frame taken apart: the clean plate (H x W x 3) and the layers over it, back to front."""

    number: int
    background: FloatArray
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        _check(self.background, (*self.background.shape[:2], 3), f"clean plate of frame {self.number}")
        for layer in self.layers:
            if layer.shape != self.background.shape[:2]:
                raise ValueError(f"layer {layer.name} and the clean plate of frame {self.number} differ in size")


@dataclass(frozen=True)
class WorkingClip:
    """The whole clip at working size, display-encoded: all the network ever sees.

    N frames, K objects, h x w multiples of 16. Arrays may be read-only memory maps.
    ``frames``     (N, h, w, 3) float32, [0, 1] in ``encoding`` (slightly outside for extreme values)
    ``masks``      (N, K, h, w) float32 coverage in [0, 1], objects in ``names``' order
    ``background`` (N, h, w, 3) the clean plate, as ``frames``
    ``valid``      (N, h, w) 1 where the clean plate was really seen at some frame, 0 where it was filled in
    ``believed``   (N, h, w) in [0, 1] how much of a difference from the clean plate objects and effects are to explain:
                   all where the background rests and in masks, elsewhere what it does not do by itself
    ``order``      (N, K) indices into ``names``, back to front
    """

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    frames: FloatArray
    masks: FloatArray
    background: FloatArray
    valid: FloatArray
    believed: FloatArray
    order: NDArray[np.int64]
    encoding: DisplayEncoding

    def __post_init__(self) -> None:
        n, k = len(self.numbers), len(self.names)
        h, w = self.frames.shape[1:3]
        if h % 16 or w % 16:
            raise ValueError(f"working size {h}x{w} is not a multiple of 16")
        for array, shape in (
            (self.frames, (n, h, w, 3)),
            (self.masks, (n, k, h, w)),
            (self.background, (n, h, w, 3)),
            (self.valid, (n, h, w)),
            (self.believed, (n, h, w)),
            (self.order, (n, k)),
        ):
            if array.shape != shape:
                raise ValueError(f"working clip array of shape {array.shape}, expected {shape}")


def _check(array: NDArray[np.floating], shape: tuple[int, ...], what: str, too: type[np.floating] = np.float32) -> None:
    if array.dtype not in (np.float32, too):
        raise TypeError(f"{what}: float32 expected, not {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{what}: shape {array.shape}, expected {shape}")
