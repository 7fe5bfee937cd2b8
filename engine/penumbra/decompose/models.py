"""The three ONNX graphs of a set of weights, loaded and ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.contract import CONTRACT_KEY, FINGERPRINT_KEY, GRAPH_NAMES, ModelContract
from penumbra.decompose.providers import Session, choose_provider, open_session
from penumbra.errors import OutOfMemoryError, PenumbraError, WeightsError

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

    ``provider``: the ONNX Runtime provider in use. ``notes``: a sentence for each better one that could not be used.
    ``fingerprint``: SHA-256 of the weights. Arrays are float32 in [-1, 1]; H = 16 h, W = 16 w.
    """

    contract: ModelContract
    provider: str
    notes: tuple[str, ...]
    fingerprint: str
    sessions: Mapping[str, Session]

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> LayerModels:
        """The graphs in ``folder``.

        Raises :class:`WeightsError` when one is missing, damaged, of another export, or refers to other files;
        :class:`DeviceError` when ``device`` is named and cannot be used here.
        """
        files = {name: _read(folder / f"{name}.onnx") for name in GRAPH_NAMES}
        choice = choose_provider(device, files["mask_encoder"])
        sessions = {name: _open(folder / f"{name}.onnx", files[name], choice.provider) for name in GRAPH_NAMES}
        contract, fingerprint = _agreed(sessions, folder)
        return cls(contract, choice.provider, choice.notes, fingerprint, sessions)

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
            raise _run_error(error, name) from error
        return results


def _run_error(error: Exception, name: str) -> PenumbraError:
    text = str(error).lower()
    if isinstance(error, MemoryError) or "memory" in text or "allocate" in text:
        return OutOfMemoryError("There is not enough memory to predict layers.", "Use a smaller working size.")
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


def _open(path: Path, data: bytes, provider: str) -> Session:
    try:
        session = open_session(data, provider)
        found = tuple(i.name for i in session.get_inputs()), tuple(o.name for o in session.get_outputs())
    except Exception as error:  # a damaged file can fail in any way
        raise WeightsError(f"{path} cannot be loaded: it is damaged or no graph for this version.", FIX) from error
    if found != _SIGNATURES[path.stem]:
        raise WeightsError(f"{path} is not the {path.stem} graph of Penumbra.", FIX)
    return session


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
