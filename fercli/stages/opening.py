"""What the inputs of `fer predict` name: one table of stores, or sources of photos."""

import glob
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..errors import DataError, UsageError
from ..layouts import Source
from ..layouts.files import StandardInput
from ..layouts.video import is_clip, is_video, open_clip
from ..store import Reader, is_store, open_store
from .ingest import resolve


@contextmanager
def opened(inputs: Sequence[str], files_from: str | None, null: bool) -> Iterator[Reader | list[Source]]:
    """What is named: one table where these are stores (or a store on standard input), else sources of photos."""
    paths = list(expanded(inputs)) or ([] if files_from else ["-"])
    if "-" in paths and (len(paths) > 1 or files_from):
        raise UsageError("standard input is one input by itself: name '-' alone")
    clips, stores = [path for path in paths if is_clip(path)], [path for path in paths if _is_store(path)]
    if clips:
        _refuse_others(clips, paths, files_from, "a video" if is_video(clips[0]) else "a camera")
        yield [open_clip(path) for path in clips]
    elif not stores:
        yield [StandardInput()] if paths == ["-"] else resolve(paths, files_from, null)
    else:
        _refuse_others(stores, paths, files_from, "a store")
        with open_store(stores) as src:
            yield src


def _refuse_others(alike: Sequence[str], paths: Sequence[str], files_from: str | None, what: str) -> None:
    """Raises UsageError where not all inputs are of the one kind."""
    if len(alike) < len(paths) or files_from:
        other = next((path for path in paths if path not in alike), f"--files-from {files_from}")
        raise UsageError(f"{alike[0]} is {what} and {other} is not: label them in two runs")


def expanded(inputs: Sequence[str]) -> Iterator[str]:
    """The inputs, with the patterns that the shell has left resolved."""
    for path in inputs:
        if os.path.lexists(path) or not glob.has_magic(path):
            yield path
            continue
        found = sorted(glob.glob(path, recursive=True))
        if not found:
            raise DataError(f"no file matches {path}")
        yield from found


def _is_store(path: str) -> bool:
    """Whether a store is there, or arrives on standard input; an empty stream is taken for one, which tells of it."""
    if path == "-":
        if sys.stdin.isatty():
            raise UsageError("standard input is a terminal: name photos, a folder or a store")
        head = sys.stdin.buffer.peek(8)[:8]
        return not head or is_store(head)
    if stat.S_ISFIFO(_mode(path)):  # <(fer ...) of the shell; what comes out of it can be read once
        return True
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return is_store(file.read(8))


def _mode(path: str) -> int:
    """The kind of what is at a path; 0 where nothing is."""
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return 0
