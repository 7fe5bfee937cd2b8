from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from penumbra.errors import (
    FootageError,
    FootageNotFoundError,
    MissingFramesError,
    SizeMismatchError,
    UnreadableError,
)
from penumbra.training.datasets import find_clips, read_clip

RANDOM = np.random.default_rng(0)


def write(path: Path, image: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    return image


def picture(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def kubric(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    for t in range(3):
        write(folder / f"rgba_{t:05d}.png", picture(8, 10, 3))
        for k in range(2):
            write(folder / f"mask{k}_{t:05d}.png", picture(8, 10))
            write(folder / "solo" / f"obj{k}_{t:05d}.png", picture(8, 10, 3))
    write(folder / "bg.png", picture(8, 10, 3))
    write(folder / "bg_est.png", picture(8, 10, 3))
    (folder / "order.txt").write_text("1 0\n0 1\n1 0\n")
    return folder


@pytest.fixture
def omnimatte(tmp_path: Path) -> Path:
    folder = tmp_path / "omni"
    for t in (4, 5):
        write(folder / "rgb" / f"{t:04d}.png", picture(8, 10, 3))
        for k in ("01", "02"):
            write(folder / "mask" / k / f"{t:04d}.png", picture(8, 10))
    return folder


def test_the_kubric_layout_is_read_pixel_by_pixel(kubric: Path):
    clip = read_clip(kubric)
    assert clip.frames.shape == (3, 8, 10, 3)
    assert clip.masks.shape == (3, 2, 8, 10)
    assert clip.frames.dtype == clip.masks.dtype == np.float32
    assert clip.solo is not None
    assert clip.background is not None
    assert clip.estimated is not None
    frame = cv2.imread(str(kubric / "rgba_00001.png"))[..., ::-1]
    np.testing.assert_array_equal(np.round(clip.frames[1] * 255), frame)
    solo = cv2.imread(str(kubric / "solo" / "obj1_00002.png"))[..., ::-1]
    np.testing.assert_array_equal(np.round(clip.solo[2, 1] * 255), solo)
    mask = cv2.imread(str(kubric / "mask1_00002.png"), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(np.round(clip.masks[2, 1] * 255), mask)
    np.testing.assert_array_equal(clip.background[0], clip.background[2])
    assert clip.order.tolist() == [[1, 0], [0, 1], [1, 0]]


def test_a_background_per_frame_is_read_per_frame(kubric: Path):
    (kubric / "bg.png").unlink()
    images = [write(kubric / f"bg_{t:05d}.png", picture(8, 10, 3)) for t in range(3)]
    clip = read_clip(kubric)
    assert clip.background is not None
    np.testing.assert_array_equal(np.round(clip.background * 255), np.stack(images))


def test_the_omnimatte_layout_is_read(omnimatte: Path):
    clip = read_clip(omnimatte)
    assert clip.numbers == (4, 5)
    assert clip.masks.shape == (2, 2, 8, 10)
    assert clip.background is clip.estimated is clip.solo is None
    assert clip.order.tolist() == [[0, 1], [0, 1]]


def test_clips_are_found_in_a_folder_of_clips(kubric: Path, omnimatte: Path):
    assert find_clips(kubric.parent) == (kubric, omnimatte)
    assert find_clips(kubric) == (kubric,)


def test_one_line_of_order_stands_for_every_frame(kubric: Path):
    (kubric / "order.txt").write_text("1 0\n")
    assert read_clip(kubric).order.tolist() == [[1, 0]] * 3


@pytest.mark.parametrize("text", ["1 0\n0 1\n", "1 0\n0 1\n1 1\n"])
def test_an_order_that_does_not_fit_is_refused(kubric: Path, text: str):
    (kubric / "order.txt").write_text(text)
    with pytest.raises(FootageError, match=r"order\.txt"):
        read_clip(kubric)


def test_words_in_the_order_are_refused(kubric: Path):
    (kubric / "order.txt").write_text("back front\n")
    with pytest.raises(UnreadableError, match=r"order\.txt"):
        read_clip(kubric)


def test_a_hole_in_the_frames_is_named(kubric: Path):
    (kubric / "rgba_00001.png").unlink()
    with pytest.raises(MissingFramesError, match=r"rgba_00001\.png"):
        read_clip(kubric)


def test_a_missing_mask_frame_is_named(kubric: Path, omnimatte: Path):
    (kubric / "mask1_00002.png").unlink()
    with pytest.raises(MissingFramesError, match=r"mask1_00002\.png"):
        read_clip(kubric)
    (omnimatte / "mask" / "02" / "0005.png").unlink()
    with pytest.raises(MissingFramesError, match=r"0005\.png"):
        read_clip(omnimatte)


def test_a_damaged_image_is_named(kubric: Path):
    (kubric / "rgba_00002.png").write_bytes(b"not a picture")
    with pytest.raises(UnreadableError, match=r"rgba_00002\.png"):
        read_clip(kubric)


def test_images_of_another_size_are_refused(kubric: Path):
    write(kubric / "bg_est.png", picture(8, 11, 3))
    with pytest.raises(SizeMismatchError, match="estimated background"):
        read_clip(kubric)
    write(kubric / "rgba_00002.png", picture(9, 10, 3))
    with pytest.raises(SizeMismatchError, match="differ in size"):
        read_clip(kubric)


def test_a_folder_without_a_clip_is_refused(tmp_path: Path):
    with pytest.raises(FootageNotFoundError, match="no clip"):
        read_clip(tmp_path)
    with pytest.raises(FootageNotFoundError, match="No clip"):
        find_clips(tmp_path)


def test_the_benchmark_clips_are_read_whole():
    folder = Path(__file__).parents[3] / "shared" / "data" / "bench" / "dev"
    if not folder.is_dir():
        pytest.skip("the benchmark clips are not beside the repository")
    clip = read_clip(folder / "hard_reflections_2obj_s1003")
    assert clip.frames.shape == (20, 128, 128, 3)
    assert clip.background is not None
    assert not np.array_equal(clip.background[0], clip.background[5])
    assert len(find_clips(folder)) >= 6
