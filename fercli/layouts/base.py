"""What a layout hands to `ingest`: a listing of photo files, or a table that carries its own pixels."""

import codecs
import functools
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol

from ..errors import DataError
from ..spec import Spec, option
from ..store import Block
from ..store.schema import ATTRIBUTE_PREFIX
from .files import naming
from .source import Source

#: Folder and file-name words for the three splits; the last two are FER2013's own.
SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test", "publictest": "val", "privatetest": "test",
}  # fmt: skip

_HEAD = 4096  # bytes


class Record(NamedTuple):
    """One photo, or one face of a photo. `label` indexes the listing's classes; what a layout lacks stays empty."""

    name: str
    label: int = -1
    split: str = ""
    subject: str = ""
    sequence: str = ""
    box: tuple[float, float, float, float] | None = None  # x, y, width, height in px
    attributes: Mapping[str, int] = MappingProxyType({})


@dataclass
class Listing:
    """Photo files with their labels. `failures` are (name, reason) of entries that are wrong before any is read."""

    classes: tuple[str, ...]
    records: list[Record]
    notes: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)

    def add(self, place: str, told: Record | str) -> None:
        """Takes a record, or why there is none at a `place` of the data."""
        if isinstance(told, Record):
            self.records.append(told)
        else:
            self.failures.append((place, told))

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that a full listing gives a store, beside the pixels, `source` and `digest`."""
        some = {name: any(getattr(r, name) for r in self.records) for name in ("split", "subject", "sequence", "box")}
        attributes = sorted({ATTRIBUTE_PREFIX + name for record in self.records for name in record.attributes})
        return (*(("label",) if self.classes else ()), *(name for name in some if some[name]), *attributes)


class Report(Protocol):
    """Who hears about bad rows and counts: the stage's log."""

    def failed(self, source: str, reason: str) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class Table:
    """Rows that carry their pixels. `blocks(report)` yields them in order.

    `columns` names what each block holds beside `image` and `source`; `rows` is the number of rows, where it is known;
    `files` names the files that hold the rows.
    Bad rows go to `report.failed` and are left out of the blocks.
    """

    classes: tuple[str, ...]
    rows: int | None
    columns: tuple[str, ...]
    blocks: Callable[[Report], Iterator[Block]]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options(Spec):
    """What the person may say about a layout. A layout names those it understands in its OPTIONS."""

    frames: int = option(3, "Last frames taken of each labelled CK+ sequence; 3 give the usual 981 images.", low=1)
    neutral_first: bool = option(False, "Take the first frame of each labelled CK+ sequence as neutral.")
    ferplus: str | None = option(None, "FER+ votes (fer2013new.csv) to join to a FER2013 csv by row.", metavar="FILE")
    attribute: tuple[str, ...] = option(
        (), "Also store this of UTKFace: age, gender or race; or gender of RAF-DB.", metavar="NAME"
    )


def mostly(names: Sequence[str], pattern: re.Pattern[str]) -> bool:
    """Whether more than half of the names, and at least one, have the form of a data set; told by some of many."""
    some = names[:: len(names) // 1000 + 1]
    return 2 * sum(1 for name in some if pattern.search(name)) > len(some)


def named_records(
    names: Iterable[str],
    pattern: re.Pattern[str],
    form: str,
    make: Callable[[str, re.Match[str]], Record],
    classes: tuple[str, ...] = (),
) -> Listing:
    """A listing by file name: `make(name, match)` for the names of that form; the others are failures that say so."""
    listing = Listing(classes, [])
    for name in names:
        match = pattern.search(name)
        listing.add(name, make(name, match) if match else f"its name is not of the form {form}")
    return listing


def only(names: Sequence[str], what: str, source: Source) -> str:
    """The one file of a kind that a data set must have; DataError if there is none or more than one."""
    if len(names) == 1:
        return names[0]
    if not names:
        raise DataError(f"{source.path} holds no {what}")
    raise DataError(f"{source.path} holds more than one {what}: {', '.join(names[:3])}; name the one you mean")


def first_line(source: Source, name: str) -> bytes:
    """The first line of a file, or the beginning of one that is long: the header, if it is a table."""
    with naming(name), source.stream(name) as stream:
        return stream.read(_HEAD).partition(b"\n")[0]


def text_lines(source: Source, name: str) -> Iterator[str]:
    """The lines of a label file, without their ends and without blank ones."""
    with naming(name), source.stream(name) as stream:
        for number, line in enumerate(itertools.chain.from_iterable(stream.lines())):
            yield os.fsdecode(line if number else line.removeprefix(codecs.BOM_UTF8))
