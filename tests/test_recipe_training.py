"""Every recipe trains: cut off and resumed it gives the bytes of an unbroken run, and its model answers."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fercli.cli import main
from fercli.recipes.pipeline import flags
from fercli.recipes.recipe import load
from fercli.stages.train import TrainSpec
from fercli.store import open_store
from tests.learning import write_bands
from tests.stages import KillAt, Killed
from tests.test_recipes import OURS, PUBLISHED
from tests.test_train import train
from tests.trees import plant_ckplus, plant_jaffe

torch.set_num_threads(1)

#: Sides in px of the pictures, for the networks that are slow, or do not work, at 24.
SIDES = {"falahzadeh": 63, "zhao-cnn": 8, "zhao-vgg": 8, "yengikand": 8, "alizadeh-deep": 16}
ROWS = 24  # of which a step takes all, so that an epoch is one


@pytest.fixture
def fer(capsys, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command within this process, which has to end well; returns what it told."""

    def run(*words: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["fer", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr().err
        assert end.value.code == 0, told
        return told

    return run


def noise(path: Path, side: int) -> Path:
    """A store of training rows of noise."""
    images = np.random.Generator(np.random.PCG64([0])).integers(0, 256, (ROWS, side, side), dtype=np.uint8)
    return write_bands(path, ROWS, 0, image=images)


def settings_of(name: str, folder: Path) -> dict[str, object]:
    """Two epochs on one core; and a layer of AlexNet as it may begin, in place of the weights of ImageNet."""
    changed = {"epochs": 2, "device": "cpu", "threads": 1}
    if load(name).settings("train").get("init") == "imagenet":
        changed["init"], changed["head"] = str(folder / "first.pth"), "dense"  # the larger head is test_falahzadeh's
        layer = torch.nn.Conv2d(3, 64, 11)
        torch.save({f"features.0.{one}": values for one, values in layer.state_dict().items()}, changed["init"])
    if load(name).settings("train").get("teacher"):
        changed["teacher"] = (str(folder / "teacher.h5"),)
        spec = TrainSpec(model="residual-small", epochs=1, holdout=0.2, device="cpu", threads=1)
        train(noise(folder / "taught.h5", SIDES.get(name, 24)), folder / "teacher.h5", spec)
    if name in OURS:
        changed["holdout"] = 0.2  # of so few rows, a twentieth is none
    return changed


@pytest.mark.parametrize("name", [*PUBLISHED, *OURS])
def test_a_recipe_trains_goes_on_after_a_kill_and_answers(name: str, fer, tmp_path: Path) -> None:
    loaded, side = load(name), SIDES.get(name, 24)
    data = noise(tmp_path / "faces.h5", side)
    for stage in ("augment", "gradients"):
        own = loaded.settings(stage) if stage in loaded.pipeline else {}
        if own.get("online") or (stage == "gradients" and own):  # copies would make it longer
            made = tmp_path / f"{stage}.h5"
            fer(stage, *flags({**own, "size": side} if stage == "gradients" else own), data, "-o", made)
            data = made
    changed = settings_of(name, tmp_path)
    words = ("train", "--recipe", name, *flags(changed), data, "-o")
    with pytest.raises(Killed):
        train(data, tmp_path / "cut.h5", TrainSpec(**{**loaded.settings("train"), **changed}), KillAt(2))
    assert "resuming after epoch 1 of 2" in fer(*words, tmp_path / "cut.h5")
    told = fer(*words, tmp_path / "whole.h5")
    assert "gradient channels" not in told
    assert (tmp_path / "cut.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    fer("predict", "-m", tmp_path / "cut.h5", "--device", "cpu", data, "-o", tmp_path / "predictions.h5")
    with open_store(tmp_path / "predictions.h5", "predictions") as found:
        assert np.isfinite(found.column("probability")).all()
        assert found.rows == ROWS
    for path in tmp_path.glob("*.h5"):  # some are large
        path.unlink()


@pytest.mark.parametrize(("operator", "told"), [("sobel", 1), ("none", 0)])
def test_a_store_without_the_channels_of_the_recipe_is_noted(operator: str, told: int, fer, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        f"[gradients]\noperator = '{operator}'\nmapping = 'saturate'\nsize = 22\n"
        "[train]\nmodel = 'njoku'\nholdout = 0.2\nepochs = 1\ndevice = 'cpu'\nthreads = 1\n", "utf-8"
    )  # fmt: skip
    data = noise(tmp_path / "faces.h5", 24)
    lines = fer("train", "--recipe", own, data, "-o", tmp_path / "m.h5").splitlines()
    note = (
        f"fer train: recipe {own} trains on gradient channels, and {data} has only gray, with which training goes on: "
        f"fer gradients --operator sobel --mapping saturate --size 22 makes the channels"
    )
    assert lines.count(note) == told
    assert lines[-1].startswith(f"fer train: the model to {tmp_path / 'm.h5'}")


def test_data_that_the_recipe_would_augment_is_noted(fer, tmp_path: Path) -> None:
    data, target = noise(tmp_path / "faces.h5", 24), tmp_path / "m.h5"
    note = (
        f"fer train: recipe njoku augments the training rows, and {data} is not augmented, so they are learnt as they "
        f"are: run fer augment first, with what fer recipe show njoku has for it"
    )
    words = ("train", "--recipe", "njoku", "--epochs", "1", "--threads", "1", "--force")
    assert note in fer(*words, data, "-o", target).splitlines()
    fer("augment", "--horizontal-flip", data, "-o", tmp_path / "more.h5")
    assert "augment" not in fer(*words, tmp_path / "more.h5", "-o", target)


@pytest.mark.parametrize(("batch", "plant"), [(64, plant_ckplus), (16, plant_jaffe)])
def test_yengikand_begins_elsewhere_with_the_model_of_fer2013(batch: int, plant, fer, tmp_path: Path) -> None:
    data = plant(tmp_path / "data", 14)
    fer("train", "--recipe", "yengikand", "--epochs", "1", "--threads", "1", noise(tmp_path / "f.h5", 48), "-o",
        tmp_path / "first.h5")  # fmt: skip
    small = ("split.folds=2", "train.holdout=0", "train.epochs=1", "train.device=cpu", "train.threads=1")
    settings = (f"train.init={tmp_path / 'first.h5'}", f"train.batch={batch}", *small)
    words = [word for setting in settings for word in ("--set", setting)]
    told = fer("recipe", "run", "yengikand", "--data", data, "-o", tmp_path / "out", *words)
    assert told.count(f"{tmp_path / 'first.h5'} gives ") == 2  # once a fold
    with open_store(tmp_path / "out/predictions.h5", "predictions") as found:
        assert sorted(set(found.column("fold").tolist())) == [0, 1]
        assert not found.column("seen").any()
        assert found.provenance[-1]["spec"]["batch"] == batch
