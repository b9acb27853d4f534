"""Videos and cameras: their frames one after the other, each with the time at which it is shown."""

import hashlib
import os
import re
import struct
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np

from ..errors import DataError, UsageError
from ..ops.image import MAX_PIXELS
from .files import SingleFile, Source

#: What the names of videos end in.
SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".mts", ".m2ts",
)  # fmt: skip
CAMERA = "camera:"

#: A video that ends before its header says by this share of its length, and by these seconds, is cut off.
_MISSING_SHARE, _MISSING_SECONDS = 0.05, 0.2
#: What a file of the MP4 family may begin with, and how many boxes of it are looked at: hostile ones have millions.
_BOXES = (
    b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"moof", b"mfra", b"sidx", b"ssix", b"styp", b"uuid", b"meta",
    b"udta", b"emsg", b"prft", b"pdin", b"pnot", b"PICT",
)  # fmt: skip
_MAX_BOXES = 10_000
#: What a Matroska file begins with, what its one segment does, and the bytes in which both are.
_EBML, _SEGMENT, _HEAD = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", 4096
# FFmpeg says nothing on standard error: what it says comes back as an error. And it opens no more than the file that it
# is given: a playlist under the name of a video could make it read other files, or from the network. Both are read when
# OpenCV first opens a video; who has set them otherwise has a reason to.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")


class Frame(NamedTuple):
    """One picture of a clip."""

    number: int  # from 0
    time: float  # seconds from the first frame, never less than that of the frame before
    image: np.ndarray  # (H, W, 3) RGB uint8


class Clip(Source):
    """Frames in order. A `live` one comes at its own pace, whether anybody keeps up or not."""

    flat = True
    live = False
    rate = 0.0  # frames a second as the header of an opened file tells it, which may be anything

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """The frames, read as they are asked for. DataError, without the clip's name: it cannot be opened, has no
        frames, or ends before it should; the last comes after the frames that are there.
        """


class Video(Clip, SingleFile):
    """A video file. Times are its own, so that a variable frame rate is honoured, and so is its orientation."""

    def frames(self) -> Iterator[Frame]:
        self._check()
        capture = cv2.VideoCapture(for_opencv(self.path), cv2.CAP_FFMPEG)
        try:
            if not capture.isOpened():
                raise DataError(
                    f"it cannot be read as a video: it is cut off or damaged, or of a kind that OpenCV "
                    f"{cv2.__version__} does not know"
                )
            self.rate = capture.get(cv2.CAP_PROP_FPS)
            yield from _frames_of(capture, _cut_off(self.path))
        finally:
            capture.release()

    def _check(self) -> None:
        """Raises DataError for what is no file with something in it, in the words that a photo has for it."""
        with self.stream(self.path) as stream:
            if not stream.read(1):
                raise DataError("the file is empty (zero bytes)")


class Camera(Clip):
    """A camera of this machine by its number: frames at the pace of the camera, until it is gone."""

    live = True

    def __init__(self, path: str) -> None:
        super().__init__(path)
        found = re.fullmatch(r"camera:([0-9]{1,3})", path)
        if not found:
            raise UsageError(f"{path!r} is no camera: the first is camera:0, the next camera:1")
        self._number = int(found[1])
        self._state = hashlib.blake2b(digest_size=16)

    def names(self) -> list[str]:
        return []

    def digest(self, names: Iterable[str] = ()) -> str:
        """That of the frames seen so far: no two runs see the same."""
        return self._state.hexdigest()

    def frames(self) -> Iterator[Frame]:
        capture = cv2.VideoCapture(self._number)
        try:
            if not capture.isOpened():
                raise DataError("it cannot be opened: there is no such camera, or another program holds it")
            began, number = time.monotonic(), 0
            while (image := _next(capture)) is not None:
                self._state.update(image)
                yield Frame(number, time.monotonic() - began if number else 0.0, image)
                number += 1
        finally:
            capture.release()
        raise DataError(f"it gives no more frames after {number:,}: it was unplugged, or another program took it")


def for_opencv(path: Path | str) -> str:
    """A path as OpenCV takes it: from the root, as what is before a colon would be taken for a protocol.

    Raises DataError, without the file's name, where its bytes are not UTF-8: OpenCV 4.14 would crash.
    """
    whole = os.path.abspath(path)
    try:
        whole.encode()
    except UnicodeEncodeError:
        raise DataError("its path is not UTF-8, which OpenCV cannot open: rename it") from None
    return whole


def open_clip(path: str) -> Clip:
    """The clip that `is_clip` says is there. UsageError for a camera whose number is none."""
    return Camera(path) if path.startswith(CAMERA) else Video(path)


def is_clip(path: str) -> bool:
    """Whether a path that somebody typed is that of a video or a camera."""
    return path.startswith(CAMERA) or (is_video(path) and not os.path.isdir(path))


def is_video(name: str) -> bool:
    """Whether a file's name says that it is a video."""
    return name.lower().endswith(SUFFIXES)


def _frames_of(capture: cv2.VideoCapture, cut_off: bool | None) -> Iterator[Frame]:
    """All frames. `cut_off` tells whether the file ends too early; None: the frames that its header counts tell it."""
    width, height = (int(capture.get(part)) for part in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if height * width > MAX_PIXELS:
        raise DataError(f"its frames are of {width}x{height} pixels, more than the {MAX_PIXELS:,} that are accepted")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    step = 1 / rate if rate > 0 else 0.0
    number, seconds, origin = 0, 0.0, 0.0
    while (image := _next(capture)) is not None:
        told = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if not number:
            origin = told
        else:  # where a container tells no times, frames are as far apart as its rate says
            seconds = told - origin if told - origin > seconds else seconds + step
        yield Frame(number, seconds, image)
        number += 1
    if not number:
        raise DataError("it holds no frames that can be decoded")
    if cut_off is None:
        cut_off = (count - 1) * step - seconds > max(_MISSING_SHARE * count * step, _MISSING_SECONDS)
    if cut_off:
        raise DataError(f"it is cut off or damaged: it ends after {seconds + step:.1f} s ({number:,} frames)")


def _cut_off(path: str) -> bool | None:
    """Whether a file ends before it says that it does; None for an AVI that does not say: its header counts the frames.

    That count misleads elsewhere: an edit list may leave frames out, and sound may be longer than the picture.
    """
    with open(path, "rb") as file:
        size, head = os.fstat(file.fileno()).st_size, file.read(_HEAD)
        if head[:4] == b"RIFF":
            end = _chunks_end(file, size)
            return None if end is None else end > size + 8  # some writers count the header in
        if head[4:8] in _BOXES:
            return _boxes_end(file, size) > size
    return head[:4] == _EBML and _segment_end(head) > size


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Where the last box of an MP4 file ends. What stands behind it and is none, as some cameras write, is no part."""
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        short, kind, long = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        if at >= size or kind not in _BOXES:
            break
        at = size if short == 0 else at + (long if short == 1 else max(short, 8))
    return at


def _chunks_end(file: BinaryIO, size: int) -> int | None:
    """Where the last of the RIFF chunks ends that an AVI file is made of; None where a header has no length yet."""
    at = 0
    while at < size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
        if name != b"RIFF":
            break
        if length in (0, 0xFFFFFFFF):
            return None
        at += 8 + length + length % 2
    return at


def _segment_end(head: bytes) -> int:
    """Where the segment of a Matroska or WebM file ends, 0 if that is not told."""
    try:
        length, at = _variable(head, 4)
        at += length
        if head[at : at + 4] != _SEGMENT:
            return 0
        length, at = _variable(head, at + 4)
    except IndexError:
        return 0
    return at + length


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """An EBML number and where it ends: as many zero bits as bytes follow the first, a one, and the number."""
    width = 9 - data[at].bit_length()
    most = (1 << 7 * width) - 1
    value = int.from_bytes(data[at : at + width], "big") & most
    return (0 if value == most else value), at + width  # all ones: not known


def _next(capture: cv2.VideoCapture) -> np.ndarray | None:
    """The next frame (H, W, 3) RGB, or None at the end."""
    there, image = capture.read()
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if there else None
