"""Makes the pictures of docs/panel.md: the real window, a real engine, a rendered clip.

``python docs/panel_pictures.py [FOLDER] [SCALE] [SAMPLE]`` writes ``panel_*.png``, 1280x800 points, into FOLDER
(docs/images). SAMPLE is a clip that ``penumbra synth`` has rendered; without it one is rendered.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

SCALE = sys.argv[2] if len(sys.argv) > 2 else "1"
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["QT_SCALE_FACTOR"] = SCALE

import cv2  # noqa: E402 # the scale has to stand before Qt is loaded
from PySide6.QtCore import QEventLoop, QPoint  # noqa: E402 # the scale has to stand before Qt is loaded
from PySide6.QtGui import QPixmap  # noqa: E402
from PySide6.QtWidgets import QApplication, QWidget  # noqa: E402

from penumbra.job import MaskSettings, RefineSettings, load_job  # noqa: E402
from penumbra_gui.app import Panel  # noqa: E402
from penumbra_gui.controllers.compact import CompactController  # noqa: E402
from penumbra_gui.models.engine_setup import make_sample  # noqa: E402
from penumbra_gui.models.host_pipe import EventRelay  # noqa: E402
from penumbra_gui.views.compact_window import CompactWindow  # noqa: E402
from penumbra_gui.views.dialogs import PreferencesDialog, ShortcutsDialog  # noqa: E402
from penumbra_gui.views.theme import apply_theme  # noqa: E402

STEPS, PATIENCE = 24, 600.0


def spin(app: QApplication, until: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Runs the event loop until a condition, which has to come, or for a few seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
        time.sleep(0.005)
    if seconds >= PATIENCE and not until():
        raise TimeoutError("what was waited for never came")


def main() -> None:
    """All pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"
    app = QApplication(["penumbra"])
    apply_theme(app)
    with tempfile.TemporaryDirectory() as home:
        os.chdir(home)
        if len(sys.argv) > 3:
            shutil.copytree(sys.argv[3], "clip", ignore=shutil.ignore_patterns("layers*"))
        job = make_sample(None, Path("clip"))
        panel = Panel(Path(home))
        panel.window.resize(1280, 800)
        panel.window.show()
        draw(app, panel, job, lambda name, widget: widget.grab().save(str(folder / f"panel_{name}.png")))
        panel.close()
        draw_compact(app, job).save(str(folder / "panel_compact.png"))
    panel.window.deleteLater()


def draw_compact(app: QApplication, job_file: Path) -> QPixmap:
    """The small window of a host while it refines."""
    job = load_job(job_file)
    begun = replace(job, output=replace(job.output, folder="compact"), refine=RefineSettings(steps=STEPS))
    controller = CompactController(
        Path("compact.json").absolute(), begun.resolved(Path.cwd()), True, False, EventRelay(lambda _line: None),
        CompactWindow(), lambda: None,
    )  # fmt: skip
    controller.window.show()
    controller.begin()
    spin(app, lambda: bool(controller.run.state.preview) and len(controller.run.state.losses) > 7)
    spin(app, lambda: False, 1)
    # Where the pictures are made is nobody's business.
    controller.window.show_clip(Path(job.plate.path).name, "layers")
    rows = controller.window.masks._shown or ()
    controller.window.masks.show_rows(tuple(replace(row, path=Path(row.path).name) for row in rows))
    picture = controller.window.grab()
    controller.close()
    return picture


def misfit(mask: MaskSettings) -> MaskSettings:
    """The same mask, made for a proxy of another shape."""
    whole = Path(mask.path)
    folder = whole.parent / "proxy"
    folder.mkdir()
    for frame in range(24):
        picture = cv2.imread(str(whole.parent / (whole.name % frame)))
        cv2.imwrite(str(folder / (whole.name % frame)), cv2.resize(picture, (160, 90)))
    return replace(mask, path=str(folder / whole.name))


def draw(app: QApplication, panel: Panel, job: Path, save: Callable[[str, QWidget], object]) -> None:
    """The window at every step of a job."""
    window, still = panel.window, lambda: spin(app, lambda: False, 2)
    spin(app, lambda: panel.setup.report.version != "")
    save("welcome", window)
    panel.open([str(job)])
    spin(app, lambda: panel.session.facts is not None)
    panel.project.take_project(replace(panel.session.project, refine=RefineSettings(steps=STEPS)))
    spin(app, lambda: window.viewer._whole is not None and panel.session.facts is not None)
    panel.viewer.go_to(12)
    still()
    save("clip", window)
    chosen = panel.session.project
    panel.project.take_project(replace(chosen, masks=(chosen.masks[0], misfit(chosen.masks[1]))))
    spin(app, lambda: panel.session.verdict is not None and not panel.session.verdict.usable)
    still()
    save("mask_error", window)
    panel.project.take_project(chosen)
    spin(app, lambda: panel.session.verdict is not None and panel.session.verdict.usable)
    panel.viewer.go_to(12)
    panel.act("start")
    spin(app, lambda: bool(panel.run.state.preview) and len(panel.run.state.losses) > 7)
    still()
    save("refine", window)
    window.run.watch.setChecked(True)
    still()
    save("watch", window)
    window.run.watch.setChecked(False)
    panel.act("stop")
    spin(app, lambda: not panel.run.active)
    still()
    save("stopped", window)
    panel.act("start")
    spin(app, lambda: panel.run.active)
    spin(app, lambda: not panel.run.active)
    spin(app, lambda: panel.session.output is not None, 20)
    panel.act("wipe")
    still()
    save("wipe", window)
    panel.act("difference")
    panel.viewer.change("gain", 256.0)
    panel.act("log")
    still()
    save("difference", window)
    panel.act("log")
    panel.act("difference")
    panel.viewer.change("outlines", False)
    window.layers.without.emit("obj0")
    still()
    save("without", window)
    window.layers.without.emit("")
    window.layers.soloed.emit("obj0")
    window.layers.backdrop_chosen.emit("checkerboard")
    window.viewer.pointed.emit(200, 90)
    still()
    save("layers", window)
    # Where the engine lies, and on what system, is the business of the machine that draws alone.
    report = "\n".join(line for line in panel.setup.report.lines if not line.startswith(("/", "Penumbra ")))
    for name, dialog in (
        ("preferences", PreferencesDialog(panel.preferences, report, window)),
        ("shortcuts", ShortcutsDialog(window)),
    ):
        dialog.move(QPoint(60, 60))
        dialog.show()
        still()
        save(name, dialog)
        dialog.close()


if __name__ == "__main__":
    main()
