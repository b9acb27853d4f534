"""A folder of photos: one sub-folder a class, or flat and unlabelled; train/, val/ and test/ above or in each class."""

import re
from collections import Counter
from pathlib import PurePosixPath

from ..errors import DataError
from ..labels import EMOTIONS_CONTEMPT, canonical, ordered
from .base import SPLIT_WORDS, Listing, Options, Record
from .files import UNREAD_SUFFIXES, is_image
from .source import Source

NAME = "folder"
TITLE = "photos in class sub-folders, or flat and unlabelled; train/, val/, test/ above them, or in each of them"
OPTIONS = ()

_SPLIT = re.compile(r"(train|valid|val|test|dev)(ing|ation)?([-_ .]|set|data|\d|$)", re.IGNORECASE)


def matches(source: Source) -> bool:
    return bool(source.photos)


def scan(source: Source, options: Options) -> Listing:
    return _flat(source.names()) if source.flat else _tree(source.photos, _left_out(source))


def _flat(names: list[str]) -> Listing:
    twice = [name for name, count in Counter(names).items() if count > 1]
    return Listing((), [Record(name) for name in dict.fromkeys(names)], [], [(n, "it is named twice") for n in twice])


def _tree(names: list[str], notes: list[str]) -> Listing:
    """Photos by their folders: [ROOT/...][SPLIT/][CLASS/.../]PHOTO, or [ROOT/...]CLASS/SPLIT/[.../]PHOTO."""
    paths = _without_root({folder: folder.split("/") if folder else [] for folder in map(_folder, names)})
    if paths and all(_is_split_of_a_class(path) for path in paths.values()):
        paths = {folder: [split, emotion, *below] for folder, (emotion, split, *below) in paths.items()}
    splits = sorted({path[0] for path in paths.values() if path and path[0].lower() in SPLIT_WORDS})
    outside = {folder for folder, path in paths.items() if splits and (not path or path[0] not in splits)}
    told = {folder: _split_and_class(path, bool(splits)) for folder, path in paths.items() if folder not in outside}
    classes = ordered([emotion for _, emotion in told.values() if emotion])
    index = {"": -1, **{emotion: at for at, emotion in enumerate(classes)}}
    listing = Listing(classes, [], [*notes, *_doubts(told, paths)])
    for name in names:
        if _folder(name) in outside:
            listing.failures.append((name, f"it lies outside the folders of the splits, {', '.join(splits)}"))
        else:
            split, emotion = told[_folder(name)]
            listing.records.append(Record(name, index[emotion], split))
    return listing


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _without_root(paths: dict[str, list[str]]) -> dict[str, list[str]]:
    """Paths without the folders that hold everything, such as the one that an archive was made of."""
    while paths and min(map(len, paths.values())) > 1:
        roots = {path[0] for path in paths.values()}
        root = roots.pop()
        if roots or root.lower() in SPLIT_WORDS or canonical(root) in EMOTIONS_CONTEMPT:
            break
        paths = {folder: path[1:] for folder, path in paths.items()}
    return paths


def _is_split_of_a_class(path: list[str]) -> bool:
    return len(path) > 1 and path[0].lower() not in SPLIT_WORDS and path[1].lower() in SPLIT_WORDS


def _doubts(told: dict[str, tuple[str, str]], paths: dict[str, list[str]]) -> list[str]:
    """What to say of folders whose names look like those of splits, but that stand where classes or photos do."""
    classes = sorted({emotion for _, emotion in told.values() if _SPLIT.match(emotion)})
    notes = (
        [f"{', '.join(classes)}: taken for classes; splits are folders called train, val and test"] if classes else []
    )
    within = sorted({"/".join(paths[folder][:2]) for folder in told if _is_split_of_a_class(paths[folder])})
    if within:
        notes.append(f"{', '.join(within)}: not taken for splits, as not all classes have such folders alone")
    return notes


def _split_and_class(path: list[str], has_splits: bool) -> tuple[str, str]:
    split = SPLIT_WORDS[path[0].lower()] if has_splits else ""
    below = path[1:] if has_splits else path
    return split, _class_name(below[0]) if below else ""


def _class_name(folder: str) -> str:
    if not folder.isprintable():  # surrogate escapes are not printable
        raise DataError(f"the folder {folder!r} cannot name a class: rename it to printable UTF-8")
    return canonical(folder)


def _left_out(source: Source) -> list[str]:
    others = [PurePosixPath(name).suffix.lower() or "no suffix" for name in source.names() if not is_image(name)]
    unread = [suffix for suffix in others if suffix in UNREAD_SUFFIXES]
    rest = [suffix for suffix in others if suffix not in UNREAD_SUFFIXES]
    told = (("being no photos", rest), ("being photos in a format that is not read", unread))
    return [f"files left out, {why}: {len(found):,} ({', '.join(sorted(set(found)))})" for why, found in told if found]
