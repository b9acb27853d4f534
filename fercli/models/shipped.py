"""The model that comes with the package."""

import difflib
import os
from pathlib import Path

from ..errors import DataError

DEFAULT = "default"
DEFAULT_MODEL = Path(__file__).parents[1] / "weights" / "default.h5"


def model_path(name: str | None) -> str:
    """The file of a model: the one that comes with the package for None and for "default".

    Raises DataError for a name that is no file and nearly that word.
    """
    if name in (None, DEFAULT):
        return str(DEFAULT_MODEL)
    if difflib.get_close_matches(name, [DEFAULT], cutoff=0.8) and not os.path.exists(name):
        raise DataError(f"{name} does not exist; did you mean {DEFAULT!r}?")
    return name
