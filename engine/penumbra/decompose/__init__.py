"""The decompose stage: every object's low-resolution layer at every frame, by ONNX Runtime alone."""

import os

# From 1.29 on ONNX Runtime tells its maker about every process that loads it, unless this is said before it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from penumbra.decompose.models import LayerModels  # noqa: E402 # see above
from penumbra.decompose.providers import survey  # noqa: E402 # see above
from penumbra.decompose.windowed import decompose  # noqa: E402 # see above

__all__ = ["LayerModels", "decompose", "survey"]
