"""Faces followed from frame to frame: found in one, followed by KCF in the next few, found again and matched."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..detectors import Faces
from ..errors import DataError
from ..layouts.video import Frame
from ..ops.geometry import overlap
from ..ops.image import to_gray
from ..ops.kcf import LOST, Kcf

#: Overlap (intersection over union) from which a face that is found is taken for one that was followed.
SAME = 0.3
#: Times in a row that the detector may miss a face that is followed, but not more often than it found it before: heads
#: turn away, and a false face is seldom found again.
PATIENCE = 3
#: Share of its box that lies in the frame, below which a face that the last search missed is not told: it has left, and
#: what is followed is the edge.
WITHIN = 0.6
#: Seconds for which a face that was lost keeps its number, in case that it comes back to its place.
MEMORY = 2.0


class Seen(NamedTuple):
    """A frame with the faces that are followed through it, the largest first."""

    frame: Frame
    gray: np.ndarray  # (H, W) uint8
    faces: Faces
    track: np.ndarray  # (n,) int32: the number of each face, from 1


@dataclass(eq=False)
class _Track:
    """A face that is followed. Its number is 0 until it was found twice: most false faces are in one frame alone."""

    kcf: Kcf
    score: float  # when it was found last
    landmark: np.ndarray | None  # (5, 2) then, as shares of the box
    time: float  # of the last frame in which it was there
    number: int = 0
    found: int = 1
    missed: int = 0

    def has_left(self, height: int, width: int) -> bool:
        """Whether nobody finds it any more, and most of it lies outside of a frame of this size."""
        x, y, across, down = self.kcf.box
        inside = (min(x + across, width) - max(x, 0)) * (min(y + down, height) - max(y, 0))
        return self.missed > 0 and inside < WITHIN * across * down

    def sight(self) -> "_Sight":
        box = self.kcf.box
        return _Sight(self, box, self.score, None if self.landmark is None else box[:2] + self.landmark * box[2:])


class _Sight(NamedTuple):
    """A track in one frame."""

    track: _Track
    box: np.ndarray  # (4,) float32
    score: float
    landmark: np.ndarray | None  # (5, 2)


class _View(NamedTuple):
    """A frame and what is in it, believed or not."""

    frame: Frame
    gray: np.ndarray
    sights: list[_Sight]


class Tracker:
    """Follows all faces of one clip. It looks for faces in every `every`-th frame, and where one is new or lost."""

    def __init__(self, detect: Callable[[np.ndarray], Faces], every: int) -> None:
        self._detect, self._every = detect, every
        self._followed: list[_Track] = []
        self._lost: list[_Track] = []
        self._numbers = 0  # given to tracks so far
        self._wait = 0  # frames until the next search

    def follow(self, frames: Iterable[Frame]) -> Iterator[Seen]:
        """The frames with their faces.

        A new face counts once it is found in the next frame, too, so that a frame with a new face comes out after the
        next one. In the last frame of a clip it counts at once. A DataError of `frames` comes after that.
        """
        held: _View | None = None
        ended: DataError | None = None
        try:
            for frame in frames:
                view = self._view(frame)
                if held:
                    yield _seen(held)
                held = None if all(track.number for track in self._followed) else view
                if not held:
                    yield _seen(view)
        except DataError as error:
            ended = error
        if held:
            for track in self._followed:
                self._believe(track)
            yield _seen(held)
        if ended:
            raise ended

    def _view(self, frame: Frame) -> _View:
        gray = to_gray(frame.image)
        gone = [track for track in self._followed if track.kcf.update(gray) < LOST]
        self._lose(gone)
        if gone or self._wait == 0:
            self._search(frame, gray)
            self._wait = self._every
        if not all(track.number for track in self._followed):
            self._wait = 1
        self._wait -= 1
        for track in self._followed:
            track.time = frame.time
        return _View(frame, gray, [track.sight() for track in self._followed if not track.has_left(*gray.shape)])

    def _search(self, frame: Frame, gray: np.ndarray) -> None:
        """Finds the faces anew: each is one that is followed, or one that was lost at this place, or a new one."""
        self._lost = [track for track in self._lost if frame.time - track.time <= MEMORY]
        known = [*self._followed, *self._lost]
        faces = self._detect(frame.image)
        pairs = _matched(faces.box, np.array([track.kcf.box for track in known]).reshape(-1, 4))
        for face, box in enumerate(faces.box):
            landmark = None if faces.landmark is None else (faces.landmark[face] - box[:2]) / box[2:]
            if face not in pairs:
                self._followed.append(_Track(Kcf(gray, box), float(faces.score[face]), landmark, frame.time))
                continue
            track = known[pairs[face]]
            track.kcf, track.score, track.landmark = Kcf(gray, box), float(faces.score[face]), landmark
            track.found, track.missed = track.found + 1, 0
            self._believe(track)
            if track in self._lost:
                self._lost.remove(track)
                self._followed.append(track)
        self._miss([track for place, track in enumerate(known) if place not in pairs.values()], faces.box)
        self._lost = [track for track in self._lost if track.number]

    def _miss(self, missed: list[_Track], found: np.ndarray) -> None:
        """Gives up those of the tracks that the detector did not find which were missed too often, or which have slid
        onto a face that was found.
        """
        for track in missed:
            if track in self._followed:
                track.missed += 1
                slid = (overlap(track.kcf.box, found) >= SAME).any()
                if slid or track.missed > min(PATIENCE, track.found - 1):
                    self._lose([track])

    def _lose(self, tracks: list[_Track]) -> None:
        self._followed = [track for track in self._followed if track not in tracks]
        self._lost += tracks

    def _believe(self, track: _Track) -> None:
        if not track.number:
            self._numbers += 1
            track.number = self._numbers


def _matched(found: np.ndarray, known: np.ndarray) -> dict[int, int]:
    """Which of the known boxes (m, 4) each of the found ones (n, 4) is: those that overlap most come first."""
    shares = overlap(found[:, None], known)
    pairs: dict[int, int] = {}
    for flat in np.argsort(-shares, axis=None, kind="stable"):
        one, other = divmod(int(flat), shares.shape[1])
        if shares[one, other] < SAME:
            break
        if one not in pairs and other not in pairs.values():
            pairs[one] = other
    return pairs


def _seen(view: _View) -> Seen:
    """What is believed of a frame."""
    sights = [sight for sight in view.sights if sight.track.number]
    sights.sort(key=lambda sight: (-float(sight.box[2] * sight.box[3]), sight.track.number))
    box = np.array([sight.box for sight in sights], np.float32).reshape(-1, 4)
    score = np.array([sight.score for sight in sights], np.float32)
    landmark = None
    if sights and sights[0].landmark is not None:
        landmark = np.array([sight.landmark for sight in sights], np.float32)
    return Seen(
        view.frame, view.gray, Faces(box, score, landmark), np.array([s.track.number for s in sights], np.int32)
    )
