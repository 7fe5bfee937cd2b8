"""What encoding footage is in when the user does not say: read off its header."""

from __future__ import annotations

from collections.abc import Sequence

from penumbra.color import CHROMATICITIES
from penumbra.errors import ColorSpaceError
from penumbra.read.curves import known_encoding
from penumbra.read.encodings import is_color_space
from penumbra.read.images import ImageHeader

_LOG_TRANSFERS = ("Printing density", "Logarithmic")
_LINEAR_TRANSFERS = ("Linear", "Z linear")


def tagged_encoding(header: ImageHeader, channels: Sequence[str], what: str) -> tuple[str, tuple[str, ...]]:
    """The name of a still image's encoding and warnings about how it was found.

    OpenEXR and every floating-point file: scene-linear as stored, with the primaries its header names (colour interop
    id, else chromaticities), else Rec.709. Integers: the encoding the file is tagged with, else the sRGB curve. A PNG's
    gamma of 2.2 is how that format approximates sRGB (PNG specification, gAMA), so it is read as sRGB.

    Raises:
        ColorSpaceError: a logarithmic DPX or Cineon file, which does not say whose curve it uses.
    """
    tag = str(header.tags.get("oiio:ColorSpace") or "")
    if header.file_format == "openexr":
        return _exr_encoding(header, tag)
    part = header.part_with(channels) or header.main
    if part.formats[part.channels.index(channels[0])] in ("half", "float", "double"):
        return (tag if tag.startswith("lin_") else "lin_rec709"), ()
    if header.file_format in ("dpx", "cineon"):
        return _dpx_encoding(header, what)
    known = known_encoding(tag) if tag else None
    if known is None or tag.startswith("g22_rec709"):
        unknown = bool(tag) and known is None
        return "srgb_tx", ((f"{what}: its colour tag {tag!r} is not known; read as sRGB.",) if unknown else ())
    return known.name, ()


def _exr_encoding(header: ImageHeader, tag: str) -> tuple[str, tuple[str, ...]]:
    given = header.tags.get("chromaticities")
    warnings: tuple[str, ...] = ()
    if header.tags.get("colorInteropID") and tag not in ("", "data", "unknown"):
        if is_color_space(tag):
            return tag, ()
        warnings = (f"The plate's colour tag {tag!r} is not known; its values are kept as scene-linear.",)
    if not isinstance(given, tuple) or len(given) != 8:
        return "lin_rec709", warnings
    for name, primaries in CHROMATICITIES.items():
        if all(abs(a - b) < 2e-3 for a, b in zip(given, primaries, strict=True)):
            return name, warnings
    listed = ", ".join(f"{value:.4g}" for value in given)
    warning = f"The plate's chromaticities ({listed}) are of no known space; values are kept, named lin_rec709."
    return "lin_rec709", (*warnings, warning)


def _dpx_encoding(header: ImageHeader, what: str) -> tuple[str, tuple[str, ...]]:
    transfer = str(header.tags.get("dpx:Transfer") or "")
    if header.file_format == "cineon" or transfer in _LOG_TRANSFERS:
        raise ColorSpaceError(
            f"{what} is logarithmic ({transfer or 'Cineon'}) and does not say whose curve it is.",
            'Name its colour space, for example cineon or "ARRI LogC3 (EI800)".',
        )
    return ("lin_rec709" if transfer in _LINEAR_TRANSFERS else "srgb_tx"), ()
