"""Damaged footage through the readers, each file in a process of its own with limits: read or refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fuzz.bombs import write_bombs
from fuzz.files import in_order, judged, outcomes
from fuzz.footage import write_images, write_movies

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a child with limits needs fork and setrlimit")


def apart(paths: list[Path]) -> list[Path]:
    """Each in a folder of its own: a number in two names would make one sequence of them."""
    moved = []
    for path in paths:
        (path.parent / f"of_{path.name.replace('.', '_')}").mkdir()
        moved.append(path.rename(path.parent / f"of_{path.name.replace('.', '_')}" / path.name))
    return moved


def assert_in_order(found: list[dict[str, object]]) -> None:
    wrong = [json.dumps(outcome)[-1500:] for outcome in found if not in_order(outcome)]
    assert not wrong, "\n".join(wrong)


def test_whole_files_are_read(tmp_path: Path) -> None:
    found = judged(apart(write_images(tmp_path) + write_movies(tmp_path)))
    assert {outcome["kind"] for outcome in found} == {"read"}, found
    assert_in_order(found)
    assert len(found) >= 40


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    found = list(outcomes(tmp_path, 150))
    assert_in_order(found)
    # Else the damage is such that nothing is ever tried.
    assert {outcome["kind"] for outcome in found} == {"read", "refused"}


@pytest.mark.slow
def test_thousands_of_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    assert_in_order(list(outcomes(tmp_path, 3000, first_seed=1000)))


def test_files_that_claim_to_be_enormous_are_refused_at_once(tmp_path: Path) -> None:
    found = judged(write_bombs(tmp_path))
    assert_in_order(found)
    for outcome in found:
        if Path(str(outcome["file"])).name.startswith("100000_exr"):
            assert outcome["kind"] == "refused"
            assert int(str(outcome["mib"])) < 256
