"""What goes in, through the real window: what is typed, dropped and chosen is kept, and shown as it is."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("PySide6.QtWidgets", reason="the panel needs PySide6 and Qt's libraries", exc_type=ImportError)

from PySide6.QtCore import QCoreApplication, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit, QToolButton

from gui.panel_parts import FIRST, FRAMES, end_panel, make_panel, open_clip, write_two_objects
from penumbra.job import CameraSettings, FrameRange, OrderSettings, load_job
from penumbra.read.sequences import MOVIE_SUFFIXES
from penumbra_gui.controllers.compact import CompactController
from penumbra_gui.models.begun_job import read_begun_job
from penumbra_gui.models.clips import MOVIES, clip_of
from penumbra_gui.models.drops import sort_dropped
from penumbra_gui.models.host_pipe import EventRelay
from penumbra_gui.models.timeline import Timeline
from penumbra_gui.views.compact_window import CompactWindow
from penumbra_gui.views.layers import _Row as LayerRow

LAST = FIRST + FRAMES - 1


@pytest.fixture
def panel(app, spin, tmp_path, answers):
    made = make_panel(tmp_path / "home", answers)
    # Keys go to the active window, and without a window manager nobody else makes it that.
    made.window.activateWindow()
    spin(made.window.isActiveWindow, 20)
    yield made
    end_panel(made, spin)


@pytest.fixture
def other_clip(tmp_path):
    """A longer one, in another folder."""
    folder = tmp_path / "other"
    folder.mkdir()
    write_two_objects(folder, FRAMES + 4)
    return folder


def type_over(field, text, end=None):
    """As one types: over what is there, ended by a key or not at all."""
    field.setFocus()
    field.selectAll()
    QTest.keyClicks(field, text)
    if end is not None:
        QTest.keyClick(field, end)


def checked(panel, spin):
    """Until the engine has been asked for the last time and has answered."""
    edition = panel.session.edition
    panel.project.check()
    spin(lambda: panel.session.edition > edition)


def name_field(panel, name):
    fields = panel.window.masks.list.viewport().findChildren(QLineEdit)
    return next(field for field in fields if field.text() == name and not field.signalsBlocked())


def job_file(panel, path, **changes):
    path.write_text(replace(panel.session.project.job(), **changes).to_json())
    return str(path)


def drop(spin, widget, *paths):
    """Files let go over a widget; whether they were taken."""
    data, place = QMimeData(), QPoint(widget.width() // 2, widget.height() // 2)
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    window, where = widget.window().windowHandle(), widget.mapTo(widget.window(), place)
    action, button, keys = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    for event in (
        QDragEnterEvent(where, action, data, button, keys),
        QDragMoveEvent(where, action, data, button, keys),
        QDropEvent(QPointF(where), action, data, button, keys),
    ):
        QCoreApplication.sendEvent(window, event)
    spin(seconds=0.02, must=False)


def test_a_relative_output_folder_lies_beside_the_plate(panel, clip, spin):
    open_clip(panel, clip, spin)
    field = panel.window.form._folder
    type_over(field, "comp/../layers_b", Qt.Key.Key_Return)
    assert panel.session.project.folder == str(clip / "layers_b")
    assert field.text() == str(clip / "layers_b")
    type_over(field, "layers_b", Qt.Key.Key_Return)
    assert field.text() == str(clip / "layers_b")
    type_over(field, "~nobody_of_that_name/x", Qt.Key.Key_Return)
    assert "no home folder for ~nobody_of_that_name" in panel.window.messages.text
    assert panel.session.project.folder == field.text() == str(clip / "layers_b")
    type_over(field, "~/layers", Qt.Key.Key_Return)
    assert panel.session.project.folder == str(Path.home() / "layers")
    assert panel.window.messages.text == ""


def test_a_pattern_named_in_the_clip_s_own_folder_is_that_clip(panel, clip, spin, monkeypatch):
    monkeypatch.chdir(clip)
    panel.open(["plate.%04d.exr"])
    assert panel.session.project.plate.path == str(clip / "plate.%04d.exr")
    assert panel.session.project.folder == str(clip / "layers")
    spin(lambda: panel.session.facts is not None)


def test_a_half_typed_name_is_not_given_to_the_next_job_s_mask(panel, clip, other_clip, spin, tmp_path):
    open_clip(panel, other_clip, spin)
    job = job_file(panel, tmp_path / "shot.json")
    open_clip_anew(panel, clip, spin)
    type_over(name_field(panel, "car"), "half")
    panel.open([job])
    checked(panel, spin)
    spin(seconds=0.05, must=False)
    assert panel.session.project.names == ("dog", "car")
    masks = panel.window.masks
    assert sorted(field.text() for field in masks.list.viewport().findChildren(QLineEdit)) == ["car", "dog"]
    assert masks._names() == ["car", "dog"]


def open_clip_anew(panel, folder, spin):
    """Another clip in place of the open one."""
    panel.open_recent(str(folder / f"plate.{FIRST}.exr"))
    panel.open([str(folder / "dog.####.png"), str(folder / "car.####.png")])
    checked(panel, spin)


def test_a_name_being_typed_is_gone_on_with_when_the_rows_change(panel, clip, spin):
    open_clip(panel, clip, spin)
    type_over(name_field(panel, "car"), "bi")
    panel.window.masks.inverted.emit(0, True)
    spin(seconds=0.05, must=False)
    assert panel.session.project.names == ("dog", "car")
    field = name_field(panel, "bi")
    assert field.hasFocus()
    assert "car" not in [shown.text() for shown in panel.window.masks.findChildren(QLineEdit) if shown.isVisible()]
    QTest.keyClicks(field, "ke")
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert panel.session.project.names == ("dog", "bike")
    # A name as it was is no longer being typed.
    type_over(name_field(panel, "bike"), "bike", Qt.Key.Key_Return)
    panel.window.viewer.setFocus()
    panel.window.masks.inverted.emit(0, False)
    assert panel.window.viewer.hasFocus()


def test_a_folder_being_typed_outlasts_a_look_at_it_and_not_the_clip(panel, clip, other_clip, spin):
    open_clip(panel, clip, spin)
    field = panel.window.form._folder
    type_over(field, "/half/a/pa")
    checked(panel, spin)
    spin(seconds=0.1, must=False)
    assert field.text() == "/half/a/pa"
    open_clip_anew(panel, other_clip, spin)
    assert field.text() == panel.session.project.folder == str(other_clip / "layers")


def test_masks_chosen_before_the_plate_are_the_plate_s(panel, clip, spin, answers):
    answers.files = [str(clip / f"dog.{FIRST}.png"), str(clip / f"car.{FIRST}.png")]
    panel.act("add_masks")
    panel.open([str(clip / f"plate.{FIRST}.exr")])
    assert panel.session.project.names == ("dog", "car")
    panel.open_recent(str(clip / f"plate.{FIRST}.exr"))
    assert panel.session.project.names == (), "another clip has masks of its own"


def test_a_folder_of_masks_can_come_before_the_plate(panel, tmp_path, answers):
    answers.folder = str(tmp_path / "masks")
    Path(answers.folder).mkdir()
    for name in ("car.0001.png", "car.0002.png", "dog.0001.png"):
        (tmp_path / "masks" / name).touch()
    panel.act("add_mask_folder")
    assert panel.session.project.names == ("car", "dog")
    assert panel.session.project.plate is None


def test_numbered_movies_are_as_many_clips(tmp_path):
    movies = [str(tmp_path / f"person{number}.mov") for number in (1, 2, 3)]
    images = [str(tmp_path / f"person.{number}.png") for number in (1, 2, 3)]
    for path in (*movies, *images):
        Path(path).touch()
    assert sort_dropped([*movies, *images], has_plate=True).masks == (*movies, images[0])
    assert sort_dropped([str(tmp_path)], has_plate=True).masks[-3:] == tuple(movies)
    assert MOVIES == MOVIE_SUFFIXES


def test_a_sequence_is_the_same_clip_however_it_is_named():
    names = ("mask0_00001.png", "mask0_00002.png", "mask0_%05d.png", "mask0_#####.png", "mask0_@@@@@.png")
    assert len({clip_of(f"/shot/{name}") for name in names}) == 1
    assert clip_of("/shot/mask1_00001.png") != clip_of("/shot/mask0_00001.png")


def test_passing_through_the_frames_chooses_none(panel, clip, other_clip, spin, tmp_path):
    open_clip(panel, other_clip, spin)
    plate = replace(panel.session.project.plate, frames=FrameRange(FIRST + 1, FIRST + 2))
    job = job_file(panel, tmp_path / "shot.json", plate=plate)
    first, last = panel.window.form._first, panel.window.form._last
    first.setFocus()
    QTest.keyClick(first, Qt.Key.Key_Tab)
    assert panel.session.project.plate.frames is None
    panel.open_recent(str(clip / f"plate.{FIRST}.exr"))
    spin(lambda: panel.session.facts is not None and panel.session.facts.last == LAST)
    first.setFocus()
    panel.open([job])
    QTest.keyClick(first, Qt.Key.Key_Tab)
    QTest.keyClick(last, Qt.Key.Key_Return)
    assert panel.session.project.plate == plate
    checked(panel, spin)
    assert (first.value(), last.value()) == (FIRST + 1, FIRST + 2)
    type_over(last, str(FIRST + 3), Qt.Key.Key_Return)
    assert panel.session.project.plate.frames == FrameRange(FIRST + 1, FIRST + 3)


def test_a_plate_that_cannot_be_read_gets_no_frames(panel, tmp_path, spin):
    panel.open([str(tmp_path / "nowhere.exr")])
    spin(lambda: panel.session.verdict is not None)
    panel.window.form._first.setFocus()
    QTest.keyClick(panel.window.form._first, Qt.Key.Key_Tab)
    QTest.keyClick(panel.window.form._last, Qt.Key.Key_Return)
    assert panel.session.project.plate.frames is None


def test_what_is_wrong_with_typed_frames_stands_until_others_are_chosen(panel, clip, spin):
    open_clip(panel, clip, spin)
    form = panel.window.form
    type_over(form._first, str(FIRST + 4), Qt.Key.Key_Tab)
    type_over(form._last, str(FIRST + 1), Qt.Key.Key_Tab)
    assert "ends before it begins" in panel.window.messages.text
    checked(panel, spin)
    spin(seconds=0.2, must=False)
    assert "ends before it begins" in panel.window.messages.text
    type_over(form._last, str(FIRST + 5), Qt.Key.Key_Tab)
    assert panel.window.messages.text == ""


def test_in_and_out_points_and_playing_outlast_a_change_of_a_mask(panel, clip, spin):
    open_clip(panel, clip, spin)
    panel.viewer.go_to(FIRST + 2)
    panel.act("set_start")
    panel.viewer.go_to(FIRST + 4)
    panel.act("set_end")
    panel.act("play_on")
    panel.window.masks.inverted.emit(0, True)
    checked(panel, spin)
    line = panel.viewer.line
    assert (line.start, line.end, line.playing) == (FIRST + 2, FIRST + 4, True)
    panel.act("pause")
    panel.window.form.frames_chosen.emit(FIRST, FIRST + 3)
    checked(panel, spin)
    assert (panel.viewer.line.start, panel.viewer.line.end) == (FIRST, FIRST + 3)


def test_another_clip_of_the_same_length_has_in_and_out_points_of_its_own():
    line = Timeline.of_range(1, 10, 24.0).at(4).with_start().play(1)
    assert line.over(1, 10, 25.0, same=True) == replace(line, fps=25.0)
    assert line.over(1, 10, 24.0, same=False) == Timeline.of_range(1, 10, 24.0)


def seem_finished(panel, spin, frames):
    """Layers of these frames in the output folder, as a run that was stopped leaves them; there is nothing in them."""
    folder = Path(panel.session.project.folder)
    for name in (".penumbra", "background", *panel.session.project.names):
        (folder / name).mkdir(parents=True)
        for frame in frames:
            (folder / name / f"{name}.{frame}.exr").touch()
    (folder / ".penumbra" / "journal.json").write_text("{}")
    panel.project.look_at_folder()
    spin(lambda: panel.session.finished == frozenset(frames))


def press(panel, spin, widget, key):
    """A key as the system brings it: to the window, whose focus is on a widget."""
    widget.setFocus()
    assert widget.hasFocus()
    QTest.keyClick(panel.window.windowHandle(), key)
    spin(seconds=0.05, must=False)


def test_keys_work_the_control_that_has_the_focus(panel, clip, spin):
    open_clip(panel, clip, spin)
    seem_finished(panel, spin, range(FIRST, LAST + 1))
    window = panel.window
    before = window.form._previews.isChecked()
    press(panel, spin, window.form._previews, Qt.Key.Key_Space)
    assert panel.session.project.previews is not before
    assert not panel.viewer.line.playing
    slider = window.layers.findChildren(LayerRow)[0].opacity
    for key, value in ((Qt.Key.Key_Left, 99), (Qt.Key.Key_Home, 0), (Qt.Key.Key_End, 100)):
        press(panel, spin, slider, key)
        assert slider.value() == value
    assert panel.viewer.line.current == FIRST
    press(panel, spin, window.form._compression, Qt.Key.Key_Space)
    assert window.form._compression.view().isVisible()
    window.form._compression.hidePopup()


def test_keys_of_the_viewer_work_beside_the_control_s_own(panel, clip, spin):
    open_clip(panel, clip, spin)
    press(panel, spin, panel.window.form._previews, Qt.Key.Key_Right)
    assert panel.viewer.line.current == FIRST + 1
    press(panel, spin, panel.window.viewer, Qt.Key.Key_Space)
    assert panel.viewer.line.playing
    panel.act("pause")
    # What is clicked in passing does not keep the keys.
    assert panel.window.layers.findChildren(LayerRow)[0].opacity.focusPolicy() == Qt.FocusPolicy.TabFocus


def test_masks_are_listed_as_they_lie_over_each_other(panel, clip, spin, tmp_path):
    open_clip(panel, clip, spin)
    masks, layers = panel.window.masks, panel.window.layers
    panel.open([job_file(panel, tmp_path / "shot.json", order=(OrderSettings(("car", "dog")),))])
    checked(panel, spin)
    assert masks._names() == ["dog", "car"] == [row.name for row in layers._rows]
    # Each row is still its own mask's.
    type_over(name_field(panel, "car"), "bike", Qt.Key.Key_Return)
    assert panel.session.project.names == ("dog", "bike")
    assert panel.session.project.masks[1].path.endswith("car.####.png")
    assert panel.session.project.order_at(FIRST) == ("bike", "dog")
    assert masks._names() == ["dog", "bike"]
    masks.list.setCurrentRow(1)
    forward = next(b for b in masks.findChildren(QToolButton) if "forward" in b.accessibleName())
    QTest.mouseClick(forward, Qt.MouseButton.LeftButton)
    assert panel.session.project.order_at(FIRST) == ("dog", "bike")
    assert masks._names() == ["bike", "dog"]


def test_a_camera_of_a_file_is_shown_and_kept(panel, clip, spin, tmp_path):
    open_clip(panel, clip, spin)
    combo = panel.window.form._camera
    camera = CameraSettings("file", str(tmp_path / "camera.json"))
    panel.open([job_file(panel, tmp_path / "shot.json", camera=camera)])
    assert combo.currentText() == "From a file"
    for mode in ("file", "locked"):
        panel.window.form.camera_chosen.emit(mode)
        assert panel.session.project.camera == (camera if mode == "file" else CameraSettings("locked"))
    assert [combo.itemData(place) for place in range(combo.count())] == ["auto", "locked"]
    assert combo.currentData() == "locked"


def test_a_job_dropped_on_the_masks_is_opened(panel, clip, spin, tmp_path):
    open_clip(panel, clip, spin)
    job = job_file(panel, tmp_path / "shot.json", camera=CameraSettings("locked"))
    drop(spin, panel.window.masks.list.viewport(), job)
    assert panel.session.project.camera == CameraSettings("locked")
    assert panel.session.project.names == ("dog", "car")


def test_a_host_s_job_is_not_replaced_by_one_that_is_dropped(app, clip, spin, tmp_path):
    body = '{{"penumbra_job": 1, "plate": {{"path": "{}"}}, "masks": [], "output": {{"folder": "{}"}}}}'
    hosts, others = tmp_path / "host.json", tmp_path / "other.json"
    for path in (hosts, others):
        path.write_text(body.format(clip / "plate.####.exr", tmp_path / path.stem))
    job, whole = read_begun_job(hosts)
    window = CompactWindow()
    controller = CompactController(hosts, job, whole, False, EventRelay(lambda _line: None), window, lambda: None)
    try:
        window.masks.dropped.emit([str(others)])
        assert "other.json is no mask" in window.messages.text
        assert controller.session.project.folder == str(tmp_path / "host")
    finally:
        controller.close()
        window.deleteLater()
        controller.loop.deleteLater()
        spin(seconds=0.1, must=False)


def test_a_mask_dropped_twice_is_said_to_be(panel, clip, spin):
    open_clip(panel, clip, spin)
    panel.open([str(clip / f"car.{FIRST + 2}.png")])
    checked(panel, spin)
    assert panel.session.project.names == ("dog", "car", "car_2")
    assert f"now one more object: car.{FIRST + 2}.png" in panel.window.messages.text
    panel.window.masks.removed.emit(2)
    assert panel.window.messages.text == ""


def test_the_wipe_s_line_is_not_left_over_the_plate(panel, clip, spin):
    open_clip(panel, clip, spin)
    bar, viewer = panel.window.bar, panel.window.viewer
    seem_finished(panel, spin, (FIRST, FIRST + 1))
    panel.act("wipe")
    assert viewer._wipe is not None
    QTest.mouseClick(bar._plate, Qt.MouseButton.LeftButton)
    assert viewer._wipe is None
    assert not bar._wipe.isChecked()
    panel.act("wipe")
    assert (panel.viewer.view.compare, panel.viewer.view.content) == ("wipe", "layers")
    assert viewer._wipe is not None
    # A frame that has no layers is shown as the plate.
    panel.viewer.go_to(LAST)
    spin(lambda: viewer._wipe is None)


def test_the_frame_offsets_of_masks_are_kept(panel, clip, spin, tmp_path, answers):
    open_clip(panel, clip, spin)
    dog, car = panel.session.project.masks
    panel.open([job_file(panel, tmp_path / "shot.json", masks=(replace(dog, offset=0), replace(car, offset=-2)))])
    spin(lambda: panel.session.verdict is not None)
    assert panel.session.verdict.masks[1].sentences, "the engine is told of it: what it moves away is missing"
    type_over(name_field(panel, "car"), "bike", Qt.Key.Key_Return)
    panel.window.masks.inverted.emit(1, True)
    panel.window.masks.reordered.emit(["bike", "dog"])
    answers.target = str(tmp_path / "saved.json")
    panel.output.act("job")
    assert [(mask.name, mask.offset) for mask in load_job(tmp_path / "saved.json").masks] == [("bike", -2), ("dog", 0)]
