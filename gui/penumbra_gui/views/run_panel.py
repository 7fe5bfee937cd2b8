"""The run: start and stop, how far it is, what it learns, the queue, and what can be taken away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal, SignalInstance
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
from penumbra_gui.views.strip import draw_strip
from penumbra_gui.views.theme import ACCENT, FAINT, SUNKEN


@dataclass(frozen=True)
class QueueRow:
    """One job in the list. ``told``: why it has failed."""

    number: int
    title: str
    state: str
    told: str = ""


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
            # Each step looks at other frames: what falls is the mean.
            painter.setPen(QPen(QColor(FAINT).darker(150), 1.0))
            painter.drawPolyline(QPolygonF(dots))
            painter.setPen(QPen(QColor(ACCENT), 1.6))
            painter.drawPolyline(QPolygonF(_smoothed(dots)))
            painter.setPen(QColor(FAINT))
            text = self.tr("loss {0}").format(f"{self._points[-1][1]:.4f}")
            painter.drawText(room, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignRight, text)
        painter.end()


def _smoothed(dots: list[QPointF]) -> list[QPointF]:
    """A running mean over a tenth of the curve."""
    share, mean, found = 2 / (max(3, len(dots) // 10) + 1), dots[0].y(), []
    for dot in dots:
        mean += share * (dot.y() - mean)
        found.append(QPointF(dot.x(), mean))
    return found


class LivePicture(QWidget):
    """The last picture of the refinement: the plate and each layer over a checkerboard."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(self.tr("Layers as they are learnt"))
        self._image = QImage()
        self._names: tuple[str, ...] = ("",)

    def show_image(self, image: QImage, names: tuple[str, ...]) -> None:
        """A strip of pictures beside each other, one for each name."""
        self._image, self._names = image, names
        self.setFixedHeight(self._rows() * self._tile_height() if not image.isNull() else 0)
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 # Qt's name
        """Two pictures beside each other."""
        return QSize(240, 60)

    def resizeEvent(self, event: object) -> None:  # noqa: N802 # Qt's name
        """Keeps the pictures' shape."""
        self.show_image(self._image, self._names)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 # Qt's name
        """Lays the strip's pictures in rows of two."""
        if self._image.isNull():
            return
        painter = QPainter(self)
        draw_strip(painter, self._image, self._names, 2, QRectF(self.rect()))
        painter.end()

    def _rows(self) -> int:
        return -(-len(self._names) // 2)

    def _tile_height(self) -> int:
        wide = self._image.width() / len(self._names)
        return round(self.width() / 2 * self._image.height() / max(1.0, wide))


class RunView(QWidget):
    """Buttons say what they ask; what is possible is told by :meth:`show_possible`.

    ``live_changed``: the picture of the refinement to be seen large, None for none, and the names of its parts.
    """

    start_asked = Signal()
    stop_asked = Signal()
    queue_asked = Signal()
    job_removed = Signal(int)
    job_started = Signal(int)
    job_opened = Signal(int)
    live_frame_asked = Signal()
    live_changed = Signal(object, tuple)
    out_asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[QueueRow, ...] | None = None
        self._learnt: tuple[QImage | None, tuple[str, ...]] = None, ()
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
        self._left.hide()
        self._curve, self._live = LossCurve(), LivePicture()
        self._live_note = faint()
        self.watch = QPushButton(self.tr("Watch large"))
        self.watch.setCheckable(True)
        self.watch.setToolTip(self.tr("The viewer shows the layers as they are learnt"))
        self.watch.toggled.connect(self._tell_live)
        self._here = QPushButton(self.tr("Learn at this frame"))
        self._here.setToolTip(self.tr("The pictures below are of the viewer's frame from now on"))
        self._here.clicked.connect(lambda: self.live_frame_asked.emit())
        buttons = QHBoxLayout()
        for button, stretch in ((self.start, 2), (self.stop, 1), (self.queue, 1)):
            buttons.addWidget(button, stretch)
        words = QHBoxLayout()
        words.addWidget(self._stage, 1)
        words.addWidget(self._left)
        live = QHBoxLayout()
        live.addWidget(self._here, 1)
        live.addWidget(self.watch, 1)
        self._hint = faint()
        return section(
            self.tr("Run"), buttons, self._hint, words, self._bar, self._curve, self._live_note, self._live, live
        )

    def _make_queue(self) -> QWidget:
        self._jobs = QListWidget()
        self._jobs.setAccessibleName(self.tr("Queue"))
        self._jobs.setMaximumHeight(96)
        self._jobs.itemDoubleClicked.connect(lambda: self._tell_job(self.job_opened))
        self._jobs.setToolTip(self.tr("Double click opens a job"))
        start = tool("play", self.tr("Run the selected job"), lambda: self._tell_job(self.job_started))
        remove = tool(
            "remove", self.tr("Take the selected job from the queue"), lambda: self._tell_job(self.job_removed)
        )
        self._queue_section = section(self.tr("Queue"), self._jobs, buttons=(start, remove))
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
        self._left.setVisible(bool(left))
        self._bar.setRange(0, total if total or not active else 0)
        self._bar.setFormat("%v / %m" if total else "")
        if total:
            self._bar.setValue(min(done, total))
        elif not active:
            self._bar.setRange(0, 1)
            self._bar.setValue(0)
        self._bar.setVisible(active or total > 0)

    def show_learning(
        self, losses: list[tuple[int, float]], picture: QImage | None, names: tuple[str, ...], note: str
    ) -> None:
        """The curve, and the last picture where there is one, with a part for each name."""
        self._curve.setVisible(len(losses) > 1)
        self._curve.show_losses(losses)
        for widget in (self._live, self._live_note, self._here, self.watch):
            widget.setVisible(picture is not None)
        if picture is not None:
            self._live.show_image(picture, names)
            self._live_note.setText(note)
        if (picture, names) != self._learnt:
            self._learnt = picture, names
            self._tell_live()

    def show_queue(self, rows: tuple[QueueRow, ...]) -> None:
        """All jobs of this session; left alone, with its selection, while nothing has changed."""
        if rows == self._rows:
            return
        self._rows = rows
        self._jobs.clear()
        for row in rows:
            item = QListWidgetItem(f"{row.title}\n{row.state}")
            item.setData(Qt.ItemDataRole.UserRole, row.number)
            item.setToolTip(f"{row.title}\n{row.told}".strip())
            self._jobs.addItem(item)
        # One job alone is told of above.
        self._queue_section.setVisible(len(rows) > 1)

    def _tell_live(self) -> None:
        picture, names = self._learnt
        self.live_changed.emit(picture if self.watch.isChecked() else None, names)

    def _tell_job(self, signal: SignalInstance) -> None:
        item = self._jobs.currentItem()
        if item is not None:
            signal.emit(item.data(Qt.ItemDataRole.UserRole))


def read_strip(path: str) -> QImage | None:
    """The refinement's picture, None where it cannot be read; small enough to read at once."""
    image = QImage(str(Path(path)))
    return None if image.isNull() else image.convertToFormat(QImage.Format.Format_RGB32)
