"""Photos sorted into folders by what was found in them: `DIR/LABEL/NAME`, never over another file."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import DataError, UsageError
from ..store import disk_errors, put
from ..text import counted
from .faces import Photo, told_apart
from .outputs import Labelled, Output, is_of_its_name, prepare
from .rows import NO_FACE, UNSURE, Row
from .runner import Log, are_one

FLAG = "--sort-into"
NONE, UNREADABLE = "no-face", "unreadable"
#: The file in the folder that remembers what was placed there.
RECORD = ".fer-sorted"


class Sorted(Output):
    """Each photo lies in the folder of the label of its largest face, or in no-face, unsure or unreadable.

    Where another photo of the same name is there, the later one's name gets a suffix made of its bytes, so that a rerun
    finds it again and leaves it. One that an earlier run placed under another label moves; what a person placed stays,
    and one that a person moved to another folder is not placed again.
    """

    def __init__(self, folder: str, by: str, classes: Sequence[str], log: Log) -> None:
        for name in classes:
            if name in (NONE, UNREADABLE, UNSURE) or not _names_folder(name):
                raise DataError(f"the class {name!r} of the model cannot name a folder of {FLAG}")
        self._folder, self._log = prepare(folder, FLAG), log
        self._place = {"copy": _copy, "hardlink": _hardlink, "symlink": _symlink}[by]
        self._count = self._moved = self._left = 0
        self._met: set[str] = set()  # names of this run's photos
        self._record = _Record(self._folder / RECORD)

    def add(self, batch: Sequence[Labelled]) -> None:
        """Places some photos. Raises UsageError for one that cannot be linked to."""
        for photo, rows in batch:
            folder = _folder_of(rows)
            try:
                data = photo.read()
            except DataError as error:
                if folder != UNREADABLE:  # else that was reported
                    self._log.failed(photo.source, f"it was not sorted: {error}")
                continue
            names = _names(photo, data)
            self._met.add(names[0])
            try:
                with _errors(self._folder / folder):
                    self._sort(photo, data, folder, names)
                    self._moved += self._leave_others(photo, data, folder, names)  # last: at no moment it lies nowhere
            except DataError as error:
                if not is_of_its_name(error):
                    raise
                self._log.failed(photo.source, f"it was not sorted: {error}")
                continue
            self._count += 1

    def again(self, batch: Sequence[Labelled]) -> None:
        """As `add`, without reading those that lie where an earlier run placed them."""
        missing = [labelled for labelled in batch if not self._lies_there(*labelled)]
        self._count += len(batch) - len(missing)
        self.add(missing)

    def close(self) -> str:
        moved = f", {self._moved:,} of them from another label" if self._moved else ""
        left = f", {self._left:,} of them left where a person moved them" if self._left else ""
        return f"{counted(self._count, 'photo')} sorted into {self._folder}{moved}{left}"

    def _lies_there(self, photo: Photo, rows: Sequence[Row]) -> bool:
        """Whether a photo that is a file lies under its label and no other, by its link or by its size and time."""
        name, folder = os.path.basename(photo.path), _folder_of(rows)
        again = name in self._met  # another photo of that name may lie there, which the bytes tell
        self._met.add(name)
        if again or not photo.path or self._record.folders(name) != {folder}:
            return False
        target = self._folder / folder / name
        if target.is_symlink():
            return os.readlink(target) == os.path.abspath(photo.path)
        try:
            ours, theirs = os.stat(target), os.stat(photo.path)
        except OSError:
            return False
        return (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)

    def _sort(self, photo: Photo, data: bytes, folder: str, names: Sequence[str]) -> None:
        if any(_holds(self._folder / folder / name, data) for name in names):
            return
        if self._was_corrected(photo, data, names):
            self._left += 1
            return
        (self._folder / folder).mkdir(exist_ok=True)
        for name in names:
            target = self._folder / folder / name
            if not os.path.lexists(target):
                self._record.write(folder, name, True)  # first: what is not known to be ours is never moved
                self._place(photo, data, target)
                return
        raise DataError(f"{target} is another file than its name says: move it away, or name another {FLAG}")

    def _was_corrected(self, photo: Photo, data: bytes, names: Sequence[str]) -> bool:
        """Whether a person took the photo from where a run placed it to another folder."""
        for name in names:
            ours = self._record.folders(name)
            away = ours and not any(_is_of(photo, data, self._folder / folder / name) for folder in ours)
            if away and any(_is_of(photo, data, folder / name) for folder in self._folder.iterdir()):
                return True
        return False

    def _leave_others(self, photo: Photo, data: bytes, folder: str, names: Sequence[str]) -> bool:
        """Removes the photo where an earlier run placed it under another label; tells whether it did."""
        moved = False
        for name in names:
            for other in self._record.folders(name) - {folder}:
                target = self._folder / other / name
                apart = not are_one(target.parent, self._folder / folder)  # not so Happy and happy on some systems
                if apart and _is_of(photo, data, target):
                    target.unlink()
                    self._record.write(other, name, False)
                    moved = True
        return moved


class _Record:
    """Which files of the folder were placed by a run: a line for each that was placed or removed.

    A person may have moved one of them, or added others: these are not on record where they lie.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folders: dict[str, set[str]] = {}  # by the name of a photo
        for line in self._lines():
            with contextlib.suppress(ValueError, TypeError):  # half a line, of a run that was cut off
                folder, name, there = json.loads(line)
                if _names_folder(folder):
                    self._note(folder, name, there)

    def _lines(self) -> list[bytes]:
        try:
            return self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DataError(
                f"{self._path}, which tells what was sorted, cannot be read: {error.strerror}; name another {FLAG}"
            ) from None

    def folders(self, name: str) -> set[str]:
        """Where a photo of this name was placed."""
        return self._folders.get(name, set())

    def write(self, folder: str, name: str, there: bool) -> None:
        """Remembers that a photo is about to be placed, or was removed."""
        with disk_errors(self._path, FLAG), open(self._path, "ab") as file:
            file.write(b"\n" + json.dumps([folder, name, there]).encode())  # a line of its own, whatever is before it
        self._note(folder, name, there)

    def _note(self, folder: str, name: str, there: bool) -> None:
        known = self._folders.setdefault(name, set())
        known.add(folder) if there else known.discard(folder)


def _folder_of(rows: Sequence[Row]) -> str:
    """The folder of a photo with these rows, the largest face first."""
    return {"ok": rows[0]["label"], NO_FACE: NONE, UNSURE: UNSURE}.get(rows[0]["status"], UNREADABLE)


def _names_folder(name: str) -> bool:
    """Whether a folder in a folder can have this name."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _names(photo: Photo, data: bytes) -> tuple[str, str]:
    """The name of a photo, and the one that it has where another photo has that."""
    name = os.path.basename(photo.path or photo.name)
    return name, told_apart(name, data)


def _is_of(photo: Photo, data: bytes, target: Path) -> bool:
    """Whether a file is a link to a photo or a copy of it, and not the photo itself, found by another way."""
    if target.is_symlink():
        return bool(photo.path) and os.readlink(target) == os.path.abspath(photo.path)
    if not _holds(target, data):
        return False
    return not photo.path or not are_one(target, photo.path) or target.stat().st_nlink > 1


def _holds(target: Path, data: bytes) -> bool:
    """Whether a file has these bytes; a name may be too long for there to be one."""
    return os.path.isfile(target) and target.stat().st_size == len(data) and target.read_bytes() == data


def _copy(photo: Photo, data: bytes, target: Path) -> None:
    put(target, data, FLAG)
    if photo.path:
        with contextlib.suppress(OSError):  # some file systems have no modes or times
            shutil.copystat(photo.path, target)  # when a photo was taken is what many sort by


def _hardlink(photo: Photo, data: bytes, target: Path) -> None:
    os.link(os.path.realpath(_file(photo)), target)


def _symlink(photo: Photo, data: bytes, target: Path) -> None:
    os.symlink(os.path.abspath(_file(photo)), target)


def _file(photo: Photo) -> str:
    if not photo.path:
        raise UsageError(f"{photo.source} is no file of its own, which a link could name: take --sort-by copy")
    return photo.path


@contextlib.contextmanager
def _errors(folder: Path) -> Iterator[None]:
    """Says what to type where the system places no file."""
    try:
        yield
    except OSError as error:
        hint = "name another " + FLAG
        if error.errno in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            hint = "take --sort-by copy"
        raise DataError(f"{folder} cannot be filled: {error.strerror}; {hint}") from error
