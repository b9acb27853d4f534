"""fer eval: what predictions are worth, against the labels that they carry.

`evaluate` works on a predictions store; `judge` it with `gate`, print it with `report`. Labels and answers of a store
share one list of classes, aligned by name when the predictions were made. How rows without an answer and classes
without rows count is written at the top of `ops.metrics`.
"""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import DataError, UsageError
from ..ops import metrics, statistics
from ..spec import Spec, nearest, option
from ..store import SPLITS, Reader
from .answers import IDENTITIES, Answers, answers_from
from .folds import Fold, folds_of

CLASS_METRICS = ("precision", "recall", "f1")
LOWER_IS_BETTER = ("ece", "nll")


@dataclass(frozen=True)
class EvalSpec(Spec):
    """What is evaluated, and the gates that it has to pass."""

    split: str | None = option(
        None,
        "Rows to evaluate; may be left out where all are of one split. Copies made by fer augment never count.",
        choices=(*SPLITS, "all"),
    )
    min: tuple[str, ...] = option(
        (), "Fail (exit 3) if a metric is lower: accuracy, accuracy_unseen (of rows not trained on), "
        "balanced_accuracy, macro_f1, weighted_f1, precision.CLASS, recall.CLASS or f1.CLASS, from 0 to 1.",
        metavar="METRIC=BOUND",
    )  # fmt: skip
    baseline: str | None = option(
        None, "Compare with an earlier predictions store, or the --json of an earlier fer eval.", metavar="FILE"
    )
    max_drop: float | None = option(
        None,
        "Fail (exit 3) if accuracy is more than so many percentage points below the baseline (0 unless given).",
        low=0,
        high=100,
    )
    alpha: float | None = option(
        None,
        "A drop counts only if its p value in the paired test is below this; 1 counts every drop. The test needs a "
        "predictions store as the baseline. [default: 0.05]",
        low=0.0001,
        high=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for gate in self.min:
            parse_minimum(gate)
        for flag, value in (("--max-drop", self.max_drop), ("--alpha", self.alpha)):
            if value is not None and self.baseline is None:
                raise UsageError(f"{flag} needs the earlier result to compare with: add --baseline FILE")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of one set of answers; all shares 0..1.

    `confusion` (K, K+1) as `ops.metrics.confusion`; `unlabelled` rows were left out; `ece` and `nll` are over the
    answered rows, None without probabilities; `leaked` and `leaked_correct` count the rows on whose very pixels the
    model was trained, None where that is not recorded; `folds` are those of a cross-validation; `fingerprints` tell by
    which rows (`IDENTITIES`) it is; `answers` are the labelled rows, None for one that was read from JSON.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    confusion: np.ndarray
    unlabelled: int = 0
    ece: float | None = None
    nll: float | None = None
    leaked: int | None = None
    leaked_correct: int | None = None
    folds: tuple[Fold, ...] = ()
    fingerprints: dict[str, str] = field(default_factory=dict)
    answers: Answers | None = None
    heads: Mapping[str, "Evaluation"] = field(default_factory=dict)  # of further heads by name

    @property
    def rows(self) -> int:
        """Labelled rows, answered or not."""
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        return int(np.trace(self.confusion))

    @property
    def no_answer(self) -> int:
        return int(self.confusion[:, -1].sum())

    @property
    def accuracy(self) -> float:
        return metrics.accuracy(self.confusion)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy."""
        return statistics.wilson_interval(self.correct, self.rows)

    @property
    def macro_f1(self) -> float:
        return metrics.macro_f1(self.confusion)

    @property
    def balanced_accuracy(self) -> float:
        return metrics.balanced_accuracy(self.confusion)

    @property
    def weighted_f1(self) -> float:
        return metrics.weighted_f1(self.confusion)

    @property
    def per_class(self) -> metrics.PerClass:
        return metrics.per_class(self.confusion)

    @property
    def accuracy_unseen(self) -> float | None:
        """Accuracy without the leaked rows: NaN where all are leaked, None where that is not recorded."""
        if self.leaked is None:
            return None
        rest = self.rows - self.leaked
        return (self.correct - self.leaked_correct) / rest if rest else math.nan

    @property
    def interval_unseen(self) -> tuple[float, float] | None:
        """95 % interval of `accuracy_unseen`."""
        if self.leaked is None:
            return None
        return statistics.wilson_interval(self.correct - self.leaked_correct, self.rows - self.leaked)


@dataclass(frozen=True)
class Verdict:
    """What came of one gate: a sentence, and the figures in it."""

    gate: str
    passed: bool
    text: str
    figures: dict[str, float]


#: Every metric that can gate, beside precision.CLASS, recall.CLASS and f1.CLASS.
METRICS: dict[str, Callable[[Evaluation], float | None]] = {
    name: operator.attrgetter(name)
    for name in ("accuracy", "accuracy_unseen", "macro_f1", "balanced_accuracy", "weighted_f1")
}


def parse_minimum(gate: str) -> tuple[str, float, str]:
    """Metric, bound and the bound's text of "accuracy=0.65". Whether a class exists is not checked here.

    Raises UsageError: no bound, one that is no share, an unknown metric, one of which less is better.
    """
    name, equals, text = (part.strip() for part in gate.partition("="))
    if not equals or not text:
        raise UsageError(f"--min {gate} lacks its bound: write --min {name or 'accuracy'}=0.65")
    try:
        bound = float(text)
    except ValueError:
        raise UsageError(f"--min {gate}: {text!r} is no number") from None
    if not 0 <= bound <= 1:
        raise UsageError(f"--min {gate}: a bound is a share from 0 to 1, so 65 % is {name}=0.65")
    if name in LOWER_IS_BETTER:
        raise UsageError(f"--min {gate}: less {name} is better, so it takes no minimum; gate on {', '.join(METRICS)}")
    base, dot, _ = name.partition(".")
    if name not in METRICS and not (base in CLASS_METRICS and dot):
        known = [*METRICS, *(f"{metric}.CLASS" for metric in CLASS_METRICS)]
        raise UsageError(f"--min {gate}: no metric is called {name!r}; {nearest(name, known)}")
    return name, bound, text


def evaluate(predictions: Reader, spec: EvalSpec) -> Evaluation:
    """Evaluates the rows of `spec.split` in a predictions store. Raises as `answers_from` and `evaluate_answers`."""
    return evaluate_answers(answers_from(predictions, spec.split))


def evaluate_answers(answers: Answers) -> Evaluation:
    """Evaluates rows in memory.

    Raises DataError: no row is labelled, a value outside the classes, a probability outside 0..1.
    """
    matrix = metrics.confusion(answers.label, answers.predicted, len(answers.classes))
    labelled = answers.label >= 0
    if not labelled.any():
        rows = "labelled rows" if answers.split == "all" else f"labelled rows of {answers.split}"
        raise DataError(f"{answers.name} has no {rows}, so there is nothing to compare the predictions with")
    chosen = answers.take(labelled)
    correct = chosen.predicted == chosen.label
    ece, nll = _calibration(chosen, correct)
    seen = chosen.seen
    return Evaluation(
        answers.name, answers.split, answers.classes, matrix,
        unlabelled=int((~labelled).sum()),
        ece=ece, nll=nll,
        leaked=None if seen is None else int(seen.sum()),
        leaked_correct=None if seen is None else int((seen & correct).sum()),
        folds=folds_of(chosen.fold, correct),
        fingerprints={name: chosen.fingerprint(name) for name in IDENTITIES if getattr(chosen, name) is not None},
        answers=chosen,
    )  # fmt: skip


def _calibration(answers: Answers, correct: np.ndarray) -> tuple[float | None, float | None]:
    """Expected calibration error and log loss of the answered rows: one without an answer has no probabilities."""
    answered = answers.predicted >= 0
    if answers.probability is None or not answered.any():
        return None, None
    probability = answers.probability[answered]
    if not ((probability >= 0) & (probability <= 1)).all():
        raise DataError(f"{answers.name} has a probability that is not within 0 to 1")
    confidence = probability[np.arange(len(probability)), answers.predicted[answered]]
    ece = statistics.calibration_error(confidence, correct[answered])
    return ece, metrics.log_loss(probability, answers.label[answered])
