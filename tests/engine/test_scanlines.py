"""Lines of OpenEXR files, packed and unpacked here: the library's own bytes, and its own values."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import OpenImageIO as oiio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.clips import make_footage
from penumbra.errors import UnreadableError
from penumbra.frames import Region
from penumbra.job import OutputSettings
from penumbra.read import images
from penumbra.read.images import read_channels, read_header
from penumbra.scanlines import FRONT, LINES, Layout, pack, unpack
from penumbra.write.exr import RGBA, Pixels, exr_spec, write_parts

SIZE = (37, 29)  # height and width: two chunks and a piece of one
ALL = ("half", "float")


def any_bits(seed: int, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Every value there is, among them such as are no numbers; half of them zero."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 1 << (16 if kind == "half" else 32), shape, dtype=np.uint16 if kind == "half" else np.uint32)
    bits *= rng.integers(0, 2, shape, dtype=bits.dtype)
    return bits.view(np.float16 if kind == "half" else np.float32)


def as_bits(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels).view(np.uint16)


def library_file(path: Path, pixels: np.ndarray, channels: tuple[str, ...], **attributes: str | int) -> Path:
    """What OpenImageIO writes of pixels (H, W, C)."""
    kind = oiio.HALF if pixels.dtype == np.float16 else oiio.FLOAT
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], kind)
    spec.channelnames, spec.x, spec.y = channels, -3, 11
    for name, value in attributes.items():
        if name == "tile":
            spec.tile_width = spec.tile_height = int(value)
        else:
            spec.attribute(name.replace("_", ":"), value)
    image = oiio.ImageOutput.create(str(path))
    assert image.open(str(path), spec)
    assert image.write_image(pixels)
    assert image.close()
    return path


def by_the_library(path: Path, channels: tuple[str, ...]) -> np.ndarray:
    image = oiio.ImageInput.open(str(path))
    held = image.read_image("float")
    order = [list(image.spec().channelnames).index(name) for name in channels]
    image.close()
    return np.asarray(held)[..., order]


# The first one compiles.
@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from(ALL), st.integers(1, 17), st.integers(1, 40), st.permutations(range(4)),
    st.integers(1, 4),
)  # fmt: skip
def test_what_is_packed_comes_back(
    seed: int, kind: str, height: int, width: int, shuffled: list[int], count: int
) -> None:
    pixels = any_bits(seed, (height, width, count), kind)
    order = np.array([channel for channel in shuffled if channel < count], np.intp)
    packed = pack(pixels, order)
    assert len(packed) <= pixels.nbytes
    back = np.empty_like(pixels)
    unpack(packed, order, back)
    np.testing.assert_array_equal(as_bits(back), as_bits(pixels))


@pytest.mark.parametrize("compression", LINES)
@pytest.mark.parametrize("kind", ALL)
def test_a_librarys_file_is_read_as_the_library_reads_it(tmp_path: Path, compression: str, kind: str) -> None:
    channels = ("R", "G", "B", "A", "diffuse.R", "Z")
    pixels = np.nan_to_num(any_bits(5, (*SIZE, len(channels)), kind))
    # Noise that does not become smaller is stored as it is; a flat half does.
    pixels[: SIZE[0] // 2, :, 1:] = 0.25
    path = library_file(tmp_path / "plate.exr", pixels, channels, compression=compression)
    part = read_header(path, 1).main
    for names in (("R", "G", "B"), ("Z",), ("B", "diffuse.R", "A"), channels):
        ours = images._unpacked(path, part, names)
        assert ours is not None
        assert str(ours.dtype) == ("float16" if kind == "half" else "float32")
        np.testing.assert_array_equal(ours.astype(np.float32), by_the_library(path, names))
        np.testing.assert_array_equal(read_channels(path, 1, part, names), by_the_library(path, names))


@pytest.mark.parametrize("compression", LINES)
@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("threads", ["1", "8"])
def test_what_is_written_is_the_librarys_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str, kind: str, threads: str
) -> None:
    monkeypatch.setattr("penumbra.threads.core_count", lambda: int(threads))
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    footage, data = make_footage(SIZE[1], SIZE[0]), Region(4, -2, SIZE[1], SIZE[0])
    pixels = any_bits(9, (*SIZE, 4), kind).astype(np.float32)
    pixels[~(np.abs(pixels) < 6e4)] = 0
    spec = exr_spec(footage, data, RGBA, OutputSettings("out", precision=kind, compression=compression))
    write_parts(tmp_path / "ours.exr", [Pixels(pixels)], [spec])
    image = oiio.ImageOutput.create(str(tmp_path / "theirs.exr"))
    assert image.open(str(tmp_path / "theirs.exr"), spec)
    assert image.write_image(pixels.astype(np.float16) if kind == "half" else pixels)
    assert image.close()
    assert (tmp_path / "ours.exr").read_bytes() == (tmp_path / "theirs.exr").read_bytes()


@pytest.mark.parametrize(
    "attributes",
    [
        {"compression": "piz"}, {"compression": "none"}, {"compression": "dwaa"}, {"compression": "zip", "tile": 16},
        {"compression": "zip", "openexr_lineOrder": "decreasingY"},
    ],
    ids=["piz", "none", "dwaa", "tiles", "lines from below"],
)  # fmt: skip
def test_other_files_are_the_librarys(tmp_path: Path, attributes: dict[str, str | int]) -> None:
    pixels = np.random.default_rng(3).random((*SIZE, 3), np.float32).astype(np.float16)
    path = library_file(tmp_path / "plate.exr", pixels, ("R", "G", "B"), **attributes)
    part, names = read_header(path, 1).main, ("R", "G", "B")
    assert images._unpacked(path, part, names) is None
    np.testing.assert_array_equal(read_channels(path, 1, part, names), by_the_library(path, names))


def test_channels_of_several_types_are_the_librarys(tmp_path: Path) -> None:
    spec = oiio.ImageSpec(SIZE[1], SIZE[0], 4, oiio.HALF)
    spec.channelnames, spec.channelformats = ("R", "G", "B", "Z"), (oiio.HALF,) * 3 + (oiio.FLOAT,)
    spec.attribute("compression", "zip")
    path, pixels = tmp_path / "plate.exr", np.random.default_rng(4).random((*SIZE, 4), np.float32)
    image = oiio.ImageOutput.create(str(path))
    assert image.open(str(path), spec)
    assert image.write_image(pixels)
    assert image.close()
    part = read_header(path, 1).main
    assert images._unpacked(path, part, ("R", "G", "B")) is None
    np.testing.assert_array_equal(read_channels(path, 1, part, ("Z",)), pixels[..., 3:])


def test_a_chunk_that_claims_to_be_huge_is_refused_before_there_is_room_made_for_it(tmp_path: Path) -> None:
    pixels = np.zeros((*SIZE, 3), np.float16)
    path = library_file(tmp_path / "plate.exr", pixels, ("R", "G", "B"), compression="zip")
    content = bytearray(path.read_bytes())
    with path.open("rb") as file:
        layout = Layout.of(file)
    assert layout is not None
    struct.pack_into("<i", content, layout.corners_at + 8, 2**31 - 8)  # the last column
    path.write_bytes(content)
    with path.open("rb") as file:
        claimed = Layout.of(file)
        assert claimed is not None
        assert claimed.width > 2**30
        with pytest.raises(ValueError, match="too early"):
            claimed.read(file, slice(0, 16), ("G",))


def test_what_no_other_reader_takes_is_not_taken(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 9, (16, SIZE[1], 3)).astype(np.float16)
    path = library_file(tmp_path / "plate.exr", pixels, ("R", "G", "B"), compression="zip")
    part, content = read_header(path, 1).main, bytearray(path.read_bytes())
    with path.open("rb") as file:
        layout = Layout.of(file)
    assert layout is not None
    # Bytes behind zlib's own, which the library refuses.
    struct.pack_into("<i", content, layout.offsets[0] + 4, layout.offsets[1] - layout.offsets[0] - FRONT.size + 4)
    path.write_bytes(content + b"junk")
    with path.open("rb") as file:
        longer = Layout.of(file)
        assert longer is not None
        with pytest.raises(ValueError, match="too late"):
            longer.read(file, slice(0, 16), ("R", "G", "B"))
    with pytest.raises(UnreadableError, match=r"plate\.exr"):
        read_channels(path, 1, part, ("R", "G", "B"))
    chunk = zlib.compress(pixels.tobytes(), 0)
    assert len(chunk) > pixels.nbytes
    with pytest.raises(ValueError, match="too late"):
        unpack(chunk, np.arange(3, dtype=np.intp), np.empty_like(pixels))


def test_a_file_with_many_layers_is_not_held_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    height = 16 * 9 - 5
    pixels = any_bits(6, (height, SIZE[1], 7), "half")
    path = library_file(tmp_path / "plate.exr", pixels, ("A", "B", "C", "D", "E", "F", "G"), compression="zip")
    asked: list[int] = []
    chunks = Layout.chunks

    def watched(layout: Layout, file: BinaryIO, first: int, last: int) -> bytes:
        asked.append(last - first)
        return chunks(layout, file, first, last)

    monkeypatch.setattr(Layout, "chunks", watched)
    monkeypatch.setattr("penumbra.scanlines._AT_ONCE", pixels.nbytes // 4)
    with path.open("rb") as file:
        layout = Layout.of(file)
        assert layout is not None
        for rows in (slice(0, height), slice(17, height - 3), slice(20, 21)):
            asked.clear()
            back = layout.read(file, rows, ("F", "A"))
            np.testing.assert_array_equal(as_bits(back), as_bits(pixels[rows][..., [5, 0]]))
            assert sum(asked) == -(-rows.stop // 16) - rows.start // 16
            assert max(asked) <= 4


@pytest.mark.parametrize("place", ["its line", "its size", "its bytes", "its end"])
def test_damage_is_said(tmp_path: Path, place: str) -> None:
    pixels = np.random.default_rng(3).integers(0, 9, (*SIZE, 3)).astype(np.float16)
    path = library_file(tmp_path / "plate.exr", pixels, ("R", "G", "B"), compression="zip")
    part = read_header(path, 1).main
    with path.open("rb") as file:
        layout = Layout.of(file)
    assert layout is not None
    content = bytearray(path.read_bytes())
    at = layout.offsets[1]
    if place == "its end":
        del content[layout.offsets[2] + 20 :]
    else:
        content[at + {"its line": 0, "its size": 4, "its bytes": FRONT.size + 9}[place]] ^= 0x15
    path.write_bytes(content)
    with path.open("rb") as file, pytest.raises(ValueError, match=r"stand|damaged|early"):
        layout.read(file, slice(0, SIZE[0]), ("R", "G", "B"))
    with pytest.raises(UnreadableError, match=r"plate\.exr"):
        read_channels(path, 1, part, ("R", "G", "B"))
