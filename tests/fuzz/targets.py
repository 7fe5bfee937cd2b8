"""Everything of ours that reads what others wrote, as functions of bytes.

A target returns when its reader has read the bytes or has refused them with a sentence; it raises where the reader did
anything else. The same functions serve the coverage-guided fuzzer (``make fuzz``) and the ordinary tests.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from penumbra.errors import PenumbraError

LONGEST_SENTENCE = 1500


@dataclass(frozen=True)
class Target:
    """``read`` raises nothing where all is well; ``seeds`` are whole inputs to damage."""

    name: str
    read: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


@contextmanager
def _sentence_or_nothing() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    except PenumbraError as error:
        if not error.sentence.strip() or len(str(error)) > LONGEST_SENTENCE:
            raise AssertionError(f"a sentence of {len(str(error))} characters") from error


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="penumbra-fuzz-"))


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _text(data: bytes) -> str:
    """Text with everything in it that a JSON string or an argument of a command may hold."""
    return data.decode("utf-8", "surrogateescape")


def read_job(data: bytes) -> None:
    """A job file, and what is made of its names."""
    from penumbra.job import job_from_dict, load_job

    path = _file("job/job.json", data)
    with _sentence_or_nothing():
        job = load_job(path)
        for name in job.sequences:
            assert (path.parent / name).parent == path.parent, f"{name} leaves its folder"
            assert name.isidentifier(), name
        assert job_from_dict(json.loads(job.to_json())) == job
        job.to_json().encode("utf-8")
        for number in (-1, 0, 1001, 2**40):
            job.order_at(number)


def read_options(data: bytes) -> None:
    """The texts of the command line that we take apart ourselves: one option per line."""
    from penumbra.cli import job_from_options, parse_size
    from penumbra.job import FrameRange, RefineSettings, check_object_name

    lines = (_text(data).split("\n") + [""] * 8)[:8]
    for parse in (FrameRange.parse, RefineSettings.parse, parse_size, check_object_name):
        for line in lines[:2]:
            with _sentence_or_nothing():
                str(parse(line))
    keys = ("frames", "refine", "size", "colorspace", "camera", "weights")
    given: dict[str, Any] = {key: line for key, line in zip(keys, lines, strict=False) if line}
    for key in ("mask", "channel", "order", "invert"):
        given |= {key: [line for line in lines[6:] if line]} if any(lines[6:]) else {}
        with _sentence_or_nothing():
            job_from_options({"plate": "p.%04d.exr", "mask": ["car=m.exr"], "output": "o", **given}, None)


def read_event(data: bytes) -> None:
    """A line of the engine's, as hosts and the panel take it."""
    from penumbra.events import Event, parse_event
    from penumbra_gui.models.run_state import RunState, time_left

    event = parse_event(data.decode("utf-8", "replace"))
    if event is None:
        return
    assert isinstance(event, Event)
    state = RunState()
    state.begin()
    state.take(event)
    time_left(state.eta)
    # What the Resolve scripts print, and what passes it on.
    _ = 10 * event.done // event.total if event.total else -1
    _ = f"{event.eta or 0:.0f} {event.message} {event.fix}".strip()
    assert parse_event(event.to_line()) is not None


def read_manifest(data: bytes) -> None:
    """A finished folder's manifest, as the engine, the panel and the hosts' plug-ins read it."""
    from penumbra.layer_graph import load_layer_graph
    from penumbra.pipeline import rewrite_composites
    from penumbra.write import load_manifest
    from penumbra_gui.models.outputs import open_output

    folder = _file("out/manifest.json", data).parent
    for read in (load_manifest, open_output, load_layer_graph, rewrite_composites):
        with _sentence_or_nothing():
            read(folder)
    assert {path.name for path in folder.iterdir()} <= {
        "manifest.json", "layers.nk", "layers.setting", "layers.otio", "layers.lua",
    }  # fmt: skip


def read_settings(data: bytes) -> None:
    """Pretraining settings."""
    from penumbra.training.pretrain.checkpoint import read_settings as read

    with _sentence_or_nothing():
        settings = read(_file("settings.json", data))
        settings.to_json()
        assert settings.all_stages


def read_tree(data: bytes) -> None:
    """The structure of a published checkpoint: a pickle."""
    from penumbra.training.import_official import import_official

    folder = _file("checkpoint/tree.pkl", data).parent
    (folder / "arrays.npy").write_bytes(_arrays())
    with _sentence_or_nothing():
        import_official(folder)


def read_arrays(data: bytes) -> None:
    """The arrays of a published checkpoint."""
    from penumbra.training.import_official import import_official

    folder = _file("checkpoint/arrays.npy", data).parent
    (folder / "tree.pkl").write_bytes(_TREE)
    with _sentence_or_nothing():
        import_official(folder)


def read_weights(data: bytes) -> None:
    """A .safetensors file, whole and only its contract."""
    from penumbra.network import load_weights
    from penumbra.pipeline import trained_short_side

    path = _file("weights.safetensors", data)
    for read in (load_weights, trained_short_side):
        with _sentence_or_nothing():
            read(path)


def read_contract(data: bytes) -> None:
    """A model's contract."""
    from penumbra.contract import ModelContract

    with _sentence_or_nothing():
        contract = ModelContract.from_json(_text(data))
        assert 16 <= contract.height * contract.width <= 2**30


def read_camera(data: bytes) -> None:
    """A homographies file of either layout, for a clip of three frames."""
    from penumbra.color import LinearSpace
    from penumbra.frames import Footage, Region
    from penumbra.track import read_homographies

    region = Region(0, 0, 64, 48)
    footage = Footage("plate", (1, 2, 3), region, region, LinearSpace("lin_rec709"), "lin_rec709")
    with _sentence_or_nothing():
        track = read_homographies(_file("camera.json", data), footage)
        assert track.homographies.shape == (3, 3, 3)


def read_pattern(data: bytes) -> None:
    """A path of a clip on the first line, names of files in its folder on the others."""
    from penumbra.read.sequences import compact_ranges, find_clip, parse_pattern

    first, *names = _text(data).split("\n")
    pattern = parse_pattern(first)
    for name in names:
        if pattern is not None:
            pattern.number(name)
    folder = _folder() / "clip"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name in names[:8]:
        if name and "/" not in name and "\0" not in name and len(os.fsencode(name)) < 200 and name not in (".", ".."):
            (folder / name).write_bytes(b"")
    for path_ in (first, str(folder / first.lstrip("/")), str(folder)):
        with _sentence_or_nothing():
            clip = find_clip(path_)
            compact_ranges(clip.files)
            assert all(file.is_file() for file in clip.files.values())


def read_node_texts(data: bytes) -> None:
    """What artists type into the knobs of the Nuke node, and what Resolve tells of its clips."""
    from penumbra_nuke.settings import parse_objects, parse_order
    from penumbra_resolve.sources import object_name, parse_media_path, rate_of, shot_name

    text = _text(data)
    for shared in (False, True):
        with _sentence_or_nothing():
            for choice in parse_objects(text, shared):
                assert choice.name.isidentifier()
    with _sentence_or_nothing():
        parse_order(text)
    parse_media_path(text)
    rate_of(text)
    object_name(text)
    assert not set(shot_name(text, 1, 2)) & set("/\\\0"), "a folder's name that leads elsewhere"


def read_request(data: bytes) -> None:
    """Lines that the panel sends to the footage service."""
    import io

    from penumbra.serve import serve

    answers = io.BytesIO()
    # No folder of the machine's own shall be listed because a line names it.
    here = Path.cwd()
    os.chdir(_folder())
    try:
        serve(io.BytesIO(data), answers)
    finally:
        os.chdir(here)
    assert b'"code": "fault"' not in answers.getvalue(), answers.getvalue()[:2000]


def read_order_file(data: bytes) -> None:
    """``order.txt`` of a clip on disk."""
    from penumbra.training.datasets import list_clip

    folder = _file("dataset/order.txt", data).parent
    for name in ("rgba_00000.png", "rgba_00001.png", "mask0_00000.png", "mask0_00001.png", "mask1_00000.png"):
        (folder / name).touch()
    (folder / "mask1_00001.png").touch()
    with _sentence_or_nothing():
        list_clip(folder)


def read_panel_files(data: bytes) -> None:
    """What the panel keeps for itself, and a job that a host has begun."""
    from penumbra_gui.models.begun_job import project_of, read_begun_job
    from penumbra_gui.models.preferences import load_preferences

    path = _file("panel.json", data)
    load_preferences(path)
    with _sentence_or_nothing():
        project_of(*read_begun_job(path))


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _job() -> dict[str, Any]:
    from penumbra.job import (
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
    )

    return Job(
        PlateSettings("plate.%04d.exr", FrameRange(1001, 1100), "ACEScg"),
        (MaskSettings("car", "car.mov", "id:3", True, -5), MaskSettings("person", "roto.exr", "channel:roto.person")),
        OutputSettings("out", splits=True, combined="multipart"),
        (OrderSettings(("car", "person")), OrderSettings(("person", "car"), 1050)),
        CleanPlateSettings("clean.png"),
        CameraSettings("file", "camera.json"),
        RefineSettings(minutes=5.0),
        ModelSettings("tuned.safetensors", (128, 224), 3, "cpu"),
    ).to_dict()


_PLATE = {
    "path": "plate.%04d.exr", "frames": "1001-1003", "padding": 4, "size": [64, 48], "display_window": [0, 0, 64, 48],
    "canvas": [0, 0, 64, 48], "pixel_aspect": 1.0, "fps": "24000/1001", "timecode": "01:00:00;00",
    "source_space": "srgb_tx", "space": "lin_rec709",
}  # fmt: skip
_FRAME = {"recomposition_max": 0.0, "recomposition_mean": 0.0, "unresolved": 0, "within_bound": True}
_IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]


def _manifest() -> dict[str, Any]:
    return {
        "penumbra_manifest": 1,
        "engine": "0.1",
        "plate": _PLATE,
        "objects": [{"name": "car", "color": "#112233"}, {"name": "person"}],
        "totals": {"recomposition_max": 0.0},
        "warnings": ["none"],
        "job": _job(),
        "order": {"1001": ["car", "person"], "1002": ["person", "car"], "1003": ["person", "car"]},
        "frames": {str(number): _FRAME for number in (1001, 1002, 1003)},
    }


_TRACK = {
    "penumbra_camera": 1, "numbers": [1, 2, 3], "reference": 1, "locked": False, "homographies": [_IDENTITY] * 3,
    "quality": [None, 0.5, 1], "inliers": [None, 1, 1], "warnings": [], "size": [64, 48],
}  # fmt: skip
_TREE = (
    b"\x80\x04}(\x8c\x06params}\x8c\x0comnimatte_sp}(\x8c\x09valid_embK\x00\x8c\x0bpos_embs_xK\x00u"
    b"s\x8c\x09opt_stateK\x00\x8c\x0foptax._src.base\x8c\x0aEmptyState\x93)\x81\x86\x8c\x04stepK\x00u."
)


@cache
def _arrays() -> bytes:
    import io

    import numpy as np

    file = io.BytesIO()
    for array in (np.int32(3), np.zeros((2, 96), np.float32), np.zeros(256, np.float32), np.int64(3)):
        np.save(file, array, allow_pickle=False)
    return file.getvalue()


@cache
def _weights() -> bytes:
    import torch
    from safetensors.torch import save

    header = {
        "penumbra.contract": '{"window": 5, "stride": 3, "height": 32, "width": 32, "multiple": 16, "version": 1}',
        "penumbra.size": '{"grid_height": 2, "grid_width": 2, "max_frames": 10}',
    }
    return bytes(save({"shown": torch.zeros(256), "frame_positions.x": torch.zeros(2, 96)}, header))


_SETTINGS = {
    "steps": 10, "batch": 4, "precision": "float32", "pool": {"height": 32, "objects": [0.5, 0.3, 0.2]},
    "stages": [{"height": 32, "width": 48, "share": 0.5}], "clips": {"folders": ["a"], "share": 0.5}, "clip_norm": None,
}  # fmt: skip
_EVENTS = (
    {"penumbra_event": 1, "event": "progress", "stage": "lift", "done": 3, "total": 9, "seconds": 1.5, "eta": 4.0,
     "values": {"loss": 0.5}},
    {"penumbra_event": 1, "event": "error", "message": "No.", "code": "job", "fix": "Yes.", "eta": None},
)  # fmt: skip
_REQUESTS = (
    {"id": 1, "ask": "check", "plate": {"path": "p.%04d.exr"}, "masks": [{"name": "a", "path": "m"}],
     "clean_plate": {"path": "c"}},
    {"id": 2, "ask": "frame", "source": "plate", "frame": 1, "step": 2},
    {"id": 3, "ask": "inspect", "path": "x.mov"},
    {"id": 4, "ask": "frame", "source": "layer:car", "folder": "out", "frame": 1},
    {"id": 5, "ask": "frame", "source": "image", "path": "x.png", "frame": 0},
)  # fmt: skip
_OMNIMATTE = b"size: 64 48\nbounds: 0 64 0 48\n" + b"1 0 2.5 0 1 -3 0 1e-5 1\n" * 3


@cache
def targets() -> dict[str, Target]:
    """All targets by name."""
    begun = {**_job(), "masks": []}
    made = (
        Target("job", read_job, (_json(_job()),)),
        Target("options", read_options, (b"1001-1100\n5min\n128x224\nACEScg\nlocked\nrandom\ncar=alpha\n1050:car",)),
        Target("event", read_event, tuple(map(_json, _EVENTS))),
        Target("manifest", read_manifest, (_json(_manifest()),)),
        Target("settings", read_settings, (_json(_SETTINGS),)),
        Target("tree", read_tree, (_TREE,)),
        Target("arrays", read_arrays, (_arrays(),)),
        Target("weights", read_weights, (_weights(),)),
        Target("contract", read_contract, (b'{"window": 5, "stride": 3, "height": 64, "width": 64, "multiple": 16}',)),
        Target("camera", read_camera, (_json(_TRACK), _OMNIMATTE)),
        Target("pattern", read_pattern, (b"plate.%04d.exr\nplate.1001.exr\nplate.1002.exr", b"a.[1-2].png\na.1.png")),
        Target("node_texts", read_node_texts, (b"car=roto.car person", b"1050: person car", b"a.[1001-1002].exr")),
        Target("request", read_request, (b"\n".join(map(_json, _REQUESTS)),)),
        Target("order_file", read_order_file, (b"0 1\n1 0\n",)),
        Target("panel_files", read_panel_files, (_json(begun), b'{"recent": ["a"], "cache_mib": 512}')),
    )
    return {target.name: target for target in made}
