"""Compound objects: a handful of primitives that look like a walker, a cart, a ring, an animal and so on.

Own units: x forward, y left, z up, metres before scaling; the lowest point stands on z = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Vector = tuple[float, float, float]

MAX_PARTS = 8
ELLIPSOID, BOX, CYLINDER = 0, 1, 2
_IDENTITY: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Part:
    """One primitive: half sizes along its own axes, turned by Euler angles (x, then y, then z; radians).

    A cylinder's axis is its z. ``swing`` is the amplitude (radians) of a swing about the y axis through ``pivot``, at
    ``phase``; ``tone`` which of the object's three colours it takes.
    """

    kind: int
    centre: Vector
    half: Vector
    turn: Vector = _IDENTITY
    swing: float = 0.0
    pivot: Vector = _IDENTITY
    phase: float = 0.0
    tone: int = 0


@dataclass(frozen=True)
class Compound:
    """An object's parts; ``free`` objects may tumble about any axis, others stay upright."""

    parts: list[Part] = field(default_factory=list)
    free: bool = False


def sample_compound(random: np.random.Generator) -> Compound:
    """A random object about one unit tall or wide, standing on z = 0, of at most :data:`MAX_PARTS` parts."""
    return _KINDS[int(random.choice(len(_KINDS), p=_SHARES))](random)


def rotation(turn: FloatArray) -> FloatArray:
    """Euler angles (..., 3) in radians, applied about x, then y, then z, to matrices (..., 3, 3)."""
    cx, cy, cz = np.moveaxis(np.cos(turn), -1, 0)
    sx, sy, sz = np.moveaxis(np.sin(turn), -1, 0)
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _walker(random: np.random.Generator) -> Compound:
    leg, wide = random.uniform(0.35, 0.5), random.uniform(0.1, 0.22)
    swing, limb = random.uniform(0.2, 0.7), random.uniform(0.04, 0.08)
    torso = 0.78 - leg
    limb_kind = int(random.choice([ELLIPSOID, CYLINDER, BOX]))
    body_kind = int(random.choice([ELLIPSOID, BOX, CYLINDER]))
    parts = [
        Part(body_kind, (0, 0, leg + torso / 2), (wide * 0.65, wide, torso * 0.62), tone=1),
        Part(ELLIPSOID, (0, 0, 0.88), (0.1, 0.1, 0.12), tone=2),
    ]
    for side, sign in ((wide * 0.55, 1.0), (-wide * 0.55, -1.0)):
        parts.append(Part(limb_kind, (0, side, leg / 2), (limb, limb, leg / 2), _IDENTITY, swing * sign, (0, 0, leg)))
    for side, sign in ((wide * 1.15, -1.0), (-wide * 1.15, 1.0)):
        parts.append(
            Part(
                limb_kind, (0, side, 0.78 - torso / 2), (limb * 0.8, limb * 0.8, torso * 0.55),
                (0.25 * sign, 0, 0), swing * sign, (0, 0, 0.76), tone=1,
            )
        )  # fmt: skip
    return Compound(parts)


def _cart(random: np.random.Generator) -> Compound:
    long, wide, wheel = random.uniform(0.4, 0.65), random.uniform(0.2, 0.35), random.uniform(0.09, 0.17)
    body, cabin = random.uniform(0.08, 0.16), random.uniform(0.08, 0.2)
    top = wheel * 1.2 + body
    parts = [
        Part(BOX, (0, 0, top), (long, wide, body), tone=0),
        Part(int(random.choice([BOX, ELLIPSOID])), (-0.08, 0, top + body + cabin * 0.8),
             (long * random.uniform(0.4, 0.75), wide * 0.9, cabin), tone=1),
    ]  # fmt: skip
    for x in (-0.62, 0.62):
        for y in (-1.0, 1.0):
            centre = (long * x, wide * y, wheel)
            parts.append(Part(CYLINDER, centre, (wheel, wheel, 0.05), (np.pi / 2, 0, 0), tone=2))
    return Compound(parts)


def _animal(random: np.random.Generator) -> Compound:
    leg, long, fat = random.uniform(0.2, 0.45), random.uniform(0.28, 0.45), random.uniform(0.12, 0.2)
    swing, limb = random.uniform(0.2, 0.6), random.uniform(0.035, 0.07)
    body = int(random.choice([ELLIPSOID, BOX]))
    parts = [
        Part(body, (0, 0, leg + fat * 0.8), (long, fat, fat), tone=0),
        Part(ELLIPSOID, (long * 1.1, 0, leg + fat * random.uniform(1.2, 2.4)), (0.14, 0.1, 0.11), tone=1),
        Part(CYLINDER, (-long * 1.1, 0, leg + fat * 1.3), (0.03, 0.03, 0.18), (0, -0.8, 0), tone=1),
    ]
    for x, first in ((0.65, 1.0), (-0.65, -1.0)):
        for y, second in ((0.6, 1.0), (-0.6, -1.0)):
            pivot = (long * x, 0.0, leg)
            centre = (long * x, fat * y, leg / 2)
            parts.append(
                Part(CYLINDER, centre, (limb, limb, leg / 2), _IDENTITY, swing * first * second, pivot, tone=2)
            )
    return Compound(parts)


def _ring(random: np.random.Generator) -> Compound:
    thick, radius = random.uniform(0.07, 0.13), 0.4
    kind = int(random.choice([ELLIPSOID, CYLINDER]))
    parts = []
    for i in range(MAX_PARTS):
        angle = 2 * np.pi * (i + 0.5) / MAX_PARTS
        centre = (radius * np.cos(angle), 0.0, radius + thick + radius * np.sin(angle))
        # A part's z axis follows the ring's tangent.
        parts.append(Part(kind, centre, (thick, thick, 0.19), (0, -angle, 0), tone=i % 2))
    return Compound(parts, free=bool(random.random() < 0.4))


def _dumbbell(random: np.random.Generator) -> Compound:
    end, bar = random.uniform(0.16, 0.28), random.uniform(0.05, 0.1)
    kind = int(random.choice([ELLIPSOID, BOX, CYLINDER]))
    return Compound(
        [
            Part(CYLINDER, (0, 0, end), (bar, bar, 0.36), (0, np.pi / 2, 0), tone=0),
            Part(kind, (0.4, 0, end), (end, end, end), tone=1),
            Part(kind, (-0.4, 0, end), (end, end, end * random.uniform(0.6, 1.0)), tone=2),
        ],
        free=True,
    )


def _solid(random: np.random.Generator) -> Compound:
    kind = int(random.integers(3))
    half = random.uniform(0.25, 0.5, 3)
    if kind == ELLIPSOID or random.random() < 0.5:
        half[:] = half[:1]
    if kind == CYLINDER:
        half[1] = half[0]
    parts = [Part(kind, (0, 0, float(half[2])), (float(half[0]), float(half[1]), float(half[2])))]
    if random.random() < 0.4:
        scale = random.uniform(0.4, 0.8)
        size = (float(half[0] * scale), float(half[1] * scale), float(half[2] * scale))
        parts.append(Part(int(random.integers(3)), (0, 0, float(half[2] * (2 + scale * 0.8))), size, tone=1))
    return Compound(parts, free=bool(random.random() < 0.6))


def _post(random: np.random.Generator) -> Compound:
    tall, foot = random.uniform(0.35, 0.6), random.uniform(0.15, 0.3)
    stem = random.uniform(0.03, 0.09)
    head = random.uniform(0.1, 0.28)
    return Compound(
        [
            Part(CYLINDER, (0, 0, 0.04), (foot, foot, 0.04), tone=2),
            Part(CYLINDER, (0, 0, tall), (stem, stem, tall), tone=0),
            Part(int(random.integers(3)), (0, 0, 2 * tall), (head, head, head * random.uniform(0.5, 1.3)), tone=1),
        ]
    )


def _heap(random: np.random.Generator) -> Compound:
    parts = []
    for i in range(int(random.integers(2, 7))):
        half = random.uniform(0.08, 0.35, 3)
        centre = (random.uniform(-0.35, 0.35), random.uniform(-0.3, 0.3), random.uniform(0.1, 0.8))
        turn = tuple(float(a) for a in random.uniform(-1, 1, 3))
        size = (float(half[0]), float(half[1]), float(half[2]))
        parts.append(Part(int(random.integers(3)), centre, size, (turn[0], turn[1], turn[2]), tone=i % 3))
    lowest = min(part.centre[2] - float(np.linalg.norm(part.half)) * 0.75 for part in parts)
    moved = [Part(p.kind, (p.centre[0], p.centre[1], p.centre[2] - lowest), p.half, p.turn, tone=p.tone) for p in parts]
    return Compound(moved, free=bool(random.random() < 0.5))


_KINDS: tuple[Callable[[np.random.Generator], Compound], ...] = (
    _walker, _cart, _animal, _ring, _dumbbell, _solid, _post, _heap,
)  # fmt: skip
_SHARES = (0.22, 0.15, 0.14, 0.1, 0.1, 0.13, 0.06, 0.1)
