"""How much the background moves by itself: water, leaves, screens, and edges that no homography holds still.

Measured on small frames far from every mask, as the typical change from frame to frame of what each place shows. It
tells the lift from which difference on an effect may be believed there, and refinement what nobody shall be asked to
explain.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.clean_plate.fill import fill_unseen
from penumbra.clean_plate.mosaic import Matrices, Mosaic, scaled
from penumbra.clean_plate.small import UNMASKED, shrunk, small_size
from penumbra.color import DisplayEncoding, FloatArray

SMOOTHING_SIGMA = 1.0  # as the lift smooths differences, so that grain weighs the same in both
REACH = 0.12  # of the width: nearer to a mask a shadow is likelier than water
FEWEST = 6  # pairs of frames that must see a place
MEDIAN_DEVIATION = 0.6745  # of a normal distribution, in standard deviations


@dataclass(frozen=True)
class SmallFrames:
    """Some frames of the clip, made small.

    ``indices`` (M,) of the clip's frames; ``light`` (M, h, w) float32 mean of the channels, linear; ``far`` (M, h, w)
    bool, no mask near; ``block``: (height, width) of a small pixel in plate pixels.
    """

    indices: tuple[int, ...]
    light: FloatArray
    far: NDArray[np.bool_]
    block: tuple[float, float]

    def place(self, index: int) -> int | None:
        """Where a frame of the clip stands in the arrays; None where it is not among them."""
        return self.indices.index(index) if index in self.indices else None


def empty_small_frames(indices: tuple[int, ...], size: tuple[int, int]) -> SmallFrames:
    """Room for the small versions of these frames of a plate of ``size`` (height, width)."""
    height, width = small_size(size)
    shape = (len(indices), height, width)
    return SmallFrames(
        indices, np.zeros(shape, np.float32), np.zeros(shape, np.bool_), (size[0] / height, size[1] / width)
    )


def add_small_frame(frames: SmallFrames, index: int, plate: FloatArray, free: NDArray[np.uint8]) -> None:
    """Writes frame ``index`` (H, W, 3), linear, and where it is free of masks (H, W) into its place, if it has one."""
    place = frames.place(index)
    if place is None:
        return
    frames.light[place], share = shrunk(plate, free)
    unmasked = (share >= UNMASKED).astype(np.uint8)
    # A distance takes a tenth of the time that a dilation so wide does; where no mask is, it is infinite.
    distance = cv2.distanceTransform(unmasked, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    frames.far[place] = distance > 1 + round(REACH * share.shape[1])


def restlessness(frames: SmallFrames, mosaic: Mosaic, gains: FloatArray, encoding: DisplayEncoding) -> FloatArray:
    """Deviation over time of every place of a mosaic, (rows, columns) of its small picture, in display units.

    From the median of differences between neighbouring frames: what passes by, a shadow or a reflection, however
    long it stays, comes and goes between few such pairs; water and leaves differ in all of them. As a difference over
    three channels has it. Places that too few pairs of frames see take it from around.
    ``gains`` (N, 3): the clip's exposures, evened out first.
    """
    height = max(1, round(mosaic.height / frames.block[0]))
    width = max(1, round(mosaic.width / frames.block[1]))
    result, known = np.zeros((height, width, 1), np.float32), np.zeros((height, width), np.bool_)
    shown = [
        (index, _shown(frames.light[place] / gains[index].mean(), encoding), frames.far[place])
        for place, index in enumerate(frames.indices)
        if mosaic.sees[index]
    ]
    band = max(8, 25_000_000 // (max(len(shown), 1) * width))
    for top in range(0, height, band):
        rows = slice(top, min(top + band, height))
        result[rows, :, 0], known[rows] = _deviation(_stack(shown, mosaic, frames.block, rows, width))
    fill_unseen(result, known)
    return np.asarray(cv2.GaussianBlur(result[..., 0], (0, 0), 1.5), np.float32)


def _shown(light: FloatArray, encoding: DisplayEncoding) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(encoding.encode(light), (0, 0), SMOOTHING_SIGMA), np.float32)


def _stack(
    shown: list[tuple[int, FloatArray, NDArray[np.bool_]]], mosaic: Mosaic, block: tuple[float, float], rows: slice,
    width: int,
) -> FloatArray:  # fmt: skip
    """(rows, width, frames): what each shows there, NaN where it does not see it far from masks."""
    size = (rows.stop - rows.start, width)
    stack = np.full((*size, max(len(shown), 1)), np.nan, np.float32)
    shift = np.array([[1, 0, 0], [0, 1, -rows.start], [0, 0, 1]], np.float64)
    for slot, (index, light, far) in enumerate(shown):
        if mosaic.still:
            values, seen = light[rows], far[rows]
        else:
            values, seen = _warped(light, far, shift @ scaled(mosaic.homographies[index], block), size)
        stack[seen, slot] = values[seen]
    return stack


def _warped(
    light: FloatArray, far: NDArray[np.bool_], homography: Matrices, size: tuple[int, int]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    across = (size[1], size[0])
    moved = cv2.warpPerspective(light, homography, across, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.warpPerspective(far.astype(np.uint8) * np.uint8(255), homography, across, flags=cv2.INTER_LINEAR)
    return np.asarray(moved, np.float32), np.asarray(seen) > 250


def _deviation(stack: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    change = np.abs(stack[..., 1:] - stack[..., :-1])
    count = (~np.isnan(change)).sum(-1)
    change.sort(axis=-1)
    middle = np.take_along_axis(change, (np.maximum(count - 1, 0) // 2)[..., None], -1)[..., 0]
    known = count >= FEWEST
    # A difference of two has the root of two of one's deviation; three channels have the root of three.
    scale = np.float32(np.sqrt(3 / 2) / MEDIAN_DEVIATION)
    return np.where(known, scale * middle, 0).astype(np.float32), known
