"""The clean plate as it was found, beside the background that the layers recompose on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from penumbra.color import FloatArray
from penumbra.frames import Footage, Region
from penumbra.job import OutputSettings
from penumbra.write.exr import exr_spec, tag_frame, write_exr
from penumbra.write.files import frame_path

CLEAN = "clean"
CHANNELS = ("R", "G", "B", "seen")
_HALF_MAX = 65504.0


def write_clean_frame(
    folder: Path, footage: Footage, output: OutputSettings, software: str, number: int, clean: FloatArray,
    seen: FloatArray, data: Region,
) -> None:  # fmt: skip
    """Writes ``folder/clean/clean.1001.exr``, cropped to ``data``: R, G, B and the matte ``seen``.

    ``clean`` (H, W, 3) scene-linear over the footage's canvas, the frame's own exposure in it; ``seen`` (H, W) in
    [0, 1], 1 where some frame showed the pixel, 0 where it was filled in from around. Values beyond half's range become
    its largest. Raises :class:`OutputError` when the file could not be written.
    """
    rows, columns = data.slices_in(footage.canvas)
    pixels = np.dstack([clean[rows, columns], seen[rows, columns]]).astype(np.float32, copy=False)
    spec = exr_spec(footage, data, CHANNELS, output)
    tag_frame(spec, footage, CLEAN, number, software)
    path = frame_path(folder, CLEAN, number, footage.padding)
    if output.precision == "half":
        pixels = np.clip(pixels, -_HALF_MAX, _HALF_MAX)
    write_exr(path, pixels, spec)
