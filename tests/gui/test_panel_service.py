import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from engine.tiny_clip import FIRST, SIZE, picture, write_clip, write_image
from penumbra.errors import FootageError, PenumbraError
from penumbra.job import MaskSettings, PlateSettings
from penumbra.read import open_mask, open_plate
from penumbra_gui.models.checks import Verdict
from penumbra_gui.models.service import FootageService


@pytest.fixture(scope="module")
def service():
    made = FootageService()
    # At work before the first test, of which its process is none.
    assert made.ask("inspect", path="nowhere").exception(60) is not None
    yield made
    made.close()


def plate_of(folder, **more):
    return {"path": str(folder / "plate.####.exr"), "frames": None, "color_space": "auto", **more}


def mask_of(folder, name="box", **more):
    return {"name": name, "path": str(folder / "mask.####.png"), **more}


def ask(service, plate, *masks):
    return Verdict.of_answer(service.ask("check", plate=plate, masks=list(masks)).result(60))


def test_facts_and_frames_are_the_engine_s(service, tmp_path):
    write_clip(tmp_path)
    verdict = ask(service, plate_of(tmp_path), mask_of(tmp_path))
    assert verdict.usable
    assert (verdict.plate.first, verdict.plate.last) == (FIRST, FIRST + 5)
    assert (verdict.plate.width, verdict.plate.height) == (SIZE[1], SIZE[0])
    plate, mask = picture(2)
    np.testing.assert_allclose(service.frame("plate", FIRST + 2, 1), plate, rtol=2e-3)
    np.testing.assert_array_equal(service.frame("mask:box", FIRST + 2, 1)[..., 0], mask)
    small = service.frame("plate", FIRST + 2, 4)
    assert small.shape == (SIZE[0] // 4, SIZE[1] // 4, 3)
    np.testing.assert_allclose(small.mean(), plate.mean(), rtol=5e-3)


def test_sentences_are_those_of_a_run(service, tmp_path):
    write_clip(tmp_path)
    (tmp_path / f"plate.{FIRST + 3}.exr").unlink()
    verdict = ask(service, plate_of(tmp_path), mask_of(tmp_path))
    with pytest.raises(PenumbraError) as told:
        open_plate(PlateSettings(plate_of(tmp_path)["path"]))
    assert str(verdict.sentences[0]) == str(told.value)
    assert str(FIRST + 3) in verdict.sentences[0].text
    # A range without the hole can still be chosen.
    assert verdict.span == (FIRST, FIRST + 5)
    part = plate_of(tmp_path, frames=f"{FIRST}-{FIRST + 2}")
    assert ask(service, part, mask_of(tmp_path)).usable


def test_a_mask_of_another_size_is_told_at_its_row(service, tmp_path):
    write_clip(tmp_path)
    write_image(tmp_path / "wide.png", np.ones((10, 90)))
    verdict = ask(service, plate_of(tmp_path), mask_of(tmp_path), {"name": "wide", "path": str(tmp_path / "wide.png")})
    with (
        open_plate(PlateSettings(plate_of(tmp_path)["path"])) as plate,
        pytest.raises(FootageError) as told,
    ):
        open_mask(MaskSettings("wide", str(tmp_path / "wide.png")), plate.footage)
    assert verdict.masks[0].sentences == ()
    assert str(verdict.masks[1].sentences[0]) == str(told.value)
    assert not verdict.usable


def test_a_corrupt_frame_is_a_sentence_and_the_next_one_is_read(service, tmp_path):
    write_clip(tmp_path)
    path = tmp_path / f"plate.{FIRST + 1}.exr"
    path.write_bytes(path.read_bytes()[:900])
    ask(service, plate_of(tmp_path))
    with pytest.raises(PenumbraError, match=str(FIRST + 1)):
        service.frame("plate", FIRST + 1, 1)
    assert service.frame("plate", FIRST, 1).shape == (*SIZE, 3)


def test_nonsense_is_answered_and_survived(service, tmp_path):
    write_clip(tmp_path)
    for request in (
        {"what": "frame", "source": "plate", "frame": "x"},
        {"what": "dance"},
        {"what": "check", "plate": 3},
    ):
        with pytest.raises(PenumbraError):
            Verdict.of_answer(service.ask(request.pop("what"), **request).result(60)).plate.first  # noqa: B018
    assert ask(service, plate_of(tmp_path)).usable


def test_a_killed_reader_is_a_sentence_and_comes_back(tmp_path):
    write_clip(tmp_path)
    service = FootageService()
    try:
        ask(service, plate_of(tmp_path))
        os.kill(service._process.pid, signal.SIGKILL)
        service._process.wait()
        time.sleep(0.1)
        with pytest.raises(PenumbraError, match=r"no plate|has ended"):
            service.frame("plate", FIRST, 1)
        assert service.starts == 2
        assert ask(service, plate_of(tmp_path)).usable
        assert service.frame("plate", FIRST, 1).shape == (*SIZE, 3)
    finally:
        service.close()
    assert service._process.poll() is not None


def test_without_an_engine_the_sentence_says_so(tmp_path):
    service = FootageService(str(tmp_path / "no_python"))
    with pytest.raises(PenumbraError, match="There is no Python at"):
        service.ask("check", plate={}).result(10)
    service.close()


def test_layers_of_an_output_folder_are_read(service, tmp_path):
    write_clip(tmp_path)
    ask(service, plate_of(tmp_path))
    layer = np.zeros((*SIZE, 4), np.float32)
    layer[4, 5] = (0.5, 0.25, 0.0, 0.5)
    (tmp_path / "out" / "box").mkdir(parents=True)
    write_image(tmp_path / "out" / "box" / f"box.{FIRST}.exr", layer)
    found = service.frame("layer:box", FIRST, 1, folder=str(tmp_path / "out"))
    np.testing.assert_array_equal(found, layer.astype(np.float16))
    with pytest.raises(PenumbraError, match=r"has no frame|holds no"):
        service.frame("layer:box", FIRST + 1, 1, folder=str(tmp_path / "out"))
    still = service.frame("image", 0, 2, path=str(Path(tmp_path) / f"plate.{FIRST}.exr"))
    assert still.shape == (SIZE[0] // 2, SIZE[1] // 2, 3)
