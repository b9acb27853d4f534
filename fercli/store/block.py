"""A block: some rows of a store in memory, as columns of equal length."""

from collections.abc import Iterable

import numpy as np

from ..errors import DataError
from . import schema

#: "encoded" is an object array of bytes; string columns are object arrays of str, in which a file name that is not
#: UTF-8 carries surrogate escapes; every other column has the type of `schema.COLUMNS`.
Block = dict[str, np.ndarray]


def block_rows(block: Block) -> int:
    """Number of rows of a block; DataError if its columns differ in length."""
    lengths = {len(values) for values in block.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{name} {len(values)}" for name, values in block.items())
        raise DataError(f"a block's columns differ in length: {told}")
    return lengths.pop() if lengths else 0


def take(block: Block, rows: np.ndarray | slice) -> Block:
    """The chosen rows (indices, mask or slice) of every column."""
    return {name: values[rows] for name, values in block.items()}


def concatenate(blocks: Iterable[Block]) -> Block:
    """Blocks of the same columns, one after the other."""
    blocks = list(blocks)
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def objects(values: Iterable[object]) -> np.ndarray:
    """A one-dimensional object array: the form of `encoded` and of string columns in a block."""
    values = list(values)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def fault(name: str, values: np.ndarray, classes: int, first: int) -> str:
    """The first value that no store may hold (NaN, a label outside the classes), told with its row; "" without one.

    `first` is the row number of `values[0]`.
    """
    if values.dtype.kind == "f":
        bad = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        problem = "is not a finite number"
    elif values.dtype.kind == "b":
        values = values.view(np.uint8)  # HDF5 keeps a bool as any byte
        bad = values > 1
        problem = "is neither true nor false"
    elif name in ("label", "predicted"):
        bad = (values < -1) | (values >= classes)
        problem = f"lies outside the {classes} classes"
    elif name == "split":
        bad = (values < 0) | (values >= len(schema.SPLITS))
        problem = f"is none of {', '.join(schema.SPLITS)}"
    else:
        return ""
    if not bad.any():
        return ""
    row = int(np.flatnonzero(bad)[0])
    told = ", ".join(f"{value:g}" for value in np.ravel(values[row])[:8].tolist())
    return f"{name} of row {first + row} {problem}: {told}"
