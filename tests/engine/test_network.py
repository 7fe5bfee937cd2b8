from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from penumbra.contract import CONTRACT_KEY, ModelContract
from penumbra.errors import OutputError, WeightsError
from penumbra.network import LayerNetwork, NetworkSize, load_weights, save_weights, seeded_network

SMALL = NetworkSize(grid_height=2, grid_width=3)


@pytest.fixture(scope="module")
def network() -> LayerNetwork:
    return seeded_network(0, SMALL).eval()


def window(frames: int = 4, objects: int = 2, height: int = 32, width: int = 48, batch: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    clip = torch.rand(batch, 3, frames, height, width, generator=generator) * 2 - 1
    masks = (torch.rand(batch, objects, frames, height, width, generator=generator) > 0.7).float() * 2 - 1
    visible = torch.ones(batch, frames)
    visible[:, -1] = 0
    return [clip, masks, visible]


@torch.no_grad()
def test_target_frames_alone_are_those_of_the_whole_window(network: LayerNetwork) -> None:
    arguments = window()
    everything = network(*arguments)
    assert everything.shape == (2, 4, 2, 4, 32, 48)
    some = network(*arguments, torch.tensor([[3, 0], [1, 2]]))
    assert torch.allclose(some[0], everything[0][:, :, [3, 0]], atol=1e-5)
    assert torch.allclose(some[1], everything[1][:, :, [1, 2]], atol=1e-5)


@torch.no_grad()
def test_an_object_knows_nothing_of_the_others(network: LayerNetwork) -> None:
    clip, masks, visible = window()
    together = network(clip, masks, visible)
    alone = network(clip, masks[:, 1:], visible)
    assert torch.allclose(together[:, :, 1:], alone, atol=1e-5)


@torch.no_grad()
def test_a_sample_knows_nothing_of_the_rest_of_its_batch(network: LayerNetwork) -> None:
    arguments = window()
    assert torch.allclose(network(*arguments)[1:], network(*(value[1:] for value in arguments)), atol=1e-5)


@torch.no_grad()
def test_what_is_hidden_cannot_be_seen(network: LayerNetwork) -> None:
    clip, masks, visible = window()
    other = clip.clone()
    other[:, :, -1] = -other[:, :, -1]
    assert torch.equal(network(clip, masks, visible), network(other, masks, visible))
    other = clip.clone()
    other[:, :, 0] = -other[:, :, 0]
    assert not torch.allclose(network(clip, masks, visible), network(other, masks, visible), atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 32), (2, 48, 16), (10, 32, 64)])
def test_other_sizes_and_lengths_are_taken(network: LayerNetwork, frames: int, height: int, width: int) -> None:
    rgba = network(*window(frames, 1, height, width, batch=1))
    assert rgba.shape == (1, 4, 1, frames, height, width)
    assert rgba.isfinite().all()
    assert rgba.abs().max() < 1


def test_sizes_it_cannot_take_are_refused(network: LayerNetwork) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        network(*window(height=40))
    with pytest.raises(ValueError, match="at most 10"):
        network(*window(frames=11))
    with pytest.raises(ValueError, match="positive"):
        NetworkSize(grid_height=0)


def test_low_precision_training_stays_finite_and_close() -> None:
    network = seeded_network(1, SMALL).eval()
    arguments = window(batch=1)
    full = network(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        low = network(*arguments, torch.tensor([[3]]))
    assert low.dtype == torch.float32
    assert (low - full[:, :, :, 3:]).abs().mean() < 0.03
    low.square().mean().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_every_weight_learns() -> None:
    network = seeded_network(1, SMALL)
    network(*window(batch=1)).square().mean().backward()
    silent = [name for name, parameter in network.named_parameters() if not parameter.grad.abs().max() > 0]
    assert silent == []


def test_dropout_is_for_training_only() -> None:
    network = seeded_network(1, SMALL)
    arguments = window(batch=1)
    with torch.no_grad():
        assert not torch.equal(network(*arguments), network(*arguments))
        network.eval()
        assert torch.equal(network(*arguments), network(*arguments))


def test_random_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = seeded_network(7)
    assert torch.equal(torch.rand(1), expected)
    second, third = seeded_network(7), seeded_network(8)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.decoder.rgba.weight, third.decoder.rgba.weight)


def test_random_weights_are_drawn_as_published() -> None:
    network = seeded_network(0)
    assert sum(parameter.numel() for parameter in network.parameters()) == 7_367_044
    convolution = network.frame_encoder.convolutions[2].weight  # uniform, variance 2 / fan
    assert convolution.std().item() == pytest.approx((2 / (128 * 16)) ** 0.5, rel=0.02)
    assert convolution.abs().max().item() <= (6 / (128 * 16)) ** 0.5
    transposed = network.decoder.convolutions[1].weight  # 256 to 128 channels, the fan counts the 128
    assert transposed.std().item() == pytest.approx((2 / (128 * 16)) ** 0.5, rel=0.02)
    linear = network.transformer.layers[0].mlp[0].weight
    assert linear.std().item() == pytest.approx(256**-0.5, rel=0.02)
    assert network.frame_positions.x.std().item() == pytest.approx(0.02 * 0.8796, rel=0.1)
    assert network.decoder.rgba.weight.abs().max().item() <= 2 * 576**-0.5
    biases = [p for name, p in network.named_parameters() if name.endswith("bias")]
    assert all((bias == 0).all() for bias in biases)


def test_weights_come_back_to_the_bit(tmp_path: Path, network: LayerNetwork) -> None:
    contract = ModelContract(window=4, stride=2, height=32, width=48)
    save_weights(network, tmp_path / "sub" / "w.safetensors", contract, {"steps": "12"})
    again, found, metadata = load_weights(tmp_path / "sub" / "w.safetensors")
    assert (found, metadata, again.size) == (contract, {"steps": "12"}, SMALL)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    assert not again.training
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["w.safetensors"]


def test_half_weights_come_back_as_floats(tmp_path: Path, network: LayerNetwork) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network, path, ModelContract(), {}, half=True)
    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("shown").dtype == torch.float16
    again = load_weights(path)[0]
    for ours, theirs in zip(network.parameters(), again.parameters(), strict=True):
        assert theirs.dtype == torch.float32
        assert torch.equal(theirs, ours.half().float())


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, network: LayerNetwork) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network, path, ModelContract(), {})
    with safe_open(path, framework="pt") as file:
        header, good = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def refused(sentence: str, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
        save_file(tensors, path, header if metadata is None else metadata)
        with pytest.raises(WeightsError, match=sentence):
            load_weights(path)

    refused("lacks 'shown'", {name: tensor for name, tensor in good.items() if name != "shown"})
    refused("holds 'extra'", good | {"extra": torch.zeros(1)})
    refused("shown is torch.float32 .3,.", good | {"shown": torch.zeros(3)})
    refused("not finite", good | {"shown": torch.full((256,), torch.nan)})
    refused("expected floats", good | {"shown": torch.zeros(256, dtype=torch.int64)})
    refused("without Penumbra's contract", good, {"format": "pt"})
    refused("contract version 9", good, header | {CONTRACT_KEY: '{"version": 9}'})
    refused("which size", good, header | {"penumbra.size": '{"grid": 2}'})
    refused("impossible size", good, header | {"penumbra.size": '{"grid_height": 100000000}'})


def test_missing_and_damaged_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(WeightsError, match="no weights at"):
        load_weights(path)
    for content in (b"", b"not weights at all", b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="cannot be read as weights"):
            load_weights(path)


def test_weights_that_cannot_be_written_say_so(tmp_path: Path, network: LayerNetwork) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        save_weights(network, tmp_path / "file" / "w.safetensors", ModelContract(), {})
    (tmp_path / "w.safetensors").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        save_weights(network, tmp_path / "w.safetensors", ModelContract(), {})
    assert {path.name for path in tmp_path.iterdir()} == {"file", "w.safetensors"}
