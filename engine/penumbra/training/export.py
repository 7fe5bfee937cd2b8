"""Weights to the three ONNX graphs that the decompose stage runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from penumbra import __version__
from penumbra.contract import CONTRACT_KEY, FINGERPRINT_KEY, GRAPH_NAMES, ModelContract
from penumbra.errors import WeightsError
from penumbra.network import LayerNetwork
from penumbra.network.weights import write_whole
from penumbra.training.graphs import load_template

Weights = Mapping[str, NDArray[np.float32]]


def export_graphs(network: LayerNetwork, contract: ModelContract, folder: Path, half: bool = False) -> None:
    """Write ``frame_encoder.onnx``, ``mask_encoder.onnx`` and ``layer_decoder.onnx`` into ``folder``.

    Each is one self-contained float32 file, free in batch, objects, frames (up to 10), height and width (multiples of
    16), whole or not there. ``half`` stores the weights in float16, cast on load: half the size, for weights that hold
    no more digits; computation stays float32. All three carry the contract and the fingerprint of the weights, by which
    a mixture of two exports is recognised. Raises :class:`WeightsError` for weights that are not finite,
    :class:`OutputError` when a file cannot be written.
    """
    weights = {
        name: tensor.detach().cpu().float().contiguous().numpy() for name, tensor in network.state_dict().items()
    }
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise WeightsError(f"The weights cannot be exported: {name} holds values that are not finite.")
    metadata = {CONTRACT_KEY: contract.to_json(), FINGERPRINT_KEY: _fingerprint(weights)}
    for name in GRAPH_NAMES:
        write_whole(folder / f"{name}.onnx", _filled(load_template(name), weights, metadata, half).SerializeToString())


def _filled(template: onnx.ModelProto, weights: Weights, metadata: Mapping[str, str], half: bool) -> onnx.ModelProto:
    """The template with its weight inputs turned into constants."""
    free = [value for value in template.graph.input if value.name not in weights]
    taken = [value.name for value in template.graph.input if value.name in weights]
    del template.graph.input[:]
    template.graph.input.extend(free)
    if half:
        _store_half(template.graph, weights, taken)
    else:
        template.graph.initializer.extend(numpy_helper.from_array(weights[name], name) for name in taken)
    template.producer_name, template.producer_version = "penumbra", __version__
    helper.set_model_props(template, dict(metadata))
    return template


def _store_half(graph: onnx.GraphProto, weights: Weights, names: list[str]) -> None:
    """Weights as float16 constants, each cast to the float32 the graph asks for before anything else runs."""
    stored = [numpy_helper.from_array(weights[name].astype(np.float16), f"{name}.half") for name in names]
    casts = [helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT) for name in names]
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(stored)


def _fingerprint(weights: Weights) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].tobytes())
    return digest.hexdigest()
