"""Greedy search: every candidate is a training of its own, the best is kept, and none is done twice."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from fercli.errors import DataError, UsageError
from fercli.spec import Spec
from fercli.stages import search
from fercli.stages import train as plain
from fercli.stages.checkpoint import Checkpoint
from fercli.stages.runner import Log, run_on_stores
from fercli.stages.train import TrainSpec, stage
from fercli.store import open_store
from tests.learning import SMALL, changed, write_bands
from tests.stages import KillAt, Killed, Notes

torch.set_num_threads(1)

SPEC = TrainSpec(**SMALL, epochs=2, batch=16, lr=1e-3, device="cpu", seed=7, search=("lr=0,0.002", "dropout=0.1,0.5"))


def train(source: Path, target: Path, spec: Spec = SPEC, heard: Notes | None = None, **checkpoint: bool) -> list[str]:
    """Runs the stage as the command does, and returns its notes."""
    heard = heard or Notes()
    kept = Checkpoint.beside(str(target), **checkpoint)
    work = search.run if spec.search else plain.run
    run_on_stores(stage(kept, work), [str(source)], str(target), spec, Log("fail", heard), force=True)
    kept.remove()
    return heard.notes


def replaced(**settings: object) -> TrainSpec:
    return changed(SPEC, **settings)


def candidates(path: Path) -> list[dict]:
    with open_store(path, "model") as model:
        return model.documents["model"]["search"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_bands(tmp_path / "data.h5", train=48, val=24)


def test_settings_are_searched_one_after_the_other(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "m.h5")
    found = candidates(tmp_path / "m.h5")
    assert [one["settings"] for one in found] == [
        {"lr": 0.0, "dropout": None},
        {"lr": 0.002, "dropout": None},
        {"lr": 0.002, "dropout": 0.1},
        {"lr": 0.002, "dropout": 0.5},
    ]
    best = max(found, key=lambda one: (one["validation_accuracy"], -one["validation_loss"]))
    with open_store(tmp_path / "m.h5", "model") as model:
        document = model.documents["model"]
        assert document["metrics"]["validation_loss"] == best["validation_loss"]
        assert {name: document["spec"][name] for name in ("lr", "dropout")} == best["settings"]
        assert "run" not in document
        assert not model.arrays("state")
    assert notes[0] == "candidate 1: lr 0.0, dropout None"
    told = (
        f": validation accuracy {100 * best['validation_accuracy']:.2f} %, loss {best['validation_loss']:.4f}, "
        f"epoch {best['epoch']} (kept)"
    )
    assert [note for note in notes[-4:] if note.endswith(told)] == [note for note in notes if "(kept)" in note]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.h5", "m.h5"]


def test_the_model_is_that_of_a_plain_training_with_the_best_settings(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "m.h5", replaced(search=("lr=0.002,0.0",)))
    train(data, tmp_path / "plain.h5", replaced(search=(), lr=0.002))
    with open_store(tmp_path / "m.h5", "model") as found, open_store(tmp_path / "plain.h5", "model") as alone:
        assert found.array_names() == alone.array_names()
        for name in alone.array_names():
            assert np.array_equal(found.array(name), alone.array(name)), name
        document = dict(found.documents["model"])
        assert len(document.pop("search")) == 2
        assert document == alone.documents["model"]


def test_a_point_is_trained_once(data: Path, tmp_path: Path) -> None:
    spec = replaced(epochs=1, dropout=0.1, search=("lr=0.002,0.0", "dropout=0.1,0.2"))
    notes = train(data, tmp_path / "m.h5", spec)
    assert [one["settings"] for one in candidates(tmp_path / "m.h5")] == [
        {"lr": 0.002, "dropout": 0.1}, {"lr": 0.0, "dropout": 0.1}, {"lr": 0.002, "dropout": 0.2},
    ]  # fmt: skip
    assert sum(note.startswith("candidate ") for note in notes) == 3


def test_by_loss_the_lowest_is_kept(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "m.h5", replaced(search=("lr=0.0,0.002,0.0001",), select="loss"))
    found = candidates(tmp_path / "m.h5")
    with open_store(tmp_path / "m.h5", "model") as model:
        kept = model.documents["model"]["metrics"]["validation_loss"]
    assert kept == min(one["validation_loss"] for one in found)


def test_where_the_last_epochs_are_kept_the_best_of_them_is(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "m.h5", replaced(epochs=8, search=("lr=0.002,0.0",), select="last"))
    found = candidates(tmp_path / "m.h5")
    assert found[0]["validation_accuracy"] > found[1]["validation_accuracy"]
    with open_store(tmp_path / "m.h5", "model") as model:
        assert model.documents["model"]["metrics"]["validation_loss"] == found[0]["validation_loss"]


def test_the_model_is_calibrated_and_halved_as_that_of_a_plain_training(data: Path, tmp_path: Path) -> None:
    spec = replaced(calibrate=True, half=True, precise_bn=True, lr=0.002, model="zhao-separable")
    train(data, tmp_path / "plain.h5", dataclasses.replace(spec, search=()))
    whole = dataclasses.replace(spec, search=("lr=0.002,0.0",))
    train(data, tmp_path / "m.h5", whole)
    with open_store(tmp_path / "m.h5", "model") as found, open_store(tmp_path / "plain.h5", "model") as alone:
        ours, theirs = found.documents["model"]["temperature"], alone.documents["model"]["temperature"]
        assert ours == theirs != 1
        for name in alone.array_names():
            assert found.array(name).dtype == alone.array(name).dtype
            assert np.array_equal(found.array(name), alone.array(name)), name
    for moment in (KillAt(2), KillAt(4), KillAt(1, "the temperature")):
        with pytest.raises(Killed):
            train(data, tmp_path / "cut.h5", whole, moment)
    train(data, tmp_path / "cut.h5", whole)
    assert (tmp_path / "cut.h5").read_bytes() == (tmp_path / "m.h5").read_bytes()


def test_a_value_that_the_other_settings_refuse_is_told_before_any_work(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        train(data, tmp_path / "m.h5", replaced(optimizer="nesterov", search=("momentum=0.9,0",)))
    assert str(error.value) == "--optimizer nesterov is nothing without momentum: raise --momentum, or type sgd"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.h5"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"search": ("freeze=1,9",)}, "--freeze 9 is beyond model alizadeh, which has 1 convolution"),
        ({"search": ("lr=0,0.002", "dropout=0.1,0.2"), "model": "zhao-separable"},
         "model zhao-separable has no setting 'dropout'; models with it: alexnet, alexnet-torchvision, alizadeh, "
         "alizadeh-deep, alizadeh-deep-hog, alizadeh-hog, alizadeh-shallow, alizadeh-shallow-hog, njoku, residual, "
         "residual-fast, residual-large, residual-small, yengikand, zhao-cnn, zhao-vgg"),
    ],
)  # fmt: skip
def test_a_value_that_the_network_refuses_is_told_before_any_work(
    data: Path, tmp_path: Path, settings: dict, message: str
) -> None:
    heard = Notes()
    with pytest.raises(UsageError) as error:
        train(data, tmp_path / "m.h5", replaced(**settings), heard)
    assert (str(error.value), heard.notes) == (message, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.h5"]


def test_a_run_cut_off_anywhere_and_rerun_gives_the_same_file(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "whole.h5")
    for moment in (KillAt(2), KillAt(2, "candidate "), KillAt(4), KillAt(1, "candidates "), KillAt(1, "candidate 4")):
        with pytest.raises(Killed):
            train(data, tmp_path / "cut.h5", SPEC, moment)
    notes = train(data, tmp_path / "cut.h5")
    assert notes[0] == "candidates done already: 3"
    assert (tmp_path / "cut.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.h5", "data.h5", "whole.h5"]


def test_what_is_left_of_another_search_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "cut.h5"
    with pytest.raises(Killed):
        train(data, target, SPEC, KillAt(2, "candidate "))
    kept = tmp_path / "cut.h5.finished"
    with pytest.raises(UsageError) as error:
        train(data, target, replaced(search=("lr=0,0.002",)))
    assert str(error.value) == (
        f"{kept} is of a run with --search lr=0,0.002 --search dropout=0.1,0.5, not lr=0,0.002: "
        f"type --search lr=0,0.002 --search dropout=0.1,0.5 to go on with it, or --force to start over"
    )
    notes = train(data, target, replaced(search=("lr=0,0.002",)), force=True)
    assert notes[0] == "candidate 1: lr 0.0"


@pytest.mark.parametrize(
    ("searched", "message"),
    [
        ("dropout", "--search dropout names no values to choose from: write for example dropout=0.1,0.2,0.3"),
        ("dropout=0.1", "--search dropout=0.1 names no values to choose from: write for example dropout=0.1,0.2,0.3"),
        ("droput=0,0.1", "--search droput=0,0.1: fer train has no number 'droput' to search; did you mean 'dropout'?"),
        ("weight-decay=0,1",
         "--search weight-decay=0,1: fer train has no number 'weight-decay' to search; did you mean 'weight_decay'?"),
        ("dropout=0,x", "--search dropout=0,x: 'x' is no number"),
        ("batch=8,1.5", "--search batch=8,1.5: '1.5' is no whole number"),
        ("dropout=0,2", "--search dropout=0,2: --dropout is 2.0, but it takes 0 to 0.99"),
        ("lr=0,nan", "--search lr=0,nan: --lr is nan, but it takes at least 0"),
        ("lr=0.1,1e-1", "--search lr=0.1,1e-1 names a value twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_told(data: Path, tmp_path: Path, searched: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        train(data, tmp_path / "m.h5", replaced(search=(searched,)))
    assert str(error.value) == message
    assert not (tmp_path / "m.h5").exists()


@pytest.mark.parametrize("name", ["model", "holdout", "seed", "threads", "fold", "augment"])
def test_what_decides_how_candidates_compare_is_not_searched(name: str) -> None:
    with pytest.raises(UsageError, match=f"^--search {name}=1,2: fer train has no number '{name}' to search; "):
        search.parse((f"{name}=1,2",))


def test_a_setting_is_searched_once() -> None:
    with pytest.raises(UsageError) as error:
        search.parse(("lr=0.1,0.2", "lr=0.3,0.4"))
    assert str(error.value) == "--search lr=0.3,0.4: lr is searched already, so name all its values at once"


def test_values_have_the_type_of_their_setting() -> None:
    axes = search.parse(("batch=8,16", "weight_decay=0,1", "patience=1,2"))
    assert axes == {"batch": (8, 16), "weight_decay": (0.0, 1.0), "patience": (1, 2)}
    assert all(isinstance(value, float) for value in axes["weight_decay"])


@pytest.mark.parametrize("listed", ["0.001,1e9", "1e9,0.001"])
def test_a_candidate_that_diverges_loses(data: Path, tmp_path: Path, listed: str) -> None:
    spec = replaced(search=(f"lr={listed}", "dropout=0.1,0.5"), optimizer="sgd", epochs=1)
    notes = train(data, tmp_path / "m.h5", spec)
    assert "lr 1000000000.0, dropout None: diverged" in notes[-4:]
    found = candidates(tmp_path / "m.h5")
    assert [one["settings"]["lr"] for one in found[2:]] == [0.001, 0.001]
    assert [one["epoch"] for one in found] == [None if one["settings"]["lr"] > 1 else 1 for one in found]
    with pytest.raises(Killed):
        train(data, tmp_path / "cut.h5", spec, KillAt(2, "candidate "))
    train(data, tmp_path / "cut.h5", spec)
    assert (tmp_path / "cut.h5").read_bytes() == (tmp_path / "m.h5").read_bytes()


def test_candidates_that_all_diverge_are_told(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        train(data, tmp_path / "m.h5", replaced(search=("lr=1e9,1e10",), optimizer="sgd"))
    assert str(error.value) == ("the loss of every candidate became no number: search a lower lr, or set one with --lr")
    assert not (tmp_path / "m.h5").exists()
