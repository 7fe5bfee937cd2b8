"""All layers of a frame in one EXR: as named layers of one image, or as parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from penumbra.color import FloatArray
from penumbra.frames import Footage, LayerStack, Region
from penumbra.job import OutputSettings
from penumbra.write.exr import RGB, RGBA, exr_spec, tag_frame, write_parts
from penumbra.write.files import frame_path
from penumbra.write.frame_writer import BACKGROUND, HALF_MAX

COMBINED = "layers"
"""Folder and file name of the combined files: ``layers/layers.1001.exr``."""


def write_combined(
    folder: Path, footage: Footage, output: OutputSettings, software: str, stack: LayerStack, data: Region
) -> Path:
    """Writes a frame's clean plate and layers into one file, in the precision of the single ones, and returns its path.

    ``output.combined`` is ``multilayer``: one part whose plain R, G, B are the clean plate and whose ``NAME.R`` to
    ``NAME.A`` are the layers; or ``multipart``: a part ``background`` and one per layer, back to front. The file
    appears whole or not at all; raises OutputError when it cannot be written.
    """
    rows, columns = data.slices_in(footage.canvas)
    images = [(BACKGROUND, stack.background), *((layer.name, layer.pixels) for layer in stack.layers)]
    cropped = [(name, _stored(pixels[rows, columns], output)) for name, pixels in images]
    if output.combined == "multilayer":
        named = cropped[1:]
        channels = RGB + tuple(f"{name}.{channel}" for name, _ in named for channel in RGBA)
        cropped = [(BACKGROUND, np.concatenate([pixels for _, pixels in cropped], axis=-1))]
        specs = [exr_spec(footage, data, channels, output)]
    else:
        specs = [exr_spec(footage, data, RGB if name == BACKGROUND else RGBA, output) for name, _ in cropped]
        for spec, (name, _) in zip(specs, cropped, strict=True):
            spec.attribute("oiio:subimagename", name)
    for spec, (name, _) in zip(specs, cropped, strict=True):
        tag_frame(spec, footage, COMBINED if len(specs) == 1 else name, stack.number, software)
    path = frame_path(folder, COMBINED, stack.number, footage.padding)
    write_parts(path, [pixels for _, pixels in cropped], specs)
    return path


def _stored(pixels: FloatArray, output: OutputSettings) -> FloatArray:
    return np.clip(pixels, -HALF_MAX, HALF_MAX) if output.precision == "half" else pixels
