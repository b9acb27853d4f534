"""The HDF5 store: the only code that imports h5py. See SCHEMA.md for the format."""

from .atomic import check_writable, disk_errors, put, replacing, temporary_folder, write_all
from .block import Block, block_rows, concatenate, objects, take
from .cache import cached
from .part import Changed
from .pipe import Foreign, digest_of, file_digest, is_store, opened, to_stdout
from .read import Reader, open_store
from .schema import SPLIT_CODES, SPLITS
from .write import Writer, check_stdout, create_store

__all__ = [
    "SPLITS",
    "SPLIT_CODES",
    "Block",
    "Changed",
    "Foreign",
    "Reader",
    "Writer",
    "block_rows",
    "cached",
    "check_stdout",
    "check_writable",
    "concatenate",
    "create_store",
    "digest_of",
    "disk_errors",
    "file_digest",
    "is_store",
    "objects",
    "open_store",
    "opened",
    "put",
    "replacing",
    "take",
    "temporary_folder",
    "to_stdout",
    "write_all",
]
