"""Small effects that lie apart from every object and that the network is not sure of: a scuff that a shoe left on the
ground, an edge that no homography holds. They would float in a layer beside its object.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from penumbra.arrays import largest_of
from penumbra.color import FloatArray
from penumbra.frames import BoolArray
from penumbra.unrest import OUTSIDE

SHOWN = 0.3  # belief, from which on an effect is shown
NEARBY = 0.03  # of the picture's height: what lies no farther apart is one part, so that a thin shadow may have gaps
# Of the largest object's mask, and of the picture, up to which a part may be a speck: the last of a shadow whose maker
# has left the picture is larger.
SMALL, SMALL_IN_PICTURE = 0.02, 8e-4
SURE = 0.3  # the network's alpha, from which on it is sure of an owner


def find_specks(shown: FloatArray, claimed: FloatArray, masks: Sequence[FloatArray]) -> BoolArray:
    """(h, w) True on specks and beside them, where no other effect is.

    Args:
        shown: (h, w) belief in an effect outside all masks, in [0, 1].
        claimed: (h, w) the largest of the network's alphas.
        masks: per object (h, w) coverage in [0, 1].
    """
    covered = largest_of(masks) > OUTSIDE
    effect = shown > SHOWN
    side = 2 * max(1, round(NEARBY * shown.shape[0] / 2)) + 1
    near = cv2.dilate((effect | covered).astype(np.uint8), np.ones((side, side), np.uint8))
    count, numbers = cv2.connectedComponents(near)
    largest = max(int(np.count_nonzero(mask > OUTSIDE)) for mask in masks)
    least = min(SMALL * largest, SMALL_IN_PICTURE * shown.size)
    kept = np.bincount(numbers[effect], minlength=count) > least
    kept[np.unique(numbers[covered | (effect & (claimed > SURE))])] = True
    kept[0] = True
    return ~kept[numbers]
