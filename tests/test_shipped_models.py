"""The models that come with the package; and answers averaged over views, withheld, and in fewer digits."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from fercli.labels import EMOTIONS
from fercli.learn import device
from fercli.learn.device import choose_precision
from fercli.learn.int8 import ToNumbers
from fercli.learn.modelstore import Model, load
from fercli.models.shipped import model_path, shipped
from fercli.ops.views import views
from fercli.stages import prepare
from fercli.stages.predict import Predictor, PredictSpec, withhold
from fercli.store import Reader, create_store, objects, open_store

from .program import fer
from .test_int8 import on_a_cpu_with_int8
from .test_predict import rows
from .test_train import replaced, train

CARD = Path(model_path("default")).with_name("MODEL_CARD.md").read_text("utf-8")
#: The columns of its table of figures.
COLUMNS = ("default", "fast")

each_model = pytest.mark.parametrize("name", shipped())


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("default") / "faces.h5"
    fer("ingest", "synthetic:70", "-o", path)
    return path


def probabilities(store: Path) -> np.ndarray:
    with open_store(store, "predictions") as src:
        return src.column("probability")


def stated(name: str) -> float:
    """The share of PublicTest in which the card says that a model is right."""
    told = re.search(r"accuracy on PublicTest \|(.*)\|\n", CARD).group(1).split("|")
    return float(re.match(r" ([\d.]+) %", dict(zip(COLUMNS, told, strict=True))[name]).group(1)) / 100


def test_their_names_are_told() -> None:
    assert tuple(shipped()) == COLUMNS
    for words in (("predict",), ("eval",), ("train",), ("export",), ("info",)):
        page = " ".join(fer(*words, "--help")[0].split())
        assert re.search(r"\bdefault(\||, or | and )fast\b", page), words


@each_model
def test_it_is_small_and_says_what_it_is(name: str) -> None:
    assert shipped()[name].stat().st_size <= 6_000_000
    with open_store(model_path(name), "model") as src:
        model = load(src, torch.device("cpu"))
    assert (model.classes, model.channels, model.card.size) == (EMOTIONS, ("gray",), 48)
    assert f"{sum(values.numel() for values in model.network.parameters()) / 1e6:.1f} M" in CARD
    for fact in (f"{model.card.temperature:.3f}", str(model.card.metrics["validation_rows"])):
        assert fact in CARD.replace(",", "")


def test_photos_are_labelled_without_naming_a_model(faces: Path, tmp_path: Path) -> None:
    fer("ingest", "synthetic:2:scenes", "-o", tmp_path / "scenes.h5")
    found = rows(fer("predict", tmp_path / "scenes.h5", "--detector", "haar")[0])
    assert {row["status"] for row in found} == {"ok"}
    assert set(found[0]["probabilities"]) == set(EMOTIONS)
    named = {
        name: rows(fer("predict", "-m", name, tmp_path / "scenes.h5", "--detector", "haar")[0]) for name in shipped()
    }
    assert named["default"] == found
    assert [row["box"] for row in named["fast"]] == [row["box"] for row in found]
    assert named["fast"] != found
    told = json.loads(fer("eval", "-m", "default", faces, "--split", "test", "--json")[0])
    assert set(told["classes"]) == set(EMOTIONS)


def test_the_answers_to_a_face_and_its_mirror_image_are_averaged(faces: Path, tmp_path: Path) -> None:
    plain, flipped = tmp_path / "plain.h5", tmp_path / "flipped.h5"
    fer("predict", faces, "--precision", "float32", "-o", plain)
    fer("predict", faces, "--precision", "float32", "--tta", "flip", "-o", flipped)
    fer("augment", "--horizontal-flip", faces, "-o", tmp_path / "copies.h5")
    fer("predict", tmp_path / "copies.h5", "--precision", "float32", "-o", tmp_path / "both.h5")
    with open_store(tmp_path / "copies.h5") as src:
        parent = src.column("parent")
    both, averaged = probabilities(tmp_path / "both.h5"), probabilities(flipped)
    flipped_rows = np.flatnonzero(np.bincount(parent) == 2)
    assert len(flipped_rows) == 50  # those of train
    for row in flipped_rows:
        assert averaged[row] == pytest.approx(both[parent == row].mean(axis=0), abs=1e-4)
    assert not np.allclose(probabilities(plain), averaged, atol=1e-3)


def test_ten_views_are_averaged_and_told_of_a_face_as_of_its_mirror_image(faces: Path, tmp_path: Path) -> None:
    with open_store(faces) as src:
        images, kind = src.column("image", 0, 20), (src.classes, src.channels)
    told = []
    for name, shown in (("faces", images), ("mirrored", images[:, :, ::-1])):
        with create_store(tmp_path / name) as dst:
            dst.start("samples", *kind)
            dst.append({"image": np.ascontiguousarray(shown)})
            dst.document("provenance", [])
        fer("predict", tmp_path / name, "--precision", "float32", "--tta", "ten", "-o", tmp_path / f"{name}.h5")
        told.append(probabilities(tmp_path / f"{name}.h5"))
    assert np.allclose(*told, atol=0.02)  # turns round to whole px
    model = Predictor.load(model_path("default"), PredictSpec(precision="float32")).model
    seen = [model.probabilities((view,)) for view in views(images, "ten")]
    assert len(seen) == 10
    assert np.allclose(told[0], np.mean(seen, axis=0), atol=1e-4)


def test_a_model_of_gradients_refuses_other_views(faces: Path, tmp_path: Path) -> None:
    fer("gradients", faces, "-o", tmp_path / "channels.h5")
    fer("train", "--model", "zhao-separable", "--epochs", "1", tmp_path / "channels.h5", "-o", tmp_path / "m.h5")
    _, message = fer("predict", "-m", tmp_path / "m.h5", tmp_path / "channels.h5", "--tta", "flip", status=2)
    assert message == (
        "fer predict: error: --tta flip changes pixels, and this model reads gradients or features too: leave it out\n"
    )


def test_answers_below_the_bound_are_withheld(faces: Path, tmp_path: Path) -> None:
    plain = rows(fer("predict", faces)[0])
    held = rows(fer("predict", faces, "--abstain", "0.5")[0])
    assert {row["status"] for row in held} == {"ok", "unsure"}
    for before, after in zip(plain, held, strict=True):
        sure = before["confidence"] >= 0.5
        assert after["status"] == ("ok" if sure else "unsure")
        assert after["label"] == (before["label"] if sure else None)
        assert (after["confidence"], after["probabilities"]) == (before["confidence"], before["probabilities"])
        assert after["error"] is None
    table = fer("predict", faces, "--abstain", "0.5", "--format", "csv")[0].splitlines()
    assert sum(",unsure," in line for line in table) == sum(row["status"] == "unsure" for row in held)


def test_what_has_no_answer_keeps_its_reason() -> None:
    block = {
        "predicted": np.array([1, -1, 0], np.int16),
        "probability": np.array([[0.4, 0.6], [0, 0], [0.9, 0.1]], np.float32),
        "error": objects(["", "no face", ""]),
    }
    made = withhold(block, 0.7)
    assert made["predicted"].tolist() == [-1, -1, 0]
    assert made["error"].tolist() == ["unsure", "no face", ""]
    assert withhold(block, 0.0) is block


def test_bfloat16_answers_as_float32_does_but_for_its_last_digits(faces: Path, tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        fer("predict", faces, "--precision", precision, "-o", tmp_path / f"{precision}.h5")
    whole, short = probabilities(tmp_path / "float32.h5"), probabilities(tmp_path / "bfloat16.h5")
    assert short == pytest.approx(whole, abs=0.05)
    assert not np.array_equal(whole, short)


@pytest.mark.parametrize(
    ("flags", "dtype", "serving"),
    [
        ("avx2 avx512f amx_bf16 amx_int8", torch.bfloat16, torch.bfloat16),
        ("avx2 avx512f avx512_bf16 avx512_vnni", torch.bfloat16, torch.int8),
        ("avx2 avx512f", torch.float32, torch.int8),
        ("sse4_2 avx", torch.float32, torch.float32),
    ],
)
def test_auto_is_what_the_processor_is_quick_in(
    monkeypatch: pytest.MonkeyPatch, flags: str, dtype: torch.dtype, serving: torch.dtype
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: f"flags\t\t: {flags}")
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu) == dtype
    assert choose_precision("auto", cpu, int8_serves=True) == serving
    assert choose_precision("float32", cpu, int8_serves=True) == torch.float32


@pytest.mark.parametrize(("supported", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bfloat16_only_on_gpus_that_have_it(
    monkeypatch: pytest.MonkeyPatch, supported: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: supported)
    gpu = torch.device("cuda")
    assert choose_precision("auto", gpu) == choose_precision("auto", gpu, int8_serves=True) == dtype
    assert choose_precision("float32", gpu) == torch.float32


@on_a_cpu_with_int8
@each_model
@pytest.mark.parametrize("has", ["avx2", "amx_bf16"])
def test_it_answers_in_int8_where_the_processor_is_quick_in_it(
    monkeypatch: pytest.MonkeyPatch, has: str, name: str
) -> None:
    monkeypatch.setattr(device, "has_any", lambda *names: "avx2" in names or has in names)
    model = Predictor.load(model_path(name), PredictSpec(device="cpu")).model
    assert model.card.int8_serves
    assert isinstance(next(model.network.children()), ToNumbers) == (has == "avx2")


@pytest.fixture(scope="module")
def public(fer2013: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PublicTest, every seventh picture: 512."""
    folder = tmp_path_factory.mktemp("public")
    with open_store(fer2013) as src, create_store(folder / "some.h5") as dst:
        dst.start("samples", src.classes, src.channels)
        for block in src.blocks(rows=np.flatnonzero(src.column("split") == 1)[::7]):
            dst.append(block)
    return folder / "some.h5"


@each_model
def test_it_is_as_good_as_its_card_says(public: Path, name: str) -> None:
    """Six points less in 512 pictures would be unlikely."""
    told = json.loads(fer("eval", "-m", name, public, "--json")[0])
    assert told["accuracy"] > stated(name) - 0.06
    assert told["interval"][0] <= stated(name) <= told["interval"][1]


@on_a_cpu_with_int8
@each_model
def test_it_is_as_good_in_int8(public: Path, tmp_path: Path, name: str) -> None:
    told = {}
    for precision in ("float32", "int8"):
        fer("predict", "-m", name, public, "--precision", precision, "-o", tmp_path / f"{precision}.h5")
        with open_store(tmp_path / f"{precision}.h5", "predictions") as src:
            told[precision], labels = src.column("probability"), src.column("label")
    whole, short = told["float32"], told["int8"]
    assert 0 < np.abs(short - whole).mean() < 0.003
    assert (short.argmax(1) == whole.argmax(1)).mean() > 0.98
    right = [(answers.argmax(1) == labels).mean() for answers in (whole, short)]
    assert right[1] == pytest.approx(right[0], abs=0.01)


def test_training_begins_with_it_and_learns_from_it_by_its_name(faces: Path, tmp_path: Path) -> None:
    flags = ("--epochs", "1", "--threads", "1")
    _, told = fer("train", "--model", "residual", "--init", "default", *flags, faces, "-o", tmp_path / "m.h5")
    assert "default gives 33 of 33 layers" in told
    fer("train", "--model", "zhao-separable", "--teacher", "default", *flags, faces, "-o", tmp_path / "pupil.h5")
    with open_store(tmp_path / "pupil.h5", "model") as pupil, open_store(model_path("default"), "model") as model:
        assert set(map(bytes, model.array("trained_on"))) < set(map(bytes, pupil.array("trained_on")))


@on_a_cpu_with_int8
@pytest.mark.parametrize(("precision", "dtype"), [("auto", torch.int8), ("float32", torch.float32)])
def test_a_teacher_answers_in_int8_where_it_would_label_in_it(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, dtype: torch.dtype
) -> None:
    asked = []

    def loaded(store: Reader, device: torch.device, dtype: torch.dtype) -> Model:
        asked.append(dtype)
        return load(store, device, dtype)

    monkeypatch.setattr(prepare, "load", loaded)
    monkeypatch.setattr(device, "has_any", lambda *names: "avx2" in names)
    spec = replaced(model="zhao-separable", epochs=1, batch=64, teacher=("default",), precision=precision)
    train(faces, tmp_path / "pupil.h5", spec)
    assert asked == [dtype]


def test_the_default_one_teaches_the_fast_one() -> None:
    script, _ = fer("recipe", "run", "fast", "--data", "synthetic:70", "-o", "out", "--dry-run")
    assert "fer train --recipe fast out/augment.h5 -o out/model.h5" in script.splitlines()
    told = json.loads(fer("info", "fast", "--json")[0])
    assert told["provenance"][-1]["spec"]["teacher"] == ["default"]


def test_its_recipe_trains_its_teachers_first() -> None:
    script, _ = fer("recipe", "run", "default", "--data", "synthetic:70", "-o", "out", "--dry-run")
    assert [line for line in script.splitlines() if "teacher" in line] == [
        "fer recipe run default-teacher --data synthetic:70 -o out/teacher-1",
        "fer recipe run default-teacher --data synthetic:70 --set augment.rotation=12 --set augment.scale=0.1 "
        "--set augment.brightness=0 --set augment.contrast=0 --set augment.erase=0 --set train.dropout=0.4 "
        "-o out/teacher-2",
        "fer train --recipe default --teacher out/teacher-1/model.h5 --teacher out/teacher-2/model.h5 out/augment.h5 "
        "-o out/model.h5",
    ]


def test_its_recipe_asks_for_another_teacher_before_the_work(tmp_path: Path) -> None:
    words = ("--set", "train.teacher=other.h5", "-o", tmp_path / "out")
    _, told = fer("recipe", "run", "default", "--data", "synthetic:70", *words, status=2)
    assert told == (
        "fer recipe run: error: recipe default takes other.h5, which is not there: train it first, or name "
        "another (fer recipe show default tells of it)\n"
    )
    assert not (tmp_path / "out").exists()
