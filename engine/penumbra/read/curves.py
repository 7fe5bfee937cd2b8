"""Transfer curves that need no OpenColorIO, by the names colour interop ids are built of: ``srgb_rec709``, ``lin_ap1``.

A curve takes code values, normally in [0, 1], to linear light; all are odd (negative codes mirror) and unbounded above.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from penumbra.color import FloatArray, srgb_decode

Curve = Callable[[FloatArray], FloatArray]

PRIMARIES = ("rec709", "rec2020", "p3d65", "ap0", "ap1", "adobergb")


@dataclass(frozen=True)
class KnownEncoding:
    """A curve over known primaries. ``name`` as OpenColorIO spells it, ``linear`` the linear space it decodes to."""

    name: str
    linear: str
    decode: Curve


def known_encoding(name: str) -> KnownEncoding | None:
    """The encoding of a name such as ``srgb_rec709_scene``, ``sRGB``, ``lin_rec2020`` or ``cineon``, or None."""
    plain = _ALIASES.get(name.strip().lower(), name.strip().lower())
    match = re.fullmatch(r"([a-z0-9]+)_([a-z0-9]+?)(?:_scene)?", plain)
    if not match or match[1] not in _CURVES or match[2] not in PRIMARIES:
        return None
    linear = f"lin_{match[2]}"
    spelled = (
        linear if match[1] == "lin" else _SPELLED.get(plain.removesuffix("_scene"), f"{match[1]}_{match[2]}_scene")
    )
    return KnownEncoding(spelled, linear, _CURVES[match[1]])


def _identity(code: FloatArray) -> FloatArray:
    return code


def _gamma(exponent: float) -> Curve:
    def decode(code: FloatArray) -> FloatArray:
        return np.copysign(np.abs(code) ** np.float32(exponent), code).astype(np.float32)

    return decode


def _camera_709(code: FloatArray) -> FloatArray:
    """Inverse of the BT.709 camera curve (ITU-R BT.709-6, item 1.2)."""
    size = np.abs(code)
    linear = np.where(size < 0.081, size / 4.5, ((np.maximum(size, 0.081) + 0.099) / 1.099) ** (1 / 0.45))
    return np.copysign(linear, code).astype(np.float32)


def _pq(code: FloatArray) -> FloatArray:
    """SMPTE ST 2084, 1.0 being 100 candela per square metre as OpenColorIO has it."""
    root = np.minimum(np.abs(code.astype(np.float64)), 1.05) ** (1 / 78.84375)
    light = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    linear: FloatArray = np.copysign(100 * light ** (1 / 0.1593017578125), code).astype(np.float32)
    return linear


def _hlg(code: FloatArray) -> FloatArray:
    """Inverse of the hybrid log-gamma camera curve (ITU-R BT.2100); 1.0 is its reference white, 75 %."""
    size = np.abs(code.astype(np.float64))
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    light = np.where(size <= 0.5, size**2 / 3, (np.exp((np.minimum(size, 2.0) - c) / a) + b) / 12)
    white = (np.exp((0.75 - c) / a) + b) / 12
    linear: FloatArray = np.copysign(light / white, code).astype(np.float32)
    return linear


def _cineon(code: FloatArray) -> FloatArray:
    """Printing density to light: 10-bit white 685, black 95, 0.002 density a code, negative gamma 0.6 (Kodak)."""
    black = 10.0 ** ((95 - 685) * 0.002 / 0.6)
    light = 10.0 ** ((code.astype(np.float64) * 1023 - 685) * 0.002 / 0.6)
    linear: FloatArray = ((light - black) / (1 - black)).astype(np.float32)
    return linear


_CURVES: dict[str, Curve] = {
    "lin": _identity,
    "srgb": srgb_decode,
    "g18": _gamma(1.8),
    "g22": _gamma(2.2),
    "g24": _gamma(2.4),
    "g26": _gamma(2.6),
    "g28": _gamma(2.8),
    "itu709": _camera_709,
    "pq": _pq,
    "hlg": _hlg,
    "cineon": _cineon,
}
_SPELLED = {"srgb_rec709": "srgb_tx"}
_ALIASES = {
    "srgb": "srgb_rec709",
    "srgb_tx": "srgb_rec709",
    "srgb_texture": "srgb_rec709",
    "srgb - texture": "srgb_rec709",
    "srgb encoded rec.709 (srgb)": "srgb_rec709",
    "linear": "lin_rec709",
    "lin_srgb": "lin_rec709",
    "linear rec.709 (srgb)": "lin_rec709",
    "pq_rec2020_display": "pq_rec2020",
    "hlg_rec2020_display": "hlg_rec2020",
    "cineon": "cineon_rec709",
}
