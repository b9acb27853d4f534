"""Where the weights of MTCNN are: in the pip package `mtcnn`, or in the store that was made of them once."""

import importlib.util
from pathlib import Path

from ..errors import DataError
from ..store import cached, open_store

#: The networks, each in a file of the package of its own.
NETWORKS = ("pnet", "rnet", "onet")


def kept() -> Path:
    """The store in the cache folder, which need not exist."""
    return cached("mtcnn.h5")


def folder() -> Path | None:
    """The folder of the package's weights, if it is installed. It is not imported: that would import TensorFlow."""
    found = importlib.util.find_spec("mtcnn")
    return Path(found.origin).parent / "assets" / "weights" if found and found.origin else None


def complete() -> bool:
    """Whether the package has the files of all networks, which older ones lack, and lz4 is there to open them."""
    place = folder()
    files = [place / f"{name}.lz4" for name in NETWORKS] if place else []
    return bool(files) and all(file.is_file() for file in files) and importlib.util.find_spec("lz4") is not None


def available() -> bool:
    """Whether weights can be read without a file being named."""
    try:
        with open_store(kept(), "model"):
            return True
    except DataError:
        return complete()
