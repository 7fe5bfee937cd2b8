"""The bar over the viewer: what is shown, how bright, through which view, compared with what."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from penumbra_gui.models.picture import CHANNELS, ViewSettings


class ViewBar(QFrame):
    """``changed`` carries the name of a field of :class:`ViewSettings` and its new value."""

    changed = Signal(str, object)
    fit_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("bar")
        self._plate = self._toggle(self.tr("Plate"), self.tr("Show the plate (P)"))
        self._layers = self._toggle(self.tr("Layers"), self.tr("Show the layers (P)"))
        contents = QButtonGroup(self)
        contents.addButton(self._plate)
        contents.addButton(self._layers)
        self._plate.clicked.connect(lambda: self.changed.emit("content", "plate"))
        self._layers.clicked.connect(lambda: self.changed.emit("content", "layers"))
        self._channel = QComboBox()
        self._channel.setAccessibleName(self.tr("Channels shown"))
        self._channel.setToolTip(self.tr("Channels shown (R, G, B, A, Y)"))
        # As of buttons: after a choice with the mouse, Space and arrows go on playing and stepping.
        self._channel.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        for channel in CHANNELS:
            self._channel.addItem(self.tr("Luma") if channel == "L" else channel, channel)
        self._channel.activated.connect(lambda place: self.changed.emit("channel", self._channel.itemData(place)))
        self._wipe = self._toggle(self.tr("Wipe"), self.tr("Wipe against the plate (W)"))
        self._wipe.clicked.connect(lambda on: self.changed.emit("compare", "wipe" if on else "off"))
        self._difference = self._toggle(self.tr("Diff"), self.tr("Difference to the plate (D)"))
        self._difference.clicked.connect(lambda on: self.changed.emit("compare", "difference" if on else "off"))
        self._gain = self._number(self.tr("Gain of the difference"), "x ", 1, 4096, 1.0, "gain", 0)
        self._outlines = self._toggle(self.tr("Masks"), self.tr("Mask outlines (M)"))
        self._outlines.clicked.connect(lambda on: self.changed.emit("outlines", on))
        self._exposure = self._number(self.tr("Exposure in stops"), "EV ", -20, 20, 0.25, "exposure", 2)
        self._gamma = self._number(self.tr("Gamma"), self.tr("gamma "), 0.1, 5, 0.05, "gamma", 2)
        self._display, self._view = QComboBox(), QComboBox()
        for combo, name in ((self._display, self.tr("Display")), (self._view, self.tr("View transform"))):
            combo.setAccessibleName(name)
            combo.setToolTip(name)
            combo.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            combo.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            combo.setMinimumWidth(96)
            combo.view().setMinimumWidth(240)
        self._display.activated.connect(lambda: self.changed.emit("display", self._display.currentText()))
        self._view.activated.connect(lambda: self.changed.emit("view", self._view.currentText()))
        fit = QToolButton()
        fit.setText(self.tr("Fit"))
        fit.setToolTip(self.tr("Fit the picture in the window (F)"))
        fit.clicked.connect(lambda: self.fit_asked.emit())
        first, second = QHBoxLayout(), QHBoxLayout()
        left: tuple[QWidget, ...] = (self._plate, self._layers, self._channel, self._outlines)
        right: tuple[QWidget, ...] = (self._wipe, self._difference, self._gain)
        for widget in left:
            first.addWidget(widget)
        first.addStretch(1)
        for widget in right:
            first.addWidget(widget)
        below: tuple[tuple[QWidget, int], ...] = (
            (fit, 0),
            (self._exposure, 0),
            (self._gamma, 0),
            (self._display, 2),
            (self._view, 3),
        )
        for widget, stretch in below:
            second.addWidget(widget, stretch)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 6, 8, 6)
        column.setSpacing(5)
        column.addLayout(first)
        column.addLayout(second)

    def show_displays(self, displays: dict[str, tuple[str, ...]], view: ViewSettings) -> None:
        """What the colour configuration offers, for the display chosen."""
        for combo, names, chosen in (
            (self._display, list(displays), view.display),
            (self._view, list(displays.get(view.display, ())), view.view),
        ):
            combo.clear()
            combo.addItems(names)
            combo.setCurrentIndex(names.index(chosen) if chosen in names else -1)

    def show_view(self, view: ViewSettings, layers_there: bool) -> None:
        """The state of everything."""
        self._plate.setChecked(view.content == "plate")
        self._layers.setChecked(view.content == "layers")
        self._layers.setEnabled(layers_there)
        self._channel.setCurrentIndex(CHANNELS.index(view.channel))
        comparable = view.content == "layers"
        for button, name in ((self._wipe, "wipe"), (self._difference, "difference")):
            button.setEnabled(comparable)
            button.setChecked(comparable and view.compare == name)
        self._gain.setVisible(comparable and view.compare == "difference")
        self._outlines.setChecked(view.outlines)
        for spin, value in ((self._exposure, view.exposure), (self._gamma, view.gamma), (self._gain, view.gain)):
            if spin.value() != value:
                spin.blockSignals(True)
                spin.setValue(value)
                spin.blockSignals(False)

    def _toggle(self, text: str, sentence: str) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setCheckable(True)
        button.setToolTip(sentence)
        button.setAccessibleName(sentence)
        return button

    def _number(
        self, sentence: str, prefix: str, low: float, high: float, step: float, field: str, decimals: int
    ) -> QDoubleSpinBox:
        spin = QDoubleSpinBox()
        spin.setDecimals(decimals)
        spin.setRange(low, high)
        spin.setSingleStep(step)
        spin.setPrefix(prefix)
        spin.setValue(0.0 if low < 0 else 1.0)
        spin.setToolTip(sentence)
        spin.setAccessibleName(sentence)
        spin.setFixedWidth(90)
        spin.setAlignment(Qt.AlignmentFlag.AlignCenter)
        spin.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        spin.valueChanged.connect(lambda value: self.changed.emit(field, value))
        return spin
