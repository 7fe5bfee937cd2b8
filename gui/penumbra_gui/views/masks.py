"""The list of masks, the front one on top: colour, name, channel, inversion, order."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor, QDrag, QDragEnterEvent, QDragMoveEvent, QDropEvent, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QGridLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from penumbra_gui.views.dropping import dropped_files
from penumbra_gui.views.parts import ElidedLabel, faint, section, tool
from penumbra_gui.views.theme import BAD, WARM, icon


@dataclass(frozen=True)
class MaskRow:
    """What a row shows. ``index``: the mask's in the project; ``choices`` of the channel picker as a job file spells
    them; ``note`` what is to be said.
    """

    index: int
    name: str
    path: str
    color: tuple[int, int, int]
    channel: str
    choices: tuple[str, ...]
    invert: bool
    note: str = ""
    severity: str = ""


# Index, name and path of a mask, and the name half typed for it.
_Typed = tuple[int, str, str, str]


class _Row(QWidget):
    """One mask."""

    def __init__(self, row: MaskRow, view: MasksView) -> None:
        super().__init__()
        self._row, self._view, self._index = row, view, row.index
        grid = QGridLayout(self)
        grid.setContentsMargins(4, 4, 4, 4)
        grid.setHorizontalSpacing(4)
        grid.setVerticalSpacing(3)
        grip = QLabel()
        grip.setPixmap(icon("grip").pixmap(QSize(14, 14)))
        grip.setToolTip(self.tr("Drag to change the order"))
        swatch = QLabel()
        pixmap = QPixmap(10, 22)
        pixmap.fill(QColor(*row.color))
        swatch.setPixmap(pixmap)
        self.name = QLineEdit(row.name)
        self.name.setAccessibleName(self.tr("Name of mask {0}").format(row.name))
        self.name.setToolTip(row.name)
        self.name.setCursorPosition(0)
        self.name.editingFinished.connect(self._rename)
        invert = tool("invert", self.tr("Invert mask {0}").format(row.name))
        invert.setCheckable(True)
        invert.setChecked(row.invert)
        invert.toggled.connect(lambda on: view.inverted.emit(row.index, on))
        remove = tool("remove", self.tr("Remove mask {0}").format(row.name), lambda: view.removed.emit(row.index))
        grid.addWidget(grip, 0, 0)
        grid.addWidget(swatch, 0, 1)
        grid.addWidget(self.name, 0, 2)
        grid.addWidget(self._picker(), 0, 3)
        grid.addWidget(invert, 0, 4)
        grid.addWidget(remove, 0, 5)
        grid.addWidget(self._note(), 1, 2, 1, 4)
        grid.setColumnStretch(2, 1)

    def _note(self) -> QLabel:
        """Where the mask is; what is wrong with it is worth more room than one line."""
        if self._row.note:
            note = faint(self._row.note)
            note.setStyleSheet(f"color: {BAD if self._row.severity == 'error' else WARM};")
            note.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            return note
        path = ElidedLabel(self._row.path, left=True)
        path.setObjectName("faint")
        return path

    def _picker(self) -> QComboBox:
        picker = QComboBox()
        picker.setAccessibleName(self.tr("Channel of mask {0}").format(self._row.name))
        picker.setToolTip(self.tr("Which channel, or which value of an ID image, is this mask"))
        picker.setFixedWidth(98)
        picker.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        choices = list(dict.fromkeys((*self._row.choices, self._row.channel)))
        for choice in choices:
            picker.addItem(_spoken(choice), choice)
            if choice.startswith("color:"):
                pixmap = QPixmap(12, 12)
                pixmap.fill(QColor("#" + choice.removeprefix("color:")))
                picker.setItemIcon(picker.count() - 1, pixmap)
        if sum(choice.startswith(("id:", "color:")) for choice in choices) > 1:
            picker.insertSeparator(picker.count())
            picker.addItem(self.tr("One mask per value"), "")
        picker.setCurrentIndex(choices.index(self._row.channel))
        picker.view().setMinimumWidth(170)
        picker.activated.connect(lambda place: self._pick(picker.itemData(place)))
        return picker

    def _pick(self, choice: str) -> None:
        if choice:
            self._view.channel_chosen.emit(self._index, choice)
        else:
            self._view.split_asked.emit(self._index)

    def _rename(self) -> None:
        typed = self.name.text()
        # A name that is taken over stands in a new row; one that is refused must not stay here.
        self.name.setText(self._row.name)
        if typed != self._row.name:
            self._view.renamed.emit(self._index, typed)

    def leave(self) -> _Typed | None:
        """What is being typed, to go on with in the row that comes in this one's place; nothing is told of it."""
        self.name.blockSignals(True)
        row = self._row
        return (row.index, row.name, row.path, self.name.text()) if self.name.isModified() else None

    def go_on(self, typed: _Typed) -> None:
        """Takes over what was being typed, if it was this mask's name."""
        if typed[:3] == (self._row.index, self._row.name, self._row.path):
            self.name.setFocus()
            self.name.selectAll()
            self.name.insert(typed[3])


class _List(QListWidget):
    """Reorders by dragging within, and takes files dropped from outside."""

    reordered = Signal()
    files = Signal(list)
    resized = Signal()

    def startDrag(self, actions: Qt.DropAction) -> None:  # noqa: N802 # Qt's name
        """Carries the row as it looks; Qt's own picture of it would lack its widget."""
        row = self.itemWidget(self.currentItem())
        if row is not None:
            drag = QDrag(self)
            drag.setMimeData(self.mimeData([self.currentItem()]))
            drag.setPixmap(row.grab())
            drag.setHotSpot(row.mapFromGlobal(self.cursor().pos()))
            drag.exec(Qt.DropAction.MoveAction)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 # Qt's name
        """Sentences in the rows break anew."""
        super().resizeEvent(event)
        self.resized.emit()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 # Qt's name
        """Takes files and its own rows."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()
        else:
            super().dragEnterEvent(event)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:  # noqa: N802 # Qt's name
        """As above."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()
        else:
            super().dragMoveEvent(event)

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 # Qt's name
        """Hands files on; else moves a row."""
        if event.mimeData().hasUrls():
            self.files.emit(dropped_files(event))
        else:
            super().dropEvent(event)
            self.reordered.emit()


class MasksView(QWidget):
    """Indices are the project's; the list shows the front one on top.

    ``split_asked``: one mask for each value of an ID image, in place of this one.
    """

    add_asked = Signal()
    renamed = Signal(int, str)
    channel_chosen = Signal(int, str)
    split_asked = Signal(int)
    inverted = Signal(int, bool)
    removed = Signal(int)
    reordered = Signal(list)
    dropped = Signal(list)

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[MaskRow, ...] | None = None
        self.list = _List()
        self.list.setDragDropMode(QAbstractItemView.DragDropMode.DragDrop)
        self.list.setDefaultDropAction(Qt.DropAction.MoveAction)
        self.list.setAccessibleName(self.tr("Masks, front to back"))
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.reordered.connect(self._tell_order)
        self.list.files.connect(self.dropped)
        self.list.resized.connect(self._fit_rows)
        self._empty = faint(self.tr("One roto mask per object: drop sequences or movies here, front to back."))
        self._order = faint(self.tr("In front on top; drag to change."))
        buttons = (
            tool("up", self.tr("Bring the selected mask forward"), lambda: self._move(-1)),
            tool("down", self.tr("Send the selected mask back"), lambda: self._move(1)),
            tool("add", self.tr("Add masks"), self.add_asked.emit),
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(section(self.tr("Masks"), self._empty, self.list, self._order, buttons=buttons))

    def show_rows(self, rows: tuple[MaskRow, ...]) -> None:
        """All masks, back to front. Rows that are as they were are left alone: someone may be typing in one."""
        if rows == self._shown:
            return
        self._shown = rows
        selected = self.list.currentRow()
        # A row that goes loses the focus, which would end the typing in it and tell its name as another mask's.
        typed = [row.leave() for row in self._rows()]
        self.list.clear()
        for row in reversed(rows):
            item = QListWidgetItem()
            item.setData(Qt.ItemDataRole.UserRole, row.name)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, row.name)
            # Between rows only: one mask is not put into another.
            item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsDropEnabled)
            self.list.addItem(item)
            self.list.setItemWidget(item, _Row(row, self))
        self.list.setCurrentRow(min(selected, self.list.count() - 1))
        self.list.setVisible(bool(rows))
        self._order.setVisible(len(rows) > 1)
        self._empty.setVisible(not rows)
        self._fit_rows()
        for begun in filter(None, typed):
            for shown in self._rows():
                shown.go_on(begun)

    def _rows(self) -> list[_Row]:
        widgets = [self.list.itemWidget(self.list.item(place)) for place in range(self.list.count())]
        return [widget for widget in widgets if isinstance(widget, _Row)]

    def _fit_rows(self) -> None:
        """Rows as high as what they say, the list as high as its rows up to a bound."""
        total, width = 10, self.list.viewport().width()
        for place in range(self.list.count()):
            item = self.list.item(place)
            row = self.list.itemWidget(item)
            if row is None:  # being filled
                continue
            height = row.heightForWidth(width) if row.hasHeightForWidth() else row.sizeHint().height()
            item.setSizeHint(QSize(0, height))
            total += height
        self.list.setFixedHeight(min(max(total, 60), 300))

    def _names(self) -> list[str]:
        return [str(self.list.item(row).data(Qt.ItemDataRole.UserRole)) for row in range(self.list.count())]

    def _tell_order(self) -> None:
        self.reordered.emit(self._names()[::-1])

    def _move(self, by: int) -> None:
        names, row = self._names(), self.list.currentRow()
        if 0 <= row < len(names) and 0 <= row + by < len(names):
            names[row], names[row + by] = names[row + by], names[row]
            self.list.setCurrentRow(row + by)
            self.reordered.emit(names[::-1])


def _spoken(choice: str) -> str:
    kind, _, value = choice.partition(":")
    return {"id": f"ID {value}", "channel": value, "color": f"#{value}"}.get(kind, choice)
