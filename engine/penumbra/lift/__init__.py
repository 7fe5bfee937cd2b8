"""Lift: from the network's low-resolution layers to plate-resolution, scene-linear ones that recompose exactly.

The network says which object owns which effect; the plate and the clean plate say exactly what the effect is.
"""

from penumbra.belief import Noise
from penumbra.lift.common_fate import by_common_fate
from penumbra.lift.departure import follow_frame
from penumbra.lift.evidence import measure_noise
from penumbra.lift.frame import lift_frame
from penumbra.lift.lasting import by_lasting_shadows
from penumbra.lift.ownership import whereabouts
from penumbra.lift.splits import split_layer

__all__ = [
    "Noise",
    "by_common_fate",
    "by_lasting_shadows",
    "follow_frame",
    "lift_frame",
    "measure_noise",
    "split_layer",
    "whereabouts",
]
