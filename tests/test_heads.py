"""Several heads: what trains them, how they travel, that they stay off until asked for, and what is told of them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fercli.errors import DataError, UsageError
from fercli.learn.heads import HeadsLoss, truth
from fercli.learn.modelstore import load
from fercli.stages.train import TrainSpec
from fercli.store import open_store
from tests import test_train
from tests.learning import bands, write_bands
from tests.stages import KillAt, Killed, Notes

torch.set_num_threads(1)
CPU = torch.device("cpu")
SPEC = TrainSpec(
    model="zhao-separable", epochs=2, batch=16, lr=3e-3, device="cpu", seed=7, heads=("gender",), threads=1
)
ROWS = 126  # of which write_bands takes 96 to train on


def train(source: Path, target: Path, spec: TrainSpec = SPEC, heard: Notes | None = None) -> list[str]:
    return test_train.train(source, target, spec, heard)


def refused(kind: type[Exception], source: Path, spec: TrainSpec = SPEC) -> str:
    return test_train.refused(kind, source, spec)


def replaced(**settings: Any) -> TrainSpec:
    return dataclasses.replace(SPEC, **settings)


def genders(rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 24, 24) uint8 whose brighter side tells a gender (N,) int16, beside the band of `bands`."""
    images, _ = bands(rows)
    gender = np.random.Generator(np.random.PCG64([1])).integers(0, 2, rows).astype(np.int16)
    for image, code in zip(images, gender, strict=True):
        image[:, 12 * code : 12 * code + 12] += 80
    return images, gender


def write_heads(path: Path, **columns: Any) -> Path:
    """A store with a gender, which is unknown in every fifth row."""
    images, gender = genders()
    gender[::5] = -1
    return write_bands(path, **{"image": images, "attribute/gender": gender, **columns})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_heads(tmp_path / "data.h5")


# --- the loss ---------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_sum_over_the_heads_of_the_rows_that_tell_each() -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0, 1], [2, -1], [-1, 0], [1, 1], [-1, -1], [2, 0]])
    told = nn.functional.cross_entropy(logits[[0, 1, 3, 5], :3], labels[[0, 1, 3, 5], 0])
    told = told + nn.functional.cross_entropy(logits[[0, 2, 3, 5], 3:], labels[[0, 2, 3, 5], 1])
    assert HeadsLoss((3, 2), (None, None), 0.0)(logits, labels).item() == pytest.approx(told.item(), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_one_head_is_that_of_torch(smoothing: float) -> None:
    logits, labels = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1, 1, 2, 0])
    weight = torch.tensor([0.5, 2.0, 1.5])
    expected = nn.CrossEntropyLoss(weight, label_smoothing=smoothing)(logits, labels)
    found = HeadsLoss((3,), (weight,), smoothing)(logits, labels[:, None])
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_head_that_no_row_of_a_step_tells_neither_counts_nor_moves() -> None:
    logits = torch.zeros(2, 5, requires_grad=True)
    loss = HeadsLoss((3, 2), (None, torch.ones(2)), 0.0)(logits, torch.tensor([[0, -1], [1, -1]]))
    loss.backward()
    assert loss.item() == pytest.approx(np.log(3))
    assert logits.grad[:, :3].abs().sum() > 0
    assert torch.equal(logits.grad[:, 3:], torch.zeros(2, 2))


def test_the_expression_is_the_first_head() -> None:
    assert truth(torch.tensor([[2, 0], [-1, 1]])).tolist() == [2, -1]
    assert truth(torch.tensor([[0.1, 0.9], [0.7, 0.3]])).tolist() == [1, 0]
    assert truth(torch.tensor([2, 0])).tolist() == [2, 0]


# --- training ---------------------------------------------------------------------------------------------------------


def test_the_second_head_learns_beside_the_first(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "m.h5", replaced(epochs=20))
    images, gender = genders()
    _, labels = bands(ROWS)
    with open_store(tmp_path / "m.h5", "model") as src:
        model = load(src, CPU, heads=["gender"])
        assert src.documents["model"]["heads"] == [{"name": "gender", "classes": ["male", "female"]}]
    expression, second = model.answers((images[96:],))
    assert (expression.argmax(1) == labels[96:]).mean() > 0.9
    assert (second.argmax(1) == gender[96:]).mean() > 0.9
    assert expression.sum(1) == pytest.approx(1, abs=1e-5)
    assert second.sum(1) == pytest.approx(1, abs=1e-5)
    known = np.arange(96, ROWS) % 5 != 0
    right = (second.argmax(1) == gender[96:])[known]
    assert notes[-1] == f"the head gender in validation: accuracy {100 * right.mean():.2f} % of {known.sum()} rows"


def test_a_model_answers_expressions_alone_unless_asked(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "m.h5")
    images, _ = genders(8)
    with open_store(tmp_path / "m.h5", "model") as src:
        plain, asked = load(src, CPU), load(src, CPU, heads=["gender"])
    assert plain.heads == ()
    assert not any("gender" in name for name in plain.network.state_dict())
    assert [answers.shape for answers in plain.answers((images,))] == [(8, 3)]
    assert [answers.shape for answers in asked.answers((images,))] == [(8, 3), (8, 2)]
    assert plain.probabilities((images,)) == pytest.approx(asked.probabilities((images,)), abs=1e-6)


def test_rows_without_an_expression_teach_the_other_head(tmp_path: Path) -> None:
    images, gender = genders()
    _, labels = bands(ROWS)
    labels[48:96] = -1
    gender[:60] = gender[90:] = -1
    data = write_bands(tmp_path / "d.h5", image=images, label=labels, **{"attribute/gender": gender})
    notes = train(data, tmp_path / "m.h5")
    assert "left out: 18 rows without a label" in notes  # 48 to 59 and 90 to 95 tell neither
    assert notes[-1] == "the head gender in validation: none of its rows tells it"
    with open_store(tmp_path / "m.h5", "model") as src:
        metrics = src.documents["model"]["metrics"]
    assert (metrics["training_rows"], metrics["validation_rows"]) == (48 + 30, 30)
    assert round(metrics["accuracy"] * 48, 6).is_integer()


def test_a_holdout_takes_rows_of_each_class_and_of_those_without_one(tmp_path: Path) -> None:
    images, gender = genders()
    _, labels = bands(ROWS)
    labels[::2] = -1
    data = write_bands(tmp_path / "d.h5", 126, 0, image=images, label=labels, **{"attribute/gender": gender})
    notes = train(data, tmp_path / "m.h5", replaced(holdout=0.2))
    assert notes[-1].endswith(" of 25 rows")
    with open_store(tmp_path / "m.h5", "model") as src:
        assert src.documents["model"]["metrics"]["validation_rows"] == 12


def test_a_run_with_heads_cut_off_and_resumed_gives_the_same_file(data: Path, tmp_path: Path) -> None:
    spec = replaced(ema=0.9, class_weights="balanced", label_smoothing=0.1, calibrate=True)
    train(data, tmp_path / "whole.h5", spec)
    with pytest.raises(Killed):
        train(data, tmp_path / "m.h5", spec, KillAt(8))  # six steps an epoch
    notes = train(data, tmp_path / "m.h5", spec)
    assert "resuming after epoch 1 of 2" in notes
    assert (tmp_path / "m.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_checkpoint_without_the_head_is_not_gone_on_with(data: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(data, tmp_path / "m.h5", replaced(heads=()), KillAt(8))
    with pytest.raises(UsageError) as error:
        train(data, tmp_path / "m.h5")
    assert str(error.value) == (
        f"{tmp_path}/m.h5.checkpoint is of a run without --heads: "
        f"leave --heads out to go on with it, or --force to start over"
    )


@pytest.mark.parametrize("further", [("gender",), ()])
def test_weights_go_from_one_head_to_two_and_back(data: Path, tmp_path: Path, further: tuple[str, ...]) -> None:
    other = () if further else ("gender",)
    train(data, tmp_path / "first.h5", replaced(heads=other))
    notes = train(data, tmp_path / "m.h5", replaced(init=str(tmp_path / "first.h5"), heads=further, lr=0.0, epochs=1))
    left = "1 anew: head_gender.conv (not there)" if further else "1 not used: head_gender.conv"
    assert notes[0].endswith(f"; {left}")
    weights = []
    for name in ("first.h5", "m.h5"):
        with open_store(tmp_path / name, "model") as src:
            weights.append(src.array("weights/head.conv.weight"))
    assert np.array_equal(*weights)


def test_layers_of_the_trunk_are_frozen_behind_two_heads(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "first.h5")
    notes = train(data, tmp_path / "m.h5", replaced(init=str(tmp_path / "first.h5"), freeze=2))
    assert any(note.startswith("the frozen layers are computed once: ") for note in notes)
    weights = []
    for name in ("first.h5", "m.h5"):
        with open_store(tmp_path / name, "model") as src:
            weights.append(src.arrays("weights"))
    same = [name for name in weights[0] if np.array_equal(weights[0][name], weights[1][name])]
    assert {name for name in same if name.endswith("conv.weight")} == {
        "trunk.stem1.conv.weight", "trunk.stem2.conv.weight"
    }  # fmt: skip


def test_an_attribute_without_names_has_its_codes_as_classes(tmp_path: Path) -> None:
    images, gender = genders()
    data = write_bands(tmp_path / "d.h5", image=images, **{"attribute/age": gender * 3})
    train(data, tmp_path / "m.h5", replaced(heads=("age",), epochs=1))
    with open_store(tmp_path / "m.h5", "model") as src:
        assert load(src, CPU, heads=["age"]).heads[0].classes == ("0", "1", "2", "3")


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "name"), [({"mixup": 0.2}, "mixup"), ({"cutmix": 1.0}, "cutmix"), ({"votes": True}, "votes"),
                          ({"teacher": ("m.h5",)}, "teacher")],
)  # fmt: skip
def test_what_blends_labels_does_not_go_with_heads(setting: dict[str, Any], name: str) -> None:
    with pytest.raises(UsageError) as error:
        replaced(**setting)
    assert str(error.value) == f"--heads learns plain labels, one a head: leave --{name} out"


def test_a_model_with_one_head_names_those_that_can_have_more(data: Path) -> None:
    told = refused(UsageError, data, replaced(model="njoku"))
    assert told == "model njoku has no head beside the expression's; zhao-separable can have more"


@pytest.mark.parametrize(
    ("heads", "kind", "told"),
    [
        (("gander",), DataError, "{data} has no attribute 'gander' to learn; did you mean 'gender'?"),
        (("gender", "gender"), UsageError, "--heads gender is given twice: name it once"),
        (("a.b",), UsageError, "'a.b' cannot name a head: letters, digits, - and _ can"),
    ],
)
def test_heads_that_cannot_be_learnt(data: Path, heads: tuple[str, ...], kind: type[Exception], told: str) -> None:
    assert refused(kind, data, replaced(heads=heads)) == told.format(data=data)


def test_a_store_without_attributes_says_how_to_get_them(tmp_path: Path) -> None:
    data = write_bands(tmp_path / "d.h5")
    assert refused(DataError, data) == (
        f"{data} has no attribute 'gender' to learn; ingest a data set that tells it with fer ingest --attribute gender"
    )


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ([0] * ROWS, "{data} tells only 'male' as the gender of its training rows: leave --heads gender out"),
        ([-1] * ROWS, "{data} tells nothing as the gender of its training rows: leave --heads gender out"),
        ([0, 1, 2] * 42, "{data} has the gender 2 in row 2: it is -1 unknown, 0 male, 1 female"),
    ],
)
def test_values_that_teach_nothing(tmp_path: Path, codes: list[int], told: str) -> None:
    data = write_heads(tmp_path / "d.h5", **{"attribute/gender": np.array(codes, np.int16)})
    assert refused(DataError, data) == told.format(data=data)


@pytest.fixture(scope="module")
def two_heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a head beside the expression's."""
    folder = tmp_path_factory.mktemp("heads")
    train(write_heads(folder / "data.h5"), folder / "m.h5", replaced(epochs=1))
    return folder / "m.h5"


@pytest.mark.parametrize(
    "heads",
    [
        7,
        ["gender"],
        [{"name": "gender"}],
        [{"name": "gender", "classes": []}],
        [{"name": "gender", "classes": ["male", "male"]}],
        [{"name": "gender", "classes": ["male", 1]}],
        [{"name": "a.b", "classes": ["male", "female"]}],
        [{"name": "gender", "classes": ["male", "female"]}] * 2,
    ],
)
def test_damaged_heads_of_a_model_are_refused(two_heads: Path, heads: Any) -> None:
    with open_store(two_heads, "model") as src:
        src.documents["model"]["heads"] = heads
        with pytest.raises(DataError) as error:
            load(src, CPU)
    assert str(error.value) == f"{two_heads} is damaged: heads in its model document is {heads!r}"


def test_a_head_that_a_model_lacks(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "two.h5", replaced(epochs=1))
    train(data, tmp_path / "one.h5", replaced(epochs=1, heads=()))
    for name, told in (
        ("two", "has no head 'age'; known: gender"),
        ("one", "has no head 'age'; it answers expressions alone: train one with --heads age"),
    ):
        with open_store(tmp_path / f"{name}.h5", "model") as src, pytest.raises(UsageError) as error:
            load(src, CPU, heads=["age"])
        assert str(error.value) == f"{tmp_path}/{name}.h5 {told}"
