from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from penumbra.color import DisplayEncoding
from penumbra.compositing import premultiply
from penumbra.contract import CONTRACT_KEY, GRAPH_NAMES, ModelContract
from penumbra.decompose import LayerModels, decompose
from penumbra.errors import DeviceError, Stopped, TooShortError, WeightsError
from penumbra.frames import WorkingClip
from penumbra.network import LayerNetwork, NetworkSize, seeded_network
from penumbra.training.export import export_graphs
from penumbra.windows import Window, central_window, windows_for

CONTRACT = ModelContract(window=5, stride=3, height=32, width=48)


@pytest.fixture(scope="module")
def network() -> LayerNetwork:
    return seeded_network(1, NetworkSize(grid_height=2, grid_width=3)).eval()


@pytest.fixture(scope="module")
def graphs(network: LayerNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    export_graphs(network, CONTRACT, folder)
    return folder


@pytest.fixture(scope="module")
def models(graphs: Path) -> LayerModels:
    return LayerModels.load(graphs, "cpu")


def clip_of(count: int, objects: int = 2, height: int = 32, width: int = 48) -> WorkingClip:
    random = np.random.default_rng(count)
    names = tuple(f"object_{index}" for index in range(objects))
    return WorkingClip(
        numbers=tuple(range(1001, 1001 + count)),
        names=names,
        frames=random.random((count, height, width, 3), dtype=np.float32),
        masks=(random.random((count, objects, height, width)) > 0.7).astype(np.float32),
        background=np.zeros((count, height, width, 3), np.float32),
        valid=np.ones((count, height, width), np.float32),
        believed=np.ones((count, height, width), np.float32),
        order=np.tile(np.arange(objects), (count, 1)),
        encoding=DisplayEncoding(),
    )


@torch.no_grad()
def predicted_by_torch(network: LayerNetwork, clip: WorkingClip, windows: Iterable[Window]) -> np.ndarray:
    """The mean over the windows of the premultiplied layers (K, h, w, 4)."""
    layers = []
    for window in windows:
        chosen = list(window.frames)
        frames = torch.from_numpy(clip.frames[chosen].transpose(3, 0, 1, 2)[None] * 2 - 1)
        masks = torch.from_numpy(clip.masks[chosen].transpose(1, 0, 2, 3)[None] * 2 - 1)
        visible = torch.ones(1, len(chosen))
        visible[0, window.target] = 0
        rgba = network(frames, masks, visible)[0, :, :, window.target] * 0.5 + 0.5
        layers.append(premultiply(rgba.permute(1, 2, 3, 0).numpy()))
    return np.mean(layers, axis=0)


@pytest.mark.parametrize(("count", "stride"), [(16, None), (7, 1), (4, None), (2, 3)])
def test_layers_are_the_networks_window_by_window(
    network: LayerNetwork, models: LayerModels, count: int, stride: int | None
) -> None:
    clip = clip_of(count)
    seen = []
    for index, layers in decompose(clip, models, stride, mirrored=False):
        seen.append(index)
        assert layers.shape == (2, 32, 48, 4)
        assert layers.dtype == np.float32
        assert layers.min() >= 0
        assert layers.max() <= 1
        expected = predicted_by_torch(network, clip, windows_for(index, count, 5, stride or 3))
        np.testing.assert_allclose(premultiply(layers), expected, atol=1e-4)
    assert seen == list(range(count))


def test_working_size_and_number_of_objects_are_free(network: LayerNetwork, models: LayerModels) -> None:
    clip = clip_of(6, objects=1, height=48, width=16)
    layers = dict(decompose(clip, models, mirrored=False))
    expected = predicted_by_torch(network, clip, windows_for(3, 6, 5, 3))
    np.testing.assert_allclose(premultiply(layers[3]), expected, atol=1e-4)


def test_a_mirrored_clip_gives_mirrored_layers(models: LayerModels) -> None:
    clip = clip_of(7)
    frames, background = (np.ascontiguousarray(part[:, :, ::-1]) for part in (clip.frames, clip.background))
    masks, valid = np.ascontiguousarray(clip.masks[..., ::-1]), np.ascontiguousarray(clip.valid[..., ::-1])
    mirrored = replace(clip, frames=frames, masks=masks, background=background, valid=valid)
    for (_, layers), (_, other) in zip(decompose(clip, models), decompose(mirrored, models), strict=True):
        np.testing.assert_allclose(premultiply(layers), premultiply(other[:, :, ::-1]), atol=1e-5)


class CountingSession:
    """A real session that counts the images it is given."""

    def __init__(self, session: Any, counts: Counter[str], name: str) -> None:
        self._session, self._counts, self._name = session, counts, name

    def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> Any:
        self._counts[self._name] += len(next(iter(inputs.values())))
        return self._session.run(outputs, inputs)


def test_one_window_a_frame_is_the_one_around_it(network: LayerNetwork, models: LayerModels) -> None:
    clip = clip_of(16)
    layers = dict(decompose(clip, models, both_sides=False, mirrored=False))
    for index in (0, 8, 15):
        expected = predicted_by_torch(network, clip, [central_window(index, 16, 5, 3)])
        np.testing.assert_allclose(premultiply(layers[index]), expected, atol=1e-4)


def test_layers_do_not_depend_on_how_many_are_predicted_at_once(models: LayerModels) -> None:
    clip, batches = clip_of(11), []
    session = models.sessions["layer_decoder"]

    class Watching:
        def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> Any:
            batches.append(len(inputs["target"]))
            return session.run(outputs, inputs)

    # The sessions stay the CPU's: only the size of the batches follows the provider.
    many = replace(models, provider="CUDAExecutionProvider", sessions={**models.sessions, "layer_decoder": Watching()})
    for (_, one), (_, other) in zip(decompose(clip, models), decompose(clip, many), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert max(batches) > 8


def test_every_frame_and_mask_is_encoded_once(models: LayerModels) -> None:
    counts: Counter[str] = Counter()
    sessions = {name: CountingSession(session, counts, name) for name, session in models.sessions.items()}
    count, objects = 37, 2
    assert len(list(decompose(clip_of(count, height=16, width=32), replace(models, sessions=sessions)))) == count
    views = 2  # the clip and its mirror image
    assert counts["frame_encoder"] == views * (count + 1)  # and what a hidden frame looks like
    assert counts["mask_encoder"] == views * count * objects
    assert counts["layer_decoder"] <= views * 2 * count


def test_memory_is_flat_in_the_number_of_frames(models: LayerModels) -> None:
    def peak(count: int) -> int:
        clip = clip_of(count, objects=1, height=16, width=32)
        tracemalloc.start()
        for _ in decompose(clip, models, stride=1):
            pass
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(24)  # whatever is allocated once and for all
    assert peak(80) < 1.25 * peak(24)


def test_the_same_clip_gives_the_same_bits(models: LayerModels) -> None:
    clip = clip_of(9)
    for (_, first), (_, second) in zip(decompose(clip, models), decompose(clip, models), strict=True):
        assert np.array_equal(first, second)


def test_progress_and_stopping(models: LayerModels) -> None:
    told: list[tuple[int, int]] = []
    finished = []

    def run() -> None:
        for index, _ in decompose(clip_of(6), models, None, lambda *x: told.append(x), lambda: len(told) == 2):
            finished.append(index)

    with pytest.raises(Stopped, match="2 of 6"):
        run()
    assert told == [(1, 6), (2, 6)]
    assert finished == [0, 1]


def test_a_single_frame_is_refused(models: LayerModels) -> None:
    with pytest.raises(TooShortError, match="single frame"):
        next(decompose(clip_of(1), models))


def test_missing_damaged_and_foreign_graphs_are_refused(graphs: Path, tmp_path: Path) -> None:
    good = {name: (graphs / f"{name}.onnx").read_bytes() for name in GRAPH_NAMES}

    def refused(sentence: str, **changed: bytes | None) -> None:
        for name, data in (good | changed).items():
            path = tmp_path / f"{name}.onnx"
            path.unlink(missing_ok=True)
            if data is not None:
                path.write_bytes(data)
        with pytest.raises(WeightsError, match=sentence):
            LayerModels.load(tmp_path, "cpu")

    refused(r"layer_decoder\.onnx cannot be read", layer_decoder=None)
    refused(r"mask_encoder\.onnx cannot be loaded", mask_encoder=b"")
    refused("cannot be loaded", frame_encoder=b"no graph at all")
    refused("cannot be loaded", layer_decoder=good["layer_decoder"][: len(good["layer_decoder"]) // 2])
    refused("is not the mask_encoder graph", mask_encoder=good["frame_encoder"])
    refused("carries no contract", mask_encoder=with_metadata(good["mask_encoder"], {}))
    contract = {CONTRACT_KEY: ModelContract().to_json(), "penumbra.fingerprint": "0"}
    refused("come from different weights", mask_encoder=with_metadata(good["mask_encoder"], contract))
    impossible = {CONTRACT_KEY: ModelContract(window=99).to_json(), "penumbra.fingerprint": "0"}
    refused("cannot keep", **{name: with_metadata(data, impossible) for name, data in good.items()})
    refused("refers to other files", mask_encoder=with_external_data(good["mask_encoder"], "secret.bin"))


def with_metadata(data: bytes, metadata: dict[str, str]) -> bytes:
    model = onnx.load_from_string(data)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)
    serialized: bytes = model.SerializeToString()
    return serialized


def with_external_data(data: bytes, file: str) -> bytes:
    model = onnx.load_from_string(data)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], file)
    model.graph.initializer[0].ClearField("raw_data")
    serialized: bytes = model.SerializeToString()
    return serialized


def test_the_device_in_use_is_the_one_that_runs(graphs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    models = LayerModels.load(graphs)
    for session in models.sessions.values():
        assert session.get_providers()[0] == models.provider
    # One sentence for every better provider that this build of ONNX Runtime lists.
    better = onnxruntime.get_available_providers().index(models.provider)
    assert len(models.notes) == better
    assert all(note.endswith(".") and "is not used" in note for note in models.notes)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_a_device_that_is_not_there_is_refused(graphs: Path) -> None:
    with pytest.raises(DeviceError, match="'quantum' is not known"):
        LayerModels.load(graphs, "quantum")
    missing = "directml" if "DmlExecutionProvider" not in onnxruntime.get_available_providers() else "coreml"
    with pytest.raises(DeviceError, match="cannot be used here"):
        LayerModels.load(graphs, missing)


@given(st.data())
def test_windows_hold_their_target_and_lie_in_the_clip(data: st.DataObject) -> None:
    count, window, stride = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 10), st.integers(1, 6)))
    index = data.draw(st.integers(0, count - 1))
    windows = windows_for(index, count, window, stride)
    assert 1 <= len(windows) <= 2
    for found in windows:
        assert len(found.frames) == min(window, count)
        assert found.target_frame == index
        assert 0 <= found.frames[0] <= found.frames[-1] < count
        steps = set(np.diff(found.frames).tolist())
        assert len(steps) <= 1
        assert all(1 <= step <= stride for step in steps)


@pytest.mark.parametrize(
    ("index", "count", "expected"),
    [
        (20, 40, [(8, 11, 14, 17, 20), (20, 23, 26, 29, 32)]),  # last in one, first in the other
        (0, 40, [(0, 3, 6, 9, 12)]),  # nothing before it
        (39, 40, [(27, 30, 33, 36, 39)]),
        (7, 20, [(1, 4, 7, 10, 13), (7, 10, 13, 16, 19)]),  # moved into the clip
        (5, 10, [(1, 3, 5, 7, 9)]),  # the stride shrinks
        (1, 3, [(0, 1, 2)]),
    ],
)
def test_windows_stand_on_both_sides_where_they_can(index: int, count: int, expected: list[tuple[int, ...]]) -> None:
    assert [window.frames for window in windows_for(index, count, 5, 3)] == expected


@pytest.mark.parametrize(
    ("index", "count", "expected"),
    [
        (20, 40, (14, 17, 20, 23, 26)),
        (0, 40, (0, 3, 6, 9, 12)),
        (39, 40, (27, 30, 33, 36, 39)),
        (1, 40, (1, 4, 7, 10, 13)),
        (1, 3, (0, 1, 2)),
    ],
)
def test_the_central_window_has_its_target_in_the_middle_where_it_can(
    index: int, count: int, expected: tuple[int, ...]
) -> None:
    window = central_window(index, count, 5, 3)
    assert window.frames == expected
    assert window.target_frame == index


@pytest.mark.parametrize("arguments", [(5, 5, 5, 3), (-1, 5, 5, 3), (0, 5, 0, 3), (0, 5, 5, 0)])
def test_impossible_windows_are_refused(arguments: tuple[int, int, int, int]) -> None:
    for find in (windows_for, central_window):
        with pytest.raises(ValueError, match="no window"):
            find(*arguments)
