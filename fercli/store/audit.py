"""Checks on a file from anywhere before any of its data is touched.

A hostile HDF5 file can read and overwrite any file of the user through external links, external storage and virtual
datasets, and a small one can declare terabytes. So every link, type, filter and size is looked at first, and whatever
the format does not name is refused.
"""

from collections.abc import Iterator
from typing import Any, NoReturn

import h5py
import numpy as np

from ..errors import DataError
from . import schema
from .pipe import Foreign

_MAX_OBJECTS = 10_000
_MAX_ATTRIBUTE = 64 * 1024
_GROUPS = (*(prefix[:-1] for prefix in schema.GROUPED), *schema.ARRAY_GROUPS)
_DATASETS = (*schema.COLUMNS, schema.OFFSET, *schema.DOCUMENTS, *schema.ARRAYS)


def check_mark(file: h5py.File, name: str, hint: str) -> None:
    """Raises DataError unless the file carries the mark that is written last, of a version that this code reads.

    `hint` says how to make a store.
    """
    if attribute(file, "format", name) != schema.FORMAT:
        raise Foreign(f"{name} is HDF5 but no complete fercli store: {hint}")
    version = attribute(file, "version", name)
    if isinstance(version, int) and version > schema.VERSION:
        raise Foreign(
            f"{name} has store version {version} and this fer reads up to {schema.VERSION}: install a newer fercli"
        )
    if version != schema.VERSION or attribute(file, "kind", name) not in schema.KINDS:
        raise DataError(f"{name} is damaged: its version or kind is not one that fer ever wrote")


def audit(file: h5py.File, name: str, size: int) -> dict[str, h5py.Dataset]:
    """Every dataset by its path, each of them a plain complete array of the store's own; nothing else is to be read.

    `size` is the file's length in bytes: all datasets together may not claim more than that. Raises DataError that
    names the object at fault.
    """
    _check_attributes(file, "the file", name, schema.ATTRIBUTES)
    left, found = size, {}
    for where, dataset in _datasets(file, "", name):
        left -= _check_dataset(dataset, where, name, left)
        found[where] = dataset
    return found


def attribute(file: h5py.File, key: str, name: str) -> Any:
    """An attribute of the root: a str, an int, or a tuple of str. None if it is absent."""
    if key not in file.attrs:
        return None
    _check_attribute(file, key, "the file", name)
    value = file.attrs[key]
    if isinstance(value, np.ndarray):
        return tuple(item.decode("utf-8", "surrogateescape") for item in value.tolist())
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else int(value)


def _refuse(name: str, where: str, why: str) -> NoReturn:
    raise DataError(f"{name} is refused: {where} {why}")


def _datasets(group: h5py.Group, path: str, name: str) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every dataset by its path. Links are looked at before they are followed."""
    if len(group) > _MAX_OBJECTS:
        _refuse(name, repr(path) if path else "the file", f"holds more than {_MAX_OBJECTS:,} objects")
    for key in group:
        where = f"{path}{key}"
        link = group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):
            kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
            _refuse(name, repr(where), f"is {kind}, and a store holds its own data")
        if not path and key not in _GROUPS + _DATASETS:
            _refuse(name, repr(where), "is no part of the format")
        found = group.get(key)
        if isinstance(found, h5py.Group) and not path and key in _GROUPS:
            _check_attributes(found, repr(where), name)
            yield from _datasets(found, f"{where}/", name)
        elif isinstance(found, h5py.Dataset) and (path or key in _DATASETS):
            yield where, found
        else:
            _refuse(name, repr(where), f"is a {type(found).__name__.lower()}, and has no place there")


def _check_dataset(dataset: h5py.Dataset, where: str, name: str, left: int) -> int:
    """Raises unless the dataset is plain, complete and not larger than `left`; returns its bytes."""
    plan, where = dataset.id.get_create_plist(), repr(where)
    if plan.get_external_count():
        _refuse(name, where, "keeps its data in another file (external storage)")
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        _refuse(name, where, "is a virtual dataset, and a store holds its own data")
    if plan.get_nfilters():
        _refuse(name, where, "has filters (compression), which stores do not use")
    if dataset.dtype.kind not in "uibfS":
        _refuse(name, where, f"has the type {dataset.dtype}, no plain number or string")
    if dataset.shape is None:
        _refuse(name, where, "is without shape and data")
    declared = int(np.prod(dataset.shape, dtype=object)) * dataset.dtype.itemsize
    there = min(dataset.id.get_storage_size(), left)
    if declared > there or dataset.dtype.itemsize < 1:  # h5py wraps a size over 2 GiB round
        _refuse(name, where, f"declares {declared:,} bytes, and the file holds at most {there:,} for it")
    if plan.get_layout() == h5py.h5d.CHUNKED and _missing_chunks(dataset):
        _refuse(name, where, "has holes: parts of it were never written")
    _check_attributes(dataset, where, name)
    return declared


def _missing_chunks(dataset: h5py.Dataset) -> bool:
    needed = [-(-extent // chunk) for extent, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    return dataset.id.get_num_chunks() < int(np.prod(needed, dtype=object))


def _check_attributes(thing: h5py.Group | h5py.Dataset, where: str, name: str, known: tuple[str, ...] = ()) -> None:
    for key in thing.attrs:
        if key not in known:
            _refuse(name, where, f"has an attribute {key!r}, which is no part of the format")
        _check_attribute(thing, key, where, name)


def _check_attribute(thing: h5py.Group, key: str, where: str, name: str) -> None:
    """Before it is read: HDF5 follows pointers for some types, and allocates what an attribute says of its size."""
    found = thing.attrs.get_id(key)
    if (
        found.dtype.kind not in "uiS"
        or len(found.shape) > 1
        or int(np.prod(found.shape)) * found.dtype.itemsize > _MAX_ATTRIBUTE
    ):
        _refuse(name, where, f"has an attribute {key!r} that is no short plain value")
