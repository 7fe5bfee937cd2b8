"""Real image and movie files in many variants, made by the libraries that read them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import OpenImageIO as oiio

from engine.read_samples import write_image, write_parts

SIZE = (24, 32)
_EXR = ("none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab")
_MOVIES = (
    ("h264.mp4", "libx264", "yuv420p"), ("h264.mov", "libx264", "yuv444p"), ("prores.mov", "prores_ks", "yuv422p10le"),
    ("prores4.mov", "prores_ks", "yuva444p10le"), ("dnxhr.mov", "dnxhd", "yuv422p"), ("png.mov", "png", "rgba"),
    ("animation.mov", "qtrle", "argb"), ("mjpeg.avi", "mjpeg", "yuvj420p"), ("mpeg4.mp4", "mpeg4", "yuv420p"),
    ("ffv1.mkv", "ffv1", "yuv422p10le"), ("vp9.webm", "libvpx-vp9", "yuv420p"), ("vp8.webm", "libvpx", "yuv420p"),
    ("mpeg2.mxf", "mpeg2video", "yuv422p"), ("mpeg2.mpg", "mpeg2video", "yuv420p"), ("h264.ts", "libx264", "yuv420p"),
    ("picture.gif", "gif", "rgb8"), ("raw.y4m", "rawvideo", "yuv420p"), ("hevc.mp4", "libx265", "yuv420p10le"),
)  # fmt: skip


def write_images(folder: Path) -> list[Path]:
    """Still images of every kind a plate or mask comes in; what OpenImageIO cannot write here is left out."""
    half, byte, deep = _float_picture(4), _picture(4, np.uint8), _picture(4, np.uint16)
    text = {
        "comment": "roto v3",
        "framesPerSecond": ("rational", (24, 1)),
        "smpte:TimeCode": ("timecode", (16909060, 0)),
    }
    made = [write_image(folder / f"exr_{name}.exr", half, attributes={"compression": name, **text}) for name in _EXR]
    made += [
        write_image(folder / "exr_float.exr", half[..., :3], "float", attributes={"compression": "zip"}),
        write_image(folder / "exr_window.exr", half[..., :3], window=(-5, 7, 64, 48)),
        write_image(folder / "exr_roto.exr", half, channels=("R", "G", "B", "roto.person"), attributes=text),
        write_parts(folder / "exr_parts.exr", {"rgba": (("R", "G", "B"), half[..., :3]), "m": (("Y",), half[..., 3:])}),
        _tiled(folder / "exr_tiled.exr", half),
        write_image(folder / "png_8.png", byte, "uint8"),
        write_image(folder / "png_16.png", deep[..., :3], "uint16"),
        write_image(folder / "png_grey.png", byte[..., :1], "uint8"),
        write_image(folder / "jpeg.jpg", byte[..., :3], "uint8", attributes={"Orientation": 6}),
        write_image(folder / "jpeg_grey.jpg", byte[..., :1], "uint8"),
    ]
    for bits in (8, 10, 12, 16):
        kind = "uint8" if bits == 8 else "uint16"
        picture = (byte if bits == 8 else deep)[..., :3]
        made.append(write_image(folder / f"dpx_{bits}.dpx", picture, kind, attributes={"oiio:BitsPerSample": bits}))
    for name in ("none", "lzw", "zip", "packbits"):
        made.append(write_image(folder / f"tiff_{name}.tif", deep, "uint16", attributes={"compression": name}))
    made.append(write_image(folder / "tiff_float.tif", half[..., :3], "float"))
    for suffix in ("tga", "bmp", "hdr", "webp", "psd", "iff", "sgi", "ppm", "jxl"):
        picture = half[..., :3] if suffix == "hdr" else byte[..., :3]
        try:
            made.append(write_image(folder / f"other.{suffix}", picture, "float" if suffix == "hdr" else "uint8"))
        except AssertionError:
            oiio.geterror()
    return made


def write_movies(folder: Path) -> list[Path]:
    """Movies of four frames by every encoder of the list that is there."""
    return [path for name, codec, form in _MOVIES if (path := _movie(folder / name, codec, form)) is not None]


def _movie(path: Path, codec: str, form: str) -> Path | None:
    # DNxHR and MPEG-2 take no picture as small as the others.
    height, width = (128, 256) if codec == "dnxhd" else (48, 64)
    try:
        with av.open(str(path), "w") as container:
            container.metadata["title"] = "roto"
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, form
            if codec == "dnxhd":
                stream.options = {"profile": "dnxhr_hq"}
            for k in range(4):
                picture = np.random.default_rng(k).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
                frame = av.VideoFrame.from_ndarray(picture.repeat(8, 0).repeat(8, 1), "rgb24").reformat(format=form)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except (av.FFmpegError, ValueError):
        path.unlink(missing_ok=True)
        return None
    return path


def _picture(channels: int, kind: type) -> np.ndarray:
    return np.random.default_rng(1).integers(0, np.iinfo(kind).max, (*SIZE, channels), kind, endpoint=True)


def _float_picture(channels: int) -> np.ndarray:
    smooth = np.linspace(0, 1, SIZE[0] * SIZE[1] * channels, dtype=np.float32)
    return smooth.reshape(*SIZE, channels)


def _tiled(path: Path, pixels: np.ndarray) -> Path:
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], "half")
    spec.tile_width = spec.tile_height = 16
    image = oiio.ImageOutput.create(str(path))
    assert image.open(str(path), spec)
    assert image.write_image(np.ascontiguousarray(pixels))
    image.close()
    return path
