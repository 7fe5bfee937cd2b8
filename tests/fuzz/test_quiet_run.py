"""A run, refinement included, touches no network, starts no program and writes nothing outside its output folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.tiny_clip import tiny_job, write_clip

# Told by the interpreter itself, whichever library asks.
WATCH = r"""
import json, os, sys, tempfile

log, inside = sys.argv[1], tuple(sys.argv[2].split(os.pathsep))
events, writing = [], os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NEVER = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "os.system", "os.exec",
         "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "urllib.Request", "ftplib.connect",
         "smtplib.connect", "webbrowser.open", "pickle.find_class", "os.startfile")
PLACES = ("os.rename", "os.symlink", "os.link", "os.truncate", "os.chmod",
          "os.chown", "os.utime", "shutil.rmtree", "shutil.copyfile", "shutil.move", "tempfile.mkstemp",
          "tempfile.mkdtemp")

def outside(path, folder=-1):
    if isinstance(folder, int) and folder >= 0 and not os.path.isabs(path):
        path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(path))
    return isinstance(path, (str, bytes, os.PathLike)) and not os.path.realpath(os.fsdecode(path)).startswith(inside)

def hook(event, arguments):
    if event in NEVER:
        events.append([event, repr(arguments)[:300]])
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & writing and outside(arguments[0]):
        events.append([event, repr(arguments)[:300]])
    elif event in ("os.remove", "os.rmdir", "os.mkdir") and outside(arguments[0], arguments[-1]):
        events.append([event, repr(arguments)[:300]])
    elif event in PLACES and any(outside(argument) for argument in arguments[:2]):
        events.append([event, repr(arguments)[:300]])

sys.addaudithook(hook)
sys.argv = ["penumbra", *sys.argv[3:]]
from penumbra.cli import main
try:
    main()
except SystemExit as left:
    events.append(["exit", left.code])
told = json.dumps(events)
with open(log, "w") as file:
    file.write(told)
"""


def state(folder: Path) -> dict[str, str]:
    """Every file below a folder, with a digest of what is in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def shot(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A job file with all kinds of output, in a folder of its own, and an environment of empty folders around it."""
    (tmp_path / "shot").mkdir()
    write_clip(tmp_path / "shot")
    job = tiny_job(tmp_path / "shot", steps=1, previews=True, splits=True, clean=True, combined="multipart")
    (tmp_path / "shot" / "job.json").write_text(job.to_json(), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PENUMBRA_KEEP_NO_CODE": "1"}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)  # torch leaves it in the process that runs the tests
    for name, variable in (("home", "HOME"), ("temporary", "TMPDIR"), ("cache", "XDG_CACHE_HOME")):
        (tmp_path / name).mkdir()
        environment[variable] = str(tmp_path / name)
    return tmp_path, environment


@pytest.mark.slow
def test_a_run_asks_python_for_no_network_no_program_and_no_file_elsewhere(shot: tuple[Path, dict[str, str]]) -> None:
    folder, environment = shot
    (folder / "here").mkdir()
    before = state(folder)
    inside = os.pathsep.join((str(folder / "shot" / "out"), os.devnull, str(folder / "temporary")))
    arguments = ["decompose", "--job", str(folder / "shot" / "job.json"), "--json"]
    answer = subprocess.run(
        [sys.executable, "-c", WATCH, str(folder / "log.json"), inside, *arguments],
        env=environment, cwd=folder / "here", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert '"event": "done"' in answer.stdout, answer.stderr
    events = json.loads((folder / "log.json").read_text(encoding="utf-8"))
    assert events == [["exit", 0]]
    after = {name: digest for name, digest in state(folder).items() if Path(name).parts[:2] != ("shot", "out")}
    after.pop("log.json")
    # torch makes itself a folder when it is loaded; refinement puts nothing there.
    assert all(after.pop(name) == "folder" for name in list(after) if "torchinductor" in name)
    # Libraries in other languages do not tell Python: whatever they wrote beside the output would be here.
    assert after == before


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_run_asks_the_system_for_no_network_no_program_and_no_file_elsewhere(
    shot: tuple[Path, dict[str, str]],
) -> None:
    folder, environment = shot
    calls = "socket,connect,bind,sendto,execve,execveat,open,openat,creat,rename,renameat,renameat2,mkdir,mkdirat"
    traced = subprocess.run(
        ["strace", "-f", "-qq", "-s", "300", "--seccomp-bpf", "-e", f"trace={calls}", "-o", str(folder / "trace"),
         sys.executable, "-m", "penumbra", "decompose", "--job", str(folder / "shot" / "job.json"), "--json"],
        env=environment, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not (folder / "trace").exists() or "ptrace" in traced.stderr:
        pytest.skip("strace may not trace here")
    assert '"event": "done"' in traced.stdout, traced.stderr
    lines = (folder / "trace").read_text(encoding="utf-8", errors="replace").splitlines()
    asked = [line for line in lines if re.search(r"\b(socket|connect|bind|sendto)\(", line) and "AF_INET" in line]
    assert not asked
    # The first is the command itself.
    assert len([line for line in lines if re.search(r"\bexecve(at)?\(", line) and "ENOENT" not in line]) <= 1
    writes = [line for line in lines if re.search(r"O_WRONLY|O_RDWR|O_CREAT|\bcreat\(|\brename|\bmkdir", line)]
    places = {match for line in writes if " = -1 " not in line for match in re.findall(r'"((?:[^"\\]|\\.)+)"', line)}
    known = (str(folder / "shot" / "out"), str(folder / "temporary"), "/dev/null", "/dev/shm/", "/proc/self/", "/sys/")
    assert {path.name.partition("_")[0] for path in (folder / "temporary").iterdir()} <= {"torchinductor"}
    assert not [place for place in places if not place.startswith(known)]
    assert any(place.startswith(str(folder / "shot" / "out")) for place in places)


def test_no_module_of_ours_uses_a_shell_or_a_network() -> None:
    root = Path(__file__).parents[2]
    found = []
    for folder in ("engine", "gui", "plugin_nuke", "plugin_resolve"):
        for path in sorted((root / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            networks = r"^\s*(import|from) (socket|http|urllib\.request|requests|ftplib)\b"
            banned = rf"shell\s*=\s*True|os\.(system|popen)\(|{networks}"
            found += [f"{path.name}: {match.group()}" for match in re.finditer(banned, text, re.MULTILINE)]
            unsafe = r"allow_pickle\s*=\s*True|weights_only\s*=\s*False|\b(eval|exec)\((?!\))|pickle\.loads?\("
            found += [
                f"{path.name}: {match.group()}"
                for match in re.finditer(unsafe, text)
                if not text[: match.start()].endswith((".", "def "))
            ]
    assert not found
