"""What `fer predict` makes beside its rows: pictures, a contact sheet, sorted photos."""

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError, UsageError
from ..layouts import Source
from ..layouts.files import Folder
from ..ops.image import decode
from ..spec import Spec, option
from .faces import Photo
from .rows import Row

SORT_BY = ("copy", "hardlink", "symlink")


@dataclass(frozen=True)
class OutputSpec(Spec):
    """Settings of `fer predict` that add outputs and change no row."""

    annotate: str | None = option(
        None,
        "Draw boxes, labels and probabilities on the photos, into the folder OUT; or on a video, into the file OUT, or "
        "with - as raw frames to standard output.",
        metavar="OUT",
    )
    contact_sheet: str | None = option(
        None, "Write one picture of the faces, grouped by label, the surest first.", metavar="FILE"
    )
    sort_into: str | None = option(
        None,
        "Sort the photos into DIR/LABEL by the label of their largest face, and into no-face, unreadable and, with "
        "--abstain, unsure. Those that an earlier run placed elsewhere in DIR move.",
        metavar="DIR",
    )
    sort_by: str | None = option(None, "How photos get into DIR. [default: copy]", choices=SORT_BY)
    resume: str | None = option(
        None,
        "Write the rows to FILE, and go on where an earlier run ended: photos and videos in it are left out, but for "
        "the last one, whose rows may not be all, and for those that could not be read then and can be now.",
        metavar="FILE",
    )

    @property
    def folders(self) -> dict[str, str]:
        """The folders that are filled, by the flags that name them."""
        named = {"--annotate": self.annotate, "--sort-into": self.sort_into}
        return {flag: folder for flag, folder in named.items() if folder}

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return any(value is not None for value in self.as_dict().values())


class Labelled(NamedTuple):
    """A photo with its rows: one a face, or one that says why there is none."""

    photo: Photo
    rows: list[Row]


class Output(ABC):
    """Something that is made of labelled photos as they come."""

    @abstractmethod
    def add(self, batch: Sequence[Labelled]) -> None:
        """Takes some photos. Raises DataError where they cannot be written."""

    @abstractmethod
    def again(self, batch: Sequence[Labelled]) -> None:
        """Takes photos that an earlier run has labelled, and for which it has done its part, unless it was another."""

    @abstractmethod
    def close(self) -> str:
        """Ends the work when all photos are done, and says in a few words what was made."""

    def stop(self) -> None:  # noqa: B027 - few leave anything
        """Takes away what is unfinished, however the run ends."""


def pixels(data: bytes | np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) RGB uint8 of what the `read` of a photo gave."""
    return decode(data) if isinstance(data, bytes) else data


def prepare(folder: str, flag: str) -> Path:
    """Makes a folder for outputs unless it is there. Raises where files cannot be written into it."""
    path = Path(folder)
    if folder == "-":
        raise UsageError(f"{flag} takes a folder, and standard output is none: name a folder")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{folder} is a file, and {flag} takes a folder: name another")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be made: {error.strerror}; name another with {flag}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise DataError(f"the folder {folder} cannot be written: name another with {flag}")
    return path


def check_apart(sources: Sequence[Source], folders: dict[str, str]) -> None:
    """Raises UsageError where an input folder is or lies in a folder that is to be filled, or two of those are one."""
    places = {os.path.realpath(folder) for folder in folders.values()}
    if len(places) < len(folders):
        raise UsageError(f"{' and '.join(folders)} would mix in {places.pop()}: name two folders")
    for flag, folder in folders.items():
        for source in sources:
            if isinstance(source, Folder) and lying_in([folder])(source.path):
                raise UsageError(
                    f"{flag} {folder} would mix with the photos of {source.path}: "
                    f"name a folder of its own, such as {os.path.join(folder, flag.removeprefix('--'))}"
                )


def made_in(sources: Sequence[Source], marks: Sequence[str]) -> list[str]:
    """The folders inside folders of photos that hold one of these files, by which runs mark what they have made."""
    inside: set[str] = set()
    for source in sources:
        for folder in {os.path.dirname(name) for name in source.photos} if isinstance(source, Folder) else ():
            while folder and (path := os.path.join(source.path, folder)) not in inside:
                inside.add(path)
                folder = os.path.dirname(folder)
    return sorted(path for path in inside if any(os.path.exists(os.path.join(path, mark)) for mark in marks))


def is_of_its_name(error: DataError) -> bool:
    """Whether a file was not written for its name, which a file system does not take, so that others may well be."""
    return getattr(error.__cause__, "errno", None) in (errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ)


def lying_in(folders: Iterable[str]) -> Callable[[str], bool]:
    """Tells of a file or folder whether it is one of some others, or lies in one. Links are followed; it is quick for
    many files of a folder.
    """
    outer = [os.path.realpath(folder) for folder in folders]
    real = lru_cache(maxsize=1024)(os.path.realpath)

    def lies(path: str) -> bool:
        place, name = os.path.split(path)
        plain = name not in ("", ".", "..") and not os.path.islink(path)
        inner = os.path.join(real(place), name) if plain else os.path.realpath(path)
        return any(inner == one or inner.startswith(one.rstrip("/") + "/") for one in outer)

    return lies
