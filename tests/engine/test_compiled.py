"""Compiled code is kept on disk, and nothing that happens to it there does harm."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from penumbra import color, unrest
from penumbra.lift import evidence, kernels
from penumbra.write import verify
from penumbra.write.frame_writer import HALF_MAX
from penumbra.write.read_back import allowed_error

MAKES = "import numpy as np; from penumbra.halves import floats_of; print(floats_of(np.float16([0.5, -2]))[1])"


def run(folder: Path) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    made = subprocess.run([sys.executable, "-c", MAKES], env=environment, capture_output=True, text=True, check=False)
    assert (made.returncode, made.stdout) == (0, "-2.0\n"), made.stderr
    return made.stderr


def kept(folder: Path) -> dict[Path, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.suffix in (".nbi", ".nbc")]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_it_is_compiled_once(tmp_path: Path) -> None:
    run(tmp_path)
    first = kept(tmp_path)
    assert first
    run(tmp_path)
    assert kept(tmp_path) == first


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("length", [0, 40])
def test_what_was_cut_short_is_made_again(tmp_path: Path, suffix: str, length: int) -> None:
    run(tmp_path)
    whole = {path: held for path, (held, _) in kept(tmp_path).items()}
    for path, held in whole.items():
        if path.suffix == suffix:
            path.write_bytes(held[:length])
    run(tmp_path)
    assert {path: len(held) for path, (held, _) in kept(tmp_path).items()} == {p: len(h) for p, h in whole.items()}


def test_where_nothing_is_to_be_kept_nothing_is(tmp_path: Path) -> None:
    # A copy of the engine, which has nothing kept yet.
    shutil.copytree(Path(color.__file__).parent, tmp_path / "penumbra", ignore=shutil.ignore_patterns("__pycache__"))
    home = tmp_path / "home"
    home.mkdir()
    for keeps in (False, True):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "HOME": str(home), "XDG_CACHE_HOME": str(home)}
        environment.pop("NUMBA_CACHE_DIR", None)
        environment["PENUMBRA_KEEP_NO_CODE"] = "" if keeps else "1"
        made = subprocess.run(
            [sys.executable, "-c", MAKES], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (made.returncode, made.stdout) == (0, "-2.0\n"), made.stderr
        assert bool(kept(tmp_path / "penumbra")) is keeps
    assert not list(home.iterdir())


def test_a_folder_that_cannot_be_is_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run(tmp_path / "file" / "below")


def test_a_full_disk_is_no_harm(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
    ignore = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    made = subprocess.run(
        [sys.executable, "-c", limit + ignore + MAKES], env=environment, capture_output=True, text=True, check=False
    )
    assert (made.returncode, made.stdout, made.stderr) == (0, "-2.0\n", "")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_constants_that_stand_twice_are_the_same() -> None:
    # Compiled code is not made anew when another module's constant changes.
    assert (color.HUGE, np.float32(unrest.OUTSIDE), HALF_MAX) == (kernels.HUGE, kernels.OUTSIDE, kernels.HALF_MAX)
    assert len(evidence.SMOOTHING) == 2 * kernels.HALO + 1
    plate = np.float32([0, 0.3, 7, 65504])
    np.testing.assert_array_equal(plate * verify._RELATIVE + verify._ABSOLUTE, allowed_error(plate))
    assert allowed_error(plate).min() == -verify.NEAREST
