"""The engine as a reader: footage checked and frames read in its own process, by the functions a run uses."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import threading
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penumbra.errors import PenumbraError
from penumbra.launch import child_environment, find_engine

HalfArray = NDArray[np.float16]
_GONE = "The engine that reads footage has ended."
_GONE_FIX = "It is started again with the next frame; see the log if that does not help."


class AnswerError(PenumbraError):
    """An error the engine answered with, in its own words."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", "")), str(error.get("fix", "")))
        self.code = str(error.get("code", self.code))


class FootageService:
    """``penumbra serve``, started with the first request and again after it has died. Safe from any thread.

    After it was started again it knows no plate: :attr:`starts` tells a caller that it has to check anew.
    """

    def __init__(self, python: str | None = None) -> None:
        self.python = python
        self.starts = 0
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: dict[int, Future[Any]] = {}
        self._reader: threading.Thread | None = None
        self._closed = False

    def ask(self, what: str, **details: Any) -> Future[Any]:
        """The answer to come: a dictionary, or H x W x C float16 for ``frame``; fails with :class:`PenumbraError`."""
        future: Future[Any] = Future()
        with self._lock:
            try:
                process = self._running()
                number = next(self._ids)
                self._waiting[number] = future
                line = json.dumps({"id": number, "ask": what, **details}).encode() + b"\n"
                assert process.stdin is not None
                process.stdin.write(line)
                process.stdin.flush()
            except PenumbraError as error:
                future.set_exception(error)
            except OSError:
                self._waiting.pop(number, None)
                future.set_exception(PenumbraError(_GONE, _GONE_FIX))
        return future

    def frame(self, source: str, number: int, step: int, **where: str) -> HalfArray:
        """One frame, averaged over squares of ``step`` pixels; waits for it. ``where``: ``folder`` or ``path``."""
        pixels: HalfArray = self.ask("frame", source=source, frame=number, step=step, **where).result(timeout=120)
        return pixels

    def close(self) -> None:
        """Ends the process; what was asked for fails."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise PenumbraError(_GONE)
        if self._process is None or self._process.poll() is not None:
            if self._process is not None and self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
            self._start()
        assert self._process is not None
        return self._process

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [*find_engine(self.python), "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            start_new_session=os.name != "nt",
        )
        self.starts += 1
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Answers to futures until the process ends; then everything still waited for has failed."""
        assert process.stdout is not None
        try:
            while line := process.stdout.readline():
                self._take(line, process)
        except (OSError, ValueError):
            pass
        process.stdout.close()
        with self._lock:
            lost = list(self._waiting.values())
            self._waiting.clear()
        for future in lost:
            future.set_exception(PenumbraError(_GONE, _GONE_FIX))

    def _take(self, line: bytes, process: subprocess.Popen[bytes]) -> None:
        try:
            answer = json.loads(line)
            number, size = int(answer["id"]), int(answer.get("bytes", 0))
        except (ValueError, KeyError, TypeError):
            return  # a library's print
        assert process.stdout is not None
        values = process.stdout.read(size) if size else b""
        with self._lock:
            future = self._waiting.pop(number, None)
        if future is None:
            return
        if "error" in answer and "plate" not in answer:
            future.set_exception(AnswerError(answer["error"]))
        elif "shape" in answer:
            future.set_result(np.frombuffer(values, np.float16).reshape(answer["shape"]))
        else:
            future.set_result(answer)
