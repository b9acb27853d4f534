"""One view over the places that a data set may lie in: a folder, one file, a list of photos (archives: `archive`).

Names are relative POSIX paths; bytes that are not UTF-8 travel as surrogate escapes. The reasons in the DataErrors of
`read` and of a stream lack the file's name, which the caller puts before them.
"""

import contextlib
import functools
import hashlib
import os
import stat
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO

from ..errors import DataError
from ..store import opened

#: A file above this size is not read into memory: no photo is that large.
MAX_FILE = 1 << 30
#: What the names of photos end in.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
#: What the names of photos in formats that are not read end in: those of phones, the web and cameras.
UNREAD_SUFFIXES = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf")
_LITTER = (
    "__MACOSX", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information", "@eaDir", "#recycle",
    "@Recycle",
)  # fmt: skip
_CHUNK = 1 << 20
_LINES = 4 << 20  # bytes that are cut into lines at a time
_MAX_LINE = 1 << 20


class Source(ABC):
    """Files under names. `path` is what the person typed; a `flat` source has no folders that could be classes."""

    flat = False

    def __init__(self, path: str) -> None:
        self.path = path

    @abstractmethod
    def names(self) -> list[str]:
        """The names of all files, in order."""

    @property
    def unlisted(self) -> dict[str, str]:
        """Why folders inside cannot be listed, by their names, as "a/b/": their files are not among `names`."""
        return {}

    @functools.cached_property
    def photos(self) -> list[str]:
        """The names that are those of photos."""
        return [name for name in self.names() if is_image(name)]

    def read(self, name: str) -> bytes:
        """The bytes of one file; DataError says why it cannot be read."""
        raise DataError("it is no file")

    def stream(self, name: str) -> "Stream":
        """One file to be read forward, for those that may be large."""
        raise DataError("it is no file")

    @abstractmethod
    def digest(self, names: Iterable[str] = ()) -> str:
        """Hex digest of the input's bytes.

        That of the whole file or archive; for a folder, that of the files that were read and of those in `names`.
        What was read before is not read again.
        """


class Stream:
    """A file that is read forward and hashed on the way; `remember` gets the digest when the end is reached."""

    def __init__(self, file: BinaryIO, remember: Callable[[bytes], None]) -> None:
        self._file, self._remember = file, remember
        self._state = hashlib.blake2b(digest_size=16)

    def read(self, size: int) -> bytes:
        """The next `size` bytes or fewer; empty at the end."""
        try:
            data = self._file.read(size)
        except OSError as error:
            raise unreadable(error) from None
        self._state.update(data)
        if not data:
            self._remember(self._state.digest())
        return data

    def lines(self) -> Iterator[list[bytes]]:
        """The lines that follow, some megabytes at a time, without their ends and without blank ones.

        DataError: a line is longer than a row of any table.
        """
        carry, count = b"", 0
        while data := self.read(_LINES):
            *lines, carry = (carry + data).split(b"\n")
            count += len(lines)
            if len(carry) > _MAX_LINE:
                raise DataError(f"line {count + 1} is longer than {_MAX_LINE >> 20} MiB: this is no table of rows")
            yield [line.rstrip(b"\r") for line in lines if line.strip()]
        yield [carry] if carry.strip() else []

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


class Drawn(Source):
    """Data that is drawn as it is needed: there is nothing on the disk."""

    def names(self) -> list[str]:
        return []

    def digest(self, names: Iterable[str] = ()) -> str:
        return hashlib.blake2b(self.path.encode(), digest_size=16).hexdigest()


class Piped(Source):
    """One photo out of a pipe: standard input, or one that is named."""

    flat = True

    def __init__(self, path: str) -> None:
        super().__init__("standard input" if path == "-" else path)
        self._named = path
        self._data: bytes | None = None

    def names(self) -> list[str]:
        return [self.path]

    def read(self, name: str) -> bytes:
        if self._data is None:  # it can be read once, and pictures of it read it again
            with contextlib.nullcontext(sys.stdin.buffer) if self._named == "-" else opened(self._named) as file:
                self._data = file.read()
        return self._data

    def digest(self, names: Iterable[str] = ()) -> str:
        return hashlib.blake2b(self.read(self.path), digest_size=16).hexdigest()


class Files(Source):
    """Photos by path, in the order in which they were given: flat and unlabelled."""

    flat = True

    def __init__(self, path: str, paths: Sequence[str]) -> None:
        super().__init__(path)
        self._paths = list(paths)
        self._digests: dict[str, bytes] = {}

    def names(self) -> list[str]:
        return self._paths

    def read(self, name: str) -> bytes:
        data = read_regular(self.locate(name))
        self._digests[name] = hashlib.blake2b(data, digest_size=16).digest()
        return data

    def stream(self, name: str) -> Stream:
        def remember(digest: bytes) -> None:
            self._digests[name] = digest

        return Stream(open_regular(self.locate(name)), remember)

    def digest(self, names: Iterable[str] = ()) -> str:
        state = hashlib.blake2b(digest_size=16)
        for name in dict.fromkeys((*names, *sorted(self._digests))):  # their order is that of the rows
            state.update(os.fsencode(name) + b"\0" + self._digest_of(name))
        return state.hexdigest()

    def _digest_of(self, name: str) -> bytes:
        if name not in self._digests:
            try:
                self.read(name)
            except DataError as error:  # that a photo cannot be read is a fact about the input, too
                return os.fsencode(str(error))
        return self._digests[name]

    def locate(self, name: str) -> str:
        """Where a file lies, as the system names it."""
        return name


class Folder(Files):
    """All files below a folder, sorted, but for hidden ones and the litter of other systems.

    Links to folders are followed, and each real folder is listed once, so that a loop of links ends. DataError from
    whatever asks first: the folder itself cannot be listed.
    """

    flat = False

    def __init__(self, path: str) -> None:
        super().__init__(path, ())

    @functools.cached_property
    def _listing(self) -> tuple[list[str], dict[str, str]]:
        names, unlisted = _walk(self.path)
        if "" in unlisted:
            raise DataError(f"the folder {self.path}/ cannot be listed: {unlisted['']}")
        return sorted(names), dict(sorted(unlisted.items()))

    def names(self) -> list[str]:
        return self._listing[0]

    @property
    def unlisted(self) -> dict[str, str]:
        return self._listing[1]

    def locate(self, name: str) -> str:
        return f"{self.path}/{name}"


class SingleFile(Source):
    """One file, such as a csv."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._digest = b""

    def names(self) -> list[str]:
        return [os.path.basename(self.path)]

    def read(self, name: str) -> bytes:
        return read_regular(self.path)

    def stream(self, name: str) -> Stream:
        return Stream(open_regular(self.path), self._remember)

    def digest(self, names: Iterable[str] = ()) -> str:
        if not self._digest:
            with Stream(open_regular(self.path), self._remember) as stream:
                while stream.read(_CHUNK):
                    pass
        return self._digest.hex()

    def _remember(self, digest: bytes) -> None:
        self._digest = digest


class Sheet(SingleFile):
    """One file, such as a csv, and the files that it names, seen from its folder."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._named = _Beside(path)

    def read(self, name: str) -> bytes:
        if name in self.names():
            return super().read(name)
        place = self._named.locate(name)
        if not os.path.lexists(place):
            raise DataError(f"there is no {place}: paths are seen from the folder of {self.path}")
        return self._named.read(name)

    def digest(self, names: Iterable[str] = ()) -> str:
        own, others = super().digest(), [name for name in names if name not in self.names()]
        if not others:
            return own
        return hashlib.blake2b(bytes.fromhex(own + self._named.digest(others)), digest_size=16).hexdigest()


class _Beside(Files):
    """Files by their paths seen from the folder of the file `path`."""

    def __init__(self, path: str) -> None:
        super().__init__(path, ())

    def locate(self, name: str) -> str:
        return os.path.join(os.path.dirname(self.path), name)


def is_image(name: str) -> bool:
    """Whether a file's name says that it is a photo."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def is_litter(part: str) -> bool:
    """Whether a file or folder of this name is hidden, or left behind by another system."""
    return part.startswith(".") or part in _LITTER


def open_regular(path: str) -> BinaryIO:
    """A regular file opened for reading. Opening does not wait, as it would for a pipe that nobody writes to."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise unreadable(error) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError("it is not a regular file")
    return open(descriptor, "rb", buffering=0)


def read_regular(path: str) -> bytes:
    """The bytes of a regular file; DataError says why there are none."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_FILE:
            raise DataError(f"the file is larger than {MAX_FILE >> 30} GiB")
        try:
            return file.read()
        except OSError as error:
            raise unreadable(error) from None


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Puts a file's name before the reason of any DataError raised inside."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{name}: {error}") from None


def unreadable(error: Exception) -> DataError:
    """The DataError for a file that the system does not let us read (OSError), or whose name is none (ValueError)."""
    return DataError(f"it cannot be read: {getattr(error, 'strerror', None) or 'its name holds a zero byte'}")


def _walk(root: str) -> tuple[list[str], dict[str, str]]:
    """Relative names of the files below `root`, and why folders there cannot be listed, by their names. Real folders
    come before links, so that they give the names.
    """
    names: list[str] = []
    unlisted: dict[str, str] = {}
    seen: set[tuple[int, int]] = set()
    folders, links = [""], []
    while folders or links:
        folder = folders.pop() if folders else links.pop()
        try:
            status = os.stat(f"{root}/{folder}")
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(f"{root}/{folder}") as found:
                entries = [entry for entry in found if not is_litter(entry.name)]
        except OSError as error:
            unlisted[folder] = error.strerror
            continue
        for entry in entries:
            if not _is_folder(entry):
                names.append(folder + entry.name)
            else:
                (links if entry.is_symlink() else folders).append(f"{folder}{entry.name}/")
        links.sort(reverse=True)
    return names, unlisted


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: listed as a file, reading it says what is wrong
        return False
