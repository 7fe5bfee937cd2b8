"""The picture: fitted or zoomed, panned, wiped and read out."""

from __future__ import annotations

import math

from PySide6.QtCore import QPoint, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from penumbra_gui.models.picture import Picture
from penumbra_gui.views.strip import draw_strip
from penumbra_gui.views.theme import ACCENT, FAINT

_CLOSEST, _FARTHEST = 64.0, 0.02
_GRAB = 8


class ViewerView(QWidget):
    """``scale`` is screen pixels (of the device) to a pixel of the plate."""

    moved = Signal()
    pointed = Signal(int, int)
    left = Signal()
    wiped = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(240, 160)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName(self.tr("Viewer"))
        self._width, self._height, self._aspect = 0, 0, 1.0
        self._zoom, self._centre, self._fitted = 1.0, QPointF(0.5, 0.5), True
        self._whole: tuple[Picture, QImage, QImage | None] | None = None
        self._sharp: tuple[Picture, QImage, QImage | None] | None = None
        self._wipe: float | None = None
        self._strip: tuple[QImage, tuple[str, ...]] | None = None
        self._message = ""
        self._dragging: QPoint | None = None
        self._wiping = False

    def set_canvas(self, width: int, height: int, aspect: float) -> None:
        """The size of the plate's canvas in pixels, and how wide a pixel is; 0 x 0 clears the viewer."""
        changed = (width, height, aspect) != (self._width, self._height, self._aspect)
        self._width, self._height, self._aspect = width, height, aspect
        if changed:
            self._whole = self._sharp = None
            self.fit()

    def show_picture(self, picture: Picture, sharp: bool = False) -> None:
        """``sharp``: a picture of the visible part, laid over the one of the whole canvas."""
        shown = picture, _image(picture), None if picture.other is None else _image(picture.other)
        if sharp:
            self._sharp = shown
        else:
            self._whole, self._sharp = shown, None
        self._message = ""
        self.update()

    def show_message(self, text: str) -> None:
        """Words in place of a picture; an empty text shows the picture again."""
        if text != self._message:
            self._message = text
            self.update()

    def show_strip(self, image: QImage | None, names: tuple[str, ...]) -> None:
        """Pictures beside each other, one for each name, in place of the frame; None shows the frame again."""
        self._strip = None if image is None else (image, names)
        self.update()

    def set_wipe(self, share: float | None) -> None:
        """Where the wipe's line stands, None without one."""
        self._wipe = share
        self.update()

    def fit(self) -> None:
        """The whole canvas, as large as it goes."""
        self._fitted, self._centre = True, QPointF(0.5, 0.5)
        if self._width and self._height:
            self._zoom = min(self.width() / (self._width * self._aspect), self.height() / self._height)
        self._changed()

    def actual_size(self) -> None:
        """One pixel of the plate to one of the screen."""
        self._zoom_to(1.0 / self.devicePixelRatioF(), None)

    def zoom_by(self, factor: float) -> None:
        """Closer, or farther."""
        self._zoom_to(self._zoom * factor, None)

    @property
    def scale(self) -> float:
        """Screen pixels to a pixel of the plate."""
        return self._zoom * self.devicePixelRatioF()

    def visible(self) -> tuple[int, int, int, int]:
        """X, y, width, height of what can be seen, whole pixels of the canvas."""
        box = self._box()
        across, down = self._zoom * self._aspect, self._zoom
        x0, y0 = max(0, math.floor(-box.x() / across)), max(0, math.floor(-box.y() / down))
        x1 = min(self._width, math.ceil((self.width() - box.x()) / across))
        y1 = min(self._height, math.ceil((self.height() - box.y()) / down))
        return x0, y0, max(0, x1 - x0), max(0, y1 - y0)

    def values_at(self, x: int, y: int) -> tuple[list[float], list[int]] | None:
        """Linear RGBA and display RGB in [0, 255] of a canvas pixel, from the sharpest picture that has it."""
        for shown in (self._sharp, self._whole):
            if shown is None:
                continue
            picture = shown[0]
            if picture.other is not None and self._wipe is not None and x >= self._wipe * self._width:
                picture = picture.other
            left, top, width, height = picture.place
            if left <= x < left + width and top <= y < top + height:
                rows, columns = picture.linear.shape[:2]
                row = min(rows - 1, (y - top) * rows // height)
                column = min(columns - 1, (x - left) * columns // width)
                blue, green, red = (int(value) for value in picture.pixels[row, column, :3])
                return [float(value) for value in picture.linear[row, column]], [red, green, blue]
        return None

    def _box(self) -> QRectF:
        """The canvas on the widget."""
        width, height = self._width * self._zoom * self._aspect, self._height * self._zoom
        x = self.width() / 2 - self._centre.x() * width
        y = self.height() / 2 - self._centre.y() * height
        return QRectF(x, y, width, height)

    def _zoom_to(self, zoom: float, about: QPointF | None) -> None:
        if not self._width:
            return
        about = about or QPointF(self.width() / 2, self.height() / 2)
        box = self._box()
        share = QPointF((about.x() - box.x()) / box.width(), (about.y() - box.y()) / box.height())
        self._zoom, self._fitted = min(max(zoom, _FARTHEST), _CLOSEST), False
        width, height = self._width * self._zoom * self._aspect, self._height * self._zoom
        self._centre = QPointF(
            share.x() - (about.x() - self.width() / 2) / width, share.y() - (about.y() - self.height() / 2) / height
        )
        self._changed()

    def _changed(self) -> None:
        self._sharp = None
        self.update()
        self.moved.emit()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 # Qt's name
        """Draws the picture, the sharp part over it, the wipe's line and words."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor("#151617"))
        if self._strip is not None:
            image, names = self._strip
            columns = 1 if len(names) == 1 else 2 if len(names) <= 4 else 3
            draw_strip(painter, image, names, columns, QRectF(self.rect()).adjusted(4, 4, -4, -4))
            painter.end()
            return
        box = self._box()
        for shown in (self._whole, self._sharp):
            if shown is not None and self._width:
                painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, self.scale * shown[0].step < 2)
                self._draw(painter, shown, box)
        if self._wipe is not None and self._width:
            x = box.x() + self._wipe * box.width()
            painter.setPen(QPen(QColor(ACCENT), 1.5))
            painter.drawLine(QPointF(x, max(0.0, box.y())), QPointF(x, min(float(self.height()), box.bottom())))
        if self._message:
            self._draw_message(painter)
        painter.end()

    def _draw(self, painter: QPainter, shown: tuple[Picture, QImage, QImage | None], box: QRectF) -> None:
        place = self._on_screen(shown[0].place, box)
        painter.drawImage(place, shown[1])
        if shown[2] is not None and self._wipe is not None:
            edge = box.x() + self._wipe * box.width()
            painter.save()
            painter.setClipRect(QRectF(edge, 0, max(0.0, self.width() - edge), self.height()))
            painter.drawImage(place, shown[2])
            painter.restore()

    def _draw_message(self, painter: QPainter) -> None:
        text_box = QRectF(self.rect()).adjusted(24, 12, -24, -12)
        flags = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignBottom | Qt.TextFlag.TextWordWrap
        needed = painter.boundingRect(text_box, int(flags), self._message).adjusted(-10, -5, 10, 5)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(20, 21, 22, 220))
        painter.drawRoundedRect(needed, 4, 4)
        painter.setPen(QColor(FAINT))
        painter.drawText(text_box, int(flags), self._message)

    def _on_screen(self, place: tuple[int, int, int, int], box: QRectF) -> QRectF:
        x, y, width, height = place
        across = self._zoom * self._aspect
        return QRectF(box.x() + x * across, box.y() + y * self._zoom, width * across, height * self._zoom)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 # Qt's name
        """Stays fitted."""
        if self._fitted:
            self.fit()
        else:
            self._changed()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 # Qt's name
        """Zooms about the pointer."""
        self._zoom_to(self._zoom * 1.0015 ** event.angleDelta().y(), event.position())

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 # Qt's name
        """Takes hold of the wipe's line or of the picture."""
        self._wiping = self._near_wipe(event.position()) and event.button() == Qt.MouseButton.LeftButton
        self._dragging = None if self._wiping else event.position().toPoint()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 # Qt's name
        """Lets go."""
        self._dragging, self._wiping = None, False

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802 # Qt's name
        """Fits again."""
        self.fit()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 # Qt's name
        """Wipes, pans, or tells what is under the pointer."""
        box, position = self._box(), event.position()
        if self._wiping and box.width():
            self.wiped.emit(min(max((position.x() - box.x()) / box.width(), 0.0), 1.0))
        elif self._dragging is not None and event.buttons() and box.width():
            moved = position.toPoint() - self._dragging
            self._dragging, self._fitted = position.toPoint(), False
            self._centre -= QPointF(moved.x() / box.width(), moved.y() / box.height())
            self._changed()
        self.setCursor(Qt.CursorShape.SplitHCursor if self._near_wipe(position) else Qt.CursorShape.CrossCursor)
        if self._width and box.contains(position):
            x, y = (position.x() - box.x()) / self._zoom / self._aspect, (position.y() - box.y()) / self._zoom
            self.pointed.emit(min(int(x), self._width - 1), min(int(y), self._height - 1))
        else:
            self.left.emit()

    def leaveEvent(self, event: object) -> None:  # noqa: N802 # Qt's name
        """Nothing is pointed at any more."""
        self.left.emit()

    def _near_wipe(self, position: QPointF) -> bool:
        if self._wipe is None or not self._width:
            return False
        box = self._box()
        return abs(position.x() - box.x() - self._wipe * box.width()) < _GRAB


def _image(picture: Picture) -> QImage:
    """Without a copy: the picture has to outlive it."""
    rows, columns = picture.pixels.shape[:2]
    return QImage(picture.pixels.data, columns, rows, columns * 4, QImage.Format.Format_RGB32)
