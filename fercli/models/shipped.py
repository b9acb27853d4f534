"""The models that come with the package, by name: the stores of one folder."""

import os
from difflib import get_close_matches
from pathlib import Path

from ..errors import DataError

_DEFAULT = "default"
_FOLDER = Path(__file__).parents[1] / "weights"


def shipped() -> dict[str, Path]:
    """The file of each model that comes with the package, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.h5"))}


def model_path(name: str | None) -> str:
    """The file of a model: one that comes with the package for its name, and for None the default one.

    Raises DataError for a name that is no file and nearly such a word.
    """
    known = shipped()
    if (found := known.get(_DEFAULT if name is None else name)) is not None:
        return str(found)
    if (close := get_close_matches(name, known, cutoff=0.8)) and not os.path.exists(name):
        raise DataError(f"{name} does not exist; did you mean {close[0]!r}?")
    return name
