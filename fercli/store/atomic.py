"""Replacing a file whole: a reader sees the old content or the new, whatever happens to the writer."""

import contextlib
import errno
import fcntl
import glob
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError, UsageError, cannot_write
from ..interrupts import held

_MARK = ".part-"
#: Names of open streams: what they go to may be a file into which others write as well.
_STREAM = re.compile(r"/dev/(std(in|out|err)|fd/\d+)|/proc/[^/]+/fd/\d+")


@contextlib.contextmanager
def replacing(target: Path, flag: str = "-o") -> Iterator[Path]:
    """Yields a temporary sibling to write; on success it is synced and takes the target's place, else it is removed.

    Siblings left by writers that were killed are removed first; a living writer holds a lock on its own. A target that
    is a symbolic link stays one. Raises DataError when the folder is missing, cannot be written, or is full; it names
    the `flag` that chooses another target.
    """
    check_writable(target, flag)
    place = Path(os.path.realpath(target))
    lock, part = -1, None
    try:
        with _disk(target, flag), held():  # a file that is made has a name here
            _remove_stale(place)
            lock, part = _sibling(place)
        with disk_errors(target, flag):
            yield part
        with _disk(target, flag):
            _sync(part)
            with contextlib.suppress(OSError):  # some file systems have no modes; what is written is what counts
                os.chmod(part, _mode(place))
            os.replace(part, place)
            with contextlib.suppress(OSError):  # some folders cannot be synced; what was written is in its place
                _sync(place.parent)
    finally:
        if part:
            part.unlink(missing_ok=True)
            os.close(lock)


def put(target: Path, data: bytes, flag: str = "-o") -> None:
    """Writes one of many files whole, which a rerun makes again, and its folder: it does not wait for the disk as
    `replacing` does.

    Raises DataError as `replacing` does.
    """
    part = target.with_name(f".{_short(target)}{_MARK}")
    try:
        with _disk(target, flag):
            target.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            os.replace(part, target)
    finally:
        with contextlib.suppress(OSError):  # such as that there is no such folder
            part.unlink()


def check_writable(target: Path, flag: str = "-o") -> None:
    """Raises unless `target` can be made or replaced: told before hours of work, not after."""
    folder = Path(os.path.realpath(target)).parent
    if _STREAM.fullmatch(str(target)):
        hint = "leave -o out, or give - for standard output" if flag == "-o" else f"name a file with {flag}"
        raise UsageError(f"{target} would be replaced by a file: {hint}")
    if target.is_dir():
        raise UsageError(f"{target} is a folder: name a file in it, such as {flag} {target / 'out.h5'}")
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        hint = "leave -o out to write to standard output" if flag == "-o" else f"name another with {flag}"
        raise UsageError(f"{target} is no regular file: {hint}")
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file, and {target} would lie in it: choose another place with {flag}")
    if not folder.is_dir():
        raise DataError(f"the folder {folder} of the output {target.name} does not exist: mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(
            f"the folder {folder} of the output {target.name} cannot be written: choose another with {flag}"
        )


@contextlib.contextmanager
def disk_errors(target: Path | str, flag: str = "-o") -> Iterator[None]:
    """Turns the system's errors while an open file is written into a DataError that says what to do about `target`.

    An error that names a file is about opening that one, which is another matter, and passes.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.errno is None or error.filename is not None:
            raise
        raise cannot_write(error.errno, target, flag) from error


def write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """Writes all of it: a file without a buffer, as standard output is under PYTHONUNBUFFERED, may take less."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder for what does not outlive the command. Where it does not fit, the error says what chooses another."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield folder
        except DataError as error:
            if folder not in str(error) or not isinstance(error.__cause__, OSError):
                raise
            raise cannot_write(error.__cause__.errno, *temporary_file()) from error


def temporary_file() -> tuple[str, str]:
    """What messages call a temporary file, and what chooses another place for it."""
    return f"a temporary file in {tempfile.gettempdir()}", "TMPDIR"


@contextlib.contextmanager
def _disk(target: Path, flag: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(error.errno, target, flag) from error


def _sibling(place: Path) -> tuple[int, Path]:
    """A new file beside `place`, open and locked for as long as its writer lives."""
    while True:
        lock, name = tempfile.mkstemp(prefix=_siblings(place), dir=place.parent)
        with contextlib.suppress(OSError):  # a file system without locks: then no sibling is taken for stale either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return lock, Path(name)
        os.close(lock)  # another writer took it for stale before it was locked


def _siblings(place: Path) -> str:
    """What the names of its siblings begin with: its own name, unless theirs would be longer than 255 bytes."""
    return f".{place.name if len(os.fsencode(place.name)) <= 240 else _short(place)}{_MARK}"


def _short(place: Path) -> str:
    """A short name in place of a file's own."""
    return hashlib.blake2b(os.fsencode(place.name), digest_size=8).hexdigest()


def _remove_stale(place: Path) -> None:
    for stale in place.parent.glob(f"{glob.escape(_siblings(place))}*"):
        with contextlib.suppress(OSError), open(stale, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its writer lives
            stale.unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync
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
