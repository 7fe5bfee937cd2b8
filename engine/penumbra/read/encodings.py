"""From what files hold to scene-linear light: known curves in numpy, every other named space through OpenColorIO.

Primaries stay the footage's own: a camera log space decodes to the linear space of its own gamut, an sRGB image to
linear Rec.709 by the sRGB curve and nothing else, unless a working space is asked for.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import OpenImageIO as oiio
from numpy.typing import NDArray

from penumbra.color import FloatArray, LinearSpace
from penumbra.errors import ColorSpaceError
from penumbra.read.curves import Curve, known_encoding

BUILT_IN_CONFIG = "ocio://studio-config-latest"
_COMMON_WORDS = frozenset(("ocio", "scene", "lin", "linear", "input", "display", "utility", "texture", "log", "srgb"))


@dataclass
class Decoding:
    """How stored values become linear light in ``space``.

    ``source`` names what the files hold. ``curve`` acts on channels, then ``matrix`` (3 x 3, on column vectors) on
    colours; ``ocio`` (from, to) takes the place of both where OpenColorIO must do it.
    """

    source: str
    space: LinearSpace
    curve: Curve | None = None
    matrix: FloatArray | None = None
    ocio: tuple[str, str] | None = None
    warnings: tuple[str, ...] = ()
    _tables: dict[str, FloatArray] = field(default_factory=dict)

    @property
    def keeps_values(self) -> bool:
        """Whether floats are linear light as they are stored."""
        return self.curve is None and self.matrix is None and self.ocio is None

    def decode(self, stored: NDArray[Any]) -> FloatArray:
        """H x W x 3 stored values to linear light, float32: integers are taken over their maximum, floats as they are.

        Nothing is clipped; what is not finite stays so.
        """
        pixels = self._by_table(stored) if stored.dtype in (np.uint8, np.uint16) else self._by_value(_as_float(stored))
        if self.matrix is not None:
            pixels = (pixels.reshape(-1, 3) @ self.matrix.T).reshape(pixels.shape)
        return np.ascontiguousarray(pixels, dtype=np.float32)

    def _by_value(self, values: FloatArray) -> FloatArray:
        if self.ocio is not None:
            return _convert(values, *self.ocio)
        decoded: FloatArray = values if self.curve is None else self.curve(values)
        return decoded

    def _by_table(self, stored: NDArray[Any]) -> FloatArray:
        """Every code value is decoded once; only spaces that mix channels cannot be looked up."""
        if self.ocio is not None and not _keeps_channels_apart(*self.ocio):
            return self._by_value(_as_float(stored))
        table = self._tables.get(stored.dtype.name)
        if table is None:
            codes = _as_float(np.arange(np.iinfo(stored.dtype).max + 1, dtype=stored.dtype))
            table = self._by_value(np.repeat(codes[None, :, None], 3, axis=2))[0, :, 0].copy()
            self._tables[stored.dtype.name] = table
        decoded: FloatArray = np.take(table, stored)
        return decoded


def is_color_space(name: str) -> bool:
    """Whether a name is known to the configuration in use."""
    return known_encoding(name) is not None or name.strip().lower() in _spellings()


def check_color_space(name: str) -> str:
    """The name as it is spelled in the configuration in use (``$OCIO``, else the built-in studio configuration).

    Raises:
        ColorSpaceError: unknown, with the names that come closest; or ``$OCIO`` cannot be read.
    """
    known = known_encoding(name)
    if known is not None:
        return known.name
    found = _spellings().get(name.strip().lower())
    if found is not None:
        return found
    spelled = {text.lower(): text for text in _config().getColorSpaceNames()}
    near = difflib.get_close_matches(name.lower(), [*spelled, *_spellings()], n=8, cutoff=0.4)
    close = list(dict.fromkeys(spelled.get(text) or _spellings()[text] for text in near))[:4]
    hint = "Did you mean " + " or ".join(repr(text) for text in close) + "?" if close else "List them with: ociocheck."
    raise ColorSpaceError(f"Colour space {name!r} is not known to {_config_name()}.", hint)


def find_decoding(name: str, working_space: str = "auto") -> Decoding:
    """How to decode a named space to the linear space of its own primaries, or to ``working_space``.

    A space that is linear already stays as it is. Where no linear space of the same primaries exists, the
    configuration's scene_linear role is used, with a warning.

    Raises:
        ColorSpaceError: a name is unknown, or the working space is not linear.
    """
    known = known_encoding(name)
    if known is not None:
        decoding = Decoding(known.name, LinearSpace(known.linear), None if known.linear == known.name else known.decode)
    else:
        decoding = _find_in_config(check_color_space(name))
    return decoding if working_space == "auto" else _into(decoding, working_space)


def same_space(left: str, right: str) -> bool:
    """Two names of one colour space."""
    return left == right or check_color_space(left) == check_color_space(right)


def _find_in_config(source: str) -> Decoding:
    config = _config()
    if config.isData(source):
        return Decoding(source, LinearSpace("lin_rec709"), warnings=(f"{source} is data: taken as linear Rec.709.",))
    if config.isColorSpaceLinear(source):
        return Decoding(source, LinearSpace(_plain_name(source)))
    linear = _linear_of_same_primaries(source)
    if linear is not None:
        return Decoding(source, LinearSpace(_plain_name(linear)), ocio=(source, linear))
    scene = str(config.getColorSpaceNameByRole("scene_linear") or "")
    if not scene:
        raise ColorSpaceError(
            f"{_config_name()} has neither a linear space for {source!r} nor a scene_linear role.",
            "Mend the configuration.",
        )
    warning = f"No linear space with the primaries of {source} is known; the plate is converted to {scene}."
    return Decoding(source, LinearSpace(_plain_name(scene)), ocio=(source, scene), warnings=(warning,))


def _into(decoding: Decoding, working_space: str) -> Decoding:
    """The same followed by the matrix between the two linear spaces."""
    working = check_color_space(working_space)
    known = known_encoding(working)
    linear = known.linear == known.name if known is not None else bool(_config().isColorSpaceLinear(working))
    if not linear:
        raise ColorSpaceError(
            f"The working space {working_space!r} is not linear.", "Name a linear space such as ACEScg."
        )
    space = LinearSpace(_plain_name(working))
    if same_space(decoding.space.name, working):
        return Decoding(decoding.source, space, decoding.curve, None, decoding.ocio, decoding.warnings)
    matrix = _matrix(decoding.space.name, working)
    return Decoding(decoding.source, space, decoding.curve, matrix, decoding.ocio, decoding.warnings)


@cache
def _matrix(source: str, target: str) -> FloatArray:
    """The 3 x 3 between two linear spaces, read off the primaries' images."""
    columns = _convert(np.eye(3, dtype=np.float32)[None], source, target)[0]
    return np.ascontiguousarray(columns.T)


def _linear_of_same_primaries(source: str) -> str | None:
    """The linear space into which a space converts without mixing its channels: that has the same primaries."""
    config = _config()
    linear = [name for name in config.getColorSpaceNames() if config.isColorSpaceLinear(name)]
    words, family = _words(source), config.getColorSpaceFamilyByName(source)

    def likeness(name: str) -> tuple[int, bool]:
        return len(words & _words(name)), bool(family) and config.getColorSpaceFamilyByName(name) == family

    return next(
        (name for name in sorted(linear, key=likeness, reverse=True) if _keeps_channels_apart(source, name)), None
    )


def _words(name: str) -> frozenset[str]:
    """What a space's names are made of; only puts likely candidates first, the conversion itself decides."""
    texts = [name, str(_config().get_color_interop_id(name) or ""), *_config().getAliases(name)]
    return (
        frozenset(word for text in texts for word in re.split(r"[^a-z0-9]+", text.lower()) if len(word) > 2)
        - _COMMON_WORDS
    )


@cache
def _keeps_channels_apart(source: str, target: str) -> bool:
    probes = np.full((1, 4, 3), 0.4, np.float32)
    for channel in range(3):
        probes[0, 1 + channel, channel] = 0.6
    try:
        grey, *single = _convert(probes, source, target)[0]
    except ColorSpaceError:
        return False
    moved = np.abs(np.stack(single) - grey)
    return bool(np.all(moved[~np.eye(3, dtype=bool)] <= 2e-4 * np.diag(moved).min()))


def _convert(pixels: FloatArray, source: str, target: str) -> FloatArray:
    buffer = oiio.ImageBuf(np.ascontiguousarray(pixels, dtype=np.float32))
    result = oiio.ImageBufAlgo.colorconvert(buffer, source, target, unpremult=False, colorconfig=_config_name())
    if result.has_error:
        problem = result.geterror().splitlines()[0].rstrip(".")
        raise ColorSpaceError(
            f"{source!r} cannot be converted to {target!r}: {problem}.", "Choose another colour space."
        )
    return np.asarray(result.get_pixels(oiio.FLOAT), dtype=np.float32).reshape(pixels.shape)


def _as_float(stored: NDArray[Any]) -> FloatArray:
    if stored.dtype.kind != "u":
        return stored.astype(np.float32, copy=False)
    return stored.astype(np.float32) / np.float32(np.iinfo(stored.dtype).max)


def _plain_name(name: str) -> str:
    """``lin_x`` for what the configuration knows by that alias too: short, and older configurations know it."""
    known = known_encoding(name)
    if known is not None:
        return known.name
    aliases = [name, str(_config().get_color_interop_id(name) or "")]
    short = [match[1] for alias in aliases if (match := re.fullmatch(r"(?:ocio:)?(lin_\w+)_scene", alias))]
    return next((text for text in short if text in _spellings() and known_encoding(text)), name)


def _config_name() -> str:
    return os.environ.get("OCIO") or BUILT_IN_CONFIG


def _config() -> Any:
    return _load_config(_config_name())


@cache
def _load_config(name: str) -> Any:
    config = oiio.ColorConfig(name)
    problem = config.geterror()
    if problem:
        raise ColorSpaceError(
            f"The OpenColorIO configuration {name} cannot be read: {problem.splitlines()[0].rstrip('.')}.",
            "Correct or unset $OCIO.",
        )
    return config


def _spellings() -> dict[str, str]:
    return _load_spellings(_config_name())


@cache
def _load_spellings(name: str) -> dict[str, str]:
    """Lower-case name, alias or role -> the space's name."""
    config = _load_config(name)
    found = {role.lower(): str(config.getColorSpaceNameByRole(role)) for role in config.getRoles()}
    for space in config.getColorSpaceNames():
        found.update({text.lower(): space for text in (*config.getAliases(space), space)})
    return found


def describe_color_configuration() -> str:
    """The OCIO configuration in use and how many spaces it has; raises :class:`ColorSpaceError` when it is unusable."""
    return f"{_config_name()}, {len(_config().getColorSpaceNames())} colour spaces"
