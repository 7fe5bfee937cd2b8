"""Rays against compounds of ellipsoids, boxes and cylinders, in closed form and batched.

Most rays miss most objects: bounding spheres leave a short list of (ray, part) pairs, and only those are solved.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from penumbra.training.scenes.objects import BOX, CYLINDER
from penumbra.training.scenes.sampling import Scenes

_NEAR = 1e-3


@dataclass(frozen=True)
class Geometry:
    """All parts of F = B x T frames, flat: Q = K x P parts a frame.

    ``to_local`` (F, Q, 3, 3) maps world directions into a part's unit space, where it is a unit ball, cube or cylinder;
    ``centre`` (F, Q, 3); ``radius`` (F, Q) of the parts' bounding spheres, negative where a part is absent; ``kind``
    (F, Q); ``object_centre`` (F, K, 3), ``object_radius`` (F, K) bound whole objects.
    """

    to_local: torch.Tensor
    centre: torch.Tensor
    radius: torch.Tensor
    kind: torch.Tensor
    object_centre: torch.Tensor
    object_radius: torch.Tensor


@dataclass(frozen=True)
class Hits:
    """Nearest hits of (F, N) rays: ``distance`` along the unit ray, infinite on a miss; ``part`` index in 0..Q-1."""

    distance: torch.Tensor
    part: torch.Tensor


def geometry_of(scenes: Scenes, active: torch.Tensor) -> Geometry:
    """The geometry of scenes with only the objects where ``active`` (B, K) is true."""
    batch, frames, objects, parts = scenes.part_centre.shape[:4]
    present = ((scenes.part_kind >= 0) & active[..., None])[:, None].expand(batch, frames, objects, parts)
    centre = scenes.part_centre
    half = scenes.part_half[:, None].expand_as(centre)
    kind = scenes.part_kind[:, None].expand(batch, frames, objects, parts)
    ball = torch.where(kind == BOX, half.norm(dim=-1), half.amax(-1))
    tube = (torch.maximum(half[..., 0], half[..., 1]) ** 2 + half[..., 2] ** 2).sqrt()
    radius = torch.where(kind == CYLINDER, tube, ball)
    weight = present.float()[..., None]
    middle = (centre * weight).sum(3) / weight.sum(3).clamp_min(1)
    reach = torch.where(present, (centre - middle[:, :, :, None]).norm(dim=-1) + radius, -1.0).amax(-1)
    return Geometry(
        to_local=(scenes.part_turn.mT / half[..., None]).flatten(0, 1).flatten(1, 2),
        centre=centre.flatten(0, 1).flatten(1, 2),
        radius=torch.where(present, radius, -1.0).flatten(0, 1).flatten(1, 2),
        kind=kind.flatten(0, 1).flatten(1, 2),
        object_centre=middle.flatten(0, 1),
        object_radius=reach.flatten(0, 1),
    )


def nearest_hits(geometry: Geometry, origins: torch.Tensor, directions: torch.Tensor) -> Hits:
    """The nearest hit of rays (F, N, 3) from ``origins`` (F, 1 or N, 3) along unit ``directions``."""
    frames, count = directions.shape[:2]
    ray, part, enter, leave = _intervals(geometry, origins, directions)
    solid = (enter > _NEAR) & (enter < leave)
    ray, part, enter = ray[solid], part[solid], enter[solid]
    nearest = torch.full((frames * count,), torch.inf, device=directions.device)
    nearest.scatter_reduce_(0, ray, enter, "amin")
    first = enter == nearest[ray]
    which = torch.zeros(frames * count, dtype=torch.long, device=directions.device)
    which[ray[first]] = part[first]
    return Hits(nearest.view(frames, count), which.view(frames, count))


def any_hit(geometry: Geometry, origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Whether anything stands in the way of rays (F, N, 3): (F, N) booleans."""
    frames, count = directions.shape[:2]
    ray, _, enter, leave = _intervals(geometry, origins, directions)
    blocked = torch.zeros(frames * count, dtype=torch.bool, device=directions.device)
    blocked[ray[(leave > enter) & (leave > 2 * _NEAR)]] = True
    return blocked.view(frames, count)


def _intervals(
    geometry: Geometry, origins: torch.Tensor, directions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Candidate pairs: flat ray index, part, and the ray's parameters on entering and leaving the part."""
    objects = geometry.object_radius.shape[1]
    parts = geometry.kind.shape[1] // objects
    frame, n, k = _near_objects(geometry, origins, directions).nonzero(as_tuple=True)
    which = k[:, None] * parts + torch.arange(parts, device=k.device)
    origin = origins[frame, n if origins.shape[1] > 1 else torch.zeros_like(n)]
    direction = directions[frame, n]
    offset = geometry.centre[frame[:, None], which] - origin[:, None]
    along = (offset * direction[:, None]).sum(-1)
    radius = geometry.radius[frame[:, None], which]
    keep = (offset.square().sum(-1) - along.square() < radius * radius) & (radius > 0) & (along > -radius)
    row, column = keep.nonzero(as_tuple=True)
    part, frame, ray = which[row, column], frame[row], (frame * directions.shape[1] + n)[row]
    local = geometry.to_local[frame, part]
    start = -(local @ offset[row, column, :, None])[..., 0]
    step = (local @ direction[row, :, None])[..., 0]
    enter, leave = _solve(geometry.kind[frame, part], start, step)
    return ray, part, enter, leave


def _near_objects(geometry: Geometry, origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Which rays pass an object's bounding sphere: (F, N, K), by matrix products."""
    centre = geometry.object_centre
    along = directions @ centre.mT - (origins * directions).sum(-1, keepdim=True)
    squared = centre.square().sum(-1)[:, None] + origins.square().sum(-1, keepdim=True) - 2 * (origins @ centre.mT)
    radius = geometry.object_radius[:, None]
    # Rounding of the expanded square must not lose rays that graze the sphere.
    return (squared - along.square() < radius * radius * 1.01 + 1e-3) & (along > -radius) & (radius > 0)


def _solve(kind: torch.Tensor, start: torch.Tensor, step: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Parameters on entering and leaving the unit ball, cube or cylinder; entering after leaving means a miss."""
    step = torch.where(step.abs() < 1e-9, torch.full_like(step, 1e-9), step)
    first, second = (-1 - start) / step, (1 - start) / step
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    # A cylinder is round in x and y and flat in z; a ball is round in all three.
    round_axes = torch.ones_like(start)
    round_axes[:, 2] = (kind != CYLINDER).to(start.dtype)
    a = (step.square() * round_axes).sum(-1)
    b = (step * start * round_axes).sum(-1)
    c = (start.square() * round_axes).sum(-1) - 1
    inside = b * b - a * c
    root = inside.clamp_min(0).sqrt()
    missed = torch.where(inside < 0, torch.inf, 0.0)
    enter, leave = (-b - root) / a + missed, (-b + root) / a - missed
    slab = torch.where(kind == BOX, low.amax(-1), low[:, 2])
    slab_end = torch.where(kind == BOX, high.amin(-1), high[:, 2])
    is_box, is_tube = kind == BOX, kind == CYLINDER
    entered = torch.where(is_box, slab, torch.where(is_tube, torch.maximum(enter, slab), enter))
    left = torch.where(is_box, slab_end, torch.where(is_tube, torch.minimum(leave, slab_end), leave))
    return entered, left
