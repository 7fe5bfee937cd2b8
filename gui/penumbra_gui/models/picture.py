"""The picture in the viewer: layers laid over each other, compared with the plate, and made visible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra_gui.models.display import DisplayTransform, FloatArray
from penumbra_gui.models.service import HalfArray

Bytes = NDArray[np.uint8]
Content: TypeAlias = Literal["plate", "layers"]
Channel: TypeAlias = Literal["RGB", "R", "G", "B", "A", "L"]
Backdrop: TypeAlias = Literal["clean plate", "checkerboard", "black", "white", "grey", "image"]
Compare: TypeAlias = Literal["off", "wipe", "difference"]

CHANNELS: tuple[Channel, ...] = ("RGB", "R", "G", "B", "A", "L")
BACKDROPS: tuple[Backdrop, ...] = ("clean plate", "checkerboard", "black", "white", "grey", "image")
_FLAT = {"black": 0.0, "white": 1.0, "grey": 0.18}
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
_CHECKER, _DARK, _LIGHT = 16, 0.06, 0.16


@dataclass(frozen=True)
class ViewSettings:
    """How the viewer shows a frame. ``exposure`` in stops; ``opacity`` of layers that are not fully shown.

    ``wipe``: the share of the width, from the left, that shows the picture rather than the plate; it is the viewer's
    alone and changes no picture.
    """

    content: Content = "plate"
    channel: Channel = "RGB"
    exposure: float = 0.0
    gamma: float = 1.0
    display: str = ""
    view: str = ""
    backdrop: Backdrop = "clean plate"
    hidden: frozenset[str] = frozenset()
    solo: str = ""
    opacity: tuple[tuple[str, float], ...] = ()
    compare: Compare = "off"
    wipe: float = 0.5
    gain: float = 1.0
    outlines: bool = True

    def shows(self, name: str) -> bool:
        """Whether a layer takes part."""
        return name == self.solo if self.solo else name not in self.hidden

    def of_layers(self, names: Iterable[str]) -> ViewSettings:
        """The same without what is chosen of layers that are not among ``names``."""
        known = frozenset(names)
        return replace(
            self, hidden=self.hidden & known, solo=self.solo if self.solo in known else "",
            opacity=tuple(entry for entry in self.opacity if entry[0] in known),
        )  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """What there is to show at a frame: ``order`` names the layers back to front, ``colors`` of outlines by name."""

    order: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    colors: dict[str, tuple[int, int, int]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Picture:
    """``pixels``: H x W x 4, blue, green, red, unused, as Qt's RGB32; ``linear``: H x W x 4 float16 before the display.

    ``place``: x, y, width, height on the canvas, pixels of the plate; ``step``: plate pixels to a pixel of this;
    ``other``: the plate, to be wiped against.
    """

    pixels: Bytes
    linear: HalfArray
    place: tuple[int, int, int, int]
    step: int
    other: Picture | None = None

    @property
    def size(self) -> int:
        """Bytes held."""
        return self.pixels.nbytes + self.linear.nbytes + (self.other.size if self.other is not None else 0)


def sources_of(view: ViewSettings, scene: Scene) -> tuple[str, ...]:
    """What has to be read to show a frame so."""
    found: list[str] = []
    if view.content == "layers":
        found += [f"layer:{name}" for name in scene.order if view.shows(name)]
        found += ["background"] if view.backdrop == "clean plate" else []
        found += ["image"] if view.backdrop == "image" else []
    if view.content == "plate" or view.compare != "off":
        found.append("plate")
    if view.outlines:
        found += [f"mask:{name}" for name in scene.masks]
    return tuple(found)


def draw(
    view: ViewSettings,
    scene: Scene,
    frames: dict[str, HalfArray],
    transform: DisplayTransform,
    place: tuple[int, int, int, int],
    step: int,
) -> Picture:
    """The picture of one frame from what :func:`sources_of` named, all of one size. Heavy: call it off the loop."""
    linear = _composite(view, scene, frames)
    shown = _shown(view, linear, transform)
    if view.outlines:
        _outline(shown, scene, frames)
    other = None
    if view.compare == "wipe":
        other = draw(replace(view, content="plate", compare="off"), scene, frames, transform, place, step)
    return Picture(cv2.cvtColor(shown, cv2.COLOR_RGB2BGRA), linear.astype(np.float16), place, step, other)


def _composite(view: ViewSettings, scene: Scene, frames: dict[str, HalfArray]) -> FloatArray:
    """H x W x 4: linear colour over the backdrop, and the layers' joint coverage."""
    if view.content == "plate":
        return _with_alpha(frames["plate"])
    chosen = [name for name in scene.order if view.shows(name) and f"layer:{name}" in frames]
    stack = [frames[f"layer:{name}"] for name in chosen]
    shape = next(iter(frames.values())).shape[:2] if frames else (1, 1)
    color, clear = _backdrop(view, frames, shape), np.ones((*shape, 1), np.float32)
    opacity = dict(view.opacity)
    for name, layer in zip(chosen, stack, strict=True):
        rgba = layer.astype(np.float32) * np.float32(opacity.get(name, 1.0))
        color = rgba[..., :3] + (1 - rgba[..., 3:]) * color
        clear *= 1 - rgba[..., 3:]
    if view.compare == "difference":
        color = np.abs(color - _with_alpha(frames["plate"])[..., :3]) * np.float32(view.gain)
    return np.concatenate([color, 1 - clear], axis=-1)


def _backdrop(view: ViewSettings, frames: dict[str, HalfArray], shape: tuple[int, ...]) -> FloatArray:
    height, width = shape[0], shape[1]
    named = {"clean plate": "background", "image": "image"}.get(view.backdrop)
    if named is not None and named in frames:
        return frames[named][..., :3].astype(np.float32)
    if view.backdrop == "checkerboard":
        odd = (np.add.outer(np.arange(height) // _CHECKER, np.arange(width) // _CHECKER) % 2)[..., None]
        return np.repeat(np.where(odd, _LIGHT, _DARK).astype(np.float32), 3, axis=2)
    return np.full((height, width, 3), _FLAT.get(view.backdrop, 0.0), np.float32)


def _with_alpha(pixels: HalfArray) -> FloatArray:
    rgb = pixels[..., :3].astype(np.float32)
    if rgb.shape[2] == 1:
        rgb = np.repeat(rgb, 3, axis=2)
    return np.concatenate([rgb, np.ones((*rgb.shape[:2], 1), np.float32)], axis=-1)


def _shown(view: ViewSettings, linear: FloatArray, transform: DisplayTransform) -> Bytes:
    """Through exposure, display, channel choice and gamma to 8 bits, H x W x 3."""
    if view.channel == "A":
        # Coverage is no light: it is shown as it is.
        display = np.repeat(np.clip(linear[..., 3:], 0, 1), 3, axis=2)
    else:
        light = linear[..., :3] * np.float32(2.0**view.exposure)
        if view.channel == "L":
            light = np.repeat((light @ _LUMA)[..., None], 3, axis=2)
        elif view.channel != "RGB":
            light = np.repeat(light[..., ["RGB".index(view.channel)]], 3, axis=2)
        display = transform(light)
    if view.gamma != 1.0:
        display = display ** np.float32(1 / max(view.gamma, 0.05))
    return cast("Bytes", (display * 255 + 0.5).astype(np.uint8))


def _outline(shown: Bytes, scene: Scene, frames: dict[str, HalfArray]) -> None:
    """One pixel of each mask's colour around where it covers at least a half."""
    for name in scene.masks:
        mask = frames.get(f"mask:{name}")
        if mask is not None:
            inside = (mask[..., 0] >= 0.5).astype(np.uint8)
            edge = cv2.dilate(inside, np.ones((3, 3), np.uint8)) != inside
            shown[edge] = scene.colors.get(name, (255, 255, 255))
