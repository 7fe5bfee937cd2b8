"""What the verdict says of files on disk, good and bad."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.clips import make_footage, make_plate, take_apart
from penumbra.errors import JobError, OutputError
from penumbra.frames import Layer, LayerStack, Plate, Region
from penumbra.job import OutputSettings
from penumbra.write import FrameVerdict, FrameWriter, verify_frame
from penumbra.write.exr import RGBA, exr_spec, write_exr

NAMES = ("back", "front")
HALF = OutputSettings("out")


def written(
    folder: Path, plate: Plate, stack: LayerStack, output: OutputSettings = HALF, **facts: object
) -> FrameVerdict:
    footage = make_footage(plate.canvas.width, plate.canvas.height, canvas=plate.canvas, **facts)
    FrameWriter(folder, footage, output, "").write(stack, plate.data)
    return verify_frame(folder, footage, [layer.name for layer in stack.layers], plate)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 23),
    st.integers(1, 19),
    st.integers(-9, 9),
    st.integers(0, 3),
    st.sampled_from([1e-4, 0.2, 1.0, 40.0, 6e4]),
    st.sampled_from(["half", "float"]),
    st.integers(0, 2**31),
)
def test_stacks_that_recompose_pass_and_say_how_exactly(
    width: int, height: int, origin: int, margin: int, peak: float, precision: str, seed: int
) -> None:
    canvas = Region(origin, -origin, width + margin, height + margin)
    data = Region(origin + margin, -origin, width, height)
    footage = make_footage(width, height, canvas=canvas)
    plate = make_plate(footage, 1001, data, peak)
    stack = take_apart(plate, ("a", "b", "c"), seed, half=precision == "half")
    with tempfile.TemporaryDirectory() as folder:
        FrameWriter(Path(folder), footage, OutputSettings("out", precision=precision), "").write(stack, data)
        verdict = verify_frame(Path(folder), footage, ("a", "b", "c"), plate)
    assert verdict.within_bound
    assert verdict.unresolved == 0
    assert 0 <= verdict.mean_error <= verdict.max_error <= peak * 2.0**-10 + 2.0**-12


def test_one_wrong_pixel_is_found_and_named(tmp_path: Path) -> None:
    canvas = Region(-5, 3, 40, 600)
    plate = make_plate(make_footage(40, 600, canvas=canvas), data=Region(-3, 4, 30, 550))
    stack = take_apart(plate, half=False)
    stack.background[541, 13] += 0.5
    stack.layers[0].pixels[541, 13] = stack.layers[1].pixels[541, 13] = 0
    plate.pixels[541, 13] = stack.background[541, 13] - 0.5
    verdict = written(tmp_path, plate, stack, OutputSettings("out", precision="float"))
    assert not verdict.within_bound
    assert verdict.worst == (13 - 5, 541 + 3)
    assert verdict.max_error == pytest.approx(0.5, abs=1e-3)
    assert verdict.mean_error == pytest.approx(0.5 / (30 * 550), rel=0.01)


def test_the_bound_is_relative_to_the_plate(tmp_path: Path) -> None:
    plate = make_plate(make_footage(8, 8))
    plate.pixels[:] = 16.0
    for factor, within in ((0.99, True), (1.01, False)):
        off = 16.0 + factor * (16 * 2.0**-10 + 2.0**-12)
        stack = LayerStack(1001, np.full((8, 8, 3), off, np.float32), (Layer("a", np.zeros((8, 8, 4), np.float32)),))
        verdict = written(tmp_path, plate, stack, OutputSettings("out", precision="float"))
        assert verdict.within_bound is within


def test_unresolved_pixels_are_counted_and_left_out(tmp_path: Path) -> None:
    plate = make_plate(make_footage(8, 8))
    stack = take_apart(plate)
    unresolved = np.zeros((8, 8), bool)
    unresolved[0, 0] = unresolved[1, 1] = True
    plate.pixels[0, 0] += 1
    plate.pixels[1, 1] = plate.pixels[2, 2] = -1
    verdict = written(tmp_path, replace(plate, unresolved=unresolved), stack)
    assert verdict.unresolved == 3
    assert verdict.within_bound


def test_a_frame_wholly_unresolved_has_no_errors(tmp_path: Path) -> None:
    plate = make_plate(make_footage(8, 8))
    stack = take_apart(plate)
    verdict = written(tmp_path, replace(plate, unresolved=np.ones((8, 8), bool)), stack)
    assert (verdict.unresolved, verdict.max_error, verdict.mean_error, verdict.worst) == (64, 0, 0, None)
    assert verdict.within_bound


@pytest.mark.parametrize(("channel", "value"), [(3, 1.5), (3, -0.25), (0, -0.25)])
def test_coverage_and_colour_out_of_range_fail(tmp_path: Path, channel: int, value: float) -> None:
    plate = make_plate(make_footage(8, 8))
    stack = take_apart(plate)
    stack.layers[0].pixels[:] = 0
    stack.layers[0].pixels[2, 3, channel] = value
    verdict = written(tmp_path, plate, stack)
    assert verdict.alpha_ok is (channel != 3)
    assert verdict.colour_ok is (channel == 3)
    assert not verdict.within_bound


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_files_that_hold_no_numbers_fail(tmp_path: Path, bad: float) -> None:
    footage = make_footage(8, 8)
    plate = make_plate(footage)
    stack = take_apart(plate)
    written(tmp_path, plate, stack)
    stack.layers[1].pixels[2, 3] = bad
    spec = exr_spec(footage, plate.data, RGBA, HALF)
    write_exr(tmp_path / "front" / "front.1001.exr", stack.layers[1].pixels.astype(np.float16), spec)
    verdict = verify_frame(tmp_path, footage, NAMES, plate)
    assert verdict.max_error == np.inf
    assert (verdict.alpha_ok, verdict.colour_ok, verdict.within_bound) == (False, False, False)
    assert verdict.worst == (3, 2)


def test_another_order_does_not_recompose(tmp_path: Path) -> None:
    footage = make_footage()
    plate = make_plate(footage)
    assert written(tmp_path, plate, take_apart(plate)).within_bound
    assert not verify_frame(tmp_path, footage, NAMES[::-1], plate).within_bound


def test_a_lossy_compression_is_refused() -> None:
    with pytest.raises(JobError, match="dwaa"):
        OutputSettings("out", compression="dwaa")


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 0.999])
def test_a_truncated_file_is_a_sentence(tmp_path: Path, share: float) -> None:
    footage = make_footage()
    plate = make_plate(footage)
    written(tmp_path, plate, take_apart(plate))
    path = tmp_path / "back" / "back.1001.exr"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(OutputError, match=r"back\.1001\.exr is damaged"):
        verify_frame(tmp_path, footage, NAMES, plate)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    footage = make_footage()
    plate = make_plate(footage)
    written(tmp_path, plate, take_apart(plate))
    (tmp_path / "back" / "back.1001.exr").unlink()
    with pytest.raises(OutputError, match=r"back\.1001\.exr is missing"):
        verify_frame(tmp_path, footage, NAMES, plate)


def test_a_file_of_another_plate_is_a_sentence(tmp_path: Path) -> None:
    footage = make_footage()
    plate = make_plate(footage)
    written(tmp_path, plate, take_apart(plate))
    with pytest.raises(OutputError, match="not the one written for this plate: its data window is 61x37 at 0,0"):
        verify_frame(tmp_path, footage, NAMES, replace(plate, data=Region(0, 0, 60, 37)))
    shutil.copy(tmp_path / "background" / "background.1001.exr", tmp_path / "back" / "back.1001.exr")
    with pytest.raises(OutputError, match="its channels are R, G, B"):
        verify_frame(tmp_path, footage, NAMES, plate)
