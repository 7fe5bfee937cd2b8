"""Scenes to pictures: sun with soft shadows, sky light with contact shadows, a mirroring ground."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch.nn import functional

from penumbra.training.scenes.backdrop import Backdrop, meet_backdrop
from penumbra.training.scenes.footage import add_grain, roughen_masks
from penumbra.training.scenes.sampling import Scenes
from penumbra.training.scenes.tracing import Geometry, any_hit, geometry_of, nearest_hits
from penumbra.training.scenes.water import PRESENT, flooded

# Rotated grid: four samples a pixel that share no row or column.
_SUBPIXELS = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))
_SUN_SAMPLES = 2
# Traced at once: a CPU is no faster with more, a GPU is idle with fewer (about 0.6 kB a ray).
_CHUNK_RAYS = {"cpu": 1_500_000, "cuda": 6_000_000}
_LIFT = 3e-3
_PER_FRAME = ("view", "part_centre", "part_turn", "exposure", "clock", "mask_error")


@dataclass(frozen=True)
class RenderedClips:
    """B clips of T frames: what a camera and a rotoscoper would give, and the truth behind them.

    ``frames`` (B, T, 3, H, W) display-encoded (sRGB), [0, 1]; ``masks`` (B, T, K, H, W) visible coverage, [0, 1];
    ``background`` (B, T, 3, H, W) without any object, encoded as the frames, without grain; ``order`` (B, T, K)
    objects back to front.
    """

    frames: torch.Tensor
    masks: torch.Tensor
    background: torch.Tensor
    order: torch.Tensor


@dataclass(frozen=True)
class _Picture:
    """Linear (B, T, 3, H, W), the same without objects, and coverage (B, T, K, H, W)."""

    colour: torch.Tensor
    empty: torch.Tensor
    masks: torch.Tensor


@torch.no_grad()
def render(scenes: Scenes, height: int, width: int, quantise: bool = True) -> RenderedClips:
    """Renders clips with everything in them; ``quantise`` rounds to 8 bits as files do."""
    everything = torch.ones(scenes.part_kind.shape[:2], dtype=torch.bool, device=scenes.eye.device)
    whole = _picture(scenes, everything, height, width)
    distance = (
        geometry_of(scenes, everything).object_centre.view(*scenes.clock.shape, -1, 3) - scenes.eye[:, None, None]
    )
    return RenderedClips(
        frames=_stored(add_grain(_display(whole.colour), scenes.grain, scenes.noise_seed), quantise),
        masks=_stored(roughen_masks(whole.masks, scenes.mask_error), quantise),
        background=_stored(_display(whole.empty), quantise),
        order=distance.norm(dim=-1).argsort(-1, descending=True),
    )


@torch.no_grad()
def render_solo(scenes: Scenes, index: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The clips with only object ``index``.

    Frames (B, T, 3, H, W) in 8-bit steps without grain, and the object's whole silhouette (B, T, H, W).
    """
    active = torch.zeros(scenes.part_kind.shape[:2], dtype=torch.bool, device=scenes.eye.device)
    active[:, index] = True
    picture = _picture(scenes, active, height, width)
    return _stored(_display(picture.colour), True), _stored(picture.masks[:, :, index], True)


def _stored(values: torch.Tensor, quantise: bool) -> torch.Tensor:
    values = values.clamp(0, 1)
    return (values * 255).round() / 255 if quantise else values


def _display(linear: torch.Tensor) -> torch.Tensor:
    curve = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, curve).clamp(0, 1)


def _picture(scenes: Scenes, active: torch.Tensor, height: int, width: int) -> _Picture:
    """In pieces that bound memory: some scenes at a time, or some frames of one."""
    batch, frames = scenes.clock.shape
    per_frame = height * width * len(_SUBPIXELS)
    rays = _CHUNK_RAYS.get(scenes.clock.device.type, _CHUNK_RAYS["cpu"])
    together = max(1, rays // (per_frame * frames))
    at_once = frames if together > 1 else max(1, rays // per_frame)
    rows = []
    for b in range(0, batch, together):
        pieces = []
        for t in range(0, frames, at_once):
            part = _piece(scenes, slice(b, b + together), slice(t, t + at_once))
            pieces.append(_trace(part, active[b : b + together], height, width))
        rows.append([torch.cat([getattr(p, f.name) for p in pieces], 1) for f in fields(_Picture)])
    return _Picture(*(torch.cat(column) for column in zip(*rows, strict=True)))


def _piece(scenes: Scenes, batch: slice, frames: slice) -> Scenes:
    piece = Scenes(**{f.name: getattr(scenes, f.name)[batch] for f in fields(Scenes)})
    return replace(piece, **{name: getattr(piece, name)[:, frames] for name in _PER_FRAME})


def _trace(scenes: Scenes, active: torch.Tensor, height: int, width: int) -> _Picture:
    batch, frames = scenes.clock.shape
    objects = scenes.part_kind.shape[1]
    seen = _Seen(scenes, height, width)
    colour, owner = seen.with_objects(geometry_of(scenes, active))

    def gathered(samples: torch.Tensor) -> torch.Tensor:
        """The mean over a pixel's samples: (F, N, C) to (B, T, C, H, W)."""
        return samples.view(batch, frames, height, width, len(_SUBPIXELS), -1).mean(4).permute(0, 1, 4, 2, 3)

    exposure = scenes.exposure[:, :, None, None, None]
    share = functional.one_hot(owner + 1, objects + 1)[..., 1:].float()
    return _Picture(gathered(colour) * exposure, gathered(seen.empty()) * exposure, gathered(share))


class _Seen:
    """The camera's rays over F = B x T frames and N = H x W x 4 samples, and the backdrop they meet."""

    def __init__(self, scenes: Scenes, height: int, width: int) -> None:
        self.scenes = scenes
        self.frames = scenes.clock.shape[1]
        still = bool((scenes.view == scenes.view[:, :1]).all())
        views = scenes.view[:, :1] if still else scenes.view
        own = _camera_rays(scenes.focal, height, width)
        rays = torch.einsum("btij,bnj->btni", views, own)
        self.pixel = 1 / (scenes.focal * height)
        # A camera that stands still meets the same backdrop in every frame: found once, then repeated.
        flat = rays.flatten(0, 1)
        repeated = scenes if still else _repeat(scenes, self.frames)
        pixel = self.pixel if still else self.pixel.repeat_interleave(self.frames)
        backdrop = meet_backdrop(repeated, repeated.eye[:, None], flat, pixel)
        bounce = _bounce(repeated, backdrop, flat, pixel)
        times = self.frames if still else 1
        self.rays = flat.repeat_interleave(times, 0)
        self.eye = scenes.eye[:, None].repeat_interleave(self.frames, 0)
        self.backdrop = Backdrop(
            **{f.name: getattr(backdrop, f.name).repeat_interleave(times, 0) for f in fields(Backdrop)}
        )
        self.bounce = None if bounce is None else tuple(part.repeat_interleave(times, 0) for part in bounce)
        if bool(scenes.patch[:, 4].any()):
            flicker = _patch(scenes, height, width)
            self.backdrop = replace(self.backdrop, albedo=self.backdrop.albedo * flicker)
        if bool(scenes.water[:, PRESENT].any()):
            self.backdrop = replace(self.backdrop, albedo=self._flooded())

    def _flooded(self) -> torch.Tensor:
        """The backdrop's albedo with water on its ground."""
        backdrop, scenes = self.backdrop, self.scenes
        # The ground is met at a sine of the eye's height over the distance.
        angle = self.per_frame(self.pixel) / self.per_frame(scenes.eye[:, 2]).clamp_min(0.1)
        footprint = backdrop.distance.square() * angle
        water = scenes.water.repeat_interleave(self.frames, 0)
        wet = flooded(backdrop.albedo, backdrop.point, footprint, water, scenes.clock.flatten())
        return torch.where(backdrop.on_ground[..., None], wet, backdrop.albedo)

    def per_frame(self, values: torch.Tensor) -> torch.Tensor:
        """(B, ...) repeated to (F, 1, ...)."""
        return values.repeat_interleave(self.frames, 0)[:, None]

    def empty(self) -> torch.Tensor:
        """Radiance (F, N, 3) with nothing on the ground."""
        everywhere = torch.ones_like(self.backdrop.distance)
        return self._lit(everywhere, everywhere, None)

    def with_objects(self, geometry: Geometry) -> tuple[torch.Tensor, torch.Tensor]:
        """Radiance (F, N, 3) and the object each sample belongs to (F, N), -1 for none."""
        hits = nearest_hits(geometry, self.eye, self.rays)
        hit = hits.distance < self.backdrop.distance
        frame, n = hit.nonzero(as_tuple=True)
        part = hits.part[frame, n]
        point = self.eye[frame, 0] + self.rays[frame, n] * hits.distance[frame, n, None]
        local, normal = _surface(geometry, frame, part, point)
        start = self.backdrop.point + self.backdrop.normal * _LIFT
        start[frame, n] = point + normal * _LIFT
        sunlit = self._sunlit(geometry, start)
        colour = self._lit(sunlit, self._open_sky(geometry), geometry)
        colour[frame, n] = self._object_colour(frame, part, local, normal, self.rays[frame, n], sunlit[frame, n], point)
        parts = geometry.kind.shape[1] // self.scenes.part_kind.shape[1]
        owner = torch.where(hit, hits.part // parts, -1)
        return colour, owner

    def _sunlit(self, geometry: Geometry, start: torch.Tensor) -> torch.Tensor:
        """The share of the sun's disc seen from (F, N, 3): each sample of a pixel looks at other points of it."""
        sun, size = self.per_frame(self.scenes.sun), self.per_frame(self.scenes.sun_size)
        side = functional.normalize(torch.stack([-sun[..., 1], sun[..., 0], sun[..., 0] * 0], -1), dim=-1)
        over = torch.linalg.cross(sun, side, dim=-1)
        index = torch.arange(start.shape[1], device=start.device) % len(_SUBPIXELS)
        total = torch.zeros(start.shape[:2], device=start.device)
        for sample in range(_SUN_SAMPLES):
            turn = (index * _SUN_SAMPLES + sample).float()
            # Vogel's spiral spreads the samples evenly over the disc.
            radius = ((turn + 0.5) / (len(_SUBPIXELS) * _SUN_SAMPLES)).sqrt()[None, :, None] * size[..., None]
            angle = (turn * 2.399963)[None, :, None]
            direction = sun + radius * (angle.cos() * side + angle.sin() * over)
            total += ~any_hit(geometry, start, functional.normalize(direction, dim=-1))
        return total / _SUN_SAMPLES

    def _open_sky(self, geometry: Geometry) -> torch.Tensor:
        """The share of the sky light a backdrop point keeps: spheres of each part's size in its way, once a pixel.

        A sphere of radius r at distance d hides cos(angle to the normal) (r/d)^2 of a cosine-weighted hemisphere.
        """
        step = len(_SUBPIXELS)
        point, normal = self.backdrop.point[:, ::step], self.backdrop.normal[:, ::step]
        centre = geometry.centre
        present = geometry.radius > 0
        volume = torch.linalg.det(geometry.to_local).abs()
        size = torch.where(present, torch.where(present, volume, 1.0).pow(-1 / 3), 0.0)
        squared = point.square().sum(-1, keepdim=True) + centre.square().sum(-1)[:, None] - 2 * (point @ centre.mT)
        squared = torch.maximum(squared, (size * size)[:, None])
        height = (normal @ centre.mT - (normal * point).sum(-1, keepdim=True)).clamp_min(0)
        hidden = height * (size * size)[:, None] / (squared * squared.sqrt()).clamp_min(1e-6)
        return (1 - 0.9 * hidden.clamp(0, 1)).prod(-1).repeat_interleave(step, 1)

    def _lit(self, sunlit: torch.Tensor, open_sky: torch.Tensor, geometry: Geometry | None) -> torch.Tensor:
        """Radiance of the backdrop."""
        scenes, backdrop = self.scenes, self.backdrop
        facing = (backdrop.normal * self.per_frame(scenes.sun)).sum(-1).clamp_min(0)
        light = (facing * sunlit)[..., None] * self.per_frame(scenes.sun_light)
        light = light + open_sky[..., None] * self.per_frame(scenes.sky_light)
        matte = backdrop.albedo * light + backdrop.sky
        if self.bounce is None:
            return matte
        share, direction, mirrored = self.bounce
        if geometry is not None:
            mirrored = self._mirrored_objects(geometry, direction, mirrored)
        return matte * (1 - share[..., None]) + mirrored * share[..., None]

    def _mirrored_objects(self, geometry: Geometry, direction: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        start = self.backdrop.point
        hits = nearest_hits(geometry, start, direction)
        frame, n = (torch.isfinite(hits.distance) & self.backdrop.on_ground).nonzero(as_tuple=True)
        part, ray = hits.part[frame, n], direction[frame, n]
        point = start[frame, n] + ray * hits.distance[frame, n, None]
        local, normal = _surface(geometry, frame, part, point)
        mirrored = mirrored.clone()
        lit = torch.ones_like(point[:, 0])
        mirrored[frame, n] = self._object_colour(frame, part, local, normal, ray, lit, point)
        return mirrored

    def _object_colour(
        self,
        frame: torch.Tensor,
        part: torch.Tensor,
        local: torch.Tensor,
        normal: torch.Tensor,
        ray: torch.Tensor,
        sunlit: torch.Tensor,
        point: torch.Tensor,
    ) -> torch.Tensor:
        """Radiance of M points on objects: Lambert, sky from above, ground from below, a highlight."""
        scenes, scene = self.scenes, frame // self.frames
        parts = scenes.part_kind.shape[2]
        k, p = part // parts, part % parts
        albedo = _painted(
            scenes.colour[scene, k, p], scenes.pattern[scene, k, p], local * scenes.part_half[scene, k, p]
        )
        sun = scenes.sun[scene]
        facing = (normal * sun).sum(-1).clamp_min(0) * sunlit
        ground = scenes.ground.mean((-2, -1))[scene]
        up = normal[:, 2:] * 0.5 + 0.5
        # Near the ground an object hides its own share of sky.
        sky = scenes.sky_light[scene] * up * (0.7 + 0.3 * (point[:, 2:] * 2).clamp(0, 1))
        fill = (scenes.sun_light[scene] * sun[:, 2:] * 0.6 + scenes.sky_light[scene]) * ground * (1 - up) * 0.7
        light = facing[:, None] * scenes.sun_light[scene] + sky + fill
        half = functional.normalize(sun - ray, dim=-1)
        shine = scenes.gloss[scene, k] * (normal * half).sum(-1).clamp_min(0) ** 40 * sunlit
        return albedo * light + shine[:, None] * scenes.sun_light[scene]


def _camera_rays(focal: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Unit rays (B, N, 3) in camera axes: right, down, forward; pixels row by row, four samples each."""
    device = focal.device
    offset = torch.tensor(_SUBPIXELS, device=device)
    y = torch.arange(height, device=device)[:, None, None] + 0.5 + offset[:, 1] - height / 2
    x = torch.arange(width, device=device)[None, :, None] + 0.5 + offset[:, 0] - width / 2
    across, along = x.expand(height, -1, -1) / height, y.expand(-1, width, -1) / height
    flat = torch.stack([across, along], -1).reshape(1, -1, 2).expand(len(focal), -1, -1)
    forward = focal[:, None, None].expand(-1, flat.shape[1], 1)
    return functional.normalize(torch.cat([flat, forward], -1), dim=-1)


def _bounce(
    scenes: Scenes, backdrop: Backdrop, rays: torch.Tensor, pixel: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """Share of light a ground mirrors (Schlick), the mirrored directions, and the backdrop seen that way."""
    facing, rough = scenes.mirror[:, :1], scenes.mirror[:, 1:]
    if not bool((facing > 0).any()):
        return None
    share = facing + (1 - facing) * (1 + rays[..., 2].clamp(-1, 0)) ** 5 * 0.8
    share = share * (facing > 0) * backdrop.on_ground
    direction = rays * torch.tensor([1.0, 1.0, -1.0], device=rays.device)
    # The same scatter in every frame, so that a rough floor does not boil.
    scatter = torch.randn(rays.shape[1:], generator=torch.Generator(rays.device).manual_seed(7), device=rays.device)
    direction = functional.normalize(direction + rough[..., None] * scatter, dim=-1)
    direction = torch.cat([direction[..., :2], direction[..., 2:].clamp_min(1e-3)], -1)
    seen = meet_backdrop(scenes, backdrop.point, direction, pixel)
    light = (seen.normal * scenes.sun[:, None]).sum(-1).clamp_min(0)[..., None] * scenes.sun_light[:, None]
    return share, direction, seen.albedo * (light + scenes.sky_light[:, None]) + seen.sky


def _repeat(scenes: Scenes, times: int) -> Scenes:
    return Scenes(**{f.name: getattr(scenes, f.name).repeat_interleave(times, 0) for f in fields(Scenes)})


def _surface(
    geometry: Geometry, frame: torch.Tensor, part: torch.Tensor, point: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (M, 3) in their part's unit space, and outward normals in the world."""
    to_local, kind = geometry.to_local[frame, part], geometry.kind[frame, part]
    local = (to_local @ (point - geometry.centre[frame, part])[..., None])[..., 0]
    size = local.abs()
    face = functional.one_hot(size.argmax(-1), 3) * local.sign()
    cap = (size[:, 2] > 0.999)[:, None]
    axis = torch.tensor([0.0, 0.0, 1.0], device=local.device)
    tube = torch.where(cap, axis * local.sign(), local * (1 - axis))
    slope = torch.where((kind == 0)[:, None], local, torch.where((kind == 1)[:, None], face, tube))
    normal = functional.normalize((to_local.mT @ slope[..., None])[..., 0], dim=-1)
    return local, normal


def _painted(tones: torch.Tensor, pattern: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Two tones (M, 2, 3) mixed by a pattern at ``place`` (M, 3), metres in the part's own axes."""
    kind, scaled = pattern[:, 0], place * (pattern[:, 1:] * 6.0)
    wave = scaled.sin()
    checks = (wave.prod(-1) > 0).float()
    stripes = (wave[:, 2] > 0).float()
    slope = (scaled[:, 2] / 6).clamp(-0.5, 0.5) + 0.5
    warp = 0.5 + 0.25 * ((scaled[:, 0] + 2 * wave[:, 1]).sin() + (1.7 * scaled[:, 2] + 2 * wave[:, 0]).sin())
    dots = ((scaled.cos().sum(-1)) > 1.2).float()
    plain = torch.zeros_like(checks)
    mix = torch.stack([plain, checks, stripes, slope, warp, dots], -1).gather(1, kind.long()[:, None])
    return tones[:, 0] * (1 - mix) + tones[:, 1] * mix


def _patch(scenes: Scenes, height: int, width: int) -> torch.Tensor:
    """Factors (F, N, 1) for a rectangle of backdrop whose brightness ripples by itself."""
    device = scenes.eye.device
    y = ((torch.arange(height, device=device) + 0.5) / height)[:, None]
    x = ((torch.arange(width, device=device) + 0.5) / width)[None]
    x, y = (axis.expand(height, width).reshape(1, 1, -1) for axis in (x, y))
    left, top, wide, tall, strength, speed = (scenes.patch[:, i, None, None] for i in range(6))
    inside = ((x > left) & (x < left + wide) & (y > top) & (y < top + tall)).float()
    time = scenes.clock[:, :, None] * speed * 12
    ripple = (35 * x + 9 * (11 * y + 0.7 * time).sin() + time).sin() * (29 * y - 1.3 * time).sin()
    factor = 1 + strength * inside * ripple
    return factor.flatten(0, 1).repeat_interleave(len(_SUBPIXELS), 1)[..., None]
