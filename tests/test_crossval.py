"""Cross-validation: every row is answered by a network that did not see it, and a killed run goes on to the bit."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fercli.cli import main
from fercli.errors import DataError, UsageError
from fercli.learn.rows import choose_fold, choose_rows, hold_out
from fercli.ops.augment import Recipe, augment
from fercli.stages import crossval
from fercli.stages.augment import AugmentSpec
from fercli.stages.augment import run as run_augment
from fercli.stages.checkpoint import Checkpoint
from fercli.stages.evaluate import EvalSpec, evaluate
from fercli.stages.gradients import GradientsSpec
from fercli.stages.gradients import run as run_gradients
from fercli.stages.runner import Log, run_on_stores
from fercli.stages.train import TrainSpec, stage
from fercli.store import objects, open_store
from tests.learning import CLASSES, SMALL, bands, changed, write_bands
from tests.program import ROOT, module
from tests.stages import KillAt, Killed, Notes, run_stage

torch.set_num_threads(1)

SPEC = TrainSpec(**SMALL, epochs=2, batch=16, lr=1e-3, device="cpu", seed=7, fold="all")
ROWS = 60
FOLDS = np.arange(ROWS, dtype=np.int16) // 4 % 3  # of 20 rows each


def train(
    source: Path, target: Path, spec: TrainSpec = SPEC, heard: Notes | None = None, **checkpoint: bool
) -> list[str]:
    """Runs the stage as the command does, and returns its notes."""
    heard = heard or Notes()
    kept = Checkpoint.beside(str(target), **checkpoint)
    run_on_stores(stage(kept, crossval.run), [str(source)], str(target), spec, Log("fail", heard), force=True)
    if kept:
        kept.remove()
    return heard.notes


def replaced(**settings: object) -> TrainSpec:
    return changed(SPEC, **settings)


def refused(kind: type[Exception], source: Path, spec: TrainSpec = SPEC) -> str:
    """What it says when it refuses; nothing may be left behind."""
    with pytest.raises(kind) as error:
        train(source, source.parent / "refused.h5", spec)
    assert [path.name for path in source.parent.iterdir()] == [source.name]
    return str(error.value)


def write(path: Path, **columns: object) -> Path:
    """A store of 60 rows in three folds."""
    return write_bands(path, train=ROWS, val=0, **{"split": None, "fold": FOLDS, **columns})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "data.h5", source=objects(f"face {row}" for row in range(ROWS)))


# --- what it gives ----------------------------------------------------------------------------------------------------


def test_each_row_is_answered_once_and_by_a_network_that_did_not_see_it(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "p.h5", replaced(epochs=8, lr=2e-3))
    with open_store(data) as src, open_store(tmp_path / "p.h5", "predictions") as found:
        assert (found.rows, found.classes) == (ROWS, CLASSES)
        assert found.columns == ("label", "source", "parent", "digest", "fold", "probability", "predicted", "seen")
        assert found.column("parent").tolist() == list(range(ROWS))
        for name in ("label", "source", "fold"):
            assert np.array_equal(found.column(name), src.column(name)), name
        assert not found.column("seen").any()
        one = evaluate(found, EvalSpec())
    assert one.accuracy > 0.8
    assert [(fold.fold, fold.rows) for fold in one.folds] == [(0, 20), (1, 20), (2, 20)]
    assert sum(fold.correct for fold in one.folds) == one.correct
    assert notes[0] == (
        "no pictures are held out to choose the epoch, so the last is kept: --holdout 0.1 holds some out"
    )
    assert notes[1] == "fold 0: 40 rows to train on, 20 left out"
    assert notes[2].startswith("epoch 1/8: loss 0.")
    assert "; the fold's loss 0." in notes[2]
    assert "(best)" not in "".join(notes)
    assert notes[10] == f"fold 0: accuracy {100 * one.folds[0].accuracy:.2f} % of 20 rows"
    assert notes[-1] == f"all 3 folds: accuracy {100 * one.accuracy:.2f} % of 60 rows"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.h5", "p.h5"]


def test_the_fold_is_not_called_validation(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "p.h5", replaced(model="zhao-separable", dropout=None, epochs=1, precise_bn=True))
    told = [note for note in notes if note.startswith("batch normalisations estimated anew: ")]
    assert [note.split(": ")[1].split(" loss")[0] for note in told] == ["the fold's"] * 3


def test_one_fold_gives_the_rows_that_all_give_for_it(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "all.h5")
    train(data, tmp_path / "one.h5", replaced(fold="1"))
    with open_store(tmp_path / "all.h5", "predictions") as whole, open_store(tmp_path / "one.h5", "predictions") as one:
        rows = np.flatnonzero(FOLDS == 1)
        assert one.column("parent").tolist() == rows.tolist()
        for name in one.columns:
            assert np.array_equal(one.column(name), whole.column(name)[rows]), name


def test_the_last_epoch_is_kept_unless_pictures_are_held_out(data: Path, tmp_path: Path) -> None:
    """The networks of a fold are those of a plain training on the same rows, for as many epochs."""
    for holdout, epochs in ((0.0, 3), (0.2, 3)):
        spec = replaced(fold="0", holdout=holdout, epochs=epochs, lr=3e-3)
        with pytest.raises(Killed):  # before the checkpoint of the finished training is removed
            train(data, tmp_path / "p.h5", spec, KillAt(1, "fold 0: accuracy"), force=True)
        with open_store(tmp_path / "p.h5.finished", "predictions") as finished:
            assert finished.rows == 20
        with open_store(data) as src:
            rows, tested = choose_fold(src, 0, holdout, SPEC.seed)
        assert tested.tolist() == np.flatnonzero(FOLDS == 0).tolist()
        assert rows.choose == (holdout > 0)
        assert not set(rows.train) & set(tested)
        if holdout:
            assert not set(rows.validation) & set(tested)
            assert len(rows.validation) == 8
        else:
            assert rows.validation.tolist() == tested.tolist()
    notes = train(data, tmp_path / "q.h5", replaced(fold="0", holdout=0.2))
    assert notes[0] == "fold 0: 32 rows to train on, 20 left out"
    assert "; validation loss" in notes[1]


def test_splits_play_no_part(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "plain.h5", replaced(fold="0"))
    split = write(tmp_path / "split.h5", split=np.ones(ROWS, np.int8))
    train(split, tmp_path / "p.h5", replaced(fold="0"))
    with open_store(tmp_path / "plain.h5", "predictions") as plain, open_store(tmp_path / "p.h5", "predictions") as one:
        assert "split" not in one.columns
        assert np.array_equal(one.column("probability"), plain.column("probability"))


def test_rows_without_a_label_are_answered_and_not_learnt(tmp_path: Path) -> None:
    _, labels = bands(ROWS)
    labels[::5] = -1
    data = write(tmp_path / "data.h5", label=labels)
    train(data, tmp_path / "p.h5")
    with open_store(tmp_path / "p.h5", "predictions") as found:
        assert found.column("label").tolist() == labels.tolist()
        assert (found.column("predicted") >= 0).all()
        assert evaluate(found, EvalSpec()).unlabelled == 12


def test_a_pretrained_network_that_saw_a_row_is_told(data: Path, tmp_path: Path) -> None:
    train_rows = np.where(FOLDS == 2, 0, 1).astype(np.int8)
    first = write(tmp_path / "first.h5", split=train_rows)
    from fercli.stages import train as plain

    run_on_stores(
        stage(None, plain.run), [str(first)], str(tmp_path / "m.h5"), replaced(fold=None, epochs=1), Log(), force=True
    )
    train(data, tmp_path / "p.h5", replaced(epochs=1, init=str(tmp_path / "m.h5")))
    with open_store(tmp_path / "p.h5", "predictions") as found:
        assert np.array_equal(found.column("seen"), FOLDS == 2)


# --- copies -----------------------------------------------------------------------------------------------------------


def test_copies_are_trained_on_outside_of_their_fold_and_never_tested_on(data: Path, tmp_path: Path) -> None:
    run_stage(run_augment, data, tmp_path / "copies.h5", AugmentSpec(horizontal_flip=True, rotation=5))
    run_stage(run_gradients, tmp_path / "copies.h5", tmp_path / "g.h5", GradientsSpec())
    with open_store(tmp_path / "g.h5") as src:
        fold, parent = src.column("fold"), src.column("parent")
        rows, tested = choose_fold(src, 1, 0.0, 0)
        assert tested.tolist() == np.flatnonzero(FOLDS == 1).tolist()
        assert len(rows.train) == 3 * 40
        assert not set(parent[rows.train]) & set(tested)
        assert (fold[rows.train] != 1).all()
        held, _ = choose_fold(src, 1, 0.25, 0)
        assert len(held.validation) == 10
        assert (held.validation < ROWS).all()
        assert not set(parent[held.train]) & set(held.validation)
    notes = train(tmp_path / "g.h5", tmp_path / "p.h5", replaced(epochs=1))
    assert notes[1] == "fold 0: 120 rows to train on, 20 left out"
    with open_store(tmp_path / "p.h5", "predictions") as found:
        assert found.column("parent").tolist() == list(range(ROWS))


def test_val_rows_that_are_copies_do_not_choose_the_epoch(data: Path, tmp_path: Path) -> None:
    images, _ = bands(ROWS)
    copies = augment(images, Recipe(rotation=5.0), np.arange(ROWS), 0)
    both = write_bands(
        tmp_path / "both.h5", train=ROWS, val=ROWS, image=np.concatenate([images, copies]),
        split=np.tile((FOLDS == 0).astype(np.int8), 2), copy=np.repeat([False, True], ROWS),
        digest=np.tile(np.arange(ROWS, dtype=np.uint8)[:, None], (2, 16)),
    )  # fmt: skip
    with open_store(both) as src:
        rows = choose_rows(src, 0.0, 0)
        assert rows.validation.tolist() == np.flatnonzero(FOLDS == 0).tolist()
        assert len(rows.train) == 80
        rest, held = hold_out(src, np.arange(2 * ROWS), 0.2, 0)
        assert (held < ROWS).all()
        assert len(rest) + 2 * len(held) == 2 * ROWS


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def call(capfdbinary, monkeypatch: pytest.MonkeyPatch):
    """Runs `fer` within this process; returns its status, what it printed, and the last of what it told."""

    def run(*words: object) -> tuple[int, bytes, str]:
        monkeypatch.setattr(sys, "argv", ["fer", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfdbinary.readouterr()
        return end.value.code, out, err.decode().rpartition("fer train: ")[2]

    return run


def test_the_command_writes_predictions_for_eval(call, data: Path, tmp_path: Path) -> None:
    words = ("train", "--fold", "all", "--epochs", 1, "--batch", 16, "--device", "cpu", "--threads", 1, data)
    status, out, told = call(*words, "-o", tmp_path / "p.h5")
    assert (status, out) == (0, b"")
    assert re.fullmatch(rf"60 rows to {tmp_path}/p.h5 \([0-9.]+ s\)\n", told)
    assert call(*words, "-o", tmp_path / "p.h5")[2].startswith(f"{tmp_path}/p.h5 is up to date")
    assert call(*words)[:2] == (0, (tmp_path / "p.h5").read_bytes())
    assert b"\nmean of the folds   0." in call("eval", tmp_path / "p.h5")[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.h5", "p.h5"]


def test_stores_of_single_folds_are_evaluated_together(call, data: Path, tmp_path: Path) -> None:
    words = ("train", "--epochs", 1, "--batch", 16, "--seed", 7, "--device", "cpu", "--threads", 1, data)
    names = [tmp_path / f"{fold}.h5" for fold in (*range(3), "all")]
    for name in names:
        assert call(*words, "--fold", name.stem, "-o", name)[0] == 0
    together, alone = (json.loads(call("eval", "--json", *some)[1]) for some in (names[:3], names[3:]))
    assert together["folds"] == alone["folds"]
    assert together["confusion"] == alone["confusion"]
    assert call("eval", names[1], names[3], names[2]) == (
        2,
        b"",
        f"fer eval: error: rows would count twice: 20 of {names[3]} stand in {names[1]} too, "
        f"20 of {names[2]} stand in {names[3]} too; leave one of two such stores out\n",
    )


def test_the_command_refuses_a_store_without_folds(call, tmp_path: Path) -> None:
    data = write(tmp_path / "data.h5", fold=None)
    assert call("train", "--fold", "all", data, "-o", tmp_path / "p.h5") == (
        1, b"", f"error: {data} has no folds: assign its rows to some with fer split --folds 10\n",
    )  # fmt: skip


# --- a run that is cut off --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"holdout": 0.2, "optimizer": "sgd", "schedule": "cosine"}])
def test_a_run_cut_off_anywhere_and_rerun_gives_the_same_file(data: Path, tmp_path: Path, settings: dict) -> None:
    spec = replaced(**settings)
    whole = train(data, tmp_path / "whole.h5", spec)
    moments = (KillAt(2), KillAt(4), KillAt(1, "fold 0: accuracy"), KillAt(1, "fold 1: "), KillAt(5))
    for moment in moments:
        with pytest.raises(Killed):
            train(data, tmp_path / "cut.h5", spec, moment)
    notes = train(data, tmp_path / "cut.h5", spec)
    assert any(note.startswith("folds done already: 0") for note in notes)
    assert notes[-1] == whole[-1]
    assert (tmp_path / "cut.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.h5", "data.h5", "whole.h5"]


def test_no_model_of_a_fold_is_offered_to_begin_with(data: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.h5")

    class Changing(Notes):
        def note(self, text: str) -> None:
            if " epoch 2/" in f" {text}":
                data.write_bytes(other.read_bytes())

    with pytest.raises(DataError) as error:
        train(data, tmp_path / "p.h5", heard=Changing())
    assert str(error.value) == f"{data} changed while it was trained on: add --force to start over with what it is now"


@pytest.mark.parametrize("moment", ["fold 0: accuracy", "fold 1: 40 rows", "epoch 2/2"])
def test_a_killed_process_loses_nothing_but_time(data: Path, tmp_path: Path, moment: str) -> None:
    words = ("test_crossval", data, tmp_path / "killed.h5", moment)
    done = subprocess.run([*module("tests.dying"), *map(str, words)], cwd=ROOT, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed.h5").exists()
    train(data, tmp_path / "killed.h5")
    train(data, tmp_path / "whole.h5")
    assert (tmp_path / "killed.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.h5", "killed.h5", "whole.h5"]


@pytest.fixture
def unfinished(data: Path, tmp_path: Path) -> Path:
    """The output of a run that was cut off in its second fold, of which two files are there."""
    with pytest.raises(Killed):
        train(data, tmp_path / "cut.h5", SPEC, KillAt(10))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.h5.checkpoint", "cut.h5.finished", "data.h5"]
    return tmp_path / "cut.h5"


@pytest.mark.parametrize("left", ["checkpoint", "finished"])
def test_what_is_left_of_another_run_is_not_overwritten(data: Path, unfinished: Path, left: str) -> None:
    for name in {"checkpoint", "finished"} - {left}:
        Path(f"{unfinished}.{name}").unlink()
    kept = Path(f"{unfinished}.{left}")
    before = kept.read_bytes()
    for settings, told in (({"lr": 0.5}, ("--lr", 0.001, 0.5)), ({"epochs": 9}, ("--epochs", 2, 9))):
        with pytest.raises(UsageError) as error:
            train(data, unfinished, replaced(**settings))
        flag, then, now = told
        assert str(error.value) == (
            f"{kept} is of a run with {flag} {then}, not {now}: type {flag} {then} to go on with it, "
            f"or --force to start over"
        )
    other = write(data.parent / "other.h5")
    with pytest.raises(UsageError) as error:
        train(other, unfinished)
    assert str(error.value) == (f"{kept} is of a run on other data: name that data to go on, or --force to start over")
    assert kept.read_bytes() == before


def test_force_starts_over(data: Path, unfinished: Path, tmp_path: Path) -> None:
    notes = train(data, unfinished, force=True)
    assert notes[2].startswith("epoch 1/2")
    train(data, tmp_path / "whole.h5")
    assert unfinished.read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_resume_with_nothing_to_resume_says_so(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "p.h5", replaced(epochs=1), resume=True)
    assert notes[1] == f"there is no {tmp_path / 'p.h5.checkpoint'} to resume: starting at epoch 1"
    assert len(notes) == 12  # it is said once, and not of every fold


# --- bad input --------------------------------------------------------------------------------------------------------


def test_a_fold_of_one_class_is_told(tmp_path: Path) -> None:
    _, labels = bands(ROWS)
    data = write(tmp_path / "data.h5", fold=(labels == 1).astype(np.int16))
    notes = train(data, tmp_path / "p.h5", replaced(epochs=1, fold="1"))
    assert "fold 1 shows happy alone: its own accuracy tells little" in notes
    assert "no training row shows happy: the model will not answer so" in notes


def with_fold(row: int, fold: int) -> np.ndarray:
    folds = FOLDS.copy()
    folds[row] = fold
    return folds


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"fold": None}, "{} has no folds: assign its rows to some with fer split --folds 10"),
        (
            {"fold": with_fold(7, -1)},
            "{} has 1 rows without a fold (the first is row 7): assign all with fer split --folds 10",
        ),
        (
            {"fold": np.zeros(ROWS, np.int16)},
            "{} has no rows outside of fold 0: assign them to more with fer split --folds 10",
        ),
        (
            {"fold": np.where(FOLDS == 1, 3, FOLDS).astype(np.int16)},
            "{} has no rows in fold 1 of folds 0 to 3: assign them anew with fer split --folds 4",
        ),
        (
            {"label": np.where(FOLDS == 2, -1, np.arange(ROWS) % 3).astype(np.int16)},
            "fold 2 of {} has no labelled rows to test on: assign the rows anew with fer split --folds",
        ),
        (
            {"label": np.where(FOLDS == 1, np.arange(ROWS) % 3, 2).astype(np.int16)},
            "{} without fold 1 has training rows of one class only, 'sad': there is nothing to tell apart",
        ),
        (
            {"label": np.where(FOLDS == 0, np.arange(ROWS) % 3, -1).astype(np.int16)},
            "{} without fold 0 has no labelled training rows: assign some with fer split",
        ),
        ({"label": None}, "{} has no labels to learn from: make a store of a labelled data set with fer ingest"),
    ],
)
def test_folds_that_will_not_do_are_told(tmp_path: Path, columns: dict, message: str) -> None:
    data = write(tmp_path / "data.h5", **columns)
    assert refused(DataError, data) == message.format(data)


def test_a_fold_that_is_not_there_is_told(data: Path) -> None:
    assert refused(UsageError, data, replaced(fold="3")) == f"{data} has no fold 3: it has folds 0 to 2"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fold": "last"}, "--fold is 'last', but it takes the number of a fold, or all"),
        ({"fold": "-1"}, "--fold is '-1', but it takes the number of a fold, or all"),
        (
            {"search": ("dropout=0.1,0.2",)},
            "--search keeps one model and --fold keeps none: search first, and then type --fold",
        ),
        ({"patience": 3}, "--patience needs pictures beside the fold that is left out: add --holdout 0.1"),
        ({"calibrate": True}, "--calibrate needs pictures beside the fold that is left out: add --holdout 0.1"),
    ],
)
def test_settings_that_do_not_go_together_are_told(settings: dict, message: str) -> None:
    with pytest.raises(UsageError) as error:
        replaced(**settings)
    assert str(error.value) == message


def test_a_holdout_of_nothing_is_told(tmp_path: Path) -> None:
    data = write(tmp_path / "data.h5")
    assert refused(UsageError, data, replaced(holdout=0.001)) == (
        "--holdout 0.001 of 40 training rows holds out none: raise it (rows of one photo, clip or sequence stay "
        "together)"
    )
