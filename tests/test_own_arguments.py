"""--layers and --head: settings of a network's own, which stay with its model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fercli.errors import UsageError
from fercli.learn.modelstore import load
from fercli.store import open_store
from tests.learning import bands, write_bands
from tests.stages import asked
from tests.test_train import KillAt, Killed, refused, replaced, train

torch.set_num_threads(1)

LAYERS = "conv4x3-bn-relu-drop-pool conv6x5-relu-pool fc16-bn-relu-drop"
SPEC = replaced(model="alizadeh", layers=LAYERS, epochs=2, batch=32)
HYBRID = replaced(model="alizadeh-hog", layers=LAYERS, epochs=2, batch=32)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    features = np.random.Generator(np.random.PCG64([1])).random((126, 12), np.float32)
    return write_bands(tmp_path / "data.h5", hog=features)


@pytest.mark.parametrize(("spec", "more"), [(SPEC, {}), (HYBRID, {"hog": 12})])
def test_the_layers_asked_for_are_trained_kept_and_asked(data: Path, tmp_path: Path, spec: object, more: dict) -> None:
    train(data, tmp_path / "m.h5", spec)
    with open_store(tmp_path / "m.h5", "model") as src:
        model = load(src, torch.device("cpu"))
    assert model.card.arguments == {"layers": LAYERS, **more}
    assert model.network.features.conv2.weight.shape == (6, 4, 5, 5)
    assert model.network.head.fc1.in_features == 6 * 6 * 6 + more.get("hog", 0)
    assert asked(tmp_path / "m.h5", data).shape == (126, 3)


def test_the_dense_head_is_trained_kept_and_asked(tmp_path: Path) -> None:
    images = np.kron(bands(126)[0], np.ones((1, 3, 3), np.uint8))[:, :67, :67]
    data = write_bands(tmp_path / "data.h5", image=images)
    spec = replaced(model="alexnet", head="dense", epochs=1, batch=64)
    train(data, tmp_path / "m.h5", spec)
    with open_store(tmp_path / "m.h5", "model") as src:
        model = load(src, torch.device("cpu"))
    assert model.card.arguments == {"head": "dense"}
    assert model.network.dense.weight.shape == (3, 256)
    assert asked(tmp_path / "m.h5", data).shape == (126, 3)


def test_a_run_cut_off_goes_on_with_the_same_layers_alone(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "whole.h5", SPEC)
    with pytest.raises(Killed):
        train(data, tmp_path / "refused.h5", SPEC, KillAt(5))
    kept = tmp_path / "refused.h5.checkpoint"
    other = replaced(model="alizadeh", layers="conv4x3-relu", epochs=2, batch=32)
    assert refused(UsageError, data, other) == (
        f"{kept} is of a run with --layers '{LAYERS}', not conv4x3-relu: type --layers '{LAYERS}' to go on with it, "
        f"or --force to start over"
    )
    notes = train(data, tmp_path / "refused.h5", SPEC)
    assert any(note.startswith("resuming after epoch 1") for note in notes)
    assert (tmp_path / "refused.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_model_of_the_same_layers_is_taken_whole(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "first.h5", SPEC)
    spec = replaced(**{**SPEC.as_dict(), "init": str(tmp_path / "first.h5")})
    assert train(data, tmp_path / "m.h5", spec)[0].startswith(f"{tmp_path / 'first.h5'} gives 6 of 6 layers: ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "njoku", "layers": LAYERS},
         "model njoku has no setting 'layers'; models with it: alizadeh, alizadeh-hog"),
        ({"head": "dense"}, "model njoku has no setting 'head'; models with it: alexnet, alexnet-torchvision"),
        ({"model": "alexnet", "head": "dens"}, "model alexnet has no head 'dens'; did you mean 'dense'?"),
        ({"model": "alizadeh", "layers": "conv4x3-rely"},
         "--layers: 'rely' in 'conv4x3-rely' is unknown; did you mean 'relu'? (layers are words "
         "convFILTERSxKERNEL[-bn]-relu[-drop][-pool] and behind them fcNEURONS[-bn]-relu[-drop], such as "
         "'conv32x3-bn-relu-drop-pool fc512-bn-relu-drop')"),
    ],
)  # fmt: skip
def test_settings_that_the_network_does_not_take_are_told(data: Path, settings: dict, message: str) -> None:
    images = np.zeros((126, 67, 67), np.uint8)
    source = write_bands(data.parent / "large.h5", image=images)
    assert refused(UsageError, source, replaced(**settings)) == message
