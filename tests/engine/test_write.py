"""Layers to EXR files: headers, bytes, windows, and what happens when a disk is full."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest

from fakes.clips import make_footage, make_plate, take_apart
from penumbra.color import LinearSpace
from penumbra.errors import OutputError, PenumbraError
from penumbra.frames import Layer, LayerStack, Region
from penumbra.job import COMPRESSIONS, OutputSettings, PlateSettings
from penumbra.read import open_plate
from penumbra.read.encodings import same_space
from penumbra.storage import TEMPORARY_PREFIX
from penumbra.write import FrameWriter, frame_path, prepare_output, sweep_temporaries

HALF = OutputSettings("out")


def read(path: Path) -> tuple[Any, np.ndarray]:
    image = oiio.ImageInput.open(str(path))
    assert image is not None, oiio.geterror()
    spec, pixels = image.spec(), image.read_image("float")
    image.close()
    return spec, pixels


def files_under(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_frame_becomes_one_file_per_layer_and_nothing_else(tmp_path: Path) -> None:
    footage = make_footage()
    FrameWriter(tmp_path, footage, HALF, "Penumbra 0").write(take_apart(make_plate(footage)), footage.canvas)
    assert list(files_under(tmp_path)) == [
        "back/back.1001.exr",
        "background/background.1001.exr",
        "front/front.1001.exr",
    ]


def test_the_header_carries_the_plates_facts(tmp_path: Path) -> None:
    display, canvas = Region(0, 0, 60, 40), Region(-4, -3, 70, 50)
    footage = make_footage(display=display, canvas=canvas, pixel_aspect=2.0)
    data = Region(-4, 5, 61, 20)
    stack = take_apart(make_plate(footage, 1002, data))
    FrameWriter(tmp_path, footage, HALF, "Penumbra 0").write(stack, data)
    spec, pixels = read(tmp_path / "front" / "front.1002.exr")
    assert (spec.x, spec.y, spec.width, spec.height) == (-4, 5, 61, 20)
    assert (spec.full_x, spec.full_y, spec.full_width, spec.full_height) == (0, 0, 60, 40)
    assert tuple(spec.channelnames) == ("R", "G", "B", "A")
    assert str(spec.format) == "half"
    assert spec.getattribute("framesPerSecond") == (24000, 1001)
    assert spec.getattribute("smpte:TimeCode")[0] == 0x01020400
    assert spec.getattribute("PixelAspectRatio") == 2.0
    assert spec.getattribute("compression") == "zips"
    assert spec.getattribute("oiio:ColorSpace") == "lin_rec709_scene"
    assert spec.getattribute("Software") == "Penumbra 0"
    assert (spec.getattribute("penumbra/layer"), spec.getattribute("penumbra/frame")) == ("front", 1002)
    rows, columns = data.slices_in(canvas)
    np.testing.assert_array_equal(pixels, stack.layers[1].pixels[rows, columns])
    spec, pixels = read(tmp_path / "background" / "background.1002.exr")
    assert tuple(spec.channelnames) == ("R", "G", "B")
    np.testing.assert_array_equal(pixels, stack.background[rows, columns])


def test_a_space_openimageio_does_not_know_is_still_named(tmp_path: Path) -> None:
    footage = make_footage(space=LinearSpace("Linear ARRI Wide Gamut 4"))
    FrameWriter(tmp_path, footage, HALF, "").write(take_apart(make_plate(footage)), footage.canvas)
    spec, _ = read(tmp_path / "back" / "back.1001.exr")
    assert spec.getattribute("penumbra/space") == "Linear ARRI Wide Gamut 4"


@pytest.mark.parametrize("space", ["lin_ap1", "Linear DaVinci WideGamut", "Linear ARRI Wide Gamut 4", "lin_rec709"])
def test_layers_say_which_gamut_they_are_in(tmp_path: Path, space: str) -> None:
    footage = make_footage(space=LinearSpace(space), source_space=space)
    plate = make_plate(footage, footage.frames[0])
    FrameWriter(tmp_path, footage, OutputSettings("out"), "test").write(take_apart(plate), plate.data)
    with open_plate(PlateSettings(str(tmp_path / "background"))) as again:
        assert again.footage.space.name == space
        assert again.warnings == ()


@pytest.mark.parametrize("precision", ["half", "float"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_format_keeps_coverage_exactly(tmp_path: Path, precision: str, compression: str) -> None:
    footage = make_footage(191, 83)
    stack = take_apart(make_plate(footage), half=precision == "half")
    output = OutputSettings("out", precision=precision, compression=compression)
    FrameWriter(tmp_path, footage, output, "").write(stack, footage.canvas)
    spec, pixels = read(tmp_path / "front" / "front.1001.exr")
    assert str(spec.format) == precision
    # OpenImageIO adds the level to the lossy ones' name.
    assert spec.getattribute("compression").startswith(compression)
    np.testing.assert_array_equal(pixels[..., 3], stack.layers[1].pixels[..., 3])
    if not compression.startswith("dwa"):
        np.testing.assert_array_equal(pixels, stack.layers[1].pixels)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    footage = make_footage(191, 83)
    for folder in ("one", "two"):
        writer = FrameWriter(tmp_path / folder, footage, HALF, "Penumbra 0")
        stacks = [take_apart(make_plate(footage, number)) for number in footage.frames]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda stack: writer.write(stack, footage.canvas), stacks))  # noqa: B023 (used at once)
    first, second = files_under(tmp_path / "one"), files_under(tmp_path / "two")
    assert len(first) == 9
    assert first == second
    # Two runs within one second would agree even with the time of day in the header.
    assert read(tmp_path / "one/back/back.1001.exr")[0].getattribute("DateTime") is None


@pytest.mark.parametrize(
    ("number", "padding", "name"), [(7, 4, "0007"), (-5, 4, "-005"), (12345, 4, "12345"), (7, 0, "7")]
)
def test_frame_numbers_are_written_as_hosts_do(number: int, padding: int, name: str) -> None:
    assert frame_path(Path("out"), "ball", number, padding) == Path(f"out/ball/ball.{name}.exr")


def test_values_beyond_half_are_clamped_and_counted(tmp_path: Path) -> None:
    footage = make_footage(5, 4, 1)
    layer = np.zeros((4, 5, 4), np.float32)
    layer[1, 2] = [1e6, 65504, 65510, 1]
    stack = LayerStack(1001, np.full((4, 5, 3), -7e4, np.float32), (Layer("ball", layer),))
    writer = FrameWriter(tmp_path, footage, HALF, "")
    writer.write(stack, footage.canvas)
    assert writer.clamped == {1001: 2 + 60}
    np.testing.assert_array_equal(read(tmp_path / "ball/ball.1001.exr")[1][1, 2], [65504, 65504, 65504, 1])
    assert (read(tmp_path / "background/background.1001.exr")[1] == -65504).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("precision", ["half", "float"])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, bad: float, precision: str) -> None:
    footage = make_footage(5, 4, 1)
    stack = take_apart(make_plate(footage))
    stack.layers[0].pixels[0, 0, 0] = bad
    with pytest.raises(PenumbraError, match="Layer back of frame 1001 holds values that are not finite"):
        FrameWriter(tmp_path, footage, OutputSettings("out", precision=precision), "").write(stack, footage.canvas)
    assert files_under(tmp_path) == {}


FULL_DISK = """
import resource, sys
from pathlib import Path
from fakes.clips import make_footage, make_plate, take_apart
from penumbra.errors import OutputError
from penumbra.job import OutputSettings
from penumbra.write import FrameWriter
footage = make_footage(191, 83)
stack = take_apart(make_plate(footage))
size = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    FrameWriter(Path(sys.argv[1]), footage, OutputSettings("out"), "").write(stack, footage.canvas)
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("missing", [1, 300, 20_000])
def test_a_full_disk_is_a_sentence_and_leaves_only_whole_files(tmp_path: Path, missing: int) -> None:
    pytest.importorskip("resource", reason="file size limits are a POSIX thing")
    footage = make_footage(191, 83)
    stack = take_apart(make_plate(footage))
    FrameWriter(tmp_path / "whole", footage, HALF, "").write(stack, footage.canvas)
    whole = files_under(tmp_path / "whole")
    limit = max(len(content) for content in whole.values()) - missing
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "full"), str(limit)]
    tests, engine = Path(__file__).parents[1], Path(__file__).parents[2] / "engine"
    environment = {"PYTHONPATH": f"{tests}:{engine}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    assert "could not be written" in done.stdout, done.stdout + done.stderr
    assert "Check that the disk is not full" in done.stdout
    left = files_under(tmp_path / "full")
    assert len(left) < len(whole)
    assert all(whole[name] == content for name, content in left.items())


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    footage = make_footage()
    with pytest.raises(OutputError, match=r"back\.1001\.exr could not be written|background\.1001\.exr could not"):
        FrameWriter(tmp_path / "file" / "out", footage, HALF, "").write(take_apart(make_plate(footage)), footage.canvas)
    with pytest.raises(OutputError, match="cannot be written"):
        prepare_output(tmp_path / "file" / "out")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        prepare_output(tmp_path / "file")


def test_a_folder_in_the_way_of_a_file_is_a_sentence(tmp_path: Path) -> None:
    footage = make_footage()
    (tmp_path / "back" / "back.1001.exr").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"back\.1001\.exr could not be written"):
        FrameWriter(tmp_path, footage, HALF, "").write(take_apart(make_plate(footage)), footage.canvas)
    assert not list(tmp_path.rglob(f"{TEMPORARY_PREFIX}*"))


def test_prepare_makes_parents_and_leaves_nothing_behind(tmp_path: Path) -> None:
    prepare_output(tmp_path / "a" / "b")
    prepare_output(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_only_our_own_leftovers_are_swept(tmp_path: Path) -> None:
    (tmp_path / "ball").mkdir()
    for name in (f"{TEMPORARY_PREFIX}1.exr", ".hidden.exr", "ball.1001.exr"):
        (tmp_path / "ball" / name).write_text("x")
    assert sweep_temporaries(tmp_path) == 1
    assert sorted(path.name for path in (tmp_path / "ball").iterdir()) == [".hidden.exr", "ball.1001.exr"]


def test_a_stack_of_another_size_is_a_programming_error(tmp_path: Path) -> None:
    footage = make_footage()
    with pytest.raises(ValueError, match="does not cover the canvas"):
        FrameWriter(tmp_path, footage, HALF, "").write(take_apart(make_plate(make_footage(9, 9))), footage.canvas)


def test_footage_without_rate_or_timecode_gets_none(tmp_path: Path) -> None:
    footage = make_footage(fps=None, timecode=None)
    FrameWriter(tmp_path, footage, HALF, "").write(take_apart(make_plate(footage)), footage.canvas)
    spec, _ = read(tmp_path / "back" / "back.1001.exr")
    assert spec.getattribute("framesPerSecond") is None
    assert spec.getattribute("smpte:TimeCode") is None


def test_whole_rates_stay_rational(tmp_path: Path) -> None:
    footage = make_footage(fps=Fraction(25))
    FrameWriter(tmp_path, footage, HALF, "").write(take_apart(make_plate(footage)), footage.canvas)
    assert read(tmp_path / "back" / "back.1001.exr")[0].getattribute("framesPerSecond") == (25, 1)


def test_what_is_written_reads_back_as_a_plate(tmp_path: Path) -> None:
    canvas, display = Region(-2, -1, 40, 30), Region(0, 0, 36, 28)
    footage = make_footage(
        canvas=canvas,
        display=display,
        frames=(-2, -1, 0, 1),
        timecode="00:00:59;28",
        fps=Fraction(30000, 1001),
        pixel_aspect=2.0,
        space=LinearSpace("lin_ap1"),
        source_space="lin_ap1",
    )
    writer = FrameWriter(tmp_path, footage, HALF, "")
    stacks = {number: take_apart(make_plate(footage, number)) for number in footage.frames}
    for stack in stacks.values():
        writer.write(stack, canvas)
    plate = open_plate(PlateSettings(str(tmp_path / "background" / "background.%04d.exr")))
    back = plate.footage
    assert back.frames == footage.frames
    assert (back.canvas, back.display, back.fps, back.pixel_aspect) == (canvas, display, footage.fps, 2.0)
    assert back.timecode is not None
    # Whether the reader keeps the drop-frame flag is for its own tests; the file has it, see the last line.
    assert back.timecode.replace(";", ":") == "00:00:59:28"
    assert same_space(back.space.name, "lin_ap1")
    for number, stack in stacks.items():
        np.testing.assert_array_equal(plate.read(number).pixels, stack.background)
    last, _ = read(tmp_path / "background" / "background.0001.exr")
    assert last.getattribute("smpte:TimeCode")[0] == 0x00010003 | 0x40
