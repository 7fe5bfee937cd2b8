"""The contact sheet: a row per frame, a column per picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2

from penumbra.write.files import written_whole
from penumbra.write.tiles import FrameTiles, Picture
from penumbra.write.typography import FAINT_INK, blank, put_text

MARGIN, GUTTER, LABEL_WIDTH, TITLE_HEIGHT, HEADER_HEIGHT = 20, 8, 84, 48, 34
_LETTERS = 11
_LEGEND = (
    "layers over a checkerboard;  recomposition error, layers over clean plate against plate: black is exact, white the"
    " bound, red beyond it"
)


def cell_origin(row: int, column: int, size: tuple[int, int]) -> tuple[int, int]:
    """(top, left) of a cell's picture on the sheet; ``size`` is a picture's (height, width)."""
    top = MARGIN + TITLE_HEIGHT + HEADER_HEIGHT + row * (size[0] + GUTTER)
    return top, MARGIN + LABEL_WIDTH + column * (size[1] + GUTTER)


def draw_sheet(title: str, titles: Sequence[str], frames: Sequence[FrameTiles]) -> Picture:
    """All frames' pictures, which are of one size, under their titles: H x W x 3 sRGB."""
    size = frames[0].pictures[0].shape[:2]
    bottom, right = cell_origin(len(frames), len(titles), size)
    sheet = blank(bottom - GUTTER + MARGIN, right - GUTTER + MARGIN)
    room = sheet.shape[1] - 2 * MARGIN
    put_text(sheet, title, MARGIN, MARGIN + TITLE_HEIGHT // 4, _LETTERS + 4, room)
    put_text(sheet, _LEGEND, MARGIN, MARGIN + TITLE_HEIGHT * 3 // 4, 8, room, ink=FAINT_INK)
    for column, name in enumerate(titles):
        top, left = cell_origin(0, column, size)
        put_text(sheet, name, left, top - HEADER_HEIGHT // 2, _LETTERS, size[1])
    for row, frame in enumerate(frames):
        top, left = cell_origin(row, 0, size)
        put_text(sheet, str(frame.number), MARGIN, top + size[0] // 2 - 10, _LETTERS, LABEL_WIDTH - 12)
        put_text(
            sheet, f"max {frame.max_error:.1e}", MARGIN, top + size[0] // 2 + 10, 8, LABEL_WIDTH - 12, ink=FAINT_INK
        )
        for column, picture in enumerate(frame.pictures):
            top, left = cell_origin(row, column, size)
            sheet[top : top + size[0], left : left + size[1]] = picture
    return sheet


def save_picture(path: Path, picture: Picture) -> None:
    """Writes H x W x 3 sRGB as PNG, whole. Raises :class:`~penumbra.errors.OutputError` where it cannot."""
    _, encoded = cv2.imencode(".png", picture[..., ::-1])
    with written_whole(path) as temporary:
        temporary.write_bytes(encoded.tobytes())
