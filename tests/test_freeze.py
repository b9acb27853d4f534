"""Layers that are not trained: which they are, that they stay, and that computing them once changes nothing."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fercli import models
from fercli.errors import UsageError
from fercli.learn import device, training
from fercli.learn import freeze as freezing
from fercli.learn.freeze import freeze, split_prefix
from fercli.models import alizadeh
from fercli.models.inputs import columns
from fercli.store import open_store
from tests.learning import assert_near, bands, write_bands
from tests.test_train import KillAt, Killed, refused, replaced, train

torch.set_num_threads(1)

LAYERS = "conv4x3-bn-relu-drop conv6x3-bn-relu-drop-pool fc16-bn-relu-drop"
SPEC = replaced(model="alizadeh-shallow", epochs=3, batch=32, freeze=1, lr=3e-3)
UNTRAINED = "--freeze without --init keeps convolutions that were never trained"
ANEW = "the frozen layers are computed anew in every epoch, as "


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alizadeh, "SHALLOW", LAYERS)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_bands(tmp_path / "data.h5")


def settings(**changes: object) -> object:
    return replaced(**{**SPEC.as_dict(), **changes})


def arrays(path: Path, group: str) -> dict[str, np.ndarray]:
    with open_store(path, "model") as model:
        return {name: np.array(values) for name, values in model.arrays(group).items()}


def names(layers: list[nn.Module], network: nn.Module) -> list[str]:
    return [name for name, layer in network.named_modules() if any(layer is one for one in layers)]


def meta(name: str, size: int = 48) -> nn.Module:
    with torch.device("meta"):
        return models.build(name, size=size)


def test_what_stands_behind_a_frozen_convolution_is_frozen_with_it() -> None:
    network = meta("njoku")
    assert names(freeze(network, "njoku", 2), network) == ["conv1", "relu1", "conv2", "pool2", "relu2", "dropout2"]
    trained = [name for name, values in network.named_parameters() if values.requires_grad]
    assert trained[0] == "conv3.weight"
    assert len(trained) == 8


@pytest.mark.parametrize(("name", "count", "last"), [
    ("njoku", 4, "dropout4"),
    ("zhao-cnn", 3, "block3.relu1"),  # not the dropout behind the flattened maps, which is of the dense layer
    ("alexnet", 4, "relu4"),
    ("alexnet-torchvision", 5, "avgpool"),
    ("zhao-resnet", 2, "layer1.0.bn1"),
])  # fmt: skip
def test_the_frozen_layers_end_before_the_next_weights_or_the_flattening(name: str, count: int, last: str) -> None:
    network = meta(name, 227)
    assert names(freeze(network, name, count), network)[-1] == last


#: How many of so many frozen convolutions lie before a unit of which a part is trained, where these are fewer.
BEFORE = {
    ("zhao-resnet", 2): 1, ("zhao-resnet", 4): 3, ("zhao-separable", 4): 2,
    ("residual", 2): 1, ("residual-fast", 2): 1, ("residual-small", 2): 1, ("residual-large", 2): 1,
    ("yengikand", 1): 0,
}  # fmt: skip


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_network_split_gives_what_it_gives_whole(name: str, count: int) -> None:
    count = min(count, freezing.convolutions(meta(name, 227)))
    check_split(name, count, BEFORE.get((name, count), count))


@pytest.mark.parametrize(
    ("name", "count", "before", "arguments"),
    [
        ("yengikand", 10, 10, {}),
        ("yengikand", 12, 10, {}),  # the last separable one asks what the first ten answer
        ("zhao-separable", 4, 2, {"heads": {"gender": 2}}),
        ("zhao-separable", 7, 7, {"heads": {"gender": 2}}),
    ],
)
def test_a_network_that_forks_is_split_before_it_does(name: str, count: int, before: int, arguments: dict) -> None:
    check_split(name, count, before, **arguments)


def check_split(name: str, count: int, before: int, **arguments: object) -> None:
    """Of `count` frozen convolutions the first part has `before`; the two parts give what the whole gives."""
    torch.manual_seed(0)
    size = {"alexnet": 67, "alexnet-torchvision": 63}.get(name, 24)
    with torch.device("meta"):
        reads = columns(models.build(name, size=size))
    network = models.build(name, size=size, **dict.fromkeys(reads[1:], 5), **arguments).eval()
    parts = split_prefix(network, freeze(network, name, count))
    assert (0 if parts is None else freezing.convolutions(parts[0])) == before
    if parts:
        images, features = torch.rand(2, 1, size, size), [torch.rand(2, 5) for _ in reads[1:]]
        assert torch.equal(parts[1](parts[0](images), *features), network(images, *features))
        assert not any(values.requires_grad for values in parts[0].parameters())
        shared = {id(values) for part in parts for values in part.parameters()}
        assert shared == {id(values) for values in network.parameters()}


@pytest.mark.parametrize(("free", "where"), [(10_000, "meta"), (1_000, "cpu")])
def test_maps_that_would_fill_half_a_gpu_lie_in_memory(monkeypatch: pytest.MonkeyPatch, free: int, where: str) -> None:
    monkeypatch.setattr(freezing, "free_memory", lambda device: free)
    maps = torch.empty(2, 5, 4, 4, device="meta")  # which stands for a GPU: 320 bytes a row
    room = freezing._room(maps, 3)
    assert (room.device.type, room.shape) == (where, (3, 5, 4, 4))
    assert room.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many rows each call of the frozen part computed."""
    counts: list[int] = []

    def counted(prefix: nn.Module, normalise: nn.Module, inputs: tuple, bfloat16: bool) -> tuple:
        counts.append(len(inputs[0]))
        return freezing.compute(prefix, normalise, inputs, bfloat16)

    monkeypatch.setattr(training, "compute", counted)
    return counts


ONCE = "the frozen layers are computed once: "


@pytest.mark.parametrize(
    ("model", "count", "told"),
    [
        ("alizadeh-shallow", 1, ONCE),
        ("alizadeh-shallow", 2, ONCE),
        ("alizadeh-shallow-hog", 1, ONCE),
        ("alizadeh-shallow-hog", 2, ONCE),
        ("njoku", 1, ONCE),
        ("njoku", 2, ONCE),
        ("yengikand", 4, ONCE),
        ("yengikand", 12, "frozen convolutions computed once: 10 of 12, "),
    ],
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_computing_frozen_layers_once_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, computed: list[int],
    model: str, count: int, told: str, precision: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(device, "multiplies_bfloat16", lambda where: True)  # a note on the hardware is not the matter
    features = np.random.Generator(np.random.PCG64([1])).random((64, 12), np.float32)
    data = write_bands(tmp_path / "data.h5", train=48, val=16, hog=features)
    spec = settings(model=model, freeze=count, precision=precision, epochs=2)
    once = train(data, tmp_path / "once.h5", spec)
    assert once[0] == UNTRAINED
    assert once[1].startswith(told)
    assert computed == [48, 16]
    monkeypatch.setattr(training, "FROZEN_BYTES", 1e5)
    anew = train(data, tmp_path / "anew.h5", spec)
    assert anew[1].startswith(f"{ANEW}their results would take ")
    assert computed == [48, 16]
    tolerance = 1e-4 if precision == "float32" else 2e-2
    for group in ("history", "weights"):
        one, other = arrays(tmp_path / "once.h5", group), arrays(tmp_path / "anew.h5", group)
        assert one.keys() == other.keys()
        for name, values in one.items():
            assert_near(other[name], values, tolerance, tolerance, name)


def test_frozen_layers_stay_as_they_are_and_the_others_learn(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "still.h5", settings(lr=0.0, optimizer="sgd", freeze=None, epochs=1))
    train(data, tmp_path / "m.h5", settings(epochs=8))
    before, after = arrays(tmp_path / "still.h5", "weights"), arrays(tmp_path / "m.h5", "weights")
    for name in before:
        if "num_batches" in name:
            continue
        frozen = name.startswith(("features.conv1", "features.bn1"))
        if frozen and "running" not in name:
            assert np.array_equal(before[name], after[name]), name
        if not frozen:
            assert not np.array_equal(before[name], after[name]), name
    assert after["features.bn1.running_mean"].tolist() == [0.0] * 4  # it saw no batch
    assert after["features.bn1.num_batches_tracked"] == 0
    assert arrays(tmp_path / "m.h5", "history")["validation_accuracy"].max() > 0.9


@pytest.mark.parametrize(
    "changes",
    [{}, {"model": "njoku", "freeze": 2}, {"model": "alizadeh-shallow-hog"}, {"model": "yengikand", "freeze": 12}],
)
def test_a_run_cut_off_and_resumed_gives_the_same_file(tmp_path: Path, changes: dict) -> None:
    features = np.random.Generator(np.random.PCG64([1])).random((126, 12), np.float32)
    data, spec = write_bands(tmp_path / "data.h5", hog=features), settings(**changes)
    train(data, tmp_path / "whole.h5", spec)
    for step in (2, 5):
        with pytest.raises(Killed):
            train(data, tmp_path / "cut.h5", spec, KillAt(step), resume=True)
    notes = train(data, tmp_path / "cut.h5", spec, resume=True)
    assert any(note.startswith("resuming after epoch 1") for note in notes)
    assert (tmp_path / "cut.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_why_frozen_layers_are_computed_anew_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, target = settings(epochs=1), tmp_path / "m.h5"
    online = write_bands(tmp_path / "online.h5", documents={"augment": {"rotation": 5.0}})
    assert train(online, target, spec)[1] == f"{ANEW}the images are augmented online"
    data = write_bands(tmp_path / "data.h5")
    branches = settings(epochs=1, model="yengikand")
    assert train(data, target, branches)[1] == f"{ANEW}other branches of the first unit of yengikand are trained"
    assert train(data, target, spec)[1] == "the frozen layers are computed once: 1.2 MB"
    monkeypatch.setattr(training, "FROZEN_BYTES", 1_000_000)
    assert train(data, target, spec)[1] == f"{ANEW}their results would take 0.0 GB, more than 0.001 GB"


def test_frozen_layers_that_the_first_weights_lack_are_told(data: Path, tmp_path: Path) -> None:
    images, _ = bands(126)
    three = write_bands(tmp_path / "three.h5", channels=("gray", "gx", "gy"), image=np.stack([images] * 3, axis=3))
    train(data, tmp_path / "gray.h5", settings(freeze=None, epochs=1))
    first = str(tmp_path / "gray.h5")
    told = f"--freeze keeps features.conv1 as random as they begin: {first} does not give them"
    assert train(three, tmp_path / "m.h5", settings(init=first, epochs=1))[1] == told
    assert told not in train(data, tmp_path / "m.h5", settings(init=first, epochs=1))


def test_more_convolutions_than_there_are_are_refused(data: Path) -> None:
    assert refused(UsageError, data, settings(freeze=3)) == (
        "--freeze 3 is beyond model alizadeh-shallow, which has 2 convolutions"
    )


def test_a_network_frozen_whole_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        freeze(meta("zhao-separable"), "zhao-separable", 23)
    assert str(error.value) == "--freeze 23 leaves nothing of model zhao-separable to train: type --freeze 22"
