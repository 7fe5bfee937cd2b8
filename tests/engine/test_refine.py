"""Refinement on a clip: what counts, where it starts, and that it goes on where it was stopped."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.tiny_clip import tiny_job, write_clip
from penumbra.color import DisplayEncoding
from penumbra.contract import ModelContract
from penumbra.errors import OutOfMemoryError
from penumbra.frames import WorkingClip
from penumbra.job import RefineSettings
from penumbra.network import LayerNetwork, NetworkSize, load_weights, seeded_network
from penumbra.pipeline import run
from penumbra.training import devices, muon, tune
from penumbra.training import refine as refinement
from penumbra.training.muon import Muon, orthogonalised
from penumbra.training.refine import EFFECT_WEIGHT, Batch, _Trainer, batch_weights, gather_batch, refine
from penumbra.write import load_manifest

WEIGHTS = Path(refinement.__file__).parents[1] / "weights" / "weights.safetensors"
SIZE = 32


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refinement, "LARGEST_BATCH", 8)


@pytest.fixture
def clip() -> WorkingClip:
    """A square that wanders with a shadow at its right, eight frames."""
    count = 8
    background = np.full((count, SIZE, SIZE, 3), 0.7, np.float32)
    frames, masks = background.copy(), np.zeros((count, 1, SIZE, SIZE), np.float32)
    for t in range(count):
        x = 3 + 2 * t
        masks[t, 0, 12:20, x : x + 5] = 1
        frames[t, 12:20, x : x + 5] = (0.2, 0.4, 0.8)
        frames[t, 14:20, x + 5 : x + 10] *= 0.5
    valid = np.ones((count, SIZE, SIZE), np.float32)
    order = np.zeros((count, 1), np.int64)
    names, encoding = ("square",), DisplayEncoding(1.0)
    return WorkingClip(tuple(range(count)), names, frames, masks, background, valid, valid, order, encoding)


def test_effects_outside_masks_count_more(clip: WorkingClip) -> None:
    batch = gather_batch(clip, np.arange(5)[None], np.array([[2]]), "cpu")
    weights = batch_weights(batch)[0, 0, 0]
    assert weights[16, 14] == 1 + EFFECT_WEIGHT  # shadow
    assert weights[16, 9] == 1  # the square itself
    assert weights[4, 4] == 1  # nothing
    restless = replace(clip, valid=np.full_like(clip.valid, 0.5))
    assert batch_weights(gather_batch(restless, np.arange(5)[None], np.array([[2]]), "cpu")).max() == 1


def test_what_the_background_does_by_itself_is_not_to_be_explained(clip: WorkingClip) -> None:
    believed = np.ones_like(clip.believed)
    believed[:, :, :12] = 0
    foam = clip.frames.copy()
    foam[:, 24:28, 2:8] = 1.0
    frames = torch.from_numpy(foam.transpose(0, 3, 1, 2)) * 2 - 1
    batch = gather_batch(replace(clip, frames=foam, believed=believed), np.arange(5)[None], np.array([[2, 4]]), "cpu")
    behind = batch.background[0, :, :, :, :12]
    assert torch.equal(batch.explained[0, :, :, :, :12], behind)
    assert torch.equal(batch.explained[0, :, 1, :, 12:], frames[4, :, :, 12:])
    # The network sees all of it all the same.
    assert torch.equal(batch.frames[0, :, 4], frames[4])
    assert batch_weights(batch)[0, 0, :, :, :12].max() == 1


def test_trained_weights_learn_from_the_first_step_on(clip: WorkingClip, tmp_path: Path) -> None:
    network, contract, _ = load_weights(WEIGHTS)
    result = refine(clip, network, contract, RefineSettings(steps=8), 0, tmp_path)
    values = [value for _, value in result.evaluations]
    assert values[-1] < values[0]


@pytest.mark.parametrize(("steps", "trained", "times"), [(20, True, 3), (50, True, 2), (400, True, 1), (20, False, 1)])
def test_few_steps_are_taken_faster_by_weights_that_know_something(
    clip: WorkingClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, trained: bool, times: float
) -> None:
    monkeypatch.setattr(refinement, "learning_rate_factor", lambda step, share: 1.0)
    network, contract = seeded_network(0, NetworkSize(2, 2)), ModelContract(height=SIZE, width=SIZE)
    trainer = refinement._Trainer(clip, network, contract, RefineSettings(steps=steps), 0, "cpu", trained)
    trainer.advance()
    slow = refinement.TRAINED_RATE if trained else refinement.LEARNING_RATE
    assert [group["lr"] for group in trainer.optimiser.param_groups] == pytest.approx([times * slow] * 2)


@pytest.mark.parametrize(
    ("settings", "trained", "made"),
    [
        (RefineSettings(minutes=60), True, 3),
        (RefineSettings(minutes=1e-9), True, 1),
        (RefineSettings(minutes=1e-9), False, 1),
        (RefineSettings(steps=5), True, 5),
    ],
    ids=["an hour", "no time", "no time, random weights", "steps asked for"],
)
def test_trained_weights_make_so_many_steps_at_most_in_what_time_they_are_given(
    clip: WorkingClip,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: RefineSettings,
    trained: bool,
    made: int,
) -> None:
    monkeypatch.setattr(refinement, "MOST_STEPS", 3)
    network, contract = seeded_network(0, NetworkSize(2, 2)), ModelContract(height=SIZE, width=SIZE)
    told: list[refinement.RefineProgress] = []
    result = refine(
        clip, network, contract, settings, 0, tmp_path, on_progress=lambda one, _: told.append(one), trained=trained
    )
    assert result.steps == made
    assert told[-1].step == made
    assert all(progress.total <= max(made, 100) for progress in told)
    if trained and settings.minutes == 60:
        assert [progress.total for progress in told] == [3, 3, 3]


def test_random_weights_go_on_as_long_as_they_are_given(
    clip: WorkingClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refinement, "MOST_STEPS", 3)
    network, contract = seeded_network(0, NetworkSize(2, 2)), ModelContract(height=SIZE, width=SIZE)
    made: list[int] = []
    result = refine(
        clip, network, contract, RefineSettings(minutes=60), 0, tmp_path,
        on_progress=lambda progress, _: made.append(progress.step), should_stop=lambda: len(made) == 5, trained=False,
    )  # fmt: skip
    assert result.steps == 5


def test_the_mask_leads_only_weights_that_know_nothing(
    clip: WorkingClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    led: list[float] = []
    loss = refinement._Trainer._loss

    def watched(self: refinement._Trainer, network: LayerNetwork, batch: refinement.Batch, mask: float) -> torch.Tensor:
        led.append(mask)
        return loss(self, network, batch, mask)

    monkeypatch.setattr(refinement._Trainer, "_loss", watched)
    network = seeded_network(1, NetworkSize(2, 2))
    for trained in (True, False):
        led.clear()
        folder = tmp_path / str(trained)
        folder.mkdir()
        refine(
            clip, copy.deepcopy(network), ModelContract(height=SIZE, width=SIZE), RefineSettings(steps=2), 0, folder,
            trained=trained,
        )  # fmt: skip
        assert max(led) == pytest.approx(0.001 if trained else 0.1)


def test_a_stopped_refinement_ends_as_one_left_alone(clip: WorkingClip, tmp_path: Path) -> None:
    def run(folder: Path, stop_after: int | None) -> dict[str, torch.Tensor]:
        folder.mkdir(exist_ok=True)
        seen = [0]

        def count(progress: object, network: LayerNetwork) -> None:
            seen[0] += 1

        network = seeded_network(1, NetworkSize(2, 2))
        result = refine(
            clip, network, ModelContract(height=SIZE, width=SIZE), RefineSettings(steps=4), 0, folder, "cpu", count,
            lambda: stop_after is not None and seen[0] >= stop_after,
        )  # fmt: skip
        return result.network.state_dict()

    whole = run(tmp_path / "whole", None)
    run(tmp_path / "stopped", 2)
    resumed = run(tmp_path / "stopped", None)
    assert all(torch.allclose(whole[name], resumed[name], atol=1e-6) for name in whole)


def test_orthogonal_steps_have_singular_values_near_one() -> None:
    matrix = torch.randn(24, 96, generator=torch.Generator().manual_seed(0))
    for one in (matrix, matrix.T):
        values = torch.linalg.svdvals(orthogonalised(one))
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


def test_both_ways_to_orthogonal_steps_agree() -> None:
    matrices = torch.randn(3, 24, 96, generator=torch.Generator().manual_seed(1))
    # A matrix of low rank is the hard case: its small singular values are nothing but rounding.
    matrices[1] = matrices[1, :, :2] @ matrices[1, :2]
    plain, by_gram = muon._iterated(matrices), muon._iterated_by_gram(matrices)
    assert float((plain - by_gram).abs().max()) < 1e-3


def test_muon_takes_up_its_own_state() -> None:
    def step(network: LayerNetwork, optimiser: Muon, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=random)
        optimiser.step()

    first = seeded_network(1, NetworkSize(2, 2))
    second = copy.deepcopy(first)
    left, before = Muon(first, 1e-3), Muon(second, 1e-3)
    step(first, left, 0)
    step(second, before, 0)
    after = Muon(second, 1e-3)
    after.load_state_dict(before.state_dict())
    step(first, left, 1)
    step(second, after, 1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_step_that_does_not_fit_into_memory_is_taken_in_parts(
    clip: WorkingClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limited(trainer: _Trainer, network: LayerNetwork, batch: Batch, mask_weight: float) -> torch.Tensor:
        if len(batch.frames) > room[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        sizes.append(len(batch.frames))
        return loss(trainer, network, batch, mask_weight)

    loss, sizes, room = _Trainer._loss, [], [8]
    monkeypatch.setattr(_Trainer, "_loss", limited)
    values = {}
    for most in (8, 3, 1):
        room[0] = most
        network = seeded_network(0, NetworkSize(2, 2))
        made = refine(clip, network, ModelContract(height=SIZE, width=SIZE), RefineSettings(steps=2), 0, tmp_path)
        values[most] = made.evaluations[0][1]
        (tmp_path / refinement.CHECKPOINT_NAME).unlink()
    assert max(sizes) == 8
    assert {2, 1} <= set(sizes)
    assert values[3] == pytest.approx(values[8], rel=0.02)
    assert values[1] == pytest.approx(values[8], rel=0.02)
    room[0] = 0
    with pytest.raises(OutOfMemoryError, match="refine a single window"):
        refine(clip, network, ModelContract(height=SIZE, width=SIZE), RefineSettings(steps=2), 0, tmp_path)


def test_want_of_memory_beside_the_windows_is_said_too(
    clip: WorkingClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(optimiser: Muon) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Muon, "step", full)
    network = seeded_network(0, NetworkSize(2, 2))
    with pytest.raises(OutOfMemoryError, match="not enough memory on cpu to refine"):
        refine(clip, network, ModelContract(height=SIZE, width=SIZE), RefineSettings(steps=2), 0, tmp_path)


@pytest.mark.parametrize("has", [True, False])
def test_bfloat16_is_used_only_where_the_device_has_it(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: has)
    with devices.network_arithmetic("cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if has else torch.float32)
    with devices.network_arithmetic("cpu", wanted=False):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("able", "gains"), [({"avx512_bf16": True, "amx_bf16": False}, False), ({"amx_bf16": True}, True), ({}, True)]
)
def test_bfloat16_is_no_gain_on_an_x86_processor_without_tiles(
    able: dict[str, object], gains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_capabilities", lambda: able)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert devices.has_bfloat16.__wrapped__("cpu") is gains


def test_refinement_on_a_device_without_memory_goes_on_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limited(trainer: _Trainer, network: LayerNetwork, batch: Batch, mask_weight: float) -> torch.Tensor:
        if devices and devices.pop():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return loss(trainer, network, batch, mask_weight)

    # A device that is the CPU under another name: only what happens when it has no memory is made up.
    loss, devices = _Trainer._loss, [True] * 5
    monkeypatch.setattr(_Trainer, "_loss", limited)
    monkeypatch.setattr(tune, "training_device", lambda asked: "mps")
    monkeypatch.setattr(tune, "refine", on_the_cpu_all_the_same)
    write_clip(tmp_path)
    run(tiny_job(tmp_path, steps=2), lambda event: None)
    manifest = load_manifest(tmp_path / "out")
    assert manifest["weights"]["refine_steps"] == 2
    assert [text for text in manifest["warnings"] if "goes on on the CPU" in text]


def on_the_cpu_all_the_same(*arguments: Any, **options: Any) -> Any:
    return refine(*("cpu" if argument == "mps" else argument for argument in arguments), **options)
