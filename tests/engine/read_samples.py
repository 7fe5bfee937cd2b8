"""Small clips written on the fly for the read stage's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import OpenImageIO as oiio


def write_image(path: Path, pixels: np.ndarray, kind: str = "half", **header: Any) -> Path:
    """Stores an H x W x C array. ``kind``: half, float, uint8, uint16, uint. Integer arrays are stored as they are.

    ``window``: (x, y, full width, full height); ``channels``: names; ``attributes``: name -> value or (type, value).
    """
    height, width, count = pixels.shape
    spec = oiio.ImageSpec(width, height, count, kind)
    spec.channelnames = header.get("channels") or (("Y",), ("Y", "A"), ("R", "G", "B"), ("R", "G", "B", "A"))[count - 1]
    if "window" in header:
        spec.x, spec.y, spec.full_width, spec.full_height = header["window"]
    # As the file has it: PNG would divide by alpha otherwise.
    spec.attribute("oiio:UnassociatedAlpha", 1)
    for name, value in header.get("attributes", {}).items():
        spec.attribute(name, *(value if isinstance(value, tuple) else (value,)))
    path.parent.mkdir(parents=True, exist_ok=True)
    image = oiio.ImageOutput.create(str(path))
    assert image is not None, oiio.geterror()
    assert image.open(str(path), spec), image.geterror()
    assert image.write_image(np.ascontiguousarray(pixels)), image.geterror()
    assert image.close()
    return path


def write_parts(path: Path, parts: dict[str, tuple[tuple[str, ...], np.ndarray]]) -> Path:
    """A multi-part EXR: part name -> channel names and H x W x C pixels."""
    specs = []
    for name, (channels, pixels) in parts.items():
        spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], "half")
        spec.channelnames = channels
        spec.attribute("oiio:subimagename", name)
        specs.append(spec)
    image = oiio.ImageOutput.create(str(path))
    assert image.open(str(path), tuple(specs))
    for index, (_, pixels) in enumerate(parts.values()):
        assert index == 0 or image.open(str(path), specs[index], "AppendSubimage")
        assert image.write_image(np.ascontiguousarray(pixels, np.float32))
    image.close()
    return path


def write_sequence(folder: Path, numbers: list[int] | range, suffix: str = ".exr", kind: str = "half") -> str:
    """Frames of 6 x 8 whose red is the frame number's place (0, 1/16, 2/16 ...); returns the pattern."""
    for place, number in enumerate(numbers):
        write_image(folder / f"plate.{number:04d}{suffix}", flat(place / 16, 0.25, 0.5), kind)
    return str(folder / f"plate.%04d{suffix}")


def flat(*color: float, size: tuple[int, int] = (6, 8)) -> np.ndarray:
    """H x W x C of one colour."""
    return np.tile(np.array(color, np.float32), (*size, 1))


def write_movie(
    path: Path,
    frames: list[np.ndarray],
    codec: str = "libx264",
    pixel_format: str = "yuv444p",
    rotation: float = 0,
    tags: dict[str, int] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A movie of frames given as planes in the format's codes: H x W x 3 (Y, Cb, Cr or G, B, R) or H x W (luma)."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.options = {"crf": "0", "preset": "ultrafast"} if codec == "libx264" else {}
        stream.options = {**stream.options, **(options or {})}
        if rotation:
            stream.set_display_rotation(rotation)
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        for codes in frames:
            frame = planar_frame(codes, pixel_format)
            for name, value in (tags or {}).items():
                setattr(frame, name, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def planar_frame(codes: np.ndarray, pixel_format: str) -> av.VideoFrame:
    """A frame holding these codes in its planes; chroma of a subsampled format is taken at every second pixel."""
    frame = av.VideoFrame(codes.shape[1], codes.shape[0], pixel_format)
    for index, plane in enumerate(frame.planes):
        values = codes if codes.ndim == 2 else codes[..., index]
        across, down = -(-codes.shape[1] // plane.width), -(-codes.shape[0] // plane.height)
        kind = np.uint8 if frame.format.components[0].bits <= 8 else np.uint16
        rows = np.zeros((plane.height, plane.line_size // np.dtype(kind).itemsize), kind)
        rows[:, : plane.width] = values[::down, ::across]
        plane.update(rows.tobytes())
    return frame


def counted_frames(count: int, size: tuple[int, int] = (32, 48)) -> list[np.ndarray]:
    """Grey frames whose luma code is 20 + 4 times their place, so that each is known when it is seen."""
    return [np.dstack([np.full(size, code, np.uint8) for code in (20 + 4 * k, 128, 128)]) for k in range(count)]
