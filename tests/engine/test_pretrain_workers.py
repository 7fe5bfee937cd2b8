"""Two processes on the CPU, as torchrun starts them, against one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from penumbra.training.pretrain import PretrainSettings, Trainer
from penumbra.training.scene_pool import PoolSettings

# Three windows: one process gets two of them, the other one.
SETTINGS = PretrainSettings(
    steps=2,
    batch=6,
    precision="float32",
    clip_norm=None,
    effect_weight=2.0,
    evaluate_every=0,
    log_every=1,
    board=False,
    pool=PoolSettings(32, 32, group=2, groups=3, steps_per_group=2, start=3, objects=(1, 0, 0)),
)

PROCESS = """
import os, sys
from pathlib import Path
import torch
from penumbra.training.pretrain import pretrain, settings_from_json, Trainer
from penumbra.training.pretrain.workers import joined_workers
folder, rank = Path(sys.argv[1]), os.environ["RANK"]
torch.set_num_threads(1)
settings = settings_from_json((folder / "settings.json").read_text())
with joined_workers("cpu") as workers:
    trainer = Trainer(settings, workers)
    for module in trainer.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    figures = trainer.train_step()
    trainer.close()
    gradients = {name: p.grad for name, p in trainer.network.named_parameters()}
    # Each in a folder of its own, which only the one that may write will make.
    trained = pretrain(folder / ("run" + rank), settings)
    torch.save((figures, gradients, trained.network.state_dict()), folder / ("result" + rank))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[dict, dict, dict]]]:
    folder = tmp_path_factory.mktemp("workers")
    (folder / "settings.json").write_text(SETTINGS.to_json())
    (folder / "process.py").write_text(PROCESS)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "process.py", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, [torch.load(folder / f"result{rank}", weights_only=True) for rank in range(2)]


def test_gradients_of_two_processes_are_those_of_one_at_the_same_batch(results):
    alone = Trainer(SETTINGS)
    for module in alone.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    figures = alone.train_step()
    alone.close()
    largest = max(float(p.grad.abs().max()) for p in alone.network.parameters())
    for other, gradients, _ in results[1]:
        for name, parameter in alone.network.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=largest * 1e-5, msg=name)
        for name in ("loss", "recon", "mask", "norm"):
            assert other[name] == pytest.approx(figures[name], rel=1e-4)


def test_both_processes_end_with_the_same_weights(results):
    one, other = (weights for _, _, weights in results[1])
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_only_the_first_process_writes(results):
    folder = results[0]
    written = {path.name for path in (folder / "run0").iterdir()}
    assert written == {"settings.json", "checkpoint.pt", "ema.safetensors", "log.jsonl"}
    assert not (folder / "run1").exists()
    assert len((folder / "run0" / "log.jsonl").read_text().splitlines()) == 2
