from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penumbra.errors import FootageError, FootageNotFoundError
from penumbra.read.sequences import NamePattern, compact_ranges, find_clip, number_ranges, parse_pattern


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"")


@given(st.lists(st.integers(-2000, 2000)))
def test_ranges_hold_exactly_the_numbers_given(numbers: list[int]) -> None:
    ranges = number_ranges(numbers)
    held = [number for first, last in ranges for number in range(first, last + 1)]
    assert held == sorted(set(numbers))
    assert all(left[1] + 1 < right[0] for left, right in pairwise(ranges))


def test_compact_ranges_reads_as_a_sentence_needs_it() -> None:
    assert compact_ranges([1012, 1004, 1010, 1011]) == "1004, 1010-1012"


NAMES = st.text("abcXYZ._-", max_size=8)


@given(NAMES, NAMES, st.integers(1, 8), st.integers(-99999, 1_000_000))
def test_a_pattern_finds_the_number_it_was_written_with(prefix: str, suffix: str, width: int, number: int) -> None:
    written = f"{prefix}{'-' if number < 0 else ''}{abs(number):0{width}d}{suffix}"
    assert NamePattern(prefix, suffix, width).number(written) == number
    printed = f"{prefix}{number:0{width}d}{suffix}"
    assert NamePattern(prefix, suffix, width).number(printed) == number


@given(NAMES, NAMES, st.integers(2, 8))
def test_all_spellings_of_a_pattern_agree(prefix: str, suffix: str, width: int) -> None:
    spellings = [f"%0{width}d", "#" * width, "@" * width, f"[{1:0{width}d}-{9:0{width}d}]"]
    patterns = [parse_pattern(f"{prefix}{token}{suffix}") for token in spellings]
    assert [pattern and pattern.span for pattern in patterns] == [None, None, None, (1, 9)]
    assert {pattern and replace(pattern, span=None) for pattern in patterns} == {NamePattern(prefix, suffix, width)}


@settings(max_examples=50)
@given(st.text(max_size=30))
def test_any_name_parses_to_a_pattern_or_to_none(name: str) -> None:
    pattern = parse_pattern(name)
    assert pattern is None or pattern.width >= 1


@pytest.mark.parametrize(("name", "matches"), [("a.01.exr", False), ("a.0001.exr", True), ("a.10001.exr", True)])
def test_padding_is_a_least_count_of_digits(name: str, matches: bool) -> None:
    assert (NamePattern("a.", ".exr", 4).number(name) is not None) is matches


def test_an_overlong_number_with_leading_zeros_is_another_sequence() -> None:
    assert NamePattern("a.", ".exr", 3).number("a.0001.exr") is None


@pytest.mark.parametrize(
    "given_path", ["a.%04d.png", "a.####.png", "a.@@@@.png", "a.[0001-0003].png", "a.0002.png", ""]
)
def test_every_way_to_name_a_sequence_finds_its_files(tmp_path: Path, given_path: str) -> None:
    touch(tmp_path, "a.0001.png", "a.0002.png", "a.0003.png", ".a.0004.png", "notes.txt")
    clip = find_clip(str(tmp_path / given_path))
    assert (list(clip.files), clip.padding, clip.still) == ([1, 2, 3], 4, False)


def test_unpadded_numbers_go_on_past_ten(tmp_path: Path) -> None:
    touch(tmp_path, *(f"f{number}.png" for number in (8, 9, 10, 11)))
    for name in ("f%d.png", "f#.png", "f10.png"):
        assert list(find_clip(str(tmp_path / name)).files) == [8, 9, 10, 11]


def test_negative_frames_and_frames_past_the_padding(tmp_path: Path) -> None:
    touch(tmp_path, "a.-0001.png", "a.0000.png", "a.0001.png", "a.10000.png")
    for name in ("a.%04d.png", "a.0001.png", "a.-0001.png"):
        assert list(find_clip(str(tmp_path / name)).files) == [-1, 0, 1, 10000]


def test_a_range_in_brackets_means_these_frames(tmp_path: Path) -> None:
    touch(tmp_path, *(f"a.{number:04d}.png" for number in range(1, 13)))
    assert list(find_clip(str(tmp_path / "a.[0003-0006].png")).files) == [3, 4, 5, 6]
    with pytest.raises(FootageNotFoundError, match="No file matches"):
        find_clip(str(tmp_path / "a.[0013-0016].png"))


def test_names_as_printf_writes_them_are_one_sequence_across_zero(tmp_path: Path) -> None:
    names = [f"a.{number:04d}.png" for number in range(-12, 4)]
    assert names[0] == "a.-012.png"
    touch(tmp_path, *names)
    for given_path in ("", "a.%04d.png", *names):
        clip = find_clip(str(tmp_path / given_path))
        assert (list(clip.files), clip.padding) == (list(range(-12, 4)), 4)


def test_negative_frames_alone_keep_their_own_padding(tmp_path: Path) -> None:
    touch(tmp_path, "a.-012.png", "a.-011.png")
    assert list(find_clip(str(tmp_path / "a.-012.png")).files) == [-12, -11]


def test_a_hyphen_before_the_number_is_not_a_minus(tmp_path: Path) -> None:
    touch(tmp_path, "shot-0001.png", "shot-0002.png")
    assert list(find_clip(str(tmp_path / "shot-0001.png")).files) == [1, 2]


def test_a_version_is_not_a_frame_number(tmp_path: Path) -> None:
    touch(tmp_path, "mask_v001.png", "mask_v002.png")
    clip = find_clip(str(tmp_path / "mask_v002.png"))
    assert clip.still
    assert list(clip.files.values()) == [tmp_path / "mask_v002.png"]


def test_the_number_that_counts_is_the_one_with_siblings(tmp_path: Path) -> None:
    touch(tmp_path, "a.1001_4k.png", "a.1002_4k.png")
    assert list(find_clip(str(tmp_path / "a.1001_4k.png")).files) == [1001, 1002]


@pytest.mark.parametrize(
    ("objects", "frames", "name", "frame"),
    [
        (8, 5, "mask{object}_{frame:04d}.png", 1),
        (2, 50, "view.{frame:04d}.{object}.png", 1),
        (9, 3, "sh{object:03d}0_{frame:04d}.png", 1001),
        (3, 30, "2026112{object}_{frame:04d}.png", 1),
        (3, 50, "sh{object:02d}0_{frame:02d}.png", 1),
    ],
)
def test_of_several_numbers_the_frame_is_told(tmp_path: Path, objects: int, frames: int, name: str, frame: int) -> None:
    numbers = range(frame, frame + frames)
    touch(tmp_path, *(name.format(object=k, frame=number) for k in range(1, objects + 1) for number in numbers))
    for k in range(1, objects + 1):
        clip = find_clip(str(tmp_path / name.format(object=k, frame=frame + 1)))
        assert clip.files == {number: tmp_path / name.format(object=k, frame=number) for number in numbers}


def test_a_lone_file_is_a_still(tmp_path: Path) -> None:
    touch(tmp_path, "clean.png", "other.0001.png")
    assert find_clip(str(tmp_path / "clean.png")).still


def test_a_folder_of_several_clips_lists_them(tmp_path: Path) -> None:
    touch(tmp_path, "a.0001.png", "a.0002.png", "b.1.exr", "b.2.exr", "c.mov")
    with pytest.raises(FootageError, match=r"several clips: a\.%04d\.png, b\.%d\.exr, c\.mov"):
        find_clip(str(tmp_path))


def test_a_folder_with_one_sequence_beside_a_still_means_the_sequence(tmp_path: Path) -> None:
    touch(tmp_path, "a.0001.png", "a.0002.png", "thumbnail.png")
    assert list(find_clip(str(tmp_path)).files) == [1, 2]


@pytest.mark.parametrize("name", ["none.exr", "none.%04d.exr", "nowhere/a.%04d.exr"])
def test_nothing_there_is_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(FootageNotFoundError, match=r"^(There is no|No file)"):
        find_clip(str(tmp_path / name))


def test_an_empty_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FootageNotFoundError, match="no images and no movie"):
        find_clip(str(tmp_path))


def test_a_file_named_like_a_pattern_is_itself(tmp_path: Path) -> None:
    touch(tmp_path, "odd#name.png")
    assert list(find_clip(str(tmp_path / "odd#name.png")).files.values()) == [tmp_path / "odd#name.png"]
