"""Where a store's bytes come from (a file, a redirected file, or a copy of a pipe, as HDF5 must seek) and go to."""

import atexit
import contextlib
import hashlib
import io
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from ..errors import DataError, UsageError
from ..interrupts import held
from .atomic import disk_errors, temporary_file, write_all

MEMORY_SPOOL = 64 * 1024 * 1024
STDIN = "standard input"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: Where the superblock says how long the file is, by the superblock's version (HDF5 File Format Specification, II.A).
_LENGTH_AT = {0: 40, 1: 44, 2: 28, 3: 28}
#: What came out of named pipes and standard input ("-"), by path, device and inode.
_copies: dict[tuple[str, int, int], BinaryIO] = {}


class Foreign(DataError):
    """A file that is no store, or one of a newer version."""


def is_store(head: bytes) -> bool:
    """Whether a file that begins with these bytes is HDF5."""
    return head.startswith(_SIGNATURE)


class Sink:
    """A file for HDF5 to write, in which nothing ever fails: HDF5 2.0 crashes after a write that did.

    The first error, such as a full disk, is kept until `writing` ends; what is written after it goes nowhere.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at, self._end = file, 0, 0
        self._error: BaseException | None = None

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Surrounds calls of HDF5, and raises what went wrong in them when they are done."""
        with held():
            yield
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (self._end if whence == os.SEEK_END else 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def write(self, data: bytes) -> int:
        self._end = max(self._end, self._at + len(data))
        self._try(self._write_all, data)
        return len(data)

    def read(self, size: int) -> bytes:
        """Where an error kept bytes from being written, there are zeros."""
        found = self._try(self._read_at, size) or b""
        return found.ljust(size, b"\0")

    def truncate(self, size: int) -> int:
        self._end = size
        self._try(self._file.truncate, size)
        return size

    def flush(self) -> None:
        self._try(self._file.flush)

    def _write_all(self, data: bytes) -> None:
        self._file.seek(self._at)
        write_all(self._file, data)

    def _read_at(self, size: int) -> bytes:
        self._file.seek(self._at)
        return self._file.read(size)

    def _try(self, action: Callable[..., Any], *arguments: Any) -> Any:
        if self._error is None:
            try:
                return action(*arguments)
            except BaseException as error:
                self._error = error
        return None


def to_stdout(data: bytes) -> None:
    """Writes to standard output, at once. Raises DataError where that is full or closed."""
    with disk_errors("standard output"):
        write_all(sys.stdout.buffer, data)
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def source(path: str, hint: str) -> Iterator[tuple[BinaryIO, str, int]]:
    """A store's bytes as a file that can seek, the name to call it by, and its length. "-" is standard input.

    `hint` says how to make a store, to one who names something else.
    Raises DataError for what is missing, empty, truncated or not HDF5.
    """
    name = STDIN if path == "-" else path
    with _named(path, hint) as stream:
        yield stream, name, _check_length(stream, name, hint)


def _named(path: str, hint: str) -> contextlib.AbstractContextManager[BinaryIO]:
    try:
        return _open(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, not a store: {hint}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", "its name holds a zero byte")
        raise DataError(f"{path} cannot be read: {reason}") from None


@contextlib.contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A file, or a copy of what comes out of a named pipe, as the shell's `<(fer ...)` is one, from its beginning.

    A pipe can be read once, and what a setting names may be read for its digest and again for what it holds, so the
    copy is kept to the end of the process. "-" is standard input. Raises DataError for what is not there or cannot be
    read, and UsageError where standard input is closed or a terminal.
    """
    try:
        with _open(path) as file:
            yield file
    except OSError as error:
        raise DataError(f"{STDIN if path == '-' else path} cannot be read: {error.strerror}") from error


def file_digest(path: str) -> str:
    """The hex digest of what `opened` opens. Raises as that."""
    with opened(path) as file:
        return digest_of(file, hashlib.blake2b(digest_size=16))


def digest_of(stream: BinaryIO, state: "hashlib._Hash") -> str:
    """The hex digest of all that is left in a stream, by the hash that `state` begins."""
    while chunk := stream.read(4 * 1024 * 1024):
        state.update(chunk)
    return state.hexdigest()


def _open(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if path == "-":
        return _stdin()
    status = os.stat(path)
    pipe = (path, status.st_dev, status.st_ino)
    if pipe in _copies:
        return _copied(None, pipe)
    file = open(path, "rb", buffering=0)  # noqa: SIM115 - returned open
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    with file:
        return _copied(file, pipe)


def _copied(stream: BinaryIO | None, pipe: tuple[str, int, int]) -> contextlib.AbstractContextManager[BinaryIO]:
    """The copy of a pipe, made of its `stream` where there is none yet, from its beginning."""
    if pipe not in _copies:
        _copies[pipe] = _spooled(stream)
    _copies[pipe].seek(0)
    return contextlib.nullcontext(_copies[pipe])


@atexit.register
def _close_copies() -> None:
    for copy in _copies.values():
        copy.close()


def _stdin() -> contextlib.AbstractContextManager[BinaryIO]:
    """Standard input: itself where it is a redirected file, else a copy of the stream."""
    if sys.stdin is None:
        raise UsageError("standard input is closed: name a store, or pipe one in")
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal: name a store, or pipe one in")
    stream = sys.stdin.buffer
    status = os.fstat(stream.fileno())
    if stat.S_ISREG(status.st_mode):
        file = open(stream.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115 - returned open
        file.seek(0)
        return file
    return _copied(stream, ("-", status.st_dev, status.st_ino))


def _spooled(stream: BinaryIO) -> BinaryIO:
    """A copy in memory, or of more than that should take, on the disk.

    tempfile.SpooledTemporaryFile reads in Python: h5py could drop an interrupt that came there.
    """
    copy: BinaryIO = io.BytesIO()
    with disk_errors(*temporary_file()):
        while chunk := stream.read(1024 * 1024):
            if isinstance(copy, io.BytesIO) and copy.tell() + len(chunk) > MEMORY_SPOOL:
                file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - returned open
                write_all(file, copy.getbuffer())
                copy = file
            write_all(copy, chunk)
    return copy


def _check_length(stream: BinaryIO, name: str, hint: str) -> int:
    """The length in bytes, which must be the one that the file itself states."""
    stream.seek(0)
    head = stream.read(64)
    if not head:
        empty = f"nothing arrived on {STDIN}: the stage before this one failed or wrote nothing"
        raise DataError(empty if name == STDIN else f"{name} is empty: make it again")
    if not is_store(head):
        raise Foreign(f"{name} is not a fercli store (not HDF5): {hint}")
    size = stream.seek(0, os.SEEK_END)
    at = _LENGTH_AT.get(head[8]) if len(head) == 64 else None
    stated = int.from_bytes(head[at : at + 8], "little") if at else size
    if size < stated or at is None:
        raise DataError(f"{name} is truncated or damaged ({size:,} bytes): make it again")
    if size > stated:
        raise DataError(
            f"{name} goes on after its end, for {size - stated:,} bytes: stores cannot be joined with cat; "
            f"name them one after the other"
        )
    return size
