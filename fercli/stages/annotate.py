"""Photos with what was found in them."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError, UsageError
from ..layouts.files import is_image
from ..layouts.video import is_video
from ..ops import draw
from ..ops.image import encode
from ..ops.parallel import ordered_map
from ..store import put
from ..text import counted
from .faces import Photo, Unique
from .outputs import Labelled, Output, is_of_its_name, pixels, prepare
from .rows import NO_FACE, UNSURE, Row
from .runner import Log

FLAG = "--annotate"
#: Marks a folder whose pictures may be overwritten: they were made here.
MARK = ".fer-pictures"
_MARKED = "The pictures in this folder were made by fer predict --annotate, which may overwrite them.\n"
_UNWRITTEN = (".gif",)  # formats that are written as PNG


def faces_of(rows: Iterable[Row]) -> list[draw.Face]:
    """What is drawn of prediction rows."""
    return [
        draw.Face(row["box"] or (), row["label"] or UNSURE, row["probabilities"], row.get("track"))
        for row in rows
        if row["status"] in ("ok", UNSURE)
    ]


def own_folder(folder: str) -> Path:
    """A folder for what is drawn. Raises UsageError where it holds other files, which might be overwritten."""
    path = prepare(folder, FLAG)
    if not (path / MARK).exists():
        if any(path.iterdir()):
            raise UsageError(f"the folder {folder} holds files that {FLAG} might overwrite: name an empty or a new one")
        put(path / MARK, _MARKED.encode(), FLAG)
    return path


class Pictures(Output):
    """Photos with their faces, in a folder, under the names and in the formats that they have."""

    def __init__(self, folder: str, log: Log) -> None:
        if folder == "-" or is_video(folder):
            raise UsageError(f"{FLAG} {folder} takes the frames of one video, and IN are photos: name a folder")
        self._folder, self._log, self._count = own_folder(folder), log, 0
        self._unique = Unique()

    def add(self, batch: Sequence[Labelled]) -> None:
        """Writes the pictures of some photos, in threads; one that cannot be written is reported."""
        self._draw([(labelled, self._target(labelled.photo)) for labelled in batch])

    def again(self, batch: Sequence[Labelled]) -> None:
        """Writes the pictures that are not there: the earlier run made none, or made them in another folder."""
        placed = [(labelled, self._target(labelled.photo)) for labelled in batch]
        self._draw([(labelled, target) for labelled, target in placed if not target.exists()])

    def close(self) -> str:
        return f"{counted(self._count, 'picture')} in {self._folder}"

    def _target(self, photo: Photo) -> Path:
        """Where the picture of a photo goes; it is a PNG where the photo's name tells of no format that is written."""
        suffix = os.path.splitext(photo.name)[1].lower()
        written = is_image(suffix) and suffix not in _UNWRITTEN and cv2.haveImageWriter(f"photo{suffix}")
        return self._folder / self._unique(photo.name if written else f"{photo.name}.png", photo.source)

    def _draw(self, placed: Sequence[tuple[Labelled, Path]]) -> None:
        for labelled, error in ordered_map(self._write, self._read(placed), ahead=1):
            if error:
                self._log.failed(labelled.photo.source, f"no picture of it was written: {error}")
            else:
                self._count += 1

    def _read(
        self, placed: Sequence[tuple[Labelled, Path]]
    ) -> Iterable[tuple[Labelled, Path, bytes | np.ndarray, str]]:
        """The photos that could be labelled, read by one thread: not every source can be read by several."""
        for labelled, target in placed:
            if labelled.rows[0]["status"] == "error":
                continue
            try:
                yield labelled, target, labelled.photo.read(), ""
            except DataError as error:
                yield labelled, target, b"", str(error)

    def _write(self, item: tuple[Labelled, Path, bytes | np.ndarray, str]) -> tuple[Labelled, str]:
        labelled, target, data, error = item
        if error:
            return labelled, error
        try:
            image = pixels(data)
            faces = faces_of(labelled.rows)
            picture = encode(draw.annotated(image, faces, "" if faces else NO_FACE), target.suffix.lower())
        except DataError as problem:
            return labelled, str(problem)
        try:
            put(target, picture, FLAG)
        except DataError as problem:
            if not is_of_its_name(problem):
                raise
            return labelled, str(problem)
        return labelled, ""
