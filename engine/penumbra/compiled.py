"""Loops over pixels, compiled: numpy goes through memory once for every step of the arithmetic, these once for all."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, InTreeCacheLocator, UserProvidedCacheLocator

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _BesideModule(InTreeCacheLocator):  # type: ignore[misc]
    """Beside the module, as Python keeps its own; where that cannot be written, what was kept there is still read."""

    def ensure_cache_path(self) -> None:
        with suppress(OSError):
            Path(self.get_cache_path()).mkdir(parents=True, exist_ok=True)


class _Place(CompileResultCacheImpl):  # type: ignore[misc]
    # Not the user's cache folder: a run writes nothing outside its output folder (decision 0028).
    _locator_classes = (UserProvidedCacheLocator, _BesideModule)


class _Kept(FunctionCache):  # type: ignore[misc]
    """Compiled code on disk. Whatever is wrong with it costs only that it is compiled again."""

    _impl_class = _Place

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
    bits on every processor, but for logarithms, exponentials and powers. The code is kept in the folder that Python
    keeps its own in beside the module, or in $NUMBA_CACHE_DIR; nowhere where $PENUMBRA_KEEP_NO_CODE is set. What it
    calls and the constants it uses belong into its own module: kept code is made anew when that changes, and only then.
    It writes to arrays that it is given and returns none, for which Numba would unpickle their class.
    """
    dispatcher: Any = njit(nogil=True, error_model="numpy")(function)
    if not os.environ.get("PENUMBRA_KEEP_NO_CODE"):
        # No file that it stands in, and so no place beside it.
        with suppress(RuntimeError):
            dispatcher._cache = _Kept(function)
    return dispatcher  # type: ignore[no-any-return]
