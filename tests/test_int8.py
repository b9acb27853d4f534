"""Networks in int8: each layer against its float32 form, each model of the registry, and the model of the package."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fercli import models
from fercli.errors import UsageError
from fercli.learn import device
from fercli.learn.infer import log_probabilities
from fercli.learn.int8 import REACH, Convolution, Maps, Pooling, ToNumbers, ToValues, Unit, in_int8
from fercli.learn.modelstore import load
from fercli.learn.normalise import Normalise
from fercli.models.blocks import ResidualUnit
from fercli.models.shipped import model_path
from fercli.ops.synthetic import draw_face
from fercli.store import open_store

from .program import fer
from .test_predict import rows

CPU = torch.device("cpu")
NORMALISE = Normalise([128.0], [60.0])
#: What has no form in int8: no normalisation behind its first convolution, or no chain.
WITHOUT = {
    *("njoku", "alexnet", "alexnet-torchvision", "alizadeh-hog", "alizadeh-shallow-hog", "alizadeh-deep-hog"),
    "yengikand",
}


def _multiplies_in_int8() -> bool:
    try:
        return device.choose_precision("int8", CPU) == torch.int8
    except UsageError:
        return False


on_a_cpu_with_int8 = pytest.mark.skipif(not _multiplies_in_int8(), reason="this CPU does not multiply in int8")


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
        with pytest.raises(UsageError, match="--precision int8 takes a network whose layers follow one another"):
            in_int8(models.build(name, size=227 if "alexnet" in name else 48), NORMALISE, "m.h5")
        return
    network = settled(name)
    pixels = NORMALISE(faces(40, seed=2))
    with torch.inference_mode():
        wanted, found = network(pixels), in_int8(network, NORMALISE, "m.h5")(pixels)
    apart = (found - wanted).square().mean().sqrt() / wanted.std(0).square().mean().sqrt()
    assert 0 < apart < 0.25  # what is learnt lies further apart than what is drawn


@on_a_cpu_with_int8
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_convolution_is_right_to_half_a_step_of_what_it_makes(data: st.DataObject) -> None:
    groups, kernel = data.draw(st.sampled_from([1, 2])), data.draw(st.sampled_from([1, 3, 5]))
    inputs, filters = groups * data.draw(st.integers(1, 20)), groups * data.draw(st.integers(1, 20))
    stride, padding, side = (
        data.draw(st.integers(1, 2)),
        data.draw(st.integers(0, kernel // 2)),
        data.draw(st.integers(5, 20)),
    )
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    convolution = nn.Conv2d(inputs, filters, kernel, stride, padding, groups=groups, bias=data.draw(st.booleans()))
    convolution, norm = convolution.eval(), nn.BatchNorm2d(filters, momentum=1.0)
    nn.init.uniform_(norm.weight, -2, 2)
    nn.init.uniform_(norm.bias, -1, 1)
    read = Maps(torch.rand(inputs), torch.rand(inputs) + 0.1, cut=data.draw(st.booleans()))
    values = written(read, 3, inputs, side)
    with torch.no_grad():
        norm.train()(convolution(values))
        wanted = rounded(convolution, norm.eval())(values)
        made = Maps(norm.bias.detach(), norm.weight.detach().abs(), data.draw(st.booleans()))
        found = ToValues(made.code)(Convolution(convolution, norm, read, made)(ToNumbers(read.code)(values)))
    low, high = limits(made)
    assert found.shape == wanted.shape
    assert (found - wanted.clamp(low, high)).abs().max() < 0.51 * made.code[0] + 1e-4


def rounded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Both as one convolution, its weights such as int8 tells: each filter's largest is 64 steps."""
    folded = fuse_conv_bn_eval(convolution, norm)
    steps = folded.weight.abs().amax((1, 2, 3), keepdim=True) / 64
    folded.weight.copy_((folded.weight / steps).round() * steps)
    return folded


@on_a_cpu_with_int8
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("filters", [8, 64])
def test_the_largest_numbers_do_not_run_over(sign: int, kernel: int, filters: int) -> None:
    """In 16 bits, where CPUs without VNNI add up the products of two neighbours."""
    convolution = nn.Conv2d(64, filters, kernel, padding=kernel // 2, bias=False).eval().requires_grad_(False)
    norm = nn.BatchNorm2d(filters).eval().requires_grad_(False)
    convolution.weight.fill_(sign)
    norm.running_var.fill_((64 * kernel**2) ** 2)
    read, made = Maps(torch.zeros(64), torch.ones(64), cut=True), Maps(torch.zeros(filters), torch.ones(filters))
    largest = torch.full((1, 64, 8, 8), 255, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    found = ToValues(made.code)(Convolution(convolution, norm, read, made)(largest))
    assert (found - sign * REACH)[:, :, 1:-1, 1:-1].abs().max() <= made.code[0]


def written(maps: Maps, *shape: int) -> torch.Tensor:
    """Values of such maps (N, C, S, S) that uint8 can tell exactly."""
    rows, channels, side = shape
    values = maps.mean[:, None, None] + maps.deviation[:, None, None] * torch.randn(rows, channels, side, side)
    return ToValues(maps.code)(ToNumbers(maps.code)(values)).to(memory_format=torch.channels_last)


def limits(maps: Maps) -> tuple[float, float]:
    """The smallest and the largest value that can be written."""
    step, zero = maps.code
    return (0 - zero) * step, (255 - zero) * step


@on_a_cpu_with_int8
@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(24, 24, 1), (16, 24, 1), (24, 24, 2)])
def test_a_residual_unit_is_right_to_a_few_steps_and_may_be_asked_again(inputs: int, outputs: int, stride: int) -> None:
    torch.manual_seed(0)
    unit = ResidualUnit(inputs, outputs, stride)
    for norm in (layer for layer in unit.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.momentum = 1.0
        nn.init.uniform_(norm.bias, -1, 1)
    read = Maps(torch.randn(inputs), torch.rand(inputs) + 0.1, cut=True)
    values = written(read, 8, inputs, 13)
    with torch.no_grad():
        unit.train()(values)
        wanted = unit.eval()(values)
        short = Unit(unit, read)
        numbers = ToNumbers(read.code)(values)
        found = [ToValues(short.maps.code)(short(numbers.clone())) for _ in range(2)]
    assert torch.equal(*found)
    assert (found[0] - wanted.clamp(*limits(short.maps))).abs().max() < 2 * short.maps.code[0] + 0.02 * wanted.max()


@on_a_cpu_with_int8
def test_channels_that_are_never_positive_take_nothing_from_what_is_added_to_them() -> None:
    unit = ResidualUnit(4, 4, 1).eval()
    short = Unit(unit, Maps(torch.full((4,), -20.0), torch.ones(4), cut=True))
    assert limits(short.maps)[1] > 5  # as the unit alone makes


@pytest.mark.parametrize(
    ("convolution", "norm"),
    [
        (nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4)),
        (nn.Conv2d(1, 4, 3, padding="same"), nn.BatchNorm2d(4)),
        (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, affine=False)),
    ],
)
def test_layers_without_a_form_are_not_taken_for_others(convolution: nn.Module, norm: nn.Module) -> None:
    with pytest.raises(UsageError):
        in_int8(nn.Sequential(convolution, norm, nn.Flatten(), nn.Linear(9, 2)).eval(), NORMALISE, "m.h5")


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
    low, high = limits(maps)
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
    with open_store(model_path("default"), "model") as src:
        model = load(src, CPU, torch.int8)
    images = faces(20)
    before = images.clone()
    together = log_probabilities(model.network, model.normalise, (images,), 20)
    alone = np.concatenate([log_probabilities(model.network, model.normalise, (image[None],), 1) for image in images])
    assert np.allclose(together, alone, atol=1e-5)
    assert torch.equal(images, before)
    assert np.array_equal(together, log_probabilities(model.network, model.normalise, (images,), 20))


@on_a_cpu_with_int8
def test_faces_are_labelled_in_int8(tmp_path: Path) -> None:
    fer("ingest", "synthetic:6", "-o", tmp_path / "faces.h5")
    short, whole = (rows(fer("predict", tmp_path / "faces.h5", "--precision", one)[0]) for one in ("int8", "float32"))
    assert short != whole
    for some, exact in zip(short, whole, strict=True):
        assert some["probabilities"] == pytest.approx(exact["probabilities"], abs=0.05)


def test_int8_is_refused_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError) as refused:
        device.choose_precision("int8", torch.device("cuda"))
    assert str(refused.value) == "--precision int8 is for a CPU, and the network would run on a GPU: add --device cpu"
    monkeypatch.setattr(Path, "read_text", lambda path: "flags\t\t: sse4_2 avx")
    with pytest.raises(UsageError) as refused:
        device.choose_precision("int8", CPU)
    assert (
        str(refused.value) == "--precision int8 needs a CPU with AVX2, and a torch with oneDNN: leave --precision out"
    )


@on_a_cpu_with_int8
def test_a_network_without_a_form_in_int8_is_named(tmp_path: Path) -> None:
    fer("ingest", "synthetic:30", "-o", tmp_path / "faces.h5")
    fer("train", "--model", "njoku", "--epochs", "1", tmp_path / "faces.h5", "-o", tmp_path / "m.h5")
    _, message = fer("predict", "-m", tmp_path / "m.h5", tmp_path / "faces.h5", "--precision", "int8", status=2)
    assert message == (
        "fer predict: error: --precision int8 takes a network whose layers follow one another, convolutions and their "
        f"batch normalisations first, and that of {tmp_path}/m.h5 is none: leave --precision out\n"
    )
