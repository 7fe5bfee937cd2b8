"""The journal's lines and facts, and in which order things reach the disk."""

import errno
import json
import os
from pathlib import Path

import pytest

from engine.tiny_clip import tiny_job
from penumbra.arrays import create_array
from penumbra.errors import OutputError, OutputOfAnotherJobError
from penumbra.journal import JobIdentity, Journal, job_identity
from penumbra.storage import atomic_path

ENTRY = {"within_bound": True}
SIZES = {"background": 7, "box": 5}


def opened(folder, digest="a:b:c:d", resume=False, replace=False, sequences=("background", "box")):
    journal = Journal(folder)
    journal.open(JobIdentity(digest, digest), sequences, resume, replace)
    return journal


def lines(folder):
    return folder / ".penumbra" / "frames.jsonl"


@pytest.mark.parametrize(
    "torn", [b'{"frame": 1002, "within', b'{"frame": 1002, "within_bound": true}', b"7\n", b"\xff"]
)
def test_a_torn_line_swallows_none_that_follow(tmp_path, torn):
    opened(tmp_path).finish_frame(1001, ENTRY, SIZES)
    with lines(tmp_path).open("ab") as file:
        file.write(torn)
    opened(tmp_path, resume=True).finish_frame(1003, ENTRY, SIZES)
    again = opened(tmp_path, resume=True)
    assert {1001, 1003} <= set(again.frames) <= {1001, 1002, 1003}
    assert all(entry == ENTRY for entry in again.frames.values())
    assert {1001: SIZES, 1003: SIZES}.items() <= again.sizes.items()


def test_a_line_that_finds_no_room_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    journal = opened(tmp_path)
    journal.finish_frame(1001, ENTRY, SIZES)
    before = lines(tmp_path).read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            journal.finish_frame(1002, ENTRY, SIZES)
    assert lines(tmp_path).read_bytes() == before


def test_clearing_that_was_killed_is_finished_by_resume(tmp_path, monkeypatch):
    opened(tmp_path, "old:b:c:d", sequences=("background", "box", "gone")).finish_frame(1001, ENTRY, SIZES)
    for name in ("background", "gone"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.1001.exr").write_text("old")
    (tmp_path / "layers.nk").write_text("old")
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_clear", lambda journal: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            opened(tmp_path, replace=True)
    assert opened(tmp_path, resume=True).frames == {}
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["journal.json"]


def test_a_damaged_journal_is_given_up_where_that_is_asked_for(tmp_path):
    opened(tmp_path).finish_frame(1001, ENTRY, SIZES)
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "box.1001.exr").write_text("old")
    for content in ("{torn", "[]", ""):
        (tmp_path / ".penumbra" / "journal.json").write_text(content)
        with pytest.raises(OutputError, match=r"journal\.json cannot be read.*--replace"):
            opened(tmp_path, resume=True)
        assert opened(tmp_path, replace=True).frames == {}
        assert not (tmp_path / "box").exists()
        assert opened(tmp_path, resume=True).frames == {}


def test_names_in_a_journal_lead_nowhere_else(tmp_path):
    out, beside = tmp_path / "out", tmp_path / "beside"
    beside.mkdir()
    (beside / "beside.1001.exr").write_text("mine")
    opened(out)
    facts = json.loads((out / ".penumbra" / "journal.json").read_text())
    facts["sequences"] = ["../beside"]
    (out / ".penumbra" / "journal.json").write_text(json.dumps(facts))
    opened(out, "new:b:c:d", replace=True)
    assert (beside / "beside.1001.exr").exists()


@pytest.mark.parametrize(
    ("digest", "words"),
    [("x:b:c:d", "other settings"), ("a:b:x:d", "other weights"), ("a:x:c:x", "other footage and another version of")],
)
def test_a_refusal_says_what_differs(tmp_path, digest, words):
    opened(tmp_path)
    with pytest.raises(OutputOfAnotherJobError, match=words):
        opened(tmp_path, digest, resume=True)


def test_a_jobs_digest_follows_its_weights_and_its_footage(tmp_path):
    job, file = tiny_job(tmp_path, steps=3), tmp_path / "plate.1001.exr"
    file.write_text("plate")
    first = job_identity(job, [file], "weights")
    assert job_identity(job, [file], "weights") == first
    others = job_identity(job, [file], "others")
    file.write_text("another")
    another = job_identity(job, [file], "weights")
    assert len({first.exact, others.exact, another.exact}) == 3
    assert len({first.portable, others.portable, another.portable}) == 3


def test_a_jobs_portable_digest_does_not_follow_the_place_of_its_files(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there" / "mounted"
    for folder in (here, there):
        folder.mkdir(parents=True)
        (folder / "plate.1001.exr").write_text("plate")
        os.utime(folder / "plate.1001.exr", ns=(0, 7_000_000_000 + len(folder.name)))
    one, other = (job_identity(tiny_job(f, steps=3), [f / "plate.1001.exr"], "weights") for f in (here, there))
    assert one.portable == other.portable
    assert one.exact != other.exact


def test_a_file_is_flushed_before_it_gets_its_name_and_its_folder_after(tmp_path, monkeypatch):
    done, flush, rename = [], os.fsync, Path.replace

    def fsync(descriptor):
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        flush(descriptor)

    def replace(path, target):
        done.append("renamed")
        return rename(path, target)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to tell files by their descriptors")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    with atomic_path(tmp_path / "a.exr") as temporary:
        temporary.write_text("whole")
    assert done == [temporary, "renamed", tmp_path]


def test_an_array_in_a_file_has_its_room(tmp_path):
    array = create_array(tmp_path / "a.npy", "float32", (100, 1000))
    assert (array == 0).all()
    facts = (tmp_path / "a.npy").stat()
    assert facts.st_size > 400_000
    assert not hasattr(facts, "st_blocks") or facts.st_blocks * 512 >= 400_000
