"""The three parts of the network as they are exported: one function of tensors each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from penumbra.network import LayerNetwork

LARGEST_GRID = 1024
LONGEST_WINDOW = 10


class FrameEncoderPart(nn.Module):
    """Frames (N, 3, H, W), hidden ones all -1, to features (N, 256, h, w) and skips (N, 64, 8h, 8w)."""

    def __init__(self, network: LayerNetwork) -> None:
        super().__init__()
        self.frame_encoder = network.frame_encoder

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """As the class says."""
        features, skips = self.frame_encoder(frames)
        return features, skips


class MaskEncoderPart(nn.Module):
    """Masks (N, 1, H, W) to features (N, 256, h, w)."""

    def __init__(self, network: LayerNetwork) -> None:
        super().__init__()
        self.mask_encoder = network.mask_encoder

    def forward(self, masks: Tensor) -> Tensor:
        """As the class says."""
        features: Tensor = self.mask_encoder(masks)[0]
        return features


class LayerDecoderPart(nn.Module):
    """Encodings of B windows of T frames to the K objects' RGBA (B, K, 4, 16h, 16w) at one target frame each.

    Features (B, T, 256, h, w), the targets' skips (B, 64, 8h, 8w), mask features (B, K, T, 256, h, w), visible (B, T),
    1 for frames shown, and the targets' positions in their windows, int64 (B,).
    """

    def __init__(self, network: LayerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, features: Tensor, skips: Tensor, mask_features: Tensor, visible: Tensor, target: Tensor
    ) -> Tensor:
        """As the class says."""
        tokens = self.network.transform(features, mask_features, visible, target[:, None])
        return self.network.decode(tokens, skips[:, None])[:, :, :, 0].transpose(1, 2)


@dataclass(frozen=True)
class Part:
    """A part with what the exporter must know: inputs by name with an example and its free axes; names of outputs."""

    module: nn.Module
    inputs: dict[str, tuple[Tensor, dict[int, Any]]]
    outputs: tuple[str, ...]

    def weights(self) -> dict[str, Tensor]:
        """The weights this part uses, by the network's own names."""
        return {_network_name(name): tensor.detach() for name, tensor in self.module.named_parameters() if _used(name)}

    def call(self, weights: dict[str, Tensor], arguments: tuple[Tensor, ...]) -> Any:
        """The part's outputs with other weights than its own."""
        named = {name: weights[_network_name(name)] for name, _ in self.module.named_parameters() if _used(name)}
        return torch.func.functional_call(self.module, named, arguments)


def parts_of(network: LayerNetwork) -> dict[str, Part]:
    """The three parts by the names of their files."""
    batch, objects, frames = Dim("batch"), Dim("objects"), Dim("frames", min=1, max=LONGEST_WINDOW)
    h, w = Dim("h", min=1, max=LARGEST_GRID), Dim("w", min=1, max=LARGEST_GRID)
    image = {0: batch, 2: 16 * h, 3: 16 * w}
    return {
        "frame_encoder": Part(
            FrameEncoderPart(network), {"frames": (torch.zeros(2, 3, 64, 48), image)}, ("features", "skips")
        ),
        "mask_encoder": Part(MaskEncoderPart(network), {"masks": (torch.zeros(2, 1, 64, 48), image)}, ("features",)),
        "layer_decoder": Part(
            LayerDecoderPart(network),
            {
                "features": (torch.zeros(2, 5, 256, 4, 3), {0: batch, 1: frames, 3: h, 4: w}),
                "skips": (torch.zeros(2, 64, 32, 24), {0: batch, 2: 8 * h, 3: 8 * w}),
                "mask_features": (torch.zeros(2, 3, 5, 256, 4, 3), {0: batch, 1: objects, 2: frames, 4: h, 5: w}),
                "visible": (torch.ones(2, 5), {0: batch, 1: frames}),
                "target": (torch.tensor([1, 2]), {0: batch}),
            },
            ("rgba",),
        ),
    }


def _network_name(name: str) -> str:
    return name.removeprefix("network.")


def _used(name: str) -> bool:
    return not name.startswith(("network.frame_encoder.", "network.mask_encoder."))
