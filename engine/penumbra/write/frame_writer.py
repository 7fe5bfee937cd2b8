"""A frame's clean plate and layers to EXR files."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from penumbra.color import FloatArray
from penumbra.errors import PenumbraError
from penumbra.frames import Footage, Layer, LayerStack, Region
from penumbra.job import OutputSettings
from penumbra.write.exr import RGB, RGBA, exr_spec, tag_frame, write_exr
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

    def write(self, stack: LayerStack, data: Region) -> None:
        """Writes ``background`` (RGB) and every layer (premultiplied RGBA) of a frame, cropped to ``data``.

        ``stack`` covers the footage's canvas, scene-linear; ``data`` is the frame's own data window, inside it.

        Raises:
            OutputError: a file could not be written. Files of the frame that were, are whole and stay.
            PenumbraError: a layer holds values that are not finite.
        """
        if stack.background.shape[:2] != self._footage.canvas.shape:
            raise ValueError(f"frame {stack.number} of {stack.background.shape[:2]} does not cover the canvas")
        images = [(BACKGROUND, stack.background), *((layer.name, layer.pixels) for layer in stack.layers)]
        self._write_images(images, stack.number, data)

    def write_layers(self, layers: Sequence[Layer], number: int, data: Region) -> None:
        """Writes further layers of a frame, each into its own folder, as :meth:`write` does and raising as it does."""
        self._write_images([(layer.name, layer.pixels) for layer in layers], number, data)

    def _write_images(self, images: Sequence[tuple[str, FloatArray]], number: int, data: Region) -> None:
        rows, columns = data.slices_in(self._footage.canvas)
        cropped = [(name, self._stored(name, number, pixels[rows, columns])) for name, pixels in images]
        with ThreadPoolExecutor(min(_THREADS, len(cropped))) as pool:
            for written in [pool.submit(self._write_one, name, number, px, data) for name, px in cropped]:
                written.result()

    def _write_one(self, name: str, number: int, pixels: FloatArray, data: Region) -> None:
        spec = exr_spec(self._footage, data, RGB if pixels.shape[2] == 3 else RGBA, self._output)
        tag_frame(spec, self._footage, name, number, self._software)
        write_exr(frame_path(self._folder, name, number, self._footage.padding), pixels, spec)

    def _stored(self, name: str, number: int, pixels: FloatArray) -> FloatArray:
        """The pixels as the file can hold them; values beyond half's range would be infinite there."""
        # The extremes tell of all others, and of NaN, without an array of booleans as large as the frame.
        least, most = (float(pick(pixels)) for pick in (np.min, np.max))
        if not (math.isfinite(least) and math.isfinite(most)):
            raise PenumbraError(
                f"Layer {name} of frame {number} holds values that are not finite; it was not written.",
                "This is a fault of Penumbra: please report it with the job file.",
            )
        if self._output.precision != "half" or max(most, -least) <= HALF_MAX:
            return pixels
        beyond = int(np.count_nonzero(np.abs(pixels) > HALF_MAX))
        with self._lock:
            self.clamped[number] = self.clamped.get(number, 0) + beyond
        return np.clip(pixels, -HALF_MAX, HALF_MAX)
