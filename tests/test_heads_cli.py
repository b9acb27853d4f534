"""Further heads as typed, on trees like RAF-DB's and UTKFace's: ingest, train, predict, eval, info and recipe."""

import csv
import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from fercli.cli import main
from fercli.errors import DataError
from fercli.labels import EMOTIONS
from fercli.stages.evaluate import EvalSpec
from fercli.stages.further import evaluate_with_heads
from fercli.stages.tracks import Smoothing
from fercli.store import objects, open_store
from tests.stores import write
from tests.trees import plant_rafdb, plant_utkface

torch.set_num_threads(1)
TRAIN = (
    *("train", "--model", "zhao-separable", "--device", "cpu", "--threads", "1"),
    *("--epochs", "1", "--holdout", "0.2", "--seed", "3", "--heads", "gender"),
)
HEAD = [{"name": "gender", "classes": ["male", "female"]}]


def fer(*words: object, status: int = 0) -> tuple[str, str]:
    """Standard output and error of a command that ends with `status`."""
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with mock.patch.object(sys, "argv", ["fer", *map(str, words)]), redirect_stdout(out), redirect_stderr(err):
        with pytest.raises(SystemExit) as end:
            main()
        out.flush()
    assert end.value.code == status, err.getvalue()
    return out.buffer.getvalue().decode(), err.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """rafdb/ and faces.h5, its crops with the gender; model.h5, trained on it with two heads."""
    place = tmp_path_factory.mktemp("heads")
    plant_rafdb(place / "rafdb", 84)
    fer("ingest", place / "rafdb", "--attribute", "gender", "-o", place / "photos.h5")
    fer("detect", "--detector", "none", "--size", "24", place / "photos.h5", "-o", place / "faces.h5")
    fer(*TRAIN, place / "faces.h5", "-o", place / "model.h5")
    return place


def test_the_store_tells_the_gender_that_the_annotations_tell(place: Path) -> None:
    with open_store(place / "faces.h5") as src:
        gender = src.column("attribute/gender")
    known = gender >= 0
    assert (~known).sum() == 8  # one in ten
    assert set(gender[known]) == {0, 1}


def test_predictions_tell_expressions_alone_by_default(place: Path) -> None:
    out, _ = fer("predict", "-m", place / "model.h5", place / "faces.h5", "--split", "test")
    assert "gender" not in out
    fer("predict", "-m", place / "model.h5", place / "faces.h5", "-o", place / "plain.h5")
    with open_store(place / "plain.h5", "predictions") as found:
        assert not any("/" in name for name in found.columns)
        assert "heads" not in found.documents
    report, _ = fer("eval", place / "plain.h5", "--split", "test", "--json")
    assert json.loads(report)["heads"] == {}


def test_rows_tell_the_gender_on_request(place: Path) -> None:
    words = ("predict", "-m", place / "model.h5", place / "faces.h5", "--split", "test")
    plain = [json.loads(line) for line in fer(*words)[0].splitlines()]
    rows = [json.loads(line) for line in fer(*words, "--heads", "gender")[0].splitlines()]
    assert len(rows) == 21
    for row, other in zip(rows, plain, strict=True):
        chances = row.pop("gender_probabilities")
        assert row.pop("gender") == max(chances, key=chances.get)
        assert list(chances) == ["male", "female"]
        assert sum(chances.values()) == pytest.approx(1, abs=1e-4)
        assert row.keys() == other.keys()
        assert (row["label"], row["source"]) == (other["label"], other["source"])


def test_tables_tell_the_gender_on_request(place: Path) -> None:
    words = ("predict", "-m", place / "model.h5", "--detector", "none", "--heads", "gender", "--format", "csv")
    out, _ = fer(*words, place / "rafdb/basic/Image/aligned")
    head, *lines = csv.reader(out.splitlines())
    assert head[-4:] == ["gender", "gender_male", "gender_female", "error"]
    assert head[-11:-4] == [f"p_{name}" for name in EMOTIONS]
    assert len(lines) == 84
    for line in lines:
        shares = [float(value) for value in line[-3:-1]]
        assert line[-4] == ("male", "female")[int(np.argmax(shares))]


def test_a_photo_without_an_answer_has_no_gender(place: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"no photo")
    out, _ = fer("predict", "-m", place / "model.h5", "--heads", "gender", "--detector", "none", tmp_path, status=4)
    row = json.loads(out)
    assert (row["status"], row["gender"], row["gender_probabilities"]) == ("error", None, None)


@pytest.mark.parametrize("data", ["faces.h5", "photos.h5"])
def test_a_store_holds_answers_beside_what_is_told(place: Path, tmp_path: Path, data: str) -> None:
    fer(
        *("predict", "-m", place / "model.h5", "--heads", "gender", "--detector", "none"),
        *(place / data, "-o", tmp_path / "p.h5"),
    )
    with open_store(place / "photos.h5") as src:
        told = src.column("attribute/gender")
    with open_store(tmp_path / "p.h5", "predictions") as found:
        assert found.documents["heads"] == HEAD
        chances = found.column("head_probability/gender")
        assert np.array_equal(found.column("attribute/gender"), told)
        assert np.array_equal(found.column("head/gender"), chances.argmax(1))
        assert chances.sum(1) == pytest.approx(1, abs=1e-5)


def test_eval_reports_each_head(place: Path, tmp_path: Path) -> None:
    words = ("--heads", "gender", "--precision", "float32", place / "faces.h5", "-o", tmp_path / "p.h5")
    fer("predict", "-m", place / "model.h5", *words)
    told = json.loads(fer("eval", tmp_path / "p.h5", "--split", "test", "--json")[0])
    with open_store(tmp_path / "p.h5", "predictions") as found:
        test = found.column("split") == 2
        label, answer = (found.column(f"{group}/gender")[test] for group in ("attribute", "head"))
    head, known = told["heads"]["gender"], label >= 0
    assert (told["rows"], head["rows"], head["unlabelled"]) == (21, known.sum(), (~known).sum())
    assert head["classes"] == ["male", "female"]
    assert head["accuracy"] == pytest.approx((label == answer)[known].mean())
    assert head["interval"][0] <= head["accuracy"] <= head["interval"][1]
    assert head["confusion"] == [[int(((label == i) & (answer == j)).sum()) for j in (0, 1)] for i in (0, 1)]
    text, _ = fer("eval", tmp_path / "p.h5", "--split", "test")
    page = text.split("\n\n")
    assert page[4] == f"{tmp_path}/p.h5, perceived gender, split test: {known.sum()} labelled rows, 2 classes"
    assert page[5].startswith(f"accuracy            {head['accuracy']:.4f} (95 % interval ")
    assert page[-1].startswith("confusion (rows: true class, columns: predicted)\n        male  female\nmale ")
    markdown, _ = fer("eval", tmp_path / "p.h5", "--split", "test", "--markdown")
    assert markdown.count("### ") == 2
    direct = json.loads(fer("eval", "-m", place / "model.h5", place / "faces.h5", "--split", "test", "--json")[0])
    assert direct["heads"]["gender"]["confusion"] == head["confusion"]


def test_folds_answer_by_each_head(place: Path, tmp_path: Path) -> None:
    fer("split", "--folds", "2", place / "faces.h5", "-o", tmp_path / "folds.h5")
    fer(*TRAIN, "--fold", "all", tmp_path / "folds.h5", "-o", tmp_path / "p.h5")
    head = json.loads(fer("eval", tmp_path / "p.h5", "--json")[0])["heads"]["gender"]
    assert (head["rows"], [one["fold"] for one in head["folds"]]) == (76, [0, 1])


def test_utkface_teaches_the_gender_beside_a_set_of_expressions(place: Path, tmp_path: Path) -> None:
    plant_utkface(tmp_path / "utk", 40)
    fer("ingest", tmp_path / "utk", "--attribute", "gender", "-o", tmp_path / "0.h5")
    fer("detect", "--detector", "none", "--size", "24", tmp_path / "0.h5", "-o", tmp_path / "1.h5")
    fer("split", "--train", "0.8", "--val", "0", "--test", "0.2", tmp_path / "1.h5", "-o", tmp_path / "utk.h5")
    _, err = fer(*TRAIN, tmp_path / "utk.h5", status=1)
    assert err == (
        f"fer train: error: {tmp_path}/utk.h5 has no labels to learn from: "
        f"make a store of a labelled data set with fer ingest\n"
    )
    both = (place / "faces.h5", tmp_path / "utk.h5")
    fer(*TRAIN, *both, "-o", tmp_path / "m.h5")
    with open_store(tmp_path / "m.h5", "model") as model:
        assert model.documents["model"]["metrics"]["training_rows"] > 63  # the photos of RAF-DB's training set
    told = json.loads(fer("eval", "-m", tmp_path / "m.h5", *both, "--split", "test", "--json")[0])
    assert told["unlabelled"] == 8  # of UTKFace
    assert told["heads"]["gender"]["rows"] > told["rows"]


def test_info_tells_the_heads(place: Path) -> None:
    out, _ = fer("info", place / "model.h5")
    assert "\nhead        gender: male female\n" in out


def test_a_recipe_trains_both_heads(place: Path, tmp_path: Path) -> None:
    out, _ = fer(
        *("recipe", "run", "zhao-separable", "--data", place / "rafdb", "-o", tmp_path / "run"),
        *("--set", "train.heads=gender", "--set", "detect.detector=none", "--set", "train.epochs=1"),
        *("--set", "detect.align=false", "--set", "detect.size=24", "--set", "train.device=cpu"),
    )
    assert "run/predictions.h5, perceived gender, split test: " in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["predict", "--heads", "age"], "{model} has no head 'age'; known: gender"),
        (
            ["train", "--model", "njoku", "--heads", "gender", "--holdout", "0.2"],
            "model njoku has no head beside the expression's; zhao-separable can have more",
        ),
        (
            ["train", "--heads", "gender", "--mixup", "0.2"],
            "--heads learns plain labels, one a head: leave --mixup out",
        ),
    ],
)
def test_what_is_wrong_is_told(place: Path, words: list[str], told: str) -> None:
    model = ["-m", place / "model.h5"] if words[0] == "predict" else []
    _, err = fer(*words, *model, place / "faces.h5", status=2)
    assert err.splitlines()[-1] == f"fer {words[0]}: error: {told.format(model=place / 'model.h5')}"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_rows_with_and_without_a_head_do_not_mix_in_a_file(place: Path, tmp_path: Path, form: str) -> None:
    file = tmp_path / f"rows.{form}"
    photos = place / "rafdb/basic/Image/aligned"
    words = ("predict", "-m", place / "model.h5", "--detector", "none", photos, "--resume", file)
    fer(*words, "--heads", "gender")
    whole = file.read_bytes()
    _, err = fer(*words, status=1)
    further = "gender gender_male gender_female" if form == "csv" else "gender gender_probabilities"
    assert err == (
        f"fer predict: error: {file} holds rows with the further columns {further}, and this run writes none: "
        f"name another file with --resume, or the --heads that it was begun with\n"
    )
    lines = whole.splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:40]))
    fer(*words, "--heads", "gender")
    assert file.read_bytes() == whole


def test_a_head_with_the_name_of_a_column_of_rows_goes_into_a_store(place: Path, tmp_path: Path) -> None:
    with open_store(place / "faces.h5") as src:
        rows = {name: src.column(name) for name in src.columns}
        write(tmp_path / "d.h5", rows | {"attribute/box": rows["attribute/gender"]}, classes=src.classes)
    fer(*TRAIN[:-1], "box", tmp_path / "d.h5", "-o", tmp_path / "m.h5")
    words = ("predict", "-m", tmp_path / "m.h5", "--heads", "box", tmp_path / "d.h5")
    _, err = fer(*words, status=2)
    assert err == "fer predict: error: rows have a box already, so the head box goes into a store: add --format store\n"
    fer(*words, "-o", tmp_path / "p.h5")
    with open_store(tmp_path / "p.h5", "predictions") as found:
        assert found.documents["heads"] == [{"name": "box", "classes": ["0", "1"]}]


def test_exported_weights_are_those_of_both_heads(place: Path, tmp_path: Path) -> None:
    fer("export", place / "model.h5", "-o", tmp_path / "m.safetensors")
    _, err = fer(*TRAIN, "--init", tmp_path / "m.safetensors", place / "faces.h5", "-o", tmp_path / "m.h5")
    assert "m.safetensors gives 38 of 38 layers: " in err


# --- parts ------------------------------------------------------------------------------------------------------------


def head_columns(answer: list[int], chances: list[list[float]]) -> dict[str, np.ndarray]:
    return {
        "head/gender": np.array(answer, np.int16),
        "head_probability/gender": np.array(chances, np.float32),
    }


def test_a_head_without_truth_or_with_damage(tmp_path: Path) -> None:
    rows = {
        "source": objects("abc"),
        "label": np.zeros(3, np.int16),
        "predicted": np.zeros(3, np.int16),
        **head_columns([0, 1, -1], [[1, 0], [0, 1], [0, 0]]),
    }
    unknown = {**rows, "attribute/gender": np.full(3, -1, np.int16)}
    known = {**rows, "attribute/gender": np.array([0, 0, 1], np.int16)}

    def evaluated(block: dict, heads: object) -> dict:
        path = write(tmp_path / "p.h5", block, kind="predictions", documents={"heads": heads})
        with open_store(path, "predictions") as found:
            return evaluate_with_heads(found, EvalSpec()).heads

    assert evaluated(rows, HEAD) == evaluated(unknown, HEAD) == {}
    head = evaluated(known, HEAD)["gender"]
    assert head.confusion.tolist() == [[1, 1, 0], [0, 0, 1]]
    for heads, told in (
        ([1], "its heads are no list of names and classes"),
        ([{"name": "gender", "classes": ["a", "b", "c"]}], "its head gender has probabilities of other classes"),
    ):
        with pytest.raises(DataError) as error:
            evaluated(known, heads)
        assert str(error.value) == f"{tmp_path}/p.h5 is damaged: {told}"


def test_smoothing_averages_each_head() -> None:
    block = {
        "source": objects(["a", "a"]),
        "track": np.array([1, 1], np.int32),
        "time": np.array([0.0, 0.5]),
        "predicted": np.array([0, 1], np.int16),
        "probability": np.array([[0.9, 0.1], [0.4, 0.6]], np.float32),
        **head_columns([1, 0], [[0.0, 1.0], [0.6, 0.4]]),
    }
    smooth = Smoothing(1.0)(block)
    share = 1 - np.exp(-0.5)
    assert smooth["probability"][1] == pytest.approx([0.9 - 0.5 * share, 0.1 + 0.5 * share])
    assert smooth["head_probability/gender"][1] == pytest.approx([0.6 * share, 1 - 0.6 * share])
    assert smooth["predicted"].tolist() == [0, 0]
    assert smooth["head/gender"].tolist() == [1, 1]
