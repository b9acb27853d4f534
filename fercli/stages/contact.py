"""A contact sheet: thumbnails of faces, grouped by their labels, the surest first."""

import heapq
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError, UsageError
from ..layouts.files import read_regular
from ..ops import draw, geometry
from ..ops.image import decode, encode
from ..ops.parallel import ordered_map
from ..store import check_writable, replacing
from ..text import counted
from .faces import Photo
from .outputs import Labelled, Output, lying_in, pixels
from .rows import UNSURE
from .runner import Log, check_replaced

FLAG = "--contact-sheet"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
#: Thumbnails a label and a line, and their side, px.
FACES, COLUMNS, SIDE = 24, 12, 112
_MARGIN = 0.15  # of the box: a thumbnail shows a bit more than the network sees


class _Kept(NamedTuple):
    """A face in the order in which faces are kept: the surest, and of two the one that came first."""

    confidence: float
    order: int
    box: Sequence[float]
    photo: Photo


class ContactSheet(Output):
    """Remembers where the surest faces of each label are, and reads these photos again at the end."""

    def __init__(self, path: str, classes: Sequence[str], log: Log) -> None:
        self._path, self._log = Path(path), log
        self._kept: dict[str, list[_Kept]] = {name: [] for name in (*classes, UNSURE)}
        self._count = dict.fromkeys(self._kept, 0)

    def add(self, batch: Sequence[Labelled]) -> None:
        """Keeps the faces that are among the surest so far."""
        for photo, rows in batch:
            for row in rows:
                if row["status"] in ("ok", UNSURE):
                    group, order = row["label"] or UNSURE, -sum(self._count.values())
                    self._count[group] += 1
                    kept = self._kept[group]
                    if len(kept) == FACES and (row["confidence"], order) < kept[0]:
                        continue
                    face = _Kept(row["confidence"], order, row["box"] or (), photo)
                    heapq.heappush(kept, _cut_out(face) if "frame" in row else face)
                    if len(kept) > FACES:
                        heapq.heappop(kept)

    again = add

    def close(self) -> str:
        groups = []
        for name, kept in self._kept.items():
            if name == UNSURE and not kept:
                continue
            surest = sorted(kept, reverse=True)
            found = [(tile, f"{face.confidence:.0%}") for face, tile in self._tiles(surest) if tile is not None]
            title = f"{name}: {counted(self._count[name], 'face')}"
            left = self._count[name] - len(found)
            groups.append((title + (f", the {len(found)} surest shown and {left:,} left out" if left else ""), found))
        with replacing(self._path, FLAG) as part:
            part.write_bytes(encode(draw.sheet(groups, SIDE, COLUMNS), self._path.suffix.lower()))
        return f"a sheet of {counted(sum(self._count.values()), 'face')} in {self._path}"

    def _tiles(self, faces: Sequence[_Kept]) -> list[tuple[_Kept, np.ndarray | None]]:
        """The thumbnails of some faces; None where the photo cannot be read any more."""
        read = ((face, self._read(face.photo)) for face in faces)
        return list(ordered_map(lambda item: (item[0], _thumbnail(*item)), read, ahead=1))

    def _read(self, photo: Photo) -> bytes | np.ndarray | None:
        try:
            return photo.read()
        except DataError as error:
            self._log.failed(photo.source, f"it is not on the contact sheet: {error}")
            return None


def check_sheet(path: str, photos: Iterable[Photo], force: bool) -> None:
    """Raises unless a sheet can be written there: never over one of the `photos` to label, and over another picture,
    such as the first of *.jpg behind the flag, only by `force`.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UsageError(f"{FLAG} {path} is no name of a picture: end it in {', '.join(SUFFIXES)}")
    check_writable(Path(path), FLAG)
    if not os.path.exists(path) or not os.path.getsize(path) or _is_sheet(path):
        return
    is_target = lying_in([path])
    if any(photo.path and is_target(photo.path) for photo in photos):
        raise UsageError(f"{path} is both input and output: name another file with {FLAG}")
    if not force:
        check_replaced(path, "contact sheet", lambda: False, FLAG)


def _is_sheet(path: str) -> bool:
    try:
        return draw.is_sheet(decode(read_regular(path)), SIDE, COLUMNS)
    except DataError:
        return False


def _cut_out(face: _Kept) -> _Kept:
    """The face of a frame, which cannot be read again, without the rest of it."""
    tile = _thumbnail(face, face.photo.read())
    return face._replace(box=(), photo=Photo(face.photo.source, lambda: tile))


def _thumbnail(face: _Kept, data: bytes | np.ndarray | None) -> np.ndarray | None:
    """(SIDE, SIDE, 3) RGB."""
    if data is None:
        return None
    image = pixels(data)
    box = np.array(face.box if len(face.box) else (0, 0, image.shape[1], image.shape[0]), float)
    tile = geometry.face(image, box, _MARGIN if len(face.box) else 0.0, SIDE)
    return tile if tile.ndim == 3 else np.repeat(tile[..., None], 3, axis=2)
