"""The model that comes with the package."""

from pathlib import Path

DEFAULT = "default"
DEFAULT_MODEL = Path(__file__).parents[1] / "weights" / "default.h5"


def model_path(name: str | None) -> str:
    """The file of a model: the one that comes with the package for None and for "default"."""
    return str(DEFAULT_MODEL) if name in (None, DEFAULT) else name
