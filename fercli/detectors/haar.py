"""OpenCV's cascade of Haar features for frontal faces (Viola and Jones 2001), as in the njoku system, and a second one
that looks again at what the first found: they were trained apart and are seldom wrong together.
"""

import cv2
import numpy as np

from ..errors import DataError
from ..ops.geometry import face, overlap, scaled, shrink
from ..ops.image import resize, to_gray
from . import Detector as Base
from . import Faces, largest_first

#: Photos are searched at no more than this length (px): larger ones take longer and bring more false faces than faces.
#: In pictures of 1600x1200 with 240 faces of 60 to 230 px, OpenCV's own search takes 249 ms at 800 px for 171 faces and
#: none that is false, and 404 ms at 1024 px for 173 and a false one.
LONGEST = 800
#: They are made smaller still where the smallest face of interest keeps this side, px.
SMALLEST = 36
#: The cascade's window, px: no smaller face can be found.
WINDOW = 24
#: Ratio of one size searched to the last, in the picture and in its half.
STEPS = (1.12, 1.08)
#: Hits that are alike but for the share ALIKE_HITS of their sides make a face, if there are more of them than this. One
#: of windows that are searched for at every second pixel counts as often as COARSE says. Of 1,149 faces it finds 805,
#: with 4 false ones; more than 2 hits find 842 with 12, and single ones 859 with 40 (python -m tests.benchmarks.haar).
HITS, COARSE, ALIKE_HITS = 5, 3, 0.2
#: The default of --confidence: of those 805 faces it costs one, and of the photos at hand it spares a false one.
LEAST = -1.0
#: Overlap (intersection over union) above which only the surer of two boxes stays: OpenCV joins boxes of nearly one
#: place and size alone, and finds some faces a second time with their hair.
ALIKE = 0.3
#: The second look, at the box with a margin, resized to this side, px: of true faces (400 of FER2013, and of photos)
#: it keeps 97 %, and 1 of 16 false ones. A minimum score that drops half of the false ones takes 3 % of the true ones,
#: and the eye cascades take 10 % and more.
AGAIN, MARGIN, STEP_AGAIN, HITS_AGAIN = 64, 0.2, 1.1, 1


class Detector(Base):
    """Scores are those of the cascade's last stage: some -3 to 10, higher is surer."""

    def __init__(self, min_face: int, confidence: float | None = None, weights: str | None = None) -> None:
        self._min_face = min_face
        self._confidence = LEAST if confidence is None else confidence
        self._cascade, self._second = _cascade("default"), _cascade("alt2")

    def detect(self, image: np.ndarray) -> Faces:
        """Faces of an (H, W) gray or (H, W, 3) RGB uint8 image; a face of under 24 px at length 800 is not found."""
        enough = max(WINDOW, round(max(image.shape[:2]) * SMALLEST / self._min_face))
        small, factor = shrink(to_gray(image), min(LONGEST, enough))
        hits, weight = self._hits(small, self._min_face / factor)
        box = np.array(cv2.groupRectangles(hits.tolist(), HITS, ALIKE_HITS)[0], np.float32).reshape(-1, 4)
        # a ring of hits may be joined to a box in its middle, where none is: that is no face
        score = np.array([weight[overlap(one, hits) > ALIKE].max(initial=-np.inf) for one in box], np.float32)
        sure = [value >= self._confidence and self._is_face(small, one) for one, value in zip(box, score, strict=True)]
        box, score = box[sure], score[sure]
        # OpenCV's threads bring the hits in any order
        order = largest_first(box, score)
        order = order[_surest(box[order], score[order])]
        return Faces(scaled(box[order], factor), score[order])

    def _hits(self, gray: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
        """Windows (n, 4) of at least `least` px that passed every stage, and their scores (n,).

        OpenCV goes over a picture in steps of two pixels for windows of less than twice its smallest, and of one for
        larger ones, which takes most of the time. Those are searched for in the picture's half: in two thirds of the
        time as many faces are found, more of the small ones.
        """
        half = resize(gray, max(1, gray.shape[0] // 2), max(1, gray.shape[1] // 2))
        fine = self._passed(gray, least, STEPS[0], 2 * WINDOW - 1)
        coarse = self._passed(half, least / 2, STEPS[1], max(half.shape))
        factor = np.tile(gray.shape[::-1], 2) / np.tile(half.shape[::-1], 2)
        box = np.concatenate([fine[0], np.round(coarse[0] * factor).astype(int)])
        times = np.where(np.concatenate([fine[0], coarse[0]])[:, 2] < 2 * WINDOW, COARSE, 1)
        return box.repeat(times, axis=0), np.concatenate([fine[1], coarse[1]]).repeat(times)

    def _passed(self, gray: np.ndarray, least: float, step: float, most: int) -> tuple[np.ndarray, np.ndarray]:
        """As `_hits`, of `least` to `most` px, each once, in a picture as it is."""
        lowest = max(WINDOW, round(least))
        if lowest > min(most, *gray.shape):
            return np.zeros((0, 4), int), np.zeros(0)
        box, _, score = self._cascade.detectMultiScale3(
            gray,
            scaleFactor=step,
            minNeighbors=0,
            minSize=(lowest, lowest),
            maxSize=(most, most),
            outputRejectLevels=True,
        )
        return np.array(box, int).reshape(-1, 4), np.array(score).reshape(-1)

    def _is_face(self, gray: np.ndarray, box: np.ndarray) -> bool:
        """Whether the second cascade finds a face in the box, too."""
        least = round(AGAIN / 2 / (1 + 2 * MARGIN))
        crop = face(gray, box, MARGIN, AGAIN)
        return len(self._second.detectMultiScale(crop, STEP_AGAIN, HITS_AGAIN, minSize=(least, least))) > 0


def _surest(box: np.ndarray, score: np.ndarray) -> list[int]:
    """Numbers, ascending, of the boxes (n, 4) that are not ALIKE to a surer one."""
    kept: list[int] = []
    for one in np.argsort(-score, kind="stable"):
        if (overlap(box[one], box[kept]) <= ALIKE).all():
            kept.append(int(one))
    return sorted(kept)


def _cascade(name: str) -> cv2.CascadeClassifier:
    made = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_{name}.xml")
    if made.empty():
        raise DataError(
            f"OpenCV {cv2.__version__} brings no Haar cascades: pip install 'opencv-python-headless>=4.12,<5'"
        )
    return made
