"""Where the weights of MTCNN are: in the pip package `mtcnn`, or in the store that was made of them once."""

import importlib.util
from pathlib import Path

from ..store import cached


def kept() -> Path:
    """The store in the cache folder, which need not exist."""
    return cached("mtcnn.h5")


def folder() -> Path | None:
    """The folder of the package's weights, if it is installed. It is not imported: that would import TensorFlow."""
    found = importlib.util.find_spec("mtcnn")
    return Path(found.origin).parent / "assets" / "weights" if found and found.origin else None


def available() -> bool:
    """Whether weights are at hand without a file being named."""
    return kept().is_file() or folder() is not None
