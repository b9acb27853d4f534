"""Networks that read HOG features beside the images: trained, resumed, saved and asked, for stores and for photos."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from fercli.errors import DataError, UsageError
from fercli.learn.modelstore import load
from fercli.models import alizadeh
from fercli.ops.hog import FEATURES, hog
from fercli.stages import gradients, predict
from fercli.stages.gradients import GradientsSpec
from fercli.stages.predict import PredictSpec
from fercli.stages.runner import Log, Stage, run_on_stores
from fercli.store import open_store
from tests.learning import bands, write_bands
from tests.stages import asked
from tests.test_train import KillAt, Killed, refused, replaced, train

torch.set_num_threads(1)

SPEC = replaced(model="alizadeh-shallow-hog", epochs=2, lr=1e-4, batch=32)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shallow network with fewer filters and neurons, as the tests are about what it reads."""
    monkeypatch.setattr(alizadeh, "SHALLOW", "conv4x3-bn-relu-drop conv4x3-bn-relu-drop-pool fc16-bn-relu-drop")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write_bands(tmp_path / "plain.h5")


@pytest.fixture
def data(plain: Path, tmp_path: Path) -> Path:
    """The bands with the HOG features that `fer gradients` adds."""
    return described(plain, tmp_path / "data.h5", operator="none", hog=True)


def described(source: Path, target: Path, **settings: object) -> Path:
    """What `fer gradients` makes of a store."""
    run_on_stores(Stage("gradients", gradients.run), [str(source)], str(target), GradientsSpec(**settings), Log())
    return target


def test_a_hybrid_learns_from_images_and_features_and_answers(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "m.h5", replaced(**{**SPEC.as_dict(), "epochs": 4, "lr": 3e-3}))
    with open_store(tmp_path / "m.h5", "model") as src:
        model = load(src, torch.device("cpu"))
    assert model.columns == ("image", "hog")
    assert model.card.arguments == {"hog": FEATURES}
    assert model.card.metrics["validation_accuracy"] > 0.9
    images, labels = bands(126)
    told = model.probabilities((images, hog(images)), 32)
    assert asked(tmp_path / "m.h5", data) == pytest.approx(told, abs=1e-6)
    assert (told[96:].argmax(1) == labels[96:]).mean() == pytest.approx(model.card.metrics["validation_accuracy"])
    assert not np.allclose(model.probabilities((images, np.zeros_like(hog(images))), 32), told, atol=1e-3)


def test_a_hybrid_cut_off_and_resumed_gives_the_same_file(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "whole.h5", SPEC)
    with pytest.raises(Killed):
        train(data, tmp_path / "cut.h5", SPEC, KillAt(5))
    notes = train(data, tmp_path / "cut.h5", SPEC, resume=True)
    assert any(note.startswith("resuming after epoch 1") for note in notes)
    assert (tmp_path / "cut.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_hybrid_takes_as_many_features_as_the_store_has(tmp_path: Path) -> None:
    features = np.random.Generator(np.random.PCG64([1])).random((126, 12), np.float32)
    data = write_bands(tmp_path / "data.h5", hog=features)
    train(data, tmp_path / "m.h5", SPEC)
    with open_store(tmp_path / "m.h5", "model") as src:
        assert load(src, torch.device("cpu")).card.arguments == {"hog": 12}
    assert asked(tmp_path / "m.h5", data).shape == (126, 3)


def test_a_hybrid_answers_in_bfloat16_steps_too(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "m.h5", replaced(**{**SPEC.as_dict(), "precision": "bfloat16"}))
    short = asked(tmp_path / "m.h5", data)
    assert np.isfinite(short).all()
    train(data, tmp_path / "whole.h5", SPEC)
    assert not np.array_equal(asked(tmp_path / "whole.h5", data), short)


@pytest.mark.parametrize(("operator", "together"), [("none", True), ("sobel", True), ("sobel", False)])
def test_photos_get_the_features_that_the_training_faces_got(
    plain: Path, tmp_path: Path, operator: str, together: bool
) -> None:
    data = described(plain, tmp_path / "one.h5", operator=operator if together else "none", hog=True)
    if not together:
        data = described(data, tmp_path / "two.h5", operator=operator)
    train(data, tmp_path / "m.h5", SPEC)
    predictor = predict.Predictor.load(tmp_path / "m.h5", PredictSpec(device="cpu", precision="float32"))
    images, _ = bands(126)
    answers = predictor.answering.of_crops(images, np.zeros((126, 16), np.uint8))
    assert answers["probability"] == pytest.approx(asked(tmp_path / "m.h5", data), abs=1e-6)


def test_photos_are_not_answered_without_the_features(tmp_path: Path) -> None:
    data = write_bands(tmp_path / "data.h5", hog=np.zeros((126, 12), np.float32))
    train(data, tmp_path / "m.h5", SPEC)
    predictor = predict.Predictor.load(tmp_path / "m.h5", PredictSpec(device="cpu", precision="float32"))
    with pytest.raises(DataError) as error:
        predictor.answering.of_crops(bands(2)[0], np.zeros((2, 16), np.uint8))
    assert str(error.value) == (
        "the model reads a column 'hog' that fer gradients did not make: "
        "make a store of the faces with fer detect, add the column, and predict that"
    )


def test_a_hybrid_learns_from_a_teacher_that_sees_the_image_alone(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "t.h5", dataclasses.replace(SPEC, model="alizadeh-shallow", epochs=1))
    train(data, tmp_path / "p.h5", dataclasses.replace(SPEC, teacher=(str(tmp_path / "t.h5"),), epochs=1))
    train(data, tmp_path / "m.h5", dataclasses.replace(SPEC, epochs=1))
    with open_store(tmp_path / "p.h5", "model") as taught, open_store(tmp_path / "m.h5", "model") as alone:
        assert taught.array("history/loss")[0] != alone.array("history/loss")[0]


def test_training_without_the_features_names_the_command(plain: Path) -> None:
    assert refused(DataError, plain, SPEC) == (
        f"{plain} has no column 'hog', which alizadeh-shallow-hog reads beside the images: "
        f"add it with fer gradients --operator none --hog"
    )


@pytest.mark.parametrize("flag", ["mixup", "cutmix"])
def test_pictures_are_not_mixed_beside_features_that_are_not(data: Path, flag: str) -> None:
    assert refused(UsageError, data, dataclasses.replace(SPEC, **{flag: 0.2})) == (
        f"--{flag} mixes pictures, and alizadeh-shallow-hog reads their hog besides: leave --{flag} out"
    )


def test_prediction_without_the_features_names_the_command(data: Path, plain: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "m.h5", SPEC)
    with pytest.raises(DataError) as error:
        asked(tmp_path / "m.h5", plain)
    assert str(error.value) == (
        f"{plain} has no column 'hog', which the model reads beside the images: "
        f"add it with fer gradients --operator none --hog"
    )


def test_prediction_with_other_features_is_refused(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "m.h5", SPEC)
    other = write_bands(tmp_path / "other.h5", hog=np.zeros((126, 12), np.float32))
    with pytest.raises(DataError) as error:
        asked(tmp_path / "m.h5", other)
    assert str(error.value) == f"{other} has 12 hog features a face, and the model takes 900"


def test_images_augmented_online_leave_their_features_behind_and_are_refused(tmp_path: Path) -> None:
    data = write_bands(
        tmp_path / "data.h5",
        documents={"augment": {"rotation": 20.0}},
        hog=np.zeros((126, 12), np.float32),
    )
    assert refused(DataError, data, SPEC) == (
        f"{data} is augmented online, which leaves behind the column 'hog' that alizadeh-shallow-hog reads beside the "
        f"images: make copies first, fer augment without --online, then fer gradients --operator none --hog"
    )
