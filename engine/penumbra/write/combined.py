"""All layers of a frame in one EXR: as named layers of one image, or as parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from penumbra.color import FloatArray
from penumbra.frames import Footage, LayerStack, Region
from penumbra.job import OutputSettings
from penumbra.write.exr import RGB, RGBA, Pixels, exr_spec, tag_frame, write_parts
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
    parts = combined_channels([layer.name for layer in stack.layers], output.combined)
    specs = [exr_spec(footage, data, channels, output) for _, channels in parts]
    if output.combined == "multilayer":
        cropped = [(BACKGROUND, np.concatenate([pixels for _, pixels in cropped], axis=-1))]
    else:
        for spec, (name, _) in zip(specs, cropped, strict=True):
            spec.attribute("oiio:subimagename", name)
    for spec, (name, _) in zip(specs, cropped, strict=True):
        tag_frame(spec, footage, COMBINED if len(specs) == 1 else name, stack.number, software)
    path = frame_path(folder, COMBINED, stack.number, footage.padding)
    write_parts(path, [Pixels(pixels) for _, pixels in cropped], specs)
    return path


def combined_channels(names: Sequence[str], combined: str) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The parts of a combined file: whose pixels each holds, one after the other, and their channels' names.

    ``names`` back to front; ``combined`` as in the output settings, no parts for ``off``.
    """
    if combined == "multilayer":
        channels = RGB + tuple(f"{name}.{channel}" for name in names for channel in RGBA)
        return [((BACKGROUND, *names), channels)]
    if combined == "multipart":
        return [((BACKGROUND,), RGB), *(((name,), RGBA) for name in names)]
    return []


def _stored(pixels: FloatArray, output: OutputSettings) -> FloatArray:
    return np.clip(pixels, -HALF_MAX, HALF_MAX) if output.precision == "half" else pixels
