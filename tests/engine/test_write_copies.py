"""Splits and combined files are read back too: right ones pass, a wrong pixel in any of them is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.clips import make_footage, make_plate, take_apart
from penumbra.errors import OutputError
from penumbra.frames import Region
from penumbra.job import OutputSettings
from penumbra.lift import split_layer
from penumbra.lift.precision import Precision
from penumbra.write import FrameWriter, verify_frame, write_combined
from penumbra.write.exr import RGBA, exr_spec, read_exr, write_exr

NAMES = ("back", "front")


def written(folder, seed, precision="half", kind="multilayer", data=None, peak=1.0):
    """A frame with everything a job may ask for; its footage and plate."""
    footage = make_footage(33, 29)
    plate = make_plate(footage, data=data, peak=peak)
    output, rng = OutputSettings("out", precision, splits=True, combined=kind), np.random.default_rng(seed)
    stack = take_apart(plate, NAMES, seed, half=precision == "half")
    writer = FrameWriter(folder, footage, output, "")
    writer.write(stack, plate.data)
    for layer in stack.layers:
        mask = np.minimum(rng.random(plate.canvas.shape, np.float32), layer.pixels[..., 3])
        writer.write_layers(split_layer(layer, mask, Precision(precision)), plate.number, plate.data)
    write_combined(folder, footage, output, "", stack, plate.data)
    return footage, plate


def verdict(folder, footage, plate, kind="multilayer"):
    return verify_frame(folder, footage, NAMES, plate, splits=True, combined=kind)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31),
    precision=st.sampled_from(["half", "float"]),
    kind=st.sampled_from(["multilayer", "multipart"]),
    peak=st.sampled_from([0.01, 1.0, 40.0]),
)
def test_whatever_is_written_beside_the_layers_agrees_with_them(tmp_path, seed, precision, kind, peak):
    found = verdict(tmp_path, *written(tmp_path, seed, precision, kind, Region(2, 1, 30, 27), peak), kind)
    assert (found.splits_ok, found.combined_ok, found.within_bound) == (True, True, True)


@pytest.mark.parametrize("split", ["object", "shadow", "light"])
def test_one_wrong_pixel_of_a_split_is_told(tmp_path: Path, split: str) -> None:
    footage, plate = written(tmp_path, 1)
    path = tmp_path / f"front_{split}" / f"front_{split}.1001.exr"
    pixels = read_exr(path, RGBA, plate.data)
    pixels[20, 7] += 0.01
    write_exr(path, pixels, exr_spec(footage, plate.data, RGBA, OutputSettings("out")))
    found = verdict(tmp_path, footage, plate)
    assert (found.splits_ok, found.combined_ok, found.within_bound) == (False, True, False)


@pytest.mark.parametrize("kind", ["multilayer", "multipart"])
def test_a_combined_file_that_differs_by_a_bit_is_told(tmp_path: Path, kind: str) -> None:
    footage, plate = written(tmp_path, 2, kind=kind)
    path = tmp_path / "front" / "front.1001.exr"
    pixels = read_exr(path, RGBA, plate.data)
    pixels[3, 4, 3] = np.nextafter(np.float16(pixels[3, 4, 3]), np.float16(0))
    write_exr(path, pixels, exr_spec(footage, plate.data, RGBA, OutputSettings("out")))
    found = verdict(tmp_path, footage, plate, kind)
    assert not found.combined_ok
    assert not found.within_bound


def test_a_missing_split_or_part_is_a_sentence(tmp_path: Path) -> None:
    footage, plate = written(tmp_path, 3, kind="multipart")
    with pytest.raises(OutputError, match=r"layers\.1001\.exr is not the one written for this plate: its channels are"):
        verdict(tmp_path, footage, plate, "multilayer")
    (tmp_path / "back_light" / "back_light.1001.exr").unlink()
    with pytest.raises(OutputError, match=r"back_light\.1001\.exr is missing"):
        verdict(tmp_path, footage, plate, "multipart")
