"""What a GPU reaches in pretraining: objects a second and memory by size and batch, and what scenes cost beside it.

    python benchmarks/pretraining_gpu.py [--samplers 12] [--seconds 20] [--steps 12] [--profile] [--compiled]

First a run's own pace, scenes drawn, rendered and waited for (the share of the time spent waiting says whether scenes
keep up: measure that before a long run), then steps alone from a pool that is never renewed. Each figure after a
warm-up. Measured figures are kept in benchmarks/README.md.
"""

import argparse
import time
from dataclasses import replace

import torch

from penumbra.training.pretrain import Trainer, preset
from penumbra.training.scene_pool import PoolSettings

GROUP = 32


def settings(height, width, batch, channels_last, compiled=False):
    pool = PoolSettings(height, width, 8, 6, 10**9, 6, clean=0.5, objects=(0.3, 0.4, 0.3))
    return replace(
        preset("gpu"), batch=batch, channels_last=channels_last, compile=compiled, pool=pool, stages=(), board=False
    )


def measure(title, chosen, steps, profile=False):
    torch.cuda.reset_peak_memory_stats()
    trainer = Trainer(chosen)
    began = time.perf_counter()
    for _ in range(6):
        trainer.train_step()
    torch.cuda.synchronize()
    warm = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(steps):
        trainer.train_step()
    told = time.perf_counter() - began
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - began) / steps
    memory = torch.cuda.max_memory_allocated() / 2**30
    print(
        f"{title}: {seconds * 1e3:.1f} ms a step ({told / steps * 1e3:.1f} to tell), "
        f"{chosen.batch / seconds:.0f} objects a second, {memory:.1f} GiB, {warm:.1f} s to warm up",
        flush=True,
    )
    if profile:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as found:
            for _ in range(4):
                trainer.train_step()
            torch.cuda.synchronize()
        print(found.key_averages().table(sort_by="cuda_time_total", row_limit=22, max_name_column_width=60), flush=True)
    trainer.close()
    del trainer
    torch.cuda.empty_cache()


def pace(height, width, batch, samplers, seconds):
    """A run as it is, scenes and all."""
    pool = PoolSettings(
        height, width, GROUP, 160, 3, 12, clean=0.5, objects=(0.3, 0.4, 0.3), wide=0.4, samplers=samplers
    )
    began = time.perf_counter()
    trainer = Trainer(replace(settings(height, width, batch, False), pool=pool))
    for _ in range(10):
        trainer.train_step()
    warm, began = time.perf_counter() - began, time.perf_counter()
    first, waited = trainer.step, 0.0
    while time.perf_counter() - began < seconds:
        waited += trainer.train_step()["waited"]
    spent, steps = time.perf_counter() - began, trainer.step - first
    print(
        f"{height}x{width}, batch {batch}, {samplers} samplers: {steps / spent:.2f} steps a second, "
        f"{waited / spent:.0%} of the time waiting, {steps / 3 * GROUP / spent:.0f} clips a second; "
        f"{warm:.1f} s until the tenth step",
        flush=True,
    )
    trainer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samplers", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--compiled", action="store_true")
    options = parser.parse_args()
    print(torch.cuda.get_device_name(), torch.__version__)
    if options.seconds:
        pace(64, 64, 640, options.samplers, options.seconds)
        pace(128, 128, 256, options.samplers, options.seconds)
    for size, batches in (((64, 64), (160, 320, 640)), ((128, 128), (96, 192, 384))):
        for batch in batches:
            measure(f"{size[0]}x{size[1]}, batch {batch}", settings(*size, batch, False), options.steps)
        title = f"{size[0]}x{size[1]}, batch {batches[1]}, channels last"
        measure(title, settings(*size, batches[1], True), options.steps, options.profile)
    if options.compiled:
        measure("128x128, batch 192, compiled", settings(128, 128, 192, True, True), options.steps)


if __name__ == "__main__":
    main()
