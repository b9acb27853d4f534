"""What a run that goes on with a file of rows still has to label."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..layouts.video import Clip
from ..text import counted
from .faces import Batch, Photo
from .outputs import Labelled, Output, pixels
from .resume import FLAG, Appended, Past
from .rows import Row, rows
from .runner import Log

#: What the same settings make of the same photo on another machine lies within: px of a box, and of a probability.
_PIXELS, _CHANCE = 2, 0.05


class Anew(NamedTuple):
    """A photo that is labelled anew, as the last one in the file: its rows there may not be all that it had."""

    source: str
    first: Row  # of those rows


def remaining_photos(
    photos: Sequence[Photo], file: Appended, others: Sequence[Output], log: Log
) -> tuple[list[Photo], Anew | None]:
    """The photos that have no rows in the file, or that could not be read and can be now, and which of them is labelled
    anew. What the rows of the others tell is given again to what takes it.
    """
    return _remaining(photos, file, others, log, "photo")


def remaining_clips(clips: Sequence[Clip], file: Appended, log: Log) -> tuple[list[Clip], Anew | None]:
    """The clips that have no rows in the file, or that could not be opened and can be now, and which of them is
    labelled anew.
    """
    photos = [Photo(clip.path, partial(_first_frame, clip)) for clip in clips]
    left, anew = _remaining(photos, file, (), log, "video")
    if anew:
        log.note(f"{anew.source} is labelled anew: it is the last in the file, where rows of it may be missing")
    names = {photo.source for photo in left}
    return [clip for clip in clips if clip.path in names], anew


def compared(
    batches: Iterable[Batch], anew: Anew | None, path: str, classes: Sequence[str], log: Log
) -> Iterator[Batch]:
    """The batches. Notes that the last rows of the file at `path` were made otherwise, by another model or with other
    settings, where the photo that is labelled anew shows it.
    """
    for photos, block in batches:
        places = np.flatnonzero(block["source"] == anew.source) if anew else ()
        if len(places):
            now = next(rows({name: values[places[:1]] for name, values in block.items()}, classes))
            if not _alike(anew.first, now):
                log.note(
                    f"the last rows of {path} are of another model, of other settings or of another photo: "
                    f"{anew.source} was {_told(anew.first)}, and is {_told(now)}; "
                    f"to keep them apart, name another file with {FLAG}"
                )
            anew = None
        yield photos, block


def _alike(before: Row, now: Row) -> bool:
    if before["status"] == "error":  # why it was left unlabelled may be gone
        return True
    chances = ([*(row["probabilities"] or {}).values()] for row in (before, now))
    same = before["status"] == now["status"]
    return same and _near(before["box"] or (), now["box"] or (), _PIXELS) and _near(*chances, _CHANCE)


def _near(values: Sequence[float], others: Sequence[float], within: float) -> bool:
    return len(values) == len(others) and np.allclose(values, others, rtol=0, atol=within)


def _told(row: Row) -> str:
    """What a row says of its face, in a few words."""
    if row["confidence"] is None:
        return row["status"]
    place = f" at {','.join(f'{value:g}' for value in row['box'])}" if row["box"] else ""
    return f"{row['label'] or row['status']} ({row['confidence']:.2f}){place}"


@dataclass
class _Earlier:
    """What earlier runs have done of the photos that are `known` by their paths, as their rows in the file tell."""

    known: dict[str, Photo]
    others: Sequence[Output]
    log: Log
    done: set[str] = field(default_factory=set)
    mended: list[Past] = field(default_factory=list)  # photos that could not be read, and can be now
    listed: list[Past] = field(default_factory=list)  # folders that could not be listed, and can be now
    unread: int = 0
    torn: int = 0  # videos that could not be read to the end

    def take(self, past: Past) -> None:
        """Takes what the file has of one photo, and reports what could not be read, or not to the end, as failed."""
        source = os.path.normpath(past.source)
        photo = self.known.get(source)
        if not photo and _is_listed(past):
            self.listed.append(past)
            return
        if photo and past.rows[0]["status"] == "error" and _can_be_read(photo):
            self.mended.append(past)
            return
        self.done.add(source)
        if not photo:
            return
        if past.rows[-1]["status"] == "error":
            begun = past.rows[0]["status"] != "error"
            self.unread, self.torn = self.unread + (not begun), self.torn + begun
            self.log.failed(photo.source, past.rows[-1]["error"])
        for other in self.others:
            other.again([Labelled(photo, past.rows)])

    def tell(self, count: int, left: int, noun: str) -> None:
        """Notes what is done, so that `left` of `count` photos are not."""
        if self.done or self.mended:
            told = f"{counted(count - left, noun)} of {count:,} labelled by an earlier run"
            of_which = [f"{self.unread:,} cannot be read"] if self.unread else []
            if self.torn:
                again = "delete its rows from the file to try it again"
                of_which.append(f"{self.torn:,} could not be read to the end: {again}")
            self.log.note(f"{told}, of which {' and '.join(of_which)}" if of_which else told)
        if self.mended:
            self.log.note(f"{counted(len(self.mended), noun)} that it could not read can be read now")


def _remaining(
    photos: Sequence[Photo], file: Appended, others: Sequence[Output], log: Log, noun: str
) -> tuple[list[Photo], Anew | None]:
    """The photos that are left, and which of them has lost its rows."""
    earlier = _Earlier({os.path.normpath(photo.source): photo for photo in photos}, others, log)
    last = None
    for past in file.past():
        if last:
            earlier.take(last)
        last = past
    anew = _anew(last, earlier.known, log) if last else None
    if anew:
        file.cut(last.start)
    elif last:
        earlier.take(last)
    file.drop(sorted([*earlier.mended, *earlier.listed], key=lambda past: past.start))
    left = [photo for photo in photos if os.path.normpath(photo.source) not in earlier.done]
    earlier.tell(len(photos), len(left), noun)
    log.total(len(left))
    return left, anew


def _anew(last: Past, known: dict[str, Photo], log: Log) -> Anew | None:
    """The photo of the last rows in the file, of which some may be missing; None where it is none of those that are
    `known`, or cannot be read, as it would then lose the rows that it has.
    """
    photo = known.get(os.path.normpath(last.source))
    if photo and _can_be_read(photo):
        return Anew(photo.source, last.rows[0])
    if photo and last.rows[-1]["status"] != "error":
        log.failed(photo.source, "it cannot be read any more: it keeps its rows, which may not be all")
    return None


def _is_listed(past: Past) -> bool:
    """Whether rows tell of a folder that could not be listed, and now can: its photos have rows of their own."""
    return past.source.endswith("/") and past.rows[0]["status"] == "error" and os.access(past.source, os.R_OK | os.X_OK)


def _can_be_read(photo: Photo) -> bool:
    try:
        pixels(photo.read())
    except DataError:
        return False
    return True


def _first_frame(clip: Clip) -> np.ndarray:
    return next(clip.frames()).image
