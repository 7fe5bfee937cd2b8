"""Every key and what it does: the one list behind actions and the shortcuts sheet."""

from __future__ import annotations

from typing import NamedTuple

from penumbra_gui.models.words import QT_TRANSLATE_NOOP


class Shortcut(NamedTuple):
    """``name`` is the action's, ``keys`` as Qt writes them, the first being the one shown in menus."""

    name: str
    keys: tuple[str, ...]
    sentence: str


SHORTCUTS: dict[str, tuple[Shortcut, ...]] = {
    QT_TRANSLATE_NOOP("Shortcuts", "Playing"): (
        Shortcut("play_pause", ("Space",), QT_TRANSLATE_NOOP("Shortcuts", "Play or pause")),
        Shortcut("play_back", ("J",), QT_TRANSLATE_NOOP("Shortcuts", "Play backwards; again: faster")),
        Shortcut("pause", ("K",), QT_TRANSLATE_NOOP("Shortcuts", "Pause")),
        Shortcut("play_on", ("L",), QT_TRANSLATE_NOOP("Shortcuts", "Play forwards; again: faster")),
        Shortcut("step_back", ("Left",), QT_TRANSLATE_NOOP("Shortcuts", "One frame back")),
        Shortcut("step_on", ("Right",), QT_TRANSLATE_NOOP("Shortcuts", "One frame on")),
        Shortcut("jump_back", ("Shift+Left",), QT_TRANSLATE_NOOP("Shortcuts", "Ten frames back")),
        Shortcut("jump_on", ("Shift+Right",), QT_TRANSLATE_NOOP("Shortcuts", "Ten frames on")),
        Shortcut("to_start", ("Home",), QT_TRANSLATE_NOOP("Shortcuts", "To the in point")),
        Shortcut("to_end", ("End",), QT_TRANSLATE_NOOP("Shortcuts", "To the out point")),
        Shortcut("set_start", ("I",), QT_TRANSLATE_NOOP("Shortcuts", "In point here")),
        Shortcut("set_end", ("O",), QT_TRANSLATE_NOOP("Shortcuts", "Out point here")),
        Shortcut("clear_range", ("Shift+I",), QT_TRANSLATE_NOOP("Shortcuts", "In and out points at the ends")),
    ),
    QT_TRANSLATE_NOOP("Shortcuts", "Seeing"): (
        Shortcut("fit", ("F",), QT_TRANSLATE_NOOP("Shortcuts", "Fit the picture in the window")),
        Shortcut("actual_size", ("1",), QT_TRANSLATE_NOOP("Shortcuts", "One picture pixel to one screen pixel")),
        Shortcut("zoom_in", ("+", "="), QT_TRANSLATE_NOOP("Shortcuts", "Closer")),
        Shortcut("zoom_out", ("-",), QT_TRANSLATE_NOOP("Shortcuts", "Farther")),
        Shortcut("channel_r", ("R",), QT_TRANSLATE_NOOP("Shortcuts", "Red alone; again: colour")),
        Shortcut("channel_g", ("G",), QT_TRANSLATE_NOOP("Shortcuts", "Green alone; again: colour")),
        Shortcut("channel_b", ("B",), QT_TRANSLATE_NOOP("Shortcuts", "Blue alone; again: colour")),
        Shortcut("channel_a", ("A",), QT_TRANSLATE_NOOP("Shortcuts", "Coverage; again: colour")),
        Shortcut("channel_l", ("Y",), QT_TRANSLATE_NOOP("Shortcuts", "Luminance; again: colour")),
        Shortcut("wipe", ("W",), QT_TRANSLATE_NOOP("Shortcuts", "Wipe against the plate")),
        Shortcut("difference", ("D",), QT_TRANSLATE_NOOP("Shortcuts", "Difference to the plate")),
        Shortcut("swap", ("P",), QT_TRANSLATE_NOOP("Shortcuts", "Plate or layers")),
        Shortcut("outlines", ("M",), QT_TRANSLATE_NOOP("Shortcuts", "Mask outlines")),
        Shortcut("reset_view", ("Shift+F",), QT_TRANSLATE_NOOP("Shortcuts", "Exposure and gamma as they were")),
    ),
    QT_TRANSLATE_NOOP("Shortcuts", "Working"): (
        Shortcut("open_clip", ("Ctrl+O",), QT_TRANSLATE_NOOP("Shortcuts", "Open a clip")),
        Shortcut("add_masks", ("Ctrl+M",), QT_TRANSLATE_NOOP("Shortcuts", "Add masks")),
        Shortcut("save_job", ("Ctrl+S",), QT_TRANSLATE_NOOP("Shortcuts", "Save the job")),
        Shortcut("start", ("Ctrl+Return",), QT_TRANSLATE_NOOP("Shortcuts", "Start or resume")),
        Shortcut("stop", ("Ctrl+.",), QT_TRANSLATE_NOOP("Shortcuts", "Stop")),
        Shortcut("log", ("Ctrl+L",), QT_TRANSLATE_NOOP("Shortcuts", "Show or hide the log")),
        Shortcut("shortcuts", ("?", "F1"), QT_TRANSLATE_NOOP("Shortcuts", "All shortcuts")),
        Shortcut("quit", ("Ctrl+Q",), QT_TRANSLATE_NOOP("Shortcuts", "Quit")),
    ),
}


def keys_of(name: str) -> tuple[str, ...]:
    """The keys of an action, none for one without."""
    found = (shortcut.keys for group in SHORTCUTS.values() for shortcut in group if shortcut.name == name)
    return next(found, ())
