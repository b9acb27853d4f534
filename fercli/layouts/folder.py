"""A folder of photos: one sub-folder a class, or flat and unlabelled; train/, val/ and test/ may stand above."""

from collections import Counter
from pathlib import PurePosixPath

from ..errors import DataError
from ..labels import EMOTIONS_CONTEMPT, canonical, ordered
from .base import SPLIT_WORDS, Listing, Options, Record
from .files import is_image
from .source import Source

NAME = "folder"
TITLE = "photos in class sub-folders, or flat and unlabelled; train/, val/, test/ above them if present"
OPTIONS = ()


def matches(source: Source) -> bool:
    return bool(source.photos)


def scan(source: Source, options: Options) -> Listing:
    names = source.photos
    return _flat(names) if source.flat else _tree(names, _left_out(source))


def _flat(names: list[str]) -> Listing:
    twice = [name for name, count in Counter(names).items() if count > 1]
    return Listing((), [Record(name) for name in dict.fromkeys(names)], [], [(n, "it is named twice") for n in twice])


def _tree(names: list[str], notes: list[str]) -> Listing:
    """Photos by their folders: [ROOT/...][SPLIT/][CLASS/.../]PHOTO."""
    folders = _without_root([name.split("/")[:-1] for name in names])
    splits = sorted({path[0] for path in folders if path and path[0].lower() in SPLIT_WORDS})
    found, failures = [], []
    for name, path in zip(names, folders, strict=True):
        if splits and (not path or path[0] not in splits):
            failures.append((name, f"it lies outside {', '.join(splits)}, which hold the splits"))
            continue
        split = SPLIT_WORDS[path[0].lower()] if splits else ""
        below = path[1:] if splits else path
        found.append((name, split, _class_name(below[0]) if below else ""))
    classes = ordered([emotion for _, _, emotion in found if emotion])
    index = {"": -1, **{emotion: at for at, emotion in enumerate(classes)}}
    return Listing(classes, [Record(name, index[emotion], split) for name, split, emotion in found], notes, failures)


def _without_root(folders: list[list[str]]) -> list[list[str]]:
    """Paths without the folders that hold everything, such as the one that an archive was made of."""
    while folders and min(map(len, folders)) > 1:
        roots = {path[0] for path in folders}
        root = roots.pop()
        if roots or root.lower() in SPLIT_WORDS or canonical(root) in EMOTIONS_CONTEMPT:
            break
        folders = [path[1:] for path in folders]
    return folders


def _class_name(folder: str) -> str:
    if not folder.isprintable():  # surrogate escapes are not printable
        raise DataError(f"the folder {folder!r} cannot name a class: rename it to printable UTF-8")
    return canonical(folder)


def _left_out(source: Source) -> list[str]:
    others = [PurePosixPath(name).suffix.lower() or "no suffix" for name in source.names() if not is_image(name)]
    if not others:
        return []
    return [f"files left out, being no photos: {len(others):,} ({', '.join(sorted(set(others)))})"]
