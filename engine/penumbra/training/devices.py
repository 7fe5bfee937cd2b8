"""Which torch device training runs on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

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


@lru_cache
def has_bfloat16(device: str) -> bool:
    """Whether a torch device computes in bfloat16 by itself, and the faster for it.

    A CPU with AVX2 alone imitates it, fifty times slower than float32; one with AVX-512 and no tiles (AMX) multiplies
    no more in it than in float32, and converts besides: half again as slow (docs/decisions/0039).
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind == "cpu":
        # Other processors than x86 say nothing of tiles; they are the faster for bfloat16, as far as is known.
        tiles = bool(_capabilities().get("amx_bf16", True))
        return tiles and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return True


def _capabilities() -> Mapping[str, object]:
    """What this CPU can do, by name; empty where torch is too old to say."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    return ask() if ask else {}


def network_arithmetic(device: str, wanted: bool = True) -> torch.autocast:
    """The context in which the network computes: bfloat16 where that is ``wanted`` and the device has it."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=wanted and has_bfloat16(device))
