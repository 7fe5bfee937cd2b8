from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from penumbra.cli import app
from penumbra.errors import JobError
from penumbra.network import load_weights
from penumbra.training.batch_source import BatchSource
from penumbra.training.pretrain import Trainer, preset, pretrain
from penumbra.training.pretrain.board import Board, layers_row
from penumbra.training.scene_pool import Form, PoolSettings, ScenePool, group_scenes, sampling_processes
from penumbra.training.scenes import SceneSettings, render, render_solo, sample_scenes
from penumbra.training.scoring import TruthClip

POOL = PoolSettings(32, 32, group=2, groups=4, steps_per_group=2, start=3)
TINY = replace(preset("tiny"), steps=2, log_every=1, evaluate_every=0, board=False, pool=POOL)


def truth_clip() -> TruthClip:
    scenes = sample_scenes(SceneSettings(32, 32, 5, 2, "shadows"), 8, 1)
    clips = render(scenes, 32, 32)
    solo = torch.stack([render_solo(scenes, k, 32, 32)[0][0] for k in range(2)], 1)
    return TruthClip("one", clips.frames[0], clips.masks[0], clips.background[0], solo)


def events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"images": 0})
    found.Reload()
    return found


def test_tensorboard_shows_losses_evaluation_and_layers(tmp_path: Path):
    pytest.importorskip("tensorboard")
    network, clip = Trainer(TINY).mean, truth_clip()
    board = Board(tmp_path, 0, pictures=True)
    board.record(1, {"loss": 0.5, "recon": 0.25, "rate": 1e-3})
    board.record(2, {"effect_iou": 0.75})
    board.show(2, network, [clip])
    board.close()
    found = events(tmp_path / "board")
    assert set(found.Tags()["scalars"]) == {"loss/loss", "loss/recon", "run/rate", "evaluation/effect_iou"}
    assert found.Scalars("evaluation/effect_iou")[0].value == 0.75
    picture = found.Images("layers/one")[0]
    assert (picture.height, picture.width) == (32, 32 * (1 + 1 + 2 + 1 + 2))
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1, 2]


def test_a_row_of_layers_shows_the_frame_and_the_truth():
    clip = truth_clip()
    row = layers_row(Trainer(TINY).mean, clip)
    assert torch.equal(row[..., :32], clip.frames[2])
    assert torch.equal(row[..., -32:], clip.solo[2, 1])
    assert row.min() >= 0
    assert row.max() <= 1


def test_the_command_trains_and_goes_on(tmp_path: Path):
    run = tmp_path / "run"
    (tmp_path / "settings.json").write_text(TINY.to_json())
    first = CliRunner().invoke(app, ["pretrain", str(run), "--settings", str(tmp_path / "settings.json")])
    assert first.exit_code == 0, first.output
    again = CliRunner().invoke(app, ["pretrain", str(run), "--preset", "paper", "--steps", "3"])
    assert again.exit_code == 0, again.output
    assert json.loads((run / "settings.json").read_text()) == json.loads(replace(TINY, steps=3).to_json())
    assert [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()] == [1, 2, 3]
    assert load_weights(run / "ema.safetensors")[2]["steps"] == "3"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--preset", "huge"], "no preset 'huge'"),
        (["--settings", "absent.json"], "absent.json cannot be read"),
        (["--preset", "tiny", "--clips", "absent"], "No clip was found"),
        (["--preset", "tiny", "--device", "abacus"], "'abacus'"),
        (["--preset", "tiny", "--start", "absent.safetensors"], "no weights at absent.safetensors"),
    ],
)
def test_a_command_that_cannot_be_followed_is_one_sentence(tmp_path: Path, options: list[str], sentence: str):
    result = CliRunner().invoke(app, ["pretrain", str(tmp_path / "run"), *options])
    assert result.exit_code in (2, 3, 5)
    assert sentence in " ".join(result.output.split())


def test_the_scenes_command_draws_a_sheet(tmp_path: Path):
    sheet = tmp_path / "sheet.png"
    options = ["--count", "2", "--size", "16x32", "--objects", "2", "--version", "1", "--kind", "shadows"]
    result = CliRunner().invoke(app, ["scenes", str(sheet), *options])
    assert result.exit_code == 0, result.output
    import cv2

    assert cv2.imread(str(sheet)).shape == (2 * (16 + 4), 7 * (32 + 4), 3)
    refused = CliRunner().invoke(app, ["scenes", str(sheet), "--kind", "smoke"])
    assert refused.exit_code == 2
    assert "'smoke' is no kind" in " ".join(refused.output.split())


@pytest.mark.slow
def test_the_tiny_preset_runs_to_its_end(tmp_path: Path):
    trainer = pretrain(tmp_path, preset("tiny"))
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    scores = [line["effect_iou"] for line in logged if "effect_iou" in line]
    assert len(scores) == 2
    assert trainer.best == pytest.approx(max(scores), abs=1e-6)
    best = load_weights(tmp_path / "best.safetensors")[2]
    assert best["steps"] == str(10 * (1 + int(np.argmax(scores))))
    found = events(tmp_path / "board")
    assert len(found.Tags()["images"]) == 6


@pytest.mark.slow
def test_scenes_drawn_by_other_processes_are_the_same():
    samplers = sampling_processes(1)
    pools = [ScenePool(POOL, 1), ScenePool(replace(POOL, samplers=1), 1, samplers=samplers)]
    for pool in pools:
        pool.prepare(0)
    for one, other in zip(*(pool.window(1, 0) for pool in pools), strict=True):
        assert torch.equal(one, other)
    folder = Path(pools[1]._folder.name)
    assert folder.is_dir()
    for pool in pools:
        pool.close()
    samplers.shutdown()
    assert not folder.exists()


def test_wide_windows_come_as_often_as_asked_and_hold_as_many_pixels():
    pool = replace(POOL, wide=0.5, start=12, groups=12, objects=(1, 0, 0))
    assert pool.forms == {
        Form(2, 32): 0.5,
        Form(2, 64): 0.5,
        Form(3, 32): 0,
        Form(3, 64): 0,
        Form(4, 32): 0,
        Form(4, 64): 0,
    }
    widths = [group_scenes(pool, 1, group).width for group in range(200)]
    assert 90 <= widths.count(64) <= 110
    source = BatchSource(pool, 1)
    shapes = {tuple(source.batch(step, 8).frames.shape) for step in range(8)}
    source.close()
    assert shapes == {(4, 3, 5, 32, 32), (2, 3, 5, 32, 64)}
    with pytest.raises(JobError, match="wide"):
        replace(POOL, wide=1.5)


def test_water_comes_as_often_as_asked_and_moves_a_background_only_where_that_is_estimated():
    pool = replace(POOL, water=0.4, clean=1.0)
    assert 60 <= sum(group_scenes(pool, 1, group).water for group in range(200)) <= 100
    assert not any(group_scenes(replace(pool, water=0.0), 1, group).water for group in range(200))
    with pytest.raises(JobError, match="water"):
        replace(POOL, water=-0.1)
    always = replace(POOL, water=1.0)
    for estimated in (0.0, 1.0):
        source = BatchSource(replace(always, estimated=estimated), 1)
        restless = source.batch(0, 8).restless
        source.close()
        assert bool((restless == bool(estimated)).all())
