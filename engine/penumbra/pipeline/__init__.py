"""The order of things: read -> track -> clean plate -> [refine] -> decompose -> lift -> write -> verify.

Every stage leaves what it found in the work folder, so that a run stopped or killed anywhere goes on from there and
ends in the same bytes; and so that a farm's tasks, each of which does some of the stages, go on from each other.

    opening.py   the footage opened, the output folder claimed; then, task by task:
    prepare.py   prepare: read, track, clean plate, prepare
    predict.py   refine: refine, decompose
    layers.py    frames: lift, each frame written and read back; finish: verify, what the tasks have written gathered
    finish.py    finish: previews; composites, manifest

``course.py`` alone puts them in this order. All act on the :class:`Shot` of ``shot.py``; ``weights.py`` and
``scratch.py`` say where things lie.
"""

from penumbra.pipeline.course import run
from penumbra.pipeline.finish import rewrite_composites
from penumbra.pipeline.weights import SHIPPED_WEIGHTS, trained_short_side

__all__ = ["SHIPPED_WEIGHTS", "rewrite_composites", "run", "trained_short_side"]
