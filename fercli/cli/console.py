"""What the person sees: messages, summaries and progress, all on standard error."""

import json
import os
import sys
import threading
import time
from typing import Any

import click

from ..learn import ranks
from ..text import printable

_SHOWN_FAILURES = 5


def say(text: str) -> None:
    """Prints lines on standard error. Once nobody can read them they go nowhere: that is no reason to end the work."""
    try:
        click.echo(text, err=True)
    except OSError:  # a reader that left, a terminal that was closed, a disk that is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def drop_output() -> None:
    """Sends nowhere what is left in the buffer of standard output, which could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Console:
    """Standard error. Implements the runner's Interface: note, total, advance, stands."""

    def __init__(self) -> None:
        self.quiet = self.verbose = self.debug = self.machine = False
        self._bar: Any = None
        self._notes: list[str] = []
        self._command = "fer"
        self._began = time.perf_counter()

    def begin(self, command: str) -> None:
        """Names the command in all that follows."""
        self._command = f"fer {command}"
        self._began = time.perf_counter()

    def note(self, text: str) -> None:
        """One line, unless -q; with --json one of the summary."""
        if self.machine:
            self._notes.append(text)
        elif not self.quiet:
            self._line(text)

    def total(self, rows: int) -> None:
        """Starts a progress bar, on a terminal only."""
        self._close()
        if sys.stderr.isatty() and ranks.writes() and not (self.quiet or self.machine):
            from tqdm import tqdm

            tqdm.set_lock(threading.RLock())  # its own is one of processes, which a quick end would leak
            self._bar = tqdm(total=rows, unit=" rows", desc=self._command, leave=False, dynamic_ncols=True)

    def advance(self, rows: int) -> None:
        """Moves the progress bar."""
        if self._bar is not None:
            self._bar.update(rows)

    def stands(self, text: str) -> None:
        """Writes a few words behind the progress bar, the next time that it moves."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def error(self, text: str) -> None:
        """The one line that an error shows; with --json behind what the summary would have told."""
        self._close()
        if ranks.first_to_tell(text):
            for note in self._notes:
                self._line(note)
            say(f"{self._command}: {self._style('error', 'red')}: {printable(text)}")

    def verdict(self, text: str) -> None:
        """The line of a failed gate, which is no error: the command did what it was asked."""
        self._close()
        self._line(text)

    def usage_error(self, error: click.UsageError) -> None:
        """A misuse that click found, with where to find help."""
        path = error.ctx.command_path if error.ctx else "fer"
        if not ranks.first_to_tell(error.format_message()):
            return
        say(f"{path}: {self._style('error', 'red')}: {error.format_message()}")
        say(f"try: {path} --help")

    def summary(self, text: str, facts: dict[str, Any], failures: list[tuple[str, str]]) -> None:
        """The line that ends a stage, or with --json its facts as one JSON object; failed rows are always named."""
        self._close()
        if not ranks.writes():
            return
        if self.machine:
            say(json.dumps({**facts, "notes": self._notes}))
            return
        self.failures(failures)
        if not self.quiet:
            self._line(f"{text} ({time.perf_counter() - self._began:.1f} s)")

    def failures(self, failures: list[tuple[str, str]]) -> None:
        """A line for each row that failed, or for the first few."""
        shown = len(failures) if self.verbose else _SHOWN_FAILURES
        for source, reason in failures[:shown]:
            self._line(f"failed: {source}: {reason}")
        if len(failures) > shown:
            self._line(f"failed: {len(failures) - shown:,} more; -v names all")

    def _line(self, text: str) -> None:
        if not ranks.writes():
            return
        if self._bar is not None:
            self._bar.clear()
        say(f"{self._command}: {printable(text)}")

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _style(self, text: str, colour: str) -> str:
        return click.style(text, fg=colour, bold=True) if sys.stderr.isatty() and "NO_COLOR" not in os.environ else text
