"""Where a store's bytes come from: a file, a redirected file, or a pipe, which is copied since HDF5 must seek."""

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import DataError, UsageError
from .atomic import disk_errors

MEMORY_SPOOL = 64 * 1024 * 1024
STDIN = "standard input"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: Where the superblock says how long the file is, by the superblock's version (HDF5 File Format Specification, II.A).
_LENGTH_AT = {0: 40, 1: 44, 2: 28, 3: 28}


def is_store(head: bytes) -> bool:
    """Whether a file that begins with these bytes is HDF5."""
    return head.startswith(_SIGNATURE)


@contextlib.contextmanager
def source(path: str) -> Iterator[tuple[BinaryIO, str, int]]:
    """A store's bytes as a file that can seek, the name to call it by, and its length. "-" is standard input.

    Raises DataError for what is missing, empty, truncated or not HDF5.
    """
    name = STDIN if path == "-" else path
    with _stdin() if path == "-" else _regular(path) as stream:
        yield stream, name, _check_length(stream, name)


def _regular(path: str) -> BinaryIO:
    try:
        return open(path, "rb", buffering=0)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, not a store: fer ingest {path} makes one of it") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from None


def _stdin() -> contextlib.AbstractContextManager[BinaryIO]:
    """Standard input: itself where it is a redirected file, else a copy of the stream."""
    if sys.stdin is None:
        raise UsageError("standard input is closed: name a store, or pipe one in")
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal: name a store, or pipe one in")
    stream = sys.stdin.buffer
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return open(stream.fileno(), "rb", buffering=0, closefd=False)
    spool = tempfile.SpooledTemporaryFile(MEMORY_SPOOL)  # noqa: SIM115 - returned open
    with disk_errors(f"a temporary file in {tempfile.gettempdir()}"):
        shutil.copyfileobj(stream, spool, 1024 * 1024)
    return spool


def _check_length(stream: BinaryIO, name: str) -> int:
    """The length in bytes, which must be the one that the file itself states."""
    stream.seek(0)
    head = stream.read(64)
    if not head:
        empty = f"nothing arrived on {STDIN}: the stage before this one failed or wrote nothing"
        raise DataError(empty if name == STDIN else f"{name} is empty: make it again")
    if not is_store(head):
        raise DataError(f"{name} is not a fercli store (not HDF5): make one of it with fer ingest")
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
