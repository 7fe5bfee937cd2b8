"""Decoded movie frames to numbers: planes as stored, matrix, range and rotation as the movie is tagged.

Done in floating point on the stored planes, not by a scaler that rounds to 8 bits: nothing of a 10, 12 or 16-bit movie
is lost, and values beyond white or black stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from penumbra.color import FloatArray

# Red and blue weights of luma by the stream's matrix number (ITU-T H.273, table 4).
_MATRICES = {
    1: ("bt709", 0.2126, 0.0722),
    4: ("fcc", 0.30, 0.11),
    5: ("bt601", 0.299, 0.114),
    6: ("bt601", 0.299, 0.114),
    7: ("smpte240m", 0.212, 0.087),
    9: ("bt2020", 0.2627, 0.0593),
    10: ("bt2020", 0.2627, 0.0593),
}
# Curves by transfer number (H.273, table 3). Camera curves are shown on displays of about sRGB's, so movies that name
# one (or nothing) decode by the sRGB curve: a movie and a PNG of one picture then give the same light.
_TRANSFERS = {4: "g22", 5: "g28", 8: "lin", 16: "pq", 18: "hlg"}
_SRGB_LIKE = (0, 1, 2, 3, 6, 7, 11, 12, 13, 14, 15)
_PRIMARIES = {9: "rec2020", 11: "p3d65", 12: "p3d65"}
# What a packed or semi-planar format is rearranged to; it loses nothing.
_PLANAR = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "p010le": "yuv420p10le",
    "p012le": "yuv420p12le",
    "p016le": "yuv420p16le",
    "p210le": "yuv422p10le",
    "y210le": "yuv422p10le",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
}


@dataclass(frozen=True)
class MovieColor:
    """How a movie's numbers are meant. ``guessed``: the matrix is not tagged and was taken by the picture's size."""

    matrix: str
    red: float
    blue: float
    full_range: bool
    encoding: str
    guessed: bool = False
    warnings: tuple[str, ...] = ()


def movie_color(frame: VideoFrame) -> MovieColor:
    """The colour tags of a frame, with the usual defaults where there are none.

    Matrix: tagged, else BT.709 for pictures wider than 1024 or higher than 576, BT.601 below. Range: tagged, else
    limited for YUV. Transfer: linear, gamma 2.2 or 2.8, PQ and HLG as tagged; BT.709, the camera curves like it, sRGB
    and no tag by the sRGB curve. Primaries: BT.2020 and P3 as tagged, else Rec.709.
    """
    tagged = _MATRICES.get(int(frame.colorspace))
    name, red, blue = tagged or _MATRICES[1 if frame.width > 1024 or frame.height > 576 else 6]
    transfer, primaries = int(frame.color_trc), _PRIMARIES.get(int(frame.color_primaries), "rec709")
    known = transfer in _TRANSFERS or transfer in _SRGB_LIKE
    warnings = () if known else (f"The movie's transfer curve (number {transfer}) is not known; read as sRGB.",)
    full = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")
    return MovieColor(
        name, red, blue, full, f"{_TRANSFERS.get(transfer, 'srgb')}_{primaries}", tagged is None, warnings
    )


def movie_rgb(frame: VideoFrame) -> FloatArray:
    """H x W x 3 code values over their maximum: 0 is black and 1 white; beyond both as stored. Rotated for display."""
    planes = _planes(frame)
    color = movie_color(frame)
    if planes.rgb:
        return upright(np.stack([_scaled(plane, planes) for plane in planes.color], axis=-1), frame)
    luma = _luma(planes, color)
    if len(planes.color) == 1:
        return upright(np.repeat(luma[..., None], 3, axis=-1), frame)
    scale = np.float32(1 / (planes.peak if color.full_range else 224 * 2.0 ** (planes.bits - 8)))
    offset = np.float32(2.0 ** (planes.bits - 1))
    centred = frame.format.name.startswith("yuvj")
    chroma = [_enlarged((plane.astype(np.float32) - offset) * scale, luma.shape, centred) for plane in planes.color[1:]]
    matrix = _to_rgb(color)
    return upright(np.ascontiguousarray(cv2.transform(cv2.merge([luma, *chroma]), matrix)), frame)


def movie_luma(frame: VideoFrame) -> FloatArray:
    """H x W luma, 0 black and 1 white with the range expanded (for mattes); of RGB movies by BT.709's weights."""
    planes = _planes(frame)
    if planes.rgb:
        return movie_rgb(frame) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    return upright(_luma(planes, movie_color(frame)), frame)


def movie_alpha(frame: VideoFrame) -> FloatArray | None:
    """H x W alpha in [0, 1], None for a movie without one."""
    planes = _planes(frame)
    return None if planes.alpha is None else upright(_scaled(planes.alpha, planes), frame)


def upright(pixels: FloatArray, frame: VideoFrame) -> FloatArray:
    """Turned and mirrored as the movie's display matrix asks; other angles than right ones are ignored."""
    matrix = display_matrix(frame)
    if matrix is None:
        return pixels
    if matrix[0][0] == 0:
        pixels = pixels.swapaxes(0, 1)
    across, down = matrix[0][0] or matrix[0][1], matrix[1][1] or matrix[1][0]
    return np.ascontiguousarray(pixels[:: 1 if down > 0 else -1, :: 1 if across > 0 else -1])


def display_matrix(frame: VideoFrame) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Where the picture's x and y go, rows of ((xx, xy), (yx, yy)) of -1, 0, 1; None if upright or of an odd angle."""
    side = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return None
    entries: NDArray[np.int32] = np.frombuffer(memoryview(cast(bytes, side)), np.int32)
    xx, yx, _, xy, yy = (round(int(value) / 65536) for value in entries[:5])
    turned = abs(xx) == abs(yy) and abs(xy) == abs(yx) and abs(xx) + abs(xy) == 1
    return ((xx, xy), (yx, yy)) if turned and (xx, xy, yx, yy) != (1, 0, 0, 1) else None


@dataclass(frozen=True)
class _Planes:
    color: list[NDArray[Any]]
    alpha: NDArray[Any] | None
    bits: int
    peak: float
    rgb: bool


def _planes(frame: VideoFrame) -> _Planes:
    """Colour planes in the order Y, Cb, Cr or R, G, B, as stored."""
    frame = _as_planar(frame)
    components = frame.format.components
    floating = "f32" in frame.format.name
    kind = np.dtype(np.float32 if floating else np.uint8 if components[0].bits <= 8 else np.uint16)
    arrays = [_plane(frame, component.plane, kind) for component in components]
    alpha = next((array for array, c in zip(arrays, components, strict=True) if c.is_alpha), None)
    color = [array for array, c in zip(arrays, components, strict=True) if not c.is_alpha]
    bits = components[0].bits
    return _Planes(color, alpha, bits, 1.0 if floating else 2.0**bits - 1, frame.format.is_rgb)


def _plane(frame: VideoFrame, index: int, kind: np.dtype[Any]) -> NDArray[Any]:
    plane = frame.planes[index]
    rows: NDArray[Any] = np.frombuffer(memoryview(plane), kind).reshape(-1, plane.line_size // kind.itemsize)
    return rows[: plane.height, : plane.width]


def _as_planar(frame: VideoFrame) -> VideoFrame:
    form = frame.format
    own_planes = len({component.plane for component in form.components}) == len(form.components)
    if own_planes and not form.has_palette and not form.is_big_endian and not form.is_bit_stream:
        return frame
    target = _PLANAR.get(form.name)
    if target is None:
        deep, alpha = form.components[0].bits > 8, any(component.is_alpha for component in form.components)
        family = (
            ("gbrap" if alpha else "gbrp") if form.is_rgb or form.has_palette else "yuva444p" if alpha else "yuv444p"
        )
        if len(form.components) == 1 and not form.has_palette:
            family = "gray"
        target = family + ("16le" if deep else "")
    # One thread: sliced over several, libswscale 9.5 now and then leaves a row of a semi-planar frame's chroma out.
    return frame.reformat(format=target, threads=1)


def _scaled(plane: NDArray[Any], planes: _Planes) -> FloatArray:
    return plane.astype(np.float32) * np.float32(1 / planes.peak)


def _luma(planes: _Planes, color: MovieColor) -> FloatArray:
    step = 2.0 ** (planes.bits - 8)
    black, span = (0.0, planes.peak) if color.full_range or len(planes.color) == 1 else (16 * step, 219 * step)
    return (planes.color[0].astype(np.float32) - np.float32(black)) * np.float32(1 / span)


def _enlarged(chroma: FloatArray, shape: tuple[int, ...], centred: bool) -> FloatArray:
    """Linear interpolation with chroma sited left of its pixels (MPEG-2 and later), or between them (JPEG)."""
    height, width = shape
    if chroma.shape == shape:
        return chroma
    halved = chroma.shape[1] * 2 >= width > chroma.shape[1]
    if not halved or centred:
        return np.asarray(cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    rows = -(-height // chroma.shape[0]) * chroma.shape[0]
    tall = (
        chroma
        if rows == chroma.shape[0]
        else cv2.resize(chroma, (chroma.shape[1], rows), interpolation=cv2.INTER_LINEAR)
    )
    wide = np.empty((height, 2 * chroma.shape[1]), np.float32)
    tall = np.asarray(tall, np.float32)[:height]
    wide[:, ::2] = tall
    wide[:, 1:-1:2] = (tall[:, :-1] + tall[:, 1:]) / 2
    wide[:, -1] = tall[:, -1]
    return wide[:, :width]


def _to_rgb(color: MovieColor) -> FloatArray:
    """Y'CbCr to R'G'B' (H.273, equations 56 to 58)."""
    red, blue = color.red, color.blue
    green = 1 - red - blue
    return np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [1, 2 * (1 - blue), 0],
        ],
        np.float32,
    )
