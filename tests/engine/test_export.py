from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from penumbra.contract import GRAPH_NAMES, ModelContract
from penumbra.decompose import LayerModels
from penumbra.errors import OutputError, WeightsError
from penumbra.network import LayerNetwork, NetworkSize, seeded_network
from penumbra.training.export import export_graphs
from penumbra.training.graphs import load_template, write_templates

TOLERANCE = 1e-4
CONTRACT = ModelContract(window=5, stride=2, height=32, width=48)


def lively_network(size: NetworkSize) -> LayerNetwork:
    """Random weights with biases, norms and embeddings far from 0 and 1, so that a mix-up cannot hide."""
    network = seeded_network(4, size).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() < 2 or parameter.shape[-1] in (96, 64):
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return network


@pytest.fixture(scope="module")
def network() -> LayerNetwork:
    return lively_network(NetworkSize(grid_height=2, grid_width=3))


@pytest.fixture(scope="module")
def models(network: LayerNetwork, tmp_path_factory: pytest.TempPathFactory) -> LayerModels:
    folder = tmp_path_factory.mktemp("graphs")
    export_graphs(network, CONTRACT, folder)
    return LayerModels.load(folder, "cpu")


def compare(models: LayerModels, network: LayerNetwork, batch: int, objects: int, frames: int, size: list[int]) -> None:
    random = torch.Generator().manual_seed(frames)
    clip = torch.rand(batch, 3, frames, *size, generator=random) * 2 - 1
    masks = (torch.rand(batch, objects, frames, *size, generator=random) > 0.6).float() * 2 - 1
    visible = (torch.rand(batch, frames, generator=random) > 0.4).float()
    target = torch.randint(frames, (batch,), generator=random)
    with torch.no_grad():
        features, skips = network.encode_frames(clip)
        mask_features = network.encode_masks(masks)
        rgba = network.predict(features, skips, mask_features, visible, target[:, None])[:, :, :, 0].transpose(1, 2)
    found = models.encode_frames(clip.transpose(1, 2).flatten(0, 1).contiguous().numpy())
    assert np.abs(found - features.flatten(0, 1).numpy()).max() <= TOLERANCE
    found = models.encode_masks(masks.flatten(0, 2)[:, None].numpy())
    assert np.abs(found - mask_features.flatten(0, 2).numpy()).max() <= TOLERANCE
    chosen = skips[torch.arange(batch), target]
    inputs = [tensor.contiguous().numpy() for tensor in (features, chosen, mask_features, visible, target)]
    decoded = models.decode(*inputs)
    assert decoded.dtype == np.float32
    assert decoded.shape == tuple(rgba.shape)
    assert rgba.std() > 0.1
    assert np.abs(decoded - rgba.numpy()).max() <= TOLERANCE


@pytest.mark.parametrize(
    ("batch", "objects", "frames", "size"),
    [(2, 1, 5, [48, 80]), (1, 3, 2, [96, 64]), (3, 2, 10, [16, 112]), (1, 1, 1, [32, 48])],
)
def test_graphs_agree_with_the_network(
    models: LayerModels, network: LayerNetwork, batch: int, objects: int, frames: int, size: list[int]
) -> None:
    compare(models, network, batch, objects, frames, size)


def test_one_template_serves_every_size_of_network(tmp_path: Path) -> None:
    for size in (NetworkSize(), NetworkSize(grid_height=5, grid_width=2, max_frames=12)):
        network = lively_network(size)
        export_graphs(network, CONTRACT, tmp_path)
        compare(LayerModels.load(tmp_path, "cpu"), network, 1, 2, 3, [48, 64])


def test_a_hidden_frame_is_encoded_as_the_network_does(models: LayerModels, network: LayerNetwork) -> None:
    features, skip = models.encode_hidden(32, 64)
    with torch.no_grad():
        expected, expected_skip = network.encode_frames(-torch.ones(1, 3, 1, 32, 64))
    assert np.abs(features - expected[0, 0].numpy()).max() <= TOLERANCE
    assert np.abs(skip - expected_skip[0, 0].numpy()).max() <= TOLERANCE


def test_the_contract_travels_in_the_graphs(models: LayerModels) -> None:
    assert models.contract == CONTRACT
    assert len(models.fingerprint) == 64


def test_graphs_are_self_contained_valid_and_say_nothing_of_where_they_were_made(
    network: LayerNetwork, tmp_path: Path
) -> None:
    export_graphs(network, CONTRACT, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.onnx" for name in GRAPH_NAMES}
    for name in GRAPH_NAMES:
        model = onnx.load(tmp_path / f"{name}.onnx")
        onnx.checker.check_model(model, full_check=True)
        assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
        template = load_template(name).SerializeToString()
        assert len(template) < 100_000
        assert b".py" not in template
        assert b"/" + b"work" not in template


def test_exports_of_the_same_weights_are_the_same_files(network: LayerNetwork, tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        export_graphs(network, CONTRACT, folder)
    for name in GRAPH_NAMES:
        assert (tmp_path / f"a/{name}.onnx").read_bytes() == (tmp_path / f"b/{name}.onnx").read_bytes()


def test_export_keeps_stdout_clean(network: LayerNetwork, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export_graphs(network, CONTRACT, tmp_path)
    LayerModels.load(tmp_path)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_weights_that_are_not_finite_are_not_exported(tmp_path: Path) -> None:
    network = seeded_network(0, NetworkSize(1, 1))
    with torch.no_grad():
        network.shown[3] = torch.nan
    with pytest.raises(WeightsError, match="shown holds values that are not finite"):
        export_graphs(network, CONTRACT, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_cannot_be_written_says_so(network: LayerNetwork, tmp_path: Path) -> None:
    (tmp_path / "graphs").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        export_graphs(network, CONTRACT, tmp_path / "graphs")


def test_decomposing_needs_no_torch() -> None:
    code = "import sys, penumbra.decompose; sys.exit(any(name in sys.modules for name in ('torch', 'onnx')))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_templates_are_those_the_network_exports_today(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_templates(tmp_path)
    assert capfd.readouterr().out == ""
    for name in GRAPH_NAMES:
        fresh, kept = onnx.load(tmp_path / f"{name}.onnx"), load_template(name)
        assert [node.op_type for node in fresh.graph.node] == [node.op_type for node in kept.graph.node]
        assert [value.name for value in fresh.graph.input] == [value.name for value in kept.graph.input]
