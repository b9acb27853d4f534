"""What the inputs of `fer predict` name: one table of stores, or sources of photos."""

import glob
import os
import shlex
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..errors import DataError, UsageError
from ..layouts import Source
from ..layouts.files import Piped, is_image
from ..layouts.video import is_clip, is_video, open_clip
from ..store import Reader, is_store, open_store
from ..store import opened as opened_file
from .ingest import resolve

#: Names up to this many are told one by one, and of more than MANY that no pattern matches only so many.
_FEW, _MANY = 3, 20


@contextmanager
def opened(inputs: Sequence[str], files_from: str | None, null: bool) -> Iterator[Reader | list[Source]]:
    """What is named: one table where these are stores (or a store on standard input), else sources of photos."""
    paths = list(expanded(inputs)) or ([] if files_from else ["-"])
    if "-" in paths and (len(paths) > 1 or files_from):
        raise UsageError("standard input is one input by itself: name '-' alone")
    clips, stores = [path for path in paths if is_clip(path)], [path for path in paths if _is_store(path)]
    if clips:
        _refuse_others(clips, paths, files_from, "a video" if is_video(clips[0]) else "a camera")
        opened_clips = [open_clip(path) for path in clips]
        if any(clip.live for clip in opened_clips[:-1]):
            raise UsageError("a camera has no end, so nothing comes behind it: name it last, or alone")
        yield opened_clips
    elif not stores:
        alone = len(paths) == 1 and not files_from and (paths == ["-"] or _is_pipe(paths[0]))
        yield [Piped(paths[0])] if alone else resolve(paths, files_from, null)
    else:
        _refuse_others(stores, paths, files_from, "a store")
        with open_store(stores) as src:
            yield src


def _refuse_others(alike: Sequence[str], paths: Sequence[str], files_from: str | None, what: str) -> None:
    """Raises UsageError where not all inputs are of the one kind: their rows have other columns."""
    known = set(alike)
    others = [path for path in paths if path not in known]
    if not others and not files_from:
        return
    listed = f"--files-from {shlex.quote(files_from)}" if files_from else ""
    raise UsageError(
        f"{alike[0]} is {what} and {others[0] if others else listed} is not: label them in two runs, "
        f"fer predict {shell_words(alike)} and fer predict {' '.join(filter(None, (shell_words(others), listed)))}"
    )


def shell_words(paths: Sequence[str], root: str = "") -> str:
    """Paths as a shell takes them, or, where they are many, the patterns that match them and nothing else.

    `root` is a folder that they lie in, at whatever depth. Of very many without such patterns the first are told.
    """
    paths = [os.path.join(".", path) if path.startswith("-") else path for path in paths]  # no flags
    files = [path for path in paths if not os.path.isdir(path)]
    if len(files) > _FEW and not (root and _holds_links(root)):
        places = {(root or os.path.dirname(path), os.path.splitext(path)[1]) for path in files}
        name = "**/*" if root else "*"
        patterns = [os.path.join(glob.escape(folder), name + glob.escape(suffix)) for folder, suffix in sorted(places)]
        found = (path for pattern in patterns for path in glob.glob(pattern, recursive=True))
        if {*map(os.path.normpath, found)} == {*map(os.path.normpath, files)}:
            return shlex.join([*patterns, *filter(os.path.isdir, paths)])
    if len(paths) > _MANY:
        return f"{shlex.join(paths[:_FEW])} ... ({len(paths):,} in all)"
    return shlex.join(paths)


def _holds_links(root: str) -> bool:
    """Whether a folder below `root` is a link, through which a pattern would find the same files again and again."""
    return any(os.path.islink(os.path.join(place, name)) for place, names, _ in os.walk(root) for name in names)


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
    if is_image(path) or not (os.path.isfile(path) or _is_pipe(path)):
        return False
    if path.lower().endswith(".h5"):
        return True  # which says what is wrong with it
    try:
        with opened_file(path) as file:
            return is_store(file.read(8))
    except DataError:  # what reads it tells of it, in a row of its own
        return False


def _is_pipe(path: str) -> bool:
    """Whether a path is that of a pipe, as <(fer ...) of the shell is."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
