"""The contact sheet and the movie, made from real files and looked at pixel by pixel."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from fakes.clips import make_footage, make_plate, take_apart
from penumbra.color import LinearSpace, srgb_encode
from penumbra.errors import ColorSpaceError, OutputError, Stopped
from penumbra.frames import Footage, Layer, LayerStack, Plate, Region
from penumbra.job import OutputSettings
from penumbra.storage import TEMPORARY_PREFIX
from penumbra.write import FrameWriter, write_previews
from penumbra.write.contact_sheet import cell_origin
from penumbra.write.display import to_display
from penumbra.write.tiles import frame_tiles, tile_size, tile_titles

NAMES = ("back", "front")


def write_clip(folder: Path, footage: Footage) -> None:
    writer = FrameWriter(folder, footage, OutputSettings("out", compression="none"), "")
    for number in footage.frames:
        plate = make_plate(footage, number)
        writer.write(take_apart(plate), plate.data)


def previews(folder: Path, footage: Footage, **given: Any) -> tuple[Path, Path]:
    parts = {
        "order_of": lambda number: NAMES,
        "read_plate": lambda number: make_plate(footage, number),
        "on_progress": lambda done, total: None,
        "should_stop": lambda: False,
        **given,
    }
    return write_previews(folder, footage, NAMES, **parts)


def decoded(path: Path) -> tuple[list[np.ndarray], Any]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        facts = (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate)
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)], facts


@pytest.mark.parametrize(("width", "height", "count"), [(191, 83, 9), (61, 37, 1), (400, 300, 2)])
def test_both_previews_are_made_whole(tmp_path: Path, width: int, height: int, count: int) -> None:
    footage = make_footage(width, height, count)
    write_clip(tmp_path, footage)
    steps: list[tuple[int, int]] = []
    sheet_path, movie_path = previews(tmp_path, footage, on_progress=lambda done, total: steps.append((done, total)))
    assert (sheet_path, movie_path) == (tmp_path / "preview/contact_sheet.png", tmp_path / "preview/preview.mp4")
    assert steps == [(i + 1, count) for i in range(count)]
    frames, facts = decoded(movie_path)
    assert len(frames) == count
    assert facts == ("h264", "yuv420p", Fraction(24000, 1001))
    assert frames[0].shape[1] <= 1920
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    # A movie that starts before it is wholly loaded has its index in front.
    content = movie_path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert sorted(path.name for path in (tmp_path / "preview").iterdir()) == ["contact_sheet.png", "preview.mp4"]


def test_the_sheets_cells_stand_where_they_should(tmp_path: Path) -> None:
    footage = make_footage(192, 108, 11)
    write_clip(tmp_path, footage)
    sheet = cv2.imread(str(previews(tmp_path, footage)[0]))[..., ::-1]
    size = tile_size(footage, 320)
    assert size == (180, 320)
    chosen = (1001, 1003, 1005, 1007, 1009, 1011)
    for row in (0, 3, 5):
        plate = make_plate(footage, chosen[row])
        large = cv2.resize(to_display(plate.pixels, footage.space), size[::-1], interpolation=cv2.INTER_LINEAR)
        top, left = cell_origin(row, 0, size)
        cell = sheet[top : top + size[0], left : left + size[1]]
        assert np.abs(cell.astype(int) - large).mean() < 3
        assert (sheet[top - 4 : top - 1, left : left + size[1]] == 24).all()
    bottom, right = cell_origin(6, 7, size)
    assert sheet.shape[0] == bottom - 8 + 20
    assert sheet.shape[1] == right - 8 + 20


def flat_stack(footage: Footage) -> tuple[Plate, LayerStack]:
    """A half-covering red object over grey, and a shadow of coverage 0.5 on the right half."""
    shape = footage.canvas.shape
    red, shadow = np.zeros((*shape, 4), np.float32), np.zeros((*shape, 4), np.float32)
    red[:, : shape[1] // 2] = [0.5, 0, 0, 0.5]
    shadow[:, shape[1] // 2 :] = [0, 0, 0, 0.5]
    background = np.full((*shape, 3), 0.25, np.float32)
    pixels = np.full((*shape, 3), 0.125, np.float32)
    pixels[:, : shape[1] // 2, 0] += 0.5
    stack = LayerStack(1001, background, (Layer("back", red), Layer("front", shadow)))
    return Plate(1001, pixels, footage.canvas, footage.canvas), stack


def test_pictures_show_what_their_titles_say(tmp_path: Path) -> None:
    footage = make_footage(96, 64, 1)
    plate, stack = flat_stack(footage)
    plate.pixels[10, 70] += 1
    plate.pixels[20, 80] = -1
    FrameWriter(tmp_path, footage, OutputSettings("out"), "").write(stack, footage.canvas)
    tiles = frame_tiles(tmp_path, footage, NAMES, NAMES, plate, (64, 96))
    shown = dict(zip(tile_titles(NAMES), tiles.pictures, strict=True))

    def expect(title: str, x: int, linear: tuple[float, float, float]) -> None:
        code = srgb_encode(np.float32(linear)) * 255
        assert np.abs(shown[title][40, x].astype(float) - code).max() <= 1, title

    expect("plate", 5, (0.625, 0.125, 0.125))
    expect("plate", 90, (0.125, 0.125, 0.125))
    # Half of a grey square shines through in linear light, not in display light.
    expect("back", 5, (0.5 + 0.5 * 0.12, 0.06, 0.06))
    expect("back", 90, (0.24, 0.24, 0.24))
    expect("front", 90, (0.12, 0.12, 0.12))
    expect("without back", 5, (0.25, 0.25, 0.25))
    expect("without back", 90, (0.125, 0.125, 0.125))
    expect("without front", 5, (0.625, 0.125, 0.125))
    expect("without front", 90, (0.25, 0.25, 0.25))
    expect("clean plate", 5, (0.25, 0.25, 0.25))
    error = shown["recomposition error"]
    assert tuple(error[10, 70]) == (235, 64, 52)
    assert (np.delete(error.reshape(-1, 3), 10 * 96 + 70, axis=0) == 0).all()
    assert tiles.max_error == pytest.approx(1)


def test_one_wrong_pixel_of_a_large_plate_stays_visible(tmp_path: Path) -> None:
    footage = make_footage(901, 703, 1)
    plate, stack = flat_stack(footage)
    FrameWriter(tmp_path, footage, OutputSettings("out", compression="none"), "").write(stack, footage.canvas)
    plate.pixels[702, 900] += 1
    error = frame_tiles(tmp_path, footage, NAMES, NAMES, plate, (70, 90)).pictures[-1]
    assert tuple(error[69, 89]) == (235, 64, 52)
    assert (error.reshape(-1, 3)[:-1] == 0).all()


@pytest.mark.parametrize(
    ("width", "height", "size"), [(384, 256, (64, 96)), (400, 208, (48, 90)), (384, 192, (48, 96))]
)
def test_pictures_of_large_frames_are_means_of_their_pixels(
    tmp_path: Path, width: int, height: int, size: tuple[int, int]
) -> None:
    footage = make_footage(width, height, 1)
    plate = make_plate(footage)
    stack = take_apart(plate)
    FrameWriter(tmp_path, footage, OutputSettings("out", precision="float"), "").write(stack, plate.data)
    names = tuple(layer.name for layer in stack.layers)
    tiles = frame_tiles(tmp_path, footage, names, names, plate, size)
    shown = dict(zip(tile_titles(names), tiles.pictures, strict=True))
    for title, pixels in (("plate", plate.pixels), ("clean plate", stack.background)):
        mean = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(shown[title].astype(int) - to_display(mean, footage.space)).max() <= 1, title


@pytest.mark.parametrize("data", [Region(-8, -4, 112, 72), Region(10, 20, 30, 20), Region(200, 0, 5, 5)])
def test_the_display_window_is_shown(tmp_path: Path, data: Region) -> None:
    display = Region(0, 0, 96, 64)
    footage = make_footage(96, 64, 1, display=display, canvas=display.union(data))
    plate = replace(make_plate(footage), data=data)
    FrameWriter(tmp_path, footage, OutputSettings("out"), "").write(take_apart(plate), data)
    picture = frame_tiles(tmp_path, footage, NAMES, NAMES, plate, (64, 96)).pictures[0]
    inside = np.zeros((64, 96), bool)
    inside[max(0, data.y) : data.y + data.height, max(0, data.x) : data.x + data.width] = True
    full = to_display(plate.pixels, footage.space)[display.slices_in(footage.canvas)]
    np.testing.assert_array_equal(picture, np.where(inside[..., None], full, 0))


def test_wide_pixels_are_made_square() -> None:
    assert tile_size(make_footage(96, 64, pixel_aspect=2.0), 320) == (106, 320)


def test_other_spaces_go_through_a_view() -> None:
    grey = np.full((2, 3, 3), 0.18, np.float32)
    shown = to_display(grey, LinearSpace("ACEScg"))
    assert shown.shape == (2, 3, 3)
    assert (np.abs(shown.astype(int) - 89) <= 12).all()
    highlights = to_display(np.full((1, 1, 3), 4, np.float32), LinearSpace("ACEScg"))
    assert (highlights < 255).all()
    assert (to_display(np.full((1, 1, 3), 4, np.float32), LinearSpace("lin_rec709")) == 255).all()
    assert to_display(grey, LinearSpace("Linear ARRI Wide Gamut 4")).max() > 0
    with pytest.raises(ColorSpaceError, match="No preview could be drawn from colour space 'nonsense'"):
        to_display(grey, LinearSpace("nonsense"))


def test_stopping_leaves_no_half_preview(tmp_path: Path) -> None:
    footage = make_footage(count=4)
    write_clip(tmp_path, footage)
    answers = iter([False, False, True])
    with pytest.raises(Stopped):
        previews(tmp_path, footage, should_stop=lambda: next(answers))
    assert list((tmp_path / "preview").iterdir()) == []
    assert not list(tmp_path.rglob(f"{TEMPORARY_PREFIX}*"))


def test_a_missing_layer_or_folder_is_a_sentence(tmp_path: Path) -> None:
    footage = make_footage()
    write_clip(tmp_path, footage)
    (tmp_path / "front" / "front.1002.exr").unlink()
    with pytest.raises(OutputError, match=r"front\.1002\.exr is missing"):
        previews(tmp_path, footage)
    (tmp_path / "preview").rmdir()
    (tmp_path / "preview").write_text("in the way")
    with pytest.raises(OutputError, match=r"preview\.mp4 could not be written"):
        previews(tmp_path, footage)


def test_many_objects_make_smaller_cells(tmp_path: Path) -> None:
    footage = make_footage(64, 36, 1)
    plate = make_plate(footage)
    names = tuple(f"a_rather_long_object_name_no_{i:03d}" for i in range(9))
    FrameWriter(tmp_path, footage, OutputSettings("out"), "").write(take_apart(plate, names), plate.data)
    sheet, movie = write_previews(
        tmp_path, footage, names, lambda n: names, lambda n: plate, lambda d, t: None, lambda: False
    )
    assert cv2.imread(str(sheet)).shape[1] < 4500
    assert decoded(movie)[0][0].shape[1] <= 1920
