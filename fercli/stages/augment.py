"""`fer augment`: transformed copies of the training rows behind the rows, or a recipe for `fer train` to apply."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, UsageError
from ..ops.augment import TRANSFORMS, Recipe, augment
from ..ops.image import digests_of
from ..spec import Spec, option
from ..store import SPLIT_CODES, Reader, Writer, block_rows
from .dense import GRADIENTS, require_dense
from .runner import Log

_FLIPS = ("horizontal_flip", "vertical_flip")


@dataclass(frozen=True)
class AugmentSpec(Spec):
    """Settings of `fer augment`. A transform is off unless it is given."""

    scale: float = option(0.0, "Both axes by one factor, 1 - F to 1 + F.", low=0, high=0.9, metavar="F")
    rotation: float = option(0.0, "By an angle of -D to D degrees.", low=0, high=180, metavar="D")
    width_shift: float = option(0.0, "Sideways by up to this share of the width.", low=0, high=1, metavar="F")
    height_shift: float = option(0.0, "Up or down by up to this share of the height.", low=0, high=1, metavar="F")
    zoom: float = option(0.0, "Each axis by a factor of its own, 1 - F to 1 + F.", low=0, high=0.9, metavar="F")
    horizontal_flip: bool = option(False, "Left for right.")
    vertical_flip: bool = option(False, "Top for bottom.")
    brightness: float = option(0.0, "Lighter or darker by up to this share of 255.", low=0, high=1, metavar="F")
    contrast: float = option(0.0, "Contrast by a factor of 1 - F to 1 + F.", low=0, high=1, metavar="F")
    erase: float = option(0.0, "Gray out a rectangle of up to this share of the area.", low=0, high=0.9, metavar="F")
    copies: int = option(1, "Copies of each row by each transform; a flip makes one.", low=1, high=1000, metavar="N")
    online: bool = option(
        False, "Store no copies but these settings: train draws all transforms anew each epoch, flips every other time."
    )
    seed: int = option(0, "Seed of the draws.", low=0, high=2**63 - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.chosen():
            raise UsageError("no transform is chosen: add for example --horizontal-flip --rotation 10")
        if self.online and self.copies > 1:
            raise UsageError("--copies is for stored copies, and --online stores none: leave out one of them")

    def chosen(self) -> tuple[str, ...]:
        """The transforms that were asked for, in the order of their copies."""
        return tuple(name for name in TRANSFORMS if getattr(self, name))


def run(src: Reader, dst: Writer, spec: AugmentSpec, log: Log) -> None:
    """The rows of `src`, then for each transform and each copy all training rows once more, transformed.

    `parent` is a row's number in `src`. A copy is marked in the column `copy` and keeps every other column of its
    original: the digest, so that a later split keeps the two on one side, and the fold, whose training and test leave
    it out. Where there are folds all rows are training rows, each in its turn. With `online` the rows stay alone and
    the document `augment` goes with them.

    Raises DataError: no dense images, gradient channels or HOG features, a recipe already, no training row.
    """
    _check(src)
    dst.start("samples", src.classes, src.channels)
    passes: list[tuple[Recipe, int]] = []
    rows = np.empty(0, np.int64)
    if spec.online:
        dst.document("augment", dataclasses.asdict(_recipe(spec, flip=0.5)))
    else:
        rows = _training_rows(src, log)
        passes = [(single, copy) for single in _singles(spec) for copy in range(_copies(single, spec))]
    log.total(src.rows + len(rows) * len(passes))
    _append(src, dst, log, np.arange(src.rows), None, 0)
    for single, copy in passes:
        _append(src, dst, log, rows, single, copy)


def _check(src: Reader) -> None:
    require_dense(src)
    if src.channels == GRADIENTS or "hog" in src.columns:
        raise DataError(
            f"{src.name} has gradients of its images, which a transform of the images would not fit: "
            f"run fer augment first and fer gradients on its output"
        )
    if "augment" in src.documents:
        raise DataError(f"{src.name} carries a recipe of online augmentation already: give the store without it")


def _training_rows(src: Reader, log: Log) -> np.ndarray:
    """Sorted row numbers; all where the store has no splits, or folds, over which the splits play no part."""
    rows = np.arange(src.rows)
    if {"fold", "split"} <= set(src.columns):
        log.note(f"{src.name} has folds, so all rows get copies and not only those of its split train")
    elif "split" in src.columns:
        rows = np.flatnonzero(src.column("split") == SPLIT_CODES["train"])
    if not len(rows):
        raise DataError(f"{src.name} has no training rows to copy: assign some with fer split")
    return rows


def _recipe(spec: AugmentSpec, flip: float) -> Recipe:
    """The recipe of all transforms that were chosen; the flips come with probability `flip`."""
    chosen = {name: getattr(spec, name) for name in spec.chosen()}
    return Recipe(**{name: flip if name in _FLIPS else value for name, value in chosen.items()}, seed=spec.seed)


def _singles(spec: AugmentSpec) -> list[Recipe]:
    """One recipe a transform, as the paper has them; a flip is sure."""
    everything = _recipe(spec, flip=1.0)
    return [Recipe(**{name: getattr(everything, name)}, seed=spec.seed) for name in spec.chosen()]


def _copies(single: Recipe, spec: AugmentSpec) -> int:
    """A second flip would be the first again."""
    return 1 if single.horizontal_flip or single.vertical_flip else spec.copies


def _append(src: Reader, dst: Writer, log: Log, rows: np.ndarray, recipe: Recipe | None, copy: int) -> None:
    """Appends `rows` of `src`, transformed unless `recipe` is None."""
    first = 0
    for block in src.blocks(rows=rows):
        numbers = rows[first : first + block_rows(block)]
        images = block["image"] if recipe is None else augment(block["image"], recipe, numbers, copy)
        marked = block.get("copy", np.zeros(len(numbers), bool)) | (recipe is not None)
        told = {} if "digest" in block else {"digest": digests_of(block["image"])}  # by which a copy is one
        dst.append({**block, **told, "image": images, "parent": numbers, "copy": marked})
        first += len(numbers)
        log.advance(len(numbers))
