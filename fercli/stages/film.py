"""Videos with what was found in their frames: files, or raw frames on standard output."""

import os
import sys
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError, UsageError
from ..layouts.video import Clip, for_opencv, is_video
from ..ops import draw
from ..store import check_writable, disk_errors
from ..text import counted
from .annotate import FLAG, faces_of, own_folder
from .faces import Unique
from .outputs import Labelled, Output
from .runner import Log, check_replaced

#: The codes of the codecs that OpenCV's own FFmpeg writes, by what the name of a file ends in.
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "XVID"}
#: The code that a reader of any of these has.
DRAWN = "FMP4"
#: Frames a second where a clip tells none that can be, and the longest gap between two frames that is filled, seconds.
_RATE, _RATES, _GAP = 30.0, (1.0, 240.0), 10.0


def films(out: str, clips: Sequence[Clip], rows: str, log: Log, force: bool = False) -> Output:
    """What takes the frames of clips to `out`: a file, a folder, or "-" for standard output, where `rows` are not.

    Raises UsageError for what cannot be, and for a file that is not drawn here unless it may be replaced by `force`.
    """
    single = out == "-" or is_video(out)
    if single and len(clips) > 1:
        raise UsageError(f"{FLAG} {out} takes the frames of one video, and IN are {len(clips)}: name a folder")
    if out == "-":
        if rows == "-" or _is_stdout(rows):
            raise UsageError(f"{FLAG} - and the rows would both go to standard output: add -o labels.jsonl")
        if sys.stdout.isatty():
            raise UsageError("frames are binary and standard output is a terminal: pipe them into ffplay or ffmpeg")
        return RawFrames(clips[0], log)
    if not single:
        folder, unique = own_folder(out), Unique()
        names = {clip.path: _name_of(clip) for clip in clips}
        targets = {path: folder / unique(name, path) for path, name in names.items()}
        _check_apart(targets, "folder")
        return Films(targets, clips)
    if Path(out).suffix.lower() not in CODECS:
        raise UsageError(f"{FLAG} {out} is of a kind that is not written: end it in {', '.join(CODECS)}")
    targets = {clips[0].path: Path(out)}
    _check_apart(targets, "file")
    check_writable(Path(out), FLAG)
    if not force:
        check_replaced(out, f"video that {FLAG} has drawn", lambda: _is_drawn(out), FLAG)
    return Films(targets, clips)


def _is_stdout(path: str) -> bool:
    """Whether what is written to a path goes where standard output does, as to /dev/stdout."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # nothing is there, or it is no stream of the system
        return False


def _is_drawn(path: str) -> bool:
    """Whether a video is one of ours. It is told by its codec, which is not that of phones and cameras."""
    found = cv2.VideoCapture(for_opencv(path), cv2.CAP_FFMPEG)
    code = int(found.get(cv2.CAP_PROP_FOURCC))
    found.release()
    return code == cv2.VideoWriter_fourcc(*DRAWN)


def _check_apart(targets: dict[str, Path], kind: str) -> None:
    """Raises UsageError where what is to be written is there, and is one of the clips, and DataError for a name that
    OpenCV cannot write.
    """
    clips = [path for path in targets if os.path.exists(path)]
    for target in targets.values():
        try:
            for_opencv(target)
        except DataError as error:
            raise DataError(f"{target} cannot be written: {error}") from None
        if target.exists() and any(os.path.samefile(target, path) for path in clips):
            raise UsageError(f"{target} is both input and output: name another {kind} with {FLAG}")


def _name_of(clip: Clip) -> str:
    name = "camera-" + clip.path.partition(":")[2] if clip.live else os.path.basename(clip.path)
    return name if Path(name).suffix.lower() in CODECS else f"{name}.mp4"


class _Frames(Output):
    """Frames are drawn on and shown at a constant rate: as often as their times say, or not at all."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self._clips = {clip.path: clip for clip in clips}
        self._clip, self._rate, self._shown = "", _RATE, 0

    def add(self, batch: Sequence[Labelled]) -> None:
        for photo, rows in batch:
            if rows[0]["status"] == "error":  # the end of a video that is cut off
                continue
            picture = draw.annotated(photo.read(), faces_of(rows))
            if photo.source != self._clip:
                told = self._clips[photo.source].rate
                self._clip, self._shown = photo.source, 0
                self._rate = told if _RATES[0] <= told <= _RATES[1] else _RATE
                self._begin(picture)
            for _ in self._due(photo.carried["time"]):
                self._show(picture)

    def again(self, batch: Sequence[Labelled]) -> None:
        """No run that draws goes on with another."""

    def _due(self, time: float) -> Iterator[None]:
        """As many times as the frame is to be shown, the first frame of a clip once."""
        shown, self._shown = self._shown, max(self._shown, round(time * self._rate) + 1)
        return iter([None] * min(self._shown - shown, round(_GAP * self._rate)))

    @abstractmethod
    def _begin(self, picture: np.ndarray) -> None:
        """Makes ready for the frames of a clip, of which `picture` (H, W, 3) is the first."""

    @abstractmethod
    def _show(self, picture: np.ndarray) -> None:
        """Writes a frame."""


class Films(_Frames):
    """A video file for each clip, which takes its place when it is complete."""

    def __init__(self, targets: dict[str, Path], clips: Sequence[Clip]) -> None:
        super().__init__(clips)
        self._targets = targets
        self._writer: cv2.VideoWriter | None = None
        self._part: Path | None = None  # what is written, until it is in its place
        self._done: list[Path] = []

    def close(self) -> str:
        self._finish()
        if not self._done:
            return f"{FLAG} has written nothing: there was no frame to draw on"
        where = self._done[0] if len(self._done) == 1 else self._done[0].parent
        return f"{counted(len(self._done), 'video')} to {where}"

    def stop(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        if self._part is not None:
            self._part.unlink(missing_ok=True)
            self._part = None

    def _begin(self, picture: np.ndarray) -> None:
        self._finish()
        self._target = self._targets[self._clip]
        self._part = self._target.with_name(f".{self._target.stem}.part{self._target.suffix}")
        height, width = picture.shape[:2]
        code = cv2.VideoWriter_fourcc(*CODECS[self._target.suffix.lower()])
        self._writer = cv2.VideoWriter(for_opencv(self._part), cv2.CAP_FFMPEG, code, self._rate, (width, height))
        if not self._writer.isOpened():
            raise DataError(
                f"{self._target} cannot be written: OpenCV {cv2.__version__} has no codec for frames of "
                f"{width}x{height}, or the folder is full or not to be written; pipe the frames out with {FLAG} -"
            )

    def _show(self, picture: np.ndarray) -> None:
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def _finish(self) -> None:
        """Puts a video in its place. OpenCV tells of no error as it writes, so the last frame is looked for."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        found = cv2.VideoCapture(for_opencv(self._part), cv2.CAP_FFMPEG)
        last = found.get(cv2.CAP_PROP_FRAME_COUNT) - 1 if found.isOpened() else -1
        whole = last >= 0 and found.set(cv2.CAP_PROP_POS_FRAMES, last) and found.read()[0]
        found.release()
        if not whole:
            raise DataError(f"{self._target} could not be written whole: free some space, or name another {FLAG}")
        os.replace(self._part, self._target)
        self._part = None
        self._done.append(self._target)


class RawFrames(_Frames):
    """The frames of a clip on standard output: rows of pixels, blue green red, one byte each, without any header.

    When their reader leaves, nothing more is drawn, and the labelling goes on.
    """

    def __init__(self, clip: Clip, log: Log) -> None:
        super().__init__([clip])
        self._live, self._log = clip.live, log
        self._count, self._left = 0, False

    def add(self, batch: Sequence[Labelled]) -> None:
        if self._left:
            return
        try:
            super().add(batch)
        except BrokenPipeError:
            self._left = True
            end = " until it is interrupted" if self._live else ""
            self._log.note(f"the reader left after {counted(self._count, 'frame')}: labelling goes on without it{end}")

    def close(self) -> str:
        return f"{counted(self._count, 'frame')} to standard output"

    def _begin(self, picture: np.ndarray) -> None:
        height, width = picture.shape[:2]
        self._log.note(
            f"frames: -f rawvideo -pixel_format bgr24 -video_size {width}x{height} -framerate {self._rate:.6g}"
        )

    def _show(self, picture: np.ndarray) -> None:
        rest = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR).data.cast("B")
        with disk_errors("standard output", FLAG):
            while rest:  # past the buffer, in which a frame would be left when its reader leaves
                rest = rest[os.write(sys.stdout.fileno(), rest) :]
        self._count += 1
