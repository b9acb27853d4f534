"""Training that begins with other weights: what is taken of them, what is not, and what is said about it."""

import hashlib
import http.server
import json
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fercli import models
from fercli.errors import DataError, UsageError
from fercli.learn import published
from fercli.learn.published import Published
from fercli.learn.safetensors import read_safetensors
from fercli.learn.weights import read_torch
from fercli.models import alizadeh
from fercli.stages.runner import Log, run_on_stores
from fercli.stages.train import stage
from fercli.store import open_store
from tests.learning import bands, write_bands
from tests.test_train import KillAt, Killed, refused, replaced, train

torch.set_num_threads(1)

LAYERS = "conv4x3-bn-relu-drop conv4x3-bn-relu-drop-pool fc16-bn-relu-drop"
#: The layers with weights of that network.
NAMED = ("features.conv1", "features.bn1", "features.conv2", "features.bn2", "head.fc1", "head.bn1", "head.output")
BODY = ", ".join(NAMED[:-1])
SPEC = replaced(model="alizadeh-shallow", epochs=1, batch=32)
STILL = {**SPEC.as_dict(), "lr": 0.0, "optimizer": "sgd"}  # the weights stay as they begin


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alizadeh, "SHALLOW", LAYERS)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_bands(tmp_path / "data.h5")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A model trained on other pictures of the same classes."""
    images, labels = bands(126, seed=5)
    train(write_bands(tmp_path / "first-data.h5", image=images, label=labels), tmp_path / "first.h5", SPEC)
    return tmp_path / "first.h5"


def weights(path: Path) -> dict[str, np.ndarray]:
    with open_store(path, "model") as model:
        return model.arrays("weights")


def begun(data: Path, target: Path, init: object, **changes: object) -> tuple[str, dict[str, np.ndarray]]:
    """The note about --init, and the weights with which a run began."""
    notes = train(data, target, replaced(**{**STILL, "init": str(init), **changes}))
    return notes[0], weights(target)


def test_a_model_of_the_same_classes_is_taken_whole(data: Path, first: Path, tmp_path: Path) -> None:
    note, found = begun(data, tmp_path / "m.h5", first)
    assert note == f"{first} gives 7 of 7 layers: {', '.join(NAMED)}"
    before = weights(first)
    learnt = [name for name in found if "running" not in name and "num_batches" not in name]
    assert len(learnt) == 11
    assert all(np.array_equal(found[name], before[name]) for name in learnt)


def test_pictures_that_the_first_model_saw_are_remembered(data: Path, first: Path, tmp_path: Path) -> None:
    begun(data, tmp_path / "m.h5", first)
    with open_store(tmp_path / "m.h5", "model") as model, open_store(first, "model") as one:
        assert len(model.array("trained_on")) == 192
        assert set(map(bytes, one.array("trained_on"))) < set(map(bytes, model.array("trained_on")))


@pytest.mark.parametrize("classes", [("angry", "happy", "fear"), ("angry", "sad")])
def test_the_head_is_new_for_other_classes_even_as_many(
    first: Path, tmp_path: Path, classes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.learning.CLASSES", classes)
    images, labels = bands(126)
    data = write_bands(tmp_path / "other.h5", image=images, label=labels % len(classes))
    note, found = begun(data, tmp_path / "m.h5", first)
    why = "for other classes" if len(classes) == 3 else "3x16 there, 2x16 here"
    assert note == f"{first} gives 6 of 7 layers: {BODY}; 1 anew: head.output ({why})"
    before = weights(first)
    assert np.array_equal(found["head.fc1.weight"], before["head.fc1.weight"])
    assert not np.array_equal(found["head.output.weight"], before["head.output.weight"])


def test_another_network_gives_the_layers_that_fit(first: Path, tmp_path: Path) -> None:
    features = np.random.Generator(np.random.PCG64([1])).random((126, 12), np.float32)
    data = write_bands(tmp_path / "hog.h5", hog=features)
    note, found = begun(data, tmp_path / "m.h5", first, model="alizadeh-shallow-hog")
    others = ", ".join(name for name in NAMED if name != "head.fc1")
    assert note == f"{first} gives 6 of 7 layers: {others}; 1 anew: head.fc1 (16x576 there, 16x588 here)"
    assert np.array_equal(found["features.conv1.weight"], weights(first)["features.conv1.weight"])


def test_a_network_that_shares_no_layer_is_refused(data: Path, first: Path) -> None:
    assert refused(DataError, data, replaced(init=str(first))) == (
        f"{first} fits no layer of the network: it holds features.bn1.bias (4), features.bn1.num_batches_tracked "
        f"(one number) and so on; the network takes conv1.weight (32x1x3x3), conv1.bias (32) and so on; "
        "type --model alizadeh-shallow"
    )


@pytest.mark.parametrize("value", [torch.nan, 1e300])
def test_weights_that_are_no_numbers_are_refused(data: Path, tmp_path: Path, value: float) -> None:
    path, state = saved(tmp_path / "w.pth")
    state["features.conv1.weight"] = state["features.conv1.weight"].double()
    state["features.conv1.weight"][0] = value
    torch.save(state, path)
    assert refused(DataError, data, replaced(**{**STILL, "init": str(path)})) == (
        f"{path} is damaged: the weights features.conv1.weight hold values that are not finite numbers in float32"
    )


def saved(path: Path, **changes: torch.Tensor | None) -> tuple[Path, dict[str, torch.Tensor]]:
    """A state dict of the network in a file of torch or of safetensors; None takes weights out."""
    torch.manual_seed(9)
    state = models.build("alizadeh-shallow", 3, 1, 24).state_dict() | changes
    state = {name: values for name, values in state.items() if values is not None}
    if path.suffix == ".safetensors":
        path.write_bytes(as_safetensors(state))
    else:
        torch.save(state, path)
    return path, state


def test_colours_are_summed_for_gray_pictures(data: Path, tmp_path: Path) -> None:
    """A gray picture gets the answer of three channels alike."""
    wide = torch.arange(4 * 3 * 9, dtype=torch.float32).view(4, 3, 3, 3)
    path, _ = saved(tmp_path / "w.pth", **{"features.conv1.weight": wide})
    note, found = begun(data, tmp_path / "m.h5", path)
    assert note.endswith("; colours summed into gray: features.conv1")
    assert np.array_equal(found["features.conv1.weight"], wide.sum(1, keepdim=True).numpy())


def test_channels_of_a_model_are_no_colours(data: Path, tmp_path: Path) -> None:
    images, _ = bands(126)
    three = write_bands(tmp_path / "three.h5", channels=("gray", "gx", "gy"), image=np.stack([images] * 3, axis=3))
    train(three, tmp_path / "three-model.h5", replaced(**STILL))
    note, _ = begun(data, tmp_path / "m.h5", tmp_path / "three-model.h5")
    assert "features.conv1 (4x3x3x3 there, 4x1x3x3 here)" in note
    assert "summed" not in note


CODES = {torch.float32: "F32", torch.int64: "I64", torch.float16: "F16", torch.bfloat16: "BF16"}


def as_safetensors(state: dict[str, torch.Tensor]) -> bytes:
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in state.items():
        raw = bytes(values.contiguous().view(-1).view(torch.uint8).tolist())
        place = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": CODES[values.dtype], "shape": list(values.shape), "data_offsets": place}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_state_dict_is_taken_but_for_its_head_whose_classes_are_not_told(
    data: Path, tmp_path: Path, name: str
) -> None:
    path, state = saved(tmp_path / name)
    note, found = begun(data, tmp_path / "m.h5", path)
    assert note == f"{path} gives 6 of 7 layers: {BODY}; 1 anew: head.output (its classes are not told)"
    assert np.array_equal(found["features.conv2.weight"], state["features.conv2.weight"].numpy())
    assert not np.array_equal(found["head.output.weight"], state["head.output.weight"].numpy())


def test_layers_that_do_not_fit_are_named_with_the_reason(data: Path, tmp_path: Path) -> None:
    changes = {
        "features.conv1.weight": torch.ones(4, 2, 3, 3),
        "features.conv2.weight": None,
        "features.bn1.bias": None,
        "head.fc1.weight": torch.ones(16, 576, dtype=torch.int64),
        "extra.weight": torch.ones(2),
    }
    path, _ = saved(tmp_path / "w.pth", **changes)
    note, _ = begun(data, tmp_path / "m.h5", path)
    assert note == (
        f"{path} gives 2 of 7 layers: features.bn2, head.bn1; 5 anew: features.conv1 (4x2x3x3 there, 4x1x3x3 here), "
        f"features.bn1 (no bias there), features.conv2 (not there), head.fc1 (int64 there), "
        f"head.output (its classes are not told); 1 not used: extra"
    )


def test_half_precision_is_taken_as_it_is(data: Path, tmp_path: Path) -> None:
    path, state = saved(tmp_path / "w.safetensors", **{"features.conv1.weight": torch.ones(4, 1, 3, 3).bfloat16()})
    _, found = begun(data, tmp_path / "m.h5", path)
    assert state["features.conv1.weight"].dtype == torch.bfloat16
    assert (found["features.conv1.weight"] == 1).all()


def test_published_names_of_torchvision_are_those_of_our_alexnet() -> None:
    with torch.device("meta"):
        ours = models.build("alexnet-torchvision", 1000, 3, 224).state_dict()
    layers = [("features", (0, 3, 6, 8, 10)), ("classifier", (1, 4, 6))]
    names = [f"{part}.{place}.{kind}" for part, places in layers for place in places for kind in ("weight", "bias")]
    assert list(ours) == names
    assert sum(values.numel() for values in ours.values()) == 61_100_840


def test_the_digest_of_the_weights_is_an_input(data: Path, tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "w.pth")
    target, spec = tmp_path / "m.h5", replaced(**{**STILL, "init": str(path)})
    train(data, target, spec)
    with open_store(target, "model") as model, open_store(data) as src:
        told = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        assert model.provenance[-1]["inputs"] == [src.digest, told]
    assert run_on_stores(stage(None), [str(data)], str(target), spec, Log()).up_to_date
    saved(path, **{"features.conv1.weight": torch.ones(4, 1, 3, 3)})
    assert not run_on_stores(stage(None), [str(data)], str(target), spec, Log(), dry_run=True).up_to_date


def test_a_run_resumed_gives_the_same_file_and_not_with_other_weights(data: Path, first: Path, tmp_path: Path) -> None:
    spec, target = replaced(**{**SPEC.as_dict(), "init": str(first), "epochs": 3}), tmp_path / "refused.h5"
    train(data, tmp_path / "whole.h5", spec)
    with pytest.raises(Killed):
        train(data, target, spec, KillAt(5))
    kept, before = tmp_path / "refused.h5.checkpoint", first.read_bytes()
    train(data, first, SPEC)
    assert refused(UsageError, data, spec, resume=True) == (
        f"{kept} is of a run that began when {first} held other weights: --force starts over"
    )
    first.write_bytes(before)
    train(data, target, spec, resume=True)
    assert target.read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_file_that_is_not_there_is_told(data: Path, tmp_path: Path) -> None:
    for name in ("w.pth", "w.safetensors"):
        spec = replaced(init=str(tmp_path / name))
        assert refused(DataError, data, spec) == f"{tmp_path / name} cannot be read: No such file or directory"


class Hostile:
    """What a pickle of code looks like."""

    def __reduce__(self) -> tuple:
        return (print, ("this must not run",))


def test_a_torch_file_that_holds_code_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.save({"weight": Hostile()}, tmp_path / "w.pth")
    with pytest.raises(DataError) as caught:
        read_torch(tmp_path / "w.pth")
    assert str(caught.value) == NO_TENSORS.format(tmp_path / "w.pth")
    assert capsys.readouterr().out == ""


NO_TENSORS = "{} is no state dict of plain tensors: save one with torch.save(network.state_dict(), FILE.pth)"


def test_a_torch_file_of_a_whole_network_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")
    (tmp_path / "noise.pth").write_bytes(b"no file of torch")
    for path in tmp_path.iterdir():
        with pytest.raises(DataError) as caught:
            read_torch(path)
        assert str(caught.value) == NO_TENSORS.format(path)


@pytest.mark.parametrize("found", [{"epoch": 3, "state_dict": {}}, [torch.ones(2)], {1: torch.ones(2)}])
def test_a_torch_file_of_something_else_is_refused(tmp_path: Path, found: object) -> None:
    torch.save(found, tmp_path / "w.pth")
    with pytest.raises(DataError) as error:
        read_torch(tmp_path / "w.pth")
    assert str(error.value) == (
        f"{tmp_path / 'w.pth'} is no state dict: save one with torch.save(network.state_dict(), FILE.pth)"
    )


@pytest.mark.parametrize(
    ("value", "oddity"),
    [
        (torch.ones(2).to(torch.float8_e4m3fn), "of float8_e4m3fn: save it in float32"),
        (torch.ones(2, device="meta"), "on the device meta, without values"),
        (torch.ones(2).to_sparse(), "not dense"),
    ],
)
def test_a_torch_file_of_tensors_that_are_not_plain_is_refused(
    tmp_path: Path, value: torch.Tensor, oddity: str
) -> None:
    torch.save({"plain": torch.ones(2), "odd": value}, tmp_path / "w.pth")
    with pytest.raises(DataError) as error:
        read_torch(tmp_path / "w.pth")
    assert str(error.value) == (
        f"{tmp_path / 'w.pth'} is no state dict of plain tensors that torch can read: odd is {oddity}"
    )


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_weights_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "w.bin"
    path.write_bytes(data)
    for read in (read_torch, read_safetensors):
        with pytest.raises(DataError):
            read(path)


def headed(header: object, data: bytes = bytes(8)) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(**changes: object) -> dict:
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no safetensors file: its header does not fit into its 0 bytes"),
        (struct.pack("<Q", 2**63) + b"{}", "is no safetensors file: its header does not fit into its 10 bytes"),
        (headed(entry(data_offsets=[0, 12])), "is a damaged safetensors file: shape [2] at 0 to 12 of 8 bytes"),
        (headed(entry(data_offsets=[4, 8])), "is a damaged safetensors file: shape [2] at 4 to 8 of 8 bytes"),
        (headed(entry(data_offsets=[-8, 0])), "is a damaged safetensors file: shape [2] at -8 to 0"),
        (headed(entry(shape=[2**40])), "is a damaged safetensors file: shape [1099511627776] at 0 to 8 of 8 bytes"),
        (headed(entry(dtype="F99")), "is a damaged safetensors file: 'F99'"),
        (headed([]), "is a damaged safetensors file: pop expected at most 1 argument, got 2"),
    ],
)
def test_a_damaged_safetensors_file_is_told(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "w.safetensors").write_bytes(data)
    with pytest.raises(DataError) as error:
        read_safetensors(tmp_path / "w.safetensors")
    assert str(error.value) == f"{tmp_path / 'w.safetensors'} {message}"


def test_safetensors_come_back_as_they_were(tmp_path: Path) -> None:
    state = {"a": torch.rand(3, 2), "b": torch.tensor(7), "c": torch.rand(5).half(), "d": torch.empty(0, 4)}
    (tmp_path / "w.safetensors").write_bytes(as_safetensors(state))
    found, metadata = read_safetensors(tmp_path / "w.safetensors")
    assert metadata == {"format": "pt"}
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], values) for name, values in state.items())


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    """A server of this machine that publishes weights of the network."""
    (tmp_path / "published").mkdir()
    path, _ = saved(tmp_path / "published" / "net.pth")
    folder = str(path.parent)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=folder)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        entry = Published(f"http://127.0.0.1:{http_server.server_port}/net.pth", sha256)
        monkeypatch.setitem(published.IMAGENET, "alizadeh-shallow", entry)
        yield entry
        http_server.shutdown()


def test_published_weights_are_downloaded_once(data: Path, server: Published, tmp_path: Path) -> None:
    spec = replaced(**{**STILL, "init": "imagenet"})
    notes = train(data, tmp_path / "m.h5", spec)
    assert notes[0] == f"downloading {server.url} to {tmp_path / 'cache' / 'fercli' / 'net.pth'}"
    assert notes[1] == f"imagenet gives 6 of 7 layers: {BODY}; 1 anew: head.output (its classes are not told)"
    with open_store(tmp_path / "m.h5", "model") as model:
        assert model.provenance[-1]["inputs"][1] == server.sha256
    (tmp_path / "published" / "net.pth").unlink()
    assert train(data, tmp_path / "m.h5", spec)[0] == notes[1]


def test_without_a_network_the_file_to_get_is_told(data: Path, server: Published, tmp_path: Path) -> None:
    (tmp_path / "published" / "net.pth").unlink()
    kept = tmp_path / "cache" / "fercli" / "net.pth"
    assert refused(DataError, data, replaced(**{**STILL, "init": "imagenet"})) == (
        f"{server.url} cannot be downloaded (File not found): get it elsewhere and put it at {kept}"
    )
    assert list(kept.parent.iterdir()) == []


def test_another_file_than_was_published_is_refused(data: Path, server: Published, tmp_path: Path) -> None:
    kept, spec = tmp_path / "cache" / "fercli" / "net.pth", replaced(**{**STILL, "init": "imagenet"})
    (tmp_path / "published" / "net.pth").write_bytes(b"another")
    assert refused(DataError, data, spec) == (
        f"{server.url} gave another file than was published: get it elsewhere and put it at {kept}"
    )
    assert not kept.exists()
    kept.write_bytes(b"another")
    assert refused(DataError, data, spec) == (
        f"{kept} is not the file that was published: remove it, and it will be downloaded again"
    )


def test_a_model_without_published_weights_is_told(data: Path) -> None:
    assert refused(UsageError, data, replaced(init="imagenet")) == (
        "no ImageNet weights are published for njoku: type --model alexnet-torchvision"
    )
