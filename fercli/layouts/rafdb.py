"""RAF-DB, basic expressions (Li et al. 2017): the original tree, or the mirror with one numbered folder a class.

basic/EmoLabel/list_patition_label.txt (as it is spelt) holds lines such as "train_00001.jpg 5"; the photos are
basic/Image/aligned/train_00001_aligned.jpg or basic/Image/original/train_00001.jpg. The mirror has
DATASET/train/5/train_00001_aligned.jpg.
"""

import re

from ..labels import EMOTIONS, RAFDB_CODES
from .base import Listing, Options, Record, mostly, named_records, only, text_lines
from .source import Source

NAME = "rafdb"
TITLE = "RAF-DB basic: EmoLabel/list_patition_label.txt with Image/aligned or Image/original"
OPTIONS = ()

_LIST = re.compile(r"(?:^|/)EmoLabel/list_par?tition_label\.txt$")
_LINE = re.compile(r"((train|test)_\d+)\.jpg (\d+)\s*")
_MIRROR = re.compile(r"(?:^|/)(train|test)/([1-7])/\1_\d+_aligned\.jpg$")


def matches(source: Source) -> bool:
    return bool(_lists(source)) or mostly(source.photos, _MIRROR)


def scan(source: Source, options: Options) -> Listing:
    if not _lists(source) and mostly(source.photos, _MIRROR):
        return named_records(source.photos, _MIRROR, "train/5/train_00001_aligned.jpg", _mirrored, EMOTIONS)
    name = only(_lists(source), "basic/EmoLabel/list_patition_label.txt", source)
    return _listed(source, name, root=name[: name.rindex("EmoLabel/")])


def _lists(source: Source) -> list[str]:
    """The label files, but for those of the compound expressions, which have other codes."""
    return [name for name in source.names() if _LIST.search(name) and "compound/" not in name]


def _mirrored(name: str, found: re.Match[str]) -> Record:
    return Record(name, EMOTIONS.index(RAFDB_CODES[int(found[2])]), found[1])


def _listed(source: Source, labels: str, root: str) -> Listing:
    listing, present = Listing(EMOTIONS, []), set(source.names())
    for row, line in enumerate(text_lines(source, labels), start=1):
        found = _LINE.fullmatch(line)
        if not found or int(found[3]) not in RAFDB_CODES:
            listing.failures.append((f"{labels}:{row}", f"{line[:60]!r} is not a photo and a code of 1 to 7"))
            continue
        photos = (f"{root}Image/aligned/{found[1]}_aligned.jpg", f"{root}Image/original/{found[1]}.jpg")
        photo = next((name for name in photos if name in present), "")
        if photo:
            listing.records.append(Record(photo, EMOTIONS.index(RAFDB_CODES[int(found[3])]), found[2]))
        else:
            listing.failures.append((f"{labels}:{row}", f"there is neither {photos[0]} nor {photos[1]}"))
    return listing
