"""Where a frame shows much that is nobody's: there the background does things by itself, however little it does on the
whole.

How far waves go from the clean plate in most frames says little of how far a few of them go in one. But what they do
beside an object they do elsewhere too, where the network sees that it is nobody's.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from penumbra.arrays import largest_of
from penumbra.belief import smoothstep
from penumbra.color import FloatArray
from penumbra.frames import BoolArray
from penumbra.lift.shade import repeated
from penumbra.unrest import OUTSIDE

# The network's alpha above its least, below which a pixel is nobody's; and how far from all others, in small pixels of
# 64 lines: the faint ends of effects are nobody's to the network, too.
NOBODYS, APART = np.float32(0.004), 5
SHOWN = 0.3  # of a small pixel, where it shows an effect
AROUND = 0.2  # of the width, to each side: what lies around
LEAST_AROUND = np.float32(0.3)  # of what lies around: with less of it nobody's, it says less
# Of what is nobody's, the share that shows an effect; and what the background does by itself, display units, for where
# it rests, it is somebody else's effect.
DENSE, UNREST = (0.005, 0.02), (1 / 255, 1.6 / 255)
# How far a place is astir from which on what is shown there must be dark to be a shadow, and claimed to be owned.
STIRS = 0.3
# The network's alpha beyond an object's own mask from which on it is sure of an owner.
CLAIMED = 0.3
RIM = 7  # fine pixels across, at the middle of which a mask's edge is: what the mask leaves over of its object


def astir(shown: FloatArray, owned: FloatArray, unrest: FloatArray, apart: int) -> FloatArray:
    """(h, w) in [0, 1]: how far effects around a small pixel may be the background's own.

    Args:
        shown: (h, w) mean belief in an effect, in [0, 1].
        owned: (h, w) the largest of the network's alphas, above the least it gives, and of the masks.
        unrest: (h, w) what the background does by itself at and near a pixel, display units.
        apart: ``APART`` in small pixels of this size.
    """
    near = cv2.dilate(owned, np.ones((2 * apart + 1, 2 * apart + 1), np.uint8))
    far = (near < NOBODYS).astype(np.float32)
    side = 2 * round(AROUND * far.shape[1]) + 1
    seen = np.maximum(cv2.blur(far, (side, side)), LEAST_AROUND)
    dense = cv2.blur(far * (shown > SHOWN), (side, side)) / seen
    return smoothstep(np.asarray(dense, np.float32), *DENSE) * smoothstep(unrest, *UNREST)


def led_to(shown: FloatArray, darkish: BoolArray, owned: FloatArray) -> BoolArray:
    """(H', W') where dark parts of a fine picture's effects, of which something is owned, go on: the end of a shadow is
    nobody's to the network, and somebody's all the same.

    ``shown`` (H', W'): how far an effect is shown; ``darkish`` (H', W') as :func:`near_dark` tells it. ``owned`` (h, w)
    as :func:`astir` has it.
    """
    count, numbers = cv2.connectedComponents(((shown > SHOWN) & darkish).astype(np.uint8))
    led = np.zeros(count, bool)
    led[np.unique(numbers[repeated(owned, shown.shape) > NOBODYS])] = True
    led[0] = False
    there: BoolArray = led[numbers]
    return there


def find_waves(shady: BoolArray, masks: Sequence[FloatArray], beyond: FloatArray) -> BoolArray:
    """(H', W') where a fine picture's effects are the background's own: where it is astir, no shadow can be, no object
    leaves its rim over, and the network hardly claims anything.

    Args:
        shady: (H', W') where it is not astir, or dark enough for a shadow, or between a shadow's certain parts.
        masks: per object (H', W') coverage in [0, 1].
        beyond: (H', W') the largest of the network's alphas above their own masks.
    """
    rim = cv2.dilate(largest_of(masks), np.ones((RIM, RIM), np.uint8)) > OUTSIDE
    waves: BoolArray = ~shady & ~rim & (beyond < CLAIMED)
    return waves
