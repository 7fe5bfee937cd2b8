"""The installed plug-in in a process of its own: the oldest Python a host brings, hostile surroundings, a farm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penumbra.install import find_plugin, install
from penumbra.layer_graph import load_layer_graph
from plugin_nuke.shots import write_shot
from surroundings import STRANGE, hostile_surroundings, oldest_python, strange_engine

DRIVER = Path(__file__).with_name("drive_node.py")


def drive(python, plugin, shot, way, hostile=None, options=("-I", "-S", "-X", "utf8")):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DRIVE_ENVIRONMENT": json.dumps(hostile or {})}
    environment.pop("PENUMBRA_PYTHON", None)
    done = subprocess.run(
        [python, *options, str(DRIVER), str(plugin.folder), str(shot), way],
        capture_output=True, encoding="utf-8", env=environment, check=False, timeout=300,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    assert lines, done.stderr
    return {key: value for line in lines if line.startswith("{") for key, value in json.loads(line).items()}


@pytest.fixture
def installed(tmp_path):
    """In a home full of other people's plug-ins."""
    home = tmp_path / STRANGE / ".nuke"
    (home / "other_plugin").mkdir(parents=True)
    (home / "init.py").write_text("import nuke\nnuke.pluginAddPath('./other_plugin')\n")
    (home / "other_plugin" / "penumbra.py").write_text("raise SystemExit('not ours')\n")
    plugin = find_plugin("nuke", home)
    install(plugin)
    return plugin


def test_under_the_oldest_python_in_hostile_surroundings_nothing_changes(installed, tmp_path):
    shot = tmp_path / STRANGE / "shot"
    write_shot(shot)
    strange_engine(installed, tmp_path / STRANGE)
    said = drive(oldest_python(), installed, shot, "window", hostile_surroundings(tmp_path))
    assert said["python"] == [3, 9]
    assert said["status"] == "1001-1005: car, person", said
    assert said["messages"] == []
    assert said["foreign"] == []
    assert "Penumbra1_difference" in said["nodes"]
    assert load_layer_graph(shot / "penumbra" / "Penumbra1").names == ("car", "person")


def test_a_farm_runs_a_saved_node_without_a_window(installed, tmp_path):
    shot = tmp_path / "shot"
    write_shot(shot)
    said = drive(sys.executable, installed, shot, "farm")
    assert said["exit"] == 0, said
    assert said["status"] == "1001-1005: car, person"
    assert any("lift" in line or "Writing" in line for line in said["printed"])
    said = drive(sys.executable, installed, shot, "farm")
    assert said["exit"] == 4
    assert any("holds layers" in line for line in said["printed"])


def test_the_shipped_smoke_script_runs(installed, tmp_path):
    said = drive(sys.executable, installed, tmp_path / "smoke", "smoke", options=("-I",))
    assert said["exit"] == 0, said
    assert [line for line in said["printed"] if line.startswith("FAIL")] == []


@pytest.mark.host
@pytest.mark.skipif("PENUMBRA_NUKE" not in os.environ, reason="PENUMBRA_NUKE does not name a Nuke")
def test_in_a_real_nuke(tmp_path):
    plugin = find_plugin("nuke", tmp_path / ".nuke")
    install(plugin)
    smoke = plugin.folder / "python" / "penumbra_nuke" / "smoke_host.py"
    environment = {**os.environ, "NUKE_PATH": str(plugin.folder)}
    command = [os.environ["PENUMBRA_NUKE"], "-t", str(smoke), str(tmp_path / "smoke")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
