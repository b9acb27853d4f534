"""Which rows train the network, which rows choose its epoch, and what the network reads of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, UsageError
from ..ops.image import digests_of
from ..ops.partition import assign, codes, connected, sequences, strata_of
from ..store import SPLIT_CODES, Reader
from .heads import read_heads


@dataclass(frozen=True)
class Rows:
    """Row numbers in their store, ascending: of training, of validation, and how many no label speaks for.

    The validation rows `choose` the epoch, or only show how it goes.
    """

    train: np.ndarray
    validation: np.ndarray
    unlabelled: int
    choose: bool = True


def check_images(src: Reader) -> int:
    """The side in px of the store's dense images. Raises DataError unless they are there and square."""
    if "image" not in src.columns:
        if "encoded" in src.columns:
            raise DataError(f"{src.name} holds whole photos: crop the faces first with fer detect")
        raise DataError(f"{src.name} holds no images: make a store of them with fer ingest")
    height, width = src.shape("image")[:2]
    if height != width:
        raise DataError(
            f"{src.name} holds images of {width}x{height} pixels, and a network takes square ones: "
            f"type fer detect --detector none --size {min(height, width)}"
        )
    return height


def check_features(src: Reader, model: str, columns: Sequence[str]) -> None:
    """Raises DataError unless the store has what network `model` reads beside the images."""
    for name in columns[1:]:
        if "augment" in src.documents:
            raise DataError(
                f"{src.name} is augmented online, which leaves behind the column {name!r} that {model} reads beside "
                f"the images: make copies first, fer augment without --online, then fer gradients --operator none "
                f"--{name}"
            )
        if name not in src.columns:
            raise DataError(
                f"{src.name} has no column {name!r}, which {model} reads beside the images: "
                f"add it with fer gradients --operator none --{name}"
            )


def choose_rows(src: Reader, holdout: float, seed: int, heads: Sequence[str] = ()) -> Rows:
    """The labelled training rows, and those that choose the epoch; with `heads` of a network, also the rows that only
    tell one of these attributes.

    With `holdout` above 0 that share of the training pictures is held out, else the store's val rows choose, without
    the copies that augmentation made. Raises DataError or UsageError when either would be empty, or when the training
    rows show fewer than two classes.
    """
    label, told = _labels(src), _told(src, heads)
    split = src.column("split") if "split" in src.columns else np.zeros(len(label), np.int8)
    train = np.flatnonzero((split == SPLIT_CODES["train"]) & told)
    _check_classes(src, label[train], src.name)
    if holdout:
        train, validation = _held_out(src, train, holdout, seed)
    else:
        validation = np.flatnonzero((split == SPLIT_CODES["val"]) & told & src.originals())
        if not (label[validation] >= 0).any():
            raise UsageError(f"{src.name} has no val rows to choose the epoch by: add --holdout 0.1 or run fer split")
    return Rows(train, validation, int((~told).sum()))


def read_folds(src: Reader) -> np.ndarray:
    """(N,) int16: the fold of every row, from 0 and none of them empty. Raises DataError unless it is so."""
    if "fold" not in src.columns:
        raise DataError(f"{src.name} has no folds: assign its rows to some with fer split --folds 10")
    folds = src.column("fold")
    without = np.flatnonzero(folds < 0)
    if len(without):
        raise DataError(
            f"{src.name} has {len(without):,} rows without a fold (the first is row {without[0]}): "
            f"assign all with fer split --folds 10"
        )
    counts = np.bincount(folds, minlength=1)
    if len(counts) < 2:
        raise DataError(f"{src.name} has no rows outside of fold 0: assign them to more with fer split --folds 10")
    if not counts.all():
        raise DataError(
            f"{src.name} has no rows in fold {counts.argmin()} of folds 0 to {len(counts) - 1}: "
            f"assign them anew with fer split --folds {len(counts)}"
        )
    return folds


def choose_fold(
    src: Reader, fold: int, holdout: float, seed: int, heads: Sequence[str] = ()
) -> tuple[Rows, np.ndarray]:
    """The rows of a training without `fold`, and the numbers of the rows (M,) of the fold itself that are no copies.

    The splits of the store play no part. With `holdout` above 0 that share of the training pictures chooses the epoch;
    else nothing does, and validation is by the fold. Raises as `choose_rows`, and where the fold shows no labelled row.
    """
    label, told, within = _labels(src), _told(src, heads), read_folds(src) == fold
    tested = np.flatnonzero(within & src.originals())
    if not (label[tested] >= 0).any():
        raise DataError(
            f"fold {fold} of {src.name} has no labelled rows to test on: assign the rows anew with fer split --folds"
        )
    train = np.flatnonzero(~within & told)
    _check_classes(src, label[train], f"{src.name} without fold {fold}")
    validation = tested[told[tested]]
    if holdout:
        train, validation = _held_out(src, train, holdout, seed)
    return Rows(train, validation, int((~told & ~within).sum()), choose=holdout > 0), tested


def _labels(src: Reader) -> np.ndarray:
    if "label" not in src.columns:
        raise DataError(f"{src.name} has no labels to learn from: make a store of a labelled data set with fer ingest")
    return src.column("label")


def _told(src: Reader, heads: Sequence[str]) -> np.ndarray:
    """(N,) bool: rows that have a label, or a value of one of the attributes `heads`."""
    return (_labels(src) >= 0) | (read_heads(src, heads)[1] >= 0).any(axis=1)


def _check_classes(src: Reader, label: np.ndarray, name: str) -> None:
    """Raises DataError unless the labels (N,) of the training rows show two classes; `name` is of where they are."""
    shown = np.unique(label[label >= 0])
    if not len(shown):
        raise DataError(f"{name} has no labelled training rows: assign some with fer split")
    if len(shown) == 1:
        only = src.classes[shown[0]]
        raise DataError(f"{name} has training rows of one class only, {only!r}: there is nothing to tell apart")


def _held_out(src: Reader, train: np.ndarray, holdout: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As `hold_out`. Raises UsageError where that is no row."""
    rest, validation = hold_out(src, train, holdout, seed)
    if not (_labels(src)[validation] >= 0).any():
        raise UsageError(
            f"--holdout {holdout:g} of {len(train)} training rows holds out none: raise it (rows of one photo, clip or "
            f"sequence stay together)"
        )
    return rest, validation


def hold_out(src: Reader, rows: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation rows out of `rows` (N,), each class and those without one in proportion.

    Faces of one photo, frames of one sequence, exact copies of a picture, and the copies that augmentation made of it
    stay on one side. A picture held out is validated by the first row alone that is no such copy.
    """
    digests = read_digests(src)[rows]
    together = [codes(digests)]
    if "source" in src.columns:
        together.append(codes(src.column("source")[rows]))
    if "sequence" in src.columns:
        subject = src.column("subject") if "subject" in src.columns else None
        together.append(sequences(src.column("sequence"), subject)[rows])
    strata = strata_of(src.column("label")[rows], len(src.classes))
    held = assign(connected(together, len(rows)), strata, (1 - share, share), seed) == 1
    shown = held & src.originals()[rows]
    _, first = np.unique(digests[shown], axis=0, return_index=True)
    return rows[~held], rows[shown][np.sort(first)]


def read_digests(src: Reader) -> np.ndarray:
    """(N, 16) uint8: the digest column, or digests of the images where there is none."""
    if "digest" in src.columns:
        return src.column("digest")
    return np.concatenate([digests_of(block["image"]) for block in src.blocks(["image"])])
