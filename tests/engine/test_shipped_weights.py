"""The weights that come with the package: whole, of one piece, and better than knowing nothing."""

import numpy as np

from penumbra.contract import ModelContract
from penumbra.decompose import LayerModels
from penumbra.evaluate import evaluate
from penumbra.job import ModelSettings, RefineSettings
from penumbra.network import NetworkSize, load_weights, seeded_network
from penumbra.pipeline import SHIPPED_WEIGHTS
from penumbra.training.export import export_graphs
from penumbra.training.synth import write_sample


def test_the_graphs_are_those_of_the_shipped_weights(tmp_path):
    network, contract, _ = load_weights(SHIPPED_WEIGHTS / "weights.safetensors")
    models = LayerModels.load(SHIPPED_WEIGHTS, "cpu")
    export_graphs(network, contract, tmp_path)
    assert models.contract == contract
    assert models.fingerprint == LayerModels.load(tmp_path, "cpu").fingerprint


def test_half_graphs_compute_what_the_halved_weights_do(tmp_path):
    network = seeded_network(3, NetworkSize(2, 2)).half().float()
    models = []
    for half in (False, True):
        folder = tmp_path / str(half)
        folder.mkdir()
        export_graphs(network, ModelContract(height=32, width=32), folder, half)
        models.append(LayerModels.load(folder, "cpu"))
    masks = np.random.default_rng(0).standard_normal((2, 1, 32, 48)).astype(np.float32)
    full, halved = (model.encode_masks(masks) for model in models)
    assert np.array_equal(full, halved)
    sizes = [(tmp_path / str(half) / "layer_decoder.onnx").stat().st_size for half in (False, True)]
    assert sizes[1] < 0.6 * sizes[0]


def test_without_refinement_they_beat_the_mask_alone_on_a_clip_never_seen(tmp_path):
    write_sample(tmp_path / "clip", seed=20261, frames=8, height=64, width=64, objects=2, version=1, kind="shadows")
    (row,) = evaluate(
        [tmp_path / "clip"], tmp_path / "out", [RefineSettings()], ModelSettings(device="cpu"), lambda event: None
    )
    assert row["effect_iou"] > row["mask_iou"] + 0.1
    assert row["misplaced"] is None or row["misplaced"] < 0.1
    assert row["recomposition_max"] < 0.0005
