"""The refine stage as the pipeline calls it: weights in, graphs tuned to the shot out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from penumbra.compositing import over, premultiply
from penumbra.contract import ModelContract
from penumbra.errors import OutOfMemoryError, Stopped
from penumbra.events import Event
from penumbra.frames import WorkingClip
from penumbra.job import Job
from penumbra.network import LayerNetwork, NetworkSize, load_weights, save_weights, seeded_network
from penumbra.reporting import Reporter
from penumbra.storage import atomic_path
from penumbra.training.devices import training_device
from penumbra.training.export import export_graphs
from penumbra.training.refine import RefineProgress, gather_batch, refine

PREVIEW_NAME = "refine_preview.png"


def tune(clip: WorkingClip, weights: Path | None, job: Job, folder: Path, graphs: Path, report: Reporter) -> int:
    """Refines ``weights`` (None: random ones) on the clip as the job asks and exports the graphs; returns the steps.

    Leaves ``refined.safetensors`` and the refinement's checkpoint in ``folder``. Raises :class:`Stopped` when asked to
    stop before the end; the best weights so far are kept there all the same, and the next call goes on from the step
    reached.
    """
    # Sums are repeatable to the bit on one machine with one number of threads ($OMP_NUM_THREADS, else its cores).
    torch.use_deterministic_algorithms(True, warn_only=True)
    network, contract = _start(weights, job, clip)
    steps = 0
    if not job.refine.off:
        device = training_device(job.model.device)
        try:
            steps = _refine(clip, network, contract, job, folder, report, device, weights is not None)
        except OutOfMemoryError as error:
            if device == "cpu" or job.model.device != "auto":
                raise
            report.warn(f"{error.sentence} Refinement goes on on the CPU, which takes longer.")
            network, contract = _start(weights, job, clip)
            steps = _refine(clip, network, contract, job, folder, report, "cpu", weights is not None)
        save_weights(network, folder / "refined.safetensors", contract, {"refined_steps": str(steps)})
        if report.should_stop():
            raise Stopped(f"Stopped after {steps} refinement steps.", "Add --resume to go on from there.")
    graphs.mkdir(exist_ok=True)
    export_graphs(network.to("cpu"), contract, graphs)
    return steps


def _refine(
    clip: WorkingClip, network: LayerNetwork, contract: ModelContract, job: Job, folder: Path, report: Reporter,
    device: str, trained: bool,
) -> int:  # fmt: skip
    """Refines ``network`` in place on a device, or goes on where it stopped; the steps made."""

    def tell(progress: RefineProgress, current: LayerNetwork) -> None:
        figures = {"loss": progress.loss}
        if progress.evaluation is not None:
            figures["evaluation"] = progress.evaluation
        report.progress(progress.step, max(progress.total, progress.step), figures)
        if progress.improved:
            path = folder / PREVIEW_NAME
            _draw(clip, current, contract, device, path, report.preview_frame)
            report.emit(Event("preview", "refine", progress.step, progress.total, path=str(path)))

    settings, seed = job.refine, job.model.seed
    return refine(
        clip, network, contract, settings, seed, folder, device, tell, report.should_stop, trained=trained
    ).steps


def _start(weights: Path | None, job: Job, clip: WorkingClip) -> tuple[LayerNetwork, ModelContract]:
    if weights is not None:
        network, contract, _ = load_weights(weights)
        return network, contract
    height, width = clip.frames.shape[1:3]
    size = NetworkSize(grid_height=height // 16, grid_width=width // 16)
    return seeded_network(job.model.seed, size), ModelContract(height=height, width=width)


@torch.no_grad()
def _draw(
    clip: WorkingClip, network: LayerNetwork, contract: ModelContract, device: str, path: Path, frame: int | None
) -> None:
    """The frame asked for (None: the middle one) and its layers over a checkerboard, as the network sees them now."""
    count = len(clip.numbers)
    window = min(contract.window, count)
    shown = clip.numbers.index(frame) if frame in clip.numbers else count // 2
    start = max(0, min(shown - window // 2, count - window))
    target = shown - start
    batch = gather_batch(clip, start + np.arange(window)[None], np.array([[target]]), device)
    network.eval()
    rgba = network(batch.frames, batch.masks, batch.visible, batch.targets)[0, :, :, 0].float().cpu().numpy()
    tiles = [clip.frames[start + target]]
    height, width = tiles[0].shape[:2]
    board = np.where((np.add.outer(np.arange(height) // 8, np.arange(width) // 8) % 2)[..., None], 0.35, 0.55)
    for layer in rgba.transpose(1, 2, 3, 0) * 0.5 + 0.5:
        tiles.append(over(premultiply(layer.astype(np.float32)), board.astype(np.float32)))
    picture = np.clip(np.concatenate(tiles, axis=1), 0, 1) * 255
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), np.ascontiguousarray(picture[..., ::-1].astype(np.uint8)))
