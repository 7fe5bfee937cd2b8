"""The Edit page's script: the clip under the playhead, taken apart, on tracks above it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import List, Optional, Tuple

from penumbra.errors import PenumbraError
from penumbra.layer_graph import load_layer_graph
from penumbra_resolve.api import Resolve
from penumbra_resolve.engine import ProgressPrinter, locate_engine
from penumbra_resolve.place_host import import_layers, place_layers
from penumbra_resolve.render_host import render_clip, rendered_space
from penumbra_resolve.shots import (
    INPUTS_FOLDER,
    MaskClip,
    ask_to_stop,
    free_folder,
    holds_job,
    make_job,
    recall_plate,
    remember_plate,
    run_job,
    shots_folder,
    write_job,
)
from penumbra_resolve.sources import Footage, Framing, all_footage_of, shot_name
from penumbra_resolve.timeline_host import Host, OnTrack, clean_clip, connect, current_clip, mask_clips


def main(resolve: Optional[Resolve]) -> int:
    """From the playhead to the tracks; the exit code, and everything there is to say on the console."""
    try:
        return _decompose(connect(resolve))
    except PenumbraError as error:
        _say(str(error))
        return error.exit_code


def stop_all() -> int:
    """Asks every run this user has started from Resolve to stop."""
    asked = ask_to_stop(shots_folder("x").parent)
    _say(f"Asked {len(asked)} to stop; what is finished is kept." if asked else "Nothing is running.")
    return 0


def _decompose(host: Host) -> int:
    clip = current_clip(host)
    # Asked for first: rendering for nothing would cost minutes.
    python = locate_engine()
    masks, clean = mask_clips(host, clip), clean_clip(host, clip)
    shot = shot_name(clip.facts.name, clip.facts.left_offset, clip.facts.left_offset + clip.facts.duration - 1)
    _say(f"{clip.facts.name}, {clip.facts.duration} frames, masks: {', '.join(n for n, _ in masks) or 'none yet'}")
    folder, job_file, plate = _prepare(host, clip, masks, shots_folder(host.project.GetName()) / shot, clean)
    # What Resolve rendered has the clip's framing in it.
    own = INPUTS_FOLDER not in Path(plate.path).parts
    outcome, layers = run_job(job_file, python, ProgressPrinter(), host.lives)
    if layers is None:
        _say(outcome.sentence or "The engine made no layers.")
        return outcome.exit_code
    _place(host, clip, plate, layers, folder.name, clip.facts.framing if own else ())
    return 0


def _prepare(
    host: Host, clip: OnTrack, masks: List[Tuple[str, OnTrack]], base: Path, clean: Optional[OnTrack] = None
) -> Tuple[Path, Path, Footage]:
    """The shot's folder, its job and the plate; what must be rendered is, unless it was for this very job."""
    own = None if clean is None else clean.facts
    (plate, why), found, ground = all_footage_of(clip.facts, [mask.facts for _, mask in masks], own)
    color = "auto" if plate is not None else rendered_space(host)
    # Of one kind with the plate: either both are files, or both are rendered.
    clean_footage = None if ground is None else ground[0]
    if plate is not None and all(footage is not None for footage, _ in found):
        ready = tuple(MaskClip(name, footage) for (name, _), (footage, _) in zip(masks, found) if footage)
        job = make_job(plate, color, ready, clean_footage)
        folder = free_folder(base, lambda there: holds_job(there, job))
        return folder, write_job(folder, job), plate
    # What Resolve renders may differ from one day to the next: only a run that was stopped goes on with what it had.
    facts = [asdict(clip.facts), *([name, asdict(mask.facts)] for name, mask in masks)]
    facts += [] if own is None else [asdict(own)]
    folder = free_folder(base, lambda there: recall_plate(there, facts) is not None)
    known = recall_plate(folder, facts)
    if known is not None:
        _say("Going on with what was rendered for the run that was stopped.")
        return folder, folder / INPUTS_FOLDER / "job.json", known
    inputs = folder / INPUTS_FOLDER
    if plate is None:
        _say(f"Resolve renders the plate: {why}.")
        plate = render_clip(host, clip, inputs, "plate", clip.facts, alpha=False)
    if clean is not None and clean_footage is None:
        _say("Resolve renders the clean plate, as it does the plate.")
        clean_footage = render_clip(host, clean, inputs, "clean", clip.facts, alpha=False)
    parts = []
    for (name, mask), (footage, reason) in zip(masks, found):
        if footage is None:
            _say(f"Resolve renders the mask of {name}: {reason}.")
            footage = render_clip(host, mask, inputs, f"mask-{name}", clip.facts, alpha=True)
            parts.append(MaskClip(name, footage, "alpha"))
        else:
            parts.append(MaskClip(name, footage))
    job_file = write_job(folder, make_job(plate, color, tuple(parts), clean_footage))
    remember_plate(folder, facts, plate)
    return folder, job_file, plate


def _place(
    host: Host,
    clip: OnTrack,
    plate: Footage,
    layers: Path,
    shot: str,
    framing: Framing,
) -> None:
    graph = load_layer_graph(layers)
    bin_name, clips = import_layers(host, graph, layers, shot)
    placed = place_layers(host, graph, clips, clip, plate, framing)
    _say(
        f"Layers of {graph.first}-{graph.last} in the bin Penumbra/{bin_name}, on video tracks {_span(placed.tracks)}."
    )
    if not placed.framed:
        _say("The clip's framing could not be given to all layers: copy it, and paste its attributes on them.")
    if not placed.clip_off:
        _say("This version cannot switch the clip off by a script: press D on it.")


def _span(tracks: Tuple[int, ...]) -> str:
    return f"{tracks[0]} to {tracks[-1]}"


def _say(text: str) -> None:
    print(f"Penumbra: {text}", flush=True)
