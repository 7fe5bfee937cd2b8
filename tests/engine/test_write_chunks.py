"""Empty chunks and lent ones: other work, the same files."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from fakes.clips import make_footage, make_plate
from penumbra.errors import OutputError
from penumbra.frames import Footage, Layer, LayerStack, Plate, Region, StoredAs
from penumbra.halves import nearest_halves
from penumbra.job import OutputSettings, PlateSettings
from penumbra.read import open_plate
from penumbra.write import FrameWriter, verify_frame
from penumbra.write.exr import RGBA, Pixels, exr_spec, read_exr, write_parts

WIDTH, HEIGHT = 75, 181


def plainly_written(path: Path, pixels: np.ndarray, footage: Footage, data: Region, compression: str) -> bytes:
    """What OpenImageIO writes of all pixels."""
    spec = exr_spec(footage, data, RGBA, OutputSettings("out", compression=compression))
    image = oiio.ImageOutput.create(str(path))
    assert image.open(str(path), spec)
    assert image.write_image(pixels.astype(np.float16))
    assert image.close()
    return path.read_bytes()


@pytest.mark.parametrize("compression", ["zip", "piz"])
@pytest.mark.parametrize("rows", [slice(0, 20), slice(0, HEIGHT)])
def test_halves_become_floats_where_floats_are_asked_for(tmp_path: Path, compression: str, rows: slice) -> None:
    footage, data = make_footage(WIDTH, HEIGHT), Region(0, 0, WIDTH, HEIGHT)
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.float16)
    pixels[rows] = np.random.default_rng(3).random((*pixels[rows].shape,)).astype(np.float16)
    spec = exr_spec(footage, data, RGBA, OutputSettings("out", precision="float", compression=compression))
    write_parts(tmp_path / "layer.exr", [Pixels(pixels)], [spec])
    written = oiio.ImageInput.open(str(tmp_path / "layer.exr"))
    np.testing.assert_array_equal(np.asarray(written.read_image("float")), pixels.astype(np.float32))
    assert written.spec().format == oiio.FLOAT
    written.close()


@pytest.mark.parametrize("compression", ["zips", "zip", "piz", "none"])
@pytest.mark.parametrize(
    "held", [(), ((0, 1),), ((180, 181),), ((40, 43), (90, 150)), ((0, 181),), ((5, 6), (170, 181)), ((16, 181),)]
)
def test_a_mostly_empty_image_is_the_file_a_library_writes(
    tmp_path: Path, compression: str, held: tuple[tuple[int, int], ...]
) -> None:
    footage, data = make_footage(WIDTH, HEIGHT), Region(-3, 7, WIDTH, HEIGHT)
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.float32)
    for top, bottom in held:
        pixels[top:bottom, 20:30] = np.random.default_rng(top).random((bottom - top, 10, 4), np.float32)
    plain = plainly_written(tmp_path / "plain.exr", pixels, footage, data, compression)
    spec = exr_spec(footage, data, RGBA, OutputSettings("out", compression=compression))
    write_parts(tmp_path / "whole.exr", [Pixels(pixels)], [spec])
    assert (tmp_path / "whole.exr").read_bytes() == plain
    window = (slice(0, HEIGHT), slice(18, 33))
    write_parts(tmp_path / "window.exr", [Pixels(pixels[window], window)], [spec])
    assert (tmp_path / "window.exr").read_bytes() == plain
    np.testing.assert_array_equal(read_exr(tmp_path / "whole.exr", RGBA, data), nearest_halves(pixels))


def test_negative_zeros_are_not_empty(tmp_path: Path) -> None:
    footage, data = make_footage(WIDTH, HEIGHT), Region(0, 0, WIDTH, HEIGHT)
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.float32)
    pixels[50:60] = -0.0
    plain = plainly_written(tmp_path / "plain.exr", pixels, footage, data, "zips")
    spec = exr_spec(footage, data, RGBA, OutputSettings("out", compression="zips"))
    write_parts(tmp_path / "ours.exr", [Pixels(pixels)], [spec])
    assert (tmp_path / "ours.exr").read_bytes() == plain


def stack_with(plate: Plate, window: tuple[slice, slice]) -> LayerStack:
    """The plate, but for a half-covering layer in a window, over a background that makes up for it."""
    background = nearest_halves(plate.pixels).astype(np.float32)
    held = np.zeros((*background[window].shape[:2], 4), np.float32)
    held[..., :3], held[..., 3] = background[window] / 2, 0.5
    return LayerStack(plate.number, background, (Layer("a", held, window=window, size=background.shape[:2]),))


def plate_files(folder: Path, output: OutputSettings) -> tuple[FrameWriter, str]:
    """Two plates as files; what has written them, and what they are read by."""
    footage = make_footage(WIDTH, HEIGHT, count=2)
    made = FrameWriter(folder, footage, output, "")
    for number in footage.frames:
        plate = make_plate(footage, number)
        made.write(LayerStack(number, nearest_halves(plate.pixels).astype(np.float32), ()), plate.data)
    return made, str(folder / "background" / "background.%04d.exr")


def test_a_layer_in_a_window_is_written_as_the_whole(tmp_path: Path) -> None:
    footage = make_footage(WIDTH, HEIGHT)
    data = Region(10, 20, 50, 130)
    plate = make_plate(footage, data=data)
    for index, window in enumerate(((slice(0, 90), slice(5, 40)), (slice(30, 60), slice(70, 75)), (slice(2, 9),) * 2)):
        stack = stack_with(plate, window)
        whole = LayerStack(stack.number, stack.background, (Layer("a", stack.layers[0].pixels),))
        for name, each in (("window", stack), ("whole", whole)):
            FrameWriter(tmp_path / f"{name}{index}", footage, OutputSettings("out"), "").write(each, data)
        window_file, whole_file = (tmp_path / f"{name}{index}" / "a" / "a.1001.exr" for name in ("window", "whole"))
        assert window_file.read_bytes() == whole_file.read_bytes()


@pytest.mark.parametrize("compression", ["zips", "zip"])
def test_what_the_plates_file_lends_is_what_would_be_packed(tmp_path: Path, compression: str) -> None:
    output = OutputSettings("out", compression=compression)
    _, files = plate_files(tmp_path / "plate", output)
    with open_plate(PlateSettings(files)) as reader:
        plate = reader.read(1001)
        assert plate.stored is not None
        stack = stack_with(plate, (slice(60, 90), slice(20, 40)))
        stack.background[60:90, 20:40] += 0.25
        FrameWriter(tmp_path / "lent", reader.footage, output, "").write(stack, plate.data, plate)
        FrameWriter(tmp_path / "packed", reader.footage, output, "").write(stack, plate.data)
    lent, packed = (
        (tmp_path / name / "background" / "background.1001.exr").read_bytes() for name in ("lent", "packed")
    )
    assert lent == packed


@pytest.mark.parametrize("meanwhile", ["nothing", "another plate", "touched", "gone"])
@pytest.mark.parametrize("compression", ["zips", "zip"])
def test_a_plate_that_changes_while_layers_are_made_is_found(tmp_path: Path, compression: str, meanwhile: str) -> None:
    output = OutputSettings("out", compression=compression)
    made, files = plate_files(tmp_path / "plate", output)
    with open_plate(PlateSettings(files)) as reader:
        plate = reader.read(1001)
        file = Path(files % 1001)
        if meanwhile == "another plate":
            # Same size or not, lines that are lent are no longer the plate's.
            brighter = nearest_halves(plate.pixels * np.float32(1.25)).astype(np.float32)
            made.write(LayerStack(1001, brighter, ()), plate.data)
        elif meanwhile == "touched":
            os.utime(file, ns=(0, 0))
        elif meanwhile == "gone":
            file.unlink()
        stack = LayerStack(1001, plate.pixels, ())
        FrameWriter(tmp_path / "made", reader.footage, output, "").write(stack, plate.data, plate)
        assert (verify_frame(tmp_path / "made", reader.footage, [], plate).max_error > 0) is (
            meanwhile == "another plate"
        )


def test_lines_that_are_the_plates_own_bytes_are_judged_as_if_unpacked(tmp_path: Path) -> None:
    output = OutputSettings("out", compression="zips")
    _, files = plate_files(tmp_path / "plate", output)
    with open_plate(PlateSettings(files)) as reader:
        plate = reader.read(1001)
        stack = stack_with(plate, (slice(60, 90), slice(20, 40)))
        stack.background[60:70, 20:40] += 0.25
        FrameWriter(tmp_path / "made", reader.footage, output, "").write(stack, plate.data, plate)
        names = [layer.name for layer in stack.layers]
        shared, unpacked = (
            verify_frame(tmp_path / "made", reader.footage, names, given)
            for given in (plate, replace(plate, stored=None))
        )
        assert shared == unpacked
        assert shared.max_error > 0
        # What the plate's file does not vouch for is unpacked: a byte of it that is damaged is found.
        path = tmp_path / "made" / "background" / "background.1001.exr"
        content = bytearray(path.read_bytes())
        at = content.rindex(struct.pack("<i", 64)) + 12
        content[at] ^= 0xFF
        path.write_bytes(content)
        with pytest.raises(OutputError, match=r"background\.1001\.exr"):
            verify_frame(tmp_path / "made", reader.footage, names, plate)


@pytest.mark.parametrize("spoiled", ["gone", "cut", "other compression", "other channels", "other window", "nonsense"])
def test_a_plates_file_that_cannot_lend_is_done_without(tmp_path: Path, spoiled: str) -> None:
    footage = make_footage(WIDTH, HEIGHT)
    plate = make_plate(footage)
    plate = replace(plate, pixels=nearest_halves(plate.pixels).astype(np.float32))
    path = tmp_path / "plate.exr"
    window = Region(1, 0, WIDTH, HEIGHT) if spoiled == "other window" else plate.data
    channels = RGBA if spoiled == "other channels" else ("R", "G", "B")
    settings = OutputSettings("out", compression="zip" if spoiled == "other compression" else "zips")
    pixels = np.dstack([plate.pixels, plate.pixels[..., :1]])[..., : len(channels)]
    write_parts(path, [Pixels(pixels)], [exr_spec(footage, window, channels, settings)])
    if spoiled == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    elif spoiled == "nonsense":
        content = bytearray(path.read_bytes())
        content[8:400] = bytes(392)
        path.write_bytes(content)
    elif spoiled == "gone":
        path.unlink()
    stack = LayerStack(plate.number, plate.pixels, ())
    FrameWriter(tmp_path / "with", footage, OutputSettings("out"), "").write(
        stack, plate.data, replace(plate, stored=StoredAs(path, 0, 0))
    )
    FrameWriter(tmp_path / "without", footage, OutputSettings("out"), "").write(stack, plate.data)
    files = [(tmp_path / name / "background" / "background.1001.exr").read_bytes() for name in ("with", "without")]
    assert files[0] == files[1]


@pytest.mark.parametrize("compression", ["zips", "zip"])
def test_verification_sees_a_chunk_that_only_seems_empty(tmp_path: Path, compression: str) -> None:
    footage = make_footage(WIDTH, HEIGHT)
    plate = make_plate(footage)
    plate = replace(plate, pixels=nearest_halves(plate.pixels).astype(np.float32))
    layer = Layer("a", np.zeros((HEIGHT, WIDTH, 4), np.float32))
    output = OutputSettings("out", compression=compression)
    FrameWriter(tmp_path, footage, output, "").write(LayerStack(1001, plate.pixels, (layer,)), plate.data)
    assert verify_frame(tmp_path, footage, ["a"], plate).max_error == 0
    path = tmp_path / "a" / "a.1001.exr"
    whole = path.read_bytes()
    # The last chunk's first line, then a byte of what it packs.
    lines = {"zips": 1, "zip": 16}[compression]
    last = (HEIGHT - 1) // lines * lines
    at = whole.rindex(struct.pack("<i", last))
    for place, value in ((at, whole[at] ^ 1), (at + 12, whole[at + 12] ^ 0x55)):
        spoiled = bytearray(whole)
        spoiled[place] = value
        path.write_bytes(spoiled)
        with pytest.raises(OutputError, match="damaged"):
            verify_frame(tmp_path, footage, ["a"], plate)


def test_one_changed_pixel_among_empty_lines_is_found(tmp_path: Path) -> None:
    footage = make_footage(WIDTH, HEIGHT)
    plate = make_plate(footage)
    plate = replace(plate, pixels=nearest_halves(plate.pixels).astype(np.float32))
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.float32)
    pixels[150, 33] = (0, 0, 0, 0.5)
    FrameWriter(tmp_path, footage, OutputSettings("out"), "").write(
        LayerStack(1001, plate.pixels, (Layer("a", pixels),)), plate.data
    )
    verdict = verify_frame(tmp_path, footage, ["a"], plate)
    assert not verdict.within_bound
    assert verdict.worst == (33, 150)
