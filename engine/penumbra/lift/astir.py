"""Where a frame shows much that is nobody's: there the background does things by itself, however little it does on the
whole.

How far waves go from the clean plate in most frames says little of how far a few of them go in one. But what they do
beside an object they do elsewhere too, where the network sees that it is nobody's.
"""

from __future__ import annotations

import cv2
import numpy as np

from penumbra.belief import smoothstep
from penumbra.color import FloatArray

# The network's alpha above its least, below which a pixel is nobody's; and how far from all others, in small pixels of
# 64 lines: the faint ends of effects are nobody's to the network, too.
NOBODYS, APART = np.float32(0.004), 5
SHOWN = 0.3  # of a small pixel, where it shows an effect
AROUND = 0.2  # of the width, to each side: what lies around
LEAST_AROUND = np.float32(0.3)  # of what lies around: with less of it nobody's, it says less
# Of what is nobody's, the share that shows an effect; and what the background does by itself, display units, for where
# it rests, it is somebody else's effect.
DENSE, UNREST = (0.005, 0.02), (1 / 255, 1.6 / 255)


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
