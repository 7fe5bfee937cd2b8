"""Weights of the authors' published implementation (google/omnimatte-sp), read without JAX.

A checkpoint is a folder with ``arrays.npy`` (one .npy after another) and ``tree.pkl`` (the nested structure, every leaf
replaced by 0). The pickle is read by an unpickler that can build nothing but plain containers.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from penumbra.errors import WeightsError
from penumbra.network import LayerNetwork, NetworkSize
from penumbra.training.official_layout import ROOT, from_official, official_name, official_shape

FIX = "Give the folder of an omnimatte-sp checkpoint as its authors' training code wrote it."
LARGEST_TREE = 4 * 2**20  # bytes; a real one has 20 kB
LARGEST_LEAF = 64 * 2**20  # bytes; the largest real one has 4 MB
MOST_NODES = 10_000
DEEPEST_NODE = 32
LONGEST_GRID = 4096

Array = NDArray[Any]

# What a nested structure of dicts, tuples and small integers is pickled with. REDUCE, BUILD, INST and the like are not
# among them, so nothing can be called but the stand-ins below.
_OPCODES = frozenset(
    {"PROTO", "FRAME", "STOP", "MARK", "EMPTY_DICT", "SETITEM", "SETITEMS"}
    | {"EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "NEWOBJ", "STACK_GLOBAL", "GLOBAL"}
    | {"SHORT_BINUNICODE", "BINUNICODE", "BININT", "BININT1", "BININT2"}
    | {"MEMOIZE", "BINPUT", "BINGET", "LONG_BINPUT", "LONG_BINGET"}
)
_CLASSES = frozenset({("optax._src.transform", "ScaleByAdamState"), ("optax._src.base", "EmptyState")})


class _Fields(tuple[Any, ...]):
    """Stands in for optax's named tuples."""

    __slots__ = ()

    def __new__(cls, *items: Any) -> _Fields:
        return super().__new__(cls, items)


class _StructureUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[_Fields]:
        if (module, name) in _CLASSES:
            return _Fields
        raise WeightsError(f"The checkpoint's tree.pkl asks for {module}.{name}, which is refused.", FIX)


def import_official(folder: Path) -> LayerNetwork:
    """The network of a checkpoint folder (``arrays.npy`` and ``tree.pkl``), at the grid it was trained at.

    Nothing the files hold is ever executed. Raises :class:`WeightsError` for anything missing, malformed, too large, of
    another shape, or that names a class other than the two of optax's optimiser state.
    """
    structure = _read_structure(folder / "tree.pkl")
    parameters = _read_parameters(folder / "arrays.npy", list(_leaf_paths(structure)))
    return network_from_official(parameters, str(folder))


def network_from_official(parameters: Mapping[str, Array], source: str) -> LayerNetwork:
    """The network with these weights: the authors' ``module/array`` names to arrays in their layout.

    ``source`` names the weights in errors. Raises :class:`WeightsError` unless names and shapes are exactly ours.
    """
    network = LayerNetwork(_network_size(parameters, source))
    ours = {official_name(name): (name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()}
    for theirs in sorted(set(parameters) ^ set(ours)):
        where = "holds" if theirs in parameters else "lacks"
        raise WeightsError(f"{source} {where} {theirs!r} and so is not this network's.", FIX)
    state = {}
    for theirs, (name, shape) in ours.items():
        expected = official_shape(theirs, shape)
        state[name] = torch.from_numpy(from_official(theirs, _checked(parameters[theirs], expected, theirs, source)))
    network.load_state_dict(state)
    return network.eval()


def _network_size(parameters: Mapping[str, Array], source: str) -> NetworkSize:
    counts = []
    for axis in "yxt":
        table = parameters.get(f"{ROOT}/pos_embs_{axis}")
        if table is None or table.ndim != 2 or not 1 <= len(table) <= LONGEST_GRID:
            raise WeightsError(f"{source} holds no omnimatte-sp position embedding pos_embs_{axis}.", FIX)
        counts.append(len(table))
    return NetworkSize(*counts)


def _checked(array: Array, shape: tuple[int, ...], name: str, source: str) -> NDArray[np.float32]:
    if array.shape != shape or array.dtype.kind != "f":
        raise WeightsError(f"{source}: {name} is {array.dtype} {array.shape}, expected floats of shape {shape}.", FIX)
    result: NDArray[np.float32] = array.astype(np.float32)
    if not np.isfinite(result).all():
        raise WeightsError(f"{source}: {name} holds values that are not finite.", "The training run has diverged.")
    return result


def _read_structure(path: Path) -> Any:
    data = _read_bytes(path)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            # A memo index makes the unpickler allocate that many entries.
            far = opcode.name == "LONG_BINPUT" and isinstance(argument, int) and argument > len(data)
            if opcode.name not in _OPCODES or far:
                raise WeightsError(f"{path} does more than describe a tree of arrays and is refused.", FIX)
        return _StructureUnpickler(io.BytesIO(data)).load()
    except WeightsError:
        raise
    except Exception as error:  # a malformed pickle can fail in any way
        raise WeightsError(f"{path} cannot be read: it is damaged or no checkpoint.", FIX) from error


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_TREE + 1)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.", FIX) from error
    if len(data) > LARGEST_TREE:
        raise WeightsError(f"{path} is larger than any checkpoint's tree.", FIX)
    return data


def _leaf_paths(tree: Any) -> Iterator[tuple[str, ...]]:
    """The paths of all leaves in JAX's order: dictionary keys sorted, tuples as they are."""
    visited = 0

    def walk(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        nonlocal visited
        visited += 1
        # Shared and cyclic nodes make a small pickle describe an endless tree.
        if visited > MOST_NODES or len(path) > DEEPEST_NODE:
            raise WeightsError("The checkpoint's tree.pkl describes more arrays than any network of ours has.", FIX)
        if isinstance(node, dict):
            if not all(isinstance(key, str) for key in node):
                raise WeightsError("The checkpoint's tree.pkl has keys that are no names.", FIX)
            for key in sorted(node):
                yield from walk(node[key], (*path, key))
        elif isinstance(node, tuple):
            for index, item in enumerate(node):
                yield from walk(item, (*path, str(index)))
        else:
            yield path

    return walk(tree, ())


def _read_parameters(path: Path, leaves: list[tuple[str, ...]]) -> dict[str, Array]:
    parameters: dict[str, Array] = {}
    try:
        with path.open("rb") as file:
            for leaf in leaves:
                array = _read_array(file, path)
                if leaf[:1] == ("params",):
                    parameters["/".join(leaf[1:])] = array
            if file.read(1):
                raise WeightsError(f"{path} holds more arrays than tree.pkl names.", FIX)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.", FIX) from error
    except (ValueError, EOFError) as error:
        raise WeightsError(f"{path} is damaged, or ends before the arrays that tree.pkl names.", FIX) from error
    return parameters


def _read_array(file: BinaryIO, path: Path) -> Array:
    """The next array; its header is judged before anything of its size is allocated."""
    start = file.tell()
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(version)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in "fiu" or math.prod(shape) * dtype.itemsize > LARGEST_LEAF:
        raise WeightsError(f"{path} holds an array of type {dtype} and shape {shape}, which no checkpoint has.", FIX)
    file.seek(start)
    array: Array = np.load(file, allow_pickle=False)
    return array
