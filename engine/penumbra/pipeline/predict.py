"""The network's stages: refine and decompose, from weights to every object's small layers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from penumbra.arrays import create_array, open_array
from penumbra.color import FloatArray
from penumbra.compositing import over_all, premultiply
from penumbra.decompose import CPU, LayerModels, decompose
from penumbra.errors import JobError, OutOfMemoryError
from penumbra.events import Event
from penumbra.frames import WorkingClip
from penumbra.lift import by_common_fate, by_lasting_shadows
from penumbra.pipeline.scratch import CHECKPOINT
from penumbra.pipeline.shot import Shot
from penumbra.pipeline.weights import SHIPPED_WEIGHTS
from penumbra.storage import flush_files


def make_graphs(shot: Shot, clip: WorkingClip) -> tuple[Path, dict[str, Any]]:
    """The folder of graphs to decompose with, tuned to the shot where the job asks for it, and what they are.

    Raises :class:`JobError` where there are no weights to decompose with.
    """
    settings, model = shot.job.refine, shot.job.model
    shipped = (SHIPPED_WEIGHTS / "layer_decoder.onnx").exists()
    if settings.off and model.weights == "auto":
        if not shipped:
            raise JobError("No weights are shipped with this build.", "Ask for refinement: --refine 5min.")
        return SHIPPED_WEIGHTS, _weights_facts("shipped", SHIPPED_WEIGHTS, 0)
    known = shot.enter("refine", "Learning the shot" if not settings.off else "Preparing the weights", "weights")
    graphs = shot.journal.work / "graphs"
    if known is None:
        # The only door to torch: a run without refinement never imports it.
        from penumbra.training.tune import tune

        source = "random" if model.weights == "auto" and not shipped else model.weights
        weights = SHIPPED_WEIGHTS / "weights.safetensors" if source == "auto" else Path(source)
        steps = tune(clip, None if source == "random" else weights, shot.job, shot.journal.work, graphs, shot.report)
        shot.journal.put("weights", _weights_facts(source, graphs, steps))
    shot.journal.discard([CHECKPOINT])
    return graphs, shot.journal.get("weights")


def _weights_facts(source: str, graphs: Path, steps: int) -> dict[str, Any]:
    state = hashlib.sha256()
    for path in sorted(graphs.glob("*.onnx")):
        state.update(path.read_bytes())
    return {"name": source, "sha256": state.hexdigest(), "refine_steps": steps}


def predict_layers(shot: Shot, clip: WorkingClip, graphs: Path) -> NDArray[np.float32]:
    """Every object's low-resolution layer at every frame: (N, K, h, w, 4) straight RGBA, display-encoded."""
    known = shot.enter("decompose", "Predicting the layers", "low")
    path = shot.journal.work / "low.npy"
    if known is None:
        models = LayerModels.load(graphs, shot.job.model.device)
        try:
            errors = _predict(shot, clip, models, path)
        except OutOfMemoryError:
            if models.provider == CPU or shot.job.model.device != "auto":
                raise
            # All frames anew: layers of one clip come from one device.
            models = LayerModels.load(graphs, "auto", failed={models.provider: "it has not enough memory"})
            errors = _predict(shot, clip, models, path)
        flush_files([path])
        facts = {"provider": models.provider, "provider_line": models.line}
        shot.journal.put("low", {**facts, "reconstruction": round(float(np.mean(errors)), 6)})
    return cast("NDArray[np.float32]", open_array(path))


def _predict(shot: Shot, clip: WorkingClip, models: LayerModels, path: Path) -> list[float]:
    """Writes all frames' layers to ``path``; what each leaves unexplained."""
    shot.report.emit(Event("progress", "decompose", total=len(clip.numbers), message=models.line))
    layers = create_array(path, np.float32, (*clip.masks.shape, 4))
    errors = []
    for index, rgba in decompose(clip, models, on_progress=shot.report.step, should_stop=shot.report.should_stop):
        layers[index] = by_common_fate(clip, index, rgba)
        errors.append(_unexplained(clip, index, rgba))
    luma, occupied = (shot.small.array(name) for name in ("luma", "occupied"))
    by_lasting_shadows(clip, luma, occupied, layers, shot.report.check_stop)
    return errors


def _unexplained(clip: WorkingClip, index: int, rgba: FloatArray) -> float:
    """Mean difference of a frame from its predicted layers over the small clean plate, display-encoded."""
    result = over_all((premultiply(rgba[layer]) for layer in clip.order[index]), clip.background[index])
    return float(np.abs(result - clip.frames[index]).mean())
