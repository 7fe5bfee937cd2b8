"""A panel on a small clip, with answers ready for what it would ask."""

import threading
from dataclasses import replace

import numpy as np

from engine.tiny_clip import write_image
from penumbra.job import RefineSettings
from penumbra_gui.app import Panel

FIRST, FRAMES, SIZE = 1001, 8, (72, 96)


class Answers:
    """Dialogs that answer at once; ``asked`` keeps the questions."""

    def __init__(self):
        self.files, self.folder, self.target, self.yes, self.directory = [], "", "", True, ""
        self.asked, self.copied, self.revealed = [], [], []
        self.changed = None

    def open_files(self, title, several):
        return self.files

    def open_folder(self, title, start=""):
        return self.folder

    def save_file(self, title, start):
        return self.target

    def confirm(self, text, yes):
        self.asked.append(text)
        return self.yes

    def preferences(self, current, report):
        return self.changed

    def shortcuts(self):
        self.asked.append("shortcuts")

    def reveal(self, folder):
        self.revealed.append(folder)

    def copy(self, text):
        self.copied.append(text)


def write_two_objects(folder, frames=FRAMES, size=SIZE):
    """plate.1001.exr, car.1001.png, dog.1001.png ...: two boxes with shadows cross a grey ground."""
    height, width = size
    ground = (0.3 + 0.05 * np.random.default_rng(3).random((height, width, 3))).astype(np.float32)
    for index in range(frames):
        plate = ground.copy()
        for name, top, color, step in (("car", 12, (0.7, 0.2, 0.1), 1), ("dog", 44, (0.1, 0.5, 0.2), -1)):
            mask = np.zeros(size, np.float32)
            left = 6 + (index if step > 0 else frames - 1 - index) * (width - 26) // frames
            mask[top : top + 10, left : left + 12] = 1
            plate[top + 10 : top + 15, left : left + 12] *= 0.5
            plate[mask > 0] = color
            write_image(folder / f"{name}.{FIRST + index}.png", mask)
        write_image(folder / f"plate.{FIRST + index}.exr", plate)


def open_clip(panel, folder, spin, steps=None):
    """Plate and both masks chosen and checked, without refinement unless ``steps`` says so."""
    panel.open([str(folder / "plate.####.exr")])
    panel.open([str(folder / "dog.####.png"), str(folder / "car.####.png")])
    spin(lambda: panel.session.verdict is not None and len(panel.session.verdict.masks) == 2)
    panel.project.take_project(replace(panel.session.project, refine=RefineSettings(steps=steps)))
    spin(lambda: panel.session.verdict is not None and panel.session.verdict.usable)


def make_panel(home, answers=None):
    """A panel that is shown, with dialogs that answer by themselves."""
    # The doctor imports torch, which is seconds of work that no test here is about.
    panel = Panel(home, answers or Answers(), examine=False)
    panel.window.show()
    return panel


def end_panel(panel, spin):
    """Closes a panel and sees that nothing of it is left: no thread, no process, no widget."""
    from PySide6.QtWidgets import QApplication

    panel.close()
    panel.window.deleteLater()
    panel.loop.deleteLater()
    spin(seconds=0.1, must=False)
    assert panel.service._process is None or panel.service._process.poll() is not None
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("panel", "engine"))]
    assert [widget for widget in QApplication.topLevelWidgets() if widget.isVisible()] == []
