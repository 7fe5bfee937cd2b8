"""Pictures and frames kept in memory, up to a bound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class FrameCache(Generic[Value]):
    """Least recently used goes first. Safe from any thread; ``limit`` and ``used`` are bytes."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def get(self, key: Hashable) -> Value | None:
        """What is kept under ``key``."""
        with self._lock:
            entry = self._kept.get(key)
            if entry is None:
                return None
            self._kept.move_to_end(key)
            return entry[0]

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keeps a value of ``size`` bytes; one larger than the bound is not kept."""
        with self._lock:
            self._drop(key)
            if size > self.limit:
                return
            while self.used + size > self.limit:
                self._drop(next(iter(self._kept)))
            self._kept[key] = (value, size)
            self.used += size

    def keys(self) -> list[Hashable]:
        """All keys, the least recently used first."""
        with self._lock:
            return list(self._kept)

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._kept.clear()
            self.used = 0

    def _drop(self, key: Hashable) -> None:
        entry = self._kept.pop(key, None)
        if entry is not None:
            self.used -= entry[1]
