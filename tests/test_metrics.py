"""The metrics against slow loops written from their definitions, and hand-worked numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fercli.errors import DataError
from fercli.ops import metrics

CLASSES = 4
answers = st.lists(st.tuples(st.integers(-1, CLASSES - 1), st.integers(-1, CLASSES - 1)), max_size=60)


def matrix_of(pairs):
    table = np.array(pairs, np.int16).reshape(-1, 2)
    return metrics.confusion(table[:, 0], table[:, 1], CLASSES)


def slow_class(pairs, c):
    """Precision, recall, F1 and support of class c by counting."""
    pairs = [pair for pair in pairs if pair[0] >= 0]
    hits = sum(t == c and p == c for t, p in pairs)
    answered, support = sum(p == c for _, p in pairs), sum(t == c for t, _ in pairs)
    precision = hits / answered if answered else 0.0
    recall = hits / support if support else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return precision, recall, f1, support, answered


@given(answers)
def test_the_matrix_counts_every_labelled_row_once(pairs):
    expected = np.zeros((CLASSES, CLASSES + 1), int)
    for true, predicted in pairs:
        if true >= 0:
            expected[true, predicted if predicted >= 0 else CLASSES] += 1
    assert (matrix_of(pairs) == expected).all()


@given(answers)
def test_the_class_table_is_the_slow_one(pairs):
    table = metrics.per_class(matrix_of(pairs))
    slow = [slow_class(pairs, c) for c in range(CLASSES)]
    for name, column in zip(("precision", "recall", "f1", "support"), zip(*slow, strict=False), strict=False):
        assert getattr(table, name) == pytest.approx(np.array(column))
    assert table.occurs.tolist() == [support + answered > 0 for *_, support, answered in slow]


@given(answers)
def test_the_means_are_the_slow_ones(pairs):
    matrix = matrix_of(pairs)
    slow = [slow_class(pairs, c) for c in range(CLASSES)]
    labelled = [(t, p) for t, p in pairs if t >= 0]
    if not labelled:
        for figure in (metrics.accuracy, metrics.macro_f1, metrics.balanced_accuracy, metrics.weighted_f1):
            assert math.isnan(figure(matrix))
        return
    assert metrics.accuracy(matrix) == pytest.approx(sum(t == p for t, p in labelled) / len(labelled))
    occurring = [f1 for _, _, f1, support, answered in slow if support or answered]
    assert metrics.macro_f1(matrix) == pytest.approx(sum(occurring) / len(occurring))
    recalls = [recall for _, recall, _, support, _ in slow if support]
    assert metrics.balanced_accuracy(matrix) == pytest.approx(sum(recalls) / len(recalls))
    weighted = sum(f1 * support for _, _, f1, support, _ in slow) / len(labelled)
    assert metrics.weighted_f1(matrix) == pytest.approx(weighted)


@given(answers, st.permutations(range(CLASSES)))
def test_the_order_of_classes_and_rows_does_not_matter(pairs, order):
    renamed = [(order[t] if t >= 0 else -1, order[p] if p >= 0 else -1) for t, p in reversed(pairs)]
    for figure in (metrics.accuracy, metrics.macro_f1, metrics.balanced_accuracy, metrics.weighted_f1):
        assert figure(matrix_of(renamed)) == pytest.approx(figure(matrix_of(pairs)), nan_ok=True)


@given(answers, st.integers(0, CLASSES - 1))
def test_refusing_to_answer_never_pays(pairs, true):
    """Turning a wrong answer into none raises neither accuracy nor balanced accuracy."""
    wrong, refused = [*pairs, (true, (true + 1) % CLASSES)], [*pairs, (true, -1)]
    for figure in (metrics.accuracy, metrics.balanced_accuracy):
        assert figure(matrix_of(refused)) == figure(matrix_of(wrong))


def test_by_hand():
    # true 0: 2 right, 1 taken for 1, 1 without answer; true 1: 3 right, 1 taken for 0; class 2: one answer, no row
    label = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, -1])
    predicted = np.array([0, 0, 1, -1, 1, 1, 1, 0, 2, 2])
    matrix = metrics.confusion(label, predicted, 4)
    assert matrix.tolist() == [[2, 1, 0, 0, 1], [1, 3, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    table = metrics.per_class(matrix)
    assert table.precision.tolist() == [2 / 3, 3 / 4, 0, 0]
    assert table.recall.tolist() == [2 / 4, 3 / 5, 0, 0]
    assert table.f1.tolist() == [4 / 7, 6 / 9, 0, 0]
    assert table.support.tolist() == [4, 5, 0, 0]
    assert metrics.accuracy(matrix) == 5 / 9
    assert metrics.macro_f1(matrix) == pytest.approx(
        (4 / 7 + 2 / 3 + 0) / 3
    )  # class 2 is answered, class 3 does not occur
    assert metrics.balanced_accuracy(matrix) == pytest.approx((1 / 2 + 3 / 5) / 2)
    assert metrics.weighted_f1(matrix) == pytest.approx((4 * 4 / 7 + 5 * 2 / 3) / 9)


def test_log_loss_by_hand():
    probability = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]], np.float32)
    assert metrics.log_loss(probability[:2], np.array([0, 1])) == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert metrics.log_loss(probability[2:], np.array([1])) == pytest.approx(-math.log(metrics.TINY))
    assert math.isnan(metrics.log_loss(np.zeros((0, 2)), np.zeros(0, int)))


@pytest.mark.parametrize(
    ("label", "predicted", "message"),
    [
        ([0, 3], [0, 0], "row 1 has the label 3, but there are 3 classes (0 to 2)"),
        ([0, -2], [0, 0], "row 1 has the label -2, but there are 3 classes (0 to 2)"),
        ([0, 1], [9, 0], "row 0 has the predicted class 9, but there are 3 classes (0 to 2)"),
        ([0, 1, 2], [0, 1], "3 labels do not fit 2 predictions"),
    ],
)
def test_what_is_no_answer_set_is_refused(label, predicted, message):
    with pytest.raises(DataError) as caught:
        metrics.confusion(np.array(label), np.array(predicted), 3)
    assert str(caught.value) == message
