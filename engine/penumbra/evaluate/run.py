"""Clips taken apart in several ways, and every way's figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from penumbra.contract import ModelContract
from penumbra.errors import JobError
from penumbra.evaluate.baselines import mask_only, nearest_mask, write_baseline
from penumbra.evaluate.figures import score
from penumbra.evaluate.jobs import job_for
from penumbra.events import OnEvent
from penumbra.job import ModelSettings, RefineSettings
from penumbra.pipeline import SHIPPED_WEIGHTS, run
from penumbra.write import load_manifest

RANDOM_WEIGHTS = "random.safetensors"


@dataclass(frozen=True)
class Method:
    """A way to make layers: its name in the table, what a folder of its is called, and how to make them."""

    name: str
    refine: str
    folder: str
    make: Callable[[Path, Path], None]


def evaluate(
    clips: Sequence[Path],
    output: Path,
    refinements: Sequence[RefineSettings],
    model: ModelSettings,
    on_event: OnEvent,
    with_baselines: bool = False,
    resume: bool = False,
) -> list[dict[str, Any]]:
    """Decomposes every clip with every refinement into ``output`` and scores it: a row of figures each.

    ``with_baselines`` adds, in the same rows, layers without learning (the mask alone, and the nearest mask's claim on
    every difference from the background) and random weights with the same refinements. ``resume`` keeps layers that an
    earlier call finished. A row has ``clip``, ``method``, ``refine``, ``folder`` (within ``output``), ``seconds`` of
    the whole run, ``refine_seconds``, and what :func:`~penumbra.evaluate.figures.score` gives.
    """
    names = [clip.name for clip in clips]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise JobError(f"Two of the clips are called {twice}.", "Give their folders different names.")
    methods = list(_methods(refinements, model, output, on_event, with_baselines, resume))
    rows = []
    for clip in clips:
        for method in methods:
            folder = output / f"{clip.name}_{method.folder}"
            method.make(clip, folder)
            seconds = load_manifest(folder).get("seconds", {})
            rows.append(
                {
                    "clip": clip.name,
                    "method": method.name,
                    "refine": method.refine,
                    "folder": folder.name,
                    "seconds": round(sum(seconds.values()), 3),
                    "refine_seconds": seconds.get("refine", 0.0),
                    **score(clip, folder),
                }
            )
    return rows


def _methods(
    refinements: Sequence[RefineSettings],
    model: ModelSettings,
    output: Path,
    on_event: OnEvent,
    with_baselines: bool,
    resume: bool,
) -> Iterator[Method]:
    if with_baselines:
        yield Method("mask only", "-", "mask_only", lambda clip, folder: write_baseline(clip, folder, mask_only))
        yield Method("nearest mask", "-", "nearest", lambda clip, folder: write_baseline(clip, folder, nearest_mask))
    sources = [_source(model, output)]
    if with_baselines and model.weights != "random":
        sources.insert(0, _source(replace(model, weights="random"), output))
    for name, settings in sources:
        for refine in refinements:

            def make(
                clip: Path, folder: Path, settings: ModelSettings = settings, refine: RefineSettings = refine
            ) -> None:
                run(job_for(clip, folder, refine, settings), on_event, resume)

            yield Method(name, str(refine), f"{name}_{refine}", make)


def _source(model: ModelSettings, output: Path) -> tuple[str, ModelSettings]:
    """The weights' name in the table, and settings that work without refinement too, which random ones refuse."""
    if model.weights == "random":
        return "random", replace(model, weights=str(_write_random(output, model.seed)))
    return "shipped" if model.weights == "auto" else Path(model.weights).stem, model


def _write_random(output: Path, seed: int) -> Path:
    """Random weights in a file, of the shipped ones' size and contract, so that nothing else differs.

    A file that holds them already is left alone: jobs know their weights by the file's time, and resume by it.
    """
    from penumbra.network import NetworkSize, load_weights, save_weights, seeded_network

    path, shipped = output / RANDOM_WEIGHTS, SHIPPED_WEIGHTS / "weights.safetensors"
    contract, size, made = ModelContract(), NetworkSize(), f"random, seed {seed}"
    if shipped.is_file():
        network, contract, _ = load_weights(shipped)
        size = network.size
    if path.is_file():
        there, its_contract, metadata = load_weights(path)
        if (there.size, its_contract, metadata.get("made")) == (size, contract, made):
            return path
    save_weights(seeded_network(seed, size), path, contract, {"made": made})
    return path
