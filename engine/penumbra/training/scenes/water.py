"""Water that runs up a shore and back: a background that moves by itself, next to objects and under their shadows.

Not a simulation: a front that swings and meanders, foam along it and behind it, ripples, and the ground wet and dimly
seen through where the water is shallow. What matters is that it moves, keeps its shape for a frame or two, passes
objects without caring for them, and is nobody's effect.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Columns of ``Scenes.water``; the first says whether there is any.
PRESENT = 0
_TOWARDS, _REST, _REACH, _SWASHES, _PHASE = slice(1, 3), 3, 4, 5, 6
_FOAM, _BAND, _LACE, _RIPPLE, _ROUGH, _CLEAR, _TINT = 7, 8, 9, 10, 11, 12, slice(13, 16)
WATER_VALUES = 16
_MEANDERS = 4
_WET = 0.65  # of its albedo is left to ground that is wet
_FOAM_ALBEDO = 0.85


def sample_water(random: np.random.Generator, eye: FloatArray, shore: FloatArray) -> FloatArray:
    """The shape and looks of water (WATER_VALUES,) whose front is about ``shore`` (2,), seen from ``eye`` (3,)."""
    away = shore - eye[:2]
    distance = max(float(np.hypot(away[0], away[1])), 1.0)
    heading = math.atan2(away[1], away[0]) + random.uniform(-1.2, 1.2) + math.pi * (random.random() < 0.25)
    towards = np.array([math.cos(heading), math.sin(heading)])
    reach = distance * math.exp(random.uniform(math.log(0.01), math.log(0.12)))
    grey = random.uniform(0.05, 0.4)
    tint = grey * (1 + random.uniform(0, 0.8) * np.array([-0.5, 0.1, 0.4]))
    return np.array(
        [
            1.0,
            *towards,
            float(shore @ towards),
            reach,
            random.uniform(0.3, 3.0),
            random.uniform(0, 2 * math.pi),
            random.uniform(0.0, 1.0),
            distance * math.exp(random.uniform(math.log(0.004), math.log(0.04))),
            math.exp(random.uniform(math.log(3), math.log(20))) / distance * 4,
            math.exp(random.uniform(math.log(3), math.log(20))) / distance * 3,
            random.uniform(0.05, 0.6),
            distance * math.exp(random.uniform(math.log(0.01), math.log(0.4))),
            *tint,
        ]
    )


def flooded(
    albedo: torch.Tensor, point: torch.Tensor, footprint: torch.Tensor, water: torch.Tensor, clock: torch.Tensor
) -> torch.Tensor:
    """Ground of ``albedo`` (F, N, 3) at ``point`` (F, N, 3) with the water (F, WATER_VALUES) of ``clock`` (F,) on it.

    ``footprint`` (F, N): the metres of ground a pixel covers, finer than which nothing is drawn.
    """

    def column(index: int) -> torch.Tensor:
        return water[:, index, None]

    time, swing = clock[:, None] * 2 * math.pi, column(_SWASHES)
    reach, phase, towards = column(_REACH), column(_PHASE), water[:, None, _TOWARDS]
    across = (point[..., :2] * towards).sum(-1) - column(_REST)
    along = point[..., 1] * towards[..., 0] - point[..., 0] * towards[..., 1]
    front = reach * (swing * time + phase).sin()
    for index in range(1, _MEANDERS + 1):
        turn = 1.3 * 1.9**index / reach.clamp_min(0.1) * 0.2
        wave = (turn * along + swing * (0.4 + 0.3 * index) * time + 2.4 * index * phase).sin()
        front = front + 0.5 * 0.6**index * reach * wave
    depth = across - front
    edge = torch.sigmoid(depth / (0.5 * footprint).clamp_min(0.01))
    wet = torch.sigmoid((across + 1.5 * reach) / (2 * footprint).clamp_min(0.05))
    ground = albedo * (1 - (1 - _WET) * wet)[..., None]
    shallow = (-depth.clamp_min(0) / column(_CLEAR)).exp()[..., None]
    ripples = _ripples(depth, along, time * swing, column(_RIPPLE), footprint)
    body = water[:, None, _TINT] * (1 + column(_ROUGH) * ripples)[..., None]
    sea = ground * shallow + body.clamp_min(0.01) * (1 - shallow)
    foam = _foam(depth, along, time * swing, column(_BAND), column(_LACE), footprint)
    foam = (column(_FOAM) * foam).clamp(0, 1)[..., None]
    sea = sea * (1 - foam) + _FOAM_ALBEDO * foam
    flooded_ground = ground + (sea - ground) * edge[..., None]
    return torch.where(column(PRESENT)[..., None] > 0, flooded_ground, albedo)


def _ripples(
    depth: torch.Tensor, along: torch.Tensor, time: torch.Tensor, number: torch.Tensor, footprint: torch.Tensor
) -> torch.Tensor:
    """About -1 to 1: waves that come in from the deep, and smaller ones across them."""
    seen = (-(0.7 * number * footprint).square()).exp()
    long = (number * depth + 3 * time + 2 * (0.4 * number * along + 0.7 * time).sin()).sin()
    cross = (1.7 * number * along - 2 * time + 1.5 * (0.9 * number * depth).sin()).sin()
    return seen * (0.6 * long + 0.4 * long * cross)


def _foam(
    depth: torch.Tensor,
    along: torch.Tensor,
    time: torch.Tensor,
    band: torch.Tensor,
    number: torch.Tensor,
    footprint: torch.Tensor,
) -> torch.Tensor:
    """0 to 1: a band along the front, a breaking wave behind it, and lace between that thins with depth."""
    uneven = 0.6 + 0.4 * (number * along + 0.5 * time).sin() * (0.37 * number * along - 0.3 * time).sin()
    wide = torch.maximum(band, footprint)
    front = (-(depth / wide).square()).exp() * uneven
    breaker = (-((depth - 6 * band * (1.2 + (0.5 * time).sin())) / (1.5 * wide)).square()).exp() * (1.4 * uneven - 0.4)
    net = (number * along + 1.3 * (0.6 * number * depth + 0.4 * time).sin()).sin() + (
        0.8 * number * depth + 1.1 * (0.7 * number * along).sin()
    ).sin()
    lace = (1 - net.abs() / 0.4).clamp_min(0) * (-(0.7 * number * footprint).square()).exp()
    lace = lace * (-depth.clamp_min(0) / (12 * band)).exp()
    return torch.maximum(torch.maximum(front, breaker.clamp_min(0)), 0.8 * lace)
