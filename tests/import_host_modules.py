"""Imports every module that hosts share, with a host's own Python: run by ``make host-floor`` under Python 3.9.

Modules that need Nuke get the tests' stand-in, which is standard library alone as long as nothing is rendered.
"""

import importlib
import pkgutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ("errors", "events", "job", "launch", "layer_graph", "nuke_script", "storage")
PLUGINS = ("penumbra_nuke", "penumbra_resolve")


def host_modules():
    """Names of the modules."""
    for name in SHARED:
        if (ROOT / "engine" / "penumbra" / (name + ".py")).exists():
            yield "penumbra." + name
    for package in PLUGINS:
        if (ROOT / package.replace("penumbra_", "plugin_") / package / "__init__.py").exists():
            yield package
            path = importlib.import_module(package).__path__
            yield from (found.name for found in pkgutil.walk_packages(path, package + "."))


def main():
    """Imports them, and says which."""
    for folder in ("engine", "plugin_nuke", "plugin_resolve", "tests/fakes"):
        sys.path.insert(0, str(ROOT / folder))
    names = list(host_modules())
    for name in names:
        importlib.import_module(name)
    foreign = sorted(set(sys.modules) & {"numpy", "OpenImageIO", "av", "cv2", "onnxruntime", "torch", "typer"})
    if foreign:
        sys.exit("The host modules import more than the standard library: " + ", ".join(foreign))
    version = ".".join(str(part) for part in sys.version_info[:2])
    sys.stdout.write(f"host-floor: {len(names)} modules import with Python {version}\n")


if __name__ == "__main__":
    main()
