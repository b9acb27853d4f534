"""Writing a store: blocks are checked and appended; the format mark comes last, then the file takes its place."""

import contextlib
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError, UsageError
from . import schema
from .atomic import disk_errors, replacing
from .block import Block, block_rows

#: Rows of a column lie in chunks of about this many bytes: large enough to read fast in order, small enough that 1,000
#: random 48x48 rows read in 0.03 s.
CHUNK_BYTES = 256 * 1024
MEMORY_SPOOL = 64 * 1024 * 1024


class Writer:
    """Appends blocks to one open store. `start` comes first and once (again after `restart`), then `append`."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self.rows = 0
        self.classes: tuple[str, ...] = ()
        self.kind = ""
        self._columns: set[str] | None = None  # told by the first block
        self._bytes = 0  # length of the buffer of encoded photos

    def start(self, kind: str, classes: Sequence[str], channels: Sequence[str] = ()) -> None:
        """Says what the store will hold. `channels` names those of the dense images, where it has such."""
        self.kind, self.classes = kind, tuple(classes)
        attributes = self._file.attrs
        attributes["kind"] = np.bytes_(kind)
        attributes["classes"] = np.array([name.encode() for name in classes], dtype="S")
        if channels:
            attributes["channels"] = np.array([name.encode() for name in channels], dtype="S")

    def restart(self) -> None:
        """Drops everything written so far."""
        for key in list(self._file):
            del self._file[key]
        for key in list(self._file.attrs):
            del self._file.attrs[key]
        self.rows = self._bytes = 0
        self._columns = None

    def append(self, block: Block) -> None:
        """Checks a block and writes it behind the rows that are there. An empty block declares the columns only."""
        count = block_rows(block)
        self._same_columns(block)
        for name, values in block.items():
            self._check(name, values)
            if name == "encoded":
                self._append_encoded(values)
            elif schema.column(name).dtype == "string":
                self._append_strings(name, values)
            else:
                self._append_plain(name, values)
        self.rows += count

    def document(self, name: str, value: Any) -> None:
        """Stores a JSON document, replacing one of that name."""
        if name in self._file:
            del self._file[name]
        data = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        self._file.create_dataset(name, data=np.bytes_(data), track_times=False)

    def array(self, name: str, values: np.ndarray) -> None:
        """Stores a free array, such as `weights/conv1.weight`, in a model store."""
        self._file.create_dataset(name, data=np.ascontiguousarray(values), track_times=False)

    def finish(self) -> None:
        """Marks the store complete."""
        self._file.attrs["version"] = np.int64(schema.VERSION)
        self._file.attrs["rows"] = np.int64(self.rows)
        self._file.attrs["format"] = np.bytes_(schema.FORMAT)

    def _same_columns(self, block: Block) -> None:
        if self._columns is None:
            self._columns = set(block)
        if self._columns != set(block):
            differing = ", ".join(sorted(self._columns ^ set(block)))
            raise DataError(f"rows do not all have the same columns: {differing} in some of them only")

    def _check(self, name: str, values: np.ndarray) -> None:
        declared = schema.column(name)
        if declared is None:
            raise DataError(f"{name!r} is no column of the store format")
        if declared.dtype in ("bytes", "string"):
            return
        if values.dtype != schema.NUMPY_TYPES[declared.dtype]:
            raise DataError(f"column {name} has the type {values.dtype}, not {declared.dtype}")
        if declared.dimensions >= 0 and values.ndim != declared.dimensions + 1:
            raise DataError(f"column {name} has the shape {values.shape}, not N,{declared.shape}")
        check_values(name, values, len(self.classes), self.rows)

    def _append_plain(self, name: str, values: np.ndarray) -> None:
        dataset = self._file.get(name)
        if dataset is None:
            kind = h5py.enum_dtype(schema.SPLIT_CODES, "i1") if name == "split" else values.dtype
            dataset = self._create(name, values.shape[1:], kind, len(values))
        elif dataset.shape[1:] != values.shape[1:]:
            raise DataError(
                f"rows of {name} differ in shape: {dataset.shape[1:]} before row {self.rows} and "
                f"{values.shape[1:]} after it; bring them to one with fer detect --size"
            )
        dataset.resize(self.rows + len(values), axis=0)
        dataset[self.rows :] = values

    def _append_encoded(self, values: np.ndarray) -> None:
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        if "encoded" not in self._file:
            self._create("encoded", (), np.uint8, CHUNK_BYTES)
            offset = self._create("offset", (), np.int64, len(values) + 1)
            offset.resize(1, axis=0)
            offset[0] = 0
        buffer, offset = self._file["encoded"], self._file["offset"]
        ends = self._bytes + np.cumsum(lengths)
        offset.resize(self.rows + len(values) + 1, axis=0)
        offset[self.rows + 1 :] = ends
        if len(ends) and ends[-1] > self._bytes:
            buffer.resize(int(ends[-1]), axis=0)
            buffer[self._bytes :] = np.frombuffer(b"".join(values), np.uint8)
            self._bytes = int(ends[-1])

    def _append_strings(self, name: str, values: np.ndarray) -> None:
        """Fixed-length UTF-8, in a width that grows by powers of two: such data has no pointers to forge."""
        raw = [value.encode("utf-8", "surrogateescape") for value in values]
        width = max([16, *(1 << (len(item) - 1).bit_length() for item in raw if item)])
        if width > schema.MAX_STRING:
            row = self.rows + max(range(len(raw)), key=lambda i: len(raw[i]))
            raise DataError(f"{name} of row {row} is longer than {schema.MAX_STRING:,} bytes")
        dataset = self._file.get(name)
        if dataset is None:
            dataset = self._create(name, (), h5py.string_dtype("utf-8", width), len(raw))
        elif dataset.dtype.itemsize < width:
            dataset = self._widen(name, width)
        dataset.resize(self.rows + len(raw), axis=0)
        if raw:
            dataset[self.rows :] = np.array(raw, dtype="S").astype(dataset.dtype)

    def _widen(self, name: str, width: int) -> h5py.Dataset:
        old = self._file[name]
        del self._file[name]
        new = self._create(name, (), h5py.string_dtype("utf-8", width), len(old))
        new.resize(len(old), axis=0)
        step = max(1, CHUNK_BYTES // width)
        for start in range(0, len(old), step):
            new[start : start + step] = old[start : start + step].astype(new.dtype)
        return new

    def _create(self, name: str, shape: tuple[int, ...], dtype: Any, first_rows: int) -> h5py.Dataset:
        row_bytes = max(1, int(np.prod(shape)) * np.dtype(dtype).itemsize)
        rows = max(1, min(CHUNK_BYTES // row_bytes, max(first_rows, 64)))
        return self._file.create_dataset(
            name, shape=(0, *shape), maxshape=(None, *shape), chunks=(rows, *shape), dtype=dtype, track_times=False
        )


def check_values(name: str, values: np.ndarray, classes: int, first: int) -> None:
    """Raises DataError, naming the row, for values that no store may hold: NaN, labels outside the classes.

    `first` is the row number of `values[0]`.
    """
    if values.dtype.kind == "f":
        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        problem = "is not a finite number"
    elif name in ("label", "predicted"):
        bad = (values < -1) | (values >= classes)
        problem = f"lies outside the {classes} classes"
    elif name == "split":
        bad = (values < 0) | (values >= len(schema.SPLITS))
        problem = f"is none of {', '.join(schema.SPLITS)}"
    else:
        return
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{name} of row {first + row} {problem}: {values[row]}")


@contextlib.contextmanager
def create_store(target: str | Path) -> Iterator[Writer]:
    """A Writer whose store replaces `target` when the block ends well; "-" is standard output."""
    if str(target) == "-":
        with _to_stdout() as writer:
            yield writer
        return
    with replacing(Path(target)) as part, _writing(part) as writer:
        yield writer


@contextlib.contextmanager
def _writing(destination: Path | io.IOBase | tempfile.SpooledTemporaryFile) -> Iterator[Writer]:
    file = h5py.File(destination, "w")
    try:
        writer = Writer(file)
        yield writer
        writer.finish()
        file.close()
    finally:
        with contextlib.suppress(OSError, RuntimeError):  # after a full disk, closing fails a second time
            file.close()


@contextlib.contextmanager
def _to_stdout() -> Iterator[Writer]:
    if sys.stdout.isatty():
        raise UsageError("a store is binary and standard output is a terminal: add -o FILE.h5, or pipe it on")
    # HDF5 cannot be written into a pipe, so the store is made whole first: nothing flows if the stage fails
    with tempfile.SpooledTemporaryFile(MEMORY_SPOOL) as spool:
        with disk_errors(f"a temporary file in {tempfile.gettempdir()}"), _writing(spool) as writer:
            yield writer
        spool.seek(0)
        shutil.copyfileobj(spool, sys.stdout.buffer, 1024 * 1024)
        sys.stdout.buffer.flush()
