"""Where files stay that are fetched or made once."""

import os
from pathlib import Path


def cached(name: str) -> Path:
    """The place of a file in the user's cache folder, which need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fercli" / name
