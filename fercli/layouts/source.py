"""Where data comes from: `open_source` gives one view over a folder, a file, a list of photos or an archive."""

import os
import stat

from ..errors import DataError, UsageError
from .archive import open_archive
from .files import Drawn, Folder, Sheet, Source, Stream, unreadable

__all__ = ["Source", "Stream", "open_source"]

SYNTHETIC = "synthetic:"


def open_source(path: str) -> Source:
    """The source at a path; "synthetic:..." is drawn and touches no disk.

    Raises DataError: nothing is there, it cannot be read, or it is an archive that is damaged or refused.
    """
    if path.startswith(SYNTHETIC):
        return Drawn(path)
    if path == "-":
        raise UsageError("'-' is no data set: name a folder, an archive or a csv, or list photos with --files-from -")
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {unreadable(error)}") from None
    return Folder(path) if stat.S_ISDIR(mode) else open_archive(path) or Sheet(path)
