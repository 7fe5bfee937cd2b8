"""How many threads there are to use, and work done a few pieces at a time in them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

_Result = TypeVar("_Result")
_Piece = TypeVar("_Piece")

# Frames worked on at once: more than two where there are cores for them, as a third of the work on one is done by one
# thread, and as far as so many bytes hold them, of which each of their pixels takes so many.
FEWEST_FRAMES, MOST_FRAMES = 2, 8
FRAMES_HOLD, PIXEL_TAKES = 2_600_000_000, 75
# In a thread that works on a piece, how many pieces are worked on beside each other.
_beside = threading.local()


def thread_count() -> int:
    """Threads to compute on: $OMP_NUM_THREADS, which farms set and torch and OpenCV heed, else the cores given to us.

    Left to itself ONNX Runtime counts the machine's cores and ties a thread to each, also where a scheduler or a
    container lends the process fewer.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else core_count()


def core_count() -> int:
    """The cores given to us."""
    # macOS and Windows do not tell.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def frames_at_once(pixels: int) -> int:
    """How many frames of so many pixels are worked on at once: also on one core one is read while another is solved."""
    room = FRAMES_HOLD // (PIXEL_TAKES * max(pixels, 1))
    return max(FEWEST_FRAMES, min(room, MOST_FRAMES, _cores()))


def share_of_threads() -> int:
    """The share of the cores there are to use of what this thread works on, one of a few pieces done at once: more
    threads would wait for each other at every small step.
    """
    return -(-_cores() // getattr(_beside, "count", 1))


def _cores() -> int:
    return min(thread_count(), core_count())


def for_each(work: Callable[[_Piece], None], pieces: Sequence[_Piece], threads: int) -> None:
    """Runs ``work`` on every piece, in as many threads; of those that fail, the first in order is raised."""
    threads = min(threads, len(pieces))
    if threads < 2:
        for piece in pieces:
            work(piece)
        return
    with _pool(threads) as pool:
        for _ in pool.map(work, pieces):
            pass


def in_order(work: Callable[[int], _Result], count: int, threads: int) -> Generator[_Result, None, None]:
    """Results of ``work`` on 0 .. count - 1, in order, a few at a time in threads: no more than that and one wait.

    Where one fails, or the iterator is closed, those in flight are finished, not broken off. A caller whose own part
    may fail closes it (:func:`contextlib.closing`), lest they go on meanwhile.
    """
    if threads == 1:
        yield from map(work, range(count))
        return
    with _pool(threads) as pool:
        waiting: list[Future[_Result]] = []
        try:
            for index in range(count):
                waiting.append(pool.submit(work, index))
                if len(waiting) > threads:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            wait(waiting)


def _pool(threads: int) -> ThreadPoolExecutor:
    beside = threads * getattr(_beside, "count", 1)
    return ThreadPoolExecutor(threads, initializer=lambda: setattr(_beside, "count", beside))
