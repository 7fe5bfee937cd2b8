"""Disks that fill, permissions that go, memory that ends, listeners that leave: one sentence, and --resume goes on."""

import os
import pty
import shutil
import signal
import subprocess
import sys

import pytest

from engine.kills import KillServer, assert_kept, assert_same, content, finished
from engine.test_cli import arguments, events_until, start
from engine.test_pipeline import left_behind
from engine.tiny_clip import FIRST, write_clip
from penumbra.events import parse_event

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs mounts, capabilities and forks of Linux")
UNHARMED = {"checkpoint_seconds": 30.0}


@pytest.fixture(scope="module")
def server():
    server = KillServer()
    yield server
    server.close()


class Shot:
    """A clip, where its layers go, and what they are when nothing goes wrong."""

    def __init__(self, server, folder):
        self.server, self.folder, self.output, self.log = server, folder, folder / "out", folder / "log"
        write_clip(folder)
        assert self.run()[0] == 0
        self.undisturbed = content(self.output)

    def run(self, *more, lost=False, **request):
        """The exit code, and the last event. ``lost``: something finished is not there any more."""
        before = finished(self.output)
        answer = self.server(
            arguments=[*arguments(self.folder, "out", "--json", "--previews"), *more], folder=str(self.output),
            log=str(self.log), **UNHARMED, **request,
        )  # fmt: skip
        told = (self.folder / "log.err").read_text()
        assert not answer["killed"]
        assert answer["code"] >= 0, told
        assert "Traceback" not in told
        if not lost:
            assert_kept(before, self.output)
        lines = self.log.read_text().splitlines()
        return answer["code"], parse_event(lines[-1]) if lines else None


@pytest.fixture(scope="module")
def shot(server, tmp_path_factory):
    return Shot(server, tmp_path_factory.mktemp("shot"))


@pytest.fixture
def empty(shot):
    """The shot, with nothing of it made."""
    shutil.rmtree(shot.output)
    return shot


@pytest.fixture
def small_disk(empty):
    """The output on a disk of its own; call it with a size in kB."""

    def resize(kilobytes):
        how = ["-o", f"remount,size={kilobytes}k"] if empty.output.is_mount() else ["-o", f"size={kilobytes}k"]
        return subprocess.run(["mount", "-t", "tmpfs", *how, "none", str(empty.output)], check=False).returncode

    empty.output.mkdir()
    if os.geteuid() != 0 or resize(64) != 0:
        empty.output.rmdir()
        empty.run()
        pytest.skip("no disk can be mounted here")
    yield resize
    subprocess.run(["umount", str(empty.output)], check=True)
    empty.output.rmdir()
    empty.run()


def fill_again_and_again(small_disk, shot, least):
    """Resumes on a disk that grows until the run ends well; the stages in which it was full."""
    stages, code, last, step, used = [], None, None, least, -1
    while code != 0:
        now = shutil.disk_usage(shot.output).used // 1024
        # In small steps, so that it ends in every stage; in larger ones where one file wants more.
        step, used = (least if now > used else 2 * step), now
        assert step < 100_000, last
        assert small_disk(now + step) == 0
        code, last = shot.run("--resume")
        assert not left_behind(shot.output)
        if code != 0:
            assert (code, last.code) == (4, "output"), last
            # OpenEXR does not tell the reason.
            assert "No space left" in last.message or "disk is not full" in last.fix, last
            assert "--resume" in last.fix or "Free space" in last.fix
            told = [parse_event(line).stage for line in shot.log.read_text().splitlines()]
            stages.append([stage for stage in told if stage][-1])
    assert_same(shot.output, shot.undisturbed)
    return set(stages)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_a_sentence_before_there_are_layers(small_disk, empty):
    # Preparing needs less room than the clean plate has just given back.
    assert fill_again_and_again(small_disk, empty, 64) >= {"read", "clean plate", "refine"}


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_a_sentence_while_layers_are_made(small_disk, empty):
    assert small_disk(200_000) == 0
    command = arguments(empty.folder, "out", "--json", "--previews")
    until = {"stage": "decompose", "at": 1, **UNHARMED}
    assert empty.server(arguments=command, folder=str(empty.output), log=str(empty.log), **until)["killed"]
    assert fill_again_and_again(small_disk, empty, 16) >= {"decompose", "lift"}


def test_permission_lost_on_the_way_is_said_and_made_good_again(empty):
    box = empty.output / "box"
    code, last = empty.run(stage="previews", modes=[[str(empty.output), 0o555]])
    empty.output.chmod(0o755)
    assert (code, last.code) == (4, "output"), last
    assert "Permission denied" in last.message
    assert empty.run("--resume")[0] == 0
    assert_same(empty.output, empty.undisturbed)
    (box / f"box.{FIRST}.exr").unlink()
    code, last = empty.run("--resume", lost=True, stage="lift", modes=[[str(box), 0o555]])
    box.chmod(0o755)
    assert (code, last.code) == (4, "output"), last
    assert f"box.{FIRST}.exr" in last.message
    assert "Permission denied" in last.message
    assert empty.run("--resume", lost=True)[0] == 0
    assert_same(empty.output, empty.undisturbed)


def test_footage_that_may_not_be_read_any_more_is_named(empty):
    plate = empty.folder / f"plate.{FIRST + 3}.exr"
    code, last = empty.run(stage="lift", modes=[[str(plate), 0]])
    plate.chmod(0o644)
    assert (code, last.code) == (3, "unreadable"), last
    assert plate.name in last.message
    assert "Permission denied" in last.message
    assert empty.run("--resume")[0] == 0
    assert_same(empty.output, empty.undisturbed)


@pytest.mark.parametrize("megabytes", [16, 48, 200])
def test_memory_that_does_not_suffice_is_said(empty, megabytes):
    code, last = empty.run(megabytes=megabytes)
    assert code in (0, 6)
    assert last.code == ("out_of_memory" if code else "")
    assert not left_behind(empty.output)
    assert empty.run("--resume")[0] == 0
    assert_same(empty.output, empty.undisturbed)


@pytest.mark.parametrize("stage", ["lift", "previews"])
def test_a_reader_of_events_that_goes_stops_the_run(tmp_path, stage):
    write_clip(tmp_path, 12)
    with start(arguments(tmp_path, "out", "--json", "--previews"), stdin=subprocess.DEVNULL) as process:
        events_until(process, stage)
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(60) == 130
    assert "whoever followed this run has gone. Add --resume" in said
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert not left_behind(tmp_path)
    assert not (tmp_path / "out" / ".penumbra" / "locks").exists()


def test_a_terminal_that_closes_stops_the_run(tmp_path):
    write_clip(tmp_path, 12)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "penumbra", *arguments(tmp_path)],
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    while b"Predicting" not in os.read(master, 65536):
        pass
    process.send_signal(signal.SIGHUP)
    os.close(master)
    assert process.wait(60) == 130
    assert not left_behind(tmp_path)
    assert not (tmp_path / "out" / ".penumbra" / "locks").exists()
