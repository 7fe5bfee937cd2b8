"""Which of ONNX Runtime's execution providers really runs here, and why a better one does not."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import onnxruntime

from penumbra.errors import DeviceError
from penumbra.threads import thread_count

# Builds for Windows heed only this.
onnxruntime.disable_telemetry_events()

CPU = "CPUExecutionProvider"
_PREFERENCE = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "cpu": CPU,
}
_TITLES = {"tensorrt": "TensorRT", "cuda": "CUDA", "coreml": "CoreML", "directml": "DirectML", "cpu": "the CPU"}
_SYNONYMS = {"mps": "coreml"}
_NVIDIA = ("tensorrt", "cuda")
_FATAL, _ERROR = 4, 3  # ONNX Runtime's severities
_LONGEST_REASON = 120

Session: TypeAlias = onnxruntime.InferenceSession


@dataclass(frozen=True)
class Choice:
    """The provider that runs, and for each better one of this build the reason why it does not, by its title."""

    provider: str
    refused: Mapping[str, str]

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each provider that could not be used."""
        return tuple(f"{title} is not used: {reason}." for title, reason in self.refused.items())

    @property
    def line(self) -> str:
        """One line: what runs, and why nothing better does."""
        together: dict[str, list[str]] = {}
        for title, reason in self.refused.items():
            together.setdefault(reason, []).append(title)
        parts = [f"not on {' or '.join(titles)}: {reason}" for reason, titles in together.items()]
        return "; ".join([f"Predicting on {title_of(self.provider)}", *parts]) + "."


@dataclass(frozen=True)
class Runtime:
    """ONNX Runtime as it is installed: the providers this build has, how one is opened on a model, what is known to
    stand in a provider's way before it is tried, and which library it missed when it was ("" for nothing).
    """

    installed: tuple[str, ...]
    open: Callable[[bytes, str], Session]
    obstacle: Callable[[str], str]
    missing: Callable[[str], str]


def runtime_here() -> Runtime:
    """The real one."""
    return Runtime(tuple(onnxruntime.get_available_providers()), open_session, _obstacle, _missing_library)


def title_of(provider: str) -> str:
    """A provider's name as people write it."""
    return next((_TITLES[name] for name, known in _PREFERENCE.items() if known == provider), provider)


def choose_provider(
    device: str, probe: bytes, failed: Mapping[str, str] | None = None, runtime: Runtime | None = None
) -> Choice:
    """The first provider that starts, best first; ``device`` is ``auto`` or names the only one to be tried.

    ``probe``: any small model. A provider that is listed as available may still step back when its driver or libraries
    are missing, so each is tried. ``failed``: reasons, by provider, of those that are known not to work and are not
    tried again. Raises :class:`DeviceError` when the named one does not start.
    """
    name = _SYNONYMS.get(device, device)
    if name != "auto" and name not in _PREFERENCE:
        raise DeviceError(f"Device {device!r} is not known.", f"Use auto, {', '.join(_PREFERENCE)}.")
    runtime, failed = runtime or runtime_here(), failed or {}
    refused: dict[str, str] = {}
    for label, provider in _PREFERENCE.items():
        if name not in ("auto", label) or (name == "auto" and provider not in runtime.installed):
            continue
        reason = failed.get(provider) or why_not(provider, probe, runtime)
        if not reason:
            return Choice(provider, refused)
        refused[_TITLES[label]] = reason
    reasons = "; ".join(refused.values()) or "this build of ONNX Runtime has no provider at all"
    raise DeviceError(f"Device {device!r} cannot be used here: {reasons}.", "Use --device auto or --device cpu.")


def survey(probe: bytes, runtime: Runtime | None = None) -> dict[str, str]:
    """Every provider's title, best first, with the reason why it cannot be used here, "" for those that can."""
    runtime = runtime or runtime_here()
    return {_TITLES[label]: why_not(provider, probe, runtime) for label, provider in _PREFERENCE.items()}


def why_not(provider: str, probe: bytes, runtime: Runtime) -> str:
    """In a few words why a provider does not run here; "" when it does."""
    if provider not in runtime.installed:
        return "this build of ONNX Runtime does not have it"
    if provider == CPU:
        return ""
    with _quiet():
        try:
            reason = runtime.obstacle(provider)
            if reason or provider in runtime.open(probe, provider).get_providers():
                return reason
            return runtime.missing(provider) or "it did not start"
        except Exception as error:  # noqa: BLE001 - providers fail in their own ways, and any of them means the same
            return runtime.missing(provider) or in_few_words(error)


def open_session(model: bytes, provider: str) -> Session:
    """A session on ``provider``, with the CPU for what the provider lacks. ONNX Runtime's own errors pass through."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL  # what goes wrong comes as an exception; the log would only repeat it
    # Waiting threads sleep: the pipeline reads and writes on the same cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = thread_count()
    # TensorRT leaves to CUDA what it cannot do.
    companions = [_PREFERENCE["cuda"]] if provider == _PREFERENCE["tensorrt"] else []
    providers = [*dict.fromkeys([provider, *companions, CPU])]
    # Without this, falling back prints to stdout, which carries our events.
    return Session(model, sess_options=options, providers=providers, enable_fallback=0)


def in_few_words(error: Exception) -> str:
    """The telling part of one of ONNX Runtime's messages, which begin with source files and error numbers."""
    text = " ".join(str(error).split())
    told = re.search(r"(?:CUDA|CUDNN|CUBLAS|DML)\w* failure \d+: ([^;]+)", text)
    if told:
        return told[1].strip().rstrip(".")
    text = re.sub(r"^(\S+\.(cc|cpp|h):\d+ .*?\) |\[ONNXRuntimeError\] : \d+ : \w+ : )+", "", text)
    first = re.split(r"[.;] ", text)[0].rstrip(". ")
    return first[:_LONGEST_REASON] or type(error).__name__


def _obstacle(provider: str) -> str:
    """What can be told without starting a provider: loading CUDA's 300 MB only to learn this takes a moment."""
    if not _is_nvidia(provider):
        return ""
    driver = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    if _load_error(driver):
        return "no NVIDIA driver was found"
    _load_packaged_cuda()
    return ""


def _missing_library(provider: str) -> str:
    """Which library a provider's own could not find; asked only after ONNX Runtime itself failed to load it."""
    name = next(label for label, known in _PREFERENCE.items() if known == provider)
    folder = Path(onnxruntime.__file__).parent / "capi"
    pattern = f"onnxruntime_providers_{name}.dll" if sys.platform == "win32" else f"libonnxruntime_providers_{name}.so"
    text = _load_error(str(folder / pattern)) if _is_nvidia(provider) and (folder / pattern).is_file() else ""
    missing = re.match(r"(\S+\.so[.\d]*): cannot open shared object", text)
    return f"the library {missing[1]} is missing" if missing else ""


def _is_nvidia(provider: str) -> bool:
    return any(_PREFERENCE[label] == provider for label in _NVIDIA)


def _load_error(library: str) -> str:
    try:
        ctypes.CDLL(library)
    except OSError as error:
        return str(error)
    return ""


def _load_packaged_cuda() -> None:
    """CUDA's libraries may have come as Python packages, where the system's loader does not look."""
    if importlib.util.find_spec("nvidia") is None or not hasattr(onnxruntime, "preload_dlls"):
        return
    # It prints what it misses on stdout, which carries our events; the attempt that follows says it better.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        onnxruntime.preload_dlls()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Missing libraries are logged to stderr by ONNX Runtime's default logger."""
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_ERROR)
