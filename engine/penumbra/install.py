"""Puts a host's plug-in where the host finds it, and takes it away again; touches no file that is not ours."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from penumbra.errors import OutputError, PenumbraError
from penumbra.host_folders import fusion_folder, python_trap
from penumbra.storage import atomic_path

# What plug-ins import of the engine: the standard library is all they need (see pyproject's import contracts).
SHARED_MODULES = ("__init__", "errors", "events", "job", "launch", "layer_graph", "nuke_script", "storage")
RECORD = "installed.json"
ENGINE_FILE = "engine.txt"
MODULES_MARK = b'"@PENUMBRA_MODULES@"'


class InstallError(OutputError):
    """A plug-in that cannot be put in place or taken away."""

    code = "install"


class UnknownHostError(PenumbraError):
    """A host there is no plug-in for."""

    code = "unknown_host"
    exit_code = 2


@dataclass(frozen=True)
class HostPlugin:
    """One host's plug-in: its package, the folder it goes to, and the lines the host's own start-up needs.

    Files of the package's ``startup`` folder go to the top of ``folder``, everything else to ``folder/python``.
    ``hook``: a file of the host's that leads to ``folder``, made only where there is none; ``hook_text`` its text, and
    ``advice`` what to do by hand where there is one already. ``startup``: where else, seen from ``folder``, files of
    the ``startup`` folder go; :data:`MODULES_MARK` in them becomes the text of the path of ``folder/python``.
    """

    package: str
    folder: Path
    hook: Path | None = None
    hook_text: str = ""
    advice: str = ""
    startup: str = ""


def nuke_plugin(home: Path | None = None) -> HostPlugin:
    """Nuke's: ``penumbra`` in the user's ``.nuke`` folder, or in ``home``."""
    base = home or Path.home() / ".nuke"
    folder = base / "penumbra_layers"
    line = f'nuke.pluginAddPath("./{folder.name}")'
    return HostPlugin(
        package="penumbra_nuke",
        folder=folder,
        hook=base / "init.py",
        hook_text=f'"""Made by penumbra install nuke."""\n\nimport nuke\n\n{line}\n',
        advice=f"{base / 'init.py'} is yours and stays as it is. Add this line to it:\n    {line}\n"
        f"or set NUKE_PATH before Nuke starts:\n    {_path_line(folder)}",
    )


def resolve_plugin(home: Path | None = None) -> HostPlugin:
    """Resolve's, in the user's ``Fusion`` folder, or in ``home``: scripts in its ``Scripts``, modules beside that.

    Every ``.py`` below ``Scripts`` is listed in Resolve's menu, so the modules must lie elsewhere.
    """
    base = home or fusion_folder(Path.home(), os.environ)
    return HostPlugin(
        package="penumbra_resolve",
        folder=base / "PenumbraLayers",
        startup="../Scripts",
        advice=python_trap(os.environ)
        or "In Resolve: Workspace, Scripts. docs/resolve.md says what each of them does.",
    )


def find_plugin(host: str, home: Path | None = None) -> HostPlugin:
    """The plug-in of a host by name; :class:`UnknownHostError` lists those there are."""
    known = {"nuke": nuke_plugin, "resolve": resolve_plugin}
    if host not in known:
        raise UnknownHostError(f"There is no plug-in for {host!r}.", "Known: " + ", ".join(known) + ".")
    return known[host](home)


def install(plugin: HostPlugin) -> list[str]:
    """Puts the plug-in in place, over an earlier one of ours; lines that tell what was done.

    Raises :class:`InstallError` where a file of somebody else's is in the way, or nothing can be written.
    """
    files = dict(_files(plugin))
    ours = _recorded(plugin)
    foreign = [name for name in files if name not in ours and _place(plugin, name).exists()]
    if foreign:
        raise InstallError(f"{_place(plugin, foreign[0])} is not Penumbra's own.", "Move it away, or use --folder.")
    try:
        # One that is there no more, or was changed by hand, is taken back first.
        _remove(plugin, ours)
        for name, body in files.items():
            _write(_place(plugin, name), body)
        made = _make_hook(plugin)
        _write(plugin.folder / RECORD, _record(files, plugin if made or _hook_is_ours(plugin) else None))
    except OSError as error:
        raise InstallError(
            f"{plugin.folder} cannot be written: {error.strerror}.", "Change its permissions, or use --folder."
        ) from error
    lines = [f"{plugin.folder}: {len(files)} files", f"engine: {sys.executable}"]
    return [*lines, f"{plugin.hook}: made"] if made else lines + ([] if _hook_leads(plugin) else [plugin.advice])


def uninstall(plugin: HostPlugin) -> list[str]:
    """Takes away what :func:`install` made and nobody changed since; lines that tell what was done."""
    ours = _recorded(plugin)
    if not ours:
        return [f"{plugin.folder}: nothing of Penumbra's"]
    try:
        kept = _remove(plugin, ours)
        lines = [f"{plugin.folder}: {len(ours) - len(kept)} files removed"]
        if plugin.hook is not None and _hook_is_ours(plugin):
            plugin.hook.unlink()
            lines.append(f"{plugin.hook}: removed")
        (plugin.folder / RECORD).unlink(missing_ok=True)
        _prune(plugin.folder)
    except OSError as error:
        raise InstallError(
            f"{plugin.folder} cannot be removed: {error.strerror}.", "Change its permissions."
        ) from error
    return lines + [f"{path}: changed since, so it stays" for path in kept]


def plugin_state(host: str, home: Path | None = None) -> str:
    """Whether the plug-in of a host is in place and this engine's own, in a few words for ``penumbra doctor``."""
    plugin = find_plugin(host, home)
    ours = _recorded(plugin)
    if not ours:
        return f"not installed: penumbra install {host}"
    again = f"penumbra install {host} again"
    lost = [_place(plugin, name) for name in ours if not _place(plugin, name).is_file()]
    if lost:
        return f"{lost[0]} is gone: {again}"
    current = {name: hashlib.sha256(body).hexdigest() for name, body in _files(plugin)}
    engine = f"python/{plugin.package}/{ENGINE_FILE}"
    if engine not in ours or {**ours, engine: ""} != {**current, engine: ""}:
        return f"of another version of Penumbra: {again}"
    led = _place(plugin, engine).read_text(encoding="utf-8", errors="replace").strip()
    return f"in {plugin.folder}" if led == sys.executable else f"leads to another engine, {led}: {again}"


def _files(plugin: HostPlugin) -> Iterator[tuple[str, bytes]]:
    """Name relative to the plug-in's folder, and content, of everything that belongs there."""
    engine = Path(__file__).parent
    for name in SHARED_MODULES:
        yield f"python/penumbra/{name}.py", (engine / f"{name}.py").read_bytes()
    package = _package_folder(plugin.package)
    modules = json.dumps(str(plugin.folder / "python")).encode()
    for path in sorted((*package.rglob("*.py"), *package.rglob("*.lua"))):
        inside = path.relative_to(package)
        if inside.parts[0] == "startup":
            place = PurePosixPath(plugin.startup, *inside.parts[1:])
            yield str(place), path.read_bytes().replace(MODULES_MARK, modules)
        else:
            yield f"python/{plugin.package}/{inside.as_posix()}", path.read_bytes()
    yield f"python/{plugin.package}/{ENGINE_FILE}", f"{sys.executable}\n".encode()


def _place(plugin: HostPlugin, name: str) -> Path:
    """Where a file goes. ``..`` is taken off by name: it leads nowhere from a folder that is not there yet."""
    return Path(os.path.normpath(plugin.folder / name))


def _package_folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise InstallError(f"The package {package} is not installed.", "Install penumbra-layers again.")
    return Path(found.origin).parent


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(body)


def _record(files: dict[str, bytes], hooked: HostPlugin | None) -> bytes:
    digests = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
    return json.dumps({"files": digests, "hook": hooked is not None}, indent=1).encode()


def _recorded(plugin: HostPlugin) -> dict[str, str]:
    """Our files as they were put in place: name -> digest."""
    try:
        body = json.loads((plugin.folder / RECORD).read_text(encoding="utf-8"))
        return {str(name): str(digest) for name, digest in body["files"].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}


def _remove(plugin: HostPlugin, ours: dict[str, str]) -> list[Path]:
    """Removes our unchanged files; those that were changed stay and are returned."""
    kept = []
    for name, digest in ours.items():
        path = _place(plugin, name)
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            path.unlink()
        elif path.exists():
            kept.append(path)
    return kept


def _prune(folder: Path) -> None:
    """Removes what is left empty, Python's own caches counted as nothing."""
    for path in sorted(folder.rglob("*.pyc")):
        path.unlink()
    for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
    if not any(folder.iterdir()):
        folder.rmdir()


def _make_hook(plugin: HostPlugin) -> bool:
    if plugin.hook is None or plugin.hook.exists():
        return False
    _write(plugin.hook, plugin.hook_text.encode())
    return True


def _hook_is_ours(plugin: HostPlugin) -> bool:
    return plugin.hook is not None and plugin.hook.is_file() and plugin.hook.read_bytes() == plugin.hook_text.encode()


def _hook_leads(plugin: HostPlugin) -> bool:
    """Whether the host's own file leads to us already, however it came to it."""
    if plugin.hook is None or not plugin.hook.is_file():
        return False
    return plugin.folder.name in plugin.hook.read_text(encoding="utf-8", errors="replace")


def _path_line(folder: Path) -> str:
    return (
        f"set NUKE_PATH={folder};%NUKE_PATH%"
        if os.name == "nt"
        else f"export NUKE_PATH={shlex.quote(str(folder))}:$NUKE_PATH"
    )
