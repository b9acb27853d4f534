"""The networks of the published systems: every layer, width and count, worked out by hand; and that they train."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fercli import models
from fercli.errors import UsageError
from fercli.models.alizadeh import DEEP, GRAMMAR, SHALLOW, Block, parse
from fercli.models.inputs import columns
from fercli.models.yengikand import AdditiveAttention, MultiplicativeAttention

torch.set_num_threads(1)

ALEXNETS = ("alexnet", "alexnet-torchvision")
HYBRIDS = ("alizadeh-shallow-hog", "alizadeh-deep-hog")
SMALL = (
    *("alizadeh-shallow", "alizadeh-deep", *HYBRIDS, "yengikand"),
    *("zhao-cnn", "zhao-vgg", "zhao-resnet", "zhao-separable"),
)
every_network = pytest.mark.parametrize("name", [*ALEXNETS, *SMALL])
every_small_network = pytest.mark.parametrize("name", SMALL)


def build(name: str, seed: int = 0, **arguments: Any) -> nn.Module:
    """The network at its natural size, the same for the same seed."""
    torch.manual_seed(seed)
    channels, size = (3, 227) if name in ALEXNETS else (1, 48)
    return models.build(name, channels=channels, size=size, **arguments)


def inputs(name: str, rows: int = 2) -> tuple[Tensor, ...]:
    """What the network takes at its natural size: images and, of a hybrid, HOG features."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(rows, *((3, 227, 227) if name in ALEXNETS else (1, 48, 48)), generator=generator)
    return (images, torch.rand(rows, 900, generator=generator)) if name in HYBRIDS else (images,)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def sides(network: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """The shape behind each child of a sequence, without the rows."""
    shapes, values = {}, images
    with torch.inference_mode():
        for name, layer in network.eval().named_children():
            values = layer(values)
            shapes[name] = tuple(values.shape[1:])
    return shapes


@every_network
def test_a_step_moves_every_weight(name: str) -> None:
    network = build(name).train()
    before = [parameter.detach().flatten()[::97].clone() for parameter in network.parameters()]
    logits = network(*inputs(name))
    nn.functional.cross_entropy(logits, torch.tensor([0, 6])).backward()
    torch.optim.SGD(network.parameters(), 0.1, fused=True).step()
    assert logits.shape == (2, 7)
    for old, parameter in zip(before, network.parameters(), strict=True):
        assert not torch.equal(old, parameter.flatten()[::97])
        assert parameter.isfinite().all()


@every_network
def test_the_seed_decides_all(name: str) -> None:
    size, arguments = (99, {"head": "dense"}) if name in ALEXNETS else (24, {})  # small ones, to be quick
    images = torch.rand(2, 1, size, size)
    hog = (torch.rand(2, 900),) if name in HYBRIDS else ()
    answers, gradients = [], []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        network = models.build(name, size=size, **arguments).train()
        answers.append(network(images, *hog))
        answers[-1].square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])
    assert all(torch.equal(one, other) for one, other in zip(*gradients[:2], strict=True))


@every_network
def test_memory_layout_and_bfloat16_change_only_the_last_bits(name: str) -> None:
    network, given = build(name).eval(), inputs(name)
    with torch.no_grad():
        expected = network(*given)
        network = network.to(memory_format=torch.channels_last)
        images = given[0].contiguous(memory_format=torch.channels_last)
        assert torch.allclose(network(images, *given[1:]), expected, rtol=1e-3, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(images, *given[1:])
    scale = expected.std().item()
    assert (rough.float() - expected).abs().max().item() < 0.1 * scale


@every_small_network
def test_a_bfloat16_step_trains(name: str) -> None:
    network = models.build(name, size=24).train()
    images, *hog = inputs(name)
    with torch.autocast("cpu", torch.bfloat16):
        loss = nn.functional.cross_entropy(network(images[:, :, ::2, ::2], *hog), torch.tensor([0, 6]))
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@every_small_network
def test_a_few_steps_tell_three_random_patterns_apart(name: str) -> None:
    torch.manual_seed(0)
    network = models.build(name, classes=3, size=24).train()  # a quarter of the weights of the dense layers
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, betas=(0.9, 0.95), fused=True)
    generator = torch.Generator().manual_seed(2)
    labels = torch.tensor([0, 1, 2] * 4)
    patterns = torch.rand(3, 1, 24, 24, generator=generator)
    images = 0.7 * patterns[labels] + 0.3 * torch.rand(12, 1, 24, 24, generator=generator)
    given = (images, torch.zeros(12, 900)) if name in HYBRIDS else (images,)
    losses = []
    for _ in range(10):
        loss = nn.functional.cross_entropy(network(*given), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] < 2 * math.log(3)  # the first answers are near to even ones
    assert min(losses[-3:]) < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("name", "smallest"),
    [
        ("alexnet", 67), ("alexnet-torchvision", 63), ("zhao-cnn", 8), ("zhao-vgg", 8), ("zhao-resnet", 17),
        ("zhao-separable", 20), ("alizadeh", 2), ("alizadeh-shallow", 2), ("alizadeh-deep", 16),
        ("alizadeh-shallow-hog", 2), ("alizadeh-deep-hog", 16), ("yengikand", 8),
    ],
)  # fmt: skip
def test_a_network_works_at_its_smallest_size_and_not_below(name: str, smallest: int) -> None:
    with torch.device("meta"):  # shapes alone
        network = models.build(name, size=smallest)
        images, hog = torch.empty(2, 1, smallest, smallest), torch.empty(2, 900)
        assert network(*(images, hog) if name in HYBRIDS else (images,)).shape == (2, 7)
    with pytest.raises(UsageError) as error:
        models.build(name, size=smallest - 1)
    assert str(error.value) == (
        f"model {name} takes images of {smallest}x{smallest} pixels or more, not {smallest - 1}x{smallest - 1}: "
        f"resize them, before any fer gradients, with fer detect --detector none --size {smallest}"
    )


@pytest.mark.parametrize(
    "name", [name for name in (*ALEXNETS, *SMALL) if name not in ("zhao-resnet", "zhao-separable")]
)
def test_the_dropout_asked_for_is_everywhere(name: str) -> None:
    with torch.device("meta"):
        rates = {layer.p for layer in build(name, dropout=0.3).modules() if isinstance(layer, nn.Dropout)}
    assert rates == {0.3}


# AlexNet

# Layer, output, side of the kernel, parameters (weights and biases).
TABLE_1 = [
    ("conv1", (96, 55, 55), 11, 11 * 11 * 3 * 96 + 96),  # (227 - 11) / 4 + 1 = 55
    ("pool1", (96, 27, 27), 3, 0),  # (55 - 3) / 2 + 1 = 27
    ("conv2", (256, 27, 27), 5, 5 * 5 * 96 * 256 + 256),
    ("pool2", (256, 13, 13), 3, 0),
    ("conv3", (384, 13, 13), 3, 3 * 3 * 256 * 384 + 384),
    ("conv4", (384, 13, 13), 3, 3 * 3 * 384 * 384 + 384),
    ("conv5", (256, 13, 13), 3, 3 * 3 * 384 * 256 + 256),
    ("pool5", (256, 6, 6), 3, 0),
    ("fc6", (4096,), None, 6 * 6 * 256 * 4096 + 4096),
    ("fc7", (4096,), None, 4096 * 4096 + 4096),
    ("fc8", (7,), None, 4096 * 7 + 7),
]


def test_alexnet_is_table_1_row_by_row() -> None:
    network = build("alexnet")
    shapes = sides(network, inputs("alexnet", rows=1)[0])
    rows = [
        (name, shapes[name], _kernel(layer), count(layer))
        for name, layer in network.named_children()
        if not name.startswith(("relu", "dropout", "flatten"))
    ]
    assert rows == TABLE_1
    assert [row[3] for row in TABLE_1 if row[3]] == [
        34_944, 614_656, 885_120, 1_327_488, 884_992, 37_752_832, 16_781_312, 28_679
    ]  # fmt: skip
    assert count(network) == 58_310_023
    assert network.conv1.stride == (4, 4)
    assert all(layer.stride == 2 for layer in network if isinstance(layer, nn.MaxPool2d))


def _kernel(layer: nn.Module) -> int | None:
    kernel = getattr(layer, "kernel_size", None)
    return kernel[0] if isinstance(kernel, tuple) else kernel


def test_alexnet_drops_from_the_first_dense_layer_alone() -> None:
    with torch.device("meta"):
        network = build("alexnet")
    dropouts = [(name, layer.p) for name, layer in network.named_children() if isinstance(layer, nn.Dropout)]
    assert dropouts == [("dropout6", 0.5)]
    assert list(dict(network.named_children()))[-6:] == ["fc6", "relu6", "dropout6", "fc7", "relu7", "fc8"]


@pytest.mark.parametrize(("size", "side"), [(227, 6), (224, 5), (256, 6), (67, 1), (98, 1), (99, 2)])
def test_alexnet_takes_other_sizes_with_another_first_dense_layer(size: int, side: int) -> None:
    with torch.device("meta"):
        network = models.build("alexnet", channels=3, size=size)
        assert network(torch.empty(1, 3, size, size)).shape == (1, 7)
    assert network.fc6.in_features == 256 * side * side


@pytest.mark.parametrize("name", ALEXNETS)
def test_alexnet_has_the_other_head_that_the_paper_tells(name: str) -> None:
    with torch.device("meta"):
        network = build(name, head="dense")
        assert network(torch.empty(1, 3, 227, 227)).shape == (1, 7)
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(9216, 7)]
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.5]
    with pytest.raises(UsageError) as error:
        build(name, head="dens")
    assert str(error.value) == f"model {name} has no head 'dens'; did you mean 'dense'?"


# Names and shapes of the file that torchvision publishes, alexnet-owt-7be5be79.pth.
TORCHVISION = {
    "features.0.weight": (64, 3, 11, 11), "features.0.bias": (64,),
    "features.3.weight": (192, 64, 5, 5), "features.3.bias": (192,),
    "features.6.weight": (384, 192, 3, 3), "features.6.bias": (384,),
    "features.8.weight": (256, 384, 3, 3), "features.8.bias": (256,),
    "features.10.weight": (256, 256, 3, 3), "features.10.bias": (256,),
    "classifier.1.weight": (4096, 9216), "classifier.1.bias": (4096,),
    "classifier.4.weight": (4096, 4096), "classifier.4.bias": (4096,),
    "classifier.6.weight": (1000, 4096), "classifier.6.bias": (1000,),
}  # fmt: skip


def test_alexnet_torchvision_has_the_names_and_shapes_of_the_published_weights() -> None:
    with torch.device("meta"):
        network = build("alexnet-torchvision", classes=1000)
    assert {name: tuple(values.shape) for name, values in network.state_dict().items()} == TORCHVISION
    assert count(network) == sum(math.prod(shape) for shape in TORCHVISION.values()) == 61_100_840


def test_alexnet_torchvision_computes_what_its_published_weights_were_trained_in() -> None:
    network, images = build("alexnet-torchvision").eval(), inputs("alexnet-torchvision", rows=1)[0]
    w, values, relu, pool = network.state_dict(), images, torch.relu, nn.functional.max_pool2d
    with torch.no_grad():
        for index, stride, padding, pooled in [(0, 4, 2, True), (3, 1, 2, True), (6, 1, 1, False), (8, 1, 1, False)]:
            values = _convolve(w, index, values, stride, padding)
            values = pool(relu(values), 3, 2) if pooled else relu(values)
        values = pool(relu(_convolve(w, 10, values, 1, 1)), 3, 2).flatten(1)  # 6x6 already: nothing to average
        for index in (1, 4, 6):
            values = values @ w[f"classifier.{index}.weight"].T + w[f"classifier.{index}.bias"]
            values = values if index == 6 else relu(values)
        assert torch.allclose(network(images), values, rtol=1e-3, atol=1e-5)


def _convolve(weights: dict[str, Tensor], index: int, values: Tensor, stride: int, padding: int) -> Tensor:
    weight, bias = weights[f"features.{index}.weight"], weights[f"features.{index}.bias"]
    return nn.functional.conv2d(values, weight, bias, stride, padding)


@pytest.mark.parametrize("size", [63, 224, 227, 300])
def test_alexnet_torchvision_has_the_same_weights_at_every_size(size: int) -> None:
    with torch.device("meta"):
        network = models.build("alexnet-torchvision", classes=1000, channels=3, size=size)
        assert network(torch.empty(1, 3, size, size)).shape == (1, 1000)
    assert network.classifier[1].in_features == 256 * 6 * 6


# Zhao


def test_zhao_cnn_has_the_layers_told() -> None:
    network = build("zhao-cnn")
    shapes = sides(network, inputs("zhao-cnn")[0])
    assert [shapes[f"block{i}"] for i in (1, 2, 3)] == [(64, 24, 24), (128, 12, 12), (256, 6, 6)]
    assert [shapes[f"dense{i}"] for i in (4, 5, 6, 7)] == [(4096,), (1024,), (256,), (7,)]
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.2, 0.5]
    convolutions = 9 * 1 * 64 + 9 * 64 * 128 + 9 * 128 * 256  # no biases
    norms = 2 * 64 + 2 * 128 + 2 * 256
    dense = (9216 * 4096 + 4096) + (4096 * 1024 + 1024) + (1024 * 256 + 256) + (256 * 7 + 7)
    assert count(network) == convolutions + norms + dense == 42_582_471


def test_zhao_vgg_has_the_layers_told() -> None:
    network = build("zhao-vgg")
    shapes = sides(network, inputs("zhao-vgg")[0])
    assert [shapes[f"block{i}"] for i in (1, 2, 3)] == [(32, 24, 24), (64, 12, 12), (128, 6, 6)]
    assert [shapes[f"dense{i}"] for i in (4, 5, 6, 7, 8)] == [(4096,), (4096,), (1024,), (256,), (7,)]
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.5]
    block1 = 9 * 1 * 32 + 9 * 32 * 32 + 2 * 2 * 32
    block2 = 9 * 32 * 64 + 2 * 9 * 64 * 64 + 3 * 2 * 64
    block3 = 9 * 64 * 128 + 2 * 9 * 128 * 128 + 3 * 2 * 128
    dense = (4608 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 1024 + 1024) + (1024 * 256 + 256) + (256 * 7 + 7)
    assert count(network) == block1 + block2 + block3 + dense == 40_590_887


def test_zhao_resnet_has_the_layers_told() -> None:
    network = build("zhao-resnet")
    shapes = sides(network, inputs("zhao-resnet")[0])
    assert {name: shapes[name] for name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "fc")} == {
        "conv1": (64, 24, 24), "maxpool": (64, 12, 12), "layer1": (64, 12, 12), "layer2": (128, 6, 6),
        "layer3": (256, 3, 3), "layer4": (512, 2, 2), "fc": (7,),
    }  # fmt: skip
    weighted = [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert sum("downsample" not in name for name in weighted) == 18
    stem = 49 * 1 * 64 + 2 * 64
    set1 = 4 * (9 * 64 * 64 + 2 * 64)
    set2 = 9 * 64 * 128 + 3 * 9 * 128 * 128 + 64 * 128 + 5 * 2 * 128
    set3 = 9 * 128 * 256 + 3 * 9 * 256 * 256 + 128 * 256 + 5 * 2 * 256
    set4 = 9 * 256 * 512 + 3 * 9 * 512 * 512 + 256 * 512 + 5 * 2 * 512
    assert count(network) == stem + set1 + set2 + set3 + set4 + (512 * 7 + 7) == 11_173_831


def test_zhao_resnet_is_the_published_one_at_three_channels_and_a_thousand_classes() -> None:
    with torch.device("meta"):
        network = models.build("zhao-resnet", classes=1000, channels=3)
    assert count(network) == 11_689_512
    assert {"layer2.0.downsample.0.weight", "layer4.1.bn2.running_var", "fc.bias"} <= network.state_dict().keys()


def test_zhao_separable_has_the_numbers_of_mini_xception() -> None:
    network = build("zhao-separable")
    shapes = sides(network.trunk, inputs("zhao-separable")[0])
    assert list(shapes.values()) == [
        *((8, 46, 46),) * 2, *((8, 44, 44),) * 2, (16, 22, 22), (32, 11, 11), (64, 6, 6), (128, 3, 3)
    ]  # fmt: skip
    total = 9 * 1 * 8 + 4 * 8 + 9 * 8 * 8 + 4 * 8  # four numbers a map of a normalisation, two of them learnt
    for inputs_, outputs in [(8, 16), (16, 32), (32, 64), (64, 128)]:
        separable1 = 9 * inputs_ + inputs_ * outputs + 4 * outputs
        separable2 = 9 * outputs + outputs * outputs + 4 * outputs
        shortcut = inputs_ * outputs + 4 * outputs
        total += separable1 + separable2 + shortcut
    total += 9 * 128 * 7 + 7
    means_and_variances = 2 * (8 + 8 + 3 * (16 + 32 + 64 + 128))
    assert total == 58_423
    assert count(network) == total - means_and_variances == 56_951


def test_zhao_separable_has_its_heads_in_parallel_behind_one_trunk() -> None:
    network, images = build("zhao-separable", heads={"gender": 2, "age": 3}).eval(), inputs("zhao-separable")[0]
    with torch.no_grad():
        maps, logits = network.trunk(images), network(images)
        assert maps.shape == (2, 128, 3, 3)
        assert torch.equal(network.head(maps), logits[:, :7])
        assert torch.equal(network.head_gender(maps), logits[:, 7:9])
        assert torch.equal(network.head_age(maps), logits[:, 9:])
    assert count(network) == 56_951 + (9 * 128 * 2 + 2) + (9 * 128 * 3 + 3)


def test_zhao_separable_with_a_head_more_holds_all_that_it_holds_without() -> None:
    one, two = build("zhao-separable").eval(), build("zhao-separable", heads={"gender": 2}).eval()
    left = two.load_state_dict(one.state_dict(), strict=False)
    assert left.missing_keys == ["head_gender.conv.weight", "head_gender.conv.bias"]
    assert left.unexpected_keys == []
    images = inputs("zhao-separable")[0]
    assert torch.equal(two(images)[:, :7], one(images))


@pytest.mark.parametrize("name", ["zhao-cnn", "zhao-vgg", "zhao-resnet", "zhao-separable"])
def test_zhao_draws_every_convolution_from_the_same_normal_distribution(name: str) -> None:
    convolutions = [layer.weight.flatten() for layer in build(name).modules() if isinstance(layer, nn.Conv2d)]
    weights = torch.cat(convolutions)
    assert weights.std().item() == pytest.approx(0.04, rel=0.02)
    assert weights.mean().item() == pytest.approx(0, abs=0.001)
    assert all(values.std().item() == pytest.approx(0.04, rel=0.25) for values in convolutions)


# Alizadeh


def test_alizadeh_shallow_has_the_layers_told() -> None:
    network = build("alizadeh-shallow")
    assert parse(SHALLOW) == (
        [Block(32, 3, ("bn", "relu", "drop")), Block(64, 3, ("bn", "relu", "drop", "pool"))],
        [Block(512, 0, ("bn", "relu", "drop"))],
    )
    shapes = sides(network.features, inputs("alizadeh-shallow")[0])
    assert (shapes["conv1"], shapes["conv2"], shapes["pool2"]) == ((32, 48, 48), (64, 48, 48), (64, 24, 24))
    features = 9 * 1 * 32 + 2 * 32 + 9 * 32 * 64 + 2 * 64
    assert count(network) == features + 24 * 24 * 64 * 512 + 2 * 512 + (512 * 7 + 7) == 18_897_895
    assert count(build("alizadeh-shallow-hog")) == 18_897_895 + 900 * 512


def test_alizadeh_deep_has_the_layers_told() -> None:
    network = build("alizadeh-deep")
    every = ("bn", "relu", "drop", "pool")
    assert parse(DEEP) == (
        [Block(64, 3, every), Block(128, 5, every), Block(512, 3, every), Block(512, 3, every)],
        [Block(256, 0, every[:3]), Block(512, 0, every[:3])],
    )
    shapes = sides(network.features, inputs("alizadeh-deep")[0])
    assert [shapes[f"pool{i}"] for i in (1, 2, 3, 4)] == [(64, 24, 24), (128, 12, 12), (512, 6, 6), (512, 3, 3)]
    features = 9 * 1 * 64 + 25 * 64 * 128 + 9 * 128 * 512 + 9 * 512 * 512 + 2 * (64 + 128 + 512 + 512)
    dense = 4608 * 256 + 2 * 256 + 256 * 512 + 2 * 512 + (512 * 7 + 7)
    assert count(network) == features + dense == 4_472_775
    assert count(build("alizadeh-deep-hog")) == 4_472_775 + 900 * 256


def test_a_block_is_its_parts_in_order() -> None:
    network = models.build("alizadeh", layers="conv4x5-bn-relu-drop-pool conv6x1-relu fc9-relu-drop fc3-bn-relu")
    assert list(dict(network.features.named_children())) == [
        "conv1", "bn1", "relu1", "drop1", "pool1", "conv2", "relu2", "flatten"
    ]  # fmt: skip
    assert list(dict(network.head.named_children())) == ["fc1", "relu1", "drop1", "fc2", "bn2", "relu2", "output"]
    weights = {name: tuple(values.shape) for name, values in network.named_parameters()}
    assert "features.conv1.bias" not in weights
    assert weights["features.conv2.weight"] == (6, 4, 1, 1)
    assert weights["features.conv2.bias"] == (6,)
    assert weights["head.fc1.weight"] == (9, 6 * 24 * 24)
    assert weights["head.output.weight"] == (7, 3)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("cnv64x3-relu", "'cnv64x3' in 'cnv64x3-relu' is no layer: type conv64x3 (filters x kernel) or fc512"),
        ("conv64-relu", "'conv64' in 'conv64-relu' is no layer: type conv64x3 (filters x kernel) or fc512"),
        ("conv0x3-relu", "'conv0x3' in 'conv0x3-relu' is no layer: type conv64x3 (filters x kernel) or fc512"),
        ("conv٣x3-relu", "'conv٣x3' in 'conv٣x3-relu' is no layer: type conv64x3 (filters x kernel) or fc512"),
        ("-relu", "'' in '-relu' is no layer: type conv64x3 (filters x kernel) or fc512"),
        ("conv64x4-relu", "'conv64x4' in 'conv64x4-relu' has a kernel of 4, but it takes an odd one"),
        ("conv64x3-rely", "'rely' in 'conv64x3-rely' is unknown; did you mean 'relu'?"),
        ("conv64x3-relu-", "'' in 'conv64x3-relu-' is unknown; known: bn, relu, drop, pool"),
        ("conv8x3-relu fc8-relu-pool", "'pool' in 'fc8-relu-pool' is unknown; known: bn, relu, drop"),
        ("conv64x3-pool", "'conv64x3-pool' has no relu: type conv64x3-relu-pool"),
        ("conv64x3-relu-bn", "'conv64x3-relu-bn' has parts twice or out of order: type conv64x3-bn-relu"),
        ("conv64x3-relu-relu", "'conv64x3-relu-relu' has parts twice or out of order: type conv64x3-relu"),
        ("conv8x3-relu fc9-relu conv7x3-relu", "'conv7x3-relu' stands behind 'fc9-relu', and convolutions come first"),
        ("fc9-relu", "the layers 'fc9-relu' have no convolution: begin with one such as conv32x3-relu"),
        (" ", "the layers ' ' have no convolution: begin with one such as conv32x3-relu"),
    ],
)
def test_the_grammar_names_what_is_wrong(layers: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        models.build("alizadeh", layers=layers)
    assert str(error.value) == f"--layers: {message} ({GRAMMAR})"


def test_the_example_of_the_grammar_is_built() -> None:
    example = GRAMMAR.partition("'")[2].rstrip("'")
    assert models.build("alizadeh", layers=example)(torch.rand(2, 1, 48, 48)).shape == (2, 7)


def test_every_pooling_of_the_grammar_needs_twice_the_side() -> None:
    layers = " ".join(["conv4x3-relu-pool"] * 3)
    assert models.build("alizadeh", layers=layers, size=8)(torch.rand(2, 1, 8, 8)).shape == (2, 7)
    with pytest.raises(UsageError, match=r"^model alizadeh takes images of 8x8 pixels or more, not 7x7: "):
        models.build("alizadeh", layers=layers, size=7)


@pytest.mark.parametrize("name", HYBRIDS)
def test_a_hybrid_reads_its_hog_features(name: str) -> None:
    network, (images, hog) = build(name).eval(), inputs(name)
    assert columns(network) == ("image", "hog")
    with torch.no_grad():
        features = network.features(images)
        width = features.shape[1]
        first = network.head.fc1.weight
        expected = features @ first[:, :width].T + hog @ first[:, width:].T
        assert torch.allclose(network.head.fc1(torch.cat([features, hog], 1)), expected, atol=1e-4)
        assert not torch.equal(network(images, hog), network(images, 1 - hog))


def test_a_hybrid_has_the_number_of_hog_features_asked_for() -> None:
    network = models.build("alizadeh-hog", layers="conv4x3-relu-pool fc5-relu", hog=11)
    assert columns(network) == ("image", "hog")
    assert network.head.fc1.in_features == 4 * 24 * 24 + 11
    for name, hog in [("alizadeh-deep-hog", 0), ("alizadeh-hog", -1)]:
        with pytest.raises(UsageError) as error:
            models.build(name, hog=hog)
        assert str(error.value) == (
            f"model {name} takes HOG features, not {hog} of them: add them with fer gradients --hog"
        )


@pytest.mark.parametrize("name", ["njoku", "alexnet", "alizadeh-deep", "yengikand", "zhao-separable"])
def test_other_networks_read_the_image_alone(name: str) -> None:
    with torch.device("meta"):
        assert columns(build(name)) == ("image",)


# Yengikand


def test_yengikand_has_six_blocks_of_these_shapes() -> None:
    network = build("yengikand").eval()
    with torch.no_grad():
        maps = network.blocks(inputs("yengikand")[0])
        shapes = sides(network.blocks, inputs("yengikand")[0])
        assert network.conv3(maps).shape == network.separable3(network.conv3(maps)).shape == (2, 256, 6, 6)
    assert shapes == {
        "conv1": (64, 24, 24), "separable1": (64, 24, 24), "conv2": (128, 12, 12), "separable2": (128, 12, 12)
    }  # fmt: skip


def test_yengikand_has_the_parameters_worked_out() -> None:
    total = 0
    for inputs_, outputs in [(1, 64), (64, 128), (128, 256)]:
        total += 9 * inputs_ * outputs + 2 * outputs  # convolution
        total += inputs_ * outputs + 2 * outputs  # its shortcut
        total += 9 * outputs + outputs * outputs + 2 * outputs  # separable convolution
    additive = 256 * 64 + 256 * 64 + 64
    multiplicative = 256 * 256
    perceptron = (768 * 256 + 256) + (256 * 7 + 7)
    assert count(build("yengikand")) == total + additive + multiplicative + perceptron == 800_007


def places(rows: int, features: int = 6) -> Tensor:
    return torch.randn(2, rows, features, generator=torch.Generator().manual_seed(rows))


def test_additive_attention_is_bahdanaus_equation() -> None:
    torch.manual_seed(0)
    attention, s, h = AdditiveAttention(6, 4), places(3), places(5)
    w, u, v = attention.query.weight, attention.key.weight, attention.score.weight[0]
    with torch.no_grad():
        answer = attention(s, h)
        for n in range(2):
            for i in range(3):
                e = torch.stack([v @ torch.tanh(w @ s[n, i] + u @ h[n, j]) for j in range(5)])
                weights = e.exp() / e.exp().sum()
                assert torch.allclose(answer[n, i], sum(weights[j] * h[n, j] for j in range(5)), atol=1e-6)


def test_multiplicative_attention_is_luongs_equation() -> None:
    torch.manual_seed(0)
    attention, s, h = MultiplicativeAttention(6), places(3), places(5)
    with torch.no_grad():
        answer = attention(s, h)
        for n in range(2):
            for i in range(3):
                e = torch.stack([s[n, i] @ attention.key.weight @ h[n, j] for j in range(5)])
                weights = e.exp() / e.exp().sum()
                assert torch.allclose(answer[n, i], sum(weights[j] * h[n, j] for j in range(5)), atol=1e-6)
