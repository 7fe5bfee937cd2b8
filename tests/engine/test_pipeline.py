"""The whole way through, on clips of a few tiny frames: what comes out, what is refused, what is left behind."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
from jsonschema import validate

from engine.read_samples import counted_frames, write_movie
from engine.tiny_clip import FIRST, FRAMES, SIZE, picture, tiny_job, write_clip, write_image
from penumbra import errors
from penumbra.job import CameraSettings, CleanPlateSettings, FrameRange, MaskSettings, PlateSettings
from penumbra.lift import lift_frame
from penumbra.pipeline import run
from penumbra.reporting import Reporter
from penumbra.write import load_manifest, manifest_schema


def quiet(event):
    pass


def read(path):
    image = oiio.ImageBuf(str(path))
    assert not image.has_error, image.geterror()
    return image.get_pixels(oiio.FLOAT), image.spec()


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.exr"))
    }


def warnings_of(job, **arguments):
    said = []
    run(job, lambda event: said.append(event.message) if event.event == "warning" else None, **arguments)
    return " ".join(said)


def assert_recomposes(folder, frames=FRAMES):
    manifest = load_manifest(folder)
    validate(manifest, manifest_schema())
    assert manifest["totals"]["complete"]
    assert manifest["totals"]["within_bound"]
    assert len(manifest["frames"]) == frames


def left_behind(folder):
    return [path for path in folder.rglob("*") if path.name.startswith(".penumbra-tmp")]


def test_every_frame_has_every_layer_and_they_recompose(tmp_path):
    write_clip(tmp_path)
    run(tiny_job(tmp_path, previews=True), quiet)
    out = tmp_path / "out"
    assert_recomposes(out)
    for index in range(FRAMES):
        number = FIRST + index
        layer, spec = read(out / "box" / f"box.{number}.exr")
        clean, _ = read(out / "background" / f"background.{number}.exr")
        plate, mask = picture(index)
        assert spec.channelnames == ("R", "G", "B", "A")
        error = np.abs(layer[..., :3] + (1 - layer[..., 3:]) * clean - plate.astype(np.float16))
        assert error.max() < 2**-10
        assert (layer[..., 3][mask > 0] == 1).all()
    assert (out / "preview" / "contact_sheet.png").stat().st_size > 1000
    assert (out / "preview" / "preview.mp4").stat().st_size > 1000
    assert not (out / ".penumbra" / "frames.npy").exists()


def test_layers_of_the_whole_shot_are_gone_over_before_any_frame_is_lifted(tmp_path, monkeypatch):
    said = []

    def go_over(clip, luma, occupied, layers, check_stop):
        assert len(clip.numbers) == len(luma) == len(occupied) == len(layers) == FRAMES
        said.append("gone over")
        layers[..., 3] = np.maximum(clip.masks, 0.25)

    def lift(plate, clean, masks, low, *rest, **named):
        said.append(low[..., 3].min())
        return lift_frame(plate, clean, masks, low, *rest, **named)

    monkeypatch.setattr("penumbra.pipeline.predict.by_lasting_shadows", go_over)
    monkeypatch.setattr("penumbra.pipeline.layers.lift_frame", lift)
    write_clip(tmp_path)
    run(tiny_job(tmp_path), quiet)
    assert said == ["gone over"] + FRAMES * [0.25]


def test_the_same_job_gives_the_same_bytes(tmp_path):
    write_clip(tmp_path)
    run(tiny_job(tmp_path, steps=3), quiet)
    first = digests(tmp_path / "out")
    run(tiny_job(tmp_path, steps=3, replace=True), quiet)
    assert digests(tmp_path / "out") == first
    assert len(first) == 2 * FRAMES


@pytest.mark.parametrize("stage", ["read", "track", "clean plate", "prepare", "refine", "decompose", "lift"])
def test_a_run_stopped_in_any_stage_resumes_to_the_same_bytes(tmp_path, stage, undisturbed):
    write_clip(tmp_path)
    job = tiny_job(tmp_path, steps=3)
    finished = []

    def stop_once(event):
        if event.event == "progress" and event.stage == stage and not finished:
            finished.append(event)
            reporter.request_stop()

    reporter = Reporter(stop_once)
    with pytest.raises(errors.Stopped):
        run(job, stop_once, report=reporter)
    assert not left_behind(tmp_path)
    for path in (tmp_path / "out").rglob("*.exr"):
        assert oiio.ImageBuf(str(path)).read()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "box").glob("*.exr")}
    run(job, quiet, resume=True)
    assert digests(tmp_path / "out") == undisturbed
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert_recomposes(tmp_path / "out")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    write_clip(folder)
    run(tiny_job(folder, steps=3), quiet)
    return digests(folder / "out")


def stop_in(stage):
    """Stops a run at the first progress of a stage."""

    def hear(event):
        if event.event == "progress" and event.stage == stage:
            reporter.request_stop()

    reporter = Reporter(hear)
    return reporter


def test_a_stopped_run_goes_on_after_its_folder_was_moved(tmp_path, undisturbed):
    (tmp_path / "here").mkdir()
    write_clip(tmp_path / "here")
    reporter = stop_in("lift")
    with pytest.raises(errors.Stopped):
        run(tiny_job(tmp_path / "here", steps=3), quiet, report=reporter)
    (tmp_path / "another root").mkdir()
    there = tmp_path / "another root" / "there"
    (tmp_path / "here").rename(there)
    kept = {path: path.stat().st_mtime_ns for path in (there / "out" / "box").glob("*.exr")}
    assert kept
    # Spelled as job files spell it.
    job = tiny_job(there, steps=3)
    job = replace(job, plate=replace(job.plate, path=str(there / "out" / ".." / Path(job.plate.path).name)))
    run(job, quiet, resume=True)
    assert digests(there / "out") == undisturbed
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_other_footage_at_the_same_place_is_another_job(tmp_path):
    write_clip(tmp_path)
    reporter = stop_in("lift")
    with pytest.raises(errors.Stopped):
        run(tiny_job(tmp_path), quiet, report=reporter)
    plate = next(tmp_path.glob(f"*.{FIRST}.*"))
    plate.touch()
    with pytest.raises(errors.OutputOfAnotherJobError, match="other footage"):
        run(tiny_job(tmp_path), quiet, resume=True)


def test_a_lost_layer_is_made_again_by_resume(tmp_path):
    write_clip(tmp_path)
    job = tiny_job(tmp_path)
    run(job, quiet)
    before = digests(tmp_path / "out")
    (tmp_path / "out" / "box" / f"box.{FIRST + 2}.exr").unlink()
    run(job, quiet, resume=True)
    assert digests(tmp_path / "out") == before


def test_a_finished_run_is_not_done_again(tmp_path):
    write_clip(tmp_path)
    job = tiny_job(tmp_path)
    run(job, quiet)
    with pytest.raises(errors.OutputOfAnotherJobError, match=r"finished result.*--resume"):
        run(job, quiet)
    stages = []
    run(job, lambda event: stages.append((event.event, event.stage)), resume=True)
    assert stages == [("stage", "read"), ("done", "")]


def test_an_output_folder_of_another_job_is_refused_and_left_alone(tmp_path):
    write_clip(tmp_path)
    run(tiny_job(tmp_path), quiet)
    before = digests(tmp_path / "out")
    other = tiny_job(tmp_path, precision="float")
    for resume in (False, True):
        with pytest.raises(errors.OutputOfAnotherJobError, match="another job"):
            run(other, quiet, resume=resume)
    assert digests(tmp_path / "out") == before
    run(tiny_job(tmp_path, precision="float", replace=True), quiet)
    assert_recomposes(tmp_path / "out")


def test_replacing_leaves_nothing_of_the_other_jobs_result(tmp_path):
    write_clip(tmp_path)
    first = tiny_job(tmp_path, previews=True, splits=True)
    run(replace(first, masks=(replace(first.masks[0], name="old"),)), quiet)
    (tmp_path / "out" / "old" / "notes.txt").write_text("mine")

    def stop(event):
        if event.stage == "track":
            reporter.request_stop()

    reporter = Reporter(stop)
    with pytest.raises(errors.Stopped):
        run(tiny_job(tmp_path, replace=True), stop, report=reporter)
    left = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {name for name in left if not name.startswith(".penumbra/")} == {"old/notes.txt"}
    run(tiny_job(tmp_path), quiet, resume=True)
    assert_recomposes(tmp_path / "out")


def test_a_folder_of_the_users_own_files_is_neither_overwritten_nor_emptied(tmp_path):
    write_clip(tmp_path)
    (tmp_path / "out" / "box").mkdir(parents=True)
    (tmp_path / "out" / "box" / "notes.txt").write_text("mine")
    with pytest.raises(errors.OutputOfAnotherJobError, match="already holds box"):
        run(tiny_job(tmp_path), quiet)
    run(tiny_job(tmp_path, replace=True), quiet)
    assert (tmp_path / "out" / "box" / "notes.txt").read_text() == "mine"


def test_changed_footage_makes_another_job(tmp_path):
    write_clip(tmp_path)
    run(tiny_job(tmp_path), quiet)
    plate, _ = picture(0)
    write_image(tmp_path / f"plate.{FIRST}.exr", plate * 2)
    with pytest.raises(errors.OutputOfAnotherJobError):
        run(tiny_job(tmp_path), quiet, resume=True)


def test_a_missing_frame_in_the_middle_is_named(tmp_path):
    write_clip(tmp_path)
    (tmp_path / f"plate.{FIRST + 2}.exr").unlink()
    with pytest.raises(errors.MissingFramesError, match=str(FIRST + 2)):
        run(tiny_job(tmp_path), quiet)
    assert not (tmp_path / "out").exists()


def test_a_mask_of_another_size_is_resized_only_at_the_same_aspect(tmp_path):
    write_clip(tmp_path)
    for index in range(FRAMES):
        write_image(
            tmp_path / f"mask.{FIRST + index}.png", np.repeat(np.repeat(picture(index)[1], 2, 0), 2, 1), oiio.UINT8
        )
    assert "resized" in warnings_of(tiny_job(tmp_path))
    for index in range(FRAMES):
        write_image(tmp_path / f"mask.{FIRST + index}.png", np.repeat(picture(index)[1], 2, 0), oiio.UINT8)
    with pytest.raises(errors.SizeMismatchError, match="box"):
        run(tiny_job(tmp_path, replace=True), quiet)


def test_a_mask_empty_on_all_frames_is_refused(tmp_path):
    write_clip(tmp_path)
    for index in range(FRAMES):
        write_image(tmp_path / f"mask.{FIRST + index}.png", np.zeros(SIZE), oiio.UINT8)
    with pytest.raises(errors.EmptyMaskError, match="box"):
        run(tiny_job(tmp_path), quiet)
    assert not list((tmp_path / "out").rglob("*.exr"))


def test_missing_mask_frames_are_empty_and_said(tmp_path):
    write_clip(tmp_path)
    (tmp_path / f"mask.{FIRST + 3}.png").unlink()
    assert str(FIRST + 3) in warnings_of(tiny_job(tmp_path))
    assert load_manifest(tmp_path / "out")["objects"][0]["missing_frames"] == [FIRST + 3]


def test_a_corrupt_exr_is_named_and_nothing_half_written_is_left(tmp_path):
    write_clip(tmp_path)
    path = tmp_path / f"plate.{FIRST + 4}.exr"
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(errors.UnreadableError, match=path.name):
        run(tiny_job(tmp_path), quiet)
    assert not list((tmp_path / "out").rglob("*.exr"))
    assert not left_behind(tmp_path)


def test_an_unknown_colour_space_is_refused_with_near_names(tmp_path):
    write_clip(tmp_path)
    job = tiny_job(tmp_path)
    job = replace(job, plate=replace(job.plate, color_space="ARRI LogC5"))
    with pytest.raises(errors.ColorSpaceError, match="ARRI LogC"):
        run(job, quiet)


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    write_clip(tmp_path)
    (tmp_path / "file").write_text("in the way")
    job = tiny_job(tmp_path)
    job = replace(job, output=replace(job.output, folder=str(tmp_path / "file" / "out")))
    with pytest.raises(errors.OutputError, match="file"):
        run(job, quiet)


def test_a_single_frame_clip_is_refused(tmp_path):
    write_clip(tmp_path)
    job = tiny_job(tmp_path)
    job = replace(job, plate=replace(job.plate, frames=FrameRange(FIRST, FIRST)))
    with pytest.raises(errors.TooShortError, match="single frame"):
        run(job, quiet)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("frames", [2, 3, 4])
def test_clips_shorter_than_the_window_work(tmp_path, frames):
    write_clip(tmp_path, frames)
    run(tiny_job(tmp_path), quiet)
    assert_recomposes(tmp_path / "out", frames)


def test_values_that_are_not_finite_are_said_and_listed(tmp_path):
    def spoil(index, plate):
        if index == 2:
            plate = plate.copy()
            plate[3, 4], plate[5, 6, 1] = np.nan, np.inf
        return plate

    write_clip(tmp_path, change=spoil)
    assert "not finite" in warnings_of(tiny_job(tmp_path))
    manifest = load_manifest(tmp_path / "out")
    assert manifest["frames"][str(FIRST + 2)]["unresolved"] == 2
    assert manifest["totals"]["within_bound"]
    for path in (tmp_path / "out").rglob("*.exr"):
        assert np.isfinite(read(path)[0]).all()


def test_odd_sizes(tmp_path):
    write_clip(tmp_path, size=(81, 191))
    run(tiny_job(tmp_path), quiet)
    assert_recomposes(tmp_path / "out")
    assert read(tmp_path / "out" / "box" / f"box.{FIRST}.exr")[0].shape == (81, 191, 4)


@pytest.mark.parametrize(("origin", "display"), [((5, 7), (0, 0, 90, 70)), ((-8, -6), (0, 0, 48, 36))])
def test_data_windows_smaller_and_larger_than_the_display_window_are_kept(tmp_path, origin, display):
    for index in range(FRAMES):
        plate, mask = picture(index)
        write_image(tmp_path / f"plate.{FIRST + index}.exr", plate, origin=origin, display=display)
        write_image(tmp_path / f"mask.{FIRST + index}.exr", mask, origin=origin, display=display)
    job = tiny_job(tmp_path)
    run(replace(job, masks=(replace(job.masks[0], path=str(tmp_path / "mask.####.exr")),)), quiet)
    assert_recomposes(tmp_path / "out")
    pixels, spec = read(tmp_path / "out" / "box" / f"box.{FIRST}.exr")
    assert (spec.x, spec.y) == origin
    assert (spec.full_x, spec.full_y, spec.full_width, spec.full_height) == display
    assert (pixels[..., 3][picture(0)[1] > 0] == 1).all()


def test_rgba_and_one_channel_plates(tmp_path):
    write_clip(tmp_path, change=lambda index, plate: np.dstack([plate, np.full(SIZE, 0.5)]))
    assert "alpha" in warnings_of(tiny_job(tmp_path))
    assert_recomposes(tmp_path / "out")
    write_clip(tmp_path, change=lambda index, plate: plate[..., :1])
    assert "one channel" in warnings_of(tiny_job(tmp_path, replace=True)).replace("single", "one")
    assert_recomposes(tmp_path / "out")


def test_highlights_and_negative_values_pass(tmp_path):
    def extreme(index, plate):
        plate = plate.copy()
        plate[0:4, 0:4] = 50.0
        plate[40:44, 50:54] = -0.01
        return plate

    write_clip(tmp_path, change=extreme)
    run(tiny_job(tmp_path), quiet)
    assert_recomposes(tmp_path / "out")
    clean, _ = read(tmp_path / "out" / "background" / f"background.{FIRST}.exr")
    layer, _ = read(tmp_path / "out" / "box" / f"box.{FIRST}.exr")
    over = layer[..., :3] + (1 - layer[..., 3:]) * clean
    assert over[1, 1] == pytest.approx([50.0] * 3, rel=1e-3)


@pytest.mark.parametrize(("value", "rows", "told"), [(-0.2, 4, True), (-0.2, 0, False), (-0.005, 40, False)])
def test_many_negative_values_are_said(tmp_path, value, rows, told):
    def dark(index, plate):
        plate = plate.copy()
        plate[:rows] = value
        return plate

    write_clip(tmp_path, change=dark)
    said = warnings_of(tiny_job(tmp_path))
    assert (f"{FRAMES} frames of the plate, the first {FIRST}, hold many negative values" in said) == told


@pytest.mark.parametrize("precision", ["half", "float"])
def test_values_too_bright_for_half_are_said_and_listed(tmp_path, precision):
    def flare(index, plate):
        plate = plate.copy()
        plate[:2, :3] = 1e5
        return plate

    for index in range(FRAMES):
        plate, mask = picture(index)
        write_image(tmp_path / f"plate.{FIRST + index}.exr", flare(index, plate), oiio.FLOAT)
        write_image(tmp_path / f"mask.{FIRST + index}.png", mask, oiio.UINT8)
    said = warnings_of(tiny_job(tmp_path, precision=precision))
    assert ("above 65504" in said) == (precision == "half")
    assert_recomposes(tmp_path / "out")
    assert load_manifest(tmp_path / "out")["totals"]["unresolved"] == (6 * FRAMES if precision == "half" else 0)


def test_the_users_own_clean_plate_and_camera_are_used(tmp_path):
    write_clip(tmp_path)
    still = np.full((*SIZE, 3), 0.35, np.float32)
    write_image(tmp_path / "clean.exr", still)
    job = replace(
        tiny_job(tmp_path, precision="float"),
        clean_plate=CleanPlateSettings(str(tmp_path / "clean.exr")),
        camera=CameraSettings("locked"),
    )
    run(job, quiet)
    assert_recomposes(tmp_path / "out")
    layer, _ = read(tmp_path / "out" / "box" / f"box.{FIRST}.exr")
    clean, _ = read(tmp_path / "out" / "background" / f"background.{FIRST}.exr")
    behind = layer[..., 3] == 1
    assert clean[behind] == pytest.approx(still.astype(np.float16)[behind])


def test_the_clean_plate_itself_comes_with_a_matte_of_what_was_seen(tmp_path):
    write_clip(tmp_path)
    run(replace(tiny_job(tmp_path, clean=True), camera=CameraSettings("locked")), quiet)
    assert_recomposes(tmp_path / "out")
    for number in range(FIRST, FIRST + FRAMES):
        pixels, spec = read(tmp_path / "out" / "clean" / f"clean.{number}.exr")
        assert tuple(spec.channelnames) == ("R", "G", "B", "seen")
        assert pixels.shape[:2] == SIZE
        assert set(np.unique(pixels[..., 3])) <= {0.0, 1.0}
        plate, mask = picture(number - FIRST)
        ground = (pixels[..., 3] == 1) & (mask == 0)
        ground[SIZE[0] // 3 - 2 :] = False
        assert pixels[ground][:, :3] == pytest.approx(plate[ground], rel=2e-3)


def test_a_truncated_movie_is_refused(tmp_path):
    movie = tmp_path / "plate.mp4"
    write_movie(movie, counted_frames(24))
    movie.write_bytes(movie.read_bytes()[: movie.stat().st_size * 2 // 3])
    job = replace(tiny_job(tmp_path), plate=PlateSettings(str(movie)), masks=(MaskSettings("box", str(movie)),))
    with pytest.raises(errors.FootageError, match=r"plate\.mp4"):
        run(job, quiet)


def test_the_manifest_says_what_was_made(tmp_path):
    write_clip(tmp_path)
    run(tiny_job(tmp_path), quiet)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["plate"]["frames"] == f"{FIRST}-{FIRST + FRAMES - 1}"
    assert manifest["order"][str(FIRST)] == ["box"]
    assert manifest["weights"]["refine_steps"] == 0
    assert Path(manifest["job"]["plate"]["path"]).name == "plate.####.exr"
