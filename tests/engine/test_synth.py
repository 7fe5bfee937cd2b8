from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from penumbra.errors import OutputError
from penumbra.training.datasets import read_clip, read_grey
from penumbra.training.synth import masked_median, write_sample


def sample(folder: Path, **options: object) -> Path:
    defaults: dict[str, object] = {"seed": 3, "frames": 4, "height": 32, "width": 48, "objects": 2}
    write_sample(folder, **{**defaults, **options})  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample(tmp_path_factory.mktemp("synth") / "plain")


def test_a_sample_holds_every_file_of_the_layout(plain: Path):
    expected = {"bg.png", "bg_est.png", "order.txt", "meta.json"}
    expected |= {f"rgba_{t:05d}.png" for t in range(4)}
    for k in range(2):
        for t in range(4):
            expected |= {f"mask{k}_{t:05d}.png", f"gt/mask{k}_{t:05d}.png"}
            expected |= {f"solo/obj{k}_{t:05d}.png", f"amodal/obj{k}_{t:05d}.png"}
    found = {str(path.relative_to(plain)) for path in plain.rglob("*") if path.is_file()}
    assert found == expected
    assert [path.name for path in plain.parent.iterdir()] == ["plain"]


def test_the_effect_regions_follow_from_the_solo_renders(plain: Path):
    clip = read_clip(plain)
    assert clip.solo is not None
    assert clip.background is not None
    difference = np.round(clip.solo * 255) - np.round(clip.background[:, None] * 255)
    expected = np.square(difference).sum(-1) > 63.75
    for t in range(4):
        for k in range(2):
            assert np.array_equal(read_grey(plain / "gt" / f"mask{k}_{t:05d}.png") > 0.5, expected[t, k])
    assert expected.any((0, 2, 3)).all()
    assert (expected & ~(clip.masks > 0.5)).any((0, 2, 3)).all()


def test_an_object_does_not_show_in_the_others_solo_render(plain: Path):
    clip = read_clip(plain)
    assert clip.solo is not None
    assert clip.background is not None
    untouched = np.abs(clip.solo[:, 0] - clip.background).max(-1) == 0
    # Where neither object nor effect of the first is, its solo render is the background; the second's is not.
    second = np.abs(clip.solo[:, 1] - clip.background).max(-1) > 0.1
    assert (untouched & second).any()


def test_the_same_seed_writes_the_same_bytes(plain: Path, tmp_path: Path):
    again = sample(tmp_path / "again")
    for path in plain.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(plain)).read_bytes()
    other = sample(tmp_path / "other", seed=4)
    assert (other / "rgba_00000.png").read_bytes() != (plain / "rgba_00000.png").read_bytes()


def test_version_two_is_as_imperfect_as_footage(tmp_path: Path):
    clip = read_clip(sample(tmp_path / "hard", version=2, kind="both", objects=3))
    assert (tmp_path / "hard" / "bg_00003.png").exists()
    assert not (tmp_path / "hard" / "bg.png").exists()
    assert ((clip.masks > 0.02) & (clip.masks < 0.98)).any()
    assert json.loads((tmp_path / "hard" / "meta.json").read_text())["grain"] is True


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        sample(tmp_path)
    with pytest.raises(OutputError, match="something else"):
        sample(tmp_path, replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_sample_is_replaced_only_when_asked(tmp_path: Path):
    folder = sample(tmp_path / "clip", frames=2)
    with pytest.raises(OutputError, match="replace"):
        sample(folder, frames=3)
    sample(folder, frames=3, objects=1, replace=True)
    assert len(read_clip(folder).frames) == 3
    assert not list(folder.glob("mask1_*"))


def test_a_file_in_the_way_is_refused(tmp_path: Path):
    (tmp_path / "clip").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        sample(tmp_path / "clip")


def test_the_masked_median_looks_past_the_objects():
    frames = torch.full((5, 3, 4, 4), 0.5)
    masks = torch.zeros(5, 1, 4, 4)
    masks[:3, 0, 1, 1], frames[:3, :, 1, 1] = 1, 0.9
    masks[:, 0, 2, 2], frames[:, :, 2, 2] = 1, 0.7
    median = masked_median(frames, masks)
    assert torch.allclose(median[:, 1, 1], torch.tensor(0.5))
    assert torch.allclose(median[:, 2, 2], torch.tensor(0.7))
