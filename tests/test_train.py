"""Training: it learns, it keeps the best epoch, it goes on to the bit after a kill, and it says what does not fit."""

import dataclasses
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fercli.cli import fer
from fercli.cli.console import Console
from fercli.errors import DataError, UsageError
from fercli.learn import device, schedule
from fercli.learn.modelstore import load, read_card
from fercli.ops.augment import Recipe
from fercli.stages.checkpoint import Checkpoint
from fercli.stages.runner import Log, run_on_stores
from fercli.stages.train import TrainSpec, stage
from fercli.store import create_store, objects, open_store
from tests.learning import CLASSES, bands, write_bands
from tests.program import ROOT, module
from tests.stages import KillAt, Killed, Notes
from tests.test_int8 import on_a_cpu_with_int8

torch.set_num_threads(1)

SPEC = TrainSpec(epochs=3, batch=16, lr=1e-3, device="cpu", seed=7)


def train(
    source: Path, target: Path, spec: TrainSpec = SPEC, heard: Notes | None = None, **checkpoint: bool
) -> list[str]:
    """Runs the stage as the command does, and returns its notes."""
    heard = heard or Notes()
    kept = Checkpoint.beside(str(target), **checkpoint)
    run_on_stores(stage(kept), [str(source)], str(target), spec, Log("fail", heard), force=True)
    kept.remove()
    return heard.notes


def replaced(**settings: object) -> TrainSpec:
    return dataclasses.replace(SPEC, **settings)


def refused(kind: type[Exception], source: Path, spec: TrainSpec = SPEC, **checkpoint: bool) -> str:
    """What training says when it refuses; no output may be left behind."""
    target = source.parent / "refused.h5"
    with pytest.raises(kind) as error:
        train(source, target, spec, **checkpoint)
    assert not target.exists()
    return str(error.value)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_bands(tmp_path / "data.h5")


def test_training_learns_and_tells_each_epoch(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "m.h5", replaced(epochs=8))
    assert len(notes) == 9
    assert notes[0].startswith("epoch 1/8: loss 1.")
    assert re.search(r"; [\d,]+ images/s, [1-9][\d,]* MB$", notes[0])
    with open_store(tmp_path / "m.h5", "model") as model:
        metrics = model.documents["model"]["metrics"]
        assert metrics["validation_accuracy"] > 0.9
        assert metrics["training_rows"] == 96
        assert metrics["validation_rows"] == 30
        assert len(model.array("history/loss")) == 8
    assert not (tmp_path / "m.h5.checkpoint").exists()


def test_the_best_epoch_is_kept_and_not_the_last(tmp_path: Path) -> None:
    _, labels = bands(126)
    labels[96:] = labels[96:][::-1]  # wrong for two in three, so that confidence, which grows, costs loss
    data = write_bands(tmp_path / "data.h5", label=labels)
    spec = replaced(epochs=6, lr=3e-3, select="loss")
    train(data, tmp_path / "m.h5", spec)
    with open_store(tmp_path / "m.h5", "model") as model:
        best = int(model.array("history/validation_loss").argmin())
        assert model.documents["model"]["metrics"]["epoch"] == best + 1
        weights = model.arrays("weights")
    assert best < 5
    train(data, tmp_path / "short.h5", dataclasses.replace(spec, epochs=best + 1))
    with open_store(tmp_path / "short.h5", "model") as model:
        assert all(np.array_equal(values, weights[name]) for name, values in model.arrays("weights").items())


def test_patience_stops_a_run_that_no_longer_improves(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "m.h5", replaced(epochs=40, lr=0.0, patience=2))
    assert len(notes) == 4  # epoch 1 is the best, 2 and 3 are not
    assert notes[-1].startswith("epoch 1 of 3 is kept: ")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "sgd", "lr": 0.02, "schedule": "cosine", "warmup": 1.0, "class_weights": "balanced"},
        {"optimizer": "adamw", "precision": "bfloat16", "holdout": 0.2, "label_smoothing": 0.1},
        {"weight_decay": 1e-4, "dropout": 0.1, "normalise": "standard", "select": "loss"},
        {"ema": 0.9, "sam": 0.05, "mixup": 0.2, "cutmix": 1.0, "clip": 1.0, "calibrate": True, "half": True},
        {"optimizer": "sgd", "momentum": 0.0, "select": "last", "schedule": "onecycle", "ema": 0.5},
    ],
)
def test_a_run_cut_off_anywhere_and_resumed_gives_the_same_file(data: Path, tmp_path: Path, settings: dict) -> None:
    spec = replaced(**settings)
    train(data, tmp_path / "whole.h5", spec)
    for step in (1, 6, 7):  # in the first epoch, at the end of one, at the beginning of the next
        with pytest.raises(Killed):
            train(data, tmp_path / "cut.h5", spec, KillAt(step), resume=True)
    notes = train(data, tmp_path / "cut.h5", spec, resume=True)
    assert any(note.startswith("resuming after epoch ") for note in notes)
    assert (tmp_path / "cut.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_killed_process_loses_nothing_but_time(data: Path, tmp_path: Path) -> None:
    words = ("test_train", data, tmp_path / "killed.h5", "epoch 2/3")
    done = subprocess.run([*module("tests.dying"), *map(str, words)], cwd=ROOT, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed.h5").exists()
    assert (tmp_path / "killed.h5.checkpoint").exists()
    notes = train(data, tmp_path / "killed.h5", resume=True)
    assert notes[0].startswith("resuming after epoch ")
    train(data, tmp_path / "whole.h5")
    assert (tmp_path / "killed.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.h5", "killed.h5", "whole.h5"]


@pytest.fixture
def unfinished(data: Path, tmp_path: Path) -> Path:
    """The checkpoint of a run that was cut off in its second epoch."""
    with pytest.raises(Killed):
        train(data, tmp_path / "refused.h5", SPEC, KillAt(8))
    return tmp_path / "refused.h5.checkpoint"


def test_a_rerun_of_the_same_command_goes_on_unasked(data: Path, unfinished: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "refused.h5")
    assert notes[0] == "resuming after epoch 1 of 3"
    train(data, tmp_path / "whole.h5")
    assert (tmp_path / "refused.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_checkpoint_of_another_run_is_not_overwritten(data: Path, unfinished: Path) -> None:
    before = unfinished.read_bytes()
    assert "or --force to start over" in refused(UsageError, data, replaced(lr=0.5))
    assert unfinished.read_bytes() == before


def test_force_starts_over(data: Path, unfinished: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "refused.h5", force=True)
    assert notes[0].startswith("epoch 1/3")


def test_a_checkpoint_of_other_settings_is_refused_by_name(data: Path, unfinished: Path) -> None:
    assert refused(UsageError, data, replaced(lr=0.5), resume=True) == (
        f"{unfinished} is of a run with --lr 0.001, not 0.5: type --lr 0.001 to go on with it, or --force to start over"
    )


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        ({"votes": True}, {}, "is of a run with --votes: type --votes to go on with it"),
        ({}, {"votes": True}, "is of a run without --votes: type --no-votes to go on with it"),
        ({"momentum": 0.0}, {}, "is of a run with --momentum 0.0, not 0.9: type --momentum 0.0 to go on with it"),
        (
            {},
            {"schedule": "cosine"},
            "is of a run with --schedule constant, not cosine: type --schedule constant to go on with it",
        ),
        ({}, {"ema": 0.9}, "is of a run without --ema: leave --ema out to go on with it"),
        ({"ema": 0.9}, {}, "is of a run with --ema 0.9: type --ema 0.9 to go on with it"),
    ],
)
def test_what_is_to_be_typed_can_be_typed(tmp_path: Path, then: dict, now: dict, told: str) -> None:
    votes = np.eye(3, dtype=np.float32)[np.arange(126) % 3]
    data = write_bands(tmp_path / "data.h5", votes=votes)
    with pytest.raises(Killed):
        train(data, tmp_path / "refused.h5", replaced(**then), KillAt(8))
    assert refused(UsageError, data, replaced(**now)) == (
        f"{tmp_path}/refused.h5.checkpoint {told}, or --force to start over"
    )


def test_what_is_made_of_the_model_at_the_end_may_change(data: Path, unfinished: Path, tmp_path: Path) -> None:
    spec = replaced(calibrate=True, half=True, patience=9)
    assert train(data, tmp_path / "refused.h5", spec)[0] == "resuming after epoch 1 of 3"
    train(data, tmp_path / "whole.h5", spec)
    assert (tmp_path / "refused.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


@on_a_cpu_with_int8
def test_calibrating_tells_whether_int8_serves(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "m.h5", replaced(model="residual-small", calibrate=True, epochs=1))
    with open_store(tmp_path / "m.h5", "model") as src, open_store(data) as pictures:
        losses, shown = src.documents["model"]["losses"], pictures.column("split") == 1
        told = f"log loss in validation {losses['float32']:.4f}, answering in int8 {losses['int8']:.4f}"
        verdict = "serves, on CPUs with AVX2 and no AMX" if read_card(src).int8_serves else "does not serve"
        assert f"{told}: int8 {verdict}" in notes
        images, labels = pictures.column("image")[shown], pictures.column("label")[shown]
        for name, loss in losses.items():
            answers = load(src, torch.device("cpu"), getattr(torch, name)).probabilities((images,))
            assert -np.log(answers[np.arange(len(labels)), labels]).mean() == pytest.approx(loss, abs=1e-4)


@on_a_cpu_with_int8
@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({}, "int8 is not tried: njoku has no form in it"),
        (
            {"model": "residual-small", "init": "INIT", "freeze": 1},
            "int8 is not tried with layers that are computed once",
        ),
    ],
)
def test_what_has_no_int8_is_calibrated_all_the_same(data: Path, tmp_path: Path, spec: dict, reason: str) -> None:
    if "init" in spec:
        train(data, tmp_path / "init.h5", replaced(model=spec["model"], epochs=1))
        spec = spec | {"init": str(tmp_path / "init.h5")}
    notes = train(data, tmp_path / "m.h5", replaced(calibrate=True, epochs=1, **spec))
    assert reason in notes
    with open_store(tmp_path / "m.h5", "model") as src:
        assert src.documents["model"]["losses"] == {}


@pytest.mark.parametrize(
    ("has", "precision", "told"), [(False, "bfloat16", True), (True, "bfloat16", False), (False, "auto", False)]
)
def test_arithmetic_that_the_hardware_lacks_is_told_of(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has: bool, precision: str, told: bool
) -> None:
    monkeypatch.setattr(device, "has_any", lambda *instructions: has)
    notes = train(data, tmp_path / "m.h5", replaced(epochs=1, precision=precision))
    slow = "--precision bfloat16 is emulated here, mostly far slower than float32: type --precision auto"
    assert (slow in notes) == told


def test_auto_trains_in_the_arithmetic_that_the_hardware_has(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for has, precision in ((False, "float32"), (True, "bfloat16")):
        monkeypatch.setattr(device, "has_any", lambda *instructions, has=has: has)
        weights = []
        for asked in ("auto", precision):
            train(data, tmp_path / "m.h5", replaced(epochs=1, precision=asked))
            with open_store(tmp_path / "m.h5", "model") as src:
                weights.append(src.arrays("weights"))
        assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[1])
        told.append(weights[0])
    assert not all(np.array_equal(told[0][name], told[1][name]) for name in told[0])


def test_a_run_begun_in_another_arithmetic_is_not_gone_on_with(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "has_any", lambda *instructions: True)
    with pytest.raises(Killed):
        train(data, tmp_path / "refused.h5", replaced(precision="auto"), KillAt(8))
    monkeypatch.setattr(device, "has_any", lambda *instructions: False)
    assert refused(UsageError, data, replaced(precision="auto")) == (
        f"{tmp_path}/refused.h5.checkpoint is of a run with --precision bfloat16, not float32: type --precision "
        f"bfloat16 to go on with it, or --force to start over"
    )


def test_a_checkpoint_of_other_data_is_refused(unfinished: Path, tmp_path: Path) -> None:
    other = write_bands(tmp_path / "other.h5", train=90)
    assert refused(UsageError, other, resume=True) == (
        f"{unfinished} is of a run on other data: name that data to go on, or --force to start over"
    )


def test_an_output_that_is_up_to_date_leaves_the_checkpoint_of_another_run(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "refused.h5"
    train(data, target)
    with pytest.raises(Killed):
        train(data, target, replaced(epochs=9), KillAt(8))
    kept = Checkpoint.beside(str(target))
    kept.remove_orphans()
    outcome = run_on_stores(stage(kept), [str(data)], str(target), SPEC, Log())
    assert outcome.up_to_date
    kept.remove()
    assert kept.path.exists()


@pytest.mark.parametrize(
    ("settings", "left"),
    [([], "checkpoint"), (["--search", "dropout=0.1,0.2"], "finished"), (["--fold", "all"], "finished")],
)
def test_what_a_run_left_that_was_killed_after_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: list[str], left: str
) -> None:
    data, target, left = tmp_path / "data.h5", tmp_path / "out.h5", tmp_path / f"out.h5.{left}"
    write_bands(data, fold=np.arange(126, dtype=np.int16) % 2)

    def run(*words: str) -> None:
        told = ["train", str(data), "-o", str(target), "--epochs", "1", "--device", "cpu", "-q", *settings, *words]
        assert not fer.main(told, standalone_mode=False, obj=Console())

    for words in ([], ["--lr", "0.5"]):  # the next run asks for the same, or for something else
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "remove", lambda self: None)
            run("--force")
        made, orphan = target.read_bytes(), left.read_bytes()
        run("--dry-run", *words)
        assert left.read_bytes() == orphan
        run(*words)
        assert sorted(tmp_path.iterdir()) == [data, target]
        assert (target.read_bytes() == made) == (not words)


def test_without_an_output_a_checkpoint_of_the_same_run_stays(data: Path, unfinished: Path, tmp_path: Path) -> None:
    before = unfinished.read_bytes()
    Checkpoint.beside(str(tmp_path / "refused.h5")).remove_orphans()
    assert unfinished.read_bytes() == before


def test_a_model_is_no_checkpoint(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "m.h5", replaced(epochs=1))
    (tmp_path / "m.h5").rename(tmp_path / "refused.h5.checkpoint")
    assert refused(DataError, data, resume=True) == (
        f"{tmp_path / 'refused.h5.checkpoint'} is no checkpoint: --force starts over"
    )


def test_resuming_goes_on_for_longer_but_not_for_less(data: Path, unfinished: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(data, tmp_path / "refused.h5", SPEC, KillAt(8), resume=True)
    assert refused(UsageError, data, replaced(epochs=1), resume=True) == (
        f"{unfinished} is past epoch 2: ask for --epochs 2 or more"
    )
    notes = train(data, tmp_path / "refused.h5", replaced(epochs=4), resume=True)
    assert notes[0] == "resuming after epoch 2 of 4"
    assert notes[1].startswith("epoch 3/4")


def test_a_cosine_knows_its_end(data: Path, tmp_path: Path) -> None:
    cosine = replaced(schedule="cosine")
    with pytest.raises(Killed):
        train(data, tmp_path / "refused.h5", cosine, KillAt(8))
    message = refused(UsageError, data, dataclasses.replace(cosine, epochs=5), resume=True)
    assert "is of a run with --epochs 3, not 5" in message


def test_resume_without_a_checkpoint_starts_and_says_so(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "m.h5", replaced(epochs=1), resume=True)
    assert notes[0] == f"there is no {tmp_path / 'm.h5.checkpoint'} to resume: starting at epoch 1"


def test_the_last_epoch_is_kept_where_that_is_asked_for(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "m.h5", replaced(select="last"))
    assert all("; validation loss " in note and "(best)" not in note for note in notes[:3])
    assert notes[3].startswith("epoch 3 of 3 is kept: ")


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"ema": 0.999}, "--ema 0.999 leaves 98 % of the first weights in the average of 18 steps: lower it"),
        ({"warmup": 4.0}, "--warmup 4 is longer than the 3 epochs: the rate never reaches --lr"),
    ],
)
def test_a_run_too_short_for_its_settings_is_told(data: Path, tmp_path: Path, settings: dict, note: str) -> None:
    assert train(data, tmp_path / "m.h5", replaced(**settings))[0] == note


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"optimizer": "nesterov", "momentum": 0.0},
            "--optimizer nesterov is nothing without momentum: raise --momentum, or type sgd",
        ),
        (
            {"patience": 2, "select": "last"},
            "--patience waits for a better epoch, and --select last keeps the last: leave one out",
        ),
        ({"clip": 0.0}, "--clip is 0.0, but it takes at least 1e-06"),
    ],
)
def test_settings_that_do_not_go_together_are_told(settings: dict, message: str) -> None:
    with pytest.raises(UsageError) as error:
        replaced(**settings)
    assert str(error.value) == message


def test_standard_output_has_no_checkpoint() -> None:
    assert Checkpoint.beside("-") is None
    with pytest.raises(UsageError) as error:
        Checkpoint.beside("-", resume=True)
    assert str(error.value) == "--resume needs the output that the run was writing: name it with -o"


def test_a_loss_that_is_no_number_ends_the_run(data: Path) -> None:
    message = refused(DataError, data, replaced(optimizer="sgd", lr=1e9))
    assert re.fullmatch(r"the loss is (nan|inf) in step \d of epoch 1: lower --lr", message)


def test_a_run_that_diverges_later_leaves_its_best_epoch(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "learning_rate", lambda step, **_: 1e-3 if step < 12 else 1e30)  # 6 steps an epoch
    message = refused(DataError, data, replaced(optimizer="sgd", epochs=4))
    kept = tmp_path / "refused.h5.checkpoint"
    told = re.fullmatch(
        rf"the loss is (nan|inf) in step \d of epoch 3: lower --lr; {kept} keeps the model of epoch ([12]): "
        rf"to begin with that, add --init {kept} and name another -o",
        message,
    )
    assert told
    with open_store(kept, "model") as model:
        assert model.documents["model"]["metrics"]["epoch"] == int(told[2])


@pytest.mark.parametrize("batch", [1, 2])
def test_a_step_of_one_row_that_cannot_be_normalised_is_told(tmp_path: Path, batch: int) -> None:
    data = write_bands(tmp_path / "odd.h5", train=7, val=3)
    assert refused(UsageError, data, replaced(model="alizadeh-shallow", dropout=None, batch=batch)) == (
        f"--batch {batch} leaves a step of one row, and alizadeh-shallow normalises over the rows of a step: "
        f"type --batch 3 or more"
    )
    train(data, tmp_path / "three.h5", replaced(model="alizadeh-shallow", dropout=None, batch=3, epochs=1))


def test_a_step_of_one_row_whose_maps_are_of_one_pixel_is_told(tmp_path: Path) -> None:
    images = np.zeros((8, 32, 32), np.uint8)
    data = write_bands(tmp_path / "odd.h5", train=5, val=3, image=images)
    assert refused(UsageError, data, replaced(model="zhao-resnet", dropout=None, batch=1)) == (
        "--batch 1 leaves a step of one row, and zhao-resnet normalises over the rows of a step: type --batch 3 or more"
    )


def test_a_store_that_changes_ends_the_run_soon_and_its_best_model_is_kept(tmp_path: Path) -> None:
    data = write_bands(tmp_path / "data.h5")

    class Changing(Notes):
        def note(self, text: str) -> None:
            super().note(text)
            if " epoch 2/" in f" {text}":
                data.write_bytes(write_bands(tmp_path / "other.h5", train=90).read_bytes())

    heard = Changing()
    with pytest.raises(DataError) as error:
        train(data, tmp_path / "m.h5", replaced(epochs=50), heard)
    kept = tmp_path / "m.h5.checkpoint"
    assert re.fullmatch(
        rf"{data} changed while it was trained on: add --force to start over with what it is now; {kept} keeps the "
        rf"model of epoch [123]: to begin with that, add --init {kept} and name another -o",
        str(error.value),
    )
    assert not any("epoch 4/" in note for note in heard.notes)


def test_a_store_that_changes_after_the_last_epoch_is_told_likewise(tmp_path: Path) -> None:
    data, other = write_bands(tmp_path / "data.h5"), write_bands(tmp_path / "other.h5", train=90)

    class Changing(Notes):
        def note(self, text: str) -> None:
            if text.startswith("the temperature "):
                data.write_bytes(other.read_bytes())

    with pytest.raises(DataError, match="changed while it was trained on: add --force to start over with what it is"):
        train(data, tmp_path / "m.h5", replaced(epochs=1, calibrate=True), Changing())
    train(data, tmp_path / "m.h5", replaced(epochs=1, calibrate=True), force=True)


def test_same_command_same_bytes(data: Path, tmp_path: Path) -> None:
    for name in ("one.h5", "two.h5"):
        train(data, tmp_path / name, replaced(epochs=1))
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    train(data, tmp_path / "two.h5", replaced(epochs=1, seed=8))
    assert (tmp_path / "one.h5").read_bytes() != (tmp_path / "two.h5").read_bytes()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": None}, "has no labels to learn from: make a store of a labelled data set with fer ingest"),
        ({"label": np.full(126, -1, np.int16)}, "has no labelled training rows: assign some with fer split"),
        (
            {"label": np.ones(126, np.int16)},
            "has training rows of one class only, 'happy': there is nothing to tell apart",
        ),
        ({"split": np.ones(126, np.int8)}, "has no labelled training rows: assign some with fer split"),
        ({"image": None}, "holds no images: make a store of them with fer ingest"),
        (
            {"image": np.zeros((126, 24, 30), np.uint8)},
            "holds images of 30x24 pixels, and a network takes square ones: type fer detect --detector none --size 24",
        ),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(tmp_path: Path, columns: dict, message: str) -> None:
    data = write_bands(tmp_path / "data.h5", **columns)
    assert refused(DataError, data) == f"{data} {message}"


def test_photos_are_refused(tmp_path: Path) -> None:
    one = np.ones(4, np.int32)
    with create_store(tmp_path / "photos.h5") as writer:
        writer.start("samples", CLASSES)
        block = {
            "encoded": objects([b"photo"] * 4),
            "height": one,
            "width": one,
            "label": np.arange(4, dtype=np.int16) % 3,
        }
        writer.append(block)
    assert refused(DataError, tmp_path / "photos.h5") == (
        f"{tmp_path / 'photos.h5'} holds whole photos: crop the faces first with fer detect"
    )


def test_without_rows_to_choose_the_epoch_by_two_ways_out_are_told(tmp_path: Path) -> None:
    data = write_bands(tmp_path / "data.h5", split=None)
    told = f"{data} has no val rows to choose the epoch by: add --holdout 0.1 or run fer split"
    assert refused(UsageError, data) == told
    train(data, tmp_path / "m.h5", replaced(epochs=1, holdout=0.1))
    with open_store(tmp_path / "m.h5", "model") as model:
        assert model.documents["model"]["metrics"]["validation_rows"] == 12
        assert model.array("trained_on").shape == (114, 16)


def test_a_holdout_of_nothing_is_refused(tmp_path: Path) -> None:
    data = write_bands(tmp_path / "data.h5", train=9, val=0)
    assert refused(UsageError, data, replaced(holdout=0.01)) == (
        "--holdout 0.01 of 9 training rows holds out none: raise it (rows of one photo, clip or sequence stay together)"
    )


def test_images_too_small_for_the_network_are_refused(tmp_path: Path) -> None:
    data = write_bands(tmp_path / "data.h5", image=np.zeros((126, 12, 12), np.uint8))
    assert refused(UsageError, data) == (
        "model njoku takes images of 22x22 pixels or more, not 12x12: resize them, before any fer gradients, "
        "with fer detect --detector none --size 22"
    )


def test_oddities_are_noted(tmp_path: Path) -> None:
    labels = np.tile([0, 1, -1], 42).astype(np.int16)
    data = write_bands(tmp_path / "data.h5", label=labels)
    assert train(data, tmp_path / "m.h5", replaced(epochs=1, batch=100))[:3] == [
        "left out: 42 rows without a label",
        "--batch 100 is more than the 64 training rows: a step takes them all",
        "no training row shows sad: the model will not answer so",
    ]


def test_online_augmentation_is_applied_and_travels_with_the_model(data: Path, tmp_path: Path) -> None:
    recipe = dataclasses.asdict(Recipe(rotation=20.0, horizontal_flip=0.5, seed=3))
    augmented = write_bands(tmp_path / "augmented.h5", documents={"augment": recipe})
    for name, source in (("plain.h5", data), ("one.h5", augmented), ("two.h5", augmented)):
        train(source, tmp_path / name, replaced(epochs=1))
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    with open_store(tmp_path / "plain.h5", "model") as plain, open_store(tmp_path / "one.h5", "model") as one:
        assert one.documents["augment"] == recipe
        assert "augment" not in plain.documents
        assert not np.array_equal(one.array("weights/conv1.weight"), plain.array("weights/conv1.weight"))


def test_a_damaged_augmentation_is_refused(tmp_path: Path) -> None:
    data = write_bands(tmp_path / "data.h5", documents={"augment": {"rotate": 3}})
    assert refused(DataError, data).startswith("the augmentation that comes with the data is damaged: ")


def test_the_settings_are_there_without_torch() -> None:
    code = "import sys; from fercli.stages import train, predict; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[1], check=True)


def test_that_a_model_is_up_to_date_is_found_without_torch(data: Path, tmp_path: Path) -> None:
    words = [
        "fer",
        "train",
        "--model",
        "njoku",
        "--epochs",
        "1",
        "--device",
        "cpu",
        str(data),
        "-o",
        f"{tmp_path}/m.h5",
    ]
    code = f"""
import sys
from fercli.cli import main
sys.argv = {words}
try:
    main()
finally:
    print("torch" in sys.modules)
"""
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True
        )
        for _ in range(2)
    ]
    assert [run.returncode for run in runs] == [0, 0]
    assert [run.stdout for run in runs] == ["True\n", "False\n"]
    assert "is up to date" in runs[1].stderr


def test_a_warmup_of_no_step_is_told(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "m.h5", replaced(epochs=1, warmup=0.01))
    assert notes[0] == "--warmup 0.01 is less than half a step: the rate begins at --lr"


def test_a_beta_that_the_optimizer_lacks_is_told(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "m.h5", replaced(epochs=1, optimizer="nesterov", beta2=0.9))
    assert notes[0] == "--beta2 changes nothing: --optimizer nesterov has none"


def test_what_changes_nothing_is_told(data: Path, tmp_path: Path) -> None:
    notes = train(data, tmp_path / "m.h5", replaced(epochs=1, teacher_weight=0.7, temperature=4.0))
    assert notes[:2] == [f"--{name} without --teacher changes nothing" for name in ("teacher-weight", "temperature")]
