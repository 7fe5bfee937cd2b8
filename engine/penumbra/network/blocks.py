"""The convolutional halves of the network: the encoders' and the decoder's blocks (paper supplement, section 1)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import group_norm

ENCODER_CHANNELS = (64, 128, 256, 256)
DECODER_CHANNELS = (256, 128, 64, 64)
FEATURE_CHANNELS = ENCODER_CHANNELS[-1]
SKIP_CHANNELS = ENCODER_CHANNELS[0]
DOWNSCALE = 2 ** len(ENCODER_CHANNELS)
NORM_EPSILON = 1e-5
LEAK = 0.2
OUTPUT_LIMIT = 3.0  # before tanh, which would otherwise saturate and stop learning


class InstanceNorm(nn.GroupNorm):
    """Instance norm with affine weights, as one group per channel: accumulates in float32 even for bfloat16 input."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, eps=NORM_EPSILON)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W), normed for each sample and channel."""
        if not input.is_cuda:
            return super().forward(input)
        # CUDA's autocast would turn every feature into float32 for it, twice the memory traffic of what moves most.
        weight, bias = self.weight.to(input.dtype), self.bias.to(input.dtype)
        with torch.autocast("cuda", enabled=False):
            return group_norm(input, self.num_groups, weight, bias, self.eps)


class Encoder(nn.Module):
    """Four 4x4 convolutions of stride 2: (N, C, H, W) to features (N, 256, H/16, W/16) and the first block's output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        sizes = (channels, *ENCODER_CHANNELS)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(InstanceNorm(size) for size in ENCODER_CHANNELS[1:])
        self.activation = nn.LeakyReLU(LEAK)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns features (N, 256, H/16, W/16) and the skip connection (N, 64, H/2, W/2)."""
        skip = feature = self.activation(self.convolutions[0](images))
        for convolution, norm in zip(self.convolutions[1:], self.norms, strict=True):
            feature = self.activation(norm(convolution(feature)))
        return feature, skip


class Decoder(nn.Module):
    """Four 4x4 transposed convolutions of stride 2, the last one joined by the skip connection, then 3x3 to RGBA."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (FEATURE_CHANNELS, *DECODER_CHANNELS[:2], DECODER_CHANNELS[2] + SKIP_CHANNELS)
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, stride=2, padding=1) for a, b in zip(inputs, DECODER_CHANNELS, strict=True)
        )
        self.norms = nn.ModuleList(InstanceNorm(size) for size in DECODER_CHANNELS)
        self.rgba = nn.Conv2d(DECODER_CHANNELS[-1], 4, 3, padding=1)

    def forward(self, features: Tensor, skips: Tensor) -> Tensor:
        """Features (N, 256, h, w) and skips (N, 64, 8h, 8w) to straight RGBA (N, 4, 16h, 16w) in [-tanh 3, tanh 3]."""
        last = len(self.convolutions) - 1
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            if index == last:
                features = torch.cat([features, skips.to(features.dtype)], dim=1)
            features = torch.relu(norm(convolution(features)))
        rgba: Tensor = self.rgba(features).float()
        if not self.training:
            return rgba.clamp(-OUTPUT_LIMIT, OUTPUT_LIMIT).tanh()
        limited: Tensor = _RevivingClamp.apply(rgba, OUTPUT_LIMIT)  # type: ignore[no-untyped-call] # torch declares none
        return limited.tanh()


class _RevivingClamp(torch.autograd.Function):
    """A clamp whose gradient still passes where it would bring a value back into the range.

    A plain clamp is a trap: early on the mask term drives alpha below the limit wherever there is no mask, and a shadow
    there could never be learnt again (a third of the shadow pixels, measured; docs/decisions/0004). Forward is a clamp.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, limit: float) -> Tensor:
        ctx.save_for_backward(values)
        ctx.limit = limit
        return values.clamp(-limit, limit)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (values,) = ctx.saved_tensors
        # Descent moves a value against its gradient.
        leaving = ((values > ctx.limit) & (gradient < 0)) | ((values < -ctx.limit) & (gradient > 0))
        return gradient.masked_fill(leaving, 0), None
