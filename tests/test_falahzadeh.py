"""falahzadeh from photos to figures by one command, on trees of the shape of JAFFE and CK+, at its own sizes."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from fercli import models
from fercli.cli import main
from fercli.store import open_store
from tests.trees import plant_ckplus, plant_fer2013, plant_jaffe

torch.set_num_threads(1)

#: What makes it a matter of seconds: two folds for ten, one epoch for two hundred, and no pictures held out of so few.
SMALL = ("split.folds=2", "train.epochs=1", "train.holdout=0", "train.device=cpu", "train.threads=1")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolutions of AlexNet as they begin, in place of those learnt on ImageNet."""
    torch.manual_seed(0)
    state = models.build("alexnet-torchvision", 1000, 3, 227).state_dict()
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save({name: values for name, values in state.items() if name.startswith("features.")}, path)
    return path


@pytest.fixture
def fer(capsys, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, str]]:
    """Runs a command that has to end well; returns what it printed and what it told."""

    def call(*words: str | Path) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["fer", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        printed, told = capsys.readouterr()
        assert end.value.code == 0, told
        return printed, told

    return call


@pytest.fixture
def run(fer: Callable[..., tuple[str, str]], weights: Path, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Runs the recipe on a folder; returns what it printed. Its stores, of some 20 MB, do not outlive the test."""

    def call(data: Path, *settings: str) -> str:
        words = [word for one in (*SMALL, f"train.init={weights}", *settings) for word in ("--set", one)]
        return fer("recipe", "run", "falahzadeh", "--data", data, "-o", tmp_path / "out", *words)[0]

    yield call
    for path in (tmp_path / "out").glob("*.h5"):
        path.unlink()


def test_jaffe(run: Callable[..., str], tmp_path: Path) -> None:
    printed = run(plant_jaffe(tmp_path / "jaffe", 14), "train.head=dense")  # the larger one is that of the next test
    out = tmp_path / "out"
    with open_store(out / "gradients.h5") as src:
        assert src.channels == ("gray", "gx", "gy")
        assert src.shape("image") == (227, 227, 3)
        assert (src.rows, int(src.column("copy").sum())) == (14 * 8, 14 * 7)
    with open_store(out / "predictions.h5", "predictions") as found:
        assert found.column("parent").tolist() == list(range(14))
        assert sorted(found.column("fold").tolist()) == [0] * 7 + [1] * 7
        assert not found.column("seen").any()
        spec = found.provenance[-1]["spec"]
        assert (spec["fold"], spec["freeze"], spec["normalise"]) == ("all", 4, "imagenet")
    assert printed.startswith(f"{out / 'predictions.h5'}, all rows: 14 labelled rows, 7 classes\n")
    assert "\nmean of the folds   " in printed
    assert sorted(path.name for path in out.iterdir()) == [
        f"{name}.h5" for name in ("augment", "detect", "gradients", "ingest", "predictions", "split")
    ]


def test_ckplus_by_subject_one_fold(run: Callable[..., str], tmp_path: Path) -> None:
    printed = run(plant_ckplus(tmp_path / "ck", 14), "split.by=subject", "train.fold=1")
    with open_store(tmp_path / "out/split.h5") as src:
        assert src.rows == 28
        people = [set(src.column("subject")[src.column("fold") == fold]) for fold in (0, 1)]
    assert people[0].isdisjoint(people[1])
    with open_store(tmp_path / "out/predictions.h5", "predictions") as found:
        assert set(found.column("fold")) == {1}
        assert not found.column("seen").any()
    assert "mean of the folds" not in printed


def test_fer2013_begins_with_weights_of_table_1_that_were_learnt_there(fer, tmp_path: Path) -> None:
    """As examples/reproduce tells it, but with images of 67 px and one dense layer, which take a hundredth of it."""
    data, out, small = plant_fer2013(tmp_path / "fer2013", 28), tmp_path / "out", ("--device", "cpu", "--threads", "1")
    fer("ingest", data, "-o", tmp_path / "faces.h5")
    fer("gradients", "--mapping", "saturate", "--size", "67", tmp_path / "faces.h5", "-o", tmp_path / "gradients.h5")
    fer(
        *("train", "--model", "alexnet", "--head", "dense", "--epochs", "1", "--lr", "1e-4", "--normalise", "imagenet"),
        *(*small, tmp_path / "gradients.h5", "-o", tmp_path / "alexnet.h5"),
    )
    own = ("train.model=alexnet", f"train.init={tmp_path / 'alexnet.h5'}", "train.head=dense", "gradients.size=67")
    words = [word for one in (*SMALL, *own) for word in ("--set", one)]
    printed, told = fer("recipe", "run", "falahzadeh", "--data", data, "-o", out, *words)
    assert f"no fer detect, as {data} holds images of 48x48 pixels, which are faces already" in told
    assert f"{tmp_path / 'alexnet.h5'} gives 6 of 6 layers: conv1, conv2, conv3, conv4, conv5, dense\n" in told
    assert "the frozen layers are computed once: " in told
    assert "random" not in told
    with open_store(out / "augment.h5") as src:
        assert (src.rows, int(src.column("copy").sum())) == (28 * 8, 28 * 7)
    with open_store(out / "predictions.h5", "predictions") as found:
        assert found.column("parent").tolist() == list(range(28))
        assert int(found.column("seen").sum()) == 21  # on which the first weights were learnt
    assert "\nseen in training    21 rows; accuracy without them " in printed
