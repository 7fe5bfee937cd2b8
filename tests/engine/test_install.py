"""penumbra install: our files in place, nobody else's touched, and a start-up that cannot hurt the host's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penumbra.install import InstallError, UnknownHostError, find_plugin, install, plugin_state, uninstall


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture
def plugin(tmp_path):
    return find_plugin("nuke", tmp_path / "a ünï home" / ".nuke")


def test_an_empty_home_gets_everything_and_loses_it_again(plugin):
    lines = install(plugin)
    files = tree(plugin.folder)
    assert {"init.py", "menu.py", "python/penumbra/job.py", "python/penumbra_nuke/node_host.py"} <= set(files)
    assert files["python/penumbra_nuke/engine.txt"].decode().strip() == sys.executable
    assert plugin.folder.name in plugin.hook.read_text()
    assert any("made" in line for line in lines)
    uninstall(plugin)
    assert tree(plugin.hook.parent) == {}
    assert not plugin.folder.exists()
    assert uninstall(plugin) == [f"{plugin.folder}: nothing of Penumbra's"]


def test_a_users_own_files_stay_as_they_are(plugin):
    plugin.folder.parent.mkdir(parents=True)
    others = {"init.py": b"import nuke\nnuke.pluginAddPath('./other')\n", "other/init.py": b"x", "menu.py": b"y"}
    for name, body in others.items():
        path = plugin.hook.parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(body)
    lines = install(plugin)
    assert any('nuke.pluginAddPath("./penumbra_layers")' in line and "NUKE_PATH" in line for line in lines)
    assert {name: tree(plugin.hook.parent)[name] for name in others} == others
    uninstall(plugin)
    assert tree(plugin.hook.parent) == others


def test_installing_again_brings_it_up_to_date(plugin):
    install(plugin)
    stale = plugin.folder / "python" / "penumbra" / "job.py"
    fresh = stale.read_bytes()
    stale.write_text("# an older one\n")
    install(plugin)
    assert stale.read_bytes() == fresh
    (plugin.hook).write_text(plugin.hook.read_text() + "import mine\n")
    install(plugin)
    assert uninstall(plugin)
    assert "import mine" in plugin.hook.read_text()


def test_the_doctor_tells_whether_a_plug_in_is_there_and_this_engines_own(plugin, monkeypatch):
    home = plugin.folder.parent
    assert plugin_state("nuke", home) == "not installed: penumbra install nuke"
    install(plugin)
    assert plugin_state("nuke", home) == f"in {plugin.folder}"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/another/python")
        assert plugin_state("nuke", home).startswith("leads to another engine")
    record = plugin.folder / "installed.json"
    kept = record.read_text()
    body = json.loads(kept)
    body["files"]["menu.py"] = "of an earlier version"
    record.write_text(json.dumps(body))
    assert plugin_state("nuke", home) == "of another version of Penumbra: penumbra install nuke again"
    record.write_text(kept)
    (plugin.folder / "menu.py").unlink()
    assert plugin_state("nuke", home) == f"{plugin.folder / 'menu.py'} is gone: penumbra install nuke again"


def test_what_somebody_changed_or_added_survives_removal(plugin):
    install(plugin)
    (plugin.folder / "menu.py").write_text("# mine now\n")
    (plugin.folder / "notes.txt").write_text("mine")
    lines = uninstall(plugin)
    assert any("menu.py: changed since, so it stays" in line for line in lines)
    assert tree(plugin.folder) == {"menu.py": b"# mine now\n", "notes.txt": b"mine"}


def test_a_foreign_file_in_the_way_is_refused_and_kept(plugin):
    plugin.folder.mkdir(parents=True)
    (plugin.folder / "init.py").write_text("theirs")
    with pytest.raises(InstallError, match=r"init\.py is not Penumbra's own"):
        install(plugin)
    assert tree(plugin.hook.parent) == {f"{plugin.folder.name}/init.py": b"theirs"}


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InstallError, match="cannot be written"):
        install(find_plugin("nuke", tmp_path / "file" / ".nuke"))


def test_an_unknown_host_is_refused():
    with pytest.raises(UnknownHostError, match="'shake'"):
        find_plugin("shake")


def start_nuke(folder, tmp_path, spoil=""):
    """Runs init.py and menu.py as a host would, in a Python that has nothing but what was installed."""
    code = f"""
import sys, os
sys.path.insert(0, {str(Path(__file__).parents[1] / "fakes")!r})
import nuke
{spoil}
def run(name):
    before = len(nuke.SCRIPT.plugin_path)
    exec(compile(open(os.path.join({str(folder)!r}, name), encoding="utf-8").read(), name, "exec"), {{}})
    for path in nuke.SCRIPT.plugin_path[before:]:
        sys.path.append(os.path.join({str(folder)!r}, path))
run("init.py"); run("menu.py")
print("started", nuke.SCRIPT.menus[:1], nuke.SCRIPT.printed)
"""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    ).stdout.strip()


def test_nuke_starts_with_the_menu(plugin, tmp_path):
    install(plugin)
    assert start_nuke(plugin.folder, tmp_path).startswith("started [('Nodes/Penumbra/Penumbra'")


def test_a_start_that_fails_steps_aside_with_one_line(plugin, tmp_path):
    install(plugin)
    (plugin.folder / "python" / "penumbra_nuke" / "node_host.py").write_text("this is no Python")
    said = start_nuke(plugin.folder, tmp_path)
    assert said.startswith("started [] ['Penumbra steps aside: ")
    assert said.count("Penumbra steps aside") == 1
    said = start_nuke(plugin.folder, tmp_path, "del nuke.pluginAddPath")
    assert said.startswith("started")


def test_the_command_line_installs_and_removes(tmp_path):
    command = [sys.executable, "-I", "-m", "penumbra", "install", "nuke", "--folder", str(tmp_path / "n")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "penumbra_layers" in done.stdout
    subprocess.run([*command, "--remove"], capture_output=True, env=environment, check=True)
    assert tree(tmp_path) == {}
