"""The decompose stage: every object's low-resolution layer at every frame, by ONNX Runtime alone."""

from penumbra.decompose.models import LayerModels
from penumbra.decompose.providers import CPU, survey
from penumbra.decompose.windowed import decompose

__all__ = ["CPU", "LayerModels", "decompose", "survey"]
