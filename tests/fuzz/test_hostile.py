"""What once broke a reader, or would have led out of its folder: by name."""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fakes.nuke
from engine.read_samples import counted_frames, write_image, write_movie
from engine.tiny_clip import tiny_job, write_clip
from fakes.nuke import _script
from fakes.resolve import _lua
from fuzz.targets import targets
from penumbra.color import LinearSpace
from penumbra.contract import CONTRACT_KEY, ModelContract
from penumbra.errors import (
    CameraError,
    FootageError,
    JobError,
    MissingFramesError,
    ObjectNameError,
    OutputError,
    PenumbraError,
    UnreadableError,
    WeightsError,
)
from penumbra.events import parse_event
from penumbra.frames import Footage, Region
from penumbra.job import FrameRange, Job, MaskSettings, OutputSettings, PlateSettings, job_from_dict, load_job
from penumbra.journal import Journal
from penumbra.layer_graph import LayerGraph, OrderSpan, PlateFiles, layer_graph
from penumbra.network import load_weights
from penumbra.nuke_script import layers_script
from penumbra.pipeline import run
from penumbra.read import inspect_footage, open_mask, open_plate
from penumbra.read.sequences import find_clip
from penumbra.storage import read_text
from penumbra.track import read_homographies
from penumbra.training.import_official import import_official
from penumbra.training.pretrain.settings import settings_from_json
from penumbra.write.fusion_setting import import_table, setting_text
from penumbra.write.timeline import timeline_text

JOB = Job(PlateSettings("plate.exr"), (MaskSettings("car", "car.png"),), OutputSettings("out"))
MANIFEST = json.loads(targets()["manifest"].seeds[0])


def quiet(event: object) -> None:
    pass


# Names and places


@pytest.mark.parametrize(
    "name", ["..", "../car", "a/b", "a\\b", "car\n", "car ", "/etc", "C:", "a.b", "a\0b", "\uff41"]
)
def test_no_object_name_leads_anywhere(name: str) -> None:
    with pytest.raises(ObjectNameError):
        MaskSettings(name, "mask.png")
    body = {**MANIFEST, "objects": [{"name": name}], "order": {"1001": [name]}}
    with pytest.raises(OutputError):
        layer_graph(body)


@pytest.mark.parametrize("place", ["box", "background", "preview", ".penumbra"])
def test_a_link_in_the_output_folder_is_not_followed(tmp_path: Path, place: str) -> None:
    write_clip(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / place).symlink_to(outside, target_is_directory=True)
    with pytest.raises(OutputError, match="is a symbolic link"):
        run(tiny_job(tmp_path, previews=True, replace=True), quiet)
    assert not list(outside.iterdir())


def test_a_link_put_into_the_work_folder_of_a_stopped_run_is_not_followed(tmp_path: Path) -> None:
    write_clip(tmp_path)
    run(tiny_job(tmp_path), quiet)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "out" / ".penumbra" / "low.npy").symlink_to(victim)
    with pytest.raises(OutputError, match=r"low\.npy is a symbolic link"):
        run(tiny_job(tmp_path), quiet, resume=True)
    assert victim.read_bytes() == b"precious"


def test_a_link_in_place_of_a_result_is_replaced_not_written_through(tmp_path: Path) -> None:
    write_clip(tmp_path)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "out").mkdir()
    for name in ("manifest.json", "layers.nk"):
        (tmp_path / "out" / name).symlink_to(victim)
    run(tiny_job(tmp_path, replace=True), quiet)
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "out" / "layers.nk").is_symlink()


def test_an_output_folder_that_is_itself_a_link_is_the_artists_choice(tmp_path: Path) -> None:
    write_clip(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    run(tiny_job(tmp_path), quiet)
    assert (tmp_path / "elsewhere" / "manifest.json").is_file()


# Texts that hosts read


def graph_of(folder: str, space: str) -> LayerGraph:
    spans = (OrderSpan(1, 2, ("car",)),)
    return LayerGraph(("car",), 1, 2, 4, spans, (64, 48), 1.0, "24", space, PlateFiles(f"{folder}/p.%04d.exr", space))


HOSTILE = ["[exec touch pwned]", "${PATH}", '"} ; exec touch pwned ; {"', "a\\", "[python {1+1}]", "{", "}"]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_name_is_run_by_who_opens_layers_nk(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setitem(sys.modules, "nuke", fakes.nuke)
    nuke = fakes.nuke.reset()
    _script.read(layers_script(graph_of(f"/shots/{text}", "lin_rec709")), nuke.SCRIPT.root)
    nodes = {node._name(): node for node in nuke.SCRIPT.root._children}
    # A knob takes brackets for Tcl even after the script has been read: such a plate is for the artist to plug in.
    assert nodes["Penumbra_plate"]._kind == "NoOp"
    script = layers_script(graph_of("/shots/a", text))
    assert all(part not in script for part in ("exec", "python", "PATH"))


@given(st.text(max_size=40))
def test_any_text_stays_a_text_in_lua(text: str) -> None:
    graph = replace(graph_of("/shots", text), plate=None)
    tools, _ = _lua.read_setting(setting_text(graph, Path("/out") / text.replace("/", "_").replace("\0", "")))
    assert set(tools) == {"Penumbra_background", "Penumbra_car", "Penumbra_over_car", "Penumbra_from_frame_0"}
    assert "exec" not in import_table(graph)


def test_a_frame_rate_that_would_take_for_ever_is_refused() -> None:
    plate = {**MANIFEST["plate"], "fps": "1e999999999"}
    with pytest.raises(OutputError, match="frame rate"):
        layer_graph({**MANIFEST, "plate": plate})


@pytest.mark.parametrize("timecode", ["", "x", "99:99", "1:2:3:4:5", "01:00:00;\u0660\u0660", None, 7, [1]])
def test_a_timecode_that_is_none_is_left_out(timecode: object) -> None:
    graph = layer_graph({**MANIFEST, "plate": {**MANIFEST["plate"], "timecode": timecode}})
    assert graph.timecode is None
    assert "OTIO_SCHEMA" in timeline_text(graph, "layers")


# Numbers and sizes


def test_two_files_two_thousand_million_frames_apart(tmp_path: Path) -> None:
    for number in (1, 2_000_000_000):
        write_image(tmp_path / f"plate.{number}.exr", np.zeros((4, 4, 3), np.float32))
    with pytest.raises(MissingFramesError, match="lacks frames 2-1999999999"):
        open_plate(PlateSettings(str(tmp_path / "plate.%d.exr")))
    assert inspect_footage(str(tmp_path / "plate.%d.exr"))["holes"] == [[2, 1_999_999_999]]


def test_a_job_may_ask_for_any_frames_of_a_short_clip(tmp_path: Path) -> None:
    write_clip(tmp_path)
    for asked in ("1-2000000000", "-999999999999-999999999999", "1001-2000000000"):
        job = tiny_job(tmp_path)
        with pytest.raises(MissingFramesError, match="goes beyond"):
            run(replace(job, plate=replace(job.plate, frames=FrameRange.parse(asked))), quiet)


@pytest.mark.parametrize("text", ["9" * 5000, "1-" + "9" * 5000, "\u0661-\u0662", "1--" + "9" * 40])
def test_frame_numbers_beyond_any_clip(text: str) -> None:
    with pytest.raises(JobError, match="is not understood"):
        FrameRange.parse(text)


def test_a_sentence_stays_a_sentence_whatever_it_quotes() -> None:
    with pytest.raises(JobError) as caught:
        FrameRange.parse("9" * 1_000_000)
    assert len(str(caught.value)) < 1500
    # Spelled out, half a character is six.
    assert len(str(PenumbraError("\udcff" * 5000))) < 1500
    str(PenumbraError("A file called \udcff.")).encode("utf-8")


@pytest.mark.parametrize(
    "change",
    [
        {"refine": {"minutes": float("nan")}},
        {"refine": {"minutes": float("inf")}},
        {"refine": {"steps": 10**40}},
        {"model": {"seed": -1}},
        {"model": {"seed": 2**64}},
        {"model": {"working_size": [10**12, 10**12]}},
        {"masks": [{"name": "a", "path": "m", "offset": 10**40}]},
        {"masks": [{"name": "a", "path": "m", "channel": "id:" + "9" * 400}]},
        {"masks": [{"name": f"a{k}", "path": "m"} for k in range(2000)]},
        {"plate": {"path": "a\0b"}},
        {"plate": {"path": "\ud800"}},
        {"output": {"folder": "\udcff"}},
        {"penumbra_job": True},
    ],
)
def test_a_job_with_impossible_values_is_a_sentence(change: dict[str, object]) -> None:
    with pytest.raises(JobError):
        job_from_dict({**JOB.to_dict(), **change})


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 100_000, "[1e400]", "NaN", ""])
def test_json_of_any_depth_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(JobError):
        load_job(path)
    with pytest.raises(JobError):
        settings_from_json(text)
    assert parse_event(text) is None
    with pytest.raises(CameraError):
        read_homographies(path, footage())
    (tmp_path / ".penumbra").mkdir()
    (tmp_path / ".penumbra" / "journal.json").write_text(text, encoding="utf-8")
    with pytest.raises(OutputError):
        Journal(tmp_path).open("digest", (), resume=True, replace=False)


def footage() -> Footage:
    region = Region(0, 0, 64, 48)
    return Footage("plate", (1, 2, 3), region, region, LinearSpace("lin_rec709"), "lin_rec709")


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
def test_a_file_without_an_end_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (Path("/dev/zero"), pipe, tmp_path):
        with pytest.raises(OSError, match="it is no file"):
            read_text(path)
        with pytest.raises(JobError, match="cannot be read"):
            load_job(path)
        with pytest.raises(CameraError, match="cannot be read"):
            read_homographies(path, footage())


def test_a_text_larger_than_any_of_its_kind_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**32)
    with pytest.raises(OSError, match="larger than"):
        read_text(tmp_path / "large")


@pytest.mark.parametrize(
    "line",
    [
        '{"penumbra_event": 1, "event": "progress", "done": "3"}',
        '{"penumbra_event": 1, "event": "progress", "done": -1}',
        '{"penumbra_event": 1, "event": "progress", "eta": NaN}',
        '{"penumbra_event": 1, "event": "progress", "eta": Infinity}',
        '{"penumbra_event": 1, "event": "progress", "seconds": null}',
        '{"penumbra_event": 1, "event": "progress", "values": [1]}',
        '{"penumbra_event": 1, "event": "progress", "values": {"loss": "x"}}',
        '{"penumbra_event": 1, "event": "error", "message": 7}',
        '{"penumbra_event": 1, "event": ["error"]}',
    ],
)
def test_an_event_with_a_field_of_another_type_is_none_of_ours(line: str) -> None:
    assert parse_event(line) is None


@pytest.mark.parametrize(
    "body",
    [
        {"stages": None},
        {"stages": [{"height": "64", "width": 64}]},
        {"pool": {"height": 10**9}},
        {"pool": {"objects": ["a", "b", "c"]}},
        {"learning_rate": float("nan")},
        {"seed": "x"},
        {"batch": 1.5},
        {"clips": {"folders": [1]}},
        {"compile": 1},
        {"hiding": []},
    ],
)
def test_pretraining_settings_of_another_type_are_a_sentence(body: dict[str, object]) -> None:
    with pytest.raises(JobError):
        settings_from_json(json.dumps(body))


# Weights


@pytest.mark.parametrize(
    "text",
    [
        '{"height": "64"}', '{"height": 1e9}', '{"width": 1000000000}', '{"height": -16}', '{"multiple": 0}',
        '{"window": ' + "[" * 100_000, '{"height": true}',
    ],
)  # fmt: skip
def test_a_contract_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(WeightsError):
        ModelContract.from_json(text)


def test_weights_are_never_a_pickle(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "weights.safetensors"
    torch.save({"shown": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        load_weights(path)


def test_weights_larger_than_the_network_are_not_even_opened(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with path.open("wb") as file:
        header = json.dumps({"__metadata__": {CONTRACT_KEY: ModelContract().to_json()}}).encode()
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(2**33)
    with pytest.raises(WeightsError, match="larger than any weights"):
        load_weights(path)


# Footage


def test_a_text_that_names_other_files_is_no_movie(tmp_path: Path) -> None:
    write_movie(tmp_path / "secret.mp4", counted_frames(4))
    lists = {
        "concat.mp4": f"ffconcat version 1.0\nfile {tmp_path / 'secret.mp4'}\n",
        "near.mp4": "ffconcat version 1.0\nfile secret.mp4\n",
        "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "sdp.mov": "v=0\nm=video 49170 RTP/AVP 31\nc=IN IP4 127.0.0.1\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(UnreadableError, match="cannot be opened as a movie"):
            open_plate(PlateSettings(str(tmp_path / name)))


def test_a_movie_whose_name_looks_like_an_address_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_movie(tmp_path / "concat:a|b.mp4", counted_frames(3))
    monkeypatch.chdir(tmp_path)
    with open_plate(PlateSettings("concat:a|b.mp4")) as plate:
        assert plate.footage.frames == (1, 2, 3)


def test_a_movie_whose_tags_are_not_unicode_is_read(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "plate.mkv", counted_frames(3), "ffv1")
    data = path.read_bytes()
    assert b"ENCODER" in data
    path.write_bytes(data.replace(b"ENCODER", b"ENCOD\xffR"))
    with open_plate(PlateSettings(str(path))) as plate:
        assert len(plate.footage.frames) == 3


def test_a_header_whose_texts_are_not_unicode_is_read(tmp_path: Path) -> None:
    path = write_image(tmp_path / "plate.exr", np.ones((4, 4, 3), np.float32), attributes={"comment": "Gruen?"})
    path.write_bytes(path.read_bytes().replace(b"Gruen?", b"Gr\xfcn\xff?"))
    plate = inspect_footage(str(path))
    assert plate["width"] == 4
    assert plate["metadata"]["comment"] == "Gr\ufffdn\ufffd?"


def test_a_damaged_header_whose_problem_quotes_the_damage_is_a_sentence(tmp_path: Path) -> None:
    path = write_image(tmp_path / "plate.exr", np.ones((4, 4, 3), np.float32))
    path.write_bytes(path.read_bytes().replace(b"compression\0compression\0", b"compression\0compression\xff"))
    with pytest.raises(UnreadableError, match="cannot be read"):
        open_plate(PlateSettings(str(path)))


def test_a_folder_of_thousands_of_unlike_names_is_listed_at_once(tmp_path: Path) -> None:
    for number in range(2000):
        digits = "a".join(f"{number:011b}" * 8)
        (tmp_path / f"{digits}.png").touch()
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(_sentence(tmp_path)), daemon=True)
    thread.start()
    thread.join(120)
    assert found
    assert "several clips" in found[0]


def _sentence(folder: Path) -> str:
    with pytest.raises(FootageError) as caught:
        find_clip(str(folder))
    return str(caught.value)


@pytest.mark.parametrize(
    "path", ["a" * 5000, "a/" * 3000 + "p.%04d.exr", "%999999999999d.exr", "p.%d\0.exr", "\udcff%d"]
)
def test_paths_no_system_takes_are_a_sentence(path: str) -> None:
    with pytest.raises(FootageError):
        find_clip(path)


def test_a_number_too_long_for_a_frame_is_none(tmp_path: Path) -> None:
    for digits in ("1" * 40, "1" * 39 + "2"):
        write_image(tmp_path / f"{digits}.png", np.zeros((2, 2, 3), np.uint8), "uint8")
    assert find_clip(str(tmp_path / ("1" * 40 + ".png"))).still


def test_an_id_larger_than_the_largest_half_is_compared_all_the_same(tmp_path: Path) -> None:
    path = write_image(tmp_path / "plate.exr", np.full((4, 4, 3), 70000, np.float32), "float")
    with (
        open_plate(PlateSettings(str(path))) as plate,
        open_mask(MaskSettings("a", str(path), "id:70000"), plate.footage) as mask,
    ):
        assert mask.read(1).coverage.all()


def test_a_timecode_of_nonsense_in_a_movie_does_not_end_a_run(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "plate.mkv"), "w") as container:
        container.metadata["timecode"] = "not a timecode"
        stream = container.add_stream("ffv1", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        for _ in range(3):
            picture = np.full((48, 64, 3), 90, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    with open_plate(PlateSettings(str(tmp_path / "plate.mkv"))) as plate:
        assert plate.footage.timecode is None


class Attack:
    """Unpickled without restriction this makes a folder."""

    def __init__(self, victim: Path) -> None:
        self._victim = victim

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._victim),)


def test_a_published_checkpoint_that_is_a_lone_leaf_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "tree.pkl").write_bytes(pickle.dumps(0, protocol=4))
    with (tmp_path / "arrays.npy").open("wb") as file:
        np.save(file, np.zeros(3, np.float32))
    with pytest.raises(WeightsError):
        import_official(tmp_path)


def test_a_training_checkpoint_that_would_run_code_does_not(tmp_path: Path) -> None:
    import torch

    from penumbra.training.pretrain.checkpoint import CHECKPOINT, restore

    torch.save({"network": Attack(tmp_path / "victim")}, tmp_path / CHECKPOINT)
    taken: list[object] = []
    trainer: Any = SimpleNamespace(device="cpu", restore=taken.append)
    with pytest.raises(WeightsError, match="is damaged"):
        restore(trainer, tmp_path)
    assert not taken
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x02}q\x00.", b"\x00" * 1000, b"[" * 1000])
def test_a_damaged_training_checkpoint_is_a_sentence(tmp_path: Path, data: bytes) -> None:
    from penumbra.training.pretrain.checkpoint import CHECKPOINT, restore

    (tmp_path / CHECKPOINT).write_bytes(data)

    def refuse(state: dict[str, object]) -> None:
        raise KeyError(next(iter(state), "network"))

    trainer: Any = SimpleNamespace(device="cpu", restore=refuse)
    with pytest.raises(WeightsError, match="is damaged"):
        restore(trainer, tmp_path)


@pytest.mark.parametrize("location", ["secret.bin", "../secret.bin", "{absolute}", "./a/../../secret.bin"])
def test_a_graph_cannot_read_another_file(tmp_path: Path, location: str) -> None:
    import onnx

    from penumbra.decompose import LayerModels

    (tmp_path / "graphs").mkdir()
    for place in (tmp_path, tmp_path / "graphs"):
        (place / "secret.bin").write_bytes(struct.pack("<4f", 1, 2, 3, 4))
    secret = onnx.helper.make_tensor("secret", onnx.TensorProto.FLOAT, [4], bytes(16), raw=True)
    onnx.external_data_helper.set_external_data(
        secret, location.format(absolute=tmp_path / "secret.bin"), offset=0, length=16
    )
    secret.ClearField("raw_data")
    output = onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, [4])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["secret"], ["features"])], "stolen", [], [output], [secret]
    )
    for name in ("frame_encoder", "mask_encoder", "layer_decoder"):
        data = onnx.helper.make_model(graph).SerializeToString()
        (tmp_path / "graphs" / f"{name}.onnx").write_bytes(data)
    with pytest.raises(WeightsError, match="refers to other files"):
        LayerModels.load(tmp_path / "graphs", "cpu")
