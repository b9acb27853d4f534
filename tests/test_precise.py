"""Batch normalisations estimated anew: over which rows, of which layers, and what of a model changes by it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fercli.learn import stored, training
from fercli.learn.augment import Augment
from fercli.learn.batches import Batches
from fercli.learn.normalise import Normalise
from fercli.learn.precise import estimate_norms
from fercli.learn.step import Rule
from fercli.ops.augment import Recipe
from fercli.store import create_store, open_store

from .learning import write_bands
from .test_train import replaced, train

CPU = torch.device("cpu")
RECIPE = Recipe(rotation=40.0, brightness=0.4, seed=3)


def rule(network: nn.Module, frozen: tuple[nn.Module, ...] = ()) -> Rule:
    return Rule(network, Normalise([0.0], [255.0]), torch.optim.SGD(network.parameters()), nn.CrossEntropyLoss(),
                frozen=frozen)  # fmt: skip


def batches(images: np.ndarray, batch: int, augment: Augment | None = None) -> Batches:
    labels = np.zeros(len(images), np.int64)
    return Batches((images,), labels, batch=batch, seed=0, device=CPU, augment=augment)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 12, 12), dtype=np.uint8)


def test_a_norm_gets_the_mean_and_variance_of_what_comes_to_it(images: np.ndarray) -> None:
    norm = nn.BatchNorm2d(1, momentum=0.3)
    norm.running_mean.fill_(7)
    estimate_norms(rule(nn.Sequential(norm, nn.Flatten())), batches(images, 64), 1)
    pixels = torch.from_numpy(images) / 255
    assert norm.running_mean.item() == pytest.approx(pixels.mean().item(), rel=1e-5)
    assert norm.running_var.item() == pytest.approx(pixels.var().item(), rel=1e-5)
    assert (norm.momentum, norm.training) == (0.3, False)


def test_each_step_counts_alike_and_layers_behind_see_what_those_before_give_then(images: np.ndarray) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.9))
    given = batches(images, 16)
    estimate_norms(rule(network), given, 5)
    first, convolution, second, *_ = network
    with torch.no_grad():
        seen = [torch.from_numpy(images[where])[:, None] / 255 for where in given.order(5).split(given.sizes)]
        behind = [convolution(nn.functional.batch_norm(one, None, None, training=True)) for one in seen]
    assert first.running_mean.item() == pytest.approx(np.mean([one.mean() for one in seen]), rel=1e-5)
    means = torch.stack([one.mean((0, 2, 3)) for one in behind]).mean(0)
    variances = torch.stack([one.transpose(0, 1).flatten(1).var(1) for one in behind]).mean(0)
    assert torch.allclose(second.running_mean, means, atol=1e-5)
    assert torch.allclose(second.running_var, variances, rtol=1e-4)


def test_every_second_batch_is_augmented(images: np.ndarray) -> None:
    seen = []
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten())
    network[0].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    given = batches(images, 16, Augment(RECIPE, np.arange(len(images)), 12))
    estimate_norms(rule(network), given, 2)
    for step, where in enumerate(given.order(2).split(given.sizes)):
        plain = torch.from_numpy(images[where])[:, None] / 255
        assert torch.allclose(seen[step], plain) == bool(step % 2)


def test_frozen_norms_stay_and_nothing_is_learnt(images: np.ndarray) -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten())
    before = {name: values.clone() for name, values in network.state_dict().items()}
    estimate_norms(rule(network, (network[0],)), batches(images, 16), 1)
    changed = {name for name, values in network.state_dict().items() if not torch.equal(values, before[name])}
    assert changed == {"2.running_mean", "2.running_var"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    recipe = dataclasses.asdict(Recipe(rotation=10.0, horizontal_flip=0.5, seed=3))
    return write_bands(tmp_path / "data.h5", train=48, val=16, documents={"augment": recipe})


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9}, {"precision": "bfloat16"}])
def test_training_ends_with_it_when_asked(data: Path, tmp_path: Path, settings: dict) -> None:
    spec = replaced(model="zhao-separable", epochs=2, select="last", **settings)
    train(data, tmp_path / "plain.h5", spec)
    notes = train(data, tmp_path / "precise.h5", dataclasses.replace(spec, precise_bn=True))
    with open_store(tmp_path / "plain.h5", "model") as plain, open_store(tmp_path / "precise.h5", "model") as precise:
        before, after = plain.arrays("weights"), precise.arrays("weights")
        changed = {name for name in before if not np.array_equal(before[name], after[name])}
        assert {name.rpartition(".")[2] for name in changed} == {"running_mean", "running_var"}
        metrics = precise.documents["model"]["metrics"]
        loss, accuracy = metrics["validation_loss"], 100 * metrics["validation_accuracy"]
        told = f"batch normalisations estimated anew: validation loss {loss:.4f}, accuracy {accuracy:.2f} %"
        assert told in notes
        assert loss != plain.documents["model"]["metrics"]["validation_loss"]


def test_it_ends_in_the_same_bytes_and_takes_rows_from_windows_too(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replaced(model="residual-small", epochs=1, precise_bn=True, calibrate=True)
    monkeypatch.setattr(training, "TRIED", 7)  # fewer than the validation rows
    for name in ("one.h5", "again.h5"):
        train(data, tmp_path / name, spec)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()
    monkeypatch.setattr(stored, "MOST", 0)  # windows are shuffled in another order
    notes = train(data, tmp_path / "windows.h5", spec)
    assert any(note.startswith("batch normalisations estimated anew: ") for note in notes)


def test_frozen_layers_that_are_computed_once_stay(data: Path, tmp_path: Path) -> None:
    with open_store(data) as src, create_store(tmp_path / "plain.h5") as dst:
        dst.start("samples", src.classes, src.channels)
        dst.append({name: src.column(name) for name in ("image", "label", "split")})
    train(tmp_path / "plain.h5", tmp_path / "init.h5", replaced(model="zhao-cnn", epochs=1))
    spec = replaced(model="zhao-cnn", epochs=1, init=str(tmp_path / "init.h5"), freeze=1, precise_bn=True)
    notes = train(tmp_path / "plain.h5", tmp_path / "m.h5", spec)
    assert any("computed once" in note for note in notes)
    with open_store(tmp_path / "init.h5", "model") as init, open_store(tmp_path / "m.h5", "model") as found:
        before, after = init.arrays("weights"), found.arrays("weights")
    means = [name for name in before if name.endswith("running_mean")]
    kept = [name for name in means if np.array_equal(before[name], after[name])]
    assert kept == means[:1]


def test_a_network_without_norms_says_so(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "m.h5", replaced(model="njoku", epochs=1, precise_bn=True))
    assert "--precise-bn changes nothing: no batch normalisation of njoku is trained" in notes
