"""Weight files: safetensors with the model contract and what is known of their making in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from penumbra.contract import CONTRACT_KEY, ModelContract
from penumbra.errors import OutputError, WeightsError
from penumbra.network.model import LayerNetwork, NetworkSize
from penumbra.storage import atomic_path

SIZE_KEY = "penumbra.size"
FIX = "Use weights that Penumbra wrote, or import published ones with `penumbra import-weights`."
LONGEST_GRID = 4096
LARGEST_FILE = 2**28  # bytes; ours have 25 million parameters


def save_weights(
    network: LayerNetwork, path: Path, contract: ModelContract, metadata: Mapping[str, str], half: bool = False
) -> None:
    """Write the weights, the contract and ``metadata`` (free text, such as how they were trained) to ``path``.

    ``half`` stores float16 (half the size; a loss of about 3 decimal digits). The file is whole or not there: it is
    written beside and renamed. Raises :class:`OutputError`, after which an older file is as it was.
    """
    dtype = torch.float16 if half else torch.float32
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in network.state_dict().items()}
    header = {**metadata, CONTRACT_KEY: contract.to_json(), SIZE_KEY: json.dumps(asdict(network.size), sort_keys=True)}
    write_whole(path, _serialised(tensors, header))


def _serialised(tensors: dict[str, Tensor], header: dict[str, str]) -> bytes:
    try:
        return bytes(save(tensors, header))
    except BaseException as error:
        # Where memory runs out safetensors panics, in a class that is no Exception and has no name to import.
        if type(error).__name__ == "PanicException":
            raise MemoryError(str(error)) from error
        raise


def load_weights(path: Path) -> tuple[LayerNetwork, ModelContract, dict[str, str]]:
    """The network (float32, in evaluation mode), its contract and its metadata.

    Raises :class:`WeightsError` when the file is missing, damaged, or not this network's.
    """
    try:
        if not path.is_file():
            raise WeightsError(f"There are no weights at {path}.", FIX)
        if path.stat().st_size > LARGEST_FILE:
            raise WeightsError(f"{path} is larger than any weights of this network.", FIX)
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} cannot be read as weights: {error}.", FIX) from error
    if CONTRACT_KEY not in metadata or SIZE_KEY not in metadata:
        raise WeightsError(f"{path} holds weights without Penumbra's contract.", FIX)
    contract = ModelContract.from_json(metadata.pop(CONTRACT_KEY))
    network = LayerNetwork(_size(metadata.pop(SIZE_KEY), path))
    _fill(network, tensors, path)
    return network.eval(), contract, metadata


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is whole or not there at all; raises :class:`OutputError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}.", "Free space or choose another folder."
        ) from error


def _size(text: str, path: Path) -> NetworkSize:
    try:
        size = NetworkSize(**json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path} does not say which size of network it is for.", FIX) from error
    if not all(type(getattr(size, part.name)) is int for part in fields(size)):
        raise WeightsError(f"{path} does not say in whole numbers which size of network it is for.", FIX)
    if max(size.grid_height, size.grid_width, size.max_frames) > LONGEST_GRID:
        raise WeightsError(f"{path} is for a network of impossible size {size}.", FIX)
    return size


def _fill(network: LayerNetwork, tensors: Mapping[str, Tensor], path: Path) -> None:
    expected = network.state_dict()
    for name in sorted(set(expected) ^ set(tensors)):
        raise WeightsError(f"{path} {'holds' if name in tensors else 'lacks'} {name!r} and so does not fit.", FIX)
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape or not tensor.is_floating_point():
            found = f"{tensor.dtype} {tuple(tensor.shape)}"
            raise WeightsError(f"{path}: {name} is {found}, expected floats {tuple(expected[name].shape)}.", FIX)
        if not tensor.isfinite().all():
            raise WeightsError(f"{path}: {name} holds values that are not finite.", FIX)
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
