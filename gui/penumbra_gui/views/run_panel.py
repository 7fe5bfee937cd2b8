"""The run: start and stop, how far it is, what it learns, the queue, and what can be taken away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from penumbra_gui.views.parts import ElidedLabel, faint, section, tool
from penumbra_gui.views.theme import ACCENT, FAINT, SUNKEN


@dataclass(frozen=True)
class QueueRow:
    """One job in the list."""

    number: int
    title: str
    state: str
    removable: bool


class LossCurve(QWidget):
    """How the loss falls."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(60)
        self._points: list[tuple[int, float]] = []
        self.setAccessibleName(self.tr("Loss curve"))

    def show_losses(self, points: list[tuple[int, float]]) -> None:
        """(step, loss), ascending."""
        good = [(step, loss) for step, loss in points if math.isfinite(loss)]
        # More points than pixels only cost time.
        self._points = good[:: max(1, len(good) // 400)]
        self.setToolTip(self.tr("Loss {0} at step {1}").format(f"{good[-1][1]:.5f}", good[-1][0]) if good else "")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 # Qt's name
        """Draws the curve on a logarithmic scale."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(SUNKEN))
        if len(self._points) > 1:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            logs = [math.log(max(loss, 1e-9)) for _, loss in self._points]
            low, high = min(logs), max(max(logs), min(logs) + 1e-6)
            first, last = self._points[0][0], max(self._points[-1][0], self._points[0][0] + 1)
            room = QRectF(self.rect()).adjusted(4, 5, -4, -5)
            dots = [
                QPointF(
                    room.x() + (step - first) / (last - first) * room.width(),
                    room.y() + (high - value) / (high - low) * room.height(),
                )
                for (step, _), value in zip(self._points, logs, strict=True)
            ]
            painter.setPen(QPen(QColor(ACCENT), 1.4))
            painter.drawPolyline(QPolygonF(dots))
            painter.setPen(QColor(FAINT))
            text = self.tr("loss {0}").format(f"{self._points[-1][1]:.4f}")
            painter.drawText(room, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignRight, text)
        painter.end()


class LivePicture(QWidget):
    """The last picture of the refinement: the plate and each layer over a checkerboard."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(self.tr("Layers as they are learnt"))
        self._image = QImage()
        self._count = 1

    def show_image(self, image: QImage, count: int) -> None:
        """A strip of ``count`` pictures beside each other."""
        self._image, self._count = image, max(1, count)
        self.setFixedHeight(self._rows() * self._tile_height() if not image.isNull() else 0)
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 # Qt's name
        """Two pictures beside each other."""
        return QSize(240, 60)

    def resizeEvent(self, event: object) -> None:  # noqa: N802 # Qt's name
        """Keeps the pictures' shape."""
        self.show_image(self._image, self._count)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 # Qt's name
        """Lays the strip's pictures in rows of two."""
        if self._image.isNull():
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        width, height = self._image.width() / self._count, self._tile_height()
        for place in range(self._count):
            box = QRectF((place % 2) * self.width() / 2, (place // 2) * height, self.width() / 2, height)
            source = QRectF(place * width, 0, width, self._image.height())
            painter.drawImage(box.adjusted(1, 1, -1, -1), self._image, source)
        painter.end()

    def _rows(self) -> int:
        return -(-self._count // 2)

    def _tile_height(self) -> int:
        wide = self._image.width() / self._count
        return round(self.width() / 2 * self._image.height() / max(1.0, wide))


class RunView(QWidget):
    """Buttons say what they ask; what is possible is told by :meth:`show_possible`."""

    start_asked = Signal()
    stop_asked = Signal()
    queue_asked = Signal()
    job_removed = Signal(int)
    live_frame_asked = Signal()
    out_asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[QueueRow, ...] | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._make_run())
        column.addWidget(self._make_queue())
        column.addWidget(self._make_out())

    def _make_run(self) -> QWidget:
        self.start = QPushButton(self.tr("Start"))
        self.start.setObjectName("primary")
        self.start.clicked.connect(lambda: self.start_asked.emit())
        self.stop = QPushButton(self.tr("Stop"))
        self.stop.clicked.connect(lambda: self.stop_asked.emit())
        self.queue = QPushButton(self.tr("Queue"))
        self.queue.setToolTip(self.tr("Run this job after those that are waiting"))
        self.queue.clicked.connect(lambda: self.queue_asked.emit())
        self._stage = ElidedLabel()
        self._bar = QProgressBar()
        self._bar.setTextVisible(True)
        self._bar.setAccessibleName(self.tr("Progress"))
        self._left = faint(wrap=False)
        self._curve, self._live = LossCurve(), LivePicture()
        self._live_note = faint()
        self._here = QPushButton(self.tr("Show this frame"))
        self._here.setToolTip(self.tr("Refinement shows the viewer's frame from now on"))
        self._here.clicked.connect(lambda: self.live_frame_asked.emit())
        buttons = QHBoxLayout()
        for button, stretch in ((self.start, 2), (self.stop, 1), (self.queue, 1)):
            buttons.addWidget(button, stretch)
        words = QHBoxLayout()
        words.addWidget(self._stage, 1)
        words.addWidget(self._left)
        live = QHBoxLayout()
        live.addWidget(self._live_note, 1)
        live.addWidget(self._here)
        self._hint = faint()
        return section(self.tr("Run"), buttons, self._hint, words, self._bar, self._curve, live, self._live)

    def _make_queue(self) -> QWidget:
        self._jobs = QListWidget()
        self._jobs.setAccessibleName(self.tr("Queue"))
        self._jobs.setMaximumHeight(96)
        remove = tool("remove", self.tr("Take the selected job from the queue"), self._remove)
        self._queue_section = section(self.tr("Queue"), self._jobs, buttons=(remove,))
        return self._queue_section

    def _make_out(self) -> QWidget:
        self._out: dict[str, QPushButton] = {}
        grid = QGridLayout()
        grid.setSpacing(4)
        labels = (
            ("folder", self.tr("Open folder")),
            ("preview", self.tr("Export preview...")),
            ("Nuke", self.tr("Copy Nuke nodes")),
            ("Fusion", self.tr("Copy Fusion nodes")),
            ("job", self.tr("Save job...")),
            ("refine", self.tr("Refine more")),
        )
        for place, (name, label) in enumerate(labels):
            button = QPushButton(label)
            button.clicked.connect(lambda _checked=False, name=name: self.out_asked.emit(name))
            self._out[name] = button
            grid.addWidget(button, place // 2, place % 2)
        self.out_section = section(self.tr("Take away"), grid)
        return self.out_section

    def show_possible(self, start: str, can_start: bool, can_stop: bool, can_queue: bool, hint: str) -> None:
        """``start``: the first button's text; ``hint``: what is missing before a start."""
        self.start.setText(start)
        self.start.setEnabled(can_start)
        self.stop.setEnabled(can_stop)
        self.queue.setEnabled(can_queue)
        self._hint.setText(hint)
        self._hint.setVisible(bool(hint))

    def show_out(self, possible: frozenset[str]) -> None:
        """Which of the buttons below make sense."""
        for name, button in self._out.items():
            button.setEnabled(name in possible)

    def show_progress(self, message: str, done: int, total: int, left: str, active: bool) -> None:
        """``total`` 0 while nobody knows."""
        self._stage.show_text(message)
        self._stage.setVisible(bool(message))
        self._left.setText(left)
        self._bar.setRange(0, total if total or not active else 0)
        self._bar.setFormat("%v / %m" if total else "")
        if total:
            self._bar.setValue(min(done, total))
        elif not active:
            self._bar.setRange(0, 1)
            self._bar.setValue(0)
        self._bar.setVisible(active or total > 0)

    def show_learning(self, losses: list[tuple[int, float]], picture: QImage | None, count: int, note: str) -> None:
        """The curve, and the last picture where there is one."""
        self._curve.setVisible(len(losses) > 1)
        self._curve.show_losses(losses)
        for widget in (self._live, self._live_note, self._here):
            widget.setVisible(picture is not None)
        if picture is not None:
            self._live.show_image(picture, count)
            self._live_note.setText(note)

    def show_queue(self, rows: tuple[QueueRow, ...]) -> None:
        """All jobs of this session; left alone, with its selection, while nothing has changed."""
        if rows == self._rows:
            return
        self._rows = rows
        self._jobs.clear()
        for row in rows:
            item = QListWidgetItem(f"{row.title}\n{row.state}")
            item.setData(Qt.ItemDataRole.UserRole, row.number if row.removable else None)
            item.setToolTip(row.title)
            self._jobs.addItem(item)
        # One job alone is told of above.
        self._queue_section.setVisible(len(rows) > 1)

    def _remove(self) -> None:
        item = self._jobs.currentItem()
        number = None if item is None else item.data(Qt.ItemDataRole.UserRole)
        if number is not None:
            self.job_removed.emit(number)


def read_strip(path: str) -> QImage | None:
    """The refinement's picture, None where it cannot be read; small enough to read at once."""
    image = QImage(str(Path(path)))
    return None if image.isNull() else image.convertToFormat(QImage.Format.Format_RGB32)
