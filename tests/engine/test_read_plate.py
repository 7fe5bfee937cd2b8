from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from engine.read_samples import flat, write_image, write_parts, write_sequence
from penumbra.color import srgb_decode
from penumbra.errors import (
    ColorSpaceError,
    FootageError,
    MissingFramesError,
    SizeMismatchError,
    UnreadableError,
)
from penumbra.frames import Plate, Region
from penumbra.job import FrameRange, PlateSettings
from penumbra.read import PlateReader, check_color_space, inspect_footage, open_plate
from penumbra.read.encodings import find_decoding

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "real"


def plate_at(path: object, number: int, **settings: str) -> Plate:
    with open_plate(PlateSettings(str(path), **settings)) as reader:
        return reader.read(number)


def opened(path: object, **settings: object) -> PlateReader:
    return open_plate(PlateSettings(str(path), **settings))


def test_half_exr_comes_back_as_it_was_written(tmp_path: Path) -> None:
    reader = opened(write_sequence(tmp_path, range(1001, 1004)))
    assert reader.footage.frames == (1001, 1002, 1003)
    assert (reader.footage.canvas, reader.footage.display) == (Region(0, 0, 8, 6), Region(0, 0, 8, 6))
    assert (reader.footage.space.name, reader.footage.source_space) == ("lin_rec709", "lin_rec709")
    assert (reader.footage.padding, reader.warnings) == (4, ())
    for place, number in enumerate(reader.footage.frames):
        plate = reader.read(number)
        np.testing.assert_array_equal(plate.pixels, flat(place / 16, 0.25, 0.5))
        assert plate.unresolved is None


def test_highlights_and_negative_values_pass(tmp_path: Path) -> None:
    write_image(tmp_path / "a.0001.exr", flat(900.5, -0.125, 3.0), "float")
    np.testing.assert_array_equal(plate_at(tmp_path, 1).pixels[2, 3], [900.5, -0.125, 3.0])


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".png", "uint8"), (".png", "uint16"), (".tif", "uint8"), (".tif", "uint16")]
)
@pytest.mark.parametrize("channels", [3, 4])
def test_integer_images_decode_by_exactly_the_srgb_curve(tmp_path: Path, suffix: str, kind: str, channels: int) -> None:
    top = np.iinfo(kind).max
    codes = np.random.default_rng(0).integers(0, top + 1, (7, 9, channels)).astype(kind)
    reader = opened(write_image(tmp_path / f"a.0001{suffix}", codes, kind))
    expected = srgb_decode(codes[..., :3].astype(np.float32) / np.float32(top))
    np.testing.assert_array_equal(reader.read(1).pixels, expected)
    assert (reader.footage.source_space, reader.footage.space.name) == ("srgb_tx", "lin_rec709")
    assert [w for w in reader.warnings if "alpha" in w] == (
        ["The plate's alpha is ignored; its RGB is used as it is."] * (channels == 4)
    )


def test_jpeg_decodes_by_the_srgb_curve(tmp_path: Path) -> None:
    write_image(tmp_path / "a.0001.jpg", np.full((16, 16, 3), 128, np.uint8), "uint8")
    np.testing.assert_allclose(plate_at(tmp_path, 1).pixels, srgb_decode(np.float32([128 / 255]))[0], atol=0.01)


def test_a_video_dpx_decodes_and_a_logarithmic_one_asks(tmp_path: Path) -> None:
    codes = np.full((4, 4, 3), 40000, np.uint16)
    write_image(tmp_path / "v" / "a.0001.dpx", codes, "uint16")
    np.testing.assert_allclose(
        plate_at(tmp_path / "v", 1).pixels, srgb_decode(np.float32([40000 / 65535]))[0], rtol=1e-6
    )
    log = write_image(tmp_path / "l" / "a.0001.dpx", codes, "uint16", attributes={"dpx:Transfer": "Printing density"})
    with pytest.raises(ColorSpaceError, match=r"logarithmic.*Name its colour space"):
        opened(log)
    white = np.full((4, 4, 3), round(685 / 1023 * 65535), np.uint16)
    write_image(log, white, "uint16", attributes={"dpx:Transfer": "Printing density"})
    np.testing.assert_allclose(plate_at(log, 1, color_space="cineon").pixels, 1.0, atol=1e-3)


def test_data_windows_differ_per_frame(tmp_path: Path) -> None:
    write_image(tmp_path / "a.0001.exr", flat(1, 1, 1, size=(4, 5)), window=(2, 1, 8, 6))
    write_image(tmp_path / "a.0002.exr", flat(2, 2, 2, size=(9, 12)), window=(-2, -2, 8, 6))
    with opened(tmp_path) as reader:
        assert reader.footage.display == Region(0, 0, 8, 6)
        assert reader.footage.canvas == Region(-2, -2, 12, 9)
        small, large = reader.read(1), reader.read(2)
    assert small.data == Region(2, 1, 5, 4)
    assert small.pixels.sum() == 4 * 5 * 3
    assert small.pixels[3:7, 4:9].min() == 1
    assert large.data == large.canvas
    assert large.pixels.min() == 2


def test_values_that_are_not_finite_are_unresolved_and_zero(tmp_path: Path) -> None:
    pixels = flat(0.5, 0.5, 0.5)
    pixels[1, 2, 0], pixels[3, 4, 1], pixels[0, 0, 2] = np.nan, np.inf, -np.inf
    write_image(tmp_path / "a.0001.exr", pixels, "float")
    for space in ("auto", "ARRI LogC4"):
        plate = plate_at(tmp_path, 1, color_space=space)
        assert sorted(map(tuple, np.argwhere(plate.unresolved))) == [(0, 0), (1, 2), (3, 4)]
        assert np.isfinite(plate.pixels).all()
        assert (plate.pixels[plate.unresolved] == 0).all()


def test_a_one_channel_plate_is_replicated_with_a_warning(tmp_path: Path) -> None:
    reader = opened(write_image(tmp_path / "a.0001.png", np.full((4, 4, 1), 77, np.uint8), "uint8"))
    np.testing.assert_array_equal(reader.read(1).pixels, np.tile(srgb_decode(np.float32([77 / 255])), (4, 4, 3)))
    assert any("one channel" in warning for warning in reader.warnings)


def test_an_rgba_exr_is_used_as_stored(tmp_path: Path) -> None:
    write_image(tmp_path / "a.0001.exr", flat(0.25, 0.5, 0.75, 0.5))
    reader = opened(tmp_path)
    np.testing.assert_array_equal(reader.read(1).pixels, flat(0.25, 0.5, 0.75))
    assert any("alpha" in warning for warning in reader.warnings)


def test_the_main_rgb_is_found_among_layers(tmp_path: Path) -> None:
    names = ("Z", "beauty.R", "beauty.G", "beauty.B", "R", "G", "B", "roto.person")
    values = (9, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 1)
    write_image(tmp_path / "a" / "a.0001.exr", flat(*values), "float", channels=names)
    np.testing.assert_array_equal(plate_at(tmp_path / "a", 1).pixels[0, 0], np.float32([0.5, 0.6, 0.7]))
    write_image(tmp_path / "b" / "a.0001.exr", flat(*values[:4]), "float", channels=names[:4])
    np.testing.assert_array_equal(plate_at(tmp_path / "b", 1).pixels[0, 0], np.float32([0.1, 0.2, 0.3]))


def test_several_layers_without_a_main_one_are_listed(tmp_path: Path) -> None:
    names = tuple(f"{layer}.{letter}" for layer in ("diffuse", "beauty") for letter in "RGB")
    write_image(tmp_path / "a.0001.exr", flat(*range(6)), channels=names)
    with pytest.raises(FootageError, match=r"several layers: beauty, diffuse\."):
        opened(tmp_path)


def test_a_second_part_can_hold_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.0001.exr"
    write_parts(path, {"depth": (("Z",), flat(5)), "rgb": (("R", "G", "B"), flat(0.5, 0.25, 0.125))})
    np.testing.assert_array_equal(plate_at(path, 1).pixels[0, 0], [0.5, 0.25, 0.125])


def test_header_facts_are_kept(tmp_path: Path) -> None:
    attributes = {
        "framesPerSecond": (oiio.TypeDesc("rational"), (24000, 1001)),
        "smpte:TimeCode": (oiio.TypeTimeCode, (0x01020304, 0)),
        "PixelAspectRatio": 2.0,
        "Copyright": "the owner",
    }
    write_image(tmp_path / "a.00099.exr", flat(1, 1, 1), attributes=attributes)
    footage = opened(tmp_path).footage
    assert (footage.fps, footage.timecode, footage.pixel_aspect) == (Fraction(24000, 1001), "01:02:03:04", 2.0)
    assert (footage.metadata["Copyright"], footage.padding) == ("the owner", 5)


@pytest.mark.parametrize(
    ("tag", "linear"),
    [("lin_rec709", "lin_rec709"), ("ACEScg", "lin_ap1"), ("Linear P3-D65", "lin_p3d65")],
)
def test_a_tagged_exr_keeps_its_primaries_and_values(tmp_path: Path, tag: str, linear: str) -> None:
    write_image(tmp_path / "a.0001.exr", flat(0.25, 0.5, 4), attributes={"oiio:ColorSpace": tag})
    reader = opened(tmp_path)
    assert reader.footage.space.name == linear
    np.testing.assert_array_equal(reader.read(1).pixels, flat(0.25, 0.5, 4))


def test_an_interop_id_of_a_camera_gamut_is_found_and_a_foreign_one_is_warned_of(tmp_path: Path) -> None:
    write_image(tmp_path / "a.0001.exr", flat(1, 2, 3), attributes={"colorInteropID": "ocio:lin_awg4_scene"})
    assert opened(tmp_path).footage.space.name == "Linear ARRI Wide Gamut 4"
    write_image(tmp_path / "a.0001.exr", flat(1, 2, 3), attributes={"colorInteropID": "studio:house_gamut"})
    reader = opened(tmp_path)
    assert any("'studio:house_gamut' is not known" in warning for warning in reader.warnings)
    np.testing.assert_array_equal(reader.read(1).pixels, flat(1, 2, 3))


def test_chromaticities_name_the_primaries(tmp_path: Path) -> None:
    wide = (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)
    write_image(
        tmp_path / "a.0001.exr", flat(1, 1, 1), attributes={"chromaticities": (oiio.TypeDesc("float[8]"), wide)}
    )
    assert opened(tmp_path).footage.space.name == "lin_ap1"
    odd = (0.5, *wide[1:])
    write_image(tmp_path / "a.0001.exr", flat(1, 1, 1), attributes={"chromaticities": (oiio.TypeDesc("float[8]"), odd)})
    reader = opened(tmp_path)
    assert any("no known space" in warning for warning in reader.warnings)
    np.testing.assert_array_equal(reader.read(1).pixels, 1)


CAMERAS = {
    "ARRI LogC4": "Linear ARRI Wide Gamut 4",
    "S-Log3 S-Gamut3.Cine": "Linear S-Gamut3.Cine",
    "ACEScct": "lin_ap1",
    "Apple Log": "lin_rec2020",
    "ARRI LogC3 (EI800)": "Linear ARRI Wide Gamut 3",
    "Log3G10 REDWideGamutRGB": "Linear REDWideGamutRGB",
    "V-Log V-Gamut": "Linear V-Gamut",
    "DaVinci Intermediate WideGamut": "Linear DaVinci WideGamut",
}


@pytest.mark.parametrize("name", CAMERAS)
def test_a_camera_space_decodes_to_the_linear_of_its_own_gamut(tmp_path: Path, name: str) -> None:
    codes = np.random.default_rng(1).integers(0, 65536, (5, 6, 3)).astype(np.uint16)
    reader = opened(write_image(tmp_path / "a.0001.tif", codes, "uint16"), color_space=name)
    assert reader.footage.space.name == CAMERAS[name]
    buffer = oiio.ImageBuf(codes.astype(np.float32) / np.float32(65535))
    expected = oiio.ImageBufAlgo.colorconvert(
        buffer, name, CAMERAS[name], unpremult=False, colorconfig="ocio://studio-config-latest"
    ).get_pixels(oiio.FLOAT)
    pixels = reader.read(1).pixels
    np.testing.assert_allclose(pixels, expected, rtol=1e-4, atol=1e-5)
    # Own gamut: a grey stays grey and a channel depends on itself alone.
    np.testing.assert_array_equal(np.argsort(codes[..., 0], None), np.argsort(pixels[..., 0], None))


def test_arri_logc4_middle_grey() -> None:
    """ARRI's LogC4 specification, table 1: 18 % grey is code 0.2783958."""
    decoded = find_decoding("ARRI LogC4").decode(flat(0.2783958, 0.2783958, 0.2783958))
    np.testing.assert_allclose(decoded, 0.18, rtol=1e-4)


def test_davinci_intermediate_middle_grey() -> None:
    """Blackmagic Design's DaVinci Wide Gamut Intermediate specification: 18 % grey is code 0.336043."""
    decoded = find_decoding("DaVinci Intermediate WideGamut").decode(flat(0.336043, 0.336043, 0.336043))
    np.testing.assert_allclose(decoded, 0.18, rtol=1e-4)


def test_a_working_space_is_reached_by_the_known_matrix(tmp_path: Path) -> None:
    write_image(tmp_path / "a.0001.exr", flat(1, 0, 0), "float")
    reader = opened(tmp_path, working_space="ACEScg")
    # Rec.709 red in AP1, as every ACES document has it.
    np.testing.assert_allclose(reader.read(1).pixels[0, 0], [0.6131, 0.0702, 0.0206], atol=2e-4)
    assert reader.footage.space.name == "lin_ap1"


@pytest.mark.parametrize("where", ["color_space", "working_space"])
def test_an_unknown_space_names_the_closest(tmp_path: Path, where: str) -> None:
    path = write_sequence(tmp_path, [1])
    with pytest.raises(ColorSpaceError, match=r"'ARRI LogC5' is not known.*'ARRI LogC4'"):
        opened(path, **{where: "ARRI LogC5"})


def test_a_working_space_must_be_linear(tmp_path: Path) -> None:
    with pytest.raises(ColorSpaceError, match="not linear"):
        opened(write_sequence(tmp_path, [1]), working_space="ARRI LogC4")


def test_a_broken_ocio_variable_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCIO", str(tmp_path / "none.ocio"))
    with pytest.raises(ColorSpaceError, match=r"none\.ocio cannot be read.*\$OCIO"):
        check_color_space("ARRI LogC4")
    assert check_color_space("sRGB") == "srgb_tx"


CONFIG = """ocio_profile_version: 2
roles: {scene_linear: house, default: house}
file_rules: [!<Rule> {name: Default, colorspace: default}]
displays: {screen: [!<View> {name: raw, colorspace: house}]}
colorspaces:
  - !<ColorSpace> {name: house, isdata: false}
  - !<ColorSpace>
    name: house log
    isdata: false
    to_scene_reference: !<ExponentTransform> {value: [2, 2, 2, 1]}
  - !<ColorSpace>
    name: swapped log
    isdata: false
    to_scene_reference: !<GroupTransform>
      children:
        - !<ExponentTransform> {value: [2, 2, 2, 1]}
        - !<MatrixTransform> {matrix: [0.5, 0.5, 0, 0, 0, 1, 0, 0, 0, 0.25, 0.75, 0, 0, 0, 0, 1]}
"""


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float"])
def test_the_configuration_of_the_ocio_variable_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "config.ocio").write_text(CONFIG)
    monkeypatch.setenv("OCIO", str(tmp_path / "config.ocio"))
    codes = np.random.default_rng(6).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    values = codes / np.float32(255)
    stored = values if kind == "float" else codes.astype(kind) * (257 if kind == "uint16" else 1)
    path = write_image(tmp_path / "a.0001.tif", stored, kind)
    apart, mixed = opened(path, color_space="house log"), opened(path, color_space="swapped log")
    assert (apart.footage.space.name, apart.warnings) == ("house", ())
    np.testing.assert_allclose(apart.read(1).pixels, values**2, rtol=5e-5, atol=1e-6)
    assert any("No linear space with the primaries of swapped log" in warning for warning in mixed.warnings)
    matrix = np.float32([[0.5, 0.5, 0], [0, 1, 0], [0, 0.25, 0.75]])
    np.testing.assert_allclose(mixed.read(1).pixels, values**2 @ matrix.T, rtol=5e-5, atol=1e-6)
    with pytest.raises(ColorSpaceError, match=r"'ARRI LogC4' is not known to .*config"):
        opened(path, color_space="ARRI LogC4")


def test_names_are_found_by_alias_and_in_any_case() -> None:
    assert check_color_space("arri_logc4") == "ARRI LogC4"
    assert check_color_space("ACESCG") == "ACEScg"


def test_a_frame_range_is_cut_out(tmp_path: Path) -> None:
    path = write_sequence(tmp_path, range(1, 9))
    reader = opened(path, frames=FrameRange(3, 5))
    assert reader.footage.frames == (3, 4, 5)
    with pytest.raises(MissingFramesError, match="no frame 6"):
        reader.read(6)


def test_a_range_beyond_the_clip_is_one_sentence(tmp_path: Path) -> None:
    path = write_sequence(tmp_path, range(1, 9))
    with pytest.raises(MissingFramesError, match=r"has frames 1-8; the range asked for, 5-12, goes beyond"):
        opened(path, frames=FrameRange(5, 12))


def test_holes_are_listed_and_a_range_may_avoid_them(tmp_path: Path) -> None:
    path = write_sequence(tmp_path, [1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1013])
    with pytest.raises(MissingFramesError, match=r"lacks frames 1004, 1010-1012 of 1001-1013\."):
        opened(path)
    assert opened(path, frames=FrameRange(1005, 1009)).footage.frames == tuple(range(1005, 1010))


@pytest.mark.parametrize("suffix", [".exr", ".png", ".jpg", ".tif", ".dpx"])
def test_a_truncated_file_is_named_with_its_frame(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    for number in (1, 2):
        kind = "half" if suffix == ".exr" else "uint8"
        path = write_image(
            tmp_path / f"a.000{number}{suffix}", noise / np.float32(255) if suffix == ".exr" else noise, kind
        )
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with opened(tmp_path) as reader:
        assert reader.read(1).pixels.shape == (64, 64, 3)
        with pytest.raises(UnreadableError, match=rf"a\.0002\{suffix} \(frame 2\) cannot be read") as caught:
            reader.read(2)
    assert len(str(caught.value)) < 500
    assert oiio.geterror() == ""


def test_a_damaged_exr_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).random((64, 64, 3), np.float32)
    path = write_image(tmp_path / "a.0007.exr", noise, attributes={"compression": "zip"})
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = b"\x55" * 200
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match=r"frame 7"):
        plate_at(path, 7)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x76\x2f\x31\x01" + b"\xff" * 400])
@pytest.mark.parametrize("suffix", [".exr", ".png", ".tif"])
def test_files_that_are_no_images_are_refused_at_the_header(tmp_path: Path, content: bytes, suffix: str) -> None:
    write_sequence(tmp_path, [1], suffix, "half" if suffix == ".exr" else "uint8")
    (tmp_path / f"plate.0002{suffix}").write_bytes(content)
    with pytest.raises(UnreadableError, match=r"plate\.0002.*frame 2"):
        opened(tmp_path)


def test_a_size_that_changes_is_one_sentence(tmp_path: Path) -> None:
    write_image(tmp_path / "a.0001.exr", flat(0, 0, 0))
    write_image(tmp_path / "a.0002.exr", flat(0, 0, 0, size=(6, 9)))
    with pytest.raises(SizeMismatchError, match=r"Frame 2 of .* is 9x6, frame 1 is 8x6"):
        opened(tmp_path)


def test_channels_that_vanish_are_one_sentence(tmp_path: Path) -> None:
    write_image(tmp_path / "a.0001.exr", flat(0, 0, 0))
    write_image(tmp_path / "a.0002.exr", flat(0), channels=("Z",))
    with pytest.raises(FootageError, match=r"frame 2\) has no channels R, G, B; it holds Z"):
        opened(tmp_path)


@pytest.mark.parametrize("compression", ["zip", "piz"])
@pytest.mark.parametrize("change", ["smaller", "turned", "moved", "other channels"])
def test_a_file_that_was_replaced_meanwhile_is_not_read_as_what_it_was(
    tmp_path: Path, compression: str, change: str
) -> None:
    path = tmp_path / "a.0001.exr"
    before = np.random.default_rng(1).random((6, 8, 3), np.float32)

    def write(pixels: np.ndarray, x: int = 0, channels: tuple[str, ...] = ("R", "G", "B")) -> None:
        spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], oiio.HALF)
        spec.channelnames, spec.x, spec.full_x, spec.full_width, spec.full_height = channels, x, 0, 8, 6
        spec.attribute("compression", compression)
        image = oiio.ImageOutput.create(str(path))
        assert image.open(str(path), spec)
        assert image.write_image(pixels)
        assert image.close()

    write(before)
    reader = opened(path)
    np.testing.assert_allclose(reader.read(1).pixels, before, atol=1e-3)
    if change == "smaller":
        write(before[:4, :5])
    elif change == "turned":
        write(before.swapaxes(0, 1).copy())
    elif change == "moved":
        write(before, x=2)
    else:
        write(np.dstack([before * 0, before]), channels=("crypto.B", "crypto.G", "crypto.R", "R", "G", "B"))
    with pytest.raises(UnreadableError, match=r"a\.0001\.exr \(frame 1\) .* it was replaced\. Start the job again"):
        reader.read(1)
    write(before)
    np.testing.assert_allclose(reader.read(1).pixels, before, atol=1e-3)


def test_a_broken_header_cannot_take_all_memory(tmp_path: Path) -> None:
    write_image(tmp_path / "a.0001.exr", flat(0, 0, 0), window=(0, 0, 8, 6))
    write_image(tmp_path / "a.0002.exr", flat(0, 0, 0), window=(60000, 60000, 8, 6))
    with pytest.raises(FootageError, match="more than can be meant"):
        opened(tmp_path)


def test_odd_sizes_pass(tmp_path: Path) -> None:
    write_image(tmp_path / "a.0001.png", np.full((803, 1919, 3), 9, np.uint8), "uint8")
    assert plate_at(tmp_path, 1).pixels.shape == (803, 1919, 3)


def test_many_threads_read_the_same_as_one(tmp_path: Path) -> None:
    reader = opened(write_sequence(tmp_path, range(1, 17)))
    with ThreadPoolExecutor(4) as pool:
        plates = list(pool.map(reader.read, reader.footage.frames))
    assert [plate.pixels[0, 0, 0] for plate in plates] == [k / 16 for k in range(16)]


def test_inspect_tells_what_is_in_a_sequence_with_holes(tmp_path: Path) -> None:
    codes = np.zeros((4, 4, 3), np.uint8)
    codes[1], codes[2] = (255, 0, 0), (0, 0, 7)
    for number in (1, 2, 5):
        write_image(tmp_path / f"id.{number:04d}.png", codes, "uint8")
    found = inspect_footage(str(tmp_path))
    assert (found["kind"], found["frames"], found["holes"], found["count"]) == (
        "sequence",
        [[1, 2], [5, 5]],
        [[3, 4]],
        3,
    )
    assert (found["id_values"], found["id_colors"]) == ([0, 255], ["000000", "000007", "FF0000"])
    assert (found["bit_depth"], found["codec"], found["color_space"]) == (8, "png", "srgb_tx")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared clips are not beside this repository")
def test_the_tennis_clip_opens_and_reads() -> None:
    with opened(SHARED / "tennis" / "rgb") as reader:
        assert (len(reader.footage.frames), reader.footage.canvas) == (70, Region(0, 0, 448, 256))
        assert 0.1 < reader.read(70).pixels.mean() < 0.5


@pytest.mark.parametrize(
    ("fps", "flags", "expected"),
    [((30000, 1001), 1 << 6, "01:02:03;05"), ((24, 1), 0, "01:02:03:05"), ((60, 1), 1 << 15, "01:02:03:11")],
)
def test_timecode_keeps_its_flags(tmp_path: Path, fps: tuple[int, int], flags: int, expected: str) -> None:
    word = 0x01020305 | flags
    attributes = {
        "smpte:TimeCode": (oiio.TypeTimeCode, (word, 0)),
        "framesPerSecond": (oiio.TypeDesc("rational"), fps),
    }
    for number in (1, 2):
        write_image(tmp_path / f"a.{number:04d}.exr", flat(1, 1, 1), attributes=attributes)
    assert opened(tmp_path).footage.timecode == expected


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stored_on_its_side_is_read_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = np.full((16, 24, 3), 32, np.uint8)
    upright[:8, :8] = 250
    turned = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.swapaxes(0, 1),
        6: np.rot90(upright), 7: np.rot90(upright, 2).swapaxes(0, 1), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    write_image(tmp_path / f"a.0001{suffix}", turned, "uint8", attributes={"Orientation": orientation})
    with opened(tmp_path) as plate:
        assert plate.footage.canvas.shape == (16, 24)
        pixels = plate.read(1).pixels
        assert pixels[:8, :8].mean() > 0.9
        assert pixels[8:].mean() < 0.1
        assert any("upright" in warning for warning in plate.warnings) == (orientation != 1)
