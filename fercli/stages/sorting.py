"""Photos sorted into folders by what was found in them: `DIR/LABEL/NAME`, never over another file."""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import DataError, UsageError
from ..store import put
from ..text import counted
from .faces import Photo
from .outputs import Labelled, Output, prepare
from .rows import NO_FACE, UNSURE
from .runner import Log

FLAG = "--sort-into"
NONE, UNREADABLE = "no-face", "unreadable"


class Sorted(Output):
    """Each photo lies in the folder of the label of its largest face, or in no-face, unsure or unreadable.

    Where another photo of the same name is there, the later one's name gets a suffix made of its bytes, so that a rerun
    finds it again and leaves it.
    """

    def __init__(self, folder: str, by: str, classes: Sequence[str], log: Log) -> None:
        for name in classes:
            if name in ("", ".", "..", NONE, UNREADABLE, UNSURE) or "/" in name or "\0" in name:
                raise DataError(f"the class {name!r} of the model cannot name a folder of {FLAG}")
        self._folder, self._log = prepare(folder, FLAG), log
        self._place = {"copy": _copy, "hardlink": _hardlink, "symlink": _symlink}[by]
        self._count = 0

    def add(self, batch: Sequence[Labelled]) -> None:
        """Places some photos. Raises UsageError for one that cannot be linked to."""
        for photo, rows in batch:
            folder = {"ok": rows[0]["label"], NO_FACE: NONE, UNSURE: UNSURE}.get(rows[0]["status"], UNREADABLE)
            try:
                data = photo.read()
            except DataError as error:
                if folder != UNREADABLE:  # else that was reported
                    self._log.failed(photo.source, f"it was not sorted: {error}")
                continue
            with _errors(self._folder / folder):
                (self._folder / folder).mkdir(exist_ok=True)
                self._sort(photo, data, self._folder / folder)
            self._count += 1

    again = add

    def close(self) -> str:
        return f"{counted(self._count, 'photo')} sorted into {self._folder}"

    def _sort(self, photo: Photo, data: bytes, folder: Path) -> None:
        name = os.path.basename(photo.path or photo.name)
        stem, suffix = os.path.splitext(name)
        mark = hashlib.blake2b(data, digest_size=4).hexdigest()
        for target in (folder / name, folder / f"{stem}-{mark}{suffix}"):
            if _holds(target, data):
                return
            if not os.path.lexists(target):
                self._place(photo, data, target)
                return
        raise DataError(f"{target} is another file than its name says: move it away, or name another {FLAG}")


def _holds(target: Path, data: bytes) -> bool:
    """Whether a file has these bytes."""
    return target.is_file() and target.stat().st_size == len(data) and target.read_bytes() == data


def _copy(photo: Photo, data: bytes, target: Path) -> None:
    put(target, data, FLAG)
    if photo.path:
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
        raise DataError(f"{folder} cannot be filled: {error.strerror}; {hint}") from None
