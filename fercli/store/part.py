"""One open store file: audited, its columns checked against the schema, its rows read by range."""

import contextlib
import hashlib
import io
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, BinaryIO, NoReturn

import h5py
import numpy as np

from ..errors import DataError, FerError
from . import schema
from .audit import attribute, audit, check_mark
from .block import fault, objects
from .pipe import digest_of, source
from .provenance import check_chain

BLOCK_BYTES = 8 * 1024 * 1024
_MAX_BLOCK_ROWS = 8192


@contextlib.contextmanager
def open_part(path: str, hint: str) -> Iterator["Part"]:
    """Opens one store file; "-" is standard input. `hint` says how to make a store. Raises as `open_store`, and at the
    end as `Part.check_unchanged`.
    """
    with source(path, hint) as (stream, name, size), contextlib.ExitStack() as stack:
        with _damage(name):
            # The open file, not its path: what was measured is what is read and what the digest is of.
            file = stack.enter_context(h5py.File(stream, "r"))
            check_mark(file, name, hint)
            part = Part(file, name, stream, audit(file, name, size))
        yield part
        part.check_unchanged()


@contextlib.contextmanager
def _damage(name: str) -> Iterator[None]:
    """libhdf5 and h5py raise nearly any exception over bytes that are not what they claim to be: all mean the same."""
    try:
        yield
    except (FerError, MemoryError):
        raise
    except Exception as error:
        # Without the traceback, which would keep h5py's view of the stream alive: freed late, it crashes Python's exit.
        raise DataError(f"{name} is damaged: make it again") from error.with_traceback(None)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _state(stream: BinaryIO) -> tuple[int, int] | None:
    """Length of an open file and time of its last change, ns; None for a copy in memory, which is nobody else's."""
    if not isinstance(stream, io.FileIO):
        return None
    found = os.fstat(stream.fileno())
    return found.st_size, found.st_mtime_ns


class Changed(DataError):
    """A store is not what it was when it was opened."""


class Part:
    """One open store file. Its attributes are those of a Reader."""

    def __init__(self, file: h5py.File, name: str, stream: BinaryIO, data: dict[str, h5py.Dataset]) -> None:
        self.name, self.data, self._stream, self._state = name, data, stream, _state(stream)
        self.kind = attribute(file, "kind", name)
        self.rows = attribute(file, "rows", name)
        self.classes = attribute(file, "classes", name)
        self.channels = attribute(file, "channels", name) or ()
        if not isinstance(self.classes, tuple) or len(set(self.classes)) != len(self.classes):
            raise DataError(f"{name} is damaged: its classes are not distinct names")
        names = [*schema.COLUMNS, *(name for name in data if name.startswith(tuple(schema.GROUPED)))]
        self.columns = tuple(column for column in names if column in data)
        self._check_columns()

    def check_unchanged(self) -> None:
        """Raises Changed if the file has changed since it was opened. One that takes its place is another file."""
        if _state(self._stream) != self._state:
            raise Changed(f"{self.name} changed while it was read: type the same command again")

    @property
    def digest(self) -> str:
        """Hex digest of the file's bytes. Raises as `check_unchanged`: it is that of all that was read so far."""
        found = self._digest
        self.check_unchanged()
        return found

    @cached_property
    def _digest(self) -> str:
        """The digest, computed when first asked for, as large files take seconds."""
        self._stream.seek(0)
        return digest_of(self._stream, hashlib.blake2b(digest_size=16))

    @cached_property
    def documents(self) -> dict[str, Any]:
        """The JSON documents by name; the provenance chain is [] where there is none."""
        found = {name: self._json(name) for name in schema.DOCUMENTS if name in self.data}
        return found | {"provenance": check_chain(found.get("provenance", []), self.name)}

    def _json(self, name: str) -> Any:
        with _damage(self.name):
            raw = self.data[name][()]
        try:
            return json.loads(raw, parse_constant=_no_number)
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(f"{self.name} is damaged: its {name} is not JSON") from error

    def _check_columns(self) -> None:
        wrong = schema.columns_fault(set(self.columns))
        if wrong:
            raise DataError(f"{self.name} is damaged: it has the columns {wrong}")
        if not isinstance(self.rows, int) or self.rows < 0 or (self.rows and not self.columns):
            raise DataError(f"{self.name} is damaged: it has {self.rows} rows in {len(self.columns)} columns")
        for name in self.columns:
            self._check_column(name)

    def _check_column(self, name: str) -> None:
        declared, dataset = schema.column(name), self.data[name]
        if name == "encoded":
            rows, right = len(self._offset) - 1, dataset.dtype == np.uint8 and dataset.ndim == 1
        else:
            rows, right = len(dataset), self._type_fits(name) and declared.fits(dataset.shape[1:], len(self.classes))
        if not right or rows != self.rows:
            raise DataError(
                f"{self.name} is damaged: its column {name} is {dataset.dtype} of shape {dataset.shape} beside "
                f"{self.rows} rows, not {declared}"
            )
        if name == "image" and not schema.channels_fit(self.channels, dataset.shape[1:]):
            raise DataError(
                f"{self.name} is damaged: its images are of shape {dataset.shape[1:]} and their channels "
                f"{', '.join(self.channels) or 'not named'}"
            )

    def _type_fits(self, name: str) -> bool:
        found, declared = self.data[name].dtype, schema.column(name).dtype
        if declared == "string":
            return found.kind == "S"
        if declared == "split" and h5py.check_enum_dtype(found) != schema.SPLIT_CODES:
            return False
        return found == schema.NUMPY_TYPES[declared]

    @cached_property
    def _offset(self) -> np.ndarray:
        """(N + 1) int64: photo i is bytes offset[i] to offset[i + 1] of the buffer."""
        end, found = len(self.data["encoded"]), self.data[schema.OFFSET]
        values = found[()]
        rising = found.dtype == np.int64 and values.ndim == 1 and len(values) and (np.diff(values) >= 0).all()
        if not rising or values[0] != 0 or values[-1] != end:
            raise DataError(f"{self.name} is damaged: its offsets do not rise from 0 to {end}, the end of its photos")
        return values

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows start to stop of a column, in the form that a Block has."""
        if name not in self.columns:
            raise DataError(f"{self.name} has no column {name}: it has {', '.join(self.columns) or 'none'}")
        with _damage(self.name):
            if name == "encoded":
                return self._encoded(start, stop)
            values = self.data[name][start:stop]
            if schema.column(name).dtype == "string":
                return objects(item.decode("utf-8", "surrogateescape") for item in values.tolist())
            if schema.column(name).dtype == "split":
                values = values.astype(np.int8)
        wrong = fault(name, values, len(self.classes), start)
        if wrong:
            raise DataError(f"{self.name}: {wrong}")
        return values

    def _encoded(self, start: int, stop: int) -> np.ndarray:
        ends = self._offset[start : stop + 1].tolist()
        buffer = self.data["encoded"][ends[0] : ends[-1]].tobytes()
        return objects(buffer[a - ends[0] : b - ends[0]] for a, b in itertools.pairwise(ends))

    def array(self, name: str) -> np.ndarray:
        """A free array of a model store."""
        if not schema.is_array(name) or name not in self.data:
            raise DataError(f"{self.name} holds no {name}: it is no model made by fer train")
        with _damage(self.name):
            return self.data[name][()]

    def array_names(self, group: str) -> list[str]:
        """The names of the arrays of a group, such as `weights/conv1.weight`; [] if there is no such group."""
        return [name for name in self.data if name.startswith(f"{group}/")]

    def cuts(self, columns: Sequence[str]) -> list[int]:
        """Row numbers at which blocks of about BLOCK_BYTES begin and end, for blocks of these columns."""
        dense = [self.data[name] for name in columns if name in self.columns and name != "encoded"]
        row_bytes = sum(int(np.prod(dataset.shape[1:])) * dataset.dtype.itemsize for dataset in dense)
        step = max(1, min(_MAX_BLOCK_ROWS, BLOCK_BYTES // max(1, row_bytes)))
        if "encoded" not in columns:
            return [*range(0, self.rows, step), self.rows]
        cuts = [0]  # photos are of any size: a block also ends where their bytes fill it
        while cuts[-1] < self.rows:
            full = int(np.searchsorted(self._offset, self._offset[cuts[-1]] + BLOCK_BYTES, "right")) - 1
            cuts.append(min(self.rows, max(cuts[-1] + 1, min(full, cuts[-1] + step))))
        return cuts
