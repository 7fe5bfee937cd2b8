"""The decompose stage: every object's low-resolution layer at every frame, by ONNX Runtime alone."""

import os

# From 1.29 on ONNX Runtime tells its maker about every process that loads it, unless this is said before it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from penumbra.decompose.models import LayerModels
from penumbra.decompose.providers import CPU, survey
from penumbra.decompose.windowed import decompose

__all__ = ["CPU", "LayerModels", "decompose", "survey"]
