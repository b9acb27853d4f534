"""Checks on a file from anywhere before any of its data is touched.

A hostile HDF5 file can read and overwrite any file of the user through external links, external storage and virtual
datasets, and a small one can declare terabytes. So every link, type, filter and size is looked at first, and what the
format has no use for is refused.
"""

import h5py
import numpy as np

from ..errors import DataError
from . import schema

_MAX_DATASETS = 10_000
_MAX_ATTRIBUTE = 64 * 1024


def audit(file: h5py.File, name: str, size: int) -> None:
    """Raises DataError, naming the file and the object, unless the store is made of plain complete arrays only.

    `size` is the file's length in bytes: no dataset may claim more than that.
    """
    _group(file, "", name, size, [0])
    _attributes(file, name)


def _group(group: h5py.Group, path: str, name: str, size: int, count: list[int]) -> None:
    for key in group:
        count[0] += 1
        if count[0] > _MAX_DATASETS:
            raise DataError(f"{name} is refused: it holds more than {_MAX_DATASETS:,} objects")
        where = f"{path}{key}"
        link = group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):
            kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
            raise DataError(f"{name} is refused: {where!r} is {kind}, and a store holds its own data")
        found = group.get(key)
        if isinstance(found, h5py.Group):
            if path:
                raise DataError(f"{name} is refused: {where!r} is a group within a group")
            _group(found, f"{where}/", name, size, count)
        elif isinstance(found, h5py.Dataset):
            _dataset(found, where, name, size)
        else:
            raise DataError(f"{name} is refused: {where!r} is neither a group nor a dataset")


def _dataset(dataset: h5py.Dataset, where: str, name: str, size: int) -> None:
    plan = dataset.id.get_create_plist()
    if plan.get_external_count():
        raise DataError(f"{name} is refused: {where!r} keeps its data in another file (external storage)")
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        raise DataError(f"{name} is refused: {where!r} is a virtual dataset, and a store holds its own data")
    if plan.get_nfilters():
        raise DataError(f"{name} is refused: {where!r} has filters (compression), which stores do not use")
    if dataset.dtype.kind not in "uibfS":
        raise DataError(f"{name} is refused: {where!r} has the type {dataset.dtype}, no plain number or string")
    declared = int(np.prod(dataset.shape, dtype=object)) * dataset.dtype.itemsize if dataset.shape else 0
    if declared > size or dataset.id.get_storage_size() < declared:
        raise DataError(
            f"{name} is refused: {where!r} declares {declared:,} bytes, and the file holds "
            f"{min(dataset.id.get_storage_size(), size):,} for it"
        )
    _attributes(dataset, name)


def _attributes(thing: h5py.Group | h5py.Dataset, name: str) -> None:
    for key in thing.attrs:
        attribute = thing.attrs.get_id(key)
        if attribute.dtype.kind not in "uibfS" or attribute.get_storage_size() > _MAX_ATTRIBUTE:
            raise DataError(f"{name} is refused: its attribute {key!r} is no short plain value")


def check_mark(file: h5py.File, name: str) -> None:
    """Raises DataError unless the file carries the mark that is written last, of a version that this code reads."""
    if text(file.attrs.get("format")) != schema.FORMAT:
        raise DataError(f"{name} is HDF5 but no complete fercli store: make one with fer ingest")
    version = int(file.attrs.get("version", 0))
    if version > schema.VERSION:
        raise DataError(
            f"{name} has store version {version} and this fer reads up to {schema.VERSION}: "
            f"upgrade it with pip install -U fercli"
        )
    if version < 1 or text(file.attrs.get("kind")) not in schema.KINDS:
        raise DataError(f"{name} is damaged: its version or kind is not one that fer ever wrote")


def text(value: object) -> str:
    """An attribute's string, whichever string type HDF5 gave it."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
