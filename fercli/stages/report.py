"""An evaluation for people (text, Markdown) and for programs (JSON, format "fercli-evaluation")."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..errors import DataError
from ..ops.statistics import CALIBRATION_BINS
from ..store import SPLITS
from ..text import counted, printable
from .answers import IDENTITIES
from .evaluate import CLASS_METRICS, METRICS, Evaluation, Verdict
from .folds import deviation, mean

FORMAT = "fercli-evaluation"
VERSION = 1
_NO_ANSWER = "no answer"
_WIDTH = 100


def as_text(evaluation: Evaluation, verdicts: Sequence[Verdict] = ()) -> str:
    """The page that `fer eval` prints: figures, tables of folds and classes, confusion matrix, gates. No line break at
    the end."""
    parts = [part for one in (evaluation, *evaluation.heads.values()) for part in _text_parts(one)]
    if verdicts:
        parts.append([_gate_lines(verdict) for verdict in verdicts])
    return "\n\n".join("\n".join(lines) for lines in parts)


def _text_parts(evaluation: Evaluation) -> list[list[str]]:
    """The lines of each paragraph about one head."""
    parts = [[_title(evaluation)], [f"{name:<20}{value}" for name, value in _figures(evaluation)]]
    parts += [_aligned(_fold_table(evaluation))] if evaluation.folds else []
    parts.append(_aligned(_class_table(evaluation)))
    parts.append(["confusion (rows: true class, columns: predicted)", *_aligned(_confusion_table(evaluation))])
    return parts


def as_markdown(evaluation: Evaluation, verdicts: Sequence[Verdict] = ()) -> str:
    """The same page in GitHub's Markdown, for a comment or a job summary. No line break at the end."""
    title, *parts = [part for one in (evaluation, *evaluation.heads.values()) for part in _markdown_parts(one)]
    gates = [f"- **{'pass' if one.passed else 'FAIL'}** {_cell(printable(one.text))}" for one in verdicts]
    return "\n\n".join([title, *(["\n".join(gates)] if gates else []), *parts])


def _markdown_parts(evaluation: Evaluation) -> list[str]:
    """The paragraphs about one head."""
    figures = [["metric", "value"], *([name, value] for name, value in _figures(evaluation))]
    parts = [f"### {_cell(_title(evaluation))}", _piped(figures)]
    parts += [_piped(_fold_table(evaluation))] if evaluation.folds else []
    parts.append(_piped(_class_table(evaluation)))
    return [*parts, "Confusion (rows: true class, columns: predicted)", _piped(_confusion_table(evaluation))]


def _gate_lines(verdict: Verdict) -> str:
    text = f"{'pass' if verdict.passed else 'FAIL'}  {printable(verdict.text)}"
    return textwrap.fill(text, _WIDTH, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False)


def _title(evaluation: Evaluation) -> str:
    split = "all rows" if evaluation.split == "all" else f"split {evaluation.split}"
    return (
        f"{printable(evaluation.name)}, {split}: {evaluation.rows:,} labelled rows, {len(evaluation.classes)} classes"
    )


def _figures(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Name and value of each figure over all classes; what was not measured is not told."""
    figures = [
        ("accuracy", _with_interval(evaluation.accuracy, evaluation.interval)),
        *_over_folds(evaluation),
        ("balanced accuracy", f"{evaluation.balanced_accuracy:.4f}"),
        ("macro F1", f"{evaluation.macro_f1:.4f}"),
        ("weighted F1", f"{evaluation.weighted_f1:.4f}"),
    ]
    if evaluation.ece is not None:
        figures.append(("calibration error", f"{evaluation.ece:.4f} (expected, {CALIBRATION_BINS} bins)"))
    if evaluation.nll is not None:
        figures.append(("log loss", f"{evaluation.nll:.4f}"))
    if evaluation.leaked is not None:
        figures.append(("seen in training", _told_leak(evaluation)))
    if evaluation.no_answer:
        figures.append((_NO_ANSWER, f"{counted(evaluation.no_answer, 'row')}, counted as wrong"))
    if evaluation.unlabelled:
        figures.append(("unlabelled", f"{counted(evaluation.unlabelled, 'row')}, left out"))
    return figures


def _over_folds(evaluation: Evaluation) -> list[tuple[str, str]]:
    folds = evaluation.folds
    if len(folds) < 2:
        return []
    told = f"{mean(folds):.4f} (standard deviation {deviation(folds):.4f} over {len(folds)} folds)"
    return [("mean of the folds", told)]


def _told_leak(evaluation: Evaluation) -> str:
    if not evaluation.leaked:
        return "0 rows"
    if evaluation.leaked == evaluation.rows:
        return f"all {counted(evaluation.leaked, 'row')}: this accuracy tells nothing about other faces"
    without = _with_interval(evaluation.accuracy_unseen, evaluation.interval_unseen)
    return f"{counted(evaluation.leaked, 'row')}; accuracy without them {without}"


def _with_interval(share: float, interval: tuple[float, float]) -> str:
    return f"{share:.4f} (95 % interval {interval[0]:.4f} to {interval[1]:.4f})"


def _fold_table(evaluation: Evaluation) -> list[list[str]]:
    rows = [[str(one.fold), f"{one.accuracy:.4f}", f"{one.correct:,}", f"{one.rows:,}"] for one in evaluation.folds]
    return [["fold", "accuracy", "correct", "rows"], *rows]


def _class_table(evaluation: Evaluation) -> list[list[str]]:
    table, rows = evaluation.per_class, [["class", *CLASS_METRICS, "support"]]
    for index, name in enumerate(evaluation.classes):
        shares = (f"{getattr(table, metric)[index]:.4f}" for metric in CLASS_METRICS)
        rows.append([printable(name), *shares, f"{table.support[index]:,}"])
    return rows


def _confusion_table(evaluation: Evaluation) -> list[list[str]]:
    """With the column of rows without an answer only where there are such."""
    names = [printable(name) for name in evaluation.classes]
    columns = [*names, _NO_ANSWER] if evaluation.no_answer else names
    counts = evaluation.confusion[:, : len(columns)].tolist()
    return [["", *columns], *([name, *map(str, row)] for name, row in zip(names, counts, strict=True))]


def _aligned(table: list[list[str]]) -> list[str]:
    """Lines with the first column flush left and the others, numbers, flush right, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for head, *cells in table:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join([head.ljust(widths[0]), *numbers]))
    return lines


def _piped(table: list[list[str]]) -> str:
    rule = "|".join(["", " --- ", *[" ---: "] * (len(table[0]) - 1), ""])
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in table]
    return "\n".join([lines[0], rule, *lines[1:]])


def _cell(text: str) -> str:
    """Safe within a Markdown table: no bar ends the cell, nothing is markup."""
    return "".join(f"\\{one}" if one in "\\|*_`<>[]#" else one for one in text)


def to_json(evaluation: Evaluation, verdicts: Sequence[Verdict] = ()) -> dict[str, Any]:
    """Plain values, the schema of `fer eval --json`: what is not known is null, no number is NaN.

    Rows are not in it; `fingerprints` tell whether a later evaluation is of the same rows and labels.
    """
    return {
        "format": FORMAT, "version": VERSION,
        **_facts(evaluation),
        "heads": {name: _facts(head) for name, head in evaluation.heads.items()},
        "gates": [
            {"gate": one.gate, "passed": one.passed, "text": one.text, **one.figures} for one in verdicts
        ],
    }  # fmt: skip


def _facts(evaluation: Evaluation) -> dict[str, Any]:
    """All figures of one head."""
    table = evaluation.per_class
    return {
        "name": evaluation.name, "split": evaluation.split, "classes": list(evaluation.classes),
        "rows": evaluation.rows, "unlabelled": evaluation.unlabelled, "no_answer": evaluation.no_answer,
        **{name: _number(metric(evaluation)) for name, metric in METRICS.items()},
        "interval": list(evaluation.interval),
        "interval_unseen": None if evaluation.interval_unseen is None else list(evaluation.interval_unseen),
        "ece": evaluation.ece, "nll": evaluation.nll,
        "leaked": evaluation.leaked, "leaked_correct": evaluation.leaked_correct,
        "folds": [{**asdict(one), "accuracy": one.accuracy} for one in evaluation.folds],
        "fold_mean": mean(evaluation.folds), "fold_deviation": deviation(evaluation.folds),
        "per_class": {
            name: {
                **{metric: float(getattr(table, metric)[index]) for metric in CLASS_METRICS},
                "support": int(table.support[index]),
                "no_answer": int(evaluation.confusion[index, -1]),
            }
            for index, name in enumerate(evaluation.classes)
        },
        "confusion": evaluation.confusion[:, :-1].tolist(),
        "fingerprints": dict(evaluation.fingerprints),
    }  # fmt: skip


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def from_json(document: Any, name: str) -> Evaluation:
    """The evaluation that `to_json` wrote, without its rows; `name` (a path) stands in messages.

    Every figure is worked out anew from the counts. Raises DataError: another format, a newer version, a value that is
    missing or cannot be, or an accuracy that its own counts contradict.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{name} is not the --json of fer eval")
    version = document.get("version")
    if version != VERSION:
        raise DataError(
            f"{name} is of version {version} and this fercli reads {VERSION}: update fercli or evaluate again"
        )
    try:
        evaluation, accuracy = _parsed(document, name), float(document["accuracy"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(f"{name} is damaged: a value of the evaluation is missing or of the wrong kind") from None
    if not evaluation.rows or not math.isclose(evaluation.accuracy, accuracy, abs_tol=1e-9):
        raise DataError(f"{name} is damaged: its accuracy is not that of its confusion matrix")
    return evaluation


def _parsed(document: dict[str, Any], name: str) -> Evaluation:
    """Raises KeyError, TypeError or ValueError for what is not sound."""
    classes = tuple(str(one) for one in document["classes"])
    unanswered = [document["per_class"][one]["no_answer"] for one in classes]
    matrix = np.column_stack([np.array(document["confusion"]), unanswered])
    shape = (len(classes), len(classes) + 1)
    if matrix.shape != shape or matrix.dtype.kind != "i" or (matrix < 0).any():
        raise ValueError("confusion")
    if document["split"] not in (*SPLITS, "all"):
        raise ValueError("split")
    return Evaluation(
        name, document["split"], classes, matrix.astype(np.int64),
        unlabelled=int(document["unlabelled"]),
        **{key: document[key] for key in ("ece", "nll", "leaked", "leaked_correct")},
        fingerprints={one: document["fingerprints"][one] for one in IDENTITIES if one in document["fingerprints"]},
    )  # fmt: skip
