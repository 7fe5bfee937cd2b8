"""The command line: every command parses, calls one function of the engine, and turns errors into a sentence."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import stat
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from penumbra import __version__
from penumbra.errors import (
    JobError,
    OutOfMemoryError,
    OutputError,
    PanelUnavailableError,
    PenumbraError,
    Stopped,
    TorchMissingError,
    ran_out_of_memory,
)
from penumbra.events import Event, OnEvent
from penumbra.job import (
    USUAL_QUALITY,
    CameraSettings,
    CleanPlateSettings,
    FrameRange,
    Job,
    MaskSettings,
    ModelSettings,
    OrderSettings,
    OutputSettings,
    PlateSettings,
    RefineSettings,
    absolute_path,
    json_schema,
    load_job,
)
from penumbra.reporting import Reporter, error_event
from penumbra.storage import atomic_path
from penumbra.tasks import TASK_STAGES, Task, parse_frames

app = typer.Typer(
    name="penumbra",
    help="One RGBA layer per object, with its shadows and reflections in the layer, plus a clean plate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON event per line on stdout; logs go to stderr.")]


def main() -> None:
    """The ``penumbra`` command."""
    # numpy's products are small here, and the threads its library keeps spinning for them took four times the work's
    # own processor time from the rest of the run. Said before numpy is imported, which every command does late.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # As in penumbra.decompose, for commands that load ONNX Runtime only to name its version.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    app()


@app.command()
def decompose(
    plate: Annotated[str | None, typer.Argument(help="Pattern (%04d, ####), folder, one file, or a movie.")] = None,
    mask: Annotated[list[str] | None, typer.Option(help="NAME=PATH, back to front; one per object.")] = None,
    output: Annotated[str | None, typer.Option("-o", "--output", help="Output folder.")] = None,
    frames: Annotated[
        str | None, typer.Option(help="Such as 1001-1100; default all. With --stage frames: the chunk.")
    ] = None,
    colorspace: Annotated[str | None, typer.Option(help="The plate's colour space, as OpenColorIO names it.")] = None,
    working_space: Annotated[str | None, typer.Option(help="Linear space of the layers; default the plate's.")] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(help="NAME=alpha|luminance|channel:LAYER.C|id:VALUE|color:RRGGBB, the mask's channel."),
    ] = None,
    invert: Annotated[list[str] | None, typer.Option(help="NAME of a mask that is white outside.")] = None,
    offset: Annotated[
        list[str] | None, typer.Option(help="NAME=FRAMES, added to a mask's own numbers; clean_plate=FRAMES too.")
    ] = None,
    order: Annotated[
        list[str] | None, typer.Option(help="Back to front: car,person; from a frame on: 1050:person,car.")
    ] = None,
    clean_plate: Annotated[str | None, typer.Option(help="Your own clean plate: a still, sequence or movie.")] = None,
    camera: Annotated[str | None, typer.Option(help="auto, locked, or a homographies file.")] = None,
    refine: Annotated[
        str | None, typer.Option(help="preview, standard or best; off, 200 (steps) or 5min. Default standard.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="auto, random, or a .safetensors file.")] = None,
    size: Annotated[str | None, typer.Option(help="Working size HEIGHTxWIDTH, multiples of 16.")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes every random choice.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...")] = None,
    precision: Annotated[str | None, typer.Option(help="half or float.")] = None,
    compression: Annotated[str | None, typer.Option(help="zips, zip, piz, rle or none (all lossless).")] = None,
    previews: Annotated[bool | None, typer.Option(help="Write the contact sheet and the preview movie.")] = None,
    clean: Annotated[bool | None, typer.Option(help="Write the clean plate itself too, as clean/.")] = None,
    splits: Annotated[bool | None, typer.Option(help="Layers also as NAME_object, NAME_shadow, NAME_light.")] = None,
    combined: Annotated[str | None, typer.Option(help="One file a frame too: multilayer or multipart.")] = None,
    job: Annotated[Path | None, typer.Option(help="A job file; options given beside it win.")] = None,
    save_job: Annotated[Path | None, typer.Option(help="Write the job to this file and stop.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped.")] = False,
    replace_output: Annotated[bool, typer.Option("--replace", help="Overwrite another job's result.")] = False,
    stage: Annotated[
        str | None, typer.Option(help="One task of a farm: prepare, refine, frames (a chunk: --frames 1-7) or finish.")
    ] = None,
    path_mapping: Annotated[
        Path | None, typer.Option(help="Rules for what the job's paths are called here (pathmapping-1.0).")
    ] = None,
    progress: Annotated[str, typer.Option(help="bars, json (as --json), or openjd for Open Job Description.")] = "bars",
    json_events: JsonOption = False,
) -> None:
    """Take a clip apart: one layer per mask, and the clean plate."""
    given = {
        "plate": plate, "mask": mask, "output": output, "frames": frames, "colorspace": colorspace,
        "working_space": working_space, "channel": channel, "invert": invert, "offset": offset, "order": order,
        "clean_plate": clean_plate, "camera": camera, "refine": refine, "weights": weights, "size": size, "seed": seed,
        "device": device, "precision": precision, "compression": compression, "previews": previews, "clean": clean,
        "splits": splits, "combined": combined,
    }  # fmt: skip

    def work(on_event: OnEvent) -> None:
        base = load_job(job) if job is not None else None
        task = None if stage is None else Task(stage, None if frames is None else parse_frames(frames))
        if task is not None:
            given["frames"] = None  # they are the chunk's; the plate's own are in the job file
        asked = {key: value for key, value in given.items() if value is not None}
        # A job that is written down may be run where there is torch; without it nothing can be refined here.
        unrefined = base is None and refine is None and save_job is None and not find_spec("torch")
        if unrefined:
            asked["refine"] = "off"
        chosen = job_from_options(asked, base)
        if replace_output:
            chosen = replace(chosen, output=replace(chosen.output, replace=True))
        if save_job is not None:
            _save(save_job, chosen.to_json())
            return
        here = chosen if path_mapping is None else chosen.with_paths(_path_mapping(path_mapping))
        from penumbra.allocation import keep_freed_memory
        from penumbra.pipeline import run  # heavy: --help and errors in options come without it

        keep_freed_memory()

        reporter = Reporter(on_event)
        if unrefined:
            reporter.warn(
                "PyTorch is not installed here, so the layers are not refined to the shot, as with --refine off: "
                "pip install 'penumbra-layers[refine]' brings it."
            )
        with _stoppable(reporter, watch_stdin=isinstance(teller, _Lines)):
            run(here, on_event, resume, reporter, task, named=chosen)

    teller = _teller("json" if json_events else progress, stage)
    _guard(work, json_events, teller)


@app.command()
def farm(
    job: Annotated[Path, typer.Argument(help="A job file.")],
    bundle: Annotated[Path, typer.Option("-o", "--output", help="The folder for the bundle's three files.")],
    chunk: Annotated[int, typer.Option(min=1, help="Frames per task.")] = 10,
    gpu: Annotated[bool, typer.Option("--gpu", help="Refine only on a machine that has a GPU.")] = False,
    command: Annotated[str, typer.Option(help="What starts Penumbra on the farm's machines.")] = "penumbra",
) -> None:
    """Write a job as an Open Job Description bundle, to be submitted to a farm."""

    def work(on_event: OnEvent) -> None:
        from penumbra.farm.bundle import BundleSettings, write_bundle

        settings = BundleSettings(job.stem, chunk, gpu, command)
        frames, chunks = write_bundle(load_job(job), bundle, settings)
        print(f"{bundle}: {frames} frames in {chunks} tasks, between prepare, refine and finish")  # noqa: T201

    _guard(work, json_events=False)


@app.command()
def synth(
    folder: Annotated[Path, typer.Argument(help="Where the clip is written.")],
    seed: Annotated[int, typer.Option(help="Another seed, another scene.")] = 1,
    frames: Annotated[int, typer.Option(min=2, max=1000)] = 20,
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH.")] = "128x224",
    objects: Annotated[int, typer.Option(min=1, max=4)] = 2,
    version: Annotated[int, typer.Option(help="1 plain, 2 as footage has it.", min=1, max=2)] = 1,
    kind: Annotated[str, typer.Option(help="shadows, reflections or both.")] = "both",
    water: Annotated[bool, typer.Option("--water", help="With water that runs up a shore and back.")] = False,
    replace_output: Annotated[bool, typer.Option("--replace", help="Overwrite what is there.")] = False,
) -> None:
    """Render a sample clip with masks and ground truth."""

    def work(on_event: OnEvent) -> None:
        from penumbra.evaluate import write_sample_job
        from penumbra.training.synth import write_sample

        if kind not in ("shadows", "reflections", "both"):
            raise JobError(f"Kind {kind!r} is not known.", "Use shadows, reflections or both.")

        height, width = parse_size(size)
        write_sample(
            folder,
            seed=seed,
            frames=frames,
            height=height,
            width=width,
            objects=objects,
            version=version,
            kind=cast("Literal['shadows', 'reflections', 'both']", kind),
            water=water,
            replace=replace_output,
        )
        job_file = write_sample_job(folder)
        print(f"{folder}: {frames} frames {width}x{height}, {objects} objects, with ground truth and {job_file.name}")  # noqa: T201

    _guard(work, json_events=False)


@app.command()
def inspect(path: Annotated[str, typer.Argument(help="A clip, job file, manifest or output folder.")]) -> None:
    """Tell what is in a clip, a job, or a finished output, as JSON."""

    def work(on_event: OnEvent) -> None:
        print(json.dumps(_inspect(Path(path)), indent=2))  # noqa: T201

    _guard(work, json_events=False)


@app.command()
def doctor() -> None:
    """Check what of the set-up works: libraries, devices, colour configuration, weights, hosts and their plug-ins."""

    def work(on_event: OnEvent) -> None:
        from penumbra.doctor import report
        from penumbra.install import plugin_state

        lines, healthy = report()
        lines += [f"{host.title() + ' plug-in':<15} {plugin_state(host)}" for host in ("nuke", "resolve")]
        print("\n".join(lines))  # noqa: T201
        if not healthy:
            raise typer.Exit(1)

    _guard(work, json_events=False)


@app.command()
def panel(
    path: Annotated[Path | None, typer.Argument(help="A clip, a job file or a finished output folder.")] = None,
    compact: Annotated[
        Path | None, typer.Option(help="Finish this job file and run it, in a small window; events go to stdout.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="With --compact: go on with a stopped run.")] = False,
) -> None:
    """Open the desktop panel."""

    def work(on_event: OnEvent) -> None:
        if (path is not None and compact is not None) or (resume and compact is None):
            raise JobError("--compact takes one job file, and --resume belongs to it.", "Use: panel --compact JOB.")
        try:
            from penumbra_gui.app import main as open_panel
            from penumbra_gui.app import main_compact
        except ImportError as error:
            raise PanelUnavailableError(
                f"The desktop panel cannot start here: {error}.",
                "Install it with: pip install 'penumbra-layers[panel]'; on Linux see docs/panel.md for Qt's libraries.",
            ) from error
        if compact is not None:
            raise typer.Exit(main_compact(compact.absolute(), resume))
        raise typer.Exit(open_panel(None if path is None else str(path)))

    _guard(work, json_events=False)


@app.command(hidden=True)
def serve() -> None:
    """Answer a program's requests about footage, one JSON line each on stdin, until it closes."""

    def work(on_event: OnEvent) -> None:
        from penumbra.serve import serve as answer

        answer(sys.stdin.buffer, sys.stdout.buffer)

    _guard(work, json_events=False)


@app.command()
def install(
    host: Annotated[str, typer.Argument(help="nuke or resolve.")],
    folder: Annotated[
        Path | None, typer.Option(help="The host's own folder: ~/.nuke, or Resolve's Fusion folder.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take it away again.")] = False,
) -> None:
    """Put a host's plug-in where the host finds it; no file of anybody else's is touched."""

    def work(on_event: OnEvent) -> None:
        from penumbra.install import find_plugin, uninstall
        from penumbra.install import install as put

        plugin = find_plugin(host, None if folder is None else folder.absolute())
        print("\n".join(uninstall(plugin) if remove else put(plugin)))  # noqa: T201

    _guard(work, json_events=False)


@app.command()
def composites(folder: Annotated[Path, typer.Argument(help="A finished output folder.")]) -> None:
    """Write layers.nk, .setting, .otio and .lua of a finished folder anew, where it lies now."""

    def work(on_event: OnEvent) -> None:
        from penumbra.pipeline import rewrite_composites

        rewrite_composites(folder.absolute())

    _guard(work, json_events=False)


@app.command()
def camera(
    folder: Annotated[Path, typer.Argument(help="A finished output folder.")],
    file: Annotated[Path, typer.Argument(help="Where to: .json, or .txt for Omnimatte's text layout.")],
) -> None:
    """Write the camera of a finished folder as a file that --camera takes."""

    def work(on_event: OnEvent) -> None:
        from penumbra.track import CameraTrack, write_homographies
        from penumbra.write import load_manifest

        manifest = load_manifest(folder)
        width, height = manifest["plate"]["canvas"][2:]
        if file.suffix.lower() not in (".json", ".txt"):
            raise JobError(f"{file} is neither .json nor .txt.", "End its name in one of them.")
        write_homographies(CameraTrack.from_dict(manifest["camera"]["homographies"]), file, (height, width))

    _guard(work, json_events=False)


@app.command()
def schema() -> None:
    """Print the job file's JSON Schema."""
    print(json.dumps(json_schema(), indent=2))  # noqa: T201


@app.command()
def scenes(
    sheet: Annotated[Path, typer.Argument(help="The PNG to write.")],
    count: Annotated[int, typer.Option(help="Scenes, a row each.")] = 8,
    seed: Annotated[int, typer.Option(help="Another seed, other scenes.")] = 1,
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH of each picture.")] = "128x224",
    preset: Annotated[str, typer.Option(help="The mixture of scenes that this preset of pretrain sees.")] = "cpu",
    objects: Annotated[int | None, typer.Option(min=1, max=4, help="As many in every scene.")] = None,
    version: Annotated[int | None, typer.Option(min=1, max=2, help="1 plain, 2 as footage has it.")] = None,
    kind: Annotated[str | None, typer.Option(help="shadows, reflections or both, in every scene.")] = None,
) -> None:
    """Draw the scenes training sees: frames, masks, background, each object's true effects."""

    def work(on_event: OnEvent) -> None:
        from penumbra.training.pretrain import preset as settings_of
        from penumbra.training.scene_sheet import write_scene_sheet

        height, width = parse_size(size)
        given = {"height": height, "width": width, "objects": objects, "version": version, "kind": kind}
        fixed = {key: value for key, value in given.items() if value is not None}
        write_scene_sheet(sheet, settings_of(preset).pool, seed, count, fixed)
        print(f"{sheet}: {count} scenes; frames, masks, background, then each object's effects")  # noqa: T201

    _guard(work, json_events=False)


@app.command()
def pretrain(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder; goes on if it holds one.")],
    preset: Annotated[str | None, typer.Option(help="tiny, cpu, gpu or paper, for a new run.")] = None,
    settings: Annotated[Path | None, typer.Option(help="A JSON settings file, for a new run.")] = None,
    start: Annotated[Path | None, typer.Option(help="Weights to start a new run from.")] = None,
    clips: Annotated[list[Path] | None, typer.Option(help="Clips on disk, or a folder of them, to train on.")] = None,
    clip_share: Annotated[float, typer.Option(help="The share of them; the others are rendered.")] = 1.0,
    steps: Annotated[int | None, typer.Option(help="Steps in all, those done included.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes in all, those done included.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...")] = None,
) -> None:
    """Train on rendered scenes and clips on disk; resumable to the step. Under torchrun on several GPUs."""

    def work(on_event: OnEvent) -> None:
        from penumbra.allocation import keep_freed_memory
        from penumbra.training.clip_pool import ClipSettings
        from penumbra.training.pretrain import kept_settings, read_settings
        from penumbra.training.pretrain import preset as settings_of
        from penumbra.training.pretrain import pretrain as train

        keep_freed_memory()
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
        made = run_folder / "settings.json"
        known = made if made.is_file() else settings
        changes: dict[str, Any] = {
            "steps": steps,
            "minutes": minutes,
            "device": device,
            "start": str(start) if start else None,
            "clips": ClipSettings(tuple(str(path) for path in clips), clip_share) if clips else None,
        }
        chosen = read_settings(known) if known else settings_of(preset or "cpu")
        if made.is_file():
            asked = read_settings(settings) if settings else settings_of(preset) if preset else chosen
            asked = replace(asked, start=changes["start"] or chosen.start, clips=changes["clips"] or chosen.clips)
            if kept := kept_settings(chosen, asked):
                logging.getLogger(__name__).warning(
                    "%s keeps what its first start fixed, not as asked now: %s. For others start another run from its"
                    " weights (--start).", run_folder, ", ".join(kept),
                )  # fmt: skip
        reporter = Reporter(on_event)
        with _stoppable(reporter, watch_stdin=False):
            asked = replace(chosen, **{key: value for key, value in changes.items() if value is not None})
            train(run_folder, asked, should_stop=reporter.should_stop)

    _guard(work, json_events=False)


@app.command("import-weights")
def import_weights(
    folder: Annotated[Path, typer.Argument(help="The authors' checkpoint: arrays.npy and tree.pkl.")],
    output: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
) -> None:
    """Convert the authors' published weights to ours."""

    def work(on_event: OnEvent) -> None:
        from penumbra.contract import ModelContract
        from penumbra.network import save_weights
        from penumbra.training.import_official import import_official

        network = import_official(folder)
        contract = ModelContract(height=16 * network.size.grid_height, width=16 * network.size.grid_width)
        save_weights(network, output, contract, {"origin": "official checkpoint"})
        print(f"{output}: weights of {folder}, working size {contract.height}x{contract.width}")  # noqa: T201

    _guard(work, json_events=False)


@app.command()
def export(
    weights: Annotated[Path, typer.Argument(help="A .safetensors file, such as pretraining's ema.safetensors.")],
    folder: Annotated[Path, typer.Argument(help="Where weights.safetensors and the three ONNX graphs are written.")],
    half: Annotated[bool, typer.Option("--half", help="Store float16: half the size.")] = False,
) -> None:
    """Make the graphs that prediction runs from trained weights, as they ship with the engine."""

    def work(on_event: OnEvent) -> None:
        from penumbra.network import load_weights, save_weights
        from penumbra.training.export import export_graphs

        network, contract, metadata = load_weights(weights)
        save_weights(network, folder / "weights.safetensors", contract, metadata, half)
        export_graphs(network, contract, folder, half)
        print(f"{folder}: {contract.height}x{contract.width}, {contract.window} frames")  # noqa: T201

    _guard(work, json_events=False)


@app.command()
def score(
    clip: Annotated[Path, typer.Argument(help="A clip with ground truth, as synth writes it.")],
    output: Annotated[Path, typer.Argument(help="What decompose made of it, objects called obj0, obj1, ...")],
) -> None:
    """Score written layers against the truth, as JSON."""

    def work(on_event: OnEvent) -> None:
        from penumbra.evaluate import score as score_output

        print(json.dumps(score_output(clip, output)))  # noqa: T201

    _guard(work, json_events=False)


@app.command()
def evaluate(
    clips: Annotated[list[Path], typer.Argument(help="Clips with ground truth, or folders of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the layers are written.")],
    refine: Annotated[
        list[str] | None, typer.Option(help="off, standard, 200 or 5min; may be given several times.")
    ] = None,
    weights: Annotated[str, typer.Option(help="auto, random, or a .safetensors file.")] = "auto",
    seed: Annotated[int, typer.Option(help="Fixes every random choice.")] = 0,
    size: Annotated[str | None, typer.Option(help="Working size HEIGHTxWIDTH, multiples of 16.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    with_baselines: Annotated[
        bool, typer.Option("--with-baselines", help="Also the mask alone, the nearest mask, and random weights.")
    ] = False,
    figures: Annotated[bool, typer.Option(help="Draw comparison.png.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Keep layers that an earlier call finished.")] = False,
    report: Annotated[Path | None, typer.Option(help="The JSON file of the figures; default report.json.")] = None,
) -> None:
    """Decompose clips whose truth is known, score the layers, print a table and draw the layers side by side."""

    def work(on_event: OnEvent) -> None:
        from penumbra.allocation import keep_freed_memory
        from penumbra.evaluate import evaluate as evaluate_clips
        from penumbra.evaluate import table_lines, write_comparison, write_report
        from penumbra.training.datasets import find_clips

        keep_freed_memory()
        here = Path.cwd()
        found = [here / path for clip in clips for path in find_clips(clip)]
        chosen = [RefineSettings.parse(text) for text in refine or ["off"]]
        named = weights if weights in ("auto", "random") else str(here / weights)
        model = ModelSettings(named, parse_size(size) if size else None, seed, device)
        rows = evaluate_clips(found, here / output, chosen, model, on_event, with_baselines, resume)
        write_report(rows, report or output / "report.json")
        if figures:
            write_comparison(rows, found, here / output)
        print("\n".join(table_lines(rows)))  # noqa: T201

    _guard(work, json_events=False)


def parse_size(text: str) -> tuple[int, int]:
    """``128x224`` as (height, width)."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise JobError(f"Size {text!r} is not understood.", "Write it as HEIGHTxWIDTH, such as 128x224.")
    return int(parts[0]), int(parts[1])


def job_from_options(given: dict[str, Any], base: Job | None) -> Job:
    """A job from command line options, which win over ``base``'s. Relative paths are the shell's."""
    here = Path.cwd()
    if base is None:
        missing = [name for name in ("plate", "mask", "output") if name not in given]
        if missing:
            shown = {"plate": "a PLATE", "mask": "--mask NAME=PATH", "output": "-o FOLDER"}[missing[0]]
            raise JobError(f"Missing {shown}.", "Give it, or a job file with --job.")
        base = Job(
            plate=PlateSettings(absolute_path(here, given["plate"])),
            masks=_masks(given["mask"], here),
            output=OutputSettings(absolute_path(here, given["output"])),
            refine=RefineSettings.parse(USUAL_QUALITY),
        )
    plate, output, model = base.plate, base.output, base.model
    for option, key in (("colorspace", "color_space"), ("working_space", "working_space")):
        plate = replace(plate, **{key: given[option]}) if option in given else plate
    if "plate" in given:
        plate = replace(plate, path=absolute_path(here, given["plate"]))
    if "frames" in given:
        plate = replace(plate, frames=FrameRange.parse(given["frames"]))
    if "output" in given:
        output = replace(output, folder=absolute_path(here, given["output"]))
    for key in ("precision", "compression", "previews", "clean", "splits", "combined"):
        output = replace(output, **{key: given[key]}) if key in given else output
    for key in ("seed", "device"):
        model = replace(model, **{key: given[key]}) if key in given else model
    if "weights" in given:
        name = given["weights"]
        model = replace(model, weights=name if name in ("auto", "random") else absolute_path(here, name))
    if "size" in given:
        model = replace(model, working_size=parse_size(given["size"]))
    masks = _masks(given["mask"], here) if "mask" in given else base.masks
    masks = _with_channels(masks, given.get("channel", []), given.get("invert", []))
    clean_plate = base.clean_plate
    if "clean_plate" in given:
        clean_plate = CleanPlateSettings(absolute_path(here, given["clean_plate"]))
    masks, clean_plate = _with_offsets(masks, clean_plate, given.get("offset", []))
    changes: dict[str, Any] = {
        "plate": plate, "output": output, "model": model, "masks": masks, "clean_plate": clean_plate,
    }  # fmt: skip
    if "order" in given:
        changes["order"] = tuple(_order(text) for text in given["order"])
    if "camera" in given:
        mode = given["camera"]
        named = mode in ("auto", "locked")
        changes["camera"] = CameraSettings(mode) if named else CameraSettings("file", absolute_path(here, mode))
    if "refine" in given:
        changes["refine"] = RefineSettings.parse(given["refine"])
    return replace(base, **changes)


def _save(file: Path, text: str) -> None:
    try:
        with atomic_path(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"The job cannot be saved as {file}: {error.strerror}.", "Choose another file.") from error


def _masks(texts: list[str], here: Path) -> tuple[MaskSettings, ...]:
    pairs = [_pair(text, "--mask") for text in texts]
    return tuple(MaskSettings(name, absolute_path(here, path)) for name, path in pairs)


def _with_channels(
    masks: tuple[MaskSettings, ...], channels: list[str], inverted: list[str]
) -> tuple[MaskSettings, ...]:
    chosen = dict(_pair(text, "--channel") for text in channels)
    unknown = (set(chosen) | set(inverted)) - {mask.name for mask in masks}
    if unknown:
        raise JobError(f"There is no mask called {sorted(unknown)[0]!r}.", "Use a name given with --mask.")
    return tuple(
        replace(mask, channel=chosen.get(mask.name, mask.channel), invert=mask.invert or mask.name in inverted)
        for mask in masks
    )


def _with_offsets(
    masks: tuple[MaskSettings, ...], clean_plate: CleanPlateSettings | None, texts: list[str]
) -> tuple[tuple[MaskSettings, ...], CleanPlateSettings | None]:
    offsets = {}
    for text in texts:
        name, value = _pair(text, "--offset")
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", value):
            raise JobError(f"--offset {text!r} is not understood.", "Write --offset NAME=FRAMES, such as car=1000.")
        offsets[name] = int(value)
    masks = tuple(replace(mask, offset=offsets.pop(mask.name, mask.offset)) for mask in masks)
    if clean_plate is not None:
        clean_plate = replace(clean_plate, offset=offsets.pop("clean_plate", clean_plate.offset))
    if offsets:
        raise JobError(
            f"There is no mask called {sorted(offsets)[0]!r} to be offset.",
            "Use a name given with --mask, or clean_plate where one is given.",
        )
    return masks, clean_plate


def _order(text: str) -> OrderSettings:
    first, _, names = text.rpartition(":")
    if first and not first.lstrip("-").isdigit():
        raise JobError(f"Order {text!r} is not understood.", "Write car,person or 1050:person,car.")
    return OrderSettings(tuple(name.strip() for name in names.split(",")), int(first) if first else None)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name or not value:
        raise JobError(f"{option} {text!r} is not understood.", f"Write it as {option} NAME=VALUE.")
    return name, value


def _inspect(path: Path) -> dict[str, Any]:
    if path.is_dir() and (path / "manifest.json").is_file():
        path = path / "manifest.json"
    if path.suffix == ".json" and path.is_file():
        from penumbra.write import load_manifest

        return load_manifest(path.parent) if path.name == "manifest.json" else load_job(path).to_dict()
    from penumbra.read import inspect_footage

    return inspect_footage(str(path))


class _stoppable:  # noqa: N801 # used as a context manager
    """SIGINT, SIGTERM, a closed terminal and (for programs) a closed stdin ask the run to stop.

    A second SIGINT ends it at once.
    """

    def __init__(self, reporter: Reporter, watch_stdin: bool) -> None:
        self._reporter, self._watch_stdin = reporter, watch_stdin
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in _stop_signals():
            self._before[number] = signal.signal(number, self._on_signal)
        # Only a pipe says anything by closing: farms and cron start programs on /dev/null, which is always at its end.
        if self._watch_stdin and _is_pipe(sys.stdin):
            threading.Thread(target=self._wait_for_end_of_stdin, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: object) -> None:
        if self._reporter.should_stop() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._reporter.request_stop()

    def _wait_for_end_of_stdin(self) -> None:
        # Lines before the end choose the frame that refinement shows: "preview 1012".
        pending = b""
        while chunk := os.read(sys.stdin.fileno(), 4096):
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                word, _, number = line.decode("ascii", "replace").partition(" ")
                if word == "preview" and number.strip().lstrip("-").isdigit():
                    self._reporter.preview_frame = int(number)
        self._reporter.request_stop()


def _stop_signals() -> list[int]:
    """What asks a run to stop here; SIGHUP not where nohup has it ignored."""
    hangup = getattr(signal, "SIGHUP", None)
    heeded = hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([hangup] if heeded and hangup is not None else [])]


def _is_pipe(stream: Any) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode) or stat.S_ISSOCK(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


def _path_mapping(file: Path) -> Callable[[str], str]:
    from penumbra.farm.path_mapping import load_path_mapping

    return load_path_mapping(file)


def _teller(progress: str, stage: str | None) -> _Lines | _OpenJob | _Bars:
    """What tells of events, by its name."""
    if progress == "json":
        return _Lines()
    if progress == "openjd":
        return _OpenJob(stage)
    if progress != "bars":
        raise typer.BadParameter(f"{progress!r} is none of bars, json and openjd.", param_hint="--progress")
    return _Bars()


def _guard(work: Callable[[OnEvent], None], json_events: bool, teller: _Lines | _OpenJob | _Bars | None = None) -> None:
    """Runs a command: events to stdout or to bars, errors to one sentence and their exit code."""
    teller = teller or (_Lines() if json_events else _Bars())
    try:
        with teller:
            work(_heard(teller.tell))
    except PenumbraError as error:
        _fail(error, teller)
    except KeyboardInterrupt:
        _fail(Stopped("Stopped at once.", "Add --resume to go on."), teller)
    except BrokenPipeError:
        # Whoever read our events has gone: nothing can be told any more.
        sys.stderr.close()
        os._exit(Stopped.exit_code)
    except (typer.Exit, SystemExit):
        raise
    except Exception as error:  # noqa: BLE001 # the last line of defence: a fault of ours, told as one
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            _fail(TorchMissingError(), teller)
        if ran_out_of_memory(error):
            _fail(
                OutOfMemoryError("There is not enough memory.", "Close other programs or use a larger machine."), teller
            )
        traceback.print_exc()
        text = f"An unexpected fault: {type(error).__name__}: {str(error).rstrip('.')}."
        _fail(PenumbraError(text, "Please report it with the job file and the lines above."), teller)


def _heard(tell: OnEvent) -> OnEvent:
    """``tell``, and the end of the run where nobody listens any more: a pipe or a terminal that was closed."""

    def told(event: Event) -> None:
        try:
            tell(event)
        except OSError as error:
            raise Stopped("Stopped: whoever followed this run has gone.", "Add --resume to go on.") from error

    return told


def _fail(error: PenumbraError, teller: _Lines | _OpenJob | _Bars) -> NoReturn:
    try:
        teller.fail(error)
    except OSError:
        # Python would fail once more on its way out, and end with a code of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with contextlib.suppress(OSError):
            _Bars().fail(error)
    raise typer.Exit(error.exit_code)


class _Lines:
    """Events as JSON lines on stdout, and nothing else there."""

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, event: Event) -> None:
        print(event.to_line(), flush=True)  # noqa: T201

    def fail(self, error: PenumbraError) -> None:
        self.tell(error_event(error))


class _OpenJob:
    """Events as a session of Open Job Description reads them on stdout, which is the task's log."""

    def __init__(self, stage: str | None) -> None:
        from penumbra.farm.progress import OpenJobLines

        stages = TASK_STAGES.get(stage or "", [name for stages in TASK_STAGES.values() for name in stages])
        lines = OpenJobLines(stages, lambda line: print(line, flush=True))  # noqa: T201
        self.tell, self.fail = lines.tell, lines.fail

    def __enter__(self) -> _OpenJob:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _Bars:
    """Events as progress bars with the time left, on stderr."""

    def __init__(self) -> None:
        self._console = console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"), console=console,
        )  # fmt: skip
        self._task: TaskID | None = None

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a terminal that was closed
            self._bars.stop()

    def tell(self, event: Event) -> None:
        if event.event == "stage":
            self._close()
            self._task = self._bars.add_task(event.message or event.stage, total=None, note="")
        elif event.event == "progress" and self._task is not None:
            note = "  ".join(f"{key} {value:.4f}" for key, value in (event.values or {}).items()) or event.message
            self._bars.update(self._task, completed=event.done, total=event.total, note=note)
            if event.message:
                self._console.print(event.message, markup=False, soft_wrap=True)
        elif event.event == "warning":
            self._console.print("[yellow]warning:[/] ", end="")
            self._console.print(event.message, markup=False, soft_wrap=True)
        elif event.event == "done":
            self._close()
            self._console.print(f"done: {event.path}", markup=False, soft_wrap=True)

    def fail(self, error: PenumbraError) -> None:
        self._console.print(f"[bold red]{'stopped' if isinstance(error, Stopped) else 'error'}:[/] ", end="")
        self._console.print(str(error), markup=False, soft_wrap=True)

    def _close(self) -> None:
        if self._task is not None:
            total = self._bars.tasks[-1].total or 1
            self._bars.update(self._task, completed=total, total=total)
            self._task = None


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"penumbra {__version__}")  # noqa: T201
        raise typer.Exit


app.registered_callback.callback.__doc__ = None  # type: ignore[union-attr] # its help is the application's
