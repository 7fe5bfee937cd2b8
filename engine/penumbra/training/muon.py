"""Muon: momentum whose every matrix is made orthogonal, so that all directions of a weight learn at one pace.

K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); the scale 0.2 sqrt(larger side), by
which its steps are as large as AdamW's and take AdamW's learning rates, is of J. Liu et al., "Muon is scalable for LLM
training" (2025). PyTorch's own takes matrices only, not the convolutions that most of this network's weights are.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from penumbra.training.devices import has_bfloat16

MOMENTUM = 0.95
ITERATIONS = 5
# The quintic whose iteration brings every singular value near 1 (between 0.7 and 1.2) in five rounds.
QUINTIC = (3.4445, -4.7750, 2.0315)
STEP_SCALE = 0.2


class Muon(torch.optim.AdamW):
    """Orthogonal steps for the hidden layers' matrices and convolutions, AdamW for everything else.

    Everything else: biases, norms, embeddings, the first convolutions and the last, which mix pixels and not features.
    Learning rate and (decoupled) weight decay are AdamW's own. Costs a few per cent of a training step.
    """

    def __init__(self, network: nn.Module, lr: float, weight_decay: float = 1e-4) -> None:
        hidden: list[nn.Parameter] = []
        other: list[nn.Parameter] = []
        for name, parameter in network.named_parameters():
            (hidden if _is_hidden(name, parameter) else other).append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": other, "orthogonal": False},
            {"params": hidden, "orthogonal": True},
        ]
        super().__init__(groups, lr=lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step from the gradients at hand."""
        for group in self.param_groups:
            if group["orthogonal"]:
                self._turn(group["params"], group["lr"], group["weight_decay"])
        every = self.param_groups
        self.param_groups = [group for group in every if not group["orthogonal"]]
        try:
            super().step(closure)
        finally:
            self.param_groups = every

    def _turn(self, parameters: list[Tensor], rate: float, decay: float) -> None:
        # Matrices of a size together: a GPU takes as long to be told of a small product as to form it.
        alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter in parameters:
            if parameter.grad is None:
                continue
            matrix = self._direction(parameter)
            wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
            alike[wide.shape[0], wide.shape[1]].append((parameter, wide))
        for (_, longest), found in alike.items():
            updates = orthogonalised(torch.stack([wide for _, wide in found]))
            for (parameter, _), update in zip(found, updates, strict=True):
                same = update if update.shape[0] == parameter.shape[0] else update.T
                scale = -rate * STEP_SCALE * longest**0.5
                parameter.mul_(1 - rate * decay).add_(same.reshape(parameter.shape), alpha=scale)

    def _direction(self, parameter: Tensor) -> Tensor:
        """The parameter's gradient with its momentum, as a matrix."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
            # AdamW, on loading a state, looks for its own counter in every parameter's.
            state["step"] = torch.zeros(())
        gradient: Tensor = parameter.grad  # type: ignore[assignment]
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(state["momentum"], MOMENTUM).flatten(1)


def orthogonalised(matrices: Tensor) -> Tensor:
    """About the nearest matrices to (..., M, N) with singular values 1, by a Newton-Schulz iteration.

    In bfloat16 where the device has it; cheapest with M <= N.
    """
    if has_bfloat16(matrices.device.type):
        return _iterated(matrices.bfloat16()).to(matrices.dtype)
    return _iterated_by_gram(matrices)


def _iterated(x: Tensor) -> Tensor:
    a, b, c = QUINTIC
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x


def _iterated_by_gram(x: Tensor) -> Tensor:
    """The same through the M x M products alone, a third of the work; too many roundings for bfloat16.

    With S = X X^T and Q = a + b S + c S^2 an iteration makes Q X of X, and so Q S Q of S.
    """
    a, b, c = QUINTIC
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    square, one = x @ x.mT, torch.eye(x.shape[-2], dtype=x.dtype, device=x.device)
    turn = one
    for _ in range(ITERATIONS):
        factor = a * one + b * square + c * (square @ square)
        turn = factor @ turn
        square = factor @ square @ factor
    return turn @ x


def _is_hidden(name: str, parameter: Tensor) -> bool:
    outer = ("positions", "decoder.rgba", "encoder.convolutions.0.")
    return parameter.ndim >= 2 and not any(part in name for part in outer)
