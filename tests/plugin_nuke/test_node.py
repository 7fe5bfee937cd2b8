"""The node itself: knobs, inputs, what it saves, and what it renders for the engine. No engine runs here."""

from __future__ import annotations

import shlex
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

import fakes.nuke
from fakes.nuke import _script
from penumbra.errors import FootageError, JobError, OutputOfAnotherJobError, Stopped
from penumbra.job import load_job
from penumbra.layer_graph import layer_graph
from penumbra_nuke import inputs_host, knobs_host, node_host
from penumbra_nuke.group_script import fingerprint, layers_inside
from penumbra_nuke.script_host import read_script
from plugin_nuke.shots import (
    FIRST,
    FRAMES,
    penumbra_node,
    picture,
    read_node,
    shown,
    status,
    write_image,
    write_shot,
)


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shot") / "a ünïcode 'shot'"
    write_shot(folder)
    return folder


@pytest.fixture
def comp(nuke, shot, tmp_path):
    """The shot copied: tests write beside it."""
    folder = tmp_path / shot.name
    shutil.copytree(shot, folder)
    return folder


def read_exr(path):
    image = oiio.ImageBuf(str(path))
    return image.get_pixels(oiio.FLOAT), image.spec()


def gathered(node):
    return inputs_host.gather(node, knobs_host.read_settings(node))


def inputs_of(node):
    """Their names; the last, which need not be plugged in, is the clean plate's."""
    names = [child._name() for child in node._inputs_inside()]
    assert names[-1] == "clean_plate"
    return names[:-1]


def test_a_new_node_passes_the_plate_on(comp):
    node = penumbra_node(comp)
    np.testing.assert_array_equal(shown(node, FIRST + 1)[..., :3], picture(1)[0].astype(np.float16).astype(np.float32))
    assert node.name() == "Penumbra1"
    assert status(node) == "not run yet"


def test_a_new_node_goes_below_the_selected_one(comp):
    read = read_node(comp / "plate.%04d.exr")
    read.setXYpos(100, 200)
    read["selected"].setValue(True)
    node = node_host.create()
    assert node._input(0) is read
    assert (node.xpos(), node.ypos()) == (100, 310)


def test_inputs_are_named_after_the_objects(comp):
    node = penumbra_node(comp)
    assert inputs_of(node) == ["plate", "car", "person"]
    car, person = node._input(1), node._input(2)
    fakes.nuke.change(node, "objects", "person car dog")
    assert inputs_of(node) == ["plate", "person", "car", "dog"]
    assert (node._input(1), node._input(2), node._input(3)) == (person, car, None)
    fakes.nuke.change(node, "objects", "man car")
    assert inputs_of(node) == ["plate", "man", "car"]
    assert (node._input(1), node._input(2)) == (person, car)
    fakes.nuke.change(node, "masks", "channels of one input")
    assert "channel" in status(node)
    fakes.nuke.change(node, "objects", "man=roto.man car=roto.car")
    assert inputs_of(node) == ["plate", "masks"]


def test_a_missing_engine_is_said_before_anything_is_rendered(comp, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("PENUMBRA_PYTHON", raising=False)
    node = penumbra_node(comp)
    node.setInput(0, fakes.nuke.nodes.Grade(inputs=[node._input(0)]))
    node["engine"].setValue("/on/another/machine/python")
    fakes.nuke.press(node, "decompose")
    assert "engine was not found" in fakes.nuke.SCRIPT.messages[-1]
    assert fakes.nuke.SCRIPT.executed == []


def test_names_that_cannot_be_leave_the_inputs_alone(comp):
    node = penumbra_node(comp)
    fakes.nuke.change(node, "objects", "car rgba")
    assert inputs_of(node) == ["plate", "car", "person"]
    assert "rgba" in status(node)


def test_bare_reads_are_passed_by_path_and_nothing_is_rendered(comp):
    node = penumbra_node(comp)
    plate, masks, frames, _ = gathered(node)
    assert plate.path == f"{comp.as_posix()}/plate.%04d.exr"
    assert [Path(mask.path).name for mask in masks] == ["car.%04d.png", "person.%04d.png"]
    assert str(frames) == f"{FIRST}-{FIRST + FRAMES - 1}"
    assert fakes.nuke.SCRIPT.executed == []


def test_anything_else_is_rendered_at_full_resolution_in_the_working_space(comp):
    node = penumbra_node(comp)
    grade = fakes.nuke.nodes.Grade(multiply=3, inputs=[node._input(0)])
    dot = fakes.nuke.nodes.Dot(inputs=[grade])
    node.setInput(0, dot)
    fakes.nuke.root()["proxy"].setValue(True)
    fakes.nuke.root()["colorManagement"].setValue("OCIO")
    fakes.nuke.root()["workingSpaceLUT"].setValue("ACES - ACEScg")
    plate = gathered(node).plate
    assert plate.color == "ACEScg"
    for index in range(FRAMES):
        pixels, spec = read_exr(plate.path % (FIRST + index))
        assert spec.channelnames == ("R", "G", "B")
        expected = picture(index)[0].astype(np.float16).astype(np.float32) * 3
        np.testing.assert_allclose(pixels, expected, rtol=2**-10)
    assert fakes.nuke.SCRIPT.proxies_seen == [False]
    assert fakes.nuke.root().proxy()
    assert not [child for child in node._children if child._kind in ("Write", "Expression")]
    assert fakes.nuke.SCRIPT.context == []
    assert fakes.nuke.SCRIPT.undo_off == 0


def test_dots_before_a_read_are_looked_through(comp):
    node = penumbra_node(comp)
    node.setInput(0, fakes.nuke.nodes.Dot(inputs=[fakes.nuke.nodes.Dot(inputs=[node._input(0)])]))
    assert gathered(node)[0].path.endswith("plate.%04d.exr")
    assert fakes.nuke.SCRIPT.executed == []


def test_masks_are_channels_of_one_input(comp):
    node = penumbra_node(comp)
    node.setInput(1, read_node(comp / "roto.%04d.exr"))
    fakes.nuke.change(node, "objects", "car=roto.car person=roto.person")
    fakes.nuke.change(node, "masks", "channels of one input")
    node.setInput(1, read_node(comp / "roto.%04d.exr"))
    masks = gathered(node).masks
    for index, mask in enumerate(masks):
        assert mask.channel == "alpha"
        pixels, spec = read_exr(mask.path % (FIRST + 2))
        assert spec.channelnames == ("A",)
        np.testing.assert_array_equal(pixels[..., 0], picture(2)[1][index])


def test_the_frame_range_is_the_plates_unless_asked_otherwise(comp):
    node = penumbra_node(comp)
    node.setInput(0, fakes.nuke.nodes.TimeOffset(time_offset=-1010, inputs=[node._input(0)]))
    assert str(gathered(node)[2]) == "-9--5"
    assert (comp / "penumbra/Penumbra1/from-nuke/plate/plate.-009.exr").is_file()
    node["frames"].setValue("as below")
    node["first"].setValue(-8)
    node["last"].setValue(-7)
    assert str(gathered(node)[2]) == "-8--7"
    assert len(list((comp / "penumbra/Penumbra1/from-nuke/plate").glob("*.exr"))) == 2


def test_one_view_of_a_stereo_script_is_rendered(comp):
    node = penumbra_node(comp)
    fakes.nuke.SCRIPT.views[:] = ["left", "right"]
    node.setInput(0, fakes.nuke.nodes.Grade(inputs=[node._input(0)]))
    gathered(node)
    node["view"].setValue("right")
    gathered(node)
    assert [call[-1] for call in fakes.nuke.SCRIPT.executed] == [["left"]] * 3 + [["right"]] * 3
    node["view"].setValue("centre")
    with pytest.raises(JobError, match="no view 'centre'"):
        gathered(node)


def test_nothing_of_a_stereo_script_goes_by_path(comp):
    """One EXR may hold all views, of which the engine would take the first."""
    write_image(comp / "clean.exr", picture(0)[0])
    node = penumbra_node(comp)
    node.setInput(3, read_node(comp / "clean.exr", 1, 1))
    fakes.nuke.SCRIPT.views[:] = ["left", "right"]
    node["view"].setValue("right")
    plate, masks, _, clean = gathered(node)
    rendered = [Path(clip.path).parent for clip in (plate, *masks, clean)]
    assert {folder.parent.name for folder in rendered} == {"from-nuke"}
    assert [call[-1] for call in fakes.nuke.SCRIPT.executed] == [["right"]] * 4


@pytest.mark.parametrize(
    ("management", "space", "color"),
    [("Nuke", "linear", "lin_rec709"), ("OCIO", "ACES - ACEScg", "ACEScg"), ("OCIO", "Show Linear", "auto")],
)
def test_a_plate_by_path_is_in_the_working_space_where_the_engine_knows_it(comp, management, space, color):
    node = penumbra_node(comp)
    fakes.nuke.root()["colorManagement"].setValue(management)
    fakes.nuke.root()["workingSpaceLUT"].setValue(space)
    node._input(0)._knobs["colorspace"]._text = space
    plate = gathered(node).plate
    assert (Path(plate.path).name, plate.color) == ("plate.%04d.exr", color)
    node["color"].setValue("ACES2065-1")
    assert gathered(node).plate.color == "ACES2065-1"
    assert fakes.nuke.SCRIPT.executed == []


def test_a_relative_name_counts_from_the_projects_folder(comp):
    node = penumbra_node(comp)
    fakes.nuke.root()["project_directory"].setValue(f"{comp.as_posix()}/")
    node.setInput(0, read_node("plate.%04d.exr"))
    node.setInput(1, read_node("./car.%04d.png"))
    fakes.nuke.press(node, "export")
    job = load_job(comp / "penumbra/Penumbra1/from-nuke/job.json")
    assert [Path(path).resolve() for path in (job.plate.path, job.masks[0].path)] == [
        comp / "plate.%04d.exr", comp / "car.%04d.png"
    ]  # fmt: skip
    assert fakes.nuke.SCRIPT.executed == []


def test_a_relative_name_in_a_folder_that_is_relative_itself_is_rendered(comp, monkeypatch):
    monkeypatch.chdir(comp.parent)
    node = penumbra_node(comp)
    fakes.nuke.root()["project_directory"].setValue(comp.name)
    node.setInput(0, read_node("plate.%04d.exr"))
    pixels, _ = read_exr(gathered(node).plate.path % FIRST)
    np.testing.assert_array_equal(pixels, picture(0)[0].astype(np.float16).astype(np.float32))


def test_what_is_not_plugged_in_is_said(comp, monkeypatch):
    monkeypatch.setenv("PENUMBRA_PYTHON", sys.executable)
    node = penumbra_node(comp)
    node.setInput(2, None)
    with pytest.raises(JobError, match="the mask person is not plugged in"):
        gathered(node)
    fakes.nuke.press(node, "decompose")
    assert "person is not plugged in" in fakes.nuke.SCRIPT.messages[-1]
    assert "person is not plugged in" in status(node)


def test_a_cancelled_or_failed_render_leaves_nothing_half_made(comp):
    node = penumbra_node(comp)
    node.setInput(0, fakes.nuke.nodes.Grade(inputs=[node._input(0)]))
    fakes.nuke.SCRIPT.cancel_render = True
    with pytest.raises(Stopped):
        gathered(node)
    assert list(comp.rglob("from-nuke/plate/*")) == []
    fakes.nuke.SCRIPT.cancel_render = False
    (comp / f"plate.{FIRST + 1}.exr").unlink()
    with pytest.raises(FootageError, match=r"Nuke could not render plate.*no such file"):
        gathered(node)
    assert list(comp.rglob("from-nuke/plate/*")) == []
    assert not [child for child in node._children if child._kind == "Write"]


def test_an_unsaved_script_gets_a_folder_of_the_users(comp, monkeypatch):
    node = penumbra_node(comp, script=None)
    monkeypatch.setenv("HOME", str(comp / "home"))
    folder = knobs_host.read_settings(node).folder
    assert folder.parent == comp / "home" / "penumbra"
    assert knobs_host.read_settings(node).folder == folder


def test_a_folder_that_is_no_full_path_is_refused(comp):
    node = penumbra_node(comp)
    node["output"].setValue("layers")
    with pytest.raises(JobError, match="no full path"):
        knobs_host.read_settings(node)


def test_a_job_is_exported_for_the_command_line(comp):
    node = penumbra_node(comp)
    node["refine"].setValue("steps")
    node["amount"].setValue(50)
    node["order"].setValue(f"{FIRST + 2}: person car")
    fakes.nuke.press(node, "export")
    job = load_job(comp / "penumbra/Penumbra1/from-nuke/job.json")
    assert "penumbra decompose --job" in fakes.nuke.SCRIPT.messages[-1]
    assert job.refine.steps == 50
    assert job.order_at(FIRST + 2) == ("person", "car")
    assert Path(job.output.folder).resolve() == comp / "penumbra/Penumbra1"


def test_a_folder_with_layers_keeps_them_and_its_inputs(comp):
    node = penumbra_node(comp)
    out = comp / "penumbra/Penumbra1"
    (out / "from-nuke").mkdir(parents=True)
    (out / "manifest.json").write_text("{}")
    (out / "from-nuke/job.json").write_text("the earlier one")
    with pytest.raises(OutputOfAnotherJobError, match="holds layers"):
        node_host.decompose(node)
    assert (out / "from-nuke/job.json").read_text() == "the earlier one"


def test_buttons_without_anything_to_do_say_so(comp):
    node = penumbra_node(comp)
    for button, says in [("cancel", "not working"), ("resume", "nothing to resume"), ("reload", "no finished layers"),
                         ("send", "no finished layers"), ("open_folder", "no folder")]:  # fmt: skip
        fakes.nuke.press(node, button)
        assert says in fakes.nuke.SCRIPT.messages[-1]
    fakes.nuke.press(node, "about")
    assert "Apache" in fakes.nuke.SCRIPT.messages[-1]


def test_state_survives_saving_and_reopening(comp, tmp_path):
    node = penumbra_node(comp)
    node["order"].setValue("1003: person car")
    node["gain"].setValue(64)
    node["color"].setValue("ACEScg")
    before = {knob._name: knob._text for knob in node._user}
    fakes.nuke.scriptSaveAs((comp / "comp.nk").as_posix())
    text = (comp / "comp.nk").read_text("utf-8")
    assert str(comp) not in text.partition("Group {")[2].partition("end_group")[0].replace("\\", "")
    other = tmp_path / "another machine" / "x"
    shutil.copytree(comp, other)
    fakes.nuke.scriptOpen((other / "comp.nk").as_posix())
    again = fakes.nuke.find("Penumbra1")
    assert {knob._name: knob._text for knob in again._user} == before
    assert inputs_of(again) == ["plate", "car", "person"]
    assert knobs_host.read_settings(again).folder == other / "penumbra/Penumbra1"
    fakes.nuke.change(again, "objects", "car person dog")
    assert inputs_of(again) == ["plate", "car", "person", "dog"]


def test_a_script_opened_without_the_plug_in_says_what_is_missing(comp, monkeypatch):
    node = penumbra_node(comp)
    monkeypatch.setitem(sys.modules, "penumbra_nuke", None)
    fakes.nuke.press(node, "decompose")
    assert "penumbra install nuke" in fakes.nuke.SCRIPT.messages[-1]
    fakes.nuke.change(node, "objects", "a b c")
    assert inputs_of(node) == ["plate", "car", "person"]


def test_several_nodes_have_names_and_folders_of_their_own(comp):
    penumbra_node(comp)
    second = node_host.create()
    assert second.name() == "Penumbra2"
    assert second["output"].value().endswith("/Penumbra2")


def test_a_copied_node_gets_a_folder_of_its_own_when_it_is_run(comp):
    first = penumbra_node(comp)
    text = fakes.nuke._script.write(fakes.nuke.SCRIPT.root)
    (comp / "copied.nk").write_text(text.partition("Root {")[2].partition("\n}\n")[2], encoding="utf-8")
    fakes.nuke.scriptReadFile((comp / "copied.nk").as_posix())
    copy = fakes.nuke.find("Penumbra2")
    assert copy._knobs["output"]._text.endswith("/Penumbra1")
    fakes.nuke.press(copy, "export")
    assert (comp / "penumbra/Penumbra2/from-nuke/job.json").is_file()
    assert not (comp / "penumbra/Penumbra1").exists()
    # One that was only renamed keeps its layers where they are.
    fakes.nuke.press(first, "export")
    first.setName("Shot")
    fakes.nuke.press(first, "export")
    assert not (comp / "penumbra/Shot").exists()


def test_a_studio_says_where_layers_go(comp, monkeypatch):
    monkeypatch.setenv("PENUMBRA_NUKE_FOLDER", "[file dirname [value root.name]]/../layers/")
    node = penumbra_node(comp)
    assert node["output"].value() == "[file dirname [value root.name]]/../layers/Penumbra1"
    fakes.nuke.press(node, "export")
    assert (comp.parent / "layers/Penumbra1/from-nuke/job.json").is_file()


def test_ten_nodes_are_enough_for_two_rendered_masks(shot, comp):
    fakes.nuke.reset(limit=10)
    node = penumbra_node(comp)
    for index in range(3):
        node._connect(index, fakes.nuke._graph.make("Grade", fakes.nuke.SCRIPT.root))
        node._input(index)._connect(0, read_node_untouched(comp / ("plate", "car", "person")[index]))
    fakes.nuke.press(node, "export")
    assert len(fakes.nuke.SCRIPT.executed) == 3, fakes.nuke.SCRIPT.messages


def test_ten_nodes_are_enough_for_reads_and_a_clean_plate(comp):
    fakes.nuke.reset(limit=10)
    node = penumbra_node(comp)
    for index, stem in enumerate(("plate", "car", "person", "plate")):
        node._connect(index, read_node_untouched(comp / stem))
    fakes.nuke.press(node, "export")
    assert load_job(comp / "penumbra/Penumbra1/from-nuke/job.json").clean_plate is not None, fakes.nuke.SCRIPT.messages


def read_node_untouched(stem):
    node = fakes.nuke._graph.make("Read", fakes.nuke.SCRIPT.root)
    suffix = "exr" if stem.name == "plate" else "png"
    for knob, value in (("file", f"{stem.as_posix()}.%04d.{suffix}"), ("first", FIRST), ("last", FIRST + FRAMES - 1)):
        node._knobs[knob]._text = str(value)
    return node


def test_more_than_ten_nodes_is_a_sentence_that_names_the_way_out(comp):
    node = penumbra_node(comp)
    fakes.nuke.SCRIPT.limit = 4
    fakes.nuke.env["nc"] = True
    fakes.nuke.press(node, "export")
    assert "layers.nk" in fakes.nuke.SCRIPT.messages[-1]


def test_the_fake_bites(nuke, comp):
    node = penumbra_node(comp)
    with pytest.raises(AssertionError, match="would hang"):
        nuke.executeInMainThread(print)
    with pytest.raises(ValueError, match="callback"):
        nuke.thisNode()
    caught = []

    def elsewhere():
        for call in (lambda: nuke.toNode("Penumbra1"), lambda: node["objects"].value(), lambda: nuke.message("x")):
            try:
                call()
            except RuntimeError as error:
                caught.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(caught) == 3
    node["view"].setValue("C:\\new\\table")
    assert "\\" not in node["view"].value()
    nuke.delete(node)
    with pytest.raises(ValueError, match="not attached"):
        node.name()
    with pytest.raises(RuntimeError, match="would be evaluated"):
        _script.read('NoOp {\n label "[exec x]"\n}\n', nuke.SCRIPT.root)
    nuke.reset(gui=False)
    for call in (nuke.message, nuke.createNode, nuke.ProgressTask):
        with pytest.raises(RuntimeError, match="non-gui"):
            call("x")


def test_inputs_are_rendered_in_the_precision_of_the_layers(comp):
    node = penumbra_node(comp)
    node["precision"].setValue("float")
    node.setInput(0, fakes.nuke.nodes.Grade(inputs=[node._input(0)]))
    assert read_exr(gathered(node)[0].path % FIRST)[1].format == oiio.FLOAT


def test_a_mask_whose_read_ends_early_is_rendered_as_nuke_shows_it(comp):
    """Nuke holds the last frame; the engine, given the files, would take the mask for empty from there on."""
    node = penumbra_node(comp)
    node.setInput(1, read_node(comp / "car.%04d.png", last=FIRST + 2))
    masks = gathered(node).masks
    assert Path(masks[0].path).parent.name == "mask-car"
    assert masks[1].path.endswith("person.%04d.png")
    # It is grey, without an alpha: its luminance is the matte, as of a file.
    assert masks[0].channel == "auto"
    for index in (0, 2, 4):
        held, spec = read_exr(masks[0].path % (FIRST + index))
        assert spec.channelnames == ("R", "G", "B")
        np.testing.assert_array_equal(held[..., 0], picture(min(index, 2))[1][0])


def test_a_rendered_mask_has_its_alpha_and_where_that_says_nothing_its_luminance(comp):
    node = penumbra_node(comp)
    node.setInput(1, fakes.nuke.nodes.Dot(inputs=[fakes.nuke.nodes.Grade(inputs=[node._input(1)])]))
    roto = fakes.nuke.nodes.Expression(channel3="alpha", expr3="x/64", inputs=[read_node(comp / "plate.%04d.exr")])
    node.setInput(2, roto)
    car, person = gathered(node).masks
    assert (car.channel, read_exr(car.path % FIRST)[1].channelnames) == ("auto", ("R", "G", "B"))
    assert (person.channel, read_exr(person.path % FIRST)[1].channelnames) == ("auto", ("R", "G", "B", "A"))


def test_overscan_and_pixel_aspect_go_along_when_the_plate_is_rendered(comp):
    folder = comp / "wide"
    folder.mkdir()
    for index in range(FRAMES):
        write_overscan(folder / f"plate.{FIRST + index}.exr", picture(index)[0])
    node = penumbra_node(comp)
    node.setInput(0, fakes.nuke.nodes.Grade(multiply=2, inputs=[read_node(folder / "plate.%04d.exr")]))
    pixels, spec = read_exr(gathered(node).plate.path % FIRST)
    assert (spec.x, spec.y, spec.width, spec.height) == (-4, -3, 64, 48)
    assert (spec.full_x, spec.full_y, spec.full_width, spec.full_height) == (0, 0, 56, 42)
    assert spec.get_float_attribute("PixelAspectRatio") == 2
    np.testing.assert_allclose(pixels, 2 * picture(0)[0].astype(np.float16), rtol=2**-10)


def test_an_own_clean_plate_is_passed_by_path_or_rendered(comp):
    write_image(comp / "clean.exr", picture(0)[0])
    node = penumbra_node(comp)
    assert gathered(node).clean is None
    fakes.nuke.root()["colorManagement"].setValue("OCIO")
    fakes.nuke.root()["workingSpaceLUT"].setValue("ACES - ACEScg")
    still = read_node(comp / "clean.exr", 1, 1, colorspace="ACES - ACEScg")
    node._input(0)._knobs["colorspace"]._text = "ACES - ACEScg"
    node.setInput(3, still)
    plate, _, _, clean = gathered(node)
    assert (plate.path.endswith("plate.%04d.exr"), plate.color) == (True, "ACEScg")
    assert (Path(clean.path).name, clean.color) == ("clean.exr", "ACEScg")
    assert fakes.nuke.SCRIPT.executed == []
    node.setInput(3, fakes.nuke.nodes.Grade(multiply=2, inputs=[still]))
    plate, _, _, clean = gathered(node)
    assert (plate.color, clean.color) == ("ACEScg", "ACEScg")
    pixels, spec = read_exr(clean.path % (FIRST + 4))
    assert spec.channelnames == ("R", "G", "B")
    np.testing.assert_allclose(pixels, 2 * picture(0)[0].astype(np.float16), rtol=2**-10)


def test_the_clean_plate_keeps_its_input_whatever_the_objects_are(comp):
    node = penumbra_node(comp)
    clean = fakes.nuke.nodes.Grade()
    node.setInput(3, clean)
    fakes.nuke.change(node, "objects", "car person dog")
    assert (node._input(3), node._input(4)) == (None, clean)
    fakes.nuke.change(node, "objects", "dog")
    assert (inputs_of(node), node._input(2)) == (["plate", "dog"], clean)
    with pytest.raises(JobError, match="cannot be called 'clean_plate'"):
        node_host.parse_objects("clean_plate", False)


def test_all_that_the_panel_says_stands_in_the_job(comp):
    homographies = comp / "camera.json"
    homographies.write_text("{}")
    node = penumbra_node(comp)
    node["compression"].setValue("piz")
    node["splits"].setValue(True)
    node["camera"].setValue("file")
    fakes.nuke.press(node, "export")
    assert "no file of homographies" in fakes.nuke.SCRIPT.messages[-1]
    node["homographies"].setValue("[file dirname [value root.name]]/camera.json")
    node.setInput(3, read_node(comp / "plate.%04d.exr"))
    fakes.nuke.press(node, "export")
    job = load_job(comp / "penumbra/Penumbra1/from-nuke/job.json")
    assert (job.output.compression, job.output.splits, job.camera.mode) == ("piz", True, "file")
    assert Path(job.camera.path).resolve() == homographies
    assert Path(job.clean_plate.path).resolve() == comp / "plate.%04d.exr"
    # A shell reads it as it is meant, blanks, quotes and all.
    words = shlex.split(fakes.nuke.SCRIPT.messages[-1].splitlines()[-1])
    assert words == ["penumbra", "decompose", "--job", str(comp / "penumbra/Penumbra1/from-nuke/job.json")]


GRAPH = layer_graph(
    {
        "plate": {"frames": "1-2", "size": [4, 4], "space": "lin_rec709"},
        "objects": [{"name": "car"}],
        "order": {"1": ["car"], "2": ["car"]},
    }
)


@pytest.mark.parametrize(("space", "says"), [("ACEScg", "1-2, ACEScg"), ("[exec touch x]", "1-2, ")])
def test_nothing_of_a_manifest_is_run_by_a_label(comp, space, says):
    node = penumbra_node(comp)
    read_script(node, layers_inside(replace(GRAPH, space=space)))
    assert fakes.nuke.find("Penumbra1.Layers")._knobs["label"]._text == says


@pytest.mark.parametrize("change", [{"pixel_aspect": 2.0}, {"space": "ACEScg"}, {"size": (8, 4)}, {"last": 3}])
def test_another_picture_is_another_inside(change):
    assert fingerprint(replace(GRAPH, **change)) != fingerprint(GRAPH)
    assert layers_inside(replace(GRAPH, **change)) != layers_inside(GRAPH)


def test_knobs_that_do_not_count_cannot_be_turned(comp):
    node = penumbra_node(comp)

    def turnable():
        return {name for name in ("first", "last", "amount", "object", "gain", "homographies") if node[name].enabled()}

    assert turnable() == set()
    for knob, value in (("frames", "as below"), ("refine", "steps"), ("show", "one layer"), ("camera", "file")):
        fakes.nuke.change(node, knob, value)
    assert turnable() == {"first", "last", "amount", "object", "homographies"}
    fakes.nuke.change(node, "show", "difference to the plate")
    assert turnable() == {"first", "last", "amount", "gain", "homographies"}


def test_a_script_saved_while_its_node_was_working_does_not_say_so_for_ever(comp):
    node = penumbra_node(comp)
    node["status"].setValue("working")
    fakes.nuke.scriptSaveAs((comp / "comp.nk").as_posix())
    fakes.nuke.scriptOpen((comp / "comp.nk").as_posix())
    again = fakes.nuke.find("Penumbra1")
    fakes.nuke.open_panel(again)
    assert status(again).startswith("Was working when the script was saved")


@pytest.mark.parametrize("name", ["take #3", "100%d", "[wip]", "a$b"])
def test_a_folder_nuke_would_read_something_into_is_refused(comp, name):
    node = penumbra_node(comp)
    node["output"]._text = f"{comp.as_posix()}/{name}".replace("[", "\\[")
    node["output"]._evaluated = lambda: f"{comp.as_posix()}/{name}"
    with pytest.raises(JobError, match="Nuke would evaluate the"):
        knobs_host.read_settings(node)


def write_overscan(path, pixels):
    """The pixels, of which four columns on either side and three rows above and below lie beyond the format."""
    height, width = pixels.shape[:2]
    spec = oiio.ImageSpec(width, height, 3, oiio.HALF)
    spec.x, spec.y = -4, -3
    spec.full_x, spec.full_y, spec.full_width, spec.full_height = 0, 0, width - 8, height - 6
    spec.attribute("PixelAspectRatio", 2.0)
    image = oiio.ImageBuf(spec)
    image.set_pixels(oiio.ROI(-4, width - 4, -3, height - 3, 0, 1, 0, 3), np.ascontiguousarray(pixels, np.float32))
    assert image.write(str(path)), image.geterror()
