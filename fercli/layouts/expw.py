"""ExpW (Zhang et al. 2015): label.lst beside the folder image/, one line a face, so that a photo may have several.

"angry_actor_104.jpg 0 28 113 226 141 22.9362 0" is photo, face, top, left, right, bottom (in that order), confidence
and code.
"""

import re

from ..labels import EMOTIONS, EXPW_CODES
from .base import Listing, Options, Record, only, text_lines
from .source import Source

NAME = "expw"
TITLE = "ExpW: label.lst and image/, with a face box for each row"
OPTIONS = ()

_LIST = re.compile(r"(?:^|/)label\.lst$")
_LINE = re.compile(r"(\S.*) (\d+) (-?\d+) (-?\d+) (-?\d+) (-?\d+) (\S+) (\d+)\s*")


def matches(source: Source) -> bool:
    return any(_LIST.search(name) for name in source.names())


def scan(source: Source, options: Options) -> Listing:
    labels = only([name for name in source.names() if _LIST.search(name)], "label.lst", source)
    photos = {name.rpartition("/")[2]: name for name in source.photos}
    listing = Listing(EMOTIONS, [])
    for row, line in enumerate(text_lines(source, labels), start=1):
        listing.add(f"{labels}:{row}", _record(line, photos))
    return listing


def _record(line: str, photos: dict[str, str]) -> Record | str:
    """The record of a line, or why there is none."""
    found = _LINE.fullmatch(line)
    if not found or int(found[8]) not in EXPW_CODES:
        return f"{line[:60]!r} is not a photo, a face, its box, a confidence and a code of 0 to 6"
    if found[1] not in photos:
        return f"there is no photo {found[1]}"
    top, left, right, bottom = (int(found[at]) for at in (3, 4, 5, 6))
    if right <= left or bottom <= top:
        return f"its box from {left},{top} to {right},{bottom} is empty"
    return Record(
        photos[found[1]], EMOTIONS.index(EXPW_CODES[int(found[8])]), box=(left, top, right - left, bottom - top)
    )
