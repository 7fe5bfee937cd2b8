"""The dark look: one palette, one style sheet, and icons drawn as SVG so that they are sharp at any scale."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PySide6.QtCore import QByteArray, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

GROUND, RAISED, SUNKEN, LINE = "#242628", "#2e3134", "#1a1c1d", "#3d4145"
TEXT, FAINT, ACCENT, WARM, BAD = "#d9dcde", "#8d9398", "#e0a44c", "#d8b35a", "#e2685c"
GOOD = "#7fb77e"
MONOSPACE = "font-family: 'DejaVu Sans Mono', Consolas, Menlo, monospace;"
_IMAGES = (Path(__file__).parent / "images").as_posix()

_SHEET = f"""
QWidget {{ background: {GROUND}; color: {TEXT}; }}
QToolTip {{ background: {RAISED}; color: {TEXT}; border: 1px solid {LINE}; padding: 3px; }}
QMenuBar {{ background: {GROUND}; border-bottom: 1px solid {SUNKEN}; }}
QMenuBar::item {{ padding: 4px 9px; background: transparent; }}
QMenuBar::item:selected, QMenu::item:selected {{ background: {LINE}; }}
QMenu {{ background: {RAISED}; border: 1px solid {LINE}; padding: 4px; }}
QMenu::item {{ padding: 4px 24px 4px 20px; }}
QMenu::item:disabled {{ color: {FAINT}; }}
QMenu::separator {{ height: 1px; background: {LINE}; margin: 4px 6px; }}
QPushButton, QToolButton {{ background: {RAISED}; border: 1px solid {LINE}; border-radius: 4px; padding: 4px 10px; }}
QToolButton {{ padding: 3px 5px; }}
QPushButton:hover, QToolButton:hover {{ border-color: {FAINT}; }}
QPushButton:pressed, QToolButton:pressed {{ background: {SUNKEN}; }}
QPushButton:disabled, QToolButton:disabled {{ color: #6b7075; border-color: {RAISED}; }}
QPushButton:checked, QToolButton:checked {{ background: #54452c; border-color: {ACCENT}; color: #f2dcb7; }}
QPushButton:focus, QToolButton:focus, QLineEdit:focus, QComboBox:focus, QAbstractSpinBox:focus, QListWidget:focus
  {{ border-color: {ACCENT}; }}
QPushButton#primary {{ background: {ACCENT}; color: #1c1408; border-color: {ACCENT}; font-weight: 600; }}
QPushButton#primary:hover {{ background: #ecb463; }}
QPushButton#primary:disabled {{ background: #4c4333; color: #8b826f; border-color: #4c4333; }}
QToolButton#flat {{ background: transparent; border-color: transparent; }}
QToolButton#flat:hover {{ background: {LINE}; }}
QToolButton#flat:checked {{ background: #54452c; }}
QLineEdit, QComboBox, QAbstractSpinBox, QPlainTextEdit, QListWidget
  {{ background: {SUNKEN}; border: 1px solid {LINE}; border-radius: 4px; padding: 3px 6px;
    selection-background-color: #7a5c2d; }}
QListWidget {{ padding: 2px; }}
QListWidget::item {{ border-radius: 4px; }}
QListWidget::item:selected {{ background: #37332c; }}
QLineEdit:disabled, QComboBox:disabled, QAbstractSpinBox:disabled {{ color: {FAINT}; }}
QComboBox::drop-down {{ border: none; width: 18px; }}
QComboBox::down-arrow {{ image: url("{_IMAGES}/down.svg"); width: 10px; height: 10px; }}
QComboBox::down-arrow:disabled {{ image: none; }}
QComboBox QLineEdit, QAbstractSpinBox QLineEdit {{ border: none; background: transparent; padding: 0; }}
QComboBox QAbstractItemView {{ background: {RAISED}; border: 1px solid {LINE}; selection-background-color: #54452c; }}
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {{ width: 0; border: none; }}
QDialogButtonBox {{ dialogbuttonbox-buttons-have-icons: 0; }}
QCheckBox {{ spacing: 7px; background: transparent; }}
QCheckBox::indicator {{ width: 14px; height: 14px; border-radius: 3px; }}
QCheckBox::indicator:unchecked {{ background: {SUNKEN}; border: 1px solid #565c61; }}
QCheckBox::indicator:hover {{ border-color: {FAINT}; }}
QCheckBox::indicator:checked {{ background: {ACCENT}; border: 1px solid {ACCENT}; image: url("{_IMAGES}/check.svg"); }}
QCheckBox::indicator:disabled {{ border-color: {LINE}; }}
QCheckBox::indicator:checked:disabled {{ background: #4c4333; border-color: #4c4333; }}
QCheckBox:focus {{ color: #f2dcb7; }}
QLabel {{ background: transparent; }}
QLabel#heading {{ color: {TEXT}; font-weight: 600; }}
QLabel#faint {{ color: {FAINT}; }}
QLabel#dropping {{ background: rgba(26, 28, 29, 160); border: 2px solid {ACCENT}; border-radius: 6px; color: {TEXT};
  font-size: 15pt; font-weight: 300; }}
QFrame#dropzone {{ border: 1px dashed #5c6368; border-radius: 8px; }}
QLabel#title {{ font-size: 18pt; font-weight: 300; }}
QProgressBar {{ background: {SUNKEN}; border: 1px solid {LINE}; border-radius: 4px; text-align: center; height: 16px; }}
QProgressBar::chunk {{ background: #8a6a35; border-radius: 3px; }}
QSlider {{ background: transparent; }}
QSlider::groove:horizontal {{ height: 4px; background: {SUNKEN}; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: #8a6a35; border-radius: 2px; }}
QSlider::sub-page:horizontal:disabled {{ background: {LINE}; }}
QSlider::handle:horizontal {{ width: 12px; margin: -5px 0; border-radius: 6px; background: {TEXT}; }}
QSlider::handle:horizontal:disabled {{ background: #6b7075; }}
QSplitter::handle {{ background: {SUNKEN}; }}
QSplitter::handle:horizontal {{ width: 3px; }}
QSplitter::handle:vertical {{ height: 3px; }}
QScrollArea {{ border: none; }}
QScrollBar:vertical {{ background: {GROUND}; width: 10px; margin: 0; }}
QScrollBar:horizontal {{ background: {GROUND}; height: 10px; margin: 0; }}
QScrollBar::handle {{ background: {LINE}; border-radius: 4px; min-height: 24px; min-width: 24px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
QStatusBar {{ background: {SUNKEN}; }}
QStatusBar QLabel {{ color: {FAINT}; padding: 0 6px; }}
QStatusBar::item {{ border: none; }}
QStatusBar QToolButton {{ padding: 0 8px; }}
QFrame#section {{ border: none; border-bottom: 1px solid {SUNKEN}; }}
QFrame#bar {{ background: {RAISED}; border: none; }}
QFrame#bar QLabel {{ background: transparent; }}
QFrame#error {{ background: #43292a; border: 1px solid {BAD}; border-radius: 4px; }}
QFrame#warning {{ background: #3f382a; border: 1px solid {WARM}; border-radius: 4px; }}
QFrame#note {{ background: #2b3a2f; border: 1px solid {GOOD}; border-radius: 4px; }}
QFrame#error QLabel, QFrame#warning QLabel, QFrame#note QLabel {{ background: transparent; }}
"""

_STROKE = f'fill="none" stroke="{TEXT}" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"'
_SOLID = f'fill="{TEXT}" stroke="none"'
_SHAPES = {
    "eye": f'<path {_STROKE} d="M1.5 8C4 3.8 12 3.8 14.5 8 12 12.2 4 12.2 1.5 8Z"/>'
    f'<circle cx="8" cy="8" r="2" {_SOLID}/>',
    "eye_off": f'<path {_STROKE} stroke-opacity=".4" d="M1.5 8C4 12.2 12 12.2 14.5 8M3 3l10 10"/>',
    "play": f'<path {_SOLID} d="M4 2.5v11l9-5.5z"/>',
    "play_back": f'<path {_SOLID} d="M12 2.5v11L3 8z"/>',
    "pause": f'<path {_SOLID} d="M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z"/>',
    "step_on": f'<path {_SOLID} d="M3 3v10l6.5-5zM11 3h2v10h-2z"/>',
    "step_back": f'<path {_SOLID} d="M13 3v10L6.5 8zM3 3h2v10H3z"/>',
    "to_start": f'<path {_SOLID} d="M8.5 3v10L3.5 8zM14 3v10L9 8zM1.5 3H3v10H1.5z"/>',
    "to_end": f'<path {_SOLID} d="M7.5 3v10l5-5zM2 3v10l5-5zM13 3h1.500v10H13z"/>',
    "loop": f'<path {_STROKE} d="M3 8a5 5 0 0 1 8.6-3.5L13 6M13 2.5V6H9.5"/>'
    f'<path {_STROKE} d="M13 8a5 5 0 0 1-8.6 3.5L3 10M3 13.5V10h3.5"/>',
    "add": f'<path {_STROKE} d="M8 3v10M3 8h10"/>',
    "remove": f'<path {_STROKE} d="M4 4l8 8M12 4l-8 8"/>',
    "up": f'<path {_STROKE} d="M4 10l4-4 4 4"/>',
    "down": f'<path {_STROKE} d="M4 6l4 4 4-4"/>',
    "folder": f'<path {_STROKE} d="M1.800 4.500v8h12.400v-6.800H7.500L6 3.800H1.800z"/>',
    "grip": f'<path {_STROKE} stroke-opacity=".5" d="M4 5h8M4 8h8M4 11h8"/>',
    "invert": f'<circle cx="8" cy="8" r="5.500" {_STROKE}/><path {_SOLID} d="M8 2.500a5.500 5.500 0 0 1 0 11z"/>',
    "cut": f'<rect x="2" y="2" width="12" height="12" rx="1.500" stroke-dasharray="2.500 2.500" {_STROKE}/>'
    f'<path {_STROKE} d="M5.500 5.500l5 5M10.500 5.500l-5 5"/>',
}  # fmt: skip
# A disc and the half shadow it throws.
_EMBLEM = (
    f'<rect width="16" height="16" rx="3.500" fill="{SUNKEN}"/>'
    f'<circle cx="9.500" cy="9.500" r="4.500" fill="{ACCENT}" fill-opacity=".35"/>'
    f'<circle cx="6.800" cy="6.800" r="4.200" fill="{ACCENT}"/>'
)


def apply_theme(app: QApplication) -> None:
    """Dresses the application."""
    app.setStyle("Fusion")
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: GROUND,
        QPalette.ColorRole.WindowText: TEXT,
        QPalette.ColorRole.Base: SUNKEN,
        QPalette.ColorRole.AlternateBase: RAISED,
        QPalette.ColorRole.Text: TEXT,
        QPalette.ColorRole.Button: RAISED,
        QPalette.ColorRole.ButtonText: TEXT,
        QPalette.ColorRole.Highlight: "#7a5c2d",
        QPalette.ColorRole.HighlightedText: "#ffffff",
        QPalette.ColorRole.PlaceholderText: FAINT,
        QPalette.ColorRole.ToolTipBase: RAISED,
        QPalette.ColorRole.ToolTipText: TEXT,
        QPalette.ColorRole.Link: ACCENT,
    }
    for role, color in roles.items():
        palette.setColor(role, QColor(color))
    app.setPalette(palette)
    font = app.font()
    font.setPointSizeF(9.0)
    app.setFont(font)
    app.setStyleSheet(_SHEET)
    app.setWindowIcon(_drawn(_EMBLEM, (16, 32, 48, 64, 128, 256)))


@cache
def icon(name: str) -> QIcon:
    """An icon of the panel's own."""
    return _drawn(_SHAPES[name], (16, 32, 48))


def _drawn(shape: str, sizes: tuple[int, ...]) -> QIcon:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">{shape}</svg>'
    renderer = QSvgRenderer(QByteArray(svg.encode()))
    made = QIcon()
    for size in sizes:
        pixmap = QPixmap(QSize(size, size))
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        renderer.render(painter)
        painter.end()
        made.addPixmap(pixmap)
    return made
