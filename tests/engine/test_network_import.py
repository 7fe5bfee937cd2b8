"""The importer of the authors' checkpoints: what it reads, and all that it refuses."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from penumbra.errors import WeightsError
from penumbra.network import LayerNetwork, NetworkSize, seeded_network
from penumbra.training.import_official import import_official, network_from_official
from penumbra.training.official_layout import official_name

PEER = Path(__file__).parents[2].parent / "shared" / "peer"


@pytest.fixture(scope="module")
def network() -> LayerNetwork:
    return seeded_network(2, NetworkSize(grid_height=2, grid_width=3)).eval()


def parameters_of(network: LayerNetwork) -> dict[str, np.ndarray]:
    """The authors' arrays of a network of ours, written apart from the importer."""
    result = {}
    for name, tensor in network.state_dict().items():
        array, theirs = tensor.numpy(), official_name(name)
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
            if "conv2_d_transpose" in theirs:
                array = array[::-1, ::-1]
        elif array.ndim == 2 and theirs.endswith("/w"):
            array = array.T
        elif "instance_norm" in theirs:
            array = array.reshape(1, -1, 1, 1)
        elif theirs.endswith("/b") and "transformer" not in theirs:
            array = array.reshape(-1, 1, 1)
        result[theirs] = np.ascontiguousarray(array)
    return result


def tree_of(parameters: dict[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, array in parameters.items():
        module, leaf = name.rsplit("/", 1)
        tree.setdefault(module, {})[leaf] = array
    return {"params": tree, "opt_state": (np.int32(3), ()), "step": np.int64(3)}


def leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    return [leaf for item in tree for leaf in leaves(item)] if isinstance(tree, tuple) else [tree]


def hollow(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: hollow(value) for key, value in tree.items()}
    return tuple(map(hollow, tree)) if isinstance(tree, tuple) else 0


def write_checkpoint(folder: Path, tree: Any) -> Path:
    with (folder / "arrays.npy").open("wb") as file:
        for leaf in leaves(tree):
            np.save(file, leaf, allow_pickle=False)
    (folder / "tree.pkl").write_bytes(pickle.dumps(hollow(tree), protocol=4))
    return folder


def test_a_checkpoint_comes_back_to_the_bit(tmp_path: Path, network: LayerNetwork) -> None:
    again = import_official(write_checkpoint(tmp_path, tree_of(parameters_of(network))))
    assert again.size == network.size
    assert not again.training
    for (name, ours), theirs in zip(network.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


@pytest.mark.skipif(not PEER.is_dir(), reason="the full peer fixture is not beside the repository")
def test_the_authors_layout_imports_without_their_libraries(tmp_path: Path) -> None:
    assert importlib.util.find_spec("optax") is None
    script = PEER / "make_official_checkpoint.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, capture_output=True)
    network = import_official(tmp_path)
    with np.load(PEER / "official_params_f16.npz") as file:
        expected = network_from_official({name: file[name].astype(np.float32) for name in file.files}, "fixture")
    for (name, ours), theirs in zip(network.named_parameters(), expected.named_parameters(), strict=True):
        assert torch.equal(ours, theirs[1]), name
    assert "optax" not in sys.modules


class Attack:
    """Unpickled without restriction this runs ``function(argument)``."""

    def __init__(self, function: Any, argument: str) -> None:
        self.call = (function, (argument,))

    def __reduce__(self) -> Any:
        return self.call


def test_a_tree_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path, network: LayerNetwork) -> None:
    write_checkpoint(tmp_path, tree_of(parameters_of(network)))
    victim = tmp_path / "victim"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        attack = Attack(os.mkdir, str(victim))
        (tmp_path / "tree.pkl").write_bytes(pickle.dumps({"params": attack}, protocol=protocol))
        with pytest.raises(WeightsError, match=r"refused"):
            import_official(tmp_path)
        assert not victim.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04cos\nsystem\n.",  # a name alone
        b"\x80\x04\x8c\x08builtins\x8c\x04dict\x93.",
        b"\x80\x04\x8c\x10optax._src.base\x8c\x0aEmptyState\x93.",  # a wrong length: damaged
        b"\x80\x04\x8c\x0foptax._src.base\x8c\x13EmptyState.__init__\x93.",
        b"\x80\x04coptax._src.base\nEmptyState\n)R.",  # REDUCE of an allowed name
        b"\x80\x04coptax._src.base\nEmptyState\n)\x81}\x8c\x01a K\x01sb.",  # BUILD
        b"\x80\x04}r\xff\xff\xff\x7f.",  # a memo of two thousand million entries
        b"\x80\x04K\x00",  # no end
        b"",
        b"\x00" * 100,
    ],
)
def test_other_trees_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "arrays.npy").write_bytes(b"")
    (tmp_path / "tree.pkl").write_bytes(data)
    with pytest.raises(WeightsError):
        import_official(tmp_path)


def test_the_two_names_of_optax_are_allowed(tmp_path: Path, network: LayerNetwork) -> None:
    write_checkpoint(tmp_path, tree_of(parameters_of(network)))
    # (0, ()) of the optimiser state, the inner tuple as optax's EmptyState().
    plain = pickle.dumps(hollow(tree_of(parameters_of(network))), protocol=4)
    assert plain.count(b"K\x00)\x86") == 1
    named = plain.replace(b"K\x00)\x86", b"K\x00\x8c\x0foptax._src.base\x8c\x0aEmptyState\x93)\x81\x86")
    named = named[:2] + named[11:] if named[2:3] == b"\x95" else named  # the frame's length would be wrong
    (tmp_path / "tree.pkl").write_bytes(named)
    assert import_official(tmp_path).size == network.size


def test_endless_trees_are_refused(tmp_path: Path) -> None:
    (tmp_path / "arrays.npy").write_bytes(b"")
    node: Any = {}
    for _ in range(25):
        node = {"a": node, "b": node}
    for tree in (node, {"params": _nested(40)}, {1: 0}):
        (tmp_path / "tree.pkl").write_bytes(pickle.dumps(tree, protocol=4))
        with pytest.raises(WeightsError):
            import_official(tmp_path)


def _nested(depth: int) -> Any:
    return {"a": _nested(depth - 1)} if depth else 0


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, network: LayerNetwork) -> None:
    good = parameters_of(network)

    def refused(sentence: str, parameters: dict[str, np.ndarray]) -> None:
        write_checkpoint(tmp_path, tree_of(parameters))
        with pytest.raises(WeightsError, match=sentence):
            import_official(tmp_path)

    name = "omnimatte_sp/valid_emb"
    refused("lacks 'omnimatte_sp/valid_emb'", {key: array for key, array in good.items() if key != name})
    refused("holds 'omnimatte_sp/extra'", good | {"omnimatte_sp/extra": good[name]})
    refused("expected floats of shape", good | {name: good[name][:9]})
    refused("expected floats", good | {name: good[name].astype(np.int32)})
    refused("not finite", good | {name: np.full(256, np.inf, np.float32)})
    refused("no omnimatte-sp position embedding", {name: good[name]})


def test_array_files_that_lie_are_refused(tmp_path: Path, network: LayerNetwork) -> None:
    write_checkpoint(tmp_path, tree_of(parameters_of(network)))
    path = tmp_path / "arrays.npy"
    good = path.read_bytes()
    for content, sentence in (
        (good[:-100], "damaged"),
        (good[: len(good) // 2], "damaged"),
        (good + b"more", "more arrays"),
        (b"", "damaged"),
        (_header("'<f4'", "(2000000000,)") + good, "no checkpoint has"),
        (_header("'|O'", "(1,)") + pickle.dumps(Attack(os.mkdir, str(tmp_path / "victim"))), "no checkpoint has"),
    ):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=sentence):
            import_official(tmp_path)
    assert not (tmp_path / "victim").exists()


def _header(dtype: str, shape: str) -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def test_a_folder_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"tree\.pkl cannot be read"):
        import_official(tmp_path)
    (tmp_path / "tree.pkl").write_bytes(pickle.dumps({"params": 0}, protocol=4))
    with pytest.raises(WeightsError, match=r"arrays\.npy cannot be read"):
        import_official(tmp_path)
    (tmp_path / "tree.pkl").write_bytes(b"\x80\x04" + b"0" * 5_000_000)
    with pytest.raises(WeightsError, match="larger than"):
        import_official(tmp_path)
