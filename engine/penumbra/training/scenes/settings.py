"""What kind of scenes to make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from penumbra.errors import JobError

EffectKind: TypeAlias = Literal["shadows", "reflections", "both"]

KINDS: tuple[EffectKind, ...] = ("shadows", "reflections", "both")


@dataclass(frozen=True)
class SceneSettings:
    """Everything that decides a family of scenes; a scene itself is drawn from it with a seed.

    ``height``, ``width`` pixels; ``frames`` per clip; ``objects`` 2 to 4 (1 is allowed); ``kind`` of effects.
    ``version`` 1 is plain; 2 has lower suns and cameras and larger objects, as footage does.
    ``span`` is the share of the objects' whole paths that the clip covers: 1 for a whole clip, less for a short window.
    ``pan`` turns the camera about its centre. ``grain``, ``drift`` (exposure), ``patch`` (a piece of background that
    moves by itself), ``water`` (that runs up a shore and back) and ``rough_masks`` (blurred, shifted, grown or shrunk)
    make clips as imperfect as footage.
    """

    height: int = 64
    width: int = 64
    frames: int = 5
    objects: int = 2
    kind: EffectKind = "both"
    version: int = 1
    span: float = 1.0
    pan: bool = False
    grain: bool = False
    drift: bool = False
    patch: bool = False
    rough_masks: bool = False
    water: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (("height", 16, 4096), ("width", 16, 4096), ("frames", 1, 1000), ("objects", 1, 4)):
            if not low <= getattr(self, name) <= high:
                raise JobError(f"Scenes cannot have {name} {getattr(self, name)}.", f"Choose {low} to {high}.")
        if self.kind not in KINDS:
            raise JobError(f"{self.kind!r} is no kind of scene.", "Use one of: " + ", ".join(KINDS) + ".")
        if self.version not in (1, 2):
            raise JobError(f"There is no version {self.version} of the scenes.", "Use 1 or 2.")
        if not 0 < self.span <= 1:
            raise JobError(f"A clip cannot cover {self.span} of its objects' paths.", "Choose a span in (0, 1].")
