from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from penumbra.contract import ModelContract
from penumbra.errors import DeviceError, JobError, Stopped, WeightsError
from penumbra.network import NetworkSize, load_weights, save_weights, seeded_network
from penumbra.training.batch_source import BatchSource
from penumbra.training.pretrain import (
    PRESET_NAMES,
    DivergedError,
    PretrainSettings,
    Stage,
    Trainer,
    preset,
    pretrain,
    settings_from_json,
)
from penumbra.training.pretrain.checkpoint import restore, save
from penumbra.training.pretrain.resizing import resized_network
from penumbra.training.pretrain.schedule import learning_rate, stage_at
from penumbra.training.pretrain.trainer import batch_weights
from penumbra.training.scene_pool import PoolSettings, group_scenes
from penumbra.training.scenes import SceneSettings, render, render_solo, sample_scenes
from penumbra.training.scoring import TruthClip, changed, predict_layers, score_layers

POOL = PoolSettings(32, 32, group=2, groups=4, steps_per_group=1, start=4)
TINY = PretrainSettings(
    steps=4,
    batch=6,
    warm_up=2,
    precision="float32",
    evaluate_every=0,
    log_every=1,
    checkpoint_minutes=100,
    board=False,
    pool=POOL,
)
TWO_STAGES = replace(TINY, stages=(Stage(32, 32, 1.0), Stage(32, 48, 1.0, batch=4, learning_rate=5e-4)))
# As runs of before there were stages, devices and clips wrote them.
OLD_SETTINGS = """{"seed": 1, "steps": 2400, "minutes": 81.0, "batch": 30, "learning_rate": 0.001, "final_rate": 0.02,
 "warm_up": 150, "weight_decay": 0.0001, "clip_norm": 1.0, "ema": 0.998, "precision": "bfloat16",
 "checkpoint_minutes": 5, "evaluate_every": 200, "log_every": 10, "pool": {"height": 64, "width": 64, "group": 8,
 "groups": 64, "steps_per_group": 4, "start": 16, "clean": 0.6, "pan": 0.1, "estimated": 0.25}}"""


@pytest.fixture(scope="module")
def source() -> Iterator[BatchSource]:
    made = BatchSource(POOL, 1)
    yield made
    made.close()


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


@pytest.mark.parametrize("settings", [TINY, TWO_STAGES, *map(preset, PRESET_NAMES)])
def test_settings_survive_json(settings: PretrainSettings):
    assert settings_from_json(settings.to_json()) == settings


def test_settings_of_older_runs_are_understood():
    settings = settings_from_json(OLD_SETTINGS)
    assert settings.minutes == 81
    assert settings.device == "cpu"
    assert settings.all_stages == (Stage(64, 64),)
    assert settings.pool.objects == (0.6, 0.4, 0.0)


def test_the_paper_preset_holds_the_published_numbers():
    paper = preset("paper")
    assert (paper.learning_rate, paper.weight_decay, paper.optimiser) == (1e-3, 1e-4, "adamw")
    assert paper.batch / 2 == 128
    assert paper.pool.objects == (1, 0, 0)
    assert (paper.pool.height, paper.pool.width, paper.steps) == (128, 224, 60_000)
    assert paper.hiding == "ends"
    assert learning_rate(paper, 59_999) == learning_rate(paper, 0) == 1e-3


@pytest.mark.parametrize(
    "text",
    [
        '{"speed": 1}', '{"pool": {"depth": 1}}', "{", "[]", '{"pool": 3}', '{"stages": [{"height": 64}]}',
    ],
)  # fmt: skip
def test_settings_that_are_not_understood_are_refused(text: str):
    with pytest.raises(JobError, match="pretraining settings"):
        settings_from_json(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"precision": "half"}', "precision 'half'"),
        ('{"batch": 0}', "batch 0"),
        ('{"stages": [{"height": 60, "width": 64}]}', "60x64"),
        ('{"stages": [{"height": 64, "width": 64, "batch": 0}]}', "batch of 0"),
        ('{"stages": [{"height": 64, "width": 64, "learning_rate": -1}]}', "learning rate of -1"),
        ('{"learning_rate": 0}', "learning_rate 0"),
        ('{"minutes": 0}', "minutes 0"),
        ('{"clip_norm": -1}', "clip_norm -1"),
        ('{"seed": -1}', "seed -1"),
        ('{"seed": 9223372036854775807}', "seed 9223372036854775807"),
        ('{"weight_decay": -1}', "weight_decay -1"),
        ('{"ema": 2}', "ema 2"),
        ('{"effect_weight": -5}', "effect_weight -5"),
        ('{"pool": {"pan": 7}}', "share of 7 groups with a pan"),
        ('{"pool": {"clean": -2}}', "share of -2 clean groups"),
        ('{"pool": {"samplers": -2}}', "-2 samplers"),
        ('{"pool": {"objects": [0, 0, 0]}}', "objects"),
        ('{"clips": {"folders": [], "share": 0.5}}', "no folder"),
        ('{"clips": {"folders": ["a"], "share": 2}}', "share of 2"),
    ],
)
def test_impossible_settings_are_refused(text: str, sentence: str):
    with pytest.raises(JobError, match=sentence):
        settings_from_json(text)


def test_an_absent_device_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match="cuda"):
        Trainer(replace(TINY, device="cuda"))


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


def test_stages_follow_each_other_by_their_shares():
    assert [stage_at(TWO_STAGES, done) for done in (0, 0.49, 0.5, 1)] == [0, 0, 1, 1]
    rates = [learning_rate(TWO_STAGES, step, 0, step // 50, step // 50 * 50) for step in (49, 50, 51)]
    assert rates[1] < rates[2] < rates[0]


def test_batches_depend_on_the_step_alone(source: BatchSource):
    for step in range(3):
        last = source.batch(step, 6)
    jumped = BatchSource(POOL, 1).batch(2, 6)
    assert all(torch.equal(getattr(last, f), getattr(jumped, f)) for f in last.__dataclass_fields__)


def test_processes_share_a_batch_without_overlap(source: BatchSource):
    whole = source.batch(2, 8)
    parts = [source.batch(2, 8, part, 2) for part in range(2)]
    for part in range(2):
        assert torch.equal(parts[part].frames, whole.frames[part::2])
        assert torch.equal(parts[part].targets, whole.targets[part::2])
    with pytest.raises(JobError, match="does not reach 9 processes"):
        source.batch(2, 8, 0, 9)


def test_a_batch_hides_its_targets_and_keeps_to_its_ranges(source: BatchSource):
    for step in range(4):
        batch = source.batch(step, 6)
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
    weights = (0.45, 0.35, 0.2)
    groups = [group_scenes(replace(POOL, objects=weights), 1, g) for g in range(60)]
    assert {g.kind for g in groups} == {"shadows", "reflections", "both"}
    for count, weight in zip((2, 3, 4), weights, strict=True):
        assert sum(g.objects == count for g in groups) == pytest.approx(60 * weight, abs=1.01)
        # Every count within any dozen groups: a small pool must not lack one for long.
        assert all(count in {g.objects for g in groups[i : i + 12]} for i in range(48))
    assert {g.version for g in groups} == {1, 2}
    assert 0 < sum(g.rough_masks for g in groups) < 40


def test_windows_of_four_objects_are_drawn():
    batch = BatchSource(replace(POOL, objects=(0, 0, 1), start=2, groups=2), 1).batch(0, 8)
    assert batch.masks.shape[:2] == (2, 4)


def test_effects_outside_the_masks_count_more_unless_the_background_moves(source: BatchSource):
    batch = source.batch(0, 6)
    still = batch_weights(replace(batch, restless=torch.zeros_like(batch.restless)), 3.0)
    outside = (batch.target_masks > 0).any(1, keepdim=True).logical_not()
    assert still.unique().tolist() == [1, 4]
    assert (still[~outside] == 1).all()
    difference = (batch.target_frames - batch.background).abs().amax(1, keepdim=True)
    assert difference[still == 4].min() > 4 / 255
    assert (batch_weights(replace(batch, restless=torch.ones_like(batch.restless)), 3.0) == 1).all()


@pytest.mark.parametrize("settings", [TINY, replace(TWO_STAGES, optimiser="muon")], ids=["one size", "two stages"])
def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path, settings: PretrainSettings):
    whole = pretrain(tmp_path / "whole", settings)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "settings.json").write_text(settings.to_json())
    first = Trainer(settings)
    first.train_step()
    save(first, tmp_path / "broken")
    first.train_step()
    resumed = pretrain(tmp_path / "broken", None)
    assert resumed.step == 4
    for one, other in ((whole.network, resumed.network), (whole.mean, resumed.mean)):
        for name, value in one.state_dict().items():
            torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=1e-6, msg=name)


def test_a_run_stopped_in_its_second_stage_goes_on_there(tmp_path: Path):
    steps = iter(range(10))
    with pytest.raises(Stopped, match="3 steps"):
        pretrain(tmp_path, TWO_STAGES, should_stop=lambda: next(steps) == 2)
    assert load_weights(tmp_path / "ema.safetensors")[1].width == 48
    resumed = Trainer(TWO_STAGES)
    restore(resumed, tmp_path)
    assert (resumed.step, resumed.stage, resumed.stage_start) == (3, 1, 2)
    assert resumed.network.size == NetworkSize(2, 3)
    moments = [s["exp_avg"].shape for s in resumed.optimiser.state_dict()["state"].values()]
    assert moments == [p.shape for p in resumed.network.parameters()]
    resumed.train_step()
    # Made longer, it would be in its first stage by the count, and stays where it is.
    resumed.settings = replace(TWO_STAGES, steps=100)
    resumed.train_step()
    assert resumed.stage == 1


def test_a_run_that_could_not_begin_takes_other_settings(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"no weights at .*gone\.safetensors"):
        pretrain(tmp_path / "run", replace(TINY, steps=1, start=str(tmp_path / "gone.safetensors")))
    assert pretrain(tmp_path / "run", replace(TINY, steps=1)).step == 1


@pytest.mark.parametrize("content", [b"", b"half a file", None])
def test_a_damaged_checkpoint_is_called_damaged(tmp_path: Path, content: bytes | None):
    pretrain(tmp_path, replace(TINY, steps=1))
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(WeightsError, match=r"checkpoint\.pt is damaged\. Start another run from the last weights"):
        pretrain(tmp_path, replace(TINY, steps=2))


def test_a_full_disk_is_said_and_leaves_the_last_state(tmp_path: Path):
    code = """
import resource, sys, torch
from pathlib import Path
from penumbra.training.saved import save_state
path = Path(sys.argv[1])
save_state({"weights": torch.ones(100)}, path)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    save_state({"weights": torch.zeros(1_000_000)}, path)
except OSError as error:
    print(error.strerror)
"""
    path = tmp_path / "state.pt"
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "File too large"
    assert torch.load(path, weights_only=True)["weights"].sum() == 100
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_of_before_there_were_stages_is_read(tmp_path: Path):
    trainer = Trainer(TINY)
    trainer.train_step()
    old = {key: value for key, value in trainer.state().items() if key not in ("stage", "stage_start", "best")}
    torch.save(old, tmp_path / "checkpoint.pt")
    resumed = Trainer(TINY)
    restore(resumed, tmp_path)
    assert resumed.step == 1
    one, other = resumed.train_step(), trainer.train_step()
    assert one["loss"] == pytest.approx(other["loss"], abs=1e-6)


def test_resized_embeddings_keep_their_ends_and_everything_else():
    network = seeded_network(3, NetworkSize(4, 4))
    larger = resized_network(network, 64, 112)
    assert larger.size == NetworkSize(4, 7)
    assert resized_network(network, 64, 64) is network
    table = larger.frame_positions.x
    torch.testing.assert_close(table[[0, -1]], network.frame_positions.x[[0, -1]])
    assert torch.equal(larger.decoder.rgba.weight, network.decoder.rgba.weight)
    assert torch.equal(larger.frame_positions.y, network.frame_positions.y)


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
    fixed = trainer.source.batch(0, 6)
    trainer.source.batch = lambda *_: fixed  # type: ignore[method-assign]
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
        restore(Trainer(TINY), tmp_path)


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


def test_weights_of_another_size_are_resized_to_start_from(tmp_path: Path):
    save_weights(seeded_network(5, NetworkSize(4, 4)), tmp_path / "start.safetensors", ModelContract(), {})
    trainer = Trainer(replace(TINY, start=str(tmp_path / "start.safetensors")))
    assert trainer.network.size == NetworkSize(2, 2)
