"""The script that is to be run in a real Resolve, in the fake one: so that what fails there is Resolve's."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

from fakes.resolve import Resolve, _pixels
from penumbra_resolve import smoke_host


def test_every_check_holds_in_the_fake(capsys):
    lines = smoke_host.main(Resolve(project=None))
    assert [line for line in lines if line.startswith("FAILED")] == []
    assert len(lines) == 30
    assert capsys.readouterr().out.count("Penumbra smoke: ok") == 29


def test_a_trap_that_is_another_shows(monkeypatch):
    """An end that counts: five frames asked for are six."""
    monkeypatch.setattr("fakes.resolve.TimelineItem.GetEnd", lambda item: item._start + item._duration + 1)
    lines = smoke_host.main(Resolve(project=None))
    assert "FAILED: GetEnd is not included" in lines


def test_what_a_real_one_raises_is_a_line(monkeypatch):
    monkeypatch.delattr("fakes.resolve.TimelineItem.SetClipEnabled")
    lines = smoke_host.main(Resolve(project=None))
    assert any(line.startswith("FAILED: a clip can be switched off: TypeError") for line in lines)


def test_it_runs_as_the_console_runs_it(capsys):
    runpy.run_path(str(Path(smoke_host.__file__)), {"resolve": Resolve(project=None)})
    assert "Penumbra smoke: ok: endFrame is not included" in capsys.readouterr().out


def test_its_files_are_files(tmp_path):
    (tmp_path / "a.exr").write_bytes(smoke_host.exr_bytes(0.25))
    pixels = _pixels.read(tmp_path / "a.exr")
    assert pixels.shape == (36, 64, 4)
    np.testing.assert_array_equal(np.unique(pixels[..., :3]), [0.125])
    np.testing.assert_array_equal(np.unique(pixels[..., 3]), [0.5])
