"""Reading stores in blocks; several are read as one table, with classes aligned by name."""

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import labels
from ..errors import DataError, UsageError
from . import schema
from .block import Block, take
from .part import Part, open_part

_HINTS = {
    "samples": "make samples with fer ingest",
    "predictions": "make predictions with fer predict -o FILE.h5",
    "model": "make a model with fer train",
}


@contextlib.contextmanager
def open_store(paths: str | Path | Sequence[str | Path], kind: str | Sequence[str] = "samples") -> Iterator["Reader"]:
    """Opens one store or several; "-" is standard input. `kind` says which kinds of store will do.

    Raises DataError for what is missing, empty, truncated, no store, refused by the audit, or of a newer version.
    """
    names = [str(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    kinds = (kind,) if isinstance(kind, str) else tuple(kind)
    _refuse_repeated(names)
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(open_part(name, _HINTS[kinds[0]])) for name in names]
        for part in parts:
            if part.kind not in kinds:
                raise DataError(f"{part.name} holds {part.kind}, not {' or '.join(kinds)}: {_HINTS[kinds[0]]}")
        yield Reader(parts)


def _refuse_repeated(names: Sequence[str]) -> None:
    """A store that is read twice would count twice in every figure."""
    if names.count("-") > 1:
        raise UsageError("standard input is named twice, and can be read once")
    seen: set[str] = set()
    for name in names:
        real = os.path.realpath(name) if "\0" not in name else name
        if name != "-" and real in seen:
            raise UsageError(f"{name} is named twice, and would count twice: name it once")
        seen.add(real)


class Reader:
    """One store, or several of the same columns read as one table with classes aligned by name.

    Samples that lack only labels or attributes are read beside those that have them: theirs are unknown, -1.

    `rows` is the number of rows N, `columns` the names of those present, `channels` the names of the channels of dense
    images, `kind` one of samples, predictions, model.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = list(parts)
        first = self._parts[0]
        self.name = first.name if len(parts) == 1 else f"{first.name} and {len(parts) - 1} more"
        self.kind, self.channels = first.kind, first.channels
        self.rows = sum(part.rows for part in parts)
        self.classes = first.classes
        if any(part.classes != first.classes for part in parts):
            self.classes = labels.ordered([name for part in parts for name in part.classes])
        for part in self._parts[1:]:
            _check_alike(first, part)
            _check_same_documents(first, part)
        found = dict.fromkeys(name for part in parts for name in part.columns)
        self.columns = tuple(sorted(found, key=schema.place))

    @property
    def stores(self) -> list[tuple[str, int]]:
        """Name and number of rows of each store, in the order in which they are read."""
        return [(part.name, part.rows) for part in self._parts]

    def check_unchanged(self) -> None:
        """Raises DataError if the file of a store has changed since it was opened, as its digests do too."""
        for part in self._parts:
            part.check_unchanged()

    @property
    def digest(self) -> str:
        """Hex digest of the bytes read: for several stores, of their digests in order."""
        if len(self._parts) == 1:
            return self._parts[0].digest
        return hashlib.blake2b("".join(self.digests).encode(), digest_size=16).hexdigest()

    @property
    def digests(self) -> list[str]:
        """Hex digest of the bytes of each store."""
        return [part.digest for part in self._parts]

    @property
    def documents(self) -> dict[str, Any]:
        """The JSON documents beside the columns; those of the first store where several are read."""
        return self._parts[0].documents

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """One entry a stage, the first stage first; the chains of several stores follow each other."""
        chain: list[dict[str, Any]] = []
        for part in self._parts:
            chain += [entry for entry in part.documents["provenance"] if entry not in chain]
        return chain

    def shape(self, column: str) -> tuple[int, ...]:
        """Shape of one row of a column, such as (48, 48); () where a row is one value, a string or a photo."""
        return self._read(self._parts[0], column, 0, 0).shape[1:]

    def originals(self) -> np.ndarray:
        """(N,) bool: rows that augmentation did not make from others, and so may be tested on."""
        return ~self.column("copy") if "copy" in self.columns else np.ones(self.rows, bool)

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """A column from row `start` to before row `stop`, in memory."""
        stop = self.rows if stop is None else min(stop, self.rows)
        pieces, first = [], 0
        for part in self._parts:
            low, high = max(start - first, 0), min(stop - first, part.rows)
            if low < high:
                pieces.append(self._read(part, name, low, high))
            first += part.rows
        return np.concatenate(pieces) if pieces else self._read(self._parts[0], name, 0, 0)

    def blocks(self, columns: Sequence[str] | None = None, rows: np.ndarray | None = None) -> Iterator[Block]:
        """Blocks of about 8 MB, in row order. `rows`: a sorted array of the row numbers wanted, or None for all."""
        wanted = self.columns if columns is None else tuple(columns)
        first = 0
        for part in self._parts:
            for start, stop in itertools.pairwise(part.cuts(wanted)):
                chosen: np.ndarray | slice = slice(None)
                if rows is not None:
                    low, high = np.searchsorted(rows, (first + start, first + stop))
                    if low == high:
                        continue
                    chosen = rows[low:high] - (first + start)
                yield take({name: self._read(part, name, start, stop) for name in wanted}, chosen)
            first += part.rows

    def array(self, name: str) -> np.ndarray:
        """A free array of a model store. DataError if it has none of that name."""
        return self._parts[0].array(name)

    def arrays(self, group: str) -> dict[str, np.ndarray]:
        """All arrays of a group of a model store, by name; {} if there is no such group."""
        return {name.partition("/")[2]: self.array(name) for name in self._parts[0].array_names(group)}

    def array_names(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all free arrays of a model store, by name."""
        part = self._parts[0]
        grouped = [name for group in schema.ARRAY_GROUPS for name in part.array_names(group)]
        alone = [name for name in schema.ARRAYS if name in part.data]
        return {name: part.data[name].shape for name in grouped + alone}

    def _read(self, part: Part, name: str, start: int, stop: int) -> np.ndarray:
        """A column of `part` in terms of the classes of the whole table."""
        if name not in part.columns and name in self.columns:
            return np.full(stop - start, -1, np.int16)
        values = part.read(name, start, stop)
        if part.classes == self.classes or name not in ("label", "predicted", "votes", "probability"):
            return values
        where = np.array(labels.translation(part.classes, self.classes), np.int16)
        if name in ("label", "predicted"):
            return np.append(where, np.int16(-1))[values]  # -1 stays -1
        wide = np.zeros((len(values), len(self.classes)), values.dtype)
        wide[:, where] = values
        return wide


def _check_same_documents(first: Part, part: Part) -> None:
    if part.documents.get("augment") != first.documents.get("augment"):
        raise DataError(
            f"{part.name} and {first.name} carry different recipes of online augmentation: "
            f"name their inputs to one fer augment --online"
        )
    if part.documents.get("heads") != first.documents.get("heads"):
        raise DataError(
            f"{part.name} and {first.name} hold answers of different heads: predict both with one model and --heads"
        )


def _check_alike(first: Part, part: Part) -> None:
    """Raises DataError unless the two can be read as one table."""
    if part.kind != first.kind or part.kind == "model":
        raise DataError(f"{part.name} holds {part.kind} and {first.name} holds {first.kind}: name stores of rows")
    both = f"{part.name} and {first.name} cannot be read as one"
    differing = sorted(set(part.columns) ^ set(first.columns))
    if not all(schema.may_lack(first.kind, name) for name in differing):
        raise DataError(f"{both}: {', '.join(differing)} in one of them only")
    if part.channels != first.channels:
        theirs, ours = (", ".join(one.channels) or "none" for one in (part, first))
        raise DataError(f"{both}: their channels are {theirs} and {ours}; make them alike with fer gradients")
    for name in ("image", "hog"):
        if name in part.columns:
            theirs, ours = (one.read(name, 0, 0).shape[1:] for one in (part, first))
            if theirs != ours:
                raise DataError(
                    f"{both}: rows of {name} have the shapes {theirs} and {ours}; bring the images to one size with "
                    f"fer detect --detector none --size"
                )
