"""The layer stack: eye, solo, opacity and removal of each layer, and what lies behind them."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor, QPixmap
from PySide6.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QLabel, QSlider, QToolButton, QVBoxLayout, QWidget

from penumbra_gui.models.picture import BACKDROPS, ViewSettings
from penumbra_gui.views.parts import ElidedLabel, faint, section, tool
from penumbra_gui.views.theme import icon


class _Row(QWidget):
    """One layer."""

    def __init__(self, name: str, color: tuple[int, int, int], view: LayersView) -> None:
        super().__init__()
        self.name = name
        self.eye = tool("eye", self.tr("Show or hide {0}").format(name))
        self.eye.setCheckable(True)
        self.eye.clicked.connect(lambda on: view.shown.emit(name, on))
        self.solo = QToolButton()
        self.solo.setText("S")
        self.solo.setCheckable(True)
        self.solo.setToolTip(self.tr("Only {0}").format(name))
        self.solo.setAccessibleName(self.tr("Only {0}").format(name))
        self.solo.clicked.connect(lambda on: view.soloed.emit(name if on else ""))
        self.without = tool("cut", self.tr("The plate without {0}").format(name))
        self.without.setCheckable(True)
        self.without.clicked.connect(lambda on: view.without.emit(name if on else ""))
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        # As of buttons: after it was dragged, arrows go on stepping through frames.
        self.opacity.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.opacity.setFixedWidth(64)
        self.opacity.setAccessibleName(self.tr("Opacity of {0}").format(name))
        self.opacity.setToolTip(self.tr("Opacity"))
        self.opacity.valueChanged.connect(lambda value: view.opacity_changed.emit(name, value / 100))
        swatch = QLabel()
        pixmap = QPixmap(6, 20)
        pixmap.fill(QColor(*color))
        swatch.setPixmap(pixmap)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.eye)
        row.addWidget(swatch)
        row.addWidget(ElidedLabel(name), 1)
        row.addWidget(self.opacity)
        row.addWidget(self.solo)
        row.addWidget(self.without)

    def show_view(self, view: ViewSettings) -> None:
        """The state of the buttons."""
        seen = view.shows(self.name)
        self.eye.setChecked(self.name not in view.hidden)
        self.eye.setIcon(icon("eye" if seen else "eye_off"))
        self.solo.setChecked(view.solo == self.name)
        without = view.content == "layers" and view.hidden == {self.name} and view.backdrop == "clean plate"
        self.without.setChecked(without and not view.solo)
        self.opacity.blockSignals(True)
        self.opacity.setValue(round(dict(view.opacity).get(self.name, 1.0) * 100))
        self.opacity.blockSignals(False)


class LayersView(QWidget):
    """``without``: the name of the object to take out of the plate, empty for none."""

    shown = Signal(str, bool)
    soloed = Signal(str)
    without = Signal(str)
    opacity_changed = Signal(str, float)
    backdrop_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[_Row] = []
        self._names: tuple[str, ...] = ()
        self._column = QVBoxLayout()
        self._column.setSpacing(3)
        self._empty = faint(self.tr("Layers appear here as the engine finishes frames."))
        self._backdrop = QComboBox()
        self._backdrop.setAccessibleName(self.tr("Behind the layers"))
        self._backdrop.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        labels = {
            "clean plate": self.tr("Clean plate"),
            "checkerboard": self.tr("Checkerboard"),
            "black": self.tr("Black"),
            "white": self.tr("White"),
            "grey": self.tr("Grey"),
            "image": self.tr("Own image..."),
        }
        for name in BACKDROPS:
            self._backdrop.addItem(labels[name], name)
        self._backdrop.activated.connect(lambda place: self.backdrop_chosen.emit(self._backdrop.itemData(place)))
        behind = QGridLayout()
        behind.addWidget(QLabel(self.tr("Behind")), 0, 0)
        behind.addWidget(self._backdrop, 0, 1)
        behind.setColumnStretch(1, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(section(self.tr("Layers"), self._empty, self._column, behind))

    def show_layers(self, names: tuple[str, ...], colors: dict[str, tuple[int, int, int]], there: bool) -> None:
        """Layers back to front (the list has the front one on top); ``there``: some frame has them."""
        if names != self._names:
            self._names = names
            for row in self._rows:
                self._column.removeWidget(row)
                row.deleteLater()
            self._rows = [_Row(name, colors.get(name, (200, 200, 200)), self) for name in reversed(names)]
            for row in self._rows:
                self._column.addWidget(row)
        for row in self._rows:
            row.setEnabled(there)
        self._empty.setVisible(not there)
        self._backdrop.setEnabled(there)

    def show_view(self, view: ViewSettings) -> None:
        """The state of all buttons."""
        for row in self._rows:
            row.show_view(view)
        self._backdrop.setCurrentIndex(BACKDROPS.index(view.backdrop))
