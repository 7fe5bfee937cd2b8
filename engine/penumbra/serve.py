"""Footage for programs that look at it, the desktop panel above all: checks and frames, asked for line by line.

Every request is one JSON line on stdin with an ``id`` and an ``ask``; every answer is one JSON line on stdout with the
same ``id``, for frames followed by ``bytes`` raw bytes of float16 values. A plate or mask is opened by the very
functions a run opens it with, so what is said and shown here is what a run would say and see.

    {"id": 1, "ask": "check", "plate": {...}, "masks": [{...}], "clean_plate": {...}}    parts as a job file has them
    {"id": 2, "ask": "frame", "source": "plate", "frame": 1001, "step": 4}               1, 2, 4, ...: pixels averaged
    {"id": 3, "ask": "inspect", "path": "..."}
    {"id": 4, "ask": "frame", "source": "layer:car", "folder": "OUT", "frame": 1001}     or "background"
    {"id": 5, "ask": "frame", "source": "image", "path": "...", "frame": 0}              any picture, on the canvas
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.errors import FootageError, JobError, PenumbraError
from penumbra.frames import Footage, Region
from penumbra.job import CleanPlateSettings, MaskSettings, PlateSettings, part_from_dict
from penumbra.read import inspect_footage, open_clean_plate, open_mask, open_plate
from penumbra.read.clips import open_clip
from penumbra.read.plates import on_canvas
from penumbra.read.sequences import find_clip

WORKERS = 2
_HALF_MAX = 65504.0
_LAYER = "layer:"
_MASK = "mask:"

Reader = Callable[[int], FloatArray]


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers until ``requests`` ends. A request that fails is answered with its error; the next one is served."""
    desk = _Desk()
    lock = threading.Lock()

    def answer(request: dict[str, Any]) -> None:
        body, values = desk.answer(request)
        with lock:
            answers.write(json.dumps(body).encode() + b"\n" + values)
            answers.flush()

    with desk, ThreadPoolExecutor(WORKERS) as pool:
        reading: list[Future[None]] = []
        for line in requests:
            request = _parsed(line)
            if request is None:
                continue
            if request.get("ask") == "check":
                # A check closes what frames are being read from.
                wait(reading)
                answer(request)
            else:
                reading = [*(future for future in reading if not future.done()), pool.submit(answer, request)]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) and isinstance(request.get("id"), int | str) else None


# Of each part of a request: what it must be, and whether it may be left out.
_PARTS: dict[str, dict[str, tuple[type, bool]]] = {
    "check": {"plate": (dict, False), "masks": (list, True), "clean_plate": (dict, True)},
    "frame": {"source": (str, False), "frame": (int, False), "step": (int, True), "folder": (str, True)},
    "inspect": {"path": (str, False)},
}


def _refuse_unclear(request: dict[str, Any]) -> None:
    parts = _PARTS.get(request["ask"]) if isinstance(request.get("ask"), str) else None
    if parts is None:
        raise JobError("A request asks for nothing that is known.", "Ask to check, inspect or frame.")
    for name, (kind, optional) in parts.items():
        value = request.get(name)
        if not (isinstance(value, kind) or (optional and value is None)):
            raise JobError(f"A request has {value!r} for its {name}.", f"Give a value of type {kind.__name__}.")
    if not all(isinstance(mask, dict) for mask in request.get("masks") or ()):
        raise JobError("A request has a mask that is no object.", "Write masks as a job file has them.")


class _Desk:
    """What is open: one plate with its masks and clean plate."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._readers: dict[str, Reader] = {}
        self._canvas: Region | None = None

    def __enter__(self) -> _Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The JSON part of the answer and the bytes that follow it."""
        asks = {"check": self._check, "inspect": _inspected}
        try:
            _refuse_unclear(request)
            if request["ask"] == "frame":
                values = self._frame(request)
                return {"id": request["id"], "shape": values.shape, "bytes": values.nbytes}, values.tobytes()
            return {"id": request["id"], **asks[request["ask"]](request)}, b""
        except PenumbraError as error:
            return {"id": request["id"], "error": _told(error)}, b""
        except MemoryError:
            sentence = {"code": "out_of_memory", "message": "There is not enough memory for this frame.", "fix": ""}
            return {"id": request["id"], "error": sentence}, b""
        except Exception as error:  # noqa: BLE001 # a request that breaks must not end the others
            sentence = {"code": "fault", "message": f"An unexpected fault: {type(error).__name__}: {error}.", "fix": ""}
            return {"id": request["id"], "error": sentence}, b""

    def _check(self, request: dict[str, Any]) -> dict[str, Any]:
        """Opens plate, masks and clean plate anew; what cannot be opened is told beside what can."""
        stack, readers = ExitStack(), dict[str, Reader]()
        result: dict[str, Any] = {"masks": [], "clean_plate": None}
        plate = _attempt(
            lambda: stack.enter_context(open_plate(part_from_dict(PlateSettings, request["plate"], "plate")))
        )
        result["plate"] = plate.answer
        footage: Footage | None = None
        if plate.value is not None:
            reader = plate.value
            footage = reader.footage
            readers["plate"] = lambda number: reader.read(number).pixels
            result["plate"] |= {"facts": _facts(footage), "warnings": list(reader.warnings)}
        else:
            path = str(request["plate"].get("path", ""))
            result["plate"] |= {"inspection": _attempt(lambda: inspect_footage(path)).value}
        for data in request.get("masks") or ():
            result["masks"].append(_check_mask(data, footage, stack, readers))
        if request.get("clean_plate") and footage is not None:
            result["clean_plate"] = _check_clean(request["clean_plate"], footage, stack, readers)
        self._open.close()
        self._open, self._readers = stack, readers
        self._canvas = None if footage is None else footage.canvas
        return result

    def _frame(self, request: dict[str, Any]) -> NDArray[np.float16]:
        source, number, step = request["source"], request["frame"], max(1, request.get("step") or 1)
        if source in self._readers:
            pixels = self._readers[source](number)
        elif source == "image":
            pixels = _still(str(request.get("path", "")), self._canvas)
        elif request.get("folder"):
            pixels = _written(Path(request["folder"]), source.removeprefix(_LAYER), number, self._canvas)
        else:
            raise JobError(f"There is no {source} to show.", "Choose it again.")
        return _smaller(np.atleast_3d(pixels), step)


class _Attempt:
    """A value, or the error that came instead."""

    def __init__(self, value: Any, answer: dict[str, Any]) -> None:
        self.value, self.answer = value, answer


def _attempt(work: Callable[[], Any]) -> _Attempt:
    try:
        return _Attempt(work(), {})
    except PenumbraError as error:
        return _Attempt(None, {"error": _told(error)})


def _told(error: PenumbraError) -> dict[str, str]:
    return {"code": error.code, "message": error.sentence, "fix": error.fix}


def _facts(footage: Footage) -> dict[str, Any]:
    canvas, display = footage.canvas, footage.display
    return {
        "path": footage.path,
        "first": footage.frames[0],
        "last": footage.frames[-1],
        "width": display.width,
        "height": display.height,
        "canvas": [canvas.x - display.x, canvas.y - display.y, canvas.width, canvas.height],
        "pixel_aspect": footage.pixel_aspect,
        "fps": None if footage.fps is None else float(footage.fps),
        "timecode": footage.timecode,
        "source_space": footage.source_space,
        "space": footage.space.name,
        "on_disk": footage.metadata.get("penumbra/frames_on_disk", ""),
    }


def _check_mask(
    data: dict[str, Any], footage: Footage | None, stack: ExitStack, readers: dict[str, Reader]
) -> dict[str, Any]:
    told: dict[str, Any] = {"name": data.get("name", "")}
    found = _attempt(lambda: inspect_footage(str(data.get("path", ""))))
    if found.value is not None:
        told |= {key: found.value.get(key, []) for key in ("channels", "id_values", "id_colors")}
    settings = _attempt(lambda: part_from_dict(MaskSettings, data, "mask"))
    if settings.value is None or found.value is None or footage is None:
        return told | (settings.answer or found.answer)
    mask = _attempt(lambda: stack.enter_context(open_mask(settings.value, footage)))
    if mask.value is None:
        return told | mask.answer
    reader = mask.value
    readers[_MASK + settings.value.name] = lambda number: reader.read(number).coverage
    return told | {"warnings": list(reader.warnings)}


def _check_clean(
    data: dict[str, Any], footage: Footage, stack: ExitStack, readers: dict[str, Reader]
) -> dict[str, Any]:
    clean = _attempt(
        lambda: stack.enter_context(open_clean_plate(part_from_dict(CleanPlateSettings, data, "clean_plate"), footage))
    )
    if clean.value is None:
        return clean.answer
    reader = clean.value
    readers["clean_plate"] = reader.read
    return {"warnings": list(reader.warnings)}


def _inspected(request: dict[str, Any]) -> dict[str, Any]:
    return {"inspection": inspect_footage(str(request["path"]))}


def _written(folder: Path, name: str, number: int, canvas: Region | None) -> FloatArray:
    """A frame that a run has written: RGB of the background, RGBA of a layer, on the plate's canvas."""
    files = find_clip(str(folder / name))
    if number not in files.files:
        raise FootageError(f"{folder / name} has no frame {number} yet.", "Wait for it, or resume the job.")
    clip = open_clip(files, [number])
    names = tuple(channel for channel in ("R", "G", "B", "A") if channel in clip.channels)
    values, data = clip.values(number, names), clip.data(number, names)
    placed: FloatArray = on_canvas(values, data, canvas or clip.display)
    return placed


def _still(path: str, canvas: Region | None) -> FloatArray:
    """Any picture, stretched over the canvas."""
    with open_plate(PlateSettings(path)) as reader:
        pixels = reader.read(reader.footage.frames[0]).pixels
    if canvas is None:
        return pixels
    return np.asarray(cv2.resize(pixels, (canvas.width, canvas.height), interpolation=cv2.INTER_AREA), np.float32)


def _smaller(pixels: FloatArray, step: int) -> NDArray[np.float16]:
    """Averaged over squares of ``step`` pixels; the picture's edge may be a part of one."""
    height, width = pixels.shape[:2]
    if step > 1:
        size = (max(1, round(width / step)), max(1, round(height / step)))
        pixels = np.atleast_3d(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    return np.clip(pixels, -_HALF_MAX, _HALF_MAX).astype(np.float16)
