"""What is in a clip, as plain JSON values for ``penumbra inspect``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from penumbra.errors import PenumbraError
from penumbra.frames import Region
from penumbra.read.clips import Clip, ImageClip, MovieClip, open_clip
from penumbra.read.encodings import find_decoding
from penumbra.read.masks import as_8_bit
from penumbra.read.movie_pixels import movie_color
from penumbra.read.sequences import find_clip, missing_ranges, number_ranges

_MOST_VALUES = 64


def inspect_footage(path: str) -> dict[str, Any]:
    """Reads all headers and the first frame; raises the errors a plate at that path would, holes excepted."""
    files = find_clip(path)
    clip = open_clip(files)
    try:
        holes = missing_ranges(clip.numbers, clip.numbers[0], clip.numbers[-1])
        return {
            "path": path,
            "pattern": files.pattern,
            "kind": "movie" if clip.is_movie else "still" if clip.still else "sequence",
            "frames": _ranges(clip.numbers),
            "count": len(clip.numbers),
            "holes": [list(hole) for hole in holes],
            "width": clip.display.width,
            "height": clip.display.height,
            "display_window": _region(clip.display),
            "data_window": _region(clip.canvas_of(clip.channels[:1])),
            "channels": list(clip.channels),
            "layers": _layers(clip.channels),
            "pixel_aspect": clip.pixel_aspect,
            "fps": None if clip.fps is None else f"{clip.fps}",
            "timecode": clip.timecode,
            "metadata": clip.metadata,
            **_color(clip),
            **(_movie(clip) if isinstance(clip, MovieClip) else _still(clip)),
            **_values(clip),
        }
    finally:
        clip.close()


def _color(clip: Clip) -> dict[str, Any]:
    try:
        name, warnings = clip.encoding()
        decoding = find_decoding(name)
    except PenumbraError as error:
        return {"color_space": None, "linear_space": None, "warnings": [str(error)]}
    return {
        "color_space": decoding.source,
        "linear_space": decoding.space.name,
        "warnings": [*warnings, *decoding.warnings],
    }


def _movie(clip: MovieClip) -> dict[str, Any]:
    color, form = movie_color(clip.movie.first), clip.movie.first.format
    return {
        "codec": clip.movie.codec,
        "pixel_format": form.name,
        "bit_depth": form.components[0].bits,
        "matrix": color.matrix + (" (not tagged)" if color.guessed else ""),
        "range": "full" if color.full_range or form.is_rgb else "limited",
    }


def _still(clip: ImageClip) -> dict[str, Any]:
    tags, formats = clip.first.tags, sorted({name for part in clip.first.parts for name in part.formats})
    return {
        "codec": clip.first.file_format,
        "compression": tags.get("compression"),
        "bit_depth": int(tags.get("oiio:BitsPerSample") or _bits(formats[0])),
        "pixel_format": ", ".join(formats),
        "parts": len(clip.first.parts),
    }


def _bits(name: str) -> int:
    return {"half": 16, "uint8": 8, "int8": 8, "uint16": 16, "int16": 16, "double": 64}.get(name, 32)


def _values(clip: Clip) -> dict[str, Any]:
    """Distinct values of the first frame where there are few, as an ID image has; nothing for a movie's noise."""
    if isinstance(clip, MovieClip):
        return {}
    try:
        stored = clip.values(clip.numbers[0], clip.color)
    except PenumbraError:
        return {}
    found: dict[str, Any] = {}
    first = _few(stored[..., 0])
    if first is not None:
        found["id_values"] = [_number(value) for value in first]
    if stored.shape[2] == 3:
        codes = as_8_bit(stored).astype(np.uint32)
        colors = _few(codes[..., 0] << 16 | codes[..., 1] << 8 | codes[..., 2])
        if colors is not None:
            found["id_colors"] = [f"{int(value):06X}" for value in colors]
    return found


def _few(values: NDArray[Any]) -> NDArray[Any] | None:
    # A few rows tell a picture from an ID image without sorting all of it.
    if len(np.unique(values[:: max(1, len(values) // 8)])) > _MOST_VALUES:
        return None
    distinct = np.unique(values)
    return distinct if len(distinct) <= _MOST_VALUES else None


def _number(value: Any) -> int | float | None:
    number = float(value)
    return int(number) if number.is_integer() else number if np.isfinite(number) else None


def _ranges(numbers: Any) -> list[list[int]]:
    return [[first, last] for first, last in number_ranges(numbers)]


def _region(region: Region) -> list[int]:
    """X, y, width, height."""
    return [region.x, region.y, region.width, region.height]


def _layers(channels: tuple[str, ...]) -> dict[str, list[str]]:
    layers: dict[str, list[str]] = {}
    for name in channels:
        layer, _, last = name.rpartition(".")
        layers.setdefault(layer or "main", []).append(last)
    return layers
