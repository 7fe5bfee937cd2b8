from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.read_samples import flat, write_image, write_movie, write_parts, write_sequence
from penumbra.color import LinearSpace, srgb_decode
from penumbra.errors import ColorSpaceError, FootageError, MissingFramesError, SizeMismatchError, UnreadableError
from penumbra.frames import Footage, Region
from penumbra.job import CleanPlateSettings, FrameRange, MaskSettings, PlateSettings
from penumbra.read import MaskReader, open_clean_plate, open_mask, open_plate

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "real"


def plate(first: int = 1, last: int = 4, canvas: Region | None = None, display: Region | None = None) -> Footage:
    display = display or Region(0, 0, 8, 6)
    return Footage(
        "plate.%04d.exr",
        tuple(range(first, last + 1)),
        canvas or display,
        display,
        LinearSpace("lin_rec709"),
        "lin_rec709",
    )


def opened(path: object, footage: Footage | None = None, channel: str = "auto", **settings: object) -> MaskReader:
    return open_mask(MaskSettings("person", str(path), channel, **settings), footage or plate())


def steps(kind: str, channels: int, start: int = 0) -> np.ndarray:
    """A 6 x 8 image of all different values, none of them the same in two channels of a pixel."""
    top = np.iinfo(kind).max
    return (np.arange(6 * 8 * channels).reshape(6, 8, channels) * (top // 300) + start).astype(kind)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_grey_png_is_taken_over_its_maximum_and_not_as_colour(tmp_path: Path, kind: str) -> None:
    codes = steps(kind, 1)
    codes[0, 0], codes[0, 1] = np.iinfo(kind).max, 0
    mask = opened(write_image(tmp_path / "m.0001.png", codes, kind)).read(1)
    np.testing.assert_allclose(mask.coverage, codes[..., 0] / np.iinfo(kind).max, atol=1e-7)
    assert (mask.coverage[0, 0], mask.coverage[0, 1]) == (1, 0)


def test_auto_takes_an_alpha_that_varies_and_else_luminance(tmp_path: Path) -> None:
    codes = steps("uint8", 4)
    varied = opened(write_image(tmp_path / "a" / "m.0001.png", codes, "uint8")).read(1)
    np.testing.assert_allclose(varied.coverage, codes[..., 3] / 255, atol=1e-7)
    codes[..., 3] = 255
    opaque = opened(write_image(tmp_path / "b" / "m.0001.png", codes, "uint8")).read(1)
    np.testing.assert_allclose(opaque.coverage, codes[..., :3] / 255 @ [0.2126, 0.7152, 0.0722], atol=1e-6)


def test_auto_decides_for_the_whole_clip(tmp_path: Path) -> None:
    for number, alpha in ((1, 1.0), (2, 0.25), (3, 1.0)):
        write_image(tmp_path / f"m.{number:04d}.exr", flat(0, 0, 0, alpha))
    reader = opened(tmp_path, plate(1, 3))
    assert [reader.read(number).coverage.max() for number in (1, 2, 3)] == [1.0, 0.25, 1.0]


def test_a_matte_in_colour_whose_alpha_is_black_is_its_colour(tmp_path: Path) -> None:
    for number in (1, 2):
        write_image(tmp_path / f"m.{number:04d}.exr", flat(0.5, 0.5, 0.5, 0))
    assert opened(tmp_path, plate(1, 2)).read(1).coverage.max() == 0.5
    # Where there is no colour either, as of an object that comes later, alpha is what is meant.
    for number in (1, 2):
        write_image(tmp_path / "later" / f"m.{number:04d}.exr", flat(0, 0, 0, 0))
    assert opened(tmp_path / "later", plate(1, 2)).read(1).coverage.max() == 0


@pytest.mark.parametrize("channel", ["alpha", "luminance"])
def test_a_form_that_is_asked_for_is_taken(tmp_path: Path, channel: str) -> None:
    write_image(tmp_path / "m.0001.exr", flat(0.5, 0.5, 0.5, 0.25))
    expected = {"alpha": 0.25, "luminance": 0.5}[channel]
    np.testing.assert_array_equal(opened(tmp_path, channel=channel).read(1).coverage, expected)


def test_asking_for_alpha_where_there_is_none_lists_the_channels(tmp_path: Path) -> None:
    write_image(tmp_path / "m.0001.exr", flat(0, 0, 0))
    with pytest.raises(FootageError, match=r"Mask person .* has no channel alpha; it holds R, G, B"):
        opened(tmp_path, channel="alpha")


@pytest.mark.parametrize("name", ["roto.person", "ROTO.Person"])
def test_a_named_channel_of_an_exr(tmp_path: Path, name: str) -> None:
    channels = ("R", "G", "B", "roto.dog", "roto.person")
    write_image(tmp_path / "m.0001.exr", flat(0, 0, 0, 0.125, 0.75), channels=channels)
    np.testing.assert_array_equal(opened(tmp_path, channel=f"channel:{name}").read(1).coverage, 0.75)
    with pytest.raises(FootageError, match=r"no channel roto\.cat; it holds .*roto\.dog, roto\.person"):
        opened(tmp_path, channel="channel:roto.cat")


def test_several_channels_and_no_luminance_ask_for_one(tmp_path: Path) -> None:
    write_image(tmp_path / "m.0001.exr", flat(0.5, 0.25), channels=("roto.dog", "roto.person"))
    with pytest.raises(FootageError, match=r"none is the obvious one: roto\.dog, roto\.person\. Choose one"):
        opened(tmp_path)


def test_a_named_channel_of_another_part(tmp_path: Path) -> None:
    parts = {"rgb": (("R", "G", "B"), flat(0, 0, 0)), "roto": (("person",), flat(0.5))}
    write_parts(tmp_path / "m.0001.exr", parts)
    np.testing.assert_array_equal(opened(tmp_path, channel="channel:roto.person").read(1).coverage, 0.5)


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".png", "uint8"), (".png", "uint16"), (".exr", "half"), (".exr", "float"), (".exr", "uint")]
)
def test_an_id_is_compared_as_stored(tmp_path: Path, suffix: str, kind: str) -> None:
    ids = np.zeros(
        (6, 8, 1),
        np.float32 if kind in ("half", "float") else kind.replace("uint", "uint32") if kind == "uint" else kind,
    )
    ids[1:3, 2:5], ids[4:, :] = 7, 8
    write_image(tmp_path / f"m.0001{suffix}", ids, kind)
    mask = opened(tmp_path, channel="id:7").read(1)
    np.testing.assert_array_equal(mask.coverage, ids[..., 0] == 7)
    assert opened(tmp_path, channel="id:9").read(1).coverage.max() == 0


def test_a_fractional_id_survives_half_precision(tmp_path: Path) -> None:
    write_image(tmp_path / "m.0001.exr", flat(0.1))
    assert opened(tmp_path, channel="id:0.1").read(1).coverage.min() == 1


def test_a_colour_of_an_id_image(tmp_path: Path) -> None:
    codes = np.zeros((6, 8, 3), np.uint8)
    codes[2:4, 3:6] = (0xFF, 0x80, 0x01)
    codes[5] = (0xFF, 0x80, 0x02)
    for kind in ("uint8", "uint16"):
        write_image(tmp_path / kind / "m.0001.png", codes.astype(kind) * (1 if kind == "uint8" else 257), kind)
        mask = opened(tmp_path / kind, channel="color:ff8001").read(1)
        assert mask.coverage.sum() == 6
        assert mask.coverage[2:4, 3:6].min() == 1


def test_invert(tmp_path: Path) -> None:
    write_image(tmp_path / "m.0001.exr", flat(0.25))
    np.testing.assert_array_equal(opened(tmp_path, invert=True).read(1).coverage, 0.75)


def test_wild_values_are_clipped(tmp_path: Path) -> None:
    values = flat(0.5)
    values[0, :5, 0] = np.nan, np.inf, -np.inf, -3, 7
    coverage = opened(write_image(tmp_path / "m.0001.exr", values, "float")).read(1).coverage
    np.testing.assert_array_equal(coverage[0, :6], [0, 1, 0, 0, 1, 0.5])


def numbered(folder: Path, numbers: list[int] | range) -> Path:
    """Masks whose value is their place in 1/16."""
    for place, number in enumerate(numbers):
        write_image(folder / f"m.{number:04d}.exr", flat(place / 16))
    return folder


def values(reader: MaskReader, footage: Footage) -> list[float]:
    return [float(reader.read(number).coverage[0, 0] * 16) for number in footage.frames]


def test_the_same_numbers_mean_the_same_frames(tmp_path: Path) -> None:
    footage = plate(1001, 1004)
    reader = opened(numbered(tmp_path, range(1000, 1006)), footage)
    assert (values(reader, footage), reader.missing, reader.warnings) == ([1, 2, 3, 4], (), ())


def test_other_numbers_go_first_on_first_with_a_warning(tmp_path: Path) -> None:
    footage = plate(1001, 1004)
    reader = opened(numbered(tmp_path, range(4)), footage)
    assert values(reader, footage) == [0, 1, 2, 3]
    assert any("numbered 0-3 and the plate 1001-1004: first is put on first" in warning for warning in reader.warnings)


def test_an_offset_decides(tmp_path: Path) -> None:
    footage = plate(1001, 1004)
    reader = opened(numbered(tmp_path, range(1001, 1005)), footage, offset=2)
    assert (values(reader, footage), reader.missing) == ([0, 0, 0, 1], (1001, 1002))


def test_missing_mask_frames_are_empty_and_said_so(tmp_path: Path) -> None:
    footage = plate(1, 8)
    reader = opened(numbered(tmp_path, [1, 3, 7]), footage)
    assert reader.missing == (2, 4, 5, 6, 8)
    assert values(reader, footage) == [0, 0, 1, 0, 0, 0, 2, 0]
    assert any("no frames 2, 4-6, 8; they are treated as empty" in warning for warning in reader.warnings)


def test_a_still_serves_every_frame(tmp_path: Path) -> None:
    footage = plate(1001, 1003)
    reader = opened(write_image(tmp_path / "matte.exr", flat(0.5)), footage)
    assert (values(reader, footage), reader.missing) == ([8, 8, 8], ())


def test_a_range_of_the_plate_does_not_move_a_mask_that_is_put_first_on_first(tmp_path: Path) -> None:
    path = write_sequence(tmp_path / "plate", range(1001, 1011))
    footage = open_plate(PlateSettings(path, FrameRange(1004, 1006))).footage
    assert values(opened(numbered(tmp_path / "mask", range(10)), footage), footage) == [3, 4, 5]


def grey_movie(path: Path, codes: list[int], tags: dict[str, int] | None = None) -> Path:
    frames = [np.dstack([np.full((6, 8), code, np.uint8) for code in (value, 128, 128)]) for value in codes]
    return write_movie(path, frames, "ffv1", "yuv444p", tags=tags)


def test_a_movie_mask_is_its_luma_with_the_range_expanded(tmp_path: Path) -> None:
    footage = plate(1, 4)
    limited = opened(grey_movie(tmp_path / "m.mkv", [16, 235, 126, 250], {"color_range": 1}), footage)
    np.testing.assert_allclose(values(limited, footage), np.array([0, 1, 110 / 219, 1]) * 16, rtol=1e-6)
    full = opened(grey_movie(tmp_path / "f.mkv", [0, 255, 51, 250], {"color_range": 2}), footage)
    np.testing.assert_allclose(values(full, footage), np.array([0, 1, 0.2, 250 / 255]) * 16, rtol=1e-6)


def test_a_movie_mask_goes_first_on_first_of_the_whole_sequence(tmp_path: Path) -> None:
    movie = grey_movie(tmp_path / "m.mkv", [16, 30, 60, 90, 120, 150])
    for first in (0, 3, 1001):
        path = write_sequence(tmp_path / str(first), range(first, first + 6))
        footage = open_plate(PlateSettings(path, FrameRange(first + 2, first + 4))).footage
        np.testing.assert_allclose(
            values(opened(movie, footage), footage), (np.array([60, 90, 120]) - 16) / 219 * 16, rtol=1e-5
        )


def test_a_sequence_from_zero_lies_on_a_movie_of_as_many_frames(tmp_path: Path) -> None:
    footage = open_plate(PlateSettings(str(grey_movie(tmp_path / "p.mkv", [20, 30, 40, 50])))).footage
    reader = opened(numbered(tmp_path / "m", range(4)), footage)
    assert (values(reader, footage), reader.missing) == ([0, 1, 2, 3], ())


def test_an_exr_mask_lies_by_its_data_window_on_the_canvas(tmp_path: Path) -> None:
    write_image(tmp_path / "m.0001.exr", flat(1, size=(2, 3)), window=(4, 1, 8, 6))
    footage = plate(canvas=Region(-1, -2, 12, 9))
    reader = opened(tmp_path, footage)
    coverage = reader.read(1).coverage
    assert coverage.shape == (9, 12)
    assert coverage.sum() == 6
    assert coverage[3:5, 5:8].min() == 1
    np.testing.assert_array_equal(opened(tmp_path, footage, invert=True).read(1).coverage, 1 - coverage)


def test_a_png_mask_covers_the_display_window(tmp_path: Path) -> None:
    write_image(tmp_path / "m.0001.png", np.full((6, 8, 1), 255, np.uint8), "uint8")
    coverage = opened(tmp_path, plate(canvas=Region(-1, -2, 12, 9))).read(1).coverage
    assert coverage.sum() == 48
    assert coverage[2:8, 1:9].min() == 1
    inside = opened(tmp_path, plate(canvas=Region(2, 2, 3, 3))).read(1).coverage
    np.testing.assert_array_equal(inside, np.ones((3, 3)))


def test_a_mask_of_the_same_aspect_is_resized_with_a_warning(tmp_path: Path) -> None:
    codes = np.zeros((12, 16, 1), np.uint8)
    codes[:, 7:] = 255
    reader = opened(write_image(tmp_path / "m.0001.png", codes, "uint8"))
    assert any("is 16x12, the plate 8x6: it is resized" in warning for warning in reader.warnings)
    np.testing.assert_allclose(reader.read(1).coverage[2], [0, 0, 0, 0.5, 1, 1, 1, 1], atol=1e-6)
    small = opened(write_image(tmp_path / "s" / "m.0001.png", codes[::4, ::4].copy(), "uint8")).read(1)
    assert small.coverage.shape == (6, 8)
    assert 0 < small.coverage[3, 3] < 1


def test_a_mask_of_another_aspect_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "m.0001.png", np.zeros((8, 8, 1), np.uint8), "uint8")
    with pytest.raises(SizeMismatchError, match=r"Mask person .* is 8x8, the plate 8x6\."):
        opened(tmp_path)


def test_a_corrupt_mask_frame_is_named(tmp_path: Path) -> None:
    path = write_image(
        tmp_path / "m.0003.png", np.random.default_rng(0).integers(0, 256, (60, 80, 1)).astype(np.uint8), "uint8"
    )
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UnreadableError, match=r"m\.0003\.png \(frame 3\)"):
        opened(path, plate(3, 4)).read(3)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared clips are not beside this repository")
@pytest.mark.parametrize(
    ("clip", "mask"), [("tennis/rgb", "tennis/mask/01"), ("boys-beach/input_video.mp4", "boys-beach/mask_01.mp4")]
)
def test_the_real_masks_lie_on_their_plates(clip: str, mask: str) -> None:
    with open_plate(PlateSettings(str(SHARED / clip))) as reader, opened(SHARED / mask, reader.footage) as masks:
        assert (masks.missing, masks.warnings) == ((), ())
        shares = [masks.read(number).coverage.mean() for number in reader.footage.frames[::20]]
        assert all(0.001 < share < 0.3 for share in shares)


def test_a_still_clean_plate_serves_every_frame(tmp_path: Path) -> None:
    codes = np.full((6, 8, 3), 100, np.uint8)
    path = write_image(tmp_path / "clean.png", codes, "uint8")
    footage = plate(1001, 1003, canvas=Region(-1, 0, 9, 6))
    with open_clean_plate(CleanPlateSettings(str(path)), footage) as reader:
        assert any("does not reach all" in warning for warning in reader.warnings)
        for number in footage.frames:
            pixels = reader.read(number)
            np.testing.assert_array_equal(pixels[:, 1:], srgb_decode(codes / np.float32(255)))
            assert pixels[:, 0].max() == 0


def test_a_clean_plate_comes_in_the_plates_space(tmp_path: Path) -> None:
    path = write_image(tmp_path / "clean.exr", flat(1, 0, 0), "float")
    footage = Footage("p.%04d.exr", (1,), Region(0, 0, 8, 6), Region(0, 0, 8, 6), LinearSpace("lin_ap1"), "ARRI LogC4")
    pixels = open_clean_plate(CleanPlateSettings(str(path)), footage).read(1)
    np.testing.assert_allclose(pixels[0, 0], [0.6131, 0.0702, 0.0206], atol=2e-4)


def test_a_clean_plate_numbered_in_its_own_way_is_put_where_it_is_said_to_be(tmp_path: Path) -> None:
    path = write_sequence(tmp_path, [1, 2, 3, 4, 5])
    with open_clean_plate(CleanPlateSettings(path, offset=999), plate(1001, 1003)) as reader:
        assert reader.warnings == open_clean_plate(CleanPlateSettings(path, offset=0), plate(1, 3)).warnings
        reader.read(1003)
    with pytest.raises(MissingFramesError, match="lacks frames 1001-1002"):
        open_clean_plate(CleanPlateSettings(path, offset=1002), plate(1001, 1003))


def test_a_clean_plate_that_lacks_frames_is_one_sentence(tmp_path: Path) -> None:
    path = write_sequence(tmp_path, [1, 2, 4])
    with pytest.raises(MissingFramesError, match=r"clean plate .* lacks frames 3 of the plate"):
        open_clean_plate(CleanPlateSettings(path), plate(1, 4))


def test_a_frame_of_the_plate_is_a_still_and_the_plate_is_no_clean_plate(tmp_path: Path) -> None:
    path = write_sequence(tmp_path, [1, 2, 3, 4])
    folder = Path(path).parent
    for number in (1, 2, 3, 4):
        write_image(folder / Path(path).name.replace("%04d", f"{number:04d}"), flat(number, 0, 0), "float")
    with open_plate(PlateSettings(path)) as reader:
        footage = reader.footage
    one = folder / Path(path).name.replace("%04d", "0003")
    with open_clean_plate(CleanPlateSettings(str(one)), footage) as clean:
        assert [clean.read(number).max() for number in footage.frames] == [3, 3, 3, 3]
        assert any("serves every frame" in warning for warning in clean.warnings)
    for given_path in (path, str(folder)):
        with pytest.raises(FootageError, match="is the plate itself"):
            open_clean_plate(CleanPlateSettings(given_path), footage)


def test_a_numbered_still_beside_another_is_a_still(tmp_path: Path) -> None:
    path = write_sequence(tmp_path, [1, 2])
    one = Path(path.replace("%04d", "0002"))
    write_image(one, flat(7, 0, 0), "float")
    with open_clean_plate(CleanPlateSettings(str(one)), plate(1, 8)) as clean:
        assert {clean.read(number).max() for number in range(1, 9)} == {7}
    # Of a sequence with a hole it may be the first frame.
    path = write_sequence(tmp_path / "more", [1, 2, 3, 4, 5, 6, 8])
    with pytest.raises(MissingFramesError, match=r"lacks frames 7 of the plate"):
        open_clean_plate(CleanPlateSettings(path.replace("%04d", "0002")), plate(1, 8))


def test_a_clean_plate_of_an_unknown_space_is_one_sentence(tmp_path: Path) -> None:
    path = write_sequence(tmp_path, [1])
    with pytest.raises(ColorSpaceError, match=r"'ACEScgg' is not known"):
        open_clean_plate(CleanPlateSettings(path, "ACEScgg"), plate(1, 1))
