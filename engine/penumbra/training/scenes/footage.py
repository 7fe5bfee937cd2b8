"""What footage does to a clean render: grain, and masks that are not quite right."""

from __future__ import annotations

import math

import torch
from torch.nn import functional


def add_grain(frames: torch.Tensor, strength: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
    """Display-encoded frames (B, T, 3, H, W) with noise that grows with brightness; ``strength`` (B,) may be 0."""
    noisy = [
        frame if level == 0 else frame + level * (0.6 + 0.8 * frame.sqrt()) * _noise(frame, int(seed))
        for frame, level, seed in zip(frames, strength.tolist(), seeds.tolist(), strict=True)
    ]
    return torch.stack(noisy).clamp(0, 1)


def _noise(like: torch.Tensor, seed: int) -> torch.Tensor:
    # Drawn where it is used: the same grain on the same kind of device.
    return torch.randn(like.shape, generator=torch.Generator(like.device).manual_seed(seed), device=like.device)


def roughen_masks(masks: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
    """Masks (B, T, K, H, W) shifted, blurred and grown as ``errors`` (B, T, K, 4) says, in pixels."""
    if not bool(errors.any()):
        return masks
    height, width = masks.shape[-2:]
    flat, error = masks.flatten(0, 2)[:, None], errors.flatten(0, 2)
    shift = torch.zeros(len(flat), 2, 3, device=masks.device)
    shift[:, 0, 0] = shift[:, 1, 1] = 1
    shift[:, :, 2] = error[:, :2] * 2 / torch.tensor([width, height], device=masks.device)
    grid = functional.affine_grid(shift, list(flat.shape), align_corners=False)
    moved = functional.grid_sample(flat, grid, align_corners=False)
    soft = _blur(moved, 0.3 + error[:, 2])
    # Growing a blurred edge by g pixels moves its level line by g; a power brings that level to a half again.
    level = 0.5 - (error[:, 3] / (2.5 * (0.5 + error[:, 2]))).clamp(-0.4, 0.4)
    power = (math.log(0.5) / level.log())[:, None, None, None]
    return soft.clamp(0, 1).pow(power).view_as(masks)


def _blur(images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    reach = torch.arange(-3, 4, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (reach[None] / sigma[:, None]).square())
    kernel = (kernel / kernel.sum(-1, keepdim=True))[:, None]
    rows = functional.conv2d(images.mT.transpose(0, 1), kernel[..., None], padding=(3, 0), groups=len(images))
    return functional.conv2d(rows.mT, kernel[..., None], padding=(3, 0), groups=len(images)).transpose(0, 1)
