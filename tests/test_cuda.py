"""What runs on a GPU, where there is one."""

import dataclasses
import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from fercli import detectors
from fercli.detectors import _weights
from fercli.learn import batches, freeze, stored
from fercli.ops.augment import Recipe
from fercli.ops.geometry import overlap
from fercli.stages.train import TrainSpec
from fercli.store import open_store

from . import test_crossval
from .learning import write_bands
from .program import fer
from .stages import KillAt, Killed, asked
from .test_mtcnn import noise, random_cascade, write_weights
from .test_train import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU")

SPEC = TrainSpec(model="njoku", epochs=3, batch=16, lr=1e-3, device="cuda", dropout=0.0, seed=7)
RECIPE = dataclasses.asdict(Recipe(rotation=20.0, horizontal_flip=0.5, contrast=0.2, erase=0.1, seed=3))
SETTINGS = [
    {},
    {"optimizer": "nesterov", "schedule": "onecycle", "lr": 1e-2, "clip": 1.0},
    {"optimizer": "adamw", "ema": 0.9, "mixup": 0.2, "cutmix": 1.0, "label_smoothing": 0.1},
    {"sam": 0.05, "optimizer": "sgd"},
    {"class_weights": "balanced", "label_smoothing": 0.1},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bands(tmp_path_factory.mktemp("cuda") / "data.h5", train=250, documents={"augment": RECIPE})


def losses(path: Path) -> np.ndarray:
    with open_store(path, "model") as src:
        return np.concatenate([src.array("history/loss"), src.array("history/validation_loss")])


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Counts the graphs that are captured."""
    counted = Mock(side_effect=torch.cuda.graph)
    monkeypatch.setattr(torch.cuda, "graph", counted)
    return counted


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_captured_step_does_what_the_plain_one_does(
    data: Path, tmp_path: Path, captures: Mock, settings: dict
) -> None:
    for compile_ in ("none", "auto"):
        assert captures.call_count == 0
        train(data, tmp_path / f"{compile_}.h5", dataclasses.replace(SPEC, compile=compile_, **settings))
    assert captures.call_count == 2  # steps of two sizes
    assert losses(tmp_path / "auto.h5") == pytest.approx(losses(tmp_path / "none.h5"), rel=0.02)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_gpu_and_a_cpu_learn_alike(data: Path, tmp_path: Path, settings: dict) -> None:
    for device in ("cuda", "cpu"):
        train(data, tmp_path / f"{device}.h5", dataclasses.replace(SPEC, device=device, epochs=2, **settings))
    assert losses(tmp_path / "cuda.h5") == pytest.approx(losses(tmp_path / "cpu.h5"), rel=0.05, abs=0.02)


def test_a_step_in_bfloat16_is_captured_too(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "m.h5", dataclasses.replace(SPEC, precision="bfloat16", epochs=8))
    assert losses(tmp_path / "m.h5")[7] < losses(tmp_path / "m.h5")[0]


def test_what_a_gpu_learnt_is_settled_and_tried_in_int8_on_the_processor(data: Path, tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, model="residual-small", ema=0.9, precise_bn=True, calibrate=True, half=True)
    notes = train(data, tmp_path / "m.h5", spec)
    assert any(note.startswith("batch normalisations estimated anew: ") for note in notes)
    assert any("answering in int8" in note or note.startswith("int8 is not tried: this CPU,") for note in notes)


def test_a_teacher_is_heard_in_a_captured_step(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "t.h5", SPEC)
    train(
        data,
        tmp_path / "p.h5",
        dataclasses.replace(SPEC, teacher=(str(tmp_path / "t.h5"),), model="zhao-separable", dropout=None),
    )
    assert np.isfinite(losses(tmp_path / "p.h5")).all()


def test_rows_that_do_not_fit_are_learnt_from_windows(data: Path, tmp_path: Path, monkeypatch) -> None:
    for name, value in {"MOST": 0, "WINDOW": 20_000, "BLOCK": 2_000}.items():
        monkeypatch.setattr(stored, name, value)
    for device in ("cuda", "cpu"):
        train(data, tmp_path / f"{device}.h5", dataclasses.replace(SPEC, device=device, epochs=2))
    assert losses(tmp_path / "cuda.h5") == pytest.approx(losses(tmp_path / "cpu.h5"), rel=0.05, abs=0.02)


@pytest.mark.parametrize(("documents", "settings"), [({"augment": RECIPE}, {}), ({}, {"freeze": 1})])
def test_rows_for_which_the_gpu_has_no_room_are_learnt_from_memory(
    tmp_path: Path, monkeypatch, documents: dict, settings: dict
) -> None:
    data, spec = write_bands(tmp_path / "data.h5", documents=documents), dataclasses.replace(SPEC, **settings)
    train(data, tmp_path / "on_gpu.h5", spec)
    for module in (batches, freeze):
        monkeypatch.setattr(module, "free_memory", lambda device: 0)
    notes = train(data, tmp_path / "in_memory.h5", spec)
    assert any(note.endswith("small batches are slow: the rows do not lie in its memory") for note in notes)
    assert losses(tmp_path / "in_memory.h5") == pytest.approx(losses(tmp_path / "on_gpu.h5"), rel=0.02)


def test_a_run_cut_off_and_resumed_learns_what_one_run_does(data: Path, tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, optimizer="adamw", ema=0.9, schedule="cosine", epochs=4)
    train(data, tmp_path / "whole.h5", spec)
    with pytest.raises(Killed):
        train(data, tmp_path / "cut.h5", spec, KillAt(40))  # of 16 steps an epoch
    notes = train(data, tmp_path / "cut.h5", spec, resume=True)
    assert any(note.startswith("resuming after epoch ") for note in notes)
    assert losses(tmp_path / "cut.h5") == pytest.approx(losses(tmp_path / "whole.h5"), rel=0.02)


def test_behind_frozen_layers_a_gpu_learns_as_a_cpu(tmp_path: Path) -> None:
    data = write_bands(tmp_path / "data.h5", train=250)
    train(data, tmp_path / "first.h5", SPEC)
    for device in ("cuda", "cpu"):
        spec = dataclasses.replace(SPEC, device=device, init=str(tmp_path / "first.h5"), freeze=2)
        train(data, tmp_path / f"{device}.h5", spec)
    assert losses(tmp_path / "cuda.h5") == pytest.approx(losses(tmp_path / "cpu.h5"), rel=0.05, abs=0.02)


def test_features_beside_the_images_are_read_on_a_gpu(tmp_path: Path) -> None:
    features = np.random.Generator(np.random.PCG64([1])).random((280, 12), np.float32)
    data = write_bands(tmp_path / "data.h5", train=250, hog=features)
    for device in ("cuda", "cpu"):
        spec = dataclasses.replace(SPEC, model="alizadeh-shallow-hog", device=device, epochs=2, lr=1e-4)
        train(data, tmp_path / f"{device}.h5", spec)
    assert losses(tmp_path / "cuda.h5") == pytest.approx(losses(tmp_path / "cpu.h5"), rel=0.05, abs=0.02)


def test_the_networks_of_several_folds_are_captured_one_after_the_other(tmp_path: Path) -> None:
    data = test_crossval.write(tmp_path / "data.h5")
    for compile_ in ("auto", "none"):
        spec = dataclasses.replace(SPEC, fold="all", epochs=4, compile=compile_)
        test_crossval.train(data, tmp_path / f"{compile_}.h5", spec)
    captured, plain = (answers(tmp_path / f"{name}.h5") for name in ("auto", "none"))
    assert captured == pytest.approx(plain, abs=0.05)


def answers(path: Path) -> np.ndarray:
    with open_store(path, "predictions") as src:
        return src.column("probability")


@pytest.mark.parametrize("settings", [{}, {"tta": "ten"}, {"precision": "bfloat16"}, {"batch": 100}])
def test_the_rows_of_a_store_get_the_answers_of_a_cpu(tmp_path: Path, settings: dict) -> None:
    data = write_bands(
        tmp_path / "data.h5", train=250, val=2500
    )  # more than a block, a pass and what waits behind them
    train(data, tmp_path / "m.h5", dataclasses.replace(SPEC, epochs=1))
    told = {}
    for device in ("cuda", "cpu"):
        told[device] = asked(tmp_path / "m.h5", data, **{"device": device, **settings})
    assert told["cuda"] == pytest.approx(told["cpu"], abs=0.02)


def test_the_faces_of_photos_get_the_answers_of_a_cpu(tmp_path: Path) -> None:
    fer("ingest", "synthetic:20:scenes", "-o", tmp_path / "scenes.h5")
    command = ("predict", "--detector", "haar", "--precision", "float32", tmp_path / "scenes.h5", "--device")
    there, here = ([json.loads(line) for line in fer(*command, device)[0].splitlines()] for device in ("cuda", "cpu"))
    assert [(row["source"], row["box"]) for row in there] == [(row["source"], row["box"]) for row in here]
    assert any(row["status"] == "ok" for row in here)
    for ours, theirs in zip(there, here, strict=True):
        assert ours.get("probabilities") == pytest.approx(theirs.get("probabilities"), abs=0.02)


def test_mtcnn_finds_on_a_gpu_what_it_finds_on_a_cpu(tmp_path: Path) -> None:
    _weights.cascade.cache_clear()
    weights = str(write_weights(tmp_path / "w.h5", random_cascade()))
    photos = [noise(64, 90), noise(97, 61, 2), noise(5, 5), noise(640, 480, 3)]
    there, here = (
        list(map(detectors.load("mtcnn", 15, None, weights, device).detect, photos)) for device in ("cuda", "cpu")
    )
    for ours, theirs in zip(there, here, strict=True):
        assert abs(len(ours.box) - len(theirs.box)) <= 0.05 * len(theirs.box)  # scores at a threshold may cross it
        if len(theirs.box):
            best = overlap(theirs.box[:, None].astype(float), ours.box).max(axis=1)
            assert (best > 0.9).mean() > 0.9


def test_two_heads_are_learnt_in_a_captured_step(tmp_path: Path) -> None:
    gender = np.tile(np.array([0, 1, -1, 1, 0], np.int16), 56)
    data = write_bands(tmp_path / "data.h5", train=250, **{"attribute/gender": gender})
    for name, settings in {"auto": {}, "none": {"compile": "none"}, "cpu": {"device": "cpu"}}.items():
        spec = dataclasses.replace(
            SPEC, model="zhao-separable", dropout=None, heads=("gender",), class_weights="balanced", **settings
        )
        train(data, tmp_path / f"{name}.h5", spec)
    for other in ("none", "cpu"):
        assert losses(tmp_path / "auto.h5") == pytest.approx(losses(tmp_path / f"{other}.h5"), rel=0.05, abs=0.02)
