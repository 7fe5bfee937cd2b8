"""Which Read nodes the engine can read by itself, to the very pixels the script sees, and in which colour."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Optional, Tuple

from penumbra_nuke.settings import Clip

CODE_VALUES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
CODED, LINEAR_REC709 = "srgb_tx", "lin_rec709"
# Nuke's own colour management calls its space linear; configurations call theirs by role or by name.
_KNOWN_SPACES = {
    "linear": LINEAR_REC709,
    "scene_linear_rec709": LINEAR_REC709,
    "utility - linear - srgb": LINEAR_REC709,
    "linear rec.709 (srgb)": LINEAR_REC709,
    "acescg": "ACEScg",
    "aces - acescg": "ACEScg",
    "aces/acescg": "ACEScg",
    "aces2065-1": "ACES2065-1",
    "aces - aces2065-1": "ACES2065-1",
}


@dataclass(frozen=True)
class ScriptColor:
    """A script's colour management: ``Nuke`` or ``OCIO``, the OCIO configuration chosen, the working space."""

    management: str = "Nuke"
    configuration: str = ""
    working_space: str = "linear"


@dataclass(frozen=True)
class ReadFacts:
    """What decides over a Read: its file after all substitution, and what changes its pixels or frames.

    ``shifted``: frames of the script are not those of its files, or not all of those that are needed are its own.
    ``stereo``: the script has several views, all of which one EXR may hold.
    """

    file: str
    color_space: str = "linear"
    raw: bool = False
    premultiplied: bool = False
    disabled: bool = False
    shifted: bool = False
    stereo: bool = False


def plate_clip(read: ReadFacts, script: ScriptColor, still: bool = False) -> Optional[Clip]:
    """The plate as files, or None: then it must be rendered, for the script sees other pixels than are in them.

    Movies are always rendered: hosts decode them in ways of their own. ``still``: one file will do, for a clean plate.
    """
    suffix = _suffix(read.file)
    if not _as_it_is(read, still) or read.premultiplied:
        return None
    if suffix == ".exr" and (read.raw or _same(read.color_space, script)):
        return Clip(read.file)
    coded = suffix in CODE_VALUES and not read.raw and script.management == "Nuke"
    return Clip(read.file, color=CODED) if coded and _plain(read.color_space) == "srgb" else None


def mask_clip(read: ReadFacts, channel: Optional[str]) -> Optional[Clip]:
    """A mask as files: its alpha, or its luminance where alpha says nothing. None: it must be rendered."""
    if channel is not None or not _as_it_is(read) or _suffix(read.file) not in (".exr", *CODE_VALUES):
        return None
    return Clip(read.file)


def in_working_space(plate: Clip, working: str) -> Clip:
    """The plate in the space the script sees it in: most files have no tag, and Nuke heeds none. ``working``: as
    :func:`space_name` has it; a name only the script knows is left out.
    """
    known = plate.color == "auto" and working in _KNOWN_SPACES.values()
    return replace(plate, color=working) if known else plate


def in_one_space(plate: Clip, clean: Clip, working: str) -> Tuple[Clip, Clip]:
    """Plate and own clean plate, both as :func:`in_working_space` has it: left to their headers, a tag on one of them
    alone would part them.
    """
    plate = in_working_space(plate, working)
    if clean.color == "auto":
        clean = replace(clean, color=working if plate.color == CODED else plate.color)
    return plate, clean


def is_absolute(file: str) -> bool:
    """Whether a name with forward slashes means the same file wherever it is read from."""
    return bool(re.match(r"/|[A-Za-z]:/", file))


def is_numbered(file: str) -> bool:
    """Whether the name is that of a sequence."""
    return bool(re.search(r"%0?\d*d|#+", file.rpartition("/")[2]))


def space_name(script: ScriptColor) -> str:
    """The working space by a name the engine knows; one of its own configuration goes through as it is."""
    name = script.working_space.strip()
    if name.lower() == "scene_linear":
        configuration = script.configuration.lower()
        if "nuke-default" in configuration:
            return LINEAR_REC709
        return "ACEScg" if re.search(r"aces|cg-config|studio-config", configuration) else name
    return _KNOWN_SPACES.get(name.lower(), name)


def _as_it_is(read: ReadFacts, still: bool = False) -> bool:
    changed = read.disabled or read.shifted or read.stereo
    named = is_absolute(read.file) and "%v" not in read.file.lower()
    return not changed and named and (still or is_numbered(read.file))


def _same(color_space: str, script: ScriptColor) -> bool:
    """Whether a Read converts nothing."""
    return _plain(color_space) in ("linear", "scene_linear", "raw", "data", _plain(script.working_space))


def _plain(color_space: str) -> str:
    """``default (sRGB)`` and ``color_picking (sRGB)`` are sRGB."""
    inner = re.search(r"\(([^()]+)\)\s*\Z", color_space)
    return (inner.group(1) if inner and color_space.startswith("default") else color_space).strip().lower()


def _suffix(file: str) -> str:
    dot = file.rfind(".")
    return file[dot:].lower() if dot >= 0 else ""
