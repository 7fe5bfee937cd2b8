"""Which of ONNX Runtime's execution providers really runs here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import onnxruntime

from penumbra.errors import DeviceError

CPU = "CPUExecutionProvider"
_PREFERENCE = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "cpu": CPU,
}
_TITLES = {"tensorrt": "TensorRT", "cuda": "CUDA", "coreml": "CoreML", "directml": "DirectML", "cpu": "The CPU"}
_SYNONYMS = {"mps": "coreml"}
_FATAL, _ERROR = 4, 3  # ONNX Runtime's severities

Session: TypeAlias = onnxruntime.InferenceSession


@dataclass(frozen=True)
class Choice:
    """A provider that was seen to work, and a sentence for each one that was not."""

    provider: str
    notes: tuple[str, ...]


def choose_provider(device: str, probe: bytes) -> Choice:
    """The first provider that starts, best first; ``device`` is ``auto`` or names the only one to be tried.

    ``probe``: any small model. A provider that is listed as available may still step back when its driver or libraries
    are missing, so each is tried. Raises :class:`DeviceError` when the named one does not start.
    """
    name = _SYNONYMS.get(device, device)
    if name != "auto" and name not in _PREFERENCE:
        raise DeviceError(f"Device {device!r} is not known.", f"Use auto, {', '.join(_PREFERENCE)}.")
    installed = onnxruntime.get_available_providers()
    notes: list[str] = []
    for label, provider in _PREFERENCE.items():
        if name not in ("auto", label):
            continue
        if provider in installed:
            if provider == CPU or _starts(probe, provider):
                return Choice(provider, tuple(notes))
            notes.append(f"{_TITLES[label]} is not used: its driver or libraries are missing on this computer.")
        elif name == label:
            notes.append(f"{_TITLES[label]} is not used: this build of ONNX Runtime does not have it.")
    reason = f" {notes[-1]}" if notes else ""
    raise DeviceError(f"Device {device!r} cannot be used here.{reason}", "Use --device auto or --device cpu.")


def open_session(model: bytes, provider: str) -> Session:
    """A session on ``provider``, with the CPU for what the provider lacks. ONNX Runtime's own errors pass through."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL  # what goes wrong comes as an exception; the log would only repeat it
    # Waiting threads sleep: the pipeline reads and writes on the same cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # 0 takes all cores. A farm limits every program by this one variable; torch and OpenCV heed it by themselves.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdigit() else 0
    # TensorRT leaves to CUDA what it cannot do.
    companions = [_PREFERENCE["cuda"]] if provider == _PREFERENCE["tensorrt"] else []
    providers = [*dict.fromkeys([provider, *companions, CPU])]
    # Without this, falling back prints to stdout, which carries our events.
    return Session(model, sess_options=options, providers=providers, enable_fallback=0)


def _starts(probe: bytes, provider: str) -> bool:
    try:
        with _quiet():
            return provider in open_session(probe, provider).get_providers()
    except Exception:  # noqa: BLE001 - providers fail in their own ways, and which one does not matter here
        return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Missing libraries are logged to stderr by ONNX Runtime's default logger."""
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_ERROR)
