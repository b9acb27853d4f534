"""Videos and cameras, frame by frame: decoded by one thread, searched by another, answered by the caller."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple

import numpy as np

from ..errors import DataError, DeviceGone, UsageError
from ..interrupts import noted
from ..layouts import Source
from ..layouts.archive import Archive
from ..layouts.files import UNREAD_SUFFIXES, Folder, is_image
from ..layouts.video import Clip, Frame, is_clip, is_video, open_clip
from ..ops.parallel import buffered
from ..store import Block, Writer, objects
from ..text import counted
from .detect import DetectSpec, Found, Search, finder, samples
from .faces import Answer, Photo, rows_of
from .opening import shell_words
from .runner import Log
from .tracking import Seen, Tracker
from .tracks import Smoothing, Tracks

#: Frames whose faces are answered together; those of a camera are answered one by one, at once. Fewer where the
#: pictures are wanted too, which would fill the memory.
FRAMES = 32
PICTURED_FRAMES = 4
_FEW = 5  # endings of names that a note tells
#: Decoded frames that may wait for the search. Those of a camera give way to later ones.
_DECODED = 4


class _Framed(NamedTuple):
    """What a frame gave: its photo carries time and frame, and its faces have the numbers of their tracks."""

    photo: Photo
    found: Found
    track: np.ndarray  # (max(faces, 1),) int32, 0 where there is no face


def label_clips(
    clips: Sequence[Clip],
    search: Search,
    answer: Answer,
    classes: Sequence[str],
    smooth: float,
    log: Log,
    pictures: bool = False,
) -> Iterator[tuple[list[Photo], Block]]:
    """Prediction blocks beside their frames: rows as `faces.label_photos` makes them, with time, frame and track.

    A clip that ends in an error has a row that says so, after those of the frames before, and is reported as failed.
    `smooth`: seconds over which the probabilities of a track are averaged. Only with `pictures` can the frames be read.
    `parent` counts the frames of all clips. A summary of each track is told at the end, which for a camera is an
    interrupt.
    """
    first = 0
    log.total(0)
    for clip in clips:
        smoothing, tracks = Smoothing(smooth), Tracks(clip.path, classes)
        size = _batch_size(clip, pictures)
        framed = _framed(clip, search, pictures)
        with closing(_until_interrupted(framed) if clip.live else framed) as frames:
            while batch := list(islice(frames, size)):
                block = smoothing(_block(batch, first, search, answer))
                tracks.add(block)
                yield [one.photo for one in batch], block
                first += len(batch)
                log.advance(len(batch))
                if batch[-1].found.error:
                    log.failed(clip.path, batch[-1].found.error)
        tracks.tell(log)


def _batch_size(clip: Clip, pictures: bool) -> int:
    if clip.live:
        return 1
    return PICTURED_FRAMES if pictures else FRAMES


def clips_of(paths: Sequence[str]) -> list[Clip]:
    """The videos of a command line. UsageError: something else is among them, or a camera, which has no end."""
    others = [path for path in paths if not is_clip(path)]
    if others:
        clips = list(filter(is_clip, paths))
        are_photos, rest = is_image(others[0]) or os.path.isdir(others[0]), shell_words(others)
        then = f"fer ingest {rest} | fer detect" if are_photos else f"fer detect {rest}"
        raise UsageError(
            f"{clips[0]} is a video and {others[0]} is not: find their faces in two runs, "
            f"fer detect {shell_words(clips)} and {then}"
        )
    for path in paths:
        if not is_video(path):
            raise UsageError(f"{path} has no end: label it with fer predict, or record a video and give that")
    return [open_clip(path) for path in paths]


def tell_left_out(sources: Iterable[Source], log: Log) -> None:
    """Notes what lies among photos and is not labelled with them: videos, whose rows have other columns, photos in
    formats that are not read, and files that are neither by their names.
    """
    for source in sources:
        if not isinstance(source, Folder | Archive):
            continue
        unread, videos, others = [], [], []
        for name in source.names():
            if name.lower().endswith(UNREAD_SUFFIXES):
                unread.append(name)
            elif is_video(name):
                videos.append(name)
            elif not is_image(name):
                others.append(name)
        if unread:
            told = f"{counted(len(unread), 'photo')} in a format that is not read ({_endings(unread)})"
            log.note(f"{source.path} holds {told}, left out: convert to JPEG what is to be labelled")
        if others:
            told = f"{counted(len(others), 'file')} not named as photos are ({_endings(others)})"
            log.note(f"{source.path} holds {told}, left out")
        if videos:
            root = source.path.rstrip("/")
            named = f"fer predict {shell_words([f'{root}/{name}' for name in videos], root)}"
            hint = f"label them with {named}" if isinstance(source, Folder) else "unpack it, and name them"
            log.note(f"{source.path} holds {counted(len(videos), 'video')}, left out: {hint}")


def _endings(names: Iterable[str]) -> str:
    """What the names of files end in, the first few."""
    found = sorted({os.path.splitext(name)[1].lower() or "no ending" for name in names})
    return ", ".join(found[:_FEW] + ["..."] * (len(found) > _FEW))


def detect_clips(clips: Sequence[Clip], dst: Writer, spec: DetectSpec, log: Log) -> None:
    """The faces of clips as samples: crops with source and sequence (the clip), frame, time, track, box and score.

    A clip that ends in an error goes to `log.failed`, which leaves what came before. Raises DataError for a frame
    without a face under `--on-miss fail`.
    """
    search = Search(spec)
    spec = search.spec
    dst.start("samples", (), ("gray",))
    log.total(0)
    for clip in clips:
        missed = count = 0
        with closing(_framed(clip, search, False)) as frames:
            while batch := list(islice(frames, FRAMES)):
                if batch[-1].found.error:
                    _failed(clip, batch.pop().found.error, len(clips) == 1 and not count and not batch, log)
                missed += sum(one.found.missed for one in batch)
                count += len(batch)
                _check_found(batch, spec)
                if batch:
                    dst.append(_samples(batch, search))
                log.advance(len(batch))
        if missed:
            did = "were left out" if spec.on_miss == "drop" else "were kept whole"
            log.note(f"{missed:,} of {count:,} frames of {clip.path} show no face that {finder(spec)} and {did}")


def _failed(clip: Clip, reason: str, all_there_is: bool, log: Log) -> None:
    """Reports a clip that ends in an error, without the advice to leave it out where nothing would be left."""
    try:
        log.failed(clip.path, reason)
    except DataError:
        if not all_there_is:
            raise
        raise DataError(f"{clip.path}: {reason}") from None


def _framed(clip: Clip, search: Search, pictures: bool) -> Iterator[_Framed]:
    """The frames of a clip with their crops. One that ends in an error has a last frame that says so."""
    told = (0.0, 0)  # time and number of the frame that comes next

    def cropped(seen: Seen) -> _Framed:
        nonlocal told
        told = (seen.frame.time, seen.frame.number + 1)
        photo = _photo(clip, seen.frame, pictures)
        if len(seen.track):
            found = search.cropped(seen.gray, seen.faces)
            return _Framed(photo, found, seen.track[search.kept(seen.faces, seen.gray)])
        keep = search.spec.on_miss == "keep"
        found = search.kept_whole(seen.gray) if keep else Found.nothing(missed=True)
        return _Framed(photo, found, np.zeros(1, np.int32))

    tracker = Tracker(search.find, search.spec.detect_every)

    def made() -> Iterator[_Framed]:
        with closing(buffered(clip.frames(), 1 if clip.live else _DECODED, latest=clip.live)) as decoded:
            yield from map(cropped, tracker.follow(decoded))

    with closing(buffered(made(), _batch_size(clip, pictures))) as framed:
        try:
            yield from framed
        except DeviceGone:
            raise
        except DataError as error:
            photo = Photo(clip.path, _unread, {"time": told[0], "frame": told[1]})
            yield _Framed(photo, Found.nothing(error=str(error)), np.zeros(1, np.int32))


def _until_interrupted(frames: Iterator[_Framed]) -> Iterator[_Framed]:
    """The frames until an interrupt: a camera has no other end."""
    with noted() as ended, closing(frames):
        for frame in frames:
            yield frame
            if ended():
                break


def _photo(clip: Clip, frame: Frame, pictures: bool) -> Photo:
    image = frame.image
    read = (lambda: image) if pictures else _unread
    return Photo(clip.path, read, {"time": frame.time, "frame": frame.number}, clip.path)


def _unread() -> np.ndarray:
    raise DataError("the pictures of its frames are not kept")


def _block(batch: Sequence[_Framed], first: int, search: Search, answer: Answer) -> Block:
    block = rows_of([(one.photo, one.found) for one in batch], first, search.spec.size, answer)
    return {**block, "track": np.concatenate([one.track for one in batch])}


def _check_found(batch: Iterable[_Framed], spec: DetectSpec) -> None:
    for one in batch:
        if one.found.missed and spec.on_miss == "fail":
            raise DataError(
                f"{one.photo.source}: no face was found by the detector {spec.detector} at "
                f"{one.photo.carried['time']:.2f} s; leave such frames out with --on-miss drop"
            )


def _samples(batch: Sequence[_Framed], search: Search) -> Block:
    """One row a crop."""
    names = objects(one.photo.source for one in batch)
    frames = {
        "source": names,
        "sequence": names,
        "frame": np.array([one.photo.carried["frame"] for one in batch], np.int64),
        "time": np.array([one.photo.carried["time"] for one in batch], np.float64),
    }
    block = samples([one.found for one in batch], frames, 0, search)
    del block["parent"]  # the frames are rows of no store
    return {**block, "track": np.concatenate([one.track[: len(one.found.crops)] for one in batch])}
