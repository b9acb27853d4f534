"""Exported models answer as the network does, say what they are, and come back to the bit."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fercli
from fercli import models
from fercli.cli import fer
from fercli.errors import DataError, UsageError
from fercli.learn import export as onnx_export
from fercli.learn import modelstore
from fercli.learn.export import Shell
from fercli.learn.heads import Head, as_arguments
from fercli.learn.modelstore import Card, Model
from fercli.learn.safetensors import as_safetensors, read_safetensors
from fercli.models.inputs import columns
from fercli.stages.export import ExportSpec, export
from fercli.stages.runner import Log
from fercli.store import create_store, open_store
from tests.learning import CLASSES, SIDE, write_bands
from tests.stages import Notes
from tests.stores import entry
from tests.test_models import FEATURES, SMALL
from tests.test_train import replaced, train

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
torch.set_num_threads(1)
GRADIENTS = ("gray", "gx", "gy")


def write(
    path: Path, name: str = "njoku", size: int = SIDE, channels: tuple[str, ...] = ("gray",), half: bool = False,
    temperature: float = 1.0, heads: tuple[Head, ...] = (), **arguments: Any,
) -> Path:  # fmt: skip
    """A model store whose normalisations have seen something, as those of a trained network have."""
    torch.manual_seed(3)
    with torch.device("meta"):
        reads = columns(models.build(name, len(CLASSES), len(channels), size, **arguments))
    arguments |= dict.fromkeys(reads[1:], FEATURES)
    network = models.build(name, len(CLASSES), len(channels), size, **arguments, **as_arguments(heads))
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for values, low in ((layer.weight, 0.5), (layer.bias, -1), (layer.running_mean, -1)):
                nn.init.uniform_(values, low, 1)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    means, deviations = [90.0, 10.0, -10.0][: len(channels)], [50.0, 60.0, 70.0][: len(channels)]
    card = Card(name, arguments, size, means, deviations, {}, {"accuracy": 0.5}, temperature, heads)
    with create_store(path) as writer:
        state, digests = network.state_dict(), np.zeros((2, 16), np.uint8)
        modelstore.save(writer, card, CLASSES, channels, state, {"loss": [1.0]}, digests, half=half)
        writer.document("provenance", [entry("train", rows=0)])
    return path


def loaded(path: Path) -> Model:
    with open_store(path, "model") as src:
        return modelstore.load(src, torch.device("cpu"))


def ran(model: Path, output: Path, **spec: Any) -> list[str]:
    """Runs the stage; returns its notes."""
    heard = Notes()
    export(str(model), str(output), ExportSpec(**spec), Log(interface=heard), force=True)
    return heard.notes


def pictures(model: Model, rows: int) -> list[np.ndarray]:
    """What a store holds of so many rows, in the model's columns."""
    rng = np.random.Generator(np.random.PCG64([8]))
    shape = (rows, model.card.size, model.card.size, len(model.channels))
    images = rng.integers(0, 256, shape, np.uint8)
    features = [rng.random((rows, FEATURES), np.float32) for _ in model.columns[1:]]
    return [images if len(model.channels) > 1 else images[..., 0], *features]


def answers(data: bytes | Path, *inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(data if isinstance(data, bytes) else data.read_bytes())
    names = [one.name for one in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]


def logits(model: Model, images: np.ndarray, *features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pictures normalised as the model's card says, in plain numpy, and what the network makes of them."""
    planes = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    mean, deviation = (
        np.array(values, np.float32)[:, None, None] for values in (model.card.mean, model.card.deviation)
    )
    normal = (planes.astype(np.float32) - mean) / deviation
    with torch.inference_mode():
        return normal, model.network(*map(torch.from_numpy, (normal, *features))).numpy()


# --- ONNX -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models.names())
def test_every_model_answers_in_onnx_runtime_as_it_does_here(tmp_path: Path, name: str) -> None:
    small = {"size": SIDE, **SMALL.get(name, {})}
    model = loaded(write(tmp_path / "m.h5", name, **small))
    data = onnx_export.to_onnx(model, Shell(), 17, {})
    for rows in (3, 1):
        images, *features = pictures(model, rows)
        normal, expected = logits(model, images, *features)
        assert expected.std() > 1e-3
        assert np.abs(answers(data, normal, *features) - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
    assert onnx_export.deviation(data, model, Shell()) < 1e-5


@pytest.mark.parametrize(
    ("name", "channels"), [("njoku", ("gray",)), ("zhao-separable", GRADIENTS), ("alizadeh-shallow-hog", GRADIENTS)]
)
def test_pixels_go_in_and_calibrated_probabilities_come_out(
    tmp_path: Path, name: str, channels: tuple[str, ...]
) -> None:
    path = write(tmp_path / "m.h5", name, channels=channels, temperature=0.1)
    ran(path, tmp_path / "m.onnx", preprocessing=True, softmax=True)
    model = loaded(path)
    for rows in (5, 1):
        inputs = pictures(model, rows)
        found = answers(tmp_path / "m.onnx", *inputs)
        assert found == pytest.approx(model.probabilities(inputs), abs=1e-5)
        assert found.sum(1) == pytest.approx(1, abs=1e-5)
    flat = np.exp(logits(model, *inputs)[1])
    assert np.abs(found - flat / flat.sum(1, keepdims=True)).max() > 1e-3  # without its temperature


@pytest.mark.parametrize("opset", [13, 20])
def test_the_oldest_and_the_newest_operator_set(tmp_path: Path, opset: int) -> None:
    path = write(tmp_path / "m.h5", "yengikand")
    ran(path, tmp_path / "m.onnx", opset=opset, preprocessing=True, softmax=True)
    assert [(one.domain, one.version) for one in onnx.load(tmp_path / "m.onnx").opset_import] == [("", opset)]


@pytest.mark.parametrize("size", [63, 120])
def test_a_pooling_to_a_side_that_does_not_divide(tmp_path: Path, size: int) -> None:
    model = loaded(write(tmp_path / "m.h5", "alexnet-torchvision", size=size, head="dense"))
    normal, expected = logits(model, *pictures(model, 2))
    assert answers(onnx_export.to_onnx(model, Shell(), 17, {}), normal) == pytest.approx(expected, abs=1e-5)
    assert isinstance(model.network.avgpool, nn.AdaptiveAvgPool2d)  # the model itself stays as it is


def test_what_the_file_tells_of_itself(tmp_path: Path) -> None:
    ran(write(tmp_path / "m.h5", "alizadeh-shallow-hog", temperature=1.5), tmp_path / "m.onnx", softmax=True)
    found = onnx.load(tmp_path / "m.onnx")
    told = {one.key: one.value for one in found.metadata_props}
    chain = json.loads(told.pop("provenance"))
    assert [one["stage"] for one in chain] == ["train", "export"]
    assert chain[1]["spec"] == {"format": "onnx", "opset": 17, "preprocessing": False, "softmax": True, "heads": []}
    with open_store(tmp_path / "m.h5", "model") as src:
        assert chain[1]["inputs"] == [src.digest]
    assert told == {
        "fercli": fercli.__version__, "architecture": "alizadeh-shallow-hog", "arguments": f'{{"hog": {FEATURES}}}',
        "classes": '["angry", "happy", "sad"]', "channels": '["gray"]', "size": "24", "mean": "[90.0]",
        "deviation": "[50.0]", "temperature": "1.5", "metrics": '{"accuracy": 0.5}', "heads": "{}",
        "input": "float32 (N, 1, 24, 24), (pixel - mean) / deviation, pixels 0 to 255",
        "output": "float32 (N, 3), probabilities of the classes",
    }  # fmt: skip
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    signature = [(one.name, one.type, one.shape) for one in (*session.get_inputs(), *session.get_outputs())]
    assert signature == [
        ("image", "tensor(float)", ["rows", 1, 24, 24]),
        ("hog", "tensor(float)", ["rows", FEATURES]),
        ("probability", "tensor(float)", ["rows", 3]),
    ]


@pytest.mark.parametrize(
    ("channels", "shape", "told"), [(("gray",), [], "(N, 24, 24)"), (GRADIENTS, [3], "(N, 24, 24, 3)")]
)
def test_pixels_are_as_in_a_store(tmp_path: Path, channels: tuple[str, ...], shape: list[int], told: str) -> None:
    ran(write(tmp_path / "m.h5", channels=channels), tmp_path / "m.onnx", preprocessing=True)
    (image,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").get_inputs()
    assert (image.type, image.shape) == ("tensor(uint8)", ["rows", 24, 24, *shape])
    assert onnx_export.onnx_metadata(tmp_path / "m.onnx")["input"] == f"uint8 {told}, pixels 0 to 255"


def test_the_check_is_told(tmp_path: Path) -> None:
    (note,) = ran(write(tmp_path / "m.h5"), tmp_path / "m.onnx")
    assert note.startswith("its answers in ONNX Runtime lie within ")
    assert note.endswith(" of the model's (0.0001 may be)")


@pytest.mark.parametrize("wrong", [1e-2, np.nan])
def test_a_file_that_answers_otherwise_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    path, target, made = write(tmp_path / "m.h5"), tmp_path / "m.onnx", onnx_export.to_onnx

    def worse(*arguments: Any) -> bytes:
        proto = onnx.load_model_from_string(made(*arguments))
        bias = next(one for one in proto.graph.initializer if one.name == "network.dense6.bias")
        bias.raw_data = np.full(3, wrong, np.float32).tobytes()
        return proto.SerializeToString()

    target.write_bytes(b"an older file")
    monkeypatch.setattr(onnx_export, "to_onnx", worse)
    with pytest.raises(DataError, match=r"^the ONNX file answers otherwise than the model, by .+ where 0.0001 may be"):
        ran(path, target)
    assert target.read_bytes() == b"an older file"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["m.h5", "m.onnx"]


def test_a_file_that_onnx_runtime_refuses_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "to_onnx", lambda *_: b"no graph")
    with pytest.raises(DataError, match=rf"^ONNX Runtime {onnxruntime.__version__} refuses the file: "):
        ran(write(tmp_path / "m.h5"), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_without_onnx_runtime_the_file_is_written_and_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    notes = ran(write(tmp_path / "m.h5"), tmp_path / "m.onnx")
    assert notes == ["onnxruntime is missing, so the file is not compared with the model: pip install onnx onnxruntime"]
    assert (tmp_path / "m.onnx").exists()


def test_without_onnx_it_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DataError) as error:
        ran(write(tmp_path / "m.h5"), tmp_path / "m.onnx")
    assert str(error.value) == "writing ONNX needs the package onnx: pip install onnx onnxruntime"


def test_an_operator_that_onnx_lacks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(images.flatten(1)[:, :3])

    model = loaded(write(tmp_path / "m.h5"))
    odd = Model(**{**vars(model), "network": Odd()})
    with pytest.raises(DataError, match=r"^njoku cannot be written in ONNX opset 17: .*bessel_j0"):
        onnx_export.to_onnx(odd, Shell(), 17, {})


HEADS = (Head("gender", ("female", "male")), Head("age", ("0", "1", "2", "3")))


def test_further_heads_are_outputs_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5", "zhao-separable", heads=HEADS, temperature=0.1)
    with open_store(path, "model") as src:
        model = modelstore.load(src, torch.device("cpu"), heads=["gender", "age"])
    images = pictures(model, 4)[0]
    for softmax, first in ((True, "probability"), (False, "logits")):
        ran(path, tmp_path / "m.onnx", preprocessing=True, softmax=softmax, heads=["gender", "age"])
        session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
        assert [one.name for one in session.get_outputs()] == [first, f"{first}_gender", f"{first}_age"]
        answered = session.run(None, {"image": images})
        expected = model.answers([images]) if softmax else np.split(logits(model, images)[1], [3, 5], axis=1)
        for found, wanted in zip(answered, expected, strict=True):
            assert found == pytest.approx(wanted, abs=1e-5)
    told = json.loads(onnx_export.onnx_metadata(tmp_path / "m.onnx")["heads"])
    assert told == {"gender": ["female", "male"], "age": ["0", "1", "2", "3"]}


def test_heads_that_are_not_asked_for_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5", "zhao-separable", heads=HEADS)
    ran(path, tmp_path / "m.onnx", heads=["age"])
    assert len(onnx.load(tmp_path / "m.onnx").graph.output) == 2
    ran(path, tmp_path / "m.safetensors")  # which hold all weights
    tensors, metadata = read_safetensors(tmp_path / "m.safetensors")
    assert json.loads(metadata["heads"]).keys() == {"gender", "age"}
    assert any("head_gender" in name for name in tensors)
    with pytest.raises(UsageError, match="has no head 'gendre'; did you mean 'gender'"):
        ran(path, tmp_path / "m.onnx", heads=["gendre"])


# --- safetensors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
def test_weights_are_those_of_the_model_to_the_bit(tmp_path: Path, half: bool) -> None:
    path = write(tmp_path / "m.h5", "alizadeh-shallow", half=half)
    ran(path, tmp_path / "m.safetensors")
    tensors, metadata = read_safetensors(tmp_path / "m.safetensors")
    with open_store(path, "model") as src:
        stored = src.arrays("weights")
    assert tensors.keys() == stored.keys()
    for name, values in stored.items():
        assert tensors[name].numpy().dtype == values.dtype
        assert tensors[name].numpy().tobytes() == values.tobytes()
    assert metadata["format"] == "pt"
    assert metadata["architecture"] == "alizadeh-shallow"
    assert json.loads(metadata["provenance"])[1]["spec"]["format"] == "safetensors"
    network = models.build("alizadeh-shallow", len(CLASSES), 1, SIDE)
    network.load_state_dict(tensors)  # as a person would


@pytest.mark.parametrize("half", [False, True])
def test_training_takes_the_weights_back(tmp_path: Path, half: bool) -> None:
    """Head and all, as it takes them from the model itself."""
    path, data = write(tmp_path / "m.h5", half=half), write_bands(tmp_path / "data.h5")
    ran(path, tmp_path / "m.safetensors")
    found = {}
    for name in ("m.h5", "m.safetensors"):
        still = replaced(model="njoku", epochs=1, lr=0.0, optimizer="sgd", init=str(tmp_path / name))
        note = train(data, tmp_path / "tuned.h5", still)[0]
        assert note.startswith(f"{tmp_path / name} gives 6 of 6 layers: ")
        with open_store(tmp_path / "tuned.h5", "model") as src:
            found[name] = {key: values.tobytes() for key, values in src.arrays("weights").items()}
    assert found["m.h5"] == found["m.safetensors"]


def test_damaged_classes_are_told(tmp_path: Path) -> None:
    for classes in ("", "{}", "[1]", "[" * 10**5):
        state = {"conv1.bias": torch.ones(32)}
        (tmp_path / "m.safetensors").write_bytes(as_safetensors(state, {"fercli": "1", "classes": classes}))
        with pytest.raises(DataError) as error:
            train(write_bands(tmp_path / "data.h5"), tmp_path / "m.h5", replaced(init=str(tmp_path / "m.safetensors")))
        assert str(error.value) == f"{tmp_path / 'm.safetensors'} is damaged: its classes are no list of names"


DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
TENSORS = st.dictionaries(
    st.text(min_size=1).filter(lambda name: name != "__metadata__"),
    st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3), st.integers(0, 9)),
    max_size=5,
)


@given(tensors=TENSORS, metadata=st.dictionaries(st.text(), st.text(), max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_tensors_come_back(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, Any], metadata: dict[str, str]
) -> None:
    made = {
        name: torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
        for name, (dtype, shape, seed) in tensors.items()
    }
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(as_safetensors(made, metadata))
    found, told = read_safetensors(path)
    assert told == metadata
    assert found.keys() == made.keys()
    for name, values in made.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        assert torch.equal(found[name], values)


def test_the_layout_is_what_other_readers_want(tmp_path: Path) -> None:
    """The values begin at a multiple of 8 bytes, follow each other without a gap, and each lies at one of its width."""
    made = {
        "b": torch.ones(3, dtype=torch.uint8),
        "a": torch.ones(3).half(),
        "c": torch.ones(3, 2).T,
        "d": torch.ones(()),
    }
    data = as_safetensors(made, {"key": "\N{BLACK STAR}"})
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert header.pop("__metadata__") == {"key": "\N{BLACK STAR}"}
    end = 0
    for name, told in header.items():
        first, last = told["data_offsets"]
        assert first == end
        assert first % made[name].dtype.itemsize == 0
        end = last
    assert end == len(data) - 8 - length
    assert header["c"] == {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_file_is_made_anew_only_when_it_is_another(tmp_path: Path) -> None:
    path, target = write(tmp_path / "m.h5"), tmp_path / "m.onnx"

    def up_to_date(**spec: Any) -> bool:
        outcome = export(str(path), str(target), ExportSpec(**spec), Log())
        return outcome.up_to_date

    assert not up_to_date()
    before = target.read_bytes()
    assert up_to_date()
    assert up_to_date(opset=17)
    assert not up_to_date(softmax=True)
    assert target.read_bytes() != before
    target.write_bytes(before[: len(before) // 2])
    with pytest.raises(UsageError) as caught:
        up_to_date()
    assert str(caught.value) == (
        f"{target} is there and is no onnx file of fer export: name another file with -o, or add --force"
    )
    target.unlink()
    assert not up_to_date()
    assert target.read_bytes() == before  # the same command, the same bytes
    write(path, temperature=2.0)
    assert not up_to_date()
    target = tmp_path / "m.bin"
    assert not up_to_date(format="safetensors")
    assert up_to_date(format="safetensors")


def test_a_machine_reads_how_far_the_answers_lie(tmp_path: Path) -> None:
    words = [str(write(tmp_path / "m.h5")), "-o", str(tmp_path / "m.onnx"), "--json"]
    done = CliRunner().invoke(fer, ["export", *words], catch_exceptions=False)
    facts = json.loads(done.stderr)
    assert (done.exit_code, done.stdout) == (0, "")
    deviation = facts.pop("deviation")
    assert 0 <= deviation < 1e-5
    told = f"its answers in ONNX Runtime lie within {deviation:.1g} of the model's (0.0001 may be)"
    assert facts.pop("notes") == [told]
    assert facts == {
        "stage": "export", "output": str(tmp_path / "m.onnx"), "rows": 0, "up_to_date": False, "dry_run": False,
        "failures": [], "tolerance": 1e-4,
    }  # fmt: skip


def test_the_model_that_comes_with_the_package_is_called_default(tmp_path: Path) -> None:
    words = ["default", "--preprocessing", "--softmax", "-q", "-o", str(tmp_path / "default.onnx")]
    done = CliRunner().invoke(fer, ["export", *words], catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, "")
    told = onnx_export.onnx_metadata(tmp_path / "default.onnx")
    assert "neutral" in json.loads(told["classes"])


def test_onnx_goes_to_standard_output(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5")
    ran(path, tmp_path / "m.onnx")
    done = CliRunner().invoke(fer, ["export", str(path), "--format", "onnx", "-q"], catch_exceptions=False)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout_bytes == (tmp_path / "m.onnx").read_bytes()


def test_no_model_is_written_to_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with pytest.raises(UsageError) as error:
        export(str(write(tmp_path / "m.h5")), "-", ExportSpec(format="onnx"), Log())
    assert str(error.value) == ("a model is binary and standard output is a terminal: add -o FILE.onnx, or pipe it on")


@pytest.mark.parametrize(
    ("output", "spec", "message"),
    [
        (
            "m.pt",
            {},
            "the name m.pt does not tell the form: end it with .onnx or .safetensors, "
            "or add --format onnx or safetensors",
        ),
        (
            "-",
            {},
            "standard output has no name to tell the form: add --format onnx or safetensors, or -o FILE",
        ),
        ("m.onnx", {"opset": 12}, "--opset is 12, but it takes 13 to 20"),
        ("m.onnx", {"opset": 30}, "--opset is 30, but it takes 13 to 20"),
        (
            "m.safetensors",
            {"opset": 17},
            "--opset is about ONNX, and safetensors hold weights alone: leave it out",
        ),
        (
            "m.safetensors",
            {"heads": ("age",)},
            "--heads is about ONNX, and safetensors hold weights alone: leave it out",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, output: str, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        export(str(tmp_path / "none.h5"), output, ExportSpec(**spec), Log())
    assert str(error.value) == message


def test_the_form_may_be_told_apart_from_the_name(tmp_path: Path) -> None:
    ran(write(tmp_path / "m.h5"), tmp_path / "m.bin", format="safetensors")
    assert read_safetensors(tmp_path / "m.bin")[0]
