from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engine.read_samples import counted_frames, write_movie
from penumbra.color import srgb_decode
from penumbra.errors import MissingFramesError, UnreadableError
from penumbra.frames import Region
from penumbra.job import FrameRange, MaskSettings, PlateSettings
from penumbra.read import PlateReader, inspect_footage, open_mask, open_plate
from penumbra.read.movie_pixels import movie_rgb

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "real"
BT709 = {"colorspace": 1, "color_range": 1, "color_trc": 1, "color_primaries": 1}


def opened(path: Path, **settings: object) -> PlateReader:
    return open_plate(PlateSettings(str(path), **settings))


def place(reader: PlateReader, number: int) -> int:
    """Which of ``counted_frames`` a frame is, from 0."""
    light = (np.arange(20, 236, dtype=np.float32) - 16) / 219
    code = np.abs(srgb_decode(light) - reader.read(number).pixels.mean()).argmin() + 20
    return (int(code) - 20) // 4


def test_frames_are_numbered_from_one_and_are_the_right_ones(tmp_path: Path) -> None:
    reader = opened(write_movie(tmp_path / "a.mp4", counted_frames(40), options={"g": "12", "bf": "3"}))
    assert reader.footage.frames == tuple(range(1, 41))
    assert (reader.footage.fps, reader.footage.canvas) == (Fraction(24), Region(0, 0, 48, 32))
    assert [place(reader, number) for number in reader.footage.frames] == list(range(40))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"g": "12", "bf": "3", "preset": "medium"}),
        ("a.mov", "libx264", {"g": "1"}),
        ("a.mkv", "libx264", {"g": "7", "bf": "2", "x264-params": "open-gop=1"}),
        ("a.mkv", "ffv1", {}),
        ("a.avi", "mpeg4", {"g": "9", "bf": "2", "q": "1"}),
        ("a.ts", "libx264", {"g": "10", "bf": "2"}),
        ("a.webm", "libvpx", {"g": "10", "auto-alt-ref": "1", "lag-in-frames": "8", "b": "2M"}),
        ("a.mxf", "mpeg2video", {"g": "6", "bf": "2", "q": "1"}),
    ],
)
def test_every_order_of_reading_gives_the_same_frames(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    pixel_format = "yuv420p" if codec != "ffv1" else "yuv444p"
    count, numbers = 45, list(range(1, 46))
    # A bar tells the frame where lossy codecs shift its grey a little.
    frames = []
    for k in range(count):
        codes = np.dstack([np.full((32, 96), value, np.uint8) for value in (16, 128, 128)])
        codes[:, 2 * k : 2 * k + 6, 0] = 235
        frames.append(codes)
    reader = opened(write_movie(tmp_path / name, frames, codec, pixel_format, options=options))
    assert reader.footage.frames == tuple(numbers)
    random.Random(3).shuffle(numbers)

    def bar(number: int) -> float:
        rows = reader.read(number).pixels[..., 1].sum(axis=0)
        return float((rows * np.arange(96)).sum() / rows.sum()) - 2.5

    for number in [*numbers, *range(1, 46), *range(45, 0, -1)]:
        assert abs(bar(number) / 2 - (number - 1)) < 0.3, number


def test_reading_in_order_never_seeks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = opened(write_movie(tmp_path / "a.mp4", counted_frames(30), options={"g": "5"}))
    movie = reader._clip.movie
    monkeypatch.setattr(movie, "_restart", lambda: pytest.fail("started again"))
    monkeypatch.setattr(movie, "_go", lambda start: None if start == "here" else pytest.fail(f"went to {start}"))
    assert [place(reader, number) for number in reader.footage.frames] == list(range(30))


def test_threads_get_the_frames_they_ask_for(tmp_path: Path) -> None:
    reader = opened(write_movie(tmp_path / "a.mp4", counted_frames(30), options={"g": "6"}))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda number: place(reader, number), range(1, 31))) == list(range(30))


@pytest.mark.parametrize(
    ("tags", "red", "blue"),
    [(BT709, 0.2126, 0.0722), ({**BT709, "colorspace": 6}, 0.299, 0.114), ({**BT709, "colorspace": 9}, 0.2627, 0.0593)],
)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_matrix_range_and_depth_are_honoured(
    tmp_path: Path, tags: dict[str, int], red: float, blue: float, full: bool, bits: int
) -> None:
    peak = 2**bits - 1
    kind = np.uint8 if bits == 8 else np.uint16
    codes = np.random.default_rng(0).integers(peak // 3, peak // 2, (16, 16, 3)).astype(kind)
    form = "yuv444p" if bits == 8 else "yuv444p10le"
    path = write_movie(tmp_path / "a.mkv", [codes] * 2, "ffv1", form, tags={**tags, "color_range": 2 if full else 1})
    step, values = 2 ** (bits - 8), codes.astype(np.float64)
    luma = values[..., 0] / peak if full else (values[..., 0] - 16 * step) / (219 * step)
    cb, cr = ((values[..., k] - 128 * step) / (peak if full else 224 * step) for k in (1, 2))
    r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    expected = srgb_decode(np.stack([r, g, b], -1).astype(np.float32))
    np.testing.assert_allclose(opened(path).read(2).pixels, expected, atol=2e-6)


def test_ten_bits_keep_all_their_levels(tmp_path: Path) -> None:
    ramp = np.dstack([np.tile(np.arange(64, 940, dtype=np.uint16), (2, 1)), *[np.full((2, 876), 512, np.uint16)] * 2])
    pixels = opened(write_movie(tmp_path / "a.mkv", [ramp], "ffv1", "yuv444p10le")).read(1).pixels
    assert len(np.unique(pixels[0, :, 1])) == 876
    assert (pixels[0, 0, 1], pixels[0, -1, 1]) == (0, pytest.approx(srgb_decode(np.float32([875 / 876]))[0]))


@pytest.mark.parametrize(
    ("transfer", "primaries", "source", "linear"),
    [
        (1, 1, "srgb_tx", "lin_rec709"),
        (2, 2, "srgb_tx", "lin_rec709"),
        (14, 9, "srgb_rec2020_scene", "lin_rec2020"),
        (16, 9, "pq_rec2020_scene", "lin_rec2020"),
        (8, 1, "lin_rec709", "lin_rec709"),
        (13, 12, "srgb_p3d65_scene", "lin_p3d65"),
    ],
)
def test_transfer_and_primaries_name_the_spaces(
    tmp_path: Path, transfer: int, primaries: int, source: str, linear: str
) -> None:
    tags = {**BT709, "color_trc": transfer, "color_primaries": primaries}
    footage = opened(write_movie(tmp_path / "a.mp4", counted_frames(2), tags=tags)).footage
    assert (footage.source_space, footage.space.name) == (source, linear)


def test_subsampled_chroma_is_sited_left(tmp_path: Path) -> None:
    codes = np.full((8, 16, 3), 128, np.uint8)
    codes[..., 1] = np.linspace(60, 90, 16).round().astype(np.uint8)
    sub = opened(write_movie(tmp_path / "sub.mkv", [codes], "ffv1", "yuv420p", tags=BT709)).read(1).pixels
    full = opened(write_movie(tmp_path / "full.mkv", [codes], "ffv1", "yuv444p", tags=BT709)).read(1).pixels
    np.testing.assert_allclose(sub[:, :-1], full[:, :-1], atol=0.008)


@pytest.mark.parametrize(
    ("pixel_format", "width"), [("yuv420p", 53), ("yuv422p", 53), ("yuv410p", 52), ("yuv411p", 52), ("yuv444p", 53)]
)
def test_odd_sizes_of_subsampled_movies(tmp_path: Path, pixel_format: str, width: int) -> None:
    # The codec itself loses the last column of 4:1:1 where the width is no multiple of 4.
    codes = np.dstack([np.full((35, width), value, np.uint8) for value in (120, 100, 150)])
    pixels = opened(write_movie(tmp_path / "a.mkv", [codes], "ffv1", pixel_format)).read(1).pixels
    assert pixels.shape == (35, width, 3)
    assert np.ptp(pixels.reshape(-1, 3), axis=0).max() < 1e-6


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_rotation_for_display_is_applied(tmp_path: Path, rotation: float, turns: int) -> None:
    codes = counted_frames(1)[0]
    codes[:4, :6, 0] = 200
    upright = opened(write_movie(tmp_path / "a.mp4", [codes] * 2, tags=BT709))
    turned = opened(write_movie(tmp_path / "b.mp4", [codes] * 2, tags=BT709, rotation=rotation))
    assert turned.footage.canvas.shape == ((48, 32) if turns % 2 else (32, 48))
    # The display matrix turns counter-clockwise by its angle, as numpy does.
    np.testing.assert_array_equal(turned.read(2).pixels, np.rot90(upright.read(2).pixels, turns))


def test_rgb_movies_are_exact(tmp_path: Path) -> None:
    codes = np.random.default_rng(1).integers(0, 1024, (16, 16, 3)).astype(np.uint16)
    pixels = opened(write_movie(tmp_path / "a.mkv", [codes], "ffv1", "gbrp10le")).read(1).pixels
    expected = srgb_decode(codes[..., [2, 0, 1]].astype(np.float32) / 1023)
    np.testing.assert_allclose(pixels, expected, atol=1e-6)


@pytest.mark.parametrize(
    "packed", ["nv12", "p010le", "yuyv422", "rgb24", "rgba", "bgr0", "rgb48le", "gbrpf32le", "gray10le"]
)
def test_packed_formats_agree_with_planar_ones(packed: str) -> None:
    codes = np.random.default_rng(4).integers(60, 200, (1, 1, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    planar = av.VideoFrame.from_ndarray(codes, format="rgb24")
    frame = planar.reformat(format=packed)
    expected = codes / np.float32(255)
    if packed.startswith("gray"):
        expected = np.repeat((codes / np.float32(255)) @ np.float32([[0.299], [0.587], [0.114]]), 3, axis=-1)
    np.testing.assert_allclose(movie_rgb(frame), expected, atol=0.02)


def test_alpha_of_a_movie_is_left_out_of_its_colour(tmp_path: Path) -> None:
    codes = np.random.default_rng(5).integers(0, 256, (16, 16, 4)).astype(np.uint8)
    reader = opened(write_movie(tmp_path / "a.mkv", [codes], "ffv1", "yuva444p"))
    assert reader.footage.channels == ("R", "G", "B", "A")
    plain = opened(write_movie(tmp_path / "b.mkv", [codes[..., :3]], "ffv1", "yuv444p"))
    np.testing.assert_array_equal(reader.read(1).pixels, plain.read(1).pixels)
    mask = open_mask(MaskSettings("person", str(tmp_path / "a.mkv")), plain.footage)
    np.testing.assert_allclose(mask.read(1).coverage, codes[..., 3] / 255, atol=1e-6)


def test_a_named_camera_space_applies_to_movies(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mov", counted_frames(2), tags=BT709)
    assert opened(path, color_space="ARRI LogC3 (EI800)").footage.space.name == "Linear ARRI Wide Gamut 3"


def test_a_frame_range_of_a_movie(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mp4", counted_frames(20))
    reader = opened(path, frames=FrameRange(5, 8))
    assert [place(reader, number) for number in reader.footage.frames] == [4, 5, 6, 7]
    with pytest.raises(MissingFramesError, match=r"has frames 1-20; the range asked for, 15-30, goes beyond"):
        opened(path, frames=FrameRange(15, 30))


def test_a_truncated_movie_is_one_sentence(tmp_path: Path) -> None:
    noise = [np.random.default_rng(k).integers(16, 235, (64, 64, 3)).astype(np.uint8) for k in range(20)]
    for name, options in (("end.mp4", {}), ("front.mp4", {"movflags": "faststart"}), ("a.mkv", {}), ("a.avi", {})):
        path = tmp_path / name
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream("mpeg4" if name == "a.avi" else "libx264", rate=24)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            for codes in noise:
                frame = av.VideoFrame.from_ndarray(codes, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        assert len(opened(path).footage.frames) == 20
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        with pytest.raises(UnreadableError, match=rf"{name} .*corrupt or cut short"):
            opened(path)


def test_damage_inside_a_movie_names_the_frame(tmp_path: Path) -> None:
    path = write_movie(
        tmp_path / "a.mkv", counted_frames(20), "ffv1", "yuv444p", options={"slicecrc": "1", "level": "3", "g": "1"}
    )
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][9]
        start, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    body = data.find(bytes(packet)[: size // 2], start)
    data[body : body + size] = bytes(255 - value for value in data[body : body + size])
    path.write_bytes(data)
    with opened(path) as reader:
        assert place(reader, 9) == 8
        with pytest.raises(UnreadableError, match=r"a\.mkv \(frame 10\) cannot be decoded"):
            reader.read(10)


@pytest.mark.parametrize("content", [b"", b"no movie at all" * 100])
def test_a_file_that_is_no_movie(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UnreadableError, match=r"a\.mp4"):
        opened(tmp_path / "a.mp4")


def test_inspect_tells_what_is_in_a_movie(tmp_path: Path) -> None:
    found = inspect_footage(str(write_movie(tmp_path / "a.mp4", counted_frames(7), tags=BT709)))
    assert (found["kind"], found["frames"], found["fps"], found["codec"]) == ("movie", [[1, 7]], "24", "h264")
    assert (found["matrix"], found["range"], found["bit_depth"]) == ("bt709", "limited", 8)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared clips are not beside this repository")
def test_the_beach_clip_opens_and_reads() -> None:
    with opened(SHARED / "boys-beach" / "input_video.mp4") as reader:
        assert (len(reader.footage.frames), reader.footage.canvas) == (85, Region(0, 0, 640, 384))
        last, first = reader.read(85).pixels, reader.read(1).pixels
        assert 0.2 < first.mean() < 0.8
        assert np.abs(first - last).mean() > 0.01
