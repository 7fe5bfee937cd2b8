"""The layer network: a window of frames and an object's masks in, its RGBA layer at the hidden frames out."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from penumbra.network.blocks import DOWNSCALE, FEATURE_CHANNELS, Decoder, Encoder
from penumbra.network.transformer import TransformerDecoder, select_frames

POSITION_CHANNELS = (96, 96, 64)  # x, y, t
TOKEN_LIMIT = 2.0
POSITION_LIMIT = 1.0


@dataclass(frozen=True)
class NetworkSize:
    """How many positions the learned embeddings have: the trained height and width over 16, and the longest window."""

    grid_height: int = 8
    grid_width: int = 8
    max_frames: int = 10

    def __post_init__(self) -> None:
        if min(asdict(self).values()) < 1:
            raise ValueError(f"{self} must be positive")


class PositionEmbedding(nn.Module):
    """Learned x, y and t embeddings of 96 + 96 + 64 channels."""

    def __init__(self, size: NetworkSize) -> None:
        super().__init__()
        counts = (size.grid_width, size.grid_height, size.max_frames)
        self.x, self.y, self.t = (
            nn.Parameter(torch.zeros(count, channels))
            for count, channels in zip(counts, POSITION_CHANNELS, strict=True)
        )

    def forward(self, frames: int, height: int, width: int) -> Tensor:
        """(T, h, w, 256) in [-1, 1]; x and y are resized linearly when the grid is not the trained one."""
        x = resize_positions(self.x, width)[None, None].expand(frames, height, -1, -1)
        y = resize_positions(self.y, height)[None, :, None].expand(frames, -1, width, -1)
        t = self.t[:frames, None, None].expand(-1, height, width, -1)
        return torch.cat([x, y, t], dim=-1).clamp(-POSITION_LIMIT, POSITION_LIMIT)


class LayerNetwork(nn.Module):
    """The network of Lu et al. 2022 (supplement, section 1), with the published implementation's details.

    Each object is predicted without knowledge of the others' layers: that is the coordination game. Frames and masks
    are display-encoded in [-1, 1], H and W multiples of 16, T at most ``size.max_frames``.
    """

    def __init__(self, size: NetworkSize | None = None) -> None:
        super().__init__()
        self.size = size or NetworkSize()
        self.frame_encoder, self.mask_encoder = Encoder(3), Encoder(1)
        self.transformer, self.decoder = TransformerDecoder(), Decoder()
        self.frame_positions, self.mask_positions = PositionEmbedding(self.size), PositionEmbedding(self.size)
        self.shown, self.hidden = (nn.Parameter(torch.zeros(FEATURE_CHANNELS)) for _ in range(2))
        initialise(self)

    def forward(self, frames: Tensor, masks: Tensor, visible: Tensor, targets: Tensor | None = None) -> Tensor:
        """Straight RGBA (B, 4, K, D, H, W) in [-1, 1], float32, of K objects at the D target frames.

        ``frames`` (B, 3, T, H, W), not yet hidden; ``masks`` (B, K, T, H, W), +1 inside; ``visible`` (B, T), 1 for
        frames shown to the network and 0 for hidden ones; ``targets`` int64 (B, D) positions in the window, None for
        all T. Only targets are decoded. Raises ValueError for sizes the network cannot take.
        """
        frame_count, height, width = frames.shape[2:]
        if height % DOWNSCALE or width % DOWNSCALE or frame_count > self.size.max_frames:
            raise ValueError(
                f"{frame_count} frames of {height}x{width}: at most {self.size.max_frames}, multiples of 16"
            )
        features, skips = self.encode_frames(hide(frames, visible))
        return self.predict(features, skips, self.encode_masks(masks), visible, targets)

    def encode_frames(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, 3, T, H, W), hidden ones all -1, to features (B, T, 256, h, w) and skips (B, T, 64, 8h, 8w)."""
        features, skips = self.frame_encoder(frames.transpose(1, 2).flatten(0, 1))
        leading = (frames.shape[0], frames.shape[2])
        return features.reshape(*leading, *features.shape[1:]), skips.reshape(*leading, *skips.shape[1:])

    def encode_masks(self, masks: Tensor) -> Tensor:
        """Masks (B, K, T, H, W) to features (B, K, T, 256, h, w); no object sees another's."""
        features: Tensor = self.mask_encoder(masks.flatten(0, 2)[:, None])[0]
        return features.reshape(*masks.shape[:3], *features.shape[1:])

    def predict(
        self, features: Tensor, skips: Tensor, mask_features: Tensor, visible: Tensor, targets: Tensor | None = None
    ) -> Tensor:
        """From encodings to RGBA (B, 4, K, D, H, W); arguments as :meth:`forward` and the encoders give them."""
        tokens = self.transform(features, mask_features, visible, targets)
        chosen = skips if targets is None else select_frames(skips[:, None], targets)[:, 0]
        return self.decode(tokens, chosen)

    def transform(self, features: Tensor, mask_features: Tensor, visible: Tensor, targets: Tensor | None) -> Tensor:
        """The transformer: features (B, T, 256, h, w), mask features (B, K, T, 256, h, w) to (B, K, D, 256, h, w)."""
        frames, _, height, width = features.shape[1:]
        shown = visible.to(self.shown.dtype)[:, :, None]
        state = shown * self.shown + (1 - shown) * self.hidden
        values = features.movedim(2, -1) + state[:, :, None, None]
        keys = limit(values + self.frame_positions(frames, height, width))
        queries = limit(mask_features.movedim(3, -1) + self.mask_positions(frames, height, width))
        answers = self.transformer(queries.flatten(3, 4), keys.flatten(1, 3), limit(values).flatten(1, 3), targets)
        answer: Tensor = answers.reshape(*answers.shape[:3], height, width, FEATURE_CHANNELS).movedim(-1, 3)
        return answer

    def decode(self, tokens: Tensor, skips: Tensor) -> Tensor:
        """Tokens (B, K, D, 256, h, w) and the targets' skips (B, D, 64, 8h, 8w) to RGBA (B, 4, K, D, H, W)."""
        shared = skips[:, None].expand(-1, tokens.shape[1], -1, -1, -1, -1)
        rgba: Tensor = self.decoder(tokens.flatten(0, 2), shared.flatten(0, 2))
        return rgba.reshape(*tokens.shape[:3], *rgba.shape[1:]).movedim(3, 1)


def hide(frames: Tensor, visible: Tensor) -> Tensor:
    """Frames (B, 3, T, H, W) with those whose ``visible`` (B, T) is 0 replaced by -1."""
    shown = visible.to(frames.dtype)[:, None, :, None, None]
    return frames * shown - (1 - shown)


def limit(tokens: Tensor) -> Tensor:
    """Tokens kept within the range the published network was trained with."""
    return tokens.clamp(-TOKEN_LIMIT, TOKEN_LIMIT)


def resize_positions(table: Tensor, count: int) -> Tensor:
    """A table (n, channels) of embeddings at n positions, at ``count`` positions instead (linear, half-pixel centres).

    Exactly the table itself when n = count.
    """
    # Written out because PyTorch's own gradient of it is not repeatable on CUDA, nor a product in autocast exact.
    known = torch.arange(table.shape[0], device=table.device, dtype=table.dtype)
    wanted = (torch.arange(count, device=table.device, dtype=table.dtype) + 0.5) * (table.shape[0] / count) - 0.5
    nearness = (1 - (wanted.clamp(0, table.shape[0] - 1)[:, None] - known).abs()).clamp_min(0)
    return (nearness[:, :, None] * table).sum(1)


def seeded_network(seed: int, size: NetworkSize | None = None) -> LayerNetwork:
    """A network with random weights that depend on ``seed`` alone; torch's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LayerNetwork(size)


def initialise(network: LayerNetwork) -> None:
    """Random weights as the published implementation draws them (peer facts: Haiku's VarianceScaling)."""
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d):
            _uniform_fan(module.weight, module.out_channels)
        elif isinstance(module, nn.Conv2d):
            _uniform_fan(module.weight, module.in_channels)
        elif isinstance(module, nn.Linear):
            # The truncation at two deviations is made up for, so that the variance is 1 / fan.
            _truncated_normal(module.weight, module.in_features**-0.5 / 0.87962566103423978)
        if isinstance(module, nn.ConvTranspose2d | nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    final = network.decoder.rgba
    _truncated_normal(final.weight, (final.in_channels * final.kernel_size[0] * final.kernel_size[1]) ** -0.5)
    for table in (*network.frame_positions.parameters(), *network.mask_positions.parameters()):
        _truncated_normal(table, 0.02)
    for embedding in (network.shown, network.hidden):
        _truncated_normal(embedding, 0.02)


def _uniform_fan(weight: Tensor, channels: int) -> None:
    """Variance 2 / fan. A transposed convolution's fan counts its OUTPUT channels, as published."""
    bound = (6.0 / (channels * weight.shape[-1] * weight.shape[-2])) ** 0.5
    nn.init.uniform_(weight, -bound, bound)


def _truncated_normal(weight: Tensor, deviation: float) -> None:
    nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)
