"""What only a CUDA device can show: ``pytest -m gpu tests/engine/test_gpu.py``. Torch, numpy, OpenCV, onnx suffice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from penumbra.color import DisplayEncoding
from penumbra.contract import ModelContract
from penumbra.errors import OutOfMemoryError
from penumbra.frames import WorkingClip
from penumbra.job import RefineSettings
from penumbra.network import NetworkSize, seeded_network
from penumbra.network.blocks import InstanceNorm
from penumbra.training.pretrain import Stage, Trainer, preset, pretrain
from penumbra.training.pretrain.checkpoint import restore
from penumbra.training.pretrain.held_out import held_out_clips
from penumbra.training.refine import refine
from penumbra.training.scenes import SceneSettings, render, sample_scenes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]


def working_clip(height: int, width: int, frames: int = 12, objects: int = 2) -> WorkingClip:
    """A rendered clip as refinement takes it."""
    scenes = sample_scenes(SceneSettings(height, width, frames, objects, "shadows"), 4, 1)
    clip = render(scenes, height, width)
    images = [part[0].permute(0, 2, 3, 1).contiguous().numpy() for part in (clip.frames, clip.background)]
    return WorkingClip(
        frames=images[0],
        background=images[1],
        valid=np.ones((frames, height, width), np.float32),
        believed=np.ones((frames, height, width), np.float32),
        masks=clip.masks[0].contiguous().numpy(),
        order=clip.order[0].numpy(),
        numbers=tuple(range(1, frames + 1)),
        names=tuple(f"object{k}" for k in range(objects)),
        encoding=DisplayEncoding(),
    )


def test_the_gpu_preset_trains_through_its_stages_and_resumes(tmp_path: Path):
    full = preset("gpu")
    pool = replace(full.pool, group=4, groups=8, start=6, samplers=2)
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
    on_cpu = Trainer(
        replace(settings, device="cpu", compile=False, channels_last=False, pool=replace(pool, samplers=0))
    )
    restore(on_cpu, tmp_path)
    on_cpu.close()
    assert on_cpu.step == 8


def test_the_gpu_renders_what_the_cpu_renders():
    scenes = sample_scenes(SceneSettings(64, 64, 5, 3, "both", 2), 1, 4)
    one, other = render(scenes, 64, 64), render(scenes.to("cuda"), 64, 64)
    for name in ("frames", "masks", "background"):
        difference = (getattr(one, name) - getattr(other, name).cpu()).abs()
        assert difference.mean() < 2e-3, name
    assert torch.equal(one.order, other.order.cpu())
    clips = held_out_clips(32, 32, 1, "cuda")
    assert clips[0].solo.is_cuda


def test_the_norm_stays_in_bfloat16_and_means_the_same():
    norm = InstanceNorm(8)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    features = torch.randn(3, 8, 16, 16) * 3 + 1
    expected = norm(features)
    with torch.autocast("cuda", torch.bfloat16):
        found = norm.cuda()(features.cuda().bfloat16())
    assert found.dtype == torch.bfloat16
    assert float((found.float().cpu() - expected).abs().max()) < 0.06


def test_the_gpu_and_the_cpu_predict_the_same():
    network = seeded_network(1, NetworkSize(4, 4)).eval()
    frames, masks = torch.rand(1, 3, 5, 64, 64) * 2 - 1, torch.rand(1, 2, 5, 64, 64).round() * 2 - 1
    visible = torch.tensor([[1.0, 0, 1, 1, 1]])
    with torch.no_grad():
        expected = network(frames, masks, visible)
        found = network.cuda()(frames.cuda(), masks.cuda(), visible.cuda()).cpu()
    assert float((expected - found).abs().max()) < 5e-3


def test_refinement_learns_on_the_gpu_and_resumes(tmp_path: Path):
    clip, losses = working_clip(64, 64), []

    def run(steps: int):
        network, contract = seeded_network(1, NetworkSize(4, 4)), ModelContract(height=64, width=64)
        return refine(
            clip, network, contract, RefineSettings(steps=steps), 0, tmp_path, "cuda",
            lambda progress, _: losses.append(progress.loss), trained=False,
        )  # fmt: skip

    assert run(6).steps == 6
    assert run(30).steps == 30
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.8 * losses[0]


def test_a_gpu_without_room_refines_in_parts_and_says_when_there_is_none(tmp_path: Path):
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    clip = working_clip(128, 224)

    def run(mebibytes: int) -> int:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + mebibytes * 2**20) / total)
        network, contract = seeded_network(1, NetworkSize(8, 14)), ModelContract(height=128, width=224)
        return refine(clip, network, contract, RefineSettings(steps=2), 0, tmp_path / str(mebibytes), "cuda").steps

    try:
        for name in ("2000", "60"):
            (tmp_path / name).mkdir()
        # All 32 windows at once take several times as much.
        assert run(2000) == 2
        with pytest.raises(OutOfMemoryError, match="memory on cuda"):
            run(60)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
