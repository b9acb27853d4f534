"""The regression gate of fer eval: bounds and an earlier result that an evaluation has to hold against.

What a build may rely on:

- A gate passes only by a figure that is there. A set, class or row that is missing, a figure that is not a number, a
  baseline of other rows, labels, classes or another split: each is an error (exit 1 or 2), never a pass.
- `--min METRIC=BOUND` passes from the bound upwards.
- `--baseline OLD --max-drop POINTS` looks at accuracy: the drop is the old less the new one, in percentage points.
  Where both results have their rows (OLD is a predictions store), the rows are paired and the gate fails only if the
  drop exceeds POINTS and the exact one-sided McNemar test finds so many losses less likely than `--alpha` (0.05) by
  chance. So a drop of noise does not fail a build, nor does a real one within POINTS. On a small set even a large
  drop may be chance: the sentence says so, and `--alpha 1` makes the drop alone decide.
- Where OLD is the JSON of an earlier evaluation, it has no rows to pair: that the rows are the same is checked by their
  fingerprint, and the drop alone decides.
- Rows are paired by the digest of their pixels and by their label, or by source and label where a store has no digest:
  neither the order of rows nor the place of the files matters. Exact copies with one label are interchangeable, so of
  k copies only the difference in the number of right ones counts as lost or gained.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from ..errors import DataError, GateFailed, UsageError
from ..ops.statistics import mcnemar_worse
from ..spec import nearest
from ..store import is_store, open_store, opened
from ..text import counted
from .answers import IDENTITIES, Answers, answers_from
from .evaluate import METRICS, EvalSpec, Evaluation, Verdict, evaluate_answers, parse_minimum
from .report import from_json

#: Means that leave out classes without rows: a gate on them would rise when a hard class went missing.
_MEANS_OVER_CLASSES = ("macro_f1", "balanced_accuracy")
#: What `--alpha` is unless given.
ALPHA = 0.05
#: A mean of seven times 0.65 is 0.65 but for rounding.
_ROUNDING = 1e-12


def judge(evaluation: Evaluation, spec: EvalSpec, old: Evaluation | None = None) -> list[Verdict]:
    """A verdict on every gate of `spec`; `old` is what `read_baseline` gave. `enforce` comes next.

    Raises as `check_minimums` and `check_baseline`.
    """
    if spec.baseline is not None and old is None:
        raise DataError(f"the baseline {spec.baseline} was not read, so nothing is compared with it")
    verdicts = check_minimums(evaluation, spec.min)
    if old is not None:
        verdicts.append(check_baseline(evaluation, old, spec.max_drop or 0.0, spec.alpha or ALPHA))
    return verdicts


def enforce(verdicts: Iterable[Verdict]) -> None:
    """Raises GateFailed that tells every gate that failed."""
    failed = [verdict.text for verdict in verdicts if not verdict.passed]
    if failed:
        count = "gate failed" if len(failed) == 1 else f"{len(failed)} gates failed"
        raise GateFailed(f"{count}: {'; '.join(failed)}")


def read_baseline(path: str | None, split: str) -> Evaluation | None:
    """The earlier result: a predictions store, of which `split` is evaluated, or the JSON of an earlier fer eval. None
    for None.

    Raises DataError for a file that is missing or neither.
    """
    if path is None:
        return None
    name = "standard input" if path == "-" else path
    with opened(path) as file:
        head = file.read(8)
        text = b"" if is_store(head) else head + file.read()
    if is_store(head):
        with open_store(path, "predictions") as predictions:
            return evaluate_answers(answers_from(predictions, split))
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(f"{name} is neither a predictions store nor the --json of an earlier fer eval") from None
    return from_json(document, name)


def check_minimums(evaluation: Evaluation, minimums: Iterable[str]) -> list[Verdict]:
    """A verdict for each "METRIC=BOUND".

    Raises UsageError as `parse_minimum`, or for an unknown class; DataError for a figure that cannot be had.
    """
    return [_check_minimum(evaluation, *parse_minimum(minimum)) for minimum in minimums]


def _check_minimum(evaluation: Evaluation, name: str, bound: float, bound_text: str) -> Verdict:
    figure, rows = _figure(evaluation, name)
    if not 0 <= figure <= 1:  # NaN compares false
        raise DataError(f"{name} cannot be judged: it is {figure} on {_told_rows(evaluation)}")
    passed = _side(figure, bound) >= 0
    relation = "at least" if passed else "below"
    text = f"{name} is {_digits(figure, bound)} on {rows}, {relation} the required {bound_text}"
    return Verdict(f"{name}={bound_text}", passed, text, {"figure": figure, "bound": bound})


def _figure(evaluation: Evaluation, name: str) -> tuple[float, str]:
    """A metric by name, and the rows that it is over. DataError where rows of a class are missing for it."""
    where, support = _told_split(evaluation.split), evaluation.per_class.support
    shown = {one for one, count in zip(evaluation.classes, support, strict=True) if count}
    _check_rows(name, evaluation.classes, shown, where)
    if name not in METRICS:
        return _class_figure(evaluation, name)
    if name != "accuracy_unseen":
        return METRICS[name](evaluation), _told_rows(evaluation)
    if evaluation.leaked is None:
        raise DataError(f"{name} cannot be judged: {evaluation.name} does not tell which rows the model was trained on")
    rest = evaluation.rows - evaluation.leaked
    if not rest:
        raise DataError(f"{name} cannot be judged: the model was trained on every row of {where}")
    return METRICS[name](evaluation), f"{where} ({counted(rest, 'row')} that the model was not trained on)"


def _class_figure(evaluation: Evaluation, name: str) -> tuple[float, str]:
    metric, _, label = name.partition(".")  # parse_minimum has checked the metric
    index, table, where = evaluation.classes.index(label), evaluation.per_class, _told_split(evaluation.split)
    support = int(table.support[index])
    return float(getattr(table, metric)[index]), f"{where} ({counted(support, 'row')} of {label!r})"


def check_before(
    spec: EvalSpec, old: Evaluation | None, name: str, split: str, classes: Sequence[str], shown: set[str]
) -> None:
    """Raises what `judge` would, as far as it shows before a model of these `classes` labels a store, not after.

    `name` and `split` are the store's, and `shown` the labels that its rows have.
    """
    for metric, _, _ in map(parse_minimum, spec.min):
        _check_rows(metric, classes, shown, _told_split(split))
    if old is not None:
        _check_alike(name, split, classes, old)


def _check_rows(name: str, classes: Sequence[str], shown: set[str], where: str) -> None:
    """Raises where a metric is of a class that there is not, UsageError, or that no row is labelled as, DataError."""
    if name in _MEANS_OVER_CLASSES:
        missing = [one for one in classes if one not in shown]
        if missing:
            raise DataError(
                f"{name} cannot be judged: it is a mean over classes, and {where} has no row labelled "
                f"{' or '.join(map(repr, missing))}; gate on accuracy or on the f1.CLASS of the others"
            )
    elif name not in METRICS:
        metric, _, label = name.partition(".")
        if label not in classes:
            known = [f"{metric}.{one}" for one in classes]
            raise UsageError(f"--min {name}: there is no class {label!r}; {nearest(name, known)}")
        if label not in shown:
            raise DataError(f"{name} cannot be judged: {where} has no row labelled {label!r}")


def check_baseline(evaluation: Evaluation, old: Evaluation, max_drop: float, alpha: float = ALPHA) -> Verdict:
    """Whether accuracy fell by more than `max_drop` percentage points below `old`; the rule is at the top.

    Raises DataError: another split, other classes, rows or labels, or rows that cannot be told to be the same.
    """
    _check_same(evaluation, old)
    drop = 100 * (old.correct - evaluation.correct) / evaluation.rows
    figures = {"accuracy": evaluation.accuracy, "baseline": old.accuracy, "drop": drop, "bound": max_drop}
    beyond = _side(drop, max_drop) > 0
    text = _told_drop(evaluation, old, drop, max_drop)
    if evaluation.answers is None or old.answers is None:
        if beyond:
            text += f"; {old.name} has no rows to pair, so the drop alone decides"
        return Verdict("baseline", not beyond, text, figures)
    lost, gained = paired_changes(evaluation.answers, old.answers)
    chance = mcnemar_worse(lost, gained)
    worse = beyond and chance < alpha
    if beyond:
        text += f"; {_told_chance(lost, gained, chance, alpha)}"
    figures |= {"lost": lost, "gained": gained, "p": chance, "alpha": alpha}
    return Verdict("baseline", not worse, text, figures)


def _told_drop(evaluation: Evaluation, old: Evaluation, drop: float, max_drop: float) -> str:
    figure = f"accuracy is {evaluation.accuracy:.4f} on {_told_rows(evaluation)}"
    before = f"{old.accuracy:.4f} of {old.name}"
    if drop <= 0:
        return f"{figure}, {-drop:.2f} points above the {before}" if drop else f"{figure}, as in {old.name}"
    relation = "within" if _side(drop, max_drop) <= 0 else "beyond"
    return f"{figure}, {_digits(drop, max_drop, 2)} points below the {before}, {relation} the {max_drop:g} allowed"


def _told_chance(lost: int, gained: int, chance: float, alpha: float) -> str:
    p = f"p = {_digits(chance, alpha)}" if chance >= 1e-4 else "p < 0.0001"
    verdict = "is not chance" if chance < alpha else "may be chance"
    test = f"exact paired McNemar test, {p}, alpha {alpha:g}"
    return f"{counted(lost, 'row')} lost against {gained:,} gained {verdict} ({test})"


def paired_changes(new: Answers, old: Answers) -> tuple[int, int]:
    """How many rows are right in `old` and wrong in `new` (lost), and the reverse (gained), paired as at the top.

    Raises DataError that tells how many rows are in one of them only, or carry another label.
    """
    column = next(name for name in IDENTITIES if getattr(new, name) is not None and getattr(old, name) is not None)
    new_keys, old_keys = new.keys(column), old.keys(column)
    new_rows, old_rows = (Counter(identity for identity, _ in keys) for keys in (new_keys, old_keys))
    if new_rows != old_rows:
        if column == "digest" and _of_same_photos(new, old):
            raise DataError(
                f"{new.name} and {old.name} hold the same photos, but other crops of them (of another size, margin, "
                f"alignment or detector): predict with both models on one store of crops, made with fer detect"
            )
        raise DataError(
            f"{new.name} and {old.name} hold different rows: {(new_rows - old_rows).total():,} are only in {new.name}, "
            f"{(old_rows - new_rows).total():,} only in {old.name}; predict both on the same data"
        )
    relabelled = (Counter(new_keys) - Counter(old_keys)).total()
    if relabelled:
        raise DataError(
            f"{new.name} and {old.name} label {counted(relabelled, 'row')} otherwise: predict both on the same data"
        )
    new_right, old_right = _right(new, new_keys), _right(old, old_keys)
    return (old_right - new_right).total(), (new_right - old_right).total()


def _of_same_photos(new: Answers, old: Answers) -> bool:
    if new.source is None or old.source is None:
        return False
    return set(new.keys("source")) == set(old.keys("source"))


def _right(answers: Answers, keys: list[tuple[bytes, str]]) -> Counter:
    correct = (answers.label == answers.predicted).tolist()
    return Counter(key for key, right in zip(keys, correct, strict=True) if right)


def _check_same(new: Evaluation, old: Evaluation) -> None:
    """Raises DataError unless both are of one split, the same classes, and rows that can be and are the same."""
    _check_alike(new.name, new.split, new.classes, old)
    common = [name for name in IDENTITIES if name in new.fingerprints and name in old.fingerprints]
    if not common:
        raise DataError(
            f"{new.name} and {old.name} cannot be compared: whether their rows are the same shows by "
            f"{' or '.join(IDENTITIES)}, and they have neither in common"
        )
    if new.answers is not None and old.answers is not None:
        return  # paired_changes tells how many rows differ
    if new.rows != old.rows or new.fingerprints[common[0]] != old.fingerprints[common[0]]:
        raise DataError(
            f"{old.name} is an evaluation of other rows or labels ({counted(old.rows, 'row')}) than {new.name} "
            f"({new.rows:,}): evaluate both models on the same data"
        )


def _check_alike(name: str, split: str, classes: Sequence[str], old: Evaluation) -> None:
    """Raises DataError unless the baseline is of this split and these classes; `name` is the new one's."""
    if split != old.split:
        raise DataError(
            f"{old.name} is of {_told_split(old.split)} and {name} of {_told_split(split)}: choose one with --split"
        )
    differing = sorted(set(classes) ^ set(old.classes))
    if differing:
        named = ", ".join(map(repr, differing))
        raise DataError(f"{name} and {old.name} have different classes: {named} only in one of them")


def _told_split(split: str) -> str:
    return "the whole store" if split == "all" else split


def _told_rows(evaluation: Evaluation) -> str:
    return f"{_told_split(evaluation.split)} ({counted(evaluation.rows, 'row')})"


def _digits(figure: float, bound: float, decimals: int = 4) -> str:
    """As many decimals as it takes to stand on the side of the bound where the figure is."""
    texts = [f"{figure:.{count}f}" for count in range(decimals, 17)]
    return next((text for text in texts if _side(float(text), bound) == _side(figure, bound)), texts[-1])


def _side(figure: float, bound: float) -> int:
    return (figure > bound + _ROUNDING) - (figure < bound - _ROUNDING)
