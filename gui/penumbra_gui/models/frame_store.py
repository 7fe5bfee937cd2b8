"""Frames from the engine's reader, kept while they fit, and the pictures made of them."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass

from penumbra_gui.models.display import DisplayTransform
from penumbra_gui.models.frame_cache import FrameCache
from penumbra_gui.models.picture import Picture, Scene, ViewSettings, draw, sources_of
from penumbra_gui.models.service import FootageService, HalfArray

# Of the bound, what frames take; pictures, which playing needs, have the rest.
_SHARE_OF_FRAMES = 0.4


@dataclass(frozen=True)
class Wanted:
    """A picture to make: ``edition`` changes when the footage or the layers do, ``region`` None is the whole canvas.

    ``region``: x, y, width, height on the canvas; only with ``step`` 1. ``canvas``: its width and height.
    """

    frame: int
    step: int
    view: ViewSettings
    scene: Scene
    space: str
    canvas: tuple[int, int]
    edition: Hashable = 0
    folder: str = ""
    image: str = ""
    region: tuple[int, int, int, int] | None = None

    @property
    def look(self) -> Hashable:
        """Everything but the frame: pictures of one look play together."""
        return self.step, self.view, self.scene, self.space, self.edition, self.folder, self.image, self.region


class FrameStore:
    """Safe from any thread. ``limit`` bounds all that is kept, bytes."""

    def __init__(self, service: FootageService, limit: int) -> None:
        self.service = service
        self._frames: FrameCache[HalfArray] = FrameCache(int(limit * _SHARE_OF_FRAMES))
        self._pictures: FrameCache[Picture] = FrameCache(limit - self._frames.limit)
        self._transforms: dict[tuple[str, str, str], DisplayTransform] = {}
        self._making = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes kept."""
        return self._frames.used + self._pictures.used

    def set_limit(self, limit: int) -> None:
        """Another bound; what is kept is dropped."""
        self.clear()
        self._frames.limit = int(limit * _SHARE_OF_FRAMES)
        self._pictures.limit = limit - self._frames.limit

    def clear(self) -> None:
        """Forgets frames and pictures."""
        self._frames.clear()
        self._pictures.clear()

    def ready(self, wanted: Wanted) -> Picture | None:
        """The picture, if it is there already."""
        return self._pictures.get((wanted.frame, wanted.look))

    def frames_ready(self, look: Hashable) -> set[int]:
        """Frames whose picture of this look is there."""
        return {key[0] for key in self._pictures.keys() if isinstance(key, tuple) and key[1] == look}  # noqa: SIM118

    def make(self, wanted: Wanted) -> Picture:
        """The picture; reads and draws what is missing. Raises :class:`PenumbraError`. Call it off the loop."""
        known = self.ready(wanted)
        if known is not None:
            return known
        frames = {name: self._frame(name, wanted) for name in sources_of(wanted.view, wanted.scene)}
        place = wanted.region or (0, 0, *wanted.canvas)
        if wanted.region is not None:
            x, y, width, height = wanted.region
            frames = {name: pixels[y : y + height, x : x + width] for name, pixels in frames.items()}
        picture = draw(wanted.view, wanted.scene, frames, self._transform(wanted), place, wanted.step)
        self._pictures.put((wanted.frame, wanted.look), picture, picture.size)
        return picture

    def _frame(self, source: str, wanted: Wanted) -> HalfArray:
        key = (source, wanted.frame, wanted.step, wanted.edition, wanted.folder, wanted.image)
        pixels = self._frames.get(key)
        if pixels is None:
            written = source.startswith("layer:") or source == "background"
            where = {"folder": wanted.folder} if written else {"path": wanted.image} if source == "image" else {}
            pixels = self.service.frame(source, wanted.frame, wanted.step, **where)
            self._frames.put(key, pixels, pixels.nbytes)
        return pixels

    def _transform(self, wanted: Wanted) -> DisplayTransform:
        key = (wanted.space, wanted.view.display, wanted.view.view)
        # Two threads would spend a second each on the same lattice.
        with self._making:
            if key not in self._transforms:
                self._transforms[key] = DisplayTransform(*key)
            return self._transforms[key]
