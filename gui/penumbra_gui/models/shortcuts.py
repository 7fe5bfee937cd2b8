"""Every key and what it does: the one list behind actions and the shortcuts sheet."""

from __future__ import annotations

from typing import NamedTuple


class Shortcut(NamedTuple):
    """``name`` is the action's, ``keys`` as Qt writes them, the first being the one shown in menus."""

    name: str
    keys: tuple[str, ...]
    sentence: str


SHORTCUTS: dict[str, tuple[Shortcut, ...]] = {
    "Playing": (
        Shortcut("play_pause", ("Space",), "Play or pause"),
        Shortcut("play_back", ("J",), "Play backwards; again: faster"),
        Shortcut("pause", ("K",), "Pause"),
        Shortcut("play_on", ("L",), "Play forwards; again: faster"),
        Shortcut("step_back", ("Left",), "One frame back"),
        Shortcut("step_on", ("Right",), "One frame on"),
        Shortcut("jump_back", ("Shift+Left",), "Ten frames back"),
        Shortcut("jump_on", ("Shift+Right",), "Ten frames on"),
        Shortcut("to_start", ("Home",), "To the in point"),
        Shortcut("to_end", ("End",), "To the out point"),
        Shortcut("set_start", ("I",), "In point here"),
        Shortcut("set_end", ("O",), "Out point here"),
        Shortcut("clear_range", ("Shift+I",), "In and out points at the ends"),
    ),
    "Seeing": (
        Shortcut("fit", ("F",), "Fit the picture in the window"),
        Shortcut("actual_size", ("1",), "One picture pixel to one screen pixel"),
        Shortcut("zoom_in", ("+", "="), "Closer"),
        Shortcut("zoom_out", ("-",), "Farther"),
        Shortcut("channel_r", ("R",), "Red alone; again: colour"),
        Shortcut("channel_g", ("G",), "Green alone; again: colour"),
        Shortcut("channel_b", ("B",), "Blue alone; again: colour"),
        Shortcut("channel_a", ("A",), "Coverage; again: colour"),
        Shortcut("channel_l", ("Y",), "Luminance; again: colour"),
        Shortcut("wipe", ("W",), "Wipe against the plate"),
        Shortcut("difference", ("D",), "Difference to the plate"),
        Shortcut("swap", ("P",), "Plate or layers"),
        Shortcut("outlines", ("M",), "Mask outlines"),
        Shortcut("reset_view", ("Shift+F",), "Exposure and gamma as they were"),
    ),
    "Working": (
        Shortcut("open_clip", ("Ctrl+O",), "Open a clip"),
        Shortcut("add_masks", ("Ctrl+M",), "Add masks"),
        Shortcut("save_job", ("Ctrl+S",), "Save the job"),
        Shortcut("start", ("Ctrl+Return",), "Start or resume"),
        Shortcut("stop", ("Ctrl+.",), "Stop"),
        Shortcut("log", ("Ctrl+L",), "Show or hide the log"),
        Shortcut("shortcuts", ("?", "F1"), "All shortcuts"),
        Shortcut("quit", ("Ctrl+Q",), "Quit"),
    ),
}


def keys_of(name: str) -> tuple[str, ...]:
    """The keys of an action, none for one without."""
    found = (shortcut.keys for group in SHORTCUTS.values() for shortcut in group if shortcut.name == name)
    return next(found, ())
