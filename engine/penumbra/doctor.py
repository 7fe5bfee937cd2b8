"""What of the set-up works here, in lines a user can paste into a report."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path

from penumbra import __version__
from penumbra.host_folders import fusion_folder, python_trap

REQUIRED = ("numpy", "OpenImageIO", "av", "cv2", "onnxruntime", "safetensors")
FOR_REFINEMENT = ("torch", "onnx", "onnxscript")
WEIGHTS = Path(__file__).parent / "weights"


def report() -> tuple[list[str], bool]:
    """Lines to print, and whether everything that decomposition needs is in order."""
    lines = [f"Penumbra {__version__}, Python {platform.python_version()}, {platform.platform()}", sys.executable]
    needed = [_library(name) for name in REQUIRED]
    optional = [_library(name) for name in FOR_REFINEMENT]
    lines += [line for line, _ in needed]
    lines += [line for line, _ in optional]
    healthy = all(found for _, found in needed)
    if not all(found for _, found in optional):
        lines.append("refinement      not available: pip install 'penumbra-layers[refine]'")
    if healthy:
        lines += [*_providers(), _color_configuration(), _weights()]
    lines += [_host("Nuke", "Nuke"), *_resolve()]
    return lines, healthy


def _library(name: str) -> tuple[str, bool]:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        return f"{name:<15} MISSING ({error})", False
    version = getattr(module, "__version__", None) or getattr(module, "VERSION_STRING", "")
    return f"{name:<15} {version}", True


def _providers() -> list[str]:
    """A line for every device prediction could run on, best first."""
    import onnxruntime

    from penumbra.decompose import survey

    probe = WEIGHTS / "mask_encoder.onnx"
    if not probe.is_file():
        return ["providers       " + ", ".join(onnxruntime.get_available_providers()) + " (built in, not tried)"]
    reasons = survey(probe.read_bytes())
    used = next((title for title, reason in reasons.items() if not reason), "nothing")
    lines = [f"predicts on     {used}"]
    return lines + [f"  {title:<13} not used: {reason}" for title, reason in reasons.items() if reason]


def _color_configuration() -> str:
    from penumbra.read import describe_color_configuration

    source = "$OCIO" if os.environ.get("OCIO") else "built in"
    return f"colour          {source}: {describe_color_configuration()}"


def _weights() -> str:
    found = sorted(path.name for path in WEIGHTS.glob("*.onnx")) if WEIGHTS.is_dir() else []
    return "weights         " + (", ".join(found) if found else "none shipped: refinement is needed")


def _resolve() -> list[str]:
    """Whether Resolve and our scripts are there, and what keeps it from running them."""
    folder = fusion_folder(Path.home(), os.environ)
    found = "its user folder is there" if folder.is_dir() else "no user folder"
    ours = "our scripts are in it" if (folder / "PenumbraLayers").is_dir() else "our scripts are not: install resolve"
    trap = python_trap(os.environ)
    line = f"{'Resolve':<15} {shutil.which('resolve') or 'not on the PATH'}; {found}; {ours}"
    return [line, f"  {trap}"] if trap else [line]


def _host(name: str, command: str) -> str:
    return f"{name:<15} {shutil.which(command) or 'not on the PATH'}"
