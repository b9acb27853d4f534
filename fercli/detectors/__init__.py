"""Face detectors, one file each: a file here is a detector of its name, with a class `Detector`."""

import importlib
import pkgutil
from typing import NamedTuple, Protocol

import numpy as np

from ..errors import UsageError
from ..spec import nearest


class Faces(NamedTuple):
    """The faces of one image, the largest first."""

    box: np.ndarray  # (n, 4) float32: x, y, width, height in px of the image
    score: np.ndarray  # (n,) float32: higher is surer; the scale is the detector's own


class Detector(Protocol):
    """What a detector offers. One instance is used by one thread at a time."""

    takes_margin: bool  # whether a margin around its box shows more of the face: not if the box is the whole image

    def __init__(self, min_face: int) -> None:
        """`min_face`: smallest width and height of a face that is of interest, px."""

    def detect(self, image: np.ndarray) -> Faces:
        """Faces of an (H, W) gray or (H, W, 3) RGB uint8 image."""


def names() -> tuple[str, ...]:
    """Every detector there is; none of them is imported for it."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str, min_face: int) -> Detector:
    """A new detector. Raises UsageError for a name that is none."""
    if name not in names():
        raise UsageError(f"there is no detector {name!r}; {nearest(name, names())}")
    return importlib.import_module(f".{name}", __name__).Detector(min_face)
