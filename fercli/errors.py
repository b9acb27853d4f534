"""The errors a user can meet. Each message says what was found, where, and what to type instead."""

import errno
import os
from pathlib import Path


class FerError(Exception):
    """Base of every error that is shown as one sentence; `exit_code` is the process's exit status."""

    exit_code = 1


class DataError(FerError):
    """The data, or the run over it, is wrong (exit 1)."""

    exit_code = 1


class DeviceGone(DataError):
    """A GPU no longer answers: no fault of the row at hand, and the rows after it would fail too (exit 1)."""


class UsageError(FerError):
    """The command was put wrongly (exit 2)."""

    exit_code = 2


class GateFailed(FerError):
    """A measured figure lies beyond the bound that was asked for (exit 3)."""

    exit_code = 3


SOME_ROWS_FAILED = 4


def cannot_write(code: int, target: Path | str, flag: str | None = None) -> DataError:
    """What to say, and what to do, where the system's error `code` came of writing `target`, named with `flag`."""
    if code in (errno.ENOSPC, errno.EDQUOT):
        place = f"choose another place{f' with {flag}' if flag else ''}"
        return DataError(f"no space left to write {target}: free some, or {place}")
    if code == errno.EFBIG:
        return DataError(f"{target} grew over the file size limit: raise it with ulimit -f")
    if code == errno.EBADF:
        return DataError(f"{target} is closed: send it to a file or a pipe")
    return DataError(f"{target} could not be written: {os.strerror(code)}")
