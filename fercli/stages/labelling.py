"""Labels photos, or the rows of a store, and writes a row of text for each face while they stream by."""

import itertools
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import UsageError
from ..layouts import Source
from ..store import Block, Reader, block_rows, replacing
from . import contact
from .annotate import Pictures
from .contact import ContactSheet
from .dense import GRADIENTS
from .faces import Photo, Unique, photos_in, relative
from .outputs import Labelled, Output, OutputSpec, check_apart, without_own
from .predict import Predictor, PredictSpec
from .rows import rows, text_of
from .runner import Log, Outcome
from .sorting import Sorted

#: A batch of photos, and the block of all their rows.
Batch = tuple[list[Photo], Block]


def write_rows(
    src: Reader | Sequence[Source], model: str, output: str, form: str, spec: PredictSpec, wanted: OutputSpec, log: Log
) -> Outcome:
    """Writes rows as lines while they come, and what else is wanted; a file takes its place when it is complete.

    What is made of a photo is there before its rows are.
    """
    outcome = Outcome("predict", output, failures=log.failures)
    _check(src, wanted)
    with _destination(output) as file:
        predictor = Predictor.load(model, spec)
        others = _others(wanted, predictor, log)
        text = text_of(form, predictor.classes)
        for photos, block in _batches(src, predictor, wanted, log):
            if others:
                batch = _by_photo(photos, block, predictor.classes)
                for other in others:
                    other.add(batch)
            file.write(text(block))
            file.flush()
            outcome.rows += block_rows(block)
        for other in others:
            log.note(other.close())
    return outcome


def _check(src: Reader | Sequence[Source], wanted: OutputSpec) -> None:
    """Raises before any work for outputs that cannot be."""
    if wanted.sort_by and not wanted.sort_into:
        raise UsageError("--sort-by tells how photos get into a folder: name that with --sort-into DIR")
    if wanted.sort_into and isinstance(src, Reader):
        raise UsageError(f"--sort-into sorts files, and {src.name} is a store: name the photos themselves")
    if wanted.contact_sheet:
        contact.check_sheet(wanted.contact_sheet)
    if not isinstance(src, Reader):
        check_apart(src, wanted.folders)


def _others(wanted: OutputSpec, predictor: Predictor, log: Log) -> list[Output]:
    """The outputs beside the rows."""
    made: list[Output] = []
    if wanted.annotate:
        made.append(Pictures(wanted.annotate, log))
    if wanted.contact_sheet:
        made.append(ContactSheet(wanted.contact_sheet, predictor.classes, log))
    if wanted.sort_into:
        made.append(Sorted(wanted.sort_into, wanted.sort_by or "copy", predictor.classes, log))
    return made


def _batches(src: Reader | Sequence[Source], predictor: Predictor, wanted: OutputSpec, log: Log) -> Iterator[Batch]:
    if isinstance(src, Reader):
        yield from _of_store(src, predictor, log)
        return
    left_out = 0

    def count() -> None:
        nonlocal left_out
        left_out += 1

    own = [path for path in (*wanted.folders.values(), wanted.contact_sheet) if path]
    total = sum(1 for _ in without_own(photos_in(src), own, count))
    if left_out:
        log.note(f"{left_out:,} photos lie in {' and '.join(own)}, where this run writes: they are left out")
    if left_out and not total:
        raise UsageError(f"all photos lie in {' and '.join(own)}, where this run writes: name another folder for that")
    log.total(total)
    yield from _of_photos(without_own(photos_in(src), own, count), predictor, log)


def _of_photos(photos: Iterable[Photo], predictor: Predictor, log: Log) -> Iterator[Batch]:
    """Photos beside their rows. Each block holds all rows of the photos that it begins, and `parent` counts these."""
    given: deque[Photo] = deque()

    def remembered() -> Iterator[Photo]:
        for photo in photos:
            given.append(photo)
            yield photo

    first = 0
    for block in predictor.over_photos(remembered(), log):
        end = int(block["parent"][-1]) + 1
        yield [given.popleft() for _ in range(end - first)], block
        first = end


def _of_store(src: Reader, predictor: Predictor, log: Log) -> Iterator[Batch]:
    """Rows of a store; the photos are read only if they are asked for."""
    unique = Unique()
    for block in predictor.over_store(src, log):
        places = np.flatnonzero(np.diff(block["parent"], prepend=-1))
        photos = []
        for place in places:
            source = block["source"][place]
            name = relative(source) if Path(source).suffix else f"{relative(source)}.png"
            read = partial(_pixels, src, int(block["parent"][place]))
            photos.append(Photo(source, read, name=unique(name, str(block["parent"][place]))))
        yield photos, block


def _pixels(src: Reader, row: int) -> bytes | np.ndarray:
    """The photo or the gray face of a row."""
    column = "encoded" if "encoded" in src.columns else "image"
    value = next(src.blocks([column], np.array([row])))[column][0]
    return value[..., 0] if column == "image" and src.channels == GRADIENTS else value


def _by_photo(photos: Sequence[Photo], block: Block, classes: Sequence[str]) -> list[Labelled]:
    found = zip(block["parent"].tolist(), rows(block, classes), strict=True)
    groups = itertools.groupby(found, key=lambda pair: pair[0])
    return [Labelled(photo, [row for _, row in group]) for photo, (_, group) in zip(photos, groups, strict=True)]


@contextmanager
def _destination(output: str) -> Iterator[BinaryIO]:
    if output == "-":
        yield sys.stdout.buffer
        return
    with replacing(Path(output)) as part, open(part, "wb") as file:
        yield file
