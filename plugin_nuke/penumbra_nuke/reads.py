"""Which Read nodes the engine can read by itself, to the very pixels the script sees, and in which colour."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from penumbra_nuke.settings import Clip

CODE_VALUES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
LINEAR_REC709 = "lin_rec709"
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
    """What decides over a Read: its file after all substitution, and the knobs that change pixels or frames."""

    file: str
    color_space: str = "linear"
    raw: bool = False
    premultiplied: bool = False
    disabled: bool = False
    shifted: bool = False


def plate_clip(read: ReadFacts, script: ScriptColor) -> Optional[Clip]:
    """The plate as files, or None: then it must be rendered, for the script sees other pixels than are in them.

    Movies are always rendered: hosts decode them in ways of their own.
    """
    suffix = _suffix(read.file)
    if not _as_it_is(read) or read.premultiplied:
        return None
    if suffix == ".exr" and (read.raw or _same(read.color_space, script)):
        return Clip(read.file)
    coded = suffix in CODE_VALUES and not read.raw and script.management == "Nuke"
    return Clip(read.file, color="srgb_tx") if coded and _plain(read.color_space) == "srgb" else None


def mask_clip(read: ReadFacts, channel: Optional[str]) -> Optional[Clip]:
    """A mask as files: its alpha, or its luminance where alpha says nothing. None: it must be rendered."""
    if channel is not None or not _as_it_is(read) or _suffix(read.file) not in (".exr", *CODE_VALUES):
        return None
    return Clip(read.file)


def space_name(script: ScriptColor) -> str:
    """The working space by a name the engine knows; one of its own configuration goes through as it is."""
    name = script.working_space.strip()
    if name.lower() == "scene_linear":
        configuration = script.configuration.lower()
        if "nuke-default" in configuration:
            return LINEAR_REC709
        return "ACEScg" if re.search(r"aces|cg-config|studio-config", configuration) else name
    return _KNOWN_SPACES.get(name.lower(), name)


def _as_it_is(read: ReadFacts) -> bool:
    return (
        not read.disabled
        and not read.shifted
        and bool(re.search(r"%0?\d*d|#+", read.file))
        and "%v" not in (read.file.lower())
    )


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
