"""Loops over pixels, compiled: numpy goes through memory once for every step of the arithmetic, these once for all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from numba import njit
from numba.core.caching import FunctionCache

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Kept(FunctionCache):  # type: ignore[misc]
    """Compiled code on disk. Whatever is wrong with it costs only that it is compiled again."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001
            # Cut short by a full disk or a lost machine: unpickling it may raise anything.
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(Exception):
            super().save_overload(sig, data)


def compiled(function: _Function) -> _Function:
    """A function of numbers and arrays as machine code, made at its first call for the types it is called with.

    It runs without Python's lock and keeps to IEEE arithmetic as it is written down, so that its results are the same
    bits on every processor, but for logarithms, exponentials and powers. The code is kept beside the module, or in the
    user's cache folder where that cannot be written, or not at all. What it calls and the constants it uses belong into
    its own module: kept code is made anew when that changes, and only then.
    """
    dispatcher: Any = njit(nogil=True, error_model="numpy")(function)
    # No folder to keep it in.
    with suppress(RuntimeError):
        dispatcher._cache = _Kept(function)
    return dispatcher  # type: ignore[no-any-return]
