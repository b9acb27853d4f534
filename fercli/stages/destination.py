"""Where rows of text go while they come: to a file, which is replaced whole, or to standard output."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..store import replacing, to_stdout
from ..text import counted
from .runner import Log, Outcome


@contextmanager
def interrupts_told(output: str, resume: str | None, can_go_on: bool, outcome: Outcome, log: Log) -> Iterator[None]:
    """Notes, where an interrupt ends the run, what became of the file of rows, and how to go on.

    `resume` is the file that is gone on with; `can_go_on` says whether rows of this run could be.
    """
    free = _is_free(output)
    try:
        yield
    except KeyboardInterrupt:
        rows = counted(outcome.rows, "row")
        if resume:
            log.note(f"interrupted: {rows} of this run went to {resume}: the same command goes on")
        elif output != "-" and not free:
            hint = "; --resume FILE keeps rows as they come" if can_go_on else ""
            log.note(f"interrupted: {output} is left as it was, without the {rows} so far{hint}")
        elif output != "-" and not _is_free(output):
            hint = f": --resume {output} goes on" if can_go_on else ""
            log.note(f"interrupted: {output} has the {rows} so far{hint}")
        elif output != "-":
            log.note(f"interrupted: {output} was not written")
        raise


@contextmanager
def destination(output: str, outcome: Outcome) -> Iterator[Callable[[bytes], None]]:
    """What writes lines to a file, or at once to standard output.

    The file takes its place when all is done. After an interrupt it does so with the rows so far, where that replaces
    nothing.
    """
    if output == "-":
        yield to_stdout
        return
    free, interrupt = _is_free(output), None
    with replacing(Path(output)) as part, open(part, "wb") as file:
        try:
            yield file.write
        except KeyboardInterrupt as error:
            if not (free and outcome.rows):
                raise
            interrupt = error
    if interrupt:
        raise interrupt


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
