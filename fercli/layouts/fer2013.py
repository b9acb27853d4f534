"""FER2013 as csv (Goodfellow et al. 2013): fer2013.csv, or icml_face_data.csv with other column order and spaces; or
the contest's train.csv, which has no Usage and so tells no split.
"""

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from textwrap import shorten

from ..errors import DataError
from ..labels import EMOTIONS, EMOTIONS_CONTEMPT, FER2013_CODES
from ..ops.parallel import ordered_map
from ..store import SPLIT_CODES, Block, objects
from .base import Options, Report, Table, first_line, only
from .ferplus import USAGES, read_votes
from .files import naming
from .pixels import Format, Rows, numbered, with_size
from .source import Source

NAME = "fer2013"
TITLE = "FER2013 csv: fer2013.csv, icml_face_data.csv or train.csv; FER+ votes with --ferplus"
OPTIONS = ("ferplus",)

_NEEDED = ("emotion", "pixels")
_COLUMNS = (*_NEEDED, "Usage")
_LABELS = {str(code).encode(): EMOTIONS.index(name) for code, name in FER2013_CODES.items()}
_LABELS |= {name.encode(): EMOTIONS.index(name) for name in EMOTIONS}
_USAGES = {usage.encode(): SPLIT_CODES[split] for usage, split in USAGES.items()}


def matches(source: Source) -> bool:
    return bool(_csvs(source))


def scan(source: Source, options: Options) -> Table:
    name = _csv(source)
    classes, votes = (EMOTIONS_CONTEMPT, ("votes",)) if options.ferplus else (EMOTIONS, ())
    with naming(name):
        split = () if _format(first_line(source, name)).usage is None else ("split",)
    if options.ferplus and not split:
        raise DataError(f"{name} has no column Usage, by which --ferplus checks that its rows are those of the votes")
    columns = ("label", *split, *votes)
    return Table(classes, None, columns, partial(_blocks, source, name, columns, options.ferplus), (name,))


def _blocks(source: Source, name: str, columns: Sequence[str], ferplus: str | None, report: Report) -> Iterator[Block]:
    votes, count = read_votes(ferplus) if ferplus else None, 0
    for rows in _rows(source, name):
        for row, reason in rows.faults:
            report.failed(f"{name}:{row}", reason)
        count += len(rows.row) + len(rows.faults)
        if not len(rows.row):
            continue
        where = objects(f"{name}:{row}" for row in rows.row)
        block = {"image": rows.image, "label": rows.label, "source": where}
        if "split" in columns:
            block["split"] = rows.split
        yield votes.joined(block, rows.row) if votes else block
    if not count:
        raise DataError(f"{name} has a header but no rows")
    if votes:
        votes.finish(count, report)


def _rows(source: Source, name: str) -> Iterator[Rows]:
    """The rows, some megabytes at a time. Chunks are parsed ahead in threads once one row has told the images' size."""
    with naming(name), source.stream(name) as stream:
        batches = filter(None, stream.lines())
        header, *lines = next(batches, [b""])
        form = _format(header)
        pending = numbered(itertools.chain([lines], batches))
        for chunk in pending:
            form = with_size(form, chunk)
            yield form.parse(chunk)
            if form.size:
                break
        yield from ordered_map(form.parse, pending)


def _csv(source: Source) -> str:
    """The csv to read. The contest's zip holds parts of it once more, in files that lack a column."""
    found = _csvs(source)
    whole = [name for name in found if not _missing(first_line(source, name))]
    columns = _COLUMNS if whole or not found else _NEEDED
    return only(whole or found, f"csv with the columns {', '.join(columns)}", source)


def _csvs(source: Source) -> list[str]:
    """The csv files that have at least two of the columns."""
    names = [name for name in source.names() if name.lower().endswith(".csv")]
    return [name for name in names if len(_missing(first_line(source, name))) < 2]


def _columns(header: bytes) -> list[str]:
    return [name.strip(' "\r').lower() for name in header.decode("utf-8-sig", "replace").split(",")]


def _missing(header: bytes) -> list[str]:
    return [name for name in _COLUMNS if name.lower() not in _columns(header)]


def _format(header: bytes) -> Format:
    if b"\r" in header.rstrip(b"\r"):
        raise DataError("its lines end in a carriage return alone: convert them with tr '\\r' '\\n'")
    columns = _columns(header)
    for missing in _missing(header):
        if missing in _NEEDED:
            raise DataError(f"it has no column {missing}; its columns are {shorten(', '.join(columns), 200)}")
    emotion, pixels = (columns.index(column) for column in _NEEDED)
    usage = columns.index("usage") if "usage" in columns else None
    return Format(len(columns), emotion, usage, pixels, _LABELS, _USAGES)
