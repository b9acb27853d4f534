"""Data-set layouts, one a file: a module here that has a NAME is a layout, and appears in `--layout` by itself.

A layout module holds `NAME`, one line of `TITLE` for the help, `OPTIONS` (the fields of `base.Options` that it
understands), `matches(source) -> bool` (a cheap look at names, or at the first line of a file) and
`scan(source, options) -> base.Listing | base.Table`.
"""

import importlib
import pkgutil
from functools import lru_cache
from types import ModuleType

from ..errors import UsageError
from ..spec import nearest
from .base import Listing, Options, Record, Report, Table
from .source import Source, open_source

__all__ = ["Listing", "Options", "Record", "Report", "Source", "Table", "get", "names", "open_source", "recognise"]

#: The layout of whatever has no layout of its own.
GENERIC = "folder"


@lru_cache(maxsize=1)
def _layouts() -> dict[str, ModuleType]:
    modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    return {module.NAME: module for module in modules if hasattr(module, "NAME")}


def names() -> list[str]:
    """The names of all layouts, sorted."""
    return sorted(_layouts())


def get(name: str) -> ModuleType:
    """The layout of a name; UsageError hints at the nearest one."""
    if name not in _layouts():
        raise UsageError(f"there is no layout {name!r}; {nearest(name, names())}")
    return _layouts()[name]


def recognise(source: Source) -> ModuleType:
    """The layout that a source shows; UsageError if it shows two."""
    if source.flat:
        return get(GENERIC)
    found = [name for name in names() if name != GENERIC and get(name).matches(source)]
    if len(found) > 1:
        raise UsageError(f"{source.path} looks like {' and like '.join(found)}: say which with --layout {found[0]}")
    return get(found[0] if found else GENERIC)
