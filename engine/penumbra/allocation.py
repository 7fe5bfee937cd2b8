"""How the process asks the system for memory."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGEST_KEPT = 1 << 30
# Two 4K frames in flight leave more than a gigabyte free between them; mallopt takes no more than this.
_MOST_KEPT = (1 << 31) - 1


def keep_freed_memory() -> None:
    """Lets freed arrays serve the next ones instead of going back to the system each time; glibc only.

    A frame of a large plate is a hundred megabytes, and so is every array made of it: their pages, new and zeroed by
    the system for each, took a fifth of the lift stage's processor time at 3840x2160. For the engine's own process.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    # Only the first arena can grow beyond 64 MB: threads with their own would go to the system after all.
    for option, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _LARGEST_KEPT), (_TRIM_THRESHOLD, _MOST_KEPT)):
        mallopt(option, value)
