"""Zip and tar archives as a Source: read in place, never unpacked to files, refused if a member points outside."""

import bz2
import contextlib
import errno
import gzip
import lzma
import os
import posixpath
import stat
import tarfile
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, BinaryIO, NamedTuple

from ..errors import DataError
from .files import MAX_FILE, SingleFile, Stream, is_litter, naming, open_regular, unreadable

#: A tar that grows beyond both of these while it is decompressed, in bytes and in times its size, is a bomb.
MAX_TAR, MAX_GROWTH = 1 << 30, 200
_MEMORY = 64 << 20  # a decompressed tar larger than this lies in a temporary file
_CHUNK = 1 << 20
_BLOCK = 512  # bytes of a tar's headers, and of the zeros at its end
_LINKS = 40  # links that are followed one after the other, as in Linux
_SUFFIXES = (".zip", ".tar", ".tgz", ".txz", ".tbz2", ".tar.gz", ".tar.xz", ".tar.bz2")
_DECOMPRESSORS: dict[bytes, Callable[[BinaryIO], IO[bytes]]] = {
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
}


class Member(NamedTuple):
    """A file of an archive, or a link to one: then `target` is its name, seen from the archive's root."""

    name: str
    size: int
    open: Callable[[], IO[bytes]] | None  # None for a device or a pipe
    target: str = ""


class Archive(SingleFile):
    """The files of an archive; `file`, which the members lie in, is closed when the source is let go.

    Raises DataError for a member that points outside, that is there twice, or that is no file.
    """

    def __init__(self, path: str, file: IO[bytes] | zipfile.ZipFile, members: Iterator[Member]) -> None:
        super().__init__(path)
        weakref.finalize(self, file.close)
        self._members: dict[str, Member] = {}
        self._lock = threading.Lock()  # the members of a tar share one place in its file
        for member in members:
            self._add(member)

    def names(self) -> list[str]:
        return sorted(name for name in self._members if not any(map(is_litter, name.split("/"))))

    def read(self, name: str) -> bytes:
        member = self._followed(name)
        if member.size > MAX_FILE:
            raise DataError(f"the file is larger than {MAX_FILE >> 30} GiB")
        with self._lock, self.stream(name) as stream:
            return stream.read(member.size)

    def stream(self, name: str) -> Stream:
        with _damage():
            return _MemberStream(self._followed(name).open(), lambda digest: None)

    def _add(self, member: Member) -> None:
        name = posixpath.normpath(member.name)
        target = posixpath.normpath(member.target) if member.target else ""
        if _is_outside(member.name):
            raise self._refusal(member.name, "points outside the archive")
        if _is_outside(target):
            raise self._refusal(member.name, f"is a link to {target!r}, outside the archive")
        if not member.open:
            raise self._refusal(member.name, "is a device or a pipe")
        if name in self._members:
            raise self._refusal(member.name, "is there twice")
        self._members[name] = member._replace(name=name, target=target)

    def _refusal(self, name: str, why: str) -> DataError:
        return DataError(f"{self.path} is refused: its member {name!r} {why}; unpack it yourself and ingest the folder")

    def _followed(self, name: str) -> Member:
        for _ in range(_LINKS):
            member = self._members.get(name)
            if member is None:
                raise DataError(f"it is a link to {name!r}, which the archive does not hold")
            if not member.target:
                return member
            name = member.target
        raise DataError("it is a link in a loop of links")


class _MemberStream(Stream):
    def read(self, size: int) -> bytes:
        with _damage():
            return super().read(size)


def open_archive(path: str) -> Archive | None:
    """The archive at a path, told by its first bytes; None for another file.

    Raises DataError: the archive is damaged, cut off, a bomb, or not what its name says; what Archive raises.
    """
    try:
        with open_regular(path) as file:
            head = file.read(512)
    except (DataError, OSError) as error:
        raise DataError(f"{path}: {error}") from None
    if not head:
        raise DataError(f"{path} is empty (zero bytes)")
    with _damage(path):
        if head[:4] in (b"PK\3\4", b"PK\5\6"):
            archive = zipfile.ZipFile(path)
            return Archive(path, archive, _zip_members(archive))
        for magic, decompressor in _DECOMPRESSORS.items():
            if head.startswith(magic):
                file = _inflated(path, decompressor)
                if file.read(262)[257:] != b"ustar" and not path.lower().endswith(_SUFFIXES):
                    raise DataError(f"{path}: it is compressed, and no tar archive: decompress it first")
                file.seek(0)
                return Archive(path, file, _tar_members(file))
        if head[257:262] == b"ustar":
            file = open_regular(path)
            return Archive(path, file, _tar_members(file))
    if path.lower().endswith(_SUFFIXES):
        raise DataError(f"{path} is not the archive that its name says")
    return None


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        name = _name(info).replace("\\", "/")  # some Windows tools write the wrong separator
        target = ""
        if stat.S_ISLNK(info.external_attr >> 16):
            with naming(f"{archive.filename}: {name}"), _open_unlocked(archive, info) as file:
                target = posixpath.join(posixpath.dirname(name), os.fsdecode(file.read(4096)))
        if not info.is_dir() or _is_outside(name):
            yield Member(name, info.file_size, partial(_open_unlocked, archive, info), target)


def _name(info: zipfile.ZipInfo) -> str:
    """A member's name. Info-ZIP writes UTF-8 without the flag that says so, which Python takes for code page 437."""
    if not info.flag_bits & 0x800:
        with contextlib.suppress(UnicodeError):
            return info.filename.encode("cp437").decode("utf-8")
    return info.filename


def _open_unlocked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    if info.flag_bits & 1:
        raise DataError("it is encrypted: unpack the archive with its password and ingest the folder")
    return archive.open(info)


def _tar_members(file: IO[bytes]) -> Iterator[Member]:
    archive = tarfile.TarFile(fileobj=file, mode="r", encoding="utf-8", errors="surrogateescape")
    for info in archive:
        target = info.linkname if info.islnk() or info.issym() else ""
        if info.issym():
            target = posixpath.join(posixpath.dirname(info.name), target)
        if not info.isdir() or _is_outside(info.name):
            is_file = info.isreg() or target
            yield Member(info.name, info.size, partial(archive.extractfile, info) if is_file else None, target)
    file.seek(archive.offset)  # where Python saw the end, which it also takes a damaged header for
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise tarfile.ReadError("what follows the last member that can be read is no end of a tar")


def _inflated(path: str, decompressor: Callable[[BinaryIO], IO[bytes]]) -> IO[bytes]:
    """The decompressed bytes of a file, so that its members can be read in any order."""
    limit, grown = max(MAX_TAR, MAX_GROWTH * os.path.getsize(path)), 0
    with contextlib.ExitStack() as on_error:
        spool = on_error.enter_context(tempfile.SpooledTemporaryFile(_MEMORY))
        with open_regular(path) as file, decompressor(file) as stream:
            while chunk := stream.read(_CHUNK):
                grown += len(chunk)
                if grown > limit:
                    raise DataError(f"{path} is refused: it grows beyond {limit >> 30} GiB when it is decompressed")
                spool.write(chunk)
        spool.seek(0)
        on_error.pop_all()  # the archive owns it from here
    return spool


def _is_outside(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/")


@contextlib.contextmanager
def _damage(path: str = "") -> Iterator[None]:
    """Turns what the archive libraries raise over bad bytes into a DataError; with a path, one that names the file."""
    try:
        yield
    except OSError as error:
        reason = str(unreadable(error))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = f"no space left in {tempfile.gettempdir()} to decompress it: set TMPDIR to a larger place"
    except (EOFError, lzma.LZMAError, zlib.error, tarfile.TarError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        reason = f"it is damaged or cut off: {error}"
    except NotImplementedError as error:  # a compression that Python lacks
        reason = f"it cannot be read: {error}"
    else:
        return
    raise DataError(f"{path}: {reason}" if path else reason)
