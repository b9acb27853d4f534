"""Replacing a file whole: a reader sees the old content or the new, whatever happens to the writer."""

import contextlib
import errno
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError, UsageError

_MARK = ".part-"


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yields a temporary sibling to write; on success it is synced and takes the target's place, else it is removed.

    Siblings left by writers that were killed are removed first; one that a living process holds open for writing
    (HDF5 and `open_text` both lock what they write) stays. Raises DataError when the folder is missing, cannot be
    written, or is full.
    """
    check_writable(target)
    _clean(target)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}{_MARK}", dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        with disk_errors(target):
            yield part
            _sync(part)
            os.chmod(part, _mode(target))
            os.replace(part, target)
            _sync(target.parent)
    finally:
        part.unlink(missing_ok=True)


def check_writable(target: Path) -> None:
    """Raises unless `target` can be made or replaced: told before hours of work, not after."""
    folder = target.parent
    if target.is_dir():
        raise UsageError(f"{target} is a folder: name a file in it, such as -o {target / 'out.h5'}")
    if not folder.is_dir():
        raise DataError(f"the folder {folder} of the output {target.name} does not exist: mkdir -p {folder}")
    if not os.access(folder, os.W_OK):
        raise DataError(f"the folder {folder} of the output {target.name} cannot be written: choose another with -o")


@contextlib.contextmanager
def disk_errors(target: Path | str) -> Iterator[None]:
    """Turns the system's errors while writing `target` into a DataError that says what to do."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        code = getattr(error, "errno", None) or _errno_in(str(error))
        if isinstance(error, BrokenPipeError) or code is None:
            raise
        if code in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"no space left to write {target}: free some, or choose another place with -o") from error
        if code == errno.EFBIG:
            raise DataError(f"{target} grew over the file size limit: raise it with ulimit -f") from error
        raise DataError(f"{target} could not be written: {os.strerror(code)}") from error


def _errno_in(text: str) -> int | None:
    """HDF5 puts the system's error number in its message only."""
    found = re.search(r"errno = (\d+)", text)
    return int(found[1]) if found else None


def _clean(target: Path) -> None:
    for stale in target.parent.glob(f".{_escape(target.name)}{_MARK}*"):
        with contextlib.suppress(OSError), open(stale, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its writer lives
            stale.unlink()


def _escape(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync a folder
            raise
    finally:
        os.close(handle)


def _mode(target: Path) -> int:
    """Permissions of the file that is replaced, or what the umask gives a new one."""
    with contextlib.suppress(FileNotFoundError):
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
