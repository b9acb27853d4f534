"""OpenCV's cascade of Haar features for frontal faces (Viola and Jones 2001), as in the njoku system, and a second one
that looks again at what the first found: they were trained apart and are seldom wrong together.
"""

import cv2
import numpy as np

from ..errors import DataError
from ..ops.geometry import face, overlap, scaled, shrink
from ..ops.image import to_gray
from . import Detector as Base
from . import Faces

#: Photos are searched at no more than this length (px): larger ones take longer and bring more false faces than faces.
#: In pictures of 1600x1200 with 240 faces of 60 to 230 px, 800 px takes 249 ms for 171 faces and none that is false,
#: 1024 px takes 404 ms for 173 and a false one.
LONGEST = 800
#: They are made smaller still where the smallest face of interest keeps this side, px: OpenCV goes over what it has not
#: halved in steps of two pixels. In those pictures at 1024x768 a side of 30 takes three quarters of the time, and finds
#: 98 instead of 104 of 143 faces of 50 px and more.
SMALLEST = 36
#: The cascade's window, px: no smaller face can be found.
WINDOW = 24
#: Ratio of the sizes searched, and how many overlapping hits make a face: a step of 1.05 takes twice the time and finds
#: false faces, one of 1.2 misses a tenth of the true ones; fewer than 4 hits give false faces.
STEP = 1.1
HITS = 4
#: Overlap (intersection over union) above which only the surer of two boxes stays: OpenCV joins boxes of nearly one
#: place and size alone, and finds some faces a second time with their hair.
ALIKE = 0.3
#: The second look, at the box with a margin, resized to this side, px: of true faces (400 of FER2013, and of photos)
#: it keeps 97 %, and 1 of 16 false ones. A minimum score that drops half of the false ones takes 3 % of the true ones,
#: and the eye cascades take 10 % and more.
AGAIN, MARGIN, HITS_AGAIN = 64, 0.2, 1


class Detector(Base):
    """Scores are the confidence of the cascade's last stage: some 0 to 10, higher is surer."""

    def __init__(self, min_face: int, confidence: float | None = None, weights: str | None = None) -> None:
        self._min_face = min_face
        self._confidence = -np.inf if confidence is None else confidence
        self._cascade, self._second = _cascade("default"), _cascade("alt2")

    def detect(self, image: np.ndarray) -> Faces:
        """Faces of an (H, W) gray or (H, W, 3) RGB uint8 image; a face of under 24 px at length 800 is not found."""
        enough = max(WINDOW, round(max(image.shape[:2]) * SMALLEST / self._min_face))
        small, factor = shrink(to_gray(image), min(LONGEST, enough))
        least = max(WINDOW, round(self._min_face / factor))
        box, _, score = self._cascade.detectMultiScale3(
            small, scaleFactor=STEP, minNeighbors=HITS, minSize=(least, least), outputRejectLevels=True
        )
        box, score = np.array(box, np.float32).reshape(-1, 4), np.array(score, np.float32).reshape(-1)
        sure = [value >= self._confidence and self._is_face(small, one) for one, value in zip(box, score, strict=True)]
        box, score = box[sure], score[sure]
        # OpenCV's threads bring the hits in any order
        order = np.lexsort((box[:, 1], box[:, 0], -score, -box[:, 2] * box[:, 3]))
        order = order[_surest(box[order], score[order])]
        return Faces(scaled(box[order], factor), score[order])

    def _is_face(self, gray: np.ndarray, box: np.ndarray) -> bool:
        """Whether the second cascade finds a face in the box, too."""
        least = round(AGAIN / 2 / (1 + 2 * MARGIN))
        crop = face(gray, box, MARGIN, AGAIN)
        return len(self._second.detectMultiScale(crop, STEP, HITS_AGAIN, minSize=(least, least))) > 0


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
            f"OpenCV {cv2.__version__} brings no Haar cascades: pip install 'opencv-contrib-python-headless>=4.10,<5'"
        )
    return made
