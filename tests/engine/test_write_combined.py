"""All layers of a frame in one file, read back with their names, headers and pixels."""

from fractions import Fraction

import numpy as np
import OpenImageIO as oiio
import pytest

from penumbra.color import LinearSpace
from penumbra.errors import JobError, OutputError
from penumbra.frames import Footage, Layer, LayerStack, Region
from penumbra.job import OutputSettings
from penumbra.write import write_combined

DISPLAY, DATA, CANVAS = Region(0, 0, 40, 24), Region(3, 2, 30, 20), Region(-1, 0, 44, 26)


def footage():
    space = LinearSpace("lin_rec709")
    return Footage("plate.exr", (1001, 1002), CANVAS, DISPLAY, space, "lin_rec709", fps=Fraction(24))


def stack():
    rng = np.random.default_rng(0)
    background = rng.random((*CANVAS.shape, 3), np.float32)
    layers = tuple(Layer(name, rng.random((*CANVAS.shape, 4), np.float32)) for name in ("Zoe", "ape"))
    return LayerStack(1002, background, layers)


def read(path):
    image = oiio.ImageInput.open(str(path))
    parts = []
    while image.seek_subimage(len(parts), 0):
        spec = image.spec()
        pixels = image.read_image(len(parts), 0, 0, spec.nchannels, "float")
        parts.append((spec, dict(zip(spec.channelnames, np.moveaxis(pixels, -1, 0), strict=True))))
    image.close()
    return parts


@pytest.mark.parametrize("precision", ["half", "float"])
def test_a_multilayer_file_holds_the_clean_plate_and_named_layers(tmp_path, precision):
    settings = OutputSettings(str(tmp_path), precision, combined="multilayer")
    path = write_combined(tmp_path, footage(), settings, "Penumbra", stack(), DATA)
    assert path == tmp_path / "layers" / "layers.1002.exr"
    ((spec, channels),) = read(path)
    assert set(channels) == {"R", "G", "B"} | {f"{name}.{c}" for name in ("Zoe", "ape") for c in "RGBA"}
    rows, columns = DATA.slices_in(CANVAS)
    step = 2.0**-11 if precision == "half" else 0
    assert channels["G"] == pytest.approx(stack().background[rows, columns, 1], rel=step)
    assert channels["ape.A"] == pytest.approx(stack().layers[1].pixels[rows, columns, 3], rel=step)
    assert channels["Zoe.B"] == pytest.approx(stack().layers[0].pixels[rows, columns, 2], rel=step)
    assert (spec.x, spec.y, spec.full_width) == (DATA.x, DATA.y, DISPLAY.width)


def test_a_multipart_file_holds_a_part_for_each_back_to_front(tmp_path):
    settings = OutputSettings(str(tmp_path), combined="multipart")
    parts = read(write_combined(tmp_path, footage(), settings, "Penumbra", stack(), DATA))
    assert [spec.getattribute("oiio:subimagename") for spec, _ in parts] == ["background", "Zoe", "ape"]
    assert [len(channels) for _, channels in parts] == [3, 4, 4]
    rows, columns = DATA.slices_in(CANVAS)
    for (_, channels), layer in zip(parts[1:], stack().layers, strict=True):
        assert channels["A"] == pytest.approx(layer.pixels[rows, columns, 3], rel=2.0**-11)
        assert channels["R"] == pytest.approx(layer.pixels[rows, columns, 0], rel=2.0**-11)
    assert all(spec.getattribute("framesPerSecond") is not None for spec, _ in parts)


@pytest.mark.parametrize("kind", ["multilayer", "multipart"])
def test_the_same_stack_gives_the_same_bytes(tmp_path, kind):
    settings = OutputSettings(str(tmp_path), combined=kind)
    written = [
        write_combined(tmp_path / name, footage(), settings, "Penumbra", stack(), DATA).read_bytes() for name in "ab"
    ]
    assert written[0] == written[1]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "layers").write_text("in the way")
    with pytest.raises(OutputError, match=r"layers\.1002\.exr could not be written"):
        write_combined(tmp_path, footage(), OutputSettings("x", combined="multipart"), "Penumbra", stack(), DATA)
    assert (tmp_path / "layers").read_text() == "in the way"


def test_an_unknown_kind_is_refused():
    with pytest.raises(JobError, match="multilayer"):
        OutputSettings("out", combined="zip")
