"""The folds of a cross-validation, each judged by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fold:
    """What the answers of one fold are worth: its labelled rows, and how many of them are right."""

    fold: int
    rows: int
    correct: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.rows


def folds_of(fold: np.ndarray | None, correct: np.ndarray) -> tuple[Fold, ...]:
    """The folds of N labelled rows, ascending; none where `fold` (N,) is None. `correct` (N,) bool."""
    if fold is None:
        return ()
    within = [(int(number), fold == number) for number in np.unique(fold)]
    return tuple(Fold(number, int(rows.sum()), int(correct[rows].sum())) for number, rows in within)


def mean(folds: Sequence[Fold]) -> float | None:
    """Mean of the folds' accuracies, however many rows each has; None without folds."""
    return float(np.mean([one.accuracy for one in folds])) if folds else None


def deviation(folds: Sequence[Fold]) -> float | None:
    """Standard deviation of the folds' accuracies, over n - 1; None for fewer than two folds."""
    return float(np.std([one.accuracy for one in folds], ddof=1)) if len(folds) > 1 else None
