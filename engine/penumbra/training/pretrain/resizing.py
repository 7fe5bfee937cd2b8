"""Going on at another working size: position embeddings resized, in the network and in its optimiser's memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from penumbra.network import LayerNetwork, NetworkSize
from penumbra.network.model import resize_positions


def resized_network(network: LayerNetwork, height: int, width: int) -> LayerNetwork:
    """The network trained at ``height`` x ``width`` from now on; itself where that is so already.

    Learned x and y embeddings are resized linearly (paper supplement, section 1), everything else is kept.
    """
    size = NetworkSize(height // 16, width // 16, network.size.max_frames)
    if size == network.size:
        return network
    old = network.state_dict()
    device = next(network.parameters()).device
    resized = LayerNetwork(size).to(device)
    resized.load_state_dict({name: _like(old[name], value) for name, value in resized.state_dict().items()})
    return resized.train(network.training)


def resized_optimiser_state(
    state: dict[str, Any], before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> dict[str, Any]:
    """An optimiser's ``state_dict()`` for parameter groups ``after`` instead of ``before``, which differ in size."""
    shapes = [p.shape for group in before for p in group["params"]]
    wanted = [p for group in after for p in group["params"]]
    kept = {
        index: {
            key: _like(value, wanted[index]) if _is_table(value, shapes[index]) else value for key, value in of.items()
        }
        for index, of in state["state"].items()
    }
    return {**state, "state": kept}


def _is_table(value: Any, shape: torch.Size) -> bool:
    return isinstance(value, Tensor) and value.shape == shape and value.ndim == 2


@torch.no_grad()
def _like(value: Tensor, wanted: Tensor) -> Tensor:
    if value.shape == wanted.shape:
        return value
    return resize_positions(value, wanted.shape[0])
