"""The clip whose camera and backgrounds are known: what the benchmark measures must not get worse."""

import importlib.util
from pathlib import Path

import pytest
from typer.testing import CliRunner

from penumbra.cli import app

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "pan_clean_plate.py"


@pytest.fixture
def benchmark():
    spec = importlib.util.spec_from_file_location("pan_clean_plate", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    if not benchmark.CLIP.exists():
        pytest.skip("the clip is not beside the repository")
    return benchmark


def test_the_known_pan_is_followed_and_its_ground_found(benchmark, tmp_path):
    figures = benchmark.measure(benchmark.CLIP, tmp_path)
    assert figures.corners.max() < 0.5
    assert figures.corners.mean() < 0.1
    # Two levels on 99 % is more than this clip's own texture allows: decision 0012.
    assert figures.share > 0.7
    assert figures.seen.mean() > 0.98


@pytest.mark.slow
def test_the_background_is_the_truth_where_a_frame_shows_it(benchmark, tmp_path):
    clip = benchmark.CLIP
    masks = [word for k in range(2) for word in ("--mask", f"obj{k}={clip / f'mask{k}_%05d.png'}")]
    words = ["decompose", str(clip / "rgba_%05d.png"), *masks, "-o", str(tmp_path / "run")]
    assert CliRunner().invoke(app, [*words, "--refine", "off", "--no-previews"]).exit_code == 0
    shares = benchmark.background_shares(tmp_path / "run", clip)
    shown, free, *_ = shares.values()
    assert shown > 0.99
    assert free > 0.98
