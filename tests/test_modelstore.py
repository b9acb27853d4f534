"""Models as stores: what is written comes back, and what does not fit is named."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fercli import models
from fercli.errors import DataError
from fercli.learn import modelstore
from fercli.learn.fuse import fold_norms
from fercli.learn.modelstore import Card, halved, load, read_card
from fercli.models.inputs import columns
from fercli.store import create_store, open_store
from tests.learning import CLASSES

torch.set_num_threads(1)
CPU = torch.device("cpu")
DIGESTS = np.arange(32, dtype=np.uint8).reshape(2, 16)


def write(
    path: Path,
    name: str = "njoku",
    size: int = 48,
    weights: dict[str, Any] | None = None,
    half: bool = False,
    **card: Any,
) -> Path:
    """A model store of fresh weights; `weights` replace or, where None, remove some, `card` entries of the document."""
    torch.manual_seed(4)
    state = models.build(name, len(CLASSES), 1, size).state_dict() | (weights or {})
    state = {key: values for key, values in state.items() if values is not None}
    made = Card(**{"name": name, "arguments": {}, "size": size, "mean": [0.0], "deviation": [255.0], **card})
    with create_store(path) as writer:
        modelstore.save(
            writer, made, CLASSES, ("gray",), state, {"loss": [2.0, 1.0]}, DIGESTS, {"zoom": 0.1}, half=half
        )
    return path


def loaded(path: Path) -> modelstore.Model:
    with open_store(path, "model") as src:
        return load(src, CPU)


def refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        loaded(path)
    return str(error.value).replace(str(path), "m.h5")


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5")
    torch.manual_seed(4)
    network = models.build("njoku", len(CLASSES)).eval()
    model = loaded(path)
    assert not model.network.training
    assert all(torch.equal(model.network.state_dict()[key], values) for key, values in network.state_dict().items())
    images = np.random.Generator(np.random.PCG64([0])).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images).unsqueeze(1) / 255).softmax(1).numpy()
    assert model.probabilities((images,), 2) == pytest.approx(expected, abs=1e-5)


def test_buffers_and_counters_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def normalised(*_: Any) -> nn.Module:
        return nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    monkeypatch.setattr(models, "build", normalised)
    weights = {"0.running_mean": torch.tensor([2.5]), "0.num_batches_tracked": torch.tensor(9)}
    state = loaded(write(tmp_path / "m.h5", weights=weights)).network.state_dict()
    assert state["0.running_mean"].tolist() == [2.5]
    assert state["0.num_batches_tracked"].shape == ()
    assert state["0.num_batches_tracked"].item() == 9


@pytest.mark.parametrize("name", models.names())
def test_folding_normalisations_leaves_none_and_keeps_the_answers(name: str) -> None:
    torch.manual_seed(0)
    size = 67 if name.startswith("alexnet") else 24
    with torch.device("meta"):
        reads = columns(models.build(name, size=size))
    network = models.build(name, size=size, **dict.fromkeys(reads[1:], 5)).eval()
    for norm in (layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)):
        for values, low in ((norm.running_mean, -1), (norm.running_var, 0.5), (norm.weight.data, 0.5)):
            values.uniform_(low, 2)
    inputs = [torch.rand(3, 1, size, size), *(torch.rand(3, 5) for _ in reads[1:])]
    with torch.inference_mode():
        expected = network(*inputs)
        folded = fold_norms(network)
        torch.testing.assert_close(folded(*inputs), expected, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in folded.modules())


def test_half_the_precision_is_half_the_size(tmp_path: Path) -> None:
    whole, half = write(tmp_path / "whole.h5"), write(tmp_path / "half.h5", half=True)
    assert half.stat().st_size < 0.51 * whole.stat().st_size
    images = np.random.Generator(np.random.PCG64([0])).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    expected, found = (loaded(path).probabilities((images,)) for path in (whole, half))
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-3)


def test_weights_too_large_for_half_precision_are_told() -> None:
    with pytest.raises(DataError) as error:
        halved(np.array([1.0, 7e4], np.float32), "norm.running_var")
    assert str(error.value) == (
        "norm.running_var holds values beyond 65,504, the largest in half precision: leave --half out"
    )
    assert halved(np.array([3]), "norm.num_batches_tracked").dtype == np.int64


def test_a_temperature_divides_the_logits(tmp_path: Path) -> None:
    images = np.random.Generator(np.random.PCG64([0])).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    plain, warm = (loaded(write(tmp_path / f"{t}.h5", temperature=t)).probabilities((images,)) for t in (1.0, 2.0))
    softer = np.sqrt(plain)
    assert warm == pytest.approx(softer / softer.sum(axis=1, keepdims=True), abs=1e-6)


@pytest.mark.parametrize("temperature", [0.0, -1.0, "2", None])
def test_a_temperature_that_is_none_is_refused(tmp_path: Path, temperature: Any) -> None:
    path = write(tmp_path / "m.h5", temperature=temperature)
    with pytest.raises(DataError) as error:
        loaded(path)
    assert str(error.value) == f"{path} is damaged: temperature in its model document is {temperature!r}"


@pytest.mark.parametrize(
    ("losses", "serves"),
    [
        ({}, False),
        ({"float32": 0.9, "int8": 0.9}, True),
        ({"float32": 0.9, "int8": 0.8}, True),
        ({"float32": 0.9, "int8": 0.909}, True),
        ({"float32": 0.9, "int8": 0.911}, False),
        ({"float32": 0.02, "int8": 0.021}, True),
        ({"float32": 0.02, "int8": 0.022}, False),
    ],
)
def test_int8_serves_where_it_was_seen_to_be_as_good(tmp_path: Path, losses: dict[str, float], serves: bool) -> None:
    with open_store(write(tmp_path / "m.h5", losses=losses), "model") as src:
        assert read_card(src).int8_serves == serves


@pytest.mark.parametrize(
    "losses", [[], None, {"int8": 0.5}, {"float32": 0.5, "int8": -1.0}, {"float32": 1, "int8": "1"}]
)
def test_losses_that_are_none_are_refused(tmp_path: Path, losses: Any) -> None:
    path = write(tmp_path / "m.h5", losses=losses)
    with pytest.raises(DataError) as error:
        loaded(path)
    assert str(error.value) == f"{path} is damaged: losses in its model document is {losses!r}"


def test_everything_beside_the_weights_comes_back(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5", arguments={"dropout": 0.1}, spec={"lr": 0.1}, metrics={"epoch": 2})
    model = loaded(path)
    assert model.classes == CLASSES
    assert model.channels == ("gray",)
    assert np.array_equal(model.trained_on, DIGESTS)
    assert model.card == Card("njoku", {"dropout": 0.1}, 48, [0.0], [255.0], {"lr": 0.1}, {"epoch": 2})
    with open_store(path, "model") as src:
        assert src.documents["augment"] == {"zoom": 0.1}
        assert src.array("history/loss").tolist() == [2.0, 1.0]


def test_loading_draws_no_weights(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    loaded(path)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"conv1.bias": None}, "m.h5 lacks the weights conv1.bias: it was made for another network"),
        ({"extra": torch.ones(2)}, "m.h5 holds the weights extra, which its network does not have"),
        (
            {"conv1.bias": torch.ones(31)},
            "m.h5 holds the weights conv1.bias as float32 of shape 31, and its network takes float32 of shape 32",
        ),
        (
            {"conv1.bias": torch.ones(32, dtype=torch.float64)},
            "m.h5 holds the weights conv1.bias as float64 of shape 32, and its network takes float32 of shape 32",
        ),
        (
            {"conv1.bias": torch.full((32,), torch.nan)},
            "m.h5 is damaged: the weights conv1.bias hold values that are not finite numbers",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, weights: dict, message: str) -> None:
    assert refused(write(tmp_path / "m.h5", weights=weights)) == message


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"name": 3}, "m.h5 is damaged: name in its model document is 3"),
        ({"size": "48"}, "m.h5 is damaged: size in its model document is '48'"),
        ({"mean": [0.0, 0.0]}, "m.h5 is damaged: mean is [0.0, 0.0] for 1 channels"),
        ({"mean": ["0"]}, "m.h5 is damaged: mean is ['0'] for 1 channels"),
        ({"deviation": [0.0]}, "m.h5 is damaged: deviation is [0.0] for 1 channels"),
        (
            {"arguments": {"dropuot": 0.1}},
            "m.h5 cannot be built: model njoku has no setting 'dropuot'; did you mean 'dropout'?",
        ),
    ],
)
def test_a_document_that_does_not_fit_is_told(tmp_path: Path, card: dict, message: str) -> None:
    path = tmp_path / "m.h5"
    fitting = {"name": "njoku", "arguments": {}, "size": 48, "mean": [0.0], "deviation": [255.0]}
    with create_store(path) as writer:
        modelstore.save(writer, Card(**{**fitting, **card}), CLASSES, ("gray",), OrderedDict(), {}, DIGESTS)
    assert refused(path) == message


def test_an_unknown_network_is_told(tmp_path: Path) -> None:
    with create_store(tmp_path / "m.h5") as writer:
        card = Card("njokuu", {}, 48, [0.0], [255.0])
        modelstore.save(writer, card, CLASSES, ("gray",), {}, {}, DIGESTS)
    assert refused(tmp_path / "m.h5") == "m.h5 cannot be built: there is no model 'njokuu'; did you mean 'njoku'?"


@pytest.mark.parametrize("size", [10_000_000, 2**62, -5])
def test_an_absurd_size_is_refused_before_anything_of_it_is_allocated(tmp_path: Path, size: int) -> None:
    with create_store(tmp_path / "m.h5") as writer:
        card = Card("njoku", {}, size, [0.0], [255.0])
        weights = models.build("njoku", len(CLASSES)).state_dict()
        modelstore.save(writer, card, CLASSES, ("gray",), weights, {}, DIGESTS)
    assert refused(tmp_path / "m.h5").startswith(("m.h5 cannot be built: ", "m.h5 holds the weights dense5.weight as "))


def test_a_store_without_a_model_document_is_told(tmp_path: Path) -> None:
    with create_store(tmp_path / "m.h5") as writer:
        writer.start("model", CLASSES, ("gray",))
    assert refused(tmp_path / "m.h5") == "m.h5 says nothing about its network: it is no model made by fer train"


def test_a_gpu_without_room_for_the_model_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with create_store(tmp_path / "m.h5") as writer:
        card = Card("njoku", {}, 48, [0.0], [255.0])
        weights = models.build("njoku", len(CLASSES)).state_dict()
        modelstore.save(writer, card, CLASSES, ("gray",), weights, {}, DIGESTS)
    monkeypatch.setattr(nn.Module, "to", full)
    assert refused(tmp_path / "m.h5") == (
        "the GPU's memory is full: end what else runs on it, or set CUDA_VISIBLE_DEVICES= to compute on the CPU"
    )
