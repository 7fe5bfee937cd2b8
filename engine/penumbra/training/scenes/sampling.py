"""Draws scenes: where things stand, how they move, what lights them. Random numbers stay here; rendering has none."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from penumbra.training.scenes.objects import MAX_PARTS, Compound, Part, rotation, sample_compound
from penumbra.training.scenes.settings import SceneSettings
from penumbra.training.scenes.textures import sample_texture
from penumbra.training.scenes.water import sample_water

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Scenes:
    """A batch of B scenes with T frames, K objects of P parts each; world z is up and the ground is z = 0.

    Lengths in metres, directions of unit length, colours linear Rec.709.
    ``eye`` (B, 3); ``view`` (B, T, 3, 3) camera to world, columns right, down, forward; ``focal`` (B,) in image heights
    ``part_kind`` (B, K, P) -1 where absent; ``part_centre`` (B, T, K, P, 3); ``part_turn`` (B, T, K, P, 3, 3) own axes
    to world; ``part_half`` (B, K, P, 3)
    ``colour`` (B, K, P, 2, 3) two tones; ``pattern`` (B, K, P, 2) number of the pattern and its frequency;
    ``gloss`` (B, K)
    ``ground``, ``wall`` (B, 3, S, S) textures that tile; ``tile`` (B, 2) their sizes; ``wall_plane`` (B, 4) with
    n.x = d on the wall; d is far where there is none
    ``sky`` (B, 2, 3) radiance at horizon and zenith; ``sun`` (B, 3) towards it; ``sun_size`` (B,) tangent of its radius
    ``sun_light``, ``sky_light`` (B, 3) irradiance over pi; ``mirror`` (B, 2) reflectance facing and roughness
    ``exposure`` (B, T); ``clock`` (B, T) time, 0 to 1 over a whole clip
    ``grain`` (B,) standard deviation in display units; ``patch`` (B, 6) x, y, width, height (shares), strength, speed
    ``water`` (B, 16): see :func:`~penumbra.training.scenes.water.sample_water`; 0 where there is none
    ``mask_error`` (B, T, K, 4) shift x, shift y (pixels), blur (pixels), growth (pixels)
    ``noise_seed`` (B,) for the grain
    """

    eye: torch.Tensor
    view: torch.Tensor
    focal: torch.Tensor
    part_kind: torch.Tensor
    part_centre: torch.Tensor
    part_turn: torch.Tensor
    part_half: torch.Tensor
    colour: torch.Tensor
    pattern: torch.Tensor
    gloss: torch.Tensor
    ground: torch.Tensor
    wall: torch.Tensor
    tile: torch.Tensor
    wall_plane: torch.Tensor
    sky: torch.Tensor
    sun: torch.Tensor
    sun_size: torch.Tensor
    sun_light: torch.Tensor
    sky_light: torch.Tensor
    mirror: torch.Tensor
    exposure: torch.Tensor
    clock: torch.Tensor
    grain: torch.Tensor
    patch: torch.Tensor
    water: torch.Tensor
    mask_error: torch.Tensor
    noise_seed: torch.Tensor

    def to(self, device: torch.device | str) -> Scenes:
        """The same scenes on another device."""
        return Scenes(**{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Scenes:
        """What :func:`sample_arrays` drew, as tensors that share its memory."""
        return cls(**{name: torch.from_numpy(array) for name, array in arrays.items()})


def sample_scenes(settings: SceneSettings, seed: int, count: int, first: int = 0) -> Scenes:
    """Scenes ``first`` to ``first + count - 1`` of a seed; a scene does not depend on how many are drawn with it."""
    return Scenes.from_arrays(sample_arrays(settings, seed, count, first))


def sample_arrays(settings: SceneSettings, seed: int, count: int, first: int = 0) -> dict[str, NDArray[np.generic]]:
    """The fields of :func:`sample_scenes` as arrays, which travel between processes."""
    drawn = [_sample(settings, np.random.default_rng([seed, first + i])) for i in range(count)]
    return {name: np.stack([one[name] for one in drawn]) for name in drawn[0]}


def _sample(settings: SceneSettings, random: np.random.Generator) -> dict[str, NDArray[np.generic]]:
    camera = _camera(settings, random)
    wall_plane = _wall(random, camera)
    light = _light(settings, random)
    moving = _objects(settings, random, camera, wall_plane)
    ground = sample_texture(random)
    look = {
        "ground": ground,
        "wall": sample_texture(random),
        "tile": random.uniform(0.5, 1.6, 2) * np.linalg.norm(camera["eye"]),
        "wall_plane": wall_plane,
        "view": _views(settings, random, camera["view"]),
        "eye": camera["eye"],
        "focal": camera["focal"],
    }
    drawn = {**look, **light, **moving, **_imperfections(settings, random)}
    # Drawn last: scenes without water are the same as they ever were.
    shore, _ = _on_ground(random, camera, settings.width / settings.height)
    drawn["water"] = sample_water(random, camera["eye"], shore) * settings.water
    # As a camera would: half way to the exposure that makes any ground middle grey.
    drawn["exposure"] = drawn["exposure"] * (0.28 / float(ground.mean())) ** 0.5
    whole = {"part_kind", "noise_seed"}
    return {name: np.asarray(value, np.int64 if name in whole else np.float32) for name, value in drawn.items()}


def _camera(settings: SceneSettings, random: np.random.Generator) -> dict[str, FloatArray]:
    low, high = (10, 42) if settings.version == 1 else (5, 30)
    elevation, azimuth = np.radians(random.uniform(low, high)), random.uniform(0, 2 * np.pi)
    distance, field_of_view = random.uniform(5, 9), np.radians(random.uniform(26, 58))
    target = np.array([0, 0, random.uniform(-0.2, 0.6)])
    away = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0])
    view = np.stack([right, np.cross(-away, right), -away], -1)
    focal = np.array(0.5 / np.tan(field_of_view / 2))
    return {"eye": target + distance * away, "view": view, "focal": focal}


def _views(settings: SceneSettings, random: np.random.Generator, view: FloatArray) -> FloatArray:
    """The camera's rotation per frame: turning about its own centre when it pans."""
    angles = np.zeros((settings.frames, 3))
    if settings.pan:
        reach = np.radians(random.uniform(-10, 10)) * settings.span
        angles[:, 1] = reach * np.linspace(-1, 1, settings.frames)
        angles[:, 0] = random.uniform(-0.3, 0.3) * angles[:, 1]
    return np.asarray(view @ rotation(angles))


def _wall(random: np.random.Generator, camera: dict[str, FloatArray]) -> FloatArray:
    """A vertical plane behind the scene, or one far beyond sight."""
    if random.random() < 0.6:
        return np.array([0.0, 0.0, 0.0, 1e6])
    away = camera["eye"] * (1, 1, 0)
    heading = np.arctan2(away[1], away[0]) + random.uniform(-0.6, 0.6)
    return np.array([np.cos(heading), np.sin(heading), 0, -random.uniform(2, 6)])


def _light(settings: SceneSettings, random: np.random.Generator) -> dict[str, FloatArray]:
    low, high = (28, 70) if settings.version == 1 else (12, 60)
    elevation, azimuth = np.radians(random.uniform(low, high)), random.uniform(0, 2 * np.pi)
    sun = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    # How much of the light on the ground comes straight from the sun.
    share = random.uniform(0.0, 0.5) if settings.kind == "reflections" else random.uniform(0.4, 0.92)
    warm = np.array([1.0, random.uniform(0.85, 1.0), random.uniform(0.65, 1.0)])
    cool = np.array([random.uniform(0.75, 1.0), random.uniform(0.88, 1.0), 1.0])
    horizon, zenith = random.uniform(0.25, 1.0) * cool, random.uniform(0.1, 0.9) * cool * cool
    facing = 0.0 if settings.kind == "shadows" else random.uniform(0.06, 0.5)
    rough = random.choice([0.0, 0.01, 0.02, 0.04, 0.08], p=[0.35, 0.2, 0.2, 0.15, 0.1])
    return {
        "sun": sun,
        "sun_size": np.array(np.exp(random.uniform(np.log(0.01), np.log(0.15)))),
        "sun_light": share / np.sin(elevation) * warm * random.uniform(0.8, 1.2),
        "sky_light": (1 - share) * cool,
        "sky": np.stack([horizon, zenith]),
        "mirror": np.array([facing, rough]),
    }


def _imperfections(settings: SceneSettings, random: np.random.Generator) -> dict[str, NDArray[np.generic] | FloatArray]:
    frames, objects = settings.frames, settings.objects
    time = np.linspace(0, settings.span, frames)
    exposure = np.full(frames, np.exp(random.normal(-0.05, 0.3)))
    wave = random.uniform(0.0, 0.06) * np.sin(2 * np.pi * (random.uniform(0.5, 2) * time + random.random()))
    grain = np.exp(random.uniform(np.log(0.003), np.log(0.02)))
    size = random.uniform(0.1, 0.35, 2)
    at = random.uniform(0, 1 - size)
    patch = np.array([*at, *size, random.uniform(0.05, 0.3), random.uniform(0.5, 3)])
    # Masks are off by a pixel at 128 lines, as the errors of roto scale with the picture.
    pixel = settings.height / 128
    errors = np.zeros((frames, objects, 4))
    if settings.rough_masks:
        errors[..., :2] = random.uniform(-1, 1, (1, objects, 2)) * pixel + random.normal(
            0, 0.25 * pixel, (frames, objects, 2)
        )
        errors[..., 2] = random.uniform(0, 1.2) * pixel
        errors[..., 3] = random.uniform(-1, 1, (1, objects)) * pixel
    return {
        "exposure": exposure * (1 + wave * settings.drift),
        "clock": time,
        "grain": np.array(grain * settings.grain),
        "patch": patch * settings.patch,
        "mask_error": errors,
        "noise_seed": np.array(random.integers(2**31)),
    }


def _objects(
    settings: SceneSettings, random: np.random.Generator, camera: dict[str, FloatArray], wall: FloatArray
) -> dict[str, NDArray[np.generic] | FloatArray]:
    """Every object's parts over the frames; paths keep clear of each other where room allows."""
    frames, objects = settings.frames, settings.objects
    kind = np.full((objects, MAX_PARTS), -1)
    centre, turn = np.zeros((frames, objects, MAX_PARTS, 3)), np.zeros((frames, objects, MAX_PARTS, 3, 3))
    half = np.ones((objects, MAX_PARTS, 3))
    taken: list[tuple[FloatArray, float]] = []
    for k in range(objects):
        compound = sample_compound(random)
        path, size = _clear_path(settings, random, camera, wall, taken)
        taken.append((path, size))
        count = len(compound.parts)
        kind[k, :count] = [part.kind for part in compound.parts]
        half[k, :count] = np.array([part.half for part in compound.parts]) * size
        centre[:, k, :count], turn[:, k, :count] = _pose(settings, random, compound, path, size)
    return {
        "part_kind": kind,
        "part_centre": centre,
        "part_turn": turn,
        "part_half": half,
        **_paint(random, objects),
    }


def _clear_path(
    settings: SceneSettings,
    random: np.random.Generator,
    camera: dict[str, FloatArray],
    wall: FloatArray,
    taken: list[tuple[FloatArray, float]],
) -> tuple[FloatArray, float]:
    """A path over the ground (T, 2) and a size (metres), the clearest of a number of tries."""
    best: tuple[FloatArray, float] | None = None
    best_room = -np.inf
    for _ in range(24):
        path, size = _path(settings, random, camera)
        room = 0.0
        for other, other_size in taken:
            gap = np.linalg.norm(path - other, axis=-1).min() - 0.62 * (size + other_size)
            room = min(room, float(gap))
        # The path must stay before the wall and the camera out of the object.
        room = min(
            room,
            float((path @ wall[:2] - wall[3] if wall[:2].any() else path[:, 0] * 0).min())
            - 0.6 * size * wall[:2].any(),
        )
        room = min(room, float(np.linalg.norm(path - camera["eye"][:2], axis=-1).min()) - 1.2 * size)
        if room > best_room:
            best, best_room = (path, size), room
        if room >= 0:
            break
    assert best is not None
    return best


def _path(
    settings: SceneSettings, random: np.random.Generator, camera: dict[str, FloatArray]
) -> tuple[FloatArray, float]:
    aspect = settings.width / settings.height
    middle, depth = _on_ground(random, camera, aspect)
    low, high = (0.12, 0.36) if settings.version == 1 else (0.18, 0.6)
    share = np.exp(random.uniform(np.log(low), np.log(high)))
    size = float(np.clip(share * depth / camera["focal"], 0.25, 2.2))
    # Lengths follow the picture: a path crosses 0.25 to 1.3 of its width over a whole clip.
    length = random.uniform(0.25, 1.3) * settings.span * depth / camera["focal"] * aspect * 0.7
    heading, bend = random.uniform(0, 2 * np.pi), random.normal(0, 0.8) * settings.span
    time = np.linspace(-0.5, 0.5, settings.frames) if settings.frames > 1 else np.zeros(1)
    angle = heading + bend * time
    step = np.stack([np.cos(angle), np.sin(angle)], -1) * length * time[:, None]
    return middle + step, size


def _on_ground(random: np.random.Generator, camera: dict[str, FloatArray], aspect: float) -> tuple[FloatArray, float]:
    """A point of the ground in view (2,), and its depth along the optical axis."""
    for _ in range(50):
        x, y = random.uniform(-0.42, 0.42) * aspect, random.uniform(-0.25, 0.45)
        direction = camera["view"] @ np.array([x, y, camera["focal"]])
        if direction[2] < -0.03:
            distance = -camera["eye"][2] / direction[2]
            depth = distance * float(camera["focal"])
            if 2.0 < depth < 16:
                return np.asarray((camera["eye"] + distance * direction)[:2]), depth
    return np.zeros(2), float(np.linalg.norm(camera["eye"]))


def _pose(
    settings: SceneSettings, random: np.random.Generator, compound: Compound, path: FloatArray, size: float
) -> tuple[FloatArray, FloatArray]:
    """Centres (T, P, 3) and rotations (T, P, 3, 3) of the parts along a path."""
    time = np.linspace(0, settings.span, settings.frames)
    moving = np.gradient(path, axis=0) if len(path) > 1 else np.ones((1, 2))
    heading = np.arctan2(moving[:, 1], moving[:, 0])
    if random.random() < 0.25:
        heading = heading[:1] * 0 + random.uniform(0, 6.3) + random.uniform(-6, 6) * time
    angles = np.stack([heading * 0, heading * 0, heading], -1)
    centre, turn = _swung(compound.parts, time, random.uniform(2, 6) * 2 * np.pi, random.uniform(0, 6.3))
    whole = rotation(angles)
    middle = np.array([0, 0, 0.5])
    lift = np.zeros(settings.frames)
    if compound.free and random.random() < 0.6:
        whole = whole @ rotation(random.uniform(0, 6.3, 3) + random.uniform(-5, 5, 3) * time[:, None])
        middle = centre[0].mean(0)
        reach = max(float(np.linalg.norm(np.array(part.centre) - middle) + max(part.half)) for part in compound.parts)
        lift += max(reach * 0.92 - middle[2], 0)
    if random.random() < 0.3:
        lift += random.uniform(0.1, 0.7) * np.abs(np.sin(np.pi * random.uniform(1, 3) * time + random.uniform(0, 3)))
    if random.random() < 0.1:
        lift += random.uniform(0.1, 0.6)
    centre = np.einsum("tij,tpj->tpi", whole, centre - middle) + middle
    centre[..., 2] += lift[:, None]
    centre *= size
    centre[..., :2] += path[:, None]
    return centre, whole[:, None] @ turn


def _swung(parts: list[Part], time: FloatArray, rate: float, phase: float) -> tuple[FloatArray, FloatArray]:
    """The parts in the object's own frame with limbs swung: (T, P, 3) and (T, P, 3, 3)."""
    pivot = np.array([part.pivot for part in parts])
    amplitude = np.array([part.swing for part in parts])
    angle = amplitude * np.sin(rate * time[:, None] + phase)
    swing = rotation(np.stack([angle * 0, angle, angle * 0], -1))
    centre = np.array([part.centre for part in parts])
    own = rotation(np.array([part.turn for part in parts]))
    return pivot + np.einsum("tpij,pj->tpi", swing, centre - pivot), swing @ own


def _paint(random: np.random.Generator, objects: int) -> dict[str, FloatArray]:
    """Colours and patterns: an object has a palette of three, and often one pattern all over."""
    value = np.exp(random.uniform(np.log(0.06), np.log(0.9), (objects, 3, 1)))
    hue = random.random((objects, 3, 3))
    saturation = random.beta(1.2, 1.0, (objects, 3, 1))
    palette = np.clip(value * (1 - saturation + saturation * hue / hue.max(-1, keepdims=True) * 1.4), 0.01, 0.95)
    tones = np.arange(MAX_PARTS) % 3
    shuffled = np.stack([random.permutation(tones) if random.random() < 0.5 else tones for _ in range(objects)])
    first = np.take_along_axis(palette, shuffled[..., None], 1)
    second = np.take_along_axis(palette, ((shuffled + 1) % 3)[..., None], 1)
    single = random.random(objects) < 0.25
    first[single] = palette[single, :1]
    pattern = np.repeat(random.integers(0, 6, (objects, 1)), MAX_PARTS, 1)
    loose = random.random((objects, MAX_PARTS)) < 0.25
    pattern = np.where(loose, random.integers(0, 6, (objects, MAX_PARTS)), pattern)
    frequency = np.exp(random.uniform(np.log(1.5), np.log(7), (objects, MAX_PARTS)))
    return {
        "colour": np.stack([first, second], 2),
        "pattern": np.stack([pattern, frequency], -1),
        "gloss": random.uniform(0, 0.5, objects) * (random.random(objects) < 0.5),
    }
