"""Training rows that memory would not hold: read in windows, each row once an epoch, with the same outcome."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fercli.errors import DataError
from fercli.learn import stored
from fercli.learn.batches import Batches
from fercli.learn.normalise import statistics
from fercli.learn.stored import Stored, Windows, read_inputs
from fercli.store import open_store
from tests.learning import SIDE, write_bands
from tests.stages import Disturb, KillAt, Killed
from tests.test_train import SPEC, train

torch.set_num_threads(1)

ROW = SIDE * SIDE + 4 * 3  # bytes of an image and of its features


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    features = np.arange(3 * 126, dtype=np.float32).reshape(126, 3)
    return write_bands(tmp_path_factory.mktemp("stored") / "data.h5", hog=features)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is held; windows of 25 rows made of blocks of 4, and pieces of 10."""
    for name, value in {"MOST": 0, "WINDOW": 25 * ROW, "BLOCK": 4 * ROW, "PIECE": 10}.items():
        monkeypatch.setattr(stored, name, value)


@given(
    st.lists(st.integers(0, 125), min_size=1, unique=True),
    st.integers(1, 30),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_an_epoch_has_every_row_once_in_windows(data, chosen, batch, window, block, seed):
    with pytest.MonkeyPatch.context() as patch, open_store(data) as src:
        patch.setattr(stored, "WINDOW", window * ROW)
        patch.setattr(stored, "BLOCK", block * ROW)
        rows = np.sort(chosen)
        columns = [Stored(src, name, rows) for name in ("image", "hog")]
        held = {name: src.column(name)[rows] for name in ("image", "hog")}
        windows, generator = Windows(columns), np.random.default_rng(seed)
        sizes = [len(part) for part in np.array_split(rows, -(-len(rows) // batch))]
        for _ in range(2):
            order = windows.order(generator, sizes)
            assert sorted(order) == list(range(len(rows)))
            for where in np.split(order, np.cumsum(sizes)[:-1]):
                images, features = windows.take(where)
                assert np.array_equal(images, held["image"][where])
                assert np.array_equal(features, held["hog"][where])
                assert len(windows._places) <= max(window, max(sizes))


@pytest.mark.usefixtures("small")
def test_a_stored_column_is_read_like_an_array(data):
    rows = np.arange(3, 120, 2)
    with open_store(data) as src:
        (column,) = read_inputs(src, ["image"], rows)
        held = src.column("image")[rows]
        assert (len(column), column.shape, column.dtype, column.nbytes) == (59, held.shape, held.dtype, held.nbytes)
        for part in (slice(None), slice(0, 3), slice(8, 31), slice(50, 99), slice(30, 30), slice(9, 10)):
            assert np.array_equal(column[part], held[part])
        assert statistics(column, "standard") == statistics(held, "standard")


def test_what_memory_holds_is_an_array(data):
    with open_store(data) as src:
        images, features = read_inputs(src, ["image", "hog"], np.arange(5, 50))
        assert np.array_equal(images, src.column("image")[5:50])
        assert np.array_equal(features, src.column("hog")[5:50])


@pytest.mark.usefixtures("small")
def test_the_order_is_of_the_seed_and_the_epoch_and_looks_shuffled(data):
    with open_store(data) as src:
        inputs = read_inputs(src, ["image", "hog"], np.arange(96))
        first, same, other = (
            Batches(inputs, np.zeros(96, int), batch=8, seed=seed, device=torch.device("cpu")) for seed in (1, 1, 2)
        )
        order = first.order(4)
        assert torch.equal(order, same.order(4))
        assert not torch.equal(order, same.order(5))
        assert not torch.equal(order, other.order(4))
        assert not first.resident
        gaps = order.diff().abs()
        assert (gaps == 1).float().mean() < 0.3  # neighbours in the store seldom follow each other


@pytest.mark.usefixtures("small")
def test_training_in_windows_learns_and_goes_on_to_the_bit(data, tmp_path):
    spec = dataclasses.replace(SPEC, epochs=6, normalise="standard")
    notes = train(data, tmp_path / "whole.h5", spec)
    assert notes[0] == "the training rows take 0.0 GB: they are read, and shuffled, 1.47e-05 GB at a time"
    with open_store(tmp_path / "whole.h5", "model") as model:
        assert model.documents["model"]["metrics"]["validation_accuracy"] > 0.9
    with pytest.raises(Killed):
        train(data, tmp_path / "cut.h5", spec, KillAt(1, "epoch 3/"))
    assert any("resuming after epoch" in note for note in train(data, tmp_path / "cut.h5", spec, resume=True))
    assert (tmp_path / "cut.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


@pytest.mark.parametrize("most", [0, 10**9])
def test_rows_that_change_while_they_are_learnt_make_no_model(tmp_path, small, monkeypatch, most):
    monkeypatch.setattr(stored, "MOST", most)
    data = write_bands(tmp_path / "data.h5")
    with pytest.raises(DataError) as error:
        train(data, tmp_path / "m.h5", heard=Disturb(data))
    assert str(error.value) == f"{data} changed while it was read: type the same command again"
    assert not (tmp_path / "m.h5").exists()


def test_one_step_an_epoch_is_the_same_in_windows(data, tmp_path, small, monkeypatch):
    """Then the order plays no part but in the last bits of the sums."""
    spec = dataclasses.replace(SPEC, epochs=3, batch=96, dropout=0.0)
    train(data, tmp_path / "windows.h5", spec)
    monkeypatch.setattr(stored, "MOST", 10**9)
    train(data, tmp_path / "held.h5", spec)
    losses = []
    for name in ("windows", "held"):
        with open_store(tmp_path / f"{name}.h5", "model") as model:
            losses.append(model.array("history/validation_loss"))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("model", [SPEC.model, "alizadeh-shallow-hog"])
def test_frozen_layers_are_computed_once_from_windows(data, tmp_path, model):
    spec = dataclasses.replace(SPEC, model=model, epochs=1)
    train(data, tmp_path / "first.h5", spec)
    spec = dataclasses.replace(spec, init=str(tmp_path / "first.h5"), freeze=2)
    notes = train(data, tmp_path / "m.h5", spec)
    assert any(note.startswith("the frozen layers are computed once") for note in notes)


def test_several_stores_are_read_as_one(data, tmp_path, small):
    more = write_bands(tmp_path / "more.h5", train=7, val=0, hog=np.zeros((7, 3), np.float32))
    with open_store([data, more]) as src, open_store(data) as first, open_store(more) as second:
        (column,) = read_inputs(src, ["image"], np.arange(120, 133))
        assert np.array_equal(column[:6], first.column("image", 120, 126))
        assert np.array_equal(column[6:], second.column("image"))
