"""A trainer's state as a file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from penumbra.storage import atomic_path


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Writes a state that :func:`torch.load` reads, whole or not at all; raises OSError.

    By way of memory: written straight into a file, torch does not say of a full disk that it is full.
    """
    held = io.BytesIO()
    torch.save(dict(state), held)
    with atomic_path(path) as temporary:
        temporary.write_bytes(held.getbuffer())
