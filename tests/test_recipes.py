"""Recipes: every one that comes with the package is sound, and every mistake in one is told."""

from pathlib import Path

import pytest

from fercli.errors import UsageError
from fercli.recipes.recipe import load, names
from fercli.stages.train import TrainSpec


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        Path("own.toml").write_text(text, "utf-8")
        return "own.toml"

    return write


@pytest.mark.parametrize("name", names())
def test_a_recipe_of_the_package_is_sound_and_says_what_was_reported(name: str) -> None:
    loaded = load(name)
    assert loaded.paper["authors"]
    assert loaded.paper["reported"]
    TrainSpec(**loaded.settings("train"))


def test_njoku_trains_as_published_and_chooses_its_epoch_on_held_out_training_rows() -> None:
    spec = TrainSpec(**load("njoku").settings("train"))
    assert (spec.model, spec.epochs, spec.batch, spec.optimizer, spec.lr) == ("njoku", 100, 32, "adam", 1e-4)
    assert spec.holdout == 0.1
    assert load("njoku").settings("detect")["detector"] == "haar"


def test_a_file_of_ones_own_is_read(recipe) -> None:
    assert load(recipe("[train]\nepochs = 3\n")).settings("train") == {"epochs": 3}


def test_a_stage_that_a_recipe_leaves_out_is_told(recipe) -> None:
    loaded = load(recipe("[train]\nepochs = 3\n"))
    with pytest.raises(UsageError) as error:
        loaded.settings("detect")
    assert str(error.value) == "recipe own.toml says nothing about detect; it has settings for train"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[trian]\n", "recipe own.toml: there is no stage [trian]; did you mean 'train'?"),
        ("[train]\nepoch = 3\n", "recipe own.toml: [train] has no setting 'epoch'; did you mean 'epochs'?"),
        ("[train]\nlr = -1.0\n", "recipe own.toml: --lr is -1.0, but it takes at least 0"),
        ("[train]\nepochs = 'many'\n", "recipe own.toml: --epochs is 'many', but it takes a whole number"),
        ("[train]\nmodel = 'njoko'\n", "recipe own.toml: --model is 'njoko'; did you mean 'njoku'?"),
        ("train = 3\n", "recipe own.toml: train is no table of settings: write [train] above them"),
        ("[paper]\nyaer = 2020\n", "recipe own.toml: [paper] has no entry 'yaer'; did you mean 'year'?"),
        ("[augment]\n", "recipe own.toml: no transform is chosen: add for example --horizontal-flip --rotation 10"),
    ],
)
def test_a_mistake_is_told(recipe, text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        load(recipe(text))
    assert str(error.value) == message


def test_a_file_that_is_not_toml_is_told(recipe) -> None:
    with pytest.raises(UsageError, match=r"^recipe own\.toml is not TOML: .*line 1"):
        load(recipe("[train\n"))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        load(str(tmp_path / "none.toml"))
    assert str(error.value) == f"recipe {tmp_path / 'none.toml'} cannot be read: No such file or directory"


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError) as error:
        load("njoko")
    assert str(error.value) == "there is no recipe 'njoko' (a file of your own ends in .toml); did you mean 'njoku'?"
