"""Which torch device training runs on."""

from __future__ import annotations

import torch

from penumbra.errors import DeviceError

# What a job calls a device that ONNX Runtime knows, to what torch has beside it.
_TORCH_NAMES = {"tensorrt": "cuda", "coreml": "mps", "directml": "cpu"}


def training_device(asked: str) -> str:
    """The torch device for a job's device; raises :class:`DeviceError` when the one asked for is not there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    wanted = _TORCH_NAMES.get(asked, asked)
    if not available.get(wanted, False):
        raise DeviceError(f"The device {asked!r} cannot be used for training here.", "Use --device auto.")
    return wanted
