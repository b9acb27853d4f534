"""YuNet (Wu et al. 2023) by OpenCV: a small network for boxes and five landmarks, whose model file the user gives."""

import threading

import cv2
import numpy as np

from ..errors import DataError, UsageError
from ..ops.geometry import scaled, shrink
from ..store import opened
from . import Detector as Base
from . import Faces, check_reached, largest_first

#: Photos are searched at no more than this length, px.
LONGEST = 1280
#: Score from which a face is reported, OpenCV's own; and the overlap above which only the best box stays.
SURE, ALIKE = 0.9, 0.3
#: Columns of OpenCV's answer: box, the eyes, nose and mouth corners with those of the person's right side first, which
#: is the left one of the picture, and the score.
_BOX, _LANDMARK, _SCORE = slice(0, 4), slice(4, 14), 14
_one_reads = threading.Lock()  # the model, of which a pipe has one copy


class Detector(Base):
    """Scores are the root of the network's two answers, face and overlap, 0 to 1."""

    takes_weights = True
    has_landmarks = True

    def __init__(self, min_face: int, confidence: float | None = None, weights: str | None = None) -> None:
        """As every detector. Raises UsageError without a model or for a confidence above 1, DataError for a file that
        is no model.
        """
        check_reached(confidence, "yunet")
        if not weights:
            raise UsageError(
                "the detector yunet needs its model: add --weights FILE, such as OpenCV Zoo's "
                "face_detection_yunet_2023mar.onnx"
            )
        self._min_face = min_face
        with _one_reads, opened(weights) as file:
            model = np.frombuffer(file.read(), np.uint8)
        try:
            self._network = cv2.FaceDetectorYN.create(
                "onnx", model, np.empty(0, np.uint8), (320, 320), SURE if confidence is None else confidence, ALIKE
            )
        except cv2.error as error:
            raise DataError(f"{weights} is no ONNX model that OpenCV {cv2.__version__} can read") from error
        self._name = weights

    def detect(self, image: np.ndarray) -> Faces:
        """Faces of an (H, W) gray or (H, W, 3) RGB uint8 image. Raises DataError: the model is not YuNet."""
        small, factor = shrink(image, LONGEST)
        bgr = cv2.cvtColor(small, cv2.COLOR_GRAY2BGR if small.ndim == 2 else cv2.COLOR_RGB2BGR)
        self._network.setInputSize(bgr.shape[1::-1])
        try:
            found = self._network.detect(bgr)[1]
        except cv2.error as error:
            raise DataError(f"{self._name} is a model, but not YuNet: it gives other answers") from error
        found = np.zeros((0, 15), np.float32) if found is None else found
        box, landmark = scaled(found[:, _BOX], factor), scaled(found[:, _LANDMARK], factor).reshape(-1, 5, 2)
        score = found[:, _SCORE]
        order = largest_first(box, score)
        order = order[box[order, 2:].max(axis=1, initial=0) >= self._min_face]
        return Faces(box[order], score[order], landmark[order])
