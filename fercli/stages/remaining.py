"""What a run that goes on with a file of rows still has to label."""

import os
from collections.abc import Iterable, Iterator, Sequence
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


def _remaining(
    photos: Sequence[Photo], file: Appended, others: Sequence[Output], log: Log, noun: str
) -> tuple[list[Photo], Anew | None]:
    """The photos that are left, and which of them has lost its rows.

    Those that an earlier run could not read, or not to the end, are reported as failed.
    """
    known = {os.path.normpath(photo.source): photo for photo in photos}
    done: set[str] = set()
    unread, torn, mended, listed = 0, 0, [], []

    def take(past: Past) -> None:
        nonlocal unread, torn
        source = os.path.normpath(past.source)
        photo = known.get(source)
        if not photo and _is_listed(past):
            listed.append(past)
            return
        if photo and past.rows[0]["status"] == "error" and _can_be_read(photo):
            mended.append(past)
            return
        done.add(source)
        if not photo:
            return
        if past.rows[-1]["status"] == "error":
            begun = past.rows[0]["status"] != "error"
            unread, torn = unread + (not begun), torn + begun
            log.failed(photo.source, past.rows[-1]["error"])
        for other in others:
            other.again([Labelled(photo, past.rows)])

    last = None
    for past in file.past():
        if last:
            take(last)
        last = past
    cut_off = known.get(os.path.normpath(last.source)) if last else None
    if cut_off and not _can_be_read(cut_off):  # it would not be labelled anew, and would lose the rows it has
        if last.rows[-1]["status"] != "error":
            log.failed(cut_off.source, "it cannot be read any more: it keeps its rows, which may not be all")
        cut_off = None
    if cut_off:
        file.cut(last.start)
    elif last:
        take(last)
    file.drop(sorted([*mended, *listed], key=lambda past: past.start))
    left = [photo for photo in photos if os.path.normpath(photo.source) not in done]
    if done or mended:
        told = f"{counted(len(photos) - len(left), noun)} of {len(photos):,} labelled by an earlier run"
        of_which = [f"{unread:,} cannot be read"] if unread else []
        if torn:
            of_which.append(f"{torn:,} could not be read to the end: delete its rows from the file to try it again")
        log.note(f"{told}, of which {' and '.join(of_which)}" if of_which else told)
    if mended:
        log.note(f"{counted(len(mended), noun)} that it could not read can be read now")
    log.total(len(left))
    return left, Anew(cut_off.source, last.rows[0]) if cut_off else None


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
