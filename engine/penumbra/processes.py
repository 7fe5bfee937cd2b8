"""Whether a process of this machine lives, and is the one that is meant. Standard library only."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from pathlib import Path


@cache
def process_place() -> str:
    """A name of where this process's number counts: the machine, its boot and, in containers, the process namespace."""
    parts = [platform.node()]
    for read in (_boot, _namespace):
        try:
            parts.append(read())
        except OSError:
            continue
    return " ".join(parts)


def process_stamp(pid: int) -> str | None:
    """What tells process ``pid`` from a later one of the same number; None where it does not live.

    Empty on systems that do not tell it (macOS).
    """
    if sys.platform == "win32":
        return _windows_stamp(pid)
    if sys.platform == "linux":
        return _linux_stamp(pid)
    return "" if _answers(pid) else None


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _linux_stamp(pid: int) -> str | None:
    try:
        # The name in parentheses may hold anything, parentheses and spaces included.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        return None
    except OSError:
        return "" if _answers(pid) else None
    # A zombie does nothing any more: it waits for its parent to ask how it ended.
    return None if fields[0] in "ZX" else fields[19]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _QUERY = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION
    _STILL_ACTIVE = 259
    _ACCESS_DENIED = 5

    def _windows_stamp(pid: int) -> str | None:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = wintypes.HANDLE
        kernel.OpenProcess.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.DWORD]
        handle = kernel.OpenProcess(_QUERY, False, pid)
        if not handle:
            return "" if ctypes.get_last_error() == _ACCESS_DENIED else None
        try:
            return _creation_time(kernel, handle)
        finally:
            kernel.CloseHandle(wintypes.HANDLE(handle))

    def _creation_time(kernel: ctypes.WinDLL, handle: int) -> str | None:
        code, times = wintypes.DWORD(), [wintypes.FILETIME() for _ in range(4)]
        kernel.GetExitCodeProcess(wintypes.HANDLE(handle), ctypes.byref(code))
        if code.value != _STILL_ACTIVE:
            return None
        kernel.GetProcessTimes(wintypes.HANDLE(handle), *(ctypes.byref(moment) for moment in times))
        return f"{times[0].dwHighDateTime << 32 | times[0].dwLowDateTime}"
