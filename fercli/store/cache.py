"""Where files stay that are fetched or made once."""

import os
import tempfile
from pathlib import Path


def cached(name: str) -> Path:
    """The place of a file in the user's cache folder, which need not exist; without a home, in a temporary one."""
    try:
        folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # as of a number that the system knows no user by, in a container
        folder = f"{tempfile.gettempdir()}/cache-{os.getuid()}"
    return Path(folder) / "fercli" / name
