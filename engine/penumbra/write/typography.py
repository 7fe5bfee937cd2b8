"""Text on pictures."""

from __future__ import annotations

import cv2
import numpy as np

from penumbra.write.tiles import Picture

_FONT = cv2.FONT_HERSHEY_DUPLEX
_UNIT = 22.0  # pixels from the top of a capital to the baseline at OpenCV's scale 1
INK, FAINT_INK, PAPER = (232, 232, 232), (150, 150, 150), 24


def blank(height: int, width: int) -> Picture:
    """A dark sheet."""
    return np.full((height, width, 3), PAPER, np.uint8)


def put_text(
    sheet: Picture, text: str, left: int, middle: int, height: int, width: int, ink: tuple[int, int, int] = INK
) -> None:
    """Writes a line with capitals ``height`` pixels high around row ``middle``, made smaller where ``width`` is short.

    OpenCV's letters are ASCII only: others become question marks.
    """
    text = text.encode("ascii", "replace").decode()
    scale = height / _UNIT
    (needed, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    scale *= min(1.0, width / max(1, needed))
    baseline = middle + round(scale * _UNIT / 2)
    cv2.putText(sheet, text, (left, baseline), _FONT, scale, ink, 1, cv2.LINE_AA)
