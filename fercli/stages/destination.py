"""Where rows of text go while they come: to a file, which is replaced whole, or to standard output."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ..errors import FerError, cannot_write
from ..store import disk_errors, replacing, to_stdout, write_all
from ..text import counted
from .runner import Log, Outcome, is_sink

#: What may end a run early and leave the rows so far as they are; of a store an error may say that it has changed.
ENDS = (KeyboardInterrupt, FerError)
ENDS_OF_STORE = (KeyboardInterrupt,)


@contextmanager
def early_end_told(
    output: str, resume: str | None, can_go_on: bool, ends: tuple[type[BaseException], ...], outcome: Outcome, log: Log
) -> Iterator[None]:
    """Notes, where something of `ends` ends the run, what became of the file of rows, and how to go on.

    `resume` is the file that is gone on with; `can_go_on` says whether rows of this run could be.
    """
    free = _is_free(output)
    try:
        yield
    except ends as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        if (resume or not (output == "-" or is_sink(output))) and (outcome.rows or interrupted):
            told = _told(output, resume, can_go_on, counted(outcome.rows, "row"), free)
            log.note(f"{'interrupted' if interrupted else 'ended early'}: {told}")
        raise


def _told(output: str, resume: str | None, can_go_on: bool, rows: str, free: bool) -> str:
    """Where the rows so far are, if anywhere, and what goes on."""
    if resume:
        return f"{rows} of this run went to {resume}: the same command goes on"
    if not free:
        hint = "; --resume FILE keeps rows as they come" if can_go_on else ""
        return f"{output} is left as it was, without the {rows} so far{hint}"
    if _is_free(output):
        return f"{output} was not written"
    hint = f": --resume {output} goes on" if can_go_on else ""
    return f"{output} has the {rows} so far{hint}"


@contextmanager
def destination(
    output: str, ends: tuple[type[BaseException], ...], outcome: Outcome
) -> Iterator[Callable[[bytes], None]]:
    """What writes lines to a file, or at once to standard output, a device or a pipe.

    The file takes its place when all is done. Where something of `ends` ends the run, it does so with the rows so far,
    if that replaces nothing.
    """
    if output == "-":
        yield to_stdout
        return
    if is_sink(output):
        try:
            sink = open(output, "wb", buffering=0)  # noqa: SIM115 - closed below
        except OSError as error:
            raise cannot_write(error.errno, output, "-o") from error
        with sink, disk_errors(output):
            yield partial(write_all, sink)
        return
    free, end = _is_free(output), None
    with replacing(Path(output)) as part, open(part, "wb") as file:
        try:
            yield file.write
        except ends as error:  # none that came of writing the file: those are the system's
            if not (free and outcome.rows):
                raise
            end = error
    if end:
        raise end


def while_read(write: Callable[[bytes], None], log: Log) -> Callable[[bytes], None]:
    """`write` until the reader of the rows has left, which does not end what is made beside them."""
    gone = False

    def write_on(data: bytes) -> None:
        nonlocal gone
        try:
            if not gone:
                write(data)
        except BrokenPipeError:
            gone = True
            log.note("nobody reads the rows any more: what else was asked for goes on")

    return write_on


def _is_free(output: str) -> bool:
    """Whether nothing would be lost of what is at a path."""
    return not os.path.exists(output) or not os.path.getsize(output)
