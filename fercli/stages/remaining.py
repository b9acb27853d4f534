"""What a run that goes on with a file of rows still has to label."""

import os
from collections.abc import Sequence
from functools import partial

import numpy as np

from ..errors import DataError
from ..layouts.video import Clip
from ..text import counted
from .faces import Photo
from .outputs import Labelled, Output, pixels
from .resume import Appended, Past
from .runner import Log


def remaining_photos(photos: Sequence[Photo], file: Appended, others: Sequence[Output], log: Log) -> list[Photo]:
    """The photos that have no rows in the file, or that could not be read and can be now. What the rows of the others
    tell is given again to what takes it.
    """
    left, _ = _remaining(photos, file, others, log, "photo")
    return left


def remaining_clips(clips: Sequence[Clip], file: Appended, log: Log) -> list[Clip]:
    """The clips that have no rows in the file, or that could not be opened and can be now."""
    photos = [Photo(clip.path, partial(_first_frame, clip)) for clip in clips]
    left, cut_off = _remaining(photos, file, (), log, "video")
    if cut_off:
        log.note(f"{cut_off} is labelled anew: it is the last in the file, where rows of it may be missing")
    names = {photo.source for photo in left}
    return [clip for clip in clips if clip.path in names]


def _remaining(
    photos: Sequence[Photo], file: Appended, others: Sequence[Output], log: Log, noun: str
) -> tuple[list[Photo], str]:
    """The photos that are left, and which of them has lost its rows as the last one in the file: these may not be all
    that it had.

    Those that an earlier run could not read, or not to the end, are reported as failed.
    """
    known = {os.path.normpath(photo.source): photo for photo in photos}
    done: set[str] = set()
    unread, torn, mended = 0, 0, []

    def take(past: Past) -> None:
        nonlocal unread, torn
        source = os.path.normpath(past.source)
        photo = known.get(source)
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
    file.drop(mended)
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
    return left, cut_off.source if cut_off else ""


def _can_be_read(photo: Photo) -> bool:
    try:
        pixels(photo.read())
    except DataError:
        return False
    return True


def _first_frame(clip: Clip) -> np.ndarray:
    return next(clip.frames()).image
