"""Small files that claim to be large, each in a form its format allows."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from fuzz.footage import write_images, write_movies

CLAIMS = (100_000, 2000)


def write_bombs(folder: Path) -> list[Path]:
    """The bombs, a folder each so that none is taken for another's sequence."""
    sources = folder / "whole"
    sources.mkdir()
    whole = {path.name: path.read_bytes() for path in (*write_images(sources), *write_movies(sources))}
    made: dict[str, bytes] = {}
    for side in CLAIMS:
        made |= {f"{side}_{name}": data for name, data in _claiming(whole, side).items()}
    made |= {"zeros.png": _zeros(3000), "comment.png": _with_chunk(whole["png_8.png"], b"zTXt", b"Comment\0\0")}
    made["profile.png"] = _with_chunk(whole["png_8.png"], b"iCCP", b"x\0\0")
    for name, data in made.items():
        (folder / name.replace(".", "_")).mkdir()
        (folder / name.replace(".", "_") / name).write_bytes(data)
    return [folder / name.replace(".", "_") / name for name in made]


def _claiming(whole: dict[str, bytes], side: int) -> dict[str, bytes]:
    """Files of 32 x 24 or 64 x 48 pixels that say they have ``side`` x ``side``."""
    exr = [name for name in whole if name.startswith("exr_") and name not in ("exr_parts.exr", "exr_window.exr")]
    made = {name: _larger_exr(whole[name], side) for name in exr}
    png, jpeg, short = whole["png_8.png"], whole["jpeg.jpg"], min(side, 65_500)
    made["size.png"] = png[:8] + _chunk(b"IHDR", struct.pack(">2I", side, side) + png[24:29]) + png[33:]
    frame = jpeg.index(b"\xff\xc0") + 5
    made["size.jpg"] = jpeg[:frame] + struct.pack(">2H", short, short) + jpeg[frame + 4 :]
    dpx, order = whole["dpx_10.dpx"], ">" if whole["dpx_10.dpx"].startswith(b"SDPX") else "<"
    made["size.dpx"] = dpx[:772] + struct.pack(order + "2I", side, side) + dpx[780:]
    tiff = whole["tiff_none.tif"]
    for tag, was in ((256, 32), (257, 24)):
        for kind in (3, 4):
            tiff = tiff.replace(struct.pack("<HHII", tag, kind, 1, was), struct.pack("<HHII", tag, 4, 1, side))
    made["size.tif"] = tiff
    if "raw.y4m" in whole:
        made["size.y4m"] = whole["raw.y4m"].replace(b"W64 H48", b"W%d H%d" % (side, side))
    if "picture.gif" in whole:
        gif = whole["picture.gif"]
        made["size.gif"] = gif[:6] + struct.pack("<2H", short, short) + gif[10:]
    for name in ("prores.mov", "png.mov", "animation.mov", "mpeg4.mp4"):
        if name in whole:
            made[name] = whole[name].replace(struct.pack(">2H", 64, 48), struct.pack(">2H", short, short))
    return made


def _larger_exr(data: bytes, side: int) -> bytes:
    return data.replace(struct.pack("<4i", 0, 0, 31, 23), struct.pack("<4i", 0, 0, side - 1, side - 1))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _with_chunk(png: bytes, kind: bytes, head: bytes) -> bytes:
    """A PNG with a text or profile of 200 MB in 200 kB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1_000_000)) for _ in range(200)) + packer.flush()
    return png[:33] + _chunk(kind, head + packed) + png[33:]


def _zeros(side: int) -> bytes:
    """A whole PNG of one colour: nothing is wrong with it but that it is a thousand times smaller than its picture."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    head = _chunk(b"IHDR", struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")
