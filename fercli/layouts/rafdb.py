"""RAF-DB, basic expressions (Li et al. 2017): the original tree, or the mirror with one numbered folder a class.

basic/EmoLabel/list_patition_label.txt (as it is spelt) holds lines such as "train_00001.jpg 5"; the photos are
basic/Image/aligned/train_00001_aligned.jpg or basic/Image/original/train_00001.jpg. The mirror has
DATASET/train/5/train_00001_aligned.jpg.

basic/Annotation/manual/train_00001_manu_attri.txt, which the mirror lacks, has five lines of landmarks and then a line
each for gender (0 male, 1 female, 2 unsure, which is -1 here), race and age. The last two are groups other than
UTKFace's, so of these gender alone is read.
"""

import re
from collections.abc import Mapping

from ..errors import DataError, UsageError
from ..labels import EMOTIONS, RAFDB_CODES
from ..spec import nearest
from .base import Listing, Options, Record, mostly, named_records, only, text_lines
from .source import Source

NAME = "rafdb"
TITLE = "RAF-DB basic: EmoLabel/list_patition_label.txt with Image/aligned or Image/original"
OPTIONS = ("attribute",)

_LIST = re.compile(r"(?:^|/)EmoLabel/list_par?tition_label\.txt$")
_LINE = re.compile(r"((train|test)_\d+)\.jpg (\d+)\s*")
_MIRROR = re.compile(r"(?:^|/)(train|test)/([1-7])/\1_\d+_aligned\.jpg$")
_ANNOTATION = re.compile(r"(?:^|/)Annotation/manual/((?:train|test)_\d+)_manu_attri\.txt$")
_GENDER_LINE = 6
_GENDERS = {"0": 0, "1": 1, "2": -1}


def matches(source: Source) -> bool:
    return bool(_lists(source)) or mostly(source.photos, _MIRROR)


def scan(source: Source, options: Options) -> Listing:
    for name in options.attribute:
        if name != "gender":
            raise UsageError(f"RAF-DB has no attribute {name!r}; {nearest(name, ['gender'])}")
    if options.attribute and not _annotations(source):
        raise DataError(
            f"{source.path} holds no Annotation/manual/*_manu_attri.txt, which tell gender: "
            f"put that folder beside Image, or leave --attribute out"
        )
    if not _lists(source) and mostly(source.photos, _MIRROR):
        return named_records(source.photos, _MIRROR, "train/5/train_00001_aligned.jpg", _mirrored, EMOTIONS)
    name = only(_lists(source), "basic/EmoLabel/list_patition_label.txt", source)
    return _listed(source, name, name[: name.rindex("EmoLabel/")], bool(options.attribute))


def _lists(source: Source) -> list[str]:
    """The label files, but for those of the compound expressions, which have other codes."""
    return [name for name in source.names() if _LIST.search(name) and "compound/" not in name]


def _mirrored(name: str, found: re.Match[str]) -> Record:
    return Record(name, EMOTIONS.index(RAFDB_CODES[int(found[2])]), found[1])


def _listed(source: Source, labels: str, root: str, gender: bool) -> Listing:
    listing, present = Listing(EMOTIONS, []), set(source.names())
    genders = _genders(source, listing) if gender else {}
    for row, line in enumerate(text_lines(source, labels), start=1):
        found = _LINE.fullmatch(line)
        if not found or int(found[3]) not in RAFDB_CODES:
            listing.failures.append((f"{labels}:{row}", f"{line[:60]!r} is not a photo and a code of 1 to 7"))
            continue
        photos = (f"{root}Image/aligned/{found[1]}_aligned.jpg", f"{root}Image/original/{found[1]}.jpg")
        photo = next((name for name in photos if name in present), "")
        if photo:
            told = {"gender": genders.get(found[1], -1)} if gender else {}
            label = EMOTIONS.index(RAFDB_CODES[int(found[3])])
            listing.records.append(Record(photo, label, found[2], attributes=told))
        else:
            listing.failures.append((f"{labels}:{row}", f"there is neither {photos[0]} nor {photos[1]}"))
    return listing


def _annotations(source: Source) -> dict[str, str]:
    """Photo, such as train_00001, by the name of its annotation file, but for those of the compound expressions."""
    found = {name: _ANNOTATION.search(name) for name in source.names() if "compound/" not in name}
    return {name: match[1] for name, match in found.items() if match}


def _genders(source: Source, listing: Listing) -> Mapping[str, int]:
    """0 male, 1 female or -1 by photo. Files that tell something else are noted."""
    genders, odd = {}, []
    for name, photo in _annotations(source).items():  # in the order of the archive, through which one cannot jump
        lines = list(text_lines(source, name))
        told = lines[_GENDER_LINE - 1].strip() if len(lines) >= _GENDER_LINE else ""
        if told not in _GENDERS:
            odd.append(f"{name}:{_GENDER_LINE}")
        genders[photo] = _GENDERS.get(told, -1)
    if odd:
        listing.notes.append(f"annotations without a gender of 0 to 2, taken as unknown: {len(odd)} ({odd[0]} first)")
    return genders
