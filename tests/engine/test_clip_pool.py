from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from penumbra.errors import FootageError, FootageNotFoundError
from penumbra.training.batch_source import BatchSource
from penumbra.training.clip_pool import ClipPool, ClipSettings
from penumbra.training.scene_pool import PoolSettings
from penumbra.training.scenes import RenderedClips
from penumbra.training.window_batches import draw_changes, make_batch

SIZE = 32
POOL = PoolSettings(SIZE, SIZE, group=1, groups=4, steps_per_group=4, start=3)


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def kubric(folder: Path, frames: int = 14, objects: int = 2, seed: int = 0, size: int = SIZE) -> Path:
    random = np.random.default_rng(seed)
    for t in range(frames):
        write(folder / f"rgba_{t:05d}.png", random.integers(0, 256, (size, size, 3), np.uint8))
        for k in range(objects):
            write(folder / f"mask{k}_{t:05d}.png", random.integers(0, 2, (size, size), np.uint8) * 255)
    write(folder / "bg.png", np.full((size, size, 3), 10, np.uint8))
    write(folder / "bg_est.png", np.full((size, size, 3), 20, np.uint8))
    # The order changes half way.
    lines = [" ".join(map(str, range(objects) if t < 7 else reversed(range(objects)))) for t in range(frames)]
    (folder / "order.txt").write_text("\n".join(lines) + "\n")
    return folder


def pool(*folders: Path, **options: float) -> ClipPool:
    return ClipPool(ClipSettings(tuple(map(str, folders)), **options), SIZE, SIZE)  # type: ignore[arg-type]


def test_a_window_holds_the_files_pixels_where_nothing_is_cropped(tmp_path: Path):
    folder = kubric(tmp_path / "clip")
    clips = pool(folder)
    random = np.random.default_rng(0)
    place = next(p for p in clips.draw(random, 2, 60) if p.kept == (0, 1, 0, 1))
    steps = np.diff(place.frames)
    assert (steps == steps[0]).all()
    frames, masks, background, order = clips.window(place)
    for t, index in enumerate(place.frames):
        image = cv2.imread(str(folder / f"rgba_{index:05d}.png"))[..., ::-1]
        np.testing.assert_array_equal(frames[t].permute(1, 2, 0).numpy(), image)
        mask = cv2.imread(str(folder / f"mask1_{index:05d}.png"), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(masks[t, 1].numpy(), mask)
        assert order[t].tolist() == ([0, 1] if index < 7 else [1, 0])
    assert background.unique().tolist() == [20]


def test_windows_reach_every_frame_at_the_largest_stride_that_fits(tmp_path: Path):
    clips = pool(kubric(tmp_path / "clip", frames=14))
    places = clips.draw(np.random.default_rng(0), 2, 200)
    assert {frame for place in places for frame in place.frames} == set(range(14))
    assert {place.frames[1] - place.frames[0] for place in places} == {2}


def test_crops_are_the_published_ones(tmp_path: Path):
    places = pool(kubric(tmp_path / "clip")).draw(np.random.default_rng(0), 2, 400)
    kept = np.array([place.kept for place in places])
    whole = (kept == (0, 1, 0, 1)).all(1)
    assert whole.mean() == pytest.approx(0.2, abs=0.06)
    cut = np.abs(kept[~whole] - (0, 1, 0, 1))
    assert (cut.max(0) <= (0.05, 0.1, 0.1, 0.1)).all()
    assert (cut.max(0) > (0.045, 0.09, 0.09, 0.09)).all()


def test_a_crop_moves_frames_masks_and_background_alike(tmp_path: Path):
    folder = kubric(tmp_path / "clip", size=64)
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    for path in folder.glob("*.png"):
        write(path, ramp if path.name.startswith("mask") else np.repeat(ramp[..., None], 3, 2))
    clips = pool(folder)
    place = replace(clips.draw(np.random.default_rng(0), 2, 1)[0], kept=(0.0, 1.0, 0.1, 0.9))
    frames, masks, background, _ = clips.window(place)
    assert torch.equal(frames[:, 0], masks[:, 0])
    assert torch.equal(frames, background)
    assert frames[0, 0, 0, 0] == pytest.approx(255 * 0.1, abs=4)
    assert frames[0, 0, 0, -1] == pytest.approx(255 * 0.9, abs=6)


def test_true_and_estimated_backgrounds_are_drawn_by_their_share(tmp_path: Path):
    clips = pool(kubric(tmp_path / "clip"), estimated=0.5)
    places = clips.draw(np.random.default_rng(0), 2, 200)
    assert np.mean([place.estimated for place in places]) == pytest.approx(0.5, abs=0.12)
    levels = {place.estimated: clips.window(place)[2].unique().tolist() for place in places[:20]}
    assert levels == {True: [20], False: [10]}


def test_windows_decoded_ahead_are_the_same(tmp_path: Path):
    clips = pool(kubric(tmp_path / "clip"), cache_gigabytes=0)
    places = clips.draw(np.random.default_rng(0), 2, 3)
    now = [clips.window(place) for place in places]
    clips.prepare(places)
    for place, expected in zip(places, now, strict=True):
        assert all(map(torch.equal, clips.window(place), expected))
    clips.close()


def test_clips_without_a_background_or_with_too_few_frames_are_refused(tmp_path: Path):
    with pytest.raises(FootageError, match="has 3 frames; training needs 5"):
        pool(kubric(tmp_path / "short", frames=3))
    bare = kubric(tmp_path / "bare")
    (bare / "bg.png").unlink()
    (bare / "bg_est.png").unlink()
    with pytest.raises(FootageError, match="has no background"):
        pool(bare)
    with pytest.raises(FootageNotFoundError, match="No clip"):
        pool(tmp_path / "nowhere")


def test_clips_and_scenes_are_mixed_by_their_share(tmp_path: Path):
    clips = ClipSettings((str(kubric(tmp_path / "clip", objects=1)),), share=0.5)
    source = BatchSource(POOL, 1, clips=clips)
    # Only the clips on disk hold one object.
    counts = [source.batch(step, 2).masks.shape[1] for step in range(24)]
    source.close()
    assert 6 <= counts.count(1) <= 18
    assert set(counts) <= {1, 2, 3}


def test_a_batch_mixes_both_where_they_hold_as_many_objects(tmp_path: Path):
    clips = ClipSettings((str(kubric(tmp_path / "clip", objects=2)),), share=0.5)
    source = BatchSource(replace(POOL, objects=(1, 0, 0)), 1, clips=clips)
    batch = source.batch(0, 24)
    source.close()
    # White noise is rougher than any object's outline.
    rough = (batch.masks.diff(dim=-1).abs().mean((1, 2, 3, 4)) > 0.3).sum()
    assert batch.masks.shape[:2] == (12, 2)
    assert 2 <= int(rough) <= 10


def test_training_on_clips_alone_renders_nothing(tmp_path: Path):
    source = BatchSource(POOL, 1, clips=ClipSettings((str(kubric(tmp_path)),)))
    assert [source.batch(step, 8).masks.shape[:2] for step in range(2)] == [(4, 2)] * 2
    assert source._pool is None


def test_layers_are_put_in_the_order_of_each_target():
    generator = torch.Generator().manual_seed(0)
    frames, masks, background = (torch.rand(2, 5, c, 16, 16, generator=generator) for c in (3, 3, 3))
    order = torch.stack([torch.stack([torch.randperm(3, generator=generator) for _ in range(5)]) for _ in range(2)])
    changes = draw_changes(np.random.default_rng(0), 2)
    batch = make_batch(RenderedClips(frames, masks, background, order), changes, np.zeros(2, bool))
    layers = torch.rand(2, 4, 3, 2, 16, 16, generator=generator)
    ordered = batch.ordered(layers)
    for b in range(2):
        for d, target in enumerate(batch.targets[b].tolist()):
            for place, k in enumerate(order[b, target].tolist()):
                assert torch.equal(ordered[b, :, place, d], layers[b, :, k, d])
                assert torch.equal(batch.target_masks[b, place, d], batch.masks[b, k, target])


def test_the_published_hiding_takes_three_frames_at_an_end():
    changes = draw_changes(np.random.default_rng(0), 64, "ends")
    assert changes.targets.shape == (64, 3)
    assert {tuple(row) for row in changes.hidden.tolist()} == {
        (True, True, True, False, False), (False, False, True, True, True),
    }  # fmt: skip
