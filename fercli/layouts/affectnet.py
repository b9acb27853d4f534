"""AffectNet (Mollahosseini et al. 2017): training.csv and validation.csv beside the photos, a face box in each row.

The expressions "none", "uncertain" and "no face" (codes 8 to 10) are unlabelled rows. The validation set is `val`.
"""

import csv
import math
import re
from collections.abc import Mapping

from ..errors import DataError
from ..labels import AFFECTNET_CODES, EMOTIONS_CONTEMPT
from .base import Listing, Options, Record, text_lines
from .source import Source

NAME = "affectnet"
TITLE = "AffectNet: training.csv and validation.csv with subDirectory_filePath, face_x, ..., expression"
OPTIONS = ()

_CSV = re.compile(r"(?:^|/)[^/]*(train|val)[^/]*\.csv$", re.IGNORECASE)
_BOX = ("face_x", "face_y", "face_width", "face_height")
_PATH, _CODE = "subDirectory_filePath", "expression"
_UNLABELLED = range(8, 11)


def matches(source: Source) -> bool:
    return bool(_lists(source))


def scan(source: Source, options: Options) -> Listing:
    lists = _lists(source)
    if not lists:
        raise DataError(f"{source.path} holds no training.csv or validation.csv with the column {_PATH}")
    photos = {"/".join(name.split("/")[-2:]): name for name in source.photos}
    listing = Listing(EMOTIONS_CONTEMPT, [])
    for name in lists:
        _add(listing, source, name, photos)
    unlabelled = sum(record.label < 0 for record in listing.records)
    if unlabelled:
        listing.notes.append(f"unlabelled rows (none, uncertain or no face): {unlabelled:,}")
    return listing


def _lists(source: Source) -> list[str]:
    names = [name for name in source.names() if _CSV.search(name)]
    return [name for name in names if _PATH in next(iter(text_lines(source, name)), "").split(",")]


def _add(listing: Listing, source: Source, name: str, photos: Mapping[str, str]) -> None:
    split = "train" if _CSV.search(name)[1].lower() == "train" else "val"
    rows = csv.DictReader(text_lines(source, name))
    for column in (_CODE, *_BOX):
        if column not in (rows.fieldnames or ()):
            raise DataError(f"{name} has no column {column}; its columns are {', '.join(rows.fieldnames)}")
    for number, row in enumerate(rows, start=1):
        listing.add(f"{name}:{number}", _record(row, split, photos))


def _record(row: Mapping[str, str | None], split: str, photos: Mapping[str, str]) -> Record | str:
    """The record of a row, or why there is none."""
    try:
        code = int(row[_CODE])
        box = tuple(float(row[column]) for column in _BOX)
    except (TypeError, ValueError):
        return f"its {_CODE} or face box is missing or no number"
    if code not in AFFECTNET_CODES and code not in _UNLABELLED:
        return f"its {_CODE} is {code}, not one of 0 to {_UNLABELLED[-1]}"
    if not all(map(math.isfinite, box)):
        return "its face box is not finite"
    if row[_PATH] not in photos:
        return f"there is no photo {row[_PATH]}"
    label = EMOTIONS_CONTEMPT.index(AFFECTNET_CODES[code]) if code in AFFECTNET_CODES else -1
    return Record(photos[row[_PATH]], label, split, box=box)
