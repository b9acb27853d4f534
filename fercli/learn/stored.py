"""What a network reads of its rows: held in memory, or where that would be too much, read from the store as it goes."""

from collections.abc import Generator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..ops.parallel import buffered
from ..store import Reader

#: Columns of this size, bytes, are held in memory. A constant, as the order of an epoch's rows depends on it.
MOST = 4_000_000_000
#: Rows of larger ones are shuffled in windows of so many bytes, of which three are in memory at a time: the one that is
#: learnt from, the next, and one that is being read.
WINDOW = 500_000_000
#: A window is made of blocks of neighbours in the store, from all over it: a read of less would mostly skip.
BLOCK = 8_000_000
#: Rows that are read at a time where they are wanted in order.
PIECE = 4096


class Stored:
    """One column of some rows of a store, ascending, in the place of an array: each slice is read when it is asked for.

    `shape` and `dtype` are those of the array.
    """

    def __init__(self, src: Reader, name: str, rows: np.ndarray) -> None:
        self._src, self._name, self._rows = src, name, rows
        self.shape, self.dtype = (len(rows), *src.shape(name)), src.column(name, 0, 0).dtype
        self._piece = -1, np.empty((0, *self.shape[1:]), self.dtype)  # the last that was read, and its number

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError("rows in order alone: others by read")
        made = np.empty((max(stop - start, 0), *self.shape[1:]), self.dtype)
        for number in range(start // PIECE, -(-stop // PIECE)):
            if self._piece[0] != number:
                self._piece = number, self.read(np.arange(number * PIECE, min((number + 1) * PIECE, len(self))))
            low, high = max(start, number * PIECE), min(stop, (number + 1) * PIECE)
            made[low - start : high - start] = self._piece[1][low - number * PIECE : high - number * PIECE]
        return made

    def read(self, at: np.ndarray) -> np.ndarray:
        """The values at the places `at` (n,), ascending."""
        made, done = np.empty((len(at), *self.shape[1:]), self.dtype), 0
        for block in self._src.blocks([self._name], self._rows[at]):
            values = block[self._name]
            made[done : done + len(values)] = values
            done += len(values)
        return made


def read_inputs(src: Reader, columns: Sequence[str], rows: np.ndarray) -> tuple[np.ndarray | Stored, ...]:
    """The `columns` of `rows`, ascending, one array each, or `Stored` where these would take more than MOST."""
    stored = tuple(Stored(src, name, rows) for name in columns)
    if sum(column.nbytes for column in stored) > MOST:
        return stored
    return tuple(column.read(np.arange(len(rows))) for column in stored)


class Windows:
    """Rows of `Stored` columns in a random order, a window at a time; a thread reads the next ones meanwhile."""

    def __init__(self, columns: Sequence[Stored]) -> None:
        self._columns = columns
        row = sum(column.nbytes for column in columns) // len(columns[0])
        self._block, self._window = max(1, BLOCK // row), max(1, WINDOW // row)
        self._coming: Generator[tuple[np.ndarray, list[Tensor]], None, None] | None = None
        self._places, self._values = np.empty(0, np.int64), []

    def order(self, generator: np.random.Generator, sizes: Sequence[int]) -> np.ndarray:
        """(N,) int64: every row once, for steps of `sizes` rows. `take` then expects to be asked in this order."""
        rows = len(self._columns[0])
        starts = generator.permutation(np.arange(0, rows, self._block))
        order = np.concatenate([np.arange(start, min(start + self._block, rows)) for start in starts])
        windows = np.split(order, self._cuts(sizes))
        for window in windows:
            generator.shuffle(window)  # a view: the order too
        self.close()
        self._coming = buffered(map(self._read, windows), 1)
        return order

    def take(self, where: np.ndarray) -> list[Tensor]:
        """The values of each column at the places `where` (n,), of one step."""
        at = np.searchsorted(self._places, where)
        if at[0] == len(self._places) or self._places[at[0]] != where[0]:  # the first step of the next window
            self._places, self._values = next(self._coming)
            at = np.searchsorted(self._places, where)
        return [values[torch.from_numpy(at)] for values in self._values]

    def close(self) -> None:
        """Ends what the last order began: the thread reads no further."""
        if self._coming is not None:
            self._coming.close()
        self._places, self._coming = np.empty(0, np.int64), None

    def _read(self, window: np.ndarray) -> tuple[np.ndarray, list[Tensor]]:
        places = np.sort(window)
        return places, [torch.from_numpy(column.read(places)) for column in self._columns]

    def _cuts(self, sizes: Sequence[int]) -> list[int]:
        """Where in the order a window ends and the next begins: between steps, so that none needs two windows."""
        cuts, began, end = [], 0, 0
        for size in sizes:
            if end > began and end + size - began > self._window:
                cuts.append(end)
                began = end
            end += size
        return cuts
