"""OpenCV's cascade of Haar features for frontal faces (Viola and Jones 2001), as in the njoku system."""

import cv2
import numpy as np

from ..errors import DataError
from ..ops.geometry import scaled, shrink
from ..ops.image import to_gray
from . import Detector as Base
from . import Faces

#: Photos are searched at no more than this length (px): larger ones take longer and bring more false faces than faces.
LONGEST = 1024
#: The cascade's window, px: no smaller face can be found.
WINDOW = 24
#: Ratio of the sizes searched, and how many overlapping hits make a face: a step of 1.05 takes twice the time and finds
#: false faces, one of 1.2 misses a tenth of the true ones; fewer than 4 hits give false faces.
STEP = 1.1
HITS = 4


class Detector(Base):
    """Scores are the confidence of the cascade's last stage: some 0 to 10, higher is surer."""

    def __init__(self, min_face: int, confidence: float | None = None, weights: str | None = None) -> None:
        self._min_face = min_face
        self._confidence = -np.inf if confidence is None else confidence
        self._cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
        if self._cascade.empty():
            raise DataError(
                f"OpenCV {cv2.__version__} brings no Haar cascades: "
                f"pip install 'opencv-contrib-python-headless>=4.10,<5'"
            )

    def detect(self, image: np.ndarray) -> Faces:
        """Faces of an (H, W) gray or (H, W, 3) RGB uint8 image; a face of under 24 px at length 1024 is not found."""
        small, factor = shrink(to_gray(image), LONGEST)
        least = max(WINDOW, round(self._min_face / factor))
        box, _, score = self._cascade.detectMultiScale3(
            small, scaleFactor=STEP, minNeighbors=HITS, minSize=(least, least), outputRejectLevels=True
        )
        box, score = np.array(box, np.float32).reshape(-1, 4), np.array(score, np.float32).reshape(-1)
        sure = score >= self._confidence
        box, score = box[sure], score[sure]
        # OpenCV's threads bring the hits in any order
        order = np.lexsort((box[:, 1], box[:, 0], -score, -box[:, 2] * box[:, 3]))
        return Faces(scaled(box[order], factor), score[order])
