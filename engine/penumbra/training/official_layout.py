"""How the authors' published implementation names and lays out each weight of the network.

Convolutions are (kh, kw, in, out), transposed ones (kh, kw, out, in) and applied without flipping the kernel, which
PyTorch does flip; linear weights are (in, out); biases and norms carry axes of size 1.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

ROOT = "omnimatte_sp"
_KINDS = {"weight": "w", "bias": "b"}
_NORM_KINDS = {"weight": "scale", "bias": "offset"}
_ENCODERS = {"frame_encoder": "im_encoder", "mask_encoder": "mask_encoder"}
_NORMS = {"self_norm": "ln_0", "cross_norm": "ln_1", "mlp_norm": "ln_2"}
_ATTENTIONS = {"self_attention": "selfattn", "cross_attention": "attn"}
_EMBEDDINGS = {"frame_positions": "pos_embs", "mask_positions": "mask_pos_embs"}
_SINGLE = {"shown": "valid_emb", "hidden": "invalid_emb"}


def official_name(name: str) -> str:
    """The authors' ``module/array`` name of one of our state dict's names; KeyError for a name that is not ours."""
    part, _, rest = name.partition(".")
    if part in _SINGLE:
        return f"{ROOT}/{_SINGLE[part]}"
    if part in _EMBEDDINGS:
        return f"{ROOT}/{_EMBEDDINGS[part]}_{rest}"
    if part in _ENCODERS:
        # The encoders' first block has no norm, so their norms count from the second.
        return f"{ROOT}/~/{_ENCODERS[part]}/~/{_block_name(rest, 'conv2_d', 1)}"
    if part == "decoder":
        return f"{ROOT}/~/layer_decoder/~/{_block_name(rest, 'conv2_d_transpose', 0)}"
    if part == "transformer":
        return f"{ROOT}/~/transformer/{_transformer_name(rest)}"
    raise KeyError(name)


def from_official(name: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    """An array in the authors' layout to PyTorch's; ``name`` is the authors'."""
    if name.endswith("conv2_d_transpose/w"):
        return np.ascontiguousarray(array.transpose(3, 2, 0, 1)[..., ::-1, ::-1])
    if name.endswith("/w"):
        return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)
    return array.reshape(-1) if name.endswith(("/b", "/scale", "/offset")) else array


def official_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape the authors store an array of our ``shape`` in; ``name`` is the authors'."""
    if name.endswith("/w"):
        return (*shape[2:], shape[1], shape[0]) if len(shape) == 4 else shape[::-1]
    if name.endswith("/b") and "transformer" not in name:
        return (*shape, 1, 1)
    return (1, *shape, 1, 1) if "instance_norm" in name else shape


def _block_name(rest: str, convolution: str, first_norm: int) -> str:
    group, *place = rest.split(".")
    if group == "rgba":
        return f"final_rgba/{_KINDS[place[0]]}"
    index = int(place[0]) + (first_norm if group == "norms" else 0)
    block = f"conv_block_{index}" if index else "conv_block"
    if group == "norms":
        return f"{block}/~/instance_norm/{_NORM_KINDS[place[1]]}"
    return f"{block}/~/{convolution}/{_KINDS[place[1]]}"


def _transformer_name(rest: str) -> str:
    if rest.startswith("norm."):
        return f"ln_f/{_NORM_KINDS[rest.split('.')[1]]}"
    match = re.match(r"layers\.(\d+)\.(\w+)\.(.+)\Z", rest)
    if match is None:
        raise KeyError(rest)
    layer, part, place = match.groups()
    if part in _NORMS:
        return f"h{layer}_{_NORMS[part]}/{_NORM_KINDS[place]}"
    inner, kind = place.split(".")
    if part == "mlp":
        return f"h{layer}_mlp/{'linear' if inner == '0' else 'linear_1'}/{_KINDS[kind]}"
    return f"h{layer}_{_ATTENTIONS[part]}/{'linear' if inner == 'out' else inner}/{_KINDS[kind]}"
