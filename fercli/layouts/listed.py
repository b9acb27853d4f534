"""Photos that a csv or tsv lists, as people keep labels of their own: a column of paths and one of labels, parted by
commas, semicolons or tabs. Paths are seen from the folder of the csv.

A column of splits or the name of the csv, such as train.csv, tells the split; a column of persons the subject. A label
that is empty leaves its photo unlabelled.
"""

import csv
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ..errors import DataError
from ..labels import canonical, ordered
from .base import SPLIT_WORDS, Listing, Options, Record, first_line, text_lines
from .files import Sheet
from .source import Source

NAME = "list"
TITLE = "a csv or tsv with a column path (or file, image, ...) and one label (or emotion, ...); split and subject too"
OPTIONS = ()

#: What the columns may be called, by what they hold.
_NAMES = {
    "path": ("path", "filepath", "file_path", "file", "filename", "file_name", "image", "image_path", "img", "photo"),
    "label": ("label", "emotion", "expression", "class"),
    "split": ("split", "usage", "subset"),
    "subject": ("subject", "person", "identity"),
}


class _Form(NamedTuple):
    """How a table is to be read: what parts its fields, and the place of each column by what it holds."""

    delimiter: str
    places: Mapping[str, int]


def matches(source: Source) -> bool:
    return bool(_lists(source))


def scan(source: Source, options: Options) -> Listing:
    lists = _lists(source) or _tables(source)  # if no row names a file, each is a failure that tells its path
    if not lists:
        columns = " and ".join(f"one called {' or '.join(_NAMES[kind][:4])}" for kind in ("path", "label"))
        raise DataError(f"{source.path} holds no csv or tsv with the columns of a list of photos: {columns}")
    known = None if isinstance(source, Sheet) else frozenset(source.names())
    rows = [
        (f"{name}:{row}", _told(line, name, form, known))
        for name, form in lists.items()
        for row, line in _rows(source, name, form)
    ]
    listing = Listing((), [], failures=[(place, told) for place, told in rows if isinstance(told, str)])
    found = list(_sound([(place, *told) for place, told in rows if not isinstance(told, str)], listing.failures))
    listing.classes = ordered([label for _, label in found if label])
    index = {"": -1, **{label: at for at, label in enumerate(listing.classes)}}
    listing.records = [record._replace(label=index[label]) for record, label in found]
    left = len(set(source.photos).difference(record.name for record in listing.records)) if known else 0
    if left:
        listing.notes.append(f"photos that no row names, left out: {left:,}")
    return listing


def _sound(found: Sequence[tuple[str, Record, str]], failures: list[tuple[str, str]]) -> Iterator[tuple[Record, str]]:
    """Records and their labels, without rows that name a photo again, or lack a split where others have one."""
    split, first = any(record.split for _, record, _ in found), {}
    for place, record, label in found:
        if record.name in first:
            failures.append((place, f"its photo is that of {first[record.name]} already"))
        elif split and not record.split:
            failures.append((place, "neither a column nor the name of the file tells its split"))
        else:
            first[record.name] = place
            yield record, label


def _lists(source: Source) -> dict[str, _Form]:
    """The tables that list photos. Among many files a table is one if it names any of them."""
    tables, names = _tables(source), frozenset(source.names())
    if isinstance(source, Sheet):
        return tables
    return {name: form for name, form in tables.items() if _names_any(source, name, form, names)}


def _names_any(source: Source, name: str, form: _Form, files: frozenset[str]) -> bool:
    try:
        return any(_path(line, name, form) in files for _, line in _rows(source, name, form))
    except DataError:  # whatever it is, it lies among photos that may do without it
        return False


def _tables(source: Source) -> dict[str, _Form]:
    """The tables with the columns of a list of photos."""
    named = sorted({name for name in source.names() if name.lower().endswith((".csv", ".tsv"))})
    return {name: form for name in named if (form := _form(source, name))}


def _form(source: Source, name: str) -> _Form | None:
    header = first_line(source, name).decode("utf-8-sig", "replace").rstrip("\r")
    for delimiter in ",;\t":
        columns = [column.strip(' "').lower() for column in header.split(delimiter)]
        places = {  # of the first of the names that is there
            kind: columns.index(one) for kind, names in _NAMES.items() for one in reversed(names) if one in columns
        }
        if {"path", "label"} <= set(places):
            return _Form(delimiter, places)
    return None


def _rows(source: Source, name: str, form: _Form) -> Iterator[tuple[int, list[str]]]:
    """The numbers of the rows, from 1, and their fields."""
    rows = csv.reader(text_lines(source, name), delimiter=form.delimiter, strict=True)  # tells of an open quote
    try:
        next(rows)
        yield from enumerate(rows, start=1)
    except csv.Error as error:
        raise DataError(f"{name}: it is no table of rows: {error}") from None


def _told(line: Sequence[str], name: str, form: _Form, known: frozenset[str] | None) -> tuple[Record, str] | str:
    """The record of a row, without its label, and the name of that; or why there is none. `known` are the files there
    are, where that is known.
    """
    fields = {kind: line[place].strip() if place < len(line) else "" for kind, place in form.places.items()}
    path, label = _path(line, name, form), canonical(fields["label"])
    if not path:
        return "it names no photo"
    if known is not None and path not in known:
        return f"there is no photo {path}"
    if not label.isprintable():
        return f"its label {label!r} is not printable UTF-8"
    split = fields.get("split", posixpath.basename(name).partition(".")[0]).lower()
    if "split" in fields and split not in SPLIT_WORDS:
        return f"its split is {fields['split']!r}, not one of train, val and test"
    return Record(path, split=SPLIT_WORDS.get(split, ""), subject=fields.get("subject", "")), label


def _path(line: Sequence[str], name: str, form: _Form) -> str:
    """The path of a row's photo, seen from where the table's own path is seen from; empty where it has none."""
    place = form.places["path"]
    path = line[place].strip().replace("\\", "/") if place < len(line) else ""  # as Windows writes them
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else ""
