"""The rows of predictions that are to be evaluated, beside the labels that they carry."""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, UsageError
from ..store import SPLIT_CODES, Reader
from ..text import counted

#: Columns by which a row is known again in another predictions store; the first that both have is used.
IDENTITIES = ("digest", "source")
#: Pairs of stores that share rows, of which an error names so many.
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Answers:
    """Rows to evaluate: label and predicted (N,) index `classes`, -1 is none; probability (N, K); seen (N,) bool;
    digest (N, 16) uint8; source (N,) str; fold (N,), which the training left out. `name` is the file's, `split` is
    train, val, test or all."""

    name: str
    split: str
    classes: tuple[str, ...]
    label: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray | None = None
    seen: np.ndarray | None = None
    digest: np.ndarray | None = None
    source: np.ndarray | None = None
    fold: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> "Answers":
        """Some of the rows (mask or indices)."""
        columns = ("label", "predicted", "probability", "seen", "fold", *IDENTITIES)
        taken = {name: None if getattr(self, name) is None else getattr(self, name)[rows] for name in columns}
        return Answers(self.name, self.split, self.classes, **taken)

    def keys(self, column: str) -> list[tuple[bytes, str]]:
        """Identity (digest or source) and label's name of each row."""
        names = [*self.classes, ""]  # -1 takes the last
        labels = [names[index] for index in self.label.tolist()]
        return list(zip(self._identities(column), labels, strict=True))

    def _identities(self, column: str) -> list[bytes]:
        if column == "digest":
            return [row.tobytes() for row in self.digest]
        return [text.encode("utf-8", "surrogateescape") for text in self.source]

    def fingerprint(self, column: str) -> str:
        """Hash of the set of rows and their labels, in whatever order they come."""
        entries = (key + b"\0" + label.encode() for key, label in sorted(self.keys(column)))
        return hashlib.blake2b(b"\n".join(entries), digest_size=16).hexdigest()


def answers_from(predictions: Reader, split: str | None) -> Answers:
    """The rows of one split ("all": every row; None: every row, if they are of one split).

    Raises DataError: no label or prediction column, no rows, none of that split. UsageError: None where rows are of
    several splits, for a figure over training and test rows together is no figure of either; and as `check_distinct`.
    """
    name = predictions.name
    if "predicted" not in predictions.columns:
        remedy = "make predictions with fer predict, or name the model: fer eval -m MODEL DATA"
        raise DataError(f"{name} has no column predicted: {remedy}")
    _check_labels(predictions)
    chosen, split = rows_of(predictions, split)
    check_distinct(predictions, chosen)
    optional = ("probability", "seen", "fold", *IDENTITIES)
    present = {column: predictions.column(column)[chosen] for column in optional if column in predictions.columns}
    label, predicted = (predictions.column(column)[chosen] for column in ("label", "predicted"))
    return Answers(name, split, predictions.classes, label, predicted, **present)


def labels_of(data: Reader, chosen: np.ndarray) -> set[str]:
    """What the rows that are chosen (N,) bool are labelled as. DataError: the store has no labels."""
    _check_labels(data)
    return {data.classes[code] for code in np.unique(data.column("label")[chosen]) if code >= 0}


def _check_labels(data: Reader) -> None:
    if "label" not in data.columns:
        raise DataError(f"{data.name} has no column label: there is nothing to compare the predictions with")


def rows_of(predictions: Reader, split: str | None) -> tuple[np.ndarray, str]:
    """Which rows (N,) bool are of the split asked for in any store, without copies that augmentation made, and its
    name; raises as `answers_from`.
    """
    name, chosen = predictions.name, predictions.originals()
    if not chosen.any():
        raise DataError(f"{name} holds no rows" + (" but copies that augmentation made" if predictions.rows else ""))
    if "split" not in predictions.columns:
        if split not in (None, "all"):
            raise DataError(f"{name} has no column split, so no rows of {split}: evaluate every row with --split all")
        return chosen, "all"
    codes = predictions.column("split")
    counts = {one: int((codes[chosen] == code).sum()) for one, code in SPLIT_CODES.items()}
    held = {one: count for one, count in counts.items() if count}
    told = " and ".join(f"{one} ({counted(count, 'row')})" for one, count in held.items())
    if split is None and len(held) > 1:
        choices = ", ".join(f"--split {one}" for one in held)
        raise UsageError(f"{name} holds {told}: choose with {choices} or --split all")
    if split == "all":
        return chosen, "all"
    split = split or next(iter(held))
    if split not in held:
        raise DataError(f"{name} has no rows of {split}: it holds {told}")
    return chosen & (codes == SPLIT_CODES[split]), split


def check_distinct(src: Reader, chosen: np.ndarray) -> None:
    """Raises UsageError where a row of one store is that of another, and would count twice.

    That is so where digest and source are the same, whichever model answers. Rows of one store are never taken for one,
    as a picture may be in the data twice; nor are rows without a face, which have no digest.
    """
    names, rows = zip(*src.stores, strict=True)
    if len(names) == 1 or not {"digest", "source"} <= set(src.columns):
        return
    store = np.repeat(np.arange(len(names)), rows)[chosen]
    digest, source = (src.column(name)[chosen] for name in ("digest", "source"))
    first: dict[tuple[bytes, str], int] = {}
    shared: Counter[tuple[int, int]] = Counter()
    for row in np.flatnonzero(digest.any(axis=1)).tolist():
        one = int(store[row])
        other = first.setdefault((digest[row].tobytes(), source[row]), one)
        if one != other:
            shared[other, one] += 1
    if shared:
        told = [f"{count:,} of {names[one]} stand in {names[other]} too" for (other, one), count in shared.items()]
        more = f" and so on, {len(told)} pairs of stores in all" if len(told) > _NAMED else ""
        raise UsageError(f"rows would count twice: {', '.join(told[:_NAMED])}{more}; leave one of two such stores out")
