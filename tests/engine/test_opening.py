"""What a job refuses before it begins, and what a finished one makes good."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from engine.test_pipeline import assert_recomposes, digests, quiet, read, warnings_of
from engine.tiny_clip import FIRST, FRAMES, SIZE, picture, tiny_job, write_clip, write_image
from penumbra import errors
from penumbra.job import CameraSettings, MaskSettings, PlateSettings, RefineSettings
from penumbra.pipeline import run
from penumbra.write import COMPOSITES, load_manifest, preview_paths


def everything_in(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("which", ["mask", "plate"])
@pytest.mark.parametrize("again", [{}, {"replace": True}])
def test_footage_where_layers_would_be_written_is_left_alone(tmp_path, which, again):
    write_clip(tmp_path)
    job, name = tiny_job(tmp_path, **again), "box" if which == "mask" else "background"
    folder = tmp_path / "out" / name
    folder.mkdir(parents=True)
    for number in range(FIRST, FIRST + FRAMES):
        pixels, mask = picture(number - FIRST)
        write_image(folder / f"{name}.{number}.exr", mask if which == "mask" else pixels)
    pattern = str(folder / f"{name}.%04d.exr")
    if which == "mask":
        job = replace(job, masks=(MaskSettings("box", pattern),))
    else:
        job = replace(job, plate=PlateSettings(pattern))
    before = everything_in(tmp_path)
    with pytest.raises(errors.OutputError, match=f"is read by the job and lies where its sequence {name} is written"):
        run(job, quiet)
    assert everything_in(tmp_path) == before


def test_footage_that_an_earlier_job_wrote_is_not_removed_by_the_next(tmp_path):
    write_clip(tmp_path)
    run(tiny_job(tmp_path), quiet)
    written = str(tmp_path / "out" / "box" / "box.%04d.exr")
    job = replace(tiny_job(tmp_path, replace=True), masks=(MaskSettings("ball", written),))
    before = everything_in(tmp_path)
    with pytest.raises(errors.OutputError, match="lies where its sequence box is written"):
        run(job, quiet)
    assert everything_in(tmp_path) == before
    elsewhere = replace(job, output=replace(job.output, folder=str(tmp_path / "next")))
    run(elsewhere, quiet)
    assert_recomposes(tmp_path / "next")


def test_two_files_of_one_sequence_are_not_two_masks(tmp_path):
    write_clip(tmp_path)
    masks = tuple(MaskSettings(f"box{k}", str(tmp_path / f"mask.{FIRST + k}.png")) for k in range(2))
    with pytest.raises(errors.JobError, match=r"Masks box0 .* and box1 .* are files of one and the same sequence"):
        run(replace(tiny_job(tmp_path), masks=masks), quiet)
    assert not (tmp_path / "out").exists()
    same = (masks[0], replace(masks[1], path=masks[0].path))
    run(replace(tiny_job(tmp_path), masks=same), quiet)
    assert_recomposes(tmp_path / "out")


def test_a_mask_of_numbers_is_told_from_an_empty_one(tmp_path):
    write_clip(tmp_path)
    for number in range(FIRST, FIRST + FRAMES):
        _, mask = picture(number - FIRST)
        write_image(tmp_path / f"id.{number}.png", mask / 255, oiio.UINT8)
    masks = (MaskSettings("box", str(tmp_path / "id.####.png")),)
    with pytest.raises(errors.EmptyMaskError, match=r"seems to hold numbers.*--channel box=id:1"):
        run(replace(tiny_job(tmp_path), masks=masks), quiet)
    named = replace(masks[0], channel="id:1")
    run(replace(tiny_job(tmp_path, replace=True), masks=(named,)), quiet)
    assert_recomposes(tmp_path / "out")


def test_files_that_are_not_the_footage_do_not_make_another_job(tmp_path):
    write_clip(tmp_path)
    job = tiny_job(tmp_path)
    for path in (str(tmp_path / "plate.####.exr"), str(tmp_path / f"plate.{FIRST}.exr")):
        job = replace(job, plate=PlateSettings(path), output=replace(job.output, replace=True))
        run(job, quiet)
        before = digests(tmp_path / "out")
        (tmp_path / "plate.txt").write_text("a note")
        (tmp_path / f"plate.{FIRST}.exr.tmp").write_text("another")
        run(job, quiet, resume=True)
        assert digests(tmp_path / "out") == before
        # Named by one file or by all, every frame is footage.
        (tmp_path / f"plate.{FIRST + 3}.exr").touch()
        with pytest.raises(errors.OutputOfAnotherJobError, match="other footage"):
            run(replace(job, output=replace(job.output, replace=False)), quiet, resume=True)


def test_weights_that_are_not_there_are_refused_first(tmp_path):
    write_clip(tmp_path)
    job = tiny_job(tmp_path)
    gone = replace(job, model=replace(job.model, weights=str(tmp_path / "gone.safetensors")))
    with pytest.raises(errors.WeightsError, match=r"no weights at .*gone\.safetensors"):
        run(gone, quiet)
    nothing = replace(job, model=replace(job.model, weights="random"), refine=RefineSettings())
    with pytest.raises(errors.JobError, match="Random weights know nothing"):
        run(nothing, quiet)
    assert not (tmp_path / "out").exists()


def test_without_torch_what_needs_it_is_refused_first(tmp_path, monkeypatch):
    write_clip(tmp_path)
    monkeypatch.setattr("penumbra.pipeline.opening.find_spec", lambda name: None)
    for job in (tiny_job(tmp_path, steps=3), tiny_job(tmp_path)):
        with pytest.raises(errors.TorchMissingError, match=r"PyTorch is not installed here.*penumbra-layers\[refine\]"):
            run(job, quiet)
    assert not (tmp_path / "out").exists()


def test_what_a_finished_job_lost_beside_its_layers_is_made_again(tmp_path):
    write_clip(tmp_path)
    job, out = tiny_job(tmp_path, previews=True), tmp_path / "out"
    run(job, quiet)
    before = digests(out)
    texts = {name: (out / name).read_bytes() for name in COMPOSITES}
    for name in COMPOSITES[:2]:
        (out / name).unlink()
    shutil.rmtree(out / "preview")
    run(job, quiet, resume=True)
    assert {name: (out / name).read_bytes() for name in COMPOSITES} == texts
    assert all(path.stat().st_size > 1000 for path in preview_paths(out))
    assert digests(out) == before


def test_previews_asked_for_later_are_drawn(tmp_path):
    write_clip(tmp_path)
    run(tiny_job(tmp_path), quiet)
    assert not (tmp_path / "out" / "preview").exists()
    run(tiny_job(tmp_path, previews=True), quiet, resume=True)
    assert all(path.stat().st_size > 1000 for path in preview_paths(tmp_path / "out"))


@pytest.mark.parametrize("harm", ["empty", "cut", "another frame's"])
def test_a_layer_that_is_not_what_was_written_is_made_again(tmp_path, harm):
    write_clip(tmp_path)
    job, out = tiny_job(tmp_path), tmp_path / "out"
    run(job, quiet)
    before = digests(out)
    path, other = (out / "box" / f"box.{FIRST + k}.exr" for k in (2, 4))
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[:-20], "another frame's": other.read_bytes()}[harm])
    assert path.stat().st_size != len(whole)
    run(job, quiet, resume=True)
    assert digests(out) == before


def test_outputs_asked_for_later_are_removed_with_the_rest(tmp_path):
    write_clip(tmp_path)
    run(tiny_job(tmp_path), quiet)
    run(tiny_job(tmp_path, splits=True, clean=True), quiet, resume=True)
    assert (tmp_path / "out" / "box_shadow").is_dir()
    assert (tmp_path / "out" / "clean").is_dir()
    other = replace(tiny_job(tmp_path, replace=True), masks=(MaskSettings("tree", str(tmp_path / "mask.####.png")),))
    run(other, quiet)
    left = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert left == {"tree", "background", ".penumbra"}


def test_ground_outside_a_wandering_data_window_is_not_black(tmp_path):
    windows = [(2 * (k % 3), k % 2, SIZE[1] - 5, SIZE[0] - 3) for k in range(FRAMES)]
    for index, (x, y, width, height) in enumerate(windows):
        plate, mask = picture(index)
        part = plate[y : y + height, x : x + width]
        name = tmp_path / f"plate.{FIRST + index}.exr"
        write_image(name, part, origin=(x, y), display=(0, 0, SIZE[1], SIZE[0]))
        write_image(tmp_path / f"mask.{FIRST + index}.png", mask, oiio.UINT8)
    job = replace(tiny_job(tmp_path, clean=True), camera=CameraSettings("locked"))
    run(job, quiet)
    assert_recomposes(tmp_path / "out")
    for index in range(FRAMES):
        clean, spec = read(tmp_path / "out" / "clean" / f"clean.{FIRST + index}.exr")
        assert (spec.x, spec.y, spec.width, spec.height) == windows[index]
        seen = clean[..., 3] == 1
        assert seen.mean() > 0.8
        assert clean[seen][:, :3].min() > 0.1
        layer, _ = read(tmp_path / "out" / "box" / f"box.{FIRST + index}.exr")
        assert (layer[:6, :, 3] == 0).all()


def test_pixels_without_a_value_are_no_background(tmp_path):
    def torn(index, plate):
        if index < 4:
            plate[2:8, 2:12] = np.nan
        return plate

    write_clip(tmp_path, change=torn)
    run(replace(tiny_job(tmp_path, clean=True), camera=CameraSettings("locked")), quiet)
    clean, _ = read(tmp_path / "out" / "clean" / f"clean.{FIRST}.exr")
    assert clean[2:8, 2:12, :3].min() > 0.1


@pytest.mark.parametrize("light", [0.0, 0.05, 20.0])
def test_black_frames_and_flashes_leave_the_others_background_alone(tmp_path, light):
    write_clip(tmp_path, change=lambda index, plate: plate * np.float32(light) if index in (0, 3) else plate)
    job = replace(tiny_job(tmp_path, clean=True), camera=CameraSettings("locked"))
    said = warnings_of(job)
    assert f"2 frames, the first {FIRST}, are over four times as dark or as bright as the others" in said
    assert_recomposes(tmp_path / "out")
    for index in range(FRAMES):
        clean, _ = read(tmp_path / "out" / "clean" / f"clean.{FIRST + index}.exr")
        plate, _ = picture(index)
        ground = np.s_[: SIZE[0] // 3 - 4]
        expected = plate[ground] * (light if index in (0, 3) else 1)
        np.testing.assert_allclose(clean[ground][..., :3], expected, rtol=0.02, atol=1e-3)
    assert load_manifest(tmp_path / "out")["totals"]["frames"] == FRAMES


def test_where_a_folder_was_moved_with_its_plate_hosts_find_it(tmp_path):
    before = tmp_path / "before"
    (before / "plates").mkdir(parents=True)
    write_clip(before / "plates")
    job = tiny_job(before / "plates")
    run(replace(job, output=replace(job.output, folder=str(before / "layers"))), quiet)
    assert "../plates/plate.%04d.exr" in (before / "layers" / "layers.nk").read_text()
    before.rename(tmp_path / "after")
    from penumbra.pipeline import rewrite_composites

    rewrite_composites(tmp_path / "after" / "layers")
    assert "../plates/plate.%04d.exr" in (tmp_path / "after" / "layers" / "layers.nk").read_text()
    assert str(tmp_path / "after" / "plates") in (tmp_path / "after" / "layers" / "layers.setting").read_text()
    assert Path(load_manifest(tmp_path / "after" / "layers")["job"]["plate"]["path"]).parts[-3] == "before"
