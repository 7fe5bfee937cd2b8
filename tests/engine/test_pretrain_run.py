from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from penumbra.cli import app
from penumbra.network import load_weights
from penumbra.training.pretrain import Stage, Trainer, preset, pretrain
from penumbra.training.pretrain.board import Board, layers_row
from penumbra.training.pretrain.checkpoint import restore
from penumbra.training.pretrain.held_out import held_out_clips
from penumbra.training.scene_pool import PoolSettings, ScenePool
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
    pools = [ScenePool(replace(POOL, samplers=samplers), 1) for samplers in (0, 1)]
    for pool in pools:
        pool.prepare(0)
    for one, other in zip(*(pool.window(1, 0) for pool in pools), strict=True):
        assert torch.equal(one, other)
    for pool in pools:
        pool.close()


# PyTorch's compiler warns of what it does itself.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(1800)
@pytest.mark.slow
def test_the_compiled_network_learns_the_same():
    plain = replace(TINY, precision="float32", pool=replace(POOL, objects=(1, 0, 0)))
    trainers = [Trainer(replace(plain, compile=c, channels_last=c)) for c in (False, True)]
    figures = []
    for trainer in trainers:
        for module in trainer.network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        figures.append(trainer.train_step())
        trainer.close()
    for name in ("loss", "recon", "mask", "norm"):
        assert figures[1][name] == pytest.approx(figures[0][name], rel=1e-3)
    assert trainers[0].network.state_dict().keys() == trainers[1].network.state_dict().keys()


@pytest.mark.gpu
def test_the_gpu_preset_trains_through_its_stages_and_resumes(tmp_path: Path):
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    full = preset("gpu")
    pool = replace(full.pool, group=4, groups=8, start=4, samplers=2)
    stages = tuple(replace(stage, batch=12) for stage in (*full.stages[:1], Stage(64, 112, 1.0)))
    settings = replace(full, steps=8, pool=pool, stages=stages, evaluate_every=4, log_every=1, warm_up=2)
    stops = iter(range(20))
    with pytest.raises(Exception, match="6 steps"):
        pretrain(tmp_path, settings, should_stop=lambda: next(stops) == 5)
    trainer = pretrain(tmp_path)
    assert trainer.step == 8
    assert trainer.network.size.grid_width == 7
    assert all(p.is_cuda and bool(p.isfinite().all()) for p in trainer.network.parameters())
    assert (tmp_path / "best.safetensors").exists()
    on_cpu = Trainer(replace(settings, device="cpu", compile=False, channels_last=False))
    restore(on_cpu, tmp_path)
    assert on_cpu.step == 8


@pytest.mark.gpu
def test_the_gpu_renders_what_the_cpu_renders():
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    scenes = sample_scenes(SceneSettings(64, 64, 5, 3, "both", 2), 1, 4)
    one, other = render(scenes, 64, 64), render(scenes.to("cuda"), 64, 64)
    for name in ("frames", "masks", "background"):
        difference = (getattr(one, name) - getattr(other, name).cpu()).abs()
        assert difference.mean() < 2e-3, name
    assert torch.equal(one.order, other.order.cpu())
    clips = held_out_clips(32, 32, 1, "cuda")
    assert clips[0].solo.is_cuda
