"""`fer split`: rows shared out to train, val and test, or to cross-validation folds, by class and by whole groups."""

import math
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, UsageError
from ..ops.partition import assign, codes, connected, sequences, strata_of
from ..spec import Spec, option
from ..store import SPLITS, Reader, Writer, block_rows
from ..text import counted
from .runner import Log

_DEFAULT_SHARES = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class SplitSpec(Spec):
    """Settings of `fer split`. Without shares and folds: 0.8, 0.1, 0.1."""

    train: float | None = option(
        None, "Share of the rows to train on. [default: 0.8, or 0 beside --val or --test]", low=0, high=1
    )
    val: float | None = option(None, "Share of the rows to choose the epoch by. [default: 0.1, or 0]", low=0, high=1)
    test: float | None = option(None, "Share of the rows to test on. [default: 0.1, or 0]", low=0, high=1)
    folds: int | None = option(
        None, "Folds of equal size for cross-validation, instead.", low=2, high=10_000, metavar="K"
    )
    by: str = option(
        "image", "What stays whole: a picture with its copies, a sequence, a person.",
        choices=("image", "sequence", "subject"),
    )  # fmt: skip
    seed: int = option(0, "Seed of the order in which groups are taken.", low=0, high=2**63 - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [share for share in (self.train, self.val, self.test) if share is not None]
        if given and self.folds is not None:
            raise UsageError("--folds makes folds of equal size: leave out --train, --val and --test, or --folds")
        if not math.isclose(sum(self.shares()), 1, abs_tol=1e-6):
            told = ", ".join(f"--{name} {share:g}" for name, share in zip(SPLITS, self.shares(), strict=True))
            raise UsageError(f"{told} sum to {sum(self.shares()):g}, and shares sum to 1")

    def shares(self) -> tuple[float, ...]:
        """Share of each side: of each fold, or of train, val and test."""
        if self.folds is not None:
            return (1 / self.folds,) * self.folds
        if self.train is self.val is self.test is None:
            return _DEFAULT_SHARES
        return tuple(share or 0.0 for share in (self.train, self.val, self.test))

    def names(self) -> tuple[str, ...]:
        """Names of the sides."""
        return SPLITS if self.folds is None else tuple(f"fold {fold}" for fold in range(self.folds))


def run(src: Reader, dst: Writer, spec: SplitSpec, log: Log) -> None:
    """The rows of `src` with the column `split`, or `fold` under `--folds`; everything else stays as it is.

    Rows that belong together are never parted: exact copies (equal digest, which augmented copies keep), rows of one
    photo (equal source), and by `spec.by` those of a sequence or a person. A row without a sequence stands alone.
    Classes, and the rows without a label, are shared out in proportion.

    Raises DataError: no rows, no column to group by, a row without subject under `--by subject`, fewer groups than
    folds, a class with fewer pictures than folds (by image), a side that would stay empty.
    """
    if not src.rows:
        raise DataError(f"{src.name} holds no rows to share out")
    groups, strata = connected(_keys(src, spec, log), src.rows), _strata(src)
    if spec.folds is not None:
        _check_enough(src, spec, groups, strata)
    sides = assign(groups, strata, spec.shares(), spec.seed)
    _check_sides(src, spec, groups, strata, sides, log)
    column = ("split", np.int8) if spec.folds is None else ("fold", np.int16)
    _write(src, dst, column[0], sides.astype(column[1]), log)


def _keys(src: Reader, spec: SplitSpec, log: Log) -> list[np.ndarray]:
    """What makes rows belong together: whole numbers (N,), -1 for a row that it does not bind."""
    keys = [codes(src.column(name)) for name in ("digest", "source") if name in src.columns]
    if "digest" not in src.columns:
        log.note(f"{src.name} has no digests, so exact copies of a picture are not kept together")
    if spec.by == "image":
        return keys
    if spec.by not in src.columns:
        other = "--by sequence" if "sequence" in src.columns else "--by image"
        raise DataError(
            f"{src.name} does not tell the {spec.by} of its rows: ingest it by a layout that does, or use {other}"
        )
    values = src.column(spec.by)
    unknown = np.flatnonzero(values == "")
    if spec.by == "subject" and len(unknown):
        raise DataError(
            f"{src.name} does not tell the subject of {len(unknown):,} of its rows (the first is row {unknown[0]}), "
            f"and they may show anyone: use --by image, or leave them out"
        )
    if spec.by == "sequence":
        return [*keys, sequences(values, src.column("subject") if "subject" in src.columns else None)]
    return [*keys, codes(values)]


def _strata(src: Reader) -> np.ndarray:
    """Class (N,) of each row; unlabelled rows are a class of their own."""
    if "label" not in src.columns:
        return np.zeros(src.rows, np.int64)
    return strata_of(src.column("label"), len(src.classes))


def _check_enough(src: Reader, spec: SplitSpec, groups: np.ndarray, strata: np.ndarray) -> None:
    """Raises DataError where folds could not all be filled: with groups, or by image with pictures of each class."""
    total = int(groups.max()) + 1
    if total < spec.folds:
        more = "ingest more pictures" if spec.by == "image" else "use --by image"
        raise DataError(f"{src.name} has {_counted(total, spec)}, {_too_few(total, spec, more)}")
    if spec.by != "image":
        return  # whole people need not show every expression: one fold a person is an honest protocol
    pictures = {name: len(np.unique(groups[strata == code])) for code, name in enumerate(src.classes)}
    fewest = min((name for name in pictures if pictures[name]), key=pictures.get, default=None)
    if fewest is not None and pictures[fewest] < spec.folds:
        more = "ingest more pictures of it, or the data without it"
        raise DataError(
            f"{src.name} has {_counted(pictures[fewest], spec)} of class {fewest!r}, "
            f"{_too_few(pictures[fewest], spec, more)}"
        )


def _too_few(count: int, spec: SplitSpec, more: str) -> str:
    """That `count` is fewer than the folds, and what to type; `more` where no folds can be made of so few."""
    return f"fewer than {spec.folds} folds: {f'use at most --folds {count}' if count > 1 else more}"


def _check_sides(
    src: Reader, spec: SplitSpec, groups: np.ndarray, strata: np.ndarray, sides: np.ndarray, log: Log
) -> None:
    """Raises DataError for a side that was asked for and is empty; notes the classes that a side lacks."""
    for side, (name, share) in enumerate(zip(spec.names(), spec.shares(), strict=True)):
        there = strata[sides == side]
        if share and not len(there):
            total = _counted(int(groups.max()) + 1, spec)
            raise DataError(
                f"{name} would be empty: {src.name} has {total}, too few or too large for a share of {share:g}"
            )
        lacking = [one for code, one in enumerate(src.classes) if (strata == code).any() and not (there == code).any()]
        if share and lacking:
            log.note(f"{name} has no row of {', '.join(lacking)}")


def _counted(groups: int, spec: SplitSpec) -> str:
    what = {"image": "different picture", "sequence": "sequence", "subject": "subject"}[spec.by]
    return counted(groups, what)


def _write(src: Reader, dst: Writer, column: str, values: np.ndarray, log: Log) -> None:
    dst.start(src.kind, src.classes, src.channels)
    if "augment" in src.documents:
        dst.document("augment", src.documents["augment"])
    log.total(src.rows)
    first = 0
    for block in src.blocks([name for name in src.columns if name != column]):
        count = block_rows(block)
        dst.append({**block, column: values[first : first + count]})
        first += count
        log.advance(count)
