"""The timeline: scrubbing, in and out points, what is cached, what is finished, and the transport."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPolygonF
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QSpinBox, QVBoxLayout, QWidget

from penumbra_gui.models.timeline import Timeline
from penumbra_gui.views.parts import faint, tool
from penumbra_gui.views.theme import ACCENT, FAINT, GOOD, LINE, RAISED, SUNKEN, icon

_MARGIN = 14.0


class TimelineBar(QWidget):
    """The painted part."""

    chosen = Signal(int)
    released = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(44)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(self.tr("Timeline"))
        self._line = Timeline()
        self._cached: frozenset[int] = frozenset()
        self._finished: frozenset[int] = frozenset()

    def sizeHint(self) -> QSize:  # noqa: N802 # Qt's name
        """As wide as it may be."""
        return QSize(400, 44)

    def show_state(self, line: Timeline, cached: frozenset[int], finished: frozenset[int]) -> None:
        """Draws anew what has changed."""
        if (line, cached, finished) != (self._line, self._cached, self._finished):
            self._line, self._cached, self._finished = line, cached, finished
            self.update()

    def _x(self, frame: float) -> float:
        span = max(1, self._line.last - self._line.first + 1)
        return _MARGIN + (frame - self._line.first) / span * (self.width() - 2 * _MARGIN)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 # Qt's name
        """Draws ruler, range, marks and the playhead."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        line, top, height = self._line, 18.0, 12.0
        painter.setPen(Qt.PenStyle.NoPen)
        painter.fillRect(QRectF(_MARGIN, top, self.width() - 2 * _MARGIN, height), QColor(SUNKEN))
        painter.fillRect(
            QRectF(self._x(line.start), top, self._x(line.end + 1) - self._x(line.start), height), QColor(LINE)
        )
        self._draw_runs(painter, self._cached, top + height + 2, 3.0, QColor("#5c88a8"))
        self._draw_runs(painter, self._finished, top + height + 7, 3.0, QColor(GOOD))
        self._draw_numbers(painter, top)
        x = self._x(line.current + 0.5)
        painter.setPen(QColor(ACCENT))
        painter.drawLine(QPointF(x, top - 2), QPointF(x, self.height() - 4.0))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(ACCENT))
        painter.drawPolygon(QPolygonF([QPointF(x - 5, top - 6), QPointF(x + 5, top - 6), QPointF(x, top + 2)]))
        painter.end()

    def _draw_runs(self, painter: QPainter, frames: frozenset[int], top: float, height: float, color: QColor) -> None:
        ordered = sorted(frame for frame in frames if self._line.first <= frame <= self._line.last)
        start = 0
        for place, frame in enumerate(ordered):
            if place + 1 == len(ordered) or ordered[place + 1] != frame + 1:
                left, right = self._x(ordered[start]), self._x(frame + 1)
                painter.fillRect(QRectF(left, top, right - left, height), color)
                start = place + 1

    def _draw_numbers(self, painter: QPainter, top: float) -> None:
        line = self._line
        count, room = line.last - line.first + 1, self.width() - 2 * _MARGIN
        fitting = max(1, int(room / 56))
        step = next((s * 10**p for p in range(7) for s in (1, 2, 5) if s * 10**p * fitting >= count), count)
        painter.setPen(QColor(FAINT))
        for frame in range(-(-line.first // step) * step, line.last + 1, step):
            x = self._x(frame + 0.5)
            painter.drawLine(QPointF(x, top), QPointF(x, top + 4))
            painter.drawText(QRectF(x - 30, 0, 60, top - 6), Qt.AlignmentFlag.AlignCenter, str(frame))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 # Qt's name
        """Goes there."""
        self._choose(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 # Qt's name
        """Scrubs."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._choose(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 # Qt's name
        """Stops scrubbing."""
        self.released.emit()

    def _choose(self, event: QMouseEvent) -> None:
        span = self._line.last - self._line.first + 1
        share = (event.position().x() - _MARGIN) / max(1.0, self.width() - 2 * _MARGIN)
        self.chosen.emit(min(max(self._line.first + int(share * span // 1), self._line.first), self._line.last))


class TimelineView(QWidget):
    """``action`` names what a button asks for, as :mod:`penumbra_gui.models.shortcuts` does."""

    chosen = Signal(int)
    released = Signal()
    action = Signal(str)
    loop_changed = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.bar = TimelineBar()
        self.bar.chosen.connect(self.chosen)
        self.bar.released.connect(self.released)
        self._frame = QSpinBox()
        self._frame.setAccessibleName(self.tr("Current frame"))
        self._frame.setKeyboardTracking(False)
        self._frame.setFixedWidth(70)
        self._frame.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._frame.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self._frame.valueChanged.connect(self.chosen)
        self._range = faint(wrap=False)
        self._rate = QLabel("")
        self._rate.setObjectName("faint")
        self._play = tool("play", self.tr("Play or pause (Space)"), lambda: self.action.emit("play_pause"))
        self._loop = tool("loop", self.tr("Loop"))
        self._loop.setCheckable(True)
        self._loop.setChecked(True)
        self._loop.toggled.connect(self.loop_changed)
        names = (
            ("to_start", self.tr("To the in point (Home)")),
            ("step_back", self.tr("One frame back (Left)")),
            ("play_back", self.tr("Play backwards (J)")),
        )
        row = QHBoxLayout()
        row.setSpacing(2)
        row.addWidget(self._range)
        row.addStretch(1)
        for name, sentence in names:
            row.addWidget(tool(name, sentence, partial(self.action.emit, name)))
        row.addWidget(self._play)
        row.addWidget(tool("step_on", self.tr("One frame on (Right)"), lambda: self.action.emit("step_on")))
        row.addWidget(tool("to_end", self.tr("To the out point (End)"), lambda: self.action.emit("to_end")))
        row.addWidget(self._loop)
        row.addSpacing(10)
        row.addWidget(self._frame)
        row.addStretch(1)
        row.addWidget(self._rate)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 2, 8, 6)
        column.setSpacing(2)
        column.addWidget(self.bar)
        column.addLayout(row)
        self.setStyleSheet(f"TimelineView {{ background: {RAISED}; }}")

    def show_state(self, line: Timeline, cached: frozenset[int], finished: frozenset[int]) -> None:
        """The frame, the range and the marks."""
        self.bar.show_state(line, cached, finished)
        self._frame.blockSignals(True)
        self._frame.setRange(line.first, line.last)
        self._frame.setValue(line.current)
        self._frame.blockSignals(False)
        self._range.setText(self.tr("In {0}   Out {1}").format(line.start, line.end))
        speed = f"   {line.speed}x" if abs(line.speed) > 1 else ""
        self._rate.setText(self.tr("{0} fps").format(f"{line.fps:.6g}") + speed)
        self._loop.blockSignals(True)
        self._loop.setChecked(line.loop)
        self._loop.blockSignals(False)
        self._play.setIcon(icon("pause" if line.playing else "play"))
