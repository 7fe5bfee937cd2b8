"""A frame's clean plate and layers to EXR files."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from penumbra.arrays import farthest
from penumbra.errors import PenumbraError
from penumbra.frames import Footage, Layer, LayerStack, Plate, Region
from penumbra.job import OutputSettings
from penumbra.threads import for_each
from penumbra.write.exr import RGB, RGBA, Pixels, exr_spec, tag_frame, write_parts
from penumbra.write.files import frame_path

HALF_MAX = 65504.0
BACKGROUND = "background"
_THREADS = 4


class FrameWriter:
    """Writes frames of one clip into one folder; frames may be written from several threads at once.

    The same stack, footage and settings give the same bytes, whenever and in whatever order they are written.
    ``clamped``: frame number -> how many values were beyond half's range and written as its largest, +-65504.
    """

    def __init__(self, folder: Path, footage: Footage, output: OutputSettings, software: str) -> None:
        self.clamped: dict[int, int] = {}
        self._folder, self._footage, self._output, self._software = folder, footage, output, software
        self._lock = threading.Lock()

    def write(self, stack: LayerStack, data: Region, plate: Plate | None = None) -> None:
        """Writes ``background`` (RGB) and every layer (premultiplied RGBA) of a frame, cropped to ``data``.

        ``stack`` covers the footage's canvas, scene-linear; ``data`` is the frame's own data window, inside it.
        ``plate``: the frame itself, whose file may lend what of it is background.

        Raises:
            OutputError: a file could not be written. Files of the frame that were, are whole and stay.
            PenumbraError: a layer holds values that are not finite.
        """
        if stack.background.shape[:2] != self._footage.canvas.shape:
            raise ValueError(f"frame {stack.number} of {stack.background.shape[:2]} does not cover the canvas")
        whole = data.slices_in(self._footage.canvas)
        like = None if plate is None or plate.stored is None else (plate.stored.path, plate.pixels[whole])
        background = Pixels(stack.background[whole], like=like)
        images = [(BACKGROUND, background), *((layer.name, self._cropped(layer, data)) for layer in stack.layers)]
        self._write_images(images, stack.number, data)

    def write_layers(self, layers: Sequence[Layer], number: int, data: Region) -> None:
        """Writes further layers of a frame, each into its own folder, as :meth:`write` does and raising as it does."""
        self._write_images([(layer.name, self._cropped(layer, data)) for layer in layers], number, data)

    def _cropped(self, layer: Layer, data: Region) -> Pixels:
        """What a layer holds of the frame's own data window."""
        spans = data.slices_in(self._footage.canvas)
        if layer.window is None:
            return Pixels(layer.held[spans])
        shared = [_shared(span, held) for span, held in zip(spans, layer.window, strict=True)]
        rows, columns = (_from(part, held.start) for part, held in zip(shared, layer.window, strict=True))
        window_rows, window_columns = (_from(part, span.start) for part, span in zip(shared, spans, strict=True))
        return Pixels(layer.held[rows, columns], (window_rows, window_columns))

    def _write_images(self, images: Sequence[tuple[str, Pixels]], number: int, data: Region) -> None:
        stored = [(name, self._stored(name, number, pixels)) for name, pixels in images]
        for_each(lambda image: self._write_one(*image, number, data), stored, _THREADS)

    def _write_one(self, name: str, pixels: Pixels, number: int, data: Region) -> None:
        spec = exr_spec(self._footage, data, RGB if pixels.held.shape[2] == 3 else RGBA, self._output)
        tag_frame(spec, self._footage, name, number, self._software)
        write_parts(frame_path(self._folder, name, number, self._footage.padding), [pixels], [spec])

    def _stored(self, name: str, number: int, pixels: Pixels) -> Pixels:
        """The pixels as the file can hold them; values beyond half's range would be infinite there."""
        largest = farthest(pixels.held)
        if not math.isfinite(largest):
            raise PenumbraError(
                f"Layer {name} of frame {number} holds values that are not finite; it was not written.",
                "This is a fault of Penumbra: please report it with the job file.",
            )
        if self._output.precision != "half" or largest <= HALF_MAX:
            return pixels
        beyond = int(np.count_nonzero(np.abs(pixels.held) > HALF_MAX))
        with self._lock:
            self.clamped[number] = self.clamped.get(number, 0) + beyond
        within = np.clip(pixels.held, -HALF_MAX, HALF_MAX).astype(np.float32, copy=False)
        return Pixels(within, pixels.window, pixels.like)


def _shared(one: slice, other: slice) -> slice:
    start = max(one.start, other.start)
    return slice(start, max(start, min(one.stop, other.stop)))


def _from(span: slice, origin: int) -> slice:
    return slice(span.start - origin, span.stop - origin)
