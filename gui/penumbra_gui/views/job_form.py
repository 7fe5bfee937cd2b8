"""Everything about the job beside its masks: frames, colour, quality, output."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QCompleter,
    QDoubleSpinBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from penumbra.job import COMPRESSIONS, PRECISIONS
from penumbra_gui.models.checks import Sentence
from penumbra_gui.models.project import Project
from penumbra_gui.views.parts import ElidedLabel, faint, section, tool
from penumbra_gui.views.theme import BAD

_LARGE = 10_000_000


class JobFormView(QWidget):
    """Signals carry what the artist has chosen; nothing is changed here before :meth:`show_project` says so."""

    plate_asked = Signal()
    frames_chosen = Signal(int, int)
    all_frames = Signal()
    color_space_chosen = Signal(str)
    preview_quality = Signal()
    minutes_chosen = Signal(float)
    camera_chosen = Signal(str)
    clean_plate_asked = Signal()
    clean_plate_dropped = Signal()
    folder_asked = Signal()
    folder_typed = Signal(str)
    precision_chosen = Signal(str)
    compression_chosen = Signal(str)
    previews_chosen = Signal(bool)
    splits_chosen = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._quiet = False
        # As they are shown: what differs from them has been typed.
        self._frames: tuple[int, int] | None = None
        self._folder_of = ("", "")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.plate_section = self._make_plate()
        self.output_section = self._make_output()
        column.addWidget(self.plate_section)
        column.addWidget(self._make_quality())
        column.addWidget(self.output_section)

    def _make_plate(self) -> QFrame:
        self._plate, self._facts = ElidedLabel(self.tr("None"), left=True), faint()
        self._first, self._last = self._spin(self.tr("First frame")), self._spin(self.tr("Last frame"))
        self._all = QToolButton()
        self._all.setText(self.tr("All"))
        self._all.setToolTip(self.tr("Use all frames"))
        self._all.clicked.connect(lambda: self.all_frames.emit())
        for spin in (self._first, self._last):
            spin.editingFinished.connect(self._tell_frames)
        self._space = QComboBox()
        self._space.setEditable(True)
        self._space.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._space.setAccessibleName(self.tr("Colour space of the plate"))
        _may_shrink(self._space)
        self._space.activated.connect(self._tell_space)
        line = self._space.lineEdit()
        assert line is not None
        line.editingFinished.connect(self._tell_space)
        grid = _grid()
        grid.addWidget(self._plate, 0, 0, 1, 2)
        grid.addWidget(self._facts, 1, 0, 1, 2)
        frames = QHBoxLayout()
        frames.setSpacing(5)
        frames.addWidget(self._first, 1)
        frames.addWidget(QLabel("-"))
        frames.addWidget(self._last, 1)
        frames.addWidget(self._all)
        _row(grid, 2, self.tr("Frames"), frames)
        _row(grid, 3, self.tr("Colour"), self._space)
        browse = tool("folder", self.tr("Open a clip"), self.plate_asked.emit)
        return section(self.tr("Plate"), grid, buttons=(browse,))

    def _make_quality(self) -> QFrame:
        self._quality = QComboBox()
        self._quality.setAccessibleName(self.tr("Quality"))
        self._quality.addItem(self.tr("Preview: as the network is"), 0.0)
        for minutes in (2, 5, 15, 60):
            self._quality.addItem(self.tr("Refine {0} minutes").format(minutes), float(minutes))
        self._quality.addItem(self.tr("Refine for..."), -1.0)
        self._quality.activated.connect(self._tell_quality)
        _may_shrink(self._quality)
        self._minutes = QDoubleSpinBox()
        self._minutes.setRange(0.1, 9999)
        self._minutes.setDecimals(1)
        self._minutes.setSuffix(self.tr(" min"))
        self._minutes.setAccessibleName(self.tr("Minutes of refinement"))
        self._minutes.setKeyboardTracking(False)
        self._minutes.valueChanged.connect(lambda value: self._say(self.minutes_chosen, value))
        self._camera = self._combo(
            self.tr("Camera"), (("auto", self.tr("Tracked")), ("locked", self.tr("Locked off"))), self.camera_chosen
        )
        self._clean = ElidedLabel()
        self._clean_remove = tool("remove", self.tr("Make the clean plate"), self.clean_plate_dropped.emit)
        clean = QHBoxLayout()
        clean.setSpacing(2)
        clean.addWidget(self._clean, 1)
        clean.addWidget(self._clean_remove)
        clean.addWidget(tool("folder", self.tr("Use your own clean plate"), self.clean_plate_asked.emit))
        grid = _grid()
        _row(grid, 0, self.tr("Quality"), self._quality)
        grid.addWidget(self._minutes, 1, 1)
        _row(grid, 2, self.tr("Camera"), self._camera)
        _row(grid, 3, self.tr("Clean plate"), clean)
        return section(self.tr("Quality"), grid)

    def _make_output(self) -> QFrame:
        self._folder = QLineEdit()
        self._folder.setAccessibleName(self.tr("Output folder"))
        self._folder.setPlaceholderText(self.tr("Output folder"))
        self._folder.editingFinished.connect(self._tell_folder)
        self._precision = self._combo(
            self.tr("Precision"), tuple((name, name) for name in PRECISIONS), self.precision_chosen
        )
        self._compression = self._combo(
            self.tr("Compression"), tuple((name, name.upper()) for name in COMPRESSIONS), self.compression_chosen
        )
        self._previews = QCheckBox(self.tr("Contact sheet and preview movie"))
        self._previews.clicked.connect(lambda on: self._say(self.previews_chosen, on))
        self._splits = QCheckBox(self.tr("Shadows and lights apart, too"))
        self._splits.setToolTip(self.tr("Each layer also as its object, its shadow and its light"))
        self._splits.clicked.connect(lambda on: self._say(self.splits_chosen, on))
        self._note = faint()
        forms = QHBoxLayout()
        forms.setSpacing(5)
        forms.addWidget(self._precision, 1)
        forms.addWidget(self._compression, 1)
        grid = _grid()
        folder = QHBoxLayout()
        folder.setSpacing(2)
        folder.addWidget(self._folder, 1)
        folder.addWidget(tool("folder", self.tr("Choose the output folder"), self.folder_asked.emit))
        _row(grid, 0, self.tr("Folder"), folder)
        _row(grid, 1, self.tr("EXR"), forms)
        grid.addWidget(self._previews, 2, 0, 1, 2)
        grid.addWidget(self._splits, 3, 0, 1, 2)
        grid.addWidget(self._note, 4, 0, 1, 2)
        return section(self.tr("Output"), grid)

    def show_color_spaces(self, names: tuple[str, ...]) -> None:
        """What the plate's colour space can be."""
        current = self._space.currentText()
        self._space.clear()
        self._space.addItems(["auto", *names])
        completer = QCompleter(["auto", *names], self._space)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self._space.setCompleter(completer)
        self._space.setEditText(current or "auto")

    def show_project(self, project: Project, facts: str, span: tuple[int, int] | None, note: Sentence | None) -> None:
        """All fields; ``span``: frames there are, None while no plate can be read; ``note`` on the output folder."""
        self._quiet = True
        plate = project.plate
        self._plate.show_text(self.tr("None yet") if plate is None else plate.path)
        self._facts.setText(facts)
        self._facts.setVisible(bool(facts))
        for widget in (self._first, self._last, self._all, self._space):
            widget.setEnabled(plate is not None)
        if span is not None:
            chosen = plate.frames if plate is not None and plate.frames is not None else None
            self._first.setValue(span[0] if chosen is None else chosen.first)
            self._last.setValue(span[1] if chosen is None else chosen.last)
            self._all.setEnabled(chosen is not None)
        self._frames = None if span is None else (self._first.value(), self._last.value())
        self._space.setEditText("auto" if plate is None else plate.color_space)
        self._show_quality(project)
        self._show_camera(project.camera.mode)
        self._clean.show_text(
            self.tr("Made from the clip") if project.clean_plate is None else project.clean_plate.path
        )
        self._clean_remove.setVisible(project.clean_plate is not None)
        self._show_folder(project)
        self._folder.setToolTip(project.folder)
        self._precision.setCurrentIndex(self._precision.findData(project.precision))
        self._compression.setCurrentIndex(self._compression.findData(project.compression))
        self._previews.setChecked(project.previews)
        self._splits.setChecked(project.splits)
        self._note.setText("" if note is None else str(note))
        self._note.setStyleSheet(f"color: {BAD};" if note is not None and note.severity == "error" else "")
        self._note.setVisible(note is not None)
        self._quiet = False

    def _show_folder(self, project: Project) -> None:
        """Half a path stays to be gone on with, but not as another clip's."""
        of = ("" if project.plate is None else project.plate.path, project.folder)
        if of != self._folder_of or not self._folder.isModified():
            self._folder.setText(project.folder)
        self._folder_of = of

    def _show_camera(self, mode: str) -> None:
        """A camera read from a file comes with a job: there is nothing to choose it by here."""
        place = self._camera.findData("file")
        if mode == "file" and place < 0:
            self._camera.addItem(self.tr("From a file"), "file")
        elif mode != "file" and place >= 0:
            self._camera.removeItem(place)
        self._camera.setCurrentIndex(self._camera.findData(mode))

    def _show_quality(self, project: Project) -> None:
        refine = project.refine
        minutes = 0.0 if refine.off else refine.minutes
        place = -1 if minutes is None else self._quality.findData(minutes)
        own = place < 0
        self._quality.setCurrentIndex(self._quality.count() - 1 if own else place)
        text = self.tr("Refine {0} steps").format(refine.steps) if refine.steps else self.tr("Refine for...")
        self._quality.setItemText(self._quality.count() - 1, text)
        self._minutes.setVisible(own and not refine.steps)
        if minutes:
            self._minutes.setValue(minutes)

    def _spin(self, name: str) -> QSpinBox:
        spin = QSpinBox()
        spin.setRange(-_LARGE, _LARGE)
        spin.setAccessibleName(name)
        spin.setKeyboardTracking(False)
        spin.setMinimumWidth(64)
        spin.setAlignment(Qt.AlignmentFlag.AlignCenter)
        spin.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        return spin

    def _combo(self, name: str, items: tuple[tuple[str, str], ...], signal: object) -> QComboBox:
        combo = QComboBox()
        combo.setAccessibleName(name)
        combo.setToolTip(name)
        _may_shrink(combo)
        for value, label in items:
            combo.addItem(label, value)
        combo.activated.connect(lambda place: self._say(signal, combo.itemData(place)))
        return combo

    def _tell_frames(self) -> None:
        # To pass through is not to choose, and until the clip is read these are the last one's numbers.
        frames = self._first.value(), self._last.value()
        if self._frames is not None and frames != self._frames:
            self._say(self.frames_chosen, *frames)

    def _tell_folder(self) -> None:
        # No longer being typed: what becomes of it is to be shown.
        self._folder.setModified(False)
        self._say(self.folder_typed, self._folder.text())

    def _tell_space(self) -> None:
        self._say(self.color_space_chosen, self._space.currentText().strip() or "auto")

    def _tell_quality(self, place: int) -> None:
        minutes = float(self._quality.itemData(place))
        if minutes == 0:
            self._say(self.preview_quality)
        else:
            self._say(self.minutes_chosen, minutes if minutes > 0 else 10.0)

    def _say(self, signal: object, *values: object) -> None:
        if not self._quiet:
            signal.emit(*values)  # type: ignore[attr-defined] # a bound signal, which has no type of its own


def _may_shrink(combo: QComboBox) -> None:
    """A column is as wide as the artist makes it, not as its longest entry."""
    combo.setMinimumContentsLength(6)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)


def _grid() -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(8)
    grid.setVerticalSpacing(5)
    grid.setColumnStretch(1, 1)
    return grid


def _row(grid: QGridLayout, row: int, label: str, content: QWidget | QHBoxLayout) -> None:
    grid.addWidget(QLabel(label), row, 0)
    if isinstance(content, QHBoxLayout):
        grid.addLayout(content, row, 1)
    else:
        grid.addWidget(content, row, 1)
