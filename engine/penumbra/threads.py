"""How many threads there are to use, and work done a few pieces at a time in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

_Result = TypeVar("_Result")
_Piece = TypeVar("_Piece")

FRAMES_AT_ONCE = 2  # one is read while another is solved; each needs about 1.5 GB at 4K


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


def share_of_threads() -> int:
    """One frame's share of the cores there are to use: more threads would wait for each other at every small step."""
    return -(-min(thread_count(), core_count()) // FRAMES_AT_ONCE)


def for_each(work: Callable[[_Piece], None], pieces: Sequence[_Piece], threads: int) -> None:
    """Runs ``work`` on every piece, in as many threads; of those that fail, the first in order is raised."""
    threads = min(threads, len(pieces))
    if threads < 2:
        for piece in pieces:
            work(piece)
        return
    with ThreadPoolExecutor(threads) as pool:
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
    with ThreadPoolExecutor(threads) as pool:
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
