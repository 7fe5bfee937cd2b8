"""Making and reading the weightless graphs."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from penumbra.contract import GRAPH_NAMES
from penumbra.errors import WeightsError
from penumbra.network import NetworkSize, seeded_network
from penumbra.storage import atomic_path
from penumbra.training.graphs.parts import LARGEST_GRID, Part, parts_of

FOLDER = Path(__file__).parent
OPSET = 20


def load_template(name: str) -> onnx.ModelProto:
    """The graph ``name`` (of GRAPH_NAMES) with the weights among its inputs, under the network's own names."""
    path = FOLDER / f"{name}.onnx"
    try:
        return onnx.load(path)
    except OSError as error:
        raise WeightsError(f"The graph template {path.name} is missing.", "Reinstall Penumbra.") from error


def write_templates(folder: Path = FOLDER) -> None:
    """Export all parts of the network without weights into ``folder``; takes about half a minute."""
    # A grid of two different sizes, other than the examples', so that the exporter takes none for another.
    parts = parts_of(seeded_network(0, NetworkSize(grid_height=7, grid_width=9)).eval())
    for name in GRAPH_NAMES:
        model = _export(parts[name])
        with atomic_path(folder / f"{name}.onnx") as temporary:
            temporary.write_bytes(model.SerializeToString(deterministic=True))


class _WeightsAsInputs(nn.Module):
    """A part whose weights are arguments, so that the exporter neither folds nor renames them."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self._part = [part]  # inside a list its parameters stay out of the graph

    def forward(self, weights: dict[str, Tensor], *arguments: Tensor) -> Any:
        return self._part[0].call(weights, arguments)


def _export(part: Part) -> onnx.ModelProto:
    weights = part.weights()
    examples = tuple(example for example, _ in part.inputs.values())
    free = tuple(axes for _, axes in part.inputs.values())
    with _silence():
        program = torch.onnx.export(
            _WeightsAsInputs(part).eval(),
            (weights, *examples),
            dynamo=True,
            dynamic_shapes=({name: _free_axes(name) for name in weights}, free),
            input_names=[*weights, *part.inputs],
            output_names=list(part.outputs),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    return _bare(program.model_proto)


def _free_axes(weight: str) -> dict[int, Any]:
    """The position tables' lengths are free, so that one template serves every size of network."""
    axis = weight.rpartition(".")[2]
    if "positions" not in weight or axis == "t":
        return {}
    return {0: Dim(f"table_{axis}", min=1, max=LARGEST_GRID)}


def _bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the exporter's notes (paths of source files among them) and inferred shapes."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    return model


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps the exporter's progress reports and the deprecations inside it to itself: stdout carries our events."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
