from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from penumbra.errors import JobError, OutputError
from penumbra.training.scenes import Scenes, SceneSettings, render, render_solo, sample_scenes, sheet_row, write_sheet
from penumbra.training.scenes.objects import BOX, CYLINDER, ELLIPSOID, rotation
from penumbra.training.scenes.tracing import Geometry, any_hit, geometry_of, nearest_hits
from penumbra.training.scenes.water import flooded, sample_water

SMALL = SceneSettings(48, 48, 3, 2)


def clips_of(settings: SceneSettings, seed: int = 1, count: int = 3):
    return render(sample_scenes(settings, seed, count), settings.height, settings.width)


def test_a_scene_depends_on_its_seed_and_number_only():
    three = clips_of(SMALL)
    second = render(sample_scenes(SMALL, 1, 1, first=1), 48, 48)
    assert torch.equal(three.frames[1:2], second.frames)
    assert torch.equal(three.masks[1:2], second.masks)
    assert not torch.equal(three.frames[0], three.frames[1])
    assert not torch.equal(clips_of(SMALL, seed=2).frames, three.frames)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("objects", [2, 4])
def test_clips_have_the_promised_shapes_and_ranges(version: int, objects: int):
    settings = SceneSettings(32, 48, 3, objects, "both", version, pan=version == 2)
    clips = clips_of(settings, count=2)
    assert clips.frames.shape == clips.background.shape == (2, 3, 3, 32, 48)
    assert clips.masks.shape == (2, 3, objects, 32, 48)
    assert clips.frames.isfinite().all()
    assert clips.frames.std() > 0.02
    for part in (clips.frames, clips.masks, clips.background):
        assert part.min() >= 0
        assert part.max() <= 1
        assert torch.equal((part * 255).round() / 255, part)
    # Every pixel belongs to one object at most; rounding to 8 bits may add half a step for each.
    assert clips.masks.sum(2).max() <= 1 + objects * 0.5 / 255 + 1e-6
    assert torch.equal(clips.order.sort(-1).values, torch.arange(objects).expand_as(clips.order))


def test_without_a_mirror_effects_only_darken():
    clips = clips_of(SceneSettings(48, 48, 3, 2, "shadows"), count=6)
    outside = (clips.masks.sum(2, keepdim=True) == 0).expand_as(clips.frames)
    difference = (clips.frames - clips.background)[outside]
    assert difference.max() <= 1.001 / 255
    assert (difference < -8 / 255).float().mean() > 0.005


def test_a_mirroring_ground_shows_the_objects_and_a_matte_one_does_not():
    scenes = sample_scenes(SceneSettings(48, 48, 2, 2, "reflections"), 3, 6)
    # Without sun or sky, all that is left of an object beyond its mask is its mirror image of nothing.
    unlit = replace(scenes, sun_light=scenes.sun_light * 0)
    matte = replace(unlit, mirror=unlit.mirror * 0)
    polished = replace(unlit, mirror=torch.tensor([[0.4, 0.0]]).expand(6, 2))

    def below(which: Scenes) -> float:
        clips = render(which, 48, 48)
        outside = clips.masks.sum(2) == 0
        return float(((clips.frames - clips.background).abs().amax(2) > 0.06)[outside].float().mean())

    assert below(polished) > 2 * below(matte)


def test_an_overhead_sun_puts_the_shadow_under_a_hovering_ball():
    scenes = _one_ball(height=1.0, radius=0.5)
    scenes = replace(scenes, sun=torch.tensor([[0.0, 0.0, 1.0]]), sky_light=torch.full((1, 3), 1e-4))
    clips = render(scenes, 65, 65)
    ratio = (clips.frames[0, 0].mean(0) + 1e-3) / (clips.background[0, 0].mean(0) + 1e-3)
    shadow = (ratio < 0.5) & (clips.masks[0, 0].sum(0) == 0)
    # The camera looks level at the ball's height; the shadow's centre is one metre below it, five metres away.
    rows, columns = shadow.nonzero(as_tuple=True)
    focal = float(scenes.focal[0]) * 65
    assert abs(float(columns.float().mean()) - 32) < 0.7
    assert abs(float(rows.float().mean()) - (32 + focal * 1.0 / 5.0)) < 2.0


def test_a_ball_covers_the_pixels_geometry_says():
    scenes = _one_ball(height=1.0, radius=0.5)
    coverage = render(scenes, 96, 96).masks[0, 0].sum()
    # A centred sphere at distance d has the silhouette radius f r / sqrt(d^2 - r^2).
    focal = float(scenes.focal[0]) * 96
    radius = focal * 0.5 / (5.0**2 - 0.5**2) ** 0.5
    assert float(coverage) == pytest.approx(torch.pi * radius**2, rel=0.02)


def test_the_only_object_alone_is_the_whole_picture():
    settings = SceneSettings(48, 48, 2, 1)
    scenes = sample_scenes(settings, 5, 2)
    clips = render(scenes, 48, 48)
    solo, silhouette = render_solo(scenes, 0, 48, 48)
    assert torch.equal(solo, clips.frames)
    assert torch.equal(silhouette, clips.masks[:, :, 0])


def test_a_silhouette_holds_its_visible_mask():
    settings = SceneSettings(48, 48, 3, 3, version=2)
    scenes = sample_scenes(settings, 6, 4)
    clips = render(scenes, 48, 48)
    silhouettes = torch.stack([render_solo(scenes, k, 48, 48)[1] for k in range(3)], 2)
    assert (silhouettes - clips.masks).min() >= -0.5 / 255
    assert (silhouettes - clips.masks).max() > 0.5  # some object stands behind another


@pytest.mark.parametrize("kind", [ELLIPSOID, BOX, CYLINDER])
def test_rays_hit_where_stepping_along_them_enters_the_part(kind: int):
    generator = torch.Generator().manual_seed(kind)
    turn = torch.tensor(rotation(torch.tensor([0.3, -0.7, 1.1]).double().numpy())).float()
    half, centre = torch.tensor([0.6, 0.4, 0.8]), torch.tensor([0.1, -0.2, 0.3])
    to_local = turn.T / half[:, None]
    geometry = Geometry(
        to_local=to_local[None, None],
        centre=centre[None, None],
        radius=torch.tensor([[half.norm()]]),
        kind=torch.tensor([[kind]]),
        object_centre=centre[None, None],
        object_radius=torch.tensor([[half.norm()]]),
    )
    origins = torch.nn.functional.normalize(torch.randn(1, 400, 3, generator=generator), dim=-1) * 3
    aim = centre + torch.randn(1, 400, 3, generator=generator) * 0.5
    directions = torch.nn.functional.normalize(aim - origins, dim=-1)
    steps = torch.linspace(0, 6, 6001)
    points = (origins[..., None, :] + steps[:, None] * directions[..., None, :] - centre) @ to_local.T
    inside = {
        ELLIPSOID: points.square().sum(-1) < 1,
        BOX: (points.abs() < 1).all(-1),
        CYLINDER: (points[..., :2].square().sum(-1) < 1) & (points[..., 2].abs() < 1),
    }[kind]
    expected = torch.where(inside.any(-1), steps[inside.float().argmax(-1)], torch.inf)
    found = nearest_hits(geometry, origins, directions).distance
    both = expected.isfinite() & found.isfinite()
    # Steps of a millimetre miss what rays only graze.
    assert (expected.isfinite() != found.isfinite()).sum() <= 2
    assert both.sum() > 50
    assert (expected - found)[both].abs().max() < 2e-3
    assert torch.equal(any_hit(geometry, origins, directions), found.isfinite())


def test_imperfections_change_what_they_should_and_nothing_else():
    plain = clips_of(SMALL)
    grainy = clips_of(replace(SMALL, grain=True))
    assert torch.equal(grainy.background, plain.background)
    assert torch.equal(grainy.masks, plain.masks)
    assert 0.001 < float((grainy.frames - plain.frames).std()) < 0.05
    rough = clips_of(replace(SMALL, rough_masks=True))
    assert torch.equal(rough.frames, plain.frames)
    assert float((rough.masks - plain.masks).abs().max()) > 0.1
    assert float(rough.masks.sum() / plain.masks.sum()) == pytest.approx(1, abs=0.25)
    assert rough.masks[plain.masks.amax((-2, -1)) == 0].sum() == 0
    drifting = clips_of(replace(SMALL, drift=True))
    levels = drifting.background.mean((2, 3, 4))
    assert float((levels - levels[:, :1]).abs().max()) > 0.002
    moving = clips_of(replace(SMALL, patch=True)).background
    assert float((moving - plain.background).abs().max()) > 0.01
    assert not torch.equal(moving[:, 0], moving[:, 1])


def test_water_moves_on_the_ground_and_belongs_to_the_background():
    plain, wet = (clips_of(replace(SMALL, water=water, kind="shadows")) for water in (False, True))
    # The same objects under the same light: only the ground is another.
    assert torch.equal(wet.masks, plain.masks)
    assert torch.equal(wet.order, plain.order)
    inside = (plain.masks.sum(2, keepdim=True) > 0.999).expand_as(plain.frames)
    assert inside.any()
    assert torch.equal(wet.frames[inside], plain.frames[inside])
    moving = (wet.background[:, 1:] - wet.background[:, :-1]).abs().amax(2)
    assert ((moving > 0.02).float().mean((1, 2, 3)) > 0.005).all()
    assert (moving.amax(1) < 0.004).any(-1).any(-1).all()  # and the shore rests
    outside = (wet.masks.sum(2, keepdim=True) == 0).expand_as(wet.frames)
    # What no object shades or mirrors in is the background's, whatever it does.
    same = ((wet.frames - wet.background).abs() < 0.004) | ~outside
    assert same.float().mean() > 0.6


def test_only_ground_under_water_is_wet():
    water = torch.tensor(sample_water(np.random.default_rng(3), np.array([0, -6, 2.0]), np.array([0, 1.0])))[
        None
    ].float()
    towards = water[0, 1:3]
    across = torch.linspace(-30, 30, 241)
    point = torch.cat([across[:, None] * towards + water[0, 3] * towards, torch.zeros(241, 1)], 1)[None]
    albedo = torch.full((1, 241, 3), 0.3)
    footprint = torch.full((1, 241), 0.01)
    made = flooded(albedo, point, footprint, water, torch.tensor([0.3]))
    far = across < -4 * float(water[0, 4]) - 1
    assert torch.allclose(made[0, far], albedo[0, far], atol=1e-4)
    assert (made[0, across > 5] - 0.3).abs().mean() > 0.02
    assert made.min() >= 0
    assert made.max() <= 1
    assert torch.equal(flooded(albedo, point, footprint, water * 0, torch.tensor([0.3])), albedo)


def test_a_panning_camera_moves_the_background_by_its_homography():
    settings = SceneSettings(64, 64, 2, 1, "shadows", pan=True)
    scenes = sample_scenes(settings, 13, 1)
    # A smooth ground: what interpolation does to fine texture is not the question here.
    wave = (torch.arange(256) / 256 * 2 * torch.pi).sin() * 0.2 + 0.4
    scenes = replace(scenes, ground=(wave[:, None] * wave).expand(1, 3, 256, 256), tile=torch.full((1, 2), 4.0))
    background = render(scenes, 64, 64).background[0]
    focal = float(scenes.focal[0]) * 64
    intrinsics = torch.tensor([[focal, 0, 31.5], [0, focal, 31.5], [0, 0, 1]])
    homography = intrinsics @ scenes.view[0, 1].T @ scenes.view[0, 0] @ intrinsics.inverse()
    first, second = (background[t].permute(1, 2, 0).numpy() for t in (0, 1))
    warped = cv2.warpPerspective(first, homography.numpy(), (64, 64), borderValue=(-1, -1, -1))
    seen = (warped > 0).all(-1)
    assert seen.mean() > 0.4
    still, moved = abs(first - second)[seen].mean(), abs(warped - second)[seen].mean()
    assert moved < 0.5 * still


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 8}, "height"),
        ({"objects": 9}, "objects"),
        ({"kind": "smoke"}, "smoke"),
        ({"version": 3}, "version"),
        ({"span": 0.0}, "paths"),
    ],
)
def test_settings_that_make_no_scene_are_refused(change: dict[str, object], words: str):
    with pytest.raises(JobError, match=words):
        replace(SMALL, **change)


def test_the_sheet_shows_frames_masks_background_and_each_objects_effects(tmp_path: Path):
    scenes = sample_scenes(SMALL, 1, 2)
    clips = render(scenes, 48, 48)
    solo = torch.stack([render_solo(scenes, k, 48, 48)[0] for k in range(2)], 2)
    row = sheet_row(clips, 1, frames=3, solo=solo)
    assert row.shape == (3 + 1 + 1 + 2, 3, 48, 48)
    assert torch.equal(row[:3], clips.frames[1])
    assert torch.equal(row[4], clips.background[1, 1])
    # Red is the first object's colour: wherever its mask is, its effect is too.
    inside = clips.masks[1, 1, 0] > 0.9
    assert (row[5][0] - row[5][2])[inside].mean() > 0.2
    write_sheet([row, sheet_row(clips, 0)], tmp_path / "new" / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "new" / "sheet.png"))
    assert sheet.shape == (2 * 52, 7 * 52, 3)


def test_a_sheet_that_cannot_be_written_is_a_sentence(tmp_path: Path):
    with pytest.raises(OutputError, match=r"sheet\.xyz"):
        write_sheet([torch.zeros(1, 3, 8, 8)], tmp_path / "sheet.xyz")
    assert list(tmp_path.iterdir()) == []


def test_absent_objects_leave_no_trace_in_the_geometry():
    scenes = sample_scenes(SMALL, 1, 2)
    geometry = geometry_of(scenes, torch.zeros(2, 2, dtype=torch.bool))
    directions = torch.nn.functional.normalize(torch.randn(6, 50, 3), dim=-1)
    eye = scenes.eye.repeat_interleave(3, 0)[:, None]
    assert not nearest_hits(geometry, eye, directions).distance.isfinite().any()


def _one_ball(height: float, radius: float) -> Scenes:
    """One ball five metres before a level camera at its own height, over a plain ground."""
    scenes = sample_scenes(SceneSettings(64, 64, 1, 1, "shadows"), 1, 1)
    kind = torch.full_like(scenes.part_kind, -1)
    kind[..., 0] = ELLIPSOID
    view = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    return replace(
        scenes,
        eye=torch.tensor([[0.0, 0.0, height]]),
        view=view[None, None],
        focal=torch.tensor([1.0]),
        part_kind=kind,
        part_centre=torch.tensor([5.0, 0.0, height]).expand_as(scenes.part_centre).clone(),
        part_turn=torch.eye(3).expand_as(scenes.part_turn).clone(),
        part_half=torch.full_like(scenes.part_half, radius),
        wall_plane=torch.tensor([[0.0, 0.0, 0.0, 1e6]]),
        ground=torch.full_like(scenes.ground, 0.5),
        sun_light=torch.ones(1, 3),
        exposure=torch.ones(1, 1),
        sun_size=torch.tensor([0.01]),
    )
