"""Work off the event loop: threads that compute, and what comes back on the loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")


class Loop(Protocol):
    """The event loop, as controllers and models see it."""

    def post(self, work: Callable[[], None]) -> None:
        """Runs ``work`` soon on the loop's own thread. Safe from any thread."""

    def later(self, milliseconds: int, work: Callable[[], None]) -> None:
        """Runs ``work`` on the loop's own thread after a while."""


class Workers:
    """A few threads. Results and failures come back on the loop; after :meth:`close` nothing comes any more."""

    def __init__(self, loop: Loop, count: int = 2) -> None:
        self._loop, self._closed = loop, False
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="panel")

    def run(
        self, work: Callable[[], Result], then: Callable[[Result], None], failed: Callable[[Exception], None]
    ) -> None:
        """Calls ``work`` on a thread, then ``then`` or ``failed`` on the loop."""
        if self._closed:
            return
        self._pool.submit(work).add_done_callback(lambda future: self._deliver(future, then, failed))

    def close(self) -> None:
        """Waits for the work in hand and drops what waits."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _deliver(self, future: Future[Any], then: Callable[[Any], None], failed: Callable[[Exception], None]) -> None:
        if self._closed or future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._loop.post(lambda: None if self._closed else then(future.result()))
        elif isinstance(error, Exception):
            shown = error
            self._loop.post(lambda: None if self._closed else failed(shown))
