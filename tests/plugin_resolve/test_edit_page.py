"""From the playhead to layers on tracks, with the real engine as a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fakes.resolve import HostObject, MediaPoolItem, _lua, _pixels
from penumbra.errors import JobError
from penumbra_resolve import edit_host, render_host, timeline_host
from penumbra_resolve.engine import run_engine
from penumbra_resolve.shots import INPUTS_FOLDER
from penumbra_resolve.sources import footage_of
from plugin_resolve.clips import (
    COUNT,
    HANDLE,
    MEDIA_FIRST,
    bin_at,
    bin_names,
    edit,
    media,
    picture,
    rgba,
    stop_in_refinement,
    write_media,
)

SMALL, SMALL_HANDLE = 4, 3


@pytest.fixture(scope="module")
def small_media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media") / "Ünter wegs 'A'"
    write_media(folder, count=10)
    return folder


@pytest.fixture(scope="module")
def decomposed(small_media, tmp_path_factory):
    """A clip taken apart from a read-only folder: Resolve as it is then, the clip, the shot's folder."""
    shots = tmp_path_factory.mktemp("shots") / "Shots ünïcode 1"
    with pytest.MonkeyPatch.context() as patch:
        _small_environment(patch, shots)
        small_media.chmod(stat.S_IRUSR | stat.S_IXUSR)
        before = sorted(path.name for path in small_media.iterdir())
        resolve, clip = small_edit(small_media)
        try:
            assert edit_host.main(resolve) == 0
        finally:
            small_media.chmod(stat.S_IRWXU)
        assert sorted(path.name for path in small_media.iterdir()) == before
    return resolve, clip, shots / "Fïlm 1" / f"plate_{SMALL_HANDLE}-{SMALL_HANDLE + SMALL - 1}"


def _small_environment(patch, shots):
    patch.setenv("PENUMBRA_PYTHON", sys.executable)
    patch.setenv("PENUMBRA_RESOLVE_FOLDER", str(shots))
    patch.setenv("PENUMBRA_RESOLVE_REFINE", "off")
    patch.setenv("PENUMBRA_RESOLVE_WINDOW", "off")


def small_edit(folder, **given):
    return edit(folder, count=SMALL, handle=SMALL_HANDLE, media_count=10, **given)


def assert_layers_are_placed(resolve, clip, shot, first_index):
    """Three new tracks, at the clip's own frames, which recompose to it, out of the shot's bin."""
    timeline, count = resolve._project._timeline, clip._duration
    tracks = timeline._tracks[3:]
    assert [track.name for track in tracks] == ["Penumbra background", "Penumbra car", "Penumbra person"]
    assert [[(i._start, i._duration, i._offset) for i in track.items] for track in tracks] == [
        [(clip._start, count, 0)]
    ] * 3
    assert (clip.GetClipEnabled(), clip in timeline._tracks[0].items) == (False, True)
    bin_ = bin_at(resolve, "Penumbra", shot.name)
    assert [item.GetName() for item in bin_.GetClipList()] == ["background", "car", "person"]
    for item in bin_.GetClipList():
        assert item._properties["FPS"] == "23.976"
        assert item._properties["Frames"] == str(count)
    assert [item._properties["Alpha mode"] for item in bin_.GetClipList()] == ["None", "Premultiplied", "Premultiplied"]
    for frame in range(clip._start, clip._start + count):
        seen = np.zeros(3)
        for track in tracks:
            above = track.items[0]._pixels(frame)
            seen = above[..., :3] + (1 - above[..., 3:]) * seen if track is not tracks[0] else above[..., :3]
        plate = picture(first_index + frame - clip._start)[0]
        assert (np.abs(seen - plate) <= 2**-10 * plate + 2**-12).all()


def test_layers_lie_over_the_clip(decomposed):
    resolve, clip, shot = decomposed
    assert_layers_are_placed(resolve, clip, shot, SMALL_HANDLE)
    # The other clip before it, and the bin that was open, are as they were.
    assert len(resolve._project._timeline._tracks[0].items) == 2
    assert resolve._project._pool._current is resolve._project._pool._root


def test_the_engine_was_given_the_exact_frames(decomposed):
    job = json.loads((decomposed[2] / INPUTS_FOLDER / "job.json").read_text(encoding="utf-8"))
    first = MEDIA_FIRST + SMALL_HANDLE
    assert job["plate"]["frames"] == f"{first}-{first + SMALL - 1}"
    assert job["plate"]["path"].endswith("plate.%04d.exr")
    # The masks' files count from 1.
    assert [(mask["name"], mask["offset"]) for mask in job["masks"]] == [("car", 1000), ("person", 1000)]


def test_the_setting_and_the_timeline_of_a_real_run_hold_the_plate(decomposed):
    shot = decomposed[2]
    graph, active = _lua.read_setting((shot / "layers.setting").read_text(encoding="utf-8"))
    for index in range(SMALL_HANDLE, SMALL_HANDLE + SMALL):
        plate = picture(index)[0]
        seen = _pixels.image(graph, active, MEDIA_FIRST + index)[..., :3]
        assert (np.abs(seen - plate) <= 2**-10 * plate + 2**-12).all()
        assert _pixels.image(graph, "Penumbra_check", MEDIA_FIRST + index)[..., :3].max() < 1.25
    assert (shot / "layers.otio").is_file()


def test_once_more_takes_what_is_finished_into_a_second_bin(decomposed, small_media, monkeypatch, capsys):
    resolve, _, shot = decomposed
    _small_environment(monkeypatch, shot.parents[1])
    again, clip = small_edit(small_media)
    again._project._pool = resolve._project._pool
    again._project._pool._project = again._project
    stamps = {path: path.stat().st_mtime_ns for path in shot.rglob("*.exr")}
    assert edit_host.main(again) == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in shot.rglob("*.exr")}
    assert set(bin_names(bin_at(again, "Penumbra"))) == {shot.name, f"{shot.name} 2"}
    assert [item._start for track in again._project._timeline._tracks[3:] for item in track.items] == [clip._start] * 3
    bin_at(again, "Penumbra")._folders.pop()


def test_other_masks_go_to_another_folder(small_media, tmp_path, capsys):
    resolve, _clip = small_edit(small_media)
    base = Path(os.environ["PENUMBRA_RESOLVE_FOLDER"]) / "Fïlm 1" / "plate_3-6"
    (base / "car").mkdir(parents=True)
    (base / "car" / "mine.txt").write_text("somebody's")
    monkey = timeline_host.connect(resolve)
    found = timeline_host.current_clip(monkey)
    folder, job_file, _ = edit_host._prepare(monkey, found, timeline_host.mask_clips(monkey, found), base)
    assert folder.name == "plate_3-6_v2"
    assert json.loads(job_file.read_text(encoding="utf-8"))["output"]["folder"] == ".."


def test_the_playhead_may_be_on_a_mask(small_media):
    resolve, clip = small_edit(small_media)
    host = timeline_host.connect(resolve)
    assert resolve._project._timeline.GetCurrentVideoItem() is not clip
    assert timeline_host.current_clip(host).item is clip


def test_once_taken_apart_the_playhead_is_on_a_layer_and_means_the_clip(decomposed, monkeypatch, small_media):
    resolve, clip, code = placed(decomposed, monkeypatch, small_media, lambda resolve: None)
    assert code == 0
    timeline = resolve._project._timeline
    assert timeline.GetCurrentVideoItem()._media.GetName() == "person"
    host = timeline_host.connect(resolve)
    found = timeline_host.current_clip(host)
    assert (found.item, [name for name, _ in timeline_host.mask_clips(host, found)]) == (clip, ["car", "person"])
    # Nor is a layer what a mask above it lies over.
    timeline._put(matte(10, 0), 7, clip._start, clip._duration)
    timeline.SetTrackName("video", 7, "Mask dog")
    assert timeline_host.current_clip(host).item is clip
    timeline._tracks[6].enabled = False
    for track in timeline._tracks[:3]:
        track.enabled = False
    with pytest.raises(JobError, match="a layer of an earlier run"):
        timeline_host.current_clip(host)


def test_under_the_layers_it_is_the_topmost_clip(decomposed, monkeypatch, small_media):
    resolve, clip, _ = placed(decomposed, monkeypatch, small_media, lambda resolve: None)
    timeline = resolve._project._timeline
    for track in timeline._tracks[1:3]:
        track.items, track.name = [], "Video"
    # One over all of the layers, one over a part, one that is off.
    over = timeline._put(media(small_media, "plate", MEDIA_FIRST, 10), 2, clip._start, clip._duration)
    timeline._put(media(small_media, "plate", MEDIA_FIRST, 10), 3, timeline._playhead, 1)
    host = timeline_host.connect(resolve)
    assert timeline_host.current_clip(host).item is over
    timeline._tracks[1].enabled = False
    assert timeline_host.current_clip(host).item is clip


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda resolve: setattr(resolve, "_project", None), "No project is open"),
        (lambda resolve: setattr(resolve._project, "_timeline", None), "No timeline is open"),
        (lambda resolve: setattr(resolve._project._timeline, "_playhead", 0), "no clip under the playhead"),
        (lambda resolve: setattr(resolve._project._timeline._tracks[2], "name", "Mask 2nd"), "'2nd' cannot be used"),
        (lambda resolve: setattr(resolve._project._timeline._tracks[2], "name", "Mask car"), "several clips"),
        (
            lambda resolve: [setattr(t, "name", "Video") for t in resolve._project._timeline._tracks],
            "No mask was found",
        ),
    ],
)
def test_what_is_missing_is_a_sentence(small_media, capsys, spoil, sentence):
    resolve, clip = small_edit(small_media)
    if sentence == "No mask was found":
        resolve._project._timeline._playhead = clip._start
        resolve._project._timeline._tracks[1].enabled = resolve._project._timeline._tracks[2].enabled = False
    spoil(resolve)
    assert edit_host.main(resolve) == 2
    assert sentence in capsys.readouterr().out
    assert clip.GetClipEnabled()


def test_without_an_engine_nothing_is_touched(small_media, monkeypatch, capsys):
    monkeypatch.delenv("PENUMBRA_PYTHON")
    monkeypatch.setenv("PATH", "")
    resolve, clip = small_edit(small_media)
    assert edit_host.main(resolve) == 5
    assert "penumbra install resolve" in capsys.readouterr().out
    assert clip.GetClipEnabled()
    assert bin_names(resolve._project._pool._root) == {}
    assert not Path(os.environ["PENUMBRA_RESOLVE_FOLDER"]).exists()


def test_a_folder_that_cannot_be_written_is_a_sentence(small_media, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PENUMBRA_RESOLVE_FOLDER", str(tmp_path / "file"))
    resolve, _ = small_edit(small_media)
    assert edit_host.main(resolve) == 4
    assert "cannot be written" in capsys.readouterr().out


def placed(decomposed, monkeypatch, small_media, spoil, **given):
    """A run over finished layers, with something wrong with Resolve."""
    _small_environment(monkeypatch, decomposed[2].parents[1])
    resolve, clip = small_edit(small_media, **given)
    spoil(resolve)
    return resolve, clip, edit_host.main(resolve)


def test_layers_that_are_not_placed_leave_the_timeline_as_it_was(decomposed, monkeypatch, small_media, capsys):
    def refuse(resolve):
        pool = resolve._project._pool
        real = pool.AppendToTimeline
        monkeypatch.setattr(
            pool,
            "AppendToTimeline",
            lambda clips: [] if clips[0]["mediaPoolItem"].GetName() == "person" else real(clips),
        )

    resolve, clip, code = placed(decomposed, monkeypatch, small_media, refuse)
    assert code == 2
    assert "does not place person" in capsys.readouterr().out
    assert [track.name for track in resolve._project._timeline._tracks] == ["Video 1", "Mask car", "Mask person"]
    assert clip.GetClipEnabled()
    # What was imported stays to be placed by hand.
    assert len(bin_at(resolve, "Penumbra", decomposed[2].name).GetClipList()) == 3


def test_individual_frames_are_a_sentence(decomposed, monkeypatch, small_media, capsys):
    _, clip, code = placed(
        decomposed, monkeypatch, small_media, lambda r: setattr(r._project._pool, "_individual", True)
    )
    assert code == 2
    assert "Show Individual Frames" in capsys.readouterr().out
    assert clip.GetClipEnabled()


def test_a_version_that_cannot_switch_clips_off_says_so(decomposed, monkeypatch, small_media, capsys):
    def older(resolve):
        monkeypatch.delattr("fakes.resolve.TimelineItem.SetClipEnabled")

    _resolve, clip, code = placed(decomposed, monkeypatch, small_media, older)
    assert code == 0
    assert "press D" in capsys.readouterr().out
    assert hasattr(clip, "SetClipEnabled"), "the fake answers to every name, as Resolve does"


@pytest.mark.parametrize(("speed", "own"), [(1.0, True), (1.1, False), (0.95, False)])
def test_a_small_change_of_speed_is_noticed(small_media, speed, own):
    resolve, clip = edit(small_media, count=24, handle=2, media_count=30)
    for track in resolve._project._timeline._tracks:
        track.items[-1]._speed = speed
    facts = timeline_host.current_clip(timeline_host.connect(resolve)).facts
    assert abs(facts.source_span - facts.duration) <= 2, "Resolve's source frames do not show it"
    assert (footage_of(facts)[0] is not None) == own
    assert clip._speed == speed


def matte(count, mask):
    """A clip only Resolve can show: a generator's or a composition's matte."""
    return MediaPoolItem("matte", "", count, "23.976", frame=lambda index: rgba(index, mask))


def retimed(folder, tracks=True):
    """A clip at double speed, and mattes as Resolve makes them."""
    resolve, clip = small_edit(folder)
    timeline = resolve._project._timeline
    clip._speed = 2.0
    for track, mask in ((2, 0), (3, 1)):
        timeline._tracks[track - 1].items = []
        timeline._put(matte(10, mask), track, clip._start, clip._duration, SMALL_HANDLE)
    return resolve, clip


def test_what_the_engine_cannot_read_is_rendered_and_all_settings_return(small_media, tmp_path):
    resolve, clip = retimed(small_media)
    project = resolve._project
    deliver, enabled = dict(project._deliver), [track.enabled for track in project._timeline._tracks]
    host = timeline_host.connect(resolve)
    found = timeline_host.current_clip(host)
    masks = timeline_host.mask_clips(host, found)
    base = tmp_path / "shöt"
    folder, job_file, plate = edit_host._prepare(host, found, masks, base)
    assert (plate.first, plate.at, plate.count) == (clip._start, clip._start, SMALL)
    job = json.loads(job_file.read_text(encoding="utf-8"))
    assert job["plate"]["color_space"] == "g24_rec709"
    assert [(m["channel"], m["offset"]) for m in job["masks"]] == [("alpha", 0), ("alpha", 0)]
    for index in range(SMALL):
        plate_file = folder / INPUTS_FOLDER / f"plate_{clip._start + index:08d}.exr"
        np.testing.assert_array_equal(_pixels.read(plate_file), rgba(SMALL_HANDLE + 2 * index))
        mask_file = folder / INPUTS_FOLDER / f"mask-person_{clip._start + index:08d}.exr"
        np.testing.assert_array_equal(_pixels.read(mask_file)[..., 3], picture(SMALL_HANDLE + index)[1][1])
    assert project._deliver == deliver
    assert (project._jobs, project._presets) == ({}, {})
    assert [track.enabled for track in project._timeline._tracks] == enabled
    # A run on it that is stopped goes on with what was rendered; nothing is rendered twice.
    rendered = len(project._rendered)
    assert edit_host._prepare(host, found, masks, base) == (folder, job_file, plate)
    assert len(project._rendered) == rendered


def test_a_clip_that_is_off_is_on_while_it_is_rendered(small_media, tmp_path, capsys):
    resolve, clip = retimed(small_media)
    mask = resolve._project._timeline._tracks[2].items[0]
    clip._enabled = mask._enabled = False
    job, plate = prepared(resolve, tmp_path / "shot")
    np.testing.assert_array_equal(_pixels.read(job["plate"]["path"] % plate.first), rgba(SMALL_HANDLE))
    matte = _pixels.read(job["masks"][1]["path"] % plate.first)
    np.testing.assert_array_equal(matte[..., 3], picture(SMALL_HANDLE)[1][1])
    assert (clip._enabled, mask._enabled) == (False, False)
    resolve._project._lies = True
    assert edit_host.main(resolve) == 3
    assert (clip._enabled, mask._enabled) == (False, False)


def test_a_version_that_does_not_tell_what_is_off_renders_all_the_same(small_media, tmp_path, monkeypatch):
    monkeypatch.delattr("fakes.resolve.TimelineItem.GetClipEnabled")
    resolve, clip = retimed(small_media)
    assert prepared(resolve, tmp_path / "shot")[1].first == clip._start


def test_a_copy_of_the_clip_is_rendered_for_its_matte(small_media, tmp_path):
    """A Magic Mask: the plate's own file on the mask's track, with a matte of Resolve's making."""
    resolve, clip = small_edit(small_media)
    copy = media(small_media, "plate", MEDIA_FIRST, 10)
    copy._frame = lambda index: rgba(index, 0)
    resolve._project._timeline._tracks[1].items[0]._media = copy
    host = timeline_host.connect(resolve)
    found = timeline_host.current_clip(host)
    _folder, job_file, plate = edit_host._prepare(host, found, timeline_host.mask_clips(host, found), tmp_path / "shot")
    job = json.loads(job_file.read_text(encoding="utf-8"))
    assert job["plate"]["path"].endswith("plate.%04d.exr")
    assert [mask["channel"] for mask in job["masks"]] == ["alpha", "auto"]
    matte, number = job["masks"][0], clip._start + 1
    stored = _pixels.read(matte["path"] % number)
    np.testing.assert_array_equal(stored[..., 3], picture(SMALL_HANDLE + 1)[1][0])
    assert number + matte["offset"] == plate.first + 1


def test_layers_lie_where_the_clip_s_own_picture_lies(decomposed, monkeypatch, small_media, capsys):
    """Mirrored and zoomed in the Inspector: layers of its file are to be, too."""

    def frame(resolve):
        for track in resolve._project._timeline._tracks:
            track.items[-1]._inspector.update(FlipX=True, ZoomX=1.5, Opacity=50.0)

    resolve, clip, code = placed(decomposed, monkeypatch, small_media, frame)
    assert code == 0
    tracks = resolve._project._timeline._tracks[3:]
    for track in tracks:
        assert track.items[0]._inspector == {**clip._inspector, "Opacity": 100.0}
    plate = clip._pixels(clip._start)[..., :3]
    seen = np.zeros(3)
    for track in tracks:
        above = track.items[0]._pixels(clip._start)
        seen = above[..., :3] + (1 - above[..., 3:]) * seen if track is not tracks[0] else above[..., :3]
    assert (np.abs(seen - plate) <= 2**-10 * plate + 2**-12).all()
    assert "framing" not in capsys.readouterr().out


def test_a_drop_frame_timeline_counts_its_frames_as_resolve_does(decomposed, monkeypatch, small_media):
    """01:00:00;00 at 29.97 drop-frame is the 107,892nd frame."""
    resolve, clip, code = placed(decomposed, monkeypatch, small_media, lambda resolve: None, rate="29.97 DF")
    assert code == 0
    assert clip._start == 107892 + 100
    tracks = resolve._project._timeline._tracks[3:]
    assert [[(i._start, i._duration) for i in track.items] for track in tracks] == [[(clip._start, SMALL)]] * 3
    assert {track.items[0]._media._properties["FPS"] for track in tracks} == {"29.97"}


def test_framing_a_version_does_not_take_is_said(decomposed, monkeypatch, small_media, capsys):
    def frame(resolve):
        for track in resolve._project._timeline._tracks:
            track.items[-1]._inspector["ZoomX"] = 2.0
        monkeypatch.setattr("fakes.resolve.TimelineItem.SetProperty", lambda item, key, value: False)

    _, _, code = placed(decomposed, monkeypatch, small_media, frame)
    assert code == 0
    assert "paste its attributes" in capsys.readouterr().out


def prepared(resolve, folder):
    host = timeline_host.connect(resolve)
    found = timeline_host.current_clip(host)
    _, job_file, plate = edit_host._prepare(host, found, timeline_host.mask_clips(host, found), folder)
    return json.loads(job_file.read_text(encoding="utf-8")), plate


def with_a_magic_mask(small_media):
    """The plate's own file on the mask's track, with a matte of Resolve's making."""
    resolve, clip = small_edit(small_media)
    copy = media(small_media, "plate", MEDIA_FIRST, 10)
    copy._frame = lambda index: rgba(index, 0)
    resolve._project._timeline._tracks[1].items[0]._media = copy
    return resolve, clip


def test_plate_and_masks_are_one_picture_where_one_of_them_must_be_rendered(small_media, tmp_path):
    resolve, _ = with_a_magic_mask(small_media)
    for track in resolve._project._timeline._tracks:
        track.items[-1]._inspector["FlipX"] = True
    job, plate = prepared(resolve, tmp_path / "shot")
    assert [mask["channel"] for mask in job["masks"]] == ["alpha", "alpha"]
    np.testing.assert_array_equal(
        _pixels.read(job["plate"]["path"] % plate.first)[..., :3], rgba(SMALL_HANDLE)[:, ::-1, :3]
    )
    matte = _pixels.read(job["masks"][0]["path"] % plate.first)
    np.testing.assert_array_equal(matte[..., 3], picture(SMALL_HANDLE)[1][0][:, ::-1])


def with_a_clean_plate(small_media, count=None, **given):
    """A clean plate on a track of its own, numbered from 501, with handles of its own."""
    resolve, clip = small_edit(small_media, **given)
    for index in range(10):
        _pixels.write(small_media / f"ground.{501 + index}.exr", ground(), ("R", "G", "B"))
    shown = "ground.[501-510].exr"
    clean = MediaPoolItem(shown, str(small_media / shown), 10, "23.976")
    resolve._project._timeline._put(clean, 4, clip._start, count or clip._duration, 5)
    resolve._project._timeline.SetTrackName("video", 4, "Clean plate")
    return resolve, clip


def ground():
    """The plate without its boxes, and a sun where the first box stands that no median could find."""
    grey = (0.3 + 0.1 * np.random.default_rng(7).random((48, 64, 3))).astype(np.float32)
    box = picture(SMALL_HANDLE)[1][0][..., None] > 0
    return np.where(box, grey + 0.5, grey).astype(np.float16).astype(np.float32)


def test_the_editor_s_own_clean_plate_is_used(small_media, capsys):
    resolve, _ = with_a_clean_plate(small_media)
    assert edit_host.main(resolve) == 0, capsys.readouterr().out
    (shot,) = (Path(os.environ["PENUMBRA_RESOLVE_FOLDER"]) / "Fïlm 1").iterdir()
    job = json.loads((shot / INPUTS_FOLDER / "job.json").read_text(encoding="utf-8"))
    assert Path(job["clean_plate"]["path"]).name == "ground.%03d.exr"
    # 506 stands where the plate's 1004 does.
    assert job["clean_plate"]["offset"] == 498
    box = picture(SMALL_HANDLE)[1][0] > 0
    clean = _pixels.read(shot / "background" / f"background.{MEDIA_FIRST + SMALL_HANDLE}.exr")[..., :3]
    np.testing.assert_allclose(clean[box], ground()[box], rtol=2**-9)
    tracks = resolve._project._timeline._tracks[4:]
    assert [track.name for track in tracks] == ["Penumbra background", "Penumbra car", "Penumbra person"]


def test_plate_and_clean_plate_are_rendered_together(small_media, tmp_path):
    """What Resolve renders is graded, a file is not."""
    resolve, clip = with_a_clean_plate(small_media)
    clip._comps = 1
    host = timeline_host.connect(resolve)
    found = timeline_host.current_clip(host)
    clean = timeline_host.clean_clip(host, found)
    _, job_file, plate = edit_host._prepare(
        host, found, timeline_host.mask_clips(host, found), tmp_path / "shot", clean
    )
    job = json.loads(job_file.read_text(encoding="utf-8"))
    assert (job["clean_plate"]["color_space"], job["clean_plate"]["offset"]) == ("g24_rec709", 0)
    np.testing.assert_array_equal(_pixels.read(job["clean_plate"]["path"] % plate.first)[..., :3], ground())
    assert [INPUTS_FOLDER in mask["path"] for mask in job["masks"]] == [False, False]


def test_a_clean_plate_that_is_too_short_is_a_sentence(small_media, capsys):
    resolve, _ = with_a_clean_plate(small_media, count=2)
    assert edit_host.main(resolve) == 2
    assert "not one clip over all of this one" in capsys.readouterr().out


@pytest.mark.parametrize(("size", "rendered"), [("128x96", False), ("96x96", True)])
def test_a_plate_of_another_shape_than_the_timeline_is_rendered_with_its_mattes(small_media, tmp_path, size, rendered):
    resolve, clip = with_a_magic_mask(small_media)
    clip._media._properties["Resolution"] = size
    job, _ = prepared(resolve, tmp_path / "shot")
    assert (INPUTS_FOLDER in job["plate"]["path"]) == rendered


def test_a_mask_that_was_moved_is_rendered(small_media, tmp_path):
    resolve, _ = small_edit(small_media)
    resolve._project._timeline._tracks[2].items[0]._inspector["Pan"] = 12.0
    job, _ = prepared(resolve, tmp_path / "shot")
    assert [INPUTS_FOLDER in mask["path"] for mask in job["masks"]] == [False, True]


def test_a_render_of_another_size_is_a_sentence(small_media, monkeypatch, capsys):
    resolve, clip = retimed(small_media)
    project = resolve._project
    take = project.SetRenderSettings
    monkeypatch.setattr(
        project,
        "SetRenderSettings",
        lambda settings: take({key: value for key, value in settings.items() if not key.startswith("Format")}),
    )
    assert edit_host.main(resolve) == 3
    assert "rendered plate at 32x24; the timeline has 64x48" in capsys.readouterr().out
    assert list(Path(os.environ["PENUMBRA_RESOLVE_FOLDER"]).rglob("*.exr")) == []
    assert clip.GetClipEnabled()


def test_a_render_that_lacks_frames_is_a_sentence_and_leaves_nothing(small_media, capsys):
    resolve, clip = retimed(small_media)
    resolve._project._lies = True
    assert edit_host.main(resolve) == 3
    assert f"rendered {SMALL - 1} of {SMALL} frames of plate" in capsys.readouterr().out
    assert list(Path(os.environ["PENUMBRA_RESOLVE_FOLDER"]).rglob("*.exr")) == []
    assert clip.GetClipEnabled()


def test_a_render_of_an_unknown_colour_is_refused(small_media, capsys):
    resolve, _ = retimed(small_media)
    resolve._project._settings["colorSpaceOutput"] = "P3-D65 ST2084 (4000 nits)"
    assert edit_host.main(resolve) == 2
    assert "cannot be told" in capsys.readouterr().out
    assert resolve._project._rendered == []


@pytest.mark.parametrize("where", ["_settings", "_timeline"])
def test_the_output_of_aces_is_never_guessed(small_media, capsys, where):
    resolve, _ = retimed(small_media)
    project = resolve._project
    settings = project._settings if where == "_settings" else project._timeline._settings
    settings.update(colorScienceMode="acescct", colorAcesODT="P3-D65 ST2084 (1000 nits)")
    assert edit_host.main(resolve) == 2
    assert "output 'p3-d65 st2084 (1000 nits)'" in capsys.readouterr().out
    assert project._rendered == []


def test_a_timeline_s_own_colour_comes_before_the_project_s(small_media, tmp_path):
    resolve, _ = retimed(small_media)
    resolve._project._timeline._settings["colorSpaceOutput"] = "sRGB"
    assert prepared(resolve, tmp_path / "shot")[0]["plate"]["color_space"] == "srgb_tx"


def test_resolve_is_asked_nothing_it_fabricates():
    """The fake's own trap works: any name is there, and calling one that is not is loud."""
    assert hasattr(HostObject(), "AnythingAtAll")
    with pytest.raises(TypeError, match="not callable"):
        HostObject().AnythingAtAll()


def test_the_engine_is_stopped_when_resolve_goes_away(small_media, tmp_path):
    """With a job that would take minutes."""
    job = {
        "penumbra_job": 1,
        "plate": {"path": str(small_media / "plate.%04d.exr")},
        "masks": [{"name": "car", "path": str(small_media / "car.%04d.png")}],
        "output": {"folder": str(tmp_path / "out")},
        "refine": {"steps": 100000},
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    seen, main_thread = [], threading.get_ident()

    def gone():
        assert threading.get_ident() == main_thread
        return any(event.stage == "track" for event in seen)

    started = time.monotonic()
    outcome = run_engine(
        ["decompose", "--job", str(tmp_path / "job.json"), "--json"], sys.executable, seen.append, gone
    )
    assert outcome.exit_code == 130
    assert "run the script again" in outcome.sentence
    assert time.monotonic() - started < 120


def test_the_real_compact_window_runs_the_job(small_media, monkeypatch, capsys):
    """As a process of its own, with another Qt's plug-in paths in the surroundings."""
    reason = "the window needs PySide6 and Qt's system libraries"
    pytest.importorskip("PySide6.QtWidgets", reason=reason, exc_type=ImportError)

    def without_the_window(*_):
        raise AssertionError("the window did not run the job")

    monkeypatch.delenv("PENUMBRA_RESOLVE_WINDOW")
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    monkeypatch.setenv("QT_PLUGIN_PATH", "/nowhere")
    monkeypatch.setenv("QT_QPA_PLATFORM_PLUGIN_PATH", "/nowhere")
    monkeypatch.setattr("penumbra_resolve.shots.run_engine", without_the_window)
    resolve, clip = small_edit(small_media)
    assert edit_host.main(resolve) == 0, capsys.readouterr().out
    (shot,) = (Path(os.environ["PENUMBRA_RESOLVE_FOLDER"]) / "Fïlm 1").iterdir()
    assert_layers_are_placed(resolve, clip, shot, SMALL_HANDLE)


@pytest.mark.slow
def test_forty_frames_from_the_middle_of_a_clip(tmp_path, capsys):
    """23.976 frames per second, a drop-frame start, handles, two masks, blanks and letters beyond ASCII."""
    folder = tmp_path / "Ünter wegs"
    write_media(folder)
    resolve, clip = edit(folder)
    assert edit_host.main(resolve) == 0, capsys.readouterr().out
    shot = Path(os.environ["PENUMBRA_RESOLVE_FOLDER"]) / "Fïlm 1" / f"plate_{HANDLE}-{HANDLE + COUNT - 1}"
    assert clip._start == 24 * 3600 + 100
    assert_layers_are_placed(resolve, clip, shot, HANDLE)


@pytest.mark.slow
def test_stopped_and_gone_on_with(small_media, monkeypatch, capsys):
    monkeypatch.setenv("PENUMBRA_RESOLVE_REFINE", "5")
    resolve, clip = small_edit(small_media)
    base = Path(os.environ["PENUMBRA_RESOLVE_FOLDER"])
    stopper = threading.Thread(target=stop_in_refinement, args=(base,))
    stopper.start()
    assert edit_host.main(resolve) == 130
    stopper.join()
    assert "run the script again" in capsys.readouterr().out
    assert clip.GetClipEnabled()
    assert bin_names(resolve._project._pool._root) == {}
    assert edit_host.main(resolve) == 0
    assert_layers_are_placed(resolve, clip, base / "Fïlm 1" / "plate_3-6", SMALL_HANDLE)


@pytest.mark.slow
def test_a_rendered_clip_goes_all_the_way(small_media, capsys):
    resolve, clip = retimed(small_media)
    assert edit_host.main(resolve) == 0, capsys.readouterr().out
    tracks = resolve._project._timeline._tracks[3:]
    assert [[(item._start, item._duration) for item in track.items] for track in tracks] == [[(clip._start, SMALL)]] * 3
    shutil.rmtree(os.environ["PENUMBRA_RESOLVE_FOLDER"])


def test_codecs_that_lose_something_are_never_taken():
    assert render_host._codec({"a": "RGBHalfDWAA", "b": "RGBFloat", "c": "RGBHalfZIP1"}) == "RGBHalfZIP1"
    with pytest.raises(timeline_host.HostError, match="no lossless EXR"):
        render_host._codec({"a": "DWAA"})


def test_a_clip_of_another_rate_is_rendered(small_media):
    resolve, clip = small_edit(small_media)
    clip._media = media(small_media, "plate", MEDIA_FIRST, 10, rate="25.0")
    host = timeline_host.connect(resolve)
    footage, why = footage_of(timeline_host.current_clip(host).facts)
    assert footage is None
    assert "25.0 frames per second" in why
