"""Reading stores: audited, checked for completeness, in blocks; several are read as one table."""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from .. import labels
from ..errors import DataError, UsageError
from . import schema
from .audit import audit, check_mark, text
from .block import Block, objects, take
from .write import MEMORY_SPOOL, check_values

BLOCK_BYTES = 8 * 1024 * 1024
_MAX_BLOCK_ROWS = 8192
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class _Part:
    """One open store file."""

    def __init__(self, file: h5py.File, name: str, stream: BinaryIO) -> None:
        self.file, self.name, self._stream = file, name, stream
        self.kind = text(file.attrs["kind"])
        self.classes = tuple(text(item) for item in file.attrs.get("classes", ()))
        self.channels = tuple(text(item) for item in file.attrs.get("channels", ()))
        self.rows = int(file.attrs["rows"])
        self.columns = self._columns()

    @cached_property
    def digest(self) -> str:
        """Hex digest of the file's bytes; computed when first asked for, as large files take seconds."""
        hasher = hashlib.blake2b(digest_size=16)
        self._stream.seek(0)
        while chunk := self._stream.read(4 * 1024 * 1024):
            hasher.update(chunk)
        return hasher.hexdigest()

    def _columns(self) -> tuple[str, ...]:
        names = list(schema.COLUMNS) + [f"{schema.ATTRIBUTE_PREFIX}{key}" for key in self.file.get("attribute", ())]
        present = tuple(name for name in names if name in self.file)
        for name in present:
            self._check_column(name)
        return present

    def _check_column(self, name: str) -> None:
        declared, dataset = schema.column(name), self.file[name]
        found = dataset.dtype
        expected = {"string": "S", "bytes": "u", "split": "i"}.get(declared.dtype)
        right = found.kind == expected if expected else found == schema.NUMPY_TYPES[declared.dtype]
        rows = len(self.file["offset"]) - 1 if name == "encoded" and "offset" in self.file else len(dataset)
        if not right or rows != self.rows or (declared.dimensions >= 0 and dataset.ndim != declared.dimensions + 1):
            raise DataError(
                f"{self.name} is damaged: column {name} is {found} of shape {dataset.shape} beside {self.rows} rows"
            )

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows start to stop of a column, in the form that a Block has."""
        if name == "encoded":
            return self._encoded(start, stop)
        values = self.file[name][start:stop]
        if schema.column(name).dtype == "string":
            return objects(item.decode("utf-8", "surrogateescape") for item in values.tolist())
        if schema.column(name).dtype == "split":
            values = values.astype(np.int8)
        try:
            check_values(name, values, len(self.classes), start)
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from None
        return values

    def _encoded(self, start: int, stop: int) -> np.ndarray:
        ends = self.file["offset"][start : stop + 1]
        if len(ends) and (ends[0] < 0 or ends[-1] > len(self.file["encoded"]) or (np.diff(ends) < 0).any()):
            raise DataError(f"{self.name} is damaged: the offsets of rows {start} to {stop} do not rise")
        buffer = self.file["encoded"][ends[0] : ends[-1]].tobytes() if len(ends) else b""
        ends = ends - ends[0]
        return objects(buffer[a:b] for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))

    def cuts(self, columns: Sequence[str]) -> list[int]:
        """Row numbers at which blocks of about BLOCK_BYTES begin and end, for blocks of these columns."""
        fixed = sum(
            int(np.prod(self.file[name].shape[1:])) * self.file[name].dtype.itemsize
            for name in columns
            if name != "encoded"
        )
        step = max(1, min(_MAX_BLOCK_ROWS, BLOCK_BYTES // max(1, fixed)))
        cuts = [*range(0, self.rows, step), self.rows]
        if "encoded" not in columns or not self.rows:
            return cuts
        # photos are of any size: cut again wherever their bytes fill a block
        offset = self.file["offset"][:]
        refined = [0]
        while refined[-1] < self.rows:
            full = int(np.searchsorted(offset, offset[refined[-1]] + BLOCK_BYTES, "right")) - 1
            refined.append(min(self.rows, max(refined[-1] + 1, min(full, refined[-1] + step))))
        return refined


class Reader:
    """One store, or several of the same columns read as one table with classes aligned by name.

    A context manager. `rows` is the number of rows N, `columns` the names of those present, `channels` the names of the
    channels of dense images, `provenance` the chain of stages behind the data, `digest` a hash of the input's bytes.
    """

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = list(parts)
        first = self._parts[0]
        self.name = first.name if len(parts) == 1 else f"{first.name} and {len(parts) - 1} more"
        self.kind, self.columns, self.channels = first.kind, first.columns, first.channels
        self.rows = sum(part.rows for part in parts)
        self.classes = first.classes
        if any(part.classes != first.classes for part in parts):
            self.classes = labels.ordered([name for part in parts for name in part.classes])
        for part in self._parts[1:]:
            self._check_alike(first, part)

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for part in self._parts:
            part.file.close()

    @property
    def digest(self) -> str:
        """Hex digest of the bytes read: for several stores, of their digests in order."""
        if len(self._parts) == 1:
            return self._parts[0].digest
        return hashlib.blake2b("".join(self.digests).encode(), digest_size=16).hexdigest()

    @property
    def digests(self) -> list[str]:
        return [part.digest for part in self._parts]

    @cached_property
    def documents(self) -> dict[str, Any]:
        """The JSON documents beside the columns; those of the first store where several are read."""
        file = self._parts[0].file
        return {name: _json(file, name, self.name) for name in schema.DOCUMENTS if name in file}

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """One entry a stage, the first stage first; the chains of several stores follow each other."""
        chain: list[dict[str, Any]] = []
        for part in self._parts:
            if "provenance" in part.file:
                chain += [entry for entry in _json(part.file, "provenance", part.name) if entry not in chain]
        return chain

    def shape(self, column: str) -> tuple[int, ...]:
        """Shape of one row of a column, such as (48, 48)."""
        return self._parts[0].file[column].shape[1:]

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """A column from row `start` to before row `stop`, in memory."""
        stop = self.rows if stop is None else min(stop, self.rows)
        pieces, first = [], 0
        for part in self._parts:
            low, high = max(start - first, 0), min(stop - first, part.rows)
            if low < high:
                pieces.append(self._align(part, name, part.read(name, low, high)))
            first += part.rows
        return np.concatenate(pieces) if pieces else self._align(self._parts[0], name, self._parts[0].read(name, 0, 0))

    def blocks(self, columns: Sequence[str] | None = None, rows: np.ndarray | None = None) -> Iterator[Block]:
        """Blocks of about 8 MB, in row order. `rows`: a sorted array of the row numbers wanted, or None for all."""
        wanted = self.columns if columns is None else tuple(columns)
        first = 0
        for part in self._parts:
            cuts = part.cuts(wanted)
            for start, stop in itertools.pairwise(cuts):
                chosen: np.ndarray | slice = slice(None)
                if rows is not None:
                    low, high = np.searchsorted(rows, (first + start, first + stop))
                    if low == high:
                        continue
                    chosen = rows[low:high] - (first + start)
                block = {name: self._align(part, name, part.read(name, start, stop)) for name in wanted}
                yield take(block, chosen)
            first += part.rows

    def array(self, name: str) -> np.ndarray:
        """A free array of a model store."""
        file = self._parts[0].file
        if name not in file:
            raise DataError(f"{self.name} holds no {name}: it is no model made by fer train")
        return file[name][()]

    def arrays(self, group: str) -> dict[str, np.ndarray]:
        """All arrays of a group of a model store, by name; {} if there is no such group."""
        return {name: dataset[()] for name, dataset in self._parts[0].file.get(group, {}).items()}

    def array_names(self) -> dict[str, tuple[int, ...]]:
        """Shape of every dataset in the file by its name, for inspection."""
        found: dict[str, tuple[int, ...]] = {}
        self._parts[0].file.visititems(
            lambda name, item: found.update({name: item.shape}) if isinstance(item, h5py.Dataset) else None
        )
        return found

    def _align(self, part: _Part, name: str, values: np.ndarray) -> np.ndarray:
        """Values of `part` in terms of the classes of the whole table."""
        if part.classes == self.classes or name not in ("label", "predicted", "votes", "probability"):
            return values
        where = np.array(labels.translation(part.classes, self.classes), np.int16)
        if name in ("label", "predicted"):
            return np.append(where, np.int16(-1))[values]  # -1 stays -1
        wide = np.zeros((len(values), len(self.classes)), values.dtype)
        wide[:, where] = values
        return wide

    def _check_alike(self, first: _Part, part: _Part) -> None:
        if part.kind != first.kind or part.kind == "model":
            raise DataError(f"{part.name} holds {part.kind} and {first.name} holds {first.kind}: name stores of rows")
        if set(part.columns) != set(first.columns):
            differing = ", ".join(sorted(set(part.columns) ^ set(first.columns)))
            raise DataError(f"{part.name} and {first.name} cannot be read as one: {differing} in one of them only")
        for name in ("image", "hog"):
            ours, theirs = (p.file[name].shape[1:] if name in p.columns else () for p in (first, part))
            if ours != theirs or part.channels != first.channels:
                raise DataError(
                    f"{part.name} has rows of {name} of shape {theirs} and {first.name} of {ours}: "
                    f"bring them to one with fer detect --detector none --size"
                )


def is_store(head: bytes) -> bool:
    """Whether a file that begins with these bytes is HDF5."""
    return head.startswith(_HDF5_SIGNATURE)


@contextlib.contextmanager
def open_store(paths: str | Path | Sequence[str | Path], kind: str | Sequence[str] = "samples") -> Iterator[Reader]:
    """Opens one store or several; "-" is standard input. `kind` says which kinds of store will do.

    Raises DataError for what is missing, empty, truncated, no store, refused by the audit, or of a newer version.
    """
    names = [paths] if isinstance(paths, (str, Path)) else list(paths)
    kinds = (kind,) if isinstance(kind, str) else tuple(kind)
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(_open_part(str(name))) for name in names]
        for part in parts:
            if part.kind not in kinds:
                raise DataError(f"{part.name} holds {part.kind}, not {' or '.join(kinds)}: {_HINTS[kinds[0]]}")
        yield Reader(parts)


_HINTS = {
    "samples": "make samples with fer ingest",
    "predictions": "make predictions with fer predict -o FILE.h5",
    "model": "make a model with fer train",
}


@contextlib.contextmanager
def _open_part(path: str) -> Iterator[_Part]:
    with contextlib.ExitStack() as stack:
        if path == "-":
            name = "standard input"
            source = stack.enter_context(_stdin())
        else:
            name = path
            source = stack.enter_context(_regular(path))
        size = _measure(source, name)
        try:
            file = stack.enter_context(h5py.File(path if path != "-" else source, "r"))
        except (OSError, RuntimeError) as error:
            raise DataError(f"{name} is truncated or damaged ({size:,} bytes): make it again") from error
        try:
            audit(file, name, size)
            check_mark(file, name)
            part = _Part(file, name, source)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise DataError(f"{name} is damaged: make it again") from error
        yield part


def _regular(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, not a store: fer ingest {path} makes one of it") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _stdin() -> contextlib.AbstractContextManager[BinaryIO]:
    """Standard input as a file that can seek: itself where it is a redirected file, else a copy of the stream."""
    stream = sys.stdin.buffer
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal: name a store, or pipe one in")
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return open(stream.fileno(), "rb", closefd=False)
    spool = tempfile.SpooledTemporaryFile(MEMORY_SPOOL)  # noqa: SIM115 - returned open
    shutil.copyfileobj(stream, spool, 1024 * 1024)
    return spool


def _measure(file: BinaryIO, name: str) -> int:
    """Length in bytes of a file, which must begin as HDF5 does."""
    file.seek(0)
    head = file.read(len(_HDF5_SIGNATURE))
    if not head:
        empty = "nothing arrived on standard input: the stage before this one failed or wrote nothing"
        raise DataError(empty if name == "standard input" else f"{name} is empty: make it again")
    if not is_store(head):
        raise DataError(f"{name} is not a fercli store (not HDF5): make one of it with fer ingest")
    return file.seek(0, os.SEEK_END)


def _json(file: h5py.File, name: str, store: str) -> Any:
    try:
        return json.loads(file[name][()])
    except ValueError as error:
        raise DataError(f"{store} is damaged: its {name} is not JSON") from error
