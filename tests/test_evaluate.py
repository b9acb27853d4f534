"""fer eval without its command: choice of rows, figures, pages, JSON, and a gate that never passes by default."""

import contextlib
import dataclasses
import itertools
import json
import math
import shutil
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fercli.cli import main
from fercli.errors import DataError, GateFailed, UsageError
from fercli.ops.statistics import mcnemar_worse
from fercli.stages.answers import Answers, answers_from
from fercli.stages.evaluate import EvalSpec, evaluate, evaluate_answers, parse_minimum
from fercli.stages.folds import Fold, deviation, mean
from fercli.stages.gate import check_baseline, check_minimums, enforce, judge, paired_changes, read_baseline
from fercli.stages.report import as_markdown, as_text, from_json, to_json
from fercli.store import create_store, objects, open_store
from tests.learning import write_bands

CLASSES = ("angry", "happy", "sad")
#: 4 angry (2 right, 1 taken for happy, 1 without answer), 4 happy (3 right), 2 sad (1 right), 1 unlabelled
LABEL = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, -1]
PREDICTED = [0, 0, 1, -1, 1, 1, 1, 0, 2, 0, 1]


def digests(count, first=0):
    values = np.zeros((count, 16), np.uint8)
    values[:, :2] = np.arange(first, first + count, dtype=">u2").view(np.uint8).reshape(-1, 2)
    return values


def answers(label=LABEL, predicted=PREDICTED, name="new.h5", split="val", classes=CLASSES, **columns):
    columns.setdefault("digest", digests(len(label)))
    return Answers(name, split, classes, np.array(label, np.int16), np.array(predicted, np.int16), **columns)


def evaluation(*args, **columns):
    return evaluate_answers(answers(*args, **columns))


def from_document(one, name="old.json"):
    return from_json(json.loads(json.dumps(to_json(one), allow_nan=False)), name)


def told(error, call, *args):
    with pytest.raises(error) as caught:
        call(*args)
    return str(caught.value)


# --- choice of rows -------------------------------------------------------------------------------------------------


def write(path, *, label=LABEL, predicted=PREDICTED, split=None, classes=CLASSES, without=(), **columns):
    rows = len(label)
    block = {
        "label": np.array(label, np.int16), "predicted": np.array(predicted, np.int16), "digest": digests(rows),
        "source": objects(f"face {row}" for row in range(rows)), **columns,
    }  # fmt: skip
    if split is not None:
        block["split"] = np.array(split, np.int8)
    with create_store(path) as writer:
        writer.start("predictions", classes)
        writer.append({name: values for name, values in block.items() if name not in without})
    return str(path)


def evaluate_file(path, **settings):
    with open_store(path, "predictions") as predictions:
        return evaluate(predictions, EvalSpec(**settings))


def test_a_split_is_evaluated_alone(tmp_path):
    path = write(tmp_path / "p.h5", split=[0] * 4 + [1] * 4 + [2] * 3)
    assert [evaluate_file(path, split=one).rows for one in ("train", "val", "test", "all")] == [4, 4, 2, 10]
    assert evaluate_file(path, split="val").accuracy == 3 / 4
    assert evaluate_file(path, split="test").unlabelled == 1


def test_copies_that_augmentation_made_are_not_evaluated(tmp_path):
    copy = np.array([False] * 6 + [True] * 5)
    assert evaluate_file(write(tmp_path / "p.h5", copy=copy)).rows == 6
    path = write(tmp_path / "q.h5", copy=copy, split=[0] * 3 + [2] * 3 + [0] * 5)
    assert evaluate_file(path, split="train").rows == 3
    assert evaluate_file(write(tmp_path / "r.h5", copy=copy, split=[2] * 6 + [0] * 5)).split == "test"


def test_rows_of_one_split_need_no_choice(tmp_path):
    assert evaluate_file(write(tmp_path / "p.h5", split=[2] * 11)).split == "test"
    assert evaluate_file(write(tmp_path / "q.h5")).split == "all"


def test_rows_of_several_splits_are_not_thrown_together_unasked(tmp_path):
    path = write(tmp_path / "p.h5", split=[0] * 9 + [1] * 2)
    assert told(UsageError, lambda: evaluate_file(path)) == (
        f"{path} holds train (9 rows) and val (2 rows): choose with --split train, --split val or --split all"
    )


@pytest.mark.parametrize(
    ("store", "split", "message"),
    [
        ({"split": [0] * 9 + [1] * 2}, "test", "{path} has no rows of test: it holds train (9 rows) and val (2 rows)"),
        ({}, "val", "{path} has no column split, so no rows of val: evaluate every row with --split all"),
        ({"label": [], "predicted": []}, "val", "{path} holds no rows"),
        ({"copy": np.ones(11, bool)}, None, "{path} holds no rows but copies that augmentation made"),
        (
            {"label": [-1] * 3, "predicted": [0] * 3},
            "all",
            "{path} has no labelled rows, so there is nothing to compare the predictions with",
        ),
        (
            {"label": [0, 1, -1], "predicted": [0] * 3, "split": [0, 0, 1]},
            "val",
            "{path} has no labelled rows of val, so there is nothing to compare the predictions with",
        ),
        ({"without": ["label"]}, "all", "{path} has no column label: there is nothing to compare the predictions with"),
        (
            {"without": ["predicted"]},
            "all",
            "{path} has no column predicted: make predictions with fer predict, "
            "or name the model: fer eval -m MODEL DATA",
        ),
    ],
)
def test_a_missing_set_is_an_error(tmp_path, store, split, message):
    path = write(tmp_path / "p.h5", **store)
    assert told(DataError, lambda: evaluate_file(path, split=split)) == message.format(path=path)


# --- figures --------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path):
    """Three stores, of which the last has two rows of the first, and one of these twice."""
    one = write(tmp_path / "one.h5", digest=digests(11, first=1))
    two = write(tmp_path / "two.h5", digest=digests(11, first=100))
    digest, source = digests(11, first=200), objects(f"other {row}" for row in range(11))
    digest[:3], source[:3] = digests(2, first=1)[[0, 1, 1]], objects(["face 0", "face 1", "face 1"])
    return one, two, write(tmp_path / "three.h5", digest=digest, source=source)


def test_stores_of_other_rows_are_evaluated_as_one(three):
    one, two, _ = three
    with open_store([one, two], "predictions") as predictions:
        assert evaluate(predictions, EvalSpec()).rows == 20


def test_rows_that_stand_in_two_stores_are_refused(three, tmp_path):
    one, two, other = three
    with open_store([one, two, other], "predictions") as predictions:
        assert told(UsageError, evaluate, predictions, EvalSpec()) == (
            f"rows would count twice: 3 of {other} stand in {one} too; leave one of two such stores out"
        )
    copies = [str(shutil.copy(one, tmp_path / f"copy{number}.h5")) for number in range(5)]
    with open_store([one, *copies], "predictions") as predictions:
        pairs = ", ".join(f"11 of {copy} stand in {one} too" for copy in copies[:3])
        assert told(UsageError, evaluate, predictions, EvalSpec()) == (
            f"rows would count twice: {pairs} and so on, 5 pairs of stores in all; leave one of two such stores out"
        )


def test_faces_that_stand_in_two_stores_are_refused_before_a_model_labels_them(tmp_path, monkeypatch, capsys):
    columns = {"digest": digests(126, first=1), "source": objects(f"face {row}" for row in range(126))}
    one = write_bands(tmp_path / "one.h5", **columns)
    other = shutil.copy(one, tmp_path / "other.h5")
    argv = ["fer", "eval", "-m", "default", "--split", "val", str(one), str(other)]
    monkeypatch.setattr("fercli.stages.predict.store", None)
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as end:
        main()
    told = f"rows would count twice: 30 of {other} stand in {one} too; leave one of two such stores out"
    assert (end.value.code, capsys.readouterr().err) == (2, f"fer eval: error: {told}\n")


def test_rows_of_another_split_may_stand_in_two_stores(tmp_path):
    split = [0] * 6 + [1] * 5
    one = write(tmp_path / "one.h5", split=split, digest=digests(11, first=1))
    digest = np.concatenate([digests(6, first=1), digests(5, first=100)])
    other = write(tmp_path / "other.h5", split=split, digest=digest)
    with open_store([one, other], "predictions") as predictions:
        assert evaluate(predictions, EvalSpec(split="val")).rows == 8
        assert told(UsageError, evaluate, predictions, EvalSpec(split="all")).startswith(
            f"rows would count twice: 6 of {other} stand in {one} too;"
        )


@pytest.mark.parametrize(
    "columns",
    [
        {"source": objects(f"elsewhere {row}" for row in range(11))},  # a picture that two data sets have
        {"digest": digests(11, first=100)},  # two pictures of one name
        {"digest": np.zeros((11, 16), np.uint8)},  # photos without a face
    ],
)
def test_pictures_that_are_alike_in_part_are_rows_of_their_own(tmp_path, columns):
    stores = [write(tmp_path / "one.h5"), write(tmp_path / "other.h5", **columns)]
    with open_store(stores, "predictions") as predictions:
        assert evaluate(predictions, EvalSpec()).rows == 20


def test_a_picture_may_be_in_one_store_twice(tmp_path):
    twice = {"digest": np.ones((11, 16), np.uint8), "source": objects(["face"] * 11)}
    assert evaluate_file(write(tmp_path / "p.h5", **twice)).rows == 10


def test_figures_by_hand():
    one = evaluation()
    assert (one.rows, one.correct, one.no_answer, one.unlabelled) == (10, 6, 1, 1)
    assert one.accuracy == 0.6
    assert one.balanced_accuracy == pytest.approx((2 / 4 + 3 / 4 + 1 / 2) / 3)
    assert one.macro_f1 == pytest.approx((2 * 2 / (4 + 4) + 2 * 3 / (4 + 4) + 2 * 1 / (2 + 1)) / 3)
    assert one.interval == pytest.approx((0.3127, 0.8318), abs=5e-5)  # 6 of 10
    assert (one.ece, one.nll, one.leaked, one.accuracy_unseen) == (None, None, None, None)


def test_folds_by_hand():
    fold = np.array([0, 0, 0, 2, 0, 2, 2, 2, 0, 2, 1], np.int16)  # fold 1 has no labelled row
    one = evaluation(fold=fold)
    assert one.folds == (Fold(0, 5, 4), Fold(2, 5, 2))
    assert (mean(one.folds), deviation(one.folds)) == pytest.approx((0.6, 0.2 * math.sqrt(2)))
    document = to_json(one)
    assert document["folds"][0] == {"fold": 0, "rows": 5, "correct": 4, "accuracy": 0.8}
    assert (document["fold_mean"], document["fold_deviation"]) == (mean(one.folds), deviation(one.folds))
    lines = as_text(one).splitlines()
    assert "mean of the folds   0.6000 (standard deviation 0.2828 over 2 folds)" in lines
    assert lines[lines.index("fold  accuracy  correct  rows") :][:3] == [
        "fold  accuracy  correct  rows",
        "0       0.8000        4     5",
        "2       0.4000        2     5",
    ]
    assert "| fold | accuracy | correct | rows |\n| --- | ---: | ---: | ---: |\n| 0 | 0.8000 | 4 | 5 |" in as_markdown(
        one
    )


def test_without_folds_or_with_one_there_is_no_spread():
    for fold, mean_of in ((None, None), (np.zeros(11, np.int16), 0.6)):
        one = evaluation(fold=fold)
        document = to_json(one)
        assert (document["fold_mean"], document["fold_deviation"]) == (mean_of, None)
        assert "mean of the folds" not in as_text(one)


def test_calibration_is_that_of_the_answered_rows():
    probability = np.array([[0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0, 0, 0], [0.5, 0.5, 0]], np.float32)
    one = evaluation([0, 0, 1, -1], [0, 2, -1, 0], probability=probability)
    assert one.ece == pytest.approx((0.2 + 0.6) / 2, abs=1e-6)
    assert one.nll == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2, abs=1e-6)
    assert evaluation([0], [-1], probability=np.zeros((1, 3), np.float32)).ece is None


@pytest.mark.parametrize("bad", [np.nan, 1.5, -0.1])
def test_an_impossible_probability_is_refused(bad):
    probability = np.array([[bad, 0.0, 0.0]], np.float32)
    message = told(DataError, lambda: evaluation([0], [1], probability=probability))
    assert message == "new.h5 has a probability that is not within 0 to 1"


def test_leaked_rows_are_counted_apart():
    one = evaluation([0, 0, 1, 1, -1], [0, 1, 1, 0, 0], seen=np.array([1, 0, 1, 0, 1], bool))
    assert (one.leaked, one.leaked_correct, one.accuracy, one.accuracy_unseen) == (2, 2, 0.5, 0.0)
    assert math.isnan(evaluation([0], [0], seen=np.array([True])).accuracy_unseen)


@given(st.permutations(range(len(LABEL))))
def test_the_order_of_rows_changes_nothing(order):
    order = list(order)
    shuffled = evaluation(
        [LABEL[row] for row in order], [PREDICTED[row] for row in order], digest=digests(len(order))[order]
    )
    assert to_json(shuffled) == to_json(evaluation())


# --- pages ----------------------------------------------------------------------------------------------------------

SEEN = np.array([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], bool)
PROBABILITY = np.where(np.eye(3)[np.array(PREDICTED)] > 0, 0.8, 0.1).astype(np.float32)

TEXT = """\
new.h5, split val: 10 labelled rows, 3 classes

accuracy            0.6000 (95 % interval 0.3127 to 0.8318)
balanced accuracy   0.5833
macro F1            0.6389
weighted F1         0.6333
calibration error   0.1333 (expected, 15 bins)
log loss            0.9163
seen in training    2 rows; accuracy without them 0.5000 (95 % interval 0.2152 to 0.7848)
no answer           1 row, counted as wrong
unlabelled          1 row, left out

class  precision  recall      f1  support
angry     0.5000  0.5000  0.5000        4
happy     0.7500  0.7500  0.7500        4
sad       1.0000  0.5000  0.6667        2

confusion (rows: true class, columns: predicted)
       angry  happy  sad  no answer
angry      2      1    0          1
happy      1      3    0          0
sad        1      0    1          0

pass  accuracy is 0.6000 on val (10 rows), at least the required 0.5
FAIL  recall.sad is 0.5000 on val (2 rows of 'sad'), below the required 0.75"""

MARKDOWN = """\
### new.h5, split val: 10 labelled rows, 3 classes

- **pass** accuracy is 0.6000 on val (10 rows), at least the required 0.5
- **FAIL** recall.sad is 0.5000 on val (2 rows of 'sad'), below the required 0.75

| metric | value |
| --- | ---: |
| accuracy | 0.6000 (95 % interval 0.3127 to 0.8318) |
| balanced accuracy | 0.5833 |
| macro F1 | 0.6389 |
| weighted F1 | 0.6333 |
| calibration error | 0.1333 (expected, 15 bins) |
| log loss | 0.9163 |
| seen in training | 2 rows; accuracy without them 0.5000 (95 % interval 0.2152 to 0.7848) |
| no answer | 1 row, counted as wrong |
| unlabelled | 1 row, left out |

| class | precision | recall | f1 | support |
| --- | ---: | ---: | ---: | ---: |
| angry | 0.5000 | 0.5000 | 0.5000 | 4 |
| happy | 0.7500 | 0.7500 | 0.7500 | 4 |
| sad | 1.0000 | 0.5000 | 0.6667 | 2 |

Confusion (rows: true class, columns: predicted)

|  | angry | happy | sad | no answer |
| --- | ---: | ---: | ---: | ---: |
| angry | 2 | 1 | 0 | 1 |
| happy | 1 | 3 | 0 | 0 |
| sad | 1 | 0 | 1 | 0 |"""


def full():
    one = evaluation(seen=SEEN, probability=PROBABILITY)
    return one, check_minimums(one, ["accuracy=0.5", "recall.sad=0.75"])


def test_the_text_page():
    assert as_text(*full()) == TEXT


def test_the_markdown_page():
    assert as_markdown(*full()) == MARKDOWN


def test_a_plain_evaluation_tells_only_what_was_measured():
    page = as_text(evaluation([0, 1, 2], [0, 1, 1], split="all"))
    assert page.splitlines()[0] == "new.h5, all rows: 3 labelled rows, 3 classes"
    for absent in ("calibration", "log loss", "seen", "no answer", "unlabelled", "pass", "FAIL"):
        assert absent not in page


def test_an_evaluation_of_training_rows_says_so():
    page = as_text(evaluation([0, 1], [0, 1], seen=np.array([True, True])))
    assert "seen in training    all 2 rows: this accuracy tells nothing about other faces" in page
    assert "seen in training    0 rows\n" in as_text(evaluation([0, 1], [0, 1], seen=np.zeros(2, bool)))


def test_names_cannot_break_out_of_the_pages():
    one = evaluation([0, 1], [1, 1], classes=("a|b", "c\x1b[31m\n"), name="new\n.h5")
    page, markdown = as_text(one), as_markdown(one)
    assert "\x1b" not in page + markdown
    assert page.startswith("new\\n.h5, split val")
    assert "\n| a\\|b | 0.0000 |" in markdown
    assert "\n| c\\\\x1b\\[31m\\\\n | 0.5000 |" in markdown


# --- JSON -----------------------------------------------------------------------------------------------------------


def test_json_is_plain_complete_and_stable():
    document = to_json(*full())
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert list(document) == [
        "format", "version", "name", "split", "classes", "rows", "unlabelled", "no_answer", "accuracy",
        "accuracy_unseen", "macro_f1", "balanced_accuracy", "weighted_f1", "interval", "interval_unseen", "ece", "nll",
        "leaked", "leaked_correct", "folds", "fold_mean", "fold_deviation", "per_class", "confusion", "fingerprints",
        "heads", "gates",
    ]  # fmt: skip
    assert (document["format"], document["version"]) == ("fercli-evaluation", 1)
    assert document["confusion"] == [[2, 1, 0], [1, 3, 0], [1, 0, 1]]
    assert document["per_class"]["angry"] == {
        "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 4, "no_answer": 1
    }  # fmt: skip
    assert document["gates"][1] == {
        "gate": "recall.sad=0.75",
        "passed": False,
        "text": "recall.sad is 0.5000 on val (2 rows of 'sad'), below the required 0.75",
        "figure": 0.5,
        "bound": 0.75,
    }


def test_a_figure_that_does_not_exist_is_null():
    document = to_json(evaluation([0], [0], seen=np.array([True])))
    assert document["accuracy_unseen"] is None
    json.dumps(document, allow_nan=False)


def test_json_comes_back_as_it_was_without_rows():
    one, verdicts = full()
    back = from_json(to_json(one, verdicts), "old.json")
    assert back.answers is None
    assert to_json(back) == {**to_json(one), "name": "old.json"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format="other"), "old.json is not the --json of fer eval"),
        (
            lambda d: d.update(version=2),
            "old.json is of version 2 and this fercli reads 1: update fercli or evaluate again",
        ),
        (lambda d: d.pop("confusion"), "value"),
        (lambda d: d.update(confusion=[[1, 2], [3, 4]]), "value"),
        (lambda d: d.update(confusion=[[2.5, 1, 0], [1, 3, 0], [1, 0, 1]]), "value"),
        (lambda d: d.update(confusion=[[2, 1, 0], [1, -3, 0], [1, 0, 1]]), "value"),
        (lambda d: d.update(confusion="none"), "value"),
        (lambda d: d.update(per_class={}), "value"),
        (lambda d: d.update(split="holdout"), "value"),
        (lambda d: d.update(fingerprints=None), "value"),
        (lambda d: d.update(accuracy=0.7), "accuracy"),
        (lambda d: d.update(accuracy=math.nan), "accuracy"),
    ],
)
def test_damaged_json_is_refused(change, message):
    document = to_json(evaluation())
    change(document)
    sentences = {
        "value": "old.json is damaged: a value of the evaluation is missing or of the wrong kind",
        "accuracy": "old.json is damaged: its accuracy is not that of its confusion matrix",
    }
    assert told(DataError, from_json, document, "old.json") == sentences.get(message, message)


@pytest.mark.parametrize("key", sorted(to_json(evaluate_answers(answers())).keys() - {"name", "rows", "no_answer"}))
def test_no_missing_value_becomes_a_traceback(key):
    for value in (None, "x", [], {}, 3):
        with contextlib.suppress(DataError):  # anything else is a traceback
            back = from_json({**to_json(evaluation()), key: value}, "old.json")
            assert back.accuracy == 0.6


# --- minimums -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("accuracy", "--min accuracy lacks its bound: write --min accuracy=0.65"),
        ("accuracy=", "--min accuracy= lacks its bound: write --min accuracy=0.65"),
        ("0.65", "--min 0.65 lacks its bound: write --min 0.65=0.65"),
        ("accuracy=high", "--min accuracy=high: 'high' is no number"),
        ("accuracy=65", "--min accuracy=65: a bound is a share from 0 to 1, so 65 % is accuracy=0.65"),
        ("accuracy=nan", "--min accuracy=nan: a bound is a share from 0 to 1, so 65 % is accuracy=0.65"),
        ("accuracy=-0.1", "--min accuracy=-0.1: a bound is a share from 0 to 1, so 65 % is accuracy=0.65"),
        (
            "ece=0.1",
            "--min ece=0.1: less ece is better, so it takes no minimum; "
            "gate on accuracy, accuracy_unseen, macro_f1, balanced_accuracy, weighted_f1",
        ),
        ("acuracy=0.5", "--min acuracy=0.5: no metric is called 'acuracy'; did you mean 'accuracy'?"),
        ("recall=0.5", "--min recall=0.5: no metric is called 'recall'; did you mean 'recall.CLASS'?"),
        ("support.sad=0.5", "--min support.sad=0.5: no metric is called 'support.sad'; {known}"),
    ],
)
def test_a_gate_put_wrongly_is_told_before_any_work(gate, message):
    known = (
        "known: accuracy, accuracy_unseen, macro_f1, balanced_accuracy, weighted_f1, "
        "precision.CLASS, recall.CLASS, f1.CLASS"
    )
    assert told(UsageError, lambda: EvalSpec(min=(gate,))) == message.format(known=known)


@pytest.mark.parametrize("name", ["max_drop", "alpha"])
def test_a_drop_without_a_baseline_is_told(name):
    message = told(UsageError, lambda: EvalSpec(**{name: 0.5}))
    assert message == f"--{name.replace('_', '-')} needs the earlier result to compare with: add --baseline FILE"


def test_a_bound_is_met_by_equality():
    one = evaluation([0] * 20, [0] * 13 + [1] * 7)
    assert [v.passed for v in check_minimums(one, ["accuracy=0.65", "accuracy = 0.6500001"])] == [True, False]
    assert parse_minimum(" accuracy = 0.65 ") == ("accuracy", 0.65, "0.65")


@given(st.integers(0, 200), st.integers(1, 200), st.integers(0, 1000))
def test_a_minimum_passes_exactly_from_its_bound(right, wrong, thousandths):
    rows = right + wrong
    one = evaluation([0] * rows, [0] * right + [1] * wrong)
    (verdict,) = check_minimums(one, [f"accuracy={thousandths / 1000}"])
    assert verdict.passed == (right * 1000 >= thousandths * rows)


def test_the_failure_names_gate_figure_and_bound():
    one = evaluation([0] * 3589, [0] * 2198 + [1] * 1391)
    assert told(GateFailed, enforce, check_minimums(one, ["accuracy=0.65", "precision.angry=0.9"])) == (
        "gate failed: accuracy is 0.6124 on val (3,589 rows), below the required 0.65"
    )


def test_every_failing_gate_is_named():
    verdicts = check_minimums(evaluation(), ["accuracy=0.7", "recall.happy=0.7", "f1.sad=0.9"])
    assert told(GateFailed, enforce, verdicts) == (
        "2 gates failed: accuracy is 0.6000 on val (10 rows), below the required 0.7; "
        "f1.sad is 0.6667 on val (2 rows of 'sad'), below the required 0.9"
    )
    enforce([verdict for verdict in verdicts if verdict.passed])


def test_a_figure_just_below_its_bound_is_not_rounded_up_to_it():
    one = evaluation([0] * 20000, [0] * 12999 + [1] * 7001, split="all")
    (verdict,) = check_minimums(one, ["accuracy=0.65"])
    assert verdict.text == "accuracy is 0.64995 on the whole store (20,000 rows), below the required 0.65"


def test_an_unknown_class_is_told():
    assert told(UsageError, check_minimums, evaluation(), ["recall.hapy=0.5"]) == (
        "--min recall.hapy: there is no class 'hapy'; did you mean 'recall.happy'?"
    )


@pytest.mark.parametrize("metric", ["precision", "recall", "f1"])
def test_a_class_without_rows_never_passes(metric):
    one = evaluation([0, 1], [0, 2])
    for bound in ("0", "0.5"):
        assert told(DataError, check_minimums, one, [f"{metric}.sad={bound}"]) == (
            f"{metric}.sad cannot be judged: val has no row labelled 'sad'"
        )


@pytest.mark.parametrize("metric", ["macro_f1", "balanced_accuracy"])
def test_a_mean_over_classes_needs_every_class(metric):
    assert told(DataError, check_minimums, evaluation([0, 0], [0, 0]), [f"{metric}=0.5"]) == (
        f"{metric} cannot be judged: it is a mean over classes, and val has no row labelled 'happy' or 'sad'; "
        "gate on accuracy or on the f1.CLASS of the others"
    )


def test_the_accuracy_of_unseen_rows_can_gate():
    one = evaluation([0, 0, 1, 1], [0, 1, 1, 0], seen=np.array([1, 0, 1, 0], bool))
    (verdict,) = check_minimums(one, ["accuracy_unseen=0.5"])
    assert (verdict.passed, verdict.text) == (
        False,
        "accuracy_unseen is 0.0000 on val (2 rows that the model was not trained on), below the required 0.5",
    )
    assert told(DataError, check_minimums, evaluation(), ["accuracy_unseen=0"]) == (
        "accuracy_unseen cannot be judged: new.h5 does not tell which rows the model was trained on"
    )
    assert told(DataError, check_minimums, evaluation([0], [0], seen=np.array([True])), ["accuracy_unseen=0"]) == (
        "accuracy_unseen cannot be judged: the model was trained on every row of val"
    )


@pytest.mark.parametrize("metric", ["accuracy", "weighted_f1"])
def test_nan_never_passes(metric):
    nothing = dataclasses.replace(evaluation(), confusion=np.zeros((3, 4), np.int64))
    assert told(DataError, check_minimums, nothing, [f"{metric}=0"]) == (
        f"{metric} cannot be judged: it is nan on val (0 rows)"
    )


# --- baseline -------------------------------------------------------------------------------------------------------


def changed(lost, gained, same, name="old.h5"):
    """An old and a new set of answers: so many rows lost, gained, and right in both."""
    rows = lost + gained + same
    old = [0] * lost + [1] * gained + [0] * same
    new = [1] * lost + [0] * gained + [0] * same
    return evaluation([0] * rows, new), evaluation([0] * rows, old, name=name)


def test_within_the_allowed_drop():
    verdict = check_baseline(*changed(6, 1, 993), 0.5)
    assert (verdict.passed, verdict.text) == (
        True,
        "accuracy is 0.9940 on val (1,000 rows), 0.50 points below the 0.9990 of old.h5, within the 0.5 allowed",
    )
    assert verdict.figures["drop"] == 0.5


def test_a_drop_that_chance_explains_passes_and_says_so():
    verdict = check_baseline(*changed(4, 1, 95), 0.5)
    assert (verdict.passed, verdict.text) == (
        True,
        "accuracy is 0.9600 on val (100 rows), 3.00 points below the 0.9900 of old.h5, beyond the 0.5 allowed; "
        "4 rows lost against 1 gained may be chance (exact paired McNemar test, p = 0.1875, alpha 0.05)",
    )


def test_a_significant_drop_beyond_the_bound_fails():
    new, old = changed(10, 1, 989)
    verdict = check_baseline(new, old, 0.5)
    assert told(GateFailed, enforce, [verdict]) == (
        "gate failed: accuracy is 0.9900 on val (1,000 rows), 0.90 points below the 0.9990 of old.h5, "
        "beyond the 0.5 allowed; 10 rows lost against 1 gained is not chance "
        "(exact paired McNemar test, p = 0.0059, alpha 0.05)"
    )
    assert verdict.figures == {
        "accuracy": 0.99, "baseline": 0.999, "drop": 0.9, "bound": 0.5,
        "lost": 10, "gained": 1, "p": mcnemar_worse(10, 1), "alpha": 0.05,
    }  # fmt: skip
    assert "p < 0.0001" in check_baseline(*changed(40, 0, 100), 0.5).text


def test_better_and_equal_pass():
    assert check_baseline(*changed(1, 3, 96), 0.0).text == (
        "accuracy is 0.9900 on val (100 rows), 2.00 points above the 0.9700 of old.h5"
    )
    assert check_baseline(*changed(2, 2, 96), 0.0).text == "accuracy is 0.9800 on val (100 rows), as in old.h5"


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 60), st.sampled_from([0.0, 0.5, 10.0]))
def test_the_rule(lost, gained, same, max_drop):
    new, old = changed(lost, gained, same)
    beyond = 100 * (lost - gained) > max_drop * (lost + gained + same)
    assert check_baseline(new, old, max_drop).passed == (not (beyond and mcnemar_worse(lost, gained) < 0.05))
    assert check_baseline(new, old, max_drop, alpha=1.0).passed == (not beyond)
    assert check_baseline(new, from_document(old), max_drop).passed == (not beyond)


def test_a_baseline_without_rows_decides_by_the_drop_alone():
    new, old = changed(4, 1, 95)
    verdict = check_baseline(new, from_document(old), 0.5)
    assert (verdict.passed, verdict.text) == (
        False,
        "accuracy is 0.9600 on val (100 rows), 3.00 points below the 0.9900 of old.json, beyond the 0.5 allowed; "
        "old.json has no rows to pair, so the drop alone decides",
    )
    assert "lost" not in verdict.figures


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1), st.booleans(), st.booleans()), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_pairing_is_blind_to_order_and_takes_copies_as_interchangeable(rows, random):
    """Each row: identity, label, right in the old, right in the new. Copies: same identity and label."""

    def side(part, which, name):
        label = [row[1] for row in part]
        predicted = [row[1] if row[which] else 2 for row in part]
        return answers(label, predicted, name=name, digest=digests(6)[[row[0] for row in part]])

    shuffled = random.sample(rows, len(rows))
    lost = gained = 0
    for _, group in itertools.groupby(sorted(rows), key=lambda row: row[:2]):
        group = list(group)
        change = sum(row[3] for row in group) - sum(row[2] for row in group)
        lost, gained = lost + max(0, -change), gained + max(0, change)
    assert paired_changes(side(shuffled, 3, "new.h5"), side(rows, 2, "old.h5")) == (lost, gained)


def test_rows_without_digests_are_paired_by_source():
    source = objects(["b.png", "a\udcff.png"])
    new = answers([0, 1], [0, 0], digest=None, source=source)
    old = answers([1, 0], [1, 1], digest=None, source=source[::-1], name="old.h5")
    assert paired_changes(new, old) == (1, 1)


def test_other_crops_of_the_same_photos_are_told():
    source = objects(["a.png", "b.png"])
    new, old = (
        answers([0, 1], [0, 0], digest=digests(2, first=first), source=source, name=f"{first}.h5") for first in (0, 5)
    )
    assert told(DataError, paired_changes, new, old) == (
        "0.h5 and 5.h5 hold the same photos, but other crops of them (of another size, margin, alignment or detector): "
        "predict with both models on one store of crops, made with fer detect"
    )


def test_classes_are_compared_by_name():
    new = evaluation([0, 1, 2], [0, 1, 1])
    old = evaluation([2, 0, 1], [2, 0, 1], name="old.h5", classes=("happy", "sad", "angry"))
    for one in (old, from_document(old)):
        assert check_baseline(new, one, 50.0).text.endswith("within the 50 allowed")


OTHER_ROWS = "evaluate both models on the same data"


@pytest.mark.parametrize(
    ("old", "paired", "unpaired"),
    [
        (
            {"digest": digests(11, first=2)},
            "new.h5 and old.h5 hold different rows: 2 are only in new.h5, 2 only in old.h5; "
            "predict both on the same data",
            f"old.h5 is an evaluation of other rows or labels (10 rows) than new.h5 (10): {OTHER_ROWS}",
        ),
        (
            {"label": LABEL[:5], "predicted": PREDICTED[:5]},
            "new.h5 and old.h5 hold different rows: 5 are only in new.h5, 0 only in old.h5; "
            "predict both on the same data",
            f"old.h5 is an evaluation of other rows or labels (5 rows) than new.h5 (10): {OTHER_ROWS}",
        ),
        (
            {"label": [0, 0, 0, 1, *LABEL[4:]]},
            "new.h5 and old.h5 label 1 row otherwise: predict both on the same data",
            f"old.h5 is an evaluation of other rows or labels (10 rows) than new.h5 (10): {OTHER_ROWS}",
        ),
        ({"split": "test"}, "old.h5 is of test and new.h5 of val: choose one with --split", None),
        ({"split": "all"}, "old.h5 is of the whole store and new.h5 of val: choose one with --split", None),
        (
            {"classes": ("angry", "happy", "fear")},
            "new.h5 and old.h5 have different classes: 'fear', 'sad' only in one of them",
            None,
        ),
        (
            {"digest": None, "source": objects(map(str, range(11)))},
            "new.h5 and old.h5 cannot be compared: whether their rows are the same shows by digest or source, "
            "and they have neither in common",
            None,
        ),
    ],
)
def test_a_baseline_of_something_else_is_an_error(old, paired, unpaired):
    old = evaluation(name="old.h5", **{"label": LABEL, "predicted": PREDICTED, **old})
    assert told(DataError, check_baseline, evaluation(), old, 100.0) == paired
    document = from_document(old, "old.h5")
    assert told(DataError, check_baseline, evaluation(), document, 100.0) == (unpaired or paired)


def test_baselines_are_read_from_stores_and_from_json(tmp_path):
    new = evaluate_file(write(tmp_path / "new.h5", split=[1] * 11), split="val")
    better = [label if label >= 0 else 0 for label in LABEL]
    old = write(tmp_path / "old.h5", predicted=better, split=[1] * 11)
    kept = tmp_path / "old.json"
    kept.write_text(json.dumps(to_json(evaluate_file(old))))
    spec = EvalSpec(min=("accuracy=0.5",), baseline="old", max_drop=0.5)
    by_rows = judge(new, spec, read_baseline(old, new.split))
    by_drop = judge(new, spec, read_baseline(str(kept), new.split))
    assert [verdict.passed for verdict in by_rows] == [True, True]  # 4 lost, 0 gained: p = 0.0625
    assert [verdict.passed for verdict in by_drop] == [True, False]
    assert told(DataError, judge, new, spec) == "the baseline old was not read, so nothing is compared with it"
    assert len(judge(new, EvalSpec(min=("accuracy=0.5",)))) == 1


def test_a_baseline_that_is_none(tmp_path):
    missing, text, other = tmp_path / "missing.json", tmp_path / "text.json", tmp_path / "other.json"
    text.write_text("accuracy 0.9")
    other.write_text('{"accuracy": 0.9}')
    store = write(tmp_path / "p.h5", split=[0] * 11)
    assert told(DataError, read_baseline, str(missing), "val") == (
        f"{missing} cannot be read: No such file or directory"
    )
    assert told(DataError, read_baseline, str(text), "val") == (
        f"{text} is neither a predictions store nor the --json of an earlier fer eval"
    )
    assert told(DataError, read_baseline, str(other), "val") == f"{other} is not the --json of fer eval"
    assert told(DataError, read_baseline, store, "val") == f"{store} has no rows of val: it holds train (11 rows)"


def test_answers_keep_the_columns_of_their_rows(tmp_path):
    path = write(tmp_path / "p.h5", split=[0, 1] * 5 + [0], seen=np.arange(11) < 4)
    with open_store(path, "predictions") as predictions:
        chosen = answers_from(predictions, "val")
    assert chosen.label.tolist() == LABEL[1::2]
    assert chosen.seen.tolist() == [True, True, False, False, False]
    assert chosen.source.tolist() == [f"face {row}" for row in range(1, 11, 2)]
    assert chosen.digest.tolist() == digests(11)[1::2].tolist()
    assert chosen.probability is None
