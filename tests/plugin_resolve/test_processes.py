"""The installed scripts in a process of their own: the oldest Python Resolve may find, hostile surroundings."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from fakes.resolve import _pixels
from penumbra.install import find_plugin, install
from penumbra.layer_graph import load_layer_graph
from plugin_resolve.clips import picture
from surroundings import STRANGE, hostile_surroundings, oldest_python, strange_engine

DRIVER = Path(__file__).with_name("drive_scripts.py")
FIRST, COUNT = 1001, 5


@pytest.fixture
def media(tmp_path):
    folder = tmp_path / STRANGE / "media"
    for index in range(COUNT):
        plate, masks = picture(index)
        _pixels.write(folder / f"plate.{FIRST + index}.exr", plate, ("R", "G", "B"))
        for name, mask in zip(("car", "person"), masks, strict=True):
            _pixels.write(folder / f"{name}.{FIRST + index}.exr", mask, ("A",))
    return folder


@pytest.mark.parametrize("page", ["edit", "fusion"])
def test_under_the_oldest_python_in_hostile_surroundings_nothing_changes(media, tmp_path, page):
    home = tmp_path / STRANGE / "Fusion"
    plugin = find_plugin("resolve", home)
    install(plugin)
    engine = strange_engine(plugin, tmp_path / STRANGE)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if page == "fusion":
        # The command of the PATH, which knows nothing of isolation.
        (plugin.folder / "python" / plugin.package / "engine.txt").unlink()
        environment["PATH"] = str(engine.parent)
    environment["DRIVE_ENVIRONMENT"] = json.dumps(hostile_surroundings(tmp_path))
    del environment["PENUMBRA_PYTHON"]
    done = subprocess.run(
        [oldest_python(), "-I", "-S", "-X", "utf8", str(DRIVER), str(home), str(media), page],
        capture_output=True, encoding="utf-8", env=environment, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["python"], said["foreign"]) == ([3, 9], []), done.stdout
    if page == "edit":
        start = 24 * 3600 + 7
        layers = ("background", "car", "person")
        assert said["tracks"][3:] == [[f"Penumbra {name}", [start]] for name in layers], done.stdout
    else:
        assert "Penumbra_over_person" in said["tools"], done.stdout
    (manifest,) = Path(os.environ["PENUMBRA_RESOLVE_FOLDER"]).rglob("manifest.json")
    assert load_layer_graph(manifest.parent).names == ("car", "person")
