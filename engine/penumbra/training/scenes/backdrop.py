"""What stands still: textured ground, wall and sky, met by rays in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from penumbra.training.scenes.sampling import Scenes

_FAR = 1e4


@dataclass(frozen=True)
class Backdrop:
    """Where rays (B, N) meet the backdrop. ``distance``; ``point``, ``normal``, ``albedo``, ``sky`` (B, N, 3).

    ``sky`` is radiance where a ray meets neither ground nor wall and 0 elsewhere; ``albedo`` is 0 there. ``on_ground``
    (B, N) is true on the ground.
    """

    distance: torch.Tensor
    point: torch.Tensor
    normal: torch.Tensor
    albedo: torch.Tensor
    sky: torch.Tensor
    on_ground: torch.Tensor


def meet_backdrop(scenes: Scenes, origins: torch.Tensor, directions: torch.Tensor, pixel: torch.Tensor) -> Backdrop:
    """Rays of B scenes: ``origins`` (B, 1 or N, 3), unit ``directions`` (B, N, 3); ``pixel`` (B,) a pixel's angle."""
    plane, toward = scenes.wall_plane[:, None, :3], (directions * scenes.wall_plane[:, None, :3]).sum(-1)
    down = directions[..., 2]
    to_ground = torch.where(down < -1e-4, -origins[..., 2] / down.clamp_max(-1e-4), _FAR)
    gap = scenes.wall_plane[:, 3:] - (origins * plane).sum(-1)
    to_wall = torch.where(toward < -1e-4, gap / toward.clamp_max(-1e-4), _FAR)
    # Rounding puts points at the foot of the wall a little behind it.
    to_wall = torch.where(to_wall > -0.05, to_wall.clamp_min(0), _FAR)
    on_ground = (to_ground < to_wall) & (to_ground < _FAR / 4)
    on_wall = ~on_ground & (to_wall < _FAR / 4)
    distance = torch.minimum(to_ground, to_wall)
    point = origins + directions * distance[..., None]
    up = torch.tensor([0.0, 0.0, 1.0], device=point.device)
    normal = torch.where(on_ground[..., None], up, plane.expand_as(point))
    footprint = distance * pixel[:, None] / (directions * normal).sum(-1).abs().clamp_min(0.05)
    albedo = torch.where(
        on_ground[..., None],
        _sample(scenes.ground, point[..., :2] / scenes.tile[:, None, :1], footprint / scenes.tile[:, :1]),
        _wall_albedo(scenes, point, footprint) * on_wall[..., None],
    )
    rise = (down.clamp(0, 1) * 1.5).clamp_max(1)[..., None]
    sky = (scenes.sky[:, None, 0] * (1 - rise) + scenes.sky[:, None, 1] * rise) * ~(on_ground | on_wall)[..., None]
    return Backdrop(distance, point, normal, albedo, sky, on_ground)


def _wall_albedo(scenes: Scenes, point: torch.Tensor, footprint: torch.Tensor) -> torch.Tensor:
    normal = scenes.wall_plane[:, None]
    along = point[..., 1] * normal[..., 0] - point[..., 0] * normal[..., 1]
    place = torch.stack([along, point[..., 2]], -1) / scenes.tile[:, None, 1:]
    return _sample(scenes.wall, place, footprint / scenes.tile[:, 1:])


def _sample(texture: torch.Tensor, place: torch.Tensor, footprint: torch.Tensor) -> torch.Tensor:
    """A tiling texture (B, 3, S, S) at ``place`` (B, N, 2) in tiles, blurred to ``footprint`` (B, N) tiles."""
    size = texture.shape[-1]
    levels = [texture, functional.avg_pool2d(texture, 4), functional.avg_pool2d(texture, 16)]
    # Level i suits footprints of 4^i texels.
    level = (torch.log2((footprint * size).clamp_min(1e-6)) / math.log2(4)).clamp(0, 2)
    result = torch.zeros((*place.shape[:2], 3), device=place.device)
    for index, image in enumerate(levels):
        weight = (1 - (level - index).abs()).clamp_min(0)
        result += weight[..., None] * _wrapped(image, place)
    return result


def _wrapped(image: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    size = image.shape[-1]
    padded = functional.pad(image, (1, 1, 1, 1), mode="circular")
    grid = ((place % 1.0) * size + 1) / (size + 2) * 2 - 1
    found = functional.grid_sample(padded, grid[:, None], mode="bilinear", align_corners=False)
    return found[:, :, 0].mT
