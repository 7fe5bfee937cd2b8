"""The three ONNX graphs of a set of weights, loaded and ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.contract import CONTRACT_KEY, FINGERPRINT_KEY, GRAPH_NAMES, ModelContract
from penumbra.decompose.providers import (
    CPU,
    Choice,
    Runtime,
    Session,
    choose_provider,
    in_few_words,
    runtime_here,
    title_of,
)
from penumbra.errors import DeviceError, OutOfMemoryError, PenumbraError, WeightsError

FIX = "Export the weights again, or install Penumbra anew if these came with it."
LARGEST_GRAPH = 2**30  # bytes
LONGEST_WINDOW = 10  # frames the network's time embedding knows
_SIGNATURES = {
    "frame_encoder": (("frames",), ("features", "skips")),
    "mask_encoder": (("masks",), ("features",)),
    "layer_decoder": (("features", "skips", "mask_features", "visible", "target"), ("rgba",)),
}


@dataclass(frozen=True)
class LayerModels:
    """The network as ONNX Runtime runs it: encoders apart from the decoder, so that a frame is encoded only once.

    ``provider``: the ONNX Runtime provider in use. ``notes``: a sentence for each better one that could not be used;
    ``line``: the one line that says both. ``fingerprint``: SHA-256 of the weights. Arrays are float32 in [-1, 1];
    H = 16 h, W = 16 w.
    """

    contract: ModelContract
    provider: str
    notes: tuple[str, ...]
    line: str
    fingerprint: str
    sessions: Mapping[str, Session]

    @classmethod
    def load(
        cls, folder: Path, device: str = "auto", runtime: Runtime | None = None, failed: Mapping[str, str] | None = None
    ) -> LayerModels:
        """The graphs in ``folder``, on the best provider that takes all three and is not among those ``failed``.

        Raises :class:`WeightsError` when one is missing, damaged, of another export, or refers to other files;
        :class:`DeviceError` when ``device`` is named and cannot be used here.
        """
        files = {name: _read(folder / f"{name}.onnx") for name in GRAPH_NAMES}
        choice, sessions = _open_all(folder, files, device, runtime or runtime_here(), dict(failed or {}))
        contract, fingerprint = _agreed(sessions, folder)
        return cls(contract, choice.provider, choice.notes, choice.line, fingerprint, sessions)

    def encode_frames(self, frames: FloatArray) -> FloatArray:
        """Frames (N, 3, H, W) that are shown to the network: features (N, 256, h, w)."""
        return self._run("frame_encoder", {"frames": frames}, ("features",))[0]

    def encode_hidden(self, height: int, width: int) -> tuple[FloatArray, FloatArray]:
        """A hidden frame (all -1): features (256, h, w) and the decoder's skip connection (64, 8h, 8w)."""
        frames = np.full((1, 3, height, width), -1, np.float32)
        features, skips = self._run("frame_encoder", {"frames": frames}, ("features", "skips"))
        return features[0], skips[0]

    def encode_masks(self, masks: FloatArray) -> FloatArray:
        """Masks (N, 1, H, W) to features (N, 256, h, w)."""
        return self._run("mask_encoder", {"masks": masks}, ("features",))[0]

    def decode(
        self,
        features: FloatArray,
        skips: FloatArray,
        mask_features: FloatArray,
        visible: FloatArray,
        target: NDArray[np.int64],
    ) -> FloatArray:
        """B windows of T frames to straight RGBA (B, K, 4, H, W) of K objects at each window's target.

        Features (B, T, 256, h, w); the targets' skips (B, 64, 8h, 8w); mask features (B, K, T, 256, h, w); visible
        (B, T), 1 for frames shown; target (B,), positions in the windows.
        """
        inputs: dict[str, FloatArray | NDArray[np.int64]] = {
            "features": features,
            "skips": skips,
            "mask_features": mask_features,
            "visible": visible,
            "target": target,
        }
        return self._run("layer_decoder", inputs, ("rgba",))[0]

    def _run(
        self, name: str, inputs: Mapping[str, FloatArray | NDArray[np.int64]], outputs: tuple[str, ...]
    ) -> list[FloatArray]:
        try:
            results: list[FloatArray] = self.sessions[name].run(list(outputs), dict(inputs))
        except Exception as error:  # ONNX Runtime's exceptions share no base of their own
            raise _run_error(error, name, self.provider) from error
        return results


def _run_error(error: Exception, name: str, provider: str) -> PenumbraError:
    text = str(error).lower()
    if isinstance(error, MemoryError) or "memory" in text or "alloc" in text:
        return OutOfMemoryError(
            f"There is not enough memory to predict layers on {title_of(provider)}.",
            "Use a smaller working size" + (", or --device cpu." if provider != CPU else "."),
        )
    if provider != CPU:
        return DeviceError(f"{title_of(provider)} failed to predict: {in_few_words(error)}.", "Use --device cpu.")
    return WeightsError(f"The graph {name}.onnx failed: {str(error).splitlines()[0]}.", FIX)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_GRAPH + 1)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.", FIX) from error
    if len(data) > LARGEST_GRAPH:
        raise WeightsError(f"{path} is larger than any graph of ours.", FIX)
    # The key under which ONNX names another file to read; a graph of ours has it nowhere, so its bytes suffice.
    if b"location" in data:
        raise WeightsError(f"{path} refers to other files, which is refused.", FIX)
    return data


def _open_all(
    folder: Path, files: Mapping[str, bytes], device: str, runtime: Runtime, failed: dict[str, str]
) -> tuple[Choice, dict[str, Session]]:
    """All graphs on one provider. One that starts may still be unable to take a graph: then the next is tried."""
    while True:
        choice = choose_provider(device, files["mask_encoder"], failed, runtime)
        try:
            sessions = {name: runtime.open(data, choice.provider) for name, data in files.items()}
            if choice.provider != CPU:
                _try_out(sessions)
        except Exception as error:  # a damaged file and an incapable provider can fail in any way
            if choice.provider == CPU:
                raise _damaged(folder, files, runtime) from error
            failed[choice.provider] = in_few_words(error)
            continue
        for name, session in sessions.items():
            _check_signature(folder / f"{name}.onnx", session)
        return choice, sessions


def _try_out(sessions: Mapping[str, Session]) -> None:
    """Runs every graph once at the smallest size, so that what a provider cannot compute is known in time."""
    zeros, one = np.zeros, (1, 2, 256, 2, 2)
    sessions["frame_encoder"].run(None, {"frames": zeros((1, 3, 32, 32), np.float32)})
    sessions["mask_encoder"].run(None, {"masks": zeros((1, 1, 32, 32), np.float32)})
    inputs = {
        "features": zeros(one, np.float32),
        "skips": zeros((1, 64, 16, 16), np.float32),
        "mask_features": zeros((1, *one), np.float32),
        "visible": zeros((1, 2), np.float32),
        "target": zeros(1, np.int64),
    }
    sessions["layer_decoder"].run(None, inputs)


def _damaged(folder: Path, files: Mapping[str, bytes], runtime: Runtime) -> WeightsError:
    """The error that names the first graph the CPU cannot load."""
    for name, data in files.items():
        try:
            runtime.open(data, CPU)
        except Exception:  # noqa: BLE001 - whatever it is, this is the file
            path = folder / f"{name}.onnx"
            return WeightsError(f"{path} cannot be loaded: it is damaged or no graph for this version.", FIX)
    return WeightsError(f"The graphs in {folder} cannot be loaded together.", FIX)


def _check_signature(path: Path, session: Session) -> None:
    found = tuple(i.name for i in session.get_inputs()), tuple(o.name for o in session.get_outputs())
    if found != _SIGNATURES[path.stem]:
        raise WeightsError(f"{path} is not the {path.stem} graph of Penumbra.", FIX)


def _agreed(sessions: Mapping[str, Session], folder: Path) -> tuple[ModelContract, str]:
    """The contract and fingerprint that all graphs carry."""
    found = []
    for name, session in sessions.items():
        metadata = session.get_modelmeta().custom_metadata_map
        if CONTRACT_KEY not in metadata or FINGERPRINT_KEY not in metadata:
            raise WeightsError(f"{folder / name}.onnx carries no contract.", FIX)
        found.append((metadata[CONTRACT_KEY], metadata[FINGERPRINT_KEY]))
    if len(set(found)) > 1:
        raise WeightsError(f"The graphs in {folder} come from different weights.", FIX)
    contract = ModelContract.from_json(found[0][0])
    if not (1 <= contract.window <= LONGEST_WINDOW and contract.stride >= 1 and contract.multiple == 16):
        raise WeightsError(f"The graphs in {folder} promise what they cannot keep: {contract.to_json()}.", FIX)
    return contract, found[0][1]
