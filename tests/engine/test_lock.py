"""Two engines and one output folder: who is refused, and whose claim is swept."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.tiny_clip import tiny_job, write_clip
from penumbra import errors, lock
from penumbra.lock import EVERYTHING, LOCK_FOLDER, STALE_SECONDS, Owner, hold
from penumbra.pipeline import run
from penumbra.processes import process_stamp

HOLD = """
import sys, pathlib, time
from penumbra.lock import hold
with hold(pathlib.Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


def claims(work):
    return sorted((work / LOCK_FOLDER).glob("*"))


def holder(work, name=EVERYTHING):
    """Another process that holds a claim."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(work), name], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def end(process):
    process.kill()
    process.wait()
    process.stdout.close()


def left_claim(work, age, name=EVERYTHING, **changes):
    """A claim as an owner elsewhere leaves it, last renewed ``age`` seconds ago."""
    owner = {
        "host": "farm-017",
        "pid": 4711,
        "since": "2026-01-01 00:00:00 UTC",
        "place": "farm-017 boot",
        "stamp": "1",
    }
    path = work / LOCK_FOLDER / f"{name}.{'0' * 32}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**owner, **changes}))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_a_second_engine_is_refused_and_told_who_owns_the_folder(tmp_path):
    write_clip(tmp_path)
    work = tmp_path / "out" / ".penumbra"
    other = holder(work)
    try:
        for resume in (False, True):
            with pytest.raises(errors.OutputInUseError) as refused:
                run(tiny_job(tmp_path, replace=True), lambda event: None, resume=resume)
            assert f"process {other.pid} on {platform.node()}, since 20" in str(refused.value)
            assert str(tmp_path / "out") in str(refused.value)
        assert len(claims(work)) == 1
        assert not list(tmp_path.rglob("*out*/**/*.exr"))
    finally:
        end(other)
    run(tiny_job(tmp_path), lambda event: None)
    assert not (work / LOCK_FOLDER).exists()


def test_a_refused_engine_leaves_everything_of_the_other_alone(tmp_path):
    work = tmp_path / ".penumbra"
    with hold(work) as mine:
        before = claims(work)
        with pytest.raises(errors.OutputInUseError), hold(work):
            pass
        assert claims(work) == before
        mine.check()
    assert not work.exists()


def test_a_claim_of_a_killed_process_is_swept_at_once(tmp_path):
    other = holder(tmp_path / "w")
    os.kill(other.pid, signal.SIGKILL)
    time.sleep(0.2)  # a zombie until we wait for it: dead all the same
    with hold(tmp_path / "w"):
        assert len(claims(tmp_path / "w")) == 1
    end(other)


def test_a_claim_of_a_later_process_of_the_same_number_is_swept(tmp_path):
    mine = vars(Owner.here())
    left_claim(tmp_path / "w", age=0, **{**mine, "stamp": "12345"})
    with hold(tmp_path / "w"):
        assert len(claims(tmp_path / "w")) == 1


def test_a_process_that_stands_still_keeps_its_claim_on_its_own_machine(tmp_path):
    mine = vars(Owner.here())
    path = left_claim(tmp_path / "w", age=10 * STALE_SECONDS, **mine)
    with pytest.raises(errors.OutputInUseError), hold(tmp_path / "w"):
        pass
    assert path.exists()


@pytest.mark.parametrize("text", [None, "", '{"host": 1}', "[" * 100_000])
def test_a_claim_from_elsewhere_counts_as_long_as_it_is_renewed(tmp_path, text):
    path = left_claim(tmp_path / "w", age=STALE_SECONDS / 2)
    if text is not None:
        path.write_text(text)
    expected = "process 4711 on farm-017, since 2026-01-01" if text is None else "another run"
    with pytest.raises(errors.OutputInUseError, match=expected), hold(tmp_path / "w"):
        pass
    os.utime(path, (time.time() - STALE_SECONDS - 5,) * 2)
    with hold(tmp_path / "w"):
        assert not path.exists()


def test_the_heartbeat_renews_the_claim(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.02)
    with hold(tmp_path / "w") as mine:
        (claim,) = claims(tmp_path / "w")
        os.utime(claim, (1, 1))
        for _ in range(500):
            if claim.stat().st_mtime > 1:
                break
            time.sleep(0.01)
        assert claim.stat().st_mtime > time.time() - 60
        claim.unlink()
        for _ in range(500):
            time.sleep(0.01)
            if mine._lost:
                break
        with pytest.raises(errors.OutputInUseError, match="took it for dead"):
            mine.check()


def test_named_claims_stand_beside_each_other_but_not_beside_everything(tmp_path):
    work = tmp_path / "w"
    with hold(work, "frames-1001-1004"), hold(work, "frames-1005-1008"):
        for name in ("frames-1001-1004", EVERYTHING):
            with pytest.raises(errors.OutputInUseError), hold(work, name):
                pass
    with hold(work), pytest.raises(errors.OutputInUseError), hold(work, "frames-1001-1004"):
        pass
    with pytest.raises(ValueError, match="no name"), hold(work, "../x"):
        pass


def test_the_patient_get_it_when_the_other_is_done(tmp_path):
    def briefly():
        with hold(tmp_path / "w"):
            began.append(time.monotonic())
            time.sleep(0.8)

    began = []
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(briefly)
        while not began:
            time.sleep(0.01)
        with hold(tmp_path / "w", patience=30):
            assert time.monotonic() - began[0] >= 0.8
        other.result()


def test_whoever_is_asked_to_stop_waits_no_longer(tmp_path):
    asked = iter([False, False, True])
    with hold(tmp_path / "w", "frames-1-4"):
        began = time.monotonic()
        with (
            pytest.raises(errors.Stopped, match="waiting for the output folder"),
            hold(tmp_path / "w", patience=300, should_stop=lambda: next(asked)),
        ):
            pass
        assert time.monotonic() - began < 60
        assert len(claims(tmp_path / "w")) == 1


CROWD = """
import os, pathlib, sys, time
from penumbra.errors import OutputInUseError
from penumbra.lock import hold
work, won = pathlib.Path(sys.argv[1]), 0
for _ in range(8):
    try:
        with hold(work / "w"):
            # Fails where another is inside at the same time.
            os.close(os.open(work / "alone", os.O_CREAT | os.O_EXCL))
            time.sleep(0.001)
            (work / "alone").unlink()
            won += 1
    except OutputInUseError:
        continue
print(won)
"""


def test_of_many_that_ask_at_once_never_two_hold_it(tmp_path):
    command = [sys.executable, "-c", CROWD, str(tmp_path)]
    crowd = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    won = [int(process.communicate()[0]) for process in crowd]
    assert [process.returncode for process in crowd] == [0, 0, 0]
    assert sum(won) > 0
    assert not (tmp_path / "w").exists()


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(errors.OutputError, match="cannot be written"), hold(tmp_path / "file" / "w"):
        pass


def test_a_work_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "w").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.OutputError, match="symbolic link"), hold(tmp_path / "w"):
        pass
    assert not list((tmp_path / "elsewhere").iterdir())


def test_processes_are_told_apart():
    assert process_stamp(os.getpid()) == process_stamp(os.getpid())
    assert process_stamp(2**22 + 1) is None
    assert Owner.from_json(json.dumps(vars(Owner.here()))).pid == os.getpid()
    assert Path("/proc").is_dir() is False or process_stamp(1) not in (None, process_stamp(os.getpid()))
