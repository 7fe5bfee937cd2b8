"""Homographies from and to files: our own JSON, and the text layout of the Omnimatte data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from penumbra.errors import CameraError, OutputError
from penumbra.frames import Footage
from penumbra.storage import read_text
from penumbra.track.camera import CameraTrack
from penumbra.track.geometry import Matrices, Size, best_reference, corners, mapped, normalised, proxy_to_plate, rebased


def read_homographies(path: Path, footage: Footage) -> CameraTrack:
    """The camera in a file, fitted to a clip's frames and size.

    Reads the JSON of :func:`write_homographies` (frames are chosen by number), and Omnimatte text: ``size: W H``, an
    optional ``bounds:`` line, then nine numbers a frame, row by row, whose INVERSE maps that frame's pixels to a common
    world, both in pixels of a W x H picture. Another size than the plate's is rescaled by pixel edges, not centres.
    Raises :class:`CameraError` naming the file, and the line where there is one.
    """
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise CameraError(f"The camera file {path} cannot be read: {error}.", "Check the path.") from error
    # Numbers of any size may stand there: what becomes of them is judged at the end.
    with np.errstate(all="ignore"):
        try:
            return _from_json(text, path, footage) if text.lstrip().startswith("{") else _from_text(text, path, footage)
        except (ValueError, OverflowError) as error:
            raise CameraError(
                f"The camera file {path} holds homographies that no camera has.", "Write it again."
            ) from error


def write_homographies(track: CameraTrack, path: Path, size: tuple[int, int] | None = None) -> None:
    """Writes a track whole or not at all: as JSON, or, where the name ends in ``.txt``, in Omnimatte's text layout.

    ``size``: (height, width) of the plate, so that it can be reused at another size; the text needs it. The text holds
    frames by their place, not their number, and keeps neither quality nor warnings.
    """
    text = _to_text(track, path, size) if path.suffix.lower() == ".txt" else _to_json(track, size)
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(
            f"The camera file {path} cannot be written: {error.strerror or error}.", "Choose another folder."
        ) from error


def _to_json(track: CameraTrack, size: Size | None) -> str:
    body = track.to_dict()
    if size is not None:
        body["size"] = [size[1], size[0]]
    return json.dumps(body, indent=1) + "\n"


def _to_text(track: CameraTrack, path: Path, size: Size | None) -> str:
    """The reference frame's pixels are the world; its bounds hold every frame, as the data sets have it."""
    if size is None:
        raise CameraError(f"The camera file {path} needs the plate's size.", "Name a .json file instead.")
    ring = mapped(track.homographies, corners(size)).reshape(-1, 2) + 0.5
    (left, top), (right, bottom) = ring.min(0), ring.max(0)
    rows = [" ".join(repr(float(value)) for value in row) for row in np.linalg.inv(track.homographies).reshape(-1, 9)]
    return "\n".join([f"size: {size[1]} {size[0]}", f"bounds: {left} {right} {top} {bottom}", *rows]) + "\n"


def _from_json(text: str, path: Path, footage: Footage) -> CameraTrack:
    try:
        body: Any = json.loads(text)
        track = CameraTrack.from_dict(body)
        size = (footage.canvas.width, footage.canvas.height) if body.get("size") is None else _size(body["size"])
    except (ValueError, OverflowError, RecursionError, TypeError, CameraError) as error:
        raise CameraError(
            f"The camera file {path} is not a Penumbra camera track.", "Write it again, or use Omnimatte's text layout."
        ) from error
    missing = sorted(set(footage.frames) - set(track.numbers))
    if missing:
        raise CameraError(
            f"The camera file {path} has no homography for frame {missing[0]}.",
            "Give one for every frame of the plate.",
        )
    places = {number: place for place, number in reversed(list(enumerate(track.numbers)))}
    at = [places[number] for number in footage.frames]
    scale = (footage.canvas.width / size[0], footage.canvas.height / size[1])
    chosen = proxy_to_plate(track.homographies[at], scale)
    reference = at.index(track.reference) if track.reference in at else best_reference(chosen, footage.canvas.shape)
    if track.locked:
        chosen = np.tile(np.eye(3), (len(at), 1, 1))
    elif track.reference not in at:
        chosen = rebased(chosen, reference)
    _check(chosen, path, footage)
    return CameraTrack(
        footage.frames, chosen, reference, track.locked, track.quality[at], track.inliers[at], track.warnings
    )


def _from_text(text: str, path: Path, footage: Footage) -> CameraTrack:
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    size: tuple[float, float] = (footage.canvas.width, footage.canvas.height)
    rows: list[Matrices] = []
    for number, words in lines:
        if words[0].rstrip(":").lower() == "size":
            size = _text_size(words[1:], path, number)
        elif words[0].rstrip(":").lower() != "bounds":
            rows.append(_row(words, path, number))
    if len(rows) != len(footage.frames):
        raise CameraError(
            f"The camera file {path} has {len(rows)} homographies for {len(footage.frames)} frames.",
            "Give one line of nine numbers for every frame of the plate.",
        )
    scale = (footage.canvas.width / size[0], footage.canvas.height / size[1])
    to_world = proxy_to_plate(np.stack([np.linalg.inv(row) for row in rows]), scale)
    reference = best_reference(to_world, footage.canvas.shape)
    homographies = rebased(to_world, reference)
    _check(homographies, path, footage)
    unknown = np.full(len(rows), np.nan, np.float32)
    return CameraTrack(footage.frames, homographies, reference, _all_identity(homographies), unknown, unknown.copy())


def _row(words: list[str], path: Path, number: int) -> Matrices:
    try:
        values = np.array([float(word) for word in words], np.float64)
    except ValueError as error:
        raise CameraError(f"Line {number} of {path} is not nine numbers.", "Mend that line.") from error
    if len(values) != 9 or not np.isfinite(values).all():
        raise CameraError(f"Line {number} of {path} is not nine numbers.", "Mend that line.")
    try:
        return normalised(values.reshape(3, 3))
    except ValueError as error:
        raise CameraError(f"Line {number} of {path} is not a usable homography.", "Mend that line.") from error


def _text_size(words: list[str], path: Path, number: int) -> tuple[float, float]:
    try:
        return _size([float(word) for word in words])
    except ValueError as error:
        raise CameraError(f"Line {number} of {path} is not a size.", "Write it as: size: 1920 1080.") from error


def _size(values: Any) -> tuple[float, float]:
    width, height = (float(value) for value in values)
    if not (1 <= width < 1e6 and 1 <= height < 1e6):
        raise ValueError("a size must be positive")
    return width, height


def _all_identity(homographies: Matrices) -> bool:
    return bool((homographies == np.eye(3)).all())


def _check(homographies: Matrices, path: Path, footage: Footage) -> None:
    """Every frame must land in front of the reference frame, the right way round and within reason."""
    ring = mapped(homographies, corners(footage.canvas.shape))
    reach = 1000 * max(footage.canvas.shape)
    for index, frame in enumerate(ring):
        if not np.isfinite(frame).all() or np.abs(frame).max() > reach:
            raise CameraError(
                f"The camera file {path} sends frame {footage.frames[index]} out of the picture plane.",
                "Check that the file belongs to this clip.",
            )
