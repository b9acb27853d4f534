"""Ingest: published data sets, folders, archives, csv files and lists of photos into one store of samples."""

import codecs
import itertools
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import shorten
from types import ModuleType

import numpy as np

from ..errors import DataError, UsageError
from ..labels import ordered, translation
from ..layouts import GENERIC, Listing, Options, Source, Table, get, names, open_source, recognise
from ..layouts.base import first_line
from ..layouts.files import Files, Sheet, is_image, naming, unreadable
from ..layouts.video import is_clip
from ..ops.image import decode, digests_of
from ..spec import flag_of, option
from ..store import Block, Writer, block_rows, is_store
from ..store.schema import CHANNELS
from . import photos
from .runner import Log

AUTO = "auto"
_OF_PIXELS = {"encoded", "height", "width"}


@dataclass(frozen=True)
class IngestSpec(Options):
    """The settings of `fer ingest`."""

    layout: str = option(AUTO, "Layout of the data set; auto recognises it.", choices=(AUTO, *names()))


@dataclass(frozen=True)
class _Part:
    """A source, the layout it has, and what that found in it."""

    source: Source
    layout: ModuleType
    plan: Listing | Table

    @property
    def columns(self) -> set[str]:
        """What the layout tells of each row; "encoded" too, if a table has that."""
        return set(self.plan.columns)

    @property
    def names(self) -> list[str]:
        """The files that hold the rows."""
        plan = self.plan
        return [record.name for record in plan.records] if isinstance(plan, Listing) else list(plan.files)

    @property
    def notes(self) -> list[str]:
        """What the person should hear."""
        return self.plan.notes if isinstance(self.plan, Listing) else []

    @property
    def place(self) -> str:
        """What the names of its photos are relative to, "" if that is nothing of its own."""
        if self.source.flat or not isinstance(self.plan, Listing):
            return ""
        return os.path.dirname(self.source.path) if isinstance(self.source, Sheet) else self.source.path

    @property
    def rows(self) -> int:
        """How many rows there will be, 0 if that is not known."""
        return len(self.plan.records) if isinstance(self.plan, Listing) else self.plan.rows or 0


def resolve(paths: Sequence[str], files_from: str | None = None, null: bool = False) -> list[Source]:
    """The sources of a command line: data sets, photos (joined to one unlabelled source), and a list of photos.

    `files_from` names a file with one path a line, "-" being standard input; with `null`, a zero byte ends each path.
    """
    _refuse_repeated(paths)
    sources: list[Source] = []
    for are_photos, group in itertools.groupby(paths, lambda path: is_image(path) and not os.path.isdir(path)):
        found = list(group)
        sources += [Files(found[0], found)] if are_photos else map(_open, found)
    if files_from:
        sources.append(Files(files_from, _read_list(files_from, null)))
    if not sources:
        raise UsageError("there is nothing to ingest: name a data set, an archive, a csv or photos, or --files-from")
    return sources


def digests(sources: Sequence[Source], spec: IngestSpec) -> list[str]:
    """Hex digests of the bytes that a run over the sources depends on. What was read before is not read again."""
    parts = [_part(source, spec) for source in sources]
    found = [part.source.digest(part.names) for part in parts]
    return found + ([open_source(spec.ferplus).digest()] if spec.ferplus else [])


def run(sources: Sequence[Source], dst: Writer, spec: IngestSpec, log: Log) -> None:
    """Writes the samples of all sources, one after the other, with classes united by name.

    Gray photos of one size become dense images. The first photo that is not so makes the run begin anew, with every
    photo kept as the file it is.
    """
    parts = [_part(source, spec) for source in sources]
    _check(parts, spec)
    once = _Once(log)
    for part in parts:
        if spec.layout == AUTO:
            classes = f"classes {', '.join(part.plan.classes)}" if part.plan.classes else "unlabelled"
            log.note(f"{part.source.path}: layout {part.layout.NAME}, {classes}")
        for note in part.notes:
            log.note(note)
    log.total(sum(part.rows for part in parts))
    try:
        _write(parts, dst, not any("encoded" in part.columns for part in parts), once)
    except photos.NotDense:
        dst.restart()
        once.restart()
        _write(parts, dst, False, once)


class _Once:
    """The log of a run that may begin anew: what was told the first time is not told again."""

    def __init__(self, log: Log) -> None:
        self._log, self._told, self._now = log, Counter(), Counter()

    def failed(self, source: str, reason: str) -> None:
        if self._fresh("failed", 1):
            self._log.failed(source, reason)

    def note(self, text: str) -> None:
        if self._fresh("note", 1):
            self._log.note(text)

    def advance(self, rows: int) -> None:
        self._log.advance(self._fresh("rows", rows))

    def restart(self) -> None:
        self._now.clear()

    def _fresh(self, kind: str, count: int) -> int:
        """How many of `count` more of a kind go beyond what was told before."""
        self._now[kind] += count
        fresh = max(0, self._now[kind] - self._told[kind])
        self._told[kind] += fresh
        return fresh


def _write(parts: Sequence[_Part], dst: Writer, dense: bool, report: _Once) -> None:
    classes = ordered([name for part in parts for name in part.plan.classes])
    shape: tuple[int, ...] = ()
    several = sum(bool(part.place) for part in parts) > 1  # which may all have a happy/1.png
    for part in parts:
        index = np.array([*translation(part.plan.classes, classes), -1], np.int16)  # -1, unlabelled, stays the last
        for block in _blocks(part, dense, report, part.place if several else ""):
            if "label" in block:
                block["label"] = index[block["label"]]
            if not dst.kind:
                shape = block["image"].shape[1:] if dense else ()
                dst.start("samples", classes, CHANNELS[len(shape) == 3] if dense else ())
            if dense and block["image"].shape[1:] != shape:
                raise photos.NotDense
            dst.append(block)
            report.advance(block_rows(block))


def _blocks(part: _Part, dense: bool, report: _Once, place: str) -> Iterator[Block]:
    if isinstance(part.plan, Listing):
        yield from photos.blocks(part.source, part.plan, dense, report, place)
        return
    for block in part.plan.blocks(report):
        if not dense and "image" in block:
            raise DataError(
                f"{part.source.path} holds pixels, and another source photos in colour or of another size: "
                "ingest them into two stores"
            )
        images = block["image"] if dense else map(decode, block["encoded"])
        yield {**block, "digest": digests_of(map(photos.to_gray_if_equal, images))}


def _open(path: str) -> Source:
    if is_clip(path):
        raise UsageError(f"{path} is no data set of photos: crop the faces of a video with fer detect")
    source = open_source(path)
    if isinstance(source, Sheet):
        with naming(path), source.stream(path) as stream:
            if is_store(stream.read(8)):
                raise UsageError(f"{path} is a store already: give it to the stage after fer ingest")
    return source


def _part(source: Source, spec: IngestSpec) -> _Part:
    for name, reason in source.unlisted.items():  # a class that went missing would not show in the store
        raise DataError(f"the folder {source.path.rstrip('/')}/{name} cannot be listed: {reason}")
    layout = recognise(source) if spec.layout == AUTO else get(spec.layout)
    plan = layout.scan(source, spec)
    if isinstance(plan, Listing) and not plan.records and not plan.failures:
        if isinstance(source, Sheet) and layout.NAME == GENERIC and spec.layout == AUTO:
            raise DataError(_unknown(source))
        raise DataError(f"{source.path} holds no photos of the layout {layout.NAME} ({layout.TITLE})")
    return _Part(source, layout, plan)


def _unknown(source: Sheet) -> str:
    """What to say of a file that no layout knows."""
    hint = "fer ingest -h lists these"
    if not source.path.lower().endswith((".csv", ".tsv")):
        return f"{source.path} is no photo, archive or csv of a data set that is known: {hint}"
    (name,) = source.names()
    header = shorten(first_line(source, name).decode("utf-8-sig", "replace"), 80, placeholder=" ...")
    return (
        f"{source.path} is no csv of a data set that is known: {hint}. One of pixels has columns emotion and pixels, "
        f"parted by commas, one of photos path and label; the first line here is {header!r}"
    )


def _check(parts: Sequence[_Part], spec: IngestSpec) -> None:
    """Raises for settings that no layout here understands, and for sources that tell different things of their rows."""
    for field in Options.fields():
        understood = any(field.name in part.layout.OPTIONS for part in parts)
        if getattr(spec, field.name) != field.default and not understood:
            layouts = ", ".join(sorted({part.layout.NAME for part in parts}))
            raise UsageError(f"{flag_of(field.name)} means nothing to the layout {layouts}: leave it out")
    first = parts[0]
    for part in parts[1:]:
        differing = sorted((first.columns ^ part.columns) - _OF_PIXELS)
        if differing:
            raise DataError(
                f"{first.source.path} and {part.source.path} cannot be rows of one store: only one of them has "
                f"{', '.join(differing)}; ingest them into two"
            )


def _refuse_repeated(paths: Sequence[str]) -> None:
    seen = set()
    for path in paths:
        real = os.path.realpath(path)
        if real in seen and not is_image(path):  # a photo is a row, and is reported as one
            raise UsageError(f"{path} is given twice")
        seen.add(real)


def _read_list(path: str, null: bool) -> list[str]:
    """The paths in a file. Bytes that are not UTF-8 become surrogate escapes."""
    if path == "-":
        data = sys.stdin.buffer.read()
    else:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise DataError(f"{path}: {unreadable(error)}") from None
    data = data.removeprefix(codecs.BOM_UTF8)
    lines = data.split(b"\0") if null else (line.removesuffix(b"\r") for line in data.split(b"\n"))
    found = [os.fsdecode(line) for line in lines if line]
    if not found:
        raise DataError(f"{'standard input' if path == '-' else path} lists no photos")
    return found
