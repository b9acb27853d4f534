"""`fer predict` and `fer eval -m` as typed: photos, folders, lists and stores; no face, and what cannot be read."""

import json
import os
import re
import shutil
import threading
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest

from fercli.errors import DataError
from fercli.layouts import open_source
from fercli.stages import labelling, measure, predict
from fercli.stages.detect import DetectSpec
from fercli.stages.evaluate import EvalSpec
from fercli.stages.outputs import OutputSpec
from fercli.stages.runner import Log
from fercli.store import concatenate, create_store, objects, open_store

from .program import fer
from .stages import Disturb
from .stores import entry


def rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """model.h5 (gray), gradients.h5 (a model of gradient channels), faces.h5, scenes.h5, and photos/ of three scenes,
    one photo without a face and one that is broken."""
    place = tmp_path_factory.mktemp("predict")
    fer("ingest", "synthetic:70", "-o", place / "faces.h5")
    fer("train", "--epochs", "1", place / "faces.h5", "-o", place / "model.h5")
    fer("gradients", "--mapping", "saturate", place / "faces.h5", "-o", place / "channels.h5")
    fer("gradients", place / "faces.h5", "-o", place / "signed.h5")
    fer("gradients", "--mapping", "saturate", "--size", "24", place / "faces.h5", "-o", place / "small.h5")
    fer("train", "--epochs", "1", place / "channels.h5", "-o", place / "gradients.h5")
    fer("ingest", "synthetic:3:scenes", "-o", place / "scenes.h5")
    (place / "photos").mkdir()
    with open_store(place / "scenes.h5") as scenes:
        for number, data in enumerate(scenes.column("encoded")):
            (place / "photos" / f"{number}.jpg").write_bytes(data)
    cv2.imwrite(str(place / "photos" / "empty.png"), np.full((90, 120), 128, np.uint8))
    (place / "photos" / "torn.jpg").write_bytes((place / "photos" / "0.jpg").read_bytes()[:500])
    return place


def test_a_list_is_no_photo(place, tmp_path):
    (tmp_path / "photos.csv").write_text("path,label\na.jpg,happy\n")
    text, _ = fer("predict", "-m", place / "model.h5", tmp_path / "photos.csv", status=4)
    assert rows(text)[0]["error"] == (
        "it is no photo: a list of paths is read with --files-from, a labelled data set by fer ingest"
    )


def test_what_auto_came_to_is_told(place, tmp_path):
    for precision in ("auto", "float32"):
        words = ("-m", place / "model.h5", "--device", "cpu", "--precision", precision, place / "faces.h5", "--json")
        summary = json.loads(fer("predict", *words, "-o", tmp_path / f"{precision}.h5")[1])
        assert summary["device"] == "cpu"
        assert summary["precision"] in (("float32",) if precision == "float32" else ("float32", "bfloat16"))
        with open_store(tmp_path / f"{precision}.h5", "predictions") as found:
            last = found.provenance[-1]
        assert (last["device"], last["precision"]) == (summary["device"], summary["precision"])
        told, _ = fer("info", tmp_path / f"{precision}.h5")
        assert f"then        fer predict (70 rows, in {summary['precision']} on cpu, version " in told
    trained, _ = fer("info", place / "model.h5")
    assert re.search(r"^then +fer train \(in (float32|bfloat16) on (cpu|cuda), version ", trained, re.MULTILINE)


def test_photos_that_are_faces_need_no_landmarks_of_a_model_of_aligned_ones(place, tmp_path):
    with open_store(place / "faces.h5") as src, create_store(tmp_path / "aligned.h5") as dst:
        dst.start("samples", src.classes, src.channels)
        dst.append(concatenate(src.blocks()))
        spec = DetectSpec(detector="mtcnn", align=True, margin=0.3).as_dict()
        dst.document("provenance", [*src.provenance, entry("detect", spec=spec)])
    fer("train", "--epochs", "1", tmp_path / "aligned.h5", "-o", tmp_path / "m.h5")
    cv2.imwrite(str(tmp_path / "face.png"), np.full((48, 48), 128, np.uint8))
    text, _ = fer("predict", "-m", tmp_path / "m.h5", "--detector", "none", tmp_path / "face.png")
    assert rows(text)[0]["status"] == "ok"
    _, told = fer("predict", "-m", tmp_path / "m.h5", "--detector", "haar", tmp_path / "face.png", status=2)
    assert told == (
        "fer predict: error: the model was trained on faces turned upright by eyes, nose and mouth, which haar does "
        "not tell: type fer predict with --detector mtcnn or --detector yunet, or with --no-align\n"
    )


def test_a_folder_of_photos(place):
    text, messages = fer("predict", "-m", place / "model.h5", place / "photos", status=4)
    found = rows(text)
    faces = [row for row in found if row["status"] == "ok"]
    assert {Path(row["source"]).name for row in faces} == {"0.jpg", "1.jpg", "2.jpg"}
    for row in faces:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["confidence"] == max(row["probabilities"].values()) == row["probabilities"][row["label"]]
        assert min(row["box"][2:]) >= 24
    assert [(Path(row["source"]).name, row["status"], row["label"]) for row in found if row["status"] != "ok"] == [
        ("empty.png", "no face", None),
        ("torn.jpg", "error", None),
    ]
    assert found[-1]["error"] in messages
    assert messages.count("failed:") == 1


def test_copies_that_augmentation_made_are_known_as_such(place, tmp_path):
    fer("augment", "--horizontal-flip", place / "faces.h5", "-o", tmp_path / "copies.h5")
    fer("predict", "-m", place / "model.h5", tmp_path / "copies.h5", "-o", tmp_path / "p.h5")
    with open_store(tmp_path / "copies.h5") as src, open_store(tmp_path / "p.h5", "predictions") as made:
        assert src.column("copy").any()
        assert (made.column("copy") == src.column("copy")).all()


def test_another_detector_makes_the_store_anew(place, tmp_path, monkeypatch):
    """Though none is named: the one that `auto` takes is part of what the store depends on."""
    source, out = [open_source(str(place / "photos" / "1.jpg"))], str(tmp_path / "p.h5")
    made = []
    for name in ("haar", "haar", "none"):
        monkeypatch.setattr("fercli.detectors.best", lambda name=name: name)
        done = predict.store(source, str(place / "model.h5"), out, predict.PredictSpec(), Log("skip"))
        made.append(done.up_to_date)
    assert made == [False, True, False]
    with open_store(out, "predictions") as store:
        assert store.provenance[-1]["spec"]["detector"] == "none"


def test_a_photo_without_a_face_is_an_answer(place):
    text, _ = fer("predict", "-q", "-m", place / "model.h5", place / "photos" / "empty.png")
    assert [row["status"] for row in rows(text)] == ["no face"]


def test_the_same_photos_give_the_same_rows_however_they_are_named(place):
    whole, _ = fer("predict", "-m", place / "model.h5", place / "photos", status=4)
    pattern, _ = fer("predict", "-m", place / "model.h5", f"{place}/photos/[0-2].jpg")
    names = "\0".join(str(place / "photos" / f"{number}.jpg") for number in range(3)).encode()
    listed, _ = fer("predict", "-m", place / "model.h5", "--files-from", "-", "-0", stdin=names)
    assert pattern == listed
    assert rows(pattern) == [row for row in rows(whole) if row["status"] == "ok"]
    photo = (place / "photos" / "1.jpg").read_bytes()
    outputs = ("--annotate", place / "drawn", "--sort-into", place / "by-label")  # which read the photo again
    single, _ = fer("predict", "-m", place / "model.h5", "-", *outputs, stdin=photo)
    assert [path.read_bytes() for path in (place / "by-label").glob("*/standard*")] == [photo]
    assert len(list((place / "drawn").glob("standard*"))) == 1
    assert [row["box"] for row in rows(single)] == [row["box"] for row in rows(listed) if "1.jpg" in row["source"]]


def test_a_store_of_photos_gives_the_same_faces(place):
    listed, _ = fer("predict", "-m", place / "model.h5", f"{place}/photos/[0-2].jpg")
    stored, _ = fer("predict", "-m", place / "model.h5", place / "scenes.h5")
    told = ("box", "label", "probabilities")
    assert [[row[name] for name in told] for row in rows(stored)] == [
        [row[name] for name in told] for row in rows(listed)
    ]


def test_rows_of_one_photo_get_the_faces_whose_boxes_they_tell(place, tmp_path):
    with open_store(place / "scenes.h5") as scenes:
        one, other = (cv2.imdecode(np.frombuffer(photo, np.uint8), 1) for photo in scenes.column("encoded")[:2])
    both = cv2.imencode(".png", np.hstack([cv2.resize(one, other.shape[1::-1]), other]))[1].tobytes()
    block = {"encoded": objects([both] * 2), "label": np.array([0, 1], np.int16), "source": objects(["a.png"] * 2)}
    block |= {name: np.full(2, side, np.int32) for name, side in (("height", 1), ("width", 1))}

    def labelled(name, **columns):
        with create_store(tmp_path / name) as writer:
            writer.start("samples", ("happy", "sad"))
            writer.append({**block, **columns})
            writer.document("provenance", [])
        text, messages = fer("predict", "--detector", "haar", "-m", place / "model.h5", tmp_path / name)
        return [(row["true_label"], row["box"]) for row in rows(text)], messages

    found, messages = labelled("photos.h5")
    faces = len(found) // 2
    assert faces >= 2
    assert [label for label, _ in found] == ["happy"] * faces + ["sad"] * faces
    assert (
        f"{2 * (faces - 1)} further faces of labelled photos bear the photo's label too, and fer eval counts them"
        in messages
    )
    boxes = np.array([box for _, box in found[:2]], np.float32)
    told, messages = labelled("faces.h5", box=boxes[::-1] + 3)
    assert told == [("happy", found[1][1]), ("sad", found[0][1])]
    assert "further" not in messages


def test_a_predictions_store_traces_rows_and_marks_what_was_trained_on(place):
    fer("predict", "-m", place / "model.h5", place / "faces.h5", "-o", place / "all.h5")
    with open_store(place / "all.h5", "predictions") as found, open_store(place / "faces.h5") as faces:
        assert (found.column("digest") == faces.column("digest")[found.column("parent")]).all()
        assert (found.column("label") == faces.column("label")).all()
        assert (found.column("seen") == (faces.column("split") == 0)).all()
        assert [entry["stage"] for entry in found.provenance] == ["ingest", "predict"]
    assert "is up to date" in fer("predict", "-m", place / "model.h5", place / "faces.h5", "-o", place / "all.h5")[1]


@pytest.mark.parametrize(("changed", "form"), [("faces.h5", "store"), ("faces.h5", "jsonl"), ("model.h5", "store")])
def test_nothing_is_made_of_a_store_that_changes_meanwhile(place, tmp_path, changed, form):
    for name in ("faces.h5", "model.h5"):
        shutil.copy(place / name, tmp_path)
    model, out, spec = str(tmp_path / "model.h5"), str(tmp_path / "out"), predict.PredictSpec(device="cpu")
    log = Log("skip", Disturb(tmp_path / changed))

    def label():
        with open_store(tmp_path / "faces.h5") as src:
            if form == "store":
                predict.store(src, model, out, spec, log)
            else:
                labelling.write_rows(src, model, out, form, spec, OutputSpec(), log)

    with pytest.raises(DataError) as error:
        label()
    assert str(error.value) == f"{tmp_path / changed} changed while it was read: type the same command again"
    assert not os.path.exists(out)


def test_gradients_are_made_of_photos_as_they_were_of_the_training_faces(place):
    photos, _ = fer("predict", "-m", place / "gradients.h5", f"{place}/photos/[0-2].jpg")
    fer("detect", "--keep", "all", place / "scenes.h5", "-o", place / "crops.h5")
    fer("gradients", "--mapping", "saturate", place / "crops.h5", "-o", place / "crop-channels.h5")
    stages, _ = fer("predict", "-m", place / "gradients.h5", place / "crop-channels.h5")
    ours, theirs = ([row["probabilities"] for row in rows(text)] for text in (photos, stages))
    assert len(ours) == len(theirs) >= 3
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_photos_are_cropped_as_small_as_the_training_faces_were_before_they_were_enlarged(place, tmp_path):
    with open_store(place / "scenes.h5") as src, create_store(tmp_path / "photos.h5") as dst:
        dst.start("samples", ("happy", "sad"))
        codes = {"label": np.array([0, 1, 0], np.int16), "split": np.array([0, 0, 1], np.int8)}
        dst.append({**concatenate(src.blocks()), **codes})
        dst.document("provenance", src.provenance)
    fer(
        "detect", "--detector", "haar", "--keep", "all", "--size", "20", tmp_path / "photos.h5", "-o", tmp_path / "c.h5"
    )
    fer("gradients", "--mapping", "saturate", "--size", "48", tmp_path / "c.h5", "-o", tmp_path / "large.h5")
    fer("train", "--epochs", "1", tmp_path / "large.h5", "-o", tmp_path / "m.h5")
    told = [
        [row["probabilities"] for row in rows(fer("predict", "-m", tmp_path / "m.h5", *words)[0])]
        for words in ((tmp_path / "large.h5",), ("--detector", "haar", tmp_path / "photos.h5"))
    ]
    assert len(told[0]) == len(told[1]) >= 3
    for one, other in zip(*told, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize(
    ("model", "data", "text"),
    [
        (
            "gradients.h5",
            "faces.h5",
            "{data} has the channels gray, and the model takes gray gx gy: "
            "type fer gradients --operator sobel --mapping saturate",
        ),
        (
            "gradients.h5",
            "signed.h5",
            "{data} has the gradient channels of --operator sobel --mapping signed, and the model takes those of "
            "--operator sobel --mapping saturate: give the store that fer gradients was run on to "
            "fer gradients --operator sobel --mapping saturate",
        ),
        (
            "gradients.h5",
            "small.h5",
            "{data} holds images of 24x24 pixels, and the model takes 48x48: give the store that fer gradients was run "
            "on to fer gradients --operator sobel --mapping saturate --size 48",
        ),
        (
            "model.h5",
            "channels.h5",
            "{data} has the channels gray gx gy, and the model takes gray: "
            "give the store that fer gradients was run on",
        ),
    ],
)
def test_channels_that_do_not_fit(place, model, data, text):
    messages = fer("predict", "-m", place / model, place / data, status=1)[1]
    assert messages == f"fer predict: error: {text.format(data=place / data)}\n"


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_error_leaves_no_thread_that_reads_ahead(tmp_path, monkeypatch, ahead):
    """It would keep the process from ending."""
    import numpy as np

    from fercli.learn.modelstore import Model
    from fercli.models.shipped import model_path

    with create_store(tmp_path / "faces.h5") as dst:
        dst.start("samples", ("happy", "sad"), ("gray",))
        for _ in range(20):  # more blocks than are read ahead
            dst.append({"image": np.zeros((1000, 48, 48), np.uint8)})
        dst.document("provenance", [])
    predictor = predict.Predictor.load(model_path("default"), predict.PredictSpec())
    monkeypatch.setattr(Model, "answers", Mock(side_effect=DataError("no answer")))
    monkeypatch.setitem(predict._AHEAD, predictor.model.device.type, ahead)
    before = set(threading.enumerate())
    with open_store(tmp_path / "faces.h5") as src, pytest.raises(DataError, match=r"^no answer$") as caught:
        list(predictor.over_store(src, Log()))
    assert not set(threading.enumerate()) - before
    assert caught.tb  # which still holds all that was under way


def test_a_store_and_photos_are_two_runs(place):
    messages = fer("predict", "-m", place / "model.h5", place / "faces.h5", place / "photos", status=2)[1]
    assert messages == (
        f"fer predict: error: {place / 'faces.h5'} is a store and {place / 'photos'} is not: label them in two runs, "
        f"fer predict {place / 'faces.h5'} and fer predict {place / 'photos'}\n"
    )


def test_eval_labels_first(place):
    folder = place / "labelled"
    for name in ("happy", "sad"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.jpg").write_bytes((place / "photos" / "0.jpg").read_bytes())
        (folder / name / f"{name}.jpg").write_bytes((place / "photos" / "1.jpg").read_bytes())
    fer("ingest", folder, "-o", place / "labelled.h5")
    text, _ = fer("eval", "-m", place / "model.h5", place / "labelled.h5", "--json")
    assert json.loads(text)["rows"] == 4
    _damage_first_photo(place / "labelled.h5", place / "damaged.h5")
    text, messages = fer("eval", "-m", place / "model.h5", place / "damaged.h5", "--json", status=4)
    assert (json.loads(text)["rows"], json.loads(text)["no_answer"]) == (4, 1)
    assert "fer eval: failed: happy/0.jpg: " in messages


def _damage_first_photo(source: Path, target: Path) -> None:
    with open_store(source) as store, create_store(target) as writer:
        block = concatenate(store.blocks())
        block["encoded"][0] = block["encoded"][0][:500]
        writer.start(store.kind, store.classes)
        writer.append(block)
        writer.document("provenance", store.provenance)


def test_eval_of_a_model_is_eval_of_its_predictions(place):
    predicted, _ = fer("eval", "-m", place / "model.h5", place / "faces.h5", "--split", "test", "--json")
    flags = ("--split", "test", "--precision", "float32")
    fer("predict", "-m", place / "model.h5", place / "faces.h5", *flags, "-o", place / "test.h5")
    stored, _ = fer("eval", place / "test.h5", "--json")
    ours, theirs = json.loads(predicted), json.loads(stored)
    assert {**ours, "name": ""} == {**theirs, "name": ""}


def test_real_photos(place, shared_data):
    """Five clear faces in one photo, none in a drawing of mountains."""
    text, _ = fer("predict", "-m", place / "model.h5", shared_data / "photos")
    statuses: dict[str, list[str]] = {}
    for row in rows(text):
        statuses.setdefault(Path(row["source"]).name, []).append(row["status"])
    assert statuses["multi_face.jpg"] == ["ok"] * 5
    assert statuses["free-mountain-vector-01.jpg"] == ["no face"]
    assert statuses["single_face.jpg"] == ["ok"]


def test_photos_that_eval_could_not_read_are_told_though_it_ends_in_an_error(place, tmp_path, monkeypatch):
    """As where no figure can be made of the rest."""
    _damage_first_photo(place / "scenes.h5", tmp_path / "scenes.h5")
    with open_store(tmp_path / "scenes.h5") as src, create_store(tmp_path / "labelled.h5") as dst:
        dst.start("samples", ("happy", "sad"))
        dst.append({**concatenate(src.blocks()), "label": np.array([0, 1, 0], np.int16)})
        dst.document("provenance", src.provenance)
    monkeypatch.setattr(measure, "evaluate_with_heads", Mock(side_effect=DataError("no figures")))
    log = Log("skip")
    with pytest.raises(DataError, match=r"^no figures$"):
        measure.measure([str(tmp_path / "labelled.h5")], str(place / "model.h5"), EvalSpec(), log)
    assert len(log.failures) == 1


@pytest.mark.parametrize("split", ["test", None])
def test_a_class_that_only_other_rows_show_is_no_fault(tmp_path, split):
    from fercli.models.shipped import model_path

    with create_store(tmp_path / "faces.h5") as dst:
        dst.start("samples", ("happy", "bored"), ("gray",))
        image = np.zeros((2, 48, 48), np.uint8)
        dst.append({"image": image, "label": np.array([0, 1], np.int16), "split": np.array([2, 0], np.int8)})
        dst.document("provenance", [])
    predictor = predict.Predictor.load(model_path("default"), predict.PredictSpec(split=split))
    with open_store(tmp_path / "faces.h5") as src:
        if split:
            (block,) = predictor.over_store(src, Log())
            assert block["label"].tolist() == [predictor.classes.index("happy")]
        else:
            with pytest.raises(DataError, match="has labels that the model does not know: no class 'bored'"):
                list(predictor.over_store(src, Log()))
