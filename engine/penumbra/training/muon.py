"""Muon: momentum whose every matrix is made orthogonal, so that all directions of a weight learn at one pace.

K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); the scale 0.2 sqrt(larger side), by
which its steps are as large as AdamW's and take AdamW's learning rates, is of J. Liu et al., "Muon is scalable for LLM
training" (2025). PyTorch's own takes matrices only, not the convolutions that most of this network's weights are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

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
        orthogonal = [group for group in self.param_groups if group["orthogonal"]]
        for group in orthogonal:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._turn(parameter, group["lr"], group["weight_decay"])
        every = self.param_groups
        self.param_groups = [group for group in every if not group["orthogonal"]]
        try:
            super().step(closure)
        finally:
            self.param_groups = every

    def _turn(self, parameter: Tensor, rate: float, decay: float) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
            # AdamW, on loading a state, looks for its own counter in every parameter's.
            state["step"] = torch.zeros(())
        gradient: Tensor = parameter.grad  # type: ignore[assignment]
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        matrix = gradient.lerp(state["momentum"], MOMENTUM).flatten(1)
        scale = STEP_SCALE * max(matrix.shape) ** 0.5
        update = orthogonalised(matrix).view_as(parameter)
        parameter.mul_(1 - rate * decay).add_(update.to(parameter.dtype), alpha=-rate * scale)


def orthogonalised(matrix: Tensor) -> Tensor:
    """About the nearest matrix with orthonormal rows or columns, by a Newton-Schulz iteration in bfloat16."""
    a, b, c = QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    result: Tensor = (x.T if tall else x).float()
    return result


def _is_hidden(name: str, parameter: Tensor) -> bool:
    outer = ("positions", "decoder.rgba", "encoder.convolutions.0.")
    return parameter.ndim >= 2 and not any(part in name for part in outer)
