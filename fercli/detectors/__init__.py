"""Face detectors, one file each: a file here is a detector of its name, with a class `Detector`."""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from ..spec import nearest
from . import _package


class Faces(NamedTuple):
    """The faces of one image, the largest first."""

    box: np.ndarray  # (n, 4) float32: x, y, width, height in px of the image
    score: np.ndarray  # (n,) float32: higher is surer; the scale is the detector's own
    # (n, 5, 2) float32: x, y in px of the left eye, right eye, nose, and left and right corner of the mouth, where left
    # is the left of the picture; None if the detector tells none
    landmark: np.ndarray | None = None


class Detector(ABC):
    """What a detector offers. One instance is used by one thread at a time."""

    takes_weights = False  # whether it reads a file of weights
    takes_device = False  # whether it can compute on a GPU, torch's name of which its constructor then takes too
    takes_margin = True  # whether a margin around its box shows more of the face: not if the box is the whole image
    has_landmarks = False  # whether it tells where eyes, nose and mouth are

    @abstractmethod
    def __init__(self, min_face: int, confidence: float | None = None, weights: str | None = None) -> None:
        """`min_face`: longer side of the smallest face that is of interest, px. `confidence`: the lowest score to
        report, None for the detector's own. `weights`: a file of weights, for those that take one.
        """

    @abstractmethod
    def detect(self, image: np.ndarray) -> Faces:
        """Faces of an (H, W) gray or (H, W, 3) RGB uint8 image."""


def largest_first(box: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(n,) int: the order of boxes (n, 4) by area, then by score (n,), then by place, so that it is always the same."""
    return np.lexsort((box[:, 1], box[:, 0], -score, -box[:, 2] * box[:, 3]))


def check_reached(confidence: float | None, name: str) -> None:
    """Raises UsageError for a lowest score that no face has from a detector whose scores go from 0 to 1."""
    if confidence is not None and confidence > 1:
        raise UsageError(f"--confidence {confidence:g} is never reached: scores of {name} go from 0 to 1")


def names() -> tuple[str, ...]:
    """Every detector there is; none of them is imported for it."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def best() -> str:
    """mtcnn where its weights are at hand, else haar: it finds more of the true faces and fewer false ones."""
    return "mtcnn" if _package.available() else "haar"


def find(name: str) -> type[Detector]:
    """The detector of a name. Raises UsageError for a name that is none."""
    if name not in names():
        raise UsageError(f"there is no detector {name!r}; {nearest(name, names())}")
    return importlib.import_module(f".{name}", __name__).Detector


def load(
    name: str, min_face: int, confidence: float | None = None, weights: str | None = None, device: str = "cpu"
) -> Detector:
    """A new detector, which computes on `device` if it can choose. UsageError: no such name, or it takes no weights."""
    kind = find(name)
    if weights and not kind.takes_weights:
        raise UsageError(f"the detector {name} takes no --weights: leave them out, or name the detector they are of")
    return kind(min_face, confidence, weights, device) if kind.takes_device else kind(min_face, confidence, weights)
