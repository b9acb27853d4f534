"""Networks in int8: each layer against its float32 form, each model of the registry, and the model of the package."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fercli import models
from fercli.errors import UsageError
from fercli.learn import device
from fercli.learn.infer import log_probabilities
from fercli.learn.int8 import Convolution, Maps, Pooling, ToNumbers, ToValues, in_int8
from fercli.learn.modelstore import load
from fercli.learn.normalise import Normalise
from fercli.models.shipped import DEFAULT_MODEL
from fercli.ops.synthetic import draw_face
from fercli.store import open_store

from .test_predict import fer, rows

CPU = torch.device("cpu")
NORMALISE = Normalise([128.0], [60.0])
#: What has no form in int8: no normalisation behind its first convolution, or no chain.
WITHOUT = {
    *("njoku", "alexnet", "alexnet-torchvision", "alizadeh-hog", "alizadeh-shallow-hog", "alizadeh-deep-hog"),
    "yengikand",
}

on_a_cpu_with_int8 = pytest.mark.skipif(
    not device._has_any("avx512_vnni", "avx_vnni", "amx_int8"), reason="this CPU does not multiply in int8"
)


def faces(count: int, seed: int = 0) -> torch.Tensor:
    """(count, 48, 48) uint8 of drawn faces."""
    rng = np.random.default_rng(seed)
    labels = ("angry", "happy", "sad", "surprise")
    return torch.from_numpy(np.stack([draw_face(rng, labels[number % 4], 48) for number in range(count)]))


def settled(name: str) -> nn.Module:
    """A network with weights as they are drawn, its normalisations as if it had been trained on faces."""
    torch.manual_seed(1)
    network = models.build(name).train()
    for norm in (layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.momentum = None  # the mean over what it sees
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    with torch.no_grad():
        network(NORMALISE(faces(64)))
    return network.eval().requires_grad_(False)


@on_a_cpu_with_int8
@pytest.mark.parametrize("name", models.names())
def test_every_model_answers_as_in_float32_or_says_that_it_has_no_form(name: str) -> None:
    if name in WITHOUT:
        with pytest.raises(UsageError, match="--precision int8 takes a network that begins with convolutions and"):
            in_int8(models.build(name, size=227 if "alexnet" in name else 48), NORMALISE, "m.h5")
        return
    network = settled(name)
    pixels = NORMALISE(faces(40, seed=2))
    with torch.inference_mode():
        wanted, found = network(pixels), in_int8(network, NORMALISE, "m.h5")(pixels)
    apart = (found - wanted).square().mean().sqrt() / wanted.std(0).square().mean().sqrt()
    assert 0 < apart < 0.3  # what is learnt lies further apart than what is drawn


@on_a_cpu_with_int8
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_convolution_is_right_to_a_few_steps(data: st.DataObject) -> None:
    groups, kernel = data.draw(st.sampled_from([1, 2])), data.draw(st.sampled_from([1, 3, 5]))
    inputs, filters = groups * data.draw(st.integers(1, 20)), groups * data.draw(st.integers(1, 20))
    stride, padding, side = (
        data.draw(st.integers(1, 2)),
        data.draw(st.integers(0, kernel // 2)),
        data.draw(st.integers(5, 20)),
    )
    cut = data.draw(st.booleans())
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    convolution = nn.Conv2d(inputs, filters, kernel, stride, padding, groups=groups, bias=data.draw(st.booleans()))
    convolution, norm = convolution.eval(), nn.BatchNorm2d(filters)
    nn.init.uniform_(norm.bias, -1, 1)
    read = Maps(torch.rand(inputs), torch.rand(inputs) + 0.1, cut=data.draw(st.booleans()))
    pixels = ToValues(read.code)(ToNumbers(read.code)(torch.randn(3, inputs, side, side)))  # what can be written
    pixels = pixels.to(memory_format=torch.channels_last)
    with torch.no_grad():
        norm.train()(convolution(pixels))
        norm.eval()
        wanted = norm(convolution(pixels))
        made = Maps(norm.bias.detach(), norm.weight.detach(), cut)
        low, high = ((limit - made.code[1]) * made.code[0] for limit in (0, 255))
        found = ToValues(made.code)(Convolution(convolution, norm, read, made)(ToNumbers(read.code)(pixels)))
    assert found.shape == wanted.shape
    apart = (found - wanted.clamp(low, high)).abs()
    assert apart.max() < 3 * made.code[0] + 0.05 * wanted.abs().max()


@settings(max_examples=100, deadline=None)
@given(
    mean=st.lists(st.floats(-100, 100), min_size=1, max_size=4),
    deviation=st.floats(0, 50),
    cut=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_what_lies_within_the_reach_is_kept_to_half_a_step(mean, deviation, cut, seed) -> None:
    maps = Maps(torch.tensor(mean), torch.full((len(mean),), deviation), cut)
    step, zero = maps.code
    assert step > 0
    assert 0 <= zero <= 255
    low, high = (0 - zero) * step, (255 - zero) * step
    torch.manual_seed(seed)
    values = low + (high - low) * torch.rand(2, len(mean), 4, 4)
    numbers = ToNumbers(maps.code)(values)
    assert (ToValues(maps.code)(numbers) - values).abs().max() <= 0.5001 * step + 1e-5
    assert (ToNumbers(maps.code)(ToValues(maps.code)(numbers)) == numbers).all()
    assert ToNumbers(maps.code)(torch.tensor([low - 1000, high + 1000])).tolist() == [0, 255]
    assert ToValues(maps.code)(torch.tensor([zero], dtype=torch.uint8)).item() == 0  # padding is exact


@pytest.mark.parametrize("side", [3, 9, 48])
@pytest.mark.parametrize("pooling", [nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(3, 2, padding=1)])
def test_pooling_is_exact_in_maps_of_any_size(side: int, pooling: nn.MaxPool2d) -> None:
    numbers = torch.randint(0, 256, (2, 8, side, side)).to(torch.uint8)
    assert torch.equal(Pooling(pooling)(numbers).float(), pooling(numbers.float()))


@on_a_cpu_with_int8
def test_an_answer_does_not_depend_on_what_is_asked_beside_it() -> None:
    with open_store(DEFAULT_MODEL, "model") as src:
        model = load(src, CPU, torch.int8)
    images = faces(20)
    before = images.clone()
    together = log_probabilities(model.network, model.normalise, (images,), 20)
    alone = np.concatenate([log_probabilities(model.network, model.normalise, (image[None],), 1) for image in images])
    assert np.allclose(together, alone, atol=1e-5)
    assert torch.equal(images, before)
    assert np.array_equal(together, log_probabilities(model.network, model.normalise, (images,), 20))


@on_a_cpu_with_int8
def test_photos_are_labelled_in_int8(tmp_path: Path) -> None:
    fer("ingest", "synthetic:6", "-o", tmp_path / "faces.h5")
    short, whole = (rows(fer("predict", tmp_path / "faces.h5", "--precision", one)[0]) for one in ("int8", "float32"))
    assert short != whole
    for some, exact in zip(short, whole, strict=True):
        assert some["probabilities"] == pytest.approx(exact["probabilities"], abs=0.05)


def test_int8_is_refused_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError) as refused:
        device.choose_precision("int8", torch.device("cuda"))
    assert str(refused.value) == "--precision int8 is for a CPU, and the network would run on a GPU: add --device cpu"
    monkeypatch.setattr(Path, "read_text", lambda path: "flags\t\t: avx2 avx512f avx512_bf16")
    with pytest.raises(UsageError) as refused:
        device.choose_precision("int8", CPU)
    assert str(refused.value) == (
        "--precision int8 needs a CPU that multiplies in it (VNNI or AMX): leave --precision out"
    )


@on_a_cpu_with_int8
def test_a_network_without_a_form_in_int8_is_named(tmp_path: Path) -> None:
    fer("ingest", "synthetic:30", "-o", tmp_path / "faces.h5")
    fer("train", "--model", "njoku", "--epochs", "1", tmp_path / "faces.h5", "-o", tmp_path / "m.h5")
    _, message = fer("predict", "-m", tmp_path / "m.h5", tmp_path / "faces.h5", "--precision", "int8", status=2)
    assert message == (
        "fer predict: error: --precision int8 takes a network that begins with convolutions and their batch "
        f"normalisations, and that of {tmp_path}/m.h5 does not: leave --precision out\n"
    )
