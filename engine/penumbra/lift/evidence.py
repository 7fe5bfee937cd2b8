"""Where the plate differs from the clean plate by more than the plate's own noise: there alone is an effect to own."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from penumbra.belief import Noise, belief
from penumbra.color import HUGE, DisplayEncoding, FloatArray, finite
from penumbra.lift.kernels import differences
from penumbra.tiling import Tile

# The grain of neighbouring pixels averages out over this kernel (a Gaussian of sigma 1); an effect's edge does not
# move by it.
SMOOTHING: FloatArray = np.array([1, 4, 6, 4, 1], np.float32) / np.float32(16)
# How many thresholds the mean difference of many pixels must be to begin to be certain.
PLAIN = 3


def difference(plate: FloatArray, clean: FloatArray, encoding: DisplayEncoding, tile: Tile | None = None) -> FloatArray:
    """H x W size of the smoothed difference between two linear H x W x 3 images, in display units; or of a tile of it.

    Exact to a half's precision: values are rounded to ten bits behind the point and looked up, at a fifth of the cost
    of the curve itself.
    """
    height, width = plate.shape[:2]
    rows, columns = tile or (slice(0, height), slice(0, width))
    size = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    shown, behind = (np.ascontiguousarray(image).view(np.uint32).reshape(height, -1) for image in (plate, clean))
    table = _display_of_bits(encoding)
    differences(shown, behind, table, SMOOTHING, rows.start, rows.stop, columns.start, columns.stop, size)
    return size


def measure_noise(
    samples: Iterable[tuple[FloatArray, FloatArray, FloatArray]],
    encoding: DisplayEncoding,
    coverage_limit: float = 0.02,
) -> Noise:
    """The noise of a clip from (plate, clean plate, coverage) samples, linear H x W x 3 and H x W.

    The median over pixels without coverage: effects that the masks and the network miss are a minority of pixels.
    """
    levels = []
    for plate, clean, coverage in samples:
        quiet = coverage < coverage_limit
        if quiet.mean() > 0.02:
            levels.append(float(np.median(difference(plate, clean, encoding)[quiet])))
    return Noise(float(np.median(levels)) if levels else 0.0)


def certainty(
    plate: FloatArray, clean: FloatArray, encoding: DisplayEncoding, noise: Noise, restless: FloatArray | None = None
) -> FloatArray:
    """How certainly means over many pixels (linear, (h, w, 3)) show an effect, 0 to 1, as :func:`belief` has it.

    Grain averages out of them, but what the clean plate is wrong by does not: so several times the difference is asked.
    """
    shown, behind = (encoding.encode(np.clip(image, -HUGE, HUGE)) for image in (plate, clean))
    size = np.sqrt(((shown - behind) ** 2).sum(-1))
    return belief(np.asarray(size / PLAIN, np.float32), noise, restless)


@lru_cache(maxsize=4)
def _display_of_bits(encoding: DisplayEncoding) -> FloatArray:
    """(2^19,) the display value of every float of ten bits behind the point, by its upper 19 bits; 0 for no number."""
    floats = (np.arange(2**19, dtype=np.uint32) << 13).view(np.float32)
    return encoding.encode(finite(floats))
