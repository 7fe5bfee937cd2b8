"""Finding the files of a clip: patterns, folders, one file of a sequence, movies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from penumbra.errors import FootageError, FootageNotFoundError
from penumbra.read.storage_faults import patiently

MOVIE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        "mp4",
        "mov",
        "m4v",
        "mkv",
        "avi",
        "mxf",
        "webm",
        "mpg",
        "mpeg",
        "mts",
        "m2ts",
        "ts",
        "wmv",
        "flv",
        "ogv",
        "3gp",
        "y4m",
        "gif",
    )
)
IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        "exr",
        "sxr",
        "dpx",
        "cin",
        "png",
        "jpg",
        "jpeg",
        "jpe",
        "tif",
        "tiff",
        "tga",
        "bmp",
        "webp",
        "jp2",
        "j2k",
        "jxl",
        "hdr",
        "rgbe",
        "psd",
        "iff",
        "sgi",
        "rgb",
        "ppm",
        "pgm",
        "pbm",
        "pfm",
        "pnm",
    )
)
_TOKEN = re.compile(
    r"%0?(?P<printf>[0-9]{0,3})d|(?P<hashes>#+|@+)|\[(?P<first>-?(?P<bracket>[0-9]{1,18}))-(?P<last>-?[0-9]{1,18})\]"
)
_MOST_DIGITS = 18  # of a frame number; what is longer counts something else
_MOST_NUMBERS = 16  # of one name that may be its frame number
_FRAME_DIGITS = 3  # that a frame number mostly has; an object's, an eye's or a tile's has fewer
_MOST_SPOKEN = 12  # ranges of a list in a sentence
# A minus belongs to the number only after a separator: shot-0005 is frame 5, shot.-0005 is frame -5.
_NUMBER = re.compile(r"(?:(?<=[._ ])-|^-)?[0-9]+")
Alike: TypeAlias = dict[tuple[str, str], list[Path]]
_VERSION = re.compile(r"(?:^|[^A-Za-z])[vV]$")


@dataclass(frozen=True)
class FileClip:
    """The files of a clip. ``files``: frame number -> file, ascending; empty for a movie, whose file is ``movie``.

    ``pattern`` names the sequence in sentences; ``padding`` is its count of digits (0: unpadded); ``still`` is True for
    one file without frame numbering beside it.
    """

    path: str
    pattern: str
    files: dict[int, Path] = field(default_factory=dict)
    padding: int = 0
    movie: Path | None = None
    still: bool = False


@dataclass(frozen=True)
class NamePattern:
    """A file name around its frame number, ``width`` digits or more; ``span``: the first and the last one meant."""

    prefix: str
    suffix: str
    width: int
    span: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f"{self.prefix}%0{self.width}d{self.suffix}" if self.width > 1 else f"{self.prefix}%d{self.suffix}"

    def number(self, name: str) -> int | None:
        """The frame number of a file of this pattern, None for any other file."""
        if len(name) < len(self.prefix) + len(self.suffix) + 1:
            return None
        if not (name.startswith(self.prefix) and name.endswith(self.suffix)):
            return None
        middle = name[len(self.prefix) : len(name) - len(self.suffix)]
        if not re.fullmatch(rf"-?[0-9]{{1,{_MOST_DIGITS}}}", middle):
            return None
        number = int(middle)
        within = self.span is None or self.span[0] <= number <= self.span[1]
        return number if within and _padded(middle, self.width) else None


def parse_pattern(name: str) -> NamePattern | None:
    """The pattern a file name spells (``%04d``, ``%d``, ``####``, ``@@@@``, ``[1001-1100]``), None if it has no token.

    The last one means these frames alone. Of several tokens the last one counts.
    """
    tokens = list(_TOKEN.finditer(name))
    if not tokens:
        return None
    token = tokens[-1]
    width = (
        int(token["printf"] or 1) if token["printf"] is not None else len(token["hashes"] or token["bracket"] or "#")
    )
    span = (int(token["first"]), int(token["last"])) if token["bracket"] else None
    return NamePattern(name[: token.start()], name[token.end() :], max(width, 1), span)


def find_clip(path: str) -> FileClip:
    """The clip a user's path means.

    Raises:
        FootageNotFoundError: nothing there matches.
        FootageError: a folder holds more than one clip, or is out of reach.
    """
    return patiently(lambda: _find_clip(path), Path(path), path, probe=False)


def _find_clip(path: str) -> FileClip:
    where = Path(path)
    if _is(where.is_dir, path):
        return _clip_of_folder(path, where)
    if _is(where.is_file, path):
        return _clip_of_file(path, where)
    pattern = parse_pattern(where.name)
    if pattern is None:
        raise FootageNotFoundError(f"There is no file {path}.", "Check the path.")
    if not _is(where.parent.is_dir, path):
        raise FootageNotFoundError(f"There is no folder {where.parent}.", "Check the path.")
    files = _numbered(pattern, _visible(where.parent))
    if not files:
        raise FootageNotFoundError(f"No file matches {path}.", "Check the name and the number of digits.")
    return FileClip(path, str(pattern), files, pattern.width)


def files_of_clip(path: str, numbers: Iterable[int] | None = None) -> list[Path]:
    """The files a user's path means: a movie's one, or a sequence's, of the frames ``numbers`` where they are given."""
    clip = find_clip(path)
    if clip.movie is not None:
        return [clip.movie]
    wanted = set(clip.files if numbers is None else numbers)
    return [file for number, file in clip.files.items() if number in wanted]


def sequence_pattern(path: str) -> str | None:
    """The files a user's path means, with one ``%04d`` for the frame number; None for a movie or a lone still."""
    clip = find_clip(path)
    if clip.movie is not None or clip.still:
        return None
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    return str(folder / clip.pattern)


def compact_ranges(numbers: Iterable[int]) -> str:
    """Frame numbers for a sentence: ``1004, 1010-1012``."""
    return spoken_ranges(number_ranges(numbers))


def spoken_ranges(ranges: Sequence[tuple[int, int]]) -> str:
    """Ranges for a sentence: ``1004, 1010-1012``; of many the first few."""
    told = [f"{first}" if first == last else f"{first}-{last}" for first, last in ranges[:_MOST_SPOKEN]]
    more = len(ranges) - len(told)
    return ", ".join(told) + (f" and {more} more ranges" if more else "")


def missing_ranges(numbers: Iterable[int], first: int, last: int) -> list[tuple[int, int]]:
    """The runs of numbers from ``first`` to ``last`` that are not there, however many they are."""
    there = [first - 1, *(number for number in sorted(set(numbers)) if first <= number <= last), last + 1]
    return [(left + 1, right - 1) for left, right in pairwise(there) if right > left + 1]


def number_ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers, first and last of each."""
    ordered = sorted(set(numbers))
    if not ordered:
        return []
    ends = [left for left, right in pairwise(ordered) if right != left + 1] + [ordered[-1]]
    starts = [ordered[0]] + [right for left, right in pairwise(ordered) if right != left + 1]
    return list(zip(starts, ends, strict=True))


def _padded(digits: str, width: int) -> bool:
    # printf counts the sign within the width, Nuke does not: both are met.
    plain = digits.lstrip("-")
    if len(plain) < width:
        return digits.startswith("-") and len(digits) == width
    return len(plain) == width or not plain.startswith("0")


def _is(test: Callable[[], bool], path: str) -> bool:
    """What the system says of a path; a sentence where it will not say, or takes no path so long."""
    try:
        return test()
    except OSError as error:
        raise FootageError(f"{path} cannot be looked at: {error.strerror}.", "Check the path.") from error


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.is_file())
    except OSError as error:
        raise FootageError(
            f"The folder {folder} cannot be listed: {error.strerror}.", "Check its permissions."
        ) from error


def _numbered(pattern: NamePattern, entries: Iterable[Path]) -> dict[int, Path]:
    found = {number: entry for entry in entries if (number := pattern.number(entry.name)) is not None}
    return dict(sorted(found.items()))


def _clip_of_file(path: str, where: Path) -> FileClip:
    if where.suffix.lower() in MOVIE_SUFFIXES:
        return FileClip(path, where.name, movie=where)
    return _clip_around(path, where, _alike(_visible(where.parent)), frozenset())


def _clip_around(path: str, where: Path, alike: Alike, taken: AbstractSet[Path]) -> FileClip:
    """The sequence that a file is one of, of files that are not taken; itself where there is none.

    The last number of its name that others differ by is its frame: in ``mask0_0001`` not the object's. Where that has
    fewer digits than frames have, it is the eye of ``view.0001.2`` if fewer differ by it than by one that has as many.
    """
    found = [(pattern, _numbered(pattern, entries)) for pattern, entries in _possible_patterns(where, alike, taken)]
    found = [(pattern, files) for pattern, files in found if where in files.values()]
    if not found:
        return FileClip(path, where.name, {1: where}, still=True)
    # The last number of the name comes first.
    several = [item for item in found if len(item[1]) > 1] or found[:1]
    longer = [item for item in several if item[0].width >= _FRAME_DIGITS and len(item[1]) > len(several[0][1])]
    pattern, files = longer[0] if longer and several[0][0].width < _FRAME_DIGITS else several[0]
    return FileClip(path, str(pattern), files, pattern.width, still=len(files) == 1)


def _alike(entries: Iterable[Path]) -> Alike:
    """Entries by what stands before and after each number in their names; a sequence is found in one of them.

    Folders hold thousands of files that have nothing to do with each other: comparing each with each takes minutes.
    """
    alike: Alike = {}
    for entry in entries:
        for prefix, _, suffix in _numbers_of(entry):
            alike.setdefault((prefix, suffix), []).append(entry)
            if prefix.endswith("-"):
                alike.setdefault((prefix[:-1], suffix), []).append(entry)
    return alike


def _numbers_of(where: Path) -> list[tuple[str, str, str]]:
    """What stands before a number in a name, the number, and what stands after it; the last number first."""
    matches = list(_NUMBER.finditer(where.stem))[-_MOST_NUMBERS:]
    return [(where.stem[: m.start()], m.group(), where.stem[m.end() :] + where.suffix) for m in reversed(matches)]


def _possible_patterns(where: Path, alike: Alike, taken: AbstractSet[Path]) -> Iterator[tuple[NamePattern, list[Path]]]:
    """One pattern for each number in the name that is not a version, with the files that may be of it."""
    for prefix, digits, suffix in _numbers_of(where):
        if not _VERSION.search(prefix):
            entries = [entry for entry in alike.get((prefix, suffix), ()) if entry not in taken]
            yield NamePattern(prefix, suffix, _width(digits, prefix, suffix, entries)), entries


def _width(digits: str, prefix: str, suffix: str, siblings: Iterable[Path]) -> int:
    """Digits of the padding: the name's own where it begins with 0, else what the sequence's padded or shortest has."""
    plain = digits.lstrip("-")
    texts = [text for entry in siblings if (text := _number_between(entry.name, prefix, suffix))]
    if plain != digits and any(len(text) == len(digits) and text.startswith("0") for text in texts):
        # As printf counts the sign, -003 stands beside 0000.
        return len(digits)
    if plain.startswith("0") and len(plain) > 1:
        return len(plain)
    texts = [text.lstrip("-") for text in texts]
    zeros = {len(text) for text in texts if text.startswith("0") and len(text) > 1 and len(text) <= len(plain)}
    return max(zeros) if zeros else min([len(text) for text in texts] or [len(plain)])


def _number_between(name: str, prefix: str, suffix: str) -> str:
    if not (name.startswith(prefix) and name.endswith(suffix) and len(name) > len(prefix) + len(suffix)):
        return ""
    middle = name[len(prefix) : len(name) - len(suffix)]
    return middle if re.fullmatch("-?[0-9]+", middle) else ""


def _clip_of_folder(path: str, folder: Path) -> FileClip:
    entries = _visible(folder)
    images = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES]
    movies = [entry for entry in entries if entry.suffix.lower() in MOVIE_SUFFIXES]
    clips = _clips_among(images) + [FileClip(path, movie.name, movie=movie) for movie in movies]
    sequences = [clip for clip in clips if len(clip.files) > 1]
    if len(sequences) == 1 and not movies:
        clips = sequences
    if not clips:
        raise FootageNotFoundError(f"The folder {path} holds no images and no movie.", "Check the path.")
    if len(clips) > 1:
        names = [clip.pattern for clip in clips]
        listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        raise FootageError(f"The folder {path} holds several clips: {listed}.", "Name one of them.")
    only = clips[0]
    return FileClip(path, only.pattern, only.files, only.padding, only.movie, only.still)


def _clips_among(images: Sequence[Path]) -> list[FileClip]:
    alike, taken, clips = _alike(images), set[Path](), list[FileClip]()
    for image in images:
        if image not in taken:
            clip = _clip_around(str(image), image, alike, taken)
            clips.append(clip)
            taken.update(clip.files.values())
    return clips
