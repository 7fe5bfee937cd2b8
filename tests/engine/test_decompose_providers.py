"""Which device predicts, and why another does not. The graphs are real; only the providers' failures are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from engine.tiny_clip import tiny_job, write_clip
from penumbra.color import DisplayEncoding
from penumbra.contract import GRAPH_NAMES, ModelContract
from penumbra.decompose import LayerModels, decompose
from penumbra.decompose.providers import (
    CPU,
    Runtime,
    choose_provider,
    in_few_words,
    open_session,
    runtime_here,
    survey,
)
from penumbra.errors import DeviceError, OutOfMemoryError, WeightsError
from penumbra.frames import WorkingClip
from penumbra.network import NetworkSize, seeded_network
from penumbra.pipeline import run
from penumbra.training.export import export_graphs
from penumbra.write import load_manifest

TENSORRT, CUDA, COREML, DIRECTML = (
    f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CoreML", "Dml")
)  # fmt: skip
EVERY = (CPU, DIRECTML, COREML, CUDA, TENSORRT)  # in no order of ours
NO_DEVICE = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:131 std::conditional_t<THRW, void, Status>"
    " onnxruntime::CudaCall(ERRTYPE, const char*) CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ;"
    " hostname=somewhere ; file=cuda_execution_provider.cc ; line=282 ; expr=cudaSetDevice(info_.device_id);"
)


NO_MEMORY = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. Name:'node_4'"
    " Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void*"
    " onnxruntime::BFCArena::AllocateRawInternal(size_t, bool) Failed to allocate memory for requested buffer of size 1"
)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    export_graphs(seeded_network(1, NetworkSize(2, 2)).eval(), ModelContract(height=32, width=32), folder)
    return folder


class OnTheCpu:
    """A real session that says it runs on ``provider``, and fails on the graphs it is told to.

    ``room``: samples for which it has memory.
    """

    def __init__(self, model: bytes, provider: str, fails: str = "", room: int = 10**6) -> None:
        self._session, self._provider, self._fails = open_session(model, CPU), provider, fails
        self._room = room

    def get_providers(self) -> list[str]:
        return [self._provider, CPU]

    def run(self, outputs: Any, inputs: dict[str, np.ndarray]) -> Any:
        if self._fails in inputs:
            raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Unsupported data type 9. Node: node_1")
        if len(next(iter(inputs.values()))) > self._room:
            raise RuntimeError(NO_MEMORY)
        return self._session.run(outputs, inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def runtime(
    starts: tuple[str, ...], installed: tuple[str, ...] = EVERY, cannot_run: str = "", obstacle: str = ""
) -> Runtime:
    """One where only ``starts`` and the CPU start; ``cannot_run`` names an input its first one chokes on."""

    def opened(model: bytes, provider: str) -> Any:
        if provider == CPU:
            return open_session(model, CPU)
        if provider == CUDA and provider not in starts:
            raise RuntimeError(NO_DEVICE)
        if provider not in starts:
            return open_session(model, CPU)  # as ONNX Runtime does: it steps back without a word
        return OnTheCpu(model, provider, cannot_run if provider == starts[0] else "")

    return Runtime(
        installed, opened, lambda provider: obstacle if provider in (TENSORRT, CUDA) else "", lambda provider: ""
    )


@pytest.mark.parametrize("first", range(5))
def test_the_best_provider_that_starts_is_taken(graphs: Path, first: int) -> None:
    best_first = (TENSORRT, CUDA, COREML, DIRECTML, CPU)
    models = LayerModels.load(graphs, runtime=runtime(best_first[first:]))
    assert models.provider == best_first[first]
    assert len(models.notes) == first


def test_every_provider_that_could_not_start_is_named_with_its_reason(graphs: Path) -> None:
    models = LayerModels.load(graphs, runtime=runtime(()))
    assert models.provider == CPU
    assert models.notes[1] == "CUDA is not used: no CUDA-capable device is detected."
    assert models.line == (
        "Predicting on the CPU; not on TensorRT or CoreML or DirectML: it did not start;"
        " not on CUDA: no CUDA-capable device is detected."
    )
    assert models.encode_masks(np.zeros((1, 1, 32, 32), np.float32)).shape == (1, 256, 2, 2)


def test_providers_this_build_lacks_are_not_worth_a_word(graphs: Path) -> None:
    models = LayerModels.load(graphs, runtime=runtime((), (CPU,)))
    assert models.notes == ()
    assert models.line == "Predicting on the CPU."


def test_what_is_known_beforehand_saves_the_attempt(graphs: Path) -> None:
    models = LayerModels.load(graphs, runtime=runtime((TENSORRT, CUDA), obstacle="no NVIDIA driver was found"))
    assert models.provider == CPU
    assert "not on TensorRT or CUDA: no NVIDIA driver was found" in models.line


@pytest.mark.parametrize("cannot_run", ["frames", "masks", "mask_features"])
def test_a_provider_that_starts_but_cannot_compute_a_graph_gives_way(graphs: Path, cannot_run: str) -> None:
    models = LayerModels.load(graphs, runtime=runtime((TENSORRT, CUDA), (TENSORRT, CUDA, CPU), cannot_run))
    assert models.provider == CUDA
    assert models.line == "Predicting on CUDA; not on TensorRT: Unsupported data type 9."


def test_a_provider_asked_for_by_name_is_refused_with_the_reason(graphs: Path) -> None:
    with pytest.raises(DeviceError, match=r"'cuda' cannot be used here: no CUDA-capable device is detected\. Use"):
        LayerModels.load(graphs, "cuda", runtime(()))
    with pytest.raises(DeviceError, match=r"'tensorrt'.*Unsupported data type 9"):
        LayerModels.load(graphs, "tensorrt", runtime((TENSORRT,), cannot_run="masks"))
    with pytest.raises(DeviceError, match="does not have it"):
        LayerModels.load(graphs, "mps", runtime((), (CPU,)))


def test_a_device_that_fails_in_the_middle_says_so(graphs: Path) -> None:
    models = LayerModels.load(graphs, runtime=runtime((CUDA,), (CUDA, CPU)))
    models.sessions["frame_encoder"]._fails = "frames"  # type: ignore[attr-defined] # it is an OnTheCpu
    with pytest.raises(DeviceError, match=r"CUDA failed to predict: Unsupported data type 9\. Use --device cpu"):
        models.encode_hidden(32, 32)


def with_room(room: int) -> Runtime:
    """One where CUDA has memory for so many samples at once."""
    return Runtime(
        (CUDA, CPU),
        lambda model, provider: open_session(model, CPU) if provider == CPU else OnTheCpu(model, CUDA, room=room),
        lambda provider: "",
        lambda provider: "",
    )


def small_clip(count: int = 9) -> WorkingClip:
    rng = np.random.default_rng(5)
    frames, masks = rng.random((count, 32, 32, 3), np.float32), rng.random((count, 2, 32, 32), np.float32)
    order, ones = np.tile(np.arange(2), (count, 1)), np.ones((count, 32, 32), np.float32)
    return WorkingClip(
        tuple(range(count)), ("a", "b"), frames, masks, frames.copy(), ones, ones, order, DisplayEncoding()
    )


@pytest.mark.parametrize("room", [1, 3, 7])
def test_a_device_short_of_memory_predicts_fewer_at_once(graphs: Path, room: int) -> None:
    clip = small_clip()
    expected = dict(decompose(clip, LayerModels.load(graphs, "cpu")))
    models = LayerModels.load(graphs, runtime=with_room(room))
    assert models.provider == CUDA
    for index, layers in decompose(clip, models):
        np.testing.assert_allclose(layers, expected[index], atol=1e-5)


def test_a_device_without_memory_for_one_says_so(graphs: Path) -> None:
    models = LayerModels.load(graphs, runtime=with_room(1))
    for session in models.sessions.values():
        session._room = 0  # type: ignore[attr-defined] # it is an OnTheCpu
    with pytest.raises(OutOfMemoryError, match=r"predict layers on CUDA.*--device cpu"):
        list(decompose(small_clip(), models))


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_run_on_a_device_without_memory_goes_on_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    def opened(model: bytes, provider: str) -> Any:
        session = open_session(model, CPU) if provider == CPU else OnTheCpu(model, CUDA)
        if provider == CUDA:
            # It starts and computes a trial, which has one sample of two frames of 32 x 32, and no more.
            run = session.run
            session.run = lambda outputs, inputs: run(outputs, inputs) if outputs is None else session.fail()
            session.fail = lambda: (_ for _ in ()).throw(RuntimeError(NO_MEMORY))
        return session

    fake = Runtime((CUDA, CPU), opened, lambda provider: "", lambda provider: "")
    monkeypatch.setattr("penumbra.decompose.models.runtime_here", lambda: fake)
    write_clip(tmp_path)
    job = tiny_job(tmp_path)
    job = replace(job, model=replace(job.model, device=device))
    if device == "cuda":
        with pytest.raises(OutOfMemoryError, match="CUDA"):
            run(job, lambda event: None)
        return
    run(job, lambda event: None)
    manifest = load_manifest(tmp_path / "out")
    assert manifest["provider"] == CPU
    assert manifest["provider_line"] == "Predicting on the CPU; not on CUDA: it has not enough memory."
    assert manifest["totals"]["within_bound"]


def test_a_damaged_graph_is_the_files_fault_on_every_provider(graphs: Path, tmp_path: Path) -> None:
    for name in GRAPH_NAMES:
        data = (graphs / f"{name}.onnx").read_bytes()
        (tmp_path / f"{name}.onnx").write_bytes(data[: len(data) // 2] if name == "layer_decoder" else data)
    with pytest.raises(WeightsError, match=r"layer_decoder\.onnx cannot be loaded"):
        LayerModels.load(tmp_path, runtime=runtime((CUDA,), (CUDA, CPU)))


def test_a_survey_names_every_provider(graphs: Path) -> None:
    found = survey((graphs / "mask_encoder.onnx").read_bytes(), runtime((COREML,), (CUDA, COREML, CPU)))
    assert found == {
        "TensorRT": "this build of ONNX Runtime does not have it",
        "CUDA": "no CUDA-capable device is detected",
        "CoreML": "",
        "DirectML": "this build of ONNX Runtime does not have it",
        "the CPU": "",
    }


def test_what_this_machine_really_has(graphs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    real = runtime_here()
    assert set(real.installed) == set(onnxruntime.get_available_providers())
    choice = choose_provider("auto", (graphs / "mask_encoder.onnx").read_bytes(), runtime=real)
    for title, reason in choice.refused.items():
        assert reason, title
        assert len(reason) <= 120
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NO_DEVICE, "no CUDA-capable device is detected"),
        (
            "/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:729 void onnxruntime::python::Register("
            "PySessionOptions&, const onnxruntime::ProviderOptions&) Please install TensorRT libraries, make sure"
            " they're in the PATH.\n",
            "Please install TensorRT libraries, make sure they're in the PATH",
        ),
        ("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Error compiling model. More.", "Error compiling model"),
        ("", "RuntimeError"),
        ("x" * 500, "x" * 120),
    ],
)  # fmt: skip
def test_reasons_are_a_few_words(text: str, words: str) -> None:
    assert in_few_words(RuntimeError(text)) == words
