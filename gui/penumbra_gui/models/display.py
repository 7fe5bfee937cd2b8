"""Scene-linear light to what a display shows, by OpenColorIO, fast enough to scrub.

An ACES view takes seconds for a megapixel in OpenColorIO's CPU code. It is therefore sampled once on a lattice behind a
logarithmic shaper and looked up trilinearly; views that keep channels apart are sampled on one fine axis instead.
"""

from __future__ import annotations

import atexit
import os
from functools import cache
from typing import Any

import cv2
import numpy as np
import OpenImageIO as oiio
from numpy.typing import NDArray

from penumbra.errors import ColorSpaceError

FloatArray = NDArray[np.float32]
BUILT_IN_CONFIG = "ocio://studio-config-latest"
# What a picture in display-referred Rec.709 looks best through: as it came in.
PLAIN_VIEW = "Un-tone-mapped"
_PLAIN_SPACES = frozenset({"lin_rec709", "lin_rec709_scene", "Linear Rec.709 (sRGB)"})
_PEAK, _TOE = 256.0, 1024.0  # the lattice ends at 8 stops over white; 10 stops below it shaping becomes linear
_LATTICE, _AXIS = 48, 4096


def config_name() -> str:
    """``$OCIO``, or the built-in studio configuration: the one the engine uses."""
    return os.environ.get("OCIO") or BUILT_IN_CONFIG


@cache
def displays() -> dict[str, tuple[str, ...]]:
    """Every display and its views; raises :class:`ColorSpaceError` where $OCIO cannot be read."""
    config = _config()
    return {name: tuple(config.getViewNames(name)) for name in config.getDisplayNames()}


@cache
def color_spaces() -> tuple[str, ...]:
    """All colour spaces a plate may be in, by name."""
    return tuple(_config().getColorSpaceNames())


def usual_view(space: str) -> tuple[str, str]:
    """The display and view to begin with."""
    config, known = _config(), displays()
    display = config.getDefaultDisplayName() or next(iter(known))
    if space in _PLAIN_SPACES and not os.environ.get("OCIO") and PLAIN_VIEW in known[display]:
        return display, PLAIN_VIEW
    return display, config.getDefaultViewName(display)


class DisplayTransform:
    """From scene-linear ``space`` to display values. Making one takes up to a second or two; do it off the loop."""

    def __init__(self, space: str, display: str, view: str) -> None:
        self._names = space, display, view
        axis = self._sample_axis()
        self._tables = np.zeros((0, 0), np.float32) if axis is None else _tables_of(axis)
        self._lattice = self._sample_lattice() if axis is None else None

    def __call__(self, linear: FloatArray) -> FloatArray:
        """H x W x 3 linear to H x W x 3 display values in [0, 1]. Light below zero shows black.

        Goes through half floats: their 65,536 values are looked up, which no logarithm can compete with.
        """
        bits = np.clip(linear, 0, _PEAK).astype(np.float16).view(np.uint16)
        if self._lattice is not None:
            return _by_lattice(_SHAPED.take(bits), self._lattice)
        if len(self._tables) == 1:
            return np.asarray(self._tables[0].take(bits), np.float32)
        return np.stack([self._tables[c].take(bits[..., c]) for c in range(3)], axis=-1)

    def _sample_axis(self) -> FloatArray | None:
        """Display values of greys along the shaped axis, or None where a channel depends on another."""
        greys = _unshape(np.linspace(0, 1, _AXIS, dtype=np.float32))
        probes = _unshape(np.array([[0.3, 0.6, 0.5], [0.6, 0.3, 0.5], [0.5, 0.3, 0.6]], np.float32))
        shown = self._exact(np.concatenate([np.repeat(greys[:, None], 3, axis=1), probes]))
        axis, seen = shown[:_AXIS], shown[_AXIS:]
        expected = np.stack([np.interp(probes[:, c], greys, axis[:, c]) for c in range(3)], axis=-1)
        return np.ascontiguousarray(axis) if np.abs(expected - seen).max() < 2e-3 else None

    def _sample_lattice(self) -> FloatArray:
        """(blue * red rows, green columns, 3): slices of one picture, which OpenCV interpolates within."""
        steps = _unshape(np.linspace(0, 1, _LATTICE, dtype=np.float32))
        blue, red, green = np.meshgrid(steps, steps, steps, indexing="ij")
        shown = self._exact(np.stack([red, green, blue], axis=-1).reshape(-1, 3))
        return np.ascontiguousarray(shown.reshape(_LATTICE * _LATTICE, _LATTICE, 3))

    def _exact(self, colors: FloatArray) -> FloatArray:
        space, display, view = self._names
        source = oiio.ImageBuf(np.ascontiguousarray(colors[None], np.float32))
        shown = oiio.ImageBufAlgo.ociodisplay(source, display, view, space, colorconfig=config_name())
        if shown.has_error:
            raise ColorSpaceError(
                f"{space!r} cannot be shown through {display}, {view}: {shown.geterror().splitlines()[0].rstrip('.')}.",
                "Choose another view.",
            )
        pixels = np.asarray(shown.get_pixels(oiio.FLOAT), np.float32).reshape(colors.shape)
        return np.clip(np.nan_to_num(pixels, nan=0.0), 0, 1)


def _shape(linear: FloatArray) -> FloatArray:
    """[0, peak] to [0, 1]: a logarithm that goes through zero."""
    held = np.clip(np.nan_to_num(linear, nan=0.0, posinf=_PEAK), 0, _PEAK).astype(np.float64)
    return np.asarray(np.minimum(np.log1p(held * _TOE) / np.log1p(_PEAK * _TOE), 1), np.float32)


def _unshape(shaped: FloatArray) -> FloatArray:
    linear = np.expm1(shaped.astype(np.float64) * np.log1p(_PEAK * _TOE)) / _TOE
    return np.asarray(linear, np.float32)


def _tables_of(axis: FloatArray) -> FloatArray:
    """Display values of every half float for each channel, one row where the channels agree; axis is samples x 3."""
    places = _SHAPED * np.float32(_AXIS - 1)
    tables = [np.interp(places, np.arange(_AXIS), axis[:, c]).astype(np.float32) for c in range(3)]
    return np.stack(tables[:1] if np.abs(axis - axis[:, :1]).max() < 1e-3 else tables)


def _by_lattice(shaped: FloatArray, lattice: FloatArray) -> FloatArray:
    """Trilinear: OpenCV interpolates red and green within two slices, blue is mixed between them."""
    places = shaped * np.float32(_LATTICE - 1)
    slice_below = np.minimum(np.floor(places[..., 2]), _LATTICE - 2)
    rows = slice_below * _LATTICE + places[..., 0]
    columns = np.ascontiguousarray(places[..., 1])
    below = cv2.remap(lattice, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    above = cv2.remap(lattice, columns, rows + np.float32(_LATTICE), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = (places[..., 2] - slice_below)[..., None]
    mixed: FloatArray = below + (above - below) * share
    return mixed


_SHAPED = _shape(np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32))


def _config() -> Any:
    return _load(config_name())


@cache
def _load(name: str) -> Any:
    config = oiio.ColorConfig(name)
    problem = config.geterror()
    if problem:
        raise ColorSpaceError(
            f"The OpenColorIO configuration {name} cannot be read: {problem.splitlines()[0].rstrip('.')}.",
            "Correct or unset $OCIO.",
        )
    return config


# A configuration still held when the interpreter ends makes OpenImageIO's binding print pages of leaks.
atexit.register(_load.cache_clear)
