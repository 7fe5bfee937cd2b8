"""Scores, baselines, table and figures of clips whose truth is known; the shared tools are the independent witness."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from penumbra import cli
from penumbra.color import srgb_decode, srgb_encode
from penumbra.compositing import over
from penumbra.errors import FootageNotFoundError, JobError, OutputError
from penumbra.evaluate import evaluate as run_evaluation
from penumbra.evaluate import score, table_lines, write_report
from penumbra.evaluate.baselines import mask_only, median_background, nearest_mask, write_baseline
from penumbra.evaluate.comparison import telling_frame, true_layer
from penumbra.evaluate.figures import changed
from penumbra.evaluate.truth import Truth
from penumbra.job import ModelSettings
from penumbra.training import scoring
from penumbra.training.synth import write_sample
from penumbra.write import load_manifest

SHARED = Path(__file__).resolve().parents[3] / "shared"
DEV_CLIPS = sorted((SHARED / "data" / "bench" / "dev").glob("*/"))
needs_tools = pytest.mark.skipif(
    not (SHARED / "tools").is_dir(), reason="the shared tools are not beside this checkout"
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate") / "clip"
    write_sample(folder, seed=11, frames=5, height=48, width=64, objects=2, version=1, kind="shadows")
    return folder


@pytest.fixture(scope="module")
def nearest(clip: Path) -> Path:
    output = clip.parent / "nearest"
    write_baseline(clip, output, nearest_mask)
    return output


def told_by(tool: str, *arguments: Path) -> str:
    command = [sys.executable, str(SHARED / "tools" / tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def assert_agrees(ours: dict[str, Any], theirs: dict[str, Any], tolerance: float) -> None:
    for ours_name, name in (("recomposition_max",) * 2, ("recomposition_mean",) * 2, ("flicker",) * 2):
        assert ours[ours_name] == pytest.approx(theirs[name], abs=2e-5), name
    for name in ("effect_iou", "mask_iou", "outside_iou", "misplaced", "effect_iou_per_object"):
        assert ours[name] == pytest.approx(theirs[name], abs=tolerance), name
    assert ours["solo_psnr"] == pytest.approx(theirs["solo_psnr"], abs=0.01)
    assert theirs["frames"] == f"{ours['frames']}/{ours['frames']}"


@needs_tools
@pytest.mark.parametrize("ownership", [mask_only, nearest_mask])
def test_scores_are_those_of_the_independent_tool(clip: Path, tmp_path: Path, ownership: Any) -> None:
    write_baseline(clip, tmp_path, ownership)
    assert_agrees(score(clip, tmp_path), json.loads(told_by("score_layers.py", clip, tmp_path)), 1e-3)


@needs_tools
def test_the_baseline_is_the_shared_one(clip: Path, nearest: Path, tmp_path: Path) -> None:
    told_by("baseline_nearest.py", clip, tmp_path)
    theirs = json.loads(told_by("score_layers.py", clip, tmp_path))
    ours = score(clip, nearest)
    for name in ("effect_iou", "outside_iou", "misplaced"):
        assert ours[name] == pytest.approx(theirs[name], abs=0.01), name


@needs_tools
@pytest.mark.slow
@pytest.mark.parametrize("folder", DEV_CLIPS, ids=lambda folder: folder.name)
def test_baselines_score_as_the_shared_tools_say_on_the_development_clips(folder: Path, tmp_path: Path) -> None:
    for name, ownership in (("nearest", nearest_mask), ("mask", mask_only)):
        write_baseline(folder, tmp_path / name, ownership)
        assert_agrees(
            score(folder, tmp_path / name), json.loads(told_by("score_layers.py", folder, tmp_path / name)), 1e-3
        )
    told_by("baseline_nearest.py", folder, tmp_path / "theirs")
    theirs = json.loads(told_by("score_layers.py", folder, tmp_path / "theirs"))
    ours = score(folder, tmp_path / "nearest")
    for name in ("effect_iou", "outside_iou", "misplaced"):
        assert ours[name] == pytest.approx(theirs[name], abs=0.01), name


def test_masks_alone_claim_no_effect_and_recompose(clip: Path, nearest: Path, tmp_path: Path) -> None:
    write_baseline(clip, tmp_path, mask_only)
    figures = score(clip, tmp_path)
    # Soft edges of the masks change pixels too, so it is not the mask's own figure.
    assert figures["effect_iou"] >= figures["mask_iou"]
    assert figures["misplaced"] in (None, 0.0)
    assert figures["outside_iou"] < score(clip, nearest)["outside_iou"] - 0.2
    assert figures["recomposition_max"] < 0.0005
    assert figures["reconstruction_error"] is None


def test_the_nearest_mask_claims_the_shadows_next_to_it(clip: Path, nearest: Path) -> None:
    figures = score(clip, nearest)
    assert figures["effect_iou"] > figures["mask_iou"] + 0.1
    assert figures["recomposition_max"] < 0.0005
    assert figures["effect_iou"] == pytest.approx(np.mean(figures["effect_iou_per_object"]), abs=1e-3)


def test_every_difference_belongs_to_the_nearest_mask_and_to_it_alone() -> None:
    background = np.full((20, 40, 3), 0.5, np.float32)
    plate = background.copy()
    plate[5:15, 5:15] -= 0.2
    plate[:, 38] -= 1 / 255
    left, right, nowhere = (np.zeros((20, 40), np.float32) for _ in range(3))
    left[5:15, :4], right[5:15, 30:34] = 1, 1
    coverages = nearest_mask(plate, background, [left, right, nowhere])
    assert coverages[0][10, 10] == pytest.approx(0.5)
    assert coverages[1][10, 10] == 0
    assert coverages[1][10, 38] == 0
    assert not coverages[2].any()


def test_the_background_is_the_median_of_what_no_mask_hides(clip: Path) -> None:
    truth = Truth.open(clip)
    estimate = median_background(truth)
    seen = ~np.any([truth.matte(f"gt/mask{i}_{n:05d}.png") for i in range(2) for n in truth.numbers], axis=0)
    assert np.abs(estimate - truth.background(truth.numbers[0]))[seen].max() <= 3 / 255


def test_one_threshold_says_what_changed() -> None:
    random = np.random.default_rng(0)
    background = random.random((8, 9, 3), np.float32)
    image = background + random.normal(0, 5 / 255, (8, 9, 3)).astype(np.float32)
    theirs = scoring.changed(*(torch.from_numpy(a).permute(2, 0, 1) for a in (image, background)))
    assert np.array_equal(changed(image, background), theirs.numpy())
    assert 0 < changed(image, background).mean() < 1


def test_the_true_layer_turns_the_background_into_the_object_alone(clip: Path) -> None:
    truth = Truth.open(clip)
    number = telling_frame(truth)
    for index in range(2):
        layer = true_layer(truth, index, number)
        background = truth.background(number)
        solo = truth.image(f"solo/obj{index}_{number:05d}.png")
        shown = srgb_encode(np.clip(over(layer, srgb_decode(background)), 0, 1))
        effect = truth.matte(f"gt/mask{index}_{number:05d}.png")
        assert np.abs(shown - solo)[effect].max() < 0.5 / 255
        assert layer.min() >= 0
        assert layer[..., 3].max() == 1
        silhouette = truth.image(f"amodal/obj{index}_{number:05d}.png")[..., 0] > 0
        assert not layer[~effect & ~silhouette].any()


def test_the_command_writes_table_report_and_figure(clip: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", str(clip), "-o", str(tmp_path), "--size", "48x64", "--with-baselines", "--device", "cpu"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report.json").read_text())
    methods = [(row["method"], row["refine"]) for row in report["rows"]]
    assert methods == [("mask only", "-"), ("nearest mask", "-"), ("random", "off"), ("shipped", "off")]
    scores = {row["method"]: row["effect_iou"] for row in report["rows"]}
    assert scores["shipped"] > scores["random"]
    shipped = report["rows"][-1]
    assert 0 < shipped["reconstruction_error"] < report["rows"][-2]["reconstruction_error"]
    assert shipped["reconstruction_error"] == load_manifest(tmp_path / shipped["folder"])["reconstruction_error"]
    lines = [line.split() for line in result.output.splitlines()]
    assert sum(line[:1] == [clip.name] and "effect_iou" not in line for line in lines) == 4
    sheet = cv2.imread(str(tmp_path / "comparison.png"))
    assert sheet.shape[1] > 7 * 200  # frame, mask, four methods, truth
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("obj*.exr") if "_off" in str(path)}
    again = CliRunner().invoke(cli.app, [*arguments, "--resume", "--no-figures"])
    assert again.exit_code == 0, again.output
    assert before
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_means_are_over_the_clips_that_have_the_figure() -> None:
    known = dict.fromkeys(
        ("outside_iou", "misplaced", "mask_iou", "solo_psnr", "reconstruction_error", "flicker", "recomposition_max"),
        0.5,
    )
    rows = [
        {"clip": "a", "method": "shipped", "refine": "off", "effect_iou": 0.4, "removal_psnr": None, **known},
        {"clip": "b", "method": "shipped", "refine": "off", "effect_iou": 0.8, "removal_psnr": 30.0, **known},
    ]
    last = table_lines(rows)[-1].split()
    assert last[:6] == ["mean", "of", "all", "clips", "shipped", "off"]
    assert last[6] == "0.6000"
    assert last[11] == "30.00"
    assert len(table_lines(rows[:1])) == 2


def test_a_lost_layer_is_named(clip: Path, nearest: Path, tmp_path: Path) -> None:
    write_baseline(clip, tmp_path, mask_only)
    next((tmp_path / "obj1").glob("*3.exr")).unlink()
    with pytest.raises(OutputError, match="obj1 has no layer of frame 3"):
        score(clip, tmp_path)


def test_layers_of_other_names_are_refused_by_name(clip: Path, nearest: Path, tmp_path: Path) -> None:
    shutil.copytree(nearest, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    manifest["order"] = {number: ["car", *names[1:]] for number, names in manifest["order"].items()}
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(JobError, match=r"has a layer car, and the objects of .* are called obj0, obj1"):
        score(clip, tmp_path / "out")


def test_two_clips_of_one_name_are_refused(clip: Path, tmp_path: Path) -> None:
    shutil.copytree(clip, tmp_path / "another" / clip.name)
    with pytest.raises(JobError, match=f"Two of the clips are called {clip.name}"):
        run_evaluation(
            [clip, tmp_path / "another" / clip.name], tmp_path / "out", [], ModelSettings(), lambda event: None
        )
    assert not (tmp_path / "out").exists()


def test_a_folder_without_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FootageNotFoundError, match="no clip with ground truth"):
        score(tmp_path, tmp_path)


def test_a_report_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="report"):
        write_report([], tmp_path / "file" / "report.json")
