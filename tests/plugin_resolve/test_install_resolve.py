"""``penumbra install resolve``: scripts in Resolve's menu, modules out of it, and what keeps Resolve from a Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from penumbra.doctor import report
from penumbra.host_folders import fusion_folder, python_trap
from penumbra.install import InstallError, find_plugin, install, uninstall

SCRIPTS = {
    "Scripts/Utility/Penumbra Layers.py",
    "Scripts/Utility/Penumbra Stop.py",
    "Scripts/Utility/Penumbra Import.lua",
    "Scripts/Utility/Penumbra Check.lua",
    "Scripts/Comp/Penumbra Layers.py",
}


@pytest.fixture
def home(tmp_path):
    return tmp_path / "Blackmagic Ünïcode 'Design'" / "Fusion"


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_scripts_are_in_the_menu_and_modules_are_not(home):
    lines = install(find_plugin("resolve", home))
    made = files(home)
    assert {name for name in made if name.startswith("Scripts/")} == SCRIPTS
    assert "PenumbraLayers/python/penumbra/launch.py" in made
    assert "PenumbraLayers/python/penumbra_resolve/edit_host.py" in made
    engine = (home / "PenumbraLayers/python/penumbra_resolve/engine.txt").read_text(encoding="utf-8")
    assert engine.strip() == sys.executable
    assert any(line.startswith("engine:") for line in lines)


def test_a_second_time_and_back_again(home):
    (home / "Scripts" / "Utility").mkdir(parents=True)
    (home / "Scripts" / "Utility" / "mine.py").write_text("mine")
    (home / "Templates").mkdir()
    plugin = find_plugin("resolve", home)
    install(plugin)
    first = files(home)
    install(plugin)
    assert files(home) == first
    uninstall(plugin)
    assert files(home) == {"Scripts/Utility/mine.py"}
    assert (home / "Templates").is_dir()


@pytest.mark.parametrize("script", sorted(name for name in SCRIPTS if name.endswith(".py")))
def test_a_script_whose_modules_are_gone_says_what_to_do(home, script):
    install(find_plugin("resolve", home))
    shutil.rmtree(home / "PenumbraLayers")
    command = [sys.executable, "-I", "-S", str(home / script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("Penumbra: No module named 'penumbra_resolve'. Run penumbra install resolve again.")


def test_a_script_of_somebody_else_is_not_replaced(home):
    (home / "Scripts" / "Utility").mkdir(parents=True)
    (home / "Scripts" / "Utility" / "Penumbra Import.lua").write_text("mine")
    with pytest.raises(InstallError, match=r"Penumbra Import\.lua is not Penumbra's own"):
        install(find_plugin("resolve", home))
    assert files(home) == {"Scripts/Utility/Penumbra Import.lua"}


def pythons():
    """This one, and, where it is there, the oldest that Resolve may bring."""
    yield sys.executable
    found = os.environ.get("PYTHON39") or shutil.which("python3.9")
    known = Path.home() / ".pyenv" / "versions"
    older = next(iter(sorted(known.glob("3.9.*/bin/python"))), None)
    yield str(older) if older else found


@pytest.mark.parametrize("index", [0, 1], ids=["this Python", "Python 3.9"])
@pytest.mark.parametrize("script", sorted(name for name in SCRIPTS if name.endswith(".py")))
def test_the_scripts_run_without_the_engine_s_libraries(home, script, index):
    """Run as Resolve runs them, by another Python, with nothing open: a sentence, and no traceback."""
    python = list(pythons())[index]
    if python is None:
        pytest.skip("there is no Python 3.9 here: set PYTHON39")
    install(find_plugin("resolve", home))
    answer = subprocess.run(
        [python, "-I", "-B", str(home / script)], capture_output=True, encoding="utf-8", check=False
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("Penumbra: ")


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "/h/.local/share/DaVinciResolve/Fusion"),
        ("linux", {"XDG_DATA_HOME": "/d"}, "/d/DaVinciResolve/Fusion"),
        ("darwin", {}, "/h/Library/Application Support/Blackmagic Design/DaVinci Resolve/Fusion"),
        ("win32", {"APPDATA": "/r"}, "/r/Blackmagic Design/DaVinci Resolve/Support/Fusion"),
        ("win32", {}, "/h/AppData/Roaming/Blackmagic Design/DaVinci Resolve/Support/Fusion"),
    ],
)
def test_folders(platform, environment, expected):
    assert fusion_folder(Path("/h"), environment, platform) == Path(expected)


def test_the_trap_on_macos(tmp_path):
    nowhere = tmp_path / "python3"
    assert python_trap({}, "linux", nowhere) is None
    assert "no Python" in str(python_trap({}, "darwin", nowhere))
    assert python_trap({"PYTHON3HOME": str(tmp_path)}, "darwin", nowhere) is None
    assert "is no folder" in str(python_trap({"PYTHON3HOME": str(nowhere)}, "darwin", nowhere))
    nowhere.write_text("")
    assert python_trap({}, "darwin", nowhere) is None


def test_the_doctor_says_whether_the_scripts_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if sys.platform != "linux":
        pytest.skip("the folder is another")
    before = next(line for line in report()[0] if line.startswith("Resolve"))
    install(find_plugin("resolve"))
    after = next(line for line in report()[0] if line.startswith("Resolve"))
    assert "no user folder; our scripts are not" in before
    assert "its user folder is there; our scripts are in it" in after
