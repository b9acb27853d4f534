"""Recipes: every one that comes with the package is sound, and every mistake in one is told."""

import hashlib
import importlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fercli import models
from fercli.cli import main, options
from fercli.errors import UsageError
from fercli.learn import published
from fercli.learn.published import Published
from fercli.recipes.pipeline import flags
from fercli.recipes.recipe import load, names, text
from fercli.stages.train import TrainSpec
from fercli.store import open_store

from .program import ENVIRON
from .trees import photo

#: Every recipe with what its paper states of the training, and the figures that it reports.
PUBLISHED = {
    "alizadeh-deep": (
        {"epochs": 35, "batch": 128, "lr": 1e-2, "weight_decay": 1e-7},
        "validation accuracy 65 %, test accuracy 64 %, rerun validation accuracy 60.18 %, rerun test accuracy 62.77 %",
    ),
    "alizadeh-deep-hog": (
        {"epochs": 35, "batch": 128, "lr": 1e-2, "weight_decay": 1e-7},
        "validation accuracy without hog 65 %, test accuracy without hog 64 %",
    ),
    "alizadeh-shallow": (
        {"epochs": 35, "batch": 128, "lr": 1e-3, "weight_decay": 1e-6},
        "validation accuracy 55 %, test accuracy 54 %, rerun validation accuracy 53.02 %, rerun test accuracy 52.90 %",
    ),
    "alizadeh-shallow-hog": (
        {"epochs": 35, "batch": 128, "lr": 1e-3, "weight_decay": 1e-6},
        "validation accuracy without hog 55 %, test accuracy without hog 54 %",
    ),
    "falahzadeh": (
        {"init": "imagenet", "freeze": 4, "epochs": 200, "lr": 1e-3, "momentum": 0.9, "beta2": 0.95, "dropout": 0.5},
        "jaffe accuracy 92.41 %, ckplus accuracy 93.66 %",
    ),
    "njoku": (
        {"epochs": 100, "batch": 32, "optimizer": "adam", "lr": 1e-4},
        "train accuracy 76.83 %, validation accuracy 65.38 %, parameters 2,489,095",
    ),
    "yengikand": (
        {"epochs": 20, "batch": 32, "optimizer": "adam", "lr": 1e-3, "dropout": 0.2},
        "fer2013 accuracy 65.32 %, ckplus accuracy 97.01 %, jaffe accuracy 79.19 %",
    ),
    "zhao-cnn": ({"model": "zhao-cnn"}, "accuracy 57.15 %"),
    "zhao-resnet": ({"model": "zhao-resnet"}, "accuracy 60.00 %"),
    "zhao-separable": ({"model": "zhao-separable"}, "milliseconds a face 0.22, frames a second 80"),
    "zhao-vgg": ({"model": "zhao-vgg", "epochs": 90}, "accuracy 58.83 %"),
}
#: What they list of our own models.
OURS = {"default": "validation accuracy 70.05 %", "default-teacher": "", "fast": "validation accuracy 66.68 %"}

#: A cheap recipe with a table for every stage.
CHEAP = """
[detect]
detector = "none"
size = 24
[split]
train = 0.6
val = 0.2
test = 0.2
by = "subject"
[augment]
horizontal_flip = true
[gradients]
mapping = "scaled"
[train]
model = "zhao-separable"
epochs = 5
holdout = 0.1
device = "cpu"
threads = 1
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        Path("own.toml").write_text(text, "utf-8")
        return "own.toml"

    return write


def test_the_recipes_are_the_published_systems() -> None:
    assert names() == tuple(sorted([*PUBLISHED, *OURS]))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_has_the_published_settings(name: str) -> None:
    stated, _ = PUBLISHED[name]
    settings = load(name).settings("train")
    assert settings.items() >= stated.items()
    assert settings["model"] == ("alexnet-torchvision" if name == "falahzadeh" else name)
    assert "precision" not in settings
    assert "not stated" in text(name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_epoch_is_chosen_on_held_out_training_rows(name: str) -> None:
    """FER2013 has its split, and falahzadeh the folds of its paper."""
    loaded = load(name)
    assert loaded.settings("train")["holdout"] == 0.1
    assert ("split" in loaded.pipeline) == ("FER2013" not in loaded.paper["data"]) == (name == "falahzadeh")


def test_falahzadeh_is_cross_validated_as_its_paper_is() -> None:
    assert load("falahzadeh").settings("split") == {"folds": 10, "by": "image"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_flags_of_a_stage_are_its_settings(name: str) -> None:
    loaded = load(name)
    for stage in loaded.pipeline:
        command = importlib.import_module(f"fercli.cli.{stage}").command
        words = list(flags(loaded.settings(stage)))
        parsed = command.make_context(stage, words, help_option_names=["-h", "--help"]).params  # click keeps them
        assert options.given(type(loaded.spec(stage)), parsed) == loaded.spec(stage)


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
        ("[models]\na = 3\n", 'recipe own.toml: [models.a] names no recipe: write recipe = "NAME" below it'),
        ("[models.a]\nset = []\n", 'recipe own.toml: [models.a] names no recipe: write recipe = "NAME" below it'),
        ("[models.a]\nrecipe = 'njoku'\nsets = []\n",
         "recipe own.toml: [models.a] has no entry 'sets'; did you mean 'set'?"),
        ("[models.a]\nrecipe = 'njoku'\nset = 'train.epochs=3'\n",
         'recipe own.toml: [models.a]: set is no list of settings: write set = ["train.epochs=3"]'),
    ],
)  # fmt: skip
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


# --- settings of one's own over those of a recipe ---------------------------------------------------------------------


def test_a_setting_that_is_a_list_takes_each_change() -> None:
    loaded = load("yengikand").changed(["train.search=dropout=0.1,0.2", "train.search=lr=0.1,0.2", "train.epochs=3"])
    assert loaded.spec("train").search == ("dropout=0.1,0.2", "lr=0.1,0.2")
    assert flags(loaded.changes["train"]) == (
        "--search", "dropout=0.1,0.2", "--search", "lr=0.1,0.2", "--epochs", "3",
    )  # fmt: skip


def test_settings_are_changed() -> None:
    loaded = load("zhao-cnn").changed(
        ["train.epochs=3", "train.lr=1", "augment.horizontal_flip=true", "train.model=alizadeh"]
    )
    assert loaded.spec("train") == TrainSpec(
        **{**load("zhao-cnn").settings("train"), "epochs": 3, "lr": 1.0, "model": "alizadeh"}
    )
    assert loaded.pipeline == ("detect", "augment", "train")
    assert loaded.settings("augment") == {"horizontal_flip": True}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epochs=3", "--set epochs=3 is no setting with its value: write for example --set train.epochs=3"),
        ("train.epochs", "--set train.epochs is no setting with its value: write for example --set train.epochs=3"),
        ("trian.epochs=3", "--set trian.epochs=3: there is no stage 'trian'; did you mean 'train'?"),
        ("train.epoch=3", "--set train.epoch=3: train has no setting 'epoch'; did you mean 'epochs'?"),
        ("train.epochs=0", "--epochs is 0, but it takes at least 1"),
        ("train.epochs=few", "--epochs is 'few', but it takes a whole number"),
        ("augment.online=yes", "--online is 'yes', but it takes true or false"),
        ("train.model=njoko", "--model is 'njoko'; did you mean 'njoku'?"),
    ],
)
def test_a_change_that_will_not_do_is_told(assignment: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        load("njoku").changed([assignment])
    assert str(error.value) == message


# --- fer recipe -------------------------------------------------------------------------------------------------------


@pytest.fixture
def call(capsys, monkeypatch: pytest.MonkeyPatch):
    """Runs `fer recipe` within this process; returns its status, and what it printed and told."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fer", "recipe", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return run


def test_list_shows_every_recipe_with_the_figures_of_its_paper(call) -> None:
    status, out, err = call("list")
    assert (status, err) == (0, "")
    head, *lines = (line.split(maxsplit=1) for line in out.splitlines())
    assert head == ["recipe", "data                 model                 reported"]
    figures = {name: reported for name, (_, reported) in PUBLISHED.items()} | OURS
    assert [name for name, _ in lines] == sorted(figures)
    for name, line in lines:
        assert line.startswith(load(name).paper["data"])
        assert line.endswith(figures[name])


def test_list_for_a_machine(call) -> None:
    status, out, err = call("list", "--json")
    assert (status, err) == (0, "")
    told = {facts.pop("name"): facts for facts in json.loads(out)}
    assert list(told) == sorted([*PUBLISHED, *OURS])
    assert told["zhao-vgg"] == {
        "authors": "Zhao et al.", "year": None, "data": "FER2013", "model": "zhao-vgg", "reported": {"accuracy": 58.83},
    }  # fmt: skip
    assert told["falahzadeh"]["reported"]["frozen_4"] == {"jaffe_accuracy": 83.35, "ckplus_accuracy": 84.86}


@pytest.mark.parametrize("name", PUBLISHED)
def test_show_prints_the_recipe_and_the_defaults_that_it_leaves(call, recipe, name: str) -> None:
    status, out, err = call("show", name)
    assert (status, err) == (0, "")
    assert out.startswith(text(name))
    shown, loaded = load(recipe(out)), load(name)
    assert (shown.paper, shown.stages) == (loaded.paper, loaded.stages)
    told = json.loads(call("show", name, "--json")[1])
    assert told["toml"] == text(name)
    network = "".join(f"# {line}".rstrip() + "\n" for line in told["network"].splitlines())
    assert out.endswith(f"\n# The network:\n{network}")
    assert f"\n\n{loaded.settings('train')['model']}: " in told["network"]
    for stage, settings in told["settings"].items():
        assert settings == json.loads(json.dumps(loaded.spec(stage).as_dict()))
        for key in settings.keys() - loaded.stages[stage].keys():
            assert f"\n# {stage}.{key} = {json.dumps(settings[key])}\n" in out


def test_a_dry_run_prints_the_commands(call, recipe) -> None:
    recipe("[detect]\nsize = 40\n[train]\nepochs = 3\n")  # and goes to a folder of its own
    assert call("run", "alizadeh-deep-hog", "--data", "synthetic:30", "-o", "my runs", "--resume", "--dry-run") == (
        0,
        "mkdir -p 'my runs'\n"
        "# no fer detect, as synthetic:30 holds images of 48x48 pixels, which are faces already\n"
        "fer ingest synthetic:30 -o 'my runs/ingest.h5'\n"
        "fer augment --horizontal-flip 'my runs/ingest.h5' -o 'my runs/augment.h5'\n"
        "fer gradients --operator none --hog 'my runs/augment.h5' -o 'my runs/gradients.h5'\n"
        "fer train --recipe alizadeh-deep-hog --resume 'my runs/gradients.h5' -o 'my runs/model.h5'\n"
        "fer predict -m 'my runs/model.h5' 'my runs/gradients.h5' -o 'my runs/predictions.h5'\n"
        "fer eval 'my runs/predictions.h5' --split val\n"
        "fer eval 'my runs/predictions.h5' --split test\n",
        "",
    )
    changes = ("--set", "train.device=cpu", "--set", "split.test=1", "--set", "split.seed=3")
    assert call("run", "own.toml", "--data", "synthetic:30", "-o", "x", "--force", "-n", *changes) == (
        0,
        "mkdir -p x\n"
        "# fer detect, as synthetic:30 holds images of 48x48 pixels, and faces are to have 40x40\n"
        "fer ingest synthetic:30 -o x/ingest.h5 --force\n"
        "fer detect --size 40 x/ingest.h5 -o x/detect.h5 --force\n"
        "fer split --test 1.0 --seed 3 x/detect.h5 -o x/split.h5 --force\n"
        "fer train --recipe own.toml --device cpu x/split.h5 -o x/model.h5 --force\n"
        "fer predict -m x/model.h5 --device cpu x/split.h5 -o x/predictions.h5 --force\n"
        "fer eval x/predictions.h5 --split test\n",
        "",
    )
    assert os.listdir() == ["own.toml"]


def test_a_dry_run_over_folds_trains_on_all_of_them_or_on_one(call, recipe) -> None:
    own = recipe("[split]\nfolds = 3\n[train]\nmodel = 'zhao-cnn'\n")
    words = ("run", own, "--data", "synthetic:30", "-o", "x", "-n")
    script = [
        "mkdir -p x",
        "fer ingest synthetic:30 -o x/ingest.h5",
        "fer split --folds 3 x/ingest.h5 -o x/split.h5",
        "fer train --recipe own.toml --fold all x/split.h5 -o x/predictions.h5",
        "fer eval x/predictions.h5",
    ]
    assert call(*words) == (0, "\n".join([*script, ""]), "")
    script[3] = "fer train --recipe own.toml --epochs 2 --fold 1 --resume x/split.h5 -o x/predictions.h5"
    words = (*words, "--resume", "--set", "train.epochs=2", "--set", "train.fold=1")
    assert call(*words) == (0, "\n".join([*script, ""]), "")


@pytest.mark.parametrize(("name", "folder"), [("alizadeh-deep", "alizadeh-deep"), ("there/own.toml", "own")])
def test_the_folder_is_named_as_the_recipe_unless_told(call, recipe, name: str, folder: str) -> None:
    Path("there").mkdir()
    Path("there", "own.toml").write_text(CHEAP, "utf-8")
    status, out, err = call("run", name, "--data", "synthetic:30", "-n")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == f"mkdir -p {folder}"
    assert f"\nfer ingest synthetic:30 -o {folder}/ingest.h5\n" in out


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("[train]\nfold = 'all'\n", (),
         "recipe own.toml has train.fold all and makes no folds: add --set split.folds=10, or leave train.fold out"),
        ("[split]\ntest = 1\n[train]\n", ("train.fold=2",),
         "recipe own.toml has train.fold 2 and makes no folds: add --set split.folds=10, or leave train.fold out"),
        ("[split]\nfolds = 3\n[train]\n", ("train.search=dropout=0.1,0.2", "train.search=lr=0.1,0.2"),
         "recipe own.toml has split.folds, over which no one model is kept, and train.search keeps one: leave "
         "train.search out, type fer train --recipe own.toml --search dropout=0.1,0.2 --search lr=0.1,0.2 on the "
         "store that it trains on, and give the recipe what won with --set"),
    ],
)  # fmt: skip
def test_folds_that_do_not_go_with_the_training_are_told_before_any_work(
    call, recipe, text: str, changes: tuple[str, ...], message: str, dry_run: tuple[str, ...]
) -> None:
    words = [word for change in changes for word in ("--set", change)]
    found = call("run", recipe(text), "--data", "synthetic:30", "-o", "out", *words, *dry_run)
    assert found == (2, "", f"fer recipe run: error: {message}\n")
    assert os.listdir() == ["own.toml"]


@pytest.mark.parametrize(
    ("text", "figures_told", "without"),
    [
        (CHEAP, 4, ()),
        (CHEAP.replace('train = 0.6\nval = 0.2\ntest = 0.2\nby = "subject"', "folds = 2"), 3, ("model",)),
    ],
)
def test_a_run_gives_the_bytes_and_figures_of_the_printed_commands(
    call, recipe, text: str, figures_told: int, without: tuple[str, ...]
) -> None:
    words = ("run", recipe(text), "--data", "synthetic:140", "--set", "train.epochs=1", "-o")
    status, figures, err = call(*words, "here")
    assert (status, figures.count("accuracy  ")) == (0, figures_told)
    assert (
        "fer recipe run: fer detect, as synthetic:140 holds images of 48x48 pixels, and faces are to have 24x24\n"
        in err
    )
    script = call(*words, "there", "-n")[1]
    done = subprocess.run(["sh", "-e"], input=script, capture_output=True, text=True, env=ENVIRON)
    assert (done.returncode, done.stdout.replace("there", "here")) == (0, figures), done.stderr
    made = sorted(os.listdir("here"))
    assert made == [
        f"{name}.h5"
        for name in ("augment", "detect", "gradients", "ingest", "model", "predictions", "split")
        if name not in without
    ]
    assert made == sorted(os.listdir("there"))
    for name in made:
        assert Path("here", name).read_bytes() == Path("there", name).read_bytes(), name
    status, again, err = call(*words, "here")
    assert (status, again, err.count(" is up to date (")) == (0, figures, len(made))


def test_models_that_a_recipe_takes_are_trained_first(call, recipe, tmp_path: Path) -> None:
    table = "[models.{0}]\nrecipe = 'cheap.toml'\nset = ['train.seed={1}']\n"
    settings = "[train]\nmodel = 'zhao-separable'\nepochs = 1\nbatch = 16\nthreads = 1\n"
    Path("cheap.toml").write_text(settings)
    taken = "init = 'begin/model.h5'\nteacher = ['wise/model.h5', 'default']\n"
    own = recipe(table.format("begin", 1) + table.format("wise", 2) + table.format("idle", 3) + settings + taken)
    words = ("run", own, "--data", "synthetic:30", "-o")
    script = call(*words, "there", "-n")[1]
    done = subprocess.run(["sh", "-e"], input=script, capture_output=True, text=True, env=ENVIRON)
    assert done.returncode == 0, done.stderr
    assert call(*words, "there")[2].count(" is up to date (") == 9
    assert sorted(path.name for path in Path("there").iterdir() if path.is_dir()) == ["begin", "wise"]
    assert len({path.read_bytes() for path in Path("there").glob("**/model.h5")}) == 3


def test_rows_that_fail_may_be_left_out(call, recipe, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for shade, emotion in enumerate(("happy", "sad") * 6):
            place = tmp_path / "faces" / split / emotion
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{shade}.png").write_bytes(photo(20 * shade + (split == "val"), (24, 24)))
    (tmp_path / "faces" / "train" / "happy" / "torn.png").write_bytes(photo()[:40])
    own = recipe("[train]\nmodel = 'zhao-separable'\nepochs = 1\nthreads = 1\n")
    words = ("run", own, "--data", "faces", "-o", "out")
    status, _, err = call(*words)
    assert (status, err.count("leave such rows out with --on-error skip")) == (1, 1)
    status, figures, err = call(*words, "--on-error", "skip")
    assert (status, "accuracy" in figures) == (4, True)
    assert "failed: train/happy/torn.png: " in err
    status, script, _ = call(*words, "--on-error", "skip", "-n")
    done = subprocess.run(["sh", "-e"], input=script, capture_output=True, text=True, env=ENVIRON)
    assert (done.returncode, "accuracy" in done.stdout) == (0, True), done.stderr


def test_a_file_where_the_folder_is_to_be_is_told(call, tmp_path):
    (tmp_path / "out").touch()
    status, out, err = call("run", "njoku", "--data", "synthetic:30", "-o", tmp_path / "out")
    assert (status, out) == (2, "")
    assert f"fer recipe run: error: {tmp_path}/out is no folder: name one with -o" in err


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("[train]\nepoch = 3\n", "recipe cheap.toml: [train] has no setting 'epoch'; did you mean 'epochs'?"),
        ("[models.a]\nrecipe = 'own.toml'\n[train]\n",
         "recipe cheap.toml has [models] of its own, and cannot be one of another's"),
        ("[train]\nteacher = ['imagenet']\n",
         "recipe cheap.toml takes imagenet, which is not there: train it first, or name another (fer recipe show "
         "cheap.toml tells of it)"),
        ("[train]\ninit = 'none.h5'\n",
         "recipe cheap.toml takes none.h5, which is not there: train it first, or name another (fer recipe show "
         "cheap.toml tells of it)"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_trained_first_is_told_before_any_work(call, recipe, other: str, message: str) -> None:
    Path("cheap.toml").write_text(other)
    own = recipe("[models.a]\nrecipe = 'cheap.toml'\n[train]\ninit = 'a/model.h5'\n")
    assert call("run", own, "--data", "synthetic:30", "-o", "x") == (2, "", f"fer recipe run: error: {message}\n")
    assert not Path("x").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_before_any_work(call, recipe) -> None:
    assert call("run", recipe("[train]\ndevice = 'cuda'\n"), "--data", "synthetic:30", "-o", "out") == (
        2, "",
        "fer recipe run: error: --device cuda needs an NVIDIA GPU, and torch sees none on this machine: "
        "type --device cpu\n",
    )  # fmt: skip
    assert os.listdir() == ["own.toml"]


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nlayers = 'conv4x3-relu'\n",
         "model njoku has no setting 'layers'; models with it: alizadeh, alizadeh-hog"),
        ("[train]\nmodel = 'alexnet'\nhead = 'dens'\n", "model alexnet has no head 'dens'; did you mean 'dense'?"),
        ("[train]\nmodel = 'alizadeh'\nlayers = 'fc9-relu'\n",
         "--layers: the layers 'fc9-relu' have no convolution: begin with one such as conv32x3-relu (layers are words "
         "convFILTERSxKERNEL[-bn]-relu[-drop][-pool] and behind them fcNEURONS[-bn]-relu[-drop], such as "
         "'conv32x3-bn-relu-drop-pool fc512-bn-relu-drop')"),
        ("[train]\ninit = 'imagenet'\n",
         "no ImageNet weights are published for njoku: type --model alexnet-torchvision"),
        ("[train]\nfreeze = 9\n", "--freeze 9 is beyond model njoku, which has 4 convolutions"),
        ("[train]\nmodel = 'zhao-separable'\ndropout = 0.2\n",
         "model zhao-separable has no setting 'dropout'; models with it: alexnet, alexnet-torchvision, alizadeh, "
         "alizadeh-deep, alizadeh-deep-hog, alizadeh-hog, alizadeh-shallow, alizadeh-shallow-hog, njoku, residual, "
         "residual-fast, residual-large, residual-small, yengikand, zhao-cnn, zhao-vgg"),
        ("[train]\nheads = ['gender']\n",
         "model njoku has no head beside the expression's; zhao-separable can have more"),
        ("[gradients]\noperator = 'none'\nhog = true\n[train]\nmodel = 'alizadeh-deep-hog'\nmixup = 0.2\n",
         "--mixup mixes pictures, and alizadeh-deep-hog reads their hog besides: leave --mixup out"),
        ("[train]\nmodel = 'alizadeh-deep-hog'\n",
         "recipe own.toml trains alizadeh-deep-hog, which reads hog features beside the images, and no stage of it "
         "makes them: add --set gradients.operator=none --set gradients.hog=true"),
        ("[gradients]\n[train]\nmodel = 'alizadeh-deep-hog'\n",
         "recipe own.toml trains alizadeh-deep-hog, which reads hog features beside the images, and no stage of it "
         "makes them: add --set gradients.hog=true"),
        ("[augment]\nonline = true\nrotation = 9.0\n[gradients]\n[train]\n",
         "recipe own.toml augments online, and gradients and features would not follow the pictures: add --set "
         "augment.online=false"),
    ],
)  # fmt: skip
def test_a_network_that_will_not_do_is_told_before_any_work(
    call, recipe, text: str, message: str, dry_run: tuple[str, ...]
) -> None:
    found = call("run", recipe(text), "--data", "synthetic:30", "-o", "out", *dry_run)
    assert found == (2, "", f"fer recipe run: error: {message}\n")
    assert os.listdir() == ["own.toml"]


def test_layers_are_settings_of_a_recipe(call, recipe) -> None:
    own = recipe("[train]\nmodel = 'alizadeh'\nepochs = 1\ndevice = 'cpu'\nthreads = 1\n")
    layers = "train.layers=conv4x3-bn-relu-pool fc16-relu"
    words = ("run", own, "--data", "synthetic:30", "-o", "out", "--set", layers)
    assert "\nfer train --recipe own.toml --layers 'conv4x3-bn-relu-pool fc16-relu' out/" in call(*words, "-n")[1]
    assert call(*words)[0] == 0
    with open_store("out/model.h5", "model") as model:
        assert model.documents["model"]["arguments"] == {"layers": "conv4x3-bn-relu-pool fc16-relu"}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Published:
    """Published weights of njoku, on a machine that reaches no server."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and nobody listens there
        entry = Published(f"http://127.0.0.1:{free.getsockname()[1]}/net.pth", "7be5be79")
        monkeypatch.setitem(published.IMAGENET, "njoku", entry)
        yield entry


@pytest.mark.parametrize("before", [False, True])
def test_published_weights_that_cannot_be_fetched_are_told_before_any_work(
    call, recipe, offline: Published, before: bool
) -> None:
    text = "[train]\ninit = 'imagenet'\nepochs = 1\n"
    if before:
        Path("first.toml").write_text(text)
        text = "[models.a]\nrecipe = 'first.toml'\n[train]\nteacher = ['a/model.h5']\n"
    words = ("run", recipe(text), "--data", "synthetic:30", "-o", "out")
    assert call(*words) == (
        1,
        "",
        f"fer recipe run: downloading {offline.url} to {offline.path}\n"
        f"fer recipe run: error: {offline.url} cannot be downloaded (Connection refused): "
        f"get it elsewhere and put it at {offline.path}\n",
    )
    assert not Path("out").exists()
    status, _, told = call(*words, "--dry-run")
    assert (status, "downloading" in told) == (0, False)


def test_a_run_that_is_up_to_date_needs_no_published_weights(
    call, recipe, offline: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline.path.parent.mkdir(parents=True)
    torch.save(models.build("njoku").state_dict(), offline.path)
    sha256 = hashlib.sha256(offline.path.read_bytes()).hexdigest()
    monkeypatch.setitem(published.IMAGENET, "njoku", Published(offline.url, sha256))
    Path("first.toml").write_text("[train]\ninit = 'imagenet'\nepochs = 1\n")
    own = recipe("[models.a]\nrecipe = 'first.toml'\n[train]\ninit = 'a/model.h5'\nepochs = 1\n")
    words = ("run", own, "--data", "synthetic:30", "-o", "out")
    assert call(*words)[0] == 0
    offline.path.unlink()
    status, _, told = call(*words)
    assert (status, "downloading" in told, "fer train: out/a/model.h5 is up to date" in told) == (0, False, True)
    status, _, told = call(*words, "--force")
    assert (status, told.splitlines()[0]) == (1, f"fer recipe run: downloading {offline.url} to {offline.path}")


def test_the_first_command_that_fails_ends_the_run(call, recipe) -> None:
    own = recipe('[detect]\ndetector = "none"\nsize = 25\n[gradients]\nhog = true\n[train]\nepochs = 1\n')
    status, out, err = call("run", own, "--data", "synthetic:30", "-o", "out")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1] == (
        "fer gradients: error: HOG needs sides that are multiples of 6 of at least 24 px, "
        "and the images are 25x25: use --size 48"
    )
    assert sorted(os.listdir("out")) == ["detect.h5", "ingest.h5"]


NO_ROWS = "has no labelled val or test rows to tell figures of: add --set split.train=0.8 --set split.test=0.2"


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("njoko", "--data", "synthetic:30"), 2,
         "recipe run: error: there is no recipe 'njoko' (a file of your own ends in .toml); did you mean 'njoku'?"),
        (("njoku", "--data", "synthetic:30", "--set", "train.epoch=3"), 2,
         "recipe run: error: --set train.epoch=3: train has no setting 'epoch'; did you mean 'epochs'?"),
        (("own.toml", "--data", "synthetic:30"), 2,
         "recipe run: error: recipe own.toml says nothing about train; it has settings for detect"),
        (("njoku", "--data", "none/"), 1, "ingest: error: none/: it cannot be read: No such file or directory"),
        (("njoku", "--data", "synthetic:2:scenes"), 1,
         "recipe run: error: synthetic:2:scenes has no labels to learn from: give a labelled data set with --data"),
        (("njoku", "--data", "synthetic:9"), 1, f"recipe run: error: synthetic:9 {NO_ROWS}"),
    ],
)  # fmt: skip
def test_what_will_not_do_is_told(call, recipe, words, status: int, message: str, dry_run) -> None:
    recipe("[detect]\nsize = 48\n")
    found, out, err = call("run", *words, "-o", "out", *dry_run)
    assert (found, out, err.splitlines()[-1]) == (status, "", f"fer {message}")
    read = words[2] not in ("none/", "synthetic:30")  # what was not read leaves no folder either
    assert os.path.exists("out") == (read and not dry_run)


def test_an_unknown_recipe_is_not_shown(call) -> None:
    assert call("show", "zhao-vg") == (
        2, "",
        "fer recipe show: error: there is no recipe 'zhao-vg' (a file of your own ends in .toml); "
        "did you mean 'zhao-vgg'?\n",
    )  # fmt: skip


def test_a_step_that_fails_is_told_with_how_its_settings_are_typed(call, recipe, tmp_path: Path) -> None:
    own = recipe("[train]\nmodel = 'zhao-separable'\nepochs = 1\nholdout = 0.1\noptimizer = 'sgd'\nlr = 1e30\n")
    status, _, err = call("run", own, "--data", "synthetic:70", "-o", "out")
    *_, told, error = err.splitlines()
    assert (status, error.partition(":")[0]) == (1, "fer train")
    assert told.startswith("fer train: this was fer train --recipe own.toml ")
    assert told.endswith("; its settings go into fer recipe run as --set train.NAME=VALUE")
    (tmp_path / "mine" / "happy").mkdir(parents=True)
    (tmp_path / "mine" / "happy" / "a.png").write_bytes(b"no photo")
    status, _, err = call("run", own, "--data", "mine", "-o", "other")
    assert (status, err.splitlines()[-2]) == (1, "fer ingest: this was fer ingest mine -o other/ingest.h5")
