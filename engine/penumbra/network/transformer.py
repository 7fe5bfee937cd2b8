"""The transformer decoder: masks of one object ask, frames answer (paper supplement, section 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

WIDTH = 256
HEADS = 4
LAYERS = 2
MLP_WIDTH = 4 * WIDTH
DROPOUT = 0.1
NORM_EPSILON = 1e-5


class Attention(nn.Module):
    """Multi-head attention with biases everywhere and logits divided by the root of the head's width."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.value, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Queries (N, Q, 256), keys and values (N, S, 256): the answers, (N, Q, 256)."""
        q, k, v = self._split(self.query(queries)), self._split(self.key(keys)), self._split(self.value(values))
        answers = scaled_dot_product_attention(q, k, v)
        answer: Tensor = self.out(answers.transpose(1, 2).flatten(2))
        return answer

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.reshape(*tokens.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)


class TransformerLayer(nn.Module):
    """Pre-norm self-attention, cross-attention and a two-layer perceptron. Keys and values are not normed."""

    def __init__(self) -> None:
        super().__init__()
        self.self_norm, self.self_attention = nn.LayerNorm(WIDTH, NORM_EPSILON), Attention()
        self.cross_norm, self.cross_attention = nn.LayerNorm(WIDTH, NORM_EPSILON), Attention()
        self.mlp_norm = nn.LayerNorm(WIDTH, NORM_EPSILON)
        # The published network uses the tanh form of GELU.
        self.mlp = nn.Sequential(nn.Linear(WIDTH, MLP_WIDTH), nn.GELU("tanh"), nn.Linear(MLP_WIDTH, WIDTH))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, tokens: Tensor, keys: Tensor, values: Tensor, targets: Tensor | None) -> Tensor:
        """Tokens (B, K, T, P, 256) to the same, or to the ``targets``' (B, D) frames only: (B, K, D, P, 256).

        K objects, T frames of P positions; keys and values (B, T P, 256) are shared between the objects.
        """
        asked = tokens if targets is None else select_frames(tokens, targets)
        normed = self.self_norm(tokens)
        asking = normed if targets is None else select_frames(normed, targets)
        everything = normed.flatten(2, 3).flatten(0, 1)
        answer = self.self_attention(asking.flatten(2, 3).flatten(0, 1), everything, everything)
        asked = asked + self.dropout(answer.view_as(asked))
        # A query's cross-attention does not depend on the other queries, so the objects stand side by side in one
        # long sequence, and each frame's key and value is computed once for all of them.
        answer = self.cross_attention(self.cross_norm(asked).flatten(1, 3), keys, values)
        asked = asked + self.dropout(answer.view_as(asked))
        result: Tensor = asked + self.dropout(self.mlp(self.mlp_norm(asked)))
        return result


class TransformerDecoder(nn.Module):
    """Two layers and a final norm; the last layer is computed for the target frames only."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, NORM_EPSILON)

    def forward(self, tokens: Tensor, keys: Tensor, values: Tensor, targets: Tensor | None) -> Tensor:
        """Tokens (B, K, T, P, 256), keys and values (B, T P, 256): (B, K, D, P, 256), D = T without ``targets``."""
        for layer in self.layers[:-1]:
            tokens = layer(tokens, keys, values, None)
        normed: Tensor = self.norm(self.layers[-1](tokens, keys, values, targets))
        return normed


def select_frames(tokens: Tensor, targets: Tensor) -> Tensor:
    """The frames ``targets`` (B, D) of tokens (B, K, T, ...): (B, K, D, ...)."""
    batch = torch.arange(targets.shape[0], device=targets.device)[:, None]
    return tokens.transpose(1, 2)[batch, targets].transpose(1, 2)
