"""falahzadeh from photos to figures by one command, on trees of the shape of JAFFE and CK+, at its own sizes."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from fercli import models
from fercli.cli import main
from fercli.store import open_store
from tests.trees import plant_ckplus, plant_jaffe

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
def run(capsys, monkeypatch: pytest.MonkeyPatch, weights: Path, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Runs the recipe on a folder; returns what it printed. Its stores, of some 20 MB, do not outlive the test."""

    def call(data: Path, *settings: str) -> str:
        words = [word for one in (*SMALL, f"train.init={weights}", *settings) for word in ("--set", one)]
        out = str(tmp_path / "out")
        monkeypatch.setattr(sys, "argv", ["fer", "recipe", "run", "falahzadeh", "--data", str(data), "-o", out, *words])
        with pytest.raises(SystemExit) as end:
            main()
        printed, told = capsys.readouterr()
        assert end.value.code == 0, told
        return printed

    yield call
    for path in (tmp_path / "out").glob("*.h5"):
        path.unlink()


def test_jaffe(run: Callable[..., str], tmp_path: Path) -> None:
    printed = run(plant_jaffe(tmp_path / "jaffe", 14))
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
