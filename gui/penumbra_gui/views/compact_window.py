"""The small window a host opens: masks, quality, the run, and nothing else."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QCloseEvent, QImage
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from penumbra_gui.views.dropping import Dropping
from penumbra_gui.views.job_form import JobFormView
from penumbra_gui.views.masks import MasksView
from penumbra_gui.views.parts import ElidedLabel, MessageBar, section
from penumbra_gui.views.run_panel import RunView


class _CompactRunView(RunView):
    """One job, which the host takes away itself, and no viewer whose frame could be shown."""

    def __init__(self) -> None:
        super().__init__()
        self.queue.hide()
        self.out_section.hide()

    def show_learning(
        self, losses: list[tuple[int, float]], picture: QImage | None, names: tuple[str, ...], note: str
    ) -> None:
        """The curve and the picture."""
        super().show_learning(losses, picture, names, note)
        self._here.hide()
        self.watch.hide()


class CompactWindow(QWidget):
    """``close_asked``: the window's own button was pressed; it stays until :meth:`close_now`."""

    close_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setWindowTitle(self.tr("Penumbra"))
        self._closing = False
        self._plate, self._folder = ElidedLabel(), ElidedLabel()
        self._folder.setObjectName("faint")
        self.messages, self.masks, self.form, self.run = MessageBar(), MasksView(), JobFormView(), _CompactRunView()
        dropping = Dropping(self)
        dropping.set_sentence(self.tr("Drop masks"))
        dropping.dropped.connect(self._take_files)
        # Both are the host's.
        self.form.plate_section.hide()
        self.form.output_section.hide()
        self.resize(self.sizeHint())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.messages)
        column.addWidget(section(self.tr("Clip"), self._plate, self._folder))
        column.addWidget(self._scrolled(), 1)

    def sizeHint(self) -> QSize:  # noqa: N802 # Qt's name
        """Beside a host's own window."""
        return QSize(520, 640)

    def _take_files(self, paths: list[str]) -> None:
        if not self.masks.isHidden():
            self.masks.dropped.emit(paths)

    def show_clip(self, plate: str, folder: str) -> None:
        """What is taken apart, and where the layers go."""
        self._plate.show_text(plate)
        self._folder.show_text(self.tr("Layers go to {0}").format(folder))

    def show_editable(self, editable: bool) -> None:
        """Whether masks and quality are there to be changed: not while an engine works on them."""
        # What is at work is looked at; there is no room for both.
        self.masks.setVisible(editable)
        self.form.setVisible(editable)

    def close_now(self) -> None:
        """Closes without asking."""
        self._closing = True
        self.close()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 # Qt's name
        """Says that it is asked to close."""
        if self._closing:
            event.accept()
        else:
            event.ignore()
            self.close_asked.emit()

    def _scrolled(self) -> QScrollArea:
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for part in (self.masks, self.form, self.run):
            column.addWidget(part)
        column.addStretch(1)
        area = QScrollArea()
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(content)
        return area
