"""A file of rows that several runs write: what it holds is read, and what follows is appended."""

import codecs
import csv
import fcntl
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from io import FileIO
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..errors import DataError, UsageError
from ..store import check_writable, disk_errors, replacing, write_all
from .rows import (
    DELIMITERS,
    KEYS,
    NO_HEADS,
    OF_CLIPS,
    SHARE,
    Heads,
    Row,
    beginning,
    from_flat,
    further_columns,
    further_keys,
    is_sound,
)

FLAG = "--resume"
_CHUNK = 1 << 20


class Past(NamedTuple):
    """A photo that was labelled before, with its rows, and where these begin and end in the file, bytes.

    Of a video, which may have very many, they are the first and the last one.
    """

    source: str
    rows: list[Row]
    start: int
    end: int


class _Record(NamedTuple):
    row: Row
    start: int
    end: int


class Appended:
    """A file that is gone on with; as a context, locked against other runs.

    Whatever ends the run, the file ends with the last rows that were appended whole.
    """

    def __init__(
        self, path: str, form: str, classes: Sequence[str], heads: Heads = NO_HEADS, clips: bool = False
    ) -> None:
        """Raises UsageError, DataError: `path` is no file that can be written, or another run writes to it."""
        if path == "-":
            raise UsageError(f"{FLAG} goes on with a file, and standard output is none: name one")
        check_writable(Path(path), FLAG)
        self._path, self._form, self._classes, self._clips = path, form, tuple(classes), clips
        further = further_columns(heads) if form in DELIMITERS else further_keys(heads)
        self._further = [*(OF_CLIPS if clips else ()), *further]
        self._end, self._appended = 0, False

    def __enter__(self) -> "Appended":
        self._file = self._locked()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._appended:
            self._file.truncate(self._end)
        self._file.close()

    @property
    def begun(self) -> bool:
        """Whether there is anything before what is appended, be it a header alone."""
        return self._end > 0

    def past(self) -> Iterator[Past]:
        """The photos in the file. What a killed run left of a last row is not among them, and is overwritten.

        Raises DataError: the file holds something else, or rows under other classes.
        """
        with open(self._path, "rb") as file:
            records = self._json_lines(file) if self._form == "jsonl" else self._table(file)
            for source, group in groupby(records, key=lambda record: record.row["source"]):
                found = self._kept(group)
                self._end = found[-1].end
                yield Past(source, [record.row for record in found], found[0].start, found[-1].end)

    def cut(self, end: int) -> None:
        """Appends after so many bytes: rows after them are written anew."""
        self._end = end

    def drop(self, photos: Sequence[Past]) -> None:
        """Leaves out the rows of some photos, in the order of the file, which is replaced whole: a run that is killed
        leaves it with them or without.
        """
        if not photos:
            return
        starts, ends = [0, *(one.end for one in photos)], [*(one.start for one in photos), self._end]
        with open(self._path, "rb") as file, replacing(Path(self._path), FLAG) as part, open(part, "wb") as kept:
            for start, end in zip(starts, ends, strict=True):
                file.seek(start)
                for place in range(start, end, _CHUNK):
                    kept.write(file.read(min(_CHUNK, end - place)))
            self._end = kept.tell()
        old, self._file = self._file, self._locked()
        old.close()

    def append(self, data: bytes) -> None:
        """Appends whole lines. Raises DataError where they cannot be written."""
        with disk_errors(self._path, FLAG):
            if not self._appended:
                self._file.truncate(self._end)
                self._file.seek(self._end)
                self._appended = True
            write_all(self._file, data)
        self._end += len(data)

    def _kept(self, records: Iterator[_Record]) -> list[_Record]:
        return [next(records), *deque(records, maxlen=1 if self._clips else None)]

    def _locked(self) -> FileIO:
        """The file, locked against other runs."""
        while True:
            file = FileIO(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise DataError(f"another run writes to {self._path}: wait for it, or name another {FLAG}") from None
            except OSError:  # a file system without locks
                pass
            if os.path.samestat(os.fstat(file.fileno()), os.stat(self._path)):
                return file
            file.close()  # another run has replaced it since it was opened

    def _json_lines(self, file: BinaryIO) -> Iterator[_Record]:
        start = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                if number == 1:
                    self._check_cut_off()
                return
            try:
                row = json.loads(line)
                chances = None if row["probabilities"] is None else tuple(row["probabilities"])
                os.fspath(row["source"]), row["status"], row["box"], row["label"], row["confidence"], row["error"]
            except (ValueError, KeyError, TypeError, RecursionError):
                raise self._foreign(number) from None
            if chances is not None:
                self._check_classes(chances)
            self._check_further(name for name in row if name not in KEYS)
            self._check_values(number, row)
            yield _Record(row, start, start + len(line))
            start += len(line)

    def _table(self, file: BinaryIO) -> Iterator[_Record]:
        lines = _Lines(file)
        reader, size = csv.reader(lines, delimiter=DELIMITERS[self._form]), os.fstat(file.fileno()).st_size
        try:
            header = next(reader, None)
            if header is None or not lines.whole:
                self._check_cut_off()
                return
            self._check_header(header)
            start = self._end = lines.end
            for record in reader:
                if not lines.whole or (len(record) < len(header) and lines.end == size):
                    return  # cut off, perhaps after a line end within a name
                row = from_flat(dict(zip(header, record, strict=True)), self._classes)
                self._check_values(lines.number, row)
                yield _Record(row, start, lines.end)
                start = lines.end
        except (ValueError, KeyError, csv.Error):
            raise self._foreign(lines.number) from None

    def _check_header(self, header: Sequence[str]) -> None:
        if "source" not in header or "status" not in header:
            raise self._foreign(1)
        self._check_classes(name.removeprefix(SHARE) for name in header if name.startswith(SHARE))
        self._check_further(name for name in header if name not in KEYS and not name.startswith(SHARE))

    def _check_classes(self, names: Iterable[str]) -> None:
        found = tuple(names)
        if found != self._classes:
            raise DataError(
                f"{self._path} holds rows of the classes {', '.join(found)}, and the model has "
                f"{', '.join(self._classes)}: name another file with {FLAG}, or that model with -m"
            )

    def _check_further(self, names: Iterable[str]) -> None:
        found = list(names)
        if set(OF_CLIPS) <= set(found) ^ set(self._further):
            told, ours = ("photos", "videos") if self._clips else ("videos", "photos")
            raise DataError(
                f"{self._path} holds rows of {told}, and this run labels {ours}: name another file with {FLAG}"
            )
        if found != self._further:
            told, ours = (" ".join(one) or "none" for one in (found, self._further))
            raise DataError(
                f"{self._path} holds rows with the further columns {told}, and this run writes {ours}: "
                f"name another file with {FLAG}, or the --heads that it was begun with"
            )

    def _check_cut_off(self) -> None:
        """Raises DataError where a file of one unfinished line, which is overwritten, begins otherwise than rows."""
        ours = beginning(self._form)
        if not ours.startswith(os.pread(self._file.fileno(), len(ours), 0)):
            raise self._foreign(1)

    def _check_values(self, number: int, row: Row) -> None:
        """Raises DataError for values that no run wrote, and of which nothing could be made beside the rows."""
        if not is_sound(row, self._classes):
            raise self._foreign(number)

    def _foreign(self, number: int) -> DataError:
        return DataError(
            f"{self._path} line {number} is no row of {self._form} that fer predict wrote: "
            f"name another file with {FLAG}, or its form with --format"
        )


class _Lines:
    """The lines of a file as text; knows where the last one ended, and whether it was a whole one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.end, self.number, self.whole = file, 0, 0, True

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.end, self.number, self.whole = self.end + len(line), self.number + 1, line.endswith(b"\n")
            if self.number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)  # which spreadsheets put there
            yield line.decode("utf-8", "surrogateescape")
