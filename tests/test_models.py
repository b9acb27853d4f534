"""Every registered network is built, run, trained for a few steps, and carried through its weights."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from fercli import models
from fercli.errors import UsageError
from fercli.models.blocks import convolution
from fercli.models.inputs import columns
from fercli.models.layers import Dropout

torch.set_num_threads(1)
every_model = pytest.mark.parametrize("name", models.names())
FEATURES = 30  # HOG features, where a network reads them
#: How the networks of many numbers are built small: their own 227 px and heads of 50 million would take minutes.
SMALL = {
    "alexnet": {"size": 67, "head": "dense"},
    "alexnet-torchvision": {"size": 63, "head": "dense"},
    "zhao-cnn": {"size": 16},
    "zhao-vgg": {"size": 16},
    "alizadeh": {"size": 24},
    "alizadeh-hog": {"size": 24},
    "alizadeh-shallow": {"size": 24},
    "alizadeh-shallow-hog": {"size": 24},
    "alizadeh-deep": {"size": 24},
    "alizadeh-deep-hog": {"size": 24},
}


def images(channels: int = 1, size: int = 48, rows: int = 4) -> torch.Tensor:
    return torch.rand(rows, channels, size, size, generator=torch.Generator().manual_seed(1))


def build(name: str, classes: int = 7, channels: int = 1) -> nn.Module:
    """The network for small images, and for few features where it reads them."""
    small = SMALL.get(name, {})
    with torch.device("meta"):  # shapes only
        reads = columns(models.build(name, classes, channels, **small))
    return models.build(name, classes, channels, **small, **dict.fromkeys(reads[1:], FEATURES))


def inputs(network: nn.Module, name: str, channels: int = 1, rows: int = 4) -> list[torch.Tensor]:
    """What `network` reads: images, and features for each further column."""
    features = torch.rand(rows, FEATURES, generator=torch.Generator().manual_seed(2))
    return [images(channels, SMALL.get(name, {}).get("size", 48), rows), *(features for _ in columns(network)[1:])]


@every_model
@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_maps_images_to_one_logit_a_class(name: str, channels: int) -> None:
    network = build(name, classes=5, channels=channels).eval()
    logits = network(*inputs(network, name, channels))
    assert logits.shape == (4, 5)
    assert logits.isfinite().all()


@every_model
def test_a_model_has_further_heads_or_says_which_can(name: str) -> None:
    small = SMALL.get(name, {})
    if name == "zhao-separable":
        network = models.build(name, 5, 3, **small, heads={"gender": 2, "age": 4}).eval()
        assert network(*inputs(network, name, 3)).shape == (4, 5 + 2 + 4)
        return
    with pytest.raises(UsageError) as error:
        models.build(name, 5, 3, **small, heads={"gender": 2})
    assert str(error.value) == f"model {name} has no head beside the expression's; zhao-separable can have more"


@every_model
def test_a_few_steps_learn_bright_from_dark(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, classes=3).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    labels = torch.tensor([0, 1, 2] * 4)
    pixels, *features = inputs(network, name, rows=12)
    pixels = 0.2 * pixels + 0.4 * labels.view(-1, 1, 1, 1)
    losses = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(network(pixels, *features), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < 0.9 * losses[0]:
            return
    pytest.fail(f"no step brought the loss below nine tenths of the first: {losses}")


@every_model
def test_the_weights_are_all_that_makes_a_model(name: str) -> None:
    one, other = (build(name).eval() for _ in range(2))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(*inputs(one, name)), other(*inputs(other, name)))


@every_model
def test_a_model_refuses_an_impossible_size(name: str) -> None:
    with pytest.raises(UsageError, match=rf"^model {name} takes images of (\d+)x\1 pixels or more, .* --size \1$"):
        models.build(name, size=1)


def test_the_names_are_found_without_importing_torch() -> None:
    code = "import sys; from fercli import models; print(*models.names()); assert 'torch' not in sys.modules"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert tuple(done.stdout.split()) == models.names()
    assert "njoku" in models.names()


def test_an_unknown_model_is_told_with_the_nearest_name() -> None:
    with pytest.raises(UsageError) as error:
        models.build("njoko")
    assert str(error.value) == "there is no model 'njoko'; did you mean 'njoku'?"


def test_an_unknown_setting_is_told_with_the_nearest_name() -> None:
    with pytest.raises(UsageError) as error:
        models.build("njoku", dropuot=0.1)
    assert str(error.value) == "model njoku has no setting 'dropuot'; did you mean 'dropout'?"


def test_a_setting_of_a_model_that_has_none_is_told() -> None:
    with pytest.raises(UsageError) as error:
        models.build("zhao-resnet", dropuot=0.1)
    assert str(error.value) == "model zhao-resnet has no setting 'dropuot'; it has none"


@pytest.mark.parametrize(
    ("argument", "able"), [("layers", "alizadeh, alizadeh-hog"), ("head", "alexnet, alexnet-torchvision")]
)
def test_a_setting_of_other_models_is_told_with_these(argument: str, able: str) -> None:
    with pytest.raises(UsageError) as error:
        models.build("alizadeh-shallow", **{argument: "dense"})
    assert str(error.value) == f"model alizadeh-shallow has no setting {argument!r}; models with it: {able}"


def test_njoku_has_the_published_number_of_parameters() -> None:
    network = models.build("njoku", classes=7, channels=1, size=48)
    assert sum(parameter.numel() for parameter in network.parameters()) == 2_489_095


def test_njoku_has_these_layer_shapes() -> None:
    values, shapes = images(rows=2), {}
    for name, layer in models.build("njoku").eval().named_children():
        values = layer(values)
        shapes[name] = tuple(values.shape[1:])
    assert {name: shape for name, shape in shapes.items() if not name.startswith(("relu", "dropout"))} == {
        "conv1": (32, 48, 48),
        "conv2": (64, 46, 46), "pool2": (64, 23, 23),
        "conv3": (128, 21, 21), "pool3": (128, 10, 10),
        "conv4": (256, 8, 8), "pool4": (256, 4, 4),
        "flatten": (4096,), "dense5": (512,), "dense6": (7,),
    }  # fmt: skip


def test_njoku_works_at_its_smallest_size_and_not_below() -> None:
    assert models.build("njoku", size=22)(images(size=22)).shape == (4, 7)
    with pytest.raises(UsageError) as error:
        models.build("njoku", size=21)
    assert str(error.value) == (
        "model njoku takes images of 22x22 pixels or more, not 21x21: resize them, before any fer gradients, "
        "with fer detect --detector none --size 22"
    )


@pytest.mark.parametrize(("given", "rates"), [(None, [0.25, 0.25, 0.25, 0.5]), (0.1, [0.1] * 4)])
def test_njoku_has_the_dropout_asked_for(given: float | None, rates: list[float]) -> None:
    network = models.build("njoku", dropout=given)
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == rates


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_dropout_zeroes_its_share_and_scales_the_rest(rate: float, dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    values = torch.ones(50, 7, 31, 11, dtype=dtype, requires_grad=True)
    dropped = Dropout(rate)(values)
    dropped.sum().backward()
    share = (dropped == 0).float().mean().item()
    assert share == pytest.approx(rate, abs=0.005)  # 120,000 draws: six standard deviations
    assert torch.equal(values.grad, dropped.detach())
    if rate < 1:
        assert dropped.max().item() == pytest.approx(1 / (1 - rate), rel=0.01)


def test_dropout_follows_the_generator_and_not_the_memory_layout() -> None:
    values = torch.rand(3, 8, 5, 5)
    torch.manual_seed(5)
    one = Dropout(0.3)(values)
    torch.manual_seed(5)
    other = Dropout(0.3)(values.to(memory_format=torch.channels_last))
    assert torch.equal(one, other)
    assert not torch.equal(one, Dropout(0.3)(values))


def test_dropout_leaves_evaluation_alone() -> None:
    values = torch.rand(10, 10)
    assert torch.equal(Dropout(0.5).eval()(values), values)


@every_model
def test_no_narrow_convolution_of_one_pixel_has_a_stride(name: str) -> None:
    """Its gradient on a CPU is not safe: see `blocks.convolution`."""
    with torch.device("meta"):
        network = models.build(name, size=96)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.in_channels < 16:
            assert layer.stride == (1, 1)


@pytest.mark.parametrize("side", [7, 8])
def test_a_strided_convolution_of_one_pixel_reads_every_second(side: int) -> None:
    block = convolution(3, 4, 1, stride=2)
    images = torch.rand(2, 3, side, side)
    expected = nn.functional.conv2d(images, block.conv.weight, stride=2)
    torch.testing.assert_close(block.conv(block.pick(images)), expected)
