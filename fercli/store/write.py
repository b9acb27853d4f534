"""Writing a store: blocks are checked and appended; the format mark comes last, then the file takes its place."""

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from ..errors import DataError, UsageError
from . import schema
from .atomic import disk_errors, replacing, temporary_file
from .block import Block, block_rows, concatenate, fault, objects, take
from .pipe import MEMORY_SPOOL, Sink, to_stdout

#: Rows of a column lie in chunks of about this many bytes: large enough to read fast in order, small enough that 1,000
#: random 48x48 rows read in 0.03 s.
CHUNK_BYTES = 256 * 1024
#: Rows are written in batches that end where the rows say and not where blocks end: the same rows give the same bytes
#: however they were cut, and a stage may append one row at a time.
BATCH_BYTES = 4 * 1024 * 1024
_BATCH_ROWS = 4096
#: Rows in a chunk at least, where a store has more than one batch: a batch of large photos has few.
_CHUNK_ROWS = 1024


class Writer:
    """Appends blocks to one open store. `start` comes first and once (again after `restart`), then `append`."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._file: h5py.File | None = None

    def restart(self) -> None:
        """Opens the file, and drops everything written so far."""
        self.close()
        with self._sink.writing():
            self._sink.truncate(0)
            # The earliest format is the one in which no HDF5 notes the time.
            self._file = h5py.File(self._sink, "w", libver="earliest")
        self.rows = 0
        self.classes: tuple[str, ...] = ()
        self.channels: tuple[str, ...] = ()
        self.kind = ""
        self._shapes: dict[str, tuple[int, ...]] = {}  # of a row of each column, told by the first block
        self._step = 0  # rows of a full batch
        self._least = 1  # rows of a chunk
        self._waiting: list[Block] = []  # rows of the batch that is not full yet
        self._waiting_rows = self._waiting_bytes = 0  # bytes of encoded photos

    def close(self) -> None:
        """Closes the file; without the mark, which `finish` writes, it is no complete store."""
        if self._file:
            with self._sink.writing():
                self._file.close()

    def start(self, kind: str, classes: Sequence[str], channels: Sequence[str] = ()) -> None:
        """Says what the store will hold. `channels` names those of the dense images, where it has such."""
        self.kind, self.classes, self.channels = kind, tuple(classes), tuple(channels)
        names = [_utf8(name, "a class") for name in self.classes]
        if len(set(names)) != len(names):
            raise DataError(f"the classes {', '.join(self.classes)} are not distinct")
        if len(names) * max(map(len, names), default=0) > schema.MAX_CLASSES_BYTES:
            raise DataError(
                f"{len(names):,} classes with names of up to {max(map(len, names))} bytes are more than a store holds: "
                f"give fewer of them, or shorter names"
            )
        with self._sink.writing():
            self._file.attrs["kind"] = np.bytes_(kind)
            self._file.attrs["classes"] = np.array(names, dtype="S")
            if channels:
                self._file.attrs["channels"] = np.array([name.encode() for name in channels], dtype="S")

    def append(self, block: Block) -> None:
        """Checks a block and adds it behind the rows that are there. An empty block declares the columns only."""
        count = block_rows(block)
        ready = {name: self._checked(name, values) for name, values in block.items()}
        if not self._shapes:
            self._declare(ready)
        self._check_like_before(ready)
        self.rows += count
        begin = 0
        while begin < count:
            end = min(count, self._batch_end(ready, begin))
            self._wait(take(ready, slice(begin, end)), end - begin)
            begin = end

    def document(self, name: str, value: Any) -> None:
        """Stores a JSON document, replacing one of that name."""
        try:
            data = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        except ValueError:
            raise DataError(f"the document {name} holds a value that is not a finite number") from None
        with self._sink.writing():
            if name in self._file:
                del self._file[name]
            self._file.create_dataset(name, data=np.bytes_(data), track_times=False)

    def array(self, name: str, values: np.ndarray) -> None:
        """Stores a free array, such as `weights/conv1.weight`, in a model store."""
        if not schema.is_array(name):
            raise DataError(f"{name!r} is no array of the store format")
        with self._sink.writing():
            self._file.create_dataset(name, data=np.asarray(values), track_times=False)

    def finish(self) -> None:
        """Writes what waits and marks the store complete."""
        if self._waiting:
            self._flush(last=True)
        with self._sink.writing():
            self._file.attrs["version"] = np.int64(schema.VERSION)
            self._file.attrs["rows"] = np.int64(self.rows)
            self._file.attrs["format"] = np.bytes_(schema.FORMAT)

    def _checked(self, name: str, values: np.ndarray) -> np.ndarray:
        """The values as they will be stored, strings as UTF-8. Raises DataError for what the format does not hold."""
        declared = schema.column(name)
        if declared is None:
            raise DataError(f"{name!r} is no column of the store format")
        if declared.dtype == "bytes":
            return values
        if declared.dtype == "string":
            return objects(_utf8(value, name, row) for row, value in enumerate(values, self.rows))
        shape = values.shape[1:]
        right = values.dtype == schema.NUMPY_TYPES[declared.dtype] and declared.fits(shape, len(self.classes))
        if not right or (name == "image" and not schema.channels_fit(self.channels, shape)):
            channels = f" with channels {', '.join(self.channels) or 'not named'}" if name == "image" else ""
            raise DataError(
                f"column {name} has the type {values.dtype} and rows of shape {shape}{channels}: it holds {declared}"
            )
        wrong = fault(name, values, len(self.classes), self.rows)
        if wrong:
            raise DataError(wrong)
        return values

    def _declare(self, block: Block) -> None:
        wrong = schema.columns_fault(set(block))
        if wrong:
            raise DataError(f"rows have the columns {wrong}")
        self._shapes = {name: values.shape[1:] for name, values in block.items()}
        dense = [values for values in block.values() if values.dtype != object]
        row_bytes = sum(int(np.prod(values.shape[1:])) * values.dtype.itemsize for values in dense)
        self._step = max(1, min(_BATCH_ROWS, BATCH_BYTES // max(1, row_bytes)))
        self._waiting = [take(block, slice(0, 0))]

    def _check_like_before(self, block: Block) -> None:
        if self._shapes.keys() != block.keys():
            differing = ", ".join(sorted(self._shapes.keys() ^ block.keys()))
            raise DataError(f"rows do not all have the same columns: {differing} in some of them only")
        for name, shape in self._shapes.items():
            if block[name].shape[1:] != shape:
                raise DataError(
                    f"rows of {name} differ in shape: {shape} before row {self.rows} and {block[name].shape[1:]} "
                    f"after it; bring them to one with fer detect --size"
                )

    def _batch_end(self, block: Block, begin: int) -> int:
        """The row of a block at which the batch is full, of which rows `begin` on are to be added."""
        end = begin + self._step - self._waiting_rows
        if "encoded" in block:
            sizes = np.cumsum([len(data) for data in block["encoded"][begin:end]])
            end = min(end, begin + 1 + int(np.searchsorted(sizes, BATCH_BYTES - self._waiting_bytes)))
        return end

    def _wait(self, piece: Block, count: int) -> None:
        """Adds rows to the batch, and writes it when it is full."""
        self._waiting_rows += count
        self._waiting_bytes += sum(map(len, piece.get("encoded", ())))
        full = self._waiting_rows >= self._step or self._waiting_bytes >= BATCH_BYTES
        # rows that stay are copied, as the stage may use its arrays again
        self._waiting.append(piece if full else {name: values.copy() for name, values in piece.items()})
        if full:
            self._flush()

    def _flush(self, last: bool = False) -> None:
        self._least = 1 if last else _CHUNK_ROWS
        with self._sink.writing():
            for name, values in concatenate(self._waiting).items():
                if name == "encoded":
                    self._write_encoded(values)
                elif schema.column(name).dtype == "string":
                    self._write_strings(name, values)
                else:
                    self._write_plain(name, values)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0

    def _write_plain(self, name: str, values: np.ndarray) -> None:
        kind = h5py.enum_dtype(schema.SPLIT_CODES, "i1") if name == "split" else values.dtype
        self._extend(self._dataset(name, kind, values), values)

    def _write_encoded(self, photos: np.ndarray) -> None:
        buffer = np.frombuffer(b"".join(photos), np.uint8)
        dataset = self._dataset("encoded", np.uint8, buffer)
        first = schema.OFFSET not in self._file
        ends = len(dataset) + np.cumsum([0, *map(len, photos)], dtype=np.int64)
        self._extend(dataset, buffer)
        self._extend(self._dataset(schema.OFFSET, np.int64, ends), ends if first else ends[1:])

    def _write_strings(self, name: str, raw: np.ndarray) -> None:
        """Fixed-length UTF-8, in a width that grows by powers of two: such data has no pointers to forge."""
        width = max([16, *(1 << (len(item) - 1).bit_length() for item in raw if item)])
        values = np.array(raw.tolist(), dtype=h5py.string_dtype("utf-8", width))
        dataset = self._dataset(name, values.dtype, values)
        if dataset.dtype.itemsize < width:
            dataset = self._widened(name, values.dtype)
        self._extend(dataset, values.astype(dataset.dtype))

    def _widened(self, name: str, dtype: np.dtype) -> h5py.Dataset:
        old = self._file[name]
        del self._file[name]
        new = self._dataset(name, dtype, old)
        for begin in range(0, len(old), _BATCH_ROWS):
            self._extend(new, old[begin : begin + _BATCH_ROWS].astype(dtype))
        return new

    def _dataset(self, name: str, dtype: Any, values: np.ndarray | h5py.Dataset) -> h5py.Dataset:
        """The dataset of a column; a new one has chunks of at most CHUNK_BYTES, which a small store fills."""
        if name in self._file:
            return self._file[name]
        shape = values.shape[1:]
        row_bytes = max(1, int(np.prod(shape)) * np.dtype(dtype).itemsize)
        rows = max(1, min(CHUNK_BYTES // row_bytes, max(len(values), self._least)))
        return self._file.create_dataset(
            name, shape=(0, *shape), maxshape=(None, *shape), chunks=(rows, *shape), dtype=dtype, track_times=False
        )

    @staticmethod
    def _extend(dataset: h5py.Dataset, values: np.ndarray) -> None:
        begin = len(dataset)
        dataset.resize(begin + len(values), axis=0)
        dataset[begin:] = values


def _utf8(value: str, what: str, row: int | None = None) -> bytes:
    """Raises DataError for what a fixed-length string cannot hold: `what` it is, of this row of a column."""
    problem, data = "", b""
    try:
        data = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        problem = f"is no valid text: {value!r}"
    if len(data) > schema.MAX_STRING:
        problem = f"is longer than {schema.MAX_STRING:,} bytes"
    elif b"\0" in data:
        problem = f"holds a zero byte: {value!r}"
    if problem:
        raise DataError(f"{what}{'' if row is None else f' of row {row}'} {problem}")
    return data


@contextlib.contextmanager
def create_store(target: str | Path) -> Iterator[Writer]:
    """A Writer whose store replaces `target` when the block ends well; "-" is standard output.

    Raises UsageError where standard output is a terminal, and as `replacing`.
    """
    if str(target) == "-":
        with _to_stdout() as writer:
            yield writer
        return
    with replacing(Path(target)) as part, open(part, "r+b", buffering=0) as file, _writing(file) as writer:
        yield writer


@contextlib.contextmanager
def _writing(destination: BinaryIO) -> Iterator[Writer]:
    with contextlib.closing(Writer(Sink(destination))) as writer:
        writer.restart()
        yield writer
        writer.finish()


def check_stdout(what: str = "a store", example: str = "FILE.h5") -> None:
    """Raises UsageError where no store can go to standard output: told before the input is read, not after."""
    if sys.stdout is None:
        raise UsageError(f"standard output is closed: add -o {example}, or pipe it on")
    if sys.stdout.isatty():
        raise UsageError(f"{what} is binary and standard output is a terminal: add -o {example}, or pipe it on")


@contextlib.contextmanager
def _to_stdout() -> Iterator[Writer]:
    check_stdout()
    # HDF5 cannot be written into a pipe, so the store is made whole first: nothing flows if the stage fails
    with tempfile.SpooledTemporaryFile(MEMORY_SPOOL) as spool:
        with disk_errors(*temporary_file()), _writing(spool) as writer:
            yield writer
        spool.seek(0)
        while data := spool.read(1024 * 1024):
            to_stdout(data)
