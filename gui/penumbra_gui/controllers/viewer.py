"""What is seen: the frame, the view, and which pictures are made in which order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from penumbra.errors import PenumbraError
from penumbra_gui.models.display import displays, usual_view
from penumbra_gui.models.frame_store import FrameStore, Wanted
from penumbra_gui.models.picture import Channel, Picture, ViewSettings
from penumbra_gui.models.session import Session
from penumbra_gui.models.timeline import Timeline
from penumbra_gui.models.workers import Loop, Workers
from penumbra_gui.views.dialogs import Dialogs
from penumbra_gui.views.layers import LayersView
from penumbra_gui.views.timeline import TimelineView
from penumbra_gui.views.view_bar import ViewBar
from penumbra_gui.views.viewer import ViewerView
from penumbra_gui.views.words import translate

_STILL_MILLISECONDS = 140
_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_AHEAD = 48
_IN_HAND = 2
_CHANNEL_KEYS: dict[str, Channel] = {
    "channel_r": "R", "channel_g": "G", "channel_b": "B", "channel_a": "A", "channel_l": "L",
}  # fmt: skip


class ViewerController:
    """Shows the frame of the timeline as the view settings say, coarse at once and fine when one stops.

    ``footage_lost`` is called when the process that reads footage has died and forgotten the clip.
    """

    def __init__(
        self,
        session: Session,
        store: FrameStore,
        loop: Loop,
        workers: Workers,
        viewer: ViewerView,
        bar: ViewBar,
        timeline: TimelineView,
        layers: LayersView,
        dialogs: Dialogs,
        show_readout: Callable[[str], None],
        footage_lost: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session, self._store, self._loop, self._workers = session, store, loop, workers
        self._viewer, self._bar, self._timeline, self._layers = viewer, bar, timeline, layers
        self._dialogs, self._show_readout, self._footage_lost, self._clock = dialogs, show_readout, footage_lost, clock
        self.line, self.view, self.image = Timeline(), ViewSettings(), ""
        self._edition, self._path = -1, ""
        self._starts = 0
        self._pointed: tuple[int, int] | None = None
        self._still, self._making, self._due = 0, 0, 0.0
        self._failed_at: object = None
        self._pending: set[Wanted] = set()
        self._connect()

    def _connect(self) -> None:
        self._viewer.moved.connect(self._on_moved)
        self._viewer.pointed.connect(self._on_pointed)
        self._viewer.left.connect(lambda: self._show_readout(""))
        self._viewer.wiped.connect(self._move_wipe)
        self._bar.changed.connect(self.change)
        self._bar.fit_asked.connect(self._viewer.fit)
        self._timeline.chosen.connect(self.go_to)
        self._timeline.action.connect(self.act)
        self._timeline.loop_changed.connect(self.set_loop)
        self._layers.shown.connect(self._show_layer)
        self._layers.soloed.connect(self._solo)
        self._layers.without.connect(self._without)
        self._layers.opacity_changed.connect(self._set_opacity)
        self._layers.backdrop_chosen.connect(self._choose_backdrop)
        self._session.listen(self.refresh)
        self._show_view()

    def refresh(self) -> None:
        """Takes over what has changed in the session."""
        facts = self._session.facts
        if facts is None:
            reading = self._session.project.plate is not None and self._session.verdict is None
            self._viewer.show_message(translate("Viewer", "Reading the clip.") if reading else "")
            return
        if self._session.edition != self._edition:
            self._edition, self._starts = self._session.edition, self._store.service.starts
            plate = self._session.project.plate
            same = plate is not None and plate.path == self._path
            self._path = "" if plate is None else plate.path
            self.line = self.line.over(facts.first, facts.last, facts.fps, same)
            self._viewer.set_canvas(facts.canvas[2], facts.canvas[3], facts.pixel_aspect)
            if not self.view.display:
                self._begin_view(facts.space)
        names = self._session.scene_at(self.line.current).order
        # A layer that is gone has no button any more to give the others back.
        self.view = self.view.of_layers((*names, *self._session.project.names))
        self._layers.show_layers(names, self._session.colors(), bool(self._session.finished))
        self._show_view()
        self._render()

    def act(self, name: str) -> None:
        """An action of :mod:`penumbra_gui.models.shortcuts`; others are ignored."""
        moves: dict[str, Callable[[], Timeline]] = {
            "play_pause": lambda: self.line.pause() if self.line.playing else self.line.play(1),
            "play_on": lambda: self.line.play(1),
            "play_back": lambda: self.line.play(-1),
            "pause": self.line.pause,
            "step_on": lambda: self.line.step(1),
            "step_back": lambda: self.line.step(-1),
            "jump_on": lambda: self.line.pause().at(self.line.current + 10),
            "jump_back": lambda: self.line.pause().at(self.line.current - 10),
            "to_start": lambda: self.line.pause().at(self.line.start),
            "to_end": lambda: self.line.pause().at(self.line.end),
            "set_start": self.line.with_start,
            "set_end": self.line.with_end,
            "clear_range": self.line.whole,
        }
        looks: dict[str, Callable[[], None]] = {
            "fit": self._viewer.fit,
            "actual_size": self._viewer.actual_size,
            "zoom_in": lambda: self._viewer.zoom_by(1.25),
            "zoom_out": lambda: self._viewer.zoom_by(0.8),
            "wipe": lambda: self._toggle_compare("wipe"),
            "difference": lambda: self._toggle_compare("difference"),
            "swap": self._swap,
            "outlines": lambda: self.change("outlines", not self.view.outlines),
            "reset_view": lambda: self._set_view(replace(self.view, exposure=0.0, gamma=1.0)),
        }
        if name in moves:
            self._set_line(moves[name]())
        elif name in looks:
            looks[name]()
        elif name in _CHANNEL_KEYS:
            chosen = _CHANNEL_KEYS[name]
            self.change("channel", "RGB" if self.view.channel == chosen else chosen)

    def go_to(self, frame: int) -> None:
        """Another frame, as when scrubbing."""
        self._set_line(self.line.at(frame))

    def set_loop(self, on: bool) -> None:
        """Whether playing goes round."""
        self._set_line(replace(self.line, loop=on))

    def change(self, field: str, value: Any) -> None:
        """One field of the view settings."""
        if field == "display":
            views = displays().get(value, ())
            kept = self.view.view if self.view.view in views else (views[0] if views else "")
            self._set_view(replace(self.view, display=value, view=kept))
            self._bar.show_displays(displays(), self.view)
            return
        if field == "compare" and value != "off":
            if self._has_layers:
                self._set_view(replace(self.view, compare=value, content="layers"))
            return
        self._set_view(replace(self.view, **{field: value}))

    def _move_wipe(self, share: float) -> None:
        self.view = replace(self.view, wipe=share)
        self._viewer.set_wipe(share)

    def show_layers(self) -> None:
        """Switches to the layers, as when a run has finished."""
        if self._has_layers:
            self._set_view(replace(self.view, content="layers"))

    @property
    def _has_layers(self) -> bool:
        return bool(self._session.finished)

    def _begin_view(self, space: str) -> None:
        try:
            display, view = usual_view(space)
        except PenumbraError as error:
            self._viewer.show_message(str(error))
            return
        self.view = replace(self.view, display=display, view=view)
        self._bar.show_displays(displays(), self.view)

    def _set_line(self, line: Timeline) -> None:
        began = line.playing and not self.line.playing
        self.line = line
        if began:
            self._due = self._clock()
            self._loop.later(1, self._tick)
        self._render()

    def _set_view(self, view: ViewSettings) -> None:
        if view != self.view:
            self.view = view
            self._show_view()
            self._render()

    def _show_view(self) -> None:
        self._bar.show_view(self.view, self._has_layers)
        self._layers.show_view(self.view)
        self._show_wipe()

    def _show_wipe(self) -> None:
        """The wipe's line, where there is something to wipe against."""
        wiped = self.view.compare == "wipe" and self.view.content == "layers"
        there = self.line.current in self._session.finished
        self._viewer.set_wipe(self.view.wipe if wiped and there else None)

    def _swap(self) -> None:
        if self._has_layers:
            self.change("content", "plate" if self.view.content == "layers" else "layers")

    def _toggle_compare(self, name: str) -> None:
        # A comparison chosen before the plate was looked at by itself is seen again, not taken off unseen.
        on = self.view.compare == name and self.view.content == "layers"
        self.change("compare", "off" if on else name)

    def _show_layer(self, name: str, on: bool) -> None:
        hidden = self.view.hidden - {name} if on else self.view.hidden | {name}
        self._set_view(replace(self.view, hidden=hidden, content="layers"))

    def _solo(self, name: str) -> None:
        self._set_view(replace(self.view, solo=name, content="layers"))

    def _without(self, name: str) -> None:
        hidden = frozenset({name}) if name else frozenset()
        self._set_view(replace(self.view, hidden=hidden, solo="", opacity=(), backdrop="clean plate", content="layers"))

    def _set_opacity(self, name: str, value: float) -> None:
        others = tuple(entry for entry in self.view.opacity if entry[0] != name)
        self._set_view(replace(self.view, opacity=(*others, (name, value)) if value < 1 else others, content="layers"))

    def _choose_backdrop(self, name: str) -> None:
        if name == "image":
            paths = self._dialogs.open_files(translate("Viewer", "The picture behind the layers"), several=False)
            if not paths:
                self._show_view()
                return
            self.image = paths[0]
        self._set_view(replace(self.view, backdrop=cast("Any", name), content="layers"))

    def _wanted(self, frame: int, fine: bool) -> Wanted | None:
        """The picture to make of a frame; None while there is no clip."""
        facts = self._session.facts
        if facts is None:
            return None
        scale = max(self._viewer.scale, 1e-3)
        step = max(candidate for candidate in _STEPS if candidate <= max(1.0, 1 / scale))
        if not fine:
            step = next((candidate for candidate in _STEPS if candidate >= 2 * step), _STEPS[-1])
            # A small clip gains nothing from being coarser than its own pixels allow.
            step = step if facts.width * facts.height > 600_000 else max(1, step // 2)
        # Moving the wipe's line makes no other pictures.
        view = replace(self.view, wipe=0.5)
        if view.content == "layers" and frame not in self._session.finished:
            view = replace(view, content="plate", compare="off")
        region = self._viewer.visible() if fine and step == 1 and facts.width * facts.height > 1_500_000 else None
        edition = self._session.edition, self._session.layers_edition
        return Wanted(
            frame, step, view, self._session.scene_at(frame), facts.space, facts.canvas[2:], edition,
            self._session.project.folder, self.image if view.backdrop == "image" else "", region,
        )  # fmt: skip

    def _render(self) -> None:
        """Shows the current frame, coarse if need be, and sees to what is missing."""
        self._still += 1
        coarse = self._wanted(self.line.current, fine=False)
        if coarse is None:
            return
        fine = self._wanted(self.line.current, fine=True)
        assert fine is not None
        # Toggling back to a view seen before must not pass through the coarse one.
        ready = self._store.ready(fine) if fine.region is None else None
        picture = ready or self._store.ready(coarse)
        if picture is not None:
            self._show_picture(picture, sharp=False)
        if ready is None and not self.line.playing:
            number = self._still
            self._loop.later(_STILL_MILLISECONDS, lambda: self._sharpen(number))
        self._show_line(coarse)
        self._fill()

    def _show_line(self, coarse: Wanted) -> None:
        cached = frozenset(self._store.frames_ready(coarse.look))
        self._timeline.show_state(self.line, cached, self._session.finished)

    def _show_picture(self, picture: Picture, sharp: bool) -> None:
        self._viewer.show_picture(picture, sharp)
        self._show_wipe()
        if self.view.content == "layers" and self.line.current not in self._session.finished:
            text = translate("Viewer", "Frame {0} has no layers yet: this is the plate.").format(self.line.current)
            self._viewer.show_message(text)
        if self._pointed is not None:
            self._on_pointed(*self._pointed)

    def _sharpen(self, number: int) -> None:
        if number != self._still or self.line.playing:
            return
        fine = self._wanted(self.line.current, fine=True)
        if fine is not None:
            self._make(fine, lambda picture: self._take_fine(number, fine, picture))

    def _take_fine(self, number: int, wanted: Wanted, picture: Picture) -> None:
        if number == self._still:
            self._show_picture(picture, sharp=wanted.region is not None)
        self._fill()

    def _fill(self) -> None:
        """Makes the current frame's coarse picture, then, while playing, those that come next."""
        while self._making < _IN_HAND:
            wanted = self._next_missing()
            if wanted is None or wanted == self._failed_at:
                return
            self._pending.add(wanted)
            self._make(wanted, lambda picture, wanted=wanted: self._take_coarse(wanted, picture))  # type: ignore[misc]

    def _next_missing(self) -> Wanted | None:
        ahead = _AHEAD if self.line.playing else 1
        for count in range(ahead):
            frame = self.line.current if count == 0 else self.line.following(count)
            wanted = self._wanted(frame, fine=False)
            if wanted is not None and self._store.ready(wanted) is None and wanted not in self._pending:
                return wanted
        return None

    def _take_coarse(self, wanted: Wanted, picture: Picture) -> None:
        self._pending.discard(wanted)
        if wanted == self._wanted(self.line.current, fine=False):
            fine = self._wanted(self.line.current, fine=True)
            if self.line.playing or fine is None or self._store.ready(fine) is None:
                self._show_picture(picture, sharp=False)
        self._show_line(wanted)
        self._fill()

    def _make(self, wanted: Wanted, then: Callable[[Picture], None]) -> None:
        self._making += 1

        def arrived(picture: Picture) -> None:
            self._making -= 1
            self._failed_at = None
            then(picture)

        def failed(error: Exception) -> None:
            self._making -= 1
            self._pending.discard(wanted)
            self._take_failure(wanted, error)

        self._workers.run(lambda: self._store.make(wanted), arrived, failed)

    def _take_failure(self, wanted: Wanted, error: Exception) -> None:
        """A frame that cannot be shown is a sentence over the viewer; the rest goes on."""
        if self._store.service.starts != self._starts:
            self._starts = self._store.service.starts
            self._footage_lost()
        current = self._wanted(self.line.current, fine=False)
        if current is not None and wanted.frame == self.line.current:
            self._failed_at = current
            told = translate("Viewer", "This frame cannot be shown: {0}.").format(error)
            self._viewer.show_message(str(error) if isinstance(error, PenumbraError) else told)

    def _tick(self) -> None:
        """Goes on to the next frame when it is due and its picture is there."""
        if not self.line.playing:
            return
        now, interval = self._clock(), 1 / self.line.fps
        following = self.line.following()
        wanted = self._wanted(following, fine=False)
        if wanted is None or (following == self.line.current and not self.line.loop):
            self._set_line(self.line.pause())
            return
        if now < self._due:
            self._loop.later(max(1, round((self._due - now) * 1000)), self._tick)
            return
        if self._store.ready(wanted) is None and self._failed_at is None:
            self._fill()
            self._loop.later(8, self._tick)
            return
        # Late frames are not made up for in a rush.
        self._due = max(self._due + interval, now)
        self._set_line(self.line.at(following))
        self._loop.later(max(1, round((self._due - self._clock()) * 1000)), self._tick)

    def _on_moved(self) -> None:
        self._render()

    def _on_pointed(self, x: int, y: int) -> None:
        self._pointed = x, y
        values = self._viewer.values_at(x, y)
        if values is None:
            self._show_readout("")
            return
        linear, display = values
        light = "  ".join(f"{name} {value:.5f}" for name, value in zip("RGBA", linear, strict=True))
        shown = translate("Viewer", "display {0} {1} {2}").format(*display)
        self._show_readout(f"x {x}  y {y}     {light}     {shown}")
