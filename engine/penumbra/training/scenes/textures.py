"""Procedural ground and wall textures: small images that tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]

TEXTURE_SIZE = 256


def sample_texture(random: np.random.Generator) -> FloatArray:
    """A texture that tiles: (3, TEXTURE_SIZE, TEXTURE_SIZE), albedo in linear light, [0.02, 0.95]."""
    pattern = _PATTERNS[int(random.choice(len(_PATTERNS), p=_SHARES))](random)
    low, high = sample_ground_colours(random)
    texture = low[:, None, None] + (high - low)[:, None, None] * pattern
    speckle = 1 + random.uniform(0, 0.35) * (_octaves(random, int(random.integers(8, 64)), 3) - 0.5)
    return np.asarray(np.clip(texture * speckle, 0.02, 0.95), np.float32)


def sample_ground_colours(random: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Two related colours, linear light: mostly muted, now and then vivid; contrast varies from none to strong."""
    value = random.uniform(0.06, 0.6)
    first = _muted(random, value)
    second = _muted(random, float(np.clip(value * np.exp(random.normal(0, 0.8)), 0.03, 0.85)))
    nearness = 1.0 if random.random() < 0.65 else random.uniform(0.1, 0.6)
    mixed: FloatArray = (first + (second - first) * np.float32(nearness)).astype(np.float32)
    return first, mixed


def _muted(random: np.random.Generator, value: float) -> FloatArray:
    hue = random.uniform(0, 1, 3)
    saturation = random.beta(1.3, 2.4)
    colour = value * (1 - saturation + saturation * hue / max(hue.mean(), 0.2))
    return np.asarray(np.clip(colour, 0.02, 0.95), np.float32)


def _octaves(random: np.random.Generator, cells: int, count: int) -> FloatArray:
    """Value noise in [0, 1] that tiles: ``count`` octaves from ``cells`` cells on."""
    total = np.zeros((TEXTURE_SIZE, TEXTURE_SIZE), np.float32)
    weight = 0.0
    for octave in range(count):
        size = min(cells * 2**octave, TEXTURE_SIZE)
        grid = np.pad(random.random((size, size)).astype(np.float32), 2, mode="wrap")
        scale = TEXTURE_SIZE // size + 1
        large = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        inner = large[2 * scale : (size + 2) * scale, 2 * scale : (size + 2) * scale]
        total += 0.55**octave * cv2.resize(inner, (TEXTURE_SIZE, TEXTURE_SIZE), interpolation=cv2.INTER_AREA)
        weight += 0.55**octave
    total /= weight
    return np.asarray(np.clip((total - 0.5) * 1.4 + 0.5, 0, 1), np.float32)


def _axes() -> tuple[FloatArray, FloatArray]:
    axis: FloatArray = ((np.arange(TEXTURE_SIZE) + 0.5) / TEXTURE_SIZE).astype(np.float32)
    return axis[:, None], axis[None, :]


def _noise(random: np.random.Generator) -> FloatArray:
    return _octaves(random, int(random.integers(3, 24)), int(random.integers(2, 6)))


def _blotches(random: np.random.Generator) -> FloatArray:
    noise = _octaves(random, int(random.integers(6, 20)), 3)
    return np.asarray(np.clip((noise - random.uniform(0.35, 0.65)) * random.uniform(6, 30) + 0.5, 0, 1), np.float32)


def _checks(random: np.random.Generator) -> FloatArray:
    y, x = _axes()
    cells = int(random.choice([4, 6, 8, 10, 14]))
    check = (np.floor(x * cells) + np.floor(y * cells)) % 2
    return np.asarray(check * random.uniform(0.4, 1.0) + 0.3 * _octaves(random, 8, 3), np.float32)


def _bricks(random: np.random.Generator) -> FloatArray:
    y, x = _axes()
    rows, columns = int(random.choice([8, 12, 16, 20])), int(random.choice([4, 6, 8, 10]))
    row = np.floor(y * rows)
    along = x * columns + 0.5 * (row % 2)
    shade = random.random((rows, columns)).astype(np.float32)
    tone = shade[row.astype(int) % rows, np.floor(along).astype(int) % columns]
    joint = (np.minimum(along % 1, 1 - along % 1) * rows < 0.08 * columns) | (np.abs(y * rows % 1 - 0.5) > 0.44)
    return np.asarray(np.where(joint, random.choice([0.0, 1.0]), 0.3 + 0.5 * tone), np.float32)


def _planks(random: np.random.Generator) -> FloatArray:
    y, _ = _axes()
    boards = int(random.choice([4, 6, 8, 12]))
    shade = random.random(boards).astype(np.float32)[np.floor(y * boards).astype(int)]
    grain = cv2.resize(_octaves(random, 64, 2)[:, :16], (TEXTURE_SIZE, TEXTURE_SIZE), interpolation=cv2.INTER_LINEAR)
    joint = np.abs(y * boards % 1 - 0.5) > 0.47
    return np.asarray(np.where(joint, 0.0, 0.2 + 0.45 * shade + 0.35 * grain), np.float32)


def _stones(random: np.random.Generator) -> FloatArray:
    count = int(random.integers(30, 200))
    points = random.random((count, 2)).astype(np.float32)
    tiled = np.concatenate([points + np.array([i, j], np.float32) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    near = tiled[((tiled > -0.2) & (tiled < 1.2)).all(1)].astype(np.float32)
    # The distance transform labels each pixel with its nearest seed: a Voronoi diagram.
    canvas = np.ones((int(TEXTURE_SIZE * 1.4), int(TEXTURE_SIZE * 1.4)), np.uint8)
    at = np.clip(((near + 0.2) * TEXTURE_SIZE).astype(int), 0, canvas.shape[0] - 1)
    canvas[at[:, 1], at[:, 0]] = 0
    _, labels = cv2.distanceTransformWithLabels(canvas, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    margin = int(TEXTURE_SIZE * 0.2)
    inner = labels[margin : margin + TEXTURE_SIZE, margin : margin + TEXTURE_SIZE]
    shade: FloatArray = random.random(int(labels.max()) + 1).astype(np.float32)
    return np.asarray(shade[inner], np.float32)


def _stripes(random: np.random.Generator) -> FloatArray:
    y, x = _axes()
    across, along = int(random.integers(2, 12)), int(random.integers(0, 8))
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * (across * x + along * y) + 2 * _octaves(random, 6, 2))
    return np.asarray(wave, np.float32)


_PATTERNS: tuple[Callable[[np.random.Generator], FloatArray], ...] = (
    _noise, _blotches, _checks, _bricks, _planks, _stones, _stripes,
)  # fmt: skip
_SHARES = (0.3, 0.15, 0.14, 0.11, 0.1, 0.13, 0.07)
