"""The weights a job names: where they lie, what they were trained at, and what tells them from others."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from penumbra.contract import CONTRACT_KEY, ModelContract
from penumbra.job import Job

SHIPPED_WEIGHTS = Path(__file__).parents[1] / "weights"


def trained_short_side(path: Path) -> tuple[int, ...]:
    """The short side the weights in a .safetensors file were trained at; empty where there is no such file."""
    if not path.is_file():
        return ()
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(CONTRACT_KEY, "")
    except (SafetensorError, OSError):
        return ()  # whoever loads the weights says what is wrong with them
    contract = ModelContract.from_json(text)
    return (min(contract.height, contract.width),)


def weights_file(job: Job) -> Path:
    """The .safetensors file a job names, there or not; of random weights there is none."""
    return SHIPPED_WEIGHTS / "weights.safetensors" if job.model.weights == "auto" else Path(job.model.weights)


def weights_digest(job: Job) -> str:
    """SHA-256 of the weights' bytes: shipped ones change with an update, others may be trained on under their name."""
    name = job.model.weights
    files = sorted(SHIPPED_WEIGHTS.glob("*")) if name == "auto" else [] if name == "random" else [Path(name)]
    state = hashlib.sha256()
    for path in files:
        if path.is_file():
            state.update(path.read_bytes())
    return state.hexdigest()
