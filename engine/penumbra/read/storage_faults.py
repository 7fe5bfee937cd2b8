"""Storage that fails for a moment: what is read is asked for again, and what stays out of reach is told as that.

Network storage answers with an error while a server restarts, a path fails over or a handle has gone stale. Libraries
that decode files pass that on as a damaged file, mostly without the reason.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from av.error import FFmpegError

from penumbra.errors import FootageError, UnreadableError

# Seconds waited before each further try.
PAUSES = (0.25, 1.0, 4.0)
_NAMES = (
    "EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EBUSY", "EINTR", "EREMOTEIO", "ENOTCONN", "ECONNRESET", "ECONNABORTED",
    "ECONNREFUSED", "ENETDOWN", "ENETRESET", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENOLINK", "ECOMM",
)  # fmt: skip
PASSING = frozenset(getattr(errno, name) for name in _NAMES if hasattr(errno, name))
_CHUNK = 1 << 22
_ENDS = 1 << 24  # a movie may be as large as a disk

Result = TypeVar("Result")


def patiently(read: Callable[[], Result], file: Path, what: str, probe: bool = True) -> Result:
    """What ``read`` gives; asked again, after ``PAUSES``, where storage failed in a way that may pass.

    ``what`` names the thing read, such as a file and its frame. With ``probe`` an error whose cause does not tell is
    doubted once: the bytes of ``file`` are read plainly, and then it is asked again at once. What fails twice on
    readable bytes is the file's fault, and its error is raised; so it is where FFmpeg calls storage what fails, as it
    does of damaged movies, too, and the first and the last bytes can be read. Raises :class:`UnreadableError` where
    the storage goes on failing, or does not let us.
    """
    asked_again = False
    for pause in (*PAUSES, None):
        try:
            return read()
        except (FootageError, OSError) as error:
            trouble = _told(error)
            settled = asked_again or (trouble is None and not probe)
            if trouble is None:
                trouble = None if settled else _probe(file)
            elif isinstance(_cause(error), FFmpegError):
                trouble = _probe(file, _ENDS)
            if trouble is None and settled:
                raise
            asked_again |= trouble is None
            if trouble is not None and (pause is None or trouble.errno not in PASSING):
                raise _out_of_reach(what, trouble) from error
            time.sleep(0 if trouble is None else pause or 0)
    return read()


def _cause(error: BaseException) -> BaseException | None:
    """What failed: our own errors name their cause."""
    return error.__cause__ if isinstance(error, FootageError) else error


def _told(error: BaseException) -> OSError | None:
    """The failure of storage behind an error, where it tells."""
    number = getattr(_cause(error), "errno", None)
    if not isinstance(number, int) or number not in (*PASSING, errno.EACCES, errno.EPERM):
        return None
    return OSError(number, os.strerror(number))


def _probe(file: Path, ends: int | None = None) -> OSError | None:
    """What goes wrong where the bytes of a file are read plainly: all, or so many at its beginning and its end."""
    try:
        with file.open("rb", buffering=0) as stream:
            if ends is not None:
                stream.read(ends)
                stream.seek(max(0, file.stat().st_size - ends))
            while stream.read(_CHUNK):
                pass
    except FileNotFoundError:
        return None  # the reader has said so, by name and frame
    except OSError as error:
        return error
    return None


def _out_of_reach(what: str, trouble: OSError) -> UnreadableError:
    reason = trouble.strerror or str(trouble)
    if trouble.errno in PASSING:
        return UnreadableError(
            f"{what} cannot be read: the storage answers {reason!r}, {len(PAUSES) + 1} times in {sum(PAUSES):.0f} s.",
            "See to the storage, then run with --resume.",
        )
    return UnreadableError(
        f"{what} cannot be read: {reason}.", "See to the file and its permissions, then run with --resume."
    )
