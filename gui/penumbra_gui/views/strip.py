"""Pictures that came beside each other in one image, laid out in rows."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter

from penumbra_gui.views.theme import TEXT


def draw_strip(painter: QPainter, image: QImage, names: tuple[str, ...], columns: int, room: QRectF) -> None:
    """Lays a strip's pictures, one for each name, in rows of ``columns``, as large as ``room`` lets them."""
    rows, width = -(-len(names) // columns), image.width() / len(names)
    scale = min(room.width() / columns / width, room.height() / rows / image.height())
    across, down = width * scale, image.height() * scale
    left, top = room.center().x() - across * columns / 2, room.center().y() - down * rows / 2
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    for place, name in enumerate(names):
        box = QRectF(left + place % columns * across, top + place // columns * down, across, down)
        box.adjust(1, 1, -1, -1)
        painter.drawImage(box, image, QRectF(place * width, 0, width, image.height()))
        words = painter.boundingRect(box, 0, name).adjusted(0, 0, 8, 2)
        painter.fillRect(words, QColor(20, 21, 22, 200))
        painter.setPen(QColor(TEXT))
        painter.drawText(words, Qt.AlignmentFlag.AlignCenter, name)
