"""Classification metrics from one matrix of counts. Pure functions over arrays.

Conventions, the same everywhere:

- `confusion` counts rows = true class, columns = predicted class, and one last column, "no answer": (K, K+1).
- A row without a label (-1) says nothing and is left out. A labelled row without an answer (predicted -1: no face
  found, file not readable) counts as wrong and is never dropped: it stays in the support and lowers accuracy, recall
  and F1, but no precision. Otherwise a model could raise its accuracy by refusing the hard faces, and a file that
  became unreadable would pass a gate in silence.
- 0/0 is 0: the precision of a class never predicted, the recall of a class without rows.
- The plain means over classes (macro precision, recall, F1) take the classes that occur, as label or as answer; a
  class that occurs in neither is left out, and one that is only answered counts with 0. This is scikit-learn's default
  (`labels=None`, `zero_division=0`). Balanced accuracy is the mean recall of the classes that have rows, as in
  scikit-learn's `balanced_accuracy_score`; the weighted F1 weighs by support.
- A figure over no rows at all is NaN, which passes no gate.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..errors import DataError

#: Probabilities are raised to this before the logarithm, so that one certain mistake does not make the mean infinite.
TINY = float(np.finfo(np.float32).tiny)


def confusion(label: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts (K, K+1) int64 of `label` (N,) by `predicted` (N,), both -1..K-1 with K = `classes`; see the top.

    Raises DataError: arrays of unequal length, or a value outside -1..K-1 (it names the row).
    """
    label, predicted = np.asarray(label, np.int64), np.asarray(predicted, np.int64)
    if label.shape != predicted.shape:
        raise DataError(f"{len(label)} labels do not fit {len(predicted)} predictions")
    for name, values in (("label", label), ("predicted class", predicted)):
        outside = np.flatnonzero((values < -1) | (values >= classes))
        if len(outside):
            row = outside[0]
            raise DataError(
                f"row {row} has the {name} {values[row]}, but there are {classes} classes (0 to {classes - 1})"
            )
    labelled = label >= 0
    column = np.where(predicted < 0, classes, predicted)
    cells = label[labelled] * (classes + 1) + column[labelled]
    return np.bincount(cells, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


@dataclass(frozen=True)
class PerClass:
    """One figure a class, (K,) each: precision, recall, f1 float64 0..1, support (labelled rows) int64, and `occurs`,
    whether the class is the label or the answer of any row."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    occurs: np.ndarray


def per_class(matrix: np.ndarray) -> PerClass:
    """Precision, recall, F1 = 2·hits / (support + answers), and support of each class of a `confusion` matrix."""
    hits, support, answers = np.diagonal(matrix), matrix.sum(axis=1), matrix[:, :-1].sum(axis=0)
    return PerClass(
        _ratio(hits, answers),
        _ratio(hits, support),
        _ratio(2 * hits, support + answers),
        support,
        support + answers > 0,
    )


def accuracy(matrix: np.ndarray) -> float:
    """Share of the labelled rows that are answered rightly."""
    return _mean_share(np.trace(matrix), matrix.sum())


def macro_f1(matrix: np.ndarray) -> float:
    """Plain mean of F1 over the classes that occur."""
    table = per_class(matrix)
    return _mean(table.f1[table.occurs])


def balanced_accuracy(matrix: np.ndarray) -> float:
    """Plain mean of recall over the classes that have rows."""
    table = per_class(matrix)
    return _mean(table.recall[table.support > 0])


def weighted_f1(matrix: np.ndarray) -> float:
    """Mean of F1 weighted by support."""
    table = per_class(matrix)
    return _mean_share(float(table.f1 @ table.support), table.support.sum())


def log_loss(probability: np.ndarray, label: np.ndarray) -> float:
    """Mean of -ln p(true class) over rows, in nats; `probability` (N, K), `label` (N,) 0..K-1. No rows: NaN."""
    if not len(label):
        return math.nan
    chosen = np.asarray(probability, np.float64)[np.arange(len(label)), label]
    return float(-np.log(np.maximum(chosen, TINY)).mean())


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _mean_share(part: float, whole: int) -> float:
    return float(part / whole) if whole else math.nan


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan
