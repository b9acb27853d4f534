"""Photos with what was found in them."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError, UsageError
from ..layouts.video import is_video
from ..ops import draw
from ..ops.image import encode
from ..ops.parallel import ordered_map
from ..store import put
from ..text import counted
from .outputs import Labelled, Output, pixels, prepare
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

    def add(self, batch: Sequence[Labelled]) -> None:
        """Writes the pictures of some photos, in threads; one that cannot be written is reported."""
        for labelled, error in ordered_map(self._write, self._read(batch), ahead=1):
            if error:
                self._log.failed(labelled.photo.source, f"no picture of it was written: {error}")
            else:
                self._count += 1

    def again(self, batch: Sequence[Labelled]) -> None:
        """Leaves the pictures of the earlier run: to draw them would take as long as to label the photos."""

    def close(self) -> str:
        return f"{counted(self._count, 'picture')} in {self._folder}"

    def _read(self, batch: Sequence[Labelled]) -> Iterable[tuple[Labelled, bytes | np.ndarray, str]]:
        """The photos that could be labelled, read by one thread: not every source can be read by several."""
        for labelled in batch:
            if labelled.rows[0]["status"] == "error":
                continue
            try:
                yield labelled, labelled.photo.read(), ""
            except DataError as error:
                yield labelled, b"", str(error)

    def _write(self, item: tuple[Labelled, bytes | np.ndarray, str]) -> tuple[Labelled, str]:
        labelled, data, error = item
        if error:
            return labelled, error
        target = self._folder / labelled.photo.name
        suffix = target.suffix.lower()
        if suffix in _UNWRITTEN:
            target, suffix = target.with_name(f"{target.name}.png"), ".png"
        try:
            image = pixels(data)
            faces = faces_of(labelled.rows)
            picture = encode(draw.annotated(image, faces, "" if faces else NO_FACE), suffix)
        except DataError as problem:
            return labelled, str(problem)
        os.makedirs(target.parent, exist_ok=True)
        put(target, picture, FLAG)
        return labelled, ""
