"""Storage that fails, dawdles, vanishes or forbids while footage is read from it."""

import errno
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import av
import pytest

from engine.read_samples import counted_frames, write_movie
from engine.test_cli import arguments
from engine.test_pipeline import digests, left_behind, quiet
from engine.tiny_clip import FIRST, tiny_job, write_clip
from penumbra import errors
from penumbra.events import parse_event
from penumbra.launch import child_environment
from penumbra.pipeline import run
from penumbra.read import images, movies, storage_faults
from penumbra.read.storage_faults import patiently

SHIM = Path(__file__).with_name("faulty_storage.c")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(storage_faults, "PAUSES", (0.001, 0.001, 0.001))


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """A library that makes the storage of some paths fail."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("the faulty storage is a library for Linux, and needs a C compiler")
    library = tmp_path_factory.mktemp("shim") / "faulty.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl"], check=True)
    return library


def engine(folder, shim=None, *more, **faults):
    """The engine as a process, with that library; its exit code and what it told last."""
    preloaded = {"LD_PRELOAD": str(shim), **{f"FAULTY_{key.upper()}": str(value) for key, value in faults.items()}}
    result = subprocess.run(
        [sys.executable, "-m", "penumbra", *arguments(folder, "out", "--json", *more)],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={**child_environment(), **(preloaded if shim else {})},
    )  # fmt: skip
    assert "Traceback" not in result.stderr
    return result.returncode, parse_event(result.stdout.splitlines()[-1])


class Moody:
    """Storage that fails ``times``, then works."""

    def __init__(self, times, error):
        self.left, self.error, self.calls = times, error, 0

    def __call__(self, work=lambda: "read"):
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return work()


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_what_fails_for_a_moment_is_asked_for_again(tmp_path, number):
    moody = Moody(3, OSError(number, os.strerror(number)))
    assert patiently(moody, tmp_path / "plate.exr", "plate.exr (frame 3)") == "read"
    assert moody.calls == 4


def test_storage_that_goes_on_failing_is_told_as_such(tmp_path):
    moody = Moody(-1, OSError(errno.EIO, "Input/output error"))
    with pytest.raises(errors.UnreadableError, match=r"plate\.exr \(frame 3\).*'Input/output error', 4 times"):
        patiently(moody, tmp_path / "plate.exr", "plate.exr (frame 3)")


def test_a_damaged_file_is_asked_for_twice_and_stays_damaged(tmp_path):
    (tmp_path / "plate.exr").write_bytes(b"no picture")
    moody = Moody(-1, errors.UnreadableError("it is corrupt"))
    with pytest.raises(errors.UnreadableError, match="it is corrupt"):
        patiently(moody, tmp_path / "plate.exr", "plate.exr")
    assert moody.calls == 2


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path):
    moody = Moody(-1, PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(errors.UnreadableError, match=r"Permission denied.*permissions"):
        patiently(moody, tmp_path / "plate.exr", "plate.exr")
    assert moody.calls == 1


def test_a_run_outlives_moments_in_which_storage_fails(tmp_path, monkeypatch):
    write_clip(tmp_path)
    run(tiny_job(tmp_path), quiet)
    expected = digests(tmp_path / "out")
    opened, count = images._open, [0]

    def every_fifth_fails(file, frame):
        count[0] += 1
        if count[0] % 5 == 0:
            raise OSError(errno.ESTALE, "Stale file handle")
        return opened(file, frame)

    monkeypatch.setattr(images, "_open", every_fifth_fails)
    run(tiny_job(tmp_path, replace=True), quiet)
    assert digests(tmp_path / "out") == expected
    assert count[0] > 40


def test_a_movie_is_opened_again_where_storage_failed(tmp_path, monkeypatch):
    movie = tmp_path / "plate.mp4"
    write_movie(movie, counted_frames(12))
    expected = [movies.Movie(movie).frame(number).to_ndarray() for number in range(1, 13)]
    moody = Moody(2, OSError(errno.EIO, "Input/output error"))
    failing = movies.Movie(movie)
    whole = failing._whole
    monkeypatch.setattr(failing, "_whole", lambda frame, number: moody(lambda: whole(frame, number)))
    for number, frame in enumerate(expected, 1):
        assert (failing.frame(number).to_ndarray() == frame).all()
    assert moody.calls == 11 + 2  # the first was kept since it was opened
    failing.close()


@pytest.mark.parametrize(("times", "calls"), [(1, 2), (-1, 2)], ids=["for a moment", "for good"])
def test_what_ffmpeg_calls_storage_is_the_files_fault_where_its_bytes_can_be_read(tmp_path, times, calls):
    movie = tmp_path / "plate.webm"
    movie.write_bytes(b"no movie")
    moody = Moody(times, av.error.OSError(errno.EIO, "Input/output error", str(movie)))
    with nullcontext() if times > 0 else pytest.raises(av.error.OSError):
        assert patiently(moody, movie, "plate.webm", probe=False) == "read"
    assert moody.calls == calls


def test_a_movie_is_asked_for_once_more_after_storage_that_failed_is_back(tmp_path, monkeypatch):
    moody = Moody(2, av.error.OSError(errno.EIO, "Input/output error", "plate.webm"))
    probed = iter([OSError(errno.EIO, "Input/output error"), None])
    monkeypatch.setattr(storage_faults, "_probe", lambda *_: next(probed))
    assert patiently(moody, tmp_path / "plate.webm", "plate.webm", probe=False) == "read"
    assert moody.calls == 3


def test_a_movie_whose_bytes_cannot_be_read_is_on_failing_storage(tmp_path, monkeypatch):
    moody = Moody(-1, av.error.OSError(errno.EIO, "Input/output error", "plate.webm"))
    monkeypatch.setattr(storage_faults, "_probe", lambda *_: OSError(errno.EIO, "Input/output error"))
    with pytest.raises(errors.UnreadableError, match=r"'Input/output error', 4 times"):
        patiently(moody, tmp_path / "plate.webm", "plate.webm", probe=False)
    assert moody.calls == 4


@pytest.mark.parametrize("count", [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(7, marks=pytest.mark.slow)])
def test_real_reads_that_fail_for_a_moment_do_no_harm(tmp_path, shim, count):
    write_clip(tmp_path)
    assert engine(tmp_path)[0] == 0
    expected = digests(tmp_path / "out")
    code, last = engine(tmp_path, shim, "--replace", path=f"plate.{FIRST + 2}", errno=errno.EIO, count=count)
    assert (code, last.event) == (0, "done"), last
    assert digests(tmp_path / "out") == expected


def test_slow_storage_is_waited_for(tmp_path, shim):
    write_clip(tmp_path)
    code, last = engine(tmp_path, shim, path="plate.", delay=20_000)
    assert (code, last.event) == (0, "done"), last


def test_storage_that_never_comes_back_ends_the_run_with_a_sentence(tmp_path, shim):
    write_clip(tmp_path)
    code, last = engine(tmp_path, shim, path=f"mask.{FIRST + 1}", errno=errno.ESTALE)
    assert (code, last.code) == (3, "unreadable")
    assert f"mask.{FIRST + 1}.png" in last.message
    assert "Stale file handle" in last.message
    assert not left_behind(tmp_path)
    assert engine(tmp_path, None, "--resume")[0] == 0


def test_input_that_vanishes_is_named_and_the_run_goes_on_once_it_is_back(tmp_path):
    write_clip(tmp_path)
    job = tiny_job(tmp_path)
    run(job, quiet)
    expected = digests(tmp_path / "out")
    plate, aside = tmp_path / f"plate.{FIRST + 4}.exr", tmp_path / "aside"

    def take_away(event):
        if event.stage == "lift" and event.event == "progress" and plate.exists():
            plate.rename(aside)

    again = replace(job, output=replace(job.output, replace=True))
    with pytest.raises(errors.UnreadableError, match=rf"plate\.{FIRST + 4}\.exr \(frame {FIRST + 4}\) is not there"):
        run(again, take_away)
    assert not left_behind(tmp_path)
    kept = digests(tmp_path / "out")
    assert all(expected[name] == digest for name, digest in kept.items())
    assert 0 < len(kept) < len(expected)
    aside.rename(plate)
    run(job, quiet, resume=True)
    assert digests(tmp_path / "out") == expected
