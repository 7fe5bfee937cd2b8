from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from penumbra.contract import ModelContract
from penumbra.errors import JobError, WeightsError
from penumbra.network import NetworkSize, load_weights, save_weights, seeded_network
from penumbra.training.pretrain import (
    DivergedError,
    PretrainSettings,
    Trainer,
    learning_rate,
    pretrain,
    settings_from_json,
)
from penumbra.training.scene_pool import PoolSettings, ScenePool, group_scenes
from penumbra.training.scenes import SceneSettings, render, render_solo, sample_scenes
from penumbra.training.scoring import TruthClip, changed, predict_layers, score_layers

POOL = PoolSettings(32, 32, group=2, groups=4, steps_per_group=1, start=4)
TINY = PretrainSettings(
    steps=4, batch=6, warm_up=2, precision="float32", evaluate_every=0, log_every=1, checkpoint_minutes=100, pool=POOL
)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def truth_clip() -> TruthClip:
    scenes = sample_scenes(SceneSettings(32, 32, 5, 2, "shadows"), 8, 1)
    clips = render(scenes, 32, 32)
    solo = torch.stack([render_solo(scenes, k, 32, 32)[0][0] for k in range(2)], 1)
    return TruthClip("one", clips.frames[0], clips.masks[0], clips.background[0], solo)


def test_settings_survive_json():
    assert settings_from_json(TINY.to_json()) == TINY


@pytest.mark.parametrize("text", ['{"speed": 1}', '{"pool": {"depth": 1}}', "{"])
def test_settings_that_are_not_understood_are_refused(text: str):
    with pytest.raises(JobError, match="pretraining settings"):
        settings_from_json(text)


def test_the_learning_rate_rises_then_falls_to_its_share():
    settings = PretrainSettings(steps=100, warm_up=10, learning_rate=1e-3, final_rate=0.1)
    rates = [learning_rate(settings, step) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(1e-4)


def test_the_learning_rate_falls_with_the_minutes_where_they_are_set():
    settings = PretrainSettings(steps=10**6, minutes=60, warm_up=10, learning_rate=1e-3, final_rate=0.1)
    assert learning_rate(settings, 500, 30) == pytest.approx(5.5e-4)
    assert learning_rate(settings, 500, 90) == pytest.approx(1e-4)
    trainer = Trainer(replace(TINY, steps=10**6, minutes=1.0))
    trainer.minutes = 0.9
    assert not trainer.finished
    trainer.minutes = 1.0
    assert trainer.finished


def test_batches_depend_on_the_step_alone():
    straight, jumped = ScenePool(POOL, 1), ScenePool(POOL, 1)
    for step in range(7):
        last = straight.batch(step, 6)
    assert all(torch.equal(getattr(last, f), getattr(jumped.batch(6, 6), f)) for f in last.__dataclass_fields__)


def test_a_batch_hides_its_targets_and_keeps_to_its_ranges():
    pool = ScenePool(POOL, 1)
    for step in range(4):
        batch = pool.batch(step, 6)
        windows, objects = batch.masks.shape[:2]
        assert windows * objects == 6
        assert batch.targets.shape == (windows, 2)
        assert (batch.visible.gather(1, batch.targets) == 0).all()
        assert (batch.visible.sum(1) >= 2).all()
        for part in (batch.frames, batch.masks, batch.background):
            assert part.min() >= -1.00001
            assert part.max() <= 1.00001
        index = batch.targets[:, None, :, None, None].expand(-1, 3, -1, 32, 32)
        assert torch.equal(batch.frames.gather(2, index), batch.target_frames)


def test_groups_of_scenes_vary():
    groups = [group_scenes(POOL, 1, g) for g in range(60)]
    assert {g.kind for g in groups} == {"shadows", "reflections", "both"}
    assert {g.objects for g in groups} == {2, 3}
    assert {g.version for g in groups} == {1, 2}
    assert 0 < sum(g.rough_masks for g in groups) < 40


def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path):
    whole = pretrain(tmp_path / "whole", TINY)
    first = Trainer(TINY)
    first.train_step()
    first.train_step()
    (tmp_path / "broken").mkdir()
    first.save(tmp_path / "broken")
    (tmp_path / "broken" / "settings.json").write_text(TINY.to_json())
    resumed = pretrain(tmp_path / "broken", None)
    assert resumed.step == 4
    for one, other in ((whole.network, resumed.network), (whole.mean, resumed.mean)):
        for name, value in one.state_dict().items():
            torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=1e-6, msg=name)


def test_a_finished_run_leaves_weights_that_load(tmp_path: Path):
    trainer = pretrain(tmp_path, replace(TINY, steps=1))
    network, contract, about = load_weights(tmp_path / "ema.safetensors")
    assert contract.height == 32
    assert about["steps"] == "1"
    for name, value in trainer.mean.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-3, atol=1e-4)
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged[0]["step"] == 1
    assert math.isfinite(logged[0]["loss"])


def test_training_on_one_batch_lowers_its_loss():
    trainer = Trainer(replace(TINY, learning_rate=1e-3, warm_up=1, steps=1000))
    fixed = trainer.pool.batch(0, 6)
    trainer.pool.batch = lambda step, size: fixed  # type: ignore[method-assign]
    losses = [trainer.train_step()["recon"] for _ in range(12)]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


def test_a_loss_that_is_no_number_stops_the_run_with_good_weights():
    trainer = Trainer(TINY)
    with torch.no_grad():
        trainer.network.decoder.rgba.bias.fill_(math.nan)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    with pytest.raises(DivergedError, match="step 0"):
        trainer.train_step()
    assert all(torch.equal(before[n], v) for n, v in trainer.network.state_dict().items() if "rgba.bias" not in n)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path):
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"checkpoint\.pt"):
        Trainer(TINY).restore(tmp_path)


def test_perfect_layers_score_one_and_empty_ones_nothing():
    clip = truth_clip()
    solid = torch.cat([clip.solo, torch.ones_like(clip.solo[:, :, :1])], 2)
    perfect = score_layers(solid, clip)
    assert perfect.effect_iou == perfect.outside_iou == 1
    assert perfect.mask_iou < 1
    empty = score_layers(solid * 0, clip)
    assert empty.effect_iou < 0.2  # frames without the object count as right
    assert empty.outside_iou == 0


def test_the_threshold_is_the_published_one():
    background = torch.zeros(3, 1, 2)
    image = background.clone()
    image[0, 0, 0], image[0, 0, 1] = 7.9 / 255, 8.0 / 255
    assert changed(image, background).tolist() == [[False, True]]


def test_every_frame_is_predicted():
    clip = truth_clip()
    layers = predict_layers(Trainer(TINY).network, clip)
    assert layers.shape == (5, 2, 4, 32, 32)
    assert layers.min() >= 0
    assert layers.max() <= 1


def test_a_run_can_start_from_weights_without_the_early_mask_phase(tmp_path):
    network = seeded_network(5, NetworkSize(2, 2))
    save_weights(network, tmp_path / "start.safetensors", ModelContract(height=32, width=32), {})
    trainer = Trainer(replace(TINY, start=str(tmp_path / "start.safetensors")))
    assert all(map(torch.equal, trainer.network.state_dict().values(), network.state_dict().values()))
