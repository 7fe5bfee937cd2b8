"""The state all controllers share, and who is told when it changes."""

from __future__ import annotations

from collections.abc import Callable

from penumbra_gui.models.checks import PlateFacts, Verdict
from penumbra_gui.models.outputs import FinishedOutput
from penumbra_gui.models.picture import Scene
from penumbra_gui.models.project import Project, object_color


class Session:
    """One clip at work. ``edition`` changes with the footage, ``layers_edition`` with what a run writes; ``begun``: its
    folder holds a run that has not ended.
    """

    def __init__(self) -> None:
        self.project = Project()
        self.verdict: Verdict | None = None
        self.output: FinishedOutput | None = None
        self.finished: frozenset[int] = frozenset()
        self.begun = False
        self.edition, self.layers_edition = 0, 0
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """``listener`` is called after every change."""
        self._listeners.append(listener)

    def tell(self) -> None:
        """Tells everyone that something has changed."""
        for listener in self._listeners:
            listener()

    @property
    def facts(self) -> PlateFacts | None:
        """The plate, where it can be used."""
        return None if self.verdict is None else self.verdict.plate

    def scene_at(self, frame: int) -> Scene:
        """Layers back to front, and the masks that can be read."""
        order = self.output.order.get(frame, ()) if self.output is not None else self.project.order_at(frame)
        good = [mask.name for mask in self.verdict.masks if not _bad(mask)] if self.verdict else []
        return Scene(order or self.project.order_at(frame), tuple(good), self.colors())

    def colors(self) -> dict[str, tuple[int, int, int]]:
        """Every object's colour by name."""
        return {name: object_color(place) for place, name in enumerate(self.project.names)}


def _bad(mask: object) -> bool:
    return any(sentence.severity == "error" for sentence in getattr(mask, "sentences", ()))
